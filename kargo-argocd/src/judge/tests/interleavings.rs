//! No interleaving of Argo CD's two writers, of other actors and of crashes makes it say live when it is not; and when things calm down,
//! it says so.
//!
//! The schedules come from a seed, so a failure names the one to run again. That they would find a mistake is shown by judges that make one
//! on purpose.

mod ends;
mod mutants;
mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kargo_core::plugin::Relation;

use super::super::{Case, Judgement, Latches, Next, Policy, Relations, Verdict, Wanted, judge};
use crate::client::{Application, Info};
use crate::config::Mode;
use crate::testing::model::{Request, World, application};
use crate::testing::{Commits, FakeApp, Timings};
use ends::Tally;

/// The applications of a schedule: one, or two that are to be live together, as those that a selector finds.
const APPS: [&str; 2] = ["shop", "till"];
const REPO: &str = "https://git.example/config";
/// How many schedules are tried.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 3_000 } else { 100_000 };
/// How many looks the others disturb, and how many more there may be until it ends.
const DISTURBED: u32 = 40;
const CALM: u32 = 160;

/// What may be the reason why more syncs are asked for than otherwise.
const MEDDLING: [&str; 4] = ["sync by another", "termination", "image", "made anew"];

/// Numbers from a seed (SplitMix64): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit + 1))
    }
}

type Judge = fn(&Case<'_>) -> Judgement;

/// How manifests come about, and what is to be deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A revision of a plain source.
    Plain,
    /// A revision that Argo CD renders ahead.
    Hydrated,
    /// Another image at the revision that runs already.
    Image,
    /// The revision that runs already, of which somebody has changed the workloads by hand.
    Edited,
}

impl Kind {
    /// Whether the wanted revision is one that was synced before.
    fn is_of_before(self) -> bool {
        matches!(self, Self::Image | Self::Edited)
    }
}

/// One application, and what is remembered of it.
struct Carried {
    name: &'static str,
    latches: Latches,
    posts: u32,
    /// The status from before our sync was accepted, which the server's cache may show once more.
    cached: Option<Application>,
}

/// One schedule, and how it went.
struct Run {
    seed: u64,
    judge: Judge,
    /// By how much the time that comes with answers is off: it may be a proxy's.
    skew: SignedDuration,
    told: bool,
    dice: Dice,
    world: World,
    commits: Commits,
    now: Timestamp,
    kind: Kind,
    wanted: Wanted,
    policy: Policy,
    carried: Vec<Carried>,
    has_history: bool,
    /// The commits of others whose sync fails.
    spoiled: BTreeSet<String>,
    /// When it began.
    began: Timestamp,
    /// What others have done, and how often.
    disturbed: BTreeMap<&'static str, u32>,
    log: Vec<String>,
}

