//! Events and snapshots as bytes: JSON behind one byte that says which form it is in.

use crate::error::{Error, ErrorKind, Result};
use crate::name::PipelineName;
use crate::state::{Event, State, numbered};

/// The form that this version writes. A reader refuses a higher one rather than guess.
const FORM: u8 = 1;

/// How deep what others put into an event may be nested. A reader of JSON stops at 128 levels, and events and snapshots have
/// some of their own: what is deeper could be written, and never read again.
pub(crate) const MAX_LEVELS: usize = 64;

/// How deep a JSON text is nested.
pub(crate) fn levels(json: &[u8]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

pub(crate) fn encode_event(event: &Event) -> Result<Vec<u8>> {
    encode(event, "an event")
}

pub(crate) fn decode_event(pipeline: &PipelineName, seq: u64, bytes: &[u8]) -> Result<Event> {
    let event: Event = decode(bytes, || format!("event {seq} of pipeline {pipeline:?}"))?;
    if event.seq != seq {
        let message = format!(
            "The journal of pipeline {pipeline:?} has event {} in the place of event {seq}. The store has mixed up its entries; restore it from a backup.",
            event.seq
        );
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    Ok(event)
}

pub(crate) fn encode_snapshot(state: &State) -> Result<Vec<u8>> {
    numbered(|| encode(state, "a snapshot"))
}

pub(crate) fn decode_snapshot(pipeline: &PipelineName, bytes: &[u8]) -> Result<State> {
    let state: State = numbered(|| decode(bytes, || format!("the snapshot of pipeline {pipeline:?}")))?;
    Ok(state.shared())
}

fn encode(value: &impl serde::Serialize, what: &str) -> Result<Vec<u8>> {
    // Most events fit, so that their bytes are not moved while they are written.
    let mut bytes = Vec::with_capacity(256);
    bytes.push(FORM);
    serde_json::to_writer(&mut bytes, value).map_err(|error| {
        Error::new(ErrorKind::Other, format!("{what} could not be written as JSON.")).because(error)
    })?;
    Ok(bytes)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8], what: impl Fn() -> String) -> Result<T> {
    match bytes.split_first() {
        Some((&FORM, json)) => serde_json::from_slice(json).map_err(|error| {
            let message = format!(
                "The stored {} cannot be read: a later version of kargo-core wrote it, or it is damaged. Use the version that wrote it, or restore the store from a backup.",
                what()
            );
            Error::new(ErrorKind::Corrupt, message).because(error)
        }),
        Some((form, _)) if *form > FORM => {
            let message = format!(
                "The stored {} is in form {form}, and this version of kargo-core reads up to form {FORM}; use the version that wrote it, or a later one.",
                what()
            );
            Err(Error::new(ErrorKind::Corrupt, message))
        }
        _ => {
            let message = format!("The stored {} is empty or damaged; restore the store from a backup.", what());
            Err(Error::new(ErrorKind::Corrupt, message))
        }
    }
}
