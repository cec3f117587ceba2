//! Why each tag of images is or is not offered.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::look::{Found, Looked, is_ahead};
use super::selection::{Selection, Strategy};
use crate::explain::{Explanation, Offer, TagOutcome, TagReport, note_on_numbers};

impl Explanation {
    pub(super) fn of(selection: &Selection, tags: &[String], looked: &Looked, now: Timestamp) -> Self {
        let ranks: HashMap<usize, usize> =
            looked.offered.iter().enumerate().map(|(rank, index)| (*index, rank + 1)).collect();
        let mut outcomes: HashMap<&str, TagOutcome> = HashMap::new();
        let newest_build = matches!(selection.strategy, Strategy::NewestBuild);
        for (index, (tag, found)) in looked.found.iter().enumerate() {
            let outcome = match found {
                Found::Gone => TagOutcome::Vanished,
                Found::Refused { reason, .. } => TagOutcome::Refused { reason: reason.to_string() },
                Found::Unusable { reason, .. } => TagOutcome::Unusable { reason: reason.to_string() },
                Found::Image { digest, facts } => match (ranks.get(&index), facts.created_at) {
                    (Some(rank), _) => {
                        let offer = Offer::Image { digest: digest.clone(), metadata: Arc::clone(facts) };
                        TagOutcome::Offered { rank: *rank, offer }
                    }
                    _ if !facts.fits_platform => TagOutcome::OtherPlatform { platforms: facts.platforms.clone() },
                    (None, Some(created_at)) if newest_build && is_ahead(Some(created_at), now) => {
                        TagOutcome::FromTheFuture { created_at }
                    }
                    (None, _) => TagOutcome::BeyondLimit,
                },
            };
            outcomes.insert(tag, outcome);
        }
        let is_full = looked.offered.len() >= selection.limit;
        for tag in &looked.rest {
            outcomes.insert(tag, if is_full { TagOutcome::BeyondLimit } else { TagOutcome::NotLookedAt });
        }
        let reports = tags
            .iter()
            .map(|tag| {
                let outcome =
                    outcomes.remove(tag.as_str()).or_else(|| selection.judge(tag).err().map(TagOutcome::Misfit));
                TagReport { tag: tag.clone(), outcome: outcome.unwrap_or(TagOutcome::NotLookedAt) }
            })
            .collect();
        Self::new(selection.repo_url.clone(), String::new(), reports, notes(selection, looked))
    }
}

/// What surprises people in the order of tags.
fn notes(selection: &Selection, looked: &Looked) -> Vec<String> {
    let mut notes = Vec::new();
    let mut images = looked.images().map(|(tag, _, facts)| (tag, facts.created_at));
    match selection.strategy {
        Strategy::NewestBuild => {
            if let (Some((first, created)), Some((second, other))) = (images.next(), images.next())
                && created == other
            {
                let time = created.map_or("no time".to_owned(), |created| created.to_string());
                notes.push(format!(
                    "{first} and {second} name the same time of their build ({time}), so their tags decide. Builders that set this \
                     time to a fixed one do so; the annotation org.opencontainers.image.created tells builds apart."
                ));
            }
        }
        Strategy::SemVer { .. } => notes.extend(note_on_numbers(images.map(|(tag, _)| tag.as_str()))),
        _ => {}
    }
    notes
}
