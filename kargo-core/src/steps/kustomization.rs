//! Where a kustomization leads, looked at before `kustomize` runs. Whoever writes it must neither read what is outside of the workspace nor
//! have programs run or servers asked: what cannot be seen to be harmless is refused by the file and the field.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::files::{leads_out, link_on_the_way};
use super::foreign::{fields, folded, is_plain_name, parse, read, splits, text, texts};
use super::kustomize::clean;
use crate::edit::kustomize::FILE_NAMES;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;
use crate::workspace::{EntryKind, Node, Workspace};

/// How many directories a kustomization may lead to.
const MAX_DIRECTORIES: usize = 1_000;

/// The fields of a kustomization that name nothing to be read, in lower case.
const HARMLESS: [&str; 17] = [
    "apiversion",
    "kind",
    "metadata",
    "nameprefix",
    "namesuffix",
    "namespace",
    "commonlabels",
    "labels",
    "commonannotations",
    "images",
    "imagetags",
    "replicas",
    "vars",
    "sortoptions",
    "generatoroptions",
    "inventory",
    "buildmetadata",
];

/// What a kustomization needs.
#[derive(Debug, Default)]
pub(super) struct Leads {
    /// Directories and files of the workspace.
    pub(super) paths: BTreeSet<String>,
    /// Whether it has charts in it, which `helm` renders.
    pub(super) charts: bool,
    /// Whether it has bases elsewhere, which `kustomize` fetches.
    pub(super) bases: bool,
}

/// What the kustomization in the directory `root` needs: itself, and what it and those refer to. With `fetches` its bases may be elsewhere,
/// and then it has no charts: what is in those bases cannot be looked at.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when it leads out of the workspace, to a server, or to a program; [`ErrorKind::NotFound`] when it refers to
/// a resource that is not there.
pub(super) async fn look(cx: &Context, workspace: &Workspace, root: &str, fetches: bool) -> Result<Leads> {
    let leads = Leads { paths: BTreeSet::from([root.to_owned()]), charts: false, bases: false };
    let mut look = Look { cx, workspace, fetches, leads, open: vec![(root.to_owned(), None)], seen: BTreeSet::new() };
    while let Some((path, plugins)) = look.open.pop() {
        if look.seen.insert((path.clone(), plugins.clone())) {
            look.directory(&path, plugins.as_deref()).await?;
        }
        if look.seen.len() > MAX_DIRECTORIES {
            let message = format!("The kustomization in {root:?} leads to more than {MAX_DIRECTORIES} directories.");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    if look.leads.charts && look.leads.bases {
        let message = format!(
            "The kustomization in {root:?} has charts, and bases that would be fetched, of which nobody knows what charts they have; bring \
             the bases into the workspace, or render the charts by `helm-template`."
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let all = look.leads.paths.clone();
    look.leads.paths.retain(|path| !all.iter().any(|other| other != path && is_below(path, other)));
    Ok(look.leads)
}

struct Look<'w> {
    cx: &'w Context,
    workspace: &'w Workspace,
    fetches: bool,
    leads: Leads,
    /// Directories of kustomizations yet to be looked at. Of those that make what configures plug-ins also the directory of the
    /// kustomization whose plug-ins they are, to which paths are relative then.
    open: Vec<(String, Option<String>)>,
    seen: BTreeSet<(String, Option<String>)>,
}

/// A field of a file.
#[derive(Clone, Copy)]
struct At<'t> {
    file: &'t str,
    /// The directory that paths are relative to.
    directory: &'t str,
    field: &'t str,
}

impl At<'_> {
    fn refused(self, why: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidInput, format!("`{}` of {:?} {why}.", self.field, self.file))
    }

    /// Where a path leads, in the workspace.
    fn target(self, path: &str) -> Result<String> {
        let target = format!("{}/{path}", self.directory);
        if path.starts_with('/') || path.contains('\\') || leads_out(&target) {
            return Err(self.refused(format_args!("refers to {path:?}, outside of the workspace")));
        }
        Ok(clean(&target))
    }
}

