//! The configurations of `kustomize-set-image` and `kustomize-build`.

use serde::Deserialize;

use super::empty;
use super::helm::versions;
use crate::steps::typed::Config;

/// `kustomize-set-image`: sets `images` of a kustomization.
///
/// # Outputs
///
/// - `commitMessage`: what was done, for a `git-commit` that follows. It is not there when nothing was to be done.
///
/// # Errors
///
/// - There is no kustomization in `path`, or more than one.
/// - Without `images`: the freight has two images of one repository.
///
/// # Example
///
/// ```yaml
/// - uses: kustomize-set-image
///   as: set
///   config:
///     path: ./source/overlays/dev
///     images:
///     - image: ghcr.io/acme/app
///       tag: ${{ quote(imageFrom("ghcr.io/acme/app").Tag) }}
/// ```
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
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - `kustomize` is not on `PATH`, or ends with an error, which is told.
/// - There is no kustomization in `path`, or it leads out of the workspace, to a server or to a program. It may have charts.
///
/// # Example
///
/// ```yaml
/// - uses: kustomize-build
///   config:
///     path: ./source/overlays/dev
///     outPath: ./rendered
/// ```
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
        let helm = &self.plugin.helm;
        empty("path", &self.path)
            .or_else(|| empty("outPath", &self.out_path))
            .or_else(|| versions(helm.kube_version.as_ref(), &helm.api_versions))
    }
}
