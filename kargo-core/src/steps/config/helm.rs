//! The configurations of `helm-update-chart` and `helm-template`.

use serde::Deserialize;

use super::empty;
use crate::steps::foreign::is_plain_name;
use crate::steps::kustomization::is_api_version;
use crate::steps::typed::{Config, is_template};

/// `helm-update-chart`: sets versions of a chart's dependencies in its `Chart.yaml` and fetches them, with the program `helm`, which must
/// be on `PATH`.
///
/// # Outputs
///
/// - `commitMessage`: what was done, for a `git-commit` that follows. It is not there when nothing was to be done.
///
/// # Errors
///
/// - `helm` is not on `PATH`, or ends with an error, which is told.
/// - A chart is none of the dependencies in `Chart.yaml`, by its repository and name.
/// - A dependency of the chart, or of one that it depends on by a path, is outside of the workspace, by `Chart.yaml`, `requirements.yaml` or
///   their locks.
///
/// # Example
///
/// ```yaml
/// - uses: helm-update-chart
///   config:
///     path: ./charts/shop
///     charts:
///     - repository: oci://ghcr.io/acme/charts
///       name: service
///       version: ${{ quote(chartFrom("oci://ghcr.io/acme/charts/service").Version) }}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct HelmUpdateChart {
    /// The chart's directory.
    pub path: String,
    /// The versions. Default: none, so that what is allowed by those in the file is fetched anew.
    #[serde(default)]
    pub charts: Vec<ChartVersion>,
}

/// The version of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ChartVersion {
    /// The repository's URL, as it stands in the file.
    pub repository: String,
    /// The chart's name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Config for HelmUpdateChart {
    const TEXTS: &'static [&'static str] = &["/path", "/charts/*/repository", "/charts/*/name", "/charts/*/version"];

    fn fault(&self) -> Option<String> {
        let fault = |chart: &ChartVersion| empty("name", &chart.name).or_else(|| empty("version", &chart.version));
        empty("path", &self.path).or_else(|| self.charts.iter().find_map(fault))
    }
}

/// `helm-template`: renders a chart with the program `helm`, which must be on `PATH`.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - `helm` is not on `PATH`, or ends with an error, which is told.
/// - The chart is not there, or depends on one outside of the workspace.
/// - A file with values is not there, and `ignoreMissingValueFiles` is not set; or its path has a comma or a quote in it, at which `helm`
///   would split it.
///
/// # Example
///
/// ```yaml
/// - uses: helm-template
///   config:
///     path: ./source/charts/shop
///     outPath: ./rendered
///     releaseName: shop
///     valuesFiles:
///     - ./source/values/${{ ctx.stage }}.yaml
///     setValues:
///     - key: image.tag
///       value: ${{ quote(imageFrom(vars.image).Tag) }}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct HelmTemplate {
    /// The chart: a directory, or a packed file.
    pub path: String,
    /// The file, when it ends in `.yaml` or `.yml`, that gets all manifests; else the directory that gets a file of each.
    pub out_path: String,
    /// How the files in a directory are named. Default: `helm`.
    #[serde(default)]
    pub out_layout: OutLayout,
    /// The release's name. Default: `release-name`, as in Helm.
    pub release_name: Option<String>,
    /// Whether the directory of the layout `helm` has the release's name in it. Default: no.
    #[serde(default)]
    pub use_release_name: bool,
    /// The namespace. Default: the pipeline's name, as Kargo takes the project's.
    pub namespace: Option<String>,
    /// Files with values, of which later ones go over earlier ones.
    #[serde(default)]
    pub values_files: Vec<String>,
    /// Whether files with values that are not there are passed over. Default: no, they are an error.
    #[serde(default)]
    pub ignore_missing_value_files: bool,
    /// Values that go over those of the files.
    #[serde(default)]
    pub set_values: Vec<HelmValue>,
    /// Whether the chart's dependencies are fetched first. Default: no, they must be there.
    #[serde(default)]
    pub build_dependencies: bool,
    /// Whether the custom resource definitions are among the manifests. Default: no.
    #[serde(default, rename = "includeCRDs")]
    pub include_crds: bool,
    /// Whether hooks are left out. Default: no.
    #[serde(default)]
    pub disable_hooks: bool,
    /// Whether tests are left out. Default: no.
    #[serde(default)]
    pub skip_tests: bool,
    /// The version of Kubernetes that the chart is told. Default: the one that Helm assumes.
    pub kube_version: Option<String>,
    /// The API versions that the chart is told. Default: those that Helm assumes.
    #[serde(default)]
    pub api_versions: Vec<String>,
}