impl Look<'_> {
    async fn directory(&mut self, path: &str, plugins: Option<&str>) -> Result<()> {
        let entries = self.workspace.list(self.cx, &format!("./{path}")).await?.unwrap_or_default();
        // One that is no kustomization is kustomize's to tell of.
        for entry in entries.iter().filter(|entry| entry.kind != EntryKind::Directory) {
            if !FILE_NAMES.iter().any(|name| name.eq_ignore_ascii_case(&entry.name)) {
                continue;
            }
            let file = clean(&format!("{path}/{}", entry.name));
            for document in read(self.cx, self.workspace, &file).await? {
                for (field, value) in &document {
                    let at = At { file: &file, directory: path, field };
                    if plugins.is_some() && !matches!(&*folded(field), "apiversion" | "kind" | "metadata" | "resources")
                    {
                        return Err(at.refused(
                            "is not taken, since what the kustomization makes configures plug-ins: only `resources` may be there",
                        ));
                    }
                    self.field(at, value, plugins).await?;
                }
            }
        }
        Ok(())
    }

    async fn field(&mut self, at: At<'_>, value: &Value, plugins: Option<&str>) -> Result<()> {
        let items = || value.as_array().into_iter().flatten().filter_map(Value::as_object);
        match &*folded(at.field) {
            harmless if HARMLESS.contains(&harmless) => {}
            "resources" | "bases" | "components" => {
                for path in texts(value) {
                    self.base(at, &path, plugins).await?;
                }
            }
            "generators" | "transformers" | "validators" => {
                for entry in texts(value) {
                    self.plugin(at, &entry).await?;
                }
            }
            "crds" | "configurations" => self.files(at, &texts(value)).await?,
            "openapi" => {
                let paths = value.as_object().into_iter().flat_map(|map| fields(map, "path")).filter_map(text);
                self.files(at, &paths.collect::<Vec<_>>()).await?;
            }
            // A patch that is written out is no path.
            "patchesstrategicmerge" => {
                let paths = texts(value).into_iter().filter(|path| !path.contains('\n') && !path.starts_with('{'));
                self.files(at, &paths.collect::<Vec<_>>()).await?;
            }
            "patches" | "patchesjson6902" | "replacements" => {
                let paths = items().flat_map(|item| fields(item, "path")).filter_map(text);
                self.files(at, &paths.collect::<Vec<_>>()).await?;
            }
            "configmapgenerator" | "secretgenerator" => {
                let named = ["files", "envs", "env"];
                let paths = items().flat_map(|item| named.map(|name| fields(item, name).flat_map(texts)));
                let mut paths: Vec<String> = paths.flatten().collect();
                // They may have a name before the path.
                let named: Vec<String> =
                    paths.iter().filter_map(|path| Some(path.split_once('=')?.1.to_owned())).collect();
                paths.extend(named);
                self.files(at, &paths).await?;
            }
            "helmglobals" => {
                if let Some(map) = value.as_object() {
                    self.chart(at, map).await?;
                }
            }
            "helmcharts" | "helmchartinflationgenerator" => {
                for map in items() {
                    self.chart(at, map).await?;
                }
            }
            _ => return Err(at.refused("is not known, so that it cannot be told what it would lead to")),
        }
        Ok(())
    }

    /// A directory with a kustomization, or a file with resources.
    async fn base(&mut self, at: At<'_>, path: &str, plugins: Option<&str>) -> Result<()> {
        if is_remote(path) && self.fetches && plugins.is_none() {
            if !["https://", "github.com/"].iter().any(|known| path.starts_with(known)) {
                return Err(at.refused(format_args!("refers to {path:?}, and bases are fetched by https alone")));
            }
            self.leads.bases = true;
            return Ok(());
        }
        if is_remote(path) {
            let what = "which would be fetched from elsewhere, and is not; bring it into the workspace, by `git-clone` at a fixed commit or by \
                        `http-download`, and refer to it there";
            return Err(at.refused(format_args!("refers to {path:?}, {what}")));
        }
        let target = at.target(path)?;
        match self.workspace.node(self.cx, &format!("./{target}")).await? {
            None => {
                let missing = self.workspace.missing(self.cx, &format!("./{target}")).await;
                Err(Error::new(missing.kind(), missing.message()).with("file", at.file).with("field", at.field))
            }
            Some(Node::Directory(_)) => {
                // On disk it leads to where `..` means something else than by the path's words.
                if let Some(link) = link_on_the_way(self.cx, self.workspace, &target).await? {
                    return Err(
                        at.refused(format_args!("refers to {path:?} through {link:?}, which is a symbolic link"))
                    );
                }
                self.open.push((target.clone(), plugins.map(str::to_owned)));
                self.need(target);
                Ok(())
            }
            Some(_) => {
                if let Some(directory) = plugins {
                    let documents = read(self.cx, self.workspace, &target).await?;
                    self.configurations(&target, directory, documents).await?;
                }
                self.need(target);
                Ok(())
            }
        }
    }

    /// An entry that configures plug-ins: a path, or the configuration itself.
    async fn plugin(&mut self, at: At<'_>, entry: &str) -> Result<()> {
        let documents = parse(entry).map_err(|error| {
            at.refused(format_args!(
                "has an entry that is neither a path nor YAML that can be looked at ({})",
                error.message()
            ))
        })?;
        let maps: Vec<Map<String, Value>> = documents
            .into_iter()
            .filter_map(|one| if let Value::Object(map) = one { Some(map) } else { None })
            .collect();
        if maps.is_empty() {
            self.base(at, entry, Some(at.directory)).await
        } else {
            self.configurations(at.file, at.directory, maps).await
        }
    }

    /// What configures plug-ins: only those that are part of kustomize run, and of what they read the same holds as of a kustomization.
    async fn configurations(&mut self, file: &str, directory: &str, documents: Vec<Map<String, Value>>) -> Result<()> {
        let mut open = documents;
        while let Some(document) = open.pop() {
            let is_chart = |kind: &String| folded(kind) == "helmchartinflationgenerator";
            let is_chart = fields(&document, "kind").filter_map(text).any(|kind| is_chart(&kind));
            // Lists are taken apart by this name and no other spelling of it.
            if !is_chart && document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) {
                let items = document.get("items").and_then(Value::as_array).into_iter().flatten();
                open.extend(items.filter_map(|item| item.as_object().cloned()));
                continue;
            }
            let versions: Vec<&Value> = fields(&document, "apiversion").collect();
            if !matches!(versions[..], [version] if version == "builtin") {
                let at = At { file, directory, field: "apiVersion" };
                return Err(at.refused("is not `builtin`: plug-ins that are programs or containers are not run"));
            }
            if is_chart {
                self.chart(At { file, directory, field: "kind" }, &document).await?;
            } else {
                paths_in(file, directory, &document)?;
            }
        }
        Ok(())
    }

    /// Files that are read as they are. kustomize reads none outside of the kustomization's directory.
    async fn files(&mut self, at: At<'_>, paths: &[String]) -> Result<()> {
        for path in paths {
            at.local(path)?;
            let target = at.target(path)?;
            if self.workspace.node(self.cx, &format!("./{target}")).await?.is_some() {
                self.need(target);
            }
        }
        Ok(())
    }

    /// A chart, and what `helm` is told of it: kustomize hands each field over as an argument.
    async fn chart(&mut self, at: At<'_>, map: &Map<String, Value>) -> Result<()> {
        self.leads.charts = true;
        if let Some(why) = splits(at.directory) {
            return Err(at.refused(format_args!("is in a directory whose path {:?} {why}", at.directory)));
        }
        for (field, value) in map {
            let at = At { field, ..at };
            let all = |fits: fn(&str) -> bool, what: &str| match texts(value)
                .into_iter()
                .find(|text| !text.is_empty() && !fits(text))
            {
                Some(text) => Err(at.refused(format_args!("is {text:?}, and not {what}"))),
                None => Ok(()),
            };
            match &*folded(field) {
                "apiversion" | "kind" | "metadata" | "valuesinline" | "valueslocal" | "valuesmerge" | "includecrds"
                | "skiphooks" | "skiptests" | "debug" | "devel" | "chartreponame" => {}
                "name" | "chartname" | "releasename" | "namespace" | "releasenamespace" => {
                    all(
                        is_plain_name,
                        "a name of letters, digits, `.`, `_` and `-` that begins with a letter or a digit",
                    )?;
                }
                "version" | "chartversion" | "kubeversion" => all(is_version, "a version")?,
                "apiversions" => all(is_api_version, "a version of an API")?,
                "digest" => all(|text| is_plain_name(&text.replacen(':', "-", 1)), "a digest")?,
                "repo" | "chartrepourl" => all(is_repository, "the URL of a repository (https, http or oci)")?,
                "nametemplate" => all(|text| !text.starts_with('-'), "a template, as it begins with `-`")?,
                "valuesfile" | "values" | "additionalvaluesfiles" => {
                    let paths = texts(value);
                    if let Some((path, why)) = paths.iter().find_map(|path| Some((path, splits(path)?))) {
                        return Err(at.refused(format_args!("refers to {path:?}, which {why}")));
                    }
                    self.files(at, &paths).await?;
                }
                "charthome" => self.files(at, &texts(value)).await?,
                // There helm looks for plug-ins, which are programs.
                "confighome" | "helmhome" | "helmbin" | "extraargs" => {
                    if !texts(value).iter().all(String::is_empty) {
                        return Err(at.refused("is not taken: helm runs with a home and settings of its own"));
                    }
                }
                _ => return Err(at.refused("is not known, so that it cannot be told what helm would make of it")),
            }
        }
        Ok(())
    }

    /// Notes that the program needs what is at `target`, unless that is part of what it gets already.
    fn need(&mut self, target: String) {
        if !self.leads.paths.iter().any(|known| is_below(&target, known)) {
            self.leads.paths.insert(target);
        }
    }
}

