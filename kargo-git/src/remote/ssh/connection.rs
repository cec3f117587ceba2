//! Connections that conversations share, because making one takes many round trips and a conversation on one that is there takes two.
//!
//! It is ssh's own multiplexing. The conversation that makes a connection does not end with its work but is kept, with nothing to say, so
//! that the connection stays for others; nothing stays when this process is killed, since the server then sees the end of that
//! conversation. Who signs in with another key, or believes in other host keys, shares none of it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use super::command::SOCKETS;
use super::process::{Broken, Process};
use crate::cache::Key;
use crate::remote::transport::Meter;

/// How long a connection stays that nobody uses. Servers count them.
const LINGER: Duration = Duration::from_secs(60);
/// How long one is used at most: a server does not look again whether the key is still good.
const AGE: Duration = Duration::from_secs(10 * 60);
/// How long the path of a socket may be on every system, without what ssh adds to it for a moment.
const LONGEST: usize = 104 - 20;

/// The connections to all servers.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<HashMap<Key, Arc<Connection>>>>);

/// What keys are made of is nobody's business.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    /// The one of these settings, there or not yet.
    pub(super) fn of(&self, key: Key) -> Arc<Connection> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&key) {
            all.retain(|_, connection| Arc::strong_count(connection) > 1 || connection.is_there());
        }
        Arc::clone(all.entry(key).or_default())
    }
}

/// A connection to a server with one key, which is made when it is needed.
#[derive(Debug, Default)]
pub(super) struct Connection {
    state: Mutex<State>,
    /// As many clones as there are conversations besides the one that made it, and this one.
    users: Arc<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Only this user may look into it.
    directory: Option<TempDir>,
    /// How many were made. The next one's socket has another name, whatever became of the last.
    made: u64,
    is: Is,
}

#[derive(Debug, Default)]
enum Is {
    #[default]
    Nowhere,
    BeingMade,
    There {
        socket: PathBuf,
        since: Instant,
        used: Instant,
        /// The conversation that made it, once it has nothing to say.
        kept: Option<Box<Process>>,
    },
    /// What stands for ssh here makes none, or there is no place for it.
    Impossible,
}

/// How a conversation reaches the server.
#[derive(Debug)]
pub(super) enum Way {
    /// By a connection of its own.
    Alone,
    /// By one that others use after it.
    Making(Making),
    /// By one that is there, until this is dropped.
    Through(PathBuf, #[allow(dead_code, reason = "it is counted")] Arc<()>),
}

/// The right to make the connection.
#[derive(Debug)]
pub(super) struct Making {
    connection: Arc<Connection>,
    pub(super) socket: PathBuf,
}

impl Connection {
    /// How the next conversation gets to the server. One that `stays` may be kept after its work.
    pub(super) fn way(self: &Arc<Self>, stays: bool) -> Way {
        let mut state = self.state();
        if let Is::There { since, kept, .. } = &mut state.is {
            let ended = kept.as_mut().is_some_and(|kept| kept.has_ended());
            let old = since.elapsed() >= AGE;
            if old && self.in_use() {
                return Way::Alone;
            }
            if ended || old {
                state.is = Is::Nowhere;
            }
        }
        match &mut state.is {
            Is::There { socket, used, .. } => {
                *used = Instant::now();
                Way::Through(socket.clone(), Arc::clone(&self.users))
            }
            Is::Nowhere if stays => match state.next_socket() {
                Some(socket) => {
                    state.is = Is::BeingMade;
                    Way::Making(Making { connection: Arc::clone(self), socket })
                }
                None => {
                    state.is = Is::Impossible;
                    Way::Alone
                }
            },
            // Nobody waits for what another makes: it may never be there.
            Is::Nowhere | Is::BeingMade | Is::Impossible => Way::Alone,
        }
    }

    fn is_there(&self) -> bool {
        matches!(self.state().is, Is::There { .. })
    }

    fn in_use(&self) -> bool {
        Arc::strong_count(&self.users) > 1
    }

    /// Lets nobody through any more, and returns what was kept for it.
    fn close(&self, socket: &Path) -> Option<Box<Process>> {
        let mut state = self.state();
        match &mut state.is {
            Is::There { socket: there, kept, .. } if there == socket => {
                let kept = kept.take();
                state.is = Is::Nowhere;
                kept
            }
            _ => None,
        }
    }

