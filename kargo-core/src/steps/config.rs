//! The configurations of the steps, with the fields and defaults that they have in Kargo.
//!
//! Paths are relative to the promotion's workspace, and none leads out of it: `..` beyond its root, a leading `/` and symbolic links are
//! taken as if the workspace were all there is.

mod http;
mod people;
mod record;

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::typed::{Config, is_template};

pub use http::{Http, HttpDownload, NamedValue, POLL_INTERVAL, Span};
pub use people::{ApproverConfig, SendMessage, WaitForApproval};
pub use record::{MetadataKind, MetadataUpdate, SetFreightAlias, SetMetadata};

/// `copy`: a file or a directory. A directory that is at the target gets the files of the other, over its own where both have one.
///
/// Symbolic links stay what they are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Copy {
    /// The file or directory to be copied.
    pub in_path: String,
    /// Where to.
    pub out_path: String,
    /// What is left out: lines as in a `.gitignore`, relative to `inPath`. Default: nothing.
    #[serde(default)]
    pub ignore: String,
}

impl Config for Copy {
    const TEXTS: &'static [&'static str] = &["/inPath", "/outPath", "/ignore"];

    fn fault(&self) -> Option<String> {
        empty("inPath", &self.in_path).or_else(|| empty("outPath", &self.out_path))
    }
}

/// `delete`: files, directories and links. A link itself goes, not what it points to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Delete {
    /// What goes. Either this or `paths` must be there.
    pub path: Option<String>,
    /// All that goes.
    pub paths: Option<Vec<String>>,
    /// Whether the paths are patterns, where `*` is any text without `/`, `**` any path, `?` one character, `[a-z]` one of some
    /// and `{a,b}` one or the other. Default: no.
    #[serde(default)]
    pub paths_are_globs: bool,
    /// Whether a path at which there is nothing, or a pattern that nothing matches, is an error. Default: no.
    #[serde(default)]
    pub strict: bool,
}

impl Config for Delete {
    const TEXTS: &'static [&'static str] = &["/path", "/paths/*"];

    fn fault(&self) -> Option<String> {
        match (&self.path, &self.paths) {
            (Some(path), None) => empty("path", path),
            (None, Some(paths)) if paths.is_empty() => Some("`paths` has no entry".to_owned()),
            (None, Some(paths)) => paths.iter().find_map(|path| empty("paths", path)),
            _ => Some("exactly one of `path` and `paths` must be there".to_owned()),
        }
    }
}

/// `file-write`: a file with given contents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct FileWrite {
    /// The file. Directories above it are made. No link may be on the way.
    pub path: String,
    /// What is in it.
    pub contents: String,
    /// The file's mode, in octal with a leading 0. It can neither be executable nor writable by everybody. Default: `0600`. Git keeps
    /// no more of it than that the file is not executable.
    pub permissions: Option<String>,
    /// Whether a file that is there may be replaced. Default: no.
    #[serde(default)]
    pub overwrite: bool,
}

impl Config for FileWrite {
    const TEXTS: &'static [&'static str] = &["/path", "/contents", "/permissions"];

    fn fault(&self) -> Option<String> {
        let mode = |text: &str| {
            let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3)?;
            u32::from_str_radix(digits, 8).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        };
        let permissions = |text: &String| match mode(text) {
            _ if is_template(text) => None,
            None => Some(format!("`permissions` is {text:?}, and not an octal mode such as \"0644\"")),
            Some(mode) if mode & 0o111 != 0 => Some(format!("`permissions` {text:?} would make the file executable")),
            Some(mode) if mode & 0o002 != 0 => {
                Some(format!("`permissions` {text:?} would let everybody on the machine write to the file"))
            }
            Some(_) => None,
        };
        empty("path", &self.path).or_else(|| self.permissions.as_ref().and_then(permissions))
    }
}

/// `tar`: a file or a directory as an archive, with its contents at the archive's root. At most 50 MiB a file, 100 MiB in all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Tar {
    /// The file or directory to be packed.
    pub in_path: String,
    /// The archive.
    pub out_path: String,
    /// Whether the archive is compressed with gzip. Default: no.
    #[serde(default)]
    pub gzip: bool,
    /// What is left out: lines as in a `.gitignore`, relative to `inPath`. Default: nothing.
    #[serde(default)]
    pub ignore: String,
}

