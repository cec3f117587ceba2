//! Stopping one's own sync.

use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Retry};

use super::ArgoCd;
use super::find::missing;
use super::memory::AppMemory;
use crate::client::{AppRef, Application, Refresh, is_missing};
use crate::config::ArgoCdApp;

/// How often, a second apart, an abort asks for the end of an operation that Argo CD has not yet begun, or looks for one that it has
/// accepted and does not show yet.
const ABORT_TRIES: u32 = 10;

impl ArgoCd {
    /// Stops the sync under this key, and no other.
    pub(crate) async fn stop(&self, cx: &Context, app: &AppRef, config: &ArgoCdApp, memory: &AppMemory) -> Result<()> {
        let mut attempt = 1;
        loop {
            let is_last = attempt == ABORT_TRIES;
            match self.try_to_stop(cx, app, config, memory).await {
                Ok(Stop::Done) => return Ok(()),
                Ok(Stop::Unseen) if is_last => return Ok(()),
                Ok(Stop::Waiting) if is_last => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "The sync of application {app} cannot be stopped: Argo CD keeps it waiting and calls it not in progress."
                        ),
                    )
                    .operation("stop the sync"));
                }
                // An abort is not asked for a second time, and a sync that goes on would be watched by nobody.
                Err(error) if is_last || error.retry() == Retry::Never => return Err(error),
                _ => {}
            }
            attempt += 1;
            cx.sleep(Duration::from_secs(1)).await?;
        }
    }

    /// Tries once to stop the sync under this key.
    async fn try_to_stop(&self, cx: &Context, app: &AppRef, config: &ArgoCdApp, memory: &AppMemory) -> Result<Stop> {
        // Read in any case: what is to be stopped may have begun just now.
        let snapshot = match cx.guard("read the application", self.client.get(app, Refresh::No)).await {
            Ok(snapshot) => snapshot,
            // What is gone runs nothing. What may only not be seen might: that is for a person to look at.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Stop::Done),
            Err(error) if is_missing(&error) => return Err(missing(app, config, error)),
            Err(error) => return Err(error),
        };
        if !runs_under(&snapshot.app, cx.key()) {
            let now = snapshot.server_time.unwrap_or_else(|| cx.now());
            let is_unseen = memory.latches.is_unseen(&snapshot.app, cx.key(), now);
            return Ok(if is_unseen { Stop::Unseen } else { Stop::Done });
        }
        // "None is in progress" is also said of one that waits to be begun; left alone, it would fire later, unattended.
        let is_stopped = cx.guard("stop the sync", self.client.terminate(app)).await?;
        Ok(if is_stopped { Stop::Done } else { Stop::Waiting })
    }
}

/// What came of one try to stop a sync.
enum Stop {
    /// Nothing of ours runs, or soon does no longer.
    Done,
    /// It is accepted and does not show yet.
    Unseen,
    /// It is accepted and not begun, and cannot be stopped before.
    Waiting,
}

fn runs_under(app: &Application, key: &str) -> bool {
    let tagged = |operation: &crate::client::Operation| {
        operation.info.iter().any(|info| info.name == crate::TAG && info.value == key)
    };
    app.operation.as_ref().is_some_and(tagged)
}
