//! Manifests as the steps themselves see them: what `lint` says of a configuration that its step would refuse.

use anyhow::{Context as _, Result, ensure};
use kargo_core::manifest::{Finding, Manifests, Rule, lint};
use kargo_examples::steps::every_step;

/// A stage with one step, in which line 18 is the first of the step.
fn stage(step: &str) -> String {
    let step: String = step.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: kargo.akuity.io/v1alpha1
kind: Warehouse
metadata: {{name: main, namespace: shop}}
spec:
  subscriptions:
  - image: {{repoURL: ghcr.io/acme/app}}
---
apiVersion: kargo.akuity.io/v1alpha1
kind: Stage
metadata: {{name: dev, namespace: shop}}
spec:
  requestedFreight:
  - origin: {{kind: Warehouse, name: main}}
    sources: {{direct: true}}
  promotionTemplate:
    spec:
      steps:
{step}"
    )
}

fn findings(step: &str) -> Result<Vec<Finding>> {
    Ok(lint(&Manifests::parse("stage.yaml", stage(step)), &every_step()?.build()))
}

/// The line, and what is marked in it.
fn place(finding: &Finding) -> Option<(usize, String)> {
    let place = finding.place.as_ref()?;
    let snippet = place.snippet.as_ref()?;
    Some((place.line, snippet.text.chars().skip(snippet.column - 1).take(snippet.width).collect()))
}

#[test]
fn a_field_of_git_clone_that_is_spelt_wrongly_is_marked_with_a_proposal() -> Result<()> {
    for (fields, line, wrong, right) in [
        ("repoURl: https://git.example/acme/app.git", 20, "repoURl", "repoURL"),
        // With expressions in it, too.
        (
            "repoURL: ${{ vars.repo ?? 'https://git.example/acme/app.git' }}\n    blobles: true",
            21,
            "blobles",
            "blobless",
        ),
    ] {
        let step =
            format!("- uses: git-clone\n  config:\n    {fields}\n    checkout:\n    - {{branch: main, path: ./app}}");
        let found = findings(&step)?;
        let [finding] = found.as_slice() else { anyhow::bail!("{found:?}") };
        ensure!(finding.rule == Rule::UnknownField && finding.is_error(), "{finding}");
        ensure!(place(finding) == Some((line, wrong.to_owned())), "{finding}");
        ensure!(finding.message.contains("did you mean") && finding.message.contains(right), "{finding}");
        ensure!(
            finding.to_string().contains(&format!("spec.promotionTemplate.spec.steps[0].config.{wrong}")),
            "{finding}"
        );
    }
    Ok(())
}

#[test]
fn each_crate_says_what_is_wrong_with_the_configurations_of_its_steps() -> Result<()> {
    for (step, mark, hint) in [
        ("- uses: git-clone\n  config: {repoURL: x, checkout: [{pth: ./a}]}", "pth", "path"),
        ("- uses: git-push\n  config: {path: ./a, targetBranh: main}", "targetBranh", "targetBranch"),
        ("- uses: git-commit\n  config: {path: ./a}", "{path: ./a}", "message"),
        (
            "- uses: git-open-pr\n  config: {repoURL: 'https://github.com/a/b', sourceBranch: a, targetBranhc: b}",
            "targetBranhc",
            "targetBranch",
        ),
        ("- uses: argocd-update\n  config:\n    apps:\n    - nam: app", "nam", "did you mean \"name\"?"),
        ("- uses: argocd-update\n  config:\n    apps: []", "[]", "`apps` is empty"),
        ("- uses: argocd-wait\n  config: {apps: [{name: a, waitFor: [helth]}]}", "helth", "did you mean \"health\"?"),
        (
            "- uses: oci-push\n  config: {srcRef: ghcr.io/a/b:1, dstRef: ghcr.io/a/b:2}",
            "dstRef",
            "did you mean \"destRef\"?",
        ),
        ("- uses: oci-download\n  config: {imageRef: ghcr.io/a/b:1, outPth: x}", "outPth", "did you mean \"outPath\"?"),
        ("- uses: http\n  config: {url: 'https://x', metod: GET}", "metod", "did you mean \"method\"?"),
        (
            "- uses: send-message\n  config: {channel: {kind: MessageChanel, name: x}, message: hi}",
            "MessageChanel",
            "did you mean \"MessageChannel\"?",
        ),
        (
            "- uses: wait-for-approval\n  config: {approvers: [], minAprovals: 2}",
            "minAprovals",
            "did you mean \"minApprovals\"?",
        ),
    ] {
        let found = findings(step)?;
        let finding = found.first().with_context(|| format!("nothing is said against {step}"))?;
        let (_, marked) = place(finding).with_context(|| finding.to_string())?;
        ensure!(found.len() == 1 && marked == mark && finding.message.contains(hint), "{mark}, {hint}: {found:#?}");
    }
    Ok(())
}

#[test]
fn the_examples_fit_their_steps() -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let manifests = Manifests::load([format!("{folder}/manifests"), format!("{folder}/kargo_yaml/shop.yaml")])?;
    let found = lint(&manifests, &every_step()?.build());
    ensure!(found.is_empty(), "{found:#?}");
    ensure!(manifests.iter().count() > 20);
    Ok(())
}
