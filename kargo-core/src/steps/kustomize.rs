//! `kustomize-set-image` and `kustomize-build`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::config::{self, KustomizeImage, OutputFormat};
use super::helm::HELM;
use super::kustomization::look;
use super::manifests::{self, Manifest};
use super::program::{Place, Program, Reach};
use super::typed::{Builtin, committed};
use super::update::change;
use crate::edit::kustomize::{FILE_NAMES, Image, set_images};
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Context, StepOutcome, StepRequest};
use crate::workspace::{EntryKind, Workspace};

/// The program that renders kustomizations.
pub(super) const KUSTOMIZE: Program =
    Program { name: "kustomize", install: "kustomize 5 (https://kubectl.docs.kubernetes.io/installation/kustomize/)" };

#[derive(Debug)]
pub(super) struct SetImage;

#[async_trait]
impl Builtin for SetImage {
    const USES: &'static str = "kustomize-set-image";
    type Config = config::KustomizeSetImage;

    async fn run(
        &self,
        cx: &Context,
        config: config::KustomizeSetImage,
        request: &StepRequest<'_>,
    ) -> Result<StepOutcome> {
        let file = find(cx, request.workspace(), &config.path).await?;
        let mut images =
            if config.images.is_empty() { of_freight(request)? } else { config.images.iter().map(image).collect() };
        images.sort_by(|a, b| a.name.cmp(&b.name));
        if images.is_empty() {
            return Ok(StepOutcome::succeeded());
        }
        change(cx, request, &file, |text| set_images(text, &images)).await?;
        let s = if images.len() == 1 { "" } else { "s" };
        let lines: String = images.iter().map(|image| format!("\n- {}", reference(image))).collect();
        Ok(committed(format!("Updated {} to use new image{s}\n{lines}", config.path)))
    }
}

fn image(config: &KustomizeImage) -> Image {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let digest = given(&config.digest);
    Image {
        name: given(&config.name).unwrap_or_else(|| config.image.clone()),
        new_name: given(&config.new_name),
        new_tag: given(&config.tag).filter(|_| digest.is_none()),
        digest,
    }
}

/// All images of the freight, each by its repository.
fn of_freight(request: &StepRequest<'_>) -> Result<Vec<Image>> {
    let mut images: BTreeMap<&str, Image> = BTreeMap::new();
    for found in request.promotion.collection.iter().flat_map(|freight| freight.images()) {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (new_tag, digest) = (given(&found.tag), given(&found.digest));
        let image = Image { name: found.repo_url.clone(), new_tag, digest, ..Image::default() };
        if images.insert(&found.repo_url, image).is_some() {
            let message = format!(
                "The freight has more than one image of {:?}, so the step cannot tell which one is meant; name it in `images`.",
                found.repo_url
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    Ok(images.into_values().collect())
}

fn reference(image: &Image) -> String {
    let given = |text: &Option<String>| text.clone().filter(|text| text != "*");
    let mut text = given(&image.new_name).unwrap_or_else(|| image.name.clone());
    if let Some(tag) = given(&image.new_tag) {
        text.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = given(&image.digest) {
        text.push_str(&format!("@{digest}"));
    }
    text
}

/// The one kustomization in the directory at `path`.
async fn find(cx: &Context, workspace: &Workspace, path: &str) -> Result<String> {
    let Some(entries) = workspace.list(cx, path).await? else { return Err(workspace.missing(cx, path).await) };
    let is_file = |kind| matches!(kind, EntryKind::File { .. });
    let found: Vec<&str> = entries
        .iter()
        .filter(|entry| is_file(entry.kind) && FILE_NAMES.contains(&entry.name.as_str()))
        .map(|entry| entry.name.as_str())
        .collect();
    match found[..] {
        [name] => Ok(format!("{}/{name}", path.trim_end_matches('/'))),
        [] => {
            let message =
                format!("There is no kustomization in {path:?}; one of {} must be there.", FILE_NAMES.join(", "));
            Err(Error::new(ErrorKind::NotFound, message))
        }
        _ => {
            let message =
                format!("There are several kustomizations in {path:?}: {}; keep one of them.", found.join(", "));
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

#[derive(Debug)]
pub(super) struct Build {
    pub(super) kustomize: Program,
    /// What renders charts that kustomizations have in them.
    pub(super) helm: Program,
    /// Whether bases may be fetched.
    pub(super) remote_bases: bool,
}

impl Default for Build {
    fn default() -> Self {
        Self { kustomize: KUSTOMIZE, helm: HELM, remote_bases: false }
    }
}

#[async_trait]
impl Builtin for Build {
    const USES: &'static str = "kustomize-build";
    type Config = config::KustomizeBuild;

    async fn run(
        &self,
        cx: &Context,
        config: config::KustomizeBuild,
        request: &StepRequest<'_>,
    ) -> Result<StepOutcome> {
        let workspace = request.workspace();
        find(cx, workspace, &config.path).await?;
        let root = clean(&config.path);
        let place = Place::new()?;
        let leads = look(cx, workspace, &root, self.remote_bases).await?;
        for path in &leads.paths {
            place.export(cx, workspace, path).await?;
        }
        // What is checked is not left to that alone: files outside of the kustomization's own directories are not read, and helm is
        // there only where a chart was seen.
        let mut arguments = ["build", "--load-restrictor=LoadRestrictionsRootOnly"].map(str::to_owned).to_vec();
        if leads.charts {
            let helm = self.helm.path()?;
            arguments.extend(["--enable-helm".to_owned(), format!("--helm-command={}", helm.display())]);
            for version in &config.plugin.helm.api_versions {
                arguments.push(format!("--helm-api-versions={version}"));
            }
            if let Some(version) = &config.plugin.helm.kube_version {
                arguments.push(format!("--helm-kube-version={version}"));
            }
        }
        arguments.push(place.file(&root).to_string_lossy().into_owned());
        let reach = match (leads.bases, leads.charts) {
            // They are fetched by git.
            (true, _) => Reach::Host,
            (false, true) => Reach::Network,
            (false, false) => Reach::Nothing,
        };
        let written = place.run(cx, self.kustomize, reach, &arguments).await?;
        let stream = crate::edit::text("the output of kustomize", &written)?;
        if manifests::is_one_file(&config.out_path) {
            workspace.write(cx, &config.out_path, stream.to_owned()).await?;
            return Ok(StepOutcome::succeeded());
        }
        let manifests = manifests::split(stream)?;
        let namespaces: BTreeSet<&str> =
            manifests.iter().map(|one| one.namespace.as_str()).filter(|one| !one.is_empty()).collect();
        let several = namespaces.len() > 1;
        manifests::write_each(cx, workspace, &config.out_path, &manifests, |_, one| match config.output_format {
            OutputFormat::Kargo => joined(&[&one.namespace, &one.kind, &one.name], "-"),
            OutputFormat::Kustomize => named_as_kustomize(one, several),
        })
        .await?;
        Ok(StepOutcome::succeeded())
    }
}

fn named_as_kustomize(one: &Manifest<'_>, several: bool) -> String {
    let namespace = if several { one.namespace.as_str() } else { "" };
    joined(&[namespace, &one.group, &one.version, &one.kind, &one.name], "_")
}

/// The parts that are there, and `.yaml`.
pub(super) fn joined(parts: &[&str], by: &str) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    format!("{}.yaml", parts.join(by))
}

/// `path` without `.` and `..`, from the workspace's root.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
