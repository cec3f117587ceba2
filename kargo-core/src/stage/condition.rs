//! When a step runs.

use serde::{Deserialize, Serialize};

use crate::promotion::Phase;

/// When a step runs, by what became of the steps before it. A step with a condition of its own does not need the steps before
/// it to have succeeded, unless the condition says so; the same holds in Kargo.
///
/// Steps that [continue on error](crate::StepSpec::continue_on_error) count as neither success nor failure here. After an abort
/// only steps run whose condition names [`Condition::Always`].
///
/// ```
/// use kargo_core::{Condition, Phase, StepSpec};
/// use serde_json::json;
///
/// let close = StepSpec::new("close-pr", json!({}))
///     .when(Condition::Always.and(Condition::status("open-pr", Phase::Succeeded)).and(Condition::Success.not()));
/// let tell = StepSpec::new("tell-on-call", json!({})).when(Condition::Failure);
/// # let _ = (close, tell);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Condition {
    /// No step before it has failed, and the promotion was not aborted.
    Success,
    /// A step before it has failed.
    Failure,
    /// In any case, also after an abort.
    Always,
    /// An earlier step has ended so. A step that did not run is [`Phase::Skipped`].
    Status {
        /// The step's name.
        step: String,
        /// How it has ended.
        phase: Phase,
    },
    /// The other does not hold.
    Not(Box<Condition>),
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
    /// What stands in this text between `${{` and `}}` gives true, as in Kargo's `if`: see [`crate::expr`]. It is evaluated when the
    /// step would begin, so that one whose expression does not hold begins and is then skipped. After an abort it is evaluated only
    /// when it names `always()`.
    Expression(String),
}

/// What became of the steps before one.
pub(crate) trait Before {
    /// Whether one has failed that counts.
    fn failed(&self) -> bool;
    /// Whether the promotion was aborted.
    fn aborted(&self) -> bool;
    /// How the step of this name has ended.
    fn phase_of(&self, step: &str) -> Option<Phase>;
}

impl Condition {
    /// How deep conditions may be nested, so that a journal stays readable.
    pub const MAX_DEPTH: usize = 8;

    /// The step `step` has ended with `phase`.
    pub fn status(step: impl Into<String>, phase: Phase) -> Self {
        Self::Status { step: step.into(), phase }
    }

    /// It does not hold.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it reads as the other builders do, and `!` could not be chained"
    )]
    pub fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// This and `other` hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut all) => {
                all.push(other);
                Self::All(all)
            }
            first => Self::All(vec![first, other]),
        }
    }

    /// This or `other` holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Any(mut any) => {
                any.push(other);
                Self::Any(any)
            }
            first => Self::Any(vec![first, other]),
        }
    }

    /// Whether it holds, where `evaluate` says so of the expressions; `None` when that depends on one that it does not know.
    pub(crate) fn holds(&self, before: &impl Before, evaluate: &mut impl FnMut(&str) -> Option<bool>) -> Option<bool> {
        // Of several, the first that decides. One that nobody knows decides only when all others leave it to it.
        let mut first = |inner: &[Self], deciding: bool| {
            let mut unknown = false;
            for one in inner {
                match one.holds(before, evaluate) {
                    Some(holds) if holds == deciding => return Some(deciding),
                    Some(_) => {}
                    None => unknown = true,
                }
            }
            if unknown { None } else { Some(!deciding) }
        };
        match self {
            Self::Success => Some(!before.failed() && !before.aborted()),
            Self::Failure => Some(before.failed()),
            Self::Always => Some(true),
            Self::Status { step, phase } => Some(before.phase_of(step) == Some(*phase)),
            Self::All(all) => first(all, false),
            Self::Any(any) => first(any, true),
            Self::Not(other) => other.holds(before, evaluate).map(|holds| !holds),
            Self::Expression(text) if before.aborted() && !names_always(text) => Some(false),
            Self::Expression(text) => evaluate(text),
        }
    }

    /// Whether it can hold after an abort.
    pub(crate) fn outlives_abort(&self) -> bool {
        self.any(&mut |one| match one {
            Self::Always => true,
            Self::Expression(text) => names_always(text),
            _ => false,
        })
    }

    /// Whether there is an expression in it.
    pub(crate) fn has_expression(&self) -> bool {
        self.any(&mut |one| matches!(one, Self::Expression(_)))
    }

    /// The expressions in it.
    pub(crate) fn expressions(&self) -> Vec<&str> {
        let mut texts = Vec::new();
        self.any(&mut |one| {
            if let Self::Expression(text) = one {
                texts.push(text.as_str());
            }
            false
        });
        texts
    }

    /// The steps that it names.
    pub(crate) fn steps(&self) -> Vec<&str> {
        let mut steps = Vec::new();
        self.any(&mut |one| {
            if let Self::Status { step, .. } = one {
                steps.push(step.as_str());
            }
            false
        });
        steps
    }

    pub(crate) fn depth(&self) -> usize {
        let deepest = |inner: &[Self]| inner.iter().map(Self::depth).max().unwrap_or(0);
        1 + match self {
            Self::Not(other) => other.depth(),
            Self::All(inner) | Self::Any(inner) => deepest(inner),
            _ => 0,
        }
    }

    fn any<'a>(&'a self, look: &mut impl FnMut(&'a Self) -> bool) -> bool {
        look(self)
            || match self {
                Self::Not(other) => other.any(look),
                Self::All(inner) | Self::Any(inner) => inner.iter().any(|one| one.any(look)),
                _ => false,
            }
    }
}

/// Whether an expression calls `always()`.
fn names_always(text: &str) -> bool {
    text.match_indices("always").any(|(at, name)| text[at + name.len()..].trim_start().starts_with('('))
}
