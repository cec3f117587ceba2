//! Discovery of charts.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, Chart, Error, ErrorKind, Result};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::index;
use super::subscription::{ChartSubscription, Place, Selection};
use crate::client::{Client, Validators};
use crate::explain::{Explanation, Offer, TagOutcome, TagReport, note_on_numbers};
use crate::flight::Flights;
use crate::repository::{Repository, sha256_hex};

/// The most that an index may have, in bytes. One of 20,000 versions has about ten million.
const INDEX_BYTES: usize = 64 * 1024 * 1024;

/// Finds Helm charts by their versions. Register it as [`ChartSubscription::SOURCE`].
///
/// A look at a registry costs its pages of tags and nothing else. A look at a classic repository costs one request, which is
/// conditional from the second one on; the index is read in one pass, and only the wanted chart's versions are kept.
/// Subscriptions that look at the same chart at the same time share the request.
///
/// Versions are offered as they were published. In a registry they must have three numbers, and a `v` may lead; tags have `_`
/// where the version has `+`. In a classic repository short versions such as `1.2` count too. [`ChartSource::explain`] says of each why it is
/// or is not offered.
///
/// ```
/// use kargo_core::Plugins;
/// use kargo_oci::{ChartSource, ChartSubscription, Client};
///
/// let source = ChartSource::new(Client::anonymous()?);
/// let plugins = Plugins::builder().source(ChartSubscription::SOURCE, source).build();
/// # let _ = plugins;
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ChartSource {
    client: Client,
    listings: Flights<Repository, Arc<Vec<String>>>,
    indexes: Flights<(Url, String, Option<String>), Fetched>,
}

/// What was found in a place: the tags or the versions, or nothing when they are the same as before.
type Fetched = Option<(Arc<Vec<String>>, Validators)>;

impl ChartSource {
    /// A source that looks through `client`. Credentials of classic repositories are those of their host or of the path on
    /// it; they are sent with the first request, as Helm does.
    pub fn new(client: Client) -> Self {
        Self { client, listings: Flights::new(), indexes: Flights::new() }
    }

    /// Looks as [`Source::discover`] does for the first time, and says of every tag, or in a classic repository of every version of the
    /// chart, why it is or is not offered.
    ///
    /// ```
    /// use kargo_core::plugin::Context;
    /// use kargo_oci::testing::Registry;
    /// use kargo_oci::{ChartSource, ChartSubscription, Client, ImageSpec};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kargo_core::Result<()> {
    /// let registry = Registry::start().await;
    /// registry.put_image("charts/shop", "1.2.0_build.5", &ImageSpec::default());
    /// registry.put_image("charts/shop", "1.2", &ImageSpec::default());
    ///
    /// let source = ChartSource::new(Client::anonymous()?);
    /// let subscription = ChartSubscription::oci(format!("oci://{}/charts/shop", registry.host()));
    /// let explanation = source.explain(&Context::system("explain"), &subscription).await?;
    /// assert!(explanation.tag("1.2.0_build.5").is_some_and(|report| report.outcome.is_offered()));
    /// assert!(explanation.to_string().contains("strict versions have three numbers"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Source::discover`].
    pub async fn explain(&self, cx: &Context, subscription: &ChartSubscription) -> Result<Explanation> {
        let selection = subscription.clone().check()?;
        let (listed, _) =
            self.fetch(cx, &selection, None).await?.expect("what is not compared with anything is not the same");
        Ok(explained(selection, &listed))
    }

    /// All that is there, or nothing when it is known that it is the same as before.
    async fn fetch(&self, cx: &Context, selection: &Selection, known: Option<&Validators>) -> Result<Fetched> {
        match &selection.place {
            Place::Registry(repository) => Ok(Some((self.list(cx, repository).await?, Validators::default()))),
            Place::Index(url) => self.index(cx, url, &selection.name, known).await,
        }
    }

    async fn list(&self, cx: &Context, repository: &Repository) -> Result<Arc<Vec<String>>> {
        let listing = async { Ok(Arc::new(self.client.list_tags(cx, repository).await?)) };
        // Whoever lists for all may have more time than this call.
        cx.guard("list the tags of", self.listings.join(repository, listing)).await
    }

