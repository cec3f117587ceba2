//! What it takes to unpack a pack, found out before it is done: a few bytes can say "that file again, and once more", a thousand times over.

use gix::zlib::Decompress;
use gix::zlib::stream::inflate;
use gix_pack::data::entry::Header;
use kargo_core::{Error, ErrorKind, Result};

use super::objects::damaged;

/// How many objects a pack may have. Each takes some memory, however small it is.
const MAX_OBJECTS: u32 = 8_000_000;
/// How much memory, in bytes, an object may take with all those of which it is made: these are held at the same time.
const MAX_CHAIN: u64 = 1 << 30;
/// How many bytes may be unpacked, all objects together: at some hundred megabytes a second this is minutes.
const MAX_WORK: u64 = 64 << 30;

/// Refuses a pack that takes too much. One that is damaged is refused too, as far as that shows on the way. Blocking.
pub(super) fn check(pack: &[u8], hash: gix::hash::Kind) -> Result<()> {
    let head = pack.first_chunk::<12>().ok_or_else(|| damaged("it ends before it begins"))?;
    let (_, count) = gix_pack::data::header::decode(head).map_err(damaged)?;
    if count > MAX_OBJECTS {
        return Err(heavy(format!("{count} objects")));
    }
    let mut scratch = vec![0; 32 << 10];
    let mut state = Decompress::new();
    // Where each entry begins, and what it takes with those of which it is made.
    let mut chains: Vec<(u64, u64)> = Vec::new();
    let (mut rest, mut work, mut by_id) = (&pack[head.len()..], 0_u64, false);
    for _ in 0..count {
        let offset = (pack.len() - rest.len()) as u64;
        let entry = gix_pack::data::Entry::from_bytes(rest, offset, hash).map_err(damaged)?;
        let mut data = usize::try_from(entry.data_offset - offset).ok().and_then(|length| rest.get(length..));
        let data = data.as_mut().ok_or_else(|| damaged("it ends within an object"))?;
        state.reset();
        let (mut length, mut first) = (0_u64, [0; 20]);
        loop {
            let read = inflate::read(data, &mut state, &mut scratch).map_err(damaged)?;
            if read == 0 {
                break;
            }
            if length == 0 {
                let known = read.min(first.len());
                first[..known].copy_from_slice(&scratch[..known]);
            }
            length += read as u64;
            if length > entry.decompressed_size {
                return Err(damaged("an object is longer than it says"));
            }
        }
        if length != entry.decompressed_size {
            return Err(damaged("an object is shorter than it says"));
        }
        let size = if entry.header.is_delta() { result_size(&first) } else { Some(length) };
        let size = size.ok_or_else(|| damaged("an object does not say how long it is"))?;
        let base = match entry.header {
            Header::OfsDelta { base_distance } => {
                let base = offset.checked_sub(base_distance);
                let found = base.and_then(|base| chains.binary_search_by_key(&base, |(offset, _)| *offset).ok());
                chains[found.ok_or_else(|| damaged("an object is made of one that is not there"))?].1
            }
            // Only unpacking tells which one that is.
            Header::RefDelta { .. } => {
                by_id = true;
                0
            }
            _ => 0,
        };
        let chain = base.saturating_add(size);
        work = work.saturating_add(size);
        if chain > MAX_CHAIN || by_id && work > MAX_CHAIN {
            return Err(heavy(format!("more than {} MiB of memory for one object", MAX_CHAIN >> 20)));
        }
        if work > MAX_WORK {
            return Err(heavy(format!("more than {} GiB in all", MAX_WORK >> 30)));
        }
        chains.push((offset, chain));
        rest = data;
    }
    Ok(())
}

/// How long what a delta makes is, which stands behind the length of what it is made of.
fn result_size(delta: &[u8]) -> Option<u64> {
    let mut bytes = delta.iter();
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = *bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    number()?;
    number()
}

fn heavy(what: String) -> Error {
    Error::new(
        ErrorKind::InvalidResponse,
        format!("The pack that the server sent takes {what} to unpack and is refused; is it a server that you trust?"),
    )
}
