//! Who has which lease, and until when.
//!
//! The fence is in the file, since appends are held against it and it must only grow. Who holds a lease and until when is known here
//! alone: one process has the file, and with the process its engines are gone. So a renewal touches no disk, but for the first after the file
//! was opened again: an error closes it, and until it is open again another process may have had it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Result;
use crate::name::PipelineName;
use crate::store::Lease;
use crate::store::memory::{fenced, held};

#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<PipelineName, Held>>);

#[derive(Debug)]
struct Held {
    holder: Option<String>,
    fence: u64,
    until: Instant,
    /// Which opening of the file the fence was last seen in.
    opening: u64,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<PipelineName, Held>> {
        // Nothing under the lock panics half way, so what a poisoned lock guards is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lease, with a fence above `kept`, the one in the file. It counts as handed out from here on, also when the commit
    /// that is to keep the fence fails: whether it did is not known then, and an older lease must not seem to be good.
    pub(super) fn take(
        &self,
        pipeline: &PipelineName,
        holder: &str,
        kept: u64,
        opening: u64,
        (now, ttl): (Instant, Duration),
    ) -> Result<Lease> {
        let mut leases = self.lock();
        let before = leases.get(pipeline);
        if let Some(Held { holder: Some(other), until, .. }) = before
            && other != holder
            && *until > now
        {
            return Err(held(pipeline, other));
        }
        let fence = before.map_or(kept, |before| before.fence.max(kept)) + 1;
        leases.insert(pipeline.clone(), Held { holder: Some(holder.to_owned()), fence, until: now + ttl, opening });
        Ok(Lease { pipeline: pipeline.clone(), holder: holder.to_owned(), fence })
    }

    /// That no newer lease was handed out here, nor this one given back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when one was.
    pub(super) fn check(&self, lease: &Lease) -> Result<()> {
        match self.lock().get(&lease.pipeline) {
            Some(held) if held.fence == lease.fence && held.holder.is_some() => Ok(()),
            found => Err(fenced(&lease.pipeline, lease.fence, found.map_or(0, |held| held.fence))),
        }
    }

    /// Whether `lease` was seen in this opening of the file. Between two openings another process may have had it.
    pub(super) fn is_seen(&self, lease: &Lease, opening: u64) -> bool {
        // One that was replaced here needs no look at the file.
        self.lock().get(&lease.pipeline).is_none_or(|held| held.fence != lease.fence || held.opening == opening)
    }

    /// That the file has the fence `kept`, in this opening: an older lease than that is lost.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when it is.
    pub(super) fn see(&self, lease: &Lease, kept: u64, opening: u64) -> Result<()> {
        let mut leases = self.lock();
        // One that was replaced here is found by the check that follows.
        let Some(held) = leases.get_mut(&lease.pipeline).filter(|held| held.fence == lease.fence) else {
            return Ok(());
        };
        if kept != lease.fence {
            held.holder = None;
            return Err(fenced(&lease.pipeline, lease.fence, kept));
        }
        held.opening = opening;
        Ok(())
    }

    pub(super) fn renew(&self, lease: &Lease, until: Instant) -> Result<()> {
        self.check(lease)?;
        if let Some(held) = self.lock().get_mut(&lease.pipeline).filter(|held| held.fence == lease.fence) {
            held.until = until;
        }
        Ok(())
    }

    pub(super) fn release(&self, lease: &Lease) {
        if let Some(held) = self.lock().get_mut(&lease.pipeline)
            && held.fence == lease.fence
        {
            held.holder = None;
        }
    }
}
