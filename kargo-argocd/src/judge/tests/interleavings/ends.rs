//! How schedules end. A schedule that does not end live must have a reason that what was done to it explains; and there must be enough of
/// each kind, or the property would hold of next to nothing.
use std::collections::BTreeMap;
use std::ops::AddAssign;

use kargo_core::plugin::Relation;

use super::super::super::Verdict;
use super::{Kind, MEDDLING, Run, SCHEDULES};
use crate::testing::model::World;

/// What was counted, by its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How the schedules ended.
    pub(super) ends: BTreeMap<&'static str, u64>,
    /// In how many schedules somebody did something.
    pub(super) disturbed: BTreeMap<&'static str, u64>,
    /// In how many schedules nothing was in the way of the wanted revision.
    pub(super) fair: u64,
}

/// The good ends. The others are excuses: reasons outside of the judge why it cannot become live.
pub(super) const LIVE: [&str; 2] = ["live", "later"];

/// Of a hundred schedules, how many at most have each excuse: about what was measured over 100,000, and half as much again; the rarest have
/// more, since a debug build tries fewer. Beyond that is a judge that hides behind them.
const EXCUSED: [(&str, f64); 8] = [
    // The wanted revision itself is one that cannot be deployed.
    ("broken", 2.4),
    ("refused", 3.2),
    ("unrenderable", 0.4),
    // Somebody made the sync of it fail, or stopped it.
    ("a try failed", 4.3),
    ("terminated", 3.9),
    ("theirs failed", 2.6),
    // Somebody had something else run, again and again.
    ("undone", 0.3),
    // A branch that moved on, and nobody who knows how.
    ("not known", 6.9),
];

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.fair += other.fair;
        for (into, from) in [(&mut self.ends, other.ends), (&mut self.disturbed, other.disturbed)] {
            from.into_iter().for_each(|(name, count)| *into.entry(name).or_default() += count);
        }
    }
}

impl Tally {
    /// Of a hundred schedules, how many ended so.
    fn share(&self, names: &[&str]) -> f64 {
        let count: u64 = names.iter().filter_map(|name| self.ends.get(name)).sum();
        count as f64 * 100.0 / SCHEDULES as f64
    }

    pub(super) fn assert_that_it_is_enough(&self) {
        let live = self.share(&LIVE);
        assert!(live >= 80.0, "only {live:.1} of a hundred end live: {self:?}");
        for (name, most) in EXCUSED {
            let share = self.share(&[name]);
            assert!(share <= most, "{share:.2} of a hundred end {name}: {self:?}");
        }
        let known: Vec<&str> = LIVE.into_iter().chain(EXCUSED.map(|(name, _)| name)).collect();
        assert!(self.ends.keys().all(|end| known.contains(end)), "an excuse without a bound: {self:?}");
        let fair = self.fair as f64 * 100.0 / SCHEDULES as f64;
        assert!(fair >= 45.0, "nothing is in the way in only {fair:.1} of a hundred: {self:?}");
        for (name, least) in [("live", 50.0), ("later", 5.0), ("broken", 0.7), ("refused", 0.7), ("terminated", 0.7)] {
            assert!(self.share(&[name]) >= least, "too few end {name}: {self:?}");
        }
        let disturbances = [
            "commit",
            "sync by another",
            "crash",
            "window",
            "failing try",
            "failing commit",
            "termination",
            "image",
            "made anew",
            "old read",
            "skew",
        ];
        for name in disturbances {
            let count = self.disturbed.get(name).copied().unwrap_or_default();
            assert!(count * 100 >= SCHEDULES, "too few schedules with {name}: {self:?}");
        }
    }
}

