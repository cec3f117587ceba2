//! A repository on this machine, read and written directly on its object database and refs.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gix::ObjectId;
use gix::lock::acquire::Fail;
use gix::objs::{Kind, Write as _};
use gix::refs::transaction::{PreviousValue, RefEdit};
use gix::refs::{FullName, Target};
use kargo_core::{Error, ErrorKind, Result};

use super::branch_lock::BranchLock;
use super::objects::NewObjects;
use super::session::{CommitInfo, Push, PushOutcome, RefUpdate, RemoteRef, UpdateState};
use super::{blocking, disk};

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

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the opened repository, on a thread where it may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&gix::Repository) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path.clone();
        blocking(move |_| work(&open(&path)?)).await
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

    /// Stores the objects, then changes the refs under the locks. All is on the disk when it returns.
    ///
    /// When the future is dropped the refs stay, unless they are being changed in that instant.
    pub(super) async fn push(&self, push: &Push<'_>) -> Result<PushOutcome> {
        if !push.options.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("No hooks run in {}, so there is nobody to take push options; leave them out.", self.shown),
            ));
        }
        let (path, updates, objects) = (self.path.clone(), push.updates.to_vec(), push.objects.clone());
        blocking(move |abandoned| self::push(&open(&path)?, &updates, &objects, abandoned)).await
    }

    /// Gets the ref `name` onto the disk, in case whoever moved it was killed before that.
    pub(super) async fn flush(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.with(move |repository| flush_ref(repository, &name).map_err(|error| unwritable(repository, error))).await
    }
}

fn push(
    repository: &gix::Repository,
    updates: &[RefUpdate],
    objects: &NewObjects,
    abandoned: &AtomicBool,
) -> Result<PushOutcome> {
    for update in updates {
        if is_checked_out(repository, &update.name)? {
            return Ok(PushOutcome::Rejected {
                reason: "the branch is checked out in the repository's work tree".to_owned(),
                text: "write to a bare repository, or check another branch out".to_owned(),
            });
        }
    }
    store(repository, objects).map_err(|error| unwritable(repository, error))?;
    let give_up = Instant::now() + PATIENCE;
    let null = repository.object_hash().null();
    let noted: Vec<_> = updates.iter().map(|update| (update.name.as_str(), update.new.unwrap_or(null))).collect();
    let lock = BranchLock::acquire(repository.common_dir(), &noted, give_up)?;
    let mut failures = 0;
    let outcome = loop {
        wanted(abandoned)?;
        let open = match still_open(repository, updates)? {
            Ok(open) => open,
            Err(outcome) => break outcome,
        };
        let edits = open.into_iter().map(edit).collect::<Result<Vec<_>>>()?;
        let Err(error) = change_refs(repository, edits, lock.ref_locks(), abandoned) else {
            break PushOutcome::Updated;
        };
        wanted(abandoned)?;
        if let Err(outcome) = still_open(repository, updates)? {
            break outcome;
        }
        match lock.held() {
            // A lock may have gone since it was in the way, so one failure without it says nothing.
            None => {
                failures += 1;
                if failures >= FAILURES {
                    return Err(unwritable(repository, error));
                }
            }
            Some(held) if Instant::now() >= give_up => {
                let message = format!("Another program holds {}; if none runs, delete that file.", held.display());
                return Err(Error::new(ErrorKind::Unavailable, message).because(error));
            }
            Some(_) => {}
        }
        lock.remove_stale();
        std::thread::sleep(Duration::from_millis(20));
    };
    if matches!(outcome, PushOutcome::Updated) {
        for update in updates {
            flush_ref(repository, &update.name).map_err(|error| unwritable(repository, error))?;
        }
    }
    drop(lock);
    Ok(outcome)
}

fn edit(update: &RefUpdate) -> Result<RefEdit> {
    let name = FullName::try_from(update.name.as_str()).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("{} is no name of a ref.", update.name)).because(error)
    })?;
    let expected = match update.old {
        Some(old) => PreviousValue::MustExistAndMatch(Target::Object(old)),
        None => PreviousValue::MustNotExist,
    };
    Ok(match update.new {
        Some(new) => RefEdit::update(name, new, expected, "kargo: promotion"),
        None => RefEdit::delete(name, expected),
    })
}

