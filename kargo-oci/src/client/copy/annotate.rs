//! Adds annotations to what is copied. Everything else stays as it was, but the digests do not.

use std::collections::{BTreeMap, HashMap};

use kargo_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::gather::Nodes;
use super::{CopyOptions, Planned};
use crate::client::manifest::{ABOUT, ManifestContent};
use crate::repository::digest_of;

/// What is to be pushed: images with the annotations of the options, and indexes that name the digests that these have then.
pub(super) fn annotate(nodes: Nodes, options: &CopyOptions) -> Result<Vec<Planned>> {
    let mut changed: HashMap<String, (String, usize)> = HashMap::new();
    let last = nodes.all.len().saturating_sub(1);
    let mut planned = Vec::with_capacity(nodes.all.len());
    for (position, (manifest, parts)) in nodes.all.into_iter().enumerate() {
        let is_index = matches!(manifest.content, ManifestContent::Index { .. });
        let blobs = parts.blobs().cloned().collect();
        let mut node = Planned::plain(manifest, blobs);
        let none = BTreeMap::new();
        let added = match is_index {
            false => &options.manifest,
            true if position == last => &options.index,
            true => &none,
        };
        let has_changed_children = parts.manifests().iter().any(|child| changed.contains_key(&child.digest));
        if !added.is_empty() || has_changed_children {
            node.bytes = rewritten(&node.bytes, added, &changed)?;
            node.digest = digest_of(&node.bytes);
            changed.insert(node.original.clone(), (node.digest.clone(), node.bytes.len()));
        }
        planned.push(node);
    }
    Ok(planned)
}

fn rewritten(
    bytes: &[u8],
    added: &BTreeMap<String, String>,
    changed: &HashMap<String, (String, usize)>,
) -> Result<Vec<u8>> {
    let unreadable = |error| {
        Error::new(ErrorKind::InvalidResponse, "A manifest cannot be annotated: it is not JSON.").because(error)
    };
    let mut manifest: Map<String, Value> = serde_json::from_slice(bytes).map_err(unreadable)?;
    if !added.is_empty() {
        let annotations = manifest.entry("annotations").or_insert(Value::Null);
        if !annotations.is_object() {
            *annotations = Value::Object(Map::new());
        }
        for (key, value) in added {
            annotations[key] = value.clone().into();
        }
    }
    for child in manifest.get_mut("manifests").and_then(Value::as_array_mut).into_iter().flatten() {
        let now = |digest: &Value| digest.as_str().and_then(|digest| changed.get(digest));
        if let Some((digest, size)) = child.get("digest").and_then(now) {
            child["digest"] = digest.as_str().into();
            child["size"] = (*size).into();
            // An embedded copy would be of what it was.
            if let Some(child) = child.as_object_mut() {
                child.remove("data");
            }
        }
        if let Some(about) = child.get_mut("annotations").and_then(|annotations| annotations.get_mut(ABOUT))
            && let Some((digest, _)) = now(about)
        {
            *about = digest.as_str().into();
        }
    }
    serde_json::to_vec(&manifest).map_err(unreadable)
}
