//! What a registry holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::repository::digest_of;

#[derive(Debug, Default)]
pub(super) struct Storage {
    repositories: HashMap<String, Content>,
    files: HashMap<String, (String, Vec<u8>)>,
    uploads: HashMap<String, Vec<u8>>,
    next_upload: u64,
}

#[derive(Debug, Default)]
struct Content {
    tags: BTreeMap<String, String>,
    manifests: HashMap<String, (String, Vec<u8>)>,
    /// The digests of the manifests that refer to a digest.
    referrers: HashMap<String, BTreeSet<String>>,
    blobs: HashMap<String, Vec<u8>>,
}

impl Storage {
    pub(super) fn put_file(&mut self, path: &str, content_type: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), (content_type.to_owned(), bytes));
    }

    /// Content type and bytes.
    pub(super) fn file(&self, path: &str) -> Option<(String, Vec<u8>)> {
        self.files.get(path).cloned()
    }

    pub(super) fn put_blob(&mut self, repository: &str, bytes: Vec<u8>) {
        self.content(repository).blobs.insert(digest_of(&bytes), bytes);
    }

    pub(super) fn put_manifest(&mut self, repository: &str, media_type: &str, bytes: Vec<u8>) -> String {
        let digest = digest_of(&bytes);
        let content = self.content(repository);
        if let Some(subject) = subject(&bytes) {
            content.referrers.entry(subject).or_default().insert(digest.clone());
        }
        content.manifests.insert(digest.clone(), (media_type.to_owned(), bytes));
        digest
    }

    pub(super) fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        self.content(repository).tags.insert(tag.to_owned(), digest.to_owned());
    }

    pub(super) fn remove_tag(&mut self, repository: &str, tag: &str) -> bool {
        self.content(repository).tags.remove(tag).is_some()
    }

    pub(super) fn remove_manifest(&mut self, repository: &str, digest: &str, with_tags: bool) -> bool {
        let content = self.content(repository);
        if with_tags {
            content.tags.retain(|_, tagged| tagged != digest);
        }
        content.manifests.remove(digest).is_some()
    }

    pub(super) fn remove_blob(&mut self, repository: &str, digest: &str) -> bool {
        self.content(repository).blobs.remove(digest).is_some()
    }

    /// The digest that a tag or digest stands for.
    pub(super) fn resolve(&self, repository: &str, reference: &str) -> Option<String> {
        if reference.contains(':') {
            return Some(reference.to_owned());
        }
        self.repositories.get(repository)?.tags.get(reference).cloned()
    }

    /// Media type, bytes and digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Vec<u8>, String)> {
        let digest = self.resolve(repository, reference)?;
        let (media_type, bytes) = self.repositories.get(repository)?.manifests.get(&digest)?;
        Some((media_type.clone(), bytes.clone(), digest))
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.repositories.get(repository)?.blobs.get(digest).cloned()
    }

    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.repositories.get(repository)?.tags.keys().cloned().collect())
    }

    /// The first thing that a manifest refers to and that is not here.
    pub(super) fn missing(&self, repository: &str, manifest: &[u8]) -> Option<String> {
        let manifest: Value = serde_json::from_slice(manifest).ok()?;
        let content = self.repositories.get(repository);
        let digests = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry["digest"].as_str()?.to_owned()))
                .collect()
        };
        let mut blobs = digests(&manifest["layers"]);
        blobs.extend(manifest["config"]["digest"].as_str().map(str::to_owned));
        let has_blob = |digest: &String| content.is_some_and(|content| content.blobs.contains_key(digest));
        let has_manifest = |digest: &String| content.is_some_and(|content| content.manifests.contains_key(digest));
        let missing_blob = blobs.into_iter().find(|digest| !has_blob(digest));
        missing_blob.or_else(|| digests(&manifest["manifests"]).into_iter().find(|digest| !has_manifest(digest)))
    }

    /// The descriptors of the manifests that refer to this digest.
    pub(super) fn referrers(&self, repository: &str, digest: &str) -> Vec<Value> {
        let Some(content) = self.repositories.get(repository) else { return Vec::new() };
        let referrers = content.referrers.get(digest).into_iter().flatten();
        let described = |digest: &String| {
            // One that was removed refers to nothing.
            let (media_type, bytes) = content.manifests.get(digest)?;
            let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let mut entry = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
            let kinds = [&manifest["artifactType"], &manifest["config"]["mediaType"]];
            if let Some(kind) = kinds.into_iter().find(|kind| kind.is_string()) {
                entry["artifactType"] = kind.clone();
            }
            if manifest["annotations"].is_object() {
                entry["annotations"] = manifest["annotations"].clone();
            }
            Some(entry)
        };
        referrers.filter_map(described).collect()
    }

    pub(super) fn begin_upload(&mut self) -> String {
        self.next_upload += 1;
        let id = format!("upload-{}", self.next_upload);
        self.uploads.insert(id.clone(), Vec::new());
        id
    }

    /// Adds to an upload and returns how long it is now.
    pub(super) fn extend_upload(&mut self, id: &str, bytes: &[u8]) -> Option<usize> {
        let upload = self.uploads.get_mut(id)?;
        upload.extend_from_slice(bytes);
        Some(upload.len())
    }

    /// Ends an upload. False when there is none or when it is not what `digest` names.
    pub(super) fn finish_upload(&mut self, repository: &str, id: &str, digest: &str) -> bool {
        let Some(bytes) = self.uploads.remove(id).filter(|bytes| digest_of(bytes) == digest) else { return false };
        self.put_blob(repository, bytes);
        true
    }

    fn content(&mut self, repository: &str) -> &mut Content {
        self.repositories.entry(repository.to_owned()).or_default()
    }
}

/// The digest of what a manifest refers to.
pub(super) fn subject(manifest: &[u8]) -> Option<String> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    manifest["subject"]["digest"].as_str().map(str::to_owned)
}
