//! Configurations of steps and subscriptions, checked by the plug-ins that get them while the file they stand in is known.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::plugin::{
    Context, DiscoverRequest, Discovery, Plugins, Source, Step, StepOutcome, StepRequest, read_config, read_template,
};
use crate::{Error, ErrorKind, Result, steps};

/// A step of a host's, with a configuration of its own type.
#[derive(Debug)]
struct Announce;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only reading it is of interest")]
struct Announcement {
    channel: String,
    #[serde(default)]
    mentions: Vec<Mention>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only reading it is of interest")]
struct Mention {
    name: String,
    #[serde(default)]
    times: u32,
}

#[async_trait]
impl Step for Announce {
    fn validate(&self, config: &Value) -> Result<()> {
        read_config::<Announcement>("announce", config).map(drop)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<Announcement>("announce", config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        pointer == "/channel"
    }

    async fn run(&self, _: &Context, _: &StepRequest<'_>) -> Result<StepOutcome> {
        Ok(StepOutcome::succeeded())
    }
}

/// One that says what is wrong in words alone, and one that panics.
#[derive(Debug)]
struct Words(&'static str);

#[async_trait]
impl Step for Words {
    fn validate(&self, _: &Value) -> Result<()> {
        assert!(!self.0.is_empty(), "a defect of the step");
        Err(Error::new(ErrorKind::InvalidInput, self.0))
    }

    async fn run(&self, _: &Context, _: &StepRequest<'_>) -> Result<StepOutcome> {
        Ok(StepOutcome::succeeded())
    }
}

#[async_trait]
impl Source for Words {
    fn validate(&self, config: &Value) -> Result<()> {
        match config.get("dsn") {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::InvalidInput, self.0)),
        }
    }

