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
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
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
        let live = self.share(&["live", "later"]);
        assert!(live >= 75.0, "only {live:.1} of a hundred end live: {self:?}");
        for (name, least) in [("live", 50.0), ("later", 5.0), ("broken", 0.7), ("refused", 0.7), ("terminated", 0.7)] {
            assert!(self.share(&[name]) >= least, "too few end {name}: {self:?}");
        }
        let disturbances = [
            "commit",
            "sync by another",
            "crash",
            "window",
            "failing try",
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
                self.excuse(why).ok_or_else(|| format!("{verdict:?}, which nothing explains"))
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

    /// What was done that explains why it did not become live. The reason itself has to speak of it.
    fn excuse(&self, why: &str) -> Option<&'static str> {
        let World { broken, failing, unrenderable, .. } = &self.world;
        let wanted = self.wanted.iter().next().map(|(_, revision)| revision.to_string()).unwrap_or_default();
        let says = |text: &str| why.contains(text);
        let did = |what: &str| self.disturbed.contains_key(what);
        let syncs_by_itself = self.world.apps.values().any(|app| app.spec.auto_sync);
        let excuses = [
            ("broken", broken.contains(&wanted) && (says("is Degraded") || says("tasks completed unsuccessfully"))),
            ("refused", failing.contains_key(&wanted) && says("quota exceeded")),
            ("unrenderable", unrenderable.contains_key(&wanted) && says("no chart")),
            // Where it is over by the end of the try, all that is left to say is that something failed.
            (
                "a try failed",
                did("failing try") && (says("objects failed to apply") || says("tasks completed unsuccessfully")),
            ),
            ("terminated", did("termination") && says("was stopped by somebody")),
            ("undone", MEDDLING.iter().any(|what| did(what)) && says("after 3 syncs")),
            // Automatic sync puts what is committed next in the place of ours, again and again.
            ("overtaken", syncs_by_itself && did("commit") && says("after 3 syncs")),
            // Nobody knows that what is followed by now holds the wanted revision.
            ("not known", !self.has_history && did("commit") && says("is not known to hold")),
        ];
        excuses.into_iter().find(|(_, explains)| *explains).map(|(name, _)| name)
    }
}
