//! No interleaving of Argo CD's two writers, of other actors and of crashes makes it say live when it is not; and when things calm down,
//! it says so.
//!
//! The schedules come from a seed, so a failure names the one to run again. That they would find a mistake is shown by judges that make one
//! on purpose.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kargo_core::plugin::Relation;

use super::super::{Case, Judgement, Latches, Next, Policy, Relations, Verdict, Wanted, judge};
use crate::client::{Application, Info, OperationPhase, SyncCode};
use crate::config::Mode;
use crate::testing::model::{Request, World, application};
use crate::testing::{Commits, FakeApp, Timings};

const APP: &str = "shop";
/// How many schedules are tried.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 3_000 } else { 100_000 };
/// How many looks the others disturb, and how many more there may be until it ends.
const DISTURBED: u32 = 40;
const CALM: u32 = 160;

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
    wanted: String,
    policy: Policy,
    latches: Latches,
    has_history: bool,
    /// Whether somebody else synced something by hand, after which failing is no surprise.
    meddled: bool,
    crashed: bool,
    posts: u32,
    /// The status from before our sync was accepted, which the server's cache may show once more.
    cached: Option<Application>,
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
            lag: dice.millis(900),
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
        let mut now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        now += dice.millis(999);
        let first = commits.commit("main", [("dev", "v0")]);
        let mut app = FakeApp::new(APP).source("https://git.example/config", "main", "dev");
        app.auto_sync = dice.one_in(2);
        app.drifts = dice.one_in(8);
        app.waves = dice.one_in(6);
        app.retries = if dice.one_in(3) { 3 } else { 0 };
        let auto_sync = app.auto_sync;
        world.create(app, now);
        if dice.one_in(2) {
            let _ = world.request(APP, Request { revisions: vec![(0, first)], ..Request::default() }, now);
        }
        // Sometimes what was begun before has ended by now, sometimes it has not.
        now += dice.millis(20_000);
        world.advance(now);
        let path = if dice.one_in(5) { "prod" } else { "dev" };
        let wanted = commits.commit("main", [(path, "wanted")]);
        match dice.below(16) {
            0 => drop(world.broken.insert(wanted.clone())),
            1 => drop(world.failing.insert(wanted.clone(), "quota exceeded".into())),
            _ => {}
        }
        let mode = match dice.below(3) {
            0 if !auto_sync => Mode::Pinned,
            1 => Mode::Tracking,
            _ => Mode::Auto,
        };
        let policy = Policy { mode, ..Policy::default() };
        let has_history = !dice.one_in(4);
        let log = vec![format!("{timings:?} {policy:?} auto_sync {auto_sync} history {has_history} wanted {wanted}")];
        let skew = match dice.below(4) {
            0 => SignedDuration::from_secs(dice.below(240) as i64 - 120),
            _ => SignedDuration::ZERO,
        };
        Self {
            seed,
            judge,
            skew,
            told,
            dice,
            world,
            commits,
            now,
            wanted,
            policy,
            latches: Latches::default(),
            has_history,
            meddled: false,
            crashed: false,
            posts: 0,
            cached: None,
            log,
        }
    }

    /// What happened, for the schedule that is told again because it failed.
    fn note(&mut self, what: impl FnOnce(Timestamp) -> String) {
        if self.told {
            self.log.push(what(self.now));
        }
    }

    fn read(&mut self) -> Application {
        self.world.advance(self.now);
        serde_json::from_value(application(&self.world.apps[APP])).unwrap()
    }

    fn refresh(&mut self) {
        let asked = self.now;
        let app = self.world.apps.get_mut(APP).unwrap();
        app.compare_at = app.compare_at.min(asked);
        self.world.advance(self.now);
        while self.world.apps[APP].compared.is_none_or(|at| at < asked) {
            self.now = self.world.next_due().unwrap();
            self.world.advance(self.now);
        }
    }

    fn post(&mut self, pin: bool, read: &Application) {
        let before = self.read();
        let request = Request {
            revisions: pin.then(|| (0, self.wanted.clone())).into_iter().collect(),
            infos: vec![Info { name: crate::TAG.into(), value: super::TAG.into() }],
            ..Request::default()
        };
        match self.world.request(APP, request, self.now) {
            Ok(()) => {
                self.posts += 1;
                self.cached = Some(before);
                self.latches.posted(read, super::super::whole_second(self.now + self.skew));
            }
            Err((_, _, text)) if text.contains("auto-sync currently") => self.latches.unpinnable = true,
            Err(refusal) => self.note(|now| format!("{now} refused: {refusal:?}")),
        }
    }

    /// One call of the deployer.
    fn poll(&mut self) -> Option<Verdict> {
        let cached = self.cached.take().filter(|_| self.dice.one_in(2));
        let mut app = cached.unwrap_or_else(|| self.read());
        let mut relations = Relations::default();
        let mut refreshed = false;
        loop {
            let wanted = Wanted::revision(self.wanted.as_str());
            let judgement = (self.judge)(&Case {
                app: &app,
                wanted: &wanted,
                tag: super::TAG,
                latches: &self.latches,
                policy: &self.policy,
                relations: &relations,
                now: self.now + self.skew,
            });
            self.latches = judgement.latches;
            self.note(|now| format!("{now} {:?}", judgement.verdict));
            match judgement.verdict {
                Verdict::Pending { next: Next::Relate { observed, wanted }, .. } => {
                    let known = self.commits.relation(observed.as_str(), wanted.as_str());
                    relations.learn(
                        observed.as_str(),
                        &wanted,
                        if self.has_history { known } else { Relation::Unknown },
                    );
                }
                Verdict::Pending { next: Next::Refresh, .. } if !refreshed => {
                    refreshed = true;
                    self.refresh();
                    app = self.read();
                }
                Verdict::Pending { next: Next::Sync { pin }, .. } => {
                    self.post(pin, &app);
                    return None;
                }
                verdict if verdict.is_final() => return Some(verdict),
                _ => return None,
            }
        }
    }

    /// What others do in between.
    fn chaos(&mut self) {
        match self.dice.below(12) {
            0 => {
                let path = if self.dice.one_in(2) { "dev" } else { "prod" };
                let content = format!("v{}", self.dice.below(1_000));
                let id = self.commits.commit("main", [(path, content.as_str())]);
                self.note(|now| format!("{now} committed {id} to {path}"));
            }
            1 if self.dice.one_in(3) => {
                let old = self.dice.one_in(2).then(|| self.commits.head("main").unwrap());
                let revisions = old.map(|old| (0, old)).into_iter().collect();
                let request = Request { revisions, username: "bob".into(), ..Request::default() };
                if self.world.request(APP, request, self.now).is_ok() {
                    self.meddled = true;
                    self.note(|now| format!("{now} bob synced"));
                }
            }
            2 => {
                self.latches = Latches::default();
                self.crashed = true;
                self.note(|now| format!("{now} crashed"));
            }
            // A deny window that comes and goes, and objects that cannot be applied for a while.
            4 if self.dice.one_in(3) => {
                let app = self.world.apps.get_mut(APP).unwrap();
                app.spec.window_closed = !app.spec.window_closed;
                self.note(|now| format!("{now} the window changed"));
            }
            5 if self.dice.one_in(6) => {
                self.world.failing_tries = Some((1, "one or more objects failed to apply".into()));
                self.note(|now| format!("{now} a try will fail"));
            }
            3 if self.dice.one_in(4) && self.world.terminate(APP, self.now) => {
                self.meddled = true;
                self.note(|now| format!("{now} bob terminated"));
            }
            _ => {}
        }
    }

    /// Whether a final verdict may be said.
    fn check(&self, verdict: &Verdict) -> Result<(), String> {
        let observed = match verdict {
            Verdict::Live { revision, .. } => revision.to_string(),
            Verdict::Later { observed, .. } => observed.to_string(),
            other => {
                let bad = self.world.broken.contains(&self.wanted) || self.world.failing.contains_key(&self.wanted);
                let excused = self.meddled || !self.has_history || bad || self.world.failing_tries.is_some();
                return if excused { Ok(()) } else { Err(format!("{other:?}")) };
            }
        };
        let live = self.world.apps[APP].live.as_ref();
        let runs = live.is_some_and(|live| live.manifests == self.commits.content(&observed, "dev"));
        let ready = live.is_some_and(|live| live.is_ready(self.now));
        let holds = observed == self.wanted || self.commits.relation(&observed, &self.wanted) == Relation::Later;
        if runs && ready && holds {
            return Ok(());
        }
        Err(format!("called live with {observed}; runs it: {runs}, ready: {ready}, holds the wanted one: {holds}"))
    }

    fn go(mut self) -> Result<(), String> {
        let went = self.ends();
        went.map_err(|what| format!("seed {}: {what}\n{}", self.seed, self.log.join("\n")))
    }

    fn ends(&mut self) -> Result<(), String> {
        for look in 0..DISTURBED + CALM {
            if let Some(verdict) = self.poll() {
                self.check(&verdict)?;
                // Automatic sync may put another revision in place of ours, which is then synced again, though not for ever; and where the
                // memory of ours is lost as well, nothing tells that there was one.
                let auto_sync = self.world.apps[APP].spec.auto_sync;
                let most = if auto_sync { self.policy.max_syncs } else { 1 };
                let once = self.posts <= most || self.meddled || (auto_sync && self.crashed);
                return if once { Ok(()) } else { Err(format!("{} syncs", self.posts)) };
            }
            if look < DISTURBED {
                self.chaos();
            } else if look == DISTURBED {
                self.world.apps.get_mut(APP).unwrap().spec.window_closed = false;
            }
            self.now += self.dice.millis(3_000);
        }
        Err("it never ended".into())
    }
}