/// Whether a work tree, of the repository itself or linked to it, has the branch checked out.
fn is_checked_out(repository: &gix::Repository, name: &str) -> Result<bool> {
    let names_it = |directory: &Path| {
        let head = std::fs::read_to_string(directory.join("HEAD"));
        head.is_ok_and(|head| head.trim_end().strip_prefix("ref: ") == Some(name))
    };
    if names_it(repository.common_dir()) && !repository.main_repo().map_err(unreadable)?.is_bare() {
        return Ok(true);
    }
    let linked = repository.worktrees().map_err(unreadable)?;
    Ok(linked.iter().any(|linked| !linked.is_prunable() && names_it(linked.git_dir())))
}

/// Stores the objects, so that a ref that is moved to them afterwards leads to them after a power cut too.
fn store(repository: &gix::Repository, objects: &NewObjects) -> Result<(), gix::error::Error> {
    let directory = repository.objects.store_ref().path();
    let mut directories = BTreeSet::from([directory.to_owned()]);
    let mut files = Vec::new();
    for (id, kind, data) in objects.bottom_up() {
        repository.objects.write_buf_with_known_id(kind, data, id)?;
        let hex = id.to_string();
        let (above, name) = hex.split_at(2);
        files.push(directory.join(above).join(name));
        directories.insert(directory.join(above));
    }
    for path in files.iter().chain(&directories) {
        disk::flush(path).map_err(gix::error::Error::from_error)?;
    }
    Ok(())
}

/// Changes the refs, whose new content is on the disk before it counts.
fn change_refs(
    repository: &gix::Repository,
    edits: Vec<RefEdit>,
    ref_locks: &[PathBuf],
    abandoned: &AtomicBool,
) -> Result<(), gix::error::Error> {
    let wait = Fail::AfterDurationWithBackoff(Duration::from_millis(100));
    let prepared = repository.refs.transaction().prepare(edits, wait, wait)?;
    // One that is where it should be is not locked.
    for ref_lock in ref_locks.iter().filter(|ref_lock| ref_lock.exists()) {
        disk::flush(ref_lock).map_err(gix::error::Error::from_error)?;
    }
    if abandoned.load(Ordering::SeqCst) {
        return Err(gix::error::Error::from_error(std::io::Error::from(std::io::ErrorKind::Interrupted)));
    }
    prepared.commit(Some(log_signature().to_ref(&mut Default::default())))?;
    Ok(())
}

/// Gets onto the disk which files the directories of a ref hold.
fn flush_ref(repository: &gix::Repository, name: &str) -> Result<(), gix::error::Error> {
    let refs = repository.common_dir().join("refs");
    let path = repository.common_dir().join(name);
    // A ref of which there is no file is in packed-refs, where another program has put it.
    if !path.exists() {
        return Ok(());
    }
    for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(&refs)) {
        disk::flush(directory).map_err(gix::error::Error::from_error)?;
    }
    Ok(())
}

/// An error once nobody waits for the work any more, so that it has no effect that nobody expects.
fn wanted(abandoned: &AtomicBool) -> Result<()> {
    if abandoned.load(Ordering::SeqCst) {
        return Err(Error::new(ErrorKind::Cancelled, "The call was given up before the branch was moved."));
    }
    Ok(())
}

/// What is left to do, or the outcome when there is nothing, or somebody came first.
fn still_open<'a>(
    repository: &gix::Repository,
    updates: &'a [RefUpdate],
) -> Result<Result<Vec<&'a RefUpdate>, PushOutcome>> {
    let mut open = Vec::new();
    for update in updates {
        let reference = repository.try_find_reference(update.name.as_str()).map_err(unreadable)?;
        if reference.as_ref().is_some_and(|reference| reference.try_id().is_none()) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{} stands for another branch; write to that one.", update.name),
            ));
        }
        let tip = reference.and_then(|reference| reference.try_id().map(gix::Id::detach));
        match update.state(tip) {
            UpdateState::Done => {}
            UpdateState::Open => open.push(update),
            UpdateState::Overtaken => return Ok(Err(PushOutcome::Conflict { name: update.name.clone(), tip })),
        }
    }
    Ok(if open.is_empty() { Err(PushOutcome::Updated) } else { Ok(open) })
}

/// Who appears in the log of refs that a repository with a work tree keeps.
fn log_signature() -> gix::actor::Signature {
    gix::actor::Signature { name: "Kargo".into(), email: "kargo@localhost".into(), time: gix::date::Time::now_utc() }
}

