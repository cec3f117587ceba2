//! Approval of a promotion's step by people: who is asked, what they answered, and what that comes to.
//!
//! A step that waits for people says whom it asks in what it wants to remember ([`Demand::to_state`]). The engine takes answers
//! ([`Engine::answer`](crate::Engine::answer)) of those alone whom the demand names, journals each with its actor, and calls the step at
//! once with all of them ([`StepRequest::answers`](crate::plugin::StepRequest)). What they come to is [`Demand::standing`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::actor::Actor;

/// The field of a step's remembered state in which a demand stands.
const FIELD: &str = "approval";

/// By what a person is known to be one of those who are asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// By something that their log-in says of them, such as `email` or a group.
    Claim {
        /// Its name.
        claim: String,
        /// What it has to be, to the letter; of several values, one.
        value: String,
    },
    /// By a role that the host gives them.
    Role(String),
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim { claim, value } => write!(f, "{claim} {value}"),
            Self::Role(role) => write!(f, "role {role}"),
        }
    }
}

/// Somebody who is asked: a person or a group of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    /// By what they are known.
    pub ground: Ground,
    /// Whether one of them must approve, whoever else has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

/// Who is asked, and how many have to approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Those who are asked.
    pub approvers: Vec<Approver>,
    /// How many persons of those have to approve.
    pub min_approvals: u32,
}

/// What somebody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Go on.
    Approved,
    /// Do not: the step fails.
    Rejected,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        })
    }
}

/// One person's answer, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who.
    pub actor: Actor,
    /// What they said.
    pub verdict: Verdict,
    /// As which of those who are asked.
    pub grounds: Vec<Ground>,
    /// Why, in their words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// What is known of the person who answers, from the host's log-in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) claims: BTreeMap<String, BTreeSet<String>>,
    pub(crate) roles: BTreeSet<String>,
}

/// What the answers come to so far.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// All who have to have approved.
    Granted,
    /// Somebody has said no.
    Rejected {
        /// Who.
        actor: Actor,
        /// Why, in their words; may be empty.
        message: String,
    },
    /// Not yet.
    Open {
        /// For whom it waits, in words.
        waits_for: String,
    },
}

impl Demand {
    /// What a step that waits for this is to remember.
    pub fn to_state(&self) -> Value {
        json!({ FIELD: self })
    }

    /// The demand that a waiting step remembers, if it has one.
    pub fn of_state(state: &Value) -> Option<Self> {
        Self::deserialize(state.get(FIELD)?).ok()
    }

    /// As which of those who are asked a person may answer; none when they are not asked.
    pub(crate) fn grounds(&self, known: &Known) -> Vec<Ground> {
        let is = |ground: &&Ground| match ground {
            Ground::Claim { claim, value } => known.claims.get(claim).is_some_and(|values| values.contains(value)),
            Ground::Role(role) => known.roles.contains(role),
        };
        self.approvers.iter().map(|approver| &approver.ground).filter(is).cloned().collect()
    }

    /// What `answers` come to. Of each actor the last one counts, and only as one of those who are asked. A rejection counts more than
    /// any number of approvals. One person counts once towards the number, and for every group that they are of.
    pub fn standing(&self, answers: &[Answer]) -> Standing {
        let mut last: BTreeMap<&Actor, &Answer> = BTreeMap::new();
        let asked = |answer: &&Answer| self.approvers.iter().any(|approver| answer.grounds.contains(&approver.ground));
        for answer in answers.iter().filter(asked) {
            last.insert(&answer.actor, answer);
        }
        if let Some(no) =
            last.values().filter(|answer| answer.verdict == Verdict::Rejected).min_by_key(|answer| answer.at)
        {
            return Standing::Rejected { actor: no.actor.clone(), message: no.message.clone() };
        }
        let has_approved = |approver: &&Approver| last.values().any(|answer| answer.grounds.contains(&approver.ground));
        let required = self.approvers.iter().filter(|approver| approver.required && !has_approved(approver));
        let missing: Vec<String> = required.map(|approver| approver.ground.to_string()).collect();
        let wanted = self.min_approvals as usize;
        if missing.is_empty() && last.len() >= wanted {
            return Standing::Granted;
        }
        let mut waits_for = format!("{} of {wanted} approvals", last.len());
        if missing.is_empty() {
            let others: Vec<String> = self.approvers.iter().map(|approver| approver.ground.to_string()).collect();
            waits_for.push_str(&format!("; asked: {}", others.join(", ")));
        } else {
            waits_for.push_str(&format!("; required: {}", missing.join(", ")));
        }
        Standing::Open { waits_for }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, required: bool) -> Approver {
        Approver { ground: Ground::Role(name.to_owned()), required }
    }

