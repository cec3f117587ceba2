//! Every step of these crates, and the sources for Kargo's subscriptions: what a host registers that runs whatever a team has written.

use anyhow::Result;
use kargo_argocd::{ArgoCd, ArgoCdUpdate, ArgoCdWait};
use kargo_core::plugin::PluginsBuilder;
use kargo_core::steps;
use kargo_core::testing::Outbox;
use kargo_git::{
    CredentialRules, Forges, GitHubPush, GitSource, GitSteps, MergePullRequest, OpenPullRequest, WaitForPullRequest,
};
use kargo_oci::{ChartSource, Client, ImageSource, OciDownload, OciDownloadStep, OciPush, OciPushStep};

/// All of them, without credentials and with an Argo CD that is not there: fit to check manifests, to which a host that runs them gives
/// its own. Nothing is asked over a network by registering them.
///
/// # Errors
/// When a client cannot be built.
pub fn every_step() -> Result<PluginsBuilder> {
    let argocd = ArgoCd::new(kargo_argocd::Client::builder("https://argocd.example").token("a.b.c").build()?);
    let registry = Client::anonymous()?;
    let forges = Forges::new(CredentialRules::new())?;
    let repositories = GitSource::new();
    let git = GitSteps::new(repositories.clone());
    Ok(git
        .register(steps::builtin())
        .source("git", repositories)
        .source("image", ImageSource::new(registry.clone()))
        .source("chart", ChartSource::new(registry.clone()))
        .step("send-message", steps::send_message(Outbox::new()))
        .step("github-push", GitHubPush::new(git, forges.clone()))
        .step("git-open-pr", OpenPullRequest::new(forges.clone()))
        .step("git-wait-for-pr", WaitForPullRequest::new(forges.clone()))
        .step("git-merge-pr", MergePullRequest::new(forges))
        .step(OciDownload::STEP, OciDownloadStep::new(registry.clone()))
        .step(OciPush::STEP, OciPushStep::new(registry))
        .step("argocd-update", ArgoCdUpdate::new(argocd.clone()))
        .step("argocd-wait", ArgoCdWait::new(argocd)))
}
