//! Kargo's own steps that need neither Git nor a registry: what `uses: copy`, `yaml-update` and the like stand for.
//!
//! [`builtin`] begins a set of plug-ins with all of them. Configurations, outputs and messages are Kargo's; where a step does
//! something else, its type says so, and docs/differences.md lists it. Each step's configuration is a public type, whose fields are
//! documented, in [`config`].
//!
//! | `uses` | does | outputs |
//! |---|---|---|
//! | `copy`, `delete`, `file-write` | files and directories | |
//! | `tar`, `untar` | archives, also with gzip | |
//! | `yaml-update`, `json-update`, `toml-update`, `hcl-update` | sets single values, changes no other byte | `commitMessage` |
//! | `yaml-merge` | lays YAML files over each other | `commitMessage` |
//! | `yaml-parse`, `json-parse`, `toml-parse` | reads values by expressions | as named |
//! | `compose-output`, `fail` | | the configuration; none |
//! | `kustomize-set-image` | sets `images` of a kustomization | `commitMessage` |
//! | `kustomize-build`, `helm-template` | renders manifests, with the program `kustomize` or `helm` on `PATH` | |
//! | `helm-update-chart` | sets versions of a chart's dependencies and fetches them, with the program `helm` | `commitMessage` |
//! | `http`, `http-download` | requests and downloads, with the feature `http` | as named; `digest` |
//! | `set-metadata`, `set-freight-alias` | what the journal keeps of stages and freight | |
//! | `wait-for-approval` | waits until people have approved, by [`Engine::answer`](crate::Engine::answer) | `responses` |
//! | `send-message` | tells people something; see [`send_message`], which makes it | `slack.threadTS` |
//!
//! A configuration is checked when the pipeline is put together, as far as its expressions leave it to be seen, and again with their
//! values when the step runs: one that is wrong then ends the step as failed.
//!
//! The programs run on a copy of the directories that they need, in a temporary directory, without the host's environment save for
//! `PATH`, proxies and certificates; `kustomize` finds no program on its `PATH`, and no server unless it renders charts. They get the
//! time of the call, and end with all that they have started when it is cancelled. What they are handed is looked at before: nothing in
//! it may lead out of the workspace or to another program.
//!
//! ```
//! use kargo_core::{steps, Pipeline, Stage, StepSpec, Subscription, Warehouse};
//! use serde_json::json;
//!
//! let plugins = steps::builtin().build();
//! let update = json!({"path": "dev/values.yaml", "updates": [{"key": "image.tag", "vlue": "${{ vars.tag }}"}]});
//! let pipeline = Pipeline::builder("shop")
//!     .warehouse(Warehouse::new("main").subscribe(Subscription::new("image", json!({"repoURL": "ghcr.io/acme/app"}))))
//!     .stage(Stage::new("dev").direct("main").step(StepSpec::new("yaml-update", update)))
//!     .build()?;
//! let error = plugins.check(&pipeline).unwrap_err();
//! assert!(error.to_string().contains("did you mean \"value\"?"), "{error}");
//! # Ok::<(), kargo_core::PipelineError>(())
//! ```

pub mod config;

mod approval;
mod archive;
mod chart;
mod delete;
mod files;
mod foreign;
mod helm;
#[cfg(feature = "http")]
mod http;
mod ignore;
mod kustomization;
mod kustomize;
mod manifests;
mod merge;
mod message;
mod outputs;
mod parse;
mod program;
mod record;
mod typed;
mod update;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::plugin::{Messenger, Plugins, PluginsBuilder, Step};
use typed::Typed;

/// A set of plug-ins with the steps of this module, to which a host adds its own.
pub fn builtin() -> PluginsBuilder {
    let plugins = Plugins::builder()
        .step("compose-output", Typed(outputs::ComposeOutput))
        .step("copy", Typed(files::Copy))
        .step("delete", Typed(delete::Delete))
        .step("fail", Typed(outputs::Fail))
        .step("file-write", Typed(files::FileWrite))
        .step("hcl-update", Typed(update::Hcl))
        .step("helm-template", Typed(helm::Template(helm::HELM)))
        .step("helm-update-chart", Typed(helm::UpdateChart(helm::HELM)))
        .step("json-parse", Typed(parse::Json))
        .step("json-update", Typed(update::Json))
        .step("kustomize-build", Typed(kustomize::Build::default()))
        .step("kustomize-set-image", Typed(kustomize::SetImage))
        .step("set-freight-alias", Typed(record::SetFreightAlias))
        .step("set-metadata", Typed(record::SetMetadata))
        .step("tar", Typed(archive::Tar))
        .step("toml-parse", Typed(parse::Toml))
        .step("toml-update", Typed(update::Toml))
        .step("untar", Typed(archive::Untar))
        .step("wait-for-approval", Typed(approval::WaitForApproval))
        .step("yaml-merge", Typed(merge::YamlMerge))
        .step("yaml-parse", Typed(parse::Yaml))
        .step("yaml-update", Typed(update::Yaml));
    #[cfg(feature = "http")]
    let plugins = plugins.step("http", Typed(http::Request)).step("http-download", Typed(http::Download));
    plugins
}

/// The step `kustomize-build` for hosts that let kustomizations have bases at `https://` URLs, as Kargo does: register it as
/// `builtin().step("kustomize-build", kustomize_build_with_remote_bases())`, in place of the one there, which refuses them.
///
/// Whoever writes a kustomization then has the host fetch from any server that it reaches, with `git`, which must be on `PATH`. What is fetched
/// is not looked at. It cannot lead to files of the host, nor to programs: with such bases no charts are rendered.
///
/// ```
/// let plugins = kargo_core::steps::builtin()
///     .step("kustomize-build", kargo_core::steps::kustomize_build_with_remote_bases())
///     .build();
/// ```
pub fn kustomize_build_with_remote_bases() -> impl Step {
    Typed(kustomize::Build { remote_bases: true, ..kustomize::Build::default() })
}

/// The step `send-message`, which tells people something through `messenger`. It is not among [`builtin`], since there is nobody to tell
/// without one: register it as `builtin().step("send-message", send_message(messenger))`. Its configuration is [`config::SendMessage`].
///
/// A message is sent once, whatever dies, if the messenger keeps to its word. Errors that another try can mend are tried again.
pub fn send_message(messenger: impl Messenger) -> impl Step {
    Typed(message::SendMessage(Arc::new(messenger)))
}
