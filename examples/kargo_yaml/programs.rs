//! `kustomize` and `helm`, where they are not installed.
//!
//! A host's own step under the name of one of Kargo's takes its place. These do as much as the examples need: bases and images of
//! kustomizations, values in templates.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kargo_core::edit::yaml;
use kargo_core::plugin::{Context, PluginsBuilder, Step, StepOutcome, StepRequest};
use kargo_core::{Error, ErrorKind, Result};
use serde_json::Value;

/// Whether a program is on `PATH`.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Puts steps of this example in the place of those whose programs are missing, and says so.
pub(crate) fn register(plugins: PluginsBuilder) -> PluginsBuilder {
    let plugins = if is_there("kustomize") { plugins } else { plugins.step("kustomize-build", Kustomize) };
    if is_there("helm") { plugins } else { plugins.step("helm-template", Helm) }
}

/// What is said about a step that stands in for one of Kargo's.
pub(crate) fn stand_in(step: &str) -> Option<&'static str> {
    match step {
        "kustomize-build" if !is_there("kustomize") => {
            Some("kustomize is not on PATH; a step of this example stands in")
        }
        "helm-template" if !is_there("helm") => Some("helm is not on PATH; a step of this example stands in"),
        _ => None,
    }
}

fn text<'c>(config: &'c Value, field: &str) -> &'c str {
    config[field].as_str().unwrap_or_default()
}

fn parsed(text: &str) -> Result<Value> {
    yaml::parse(text)?.into_iter().next().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "The file is empty."))
}

/// Lays the files of a kustomization together, with its images.
#[derive(Debug)]
struct Kustomize;

#[async_trait]
impl Step for Kustomize {
    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let (mut open, mut manifests, mut images) =
            (vec![text(request.config, "path").to_owned()], Vec::new(), Vec::new());
        while let Some(path) = open.pop() {
            if path.ends_with(".yaml") {
                manifests.push(workspace.read_text(cx, &path).await?);
                continue;
            }
            let kustomization = parsed(&workspace.read_text(cx, &format!("{path}/kustomization.yaml")).await?)?;
            let resources = kustomization["resources"].as_array().into_iter().flatten().filter_map(Value::as_str);
            open.extend(resources.map(|resource| format!("{path}/{resource}")));
            images.extend(kustomization["images"].as_array().cloned().unwrap_or_default());
        }
        for mut manifest in manifests {
            for image in &images {
                let (name, tag) = (text(image, "name"), text(image, "newTag"));
                manifest = manifest.replace(&format!("image: {name}\n"), &format!("image: {name}:{tag}\n"));
            }
            let read = parsed(&manifest)?;
            let (kind, name) = (text(&read, "kind").to_lowercase(), text(&read["metadata"], "name"));
            let out = format!("{}/{kind}-{name}.yaml", text(request.config, "outPath"));
            workspace.write(cx, &out, manifest).await?;
        }
        Ok(StepOutcome::succeeded())
    }
}

/// Puts values where a chart's templates name them.
#[derive(Debug)]
struct Helm;

#[async_trait]
impl Step for Helm {
    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let (workspace, config) = (request.workspace(), request.config);
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for file in config["valuesFiles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let read = parsed(&workspace.read_text(cx, file).await?)?;
            for (key, value) in read.as_object().into_iter().flatten() {
                values.insert(key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        let templates = format!("{}/templates", text(config, "path"));
        for (file, _) in workspace.walk(cx, &templates).await? {
            let mut manifest = workspace.read_text(cx, &format!("{templates}/{file}")).await?;
            for (key, value) in &values {
                manifest = manifest.replace(&format!("{{{{ .Values.{key} }}}}"), value);
            }
            workspace.write(cx, &format!("{}/{file}", text(config, "outPath")), manifest).await?;
        }
        Ok(StepOutcome::succeeded())
    }
}
