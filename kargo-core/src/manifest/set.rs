//! A set of manifests, from wherever they come.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use serde_json::Map;

use super::dialect;
use super::fields::{At, Notes, listed};
use super::finding::{Finding, MAX_FINDINGS, MAX_MESSAGE, Place, Rule, Severity, path, shortened};
use super::kind::{KINDS, Metadata, Resource, decode_metadata};
use super::reader::{self, Node};
use super::source::Source;
use super::write;
use crate::error::{Error, ErrorKind, Result};
use crate::name::near_match;

/// How deep folders are looked through.
const MAX_FOLDERS: usize = 32;
/// How many files of a folder are read.
const MAX_FILES: usize = 20_000;

/// A resource.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its name, its project, its labels.
    pub metadata: Metadata,
    /// What it says.
    pub resource: Resource,
    origin: Option<Origin>,
}

/// Where a manifest was read.
#[derive(Clone)]
struct Origin {
    source: Arc<Source>,
    document: Arc<Node>,
    /// Whether it is what an older dialect says beside something else.
    implied: bool,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("file", &self.source.name).finish_non_exhaustive()
    }
}

impl PartialEq for Manifest {
    /// Whether both say the same, wherever they were read.
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.resource == other.resource
    }
}

impl Manifest {
    /// The resource as people name it: `Stage shop/dev`.
    pub fn title(&self) -> String {
        title(self.resource.kind(), &self.metadata)
    }

    /// The project it belongs to; none for what belongs to all.
    pub fn project(&self) -> Option<&str> {
        match &self.resource {
            Resource::Project(_) => Some(&self.metadata.name),
            resource if resource.is_cluster_scoped() => None,
            _ => self.metadata.namespace.as_deref(),
        }
    }

    /// The manifest as a YAML document, ending in a line break; none for a [`Secret`](super::kind::Secret), which is never written.
    /// It is in today's words, whatever dialect was read.
    pub fn to_yaml(&self) -> Option<String> {
        if matches!(self.resource, Resource::Secret(_)) {
            return None;
        }
        let mut object = Map::new();
        object.insert("apiVersion".into(), self.resource.api_version().into());
        object.insert("kind".into(), self.resource.kind().into());
        object.insert("metadata".into(), self.metadata.value());
        object.extend(self.resource.body());
        Some(write::document(&object))
    }

    /// A finding at a field.
    pub(super) fn finding(&self, severity: Severity, rule: Rule, pointer: &str, message: impl Into<String>) -> Finding {
        self.finding_in(severity, rule, pointer, None, message)
    }

    /// A finding at a part of the text of a field.
    pub(super) fn finding_in(
        &self,
        severity: Severity,
        rule: Rule,
        pointer: &str,
        part: Option<std::ops::Range<usize>>,
        message: impl Into<String>,
    ) -> Finding {
        let place = self.origin.as_ref().map(|origin| {
            let node = origin.document.at(pointer);
            let span = match (part, node.text()) {
                (Some(part), Some(text)) => origin.source.within(node.span, text, part),
                _ => node.span,
            };
            let (line, column) = origin.source.position(span.start);
            let secret = matches!(self.resource, Resource::Secret(_));
            let snippet = if secret { None } else { origin.source.snippet(span) };
            let (file, resource) = (origin.source.name.clone(), self.title());
            Place { file, line, column, resource, path: path(pointer), snippet }
        });
        let mut message = shortened(message.into(), MAX_MESSAGE);
        if place.is_none() {
            message = format!("{}: {message}", self.title());
        }
        Finding { severity, rule, message, place }
    }
}

fn title(kind: &str, metadata: &Metadata) -> String {
    let title = match &metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{}", metadata.name),
        None => format!("{kind} {}", metadata.name),
    };
    shortened(title, 600)
}

/// A set of manifests with what was found wrong when they were read.
///
/// See the [module](super) for what is read and how. Limits: 16 MiB, 20,000 documents, a million values and 64 levels a file, and
/// 20,000 files a folder; 1,000 items a list and 10,000 stages a project. At most 10,000 findings are told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifests {
    manifests: Vec<Manifest>,
    findings: Vec<Finding>,
    passed_over: usize,
}

