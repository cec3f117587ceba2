//! Repositories: where they are, how to get in, and what it may cost.

mod address;
mod advertisement;
mod branch_lock;
mod builder;
mod credentials;
mod disk;
#[cfg(test)]
mod hostile;
mod http;
mod local;
mod memory;
mod objects;
mod packet;
mod push;
mod reader;
mod session;
mod sign_in;
mod ssh;
mod transport;
mod update;
mod weight;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gix::ObjectId;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Revision};

use crate::cache::{GitCache, Key, Store};

pub(crate) use address::{compared, decoded, is_loopback};
pub use builder::RemoteBuilder;
pub use credentials::Credentials;
pub(crate) use credentials::as_file;
#[cfg(feature = "testing")]
pub(crate) use local::open;
pub(crate) use objects::NewObjects;
pub(crate) use packet::readable;
pub(crate) use reader::{History, Objects};
pub(crate) use session::{CommitInfo, Push, PushOutcome, RefUpdate, RemoteRef, Session, person};
pub(crate) use sign_in::Asked;
use sign_in::{Means, SignIn};
pub(crate) use ssh::Connections;
use transport::Transport;
pub(crate) use update::OWN_BRANCHES;
pub use update::{PushOptions, RefChange};

/// A repository: behind `http://` or `https://`, behind ssh as `ssh://[user@]host[:port]/path` or `[user@]host:path`, or on this machine
/// as a path or a `file://` URL. Cheap to clone.
///
/// A repository behind HTTP is spoken to in Git's own protocol; between two calls connections are kept, what the server can do, and in
/// its [`GitCache`] what sources read of its history. Proxies are those of the environment, except for servers on this machine.
///
/// Behind ssh it is spoken to through the system's program `ssh` (Debian's package openssh-client), which ends with the call. Reading
/// takes one login and writing two. One more is taken each time that the refs are read again in the same call, as after a lost race or
/// a refused push, and each time that more history is wanted. Of a server that does not let the client ask for protocol version 2
/// (OpenSSH's `AcceptEnv GIT_PROTOCOL`), each request takes one. The user's and the system's `ssh_config` hold, so that jump
/// hosts and the like work; without [`Credentials::ssh_key`] the keys are those of the user and of the agent. The host's key must be
/// known: to this user, or by [`RemoteBuilder::known_hosts`].
///
/// A local repository is read and written directly, without a `git` program, and **no hooks of it run**; what was written to it is
/// flushed to the disk.
///
/// ```
/// use kargo_git::{Credentials, Remote};
///
/// let remote = Remote::builder("https://git.example/acme/config.git")
///     .credentials(Credentials::basic("kargo", "the token"))
///     .build()?;
/// assert_eq!(remote.url(), "https://git.example/acme/config.git");
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    place: Place,
    means: Arc<Means>,
    shown: String,
    lock_key: String,
    limits: Limits,
    cache: GitCache,
    cache_key: Key,
}

enum Place {
    Http {
        base: reqwest::Url,
        client: reqwest::Client,
        /// What the server said about itself last, and to whom.
        introduction: Mutex<Option<(Key, wire::Introduction)>>,
    },
    Ssh(Box<ssh::Access>),
    Local(PathBuf),
}

impl Remote {
    /// The repository at `url`, without credentials, with the default timeouts and limits.
    ///
    /// # Errors
    /// As [`RemoteBuilder::build`].
    pub fn new(url: impl AsRef<str>) -> Result<Self> {
        Self::builder(url).build()
    }

    /// Sets up a repository in full.
    pub fn builder(url: impl AsRef<str>) -> RemoteBuilder {
        RemoteBuilder::new(url.as_ref())
    }

    /// The URL, for HTTP without user and password; the path of a local repository.
    pub fn url(&self) -> &str {
        &self.0.shown
    }

    /// The commit on which `branch` stands.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such branch, naming one that is spelt nearly the same; and what
    /// getting at the repository can bring.
    pub async fn tip(&self, cx: &Context, branch: &str) -> Result<Revision> {
        let tip = cx.guard("read the tip of a branch", async { self.session(cx).await?.tip(branch).await }).await?;
        Ok(Revision::from(tip.to_string()))
    }

    /// The contents of the file at `path` on `branch`; `None` when there is none. Fetches the trees above it and no more.
    ///
    /// # Errors
    /// As [`Remote::tip`]; [`ErrorKind::InvalidInput`] for a path that cannot be one of a file.
    pub async fn read(&self, cx: &Context, branch: &str, path: &str) -> Result<Option<Vec<u8>>> {
        cx.guard("read a file of a branch", async {
            let mut session = self.session(cx).await?;
            let tip = session.tip(branch).await?;
            crate::tree::TreeEdit::on(&mut session, tip).await?.read(&mut session, path).await
        })
        .await
    }

