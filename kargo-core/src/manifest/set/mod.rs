//! A set of manifests, from wherever they come.

mod files;
mod manifest;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::dialect;
use super::fields::{At, Notes, listed};
use super::finding::{Finding, MAX_FINDINGS, Rule, Severity};
use super::hidden::{may_hold_secrets, secrets_in};
use super::kind::{Metadata, Resource, decode_metadata};
use super::reader::{self, Node};
use super::source::Source;
use crate::error::Result;
use files::{cannot_read, files_in, text_of};
use manifest::{Origin, title};
use wanted::{Wanted, is_wanted, template_in};

pub use manifest::Manifest;

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
    /// [`crate::ErrorKind::InvalidInput`] when it cannot be read, is no UTF-8, or is too long.
    pub fn from_reader(name: impl Into<String>, stream: impl Read) -> Result<Self> {
        let name = name.into();
        Ok(Self::parse(name.clone(), text_of(&name, stream)?))
    }

    /// The manifests of files and folders, as one set. Of a folder that is each file in it, and in its folders, with a name that ends in
    /// `.yaml`, `.yml` or `.json`, in the order of their names; what in there is no manifest is passed over. Folders with a name that begins
    /// with a dot, and symbolic links, are not followed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when a path does not exist, [`crate::ErrorKind::InvalidInput`] when something cannot be read.
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
        let mut source = Source::new(name, text);
        let (documents, faults) = reader::read(&source.text);
        let is_kargo = source.text.contains("kargo.akuity.io");
        let template = template_in(&source.text, !faults.is_empty());
        if (template.is_some() || !faults.is_empty()) && may_hold_secrets(&source.text) {
            source.hide_all();
        } else {
            source.hide(documents.iter().flat_map(secrets_in));
        }
        let source = Arc::new(source);
        let mut notes = Notes { source: &source, resource: String::new(), findings: &mut self.findings };
        // A template of Helm's is rarely YAML. One word about it is better than many about what it is not.
        if let Some(at) = template
            && (is_kargo || wanted == Wanted::AllOfIt)
        {
            let span = reader::Span { start: at as u32, end: at as u32 + 2 };
            let message =
                "This is a template of Helm's, which is not evaluated here; run helm template, and load what it gives.";
            notes.error(Rule::NotEvaluated, span, "", message);
            return;
        }
        for fault in faults {
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
        let mut notes = Notes { source, resource: String::new(), findings: &mut self.findings };
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
