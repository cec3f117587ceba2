//! Freight, by its content.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{At, Fields, Metadata, Notes, origin, origin_value, put, put_list, put_some, put_texts};
use crate::artifact::{Artifact, Chart, GenericArtifact, GitCommit, Image};
use crate::manifest::fields::named;
use crate::manifest::finding::Rule;

/// Freight as a manifest has it: what it carries. What became of it is in its status, which is not read.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Freight {
    /// A name for people.
    pub alias: Option<String>,
    /// When it was found first.
    pub discovered_at: Option<Timestamp>,
    /// The warehouse that made it.
    pub origin: String,
    /// Git commits.
    pub commits: Vec<Commit>,
    /// Images.
    pub images: Vec<Image>,
    /// Helm charts.
    pub charts: Vec<Chart>,
    /// What a host has kinds for.
    pub artifacts: Vec<GenericArtifact>,
}

/// A commit with who committed it, which [`GitCommit`] does not know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Commit {
    /// The commit.
    pub commit: GitCommit,
    /// Who committed it.
    pub committer: Option<String>,
}

impl Freight {
    /// It as a noun, with the id that its content gives. `now` is when it counts as found if it does not say.
    pub fn to_freight(&self, now: Timestamp) -> crate::Freight {
        let commits = self.commits.iter().map(|commit| Artifact::Commit(commit.commit.clone()));
        let images = self.images.iter().cloned().map(Artifact::Image);
        let charts = self.charts.iter().cloned().map(Artifact::Chart);
        let others = self.artifacts.iter().cloned().map(Artifact::Generic);
        let artifacts = commits.chain(images).chain(charts).chain(others).collect();
        crate::Freight::new(self.origin.as_str(), artifacts, self.discovered_at.unwrap_or(now))
    }

    pub(super) fn decode(metadata: &Metadata, fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let mut freight = Self { alias: fields.some_text(notes, "alias"), ..Self::default() };
        if let Some(at) = fields.take("discoveredAt") {
            let text = at.text(notes).unwrap_or_default();
            freight.discovered_at = text.parse().ok();
            if freight.discovered_at.is_none() {
                at.error(
                    notes,
                    Rule::BadValue,
                    format!("{} is no time; write it as 2026-01-31T12:00:00Z.", named(&at.pointer)),
                );
            }
        }
        match fields.take("origin") {
            Some(at) => freight.origin = origin(&at, notes).unwrap_or_default(),
            None => fields.missing(notes, "origin"),
        }
        freight.commits = fields.items(notes, "commits").iter().filter_map(|at| commit(at, notes)).collect();
        freight.images = fields.items(notes, "images").iter().filter_map(|at| image(at, notes)).collect();
        freight.charts = fields.items(notes, "charts").iter().filter_map(|at| chart(at, notes)).collect();
        freight.artifacts = fields.items(notes, "artifacts").iter().filter_map(|at| generic(at, notes)).collect();
        let id = freight.to_freight(Timestamp::UNIX_EPOCH).id().clone();
        if freight.commits.len() + freight.images.len() + freight.charts.len() + freight.artifacts.len() == 0 {
            let message = "The freight carries nothing; add commits, images, charts or artifacts.";
            notes.error(Rule::MissingField, fields.span, "", message);
        } else if !metadata.name.is_empty() && id != metadata.name.as_str() {
            let message = format!("The freight's name follows from its content and is {id}; Kargo renames it so.");
            notes.warn(Rule::BadValue, fields.span, "/metadata/name", message);
        }
        freight
    }

