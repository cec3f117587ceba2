//! Expressions that cannot evaluate, which shows without running anything: what they always come to, and names that their place does not
//! have.

use super::*;

/// The finding about an expression, with what it must mark and say.
#[track_caller]
fn wrong(documents: &[String], rule: Rule, mark: &str, hint: &str) {
    let findings = found(documents);
    let finding = one(findings, hint);
    assert_eq!((finding.rule, finding.severity), (rule, Severity::Error), "{finding}");
    assert!(finding.message.contains(hint), "{hint}\n{finding}");
    assert!(marked(&finding).contains(mark), "{mark}\n{finding}");
}

#[test]
fn expressions_that_fail_each_time() {
    for (expression, mark, hint) in [
        ("1 + 'a'", "+", "+ cannot take an int and a string"),
        ("semverParse('x')", "semverParse", "takes a semantic version"),
        ("1 % 0", "%", "division by 0"),
        ("[1][3]", "", "out of range"),
        ("int('x')", "int", "int"),
    ] {
        let steps = format!("- uses: copy\n  config:\n    inPath: a/${{{{ {expression} }}}}\n    outPath: b");
        wrong(&[stage(&steps)], Rule::Expression, mark, hint);
    }
    // A number without an end cannot be written down.
    wrong(&[stage("- uses: copy\n  config: {inPath: '${{ 1 / 0 }}', outPath: b}")], Rule::Expression, "", "");
    // What takes long is not tried to its end, and what needs a host, freight or the time not at all.
    for expression in [
        "imageFrom('ghcr.io/acme/app').Tag + semverParse('x').String()",
        "sum(1..10000) > 0",
        "secret('a').b",
        "now().Year() % (now().Year() - 1970)",
        "failure() ? 1 : 2",
    ] {
        let steps = format!("- uses: copy\n  config: {{inPath: \"a${{{{ {expression} }}}}\", outPath: b}}");
        assert_eq!(found(&[stage(&steps)]), [], "{expression}");
    }
}

#[test]
fn conditions_that_are_neither_true_nor_false() {
    for (condition, hint) in [
        ("${{ 1 + 1 }}", "neither true nor false"),
        ("${{ 'yes' }}", "neither true nor false"),
        ("${{ nil }}", "neither true nor false"),
        ("${{ quote(true) }}", "neither true nor false"),
        ("${{ success() }} && ${{ status('a') == 'Succeeded' }}", "write one expression"),
        ("not ${{ failure() }}", "write one expression"),
    ] {
        let steps = format!("- uses: copy\n  as: a\n- uses: copy\n  if: \"{condition}\"");
        wrong(&[stage(&steps)], Rule::Expression, condition, hint);
    }
    for condition in ["${{ 'true' }}", "${{ 1 == 1 }}", "${{ vars.x }}", "${{ success() && always() }}\\n"] {
        let steps = format!("- uses: copy\n  if: \"{condition}\"\n  vars: [{{name: x, value: 'true'}}]");
        assert_eq!(found(&[stage(&steps)]), [], "{condition}");
    }
}

#[test]
fn names_that_bare_fields_of_steps_do_not_see() {
    let http = |field: &str, expression: &str| {
        stage(&format!("- uses: http\n  config:\n    url: https://x\n    {field}: \"{expression}\""))
    };
    for (field, expression, mark, hint) in [
        ("successExpression", "respones.status == 200", "respones", "did you mean response?"),
        ("successExpression", "response.code == 200", "response", "There is no response.code here; it has"),
        ("failureExpression", "response.statsu >= 500", "response", "did you mean response.status?"),
        ("errorExpression", "outputs.x", "outputs", "There is no variable outputs"),
        ("successExpression", "200", "200", "neither true nor false"),
        ("successExpression", "1 + 'a' == 2", "+", "+ cannot take"),
    ] {
        wrong(&[http(field, expression)], Rule::Expression, mark, hint);
    }
    let output = "- uses: http\n  config: {url: x, outputs: [{name: a, fromExpression: respond.body.id}]}";
    wrong(&[stage(output)], Rule::Expression, "respond", "There is no variable respond");
    for steps in [
        "- uses: http\n  config: {url: x, successExpression: \"response.status == 200 && response.header('X') != '' && response.body.ok\"}",
        // What a file has is not known.
        "- uses: yaml-parse\n  config: {path: x, outputs: [{name: a, fromExpression: anything.at.all}]}",
    ] {
        assert_eq!(found(&[stage(steps)]), [], "{steps}");
    }
    wrong(
        &[stage("- uses: yaml-parse\n  config: {path: x, outputs: [{name: a, fromExpression: '1 % 0'}]}")],
        Rule::Expression,
        "%",
        "",
    );
}