impl Run {
    fn new(seed: u64, judge: Judge, told: bool) -> Self {
        let mut dice = Dice(seed);
        let timings = Timings {
            queue: dice.millis(1_500),
            operation: dice.millis(3_000),
            ready: dice.millis(8_000),
            comparison: dice.millis(2_500),
            notice: dice.millis(4_000),
            resync: Duration::from_secs(5 + dice.below(60)),
            lag: if dice.one_in(8) { dice.millis(6_000) } else { dice.millis(900) },
            touch: dice.millis(2_000),
            hydration: dice.millis(3_000),
        };
        let commits = Commits::new();
        let (heads, contents) = (commits.clone(), commits.clone());
        let mut world = World::new(
            timings,
            Arc::new(move |_, target| heads.head(target)),
            Arc::new(move |_, revision, path| contents.content(revision, path)),
        );
        world.hydrated = commits.clone();
        let mut now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        now += dice.millis(999);
        let kind = match dice.below(10) {
            0 | 1 => Kind::Hydrated,
            2 => Kind::Image,
            3 => Kind::Edited,
            _ => Kind::Plain,
        };
        let first = commits.commit("main", [("dev", "v0")]);
        let (auto_sync, drifts, waves) = (dice.one_in(2), dice.one_in(8), dice.one_in(4));
        let retries = if dice.one_in(3) { 3 } else { 0 };
        let history_limit = match dice.below(6) {
            0 => Some(0),
            1 => Some(1),
            _ => None,
        };
        let names = &APPS[..if dice.one_in(6) { 2 } else { 1 }];
        for name in names {
            let mut app = match kind {
                Kind::Hydrated => FakeApp::new(*name).hydrated(REPO, "main", "dev", format!("env/{name}")),
                _ => FakeApp::new(*name).source(REPO, "main", "dev"),
            };
            (app.auto_sync, app.drifts, app.waves, app.retries) = (auto_sync, drifts, waves, retries);
            app.history_limit = history_limit;
            world.create(app, now);
        }
        if kind == Kind::Hydrated {
            now += dice.millis(20_000);
            world.advance(now);
        }
        let revisions = if kind == Kind::Hydrated { Vec::new() } else { vec![(0, first.clone())] };
        if dice.one_in(2) || kind.is_of_before() {
            for name in names {
                let _ = world.request(name, Request { revisions: revisions.clone(), ..Request::default() }, now);
            }
        }
        // Sometimes what was begun before has ended by now, sometimes it has not.
        now += dice.millis(20_000);
        world.advance(now);
        for app in world.apps.values_mut().filter(|_| kind == Kind::Edited) {
            if let Some(live) = &mut app.live {
                live.manifests = Some("as somebody made it by hand".into());
                app.touch_at = Some(now);
            }
        }
        let mode = match dice.below(3) {
            0 if !auto_sync && kind != Kind::Hydrated => Mode::Pinned,
            1 => Mode::Tracking,
            _ => Mode::Auto,
        };
        let policy = Policy { mode, ..Policy::default() };
        let wanted = if kind.is_of_before() {
            if dice.one_in(2) { Wanted::anything() } else { Wanted::revision(first) }
        } else {
            let path = if dice.one_in(5) { "prod" } else { "dev" };
            let wanted = commits.commit("main", [(path, "wanted")]);
            match dice.below(16) {
                0 if kind == Kind::Hydrated => drop(world.unrenderable.insert(wanted.clone(), "no chart".into())),
                0 => drop(world.broken.insert(wanted.clone())),
                1 => drop(world.failing.insert(wanted.clone(), "quota exceeded".into())),
                _ => {}
            }
            Wanted::revision(wanted)
        };
        let has_history = !dice.one_in(4);
        let log = vec![format!(
            "{kind:?} {names:?} {timings:?} {policy:?} auto_sync {auto_sync} drifts {drifts} history {has_history} {history_limit:?} wanted {wanted:?}"
        )];
        let carried = |name: &&'static str| Carried { name, latches: Latches::default(), posts: 0, cached: None };
        let carried = names.iter().map(carried).collect();
        let skew = match dice.below(4) {
            0 => SignedDuration::from_secs(dice.below(240) as i64 - 120),
            _ => SignedDuration::ZERO,
        };
        let mut run = Self {
            seed,
            judge,
            skew,
            told,
            dice,
            world,
            commits,
            now,
            kind,
            wanted,
            policy,
            carried,
            has_history,
            spoiled: BTreeSet::new(),
            began: now,
            disturbed: BTreeMap::new(),
            log,
        };
        if !skew.is_zero() {
            run.did("skew");
        }
        if kind == Kind::Image {
            (0..run.carried.len()).for_each(|at| run.edit_as_the_step_does(at));
        }
        run
    }

    /// Changes the image at the same revision, as `argocd-update` does: what was compared before says nothing any more.
    fn edit_as_the_step_does(&mut self, at: usize) {
        let before = self.read(at);
        self.edit_image(at, "nginx:2");
        let now = self.now + self.skew;
        self.carried[at].latches.begin_anew(&before, now);
        self.refresh(at, true);
    }