/// How the files of a rendered chart are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OutLayout {
    /// As the templates are.
    #[default]
    Helm,
    /// `[group-]kind[-namespace]-name.yaml`
    Flat,
}

/// One value that is set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct HelmValue {
    /// The key, as `helm --set` takes it. It names one: a comma or `=` in it needs a backslash.
    pub key: String,
    /// The value. A comma in it, save in a list in braces, needs a backslash or `literal`: behind it stood another key.
    pub value: String,
    /// Whether the value is taken to the letter: commas and the like mean nothing, and `true` is a text. Default: no.
    #[serde(default)]
    pub literal: bool,
}

impl HelmValue {
    /// What would make helm set another key than this.
    fn fault(&self) -> Option<String> {
        let Self { key, value, .. } = self;
        if self.literal {
            let wrong = !is_template(key) && key.contains('=');
            return wrong.then(|| format!("the key {key:?} has `=` in it, behind which helm reads the value"));
        }
        if !is_template(key) && separates(key, "=") {
            return Some(format!(
                "the key {key:?} has `=` in it, behind which helm reads the value; write a backslash before it"
            ));
        }
        if !is_template(key) && separates(key, ",") {
            return Some(format!(
                "the key {key:?} has a comma in it, behind which helm reads another key; write a backslash before it"
            ));
        }
        // Within braces it is a list.
        let is_list = value.starts_with('{') && value.ends_with('}') && !value[1..value.len() - 1].contains(['{', '}']);
        // The value itself may be a secret.
        (!is_template(value) && !is_list && separates(value, ","))
            .then(|| format!("the value of {key:?} has a comma in it, behind which helm reads another key; set `literal`, or write a backslash before it"))
    }
}

/// Whether one of `marks` is in `text` without a backslash before it.
fn separates(text: &str, marks: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|c| {
        let separates = !escaped && marks.contains(c);
        escaped = c == '\\' && !escaped;
        separates
    })
}

/// What is wrong with the versions that helm is told, which it takes for a list with commas.
pub(super) fn versions(kube_version: Option<&String>, api_versions: &[String]) -> Option<String> {
    let wrong = |field: &str, text: &String| format!("`{field}` has {text:?}, which is no version");
    let is_version = |text: &String| is_template(text) || text.is_empty() || is_plain_name(&text.replace('+', "-"));
    let is_api = |text: &String| is_template(text) || is_api_version(text);
    let kube = kube_version.filter(|version| !is_version(version)).map(|version| wrong("kubeVersion", version));
    kube.or_else(|| api_versions.iter().find(|version| !is_api(version)).map(|version| wrong("apiVersions", version)))
}

impl Config for HelmTemplate {
    const TEXTS: &'static [&'static str] = &[
        "/path",
        "/outPath",
        "/outLayout",
        "/releaseName",
        "/namespace",
        "/valuesFiles/*",
        "/setValues/*/key",
        "/setValues/*/value",
        "/kubeVersion",
        "/apiVersions/*",
    ];

    fn fault(&self) -> Option<String> {
        let name = |field: &str, text: &Option<String>| {
            let text = text.as_ref().filter(|text| !text.is_empty() && !is_template(text) && !is_plain_name(text))?;
            // It would be taken for an option, or for a path by which a file is written elsewhere.
            Some(format!(
                "`{field}` is {text:?}, and not a name of letters, digits, `.`, `_` and `-` that begins with a letter or a digit"
            ))
        };
        empty("path", &self.path)
            .or_else(|| empty("outPath", &self.out_path))
            .or_else(|| name("releaseName", &self.release_name))
            .or_else(|| name("namespace", &self.namespace))
            .or_else(|| self.set_values.iter().find_map(|one| empty("key", &one.key)))
            .or_else(|| self.set_values.iter().find_map(HelmValue::fault))
            .or_else(|| versions(self.kube_version.as_ref(), &self.api_versions))
    }
}
