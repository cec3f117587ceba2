//! What is known of a commit.

use jiff::Timestamp;
use kargo_core::Result;
use serde::Deserialize;

use super::exchange::Ask;
use super::model::{or_default, time};
use super::{AppRef, Client};

/// Who made a commit, when, and what for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CommitMetadata {
    /// Its author.
    #[serde(deserialize_with = "or_default")]
    pub author: String,
    /// When it was made.
    #[serde(deserialize_with = "time")]
    pub date: Option<Timestamp>,
    /// Its message.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    /// The tags that lead to it.
    #[serde(deserialize_with = "or_default")]
    pub tags: Vec<String>,
}

impl Client {
    /// What is known of a commit that an application runs in the source at `source`, counted from 0. Nothing for what is no commit, such as
    /// a chart's version: the server fails when it is asked about one, so it is not asked.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn commit_metadata(&self, app: &AppRef, revision: &str, source: usize) -> Result<Option<CommitMetadata>> {
        let is_commit = matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit {
            return Ok(None);
        }
        let mut query = app.query();
        query.push(("sourceIndex", source.to_string()));
        let what = format!("tell of the commit {revision} of the application {app}");
        let path = ["api", "v1", "applications", &app.name, "revisions", revision, "metadata"];
        self.call(&Ask::get(&path, &query, &what)).await?.decode().map(Some)
    }
}