    fn edit_image(&mut self, at: usize, image: &str) {
        let now = self.now;
        let app = self.world.apps.get_mut(self.carried[at].name).unwrap();
        for source in &mut app.spec.sources {
            source.rest.insert("kustomize".into(), serde_json::json!({"images": [image]}));
        }
        app.compare_at = app.compare_at.min(now);
        self.world.advance(now);
    }

    /// Somebody did something.
    fn did(&mut self, what: &'static str) {
        *self.disturbed.entry(what).or_default() += 1;
    }

    /// What happened, for the schedule that is told again because it failed.
    fn note(&mut self, what: impl FnOnce(Timestamp) -> String) {
        if self.told {
            self.log.push(what(self.now));
        }
    }

    fn read(&mut self, at: usize) -> Application {
        self.world.advance(self.now);
        serde_json::from_value(application(&self.world.apps[self.carried[at].name])).unwrap()
    }

    fn refresh(&mut self, at: usize, hard: bool) {
        let (asked, name) = (self.now, self.carried[at].name);
        self.world.ask_comparison(name, hard, asked);
        while self.world.apps[name].compared.is_none_or(|at| at < asked) {
            self.now = self.world.next_due().unwrap();
            self.world.advance(self.now);
        }
    }

    fn post(&mut self, at: usize, pin: bool, read: &Application) {
        let before = self.read(at);
        let wanted = |pin: bool| {
            let all = self.wanted.iter().filter(|_| pin);
            all.map(|(index, revision)| (index, revision.to_string())).collect()
        };
        let request = Request {
            revisions: wanted(pin),
            infos: vec![Info { name: crate::TAG.into(), value: super::TAG.into() }],
            ..Request::default()
        };
        let answer = self.world.request(self.carried[at].name, request, self.now);
        let carried = &mut self.carried[at];
        match answer {
            Ok(()) => {
                carried.posts += 1;
                carried.cached = Some(before);
                carried.latches.posted(read, super::super::whole_second(self.now + self.skew));
            }
            Err((_, _, text)) if text.contains("auto-sync currently") => carried.latches.unpinnable = true,
            Err(refusal) => self.note(|now| format!("{now} refused: {refusal:?}")),
        }
    }

    /// One call of the deployer: the verdicts by their application, when it ends with one. Several are live only when they are so in one look at all of them
    /// as they are.
    fn poll(&mut self) -> Option<Vec<(usize, Verdict)>> {
        let mut fresh = false;
        loop {
            let verdicts: Vec<Option<Verdict>> = (0..self.carried.len()).map(|at| self.look(at, fresh)).collect();
            let is_live = |verdict: &Verdict| matches!(verdict, Verdict::Live { .. } | Verdict::Later { .. });
            let all: Vec<(usize, Verdict)> = verdicts.iter().flatten().cloned().enumerate().collect();
            if let Some((at, Some(failed))) =
                verdicts.into_iter().enumerate().find(|(_, one)| one.as_ref().is_some_and(|one| !is_live(one)))
            {
                return Some(vec![(at, failed)]);
            }
            if all.len() < self.carried.len() {
                return None;
            }
            if all.len() == 1 || fresh {
                return Some(all);
            }
            fresh = true;
        }
    }

