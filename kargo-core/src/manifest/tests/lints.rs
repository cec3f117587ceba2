//! What only shows when manifests are looked at together.

use super::*;

/// Stages by name, each with its upstream stages; none is straight from the warehouse `main`.
fn chain(stages: &[(&str, &[&str])]) -> Vec<String> {
    let one = |(name, upstream): &(&str, &[&str])| {
        let sources =
            if upstream.is_empty() { "direct: true".to_owned() } else { format!("stages: [{}]", upstream.join(", ")) };
        document(
            "Stage",
            name,
            &format!("requestedFreight: [{{origin: {{kind: Warehouse, name: main}}, sources: {{{sources}}}}}]"),
        )
    };
    stages.iter().map(one).collect()
}

#[test]
fn names_that_are_not_there() {
    let finding = one(found(&chain(&[("dev", &[]), ("prod", &["dve"])])), "stage");
    assert_eq!(
        (finding.rule, path(&finding), marked(&finding).as_str()),
        (Rule::Reference, "spec.requestedFreight[0].sources.stages[0]", "dve")
    );
    assert!(finding.message.contains("Did you mean \"dev\"?"), "{finding}");
    let other: Vec<String> =
        chain(&[("dev", &[])]).into_iter().map(|text| text.replace("name: main", "name: mian")).collect();
    let findings = found(&other);
    let finding = findings.iter().find(|finding| finding.rule == Rule::Reference).unwrap();
    assert_eq!(path(finding), "spec.requestedFreight[0].origin.name");
    assert!(findings.iter().any(|finding| finding.rule == Rule::Unused && !finding.is_error()), "{}", told(&findings));
    let policy = document("ProjectConfig", "shop", "promotionPolicies: [{stageSelector: {name: prood}}]");
    let finding = one(found(&[chain(&[("dev", &[]), ("prod", &["dev"])]), vec![policy]].concat()), "policy");
    assert_eq!((finding.rule, path(&finding)), (Rule::Reference, "spec.promotionPolicies[0]"));
    let promotion = document("Promotion", "p", "stage: dve\nfreight: abc");
    let finding = one(found(&[chain(&[("dev", &[])]), vec![promotion]].concat()), "promotion");
    assert!(finding.message.contains("did you mean \"dev\"?"), "{finding}");
    let verified = stage("- uses: copy") + "  verification: {analysisTemplates: [{name: smoke}]}\n";
    let finding = one(found(&[verified]), "template");
    assert_eq!((finding.rule, path(&finding)), (Rule::Reference, "spec.verification.analysisTemplates[0].name"));
}

#[test]
fn stages_that_wait_for_each_other() {
    let finding = one(found(&chain(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])])), "ring");
    assert_eq!((finding.rule, path(&finding)), (Rule::Cycle, "spec.requestedFreight[0].sources.stages[0]"));
    assert!(finding.message.contains("a -> b -> c -> a"), "{finding}");
}

#[test]
fn freight_that_can_never_arrive() {
    let other = document("Warehouse", "other", "subscriptions: [{image: {repoURL: ghcr.io/acme/other}}]");
    let dev = document(
        "Stage",
        "dev",
        "requestedFreight: [{origin: {kind: Warehouse, name: main}, sources: {direct: true}}]",
    );
    let prod = document(
        "Stage",
        "prod",
        "requestedFreight: [{origin: {kind: Warehouse, name: other}, sources: {stages: [dev]}}]",
    );
    let finding = one(found(&[other, dev, prod]), "never");
    assert_eq!((finding.rule, marked(&finding).as_str()), (Rule::NeverArrives, "dev"), "{finding}");
}

