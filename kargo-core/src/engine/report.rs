//! What a call came to, within what the journal takes.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Record;
use crate::promotion::Phase;
use crate::store::{MAX_LEVELS, levels};

/// How much of a message, in bytes, is kept in the journal.
const MESSAGE_LIMIT: usize = 4_096;
/// How large, in bytes of JSON, a step's outputs or what a task wants to remember may be.
const OUTPUT_LIMIT: usize = 1 << 20;

/// What a step or a verifier said.
#[derive(Debug)]
pub(super) enum Report {
    Finished {
        phase: Phase,
        message: String,
        outputs: Map<String, Value>,
        records: Vec<Record>,
        config_digest: Option<String>,
    },
    Waiting {
        reason: String,
        check_after: Duration,
        state: Option<Value>,
    },
}

impl Report {
    pub(super) fn ended(phase: Phase, message: String) -> Self {
        Self::Finished { phase, message, outputs: Map::new(), records: Vec::new(), config_digest: None }
    }
}

/// Refuses a report that the journal does not take.
pub(super) fn bounded(report: Report) -> Result<Report> {
    match &report {
        Report::Finished { outputs, .. } => fits("outputs", outputs)?,
        Report::Waiting { state, .. } => fits("a state to remember", state)?,
    }
    Ok(report)
}

/// Refuses what would make the journal grow without bound, or could not be read back from it.
pub(super) fn fits(what: &str, value: &impl serde::Serialize) -> Result<()> {
    let refused = |message| Err(Error::new(ErrorKind::InvalidInput, message));
    let json = match serde_json::to_vec(value) {
        Ok(json) => json,
        Err(error) => return refused(format!("The plug-in returned {what} that cannot be written as JSON: {error}.")),
    };
    let (size, levels) = (json.len(), levels(&json));
    if size > OUTPUT_LIMIT {
        return refused(format!(
            "The plug-in returned {what} of {size} bytes, and at most {OUTPUT_LIMIT} are kept in the journal; let it put out a reference instead."
        ));
    }
    if levels > MAX_LEVELS {
        return refused(format!(
            "The plug-in returned {what} that are nested {levels} levels deep, and at most {MAX_LEVELS} are kept in the journal; let it put out less, or a text."
        ));
    }
    Ok(())
}

pub(super) fn shorten(text: String) -> String {
    shorten_to(MESSAGE_LIMIT, text)
}

/// The text, or its first `limit` bytes and a word about it.
pub(super) fn shorten_to(limit: usize, mut text: String) -> String {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(" [cut]");
    }
    text
}