impl At<'_> {
    /// Refuses what kustomize would ask a server for.
    fn local(self, path: &str) -> Result<()> {
        let is_url = |text: &str| {
            let text = text.trim_start().to_ascii_lowercase();
            text.starts_with("http:") || text.starts_with("https:")
        };
        if path.split('=').any(is_url) {
            let why =
                "which would be fetched from a server, and is not; bring it into the workspace by `http-download`";
            return Err(self.refused(format_args!("refers to {path:?}, {why}")));
        }
        Ok(())
    }
}

/// Looks at the files that a plug-in's configuration names, at whatever depth.
fn paths_in(file: &str, directory: &str, map: &Map<String, Value>) -> Result<()> {
    let mut open: Vec<&Map<String, Value>> = vec![map];
    while let Some(map) = open.pop() {
        for (field, value) in map {
            if matches!(&*folded(field), "files" | "envs" | "env" | "path" | "paths" | "targetfilepath") {
                for path in texts(value) {
                    At { file, directory, field }.local(&path)?;
                }
            }
            let below = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            open.extend(below.iter().filter_map(Value::as_object));
        }
    }
    Ok(())
}

/// Whether kustomize would, or in some version did, take a path for something that is to be fetched.
fn is_remote(path: &str) -> bool {
    let path = path.trim_start().to_ascii_lowercase();
    let user = path.split_once('@').map(|(user, _)| user);
    path.contains("://")
        || ["http:", "https:", "git::", "file:", "ssh:", "github.com/", "github.com:", "gh:"]
            .iter()
            .any(|known| path.starts_with(known))
        || user.is_some_and(|user| user.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

/// Whether `path` is `directory` or in it.
fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A version, or bounds for one. It becomes part of a directory's name too.
fn is_version(text: &str) -> bool {
    !text.starts_with('-')
        && !text.contains("..")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+-_~^*<>=!|, ".contains(c))
}

/// A version of an API, also with a kind behind it: `apps/v1`, `apps/v1/Deployment`.
pub(super) fn is_api_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '_'))
}

fn is_repository(text: &str) -> bool {
    let rest = ["https://", "http://", "oci://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
        && text.chars().all(|c| c.is_ascii_graphic())
}
