//! Pushing over Git's own protocol, with compare and swap.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gix::ObjectId;
use kargo_core::{Error, ErrorKind, Result, Retry};

use super::advertisement::Advertisement;
use super::packet::{self, Packet, Packets, broken, readable, text};
use super::session::{Push, PushOutcome, RefUpdate, UpdateState};
use super::transport::{Call, Service};
use super::wire::Wire;

/// How often the refs are looked at after an answer was lost.
const LOOKS: u32 = 3;

/// What a server said about the refs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    Moved,
    Refused(String),
    /// The objects did not get as far as the refs.
    NotStored(String),
}

impl Wire {
    /// Changes refs and sends what they lead to.
    ///
    /// An error means that nothing was sent. Once it was, the outcome says what is known.
    pub(super) async fn push(&mut self, push: &Push<'_>) -> Result<PushOutcome> {
        let advertisement = match self.offered.take() {
            Some(advertisement) => advertisement,
            None => self.offer().await?,
        };
        let tip_of = |name: &str| advertisement.refs.iter().find(|each| each.name == name).map(|each| each.id);
        let mut open = Vec::new();
        for update in push.updates {
            let tip = tip_of(&update.name);
            match update.state(tip) {
                UpdateState::Done => {}
                UpdateState::Open => open.push(update),
                UpdateState::Overtaken => return Ok(PushOutcome::Conflict { name: update.name.clone(), tip }),
            }
        }
        if open.is_empty() {
            return Ok(PushOutcome::Updated);
        }
        let side_band = advertisement.can("side-band-64k");
        let body = self.request(&advertisement, &open, push)?;
        match self.transport.call(Call { service: Service::Receive, v2: false, body, flushes: 1 }).await {
            Err(failure) if failure.may_have_taken_effect => Ok(self.settle(push, failure.error).await),
            Err(failure) => Err(failure.error),
            Ok(answer) => match report(&answer, &open, side_band) {
                Ok((Report::Moved, _)) => Ok(PushOutcome::Updated),
                Ok((Report::Refused(reason), said)) => self.refused(push, reason, said).await,
                Ok((Report::NotStored(reason), said)) => {
                    let said = if said.is_empty() { said } else { format!(" ({said})") };
                    Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("{} could not store what was pushed: {reason}{said}; has it room?", self.shown),
                    ))
                }
                Err(error) => Ok(self.settle(push, error).await),
            },
        }
    }

    async fn offer(&mut self) -> Result<Advertisement> {
        let bytes = self.transport.advertisement(Service::Receive, false).await?;
        Advertisement::parse(&bytes, Service::Receive.name())
    }

    /// Where a ref stands that is about to be pushed to. The push then has what a server says before one, so that this is no request and
    /// no conversation more.
    pub(super) async fn tip_to_push(&mut self, name: &str) -> Result<Option<ObjectId>> {
        let offered = self.offer().await?;
        let tip = offered.refs.iter().find(|each| each.name == name).map(|each| each.id);
        self.offered = Some(offered);
        Ok(tip)
    }

    /// What is sent: a line for each ref, the options, the objects.
    fn request(&self, advertisement: &Advertisement, open: &[&RefUpdate], push: &Push<'_>) -> Result<Vec<u8>> {
        let mut capabilities = String::new();
        for (capability, wanted) in [
            ("report-status", true),
            ("side-band-64k", true),
            ("atomic", open.len() > 1),
            ("push-options", !push.options.is_empty()),
        ] {
            if wanted && advertisement.can(capability) {
                capabilities.push_str(&format!(" {capability}"));
            }
        }
        if advertisement.can("object-format") {
            capabilities.push_str(&format!(" object-format={}", advertisement.hash));
        }
        let cannot = |what: &str| Err(Error::new(ErrorKind::Unsupported, format!("{} {what}.", self.shown)));
        if open.len() > 1 && !advertisement.can("atomic") {
            return cannot("cannot change several refs together; have them changed one after the other");
        }
        if !push.options.is_empty() && !advertisement.can("push-options") {
            return cannot("takes no push options (receive.advertisePushOptions); leave them out");
        }
        if open.iter().any(|update| update.new.is_none()) && !advertisement.can("delete-refs") {
            return cannot("lets nobody remove refs (receive.denyDeletes)");
        }
        let null = advertisement.hash.null();
        let mut body = Vec::new();
        for (n, update) in open.iter().enumerate() {
            let (old, new) = (update.old.unwrap_or(null), update.new.unwrap_or(null));
            let capabilities = if n == 0 { format!("\0{capabilities}") } else { String::new() };
            packet::data(&mut body, format!("{old} {new} {}{capabilities}", update.name).as_bytes());
        }
        packet::flush(&mut body);
        if !push.options.is_empty() {
            push.options.iter().for_each(|option| packet::data(&mut body, option.as_bytes()));
            packet::flush(&mut body);
        }
        // To remove a ref takes no objects, and none are read.
        if open.iter().any(|update| update.new.is_some()) {
            body.extend_from_slice(&push.objects.pack(advertisement.hash)?);
        }
        Ok(body)
    }

    /// Tells a lost race from a refusal by looking at the refs, since each server words them in its own way.
    async fn refused(&mut self, push: &Push<'_>, reason: String, said: String) -> Result<PushOutcome> {
        let mut all_done = true;
        for (update, tip) in self.tips_of(push.updates).await? {
            match update.state(tip) {
                UpdateState::Done => {}
                UpdateState::Open => all_done = false,
                UpdateState::Overtaken => return Ok(PushOutcome::Conflict { name: update.name.clone(), tip }),
            }
        }
        Ok(if all_done { PushOutcome::Updated } else { PushOutcome::Rejected { reason, text: said } })
    }

    /// Finds out what became of a push whose answer was lost.
    async fn settle(&mut self, push: &Push<'_>, error: Error) -> PushOutcome {
        // A server that names a pause is not asked before; the next call looks.
        let looks = if matches!(error.retry(), Retry::After(_)) { 0 } else { LOOKS };
        for look in 0..looks {
            match self.tips_of(push.updates).await {
                Ok(tips) if tips.iter().all(|(update, tip)| update.state(*tip) == UpdateState::Done) => {
                    return PushOutcome::Updated;
                }
                // The server may still be at work, or somebody's commit may be on top of ours: neither is known yet.
                Ok(_) => return PushOutcome::Unknown { error },
                Err(_) => tokio::time::sleep(Duration::from_millis(200 << look)).await,
            }
        }
        PushOutcome::Unknown { error }
    }

    async fn tips_of<'a>(&mut self, updates: &'a [RefUpdate]) -> Result<Vec<(&'a RefUpdate, Option<ObjectId>)>> {
        let names: Vec<&str> = updates.iter().map(|update| update.name.as_str()).collect();
        let refs = self.refs(&names).await?;
        let tip = |name: &str| refs.iter().find(|each| each.name == name).map(|each| each.id);
        Ok(updates.iter().map(|update| (update, tip(&update.name))).collect())
    }
}

