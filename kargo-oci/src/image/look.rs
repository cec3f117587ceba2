//! One look at a repository's images: which tags are asked for, what is passed over, and when a look fails.
//!
//! An image that is broken says nothing of the others, so it is passed over. A registry that cannot be asked, or that answers
//! with something else, fails the look: what it did not say must not make an older image the newest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use tokio::sync::Mutex;

use super::gate::Judge;
use super::memory::{Facts, Judged, Judgements, Key, Known};
use super::metadata::{Ages, ImageMetadata, Place, Wanted, describe};
use super::selection::{Selection, Strategy};
use super::shelf::Shelf;
use crate::client::{Client, Fault, Manifest};
use crate::flight::Flights;

/// How many tags are asked for at the same time, and how many when all have to be.
const CONCURRENCY: usize = 8;
const CONCURRENCY_FOR_ALL: usize = 16;
/// How many tags `NewestBuild` asks for at most. Their facts stay in memory, so a look that runs out of time is not lost.
const MOST_BUILDS: usize = 10_000;
/// How far into the future an image may say that it was built before it is passed over: clocks differ by less.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// How many tags that are passed over are named in one message.
const NAMED: usize = 5;

/// What one request says of a tag.
#[derive(Debug)]
pub(super) enum Answer {
    Same(String),
    Now(Box<Manifest>),
    Gone,
    Unusable { reason: Arc<str>, digest: Option<String> },
}

/// What is known of a tag in the end.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Image {
        digest: String,
        facts: Arc<ImageMetadata>,
    },
    /// An image that fits, and is not what is demanded beyond that.
    Refused {
        digest: String,
        reason: Arc<str>,
    },
    Gone,
    /// With the digest, when what it names will never be usable.
    Unusable {
        reason: Arc<str>,
        digest: Option<String>,
    },
}

impl Found {
    pub(super) fn digest(&self) -> Option<&String> {
        match self {
            Self::Image { digest, .. } | Self::Refused { digest, .. } => Some(digest),
            Self::Unusable { digest, .. } => digest.as_ref(),
            Self::Gone => None,
        }
    }
}

/// What a look has come to know.
#[derive(Debug)]
pub(super) struct Looked {
    /// The tags that were asked for, in order.
    pub(super) found: Vec<(String, Found)>,
    /// Indices of the images that are offered, the preferred one first.
    pub(super) offered: Vec<usize>,
    /// Tags that fit by name and were not asked for.
    pub(super) rest: Vec<String>,
    /// How many images there were that were not even judged, since too many that were are not what is demanded.
    unjudged: usize,
    /// When the same tags may make another choice: an image that says that it is from the future no longer is, one that was not signed
    /// may be by then, or a report of vulnerabilities is too old.
    pub(super) ripe: Option<Timestamp>,
}

impl Looked {
    pub(super) fn images(&self) -> impl Iterator<Item = (&String, &String, &Arc<ImageMetadata>)> {
        self.offered.iter().filter_map(|&index| match &self.found[index] {
            (tag, Found::Image { digest, facts }) => Some((tag, digest, facts)),
            _ => None,
        })
    }
}

/// Digests by tag; none for a tag that has to be asked for again in full.
pub(super) type Digests = BTreeMap<String, Option<String>>;

/// What digests stand for that are being looked at, or why that cannot be said yet: many tags may name one image.
pub(super) type Describing = Flights<Key, Result<Known, Arc<str>>>;

/// Looks on behalf of one subscription.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looker<'a> {
    pub(super) cx: &'a Context,
    pub(super) client: &'a Client,
    pub(super) memory: &'a Mutex<Facts>,
    pub(super) judgements: &'a Mutex<Judgements>,
    pub(super) describing: &'a Describing,
    pub(super) shelf: Option<&'a Shelf>,
    pub(super) selection: &'a Selection,
    /// Whether what a tag was before is what it is now: it never moves, and the credentials are those that found it.
    pub(super) trusts_known: bool,
}

