//! What policies mean for the stages of a pipeline.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use crate::name::{StageName, near_match};
use crate::stage::{PromotionPolicy, Stage};

/// Has the first policy that matches a stage decide on it.
pub(super) fn decide(
    policies: &[PromotionPolicy],
    stages: &mut BTreeMap<StageName, Stage>,
    problems: &mut Vec<Problem>,
) {
    let mut named = BTreeSet::new();
    let mut undecided: BTreeSet<StageName> = stages.keys().cloned().collect();
    for (index, policy) in policies.iter().enumerate() {
        let number = index + 1;
        if let Some(name) = policy.selector.name.as_ref().and_then(|name| name.exact()) {
            if !stages.contains_key(name) {
                let near = near_match(name, stages.keys().map(StageName::as_str)).map(str::to_owned);
                problems.push(Problem::UnknownPolicyStage { policy: number, unknown: name.into(), near });
            } else if !named.insert(name) {
                problems.push(Problem::RepeatedPolicy { stage: name.into() });
            }
        }
        let matches = match policy.selector.matcher() {
            Ok(matches) => matches,
            Err(fault) => {
                let pattern = policy.selector.name.as_ref().map(ToString::to_string).unwrap_or_default();
                problems.push(Problem::BadPattern { policy: number, pattern, fault });
                continue;
            }
        };
        undecided.retain(|name| {
            let Some(stage) = stages.get_mut(name).filter(|stage| matches(stage)) else { return true };
            stage.auto_promote = policy.auto_promote;
            stage.auto_rollback = policy.auto_rollback.clone().map(Box::new);
            false
        });
    }
}