    /// Opens the repository for one piece of work, whose requests and bytes are counted together and carry the same credentials.
    pub(crate) async fn session(&self, cx: &Context) -> Result<Session> {
        Ok(self.open(cx, false).await?.0)
    }

    /// As [`Remote::session`], with what is known of the repository, as far as these credentials were shown it.
    pub(crate) async fn look(&self, cx: &Context) -> Result<(Session, Arc<Store>)> {
        let (session, key) = self.open(cx, true).await?;
        Ok((session, self.0.cache.store(&key)))
    }

    /// As [`Remote::session`], and says as whom the repository is seen. Work that is `bound` keeps to that.
    pub(crate) async fn open(&self, cx: &Context, bound: bool) -> Result<(Session, Key)> {
        let (shown, limits) = (self.0.shown.clone(), self.0.limits);
        match &self.0.place {
            Place::Local(path) => Ok((Session::local(path.clone(), shown), self.0.cache_key.clone())),
            Place::Http { base, client, introduction } => {
                let (sign_in, key) = self.sign_in(cx, bound).await?;
                let http = http::Http::new(client.clone(), base.clone(), sign_in, shown.clone(), limits)?;
                let introduction = {
                    let mut last = introduction.lock().unwrap_or_else(PoisonError::into_inner);
                    let last = last.get_or_insert_with(|| (key.clone(), wire::Introduction::default()));
                    if last.0 != key {
                        *last = (key.clone(), wire::Introduction::default());
                    }
                    last.1.clone()
                };
                Ok((self.wire(wire::Wire::new(Transport::Http(Box::new(http)), shown, introduction)), key))
            }
            Place::Ssh(access) => {
                let (sign_in, key) = self.sign_in(cx, bound).await?;
                let ssh = Transport::Ssh(Box::new(ssh::Ssh::new(access, sign_in, &shown, limits)));
                Ok((self.wire(wire::Wire::new(ssh, shown, wire::Introduction::default())), key))
            }
        }
    }

    fn wire(&self, wire: wire::Wire) -> Session {
        Session::wire(wire).remembering(self.0.cache.clone(), self.0.cache_key.clone())
    }

    async fn sign_in(&self, cx: &Context, bound: bool) -> Result<(SignIn, Key)> {
        let sign_in = SignIn::begin(cx, &self.0.means, bound).await?;
        let key = self.0.cache_key.seen_as(sign_in.identity().as_ref())?;
        Ok((sign_in, key))
    }

    /// Where what is known of repositories is kept.
    pub(crate) fn cache(&self) -> &GitCache {
        &self.0.cache
    }

    /// What two remotes of one repository have in common, however their URLs are written.
    pub(crate) fn lock_key(&self) -> &str {
        &self.0.lock_key
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Remote");
        debug.field("url", &self.0.shown).field("means", &self.0.means);
        debug.finish_non_exhaustive()
    }
}

/// How long to wait for a server. The deadline of the call holds besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection. Default: 20 seconds.
    pub connect: Duration,
    /// For the next bytes of an answer; a server that packs or runs hooks is silent for a while. Default: 2 minutes.
    pub read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), read: Duration::from_secs(120) }
    }
}

/// What one piece of work may cost at most: one write, one look, or all that the steps of a promotion read through one `git-clone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests over HTTP; logins and requests over ssh. Default: 100.
    pub requests: u32,
    /// Bytes received, all requests together. Default: 256 MiB, enough for a big repository without history from a server that cannot
    /// send parts; a server that can sends some kilobytes.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 100, bytes: 256 << 20 }
    }
}

/// Runs what blocks on a thread for it. `work` is told when nobody waits for it any more: such a thread cannot be ended from outside.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct Abandon(Arc<AtomicBool>);
    impl Drop for Abandon {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let abandoned = Arc::new(AtomicBool::new(false));
    let _abandon = Abandon(Arc::clone(&abandoned));
    match tokio::task::spawn_blocking(move || work(&abandoned)).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            Err(Error::new(ErrorKind::Panicked, "Reading or writing the repository ended in a panic.").because(error))
        }
        Err(error) => Err(Error::new(ErrorKind::Cancelled, "The program is being shut down.").because(error)),
    }
}

/// An id as people may write it, in full.
pub(crate) fn parse_id(text: &str) -> Option<ObjectId> {
    ObjectId::from_hex(text.as_bytes()).ok()
}
