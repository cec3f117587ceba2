//! Freight: one version of everything that ships together, named by its content.

mod alias;
mod choice;
mod pick;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::artifact::{Artifact, Chart, GitCommit, Image};
use crate::name::{FreightId, WarehouseName};

pub(crate) use alias::{alias_fault, generated_alias};
pub(crate) use choice::choose;
pub use choice::{Choice, Chosen, Which};
pub use pick::Pick;

/// A set of artifacts from one warehouse that is promoted as one.
///
/// Its id is derived from the origin and the artifacts, exactly as Kargo derives it, so that the same content found twice is the
/// same freight. Everything but the alias is immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freight {
    id: FreightId,
    origin: WarehouseName,
    // Shared by its copies, of which every call of a plug-in gets one.
    artifacts: Arc<[Artifact]>,
    discovered_at: Timestamp,
}

impl Freight {
    /// Freight of `artifacts` from `origin`.
    pub fn new(origin: impl Into<WarehouseName>, artifacts: Vec<Artifact>, discovered_at: Timestamp) -> Self {
        let origin = origin.into();
        let id = freight_id(&origin, &artifacts);
        Self { id, origin, artifacts: artifacts.into(), discovered_at }
    }

    /// The id: SHA-1 over origin and artifacts in Kargo's form, in hexadecimal.
    pub fn id(&self) -> &FreightId {
        &self.id
    }

    /// The warehouse that made it.
    pub fn origin(&self) -> &WarehouseName {
        &self.origin
    }

    /// What it carries, in the order of the warehouse's subscriptions.
    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    /// When it was first found. All ordering by age goes by this.
    pub fn discovered_at(&self) -> Timestamp {
        self.discovered_at
    }

    /// The images it carries.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.artifacts.iter().filter_map(|artifact| match artifact {
            Artifact::Image(image) => Some(image),
            _ => None,
        })
    }

    /// The commits it carries.
    pub fn commits(&self) -> impl Iterator<Item = &GitCommit> {
        self.artifacts.iter().filter_map(|artifact| match artifact {
            Artifact::Commit(commit) => Some(commit),
            _ => None,
        })
    }

    /// The charts it carries.
    pub fn charts(&self) -> impl Iterator<Item = &Chart> {
        self.artifacts.iter().filter_map(|artifact| match artifact {
            Artifact::Chart(chart) => Some(chart),
            _ => None,
        })
    }

    /// A name for people: the versions it carries, such as `1.2.3`, or `1.2.3 + 4.5.6`.
    pub fn label(&self) -> String {
        self.artifacts.iter().map(Artifact::version).collect::<Vec<_>>().join(" + ")
    }
}

impl fmt::Display for Freight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id.short(), self.label())
    }
}

fn freight_id(origin: &WarehouseName, artifacts: &[Artifact]) -> FreightId {
    let mut parts: Vec<String> = artifacts.iter().map(Artifact::identity).collect();
    parts.sort_unstable();
    FreightId::from(sha1_hex(&format!("Warehouse/{origin}:{}", parts.join("|"))))
}

pub(crate) fn sha1_hex(text: &str) -> String {
    Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The freight that a stage runs, one piece for each warehouse it asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FreightCollection {
    items: BTreeMap<WarehouseName, Freight>,
}

impl FreightCollection {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `freight` in, in place of what its warehouse had there.
    #[must_use]
    pub fn with(mut self, freight: Freight) -> Self {
        self.items.insert(freight.origin().clone(), freight);
        self
    }

    /// The members, by warehouse.
    pub fn iter(&self) -> impl Iterator<Item = &Freight> {
        self.items.values()
    }

    /// The member from `origin`.
    pub fn get(&self, origin: &WarehouseName) -> Option<&Freight> {
        self.items.get(origin)
    }

    /// The collection's id as Kargo computes it: SHA-1 over the members' ids, sorted and joined with commas.
    pub fn id(&self) -> String {
        Self::id_of(self.items.values().map(|freight| freight.id().as_str()))
    }

    /// The id of the collection of the freight with these ids, in any order.
    pub fn id_of<'f>(ids: impl IntoIterator<Item = &'f str>) -> String {
        let mut ids: Vec<&str> = ids.into_iter().collect();
        ids.sort_unstable();
        sha1_hex(&ids.join(","))
    }
}

impl FromIterator<Freight> for FreightCollection {
    fn from_iter<I: IntoIterator<Item = Freight>>(freights: I) -> Self {
        freights.into_iter().fold(Self::new(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(subscription_name: Option<&str>) -> Artifact {
        Artifact::Image(Image {
            repo_url: "ghcr.io/acme/app".into(),
            tag: "1.2.3".into(),
            digest: format!("sha256:{}", "a".repeat(64)),
            annotations: BTreeMap::new(),
            created_at: None,
            subscription_name: subscription_name.map(Into::into),
        })
    }

    #[test]
    fn vectors_1_2_and_3_the_ids_of_freight_are_kargos() {
        let commit = Artifact::Commit(GitCommit {
            repo_url: "https://GitHub.com/Acme/App.git".into(),
            id: "0123456789abcdef0123456789abcdef01234567".into(),
            branch: None,
            tag: Some("v1.2.3".into()),
            message: None,
            author: None,
            subscription_name: None,
        });
        let id = |origin: &str, artifacts| Freight::new(origin, artifacts, Timestamp::UNIX_EPOCH).id().to_string();
        assert_eq!(id("main", vec![commit.clone(), image(None)]), "cee6696aee3fa87ccd2f6505e7c379c54164cf25");
        assert_eq!(id("main", vec![image(None), commit]), "cee6696aee3fa87ccd2f6505e7c379c54164cf25");
        assert_eq!(id("main", vec![image(Some("app-image"))]), "726527121cf0239cca4c18d0445ff06bc17e8761");
        let chart = |repo_url: &str, name: &str, version: &str| {
            Artifact::Chart(Chart {
                repo_url: repo_url.into(),
                name: name.into(),
                version: version.into(),
                subscription_name: None,
            })
        };
        let charts =
            vec![chart("oci://ghcr.io/acme/charts/app", "", "2.0.0"), chart("https://charts.acme.io", "app", "1.0.0")];
        assert_eq!(id("w", charts), "21d3fbc20ec407e35bad663f6323d1844e93bfd4");
    }

    #[test]
    fn vector_4_the_id_of_a_collection_is_kargos_whatever_the_order() {
        let id = "b0696a9485397a32e74fc7d20eb458c2420b2ddc";
        assert_eq!(FreightCollection::id_of(["bbb", "aaa"]), id);
        assert_eq!(FreightCollection::id_of(["aaa", "bbb"]), id);
        let collection: FreightCollection = ["web", "app"]
            .map(|origin| Freight::new(origin, vec![image(None)], Timestamp::UNIX_EPOCH))
            .into_iter()
            .collect();
        let members: Vec<&str> = collection.iter().map(|freight| freight.id().as_str()).collect();
        assert_eq!(collection.id(), FreightCollection::id_of(members));
    }
}