    /// One application, judged and helped on.
    fn look(&mut self, at: usize, fresh: bool) -> Option<Verdict> {
        let cached = self.carried[at].cached.take().filter(|_| self.dice.one_in(2) && !fresh);
        if cached.is_some() {
            self.did("old read");
        }
        let mut app = cached.unwrap_or_else(|| self.read(at));
        let mut relations = Relations::default();
        let mut refreshed = fresh;
        loop {
            let judgement = (self.judge)(&Case {
                app: &app,
                wanted: &self.wanted,
                tag: super::TAG,
                latches: &self.carried[at].latches,
                policy: &self.policy,
                relations: &relations,
                now: self.now + self.skew,
            });
            self.carried[at].latches = judgement.latches;
            self.note(|now| format!("{now} {at} {:?}", judgement.verdict));
            match judgement.verdict {
                Verdict::Pending { next: Next::Relate { observed, wanted }, .. } => {
                    let known = self.commits.relation(observed.as_str(), wanted.as_str());
                    relations.learn(
                        observed.as_str(),
                        &wanted,
                        if self.has_history { known } else { Relation::Unknown },
                    );
                }
                Verdict::Pending { next: next @ (Next::Refresh | Next::RefreshHard), .. } if !refreshed => {
                    refreshed = true;
                    self.refresh(at, next == Next::RefreshHard);
                    app = self.read(at);
                }
                Verdict::Pending { next: Next::Sync { pin }, .. } => {
                    self.post(at, pin, &app);
                    return None;
                }
                verdict if verdict.is_final() => return Some(verdict),
                _ => return None,
            }
        }
    }

    fn go(mut self) -> Result<Tally, String> {
        let end = self.ends();
        let end = end.map_err(|what| format!("seed {}: {what}\n{}", self.seed, self.log.join("\n")))?;
        let fair = u64::from(self.is_fair());
        let disturbed = self.disturbed.into_keys().map(|what| (what, 1)).collect();
        Ok(Tally { ends: [(end, 1)].into(), disturbed, fair })
    }

    /// How it ended.
    fn ends(&mut self) -> Result<&'static str, String> {
        for look in 0..DISTURBED + CALM {
            if let Some(verdicts) = self.poll() {
                let mut end = "live";
                for (at, verdict) in &verdicts {
                    let one = self.check(*at, verdict)?;
                    end = if one == "live" { end } else { one };
                }
                // Automatic sync may put another revision in place of ours, which is then synced again, though not for ever; and where the
                // memory of ours is lost as well, or of what ours was rendered as, nothing tells that there was one.
                for Carried { name, posts, .. } in &self.carried {
                    let auto_sync = self.world.apps[*name].spec.auto_sync;
                    // One that is rendered and followed by another between two looks is not seen.
                    let moves = auto_sync || self.kind == Kind::Hydrated;
                    let most = if moves { self.policy.max_syncs } else { 1 };
                    let meddled = MEDDLING.iter().any(|what| self.disturbed.contains_key(what));
                    if *posts > most && !meddled && !(moves && self.disturbed.contains_key("crash")) {
                        return Err(format!("{posts} syncs of {name}"));
                    }
                }
                if self.is_fair() && !ends::LIVE.contains(&end) {
                    return Err(format!("nothing was in the way, and it ended {end}"));
                }
                return Ok(end);
            }
            if look < DISTURBED {
                self.chaos();
            } else if look == DISTURBED {
                self.world.apps.values_mut().for_each(|app| app.spec.window_closed = false);
                self.mend();
            }
            self.now += self.dice.millis(3_000);
        }
        Err("it never ended".into())
    }
}

/// How the schedules of `seeds` end, or the first of them that shows that `judge` is wrong, told in full.
fn run_all(judge: Judge, seeds: std::ops::Range<u64>) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for seed in seeds {
        match Run::new(seed, judge, false).go() {
            Ok(one) => tally += one,
            Err(short) => return Err(Run::new(seed, judge, true).go().err().unwrap_or(short)),
        }
    }
    Ok(tally)
}

#[test]
fn live_is_never_said_too_early_and_is_said_in_the_end() {
    // Half of the schedules on each of two threads.
    let half = SCHEDULES / 2;
    let other = std::thread::spawn(move || run_all(judge, half..SCHEDULES));
    let (one, other) = (run_all(judge, 0..half), other.join().unwrap());
    let mut tally = one.unwrap_or_else(|fault| panic!("{fault}"));
    tally += other.unwrap_or_else(|fault| panic!("{fault}"));
    tally.assert_that_it_is_enough();
}
