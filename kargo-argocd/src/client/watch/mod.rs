//! The stream of changes: one for all applications of a client.
//!
//! It only wakes. A server drops events with no more than a line in its log, so nothing is decided on one; what is decided on is always a
//! read. But where a stream has been open since the last read and told nothing but that Argo CD has compared once more, that read still
//! counts, and an application that does nothing costs no request.
//!
//! What was dropped comes to light within five minutes: by then one list of all applications is compared with what was read, where many are
//! known, and a few are read anew.

mod gist;
mod known;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Retry};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::exchange::Ask;
use super::model::Metadata;
use super::{AppRef, Application, Client, Inner, List, Refresh, Search, Snapshot};
use gist::{FIELDS, Told};
use known::Known;

/// The server sends a comment every 15 seconds; after so long a silence the connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// The pause before the first new connection; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// No event is this long: the cluster keeps no object of more than one and a half MiB.
const MAX_LINE: usize = 4 << 20;

/// The stream, and what was read of applications since it is open.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    /// Held while a list is to show that reads still hold.
    confirming: tokio::sync::Mutex<()>,
    task: JoinHandle<()>,
}

struct Shared {
    known: Mutex<Known>,
    /// Counts what was heard, so that waiting calls look.
    heard: watch::Sender<u64>,
}

/// A line of the stream; of the fields only those that are asked for.
#[derive(Deserialize)]
struct Line {
    result: Option<Event>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Event {
    application: serde_json::Value,
}

/// What is still known of an application whose other fields have a shape that is not.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    metadata: Metadata,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("connected", &self.is_connected()).finish()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    pub(super) fn open(client: &Client) -> Self {
        let shared = Arc::new(Shared { known: Mutex::default(), heard: watch::channel(0).0 });
        let task = tokio::spawn(Arc::clone(&shared).run(Arc::downgrade(&client.0)));
        Self { shared, confirming: tokio::sync::Mutex::default(), task }
    }

    /// Whether the stream is open. Once the runtime that it was opened on is gone, it is not any more.
    pub(crate) fn is_connected(&self) -> bool {
        !self.task.is_finished() && self.shared.known().connected
    }

    /// An application: as it was read last when nothing has been heard of it since, else read anew.
    pub(crate) async fn get(&self, cx: &Context, client: &Client, app: &AppRef) -> Result<Snapshot> {
        let still = self.is_connected().then(|| self.shared.known().still(app, cx.now())).flatten();
        if let Some(snapshot) = still {
            return Ok(snapshot);
        }
        if self.is_connected() && self.shared.known().wants_confirmation(app, cx.now()) {
            // One list for all who want it.
            let _turn = self.confirming.lock().await;
            if self.shared.known().wants_confirmation(app, cx.now()) {
                match client.gists().await {
                    Ok(listed) => {
                        if self.shared.known().confirm(&listed, cx.now()) {
                            self.shared.told();
                        }
                    }
                    Err(error) => {
                        tracing::debug!(error = %error.report(), "applications are read one by one, as they cannot be listed")
                    }
                }
            }
            if let Some(snapshot) = self.shared.known().still(app, cx.now()) {
                return Ok(snapshot);
            }
        }
        self.read(cx, client, app, Refresh::No).await
    }

    /// Reads an application.
    pub(crate) async fn read(&self, cx: &Context, client: &Client, app: &AppRef, refresh: Refresh) -> Result<Snapshot> {
        // What is heard while the read is under way may be newer than it.
        let began = {
            let mut known = self.shared.known();
            known.expect(app);
            known.clock()
        };
        let snapshot = client.get(app, refresh).await?;
        self.shared.known().keep(app, &snapshot, cx.now(), began);
        Ok(snapshot)
    }

    /// The applications that are searched for: as they were listed last when nothing has been heard since, unless they are to be `fresh`,
    /// else listed anew.
    pub(crate) async fn list(
        &self,
        cx: &Context,
        client: &Client,
        search: &Search,
        fresh: bool,
    ) -> Result<Vec<Snapshot>> {
        let began = {
            let mut known = self.shared.known();
            let is_open = !fresh && !self.task.is_finished();
            if let Some(found) = is_open.then(|| known.still_listed(search, cx.now())).flatten() {
                return Ok(found);
            }
            known.clock()
        };
        let mut found = client.list(search).await?;
        self.shared.known().keep_list(search, &mut found, cx.now(), began);
        Ok(found)
    }

    /// The application was changed by ourselves.
    pub(crate) fn touched(&self, app: &AppRef) {
        self.shared.known().touched(app);
    }

    /// Waits until something is heard of one of `apps`, the stream ends, or `pause` is over. Returns whether something was heard.
    ///
    /// # Errors
    /// When the call is cancelled or out of time.
    pub(crate) async fn wait(&self, cx: &Context, apps: &[AppRef], pause: Duration) -> Result<bool> {
        let mut news = self.shared.heard.subscribe();
        // Where there is no read to compare with, what counts is what is heard from now on.
        let marks: Vec<u64> = {
            let known = self.shared.known();
            apps.iter().map(|app| known.heard(app)).collect()
        };
        let heard = async {
            loop {
                news.borrow_and_update();
                {
                    let known = self.shared.known();
                    let anew = |(app, mark): (&AppRef, &u64)| known.has_news(app, *mark);
                    if !known.connected || apps.iter().zip(&marks).any(anew) {
                        return;
                    }
                }
                if news.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = heard => Ok(true),
            slept = cx.sleep(pause) => slept.map(|()| false),
        }
    }
}

