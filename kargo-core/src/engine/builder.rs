//! Putting an engine together, and its recovery from the journal.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deadline::Deadline;
use super::driver::Driver;
use super::{Engine, Shared, journal};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::plugin::Plugins;
use crate::state::{Draft, EventKind};
use crate::store::{MemoryStore, Store};

/// Numbers that few hosts need to change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// After how many events a snapshot is kept, at least; a large state is kept less often. Default: 1,000.
    pub snapshot_every: u64,
    /// How many of the newest events before a snapshot the store keeps as they are; older ones it may pack into less room. They can
    /// be read all the same. Default: 10,000.
    pub compact_after: u64,
    /// How long the engine's lease on the pipeline lasts between renewals. Default: 15 seconds.
    pub lease: Duration,
    /// How long calls under way may go on when the engine is told to stop. Default: 30 seconds.
    pub shutdown_grace: Duration,
    /// How long a warehouse's look may take. Default: 5 minutes.
    pub discovery_deadline: Duration,
    /// How long one call of the store may take. While the engine drives, none outlasts its lease either. Default: 10 seconds.
    pub store_deadline: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            snapshot_every: 1_000,
            compact_after: 10_000,
            lease: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(30),
            discovery_deadline: Duration::from_secs(300),
            store_deadline: Duration::from_secs(10),
        }
    }
}

impl EngineOptions {
    /// "For ever" must not overflow a clock: a hundred years are enough.
    fn within_reach(self) -> Self {
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        Self {
            snapshot_every: self.snapshot_every.max(1),
            compact_after: self.compact_after,
            lease: self.lease.min(LONGEST),
            shutdown_grace: self.shutdown_grace.min(LONGEST),
            discovery_deadline: self.discovery_deadline.min(LONGEST),
            store_deadline: self.store_deadline.min(LONGEST),
        }
    }
}

/// Collects what an engine needs.
#[derive(Debug)]
pub struct EngineBuilder {
    pipeline: Pipeline,
    plugins: Plugins,
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    ui_base_url: Option<String>,
    options: EngineOptions,
}

impl EngineBuilder {
    pub(super) fn new(pipeline: Pipeline, plugins: Plugins) -> Self {
        let (clock, options) = (Arc::new(SystemClock), EngineOptions::default());
        Self { pipeline, plugins, store: None, clock, ui_base_url: None, options }
    }

    /// Sets where the journal lives. Default: in memory, lost with the process.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the clock. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Says where people look at pipelines: an address that begins with `https://` or `http://`. Expressions read it as `ctx.uiBaseUrl`, and
    /// pull requests link to `<url>/project/<pipeline>/stage/<stage>` there, as Kargo's do. Default: there is no such place.
    #[must_use]
    pub fn ui_base_url(mut self, url: impl Into<String>) -> Self {
        self.ui_base_url = Some(url.into());
        self
    }

    /// Sets the numbers.
    #[must_use]
    pub fn options(mut self, options: EngineOptions) -> Self {
        self.options = options;
        self
    }

    /// Checks the pipeline against the plug-ins, takes the lease, reads the journal and starts to drive. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] when a plug-in is missing or refuses its configuration, with every fault, or the address of the user
    /// interface is none;
    /// [`crate::ErrorKind::Conflict`] when another engine drives the pipeline; [`crate::ErrorKind::Corrupt`] when the journal cannot be read.
    pub async fn start(self) -> Result<Engine> {
        let Self { pipeline, plugins, store, clock, ui_base_url, options } = self;
        let options = options.within_reach();
        let ui_base_url = ui_base_url.map(|url| address(&url)).transpose()?;
        plugins.check(&pipeline)?;
        let pipeline = plugins.with_defaults(pipeline);
        let unbounded = store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let store: Arc<dyn Store> = Arc::new(Deadline::new(Arc::clone(&unbounded), options.store_deadline));
        let name = pipeline.name().clone();
        let mut taken = Instant::now();
        let lease = store.acquire_lease(&name, &holder(), options.lease).await?;
        let recovered = {
            let recovering = journal::recover(&*store, &name);
            tokio::pin!(recovering);
            // A long journal takes its time, and must not cost the lease.
            loop {
                tokio::select! {
                    biased;
                    recovered = &mut recovering => break recovered,
                    () = tokio::time::sleep(options.lease / 3) => {
                        let asked = Instant::now();
                        match store.renew_lease(&lease, options.lease).await {
                            Ok(()) => taken = asked,
                            Err(error) => break Err(error),
                        }
                    }
                }
            }
        };
        let (state, replayed) = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                // The next engine need not wait for the lease to run out.
                let _ = store.release_lease(&lease).await;
                return Err(error);
            }
        };
        let redefined = state.pipeline().is_none_or(|known| **known != pipeline);
        let head = watch::Sender::new(state.seq());
        let shared = Arc::new(Shared {
            name,
            state: RwLock::new(state),
            head,
            store,
            clock,
            ui_base_url,
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            driver: Mutex::new(None),
            trouble: Mutex::new(None),
        });
        let (commands, inbox) = mpsc::channel(64);
        let mut driver = Driver::new(Arc::clone(&shared), unbounded, plugins, options, (lease, taken), inbox);
        // Processes that die young must not leave it to the next one to read ever more of the journal.
        driver.since_snapshot = replayed;
        if redefined {
            let defined = Draft::rule(EventKind::PipelineDefined { pipeline: Arc::new(pipeline) });
            if let Err(error) = driver.append(vec![defined]).await {
                let _ = driver.give_back().await;
                return Err(error);
            }
        }
        let handle = tokio::spawn(driver.run());
        *shared.driver.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(handle);
        Ok(Engine { shared, commands })
    }
}

/// An address without a slash at its end.
fn address(url: &str) -> Result<Arc<str>> {
    let rest = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let odd = |c: char| c.is_whitespace() || c.is_control() || "@()<>\"?#".contains(c);
    match rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(odd)) {
        Some(_) => Ok(url.trim_end_matches('/').into()),
        None => Err(Error::new(
            ErrorKind::InvalidInput,
            "The address of the user interface (ui_base_url) is none; write it as https://host/path, without a password or a query.",
        )),
    }
}

/// Who holds the lease: the process, and which engine in it.
fn holder() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static ENGINES: AtomicU64 = AtomicU64::new(1);
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
    let started = jiff::Timestamp::now().as_millisecond();
    format!("{host}/{}/{started}/{}", std::process::id(), ENGINES.fetch_add(1, Ordering::Relaxed))
}
