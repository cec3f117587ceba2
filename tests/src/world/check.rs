//! What must be true at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kargo_argocd::testing::FakeArgoCd;
use kargo_core::state::{Event, EventKind, State};
use kargo_core::{Phase, PromotionId};
use kargo_examples::shop::STAGES;
use kargo_git::testing::BareRepository;

use crate::git;

/// Checks a journal: the events fit together, every promotion has ended and succeeded, every task that began has ended, once,
/// and every promotion's result is verified. Returns the state and the promotions.
///
/// # Panics
/// When any of this does not hold.
pub fn check_journal(events: &[Event]) -> (State, BTreeSet<PromotionId>) {
    let mut state = State::new();
    let (mut began, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        state.apply(event).expect("the journal fits together");
        match &event.kind {
            EventKind::TaskStarted { task } => assert!(began.insert(task.clone()), "{task} began twice"),
            EventKind::TaskFinished { task, .. } => assert!(ended.insert(task.clone()), "{task} ended twice"),
            _ => {}
        }
    }
    assert_eq!(began, ended, "what began has ended");
    for promotion in state.promotions() {
        assert_eq!(promotion.phase, Phase::Succeeded, "{}: {}", promotion.id, promotion.message);
        assert_eq!(promotion.verifications.len(), 1, "{} is verified once", promotion.id);
        assert_eq!(promotion.verifications[0].phase, Phase::Succeeded, "{}", promotion.verifications[0].message);
    }
    let promotions = state.promotions().map(|promotion| promotion.id.clone()).collect();
    (state, promotions)
}

/// Checks a repository with stock git: one commit for each of `promotions`, of one line in one file, in a straight line on
/// top of the first commit, and nothing broken. Returns the commits by promotion.
///
/// # Panics
/// When any of this does not hold.
pub fn check_repository(path: &Path, promotions: &BTreeSet<PromotionId>) -> BTreeMap<PromotionId, String> {
    let log = git(path, &["log", "--format=%H %P|%(trailers:key=Kargo-Promotion,valueonly,separator=)", "main"]);
    let mut commits = BTreeMap::new();
    for line in log.lines() {
        let (ids, promotion) = line.split_once('|').expect("the format has a bar");
        let (id, parents) = ids.split_once(' ').expect("the format has a blank");
        if promotion.is_empty() {
            assert_eq!(parents, "", "only the first commit is no promotion's");
            continue;
        }
        assert_eq!(parents.split(' ').count(), 1, "the history is a straight line");
        let twice = commits.insert(PromotionId::from(promotion), id.to_owned());
        assert_eq!(twice, None, "promotion {promotion} has two commits");
        let stat = git(path, &["diff", "--stat", &format!("{id}^"), id]);
        assert!(stat.ends_with("1 file changed, 1 insertion(+), 1 deletion(-)"), "one line in one file, not: {stat}");
    }
    assert_eq!(commits.keys().cloned().collect::<BTreeSet<_>>(), *promotions, "one commit for each promotion");
    git(path, &["fsck", "--full", "--strict"]);
    commits
}

/// Checks what Argo CD was asked for: one sync for each of `promotions`, under its own identity and for its own commit, and in
/// the end every application runs the last commit of its stage.
///
/// # Panics
/// When any of this does not hold.
pub fn check_syncs(argocd: &FakeArgoCd, state: &State, commits: &BTreeMap<PromotionId, String>) {
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for sync in argocd.syncs() {
        let key = sync.key().expect("every sync carries the deployment that asked").to_owned();
        *asked.entry(key).or_default() += 1;
    }
    let expected: BTreeMap<String, usize> =
        commits.keys().map(|promotion| (format!("{promotion}/step-2"), 1)).collect();
    assert_eq!(asked, expected, "one sync for each promotion");
    for stage in STAGES {
        let last =
            state.stage(&stage.into()).and_then(|stage| stage.history.front()).expect("the stage was promoted to");
        assert_eq!(argocd.live_revision(&format!("shop-{stage}")).as_ref(), Some(&commits[last]), "{stage}");
    }
}

/// Checks that the values file of each stage holds `version` and is otherwise as it was.
///
/// # Panics
/// When it does not.
pub fn check_values(repository: &BareRepository, version: &str) {
    for stage in STAGES {
        let text = repository.read("main", &format!("env/{stage}/values.yaml"));
        let expected = kargo_examples::shop::first_values(stage).replace("tag: none", &format!("tag: {version}"));
        assert_eq!(text, expected, "{stage}");
    }
}
