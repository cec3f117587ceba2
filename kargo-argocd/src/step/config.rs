//! The configurations of the steps, as Kargo has them.

use kargo_core::plugin::{read_config, read_template, unusable};
use kargo_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Wanted;
use crate::client::Selector;

/// `argocd-update`: changes sources of applications, has them synced, and is done when the sync has ended well at the desired revisions.
///
/// Of several applications all are changed or none. It does not wait for health: that is for `argocd-wait`. An application must let the
/// stage change it, by the annotation `kargo.akuity.io/authorized-stage: <project>:<stage>`.
///
/// # Outputs
///
/// - `apps`: the `name` and `namespace` of each application.
///
/// # Errors
///
/// - Argo CD cannot be reached, or does not let the host in.
/// - An application is not there, or does not let the stage change it.
/// - An entry of `sources` fits no source of the application.
/// - The sync ends badly: the step fails with what Argo CD says.
/// - Somebody changes the sources back, again and again.
///
/// # Example
///
/// ```yaml
/// - uses: argocd-update
///   config:
///     apps:
///     - name: shop-${{ ctx.stage }}
///       sources:
///       - repoURL: ${{ vars.repo }}
///         desiredRevision: ${{ commitFrom(vars.repo).ID }}
///         updateTargetRevision: true
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// The applications. At least one.
    pub(super) apps: Vec<UpdateApp>,
}

/// Applications of one entry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UpdateApp {
    /// The application's name. Either this or `selector` must be there.
    name: Option<String>,
    /// The labels of the applications. Default: none.
    selector: Option<Selector>,
    /// The namespace. Default: Argo CD's own.
    namespace: Option<String>,
    /// What becomes of their sources. Default: they stay.
    #[serde(default)]
    pub(super) sources: Vec<SourceUpdate>,
}

/// What becomes of the sources in one repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SourceUpdate {
    /// The repository, as the application has it.
    #[serde(rename = "repoURL")]
    pub(super) repo_url: String,
    /// The chart, when it is a repository of charts. Default: none.
    pub(super) chart: Option<String>,
    /// The revision that is to run. Default: whatever is there.
    pub(super) desired_revision: Option<String>,
    /// Whether the source's `targetRevision` becomes `desiredRevision`. Default: no.
    #[serde(default)]
    pub(super) update_target_revision: bool,
    /// What kustomize is told. Default: nothing new.
    pub(super) kustomize: Option<Kustomize>,
    /// What Helm is told. Default: nothing new.
    pub(super) helm: Option<Helm>,
}

/// What kustomize is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kustomize {
    /// The images, in place of those that the source has.
    pub(super) images: Vec<KustomizeImage>,
}

/// One image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KustomizeImage {
    /// The image's repository.
    #[serde(rename = "repoURL")]
    repo_url: String,
    /// The name that takes its place. Default: none.
    new_name: Option<String>,
    /// The tag. Either this or `digest` must be there.
    tag: Option<String>,
    /// The digest. Default: none.
    digest: Option<String>,
}

impl KustomizeImage {
    /// As Argo CD writes it: `repository[=new name](:tag|@digest)`.
    pub(super) fn text(&self) -> String {
        let name =
            self.new_name.as_deref().filter(|name| !name.is_empty()).map(|name| format!("={name}")).unwrap_or_default();
        let version = match (set(self.digest.as_ref()), set(self.tag.as_ref())) {
            (Some(digest), _) => format!("@{digest}"),
            (None, Some(tag)) => format!(":{tag}"),
            (None, None) => String::new(),
        };
        format!("{}{name}{version}", self.repo_url)
    }
}

/// What Helm is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Helm {
    /// The parameters that are set; others stay.
    pub(super) images: Vec<HelmImage>,
}

/// One parameter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HelmImage {
    /// Its name.
    pub(super) key: String,
    /// Its value.
    pub(super) value: String,
}

/// `argocd-wait`: waits until applications are healthy, in sync and without an operation, or what else `waitFor` says.
///
/// It changes nothing, and needs no consent of the applications.
///
/// # Outputs
///
/// - `apps`: the `name` and `namespace` of each application.
/// - `healthStatus`: the health of each, by `<namespace>/<name>`.
///
/// # Errors
///
/// - Argo CD cannot be reached, or does not let the host in.
/// - An application is not there, or is wrongly specified: the step fails.
/// - An application that was well becomes degraded while its health is waited for: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: argocd-wait
///   retry:
///     timeout: 15m
///   config:
///     apps:
///     - selector:
///         matchLabels:
///           stage: ${{ ctx.stage }}
///       waitFor:
///       - health
///       - suspended
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// The applications. At least one.
    pub(super) apps: Vec<WaitApp>,
}

/// Applications of one entry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WaitApp {
    /// The application's name. Either this or `selector` must be there.
    name: Option<String>,
    /// The labels of the applications. Default: none.
    selector: Option<Selector>,
    /// The namespace. Default: Argo CD's own.
    namespace: Option<String>,
    /// What they are waited to be. Of `health`, `suspended` and `degraded` one is enough; of the others, all must be. Default: `health`,
    /// `sync` and `operation`.
    wait_for: Option<Vec<WaitFor>>,
}

/// What an application is waited to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum WaitFor {
    Health,
    Sync,
    Operation,
    Suspended,
    Degraded,
}

