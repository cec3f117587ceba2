//! A disk in memory that loses its power.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::testing::Random;

/// Clones are the same disk, so that a store can be opened on it again.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    /// What stays whatever happens: all up to the last sync that ended.
    synced: Vec<u8>,
    /// What a reader sees while there is power.
    seen: Vec<u8>,
    /// What has changed since the last sync, in order.
    pending: Vec<Change>,
    /// How many more operations there is power for.
    left: Option<usize>,
    /// How many operations there were in all.
    done: u64,
    /// Whether it says that it has synced and does not.
    lies: bool,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write { offset, data } => put(bytes, *offset, data),
        }
    }

    /// What a power cut leaves of it: all, nothing, or a part that begins or ends at any byte.
    fn survive(&self, bytes: &mut Vec<u8>, random: &mut Random, per_mille: u32) {
        match self {
            _ if random.chance(per_mille) => self.apply(bytes),
            Self::Write { offset, data } if random.chance(500) => {
                let tear = random.below(data.len() + 1);
                match random.below(2) {
                    0 => put(bytes, *offset, &data[..tear]),
                    _ => put(bytes, offset + tear, &data[tear..]),
                }
            }
            _ => {}
        }
    }
}

/// A write behind the end makes a file longer, also when its length was not set.
fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl Disk {
    /// A disk that calls synced what is not.
    pub(super) fn that_lies() -> Self {
        let disk = Self::default();
        disk.lock().lies = true;
        disk
    }

    fn lock(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it power for so many more writes and syncs, or for good.
    pub(super) fn power(&self, operations: Option<usize>) {
        self.lock().left = operations;
    }

    pub(super) fn has_power(&self) -> bool {
        self.lock().left != Some(0)
    }

    /// How many writes and syncs there were.
    pub(super) fn operations(&self) -> u64 {
        self.lock().done
    }

    /// The power goes: what was synced stays, and of what came after it any part.
    pub(super) fn cut(&self, random: &mut Random) {
        let mut platters = self.lock();
        let Platters { synced, seen, pending, .. } = &mut *platters;
        let per_mille = [0, 100, 500, 900, 1_000][random.below(5)];
        for change in pending.drain(..) {
            change.survive(synced, random, per_mille);
        }
        seen.clone_from(synced);
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut platters = self.lock();
        if platters.left == Some(0) {
            return Err(no_power());
        }
        change.apply(&mut platters.seen);
        platters.pending.push(change);
        // The write during which the power goes may be on the platters in part.
        platters.step()
    }
}

impl Platters {
    fn step(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(no_power());
            }
        }
        self.done += 1;
        Ok(())
    }
}

fn no_power() -> io::Error {
    io::Error::other("the disk has no power")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        if self.has_power() { Ok(self.lock().seen.len() as u64) } else { Err(no_power()) }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platters = self.lock();
        if platters.left == Some(0) {
            return Err(no_power());
        }
        let from = offset as usize;
        let found = platters.seen.get(from..from + out.len());
        out.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.lock();
        if platters.left == Some(0) {
            return Err(no_power());
        }
        // When the power goes during a sync, anything may have reached the platters.
        platters.step()?;
        if !platters.lies {
            let Platters { synced, pending, .. } = &mut *platters;
            for change in pending.drain(..) {
                change.apply(synced);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write { offset: offset as usize, data: data.to_vec() })
    }
}
