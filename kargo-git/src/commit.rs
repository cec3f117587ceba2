//! The commit of one promotion step: the same bytes each time it is made, and with them the same id unless its signature has the time
//! in it.

use std::collections::HashSet;

use gix::ObjectId;
use gix::objs::{Kind, WriteTo as _};
use jiff::Timestamp;
use kargo_core::{Error, ErrorKind, PromotionInfo, Result};

use crate::history::{Extent, walk};
use crate::remote::{CommitInfo, NewObjects, Session};
use crate::sign::Signer;

/// The trailer by which a step finds its own commit again.
pub(crate) const KEY: &str = "Kargo-Key";
/// The trailer that says which promotion made a commit.
const PROMOTION: &str = "Kargo-Promotion";

/// Who makes the commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) email: String,
}

impl Identity {
    /// A name and a mail address, without the characters that Git cannot keep in them. Of what is empty then, `self` stays: servers that
    /// check commits refuse one without a name.
    pub(crate) fn or(&self, name: &str, email: &str) -> Self {
        let clean = |text: &str, default: &str| {
            let text: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
            if text.trim().is_empty() { default.to_owned() } else { text.trim().to_owned() }
        };
        Self { name: clean(name, &self.name), email: clean(email, &self.email) }
    }

    /// As it stands in a commit or a tag made at `at`, without an offset. Git keeps seconds.
    pub(crate) fn at(&self, at: Timestamp) -> gix::actor::Signature {
        gix::actor::Signature {
            name: self.name.as_str().into(),
            email: self.email.as_str().into(),
            time: gix::date::Time { seconds: at.as_second(), offset: 0 },
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self { name: "Kargo".to_owned(), email: "kargo@localhost".to_owned() }
    }
}

/// The message: subject or the step's own text, then trailers. `key` is that of the step.
pub(crate) fn message(promotion: &PromotionInfo, key: &str, own: Option<&str>) -> String {
    let text = match own.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect(),
        None => {
            let (label, short) = (one_line(&promotion.freight.label()), promotion.freight.id().short());
            let label: String = label.chars().take(100).collect();
            format!("Promote {label} ({short}) to {}", promotion.stage)
        }
    };
    let trailers = [
        (PROMOTION, promotion.id.as_str()),
        ("Kargo-Freight", promotion.freight.id().as_str()),
        ("Kargo-Stage", promotion.stage.as_str()),
        // The promotion's, which is the same in every try, and not the call's.
        ("Kargo-Actor", promotion.actor.as_str()),
        (KEY, key),
    ];
    let mut message = format!("{text}\n\n");
    for (key, value) in trailers {
        message.push_str(&format!("{key}: {}\n", one_line(value)));
    }
    message
}

/// All of a commit but what is in it and what it stands on: that may have to be chosen again.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) identity: Identity,
    pub(crate) signer: Option<Signer>,
    pub(crate) message: String,
    /// From the journal, so that a replay makes the same commit.
    pub(crate) at: Timestamp,
}

/// A commit that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) id: ObjectId,
    /// Its signature, when it would be another one the next time, so that the commit can be made again only with it.
    pub(crate) signature: Option<String>,
}

impl Draft {
    /// Makes the commit of `tree` on top of `parent`, or one without a parent, and adds it to `objects`.
    pub(crate) async fn commit(
        &self,
        tree: ObjectId,
        parent: Option<ObjectId>,
        objects: &mut NewObjects,
    ) -> Result<ObjectId> {
        Ok(self.make(tree, parent, None, objects).await?.id)
    }

    /// As [`Draft::commit`]. With the `signature` that it had before, nothing is signed: it is the same commit.
    pub(crate) async fn make(
        &self,
        tree: ObjectId,
        parent: Option<ObjectId>,
        signature: Option<&str>,
        objects: &mut NewObjects,
    ) -> Result<Made> {
        let who = self.identity.at(self.at);
        let mut commit = gix::objs::Commit {
            tree,
            parents: parent.into_iter().collect(),
            author: who.clone(),
            committer: who,
            encoding: None,
            message: self.message.as_str().into(),
            extra_headers: Vec::new(),
        };
        let mut data = bytes(&commit)?;
        let mut made = signature.map(str::to_owned);
        if let (None, Some(signer)) = (signature, &self.signer) {
            // Of all else; in the commit it stands behind the committer.
            made = Some(signer.sign(&data).await?);
        }
        if let Some(signature) = &made {
            let field = gix::objs::commit::signature_field_name(tree.kind());
            commit.extra_headers.push((field.into(), signature.trim_end().into()));
            data = bytes(&commit)?;
        }
        let repeatable = signature.is_none() && self.signer.as_ref().is_none_or(Signer::is_repeatable);
        let signature = made.filter(|_| !repeatable);
        Ok(Made { id: objects.insert(tree.kind(), Kind::Commit, data)?, signature })
    }
}

fn bytes(commit: &gix::objs::Commit) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    commit
        .write_to(&mut data)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "The commit cannot be written.").because(error))?;
    Ok(data)
}

/// Whether the commit is one of this promotion, or of another one that had made it before `started_at`.
pub(crate) fn is_by(info: &CommitInfo, promotion: &PromotionInfo, started_at: Timestamp) -> bool {
    match info.trailer(PROMOTION) {
        Some(id) => id == one_line(promotion.id.as_str()) || info.time <= started_at.as_second(),
        None => false,
    }
}

/// Looks for the commit with the trailer `Kargo-Key: <key>` in the history of `tip`, back to `since` (seconds since 1970) and to
/// the tips in `known`, where it is known not to be.
pub(crate) async fn find_own(
    session: &mut Session,
    tip: ObjectId,
    key: &str,
    since: i64,
    known: &HashSet<ObjectId>,
) -> Result<Option<ObjectId>> {
    let key = one_line(key);
    let mut found = None;
    let extent = walk(session, &[tip], since, known, |id, info| {
        if info.trailer(KEY) == Some(key.as_str()) {
            found = Some(id);
        }
        found.is_some()
    })
    .await?;
    let why = match extent {
        _ if found.is_some() => return Ok(found),
        Extent::Whole => return Ok(None),
        Extent::CutOff => "its history is cut off after the step began",
        Extent::TooLong => "its history since then is too long",
    };
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "Whether an earlier try had written to {} cannot be found out: {why}; look for the trailer {KEY}: {key}.",
            session.shown()
        ),
    ))
}

/// `text` without line breaks and control characters, so that it cannot forge a trailer.
fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use kargo_core::{Actor, Freight};

    use super::*;

    #[test]
    fn git_22_what_a_later_promotion_has_made_is_not_put_aside_by_one_before_it() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let promotion =
            |id: &str| PromotionInfo::new("shop", id, "dev", Freight::new("main", vec![], at), Actor::engine(), at);
        let commit = |message: String, time: i64| CommitInfo {
            tree: gix::hash::Kind::Sha1.null(),
            parents: Vec::new(),
            time,
            author: String::new(),
            committer: String::new(),
            message,
        };
        let (ours, now) = (promotion("dev.1"), at.as_second());
        for (by, time, expected) in [
            ("dev.1", now + 60, true),
            ("dev.1", now - 60, true),
            ("dev.0", now - 60, true),
            ("dev.2", now + 60, false),
        ] {
            let made = commit(message(&promotion(by), "key", Some("Render")), time);
            assert_eq!(is_by(&made, &ours, at), expected, "{by} at {time}");
        }
        let by_hand = commit("By hand\n\nNothing like Kargo-Promotion: dev.1\n".to_owned(), now - 60);
        assert!(!is_by(&by_hand, &ours, at));
    }
}
