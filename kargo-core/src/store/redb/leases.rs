//! Who has which lease, and until when.
//!
//! The fence is in the file, since appends are held against it and it must only grow. Who holds a lease and until when is known here
//! alone: one process has the file, and with the process its engines are gone. So a renewal touches no disk.

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
        leases.insert(pipeline.clone(), Held { holder: Some(holder.to_owned()), fence, until: now + ttl });
        Ok(Lease { pipeline: pipeline.clone(), holder: holder.to_owned(), fence })
    }

    pub(super) fn renew(&self, lease: &Lease, until: Instant) -> Result<()> {
        match self.lock().get_mut(&lease.pipeline) {
            Some(held) if held.fence == lease.fence && held.holder.is_some() => {
                held.until = until;
                Ok(())
            }
            found => Err(fenced(&lease.pipeline, lease.fence, found.map_or(0, |held| held.fence))),
        }
    }

    pub(super) fn release(&self, lease: &Lease) {
        if let Some(held) = self.lock().get_mut(&lease.pipeline)
            && held.fence == lease.fence
        {
            held.holder = None;
        }
    }
}