    pub(super) fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        put_some(&mut body, "alias", self.alias.as_deref());
        put_some(&mut body, "discoveredAt", self.discovered_at.map(|at| at.to_string()));
        put(&mut body, "origin", origin_value(&self.origin));
        put_list(
            &mut body,
            "commits",
            self.commits.iter().map(|commit| {
                let mut object = Map::new();
                let GitCommit { repo_url, id, branch, tag, message, author, subscription_name } = &commit.commit;
                put(&mut object, "repoURL", repo_url.as_str());
                put(&mut object, "id", id.as_str());
                let optional = [("branch", branch), ("tag", tag), ("message", message), ("author", author)];
                for (name, value) in optional.into_iter().chain([("committer", &commit.committer)]) {
                    put_some(&mut object, name, value.as_deref());
                }
                put_some(&mut object, "subscriptionName", subscription_name.as_deref());
                object
            }),
        );
        put_list(
            &mut body,
            "images",
            self.images.iter().map(|image| {
                let mut object = Map::new();
                put(&mut object, "repoURL", image.repo_url.as_str());
                put(&mut object, "tag", image.tag.as_str());
                put(&mut object, "digest", image.digest.as_str());
                put_texts(&mut object, "annotations", &image.annotations);
                put_some(&mut object, "subscriptionName", image.subscription_name.as_deref());
                object
            }),
        );
        put_list(
            &mut body,
            "charts",
            self.charts.iter().map(|chart| {
                let mut object = Map::new();
                put(&mut object, "repoURL", chart.repo_url.as_str());
                put_some(&mut object, "name", Some(chart.name.as_str()).filter(|name| !name.is_empty()));
                put(&mut object, "version", chart.version.as_str());
                put_some(&mut object, "subscriptionName", chart.subscription_name.as_deref());
                object
            }),
        );
        put_list(
            &mut body,
            "artifacts",
            self.artifacts.iter().map(|artifact| {
                let mut object = Map::new();
                put(&mut object, "artifactType", artifact.artifact_type.as_str());
                put(&mut object, "subscriptionName", artifact.subscription_name.as_str());
                put(&mut object, "version", artifact.version.as_str());
                put_some(&mut object, "metadata", Some(artifact.metadata.clone()).filter(|value| !value.is_null()));
                object
            }),
        );
        body
    }
}

fn commit(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Commit> {
    let mut fields = at.fields(notes)?;
    let (repo_url, id) = (fields.required_text(notes, "repoURL"), fields.required_text(notes, "id"));
    let commit = GitCommit {
        repo_url: repo_url.unwrap_or_default(),
        id: id.unwrap_or_default(),
        branch: fields.some_text(notes, "branch"),
        tag: fields.some_text(notes, "tag"),
        message: fields.some_text(notes, "message"),
        author: fields.some_text(notes, "author"),
        subscription_name: fields.some_text(notes, "subscriptionName"),
    };
    let committer = fields.some_text(notes, "committer");
    fields.finish(notes);
    Some(Commit { commit, committer })
}

fn image(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Image> {
    let mut fields = at.fields(notes)?;
    let image = Image {
        repo_url: fields.required_text(notes, "repoURL").unwrap_or_default(),
        tag: fields.text(notes, "tag").unwrap_or_default(),
        digest: fields.required_text(notes, "digest").unwrap_or_default(),
        annotations: fields.text_map(notes, "annotations"),
        created_at: None,
        subscription_name: fields.some_text(notes, "subscriptionName"),
    };
    fields.old(notes, "gitRepoURL", "leave it out: links to sources come from the image's annotations.");
    fields.finish(notes);
    Some(image)
}

fn chart(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Chart> {
    let mut fields = at.fields(notes)?;
    let chart = Chart {
        repo_url: fields.required_text(notes, "repoURL").unwrap_or_default(),
        name: fields.text(notes, "name").unwrap_or_default(),
        version: fields.required_text(notes, "version").unwrap_or_default(),
        subscription_name: fields.some_text(notes, "subscriptionName"),
    };
    fields.finish(notes);
    Some(chart)
}

fn generic(at: &At<'_>, notes: &mut Notes<'_>) -> Option<GenericArtifact> {
    let mut fields = at.fields(notes)?;
    let artifact = GenericArtifact {
        artifact_type: fields.required_text(notes, "artifactType").unwrap_or_default(),
        subscription_name: fields.required_text(notes, "subscriptionName").unwrap_or_default(),
        version: fields.required_text(notes, "version").unwrap_or_default(),
        metadata: fields.json("metadata").unwrap_or_default(),
    };
    fields.finish(notes);
    Some(artifact)
}