/// The pauses between two connections.
#[derive(Debug)]
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The pause after a connection that ended so, and had been open for as long as that.
    fn after(&mut self, ended: &Error, open_for: Duration) -> Duration {
        // One that is cut as soon as it is open is no better than one that does not open.
        if open_for >= LONGEST_PAUSE {
            self.0 = FIRST_PAUSE;
        }
        let pause = match ended.retry() {
            // A server that does not have it, or does not let this account, will not have it soon.
            Retry::Never => LONGEST_PAUSE,
            Retry::After(asked) => asked.min(LONGEST_PAUSE).max(self.0),
            _ => self.0,
        };
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

impl Client {
    /// Of all applications what the stream would tell of them.
    async fn gists(&self) -> Result<Vec<Told>> {
        let fields = FIELDS.map(|field| format!("items.{field}")).join(",");
        let query = [("fields", fields)];
        let answer = self.call(&Ask::get(&["api", "v1", "applications"], &query, "list applications")).await?;
        Ok(answer.decode::<List>()?.items.unwrap_or_default().iter().map(Told::of).collect())
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) {
        self.heard.send_modify(|count| *count += 1);
    }

    async fn run(self: Arc<Self>, client: Weak<Inner>) {
        let mut pauses = Pauses::default();
        loop {
            let Some(inner) = client.upgrade() else { return };
            let opened = Self::connect(&Client(inner)).await;
            let (ended, lasted) = match opened {
                Ok(stream) => {
                    let began = Instant::now();
                    self.connected(true);
                    let ended = self.listen(stream).await;
                    self.connected(false);
                    (ended, began.elapsed())
                }
                Err(error) => (error, Duration::ZERO),
            };
            tracing::debug!(error = %ended.report(), "the stream of Argo CD's changes ended; applications are polled meanwhile");
            tokio::time::sleep(pauses.after(&ended, lasted)).await;
        }
    }

    async fn connect(client: &Client) -> Result<reqwest::Response> {
        let fields = FIELDS.map(|field| format!("result.application.{field}")).join(",");
        let query = [("fields", format!("result.type,{fields}"))];
        let open = client.stream(&["api", "v1", "stream", "applications"], &query, "watch applications");
        tokio::time::timeout(client.0.timeout, open).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "Argo CD did not open the stream of its changes in time."))
        })
    }

    /// What was known before may have changed unheard.
    fn connected(&self, connected: bool) {
        self.known().connected(connected);
        self.told();
    }

    /// Reads events until the stream ends; says why it did.
    async fn listen(&self, mut stream: reqwest::Response) -> Error {
        let broken =
            |text: &str| Error::new(ErrorKind::Unavailable, format!("The stream of Argo CD's changes {text}."));
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let chunk = match tokio::time::timeout(SILENCE, stream.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return broken("came to its end"),
                Ok(Err(error)) => return broken("was cut").because(error.without_url()),
                Err(_) => return broken("has been silent for too long"),
            };
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if let Err(error) = self.event(&line) {
                    return error;
                }
            }
            if rest.len() > MAX_LINE {
                return broken("sent a line without end");
            }
        }
    }

    fn event(&self, line: &[u8]) -> Result<()> {
        let line = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii();
        if line.first() != Some(&b'{') {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "The stream of Argo CD's changes sent what is no event.").because(error)
        })?;
        if line.error.is_some() {
            return Err(Error::new(ErrorKind::Unavailable, "Argo CD ended the stream of its changes with an error."));
        }
        let Some(event) = line.result else { return Ok(()) };
        let told = match Application::deserialize(&event.application) {
            Ok(app) => Some(Told::of(&app)),
            Err(_) => Named::deserialize(&event.application).ok().map(|named| Told {
                metadata: named.metadata,
                gist: None,
                compared: None,
            }),
        };
        if told.is_some_and(|told| self.known().heard_of(&told)) {
            self.told();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(retry: Retry) -> Error {
        Error::new(ErrorKind::Unavailable, "The stream was cut.").retry_as(retry)
    }

    fn seconds(pauses: &mut Pauses, retry: Retry, open_for: u64) -> u64 {
        pauses.after(&ended(retry), Duration::from_secs(open_for)).as_secs()
    }

    #[test]
    fn pauses_between_connections_grow_and_begin_anew_after_a_good_one() {
        let mut pauses = Pauses::default();
        let grown: Vec<u64> = (0..8).map(|_| seconds(&mut pauses, Retry::Backoff, 0)).collect();
        assert_eq!(grown, [1, 2, 4, 8, 16, 32, 60, 60]);
        // One that is cut soon is no good one.
        assert_eq!(seconds(&mut pauses, Retry::Backoff, 59), 60);
        assert_eq!(seconds(&mut pauses, Retry::Backoff, 60), 1, "one that lasted is");
        assert_eq!(seconds(&mut pauses, Retry::Backoff, 0), 2);
    }

    #[test]
    fn a_server_that_says_when_to_come_again_is_asked_no_sooner_and_one_without_a_stream_rarely() {
        let mut pauses = Pauses::default();
        assert_eq!(seconds(&mut pauses, Retry::Never, 0), 60);
        assert_eq!(seconds(&mut pauses, Retry::After(Duration::from_secs(20)), 0), 20);
        assert_eq!(seconds(&mut pauses, Retry::After(Duration::from_secs(3_600)), 0), 60, "a minute is the most");
        assert_eq!(seconds(&mut pauses, Retry::After(Duration::ZERO), 0), 8, "and never sooner than by itself");
        assert_eq!(seconds(&mut pauses, Retry::Never, 3_600), 60, "also after a good one");
        assert_eq!(seconds(&mut pauses, Retry::Backoff, 0), 2);
    }
}