impl Manifests {
    /// A set with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The manifests of a text. `name` is what findings call it.
    pub fn parse(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::from_texts([(name.into(), text.into())])
    }

    /// The manifests of several texts, each with its name, as one set.
    pub fn from_texts(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut set = Self::new();
        for (name, text) in texts {
            set.add_text(name, text, Wanted::AllOfIt);
        }
        set.settle();
        set
    }

    /// The manifests of a stream. `name` is what findings call it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it cannot be read, is no UTF-8, or is too long.
    pub fn from_reader(name: impl Into<String>, stream: impl Read) -> Result<Self> {
        let name = name.into();
        Ok(Self::parse(name.clone(), text_of(&name, stream)?))
    }

    /// The manifests of files and folders, as one set. Of a folder that is each file in it, and in its folders, with a name that ends in
    /// `.yaml`, `.yml` or `.json`, in the order of their names; what in there is no manifest is passed over. Folders with a name that begins
    /// with a dot, and symbolic links, are not followed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when a path does not exist, [`ErrorKind::InvalidInput`] when something cannot be read.
    pub fn load(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        let mut set = Self::new();
        for path in paths {
            let path = path.as_ref();
            let about = std::fs::metadata(path).map_err(|error| cannot_read(&path.display().to_string(), error))?;
            if about.is_dir() {
                let mut files = Vec::new();
                files_in(path, 0, &mut files)?;
                for file in files {
                    set.add_file(&file, Wanted::ManifestsOnly)?;
                }
            } else {
                set.add_file(path, Wanted::AllOfIt)?;
            }
        }
        set.settle();
        Ok(set)
    }

    /// What was found wrong while reading, in the order of the texts. [`lint()`](super::lint()) finds more.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The manifests, in the order in which they were read.
    pub fn iter(&self) -> impl Iterator<Item = &Manifest> {
        self.manifests.iter()
    }

    /// How many documents were of kinds that are nothing here, and were passed over.
    pub fn passed_over(&self) -> usize {
        self.passed_over
    }

    /// The names of the projects, in order: those that have a manifest, and those that something belongs to.
    pub fn projects(&self) -> impl Iterator<Item = &str> {
        self.manifests.iter().filter_map(Manifest::project).collect::<BTreeSet<_>>().into_iter()
    }

    /// All manifests as one YAML stream; see [`Manifest::to_yaml`].
    pub fn to_yaml(&self) -> String {
        self.manifests.iter().filter_map(Manifest::to_yaml).collect::<Vec<_>>().join("---\n")
    }

    fn add_file(&mut self, file: &Path, wanted: Wanted) -> Result<()> {
        let name = file.display().to_string();
        let stream = std::fs::File::open(file).map_err(|error| cannot_read(&name, error))?;
        let text = text_of(&name, stream)?;
        self.add_text(name, text, wanted);
        Ok(())
    }

    fn add_text(&mut self, name: String, text: String, wanted: Wanted) {
        let source = Arc::new(Source::new(name, text));
        let (documents, faults) = reader::read(&source.text);
        let is_kargo = source.text.contains("kargo.akuity.io");
        let mut notes = Notes { source: &source, resource: String::new(), secret: false, findings: &mut self.findings };
        // A template of Helm's is rarely YAML. One word about it is better than many about what it is not.
        let template = match OBJECTS.find(&source.text) {
            None if !faults.is_empty() => COMMANDS.find(&source.text),
            found => found,
        };
        if let Some(at) = template.map(|found| found.start() + found.as_str().find("{{").unwrap_or_default())
            && (is_kargo || wanted == Wanted::AllOfIt)
        {
            let span = reader::Span { start: at as u32, end: at as u32 + 2 };
            let message =
                "This is a template of Helm's, which is not evaluated here; run helm template, and load what it gives.";
            notes.error(Rule::NotEvaluated, span, "", message);
            return;
        }
        for fault in faults {
            // What cannot be read may be a secret.
            notes.secret = source.text.contains("Secret");
            let severity = if is_kargo || wanted == Wanted::AllOfIt { Severity::Error } else { Severity::Warning };
            notes.note(severity, Rule::Syntax, fault.span, "", fault.message);
        }
        for document in documents {
            self.add_document(&source, document, wanted, 0);
        }
    }

