//! The tables, and what is done in them.

use std::time::Duration;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use tokio::time::Instant;

use super::blocks::{self, BLOCKS, Block};
use super::database::{FORMAT, Failure, META};
use super::leases::Leases;
use crate::name::PipelineName;
use crate::store::Lease;
use crate::store::memory::{fenced, stale};

/// Records by pipeline and number.
pub(super) const JOURNAL: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("kargo-journal");
/// The newest snapshot of each pipeline, and the number of its last record.
pub(super) const SNAPSHOTS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("kargo-snapshots");
/// Holder, fence, and a number that is not used any more. A lease's end is kept in memory: see [`super::leases`].
const LEASES: TableDefinition<'_, &str, (&str, u64, u64)> = TableDefinition::new("kargo-leases");
const SIDE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("kargo-side");

/// Makes the tables that are not there, so that reads find them.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(JOURNAL)?;
    transaction.open_table(SNAPSHOTS)?;
    transaction.open_table(LEASES)?;
    transaction.open_table(SIDE)?;
    transaction.open_table(BLOCKS)?;
    Ok(())
}

/// The tables of one write transaction. Each method checks before it writes: what it refuses has changed nothing.
pub(super) struct Tables<'t> {
    /// For tables that are seldom written.
    transaction: &'t WriteTransaction,
    journal: Table<'t, (&'static str, u64), &'static [u8]>,
    snapshots: Table<'t, &'static str, (u64, &'static [u8])>,
    leases: Table<'t, &'static str, (&'static str, u64, u64)>,
    side: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            transaction,
            journal: transaction.open_table(JOURNAL)?,
            snapshots: transaction.open_table(SNAPSHOTS)?,
            leases: transaction.open_table(LEASES)?,
            side: transaction.open_table(SIDE)?,
        })
    }

    pub(super) fn append(
        &mut self,
        pipeline: &PipelineName,
        expected: u64,
        records: &[Vec<u8>],
        fence: Option<u64>,
    ) -> Result<(), Failure> {
        if let Some(fence) = fence {
            let newest = self.fence(pipeline)?;
            if newest != fence {
                return Err(Failure::Refused(fenced(pipeline, fence, newest)));
            }
        }
        let head = head(&self.journal, pipeline)?;
        if head != expected {
            return Err(Failure::Refused(stale(pipeline, expected, head)));
        }
        for (seq, record) in (expected + 1..).zip(records) {
            self.journal.insert((pipeline.as_str(), seq), record.as_slice())?;
        }
        Ok(())
    }

    pub(super) fn save_snapshot(&mut self, pipeline: &PipelineName, seq: u64, snapshot: &[u8]) -> Result<(), Failure> {
        let kept = self.snapshots.get(pipeline.as_str())?.map(|kept| kept.value().0);
        if kept.is_none_or(|kept| kept <= seq) {
            self.snapshots.insert(pipeline.as_str(), (seq, snapshot))?;
        }
        Ok(())
    }

    pub(super) fn acquire_lease(
        &mut self,
        leases: &Leases,
        pipeline: &PipelineName,
        holder: &str,
        opening: u64,
        from: (Instant, Duration),
    ) -> Result<Lease, Failure> {
        let kept = self.fence(pipeline)?;
        let lease = leases.take(pipeline, holder, kept, opening, from).map_err(Failure::Refused)?;
        self.leases.insert(pipeline.as_str(), (holder, lease.fence, 0))?;
        Ok(lease)
    }

    /// Puts `block` in the place of the records in it. False when the journal does not begin with them: they are packed already.
    pub(super) fn pack(&mut self, pipeline: &PipelineName, block: &Block) -> Result<bool, Failure> {
        let name = pipeline.as_str();
        if first(&self.journal, pipeline)? != Some(block.first) {
            return Ok(false);
        }
        self.transaction.open_table(META)?.insert("format", FORMAT)?;
        self.put_block(pipeline, block.first, block.last, &block.bytes)?;
        self.journal.retain_in((name, block.first)..=(name, block.last), |_, _| false)?;
        Ok(true)
    }

    pub(super) fn put_block(
        &mut self,
        pipeline: &PipelineName,
        first: u64,
        last: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.transaction.open_table(BLOCKS)?.insert((pipeline.as_str(), last), (first, bytes))?;
        Ok(())
    }

    pub(super) fn put_side(&mut self, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.side.insert(key, value)?;
        Ok(())
    }

    fn fence(&self, pipeline: &PipelineName) -> Result<u64, Failure> {
        Ok(self.leases.get(pipeline.as_str())?.map_or(0, |row| row.value().1))
    }
}