fn set(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

fn fault(step: &str, text: impl std::fmt::Display) -> Error {
    unusable(step, &text.to_string())
}

/// The checks that all entries share.
fn check(step: &str, wanted: &Wanted<'_>) -> Result<()> {
    match (wanted.name, wanted.selector) {
        (Some(name), None) if !name.trim().is_empty() => Ok(()),
        (None, Some(selector)) => selector.check(),
        (Some(_), Some(_)) => Err(fault(step, "an app has both `name` and `selector`; take one of them")),
        _ => Err(fault(step, "an app has neither `name` nor `selector`")),
    }
}

impl UpdateApp {
    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { name: self.name.as_deref(), selector: self.selector.as_ref(), namespace: self.namespace.as_deref() }
    }
}

impl SourceUpdate {
    /// The desired revision, when there is one.
    pub(super) fn desired(&self) -> Option<&String> {
        set(self.desired_revision.as_ref())
    }
}

impl Update {
    const STEP: &str = "argocd-update";

    pub(super) fn check_template(config: &Value) -> Result<()> {
        read_template::<Self>(Self::STEP, config).map(drop)
    }

    /// Whether a field takes a text, by its JSON pointer.
    pub(super) fn takes_text(pointer: &str) -> bool {
        let field = pointer.rsplit('/').next().unwrap_or_default();
        pointer.starts_with("/apps/") && field != "updateTargetRevision"
    }

    pub(super) fn read(config: &Value) -> Result<Self> {
        let read: Self = read_config(Self::STEP, config)?;
        if read.apps.is_empty() {
            return Err(fault(Self::STEP, "`apps` is empty"));
        }
        for app in &read.apps {
            check(Self::STEP, &app.wanted())?;
            for source in &app.sources {
                let fault = |text: String| Err(fault(Self::STEP, text));
                if source.repo_url.trim().is_empty() {
                    return fault("a source has no `repoURL`".into());
                }
                // With none, the target revision would silently stay as it is.
                if source.update_target_revision && source.desired().is_none() {
                    return fault(format!(
                        "the source {} has `updateTargetRevision` and no `desiredRevision`",
                        crate::scrub::without_userinfo(&source.repo_url)
                    ));
                }
                for image in source.kustomize.iter().flat_map(|kustomize| &kustomize.images) {
                    let versions =
                        [&image.tag, &image.digest].into_iter().filter(|one| set(one.as_ref()).is_some()).count();
                    if image.repo_url.is_empty() || versions != 1 {
                        return fault(format!(
                            "the kustomize image {:?} needs a `repoURL` and one of `tag` and `digest`",
                            image.repo_url
                        ));
                    }
                }
                if source.helm.iter().flat_map(|helm| &helm.images).any(|image| image.key.is_empty()) {
                    return fault("a helm image has no `key`".into());
                }
            }
        }
        Ok(read)
    }
}

impl WaitApp {
    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { name: self.name.as_deref(), selector: self.selector.as_ref(), namespace: self.namespace.as_deref() }
    }

    pub(super) fn wait_for(&self) -> &[WaitFor] {
        match self.wait_for.as_deref() {
            None | Some([]) => &[WaitFor::Health, WaitFor::Sync, WaitFor::Operation],
            Some(given) => given,
        }
    }
}

impl Wait {
    const STEP: &str = "argocd-wait";

    pub(super) fn check_template(config: &Value) -> Result<()> {
        read_template::<Self>(Self::STEP, config).map(drop)
    }

    pub(super) fn read(config: &Value) -> Result<Self> {
        let read: Self = read_config(Self::STEP, config)?;
        if read.apps.is_empty() {
            return Err(fault(Self::STEP, "`apps` is empty"));
        }
        read.apps.iter().try_for_each(|app| check(Self::STEP, &app.wanted()))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(config: Value) -> String {
        Update::read(&config).unwrap_err().message().to_owned()
    }

    fn with_source(source: Value) -> Value {
        json!({"apps": [{"name": "shop", "sources": [source]}]})
    }

    #[test]
    fn an_update_that_cannot_be_meant_is_refused_by_its_field() {
        assert!(refused(json!({"apps": []})).contains("`apps` is empty"));
        assert!(refused(json!({"apps": [{}]})).contains("neither"));
        assert!(refused(json!({"apps": [{"name": "a", "selector": {"matchLabels": {"a": "b"}}}]})).contains("both"));
        assert!(refused(json!({"apps": [{"selector": {}}]})).contains("empty"));
        assert!(refused(json!({"apps": [{"name": "a", "source": []}]})).contains("`source`"));
        let image = json!({"repoURL": "nginx", "tag": "1", "digest": "sha256:2"});
        assert!(refused(with_source(json!({"repoURL": "x", "kustomize": {"images": [image]}}))).contains("one of"));
    }

    #[test]
    fn argo_04_a_target_revision_cannot_be_updated_without_a_desired_one() {
        let text = refused(with_source(json!({"repoURL": "https://u:secret@x", "updateTargetRevision": true})));
        assert!(text.contains("no `desiredRevision`") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn kustomize_images_are_written_as_argo_cd_reads_them() {
        let image = |json: Value| serde_json::from_value::<KustomizeImage>(json).unwrap().text();
        assert_eq!(image(json!({"repoURL": "nginx", "tag": "1.27"})), "nginx:1.27");
        let renamed = json!({"repoURL": "nginx", "newName": "mirror/nginx", "digest": "sha256:ab"});
        assert_eq!(image(renamed), "nginx=mirror/nginx@sha256:ab");
    }

    #[test]
    fn a_wait_has_kargos_defaults() {
        let read = Wait::read(&json!({"apps": [{"name": "shop"}]})).unwrap();
        assert_eq!(read.apps[0].wait_for(), [WaitFor::Health, WaitFor::Sync, WaitFor::Operation]);
        assert!(Wait::read(&json!({"apps": [{"name": "shop", "waitFor": ["healthy"]}]})).is_err());
    }
}