#[test]
fn criteria_name_what_the_warehouse_subscribes_to() {
    let with = |expression: &str| {
        let spec = format!(
            "subscriptions:\n- image: {{repoURL: ghcr.io/acme/web}}\n- git: {{repoURL: 'https://git.example/acme/web.git'}}\n- name: schema\n  database: {{config: {{}}}}\nfreightCreationCriteria:\n  expression: \"{expression}\""
        );
        let asks = document("Stage", "web", "requestedFreight: [{origin: {name: web}, sources: {direct: true}}]");
        [stage("- uses: copy"), document("Warehouse", "web", &spec), asks]
    };
    for (expression, rule, mark, hint) in [
        (
            "imageFrom('ghcr.io/acme/wbe').Tag != ''",
            Rule::Reference,
            "imageFrom",
            "This warehouse does not subscribe to \"ghcr.io/acme/wbe\"; did you mean \"ghcr.io/acme/web\"?",
        ),
        ("commitFrom('https://git.example/acme/app').ID != ''", Rule::Reference, "commitFrom", "does not subscribe"),
        ("chartFrom('oci://x/y').Version != ''", Rule::Reference, "chartFrom", "it subscribes to no chart"),
        ("artifactFrom('scheme').Version == '1'", Rule::Reference, "artifactFrom", "did you mean \"schema\"?"),
        ("vars.x == 'a'", Rule::Expression, "vars", "There is no variable vars here"),
        ("'a' + 'b'", Rule::Expression, "'a' + 'b'", "neither true nor false"),
        ("1 % 0 == 0", Rule::Expression, "%", "division by 0"),
    ] {
        wrong(&with(expression), rule, mark, hint);
    }
    for expression in [
        "imageFrom('ghcr.io/acme/web').Tag == commitFrom('https://git.example/acme/web').Tag",
        "artifactFrom('schema').Version == '1'",
        "true",
    ] {
        assert_eq!(found(&with(expression)), [], "{expression}");
    }
}

#[test]
fn artifacts_of_a_kind_of_the_hosts_are_found_by_the_name_of_their_subscription() {
    let warehouse = document("Warehouse", "data", "subscriptions: [{name: schema, database: {config: {}}}]");
    let asks = |name: &str| {
        stage(&format!(
            "- uses: copy\n  config: {{inPath: \"a${{{{ artifactFrom('{name}').Version }}}}\", outPath: b}}"
        ))
        .replace("  requestedFreight:\n", "  requestedFreight:\n  - {origin: {name: data}, sources: {direct: true}}\n")
    };
    assert_eq!(found(&[asks("schema"), warehouse.clone()]), []);
    wrong(&[asks("schem"), warehouse], Rule::Reference, "artifactFrom('schem')", "did you mean \"schema\"?");
}

#[test]
fn links_and_webhooks_of_a_project() {
    let config = |spec: &str| [stage("- uses: copy"), document("ProjectConfig", "shop", spec)];
    let link =
        |name: &str, condition: &str| config(&format!("{name}: [{{title: t, url: 'https://x', if: \"{condition}\"}}]"));
    for (documents, mark, hint) in [
        (link("freightLinks", "freight.alias =="), "", "Here should be"),
        (
            link("freightLinks", "stage.metadata.name == 'dev'"),
            "stage",
            "There is no variable stage here; there are \\\"freight\\\"",
        ),
        (link("stageLinks", "freight.alias == 'x'"), "freight", "There is no variable freight"),
        (link("stageLinks", "'dev'"), "'dev'", "neither true nor false"),
    ] {
        wrong(&documents, Rule::Expression, mark, &hint.replace('\\', ""));
    }
    assert_eq!(found(&link("stageLinks", "stage.metadata.name == 'dev'")), []);
    let webhook = |when: &str, criteria: &str| {
        config(&format!(
            "webhookReceivers:\n- name: hook\n  generic:\n    secretRef: {{name: s}}\n    actions:\n    - action: Refresh\n      whenExpression: \"{when}\"\n      parameters: {{kind: image}}\n      targetSelectionCriteria:\n      - {{kind: Warehouse, {criteria}}}"
        ))
    };
    let fine = "name: \"${{ request.body.repository }}\"";
    for (when, criteria, mark, hint) in [
        ("requst.body.ref == 'x'", fine, "requst", "did you mean request?"),
        ("request.boby.ref == 'x'", fine, "request", "did you mean request.body?"),
        ("normaliseGit(request.body.url) == 'x'", fine, "normaliseGit", "did you mean normalizeGit?"),
        ("'push'", fine, "'push'", "neither true nor false"),
        ("true", "name: \"${{ request.body.repository\"", "", "not closed"),
        ("true", "labelSelector: {matchLabels: {repo: \"${{ reqest.body.x }}\"}}", "reqest", "did you mean request?"),
        (
            "true",
            "indexSelector: {matchIndices: [{key: subscribedURLs, operator: Equals, value: \"${{ normalizGit(request.body.x) }}\"}]}",
            "normalizGit",
            "did you mean normalizeGit?",
        ),
    ] {
        wrong(&webhook(when, criteria), Rule::Expression, mark, hint);
    }
    assert_eq!(found(&webhook("request.header('X-Event') == params.kind", fine)), []);
}

#[test]
fn a_target_is_of_the_commercial_edition() {
    for expression in ["target.params.region", "target.labels['zone']"] {
        let steps = format!("- uses: copy\n  config: {{inPath: \"a/${{{{ {expression} }}}}\", outPath: b}}");
        wrong(&[stage(&steps)], Rule::Commercial, "target", "write a stage for each target, with vars");
    }
    let template = stage("- uses: copy").replace(
        "    spec:\n      steps:",
        "    spec:\n      vars: [{name: x, value: '${{ target.params.x }}'}]\n      steps:",
    );
    wrong(&[template], Rule::Commercial, "target", "commercial edition");
    let var = "- uses: copy\n  vars: [{name: x, value: '${{ target.params.x }}'}]";
    wrong(&[stage(var)], Rule::Commercial, "target", "commercial edition");
}
