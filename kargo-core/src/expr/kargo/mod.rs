//! Kargo's own functions, in the groups in which the places of expressions have them, and the records they answer with.

mod record;

use crate::artifact::Artifact;
use crate::expr::environment::{Call, Definition, Parameter};
use crate::expr::error::Fault;
use crate::expr::host::Query;
use crate::expr::operator;
use crate::expr::text;
use crate::expr::value::{Map, Record, Value};
use crate::expr::yaml;
use crate::version::Version;

pub use record::{CommitFields, StepFields, artifact, chart, commit, discovered_commit, discovered_image, image, step};

use Parameter::{Any, String as Text};

/// Freight of a promotion.
pub(in crate::expr) const FREIGHT: &[Definition] = &[
    Definition::new("warehouse", &[Text], 1, warehouse),
    Definition::new("commitFrom", &[Text, Any], 1, commit_from),
    Definition::new("imageFrom", &[Text, Any], 1, image_from),
    Definition::new("chartFrom", &[Text, Any, Any], 1, chart_from),
    Definition::new("artifactFrom", &[Text, Any], 1, artifact_from),
    Definition::new("freightMetadata", &[Text, Text], 1, |call, arguments| {
        let metadata = ask(call, Query::FreightMetadata { freight: named("the freight's name", arguments)? })?;
        // Files written for Kargo before 1.10 may name one key.
        arguments.get(1).map_or(Ok(metadata.clone()), |key| operator::get(&metadata, key))
    }),
    Definition::new("freightStatus", &[Text], 1, |call, arguments| {
        ask(call, Query::FreightStatus { freight: named("the freight's name", arguments)? })
    }),
];

/// Data that lies beside the pipeline.
pub(in crate::expr) const DATA: &[Definition] = &[
    Definition::new("configMap", &[Text], 1, |call, arguments| config_map(call, arguments, false)),
    Definition::new("sharedConfigMap", &[Text], 1, |call, arguments| config_map(call, arguments, true)),
    Definition::new("secret", &[Text], 1, |call, arguments| secret(call, arguments, false)),
    Definition::new("sharedSecret", &[Text], 1, |call, arguments| secret(call, arguments, true)),
    Definition::new("stageMetadata", &[Text], 1, |call, arguments| {
        ask(call, Query::StageMetadata { stage: named("the stage's name", arguments)? })
    }),
];

/// Semantic versions.
pub(in crate::expr) const VERSIONS: &[Definition] = &[
    Definition::new("semverDiff", &[Text, Text], 2, |_, arguments| Ok(Value::from(difference(arguments)))),
    Definition::new("semverParse", &[Text], 1, |_, arguments| {
        let version = Version::parse(texts(arguments).0);
        version.map(|version| Value::Version(version.into())).map_err(|_| {
            Fault::value("semverParse() takes a semantic version, as in \"1.2.3\", and this text is none.")
        })
    }),
];

/// The status of the steps before.
pub(in crate::expr) const STATUS: &[Definition] = &[
    Definition::new("always", &[], 0, |_, _| Ok(Value::Bool(true))),
    Definition::new("failure", &[], 0, |call, _| failed(call).map(Value::Bool)),
    Definition::new("success", &[], 0, |call, _| failed(call).map(|failed| Value::Bool(!failed))),
    Definition::new("status", &[Text], 1, |call, arguments| ask(call, Query::Status { alias: texts(arguments).0 })),
];

/// Discovered artifacts, before there is freight.
pub(in crate::expr) const DISCOVERED: &[Definition] = &[
    Definition::new("commitFrom", &[Text], 1, commit_from),
    Definition::new("imageFrom", &[Text], 1, image_from),
    Definition::new("chartFrom", &[Text, Text], 1, chart_from),
    Definition::new("artifactFrom", &[Text], 1, artifact_from),
];

/// Repositories as Kargo compares them.
pub(in crate::expr) const NORMALIZE: &[Definition] = &[
    Definition::new("normalizeGit", &[Text], 1, |call, arguments| {
        ask(call, Query::Normalize { kind: "git", url: texts(arguments).0 })
    }),
    Definition::new("normalizeImage", &[Text], 1, |call, arguments| {
        ask(call, Query::Normalize { kind: "image", url: texts(arguments).0 })
    }),
    Definition::new("normalizeChart", &[Text], 1, |call, arguments| {
        ask(call, Query::Normalize { kind: "chart", url: texts(arguments).0 })
    }),
];

/// What keeps a template's result a text.
pub(in crate::expr) const TEMPLATE: &[Definition] = &[
    Definition::new("quote", &[Any], 1, |call, arguments| match &arguments[0] {
        Value::String(text) => {
            call.meter.bytes(text.len() * 2)?;
            Ok(Value::from(text::quoted(text)))
        }
        other => enclosed(&text::json(other, 0, call.meter)?),
    }),
    Definition::new("unsafeQuote", &[Any], 1, |call, arguments| enclosed(&text::json(&arguments[0], 0, call.meter)?)),
    Definition::new("asYAML", &[Any], 1, |call, arguments| enclosed(&yaml::write(&arguments[0], call.meter)?)),
    Definition::new("asJSON", &[Any], 1, |call, arguments| {
        let text = text::json(&arguments[0], 2, call.meter)?;
        enclosed(&format!("{text}\n"))
    }),
];

