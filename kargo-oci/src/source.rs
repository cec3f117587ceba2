//! Discovery of images.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, ErrorKind, Image, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::client::{Client, Manifest, Platform};
use crate::metadata::{ImageMetadata, describe};
use crate::repository::{Repository, sha256_hex};
use crate::subscription::{ImageSubscription, Selection};

/// How many images are asked for at the same time.
const CONCURRENCY: usize = 8;
/// Of how many images the facts are kept in memory, and how many bytes their annotations may have in all: a registry may
/// send 128 KiB of them for each image.
const REMEMBERED: usize = 10_000;
const REMEMBERED_BYTES: usize = 32 * 1024 * 1024;

/// Finds images by the semantic versions of their tags. Register it as [`ImageSubscription::SOURCE`].
///
/// A look lists all tags, chooses by name alone, and asks only for the first `discoveryLimit` that are left. The next
/// look lists again and asks for each of these whether its tag still has the same digest, one conditional request per
/// tag, or nothing at all with `immutableTags`. A tag that vanishes in between is passed over; any other failure fails
/// the look, so an incomplete list never counts as a whole one.
///
/// One source stands for one set of credentials: what it remembers is shared between all subscriptions that use it.
///
/// ```
/// use kargo_core::Plugins;
/// use kargo_oci::{Client, ImageSource, ImageSubscription};
///
/// let source = ImageSource::new(Client::anonymous()?);
/// let plugins = Plugins::builder().source(ImageSubscription::SOURCE, source).build();
/// # let _ = plugins;
/// # Ok::<(), kargo_core::Error>(())
/// ```
pub struct ImageSource {
    client: Client,
    memory: Mutex<Memory>,
}

// The memory may hold thousands of images.
impl fmt::Debug for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageSource").field("client", &self.client).finish_non_exhaustive()
    }
}

impl ImageSource {
    /// A source that looks through `client`.
    pub fn new(client: Client) -> Self {
        Self { client, memory: Mutex::default() }
    }
}

type MemoryKey = (Repository, String, Option<Platform>);

/// Facts by digest, the oldest forgotten first. Only what was hashed here comes in.
#[derive(Default)]
struct Memory {
    facts: HashMap<MemoryKey, Arc<ImageMetadata>>,
    order: VecDeque<MemoryKey>,
    bytes: usize,
}

impl Memory {
    fn insert(&mut self, key: MemoryKey, facts: Arc<ImageMetadata>) {
        self.bytes += size(&facts);
        match self.facts.insert(key.clone(), facts) {
            Some(before) => self.bytes -= size(&before),
            None => self.order.push_back(key),
        }
        while self.order.len() > REMEMBERED || self.bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(facts) = self.facts.remove(&oldest) {
                self.bytes -= size(&facts);
            }
        }
    }
}

fn size(facts: &ImageMetadata) -> usize {
    facts.annotations.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// What is remembered from look to look.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// A hash of the configuration: with another one nothing here applies.
    config: String,
    /// A hash of the tags that fitted by name.
    tags: String,
    /// Each tag that was asked for, with its digest, or nothing when it had vanished.
    digests: BTreeMap<String, Option<String>>,
}

/// What one request says of a tag.
enum Answer {
    Same(String),
    Now(Box<Manifest>),
    Gone,
}

#[async_trait]
impl Source for ImageSource {
    fn validate(&self, config: &Value) -> Result<()> {
        ImageSubscription::read(config).map(|_| ())
    }

    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        let selection = ImageSubscription::read(request.config)?;
        let tags = self.client.list_tags(cx, &selection.repository).await?;
        let chosen = selection.choose(&tags);
        let config_hash = sha256_hex(request.config.to_string().as_bytes());
        let tags_hash = sha256_hex(chosen.join("\n").as_bytes());
        // A cursor of another version of this crate, or of another configuration, is as good as none.
        let seen = request.cursor.and_then(|cursor| Seen::deserialize(&cursor.0).ok());
        let seen = seen.filter(|seen| seen.config == config_hash);

        let mut answers = HashMap::new();
        if let Some(seen) = seen.as_ref().filter(|seen| seen.tags == tags_hash) {
            // A tag that was listed but had no manifest may have been on its way, and is asked for again.
            if selection.immutable_tags && seen.digests.values().all(Option::is_some) {
                return Ok(Discovery::Unchanged);
            }
            answers = self.look_again(cx, &selection, &seen.digests).await?;
            let is_same = |(tag, digest): (&String, &Option<String>)| match (answers.get(tag), digest) {
                (Some(Answer::Same(_)), Some(_)) | (Some(Answer::Gone), None) => true,
                (Some(Answer::Now(manifest)), Some(digest)) => manifest.digest == *digest,
                _ => false,
            };
            if seen.digests.iter().all(is_same) {
                return Ok(Discovery::Unchanged);
            }
        }

