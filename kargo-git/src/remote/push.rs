//! Pushing one ref over Git's own protocol, with compare and swap.

use std::time::Duration;

use gix::ObjectId;
use kargo_core::{Error, ErrorKind, Result, Retry};

use super::advertisement::Advertisement;
use super::objects::NewObjects;
use super::packet::{self, Packet, Packets, broken, readable, text};
use super::transport::{Call, Service};
use super::wire::Wire;
use super::{PushOutcome, RefUpdate};

/// How often the branch is looked at after an answer was lost.
const LOOKS: u32 = 3;

/// What a server said about the one ref.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    Moved,
    Refused(String),
    /// The objects did not get as far as the ref.
    NotStored(String),
}

impl Wire {
    /// Moves a ref from its old id to a new one and sends `objects` with it.
    ///
    /// An error means that nothing was sent. Once it was, the outcome says what is known.
    pub(super) async fn push(&mut self, update: &RefUpdate, objects: &NewObjects) -> Result<PushOutcome> {
        let bytes = self.transport.advertisement(Service::Receive, false).await?;
        let advertisement = Advertisement::parse(&bytes, Service::Receive.name())?;
        let tip = advertisement.refs.iter().find(|each| each.name == update.name).map(|each| each.id);
        if tip == Some(update.new) {
            return Ok(PushOutcome::Updated);
        }
        if tip != Some(update.old) {
            return Ok(PushOutcome::Conflict { tip });
        }
        let side_band = advertisement.can("side-band-64k");
        let reports = advertisement.can("report-status");
        let mut command = format!("{} {} {}\0", update.old, update.new, update.name);
        for (wanted, there) in [("report-status", reports), ("side-band-64k", side_band)] {
            if there {
                command.push(' ');
                command.push_str(wanted);
            }
        }
        if advertisement.can("object-format") {
            command.push_str(&format!(" object-format={}", advertisement.hash));
        }
        let mut body = Vec::new();
        packet::data(&mut body, command.as_bytes());
        packet::flush(&mut body);
        body.extend_from_slice(&objects.pack(advertisement.hash)?);
        match self.transport.call(Call { service: Service::Receive, v2: false, body, flushes: 1 }).await {
            Err(failure) if failure.may_have_taken_effect => Ok(self.settle(update, failure.error).await),
            Err(failure) => Err(failure.error),
            Ok(answer) => match report(&answer, &update.name, side_band) {
                Ok((Report::Moved, _)) => Ok(PushOutcome::Updated),
                Ok((Report::Refused(reason), said)) => self.refused(update, reason, said).await,
                Ok((Report::NotStored(reason), said)) => {
                    let said = if said.is_empty() { said } else { format!(" ({said})") };
                    Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("{} could not store what was pushed: {reason}{said}; has it room?", self.shown),
                    ))
                }
                Err(error) => Ok(self.settle(update, error).await),
            },
        }
    }

    /// Tells a lost race from a refusal by looking at the ref, since each server words them in its own way.
    async fn refused(&mut self, update: &RefUpdate, reason: String, said: String) -> Result<PushOutcome> {
        let tip = self.tip_of(&update.name).await?;
        Ok(match tip {
            Some(tip) if tip == update.new => PushOutcome::Updated,
            Some(tip) if tip == update.old => PushOutcome::Rejected { reason, text: said },
            tip => PushOutcome::Conflict { tip },
        })
    }

    /// Finds out what became of a push whose answer was lost.
    async fn settle(&mut self, update: &RefUpdate, error: Error) -> PushOutcome {
        // A server that names a pause is not asked before; the next call looks.
        let looks = if matches!(error.retry(), Retry::After(_)) { 0 } else { LOOKS };
        for look in 0..looks {
            match self.tip_of(&update.name).await {
                Ok(Some(tip)) if tip == update.new => return PushOutcome::Updated,
                // The server may still be at work, or somebody's commit may be on top of ours: neither is known yet.
                Ok(_) => return PushOutcome::Unknown { error },
                Err(_) => tokio::time::sleep(Duration::from_millis(200 << look)).await,
            }
        }
        PushOutcome::Unknown { error }
    }

    async fn tip_of(&mut self, name: &str) -> Result<Option<ObjectId>> {
        Ok(self.refs(&[name]).await?.into_iter().find(|each| each.name == name).map(|each| each.id))
    }
}

/// Reads the report on `name`, and what hooks and the server said beside it.
fn report(answer: &[u8], name: &str, side_band: bool) -> Result<(Report, String)> {
    let (lines, said) = if side_band { Packets::new(answer).demultiplex()? } else { (answer.to_vec(), String::new()) };
    let mut packets = Packets::new(&lines);
    let mut unpacked = None;
    let mut outcome = None;
    loop {
        let line = match packets.expect()? {
            Packet::Flush => break,
            Packet::Delimiter => return Err(broken("the report is cut by a delimiter")),
            Packet::Data(line) => text(line)?,
        };
        if let Some(state) = line.strip_prefix("unpack ") {
            unpacked = Some(state.to_owned());
        } else if line.strip_prefix("ok ") == Some(name) {
            outcome = Some(Report::Moved);
        } else if let Some(reason) = line.strip_prefix("ng ").and_then(|rest| rest.strip_prefix(name)) {
            outcome = Some(Report::Refused(readable(reason.trim().as_bytes())));
        }
    }
    match (unpacked, outcome) {
        (Some(state), Some(Report::Moved)) if state != "ok" => {
            Err(broken("the ref is said to have moved to objects that could not be read"))
        }
        (Some(state), _) if state != "ok" => Ok((Report::NotStored(readable(state.as_bytes())), said)),
        (_, Some(outcome)) => Ok((outcome, said)),
        _ => Err(Error::new(ErrorKind::InvalidResponse, "The server did not report on the ref that was pushed.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::packet::{data, flush, line};

    fn banded(lines: &[&str]) -> Vec<u8> {
        let mut inner = Vec::new();
        lines.iter().for_each(|text| line(&mut inner, text));
        flush(&mut inner);
        let mut outer = Vec::new();
        data(&mut outer, &[b"\x02hook says no\n".as_slice()].concat());
        data(&mut outer, &[b"\x01", inner.as_slice()].concat());
        flush(&mut outer);
        outer
    }

    #[test]
    fn a_report_says_whether_the_ref_moved_and_what_the_hook_said() {
        let name = "refs/heads/main";
        assert_eq!(report(&banded(&["unpack ok", "ok refs/heads/main"]), name, true).unwrap().0, Report::Moved);
        let (refused, said) =
            report(&banded(&["unpack ok", "ng refs/heads/main pre-receive hook declined"]), name, true).unwrap();
        assert_eq!(refused, Report::Refused("pre-receive hook declined".into()));
        assert_eq!(said, "hook says no");
        assert_eq!(
            report(&banded(&["unpack index-pack failed"]), name, true).unwrap().0,
            Report::NotStored("index-pack failed".into())
        );
        assert_eq!(
            report(&banded(&["unpack disk full", "ng refs/heads/main unpacker error"]), name, true).unwrap().0,
            Report::NotStored("disk full".into())
        );
    }

    #[test]
    fn a_report_that_does_not_speak_of_the_ref_is_no_report() {
        assert!(report(&banded(&["unpack ok", "ok refs/heads/other"]), "refs/heads/main", true).is_err());
        assert!(report(b"", "refs/heads/main", true).is_err());
    }
}
