//! Questions that only the host of an evaluation can answer.

use std::fmt;

use super::error::Fault;
use super::value::Value;

/// A question of an expression. The freight functions ask it with the repository as written in the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query<'q> {
    /// `configMap(name)` and `sharedConfigMap(name)`. Answer: a map of texts, empty when there is none.
    ConfigMap {
        /// Its name.
        name: &'q str,
        /// Whether it is among the resources that all projects share.
        shared: bool,
    },
    /// `secret(name)` and `sharedSecret(name)`. Answer: a map of texts, empty when there is none.
    Secret {
        /// Its name.
        name: &'q str,
        /// Whether it is among the resources that all projects share.
        shared: bool,
    },
    /// `commitFrom(url[, origin])`. Answer: a [`commit`](super::kargo::commit), in criteria a
    /// [`discovered_commit`](super::kargo::discovered_commit), or `nil`.
    Commit {
        /// The repository.
        repo_url: &'q str,
        /// The warehouse, when one was named.
        warehouse: Option<&'q str>,
    },
    /// `imageFrom(url[, origin])`. Answer: an [`image`](super::kargo::image), in criteria a
    /// [`discovered_image`](super::kargo::discovered_image), or `nil`.
    Image {
        /// The repository.
        repo_url: &'q str,
        /// The warehouse, when one was named.
        warehouse: Option<&'q str>,
    },
    /// `chartFrom(url[, name][, origin])`. Answer: a [`chart`](super::kargo::chart) or `nil`.
    Chart {
        /// The repository.
        repo_url: &'q str,
        /// The chart's name, when one was given.
        name: Option<&'q str>,
        /// The warehouse, when one was named.
        warehouse: Option<&'q str>,
    },
    /// `artifactFrom(subscription[, origin])`. Answer: an [`artifact`](super::kargo::artifact) or `nil`.
    Artifact {
        /// The subscription's name.
        subscription: &'q str,
        /// The warehouse, when one was named.
        warehouse: Option<&'q str>,
    },
    /// `freightMetadata(name)`. Answer: a map or `nil`.
    FreightMetadata {
        /// The freight's name.
        freight: &'q str,
    },
    /// `freightStatus(name)`. Answer: a map or `nil`.
    FreightStatus {
        /// The freight's name.
        freight: &'q str,
    },
    /// `stageMetadata(name)`. Answer: a map or `nil`.
    StageMetadata {
        /// The stage's name.
        stage: &'q str,
    },
    /// `failure()`, and `success()` as its opposite. Answer: whether a step before has failed that may not fail.
    Failure,
    /// `status(alias)`. Answer: the status of that step in the task of the step at hand, an empty text when there is none.
    Status {
        /// The step's alias.
        alias: &'q str,
    },
    /// `normalizeGit(url)`, `normalizeImage(url)`, `normalizeChart(url)`. Answer: a text.
    Normalize {
        /// `git`, `image` or `chart`.
        kind: &'static str,
        /// The URL.
        url: &'q str,
    },
}

/// Answers the questions of expressions.
///
/// An answer must be there at once. A host that has to ask elsewhere first remembers the question, answers with a [`Fault`],
/// asks, and evaluates again: evaluations have no effects, so that this is safe.
///
/// The same question gets the same answer during one evaluation, whatever else was asked.
pub trait Host: fmt::Debug + Send + Sync {
    /// The answer. The variants of [`Query`] say what it must be.
    ///
    /// # Errors
    /// What keeps the host from answering. Never the value of a secret.
    fn answer(&self, query: Query<'_>) -> Result<Value, Fault>;
}

/// Who answers when there is no host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nobody;

impl Host for Nobody {
    fn answer(&self, _: Query<'_>) -> Result<Value, Fault> {
        Err(Fault::new(super::FaultKind::Host, "Nothing outside of the expression can be asked here."))
    }
}