/// Where a function of Kargo's can be used, for a name that is not known where it stands.
pub(in crate::expr) fn place_of(name: &str) -> Option<&'static str> {
    let places: [(&[Definition], &str); 6] = [
        (STATUS, "in a step's if and config"),
        (TEMPLATE, "in templates, between ${{ and }}"),
        (FREIGHT, "in promotions and verifications"),
        (DATA, "in promotions and verifications"),
        (VERSIONS, "in promotions and verifications"),
        (NORMALIZE, "in generic webhooks"),
    ];
    places.iter().find(|(group, _)| group.iter().any(|one| one.name == name)).map(|(_, place)| *place)
}

fn enclosed(text: &str) -> Result<Value, Fault> {
    Ok(Value::from(format!("\"{text}\"")))
}

/// What `answer` says of the one artifact for which it says anything. `what` such artifacts are, `whose` they are, and `way` how to say
/// which of several is meant.
pub(crate) fn of_only_one(
    artifacts: &[Artifact],
    (what, whose, way): (&str, &str, &str),
    answer: impl Fn(&Artifact) -> Option<Value>,
) -> Result<Option<Value>, Fault> {
    let mut found = artifacts.iter().filter_map(|artifact| Some((artifact, answer(artifact)?)));
    let (Some((first, value)), second) = (found.next(), found.next()) else { return Ok(None) };
    let Some((second, _)) = second else { return Ok(Some(value)) };
    let way = match (first, second) {
        (Artifact::Chart(one), Artifact::Chart(other)) if one.name != other.name => {
            format!("name the chart as the second argument, such as {:?}", one.name)
        }
        _ => way.to_owned(),
    };
    let names = [first, second].map(|artifact| format!("{:?}", artifact.subscription_name().unwrap_or_default()));
    let message = format!("{whose} has {what} more than once, of the subscriptions {}; {way}.", names.join(" and "));
    Err(Fault::value(message))
}

fn ask(call: &mut Call<'_>, query: Query<'_>) -> Result<Value, Fault> {
    let answer = call.scope.host.answer(query)?;
    call.meter.steps(100)?;
    Ok(answer)
}

/// The first two arguments as texts. Their kinds have been checked.
fn texts(arguments: &[Value]) -> (&str, &str) {
    let text = |index: usize| arguments.get(index).and_then(Value::as_str).unwrap_or_default();
    (text(0), text(1))
}

/// The first argument, which must not be empty.
fn named<'a>(what: &str, arguments: &'a [Value]) -> Result<&'a str, Fault> {
    match texts(arguments).0 {
        "" => Err(Fault::value(format!("Here should be {what}, and the text is empty."))),
        text => Ok(text),
    }
}

fn warehouse(_: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let name = named("the warehouse's name", arguments)?;
    Ok(Record::new("FreightOrigin").field("Kind", "kind", "Warehouse").field("Name", "name", name).into())
}

/// The warehouse that an argument names.
fn origin<'a>(function: &str, argument: Option<&'a Value>) -> Result<Option<&'a str>, Fault> {
    match argument {
        None => Ok(None),
        Some(Value::Record(record)) if record.kind == "FreightOrigin" => Ok(record.get("Name").and_then(Value::as_str)),
        Some(other) => Err(Fault::kind(format!(
            "The last argument of {function}() is an origin, as in warehouse(\"main\"), and this is {}.",
            other.kind()
        ))),
    }
}

fn commit_from(call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let warehouse = origin("commitFrom", arguments.get(1))?;
    ask(call, Query::Commit { repo_url: named("the repository's URL", arguments)?, warehouse })
}

fn image_from(call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let warehouse = origin("imageFrom", arguments.get(1))?;
    ask(call, Query::Image { repo_url: named("the image's repository", arguments)?, warehouse })
}

fn artifact_from(call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let warehouse = origin("artifactFrom", arguments.get(1))?;
    ask(call, Query::Artifact { subscription: named("the subscription's name", arguments)?, warehouse })
}

fn chart_from(call: &mut Call<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let (name, rest) = match arguments.get(1) {
        Some(Value::String(name)) => (Some(name.as_ref()), arguments.get(2)),
        Some(_) if arguments.len() == 3 => {
            return Err(Fault::kind("With three arguments the second of chartFrom() is the chart's name."));
        }
        other => (None, other),
    };
    let warehouse = origin("chartFrom", rest)?;
    ask(call, Query::Chart { repo_url: named("the chart's repository", arguments)?, name, warehouse })
}

/// A map that is not there is an empty one.
fn map_or_empty(answer: Value) -> Value {
    if answer.is_nil() { Value::Map(Map::empty()) } else { answer }
}

