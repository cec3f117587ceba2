//! A repository on this machine, read and written directly on its object database and refs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gix::ObjectId;
use gix::objs::{Kind, Write as _};
use gix::refs::transaction::{PreviousValue, RefEdit};
use gix::refs::{FullName, Target};
use kargo_core::{Error, ErrorKind, Result};

use super::blocking;
use super::branch_lock::BranchLock;
use super::objects::NewObjects;
use super::session::{CommitInfo, PushOutcome, RefUpdate, RemoteRef};

/// How long another program may hold the lock of the ref before the try is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often moving the ref must fail, with no lock in the way, before it is believed.
const FAILURES: u32 = 3;

/// A repository on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    path: PathBuf,
    pub(super) shown: String,
}

impl Local {
    pub(super) fn new(path: PathBuf, shown: String) -> Self {
        Self { path, shown }
    }

    /// Runs `work` on the opened repository, on a thread where it may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&gix::Repository) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path.clone();
        blocking(move || work(&open(&path)?)).await
    }

    pub(super) async fn hash(&self) -> Result<gix::hash::Kind> {
        self.with(|repository| Ok(repository.object_hash())).await
    }

    pub(super) async fn refs(&self, prefixes: &[&str]) -> Result<Vec<RemoteRef>> {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        self.with(move |repository| {
            let mut found = Vec::new();
            for prefix in &prefixes {
                if prefix.ends_with('/') {
                    let platform = repository.references().map_err(unreadable)?;
                    for reference in platform.prefixed(prefix.as_str()).map_err(unreadable)? {
                        let reference = reference.map_err(|error| {
                            Error::new(ErrorKind::Corrupt, format!("A ref cannot be read: {error}."))
                        })?;
                        found.extend(resolve(reference)?);
                    }
                } else if let Some(reference) = repository.try_find_reference(prefix.as_str()).map_err(unreadable)?
                    && reference.name().as_bstr() == prefix.as_str()
                {
                    found.extend(resolve(reference)?);
                }
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn object(&self, id: ObjectId) -> Result<(Kind, Vec<u8>)> {
        let shown = self.shown.clone();
        self.with(move |repository| match repository.try_find_object(id).map_err(unreadable)? {
            Some(object) => Ok((object.kind, object.detach().data)),
            None => Err(missing(&shown, id)),
        })
        .await
    }

    pub(super) async fn commits(&self, tips: &[ObjectId], depth: u32) -> Result<HashMap<ObjectId, CommitInfo>> {
        let (shown, tips) = (self.shown.clone(), tips.to_vec());
        self.with(move |repository| {
            let mut commits = HashMap::new();
            let mut level = tips;
            for generation in 0..depth {
                for id in std::mem::take(&mut level) {
                    if commits.contains_key(&id) {
                        continue;
                    }
                    let object = repository.try_find_object(id).map_err(unreadable)?;
                    let object = match object {
                        Some(object) if object.kind == Kind::Commit => object,
                        // The tag of a file; callers see that it is no commit by its absence.
                        Some(_) => continue,
                        // A shallow repository ends before its history does.
                        None if generation > 0 => continue,
                        None => return Err(missing(&shown, id)),
                    };
                    let info = CommitInfo::parse(&object.data, id.kind())?;
                    level.extend(&info.parents);
                    commits.insert(id, info);
                }
            }
            Ok(commits)
        })
        .await
    }

    /// Stores the objects, then moves the ref under the locks.
    ///
    /// The work goes on to its end when the future is dropped: either all of it happens or the ref stays.
    pub(super) async fn push(&self, update: &RefUpdate, objects: &NewObjects) -> Result<PushOutcome> {
        let (update, objects) = (update.clone(), objects.clone());
        self.with(move |repository| push(repository, &update, &objects)).await
    }
}

fn push(repository: &gix::Repository, update: &RefUpdate, objects: &NewObjects) -> Result<PushOutcome> {
    let name = FullName::try_from(update.name.as_str()).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("{} is no name of a branch.", update.name)).because(error)
    })?;
    if !repository.is_bare()
        && repository.head_name().map_err(unreadable)?.is_some_and(|head| head.as_bstr() == update.name.as_str())
    {
        return Ok(PushOutcome::Rejected {
            reason: "the branch is checked out in the repository's work tree".to_owned(),
            text: "write to a bare repository, or check another branch out".to_owned(),
        });
    }
    for (id, kind, data) in objects.bottom_up() {
        repository.objects.write_buf_with_known_id(kind, data, id).map_err(|error| unwritable(repository, error))?;
    }
    let give_up = Instant::now() + PATIENCE;
    let lock = BranchLock::acquire(repository.common_dir(), &update.name, update.new, give_up)?;
    let mut failures = 0;
    let outcome = loop {
        match settled(repository, update)? {
            Some(outcome) => break outcome,
            None => {
                let edit = RefEdit::update(
                    name.clone(),
                    update.new,
                    PreviousValue::MustExistAndMatch(Target::Object(update.old)),
                    "kargo: promotion",
                );
                let Err(error) =
                    repository.edit_references_as([edit], Some(log_signature().to_ref(&mut Default::default())))
                else {
                    break PushOutcome::Updated;
                };
                if let Some(outcome) = settled(repository, update)? {
                    break outcome;
                }
                // A lock may have gone since it was in the way, so one failure without it says nothing.
                if !lock.is_ref_locked() {
                    failures += 1;
                    if failures >= FAILURES {
                        return Err(unwritable(repository, error));
                    }
                } else if Instant::now() >= give_up {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "Another program holds {}; if none runs, delete that file.",
                            lock.ref_lock_path().display()
                        ),
                    )
                    .because(error));
                }
                lock.remove_stale();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    };
    drop(lock);
    Ok(outcome)
}