    fn answer(who: &str, verdict: Verdict, roles: &[&str], second: i64) -> Answer {
        let grounds = roles.iter().map(|role| Ground::Role((*role).to_owned())).collect();
        let at = Timestamp::from_second(second).unwrap();
        Answer { actor: Actor::user(who), verdict, grounds, message: String::new(), at }
    }

    #[test]
    fn a_quorum_counts_persons_and_wants_those_who_are_required() {
        use Verdict::{Approved, Rejected};
        let demand = Demand { approvers: vec![role("dev", false), role("sre", true)], min_approvals: 2 };
        let standing = |answers: &[Answer]| demand.standing(answers);
        let open = |answers: &[Answer], parts: &[&str]| match standing(answers) {
            Standing::Open { waits_for } => {
                parts.iter().for_each(|part| assert!(waits_for.contains(part), "{waits_for}"))
            }
            other => panic!("{other:?}"),
        };
        let (ann, bob) = (answer("ann", Approved, &["dev"], 1), answer("bob", Approved, &["dev"], 2));
        open(&[], &["0 of 2", "role sre"]);
        open(&[ann.clone(), ann.clone()], &["1 of 2", "role sre"]);
        open(&[ann.clone(), bob.clone()], &["2 of 2", "required: role sre"]);
        let both = answer("sue", Approved, &["dev", "sre"], 3);
        open(std::slice::from_ref(&both), &["1 of 2", "asked: role dev, role sre"]);
        assert_eq!(standing(&[both.clone(), bob.clone()]), Standing::Granted);
        // Who is not asked any more, or never was, does not count.
        open(&[both.clone(), answer("eve", Approved, &["guest"], 4)], &["1 of 2"]);
        // A change of mind before the end counts, either way.
        let no = answer("bob", Rejected, &["dev"], 5);
        assert!(
            matches!(standing(&[both.clone(), bob.clone(), no.clone()]), Standing::Rejected { actor, .. } if actor == Actor::user("bob"))
        );
        assert_eq!(standing(&[both, no, bob]), Standing::Granted);
    }

    #[test]
    fn a_person_is_known_by_claims_and_roles() {
        let claim = |value: &str| Ground::Claim { claim: "groups".to_owned(), value: value.to_owned() };
        let approvers = ["ops", "leads"].map(|value| Approver { ground: claim(value), required: false });
        let demand = Demand { approvers: approvers.into(), min_approvals: 1 };
        let known = |groups: &[&str]| Known {
            claims: BTreeMap::from([("groups".to_owned(), groups.iter().map(|group| (*group).to_owned()).collect())]),
            // A role of that name is something else.
            roles: BTreeSet::from(["ops".to_owned()]),
        };
        assert_eq!(demand.grounds(&known(&["staff", "leads"])), [claim("leads")]);
        assert_eq!(demand.grounds(&known(&["Leads"])), []);
        assert_eq!(Demand::of_state(&demand.to_state()), Some(demand));
        assert_eq!(Demand::of_state(&json!({"seen": 1})), None);
    }
}
