//! Discovery of images.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::store::Store;
use kargo_core::{Artifact, Image, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::look::{Answer, Describing, Digests, Looked, Looker};
use super::memory::{Facts, Judgements};
use super::selection::{Selection, Strategy};
use super::shelf::Shelf;
use super::subscription::ImageSubscription;
use crate::client::Client;
use crate::explain::Explanation;
use crate::flight::Flights;
use crate::repository::{Repository, sha256_hex};
use crate::signature::TrustedRoot;

/// Finds images, and any other artifact of an OCI registry, by their tags. Register it as [`ImageSubscription::SOURCE`].
///
/// A look lists all tags, chooses by name alone, and asks only for the first `discoveryLimit` that are left. The next
/// look lists again and asks for each of these whether its tag still has the same digest, one conditional request per
/// tag, or nothing at all with `immutableTags`. By strategy, with P pages of tags:
///
/// | strategy | first look | later looks | with `immutableTags` |
/// |---|---|---|---|
/// | `SemVer`, `Lexical` | P, and 1 per offered image | the same, conditional | P |
/// | `NewestBuild` | P, and 1 per tag that fits by name | the same, conditional | P |
/// | `Digest` | 1 | 1, conditional | 1, conditional |
///
/// An image that does not say in an annotation when it was built, or whose platform matters, costs one request more when its digest is
/// seen for the first time: its configuration. An index that does not say so costs two, for one of its images; with `NewestBuild` two for
/// each of them, since the newest counts. Labels come with the configuration, and those of the names that OCI has for annotations, such
/// as `org.opencontainers.image.revision`, are among the annotations of freight where the manifest has none of that name.
///
/// **What is passed over.** A tag that vanishes after the listing, an image that is not whole or not understood, and one that
/// runs elsewhere are passed over; [`ImageSource::explain`] says which and why. Every other failure fails the look, so an
/// incomplete list never counts as a whole one; and so does a look that finds nothing but broken images. With a platform, the
/// search ends after 100 tags, or five times the limit; if it has found nothing by then, that is an error too.
///
/// **What else is demanded.** A subscription may demand signatures or attestations ([`ImageSubscription::signed`],
/// [`ImageSubscription::attested`]). That costs what [`Client::signed_by`] and [`Client::attestations`] say for each image, once.
///
/// One source stands for one client, and so for one set of credentials: what it remembers is shared between all
/// subscriptions that use it. Those that look at one repository at the same time list its tags once.
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
    root: Option<TrustedRoot>,
    memory: Mutex<Facts>,
    judgements: Mutex<Judgements>,
    describing: Describing,
    shelf: Option<Shelf>,
    listings: Flights<Repository, Arc<Vec<String>>>,
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
        Self {
            client,
            root: None,
            memory: Mutex::default(),
            judgements: Mutex::default(),
            describing: Describing::new(),
            shelf: None,
            listings: Flights::new(),
        }
    }

    /// What certificates are judged by, for subscriptions that demand the signatures of identities.
    #[cfg(feature = "keyless")]
    #[must_use]
    pub fn trusted_root(mut self, root: TrustedRoot) -> Self {
        self.root = Some(root);
        self
    }

    /// Keeps manifests and configurations in the side table of `store` as well, at most 32 MiB of them, so that a program that is started
    /// again need not ask for them. `name` says whose they are: sources with other credentials take other names.
    ///
    /// What comes from there is hashed before it is believed, and signatures are not kept there: they are checked again.
    #[must_use]
    pub fn keep_in(mut self, store: Arc<dyn Store>, name: impl Into<String>) -> Self {
        self.shelf = Some(Shelf::new(store, name));
        self
    }

    /// Looks as [`Source::discover`] does for the first time, and says of every tag why it is or is not offered.
    ///
    /// # Errors
    /// As for [`Source::discover`].
    pub async fn explain(&self, cx: &Context, subscription: &ImageSubscription) -> Result<Explanation> {
        let selection = subscription.clone().check(self.root.as_ref())?;
        let (tags, chosen) = self.list(cx, &selection).await?;
        let looked = self.look(self.looker(cx, &selection, false), chosen, &Digests::new(), HashMap::new()).await?;
        Ok(Explanation::of(&selection, &tags, &looked, cx.now()))
    }

    /// All tags, and those that fit by name in order.
    async fn list(&self, cx: &Context, selection: &Selection) -> Result<(Arc<Vec<String>>, Vec<String>)> {
        let repository = &selection.repository;
        if let Strategy::Digest { tag } = &selection.strategy {
            return Ok((Arc::new(vec![tag.clone()]), vec![tag.clone()]));
        }
        let listing = async { Ok(Arc::new(self.client.list_tags(cx, repository).await?)) };
        // Whoever lists for all may have more time than this call.
        let tags = cx.guard("list the tags of", self.listings.join(repository, listing)).await?;
        let chosen = selection.choose(&tags);
        Ok((tags, chosen))
    }

    fn looker<'a>(&'a self, cx: &'a Context, selection: &'a Selection, trusts_known: bool) -> Looker<'a> {
        Looker {
            cx,
            client: &self.client,
            memory: &self.memory,
            judgements: &self.judgements,
            describing: &self.describing,
            shelf: self.shelf.as_ref(),
            selection,
            trusts_known,
        }
    }

    async fn look(
        &self,
        looker: Looker<'_>,
        chosen: Vec<String>,
        known: &Digests,
        answers: HashMap<String, Answer>,
    ) -> Result<Looked> {
        let looked = looker.at(chosen, known, answers).await;
        // Of a look that failed too: the next one begins where it ended.
        if let Some(shelf) = &self.shelf {
            shelf.write(looker.cx).await;
        }
        looked
    }
}

