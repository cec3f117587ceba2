//! What of a text is manifests.

use std::sync::LazyLock;

use regex::Regex;

use crate::manifest::fields::{At, Notes, listed};
use crate::manifest::finding::{Rule, Severity};
use crate::manifest::kind::KINDS;
use crate::manifest::reader;
use crate::name::near_match;

/// What a text is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Manifests; anything else is told.
    AllOfIt,
    /// Manifests among other things, as in a folder.
    ManifestsOnly,
}

/// What only templates of Helm's have, outside of expressions (`${{`): its objects. Links of projects and the arguments of analysis
/// templates have two braces too.
static OBJECTS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)(?:^|[^$])\{\{-?\s*[^{}\n]*\$?\.(?:Values|Release|Chart|Capabilities|Files)\b")
        .expect("the pattern is constant and is compiled by the tests")
});

/// What makes it likely that a text which is no YAML is a template.
static COMMANDS: LazyLock<Regex> = LazyLock::new(|| {
    let words = r"if|else|end|range|with|include|template|define|block|tpl|toYaml|/\*|\$\w|\.\w";
    Regex::new(&format!(r"(?m)(?:^|[^$])\{{\{{-?\s*(?:{words})[^\n]*\}}\}}"))
        .expect("the pattern is constant and is compiled by the tests")
});

/// Where in a text the first braces of a template of Helm's are, if it is one. `is_broken` is whether it is no YAML.
pub(super) fn template_in(text: &str, is_broken: bool) -> Option<usize> {
    let found = match OBJECTS.find(text) {
        None if is_broken => COMMANDS.find(text),
        found => found,
    }?;
    Some(found.start() + found.as_str().find("{{").unwrap_or_default())
}

/// Whether a document is of a kind that is read; what is to be said about others is noted.
pub(super) fn is_wanted(at: &At<'_>, version: &str, kind: &str, wanted: Wanted, notes: &mut Notes<'_>) -> bool {
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let key = |name: &str| {
        at.node.get(name).map_or(reader::Span { end: at.span().start + 1, ..at.span() }, |entry| entry.node.span)
    };
    match (group, kind) {
        ("kargo.akuity.io", _) if KINDS.contains(&kind) => {
            if number != "v1alpha1" {
                let message =
                    format!("There is no version {number:?} of Kargo's kinds; write kargo.akuity.io/v1alpha1.");
                notes.error(Rule::Kind, key("apiVersion"), "/apiVersion", message);
            }
            true
        }
        ("kargo.akuity.io", "ClusterConfig") => {
            let message = "A ClusterConfig is for Kargo's controller, and is not read here; set up the host instead.";
            notes.warn(Rule::Kind, key("kind"), "/kind", message);
            false
        }
        ("kargo.akuity.io", "Target" | "PromotionRequest") => {
            let message = format!(
                "{kind} is for the fan-out of Kargo's commercial edition; write a stage for each target instead."
            );
            notes.error(Rule::Commercial, key("kind"), "/kind", message);
            false
        }
        ("kargo.akuity.io", _) => {
            let hint = match near_match(kind, KINDS) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}.", listed(&KINDS)),
            };
            notes.error(Rule::Kind, key("kind"), "/kind", format!("Kargo has no kind {kind:?}; {hint}"));
            false
        }
        ("ee.kargo.akuity.io", _) => {
            let instead = match kind {
                "CustomPromotionStep" => "register a step of the host's under its name",
                "MessageChannel" | "ClusterMessageChannel" => {
                    "give send-message a messenger of the host's (steps::send_message), which knows the channel by its name"
                }
                "EventRouter" => "have the host read the engine's events",
                _ => "have the host send its messages",
            };
            let message = format!("{kind} is of Kargo's commercial edition, and is not read here; {instead}.");
            notes.warn(Rule::Commercial, key("kind"), "/kind", message);
            false
        }
        ("argoproj.io", "AnalysisTemplate" | "ClusterAnalysisTemplate") => true,
        ("", "Secret" | "ConfigMap") if version == "v1" => true,
        ("kustomize.config.k8s.io", _) => {
            let message = "This is an overlay of kustomize, which is not evaluated here; run kustomize build, and load what it gives.";
            let severity = if wanted == Wanted::AllOfIt { Severity::Error } else { Severity::Warning };
            notes.note(severity, Rule::NotEvaluated, key("kind"), "", message);
            false
        }
        _ => {
            if KINDS.contains(&kind) && !group.contains('.') {
                let message =
                    format!("For a {kind} of Kargo's, apiVersion is kargo.akuity.io/v1alpha1, not {version:?}.");
                notes.error(Rule::Kind, key("apiVersion"), "/apiVersion", message);
            } else if wanted == Wanted::AllOfIt && (version.is_empty() || kind.is_empty()) {
                let message = "This is no manifest: apiVersion and kind must say what it is.";
                notes.error(Rule::Kind, key("kind"), "", message);
            }
            false
        }
    }
}