/// How many tags a look asks for at most: with a platform that few images run on, or many that are broken, it would
/// otherwise be all of them in every look.
pub(super) fn most_examined(selection: &Selection) -> usize {
    match selection.strategy {
        Strategy::NewestBuild => MOST_BUILDS,
        _ => most_judged(selection.limit),
    }
}

/// How many images a look asks for in vain at most.
fn most_judged(limit: usize) -> usize {
    (5 * limit).max(100)
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

/// Whether an image claims to be built too far ahead to be believed.
pub(super) fn is_ahead(created: Option<Timestamp>, now: Timestamp) -> bool {
    let most = now.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
    created.is_some_and(|created| created > most)
}

impl Looker<'_> {
    /// Asks for each tag whether it still has its digest.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub(super) async fn again(&self, digests: &Digests) -> Result<HashMap<String, Answer>> {
        let asked: Vec<_> = digests.iter().map(|(tag, digest)| (tag.clone(), digest.clone())).collect();
        stream::iter(asked)
            .map(|(tag, digest)| async move {
                let answer = self.ask(&tag, digest).await?;
                Ok((tag, answer))
            })
            .buffer_unordered(self.concurrency())
            .try_collect()
            .await
    }

    /// Asks for the tags that `chosen` names in order of preference, until there are enough images.
    ///
    /// # Errors
    /// When the registry cannot be asked, when not one image could be used, or when the search was given up before one was
    /// found.
    pub(super) async fn at(
        &self,
        chosen: Vec<String>,
        known: &Digests,
        mut answers: HashMap<String, Answer>,
    ) -> Result<Looked> {
        let selection = self.selection;
        let most = most_examined(selection);
        let needs_all = matches!(selection.strategy, Strategy::NewestBuild);
        if needs_all && chosen.len() > most {
            return Err(self.too_many(chosen.len(), most));
        }
        let total = chosen.len();
        let mut left = chosen.into_iter();
        let mut found: Vec<(String, Found)> = Vec::new();
        let (mut images, mut ripe) = (0, None);
        // In rounds, so that not one tag more is asked for than is needed.
        loop {
            let wanted = if needs_all { most } else { selection.limit - images }.min(most - found.len());
            let round: Vec<_> = left
                .by_ref()
                .take(wanted)
                .map(|tag| (answers.remove(&tag), known.get(&tag).cloned().flatten(), tag))
                .collect();
            if round.is_empty() {
                break;
            }
            let mut round: Vec<_> = stream::iter(round)
                .map(|(answer, digest, tag)| async move {
                    let found = self.resolve(&tag, answer, digest).await?;
                    Ok::<_, Error>((tag, found))
                })
                .buffered(self.concurrency())
                .try_collect()
                .await?;
            if !needs_all {
                let all = (0..round.len()).collect();
                ripe = earliest(ripe, self.judge(&mut round, all).await?);
            }
            images += round.iter().filter(|(_, found)| is_fitting(found)).count();
            found.extend(round);
        }
        let mut looked = Looked { found, offered: Vec::new(), rest: left.collect(), unjudged: 0, ripe };
        self.offer(&mut looked).await?;
        self.report(&looked);
        if looked.offered.is_empty() {
            self.check_emptiness(&looked, total)?;
        }
        Ok(looked)
    }

    fn concurrency(&self) -> usize {
        if matches!(self.selection.strategy, Strategy::NewestBuild) { CONCURRENCY_FOR_ALL } else { CONCURRENCY }
    }

    /// Asks of those of `found` that `which` names, and that fit, whether they are what is demanded beyond that. Returns when the answer
    /// may be another one.
    async fn judge(&self, found: &mut [(String, Found)], which: Vec<usize>) -> Result<Option<Timestamp>> {
        let Some(gate) = &self.selection.gate else { return Ok(None) };
        let digest = |index: &usize| match &found[*index].1 {
            Found::Image { digest, facts } if facts.fits_platform => Some((*index, digest.clone())),
            _ => None,
        };
        let (which, digests): (Vec<usize>, Vec<String>) = which.iter().filter_map(digest).unzip();
        let keys = digests.iter().map(|digest| self.key(digest)).collect();
        let judge = Judge { cx: self.cx, client: self.client, gate, memory: self.judgements };
        let mut ripe = None;
        for ((index, digest), judged) in which.into_iter().zip(digests).zip(judge.all(keys).await?) {
            ripe = earliest(ripe, judged.until());
            if let Judged::Bad { why: reason, .. } = judged {
                found[index].1 = Found::Refused { digest, reason };
            }
        }
        Ok(ripe)
    }

    fn key(&self, digest: &str) -> Key {
        let Selection { repository, platform, .. } = self.selection;
        Key { repository: repository.clone(), digest: digest.to_owned(), platform: platform.clone(), ages: self.ages() }
    }

    /// Only where the time decides, it is worth a request for each image of an index.
    fn ages(&self) -> Ages {
        if matches!(self.selection.strategy, Strategy::NewestBuild) { Ages::All } else { Ages::One }
    }

    /// Chooses among what was found.
    async fn offer(&self, looked: &mut Looked) -> Result<()> {
        let fitting = |(index, (_, found)): (usize, &(String, Found))| is_fitting(found).then_some(index);
        let mut offered: Vec<usize> = looked.found.iter().enumerate().filter_map(fitting).collect();
        if matches!(self.selection.strategy, Strategy::NewestBuild) {
            let now = self.cx.now();
            let age = |index: usize| {
                let (tag, found) = &looked.found[index];
                let created = if let Found::Image { facts, .. } = found { facts.created_at } else { None };
                (created, tag.as_str())
            };
            let ahead = offered.iter().filter_map(|&index| age(index).0.filter(|_| is_ahead(age(index).0, now)));
            let ripe = ahead.min().and_then(|created| created.checked_sub(AHEAD).ok());
            offered.retain(|&index| !is_ahead(age(index).0, now));
            offered.sort_by(|&a, &b| Selection::by_age(age(a), age(b)));
            if let [first, second, ..] = offered.as_slice()
                && age(*first).0 == age(*second).0
            {
                self.cx.progress(format_args!(
                    "The newest images of {} say that they were built at the same time, so their tags decide: {} is taken.",
                    self.selection.repository,
                    age(*first).1
                ));
            }
            looked.ripe = earliest(ripe, self.judge_newest(looked, &mut offered).await?);
            offered.truncate(self.selection.limit);
        }
        looked.offered = offered;
        Ok(())
    }

    /// Judges the images of the newest builds until there are enough that are what is demanded, and leaves these.
    async fn judge_newest(&self, looked: &mut Looked, offered: &mut Vec<usize>) -> Result<Option<Timestamp>> {
        let limit = self.selection.limit;
        if self.selection.gate.is_none() {
            return Ok(None);
        }
        let (mut good, mut ripe): (Vec<usize>, _) = (Vec::new(), None);
        let mut left = offered.iter().copied().take(most_judged(limit)).peekable();
        while good.len() < limit && left.peek().is_some() {
            let round: Vec<usize> = left.by_ref().take(limit - good.len()).collect();
            ripe = earliest(ripe, self.judge(&mut looked.found, round.clone()).await?);
            good.extend(round.into_iter().filter(|&index| is_fitting(&looked.found[index].1)));
        }
        looked.unjudged = offered.len().saturating_sub(most_judged(limit));
        *offered = good;
        Ok(ripe)
    }

    /// Tells what was passed over.
    fn report(&self, looked: &Looked) {
        let (is_newest_build, now) = (matches!(self.selection.strategy, Strategy::NewestBuild), self.cx.now());
        let passed: Vec<String> = looked
            .found
            .iter()
            .filter_map(|(tag, found)| match found {
                Found::Unusable { reason, .. } | Found::Refused { reason, .. } => Some(format!("{tag} ({reason})")),
                Found::Gone => Some(format!("{tag} (it has vanished)")),
                Found::Image { facts, .. } if !facts.fits_platform => Some(format!("{tag} (not for this platform)")),
                Found::Image { facts, .. } if is_newest_build && is_ahead(facts.created_at, now) => {
                    Some(format!("{tag} (it says that it was built in the future)"))
                }
                Found::Image { .. } => None,
            })
            .collect();
        if !passed.is_empty() {
            let more = passed.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            self.cx.progress(format_args!(
                "Tags of {} are passed over: {}{more}.",
                self.selection.repository,
                passed[..passed.len().min(NAMED)].join(", ")
            ));
        }
    }

    /// Nothing that fits is an answer; nothing because all of it is broken, or because the search was given up, is none.
    fn check_emptiness(&self, looked: &Looked, total: usize) -> Result<()> {
        let Selection { repository, platform, .. } = self.selection;
        let examined = looked.found.len() - looked.unjudged;
        let broken = looked.found.iter().find_map(|(tag, found)| match found {
            Found::Unusable { reason, .. } => Some((tag, reason)),
            _ => None,
        });
        if let Some((tag, reason)) = broken {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "Of the {examined} tags of {repository} that were looked at, no image can be used; {tag}, for example: {reason}"
                ),
            )
            .operation("look for images"));
        }
        if looked.rest.is_empty() && looked.unjudged == 0 {
            return Ok(());
        }
        let wanted = platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
        let refused = looked.found.iter().find_map(|(tag, found)| match found {
            Found::Refused { reason, .. } => Some((tag, reason)),
            _ => None,
        });
        if let Some((tag, reason)) = refused {
            let text = format!(
                "Among the first {examined} of the {total} tags of {repository} that fit by name there is no image{wanted} that is what is \
                 demanded, and the search was ended there; {tag}, for example, {reason}."
            );
            return Err(Error::new(ErrorKind::InvalidInput, text).operation("look for images"));
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "Among the first {examined} of the {total} tags of {repository} that fit by name there is no image{wanted}, and \
                 the search was ended there. Correct the platform, or narrow the tags by constraint or allowTagsRegexes."
            ),
        )
        .operation("look for images"))
    }

    fn too_many(&self, count: usize, most: usize) -> Error {
        Error::new(
            ErrorKind::InvalidInput,
            format!(
                "{count} tags of {} fit by name, and NewestBuild has to ask for each of them; {most} is the most. Narrow them by \
                 allowTagsRegexes or ignoreTagsRegexes, or choose by SemVer or Lexical, which ask for few.",
                self.selection.repository
            ),
        )
        .operation("look for images")
    }

    async fn ask(&self, tag: &str, digest: Option<String>) -> Result<Answer> {
        let (client, repository) = (self.client, &self.selection.repository);
        let fetched = match &digest {
            Some(digest) => client.try_manifest_unless(self.cx, repository, tag, digest).await,
            None => client.try_manifest(self.cx, repository, tag).await.map(Some),
        };
        match (fetched, digest) {
            (Ok(Some(manifest)), _) => Ok(Answer::Now(Box::new(manifest))),
            (Ok(None), Some(digest)) => Ok(Answer::Same(digest)),
            // Deleted since the tags were listed.
            (Ok(None), None) => Ok(Answer::Gone),
            (Err(Fault::Look(error)), _) if error.kind() == ErrorKind::NotFound => Ok(Answer::Gone),
            (Err(Fault::Look(error)), _) => Err(error.with("tag", tag)),
            (Err(Fault::Image { error, digest }), _) => Ok(Answer::Unusable { reason: error.message().into(), digest }),
        }
    }

    /// What a tag stands for.
    async fn resolve(&self, tag: &str, answer: Option<Answer>, known: Option<String>) -> Result<Found> {
        let mut remembered = None;
        if let Some(digest) = &known {
            let key = self.key(digest);
            remembered = self.memory.lock().await.get(&key);
            if remembered.is_none() {
                remembered = self.kept(key).await;
            }
        }
        let answer = match (answer, known) {
            (Some(answer), _) => answer,
            (None, Some(digest)) if remembered.is_some() && self.trusts_known => Answer::Same(digest),
            // Without the facts the manifest is needed anyway, so there is nothing to make conditional.
            (None, known) => self.ask(tag, known.filter(|_| remembered.is_some())).await?,
        };
        let fetched = match answer {
            Answer::Gone => return Ok(Found::Gone),
            Answer::Unusable { reason, digest } => Err((reason, digest)),
            Answer::Now(manifest) => Ok(*manifest),
            Answer::Same(digest) => match remembered {
                Some(known) => return Ok(found(digest, known)),
                None => match self.ask(&digest, None).await? {
                    Answer::Now(manifest) => Ok(*manifest),
                    Answer::Unusable { reason, digest } => Err((reason, digest)),
                    Answer::Gone | Answer::Same(_) => return Ok(Found::Gone),
                },
            },
        };
        let manifest = match fetched {
            Ok(manifest) => manifest,
            Err((reason, digest)) => {
                if let Some(digest) = &digest {
                    self.memory.lock().await.insert(self.key(digest), Known::Unusable(Arc::clone(&reason)));
                }
                return Ok(Found::Unusable { reason, digest });
            }
        };
        let key = self.key(&manifest.digest);
        let finding_out = self.find_out(&key, &manifest);
        match self.describing.join(&key, finding_out).await.map_err(|error| error.with("tag", tag))? {
            Ok(known) => Ok(found(manifest.digest, known)),
            // It may be whole the next time.
            Err(reason) => Ok(Found::Unusable { reason, digest: None }),
        }
    }

    /// What a manifest stands for, or why that cannot be said now.
    async fn find_out(&self, key: &Key, manifest: &Manifest) -> Result<Result<Known, Arc<str>>> {
        if let Some(known) = self.memory.lock().await.get(key) {
            return Ok(Ok(known));
        }
        let known = match self.describe(manifest).await {
            Ok(known) => known,
            Err(Fault::Look(error)) => return Err(error),
            Err(Fault::Image { error, .. }) => return Ok(Err(error.message().into())),
        };
        self.place().keep(&manifest.digest, &manifest.bytes).await;
        self.memory.lock().await.insert(key.clone(), known.clone());
        Ok(Ok(known))
    }

    fn place(&self) -> Place<'_> {
        Place { client: self.client, repository: &self.selection.repository, shelf: self.shelf }
    }

    /// What a manifest stands for, for good.
    async fn describe(&self, manifest: &Manifest) -> Result<Known, Fault> {
        let wanted = Wanted { platform: self.selection.platform.as_ref(), labels: false, ages: self.ages() };
        match describe(self.cx, self.place(), manifest, wanted).await {
            Ok(facts) => Ok(Known::Image(Arc::new(facts))),
            Err(Fault::Image { error, digest: Some(_) }) => Ok(Known::Unusable(error.message().into())),
            Err(fault) => Err(fault),
        }
    }

    /// What was known of a digest before this program was started.
    async fn kept(&self, key: Key) -> Option<Known> {
        let manifest = self.place().kept(&key.digest).await?;
        // What cannot be found out about it now is asked for in the usual way, and fails there if it must.
        let known = self.describe(&manifest).await.ok()?;
        self.memory.lock().await.insert(key, known.clone());
        Some(known)
    }
}

fn found(digest: String, known: Known) -> Found {
    match known {
        Known::Image(facts) => Found::Image { digest, facts },
        Known::Unusable(reason) => Found::Unusable { reason, digest: Some(digest) },
    }
}

fn is_fitting(found: &Found) -> bool {
    matches!(found, Found::Image { facts, .. } if facts.fits_platform)
}