/// The outcome, when the ref is no longer where it was.
fn settled(repository: &gix::Repository, update: &RefUpdate) -> Result<Option<PushOutcome>> {
    let reference = repository.try_find_reference(update.name.as_str()).map_err(unreadable)?;
    if reference.as_ref().is_some_and(|reference| reference.try_id().is_none()) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{} stands for another branch; write to that one.", update.name),
        ));
    }
    let tip = reference.and_then(|reference| reference.try_id().map(gix::Id::detach));
    Ok(match tip {
        Some(tip) if tip == update.new => Some(PushOutcome::Updated),
        Some(tip) if tip == update.old => None,
        tip => Some(PushOutcome::Conflict { tip }),
    })
}

/// Who appears in the log of refs that a repository with a work tree keeps.
fn log_signature() -> gix::actor::Signature {
    gix::actor::Signature { name: "Kargo".into(), email: "kargo@localhost".into(), time: gix::date::Time::now_utc() }
}

pub(crate) fn open(path: &Path) -> Result<gix::Repository> {
    gix::open_opts(path, gix::open::Options::isolated().strict_config(false)).map_err(|error| {
        let (kind, hint) = if path.exists() {
            (ErrorKind::InvalidInput, "it is there, but no repository")
        } else {
            (ErrorKind::NotFound, "nothing is there")
        };
        Error::new(kind, format!("There is no Git repository at {}: {hint}.", path.display())).because(error)
    })
}

fn resolve(mut reference: gix::Reference<'_>) -> Result<Option<RemoteRef>> {
    let name = reference.name().as_bstr().to_string();
    let target = match reference.target() {
        gix::refs::TargetRef::Symbolic(target) => Some(target.as_bstr().to_string()),
        gix::refs::TargetRef::Object(_) => None,
    };
    let direct = reference.try_id().map(gix::Id::detach);
    let peeled = match reference.peel_to_id() {
        Ok(id) => id.detach(),
        // A branch that HEAD names and that has no commit yet.
        Err(_) if target.is_some() => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let id = direct.unwrap_or(peeled);
    Ok(Some(RemoteRef { name, id, peeled: (peeled != id).then_some(peeled), target }))
}

fn missing(shown: &str, id: ObjectId) -> Error {
    Error::new(ErrorKind::NotFound, format!("The repository {shown} has no object {id}."))
}

fn unreadable(error: gix::error::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "The repository cannot be read.").because(error)
}

fn unwritable(repository: &gix::Repository, error: gix::error::Error) -> Error {
    let denied = std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    let kind = if denied { ErrorKind::PermissionDenied } else { ErrorKind::Unavailable };
    let message = format!(
        "The repository {} cannot be written; has it room, and may this user write it?",
        repository.git_dir().display()
    );
    Error::new(kind, message).because(error)
}
