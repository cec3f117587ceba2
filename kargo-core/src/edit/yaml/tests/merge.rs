//! One text over another.

use serde_json::Value as Json;

use super::super::{merge, parse};
use super::*;

#[track_caller]
fn expect(base: &str, over: &str, merged: &str) {
    match merge(base, over) {
        Ok(text) => assert_eq!(text, merged, "{over:?} over {base:?}"),
        Err(error) => panic!("{over:?} over {base:?}: {}", error.report()),
    }
}

#[test]
fn maps_are_merged_and_everything_else_is_replaced() {
    expect("a: 1 # one\nb: {c: 2}\n", "a: 3\nb: {d: 4}\n", "a: 3 # one\nb: {c: 2, d: 4}\n");
    expect("a: [1, 2]\n", "a: [3]\n", "a: [3]\n");
    expect("a:\n- 1\n- 2\nb: 1\n", "a:\n- x: 3\n  z: 4\n", "a:\n  - x: 3\n    z: 4\nb: 1\n");
    expect("a: # why\n  x: 1\nb: 1\n", "a: text\n", "a: text # why\nb: 1\n");
    expect("a: text # why\nb: 1\n", "a: {x: 1}\n", "a: # why\n  x: 1\nb: 1\n");
    expect("a:\nb: 1\n", "a: {x: 1}\n", "a:\n  x: 1\nb: 1\n");
    expect("a: |\n  one\n  two\nb: 1\n", "a: 7\n", "a: 7\nb: 1\n");
    expect("a: 'x'\n", "a: \"1\"\n", "a: \"1\"\n");
    expect("a: {b: 1}\n", "a: {}\n", "a: {b: 1}\n");
}

#[test]
fn new_keys_stand_behind_the_others_in_their_order() {
    expect(
        "a: 1\n\n# end\n",
        "z: 1\nb:\n  y: [p, {q: r}]\n  x: |\n    one\n    two\n",
        "a: 1\nz: 1\nb:\n  y:\n    - p\n    - q: r\n  x: |\n    one\n    two\n\n# end\n",
    );
    expect("a: {}\n", "a: {x: 1, w: 2}\n", "a: {x: 1, w: 2}\n");
    expect("a:\n    b: 1\n", "a: {c: {d: '1'}}\n", "a:\n    b: 1\n    c:\n        d: '1'\n");
}

#[test]
fn null_takes_a_key_away() {
    expect("a: 1\nb: 2 # two\nc: 3\n", "b: null\n", "a: 1\nc: 3\n");
    expect("a: 1\nb:\n  x: 1\n  y: 2\n", "b: ~\nc: 4\n", "a: 1\nc: 4\n");
    expect("{a: 1, b: 2}\n", "a: null\n", "{b: 2}\n");
    expect("a: {b: 1}\n", "a: {b: null, z: ~}\n", "a: {}\n");
    expect("a: 1\n", "z: null\n", "a: 1\n");
}

#[test]
fn an_empty_text_changes_nothing() {
    expect("", "a: 1 # c\n", "a: 1 # c\n");
    expect("a: 1 # c\n", "# nothing\n", "a: 1 # c\n");
    expect("", "", "");
}

#[test]
fn what_cannot_be_merged_is_refused() {
    for (base, over) in [
        ("- a\n", "b: 1\n"),
        ("a: 1\n", "- b\n"),
        ("a: 1\n---\nb: 1\n", "c: 1\n"),
        ("a: &x {b: 1}\nc: *x\n", "c: {d: 1}\n"),
        ("a: 1\n", "b: &x 1\nc: *x\n"),
        ("a: [\n", "c: 1\n"),
    ] {
        assert!(merge(base, over).is_err(), "{over:?} over {base:?}");
    }
}