/// Every step of the commercial edition that is not here, with what to use instead.
const COMMERCIAL: [(&str, &str); 23] = [
    ("get-user-input", "set vars in the stage"),
    ("record-audit-event", "the journal records every step"),
    ("tf-plan", "have a pipeline of the forge plan"),
    ("tf-apply", "have a pipeline of the forge apply"),
    ("tf-output", "read the output with http, or from a file with json-parse"),
    ("gha-dispatch-workflow", "API for workflow dispatches"),
    ("gha-wait-for-workflow", "API for workflow runs, with a successExpression"),
    ("gh-create-issue", "use http with GitHub's API for issues"),
    ("gh-update-issue", "use http with GitHub's API for issues"),
    ("gh-search-issues", "use http with GitHub's API for searches"),
    ("gh-wait-for-issue-state", "API for issues, with a successExpression"),
    ("gh-issue-add-comment", "use http with GitHub's API for comments"),
    ("gh-issue-update-comment", "use http with GitHub's API for comments"),
    ("gh-issue-delete-comment", "use http with GitHub's API for comments"),
    ("jira", "use http with Jira's API"),
    ("snow-create", "use http with ServiceNow's API"),
    ("snow-update", "use http with ServiceNow's API"),
    ("snow-delete", "use http with ServiceNow's API"),
    ("snow-query-for-records", "use http with ServiceNow's API"),
    ("snow-wait-for-condition", "ServiceNow's API, with a successExpression"),
    ("jfrog-evidence", "use http with Artifactory's API"),
    ("github-dispatch-workflow", "API for workflow dispatches"),
    ("servicenow", "use http with ServiceNow's API"),
];

#[test]
fn steps_of_the_commercial_edition_and_steps_that_nobody_knows() {
    let listed: Vec<&str> = COMMERCIAL.iter().map(|(uses, _)| *uses).collect();
    assert_eq!(listed, crate::manifest::lint::COMMERCIAL.map(|(uses, _)| uses), "each is in this table");
    for (uses, instead) in COMMERCIAL {
        let finding = found_in_steps(&format!("- uses: {uses}"));
        assert_eq!(
            (finding.rule, finding.severity, marked(&finding).as_str()),
            (Rule::Commercial, Severity::Error, uses)
        );
        let said = format!("The step {uses:?} is of Kargo's commercial edition; ");
        assert!(finding.message.starts_with(&said) && finding.message.contains(instead), "{instead}\n{finding}");
        assert!(finding.message.ends_with("or register a step of the host's under this name."), "{finding}");
        // A host that has such a step is not told.
        let known: Vec<&str> = STEPS.into_iter().chain([uses]).collect();
        let text = [warehouse(), stage(&format!("- uses: {uses}"))].join("---\n");
        assert_eq!(lint(&Manifests::parse("x.yaml", text), &known), []);
    }
    // Three that are there all the same.
    for uses in ["hcl-update", "wait-for-approval"] {
        let text = [warehouse(), stage(&format!("- uses: {uses}"))].join("---\n");
        assert_eq!(lint(&Manifests::parse("x.yaml", &text), &STEPS), []);
        let finding = one(lint(&Manifests::parse("x.yaml", text), &["copy"]), uses);
        assert_eq!(finding.rule, Rule::UnknownStep);
        assert!(finding.message.contains("steps::builtin"), "{finding}");
    }
    let finding = found_in_steps("- uses: send-message");
    assert_eq!((finding.rule, marked(&finding).as_str()), (Rule::UnknownStep, "send-message"));
    assert!(finding.message.contains("steps::send_message with a messenger"), "{finding}");
    let finding = found_in_steps("- uses: git-comit\n  config: {}");
    assert_eq!((finding.rule, marked(&finding).as_str()), (Rule::UnknownStep, "git-comit"));
    assert!(finding.message.contains("did you mean \"git-commit\"?"), "{finding}");
    assert!(found_in_steps("- uses: frobnicate").message.contains("registered under this name"));
}

