//! Why each tag is or is not offered.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::look::{Found, Looked, is_ahead};
use super::metadata::ImageMetadata;
use super::selection::{Misfit, Selection, Strategy};
use crate::client::Platform;

/// What a look makes of every tag of a repository. As text it is one line per tag, the offered ones first, and notes on the
/// order at the end.
///
/// ```
/// use kargo_core::plugin::Context;
/// use kargo_oci::testing::Registry;
/// use kargo_oci::{Client, ImageSource, ImageSpec, ImageSubscription};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kargo_core::Result<()> {
/// let registry = Registry::start().await;
/// registry.put_image("app", "1.0.0", &ImageSpec::default());
/// registry.put_image("app", "latest", &ImageSpec::default());
///
/// let source = ImageSource::new(Client::anonymous()?);
/// let subscription = ImageSubscription::new(format!("{}/app", registry.host()));
/// let explanation = source.explain(&Context::system("explain"), &subscription).await?;
/// assert!(explanation.tag("1.0.0").is_some_and(|report| report.outcome.is_offered()));
/// assert!(explanation.tag("latest").is_some_and(|report| !report.outcome.is_offered()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// The repository, as the subscription has it.
    pub repo_url: String,
    /// Every tag: the offered ones in their order, then what was passed over, then the others, by name.
    pub tags: Vec<TagReport>,
    /// What should be known of the order that this is in.
    pub notes: Vec<String>,
}

/// What becomes of one tag.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TagReport {
    /// The tag.
    pub tag: String,
    /// What becomes of it, and why.
    pub outcome: TagOutcome,
}

/// Whether a tag is offered, or why it is not.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TagOutcome {
    /// It is a candidate for freight.
    Offered {
        /// 1 for the preferred one.
        rank: usize,
        /// The digest that it names.
        digest: String,
        /// What is known of the image.
        metadata: Arc<ImageMetadata>,
    },
    /// It fits, but there are enough that are preferred to it.
    BeyondLimit,
    /// It fits by name, and was not asked for: the search had ended.
    NotLookedAt,
    /// It is not for the platform that the subscription asks for, but for these.
    OtherPlatform {
        /// The platforms.
        platforms: Vec<Platform>,
    },
    /// It fits, and is not signed or attested as the subscription demands.
    Refused {
        /// A sentence's end: "is not signed".
        reason: String,
    },
    /// It was listed, but there is nothing under it.
    Vanished,
    /// What it names is broken or not understood.
    Unusable {
        /// A sentence that says how.
        reason: String,
    },
    /// It claims to be built more than a day from now, and would be the newest build for ever.
    FromTheFuture {
        /// When it says that it was built.
        created_at: Timestamp,
    },
    /// It does not fit by its name.
    Misfit(Misfit),
}

impl TagOutcome {
    /// Whether the tag is a candidate.
    pub fn is_offered(&self) -> bool {
        matches!(self, Self::Offered { .. })
    }

    fn group(&self) -> u8 {
        match self {
            Self::Offered { .. } => 0,
            Self::OtherPlatform { .. }
            | Self::Refused { .. }
            | Self::Vanished
            | Self::Unusable { .. }
            | Self::FromTheFuture { .. } => 1,
            Self::BeyondLimit | Self::NotLookedAt => 2,
            Self::Misfit(_) => 3,
        }
    }
}

impl fmt::Display for TagOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offered { rank, digest, metadata } => {
                write!(f, "offered, number {rank}, {digest}")?;
                metadata.created_at.map_or(Ok(()), |created| write!(f, ", built {created}"))
            }
            Self::BeyondLimit => f.write_str("fits, but the discoveryLimit is reached before it"),
            Self::NotLookedAt => f.write_str("fits by name, but the search ended before it"),
            Self::OtherPlatform { platforms } if platforms.is_empty() => f.write_str("names no platform"),
            Self::OtherPlatform { platforms } => {
                let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(f, "runs on {} only", names.join(", "))
            }
            Self::Refused { reason } => f.write_str(reason),
            Self::Vanished => f.write_str("listed, but there is nothing under it"),
            Self::Unusable { reason } => write!(f, "cannot be used: {reason}"),
            Self::FromTheFuture { created_at } => {
                write!(f, "says that it was built at {created_at}, which has yet to come")
            }
            Self::Misfit(misfit) => misfit.fmt(f),
        }
    }
}

impl Explanation {
    /// What becomes of `tag`, when there is such a tag.
    pub fn tag(&self, tag: &str) -> Option<&TagReport> {
        self.tags.iter().find(|report| report.tag == tag)
    }

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
                        TagOutcome::Offered { rank: *rank, digest: digest.clone(), metadata: Arc::clone(facts) }
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
        let mut reports: Vec<TagReport> = tags
            .iter()
            .map(|tag| {
                let outcome =
                    outcomes.remove(tag.as_str()).or_else(|| selection.judge(tag).err().map(TagOutcome::Misfit));
                TagReport { tag: tag.clone(), outcome: outcome.unwrap_or(TagOutcome::NotLookedAt) }
            })
            .collect();
        let rank = |report: &TagReport| if let TagOutcome::Offered { rank, .. } = report.outcome { rank } else { 0 };
        reports.sort_by(|a, b| (a.outcome.group(), rank(a), &a.tag).cmp(&(b.outcome.group(), rank(b), &b.tag)));
        Self { repo_url: selection.repo_url.clone(), tags: reports, notes: notes(selection, looked) }
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
        Strategy::SemVer { .. } => {
            let mixes = |tag: &str| {
                let pre = tag.split('+').next().and_then(|version| version.split_once('-')).map(|(_, pre)| pre);
                pre.is_some_and(|pre| {
                    pre.split('.').any(|part| {
                        let digits = part.trim_start_matches(|c: char| !c.is_ascii_digit());
                        digits.len() < part.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
                    })
                })
            };
            if let Some((tag, _)) = images.find(|(tag, _)| mixes(tag)) {
                notes.push(format!(
                    "In {tag} a number stands directly behind letters, and semantic versions compare that as text: rc10 comes before \
                     rc9. With a dot in between, as in rc.10, the number counts."
                ));
            }
        }
        _ => {}
    }
    notes
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} tags", self.repo_url, self.tags.len())?;
        for report in &self.tags {
            writeln!(f, "  {}: {}", report.tag, report.outcome)?;
        }
        for note in &self.notes {
            writeln!(f, "Note: {note}")?;
        }
        Ok(())
    }
}
