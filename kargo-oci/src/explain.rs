//! Why each tag, or each version of a chart, is or is not offered.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::client::Platform;
use crate::image::ImageMetadata;
use crate::misfit::Misfit;

/// What a look makes of every tag of a repository, or of every version of a chart. As text it is one line for each, the offered ones
/// first, and notes on the order at the end.
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
    /// The chart's name in a classic repository; empty where the repository has nothing else.
    pub name: String,
    /// Every tag: the offered ones in their order, then what was passed over, then the others, by name.
    pub tags: Vec<TagReport>,
    /// What should be known of the order that this is in.
    pub notes: Vec<String>,
}

/// What becomes of one tag.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TagReport {
    /// The tag; in a classic repository of charts the version.
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
        /// What it stands for.
        offer: Offer,
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

/// What an offered tag stands for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Offer {
    /// An image, or another artifact.
    Image {
        /// The digest that the tag names.
        digest: String,
        /// What is known of the image.
        metadata: Arc<ImageMetadata>,
    },
    /// A chart, of which nothing else is asked.
    Chart {
        /// Its version, which has `+` where a tag has `_`.
        version: String,
    },
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
            Self::Offered { rank, offer: Offer::Image { digest, metadata } } => {
                write!(f, "offered, number {rank}, {digest}")?;
                metadata.created_at.map_or(Ok(()), |created| write!(f, ", built {created}"))
            }
            Self::Offered { rank, offer: Offer::Chart { version } } => {
                write!(f, "offered, number {rank}, version {version}")
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

    /// Puts the reports in their order.
    pub(crate) fn new(repo_url: String, name: String, mut tags: Vec<TagReport>, notes: Vec<String>) -> Self {
        let rank = |report: &TagReport| if let TagOutcome::Offered { rank, .. } = report.outcome { rank } else { 0 };
        tags.sort_by(|a, b| (a.outcome.group(), rank(a), &a.tag).cmp(&(b.outcome.group(), rank(b), &b.tag)));
        Self { repo_url, name, tags, notes }
    }
}

/// What surprises people in the order of semantic versions, when it does in one of `tags`.
pub(crate) fn note_on_numbers<'a>(mut tags: impl Iterator<Item = &'a str>) -> Option<String> {
    let mixes = |tag: &&str| {
        let pre = tag.split('+').next().and_then(|version| version.split_once('-')).map(|(_, pre)| pre);
        pre.is_some_and(|pre| {
            pre.split('.').any(|part| {
                let digits = part.trim_start_matches(|c: char| !c.is_ascii_digit());
                digits.len() < part.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            })
        })
    };
    let tag = tags.find(mixes)?;
    Some(format!(
        "In {tag} a number stands directly behind letters, and semantic versions compare that as text: rc10 comes before \
         rc9. With a dot in between, as in rc.10, the number counts."
    ))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, repo_url) = (self.tags.len(), &self.repo_url);
        match self.name.as_str() {
            "" => writeln!(f, "{repo_url}: {count} tags")?,
            name => writeln!(f, "{name} in {repo_url}: {count} versions")?,
        }
        for report in &self.tags {
            // A version in an index may be any text.
            writeln!(f, "  {}: {}", report.tag.escape_debug(), report.outcome)?;
        }
        for note in &self.notes {
            writeln!(f, "Note: {note}")?;
        }
        Ok(())
    }
}
