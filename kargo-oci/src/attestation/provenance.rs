//! SLSA provenance: who has built an image, and from what.

use kargo_core::Result;
use serde::Deserialize;
use serde_json::Value;

use super::find::Attestation;

/// The predicate types that are read.
const V1: &str = "https://slsa.dev/provenance/v1";
const V0_2: &str = "https://slsa.dev/provenance/v0.2";

/// What counts of a provenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Provenance {
    pub(super) builder: String,
    /// Where the source came from, in the form in which sources are compared. Nothing when that is not said.
    pub(super) source: Option<String>,
}

/// Both versions have few fields in common, and none by the same name but the builder's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    // Version 1.
    build_definition: Option<Definition>,
    run_details: Option<Run>,
    // Version 0.2.
    builder: Option<Builder>,
    invocation: Option<Invocation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    #[serde(default)]
    external_parameters: Value,
}

#[derive(Deserialize)]
struct Run {
    builder: Builder,
}

#[derive(Deserialize)]
struct Builder {
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    config_source: Option<Located>,
}

#[derive(Deserialize)]
struct Located {
    uri: Option<String>,
}

/// Whether this type is one of a provenance.
pub(super) fn is_provenance(predicate_type: &str) -> bool {
    matches!(predicate_type, V1 | V0_2)
}

impl Provenance {
    pub(super) fn of(attestation: &Attestation) -> Result<Self> {
        let predicate: Predicate = attestation.predicate()?;
        let builder = predicate.run_details.map(|run| run.builder).or(predicate.builder);
        let builder = builder.map(|builder| builder.id).unwrap_or_default();
        let parameters = predicate.build_definition.map(|definition| definition.external_parameters);
        // What whoever started the build asked for. Dependencies are no source: a build may have any of them.
        let external = parameters.as_ref().and_then(|parameters| {
            ["/workflow/repository", "/configSource/uri", "/source/uri", "/source/repository", "/source"]
                .iter()
                .find_map(|place| parameters.pointer(place)?.as_str())
        });
        let invoked = predicate.invocation.and_then(|invocation| invocation.config_source?.uri);
        let source = external.map(str::to_owned).or(invoked).map(|uri| comparable(&uri));
        Ok(Self { builder, source })
    }
}

/// A source's URI without what names a revision, and without the ways of writing the same.
pub(super) fn comparable(uri: &str) -> String {
    let uri = uri.strip_prefix("git+").unwrap_or(uri);
    let uri = uri.split(['#', '?']).next().unwrap_or_default();
    let scheme = uri.find("://").map_or(0, |end| end + 3);
    // A user may stand before the host, and a revision behind the path.
    let host = uri[scheme..].find('/').map_or(uri.len(), |slash| scheme + slash);
    let authority = uri[scheme..host].rsplit_once('@').map_or(&uri[scheme..host], |(_, host)| host);
    let path = uri[host..].split_once('@').map_or(&uri[host..], |(path, _)| path);
    let path = path.trim_end_matches('/');
    format!("{}{authority}{}", &uri[..scheme], path.strip_suffix(".git").unwrap_or(path)).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_the_same_however_they_are_written() {
        for uri in [
            "https://github.com/acme/app",
            "git+https://github.com/acme/app@refs/heads/main",
            "git+https://me@github.com/Acme/App.git@refs/tags/v1",
            "https://github.com/acme/app.git#refs/heads/main",
            "https://github.com/acme/app/",
        ] {
            assert_eq!(comparable(uri), "https://github.com/acme/app", "{uri}");
        }
        for uri in ["https://github.com/acme/app2", "https://github.com@evil.example/acme/app", "https://evil.example/"]
        {
            assert_ne!(comparable(uri), "https://github.com/acme/app", "{uri}");
        }
    }
}