#[test]
fn expressions_that_do_not_compile_are_marked_in_the_file() {
    let finding =
        found_in_steps("- uses: copy\n  config:\n    inPath: ./a/${{ imageForm(\"x\").Tag }}\n    outPath: b");
    assert_eq!((finding.rule, marked(&finding).as_str()), (Rule::Expression, "imageForm"), "{finding}");
    assert!(finding.message.contains("did you mean imageFrom?"), "{finding}");
    for (steps, mark, hint) in [
        ("- uses: copy\n  config: {inPath: '${{ 1 + }}', outPath: b}", "", "Here should be a value"),
        ("- uses: copy\n  config: {inPath: 'a ${{ vars.x', outPath: b}", "${{", "not closed"),
        (
            "- uses: git-commit\n  config:\n    path: .\n    message: |\n      First line\n\n      ${{ lenn('x') }} at the end",
            "lenn",
            "did you mean len?",
        ),
        ("- uses: copy\n  if: ${{ status('a', 'b') }}", "status('a', 'b')", "takes 1 argument"),
        ("- uses: copy\n  vars: [{name: a, value: '${{ success() }}'}]", "success", "only in a step's if and config"),
        ("- uses: copy\n  if: success()", "success()", "write ${{ success() }}"),
        ("- uses: http\n  config: {url: x, successExpression: 'response.status =='}", "", "Here should be"),
        (
            "- uses: yaml-parse\n  config: {path: x, outputs: [{name: a, fromExpression: 'image.tag |'}]}",
            "",
            "Here should be",
        ),
        ("- uses: copy\n  config: {inPath: '${{ output.a }}', outPath: b}", "output.a", "did you mean outputs?"),
        ("- uses: copy\n  config: {inPath: '${{ ctx.stag }}', outPath: b}", "ctx.stag", "did you mean ctx.stage?"),
    ] {
        let finding = found_in_steps(steps);
        assert_eq!(finding.rule, Rule::Expression, "{finding}");
        assert!(finding.message.contains(hint), "{hint}\n{finding}");
        assert!(mark.is_empty() || marked(&finding) == mark, "{mark}\n{finding}");
    }
    let criteria = document(
        "Warehouse",
        "w",
        "subscriptions: [{image: {repoURL: x}}]\nfreightCreationCriteria: {expression: \"imageFrom('x').Tag == secret('y')\"}",
    );
    let findings = found(&[stage("- uses: copy"), criteria]);
    assert!(
        findings.iter().any(|finding| finding.rule == Rule::Expression && finding.message.contains("secret")),
        "{}",
        told(&findings)
    );
    let filter = document(
        "Warehouse",
        "w",
        "subscriptions: [{git: {repoURL: 'https://x/y', expressionFilter: \"tag != 'x'\"}}]",
    );
    let findings = found(&[stage("- uses: copy"), filter]);
    assert!(
        findings.iter().any(|finding| finding.message.contains("There is no variable tag here")),
        "{}",
        told(&findings)
    );
}

#[test]
fn aliases_that_are_not_there_or_come_later() {
    for (steps, mark, hint) in [
        (
            "- uses: git-push\n  as: push\n- uses: copy\n  config: {inPath: '${{ outputs.psuh.commit }}'}",
            "outputs.psuh",
            "did you mean \"push\"?",
        ),
        (
            "- uses: copy\n  config: {inPath: '${{ outputs.push.commit }}'}\n- uses: git-push\n  as: push",
            "outputs.push",
            "comes later",
        ),
        ("- uses: copy\n  as: own\n  config: {inPath: \"${{ outputs['own'].x }}\"}", "outputs", "comes later"),
        ("- uses: copy\n  config: {inPath: \"${{ outputs['x-y'].z }}\"}", "outputs", "no step comes before"),
        (
            "- uses: copy\n- uses: copy\n  if: ${{ status('stp') == 'Succeeded' }}",
            "status('stp')",
            "There is no step \"stp\"",
        ),
        (
            "- uses: copy\n- uses: copy\n  config: {inPath: '${{ stepMetas.x.Status }}'}",
            "stepMetas.x",
            "There is no step \"x\"",
        ),
        (
            "- uses: copy\n- uses: copy\n  config: {inPath: '${{ task.outputs.x.y }}'}",
            "task.outputs",
            "only within a task",
        ),
    ] {
        let finding = found_in_steps(steps);
        assert_eq!((finding.rule, finding.severity), (Rule::Alias, Severity::Error), "{finding}");
        assert!(finding.message.contains(hint) && marked(&finding) == mark, "{hint}\n{finding}");
    }
    // Steps without a name have the one of their place.
    assert_eq!(
        found(&[stage("- uses: git-clone\n- uses: copy\n  config: {inPath: \"${{ outputs['step-1'].x }}\"}")]),
        []
    );
}

