//! The right to drive: kept, lost, and taken again.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Lease, Store};

impl Driver {
    /// A lease that could not be renewed in time may be another engine's by now: what is under way must end before that.
    pub(super) fn check_lease(&mut self) {
        if self.lease.is_some() && self.lease_end.get().is_none_or(|end| end <= Instant::now()) {
            let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let why = trouble.map_or_else(String::new, |trouble| format!(" {trouble}"));
            let name = &self.shared.name;
            self.lose_lease(format!("The lease on pipeline {name:?} could not be renewed in time.{why}"));
        }
    }

    /// Keeps the lease, or notices that it is lost: then nothing more is begun until it can be taken again.
    pub(super) async fn renew(&mut self) {
        let Some(lease) = self.lease.clone() else { return self.take_lease().await };
        match self.extend(&lease).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Conflict => self.lose_lease(error.report()),
            Err(error) => self.note(Err(error)).await,
        }
    }

    pub(super) async fn extend(&mut self, lease: &Lease) -> Result<()> {
        // The store counts from when it hears of it, so counting from here ends first.
        let asked = Instant::now();
        self.store.renew_lease(lease, self.options.lease).await?;
        self.lease_end.set(Some(asked + span(self.options.lease)));
        Ok(())
    }

    /// Takes the lease again, when it can be had. Until then the journal is followed, so that whoever reads the state is not
    /// misled.
    pub(super) async fn take_lease(&mut self) {
        let taken = match self.catch_up().await {
            Ok(()) if !self.calls.is_empty() => {
                return self
                    .trouble(Some("A call that was dropped has not ended yet; it blocks its thread.".to_owned()));
            }
            Ok(()) => {
                // Another engine may have defined the pipeline anew, with plug-ins that this one lacks.
                let pipeline = self.shared.read(|state| state.pipeline().cloned());
                match pipeline.map_or(Ok(()), |pipeline| self.plugins.check(&pipeline)) {
                    Ok(()) => {
                        let asked = Instant::now();
                        let lease = self.store.acquire_lease(&self.shared.name, &self.holder, self.options.lease).await;
                        lease.map(|lease| (lease, asked))
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        match taken {
            Ok((lease, asked)) => {
                self.lease = Some(lease);
                self.lease_end.set(Some(asked + span(self.options.lease)));
                let caught_up = self.catch_up().await;
                self.note(caught_up).await;
                self.mark_all();
            }
            Err(error) => {
                tracing::debug!(pipeline = %self.shared.name, "{}", error.report());
                self.trouble(Some(error.report()));
            }
        }
    }

    pub(super) fn lose_lease(&mut self, why: String) {
        tracing::warn!(pipeline = %self.shared.name, "{why}");
        self.lease = None;
        self.lease_end.set(None);
        self.drop_calls();
        self.trouble(Some(why));
    }

    /// The refusal of what only the engine that drives may do.
    pub(super) fn not_driving(&self) -> Error {
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = &self.shared.name;
        let why = trouble.map_or_else(String::new, |trouble| format!(" {trouble}"));
        Error::new(
            ErrorKind::Conflict,
            format!(
                "This engine does not drive pipeline {name:?} now; ask the one that does, or try again later.{why}"
            ),
        )
    }

    /// Gives the lease back, so that the next engine need not wait for it to run out.
    pub(super) async fn give_back(&self) -> Result<()> {
        match &self.lease {
            Some(lease) => self.store.release_lease(lease).await,
            None => Ok(()),
        }
    }
}

/// For how long an engine counts on a lease that lasts `ttl`: somewhat less, so that its calls have ended when it is over.
pub(super) fn span(ttl: Duration) -> Duration {
    ttl - ttl / 10
}
