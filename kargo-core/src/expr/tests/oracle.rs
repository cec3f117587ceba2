//! The same expressions through the crate `expr-lang`, which was written by others after the same original.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn theirs(value: &expr::Value) -> Option<Json> {
    Some(match value {
        expr::Value::Nil => Json::Null,
        expr::Value::Bool(value) => Json::from(*value),
        expr::Value::Integer(value) => Json::from(*value),
        expr::Value::Float(value) => Json::Number(number::json_number(*value).ok()?),
        expr::Value::String(text) => Json::from(text.as_str()),
        expr::Value::Array(items) => Json::Array(items.iter().map(theirs).collect::<Option<_>>()?),
        expr::Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Some((key.clone(), theirs(value)?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn ours(text: &str) -> Option<Json> {
    let program = Program::compile(text, &Environment::bare()).ok()?;
    program.evaluate(&Scope::default()).ok()?.value.to_json().ok()
}

fn text() -> BoxedStrategy<String> {
    let leaf = prop_oneof!["'[a-c]{0,3}'", "\"[ab ,]{0,4}\""];
    leaf.prop_recursive(3, 12, 3, |text| {
        prop_oneof![
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("{a} + {b}")),
            (prop::sample::select(vec!["upper", "lower", "trim", "toJSON", "toBase64"]), text.clone())
                .prop_map(|(function, a)| format!("{function}({a})")),
            (text.clone(), text.clone(), text.clone()).prop_map(|(a, b, c)| format!("replace({a}, {b}, {c})")),
            (text.clone(), 0..4_i64).prop_map(|(a, n)| format!("repeat({a}, {n})")),
            // Not by an empty text, which in Go is cut into its characters, and there gets empty ones at its ends.
            (text.clone(), "'[a-c ,]{1,2}'").prop_map(|(a, b)| format!("join(split({a}, {b}), '-')")),
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("({a} | trimPrefix({b}))")),
            (text.clone(), text).prop_map(|(a, b)| format!("({a} == {b} ? {a} : {b})")),
        ]
    })
    .boxed()
}

fn whole() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (0..100_i64).prop_map(|n| n.to_string()),
        "0x[0-9a-f]{1,3}",
        text().prop_map(|a| format!("len({a})")),
        (text(), text()).prop_map(|(a, b)| format!("indexOf({a}, {b})")),
    ];
    leaf.prop_recursive(4, 24, 3, |n| {
        prop_oneof![
            (n.clone(), prop::sample::select(vec!["+", "-", "*"]), n.clone())
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (n.clone(), n.clone()).prop_map(|(a, b)| format!("({a}) % ({b})")),
            n.clone().prop_map(|a| format!("-({a})")),
            n.clone().prop_map(|a| format!("abs({a})")),
            (n.clone(), n.clone()).prop_map(|(a, b)| format!("max({a}, {b})")),
            (n.clone(), n.clone()).prop_map(|(a, b)| format!("bitand({a}, {b})")),
            (n.clone(), n).prop_map(|(a, b)| format!("(nil ?? {a}) + {b}")),
        ]
        .prop_map(|text| format!("({text})"))
    })
    .boxed()
}

fn list() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        prop::collection::vec(0..9_i64, 0..5).prop_map(|items| format!("{items:?}")),
        (0..5_i64, 0..9_i64).prop_map(|(from, to)| format!("({from}..{to})")),
    ];
    leaf.prop_recursive(3, 12, 2, |list| {
        prop_oneof![
            (list.clone(), 0..9_i64).prop_map(|(list, n)| format!("filter({list}, {{# > {n}}})")),
            (list.clone(), 1..4_i64).prop_map(|(list, n)| format!("map({list}, {{# * {n} + 1}})")),
            (prop::sample::select(vec!["reverse", "sort", "uniq", "flatten"]), list.clone())
                .prop_map(|(function, list)| format!("{function}({list})")),
            (list.clone(), list.clone()).prop_map(|(a, b)| format!("concat({a}, {b})")),
            (list.clone(), 0..4_i64).prop_map(|(list, n)| format!("take({list}, {n})")),
            (list.clone(), 0..4_i64).prop_map(|(list, n)| format!("{list}[:{n}]")),
            (list, 0..4_i64).prop_map(|(list, n)| format!("({list} | filter({{# != {n}}}))")),
        ]
    })
    .boxed()
}

fn truth() -> BoxedStrategy<String> {
    let comparison = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        Just("true".to_owned()),
        (whole(), comparison.clone(), whole()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (text(), prop::sample::select(vec!["contains", "startsWith", "endsWith"]), "'[a-c]{0,2}'")
            .prop_map(|(a, op, b)| format!("({a}) {op} {b}")),
        (whole(), list()).prop_map(|(a, list)| format!("({a} in {list})")),
        (prop::sample::select(vec!["all", "any", "none", "one"]), list(), 0..9_i64)
            .prop_map(|(function, list, n)| format!("{function}({list}, {{# < {n}}})")),
    ];
    leaf.prop_recursive(3, 12, 2, |truth| {
        prop_oneof![
            (truth.clone(), prop::sample::select(vec!["and", "or", "&&", "||"]), truth.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            truth.clone().prop_map(|a| format!("!({a})")),
            (truth.clone(), truth.clone(), truth).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
    .boxed()
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![text(), whole(), list(), truth()]
}

/// What the other crate gives; none when it refuses, or panics as it does for some maps.
fn other(text: &str) -> Option<Json> {
    let context = expr::Context::default();
    let value = catch_unwind(AssertUnwindSafe(|| expr::eval(text, &context).ok()));
    value.ok().flatten().as_ref().and_then(theirs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever both accept, both give the same for.
    #[test]
    fn expressions_give_what_another_implementation_gives(expression in expression()) {
        if let (Some(theirs), Some(ours)) = (other(&expression), ours(&expression)) {
            prop_assert_eq!(ours, theirs, "{}", expression);
        }
    }
}

/// The comparison above would say nothing if one of the two accepted nearly nothing.
#[test]
fn the_generated_expressions_are_accepted_by_both() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let all = 200;
    let both = (0..all)
        .map(|_| expression().new_tree(&mut runner).unwrap().current())
        .filter(|expression| other(expression).is_some() && ours(expression).is_some())
        .count();
    assert!(both * 10 > all * 7, "{both} of {all}");
}