#[test]
fn api_03_outputs_of_a_task_are_found_by_one_rule() {
    let task = |steps: &str| document("PromotionTask", "pr", steps);
    let caller = |expression: &str| {
        stage(&format!(
            "- task: {{name: pr}}\n  as: pr\n- uses: copy\n  config: {{inPath: \"${{{{ {expression} }}}}\", outPath: b}}"
        ))
    };
    let open = "steps:\n- uses: git-open-pr\n  as: open\n- uses: git-wait-for-pr\n  config: {prNumber: '${{ task.outputs.open.pr.id }}'}";
    let composed = format!("{open}\n- uses: compose-output\n  config: {{id: '${{{{ task.outputs.open.pr.id }}}}'}}");
    assert_eq!(found(&[caller("outputs['pr::open'].pr.id"), task(open)]), []);
    assert_eq!(found(&[caller("outputs.pr.id"), task(&composed)]), []);
    for (expression, hint) in [
        ("outputs.pr.id", "publishes no outputs; write outputs['pr::open']"),
        ("outputs['pr::opne'].pr.id", "has no step \"opne\"; did you mean \"open\"?"),
        ("outputs.open.pr.id", "There is no step \"open\""),
        ("task.outputs.open.pr.id", "only within a task"),
    ] {
        let finding = one(found(&[caller(expression), task(open)]), expression);
        assert!(finding.rule == Rule::Alias && finding.message.contains(hint), "{hint}\n{finding}");
    }
    let within = task(
        "steps:\n- uses: git-open-pr\n  as: open\n- uses: copy\n  config: {inPath: '${{ outputs.open.pr.id }}', outPath: b}",
    );
    let finding = one(found(&[stage("- task: {name: pr}"), within]), "within");
    assert!(finding.message.contains("under task.outputs"), "{finding}");
}

#[test]
fn variables_and_artifacts_that_are_not_there() {
    let vars = "- uses: copy\n  vars: [{name: path, value: a}]\n  config: {inPath: '${{ vars.paht }}', outPath: '${{ vars.path }}'}";
    let finding = found_in_steps(vars);
    assert_eq!(
        (finding.rule, finding.severity, marked(&finding).as_str()),
        (Rule::Reference, Severity::Warning, "vars.paht")
    );
    assert!(finding.message.contains("did you mean vars.path?"), "{finding}");
    assert_eq!(found(&[stage("- uses: copy\n  config: {inPath: \"${{ vars.x ?? 'a' }}\", outPath: b}")]), []);

    let finding =
        found_in_steps("- uses: copy\n  config: {inPath: \"${{ imageFrom('ghcr.io/acme/ap').Digest }}\", outPath: b}");
    assert_eq!((finding.rule, finding.severity), (Rule::Reference, Severity::Error), "{finding}");
    assert!(finding.message.contains("did you mean \"ghcr.io/acme/app\"?"), "{finding}");
    let finding = found_in_steps(
        "- uses: copy\n  config: {inPath: \"${{ commitFrom('https://git.example/acme/app.git', warehouse('mian')).ID }}\", outPath: b}",
    );
    assert!(finding.message.contains("no freight of a warehouse \"mian\""), "{finding}");
    // Spellings of one repository are one.
    assert_eq!(
        found(&[stage(
            "- uses: copy\n  config: {inPath: \"${{ commitFrom('https://git.example/acme/app').ID }}\", outPath: b}"
        )]),
        []
    );

    // Freight has an artifact of each subscription.
    let config = "- uses: copy\n  config: {inPath: \"${{ imageFrom('ghcr.io/acme/app').Digest }}\", outPath: b}";
    let named = "subscriptions:\n- {name: stable, image: {repoURL: ghcr.io/acme/app}}\n- {name: edge, image: {repoURL: ghcr.io/acme/app}}\n- git: {repoURL: https://git.example/acme/app.git}";
    let twice = format!("{}\n---\n{}", document("Warehouse", "main", named), stage(config));
    let finding = one(lint(&Manifests::parse("x.yaml", twice), &STEPS), "twice");
    assert_eq!((finding.rule, finding.severity), (Rule::Reference, Severity::Error), "{finding}");
    assert!(finding.message.contains("\"main\" subscribes to \"ghcr.io/acme/app\" more than once"), "{finding}");

    let other = document("Warehouse", "other", "subscriptions: [{image: {repoURL: ghcr.io/acme/app}}]");
    let both = stage("- uses: copy\n  config: {inPath: \"${{ imageFrom('ghcr.io/acme/app').Digest }}\", outPath: b}")
        .replace(
            "  requestedFreight:\n",
            "  requestedFreight:\n  - {origin: {kind: Warehouse, name: other}, sources: {direct: true}}\n",
        );
    let finding = one(found(&[other, both]), "several");
    assert!(finding.message.contains("say which is meant"), "{finding}");
}

