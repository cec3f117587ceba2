//! The records that Kargo's functions answer with, for hosts to make. Empty texts stand for what is not known; they are left
//! out of JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::expr::value::{Map, Record, Value};

/// A Git commit of freight, as `commitFrom` answers with it. Empty texts stand for what is not known.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of a commit")]
pub struct CommitFields<'f> {
    pub repo_url: &'f str,
    pub id: &'f str,
    pub branch: &'f str,
    pub tag: &'f str,
    pub message: &'f str,
    pub author: &'f str,
    pub committer: &'f str,
    pub subscription_name: &'f str,
}

/// The record of a commit.
pub fn commit(commit: &CommitFields<'_>) -> Record {
    Record::new("GitCommit")
        .field("RepoURL", "repoURL", commit.repo_url)
        .field("ID", "id", commit.id)
        .field("Branch", "branch", commit.branch)
        .field("Tag", "tag", commit.tag)
        .field("Message", "message", commit.message)
        .field("Author", "author", commit.author)
        .field("Committer", "committer", commit.committer)
        .field("SubscriptionName", "subscriptionName", commit.subscription_name)
}

/// The record of an image, as `imageFrom` answers with it.
pub fn image(
    repo_url: &str,
    tag: &str,
    digest: &str,
    annotations: BTreeMap<String, String>,
    subscription_name: &str,
) -> Record {
    Record::new("Image")
        .field("RepoURL", "repoURL", repo_url)
        .field("Tag", "tag", tag)
        .field("Digest", "digest", digest)
        .field("Annotations", "annotations", annotations)
        .field("SubscriptionName", "subscriptionName", subscription_name)
}

/// The record of a chart, as `chartFrom` answers with it.
pub fn chart(repo_url: &str, name: &str, version: &str, subscription_name: &str) -> Record {
    Record::new("Chart")
        .field("RepoURL", "repoURL", repo_url)
        .field("Name", "name", name)
        .field("Version", "version", version)
        .field("SubscriptionName", "subscriptionName", subscription_name)
}

/// The record of another artifact, as `artifactFrom` answers with it.
pub fn artifact(artifact_type: &str, subscription_name: &str, version: &str, metadata: Map) -> Record {
    Record::new("ArtifactReference")
        .field("ArtifactType", "artifactType", artifact_type)
        .field("SubscriptionName", "subscriptionName", subscription_name)
        .field("Version", "version", version)
        .field("Metadata", "metadata", metadata)
}

/// A step before the one at hand, as `stepMetas` has it.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "the fields are those of Kargo's")]
pub struct StepFields<'f> {
    pub alias: &'f str,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub error_count: u32,
    pub status: &'f str,
    pub message: &'f str,
    pub continue_on_error: bool,
}

/// The record of a step, as a member of `stepMetas`.
pub fn step(step: &StepFields<'_>) -> Record {
    Record::new("StepExecutionMetadata")
        .field("Alias", "alias", step.alias)
        .field("StartedAt", "startedAt", moment(step.started_at))
        .field("FinishedAt", "finishedAt", moment(step.finished_at))
        .field("ErrorCount", "errorCount", Value::Int(step.error_count.into()))
        .field("Status", "status", step.status)
        .field("Message", "message", step.message)
        .field("ContinueOnError", "continueOnError", step.continue_on_error)
}

fn moment(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Nil, |at| Value::Time(at.to_zoned_datetime(TimeZone::UTC).into()))
}

/// The record of a commit that was discovered, as `commitFrom` answers with it in criteria. Its message is the subject;
/// repository and subscription are no fields of it.
pub fn discovered_commit(commit: &CommitFields<'_>, created: Option<Timestamp>) -> Record {
    Record::new("DiscoveredCommit")
        .field("ID", "id", commit.id)
        .field("Branch", "branch", commit.branch)
        .field("Tag", "tag", commit.tag)
        .field("Subject", "subject", commit.message)
        .field("Author", "author", commit.author)
        .field("Committer", "committer", commit.committer)
        .field("CreatorDate", "creatorDate", moment(created))
}

/// The record of an image that was discovered, as `imageFrom` answers with it in criteria.
pub fn discovered_image(
    tag: &str,
    digest: &str,
    annotations: BTreeMap<String, String>,
    created: Option<Timestamp>,
) -> Record {
    Record::new("DiscoveredImageReference")
        .field("Tag", "tag", tag)
        .field("Digest", "digest", digest)
        .field("Annotations", "annotations", annotations)
        .field("CreatedAt", "createdAt", moment(created))
}