/// The fence of the newest lease on a pipeline.
pub(super) fn fence_of(transaction: &ReadTransaction, pipeline: &PipelineName) -> Result<u64, redb::Error> {
    Ok(transaction.open_table(LEASES)?.get(pipeline.as_str())?.map_or(0, |row| row.value().1))
}

pub(super) fn head(
    journal: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    pipeline: &PipelineName,
) -> Result<u64, redb::StorageError> {
    let name = pipeline.as_str();
    let last = journal.range((name, 0)..=(name, u64::MAX))?.next_back().transpose()?;
    Ok(last.map_or(0, |(key, _)| key.value().1))
}

/// The number of the first record that is not packed.
pub(super) fn first(
    journal: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    pipeline: &PipelineName,
) -> Result<Option<u64>, redb::StorageError> {
    let name = pipeline.as_str();
    let first = journal.range((name, 0)..=(name, u64::MAX))?.next().transpose()?;
    Ok(first.map(|(key, _)| key.value().1))
}

pub(super) fn head_of(transaction: &ReadTransaction, pipeline: &PipelineName) -> Result<u64, redb::Error> {
    Ok(head(&transaction.open_table(JOURNAL)?, pipeline)?)
}

pub(super) fn read(
    transaction: &ReadTransaction,
    pipeline: &PipelineName,
    after: u64,
    limit: usize,
) -> Result<Vec<Vec<u8>>, redb::Error> {
    let journal = transaction.open_table(JOURNAL)?;
    let name = pipeline.as_str();
    let Some(from) = after.checked_add(1) else { return Ok(Vec::new()) };
    let mut records = blocks::read(transaction, pipeline, from, limit)?;
    let from = from + records.len() as u64;
    for entry in journal.range((name, from)..=(name, u64::MAX))?.take(limit - records.len()) {
        records.push(entry?.1.value().to_vec());
    }
    Ok(records)
}

pub(super) fn load_snapshot(
    transaction: &ReadTransaction,
    pipeline: &PipelineName,
) -> Result<Option<(u64, Vec<u8>)>, redb::Error> {
    let snapshots = transaction.open_table(SNAPSHOTS)?;
    let kept = snapshots.get(pipeline.as_str())?;
    Ok(kept.map(|kept| (kept.value().0, kept.value().1.to_vec())))
}

pub(super) fn pipelines(transaction: &ReadTransaction) -> Result<Vec<PipelineName>, redb::Error> {
    let journal = transaction.open_table(JOURNAL)?;
    let mut names: Vec<PipelineName> = Vec::new();
    // From one pipeline's end to the next one's beginning: as many steps as there are pipelines.
    let mut from = (String::new(), 0_u64);
    while let Some(entry) = journal.range((from.0.as_str(), from.1)..)?.next().transpose()? {
        let name = entry.0.value().0.to_owned();
        names.push(PipelineName::from(name.as_str()));
        // The smallest name after this one, since no name holds a NUL.
        from = (format!("{name}\0"), 0);
    }
    Ok(names)
}

pub(super) fn get_side(transaction: &ReadTransaction, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(transaction.open_table(SIDE)?.get(key)?.map(|value| value.value().to_vec()))
}
