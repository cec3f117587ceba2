//! Making, moving and removing branches and tags.

use gix::ObjectId;
use kargo_core::plugin::{Context, History as _, Relation};
use kargo_core::{Error, ErrorKind, Result, Revision};

use super::{NewObjects, Push, PushOutcome, RefUpdate, Remote, parse_id};
use crate::update::branch_fault;
use crate::writer::unsettled;

/// The branches that promotions make for themselves, which alone may be set back.
pub(crate) const OWN_BRANCHES: &str = "kargo/promotion/";

/// A branch or a tag to make, move or remove, on the condition that it stands where it is said to stand.
///
/// ```
/// use kargo_core::Revision;
/// use kargo_git::RefChange;
///
/// let commit = Revision::from("0123456789abcdef0123456789abcdef01234567");
/// let change = RefChange::create("refs/tags/v1.2.3", commit);
/// assert_eq!(change.name(), "refs/tags/v1.2.3");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    name: String,
    from: Option<Revision>,
    to: Option<Revision>,
}

impl RefChange {
    /// Makes `name`, in full such as `refs/heads/env/dev`, at a commit that the repository has.
    pub fn create(name: impl Into<String>, at: Revision) -> Self {
        Self { name: name.into(), from: None, to: Some(at) }
    }

    /// Moves a branch from one commit to a later one. Branches below `kargo/promotion/` may be moved anywhere.
    pub fn update(name: impl Into<String>, from: Revision, to: Revision) -> Self {
        Self { name: name.into(), from: Some(from), to: Some(to) }
    }

    /// Removes `name`, which stands at `from`: for an annotated tag the id of the tag.
    pub fn delete(name: impl Into<String>, from: Revision) -> Self {
        Self { name: name.into(), from: Some(from), to: None }
    }

    /// The ref, in full.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<RefUpdate> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidInput, what);
        let short = self.name.strip_prefix("refs/heads/").or_else(|| self.name.strip_prefix("refs/tags/"));
        let Some(short) = short else {
            return Err(invalid(format!(
                "{:?} is no branch and no tag; give it in full, as refs/heads/main.",
                self.name
            )));
        };
        if let Some(fault) = branch_fault(short) {
            return Err(invalid(format!("{:?} is no name of a branch or a tag: {fault}.", self.name)));
        }
        let id = |revision: &Option<Revision>| -> Result<Option<ObjectId>> {
            let Some(revision) = revision else { return Ok(None) };
            let id = parse_id(revision.as_str());
            id.map(Some).ok_or_else(|| invalid(format!("{revision:?} is no id of a commit in full.")))
        };
        Ok(RefUpdate { name: self.name.clone(), old: id(&self.from)?, new: id(&self.to)? })
    }

    /// Whether it moves what others may have built on.
    fn must_move_forward(&self) -> bool {
        let own = self.name.strip_prefix("refs/heads/").is_some_and(|branch| branch.starts_with(OWN_BRANCHES));
        self.from.is_some() && self.to.is_some() && !own
    }
}

/// How refs are changed; see [`Remote::change_refs`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushOptions {
    /// Lines for the hooks of the server, such as GitLab's `ci.skip`. A server that takes none refuses the change.
    pub options: Vec<String>,
    /// Lets several refs be changed one after the other, in their order and up to the first that fails. Default: all together or none,
    /// and an error from a server that cannot do that.
    pub one_by_one: bool,
}

impl PushOptions {
    /// All together, without lines for hooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the hooks of the server this line besides.
    #[must_use]
    pub fn option(mut self, line: impl Into<String>) -> Self {
        self.options.push(line.into());
        self
    }

    /// Lets refs be changed one after the other.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.one_by_one = true;
        self
    }
}

impl Remote {
    /// Makes, moves and removes branches and tags, by default all together or none. What is already as wanted is left alone, so that the
    /// same call can be made again after an answer was lost.
    ///
    /// Not cancel-safe: when the future is dropped, the refs may or may not have been changed.
    ///
    /// ```no_run
    /// # async fn run(cx: &kargo_core::plugin::Context, commit: kargo_core::Revision) -> kargo_core::Result<()> {
    /// use kargo_git::{PushOptions, RefChange, Remote};
    ///
    /// let remote = Remote::new("https://git.example/acme/config.git")?;
    /// let changes = [RefChange::create("refs/heads/env/dev", commit.clone()), RefChange::create("refs/tags/v1.2.3", commit)];
    /// remote.change_refs(cx, &changes, &PushOptions::new()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when a ref does not stand where it was said to; [`ErrorKind::PermissionDenied`] when the server refuses;
    /// [`ErrorKind::InvalidInput`] for what is no branch or tag, and for a branch that would be set back and is not below
    /// `kargo/promotion/`; [`ErrorKind::Unsupported`] when the server cannot change several together or takes no options.
    pub async fn change_refs(&self, cx: &Context, changes: &[RefChange], how: &PushOptions) -> Result<()> {
        let updates = changes.iter().map(RefChange::read).collect::<Result<Vec<_>>>()?;
        if let Some(line) = how.options.iter().find(|line| line.is_empty() || line.contains(char::is_control)) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{line:?} is no push option: give one line of text."),
            ));
        }
        for change in changes.iter().filter(|change| change.must_move_forward()) {
            if let (Some(from), Some(to)) = (&change.from, &change.to)
                && !matches!(self.relate(cx, to, from).await?, Relation::Same | Relation::Later)
            {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "{to} is not known to be later than {from}, and {} is not set back: others may have built on it.",
                        change.name
                    ),
                ));
            }
        }
        let size = if how.one_by_one { 1 } else { updates.len().max(1) };
        for updates in updates.chunks(size) {
            let push = Push { updates, objects: &NewObjects::default(), options: &how.options };
            let outcome = cx.guard("change refs", async { self.session(cx).await?.push(&push).await }).await?;
            self.settled(outcome)?;
        }
        Ok(())
    }

    fn settled(&self, outcome: PushOutcome) -> Result<()> {
        match outcome {
            PushOutcome::Updated => Ok(()),
            PushOutcome::Conflict { name, tip } => {
                let at = tip.map_or("there is none".to_owned(), |tip| format!("it is at {tip}"));
                Err(Error::new(
                    ErrorKind::Conflict,
                    format!("{name} of {} does not stand where it was thought to: {at}.", self.url()),
                ))
            }
            PushOutcome::Rejected { reason, text } => {
                let said = if text.is_empty() { String::new() } else { format!(" ({text})") };
                Err(Error::new(
                    ErrorKind::PermissionDenied,
                    format!("{} refused to change its refs: {reason}{said}; are they protected?", self.url()),
                ))
            }
            PushOutcome::Unknown { error } => Err(unsettled(error)),
        }
    }
}
