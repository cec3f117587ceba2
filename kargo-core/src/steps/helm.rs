//! `helm-template` and `helm-update-chart`.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::chart;
use super::config::{self, OutLayout};
use super::foreign::splits;
use super::kustomize::{clean, joined};
use super::manifests;
use super::program::{Place, Program, Reach};
use super::typed::{Builtin, committed};
use super::update::change;
use crate::edit::helm::{Dependency, set_dependencies};
use crate::edit::yaml;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Context, StepOutcome, StepRequest};
use crate::workspace::{Node, Workspace};

/// The program that renders charts and fetches their dependencies.
pub(super) const HELM: Program = Program { name: "helm", install: "Helm 3 (https://helm.sh/docs/intro/install/)" };

#[derive(Debug)]
pub(super) struct Template(pub(super) Program);

#[async_trait]
impl Builtin for Template {
    const USES: &'static str = "helm-template";
    type Config = config::HelmTemplate;

    async fn run(&self, cx: &Context, config: config::HelmTemplate, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let place = Place::new()?;
        let chart = clean(&config.path);
        chart::export(cx, workspace, &place, &chart).await?;
        let mut values = Vec::new();
        for file in &config.values_files {
            let file = clean(file);
            if workspace.node(cx, &format!("./{file}")).await?.is_none() && config.ignore_missing_value_files {
                continue;
            }
            if let Some(why) = splits(&file) {
                let message =
                    format!("The file with values {file:?} {why}; rename it, or the directory that it is in.");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            place.export(cx, workspace, &file).await?;
            values.push(path_of(&place, &file));
        }
        let chart = path_of(&place, &chart);
        if config.build_dependencies {
            let arguments = ["dependency", "build", "--skip-refresh", &chart].map(str::to_owned);
            place.run(cx, self.0, Reach::Host, &arguments).await?;
        }
        let namespace = config.namespace.as_deref().filter(|text| !text.is_empty());
        let namespace = namespace.unwrap_or(request.promotion.pipeline.as_ref());
        let directory = (!manifests::is_one_file(&config.out_path) && config.out_layout == OutLayout::Helm)
            .then(|| place.beside("rendered"));
        let mut arguments = arguments(&config, &chart, namespace, &values);
        if let Some(directory) = &directory {
            arguments.push(format!("--output-dir={}", directory.to_string_lossy()));
            if config.use_release_name {
                arguments.push("--release-name".to_owned());
            }
        }
        let written = place.run(cx, self.0, Reach::Host, &arguments).await?;
        match directory {
            Some(directory) if directory.is_dir() => lay_over(cx, workspace, &directory, &config.out_path).await?,
            // A chart that renders nothing makes no directory.
            Some(_) => {}
            None => {
                let stream = crate::edit::text("the output of helm", &written)?;
                if manifests::is_one_file(&config.out_path) {
                    workspace.write(cx, &config.out_path, format!("{}\n", stream.trim())).await?;
                } else {
                    let manifests = manifests::split(stream)?;
                    manifests::write_each(cx, workspace, &config.out_path, &manifests, |index, one| {
                        if one.kind.is_empty() || one.name.is_empty() {
                            return format!("resource-{index}.yaml");
                        }
                        joined(&[&one.group.replace('.', "_"), &one.kind, &one.namespace, &one.name], "-")
                    })
                    .await?;
                }
            }
        }
        Ok(StepOutcome::succeeded())
    }
}

/// What `helm template` is told. Values stand behind `=`, so that none is taken for an option.
fn arguments(config: &config::HelmTemplate, chart: &str, namespace: &str, values: &[String]) -> Vec<String> {
    let release = config.release_name.as_deref().filter(|text| !text.is_empty()).unwrap_or("release-name");
    let mut arguments =
        vec!["template".to_owned(), release.to_owned(), chart.to_owned(), format!("--namespace={namespace}")];
    arguments.extend(values.iter().map(|file| format!("--values={file}")));
    for value in &config.set_values {
        let option = if value.literal { "--set-literal" } else { "--set" };
        arguments.push(format!("{option}={}={}", value.key, value.value));
    }
    let flags = [
        (config.include_crds, "--include-crds"),
        (config.disable_hooks, "--no-hooks"),
        (config.skip_tests, "--skip-tests"),
    ];
    arguments.extend(flags.iter().filter(|(given, _)| *given).map(|(_, flag)| (*flag).to_owned()));
    arguments.extend(config.kube_version.iter().map(|version| format!("--kube-version={version}")));
    arguments.extend(config.api_versions.iter().map(|version| format!("--api-versions={version}")));
    arguments
}

fn path_of(place: &Place, path: &str) -> String {
    place.file(path).to_string_lossy().into_owned()
}

/// Puts the files of a directory on disk over those at `path`.
async fn lay_over(cx: &Context, workspace: &Workspace, directory: &std::path::Path, path: &str) -> Result<()> {
    let rendered = Workspace::with_limits(workspace.limits());
    rendered.import(cx, directory, "out").await?;
    let files = rendered.walk(cx, "out").await?;
    let nodes: Vec<Node> = files.iter().map(|(_, node)| node.clone()).collect();
    for ((file, _), contents) in files.iter().zip(rendered.contents(cx, &nodes).await?) {
        workspace.write(cx, &format!("{path}/{file}"), contents).await?;
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct UpdateChart(pub(super) Program);

#[async_trait]
impl Builtin for UpdateChart {
    const USES: &'static str = "helm-update-chart";
    type Config = config::HelmUpdateChart;

    async fn run(
        &self,
        cx: &Context,
        config: config::HelmUpdateChart,
        request: &StepRequest<'_>,
    ) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let chart = clean(&config.path);
        let wanted: Vec<Dependency> =
            config.charts.iter().map(|one| Dependency::new(&one.repository, &one.name, &one.version)).collect();
        change(cx, request, &format!("./{chart}/Chart.yaml"), |text| set_dependencies(text, &wanted)).await?;
        let before = locked(cx, workspace, &chart).await?;
        let place = Place::new()?;
        chart::export(cx, workspace, &place, &chart).await?;
        let arguments = ["dependency", "update", &path_of(&place, &chart)].map(str::to_owned);
        place.run(cx, self.0, Reach::Host, &arguments).await?;
        let updated = Workspace::with_limits(workspace.limits());
        updated.import(cx, &place.file(&chart), &format!("./{chart}")).await?;
        let after = locked(cx, &updated, &chart).await?;
        // A lock that says the same has another time in it.
        for part in ["charts", "Chart.lock"] {
            let path = format!("./{chart}/{part}");
            if let Some(node) = updated.node(cx, &path).await?
                && (part == "charts" || after != before)
            {
                workspace.put(cx, &path, node).await?;
            }
        }
        let changes = changes(&before, &after);
        if changes.is_empty() {
            return Ok(StepOutcome::succeeded());
        }
        let lines: String = changes.iter().map(|(name, change)| format!("\n- {name}: {change}")).collect();
        Ok(committed(format!("Updated chart dependencies for {}\n{lines}", config.path)))
    }
}

/// The versions in a chart's lock, by name.
async fn locked(cx: &Context, workspace: &Workspace, chart: &str) -> Result<BTreeMap<String, String>> {
    let path = format!("./{chart}/Chart.lock");
    let Some(contents) = workspace.read(cx, &path).await? else { return Ok(BTreeMap::new()) };
    let text = crate::edit::text(&path, &contents)?;
    let lock = yaml::parse(text).map_err(|error| error.with("file", &path))?;
    let entries = lock.first().and_then(|lock| lock["dependencies"].as_array()).cloned().unwrap_or_default();
    let field = |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    Ok(entries.iter().map(|entry| (field(entry, "name"), field(entry, "version"))).collect())
}

/// What became of each dependency whose version is another, in Kargo's words.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut changes = BTreeMap::new();
    for (name, version) in after {
        match before.get(name) {
            Some(old) if old == version => {}
            Some(old) => {
                changes.insert(name.clone(), format!("{old} -> {version}"));
            }
            None => {
                changes.insert(name.clone(), version.clone());
            }
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        changes.insert(name.clone(), "removed".to_owned());
    }
    changes
}