impl Run {
    /// How one application ended, or why it must not end so.
    pub(super) fn check(&self, at: usize, verdict: &Verdict) -> Result<&'static str, String> {
        match verdict {
            Verdict::Live { revision, .. } => self.check_live(at, revision.as_str()).map(|()| "live"),
            Verdict::Later { observed, .. } => self.check_live(at, observed.as_str()).map(|()| "later"),
            Verdict::Failed { why } | Verdict::Stuck { why } | Verdict::Gone { why } => {
                self.excuse(at, why).ok_or_else(|| format!("{verdict:?}, which nothing explains"))
            }
            other => Err(format!("{other:?} is no end")),
        }
    }

    fn check_live(&self, at: usize, observed: &str) -> Result<(), String> {
        let wanted = self.wanted.iter().next().map(|(_, revision)| revision.to_string());
        let app = &self.world.apps[self.carried[at].name];
        let expected = match self.kind {
            Kind::Hydrated => self.commits.content(observed, "dev"),
            _ => self.world.render(&app.spec.sources, &[observed.to_owned()]),
        };
        let runs = app.live.as_ref().is_some_and(|live| live.manifests == expected);
        let ready = app.live.as_ref().is_some_and(|live| live.is_ready(self.now));
        let holds = wanted
            .as_ref()
            .is_none_or(|wanted| observed == wanted || self.commits.relation(observed, wanted) == Relation::Later);
        if runs && ready && holds {
            return Ok(());
        }
        Err(format!("called live with {observed}; runs it: {runs}, ready: {ready}, holds the wanted one: {holds}"))
    }

    /// Whether nothing was in the way of the wanted revision: what there was may have delayed it, and no more.
    pub(super) fn is_fair(&self) -> bool {
        let World { broken, failing, unrenderable, .. } = &self.world;
        let is_bad =
            |wanted: &str| broken.contains(wanted) || failing.contains_key(wanted) || unrenderable.contains_key(wanted);
        let did = |what: &str| self.disturbed.contains_key(what);
        let in_the_way = MEDDLING.into_iter().chain(["failing try", "failing commit"]).any(did);
        let is_followed = self.has_history || !did("commit");
        !in_the_way && is_followed && !self.wanted.iter().any(|(_, wanted)| is_bad(wanted.as_str()))
    }

    /// Whether what failed is what somebody else had committed after the wanted revision. That is no end where the wanted revision had been
    /// applied before, unless somebody meddled with it, or our memory of it was lost.
    fn is_theirs(&self, at: usize, why: &str) -> bool {
        let named = self.spoiled.iter().any(|commit| why.contains(commit));
        let wanted = self.wanted.iter().next().map(|(_, revision)| revision.to_string());
        let app = &self.world.apps[self.carried[at].name];
        // What had been applied by the first look at it may have been changed by hand since.
        let before = self.carried[at].latches.deployed;
        let mut since = app.history.iter().filter(|entry| {
            entry.deployed_at >= self.began && Some(entry.id as i64) > before && !self.kind.is_of_before()
        });
        let was_applied = wanted.is_some_and(|wanted| since.any(|entry| entry.revisions.contains(&wanted)));
        let did = |what: &&str| self.disturbed.contains_key(*what);
        named && (!was_applied || did(&"crash") || MEDDLING.iter().any(did))
    }

    /// What was done that explains why it did not become live. The reason itself has to speak of it.
    fn excuse(&self, at: usize, why: &str) -> Option<&'static str> {
        let World { broken, failing, unrenderable, .. } = &self.world;
        let wanted = self.wanted.iter().next().map(|(_, revision)| revision.to_string()).unwrap_or_default();
        let says = |text: &str| why.contains(text);
        let did = |what: &str| self.disturbed.contains_key(what);
        let excuses = [
            ("broken", broken.contains(&wanted) && (says("is Degraded") || says("tasks completed unsuccessfully"))),
            ("refused", failing.contains_key(&wanted) && says("quota exceeded")),
            // Where nothing was ever rendered, the branch to follow is not there either.
            (
                "unrenderable",
                unrenderable.contains_key(&wanted) && (says("no chart") || says("unable to resolve 'env/")),
            ),
            // Where it is over by the end of the try, all that is left to say is that something failed.
            (
                "a try failed",
                did("failing try") && (says("objects failed to apply") || says("tasks completed unsuccessfully")),
            ),
            ("terminated", did("termination") && says("was stopped by somebody")),
            ("undone", MEDDLING.iter().any(|what| did(what)) && says("after 3 syncs")),
            ("theirs failed", self.is_theirs(at, why)),
            // Nobody knows that what is followed by now holds the wanted revision.
            ("not known", !self.has_history && did("commit") && says("is not known to hold")),
        ];
        excuses.into_iter().find(|(_, explains)| *explains).map(|(name, _)| name)
    }
}