/// What is remembered from look to look.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// A hash of the configuration, and of the trusted root where it demands something: with another one nothing here applies.
    config: String,
    /// A hash of the tags that fitted by name.
    tags: String,
    /// Whose credentials found it, see [`Client::asker`]. Others are told nothing of it that the registry has not told them too.
    #[serde(default)]
    asker: String,
    /// Each tag that was asked for, with its digest, or nothing when it has to be asked for again in full.
    digests: Digests,
    /// From when on the same images make another choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ripe: Option<Timestamp>,
}

impl Seen {
    fn of(config: String, tags: String, asker: String, looked: &Looked) -> Self {
        let digests = looked.found.iter().map(|(tag, found)| (tag.clone(), found.digest().cloned())).collect();
        Self { config, tags, asker, digests, ripe: looked.ripe }
    }

    /// The tags that have to be asked for to know that nothing has changed.
    fn in_doubt(&self, trusts_known: bool) -> Digests {
        // A tag that never moves is not in doubt, but one without a manifest may have been on its way.
        let never_moves = trusts_known;
        let in_doubt = self.digests.iter().filter(|(_, digest)| !never_moves || digest.is_none());
        in_doubt.map(|(tag, digest)| (tag.clone(), digest.clone())).collect()
    }
}

/// Whether an answer says that a tag is as it was.
fn is_same(answer: Option<&Answer>, digest: Option<&String>) -> bool {
    match (answer, digest) {
        (Some(Answer::Same(_)), Some(_)) | (Some(Answer::Gone), None) => true,
        (Some(Answer::Now(manifest)), Some(digest)) => manifest.digest == *digest,
        (Some(Answer::Unusable { digest: now, .. }), before) => now.as_ref() == before,
        _ => false,
    }
}

#[async_trait]
impl Source for ImageSource {
    fn validate(&self, config: &Value) -> Result<()> {
        ImageSubscription::read(config, self.root.as_ref()).map(|_| ())
    }

    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        let selection = ImageSubscription::read(request.config, self.root.as_ref())?;
        let (_, chosen) = self.list(cx, &selection).await?;
        let demanded = selection.gate.as_ref().map(|gate| gate.hash.as_ref()).unwrap_or_default();
        let config_hash = sha256_hex(format!("{}{demanded}", request.config).as_bytes());
        let tags_hash = sha256_hex(chosen.join("\n").as_bytes());
        // A cursor of another version of this crate, or of another configuration, is as good as none.
        let seen = request.cursor.and_then(|cursor| Seen::deserialize(&cursor.0).ok());
        let seen = seen.filter(|seen| seen.config == config_hash);

        // The credentials that have just listed the tags, or will ask for the one.
        let asker = self.client.asker(&selection.repository).await;
        let is_same_asker = seen.as_ref().is_some_and(|seen| seen.asker == asker);
        let never_moves = selection.immutable_tags && !matches!(selection.strategy, Strategy::Digest { .. });
        let looker = self.looker(cx, &selection, never_moves && is_same_asker);
        let mut answers = HashMap::new();
        let is_ripe = |seen: &Seen| seen.ripe.is_some_and(|ripe| ripe <= cx.now());
        if let Some(seen) = seen.as_ref().filter(|seen| seen.tags == tags_hash && !is_ripe(seen)) {
            let in_doubt = seen.in_doubt(looker.trusts_known);
            answers = looker.again(&in_doubt).await?;
            // For others the same is found once more, so that they need not ask for all of it the next time.
            let is_same_to_all = is_same_asker || !never_moves;
            if is_same_to_all && in_doubt.iter().all(|(tag, digest)| is_same(answers.get(tag), digest.as_ref())) {
                return Ok(Discovery::Unchanged);
            }
        }

        let known = seen.map(|seen| seen.digests).unwrap_or_default();
        let looked = self.look(looker, chosen, &known, answers).await?;
        let candidates = looked.images().map(|(tag, digest, facts)| {
            Artifact::Image(Image {
                repo_url: selection.repo_url.clone(),
                tag: tag.clone(),
                digest: digest.clone(),
                annotations: facts.of_freight(),
                created_at: facts.created_at,
                subscription_name: None,
            })
        });
        let candidates = candidates.collect();
        // A cursor only saves requests, so doing without one is no failure.
        let cursor = serde_json::to_value(Seen::of(config_hash, tags_hash, asker, &looked)).ok().map(Cursor);
        Ok(Discovery::Found { candidates, cursor })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::memory::{Key, Known};
    use super::super::metadata::{Ages, ImageMetadata};
    use super::*;

    #[tokio::test]
    async fn what_a_source_remembers_does_not_print() {
        let source = ImageSource::new(Client::anonymous().unwrap());
        let annotations = BTreeMap::from([("note".to_owned(), "ten thousand of these".to_owned())]);
        let facts = ImageMetadata { annotations, ..ImageMetadata::default() };
        let repository = Repository::parse("r.example/app").unwrap();
        let key = Key { repository, digest: "sha256:1".into(), platform: None, ages: Ages::One };
        source.memory.lock().await.insert(key, Known::Image(Arc::new(facts)));
        let shown = format!("{source:?}");
        assert!(shown.contains("Client") && !shown.contains("ten thousand"), "{shown}");
    }
}
