//! What all forges have in common.

use std::fmt;

use jiff::Timestamp;

/// A branch and the commit on which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Branch {
    /// The name, without `refs/heads/`.
    pub name: String,
    /// The commit's id.
    pub commit: String,
    /// The commit's message.
    pub message: String,
    /// The id of the commit's tree, where the API tells it.
    pub tree: Option<String>,
}

/// Whether a pull request is still to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PullRequestState {
    /// Neither merged nor closed.
    Open,
    /// Its commits are in the target branch.
    Merged,
    /// Closed, declined or abandoned without being merged.
    Closed,
}

impl fmt::Display for PullRequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Merged => "merged",
            Self::Closed => "closed",
        })
    }
}

/// Whether an open pull request could be merged now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// As far as the forge tells, yes.
    Ready,
    /// The forge does not say before one tries.
    Unknown,
    /// The forge is finding out.
    Checking,
    /// Not yet: for what it waits, such as "required checks". Completes "waits for …".
    Waiting(String),
    /// Probably not yet, though whoever may go past what is required can merge it. For what it waits; completes "waits for …".
    Blocked(String),
    /// Not until somebody changes the branches. Why, as a clause.
    Conflict(String),
}

/// A pull request, or merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullRequest {
    /// Its number in the repository; GitLab's `iid`.
    pub number: u64,
    /// Its page, for people.
    pub url: String,
    /// Whether it is still to be decided.
    pub state: PullRequestState,
    /// Whether its author says that it is not done.
    pub draft: bool,
    /// The branch with the changes.
    pub source: String,
    /// The branch that gets them.
    pub target: String,
    /// The commit on which the source branch stands, or stood when the pull request was merged or closed.
    pub head: Option<String>,
    /// The commit by which it was merged, when it was and the forge says.
    pub merge_commit: Option<String>,
    /// Its description.
    pub description: String,
    /// The names of its labels; empty where there are none.
    pub labels: Vec<String>,
    /// Whether it could be merged. Listings mostly do not say.
    pub readiness: Readiness,
}

impl PullRequest {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.state == PullRequestState::Open
    }
}

/// Which pull requests are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullRequestQuery {
    /// The branch with the changes.
    pub source: String,
    /// The branch that gets them.
    pub target: String,
    /// Pull requests that were closed earlier than this are not needed. Where a server cannot look for branches, it bounds the listing.
    pub since: Timestamp,
}

impl PullRequestQuery {
    /// All from `source` to `target` that are open, or were closed since `since`.
    pub fn new(source: impl Into<String>, target: impl Into<String>, since: Timestamp) -> Self {
        Self { source: source.into(), target: target.into(), since }
    }
}

/// A pull request to open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewPullRequest {
    /// The branch with the changes.
    pub source: String,
    /// The branch that gets them.
    pub target: String,
    /// The title, one line.
    pub title: String,
    /// The description, in the provider's Markdown.
    pub description: String,
}

impl NewPullRequest {
    /// One from `source` to `target`.
    pub fn new(
        source: impl Into<String>,
        target: impl Into<String>,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        Self { source: source.into(), target: target.into(), title: title.into(), description: description.into() }
    }
}

/// What came of opening one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// It is open.
    New(Box<PullRequest>),
    /// There is already an open one between these branches.
    Exists,
    /// The source branch has nothing that the target branch lacks.
    NothingToMerge,
}

/// A merge to make.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct MergeRequest<'a> {
    /// The pull request as it was just read. A head that has moved since is not merged.
    pub pull_request: &'a PullRequest,
    /// How, in the provider's words; see [`super::Provider::merge_methods`]. Default: as the repository is set up.
    pub method: Option<&'a str>,
    /// What [`MergeOutcome::Started`] said when this was asked before.
    pub started: Option<&'a str>,
}

impl<'a> MergeRequest<'a> {
    /// Merges `pull_request` as the repository is set up.
    pub fn new(pull_request: &'a PullRequest) -> Self {
        Self { pull_request, method: None, started: None }
    }
}

/// What came of a try to merge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeOutcome {
    /// It is merged.
    Merged {
        /// The commit by which, when the forge says.
        commit: Option<String>,
    },
    /// The forge has begun, and is asked again later with the token, if it gave one.
    Started {
        /// For [`MergeRequest::started`].
        token: Option<String>,
    },
    /// It has changed since it was read, or its target has: look again.
    Stale {
        /// The forge's words.
        reason: String,
    },
    /// Not now, but perhaps later. For what it waits; completes "waits for …".
    NotReady {
        /// What is missing.
        reason: String,
    },
    /// Not as things are: conflicts, a method that is not allowed.
    Refused {
        /// The forge's words.
        reason: String,
    },
}