fn config_map(call: &mut Call<'_>, arguments: &[Value], shared: bool) -> Result<Value, Fault> {
    ask(call, Query::ConfigMap { name: texts(arguments).0, shared }).map(map_or_empty)
}

fn secret(call: &mut Call<'_>, arguments: &[Value], shared: bool) -> Result<Value, Fault> {
    call.traces.touch();
    let entries = ask(call, Query::Secret { name: texts(arguments).0, shared }).map(map_or_empty)?;
    call.traces.offer(&entries);
    Ok(entries)
}

fn failed(call: &mut Call<'_>) -> Result<bool, Fault> {
    match ask(call, Query::Failure)? {
        Value::Bool(failed) => Ok(failed),
        other => Err(Fault::kind(format!("The host must say whether a step has failed, and says {}.", other.kind()))),
    }
}

/// How far two versions are apart. As in Kargo, a difference in the pre-release alone is "None".
fn difference(arguments: &[Value]) -> &'static str {
    let (left, right) = texts(arguments);
    let (Ok(left), Ok(right)) = (Version::parse(left), Version::parse(right)) else { return "Incomparable" };
    if left.major() != right.major() {
        "Major"
    } else if left.minor() != right.minor() {
        "Minor"
    } else if left.patch() != right.patch() {
        "Patch"
    } else if left.build() != right.build() {
        "Metadata"
    } else {
        "None"
    }
}

/// The version with all three numbers and without a `v`.
pub(in crate::expr) fn canonical(version: &Version) -> String {
    written(version.major(), version.minor(), version.patch(), version.pre_release(), version.build())
}

fn written(major: u64, minor: u64, patch: u64, pre_release: &str, build: &str) -> String {
    let part = |mark: &str, text: &str| if text.is_empty() { String::new() } else { format!("{mark}{text}") };
    format!("{major}.{minor}.{patch}{}{}", part("-", pre_release), part("+", build))
}

/// The methods of a parsed version.
pub(in crate::expr) fn version_method(version: &Version, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    const NAMES: [&str; 17] = [
        "Major",
        "Minor",
        "Patch",
        "Prerelease",
        "Metadata",
        "Original",
        "String",
        "IncMajor",
        "IncMinor",
        "IncPatch",
        "Compare",
        "Equal",
        "LessThan",
        "LessThanEqual",
        "GreaterThan",
        "GreaterThanEqual",
        "SetMetadata",
    ];
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let parsed = |text: &str| {
        let version = Version::parse(text).map_err(|_| Fault::value(format!("{name}() does not give a version.")))?;
        Ok(Value::Version(version.into()))
    };
    let (major, minor, patch) = (version.major(), version.minor(), version.patch());
    // The next patch of a pre-release is its release.
    let next_patch = if version.is_pre_release() { patch } else { patch.saturating_add(1) };
    match (name, arguments) {
        ("Major", []) => Ok(number(major)),
        ("Minor", []) => Ok(number(minor)),
        ("Patch", []) => Ok(number(patch)),
        ("Prerelease", []) => Ok(Value::from(version.pre_release())),
        ("Metadata", []) => Ok(Value::from(version.build())),
        ("Original", []) => Ok(Value::from(version.as_str())),
        ("String", []) => Ok(Value::from(canonical(version))),
        ("IncMajor" | "IncMinor" | "IncPatch", []) => {
            let (major, minor, patch) = match name {
                "IncMajor" => (major.saturating_add(1), 0, 0),
                "IncMinor" => (major, minor.saturating_add(1), 0),
                _ => (major, minor, next_patch),
            };
            let lead = if version.as_str().starts_with('v') { "v" } else { "" };
            parsed(&format!("{lead}{}", written(major, minor, patch, "", "")))
        }
        ("SetMetadata", [Value::String(build)]) => parsed(&written(major, minor, patch, version.pre_release(), build)),
        ("Compare", [Value::Version(other)]) => Ok(Value::Int(version.precedence(other) as i64)),
        ("Equal", [Value::Version(other)]) => Ok(Value::Bool(version.precedence(other).is_eq())),
        ("LessThan", [Value::Version(other)]) => Ok(Value::Bool(version.precedence(other).is_lt())),
        ("LessThanEqual", [Value::Version(other)]) => Ok(Value::Bool(version.precedence(other).is_le())),
        ("GreaterThan", [Value::Version(other)]) => Ok(Value::Bool(version.precedence(other).is_gt())),
        ("GreaterThanEqual", [Value::Version(other)]) => Ok(Value::Bool(version.precedence(other).is_ge())),
        _ => Err(wrong_method("A version", name, &NAMES)),
    }
}

/// A method that is not there, or with arguments that it does not take.
pub(in crate::expr) fn wrong_method(what: &str, name: &str, known: &[&str]) -> Fault {
    if known.contains(&name) {
        return Fault::kind(format!("{name}() does not take these arguments."));
    }
    let hint = match crate::near_match(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("it has {}.", known.join(", ")),
    };
    Fault::new(crate::expr::FaultKind::UnknownName, format!("{what} has no method {name}; {hint}"))
}
