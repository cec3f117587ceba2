//! Freight of a chosen set: one discovered artifact for each subscription.

use crate::artifact::Artifact;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{WarehouseName, near_match};
use crate::warehouse::Discovered;

/// How many discovered versions an error names.
const NAMED: usize = 10;
/// How many digits of a commit id are enough to choose by.
const SHORT_ID: usize = 7;

/// Which artifact one subscription gives to assembled freight; see [`crate::Engine::assemble`].
///
/// ```
/// use kargo_core::Choice;
///
/// // The subscription by name or by its place, from 0; the artifact by tag, digest, version or commit id, or itself.
/// let choices = [Choice::of("frontend", "v1.4.0"), Choice::of(1, "sha256:0123")];
/// # let _ = choices;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    which: Which,
    chosen: Chosen,
}

impl Choice {
    /// Of the subscription `which`, the artifact `chosen`.
    pub fn of(which: impl Into<Which>, chosen: impl Into<Chosen>) -> Self {
        Self { which: which.into(), chosen: chosen.into() }
    }
}

/// A subscription of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// By its place, from 0.
    Place(usize),
    /// By its name.
    Name(String),
}

impl From<usize> for Which {
    fn from(place: usize) -> Self {
        Self::Place(place)
    }
}

impl From<&str> for Which {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for Which {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

/// An artifact among those that were discovered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Chosen {
    /// By a text: a tag, a digest, `tag@digest`, a version, or at least seven digits of a commit id.
    Text(String),
    /// The artifact itself.
    Artifact(Box<Artifact>),
}

impl From<&str> for Chosen {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Chosen {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Artifact> for Chosen {
    fn from(artifact: Artifact) -> Self {
        Self::Artifact(Box::new(artifact))
    }
}

/// One artifact for each subscription, in order: the chosen one, or the newest where nothing was chosen.
pub(crate) fn choose(
    warehouse: &WarehouseName,
    discovered: &[Discovered],
    choices: &[Choice],
) -> Result<Vec<Artifact>> {
    let mut chosen: Vec<Option<&Artifact>> = vec![None; discovered.len()];
    for choice in choices {
        let place = place(warehouse, discovered, &choice.which)?;
        let artifact = find(warehouse, discovered, place, &choice.chosen)?;
        if chosen[place].replace(artifact).is_some() {
            let message = format!("{} has two choices; give it one.", called(warehouse, discovered, place));
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    let artifacts = chosen.into_iter().enumerate().map(|(place, chosen)| {
        let newest = || discovered[place].candidates.first();
        chosen.or_else(newest).cloned().ok_or_else(|| {
            let called = called(warehouse, discovered, place);
            let message = format!("{called} has found nothing that fits it, so there is nothing to make freight of.");
            Error::new(ErrorKind::NotFound, message)
        })
    });
    artifacts.collect()
}

fn place(warehouse: &WarehouseName, discovered: &[Discovered], which: &Which) -> Result<usize> {
    match which {
        Which::Place(place) if *place < discovered.len() => Ok(*place),
        Which::Place(place) => {
            let message = format!(
                "Warehouse {warehouse:?} has no subscription at place {place}: it has {}, counted from 0.",
                discovered.len()
            );
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
        Which::Name(name) => {
            let names = || discovered.iter().filter_map(|found| found.subscription.name.as_deref());
            let found = discovered.iter().position(|found| found.subscription.name.as_ref() == Some(name));
            found.ok_or_else(|| {
                let hint = match near_match(name, names()) {
                    Some(near) => format!("Did you mean {near:?}?"),
                    None if names().next().is_none() => "None has a name: choose by place, from 0.".to_owned(),
                    None => format!("Its subscriptions are called {}.", listed(names())),
                };
                let message = format!("Warehouse {warehouse:?} has no subscription {name:?}. {hint}");
                Error::new(ErrorKind::InvalidInput, message)
            })
        }
    }
}

fn find<'a>(
    warehouse: &WarehouseName,
    discovered: &'a [Discovered],
    place: usize,
    chosen: &Chosen,
) -> Result<&'a Artifact> {
    let Discovered { subscription, candidates } = &discovered[place];
    let (wanted, found): (String, Vec<&Artifact>) = match chosen {
        Chosen::Text(text) => (format!("{text:?}"), candidates.iter().filter(|one| answers_to(one, text)).collect()),
        Chosen::Artifact(artifact) => {
            let mut artifact = (**artifact).clone();
            if let Some(name) = &subscription.name {
                artifact.set_subscription_name(name);
            }
            let same = |one: &&Artifact| one.identity() == artifact.identity();
            (artifact.to_string(), candidates.iter().filter(same).take(1).collect())
        }
    };
    let called = || called(warehouse, discovered, place);
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let text = if let Chosen::Text(text) = chosen { text.as_str() } else { "" };
            let hint = match near_match(text, candidates.iter().map(Artifact::version)) {
                Some(near) => format!("Did you mean {near:?}?"),
                None if candidates.is_empty() => "It has found nothing that fits it.".to_owned(),
                None => format!("It has found {}.", listed(candidates.iter().map(Artifact::version))),
            };
            let message = format!("{} has not discovered {wanted}. {hint}", called());
            Err(Error::new(ErrorKind::NotFound, message))
        }
        several => {
            let several = listed(several.iter().map(|one| one.version()));
            let message = format!("{wanted} fits more than one artifact of {}: {several}. Say more of it.", called());
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

/// Whether `artifact` is what somebody means by `text`.
fn answers_to(artifact: &Artifact, text: &str) -> bool {
    match artifact {
        Artifact::Commit(commit) => {
            commit.tag.as_deref() == Some(text) || (text.len() >= SHORT_ID && commit.id.starts_with(text))
        }
        Artifact::Image(image) => match text.split_once('@') {
            Some((tag, digest)) => image.tag == tag && image.digest == digest,
            None => image.tag == text || image.digest == text,
        },
        Artifact::Chart(chart) => chart.version == text,
        Artifact::Generic(generic) => generic.version == text,
    }
}

fn called(warehouse: &WarehouseName, discovered: &[Discovered], place: usize) -> String {
    match &discovered[place].subscription.name {
        Some(name) => format!("Subscription {name:?} of warehouse {warehouse:?}"),
        None => format!("Subscription {} of warehouse {warehouse:?}", place + 1),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..NAMED].join(", ")),
        _ => names.join(", "),
    }
}
