//! A repository as a place that parts of a workspace come from.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gix::ObjectId;
use gix::objs::Kind;
use gix::objs::tree::EntryKind as GitKind;
use kargo_core::plugin::Context;
use kargo_core::workspace::{EntryKind, Listed, Origin};
use kargo_core::{Error, ErrorKind, Result};
use tokio::sync::Mutex;

use super::checkout::Known;
use super::names;
use crate::cache::Key;
use crate::remote::{NewObjects, Remote, Session, parse_id};
use crate::tree;

/// How long a connection to a server is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(10);

/// One repository, for one promotion: what was fetched for one of its steps is there for the next, and what others have fetched with the
/// same credentials is in the [`GitCache`](crate::GitCache). Its ids are Git's. What all steps together may cost is the
/// [`Limits`](crate::Limits) of the remote.
pub(super) struct GitOrigin {
    pub(super) remote: Remote,
    pub(super) hash: gix::hash::Kind,
    /// As whom the repository was seen when it was checked out.
    key: Key,
    session: Arc<Mutex<Session>>,
    /// What was pushed from here, and need not be fetched.
    pushed: std::sync::Mutex<NewObjects>,
    /// Whether reading costs requests.
    is_remote: bool,
    /// Whether the session holds a connection of its own.
    connected: bool,
    /// How often something was asked for.
    uses: Arc<AtomicU64>,
}

impl GitOrigin {
    /// Goes on with a session by which the commits were fetched that are to be looked into.
    pub(super) async fn new(remote: Remote, key: Key, mut session: Session) -> Result<Arc<Self>> {
        let hash = session.hash().await?;
        let (is_remote, connected) = (session.is_remote(), session.holds_connection());
        let (session, pushed) = (Arc::new(Mutex::new(session)), Default::default());
        let origin = Self { remote, hash, key, session, pushed, is_remote, connected, uses: Arc::default() };
        origin.rest_when_idle();
        Ok(Arc::new(origin))
    }

    /// Whether what one has the other has too: it is the same repository, as the same credentials and the same trust show it.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key
    }

    /// Remembers what the repository has got from here: not every server gives it back by its id.
    pub(super) fn keep(&self, objects: &NewObjects) {
        self.pushed().extend(objects);
    }

    /// Lets other promotions know what the repository has got from here, up to the commit `tip`.
    pub(super) fn tell(&self, tip: ObjectId) {
        if self.is_remote {
            self.remote.cache().tell(&self.key, self.pushed().with_tip(tip));
        }
    }

    /// Signs in from now on as `session` does: what is read for an attempt to push goes with it.
    pub(super) async fn sign_in_as(&self, session: &Session) -> Result<()> {
        self.session.lock().await.sign_in_as(session)
    }

    /// These trees and files, in their order. One request for all that are not here yet.
    pub(super) async fn objects(&self, cx: &Context, ids: &[ObjectId], wanted: Kind) -> Result<Vec<Vec<u8>>> {
        let mut found: Vec<Option<(Kind, Vec<u8>)>> = {
            let pushed = self.pushed();
            ids.iter().map(|id| pushed.get(id).cloned()).collect()
        };
        let open = ids.iter().zip(&found).filter(|(_, found)| found.is_none());
        let open: Vec<ObjectId> = open.map(|(id, _)| *id).collect();
        if !open.is_empty() {
            let read = cx.guard("read from a repository", async {
                let read = self.session.lock().await.objects(cx, &open).await;
                self.rest_when_idle();
                read
            });
            let mut read = read.await?.into_iter();
            found.iter_mut().filter(|found| found.is_none()).for_each(|found| *found = read.next());
        }
        let objects = found.into_iter().flatten().zip(ids).map(|((kind, data), id)| match kind == wanted {
            true => Ok(data),
            false => Err(Error::new(
                ErrorKind::Corrupt,
                format!("In {} {id} is a {kind} where a {wanted} should be.", self.remote.url()),
            )),
        });
        objects.collect()
    }

    fn pushed(&self) -> std::sync::MutexGuard<'_, NewObjects> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit.
    pub(super) async fn commit(&self, cx: &Context, id: ObjectId) -> Result<Known> {
        let roots = cx.guard("read a commit", async {
            let mut session = self.session.lock().await;
            session.go_on(cx).await?;
            let roots = session.roots(&[id]).await;
            self.rest_when_idle();
            roots
        });
        match roots.await?.get(&id) {
            Some(tree) => Ok(Known { id, tree: *tree }),
            None => Err(Error::new(ErrorKind::Corrupt, format!("In {} {id} is no commit.", self.remote.url()))),
        }
    }

    /// Lets go of the connection when it is not used for a while: a promotion may wait for days, and servers count connections.
    fn rest_when_idle(&self) {
        if !self.connected {
            return;
        }
        let before = self.uses.fetch_add(1, Ordering::SeqCst) + 1;
        let (session, uses): (Weak<Mutex<Session>>, _) = (Arc::downgrade(&self.session), Arc::clone(&self.uses));
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            if let Some(session) = session.upgrade()
                && uses.load(Ordering::SeqCst) == before
            {
                session.lock().await.rest();
            }
        });
    }

    fn ids(&self, ids: &[&str]) -> Result<Vec<ObjectId>> {
        let read = |id: &&str| {
            parse_id(id).ok_or_else(|| Error::new(ErrorKind::InvalidInput, format!("{id:?} is no id of Git's.")))
        };
        ids.iter().map(read).collect()
    }
}

#[async_trait]
impl Origin for GitOrigin {
    async fn list(&self, cx: &Context, directories: &[&str]) -> Result<Vec<Vec<Listed>>> {
        let ids = self.ids(directories)?;
        // Git itself does not always store it.
        let empty = ObjectId::empty_tree(self.hash);
        let stored: Vec<ObjectId> = ids.iter().copied().filter(|id| *id != empty).collect();
        let mut trees = self.objects(cx, &stored, Kind::Tree).await?.into_iter();
        let mut listed = Vec::with_capacity(ids.len());
        for id in ids {
            let tree = if id == empty { Vec::new() } else { trees.next().unwrap_or_default() };
            let entries = tree::parse(&tree, self.hash)?;
            listed.push(
                entries
                    .into_iter()
                    .map(|entry| {
                        let kind = match entry.mode.kind() {
                            GitKind::Tree => EntryKind::Directory,
                            GitKind::Blob => EntryKind::File { executable: false },
                            GitKind::BlobExecutable => EntryKind::File { executable: true },
                            GitKind::Link => EntryKind::Link,
                            GitKind::Commit => EntryKind::Foreign,
                        };
                        Listed::new(names::shown(entry.filename.as_ref()), kind, entry.oid.to_string())
                    })
                    .collect(),
            );
        }
        Ok(listed)
    }

    async fn read(&self, cx: &Context, files: &[&str]) -> Result<Vec<Bytes>> {
        let files = self.objects(cx, &self.ids(files)?, Kind::Blob).await?;
        Ok(files.into_iter().map(Bytes::from).collect())
    }

    fn shares_ids_with(&self, other: &dyn Origin) -> bool {
        // They are made of the contents.
        other.as_any().downcast_ref::<Self>().is_some_and(|other| other.hash == self.hash)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for GitOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitOrigin").field("repository", &self.remote.url()).finish_non_exhaustive()
    }
}
