//! Who may tell of news over HTTP, and where Kargo listens for it.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{At, Fields, Notes};
use crate::manifest::fields::listed;
use crate::manifest::finding::Rule;

/// The kinds of receivers.
const RECEIVERS: [&str; 10] =
    ["artifactory", "azure", "bitbucket", "dockerhub", "generic", "gitea", "github", "gitlab", "harbor", "quay"];

/// Checks a receiver: it has a name of its own, one key that says of which kind it is, and a secret.
pub(super) fn check_receiver(at: &At<'_>, names: &mut BTreeSet<String>, notes: &mut Notes<'_>) {
    let Some(mut fields) = at.fields(notes) else { return };
    if let Some(name) = fields.resource_name(notes, "name")
        && !names.insert(name.clone())
    {
        at.error(notes, Rule::Duplicate, format!("Two webhook receivers have the name {name:?}; rename one."));
    }
    let kinds: Vec<_> = RECEIVERS.iter().filter_map(|kind| Some((*kind, fields.take(kind)?))).collect();
    let unknown = fields.rest().next().is_some();
    if kinds.len() != 1 && !unknown {
        let message = format!("A webhook receiver has one key that says of which kind it is: {}.", listed(&RECEIVERS));
        at.error(notes, Rule::BadValue, message);
    }
    for (kind, at) in kinds {
        let Some(mut fields) = at.fields(notes) else { continue };
        match fields.object(notes, "secretRef") {
            Some(mut reference) => {
                reference.resource_name(notes, "name");
                reference.finish(notes);
            }
            None => fields.missing(notes, "secretRef"),
        }
        match kind {
            "artifactory" => drop(fields.text(notes, "virtualRepoName")),
            "generic" => fields.items(notes, "actions").iter().for_each(|at| check_action(at, notes)),
            _ => {}
        }
        fields.finish(notes);
    }
    fields.finish(notes);
}

/// What a generic receiver does with a request.
fn check_action(at: &At<'_>, notes: &mut Notes<'_>) {
    let Some(mut fields) = at.fields(notes) else { return };
    required_word(&mut fields, notes, "action", &["Refresh"]);
    fields.text(notes, "whenExpression");
    fields.text_map(notes, "parameters");
    let criteria = fields.items(notes, "targetSelectionCriteria");
    if criteria.is_empty() {
        fields.missing(notes, "targetSelectionCriteria");
    }
    for at in criteria {
        let Some(mut fields) = at.fields(notes) else { continue };
        required_word(&mut fields, notes, "kind", &["Warehouse"]);
        fields.text(notes, "name");
        if let Some(mut selector) = fields.object(notes, "labelSelector") {
            selector.text_map(notes, "matchLabels");
            selector.items(notes, "matchExpressions");
            selector.finish(notes);
        }
        if let Some(mut selector) = fields.object(notes, "indexSelector") {
            for at in selector.items(notes, "matchIndices") {
                let Some(mut index) = at.fields(notes) else { continue };
                required_word(&mut index, notes, "key", &["subscribedURLs", "receiverPaths"]);
                required_word(&mut index, notes, "operator", &["Equals", "NotEquals"]);
                index.required_text(notes, "value");
                index.finish(notes);
            }
            selector.finish(notes);
        }
        if ["name", "labelSelector", "indexSelector"].iter().all(|name| fields.take(name).is_none()) {
            let message = "Nothing says which warehouses are meant; add name, labelSelector or indexSelector.";
            at.error(notes, Rule::MissingField, message);
        }
        fields.finish(notes);
    }
    fields.finish(notes);
}

fn required_word(fields: &mut Fields<'_>, notes: &mut Notes<'_>, name: &'static str, words: &[&'static str]) {
    if fields.take(name).is_none() {
        fields.missing(notes, name);
    }
    fields.word(notes, name, words);
}

/// The path at which Kargo takes the requests of a webhook receiver: `/<kind>/<64 hexadecimal digits>`.
///
/// The digits are the SHA-256 of `project`, the receiver's name and the value in its secret, one behind the other, so that only who knows the
/// secret knows the path. A host that serves receivers under it lets a forge or a registry keep the URL that it was given for Kargo. The
/// receivers of a `ClusterConfig` have an empty project. The path is as secret as the value is.
///
/// ```
/// use kargo_core::manifest::kind::webhook_path;
///
/// let path = webhook_path("github", "shop", "hook", "s3cr3t");
/// assert_eq!(path.len(), "/github/".len() + 64);
/// assert_ne!(path, webhook_path("github", "shop", "hook", "another"));
/// ```
pub fn webhook_path(kind: &str, project: &str, receiver: &str, secret: &str) -> String {
    let digest = Sha256::new().chain_update(project).chain_update(receiver).chain_update(secret).finalize();
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/{kind}/{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_6_the_path_of_a_receiver_is_kargos() {
        assert_eq!(
            webhook_path("github", "demo", "my-receiver", "s3cr3t"),
            "/github/d4dd47a285b234322d27c6ba521a0b62a8aa5e8bc9f5cd2ffe8835a290e6338d"
        );
    }
}