/// With a look through all of the one for each of the other, this would be ten thousand million looks.
#[test]
fn maps_of_a_hundred_thousand_keys_are_merged_by_looking_each_up() {
    const COUNT: usize = 100_000;
    let lines =
        |from: usize, value: &str| -> String { (from..from + COUNT).map(|n| format!("k{n}: {value}\n")).collect() };
    let merged = merge(&lines(0, "a"), &lines(COUNT / 2, "b")).unwrap();
    let wanted: String =
        (0..COUNT + COUNT / 2).map(|n| format!("k{n}: {}\n", if n < COUNT / 2 { "a" } else { "b" })).collect();
    assert!(merged == wanted);
    let flow = |lines: &str| format!("{{{}}}\n", lines.trim_end().replace('\n', ", "));
    let merged = merge(&flow(&lines(0, "a")), &flow(&lines(COUNT / 2, "null"))).unwrap();
    assert_eq!(parse(&merged).unwrap()[0].as_object().map(serde_json::Map::len), Some(COUNT / 2));
}

#[test]
fn blanks_before_lines_are_bounded_as_the_text_is() {
    let keys: Vec<String> = (0..20_000).map(|n| format!("k{n}: 1")).collect();
    let deep = format!("{}{{{}}}{}", "{a: ".repeat(100), keys.join(", "), "}".repeat(100));
    let error = merge("x:\n        y: 1\n", &deep).unwrap_err();
    assert!(error.message().contains("bytes of indentation"), "{error}");
    // A block is written in quotes instead.
    let lines = "x\n".repeat(100_000);
    let text = format!("a:\n{}b: |\n{0} x\n", " ".repeat(1_000));
    let edited = crate::edit::yaml::update(&text, &[("a.b", lines.as_str())]).unwrap();
    assert!(edited.len() < 1_000_000 && parse(&edited).unwrap()[0]["a"]["b"] == lines.as_str());
}

/// A map of maps, lists and scalars, of which none is empty.
fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Json::from),
        (0..20).prop_map(Json::from),
        "[a-c]{1,3}|1\\.10|a: b".prop_map(Json::from)
    ];
    let inner = leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Json::from),
            prop::collection::btree_map("[a-d]", inner, 1..4).prop_map(|map| map.into_iter().collect()),
        ]
    });
    prop::collection::btree_map("[a-d]", inner, 1..4).prop_map(|map| map.into_iter().collect())
}

/// `tree` as block YAML; lists are written in brackets where `flow` says so.
fn text_of(tree: &Json, indent: usize, flow: bool) -> String {
    let pad = " ".repeat(indent);
    match tree {
        Json::Object(map) => map.iter().fold(String::new(), |text, (key, value)| match value {
            Json::Object(_) => format!("{text}{pad}{key}: # {key}\n{}", text_of(value, indent + 2, flow)),
            Json::Array(items) if !flow => {
                let items: String = items.iter().map(|item| format!("{pad}- {item}\n")).collect();
                format!("{text}{pad}{key}:\n{items}")
            }
            other => format!("{text}{pad}{key}: {other} # {key}\n"),
        }),
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn any_tree_can_be_laid_over_any_other(base in tree(), over in tree(), flow: bool) {
        let (base, over) = (text_of(&base, 0, flow), text_of(&over, 0, !flow));
        // That the result reads as it should is checked by the merge itself.
        let merged = merge(&base, &over);
        prop_assert!(merged.is_ok(), "{over}\nover\n{base}\n{}", merged.unwrap_err().report());
    }

    #[test]
    fn random_texts_never_panic(
        base in "([a-c]: ?|[-:?|>{}\\[\\],&*!#'\"~ \n\r]|: |\n  |\n- ){0,20}",
        over in "([a-c]: ?|[-:?|>{}\\[\\],&*!#'\"~ \n\r]|: |\n  |\n- ){0,20}",
    ) {
        let _ = merge(&base, &over);
        let _ = merge("a: {b: 1}\nc: |\n  x\n", &over);
        let _ = merge(&base, "a: {b: null}\nc: [1]\n");
    }
}