    /// Whether there is nothing left to end: it was not used for long and is over now, or another took its place.
    fn end_when_idle(&self, socket: &Path) -> bool {
        let over = {
            let mut state = self.state();
            match &mut state.is {
                Is::There { socket: there, used, kept, .. } if there == socket => {
                    if self.in_use() {
                        *used = Instant::now();
                    }
                    if used.elapsed() < LINGER {
                        return false;
                    }
                    let over = kept.take();
                    state.is = Is::Nowhere;
                    over
                }
                _ => None,
            }
        };
        drop(over);
        true
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_socket(&mut self) -> Option<PathBuf> {
        // Only there ssh can share connections.
        if !cfg!(unix) {
            return None;
        }
        if self.directory.is_none() {
            self.directory = tempfile::Builder::new().prefix(SOCKETS).rand_bytes(6).tempdir().ok();
        }
        self.made += 1;
        let socket = self.directory.as_ref()?.path().join(self.made.to_string());
        (socket.as_os_str().len() <= LONGEST).then_some(socket)
    }
}

impl Making {
    /// Says that the server has answered.
    fn done(&self) {
        let mut state = self.connection.state();
        let now = Instant::now();
        state.is = match self.socket.exists() {
            true => Is::There { socket: self.socket.clone(), since: now, used: now, kept: None },
            false => Is::Impossible,
        };
    }

    /// Keeps the conversation after its work, so that the connection stays.
    fn keep(&self, process: Process) {
        {
            let mut state = self.connection.state();
            match &mut state.is {
                Is::There { socket, used, kept, .. } if *socket == self.socket => {
                    *used = Instant::now();
                    *kept = Some(Box::new(process));
                }
                // Nobody gets through it, but somebody may be on it.
                _ => {
                    drop(state);
                    return self.end(process);
                }
            }
        }
        let (connection, socket): (Weak<Connection>, _) = (Arc::downgrade(&self.connection), self.socket.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(LINGER).await;
                    if connection.upgrade().is_none_or(|connection| connection.end_when_idle(&socket)) {
                        return;
                    }
                }
            });
        }
    }

    /// Ends the connection, when those who use it are done.
    fn end(&self, process: Process) {
        self.connection.close(&self.socket);
        let users = Arc::clone(&self.connection.users);
        // This clone counts too.
        if Arc::strong_count(&users) > 2
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                while Arc::strong_count(&users) > 2 {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                drop(process);
            });
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        if matches!(state.is, Is::BeingMade) {
            state.is = Is::Nowhere;
        }
    }
}

/// A conversation, by whatever way. What it was kept for goes on when it is dropped; else its process is killed.
#[derive(Debug)]
pub(super) struct Conversation {
    process: Option<Process>,
    way: Way,
    /// Whether all that was asked was answered.
    fit: bool,
}

impl Conversation {
    pub(super) fn begin(command: Command, way: Way) -> std::io::Result<Self> {
        Ok(Self { process: Some(Process::start(command)?), way, fit: false })
    }

