//! A source that finds what it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::artifact::{Artifact, GenericArtifact};
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};

/// Finds the versions that it holds, newest last published. Clones share them, so that a test keeps one and publishes to it.
///
/// ```
/// use kargo_core::testing::ScriptedSource;
///
/// let source = ScriptedSource::versions(["1.0.0"]);
/// source.publish("1.1.0");
/// assert_eq!(source.looks(), 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ScriptedSource(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    versions: Vec<String>,
    failure: Option<(ErrorKind, String)>,
    looks: usize,
}

impl ScriptedSource {
    /// A source with these versions, oldest first.
    pub fn versions<V: Into<String>>(versions: impl IntoIterator<Item = V>) -> Self {
        let source = Self::default();
        source.lock().versions = versions.into_iter().map(Into::into).collect();
        source
    }

    /// Publishes a version.
    pub fn publish(&self, version: impl Into<String>) {
        self.lock().versions.push(version.into());
    }

    /// Makes every look fail, until [`ScriptedSource::recover`].
    pub fn fail(&self, kind: ErrorKind, message: impl Into<String>) {
        self.lock().failure = Some((kind, message.into()));
    }

    /// Lets looks succeed again.
    pub fn recover(&self) {
        self.lock().failure = None;
    }

    /// How often it was asked.
    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for ScriptedSource {
    async fn discover(&self, _cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        let mut inner = self.lock();
        inner.looks += 1;
        if let Some((kind, message)) = &inner.failure {
            return Err(Error::new(*kind, message.clone()));
        }
        let cursor = Cursor(serde_json::json!(inner.versions.len()));
        if request.cursor == Some(&cursor) {
            return Ok(Discovery::Unchanged);
        }
        let candidates = inner.versions.iter().rev().map(|version| {
            Artifact::Generic(GenericArtifact {
                artifact_type: "scripted".into(),
                subscription_name: request.config["name"].as_str().unwrap_or_default().into(),
                version: version.clone(),
                metadata: serde_json::Value::Null,
            })
        });
        Ok(Discovery::Found { candidates: candidates.collect(), cursor: Some(cursor) })
    }
}