pub(crate) fn open(path: &Path) -> Result<gix::Repository> {
    let repository = gix::open_opts(path, gix::open::Options::isolated().strict_config(false)).map_err(|error| {
        let (kind, hint) = if path.exists() {
            (ErrorKind::InvalidInput, "it is there, but no repository")
        } else {
            (ErrorKind::NotFound, "nothing is there")
        };
        Error::new(kind, format!("There is no Git repository at {}: {hint}.", path.display())).because(error)
    })?;
    match unknown_format(&repository) {
        Some(format) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("The repository at {} has {format}, which is not supported; serve it over HTTP.", path.display()),
        )),
        None => Ok(repository),
    }
}

/// What of the repository's format is not known here. As Git does, such a repository is not touched: its refs or objects may be
/// somewhere else than they seem.
fn unknown_format(repository: &gix::Repository) -> Option<String> {
    const KNOWN: [&str; 7] =
        ["noop", "noop-v1", "objectformat", "partialclone", "preciousobjects", "relativeworktrees", "worktreeconfig"];
    let config = repository.config_snapshot();
    // In the first version extensions do not count. Versions to come are refused by gix.
    if config.integer("core.repositoryFormatVersion").unwrap_or(0) < 1 {
        return None;
    }
    let sections = config.plumbing().sections_by_name("extensions").into_iter().flatten();
    let names = sections.flat_map(|section| section.value_names().map(|name| name.to_lowercase()).collect::<Vec<_>>());
    names.into_iter().find_map(|name| match name.as_str() {
        "refstorage" => {
            let storage = config.string("extensions.refStorage")?.to_string();
            (storage != "files").then(|| format!("the extension refstorage = {storage}"))
        }
        name if KNOWN.contains(&name) => None,
        name => Some(format!("the extension {name}")),
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
        Err(error) => return Err(unreadable(error).with("ref", name)),
    };
    let id = direct.unwrap_or(peeled);
    Ok(Some(RemoteRef { name, id, peeled: (peeled != id).then_some(peeled), target }))
}

pub(super) fn missing(shown: &str, id: ObjectId) -> Error {
    Error::new(ErrorKind::NotFound, format!("The repository {shown} has no object {id}."))
}

pub(super) fn unreadable(error: gix::error::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "The repository cannot be read.").because(error)
}

fn unwritable(repository: &gix::Repository, error: gix::error::Error) -> Error {
    let kind = disk::fault(&error).unwrap_or(ErrorKind::Unavailable);
    let message = format!(
        "The repository {} cannot be written; has it room, and may this user write it?",
        repository.git_dir().display()
    );
    Error::new(kind, message).because(error)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::remote::disk::tests::FLUSHED;
    use crate::testing::BareRepository;

    #[test]
    fn all_is_on_the_disk_before_the_branch_leads_to_it() {
        let bare = BareRepository::new();
        let old = ObjectId::from_hex(bare.commit("main", &[("a", "1")], "Start").as_bytes()).unwrap();
        let mut objects = NewObjects::default();
        let blob = objects.insert(old.kind(), Kind::Blob, b"2".to_vec()).unwrap();
        // Any object will do where only the order counts.
        let new = objects.insert(old.kind(), Kind::Blob, b"3".to_vec()).unwrap();
        let update = RefUpdate { name: "refs/heads/main".to_owned(), old: Some(old), new: Some(new) };
        let outcome = push(&open(bare.path()).unwrap(), &[update], &objects, &AtomicBool::new(false)).unwrap();
        assert!(matches!(outcome, PushOutcome::Updated), "{outcome:?}");
        let flushed = FLUSHED.take();
        let at = |path: &str| {
            let path = bare.path().join(path).canonicalize().unwrap_or_else(|_| bare.path().join(path));
            flushed.iter().position(|each| *each == path).unwrap_or_else(|| panic!("{path:?} is not in {flushed:?}"))
        };
        let lock = at("refs/heads/main.lock");
        for id in [blob, new] {
            let (above, name) = (&id.to_string()[..2], &id.to_string()[2..]);
            let (file, directory) = (at(&format!("objects/{above}/{name}")), at(&format!("objects/{above}")));
            assert!(file < directory && directory < lock && at("objects") < lock, "{flushed:?}");
        }
        assert!(at("refs/heads") > lock, "{flushed:?}");
    }
}