    /// As [`Process::exchange`].
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        flushes: u32,
        patience: Duration,
        meter: &mut Meter,
    ) -> Result<Vec<u8>, Broken> {
        let Some(process) = &mut self.process else {
            return Err(Broken::Gone { begun: true, status: None, said: String::new() });
        };
        let first = !process.has_begun();
        self.fit = false;
        let answer = process.exchange(request, flushes, patience, meter).await?;
        self.fit = true;
        if let (true, Way::Making(making)) = (first, &self.way) {
            making.done();
        }
        Ok(answer)
    }

    /// Whether it may be the shared connection that broke it, and not the server.
    pub(super) fn may_go_alone(&self, broken: &Broken) -> bool {
        let ssh_failed = match broken {
            // What the command on the server ends with is another.
            Broken::Gone { begun, status, .. } => !begun && status.is_none_or(|status| status.code() == Some(255)),
            Broken::Silent(_) => true,
            Broken::Answer(_) => false,
        };
        ssh_failed && matches!(self.way, Way::Through(..))
    }

    /// As [`Process::finish`].
    pub(super) async fn finish(mut self) {
        self.fit = false;
        match &self.way {
            // It ends with those who use its connection.
            Way::Making(_) => {}
            Way::Alone | Way::Through(..) => {
                if let Some(process) = self.process.take() {
                    process.finish().await;
                }
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let (Some(process), Way::Making(making)) = (self.process.take(), &self.way) {
            match self.fit {
                true => making.keep(process),
                false => making.end(process),
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::remote::Limits;

    /// Says what a server says first, and makes a file where the socket should be.
    fn shell(way: &Way, script: &str) -> Command {
        let mut command = Command::new("sh");
        let socket = match way {
            Way::Making(making) => making.socket.clone(),
            _ => PathBuf::from("/dev/null"),
        };
        command.arg("-c").arg(script).arg("sh").arg(socket).kill_on_drop(true).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    const SERVER: &str = "touch \"$1\"; printf 0005a0000; while read -r a; do printf 0005b0000; done";
    const LONG: Duration = Duration::from_secs(60);

    async fn say(conversation: &mut Conversation, request: &[u8]) -> Result<Vec<u8>, Broken> {
        conversation.exchange(request, 1, LONG, &mut Meter::new("ssh://git.example/x", Limits::default())).await
    }

    async fn begin(connection: &Arc<Connection>, script: &str) -> Conversation {
        let way = connection.way(true);
        let command = shell(&way, script);
        let mut conversation = Conversation::begin(command, way).unwrap();
        say(&mut conversation, b"").await.unwrap();
        conversation
    }

    #[tokio::test]
    async fn the_connection_of_one_conversation_serves_those_after_it() {
        let connection = Arc::<Connection>::default();
        let first = begin(&connection, SERVER).await;
        let Way::Through(socket, _) = connection.way(true) else { panic!("it is there while the first goes on") };
        drop(first);
        let Way::Through(again, _) = connection.way(false) else { panic!("it is there after it") };
        assert_eq!(again, socket);
        assert!(socket.exists());
    }

    #[tokio::test]
    async fn while_one_makes_a_connection_others_go_by_their_own() {
        let connection = Arc::<Connection>::default();
        assert!(matches!(connection.way(false), Way::Alone), "what ends after one answer keeps none");
        let making = connection.way(true);
        assert!(matches!(making, Way::Making(_)) && matches!(connection.way(true), Way::Alone));
        // It came to nothing, so the next one tries.
        drop(making);
        assert!(matches!(connection.way(true), Way::Making(_)));
    }

    #[tokio::test]
    async fn what_makes_no_socket_is_not_asked_for_one_again() {
        let connection = Arc::<Connection>::default();
        drop(begin(&connection, "printf 0005a0000; cat").await);
        assert!(matches!(connection.way(true), Way::Alone));
    }

    #[tokio::test]
    async fn a_connection_that_ended_or_is_broken_is_made_again() {
        let connection = Arc::<Connection>::default();
        let mut first = begin(&connection, "touch \"$1\"; printf 0005a0000; read -r a; exit 0").await;
        let broken = say(&mut first, b"a\n").await.unwrap_err();
        assert!(matches!(broken, Broken::Gone { begun: true, .. }) && !first.may_go_alone(&broken), "{broken:?}");
        drop(first);
        assert!(matches!(connection.way(true), Way::Making(_)), "it broke in the middle");

        let ended = begin(&connection, "touch \"$1\"; printf 0005a0000; exec sleep 0.05").await;
        drop(ended);
        for _ in 0..200 {
            if matches!(connection.way(true), Way::Making(_)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody noticed that the server ended it");
    }

    #[tokio::test]
    async fn who_is_on_a_connection_is_not_cut_off_by_the_end_of_the_first() {
        let connection = Arc::<Connection>::default();
        let mut first = begin(&connection, SERVER).await;
        let through = connection.way(true);
        let id = first.process.as_ref().unwrap().id().unwrap();
        let lives = || {
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            !(state.is_empty() || state.contains(") Z "))
        };
        // Given up in the middle of an answer, which then is on its way to nobody.
        first.fit = false;
        drop(first);
        assert!(lives() && matches!(connection.way(false), Way::Alone), "it is there for the other one only");
        drop(through);
        for _ in 0..200 {
            if !lives() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{id} is still there");
    }

    #[tokio::test]
    async fn a_connection_ends_that_nobody_uses_for_a_minute() {
        let connection = Arc::<Connection>::default();
        let first = begin(&connection, SERVER).await;
        // What waits for a process would not wait for it by this clock.
        tokio::time::pause();
        drop(first);
        tokio::time::sleep(LINGER / 2).await;
        let through = connection.way(false);
        assert!(matches!(through, Way::Through(..)));
        tokio::time::sleep(LINGER * 3).await;
        assert!(connection.is_there(), "somebody uses it");
        drop(through);
        tokio::time::sleep(LINGER * 3).await;
        assert!(!connection.is_there());
        assert!(matches!(connection.way(true), Way::Making(_)));
    }

    #[tokio::test]
    async fn a_connection_is_not_used_for_ever() {
        let connection = Arc::<Connection>::default();
        let first = begin(&connection, SERVER).await;
        tokio::time::pause();
        drop(first);
        let through = connection.way(false);
        tokio::time::sleep(AGE).await;
        assert!(matches!(connection.way(true), Way::Alone), "the key may be good no more");
        drop(through);
        assert!(matches!(connection.way(true), Way::Making(_)));
    }

    #[test]
    fn who_signs_in_as_another_has_another_connection() {
        let connections = Connections::default();
        let key = |place: &str, who: &str| Key::new(place, b"").unwrap().seen_as(Some(&who.into())).unwrap();
        let mine = connections.of(key("git.example", "alice"));
        assert!(Arc::ptr_eq(&mine, &connections.of(key("git.example", "alice"))));
        for other in [key("git.example", "bob"), key("git.other.example", "alice")] {
            assert!(!Arc::ptr_eq(&mine, &connections.of(other)));
        }
        // Only what is of use is remembered.
        assert_eq!(connections.0.lock().unwrap().len(), 2);
    }
}