    /// Adds what a document says: a resource, or a list of some, which stands in `depth` others.
    fn add_document(&mut self, source: &Arc<Source>, document: Node, wanted: Wanted, depth: usize) {
        let text = |name: &str| document.get(name).and_then(|entry| entry.node.text()).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version == "v1" && kind == "List" && depth < 4 {
            if let Some(items) = document.get("items")
                && let reader::Data::List(items) = &items.node.data
            {
                items.iter().for_each(|item| self.add_document(source, item.clone(), wanted, depth + 1));
            }
            return;
        }
        let before = self.findings.len();
        let mut notes =
            Notes { source, resource: String::new(), secret: kind == "Secret", findings: &mut self.findings };
        let at = At { node: &document, pointer: String::new() };
        if !is_wanted(&at, &version, &kind, wanted, &mut notes) {
            self.passed_over += 1;
            return;
        }
        let Some(mut fields) = at.fields(&mut notes) else { return };
        fields.take("apiVersion");
        fields.take("kind");
        fields.take("status");
        let metadata = decode_metadata(&kind, &mut fields, &mut notes);
        notes.resource = title(&kind, &metadata);
        let Some(resources) = Resource::decode(&kind, &metadata, &mut fields, &mut notes) else { return };
        fields.finish(&mut notes);
        // What was found before the name was read belongs to the resource too.
        let resource = notes.resource.clone();
        for place in self.findings[before..].iter_mut().filter_map(|finding| finding.place.as_mut()) {
            place.resource.clone_from(&resource);
        }
        let document = Arc::new(document);
        for (index, resource) in resources.into_iter().enumerate() {
            let mut metadata = metadata.clone();
            if index > 0 {
                metadata.namespace = Some(metadata.name.clone());
            }
            if resource.is_cluster_scoped() {
                metadata.namespace = None;
            }
            let (source, document) = (Arc::clone(source), Arc::clone(&document));
            let origin = Origin { source, document, implied: index > 0 };
            self.manifests.push(Manifest { metadata, resource, origin: Some(origin) });
        }
    }

    /// What can only be said once all is read.
    fn settle(&mut self) {
        self.assign_projects();
        self.remove_duplicates();
        dialect::resolve_upstream(&mut self.manifests, &mut self.findings);
        self.check_configs();
        self.findings.truncate(MAX_FINDINGS);
    }

    /// Gives manifests without a namespace to the only project there is.
    fn assign_projects(&mut self) {
        let projects: BTreeSet<String> = self.projects().map(str::to_owned).collect();
        let mut only = projects.iter();
        let only = match (only.next(), only.next()) {
            (Some(project), None) => Some(project),
            _ => None,
        };
        let mut findings = Vec::new();
        for manifest in &mut self.manifests {
            if manifest.resource.is_cluster_scoped() || manifest.metadata.namespace.is_some() {
                continue;
            }
            manifest.metadata.namespace = only.cloned();
            if only.is_none() {
                let message = match projects.len() {
                    0 => "There is no namespace, so that it belongs to no project; add metadata.namespace.".to_owned(),
                    _ => {
                        let known: Vec<&String> = projects.iter().take(5).collect();
                        format!(
                            "Which project it belongs to is not said; add metadata.namespace, such as {}.",
                            listed(&known)
                        )
                    }
                };
                findings.push(manifest.finding(Severity::Error, Rule::MissingField, "/metadata", message));
            }
        }
        self.findings.append(&mut findings);
    }