impl Config for Tar {
    const TEXTS: &'static [&'static str] = &["/inPath", "/outPath", "/ignore"];

    fn fault(&self) -> Option<String> {
        empty("inPath", &self.in_path).or_else(|| empty("outPath", &self.out_path))
    }
}

/// `untar`: unpacks an archive, which may be compressed with gzip, in place of what is at the target. At most 50 MiB a file, 100 MiB in
/// all. What is neither file, directory nor symbolic link is left out, and so is what would lead out of the target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Untar {
    /// The archive.
    pub in_path: String,
    /// The directory that gets what is in it.
    pub out_path: String,
    /// How many leading parts of each path are dropped; what has no more than that is left out. Default: 0.
    #[serde(default)]
    pub strip_components: usize,
    /// What is left out: lines as in a `.gitignore`, relative to `outPath`. Default: nothing.
    #[serde(default)]
    pub ignore: String,
}

impl Config for Untar {
    const TEXTS: &'static [&'static str] = &["/inPath", "/outPath", "/ignore"];

    fn fault(&self) -> Option<String> {
        empty("inPath", &self.in_path).or_else(|| empty("outPath", &self.out_path))
    }
}

/// `yaml-update`, `json-update`, `toml-update`, `hcl-update`: sets single values of a file and changes no other byte.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Update {
    /// The file.
    pub path: String,
    /// What is set.
    pub updates: Vec<SetValue>,
}

/// One value that is set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SetValue {
    /// The key, its parts joined by dots: see [`crate::edit::yaml`], and [`crate::edit::hcl`] for HCL.
    pub key: String,
    /// The value: a text, a number or a bool. A text, which is also what an expression gives, stays a text, quoted where it would be
    /// read as something else, unless a number or a bool stands there already and it can be one too.
    pub value: Scalar,
}

/// A single value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a text, a number or a bool")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Text(String),
    Number(Number),
    Bool(bool),
}

impl Config for Update {
    const TEXTS: &'static [&'static str] = &["/path", "/updates/*/key", "/updates/*/value"];

    fn fault(&self) -> Option<String> {
        empty("path", &self.path).or_else(|| self.updates.iter().find_map(|update| empty("key", &update.key)))
    }
}

/// `yaml-merge`: lays YAML files over each other. Maps are merged key by key, everything else is replaced, and `null` takes a key away.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct YamlMerge {
    /// The files, of which later ones go over earlier ones. Empty ones are passed over.
    pub in_files: Vec<String>,
    /// The file that gets the result. With nothing to merge it is empty.
    pub out_file: String,
    /// Whether files that are not there are passed over. Default: no, they are an error.
    #[serde(default)]
    pub ignore_missing_files: bool,
}

impl Config for YamlMerge {
    const TEXTS: &'static [&'static str] = &["/inFiles/*", "/outFile"];

    fn fault(&self) -> Option<String> {
        if self.in_files.is_empty() {
            return Some("`inFiles` has no entry".to_owned());
        }
        empty("outFile", &self.out_file).or_else(|| self.in_files.iter().find_map(|file| empty("inFiles", file)))
    }
}

/// `yaml-parse`, `json-parse`, `toml-parse`: reads values out of a file. A file that holds no map has what it holds in the variable
/// `root`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Parse {
    /// The file.
    pub path: String,
    /// What is read.
    pub outputs: Vec<ParseOutput>,
}

/// One value that is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ParseOutput {
    /// The output's name.
    pub name: String,
    /// An expression without `${{ }}` around it, whose variables are the keys at the top of the file.
    pub from_expression: String,
}

impl Config for Parse {
    const TEXTS: &'static [&'static str] = &["/path", "/outputs/*/name", "/outputs/*/fromExpression"];

    fn fault(&self) -> Option<String> {
        if self.outputs.is_empty() {
            return Some("`outputs` has no entry".to_owned());
        }
        let texts = self.outputs.iter().flat_map(|one| [("name", &one.name), ("fromExpression", &one.from_expression)]);
        empty("path", &self.path).or_else(|| texts.into_iter().find_map(|(field, text)| empty(field, text)))
    }
}

/// `compose-output`: any map, which becomes the step's outputs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
#[non_exhaustive]
pub struct ComposeOutput {
    /// The outputs by name.
    pub outputs: Map<String, Value>,
}

impl Config for ComposeOutput {
    const TEXTS: &'static [&'static str] = &[];

    fn fault(&self) -> Option<String> {
        self.outputs.is_empty().then(|| "there is no output".to_owned())
    }
}

