//! Is it good?

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::Context;
use crate::error::Result;
use crate::name::VerificationId;
use crate::promotion::PromotionInfo;

/// Says whether what a promotion brought is good, or as a step of one ([`StepSpec::verify`](crate::StepSpec::verify)) whether what it brings is.
///
/// ```
/// use async_trait::async_trait;
/// use kargo_core::plugin::{Context, Verdict, Verifier, VerifyRequest};
/// use kargo_core::Result;
///
/// /// Not on a Friday.
/// #[derive(Debug)]
/// struct NotOnFriday;
///
/// #[async_trait]
/// impl Verifier for NotOnFriday {
///     async fn verify(&self, cx: &Context, _request: &VerifyRequest<'_>) -> Result<Verdict> {
///         let today = cx.now().to_zoned_datetime(jiff::tz::TimeZone::UTC).weekday();
///         if today == jiff::civil::Weekday::Friday {
///             return Ok(Verdict::fail("it is Friday"));
///         }
///         Ok(Verdict::pass(format!("it is {today:?}")))
///     }
/// }
/// ```
#[async_trait]
pub trait Verifier: Debug + Send + Sync + 'static {
    /// Checks a configuration when the pipeline is put together.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field and what it should be.
    fn validate(&self, config: &Value) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Starts the check, or looks how it is getting on.
    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict>;
}

/// A question to a verifier.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifyRequest<'a> {
    /// The verification; each promotion has its own, and so has each of its steps.
    pub verification: &'a VerificationId,
    /// The promotion whose result is looked at, or the one under way of which this is a step.
    pub promotion: &'a PromotionInfo,
    /// The verifier's configuration.
    pub config: &'a Value,
    /// When this verifier was started, from the journal.
    pub started_at: Timestamp,
    /// What the last call wanted to remember. `None` in the first call, and when the last call's answer was lost.
    pub state: Option<&'a Value>,
}

impl<'a> VerifyRequest<'a> {
    /// A first question.
    pub fn new(
        verification: &'a VerificationId,
        promotion: &'a PromotionInfo,
        config: &'a Value,
        started_at: Timestamp,
    ) -> Self {
        Self { verification, promotion, config, started_at, state: None }
    }

    /// Hands over what the last call wanted to remember.
    #[must_use]
    pub fn with_state(mut self, state: Option<&'a Value>) -> Self {
        self.state = state;
        self
    }
}

/// A verifier's answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// Good.
    Pass {
        /// How that is known, in words.
        evidence: String,
    },
    /// Not good.
    Fail {
        /// Why, in words.
        reason: String,
    },
    /// Cannot be said; a person has to look. Counts as not passed.
    Inconclusive {
        /// Why, in words.
        reason: String,
    },
    /// Not known yet.
    Pending {
        /// What it waits for.
        reason: String,
        /// When to ask again.
        check_after: Duration,
        /// What to hand to the next call. Journaled when it changes.
        state: Option<Value>,
    },
}

impl Verdict {
    /// Good, and how that is known.
    pub fn pass(evidence: impl Into<String>) -> Self {
        Self::Pass { evidence: evidence.into() }
    }

    /// Not good, and why.
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::Fail { reason: reason.into() }
    }

    /// Cannot be said, and why.
    pub fn inconclusive(reason: impl Into<String>) -> Self {
        Self::Inconclusive { reason: reason.into() }
    }

    /// Not known yet, without anything to remember.
    pub fn pending(reason: impl Into<String>, check_after: Duration) -> Self {
        Self::Pending { reason: reason.into(), check_after, state: None }
    }
}

#[async_trait]
impl<T: Verifier + ?Sized> Verifier for Arc<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        (**self).verify(cx, request).await
    }
}

#[async_trait]
impl<T: Verifier + ?Sized> Verifier for Box<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        (**self).verify(cx, request).await
    }
}