    /// Of two manifests of one kind and name the first stays.
    fn remove_duplicates(&mut self) {
        let mut first: BTreeMap<(&'static str, Option<String>, String), usize> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        // What a manifest says outright comes before what an older dialect implies.
        let (outright, implied): (Vec<usize>, Vec<usize>) = (0..self.manifests.len())
            .partition(|at| self.manifests[*at].origin.as_ref().is_none_or(|origin| !origin.implied));
        for at in outright.into_iter().chain(implied) {
            let manifest = &self.manifests[at];
            if manifest.metadata.name.is_empty() {
                continue;
            }
            let Metadata { namespace, name, .. } = &manifest.metadata;
            let key = (manifest.resource.kind(), namespace.clone(), name.clone());
            let Some(known) = first.get(&key) else {
                first.insert(key, at);
                continue;
            };
            gone.insert(at);
            let is_implied = manifest.origin.as_ref().is_some_and(|origin| origin.implied);
            let place = self.manifests[*known].finding(Severity::Error, Rule::Duplicate, "", "").place;
            let place = place.map(|place| format!(" in {}:{}", place.file, place.line)).unwrap_or_default();
            let finding = if is_implied {
                let message = format!("The ProjectConfig{place} takes the place of these policies; take them out.");
                manifest.finding(Severity::Warning, Rule::Duplicate, "/spec/promotionPolicies", message)
            } else {
                let message = format!("There is a {} already{place}; rename or remove one.", manifest.title());
                manifest.finding(Severity::Error, Rule::Duplicate, "/metadata/name", message)
            };
            self.findings.push(finding);
        }
        let mut at = 0;
        self.manifests.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }

    /// The rules of a project have its name.
    fn check_configs(&mut self) {
        for manifest in &self.manifests {
            let Metadata { namespace: Some(namespace), name, .. } = &manifest.metadata else { continue };
            if matches!(manifest.resource, Resource::ProjectConfig(_)) && namespace != name {
                let message = format!("A ProjectConfig has the name of its project; rename it {namespace:?}.");
                self.findings.push(manifest.finding(Severity::Error, Rule::BadValue, "/metadata/name", message));
            }
        }
    }
}

impl<'m> IntoIterator for &'m Manifests {
    type Item = &'m Manifest;
    type IntoIter = std::slice::Iter<'m, Manifest>;

    fn into_iter(self) -> Self::IntoIter {
        self.manifests.iter()
    }
}

/// What a text is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
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

/// Whether a document is of a kind that is read; what is to be said about others is noted.
fn is_wanted(at: &At<'_>, version: &str, kind: &str, wanted: Wanted, notes: &mut Notes<'_>) -> bool {
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

fn cannot_read(name: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, format!("The manifests in {name} cannot be read: {error}."))
        .operation("load manifests")
        .because(error)
}

fn text_of(name: &str, stream: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    let limit = reader::MAX_BYTES as u64 + 1;
    stream.take(limit).read_to_end(&mut bytes).map_err(|error| cannot_read(name, error))?;
    if bytes.len() > reader::MAX_BYTES {
        let message = format!("{name} has more than {} bytes; split it.", reader::MAX_BYTES);
        return Err(Error::new(ErrorKind::InvalidInput, message).operation("load manifests"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let message = format!("{name} is not UTF-8; save it as UTF-8.");
        Error::new(ErrorKind::InvalidInput, message).operation("load manifests").because(error)
    })
}

/// The files of a folder that may hold manifests.
fn files_in(folder: &Path, depth: usize, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    let name = folder.display().to_string();
    let too_much = |what: &str| {
        Error::new(ErrorKind::InvalidInput, format!("The folder {name} has too many {what}; load parts of it."))
            .operation("load manifests")
    };
    if depth > MAX_FOLDERS {
        return Err(too_much("folders in folders"));
    }
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| cannot_read(&name, error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(|error| cannot_read(&name, error))?;
        let file = entry.path();
        let is_manifest = file
            .extension()
            .and_then(|end| end.to_str())
            .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known)));
        if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            files_in(&file, depth + 1, files)?;
        } else if kind.is_file() && is_manifest {
            if files.len() == MAX_FILES {
                return Err(too_much("files"));
            }
            files.push(file);
        }
    }
    Ok(())
}