/// `fail`: ends the promotion as failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Fail {
    /// Why. Default: nothing is said.
    pub message: Option<String>,
}

impl Config for Fail {
    const TEXTS: &'static [&'static str] = &["/message"];
}

/// `kustomize-set-image`: sets `images` of a kustomization.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KustomizeSetImage {
    /// The directory of the kustomization, in which there is exactly one.
    pub path: String,
    /// The images. Default: all of the freight, each by its repository, with tag and digest.
    #[serde(default)]
    pub images: Vec<KustomizeImage>,
}

/// One image of a kustomization. In `newName`, `tag` and `digest`, `*` keeps what the file has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KustomizeImage {
    /// The image's repository.
    pub image: String,
    /// The name that manifests use. Default: `image`.
    pub name: Option<String>,
    /// The name that takes its place. Default: none.
    pub new_name: Option<String>,
    /// The tag. Either this or `digest` must be there.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<String>,
}

impl Config for KustomizeSetImage {
    const TEXTS: &'static [&'static str] =
        &["/path", "/images/*/image", "/images/*/name", "/images/*/newName", "/images/*/tag", "/images/*/digest"];

    fn fault(&self) -> Option<String> {
        let fault = |image: &KustomizeImage| {
            let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
            match (given(&image.tag), given(&image.digest)) {
                (false, false) => Some(format!(
                    "the image {:?} has neither `tag` nor `digest`; without one, kustomize would take \"latest\"",
                    image.image
                )),
                (true, true) => Some(format!("the image {:?} has both `tag` and `digest`; keep one", image.image)),
                _ => empty("image", &image.image),
            }
        };
        empty("path", &self.path).or_else(|| self.images.iter().find_map(fault))
    }
}

/// `kustomize-build`: renders a kustomization with the program `kustomize`, which must be on `PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KustomizeBuild {
    /// The directory of the kustomization.
    pub path: String,
    /// The file, when it ends in `.yaml` or `.yml`, that gets all manifests; else the directory that gets a file of each.
    pub out_path: String,
    /// How the files in a directory are named. Default: `kargo`.
    #[serde(default)]
    pub output_format: OutputFormat,
    /// Settings of plug-ins. Default: none.
    #[serde(default)]
    pub plugin: KustomizePlugin,
}

/// How the files of manifests are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OutputFormat {
    /// `[namespace-]kind-name.yaml`
    #[default]
    Kargo,
    /// `[namespace_]group_version_kind_name.yaml`, with the namespace when there are several.
    Kustomize,
}

/// Settings of kustomize's plug-ins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KustomizePlugin {
    /// Settings of the one that renders charts.
    #[serde(default)]
    pub helm: KustomizeHelm,
}

/// What charts are told about the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KustomizeHelm {
    /// The API versions that the cluster has. Default: those that Helm assumes.
    #[serde(default)]
    pub api_versions: Vec<String>,
    /// The version of Kubernetes. Default: the one that Helm assumes.
    pub kube_version: Option<String>,
}

impl Config for KustomizeBuild {
    const TEXTS: &'static [&'static str] =
        &["/path", "/outPath", "/outputFormat", "/plugin/helm/apiVersions/*", "/plugin/helm/kubeVersion"];

    fn fault(&self) -> Option<String> {
        empty("path", &self.path).or_else(|| empty("outPath", &self.out_path))
    }
}

/// `helm-update-chart`: sets versions of a chart's dependencies in its `Chart.yaml` and fetches them, with the program `helm`, which must
/// be on `PATH`.
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
    /// The key, as `helm --set` takes it.
    pub key: String,
    /// The value.
    pub value: String,
    /// Whether the value is taken to the letter: commas and the like mean nothing, and `true` is a text. Default: no.
    #[serde(default)]
    pub literal: bool,
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
        let option = |field: &str, text: &Option<String>| {
            // It would be taken for an option of the program.
            text.as_ref()
                .filter(|text| text.starts_with('-'))
                .map(|text| format!("`{field}` must not begin with \"-\", as {text:?}"))
        };
        empty("path", &self.path)
            .or_else(|| empty("outPath", &self.out_path))
            .or_else(|| option("releaseName", &self.release_name))
            .or_else(|| self.set_values.iter().find_map(|one| empty("key", &one.key)))
    }
}

fn empty(field: &str, text: &str) -> Option<String> {
    text.is_empty().then(|| format!("`{field}` is empty"))
}