#[test]
fn texts_that_will_turn_into_numbers() {
    let compose =
        |vars: &str, value: &str| format!("- uses: compose-output\n  vars: [{vars}]\n  config: {{a: \"{value}\"}}");
    for (steps, hint) in [
        (compose("{name: tag, value: '1.10'}", "${{ vars.tag }}"), "The text \"1.10\" becomes 1.1"),
        (compose("{name: sha, value: '3108617'}", "${{ vars.sha }}"), "quote(vars.sha)"),
        (compose("", "${{ imageFrom('ghcr.io/acme/app').Tag }}"), "the tag 1.10 becomes the number 1.1"),
        (compose("", "${{ commitFrom('https://git.example/acme/app.git').ID }}"), "digits only"),
        (
            compose("", "${{ commitFrom('https://git.example/acme/app.git').ID[:7] }}"),
            "3108617, becomes a number; write ${{ quote(",
        ),
        (compose("{name: live, value: 'true'}", "${{ vars.live }}"), "The text \"true\" becomes true"),
        (compose("{name: tag, value: t}", "${{ vars.tag }}"), "The text \"t\" becomes true"),
        (compose("{name: tag, value: 'null'}", "${{ vars.tag }}"), "The text \"null\" becomes null"),
        (compose("", "${{ '1.10' }}"), "The text \"1.10\" becomes 1.1; write ${{ quote('1.10') }}"),
    ] {
        let finding = found_in_steps(&steps);
        assert_eq!((finding.rule, finding.severity), (Rule::Number, Severity::Warning), "{finding}");
        assert!(finding.message.contains(hint), "{hint}\n{finding}");
    }
    for steps in [
        compose("{name: tag, value: '1.10'}", "${{ quote(vars.tag) }}"),
        compose("{name: tag, value: 'v1.10'}", "${{ vars.tag }}"),
        compose("", "${{ quote(imageFrom('ghcr.io/acme/app').Tag) }}"),
        compose("", "v${{ imageFrom('ghcr.io/acme/app').Tag }}"),
        compose("", "${{ commitFrom('https://git.example/acme/app.git').ID[0] }}"),
        compose("", "${{ 40 + 2 }}"),
        // A field that takes a text keeps it.
        "- uses: copy\n  config: {inPath: \"${{ imageFrom('ghcr.io/acme/app').Tag }}\", outPath: b}".to_owned(),
    ] {
        assert_eq!(found(&[stage(&steps)]), [], "{steps}");
    }
}

#[test]
fn steps_that_never_run() {
    let finding = found_in_steps("- uses: copy\n- uses: fail\n- uses: delete\n- uses: copy\n  if: ${{ failure() }}");
    assert_eq!((finding.rule, path(&finding)), (Rule::Unreachable, "spec.promotionTemplate.spec.steps[2]"));
    let finding = found_in_steps("- uses: copy\n  if: ${{ 1 > 2 }}");
    assert_eq!((finding.rule, marked(&finding).as_str()), (Rule::Unreachable, "${{ 1 > 2 }}"));
    for steps in [
        "- uses: fail\n  if: ${{ vars.x == 'y' }}\n  vars: [{name: x, value: z}]\n- uses: copy",
        "- uses: fail\n  continueOnError: true\n- uses: copy",
        "- uses: copy\n  if: ${{ always() }}",
    ] {
        assert_eq!(found(&[stage(steps)]), [], "{steps}");
    }
}
