//! Old records, packed into compressed blocks. Together with the records that are not packed they are the whole journal: blocks hold
//! its beginning, each going on where the one before ends.

use redb::{ReadTransaction, TableDefinition};
use zlib_rs::{DeflateConfig, InflateConfig, ReturnCode, compress_bound, compress_slice, decompress_slice};

use super::tables::{JOURNAL, SNAPSHOTS, first, head};
use crate::name::PipelineName;

/// By pipeline and the number of the last record in it: the number of the first, and the packed bytes.
pub(super) const BLOCKS: TableDefinition<'_, (&str, u64), (u64, &[u8])> = TableDefinition::new("kargo-blocks");

/// The most bytes of records in one block, with their lengths. No reader unpacks a block that claims more.
pub(super) const MOST: usize = 128 << 10;

/// A block of one record, as it is: it is too large for the other form.
const PLAIN: u8 = 0;
/// The number of bytes that come of it, and a zlib stream of records, each behind its length. Its checksum guards them.
const ZLIB: u8 = 1;
const LENGTH: usize = size_of::<u32>();

/// Records that are ready to be put in the place of their originals.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) bytes: Vec<u8>,
}

impl Block {
    pub(super) fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Packs the oldest records that are not packed; none when those up to `up_to` do not fill a block of `size` bytes.
pub(super) fn next(
    transaction: &ReadTransaction,
    pipeline: &PipelineName,
    up_to: u64,
    size: usize,
) -> Result<Option<Block>, redb::Error> {
    let name = pipeline.as_str();
    let journal = transaction.open_table(JOURNAL)?;
    let snapshot = transaction.open_table(SNAPSHOTS)?.get(name)?.map_or(0, |kept| kept.value().0);
    // The last record stays: the journal's end is looked for among those that are not packed.
    let up_to = up_to.min(snapshot).min(head(&journal, pipeline)?.saturating_sub(1));
    let Some(from) = first(&journal, pipeline)?.filter(|first| *first <= up_to) else { return Ok(None) };
    let mut raw = Vec::with_capacity(size);
    for entry in journal.range((name, from)..=(name, up_to))? {
        let (key, record) = entry?;
        let (seq, record) = (key.value().1, record.value());
        let room = size.min(MOST).saturating_sub(raw.len() + LENGTH);
        match u32::try_from(record.len()) {
            Ok(length) if record.len() <= room => {
                raw.extend(length.to_le_bytes());
                raw.extend(record);
            }
            _ if raw.is_empty() => {
                let mut bytes = vec![PLAIN];
                bytes.extend(record);
                return Ok(Some(Block { first: seq, last: seq, bytes }));
            }
            _ => return Ok(Some(Block { first: from, last: seq - 1, bytes: pack(&raw)? })),
        }
    }
    Ok(None)
}

fn pack(raw: &[u8]) -> Result<Vec<u8>, redb::Error> {
    let length = u32::try_from(raw.len()).map_err(|_| damaged("a block is too large"))?;
    let mut bytes = vec![ZLIB];
    bytes.extend(length.to_le_bytes());
    let head = bytes.len();
    bytes.resize(head + compress_bound(raw.len()), 0);
    let (packed, code) = compress_slice(&mut bytes[head..], raw, DeflateConfig::default());
    let length = packed.len();
    if code != ReturnCode::Ok {
        return Err(redb::Error::Io(std::io::Error::other("records could not be compressed")));
    }
    bytes.truncate(head + length);
    Ok(bytes)
}

/// Up to `limit` packed records from number `from` on.
pub(super) fn read(
    transaction: &ReadTransaction,
    pipeline: &PipelineName,
    from: u64,
    limit: usize,
) -> Result<Vec<Vec<u8>>, redb::Error> {
    let name = pipeline.as_str();
    let blocks = transaction.open_table(BLOCKS)?;
    let mut records = Vec::new();
    let mut next = from;
    for entry in blocks.range((name, from)..=(name, u64::MAX))? {
        if records.len() >= limit {
            break;
        }
        let (key, block) = entry?;
        let (first, packed) = block.value();
        let count = (key.value().1 + 1).checked_sub(first).filter(|_| first <= next);
        let count = count.ok_or_else(|| damaged("a block is missing"))?;
        let unpacked = unpack(packed, count)?;
        let skip = usize::try_from(next - first).map_err(|_| damaged("a block is too long"))?;
        records.extend(unpacked.into_iter().skip(skip).take(limit - records.len()));
        next = key.value().1 + 1;
    }
    Ok(records)
}

/// The `count` records of a block.
fn unpack(block: &[u8], count: u64) -> Result<Vec<Vec<u8>>, redb::Error> {
    let records = match block.split_first() {
        Some((&PLAIN, record)) => vec![record.to_vec()],
        Some((&ZLIB, rest)) => {
            let (claimed, packed) = rest.split_first_chunk().ok_or_else(|| damaged("a block has no length"))?;
            let claimed = u32::from_le_bytes(*claimed) as usize;
            if claimed > MOST {
                return Err(damaged("a block claims to be larger than any"));
            }
            let mut raw = vec![0; claimed];
            let (found, code) = decompress_slice(&mut raw, packed, InflateConfig::default());
            if code != ReturnCode::Ok || found.len() != claimed {
                return Err(damaged("a block cannot be unpacked"));
            }
            split(&raw).ok_or_else(|| damaged("a block does not end with a record"))?
        }
        _ => return Err(damaged("a block is in a form that is not known")),
    };
    if records.len() as u64 == count {
        Ok(records)
    } else {
        Err(damaged("a block has more or fewer records than it says"))
    }
}

fn split(mut raw: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while !raw.is_empty() {
        let (length, rest) = raw.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(record.to_vec());
        raw = rest;
    }
    Some(records)
}

fn damaged(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("{what} in the journal"))
}