/// The first of `seeds` whose schedule shows that `judge` is wrong, told in full.
fn first_fault(judge: Judge, seeds: std::ops::Range<u64>) -> Option<String> {
    let seed = seeds.into_iter().find(|seed| Run::new(*seed, judge, false).go().is_err())?;
    Run::new(seed, judge, true).go().err()
}

#[test]
fn live_is_never_said_too_early_and_is_said_in_the_end() {
    // Half of the schedules on each of two threads.
    let half = SCHEDULES / 2;
    let other = std::thread::spawn(move || first_fault(judge, half..SCHEDULES));
    let fault = first_fault(judge, 0..half).or(other.join().unwrap());
    assert!(fault.is_none(), "{}", fault.unwrap_or_default());
}

/// Takes a comparison that began in the second of the operation's end for a later one.
fn believes_equal_stamps(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    let ended = app.status.operation_state.as_ref().and_then(|state| state.finished_at);
    if ended.is_some() && ended == app.status.reconciled_at {
        app.status.reconciled_at = ended.map(|at| at + SignedDuration::from_secs(10));
    }
    judge(&Case { app: &app, ..*case })
}

/// Does not look at the sync status.
fn ignores_the_sync_status(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    app.status.sync.status = Some(SyncCode::Synced);
    judge(&Case { app: &app, ..*case })
}

/// Is content with an operation that succeeded.
fn trusts_the_phase(case: &Case<'_>) -> Judgement {
    let state = case.app.status.operation_state.as_ref();
    let succeeded =
        state.is_some_and(|state| state.phase == Some(OperationPhase::Succeeded)) && case.owns_last_operation();
    let mut judgement = judge(case);
    if succeeded && let Some((_, revision)) = case.wanted.iter().next() {
        judgement.verdict = Verdict::Live { revision: revision.clone(), evidence: "it succeeded".into() };
    }
    judgement
}

#[test]
fn a_judge_that_makes_a_mistake_is_found_out() {
    let mutants: [(&str, Judge); 3] = [
        ("equal stamps", believes_equal_stamps),
        ("no sync status", ignores_the_sync_status),
        ("phase alone", trusts_the_phase),
    ];
    for (name, mutant) in mutants {
        let fault = first_fault(mutant, 0..SCHEDULES).unwrap_or_else(|| panic!("{name} is not found out"));
        assert!(fault.contains("called live with"), "{name} fails for another reason: {fault}");
    }
}