    async fn discover(&self, _: &Context, _: &DiscoverRequest<'_>) -> Result<Discovery> {
        Err(Error::new(ErrorKind::Unavailable, "There is nothing here."))
    }
}

fn plugins() -> Plugins {
    steps::builtin()
        .step("announce", Announce)
        .step("words", Words("`deep` must be a colour, and the field other too."))
        .step("panics", Words(""))
        .source("database", Words("`dns` is no field of a database; write dsn."))
        .build()
}

/// The one thing that the plug-ins have against a stage with these steps.
fn refused(steps: &str) -> Finding {
    one(found_by(&[stage(steps)], &plugins()), steps)
}

#[test]
fn a_field_that_there_is_not_is_marked_in_the_file_with_a_proposal() {
    let finding = refused(
        "- uses: yaml-update\n  config:\n    path: a\n    updates:\n    - key: a\n      vlue: ${{ ctx.stage }}",
    );
    assert_eq!(
        (finding.rule, finding.severity, marked(&finding).as_str()),
        (Rule::UnknownField, Severity::Error, "vlue")
    );
    assert_eq!(path(&finding), "spec.promotionTemplate.spec.steps[0].config.updates[0].vlue");
    let line = finding.place.as_ref().map(|place| (place.line, place.column));
    assert_eq!(line, Some((24, 13)), "{finding}");
    assert!(finding.message.contains("did you mean \"value\"?"), "{finding}");
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_where_it_stands() {
    for (steps, rule, mark, place, hint) in [
        // A missing field is told of the map that lacks it.
        ("- uses: copy\n  config: {inPath: a}", Rule::BadValue, "{inPath: a}", "config", "missing field `outPath`"),
        (
            "- uses: copy\n  config: {inPath: '${{ vars.x ?? 1 }}'}",
            Rule::BadValue,
            "{inPath: '${{ vars.x ?? 1 }}'}",
            "config",
            "missing field `outPath`",
        ),
        (
            "- uses: copy\n  config: {inPath: '', outPath: b}",
            Rule::BadValue,
            "''",
            "config.inPath",
            "`inPath` is empty",
        ),
        (
            "- uses: tar\n  config: {inPath: a, outPath: b, gzip: 'yes'}",
            Rule::BadValue,
            "'yes'",
            "config.gzip",
            "expected a boolean",
        ),
        (
            "- uses: yaml-update\n  config: {path: a, updates: [{key: a, value: [1]}]}",
            Rule::BadValue,
            "[1]",
            "config.updates[0].value",
            "a text, a number or a bool",
        ),
        (
            "- uses: helm-template\n  config: {path: a, outPath: b, outLayout: flatt}",
            Rule::BadValue,
            "flatt",
            "config.outLayout",
            "did you mean \"flat\"?",
        ),
        (
            "- uses: file-write\n  config: {path: a, contents: '', permissions: '0755'}",
            Rule::BadValue,
            "'0755'",
            "config.permissions",
            "executable",
        ),
        // A step of the host's, refused while its file is read.
        (
            "- uses: announce\n  config: {chanel: releases}",
            Rule::UnknownField,
            "chanel",
            "config.chanel",
            "did you mean \"channel\"?",
        ),
        (
            "- uses: announce\n  config: {channel: '${{ ctx.stage }}', mentions: [{nam: x}]}",
            Rule::UnknownField,
            "nam",
            "config.mentions[0].nam",
            "did you mean \"name\"?",
        ),
        (
            "- uses: announce\n  config: {channel: a, mentions: [{name: x, times: often}]}",
            Rule::BadValue,
            "often",
            "config.mentions[0].times",
            "expected u32",
        ),
        // One that only has words: the field that they name, if it is one only.
        ("- uses: words\n  config: {a: {deep: 7}}", Rule::BadValue, "7", "config.a.deep", "must be a colour"),
        (
            "- uses: words\n  config: {a: {deep: 7}, b: {deep: 8}, other: 9}",
            Rule::BadValue,
            "9",
            "config.other",
            "must be a colour",
        ),
        ("- uses: words\n  config: {a: 7}", Rule::BadValue, "{a: 7}", "config", "must be a colour"),
        ("- uses: panics\n  config: {a: 7}", Rule::BadValue, "{a: 7}", "config", "panicked while it checked"),
    ] {
        let finding = refused(steps);
        assert_eq!((finding.rule, finding.severity), (rule, Severity::Error), "{finding}");
        let whole = format!("spec.promotionTemplate.spec.steps[0].{place}");
        assert_eq!((marked(&finding).as_str(), path(&finding)), (mark, whole.as_str()), "{finding}");
        assert!(finding.message.contains(hint), "{hint}\n{finding}");
    }
}

#[test]
fn steps_of_tasks_and_of_promotions_are_checked_where_they_are_written() {
    let task = document("PromotionTask", "tell", "steps:\n- uses: announce\n  config:\n    chanel: releases");
    let finding = one(found_by(&[stage("- task: {name: tell}"), task.clone()], &plugins()), "task");
    assert_eq!((path(&finding), marked(&finding).as_str()), ("spec.steps[0].config.chanel", "chanel"), "{finding}");
    let resource = finding.place.as_ref().map(|place| place.resource.as_str());
    assert_eq!(resource, Some("PromotionTask shop/tell"));
    // Used twice it is told once, and not used at all it is told too.
    assert_eq!(found_by(&[stage("- task: {name: tell}\n- task: {name: tell}"), task.clone()], &plugins()).len(), 1);
    assert_eq!(found_by(&[stage("- uses: announce\n  config: {channel: a}"), task], &plugins()).len(), 1);
    let promotion = document("Promotion", "p", "stage: dev\nfreight: abc\nsteps: [{uses: announce, config: {}}]");
    let finding =
        one(found_by(&[stage("- uses: announce\n  config: {channel: a}"), promotion], &plugins()), "promotion");
    assert!(finding.message.contains("missing field `channel`"), "{finding}");
}

#[test]
fn subscriptions_of_a_kind_of_the_hosts_are_checked_by_its_source() {
    let other = |config: &str| {
        document("Warehouse", "other", &format!("subscriptions: [{{name: x, database: {{config: {{{config}}}}}}}]"))
    };
    let asks = document(
        "Stage",
        "prod",
        "requestedFreight:\n- {origin: {name: main}, sources: {direct: true}}\n- {origin: {name: other}, sources: {direct: true}}",
    );
    assert_eq!(found_by(&[asks.clone(), other("dsn: x")], &plugins()), []);
    let finding = one(found_by(&[asks, other("dns: x")], &plugins()), "subscription");
    assert_eq!(
        (path(&finding), marked(&finding).as_str()),
        ("spec.subscriptions[0].database.config.dns", "dns"),
        "{finding}"
    );
    assert!(finding.message.contains("write dsn"), "{finding}");
}

#[test]
fn a_step_that_is_not_registered_is_told_once_and_names_alone_say_nothing_of_configurations() {
    let steps = "- uses: anounce\n  config: {chanel: x}";
    let finding = refused(steps);
    assert_eq!(finding.rule, Rule::UnknownStep);
    assert!(finding.message.contains("did you mean \"announce\"?"), "{finding}");
    assert_eq!(found_by(&[stage("- uses: announce\n  config: {chanel: x}")], &["announce"]), []);
}

#[test]
fn where_a_step_of_the_hosts_takes_no_text_a_text_turns_into_a_number() {
    let image = "${{ imageFrom('ghcr.io/acme/app').Tag }}";
    let announce = |field: &str, vars: &str, value: &str| {
        stage(&format!("- uses: announce\n  vars: [{vars}]\n  config: {{channel: a, {field}: \"{value}\"}}"))
    };
    let told = |documents: &[String]| {
        let findings = found_by(documents, &plugins());
        let numbers = findings.into_iter().filter(|finding| finding.rule == Rule::Number);
        numbers.map(|finding| finding.message).collect::<Vec<_>>()
    };
    assert!(told(&[announce("mentions", "", image)])[0].contains("the tag 1.10 becomes the number 1.1"));
    assert!(told(&[announce("mentions", "{name: v, value: '1.10'}", "${{ vars.v }}")])[0].contains("becomes 1.1"));
    // It may want the number 3, and cannot want 1.10.
    assert_eq!(told(&[announce("mentions", "{name: v, value: '3'}", "${{ vars.v }}")]), [""; 0]);
    assert_eq!(told(&[stage(&format!("- uses: announce\n  config: {{channel: \"{image}\"}}"))]), [""; 0]);
}

#[test]
fn the_configurations_of_the_examples_fit_the_steps_that_are_here() {
    let findings = lint(&Manifests::from_texts(examples()), &steps::builtin().build());
    // The steps of the other crates are not here, and nothing else is wrong.
    let others: Vec<Finding> = findings.into_iter().filter(|finding| finding.rule != Rule::UnknownStep).collect();
    assert_eq!(others, [], "{}", told(&others));
}

#[test]
fn a_configuration_of_a_hundred_thousand_expressions_is_checked_to_its_end() {
    let values: Vec<String> =
        (0..100_000).map(|n| format!("{{key: k{n}, value: x, literal: '${{{{ vars.l }}}}'}}")).collect();
    let steps = format!(
        "- uses: helm-template\n  vars: [{{name: l, value: x}}]\n  config: {{path: a, outPath: b, setValues: [{}]}}",
        values.join(", ")
    );
    assert_eq!(found_by(&[stage(&steps)], &plugins()), []);
}