/// Reads the report on the refs of `updates`, and what hooks and the server said beside it.
pub(super) fn report(answer: &[u8], updates: &[&RefUpdate], side_band: bool) -> Result<(Report, String)> {
    let (lines, said) = if side_band { Packets::new(answer).demultiplex()? } else { (answer.to_vec(), String::new()) };
    let mut packets = Packets::new(&lines);
    let mut unpacked = None;
    let (mut moved, mut refused) = (BTreeSet::new(), BTreeMap::new());
    loop {
        let line = match packets.expect()? {
            Packet::Flush => break,
            Packet::Delimiter => return Err(broken("the report is cut by a delimiter")),
            Packet::Data(line) => text(line)?,
        };
        if let Some(state) = line.strip_prefix("unpack ") {
            unpacked = Some(state.to_owned());
        } else if let Some(name) = line.strip_prefix("ok ") {
            moved.insert(name.to_owned());
        } else if let Some((name, reason)) = line.strip_prefix("ng ").and_then(|rest| rest.split_once(' ')) {
            refused.insert(name.to_owned(), readable(reason.trim().as_bytes()));
        }
    }
    let all_moved = updates.iter().all(|update| moved.contains(&update.name));
    let reasons = updates.iter().filter_map(|update| Some((update.name.as_str(), refused.get(&update.name)?)));
    let reasons: Vec<String> = match updates {
        [_] => reasons.map(|(_, reason)| reason.clone()).collect(),
        _ => reasons.map(|(name, reason)| format!("{name}: {reason}")).collect(),
    };
    match unpacked {
        Some(state) if state != "ok" && !moved.is_empty() => {
            Err(broken("a ref is said to have moved to objects that could not be read"))
        }
        Some(state) if state != "ok" => Ok((Report::NotStored(readable(state.as_bytes())), said)),
        _ if !reasons.is_empty() => Ok((Report::Refused(reasons.join("; ")), said)),
        _ if all_moved => Ok((Report::Moved, said)),
        _ => Err(Error::new(ErrorKind::InvalidResponse, "The server did not report on what was pushed.")),
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

    fn update(name: &str) -> RefUpdate {
        RefUpdate { name: name.to_owned(), old: None, new: Some(gix::hash::Kind::Sha1.null()) }
    }

    #[test]
    fn a_report_says_whether_the_ref_moved_and_what_the_hook_said() {
        let main = update("refs/heads/main");
        let name = &[&main];
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
        let main = update("refs/heads/main");
        for lines in [["unpack ok", "ok refs/heads/other"], ["unpack ok", "ng refs/heads/mainly no"]] {
            assert!(report(&banded(&lines), &[&main], true).is_err(), "{lines:?}");
        }
        assert!(report(b"", &[&main], true).is_err());
    }

    #[test]
    fn a_report_on_several_refs_names_those_that_were_refused() {
        let (main, tag) = (update("refs/heads/main"), update("refs/tags/v1"));
        let of = |lines: &[&str]| report(&banded(lines), &[&main, &tag], true);
        assert_eq!(of(&["unpack ok", "ok refs/tags/v1", "ok refs/heads/main"]).unwrap().0, Report::Moved);
        let refused = of(&["unpack ok", "ng refs/heads/main atomic push failure", "ng refs/tags/v1 hook declined"]);
        let reason = "refs/heads/main: atomic push failure; refs/tags/v1: hook declined";
        assert_eq!(refused.unwrap().0, Report::Refused(reason.to_owned()));
        assert!(of(&["unpack ok", "ok refs/heads/main"]).is_err(), "nothing was said of the tag");
        assert!(of(&["unpack failed", "ok refs/heads/main"]).is_err());
    }
}
