//! What versions exist?

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Context;
use crate::artifact::Artifact;
use crate::error::Result;

/// Finds artifacts: images in a registry, tags in a repository, whatever a host has.
///
/// **A partial answer is an error.** Half a tag list must never be returned as if it were the whole.
///
/// ```
/// use async_trait::async_trait;
/// use kargo_core::plugin::{Context, DiscoverRequest, Discovery, Source};
/// use kargo_core::{Artifact, GenericArtifact, Result};
///
/// /// A release train that leaves every day.
/// #[derive(Debug)]
/// struct Daily;
///
/// #[async_trait]
/// impl Source for Daily {
///     async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
///         let artifact = GenericArtifact {
///             artifact_type: "daily".into(),
///             subscription_name: request.config["train"].as_str().unwrap_or("main").into(),
///             version: cx.now().strftime("%Y.%m.%d").to_string(),
///             metadata: Default::default(),
///         };
///         Ok(Discovery::found(vec![Artifact::Generic(artifact)]))
///     }
/// }
/// ```
#[async_trait]
pub trait Source: Debug + Send + Sync + 'static {
    /// Checks a subscription's configuration when the pipeline is put together.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field and what it should be.
    fn validate(&self, config: &Value) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Looks once.
    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery>;
}

/// A look at one subscription.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DiscoverRequest<'a> {
    /// The subscription's configuration.
    pub config: &'a Value,
    /// What the last look returned, if it is still known. A source uses it to find that nothing has changed with one
    /// round trip, and must give the same result without it.
    pub cursor: Option<&'a Cursor>,
}

impl<'a> DiscoverRequest<'a> {
    /// A first look.
    pub fn new(config: &'a Value) -> Self {
        Self { config, cursor: None }
    }

    /// A look that follows another.
    #[must_use]
    pub fn with_cursor(mut self, cursor: Option<&'a Cursor>) -> Self {
        self.cursor = cursor;
        self
    }
}

/// What a source wants to remember from look to look. Opaque to the engine, which may lose it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub Value);

/// What a look found.
#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    /// The same candidates as the look that returned the request's cursor. Only ever an answer to a request with a cursor.
    Unchanged,
    /// These candidates, the preferred (newest) one first. Empty when nothing fits.
    Found {
        /// The candidates.
        candidates: Vec<Artifact>,
        /// For the next look.
        cursor: Option<Cursor>,
    },
}

impl Discovery {
    /// Candidates, the preferred one first, without a cursor.
    pub fn found(candidates: Vec<Artifact>) -> Self {
        Self::Found { candidates, cursor: None }
    }
}

#[async_trait]
impl<T: Source + ?Sized> Source for Arc<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        (**self).discover(cx, request).await
    }
}

#[async_trait]
impl<T: Source + ?Sized> Source for Box<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        (**self).discover(cx, request).await
    }
}