    async fn index(&self, cx: &Context, url: &Url, chart: &str, known: Option<&Validators>) -> Result<Fetched> {
        let mut file = url.clone();
        if let Ok(mut path) = file.path_segments_mut() {
            path.pop_if_empty().push("index.yaml");
        }
        let key = (file.clone(), chart.to_owned(), known.and_then(|known| serde_json::to_string(known).ok()));
        let fetching = async {
            let Some(found) = self.client.file(cx, &file, INDEX_BYTES, known).await? else { return Ok(None) };
            let (chart, place) = (chart.to_owned(), Repository::of_url(url).to_string());
            // Some megabytes of YAML would hold up everything else on this thread.
            let reading = tokio::task::spawn_blocking(move || index::versions(&found.text, &chart, &place));
            let versions = reading.await.map_err(|error| {
                Error::new(ErrorKind::Panicked, format!("Reading {file} ended in a panic; this is a defect."))
                    .because(error)
            })??;
            Ok(Some((Arc::new(versions), found.validators)))
        };
        cx.guard("fetch", self.indexes.join(&key, fetching)).await
    }
}

/// What is remembered from look to look.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// A hash of the configuration: with another one nothing here applies.
    config: String,
    /// A hash of the versions that were offered.
    versions: String,
    #[serde(default)]
    validators: Validators,
}

#[async_trait]
impl Source for ChartSource {
    fn validate(&self, config: &Value) -> Result<()> {
        ChartSubscription::read(config).map(|_| ())
    }

    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        let selection = ChartSubscription::read(request.config)?;
        let config = sha256_hex(request.config.to_string().as_bytes());
        // A cursor of another version of this crate, or of another configuration, is as good as none.
        let seen = request.cursor.and_then(|cursor| Seen::deserialize(&cursor.0).ok());
        let seen = seen.filter(|seen| seen.config == config);
        let known = seen.as_ref().map(|seen| &seen.validators);
        let fetched = self.fetch(cx, &selection, known).await?;
        let Some((listed, validators)) = fetched else { return Ok(Discovery::Unchanged) };
        let chosen = selection.choose(&listed);
        let versions = sha256_hex(chosen.join("\n").as_bytes());
        // With other validators the cursor has to be renewed, and for that the versions are told again.
        if seen.is_some_and(|seen| seen.versions == versions && seen.validators == validators) {
            return Ok(Discovery::Unchanged);
        }
        let candidates = chosen.into_iter().map(|version| chart(&selection, version)).collect();
        // A cursor only saves requests, so doing without one is no failure.
        let cursor = serde_json::to_value(Seen { config, versions, validators }).ok().map(Cursor);
        Ok(Discovery::Found { candidates, cursor })
    }
}

/// Why each of what was listed is or is not offered. An index may have a version twice.
fn explained(selection: Selection, listed: &[String]) -> Explanation {
    let chosen = selection.choose(listed);
    let ranks: HashMap<&str, usize> =
        chosen.iter().enumerate().map(|(rank, version)| (version.as_str(), rank + 1)).collect();
    let all: BTreeSet<&String> = listed.iter().collect();
    let outcome = |listed: &str| match selection.judge(listed) {
        Err(misfit) => TagOutcome::Misfit(misfit),
        Ok(version) => match ranks.get(version.as_str()) {
            Some(rank) => {
                TagOutcome::Offered { rank: *rank, offer: Offer::Chart { version: version.as_str().to_owned() } }
            }
            None => TagOutcome::BeyondLimit,
        },
    };
    let reports = all.into_iter().map(|tag| TagReport { tag: tag.clone(), outcome: outcome(tag) }).collect();
    let notes = note_on_numbers(chosen.iter().map(String::as_str)).into_iter().collect();
    Explanation::new(selection.repo_url, selection.name, reports, notes)
}

fn chart(selection: &Selection, version: String) -> Artifact {
    Artifact::Chart(Chart {
        repo_url: selection.repo_url.clone(),
        name: selection.name.clone(),
        version,
        subscription_name: None,
    })
}
