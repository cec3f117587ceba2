//! Freight beside the warehouse that it says to be of, and beside other freight.

use super::*;

/// Freight of the warehouse `main`, which watches an image and a repository.
fn freight(name: &str, alias: &str, contents: &str) -> String {
    format!(
        "apiVersion: kargo.akuity.io/v1alpha1\nkind: Freight\nmetadata: {{namespace: shop, generateName: {name}-}}\nalias: {alias}\norigin: {{kind: Warehouse, name: main}}\n{contents}\n"
    )
}

const IMAGE: &str = "images:\n- {repoURL: ghcr.io/acme/app, tag: '1', digest: 'sha256:0'}";
const COMMIT: &str = "commits:\n- {repoURL: 'https://git.example/acme/app', id: abc}";

#[test]
fn it_carries_one_artifact_of_each_subscription_and_nothing_else() {
    let both = format!("{IMAGE}\n{COMMIT}");
    assert_eq!(found(&[stage("- uses: copy"), freight("a", "fine-fox", &both)]), []);
    let other = both.replace("acme/app, tag", "acme/web, tag");
    let twice = format!("{both}\n- {{repoURL: 'https://git.example/acme/app.git', id: def}}");
    for (contents, place, hint) in [
        (
            IMAGE.to_owned(),
            "origin",
            "carries nothing of the subscription of the warehouse \"main\" to \"https://git.example/acme/app.git\"",
        ),
        (COMMIT.to_owned(), "origin", "to \"ghcr.io/acme/app\"; add that"),
        (other, "images[0].repoURL", "no subscription to \"ghcr.io/acme/web\" that is left; take it out"),
        (twice, "commits[1].repoURL", "that is left"),
        (
            both.replace("tag: '1',", "tag: '1', subscriptionName: app,"),
            "images[0].repoURL",
            "has no name; take subscriptionName out",
        ),
    ] {
        let findings = found(&[stage("- uses: copy"), freight("a", "fine-fox", &contents)]);
        let here = findings.iter().find(|finding| path(finding) == place && finding.is_error());
        assert!(here.is_some_and(|finding| finding.message.contains(hint)), "{hint}\n{}", told(&findings));
    }
}

#[test]
fn an_alias_is_of_one_piece_of_freight() {
    let both = format!("{IMAGE}\n{COMMIT}");
    let documents = [stage("- uses: copy"), freight("a", "fine-fox", &both), freight("b", "fine-fox", &both)];
    let finding = one(found(&documents), "alias");
    assert_eq!((finding.rule, path(&finding), marked(&finding).as_str()), (Rule::Duplicate, "alias", "fine-fox"));
    // In another project it is another's.
    let elsewhere = freight("b", "fine-fox", &both).replace("namespace: shop", "namespace: other");
    let findings = found(&[stage("- uses: copy"), freight("a", "fine-fox", &both), elsewhere]);
    assert!(findings.iter().all(|finding| finding.rule != Rule::Duplicate), "{}", told(&findings));
}