        let known = seen.map(|seen| seen.digests).unwrap_or_default();
        let mut candidates = Vec::new();
        let mut digests = BTreeMap::new();
        let mut left = chosen.into_iter();
        // In rounds, so that not one tag more is asked for than is needed.
        while candidates.len() < selection.limit {
            let round: Vec<_> = left
                .by_ref()
                .take(selection.limit - candidates.len())
                .map(|tag| (answers.remove(&tag), known.get(&tag).cloned().flatten(), tag))
                .collect();
            if round.is_empty() {
                break;
            }
            let selection = &selection;
            let found: Vec<Result<_>> = stream::iter(round)
                .map(|(answer, digest, tag)| async move {
                    let found = self.resolve(cx, selection, &tag, answer, digest).await?;
                    Ok((tag, found))
                })
                .buffered(CONCURRENCY)
                .collect()
                .await;
            for result in found {
                let (tag, found) = result?;
                digests.insert(tag.clone(), found.as_ref().map(|(digest, _)| digest.clone()));
                let Some((digest, facts)) = found.filter(|(_, facts)| facts.fits_platform) else {
                    cx.progress(format_args!(
                        "The tag {tag} of {} is passed over: it has vanished, or lacks the platform.",
                        selection.repository
                    ));
                    continue;
                };
                candidates.push(Artifact::Image(Image {
                    repo_url: selection.repo_url.clone(),
                    tag,
                    digest,
                    annotations: facts.annotations.clone(),
                    created_at: facts.created_at,
                    subscription_name: None,
                }));
            }
        }
        let seen = Seen { config: config_hash, tags: tags_hash, digests };
        // A cursor only saves requests, so doing without one is no failure.
        let cursor = serde_json::to_value(seen).ok().map(Cursor);
        Ok(Discovery::Found { candidates, cursor })
    }
}

impl ImageSource {
    /// Asks for each tag whether it still has its digest.
    async fn look_again(
        &self,
        cx: &Context,
        selection: &Selection,
        digests: &BTreeMap<String, Option<String>>,
    ) -> Result<HashMap<String, Answer>> {
        let asked: Vec<_> = digests.iter().map(|(tag, digest)| (tag.clone(), digest.clone())).collect();
        let answers: Vec<Result<_>> = stream::iter(asked)
            .map(|(tag, digest)| async move {
                let answer = self.ask(cx, &selection.repository, &tag, digest).await?;
                Ok((tag, answer))
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        answers.into_iter().collect()
    }

    async fn ask(&self, cx: &Context, repository: &Repository, tag: &str, digest: Option<String>) -> Result<Answer> {
        let fetched = match &digest {
            Some(digest) => self.client.manifest_unless(cx, repository, tag, digest).await,
            None => self.client.manifest(cx, repository, tag).await.map(Some),
        };
        match (fetched, digest) {
            (Ok(Some(manifest)), _) => Ok(Answer::Now(Box::new(manifest))),
            (Ok(None), Some(digest)) => Ok(Answer::Same(digest)),
            // Deleted since the tags were listed.
            (Ok(None), None) => Ok(Answer::Gone),
            (Err(error), _) if error.kind() == ErrorKind::NotFound => Ok(Answer::Gone),
            (Err(error), _) => Err(error),
        }
    }

    /// The digest and the facts of a tag, or nothing when it has vanished.
    async fn resolve(
        &self,
        cx: &Context,
        selection: &Selection,
        tag: &str,
        answer: Option<Answer>,
        known: Option<String>,
    ) -> Result<Option<(String, Arc<ImageMetadata>)>> {
        let repository = &selection.repository;
        let key = |digest: &str| (repository.clone(), digest.to_owned(), selection.platform.clone());
        let mut remembered = None;
        if let Some(digest) = &known {
            remembered = self.memory.lock().await.facts.get(&key(digest)).cloned();
        }
        let answer = match (answer, known) {
            (Some(answer), _) => answer,
            (None, Some(digest)) if remembered.is_some() && selection.immutable_tags => Answer::Same(digest),
            // Without the facts the manifest is needed anyway, so there is nothing to make conditional.
            (None, known) => self.ask(cx, repository, tag, known.filter(|_| remembered.is_some())).await?,
        };
        let manifest = match answer {
            Answer::Gone => return Ok(None),
            Answer::Same(digest) => match remembered {
                Some(facts) => return Ok(Some((digest, facts))),
                None => self.client.manifest(cx, repository, &digest).await?,
            },
            Answer::Now(manifest) => *manifest,
        };
        let key = key(&manifest.digest);
        let remembered = self.memory.lock().await.facts.get(&key).cloned();
        let facts = match remembered {
            Some(facts) => facts,
            None => {
                let facts = Arc::new(
                    describe(cx, &self.client, repository, &manifest, selection.platform.as_ref())
                        .await
                        .map_err(|error| error.with("tag", tag))?,
                );
                self.memory.lock().await.insert(key, Arc::clone(&facts));
                facts
            }
        };
        Ok(Some((manifest.digest, facts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_source_remembers_does_not_print() {
        let source = ImageSource::new(Client::anonymous().unwrap());
        let annotations = BTreeMap::from([("note".to_owned(), "ten thousand of these".to_owned())]);
        let facts = ImageMetadata { annotations, created_at: None, fits_platform: true };
        let key = (Repository::parse("r.example/app").unwrap(), "sha256:1".into(), None);
        source.memory.lock().await.insert(key, Arc::new(facts));
        let shown = format!("{source:?}");
        assert!(shown.contains("Client") && !shown.contains("ten thousand"), "{shown}");
    }

    #[test]
    fn the_memory_of_large_annotations_does_not_grow_without_end() {
        let repository = Repository::parse("r.example/app").unwrap();
        let mut memory = Memory::default();
        for number in 0..1_000 {
            let annotations = BTreeMap::from([("text".to_owned(), "x".repeat(64 * 1024))]);
            let facts = ImageMetadata { annotations, created_at: None, fits_platform: true };
            // The same digest may come twice, when two looks ask at once.
            for _ in 0..2 {
                memory.insert((repository.clone(), format!("sha256:{number}"), None), Arc::new(facts.clone()));
            }
        }
        let held: usize = memory.facts.values().map(|facts| size(facts)).sum();
        assert!(held <= REMEMBERED_BYTES && held == memory.bytes && memory.facts.len() == memory.order.len());
        assert!(memory.facts.contains_key(&(repository, "sha256:999".into(), None)));
    }
}
