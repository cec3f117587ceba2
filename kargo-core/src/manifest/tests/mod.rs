//! Scenarios of reading, checking and writing manifests.

mod configs;
mod constants;
mod dialects;
mod faults;
mod freight;
mod hostile;
mod lints;
mod mechanisms;
mod mutations;
mod pipelines;
mod round_trip;
mod secrets;
mod sources;

use super::{Finding, KnownSteps, Manifests, Rule, STEPS, Severity, lint};

/// The examples of the workspace, each with its name.
fn examples() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/manifests");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4, "the examples are in {folder}");
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// The examples, the one that a program runs by itself, and what older Kargos wrote.
fn fixtures() -> Vec<(String, String)> {
    let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/kargo_yaml/shop.yaml");
    let mut fixtures = examples();
    fixtures.push(("shop.yaml".to_owned(), std::fs::read_to_string(shop).unwrap()));
    fixtures.push(("mechanisms.yaml".to_owned(), dialects::mechanisms()));
    fixtures.push(("old-steps.yaml".to_owned(), dialects::old_steps()));
    fixtures
}

/// A document of Kargo's in the project `shop`.
fn document(kind: &str, name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: kargo.akuity.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n{spec}"
    )
}

/// A warehouse `main`, which watches an image and a repository.
fn warehouse() -> String {
    let spec =
        "subscriptions:\n- image: {repoURL: ghcr.io/acme/app}\n- git: {repoURL: https://git.example/acme/app.git}";
    document("Warehouse", "main", spec)
}

/// A stage `dev` with these steps.
fn stage(steps: &str) -> String {
    let steps: String = steps.lines().map(|line| format!("    {line}\n")).collect();
    let spec = format!(
        "requestedFreight:\n- origin: {{kind: Warehouse, name: main}}\n  sources: {{direct: true}}\npromotionTemplate:\n  spec:\n    steps:\n{steps}"
    );
    document("Stage", "dev", &spec)
}

/// What is found in the warehouse `main` and these documents.
fn found(documents: &[String]) -> Vec<Finding> {
    found_by(documents, &STEPS)
}

/// As [`found`], by one who knows these steps.
fn found_by(documents: &[String], known: &(impl KnownSteps + ?Sized)) -> Vec<Finding> {
    let mut all = vec![warehouse()];
    all.extend_from_slice(documents);
    lint(&Manifests::parse("shop.yaml", all.join("---\n")), known)
}

/// The one thing that is found in a stage with these steps.
fn found_in_steps(steps: &str) -> Finding {
    one(found(&[stage(steps)]), steps)
}

fn one(mut findings: Vec<Finding>, about: &str) -> Finding {
    assert_eq!(findings.len(), 1, "{about}:\n{}", told(&findings));
    findings.remove(0)
}

fn told(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The text that a finding points at.
fn marked(finding: &Finding) -> String {
    let snippet = finding.place.as_ref().and_then(|place| place.snippet.as_ref()).expect("a snippet");
    snippet.text.chars().skip(snippet.column - 1).take(snippet.width).collect()
}

fn path(finding: &Finding) -> &str {
    finding.place.as_ref().map(|place| place.path.as_str()).unwrap_or_default()
}

#[test]
fn the_examples_load_and_have_nothing_to_say_against() {
    let manifests = Manifests::from_texts(examples());
    let findings = lint(&manifests, &STEPS);
    assert_eq!(findings, [], "{}", told(&findings));
    assert_eq!(manifests.projects().collect::<Vec<_>>(), ["billing", "catalog", "orders", "quickstart"]);
    assert_eq!(manifests.passed_over(), 0);
}

#[test]
fn a_thousand_stages_in_one_file_are_read_and_checked_at_once() {
    let steps = "- uses: git-clone\n  config: {repoURL: '${{ vars.repo }}', checkout: [{branch: main, path: ./src}, {branch: 'stage/${{ ctx.stage }}', path: ./out}]}\n  vars: [{name: repo, value: 'https://git.example/acme/app.git'}]\n- uses: kustomize-set-image\n  as: update\n  config: {path: ./src, images: [{image: ghcr.io/acme/app, tag: \"${{ quote(imageFrom('ghcr.io/acme/app').Tag) }}\"}]}\n- uses: git-commit\n  as: commit\n  config: {path: ./out, message: '${{ outputs.update.commitMessage }}'}\n- uses: git-push\n  as: push\n  if: ${{ status('commit') == 'Succeeded' }}\n  config: {path: ./out}\n- uses: argocd-update\n  config: {apps: [{name: 'app-${{ ctx.stage }}', sources: [{repoURL: 'https://git.example/acme/app.git', desiredRevision: '${{ outputs.push.commit }}'}]}]}";
    let one = stage(steps);
    let stages = (0..1000).map(|n| {
        let own = one.replace("name: dev,", &format!("name: stage-{n},"));
        if n % 10 == 0 { own } else { own.replace("direct: true", &format!("stages: [stage-{}]", n - 1)) }
    });
    let text: Vec<String> = std::iter::once(warehouse()).chain(stages).collect();
    let manifests = Manifests::parse("stages.yaml", text.join("---\n"));
    let findings = lint(&manifests, &STEPS);
    // How long that takes, the bench measures.
    assert_eq!(findings, [], "{}", told(&findings));
    assert_eq!(manifests.pipelines().unwrap()[0].pipeline.stages().count(), 1000);
}
