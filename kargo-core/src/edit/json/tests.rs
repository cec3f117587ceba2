//! What an update of JSON makes and what it leaves.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn expect(before: &str, key: &str, value: impl Into<Value> + Clone, after: &str) {
    match update(before, &[(key, value)]) {
        Ok(edited) => assert_eq!(edited, after, "setting {key} in {before:?}"),
        Err(error) => panic!("setting {key} in {before:?}: {}", error.report()),
    }
}

#[track_caller]
fn refuse(text: &str, key: &str, parts: &[&str]) {
    let error = update(text, &[(key, "x")]).expect_err("the edit must be refused");
    for part in parts {
        assert!(error.message().contains(part), "{part:?} is not in {:?}", error.message());
    }
}

#[test]
fn only_the_bytes_of_the_value_change() {
    let file = "\u{feff}{ \"a\" : \"x\",\r\n\t\"b\":[1, {\"c.d\" :true}]}\r\n";
    expect(file, "a", "y\"\n", &file.replace("\"x\"", "\"y\\\"\\n\""));
    expect(file, "b.0", 7, &file.replace("[1", "[7"));
    expect(file, "b[1].c\\.d", false, &file.replace("true", "false"));
    expect("{\"a\":null}", "a", "x", "{\"a\":\"x\"}");
    expect("{\"\\u0061\":1}", "a", 2, "{\"\\u0061\":2}");
    expect("{\"a\":{\"2\":1}}", "a.2", 3, "{\"a\":{\"2\":3}}");
}

#[test]
fn a_value_that_is_there_already_leaves_the_text_alone() {
    expect("{\"a\": \"x\"}", "a", "x", "{\"a\": \"x\"}");
    expect("{\"a\": 1}", "a", 1, "{\"a\": 1}");
}

#[test]
fn a_missing_key_is_made_in_the_style_of_its_neighbours() {
    expect("{}", "a.b", "x", "{\"a\": {\"b\": \"x\"}}");
    expect("", "a", "x", "{\"a\": \"x\"}");
    expect("{\"a\":1}", "b", 2, "{\"a\":1,\"b\":2}");
    expect("{\"a\": 1, \"c\": 2}\n", "b", true, "{\"a\": 1, \"c\": 2, \"b\": true}\n");
    expect("{\n  \"a\": 1\n}\n", "b", 2, "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
    expect(
        "{\r\n\t\"a\": {\r\n\t\t\"b\": 1\r\n\t}\r\n}",
        "a.c",
        2,
        "{\r\n\t\"a\": {\r\n\t\t\"b\": 1,\r\n\t\t\"c\": 2\r\n\t}\r\n}",
    );
    expect("{\"a\": null}", "a.b", "x", "{\"a\": {\"b\": \"x\"}}");
    expect("{\"a\": 1}", "b\\.c.:2", "x", "{\"a\": 1, \"b.c\": {\"2\": \"x\"}}");
}

#[test]
fn items_are_appended_to_a_list() {
    expect("{\"a\": [1, 2]}", "a.-1", 3, "{\"a\": [1, 2, 3]}");
    expect("{\"a\": [1, 2]}", "a.2", 3, "{\"a\": [1, 2, 3]}");
    expect("{\"a\":[]}", "a.-1.b", "x", "{\"a\":[{\"b\": \"x\"}]}");
    expect("{\n  \"a\": [\n    1\n  ]\n}", "a.-1", 2, "{\n  \"a\": [\n    1,\n    2\n  ]\n}");
    expect("{}", "a.-1", "x", "{\"a\": [\"x\"]}");
    expect("{}", "a.0", "x", "{\"a\": [\"x\"]}");
}

#[test]
fn what_would_lose_something_is_refused() {
    refuse("{\"a\": {\"b\": 1}}", "a", &["a map", "b"]);
    refuse("{\"a\": [1]}", "a", &["a list", "0 to 0"]);
    refuse("{\"a\": \"s\"}", "a.b", &["\"a\" is a single value", "\"b\""]);
    refuse("{\"a\": [1]}", "a.5", &["list of 1 items", "-1"]);
    refuse("{\"a\": [1]}", "a.b", &["list of 1 items"]);
    refuse("{\"a\": 1}", "b.5", &["item 5", ":5"]);
    refuse("{\"a\": {\"b\": 1}}", "a[0]", &["is a map"]);
    refuse("{\"a\": 1, \"a\": 2}", "a", &["more than once"]);
    refuse("{\"a\": 1,}", "a", &["line 1, column 9"]);
    refuse("{\"a\": 1} x", "a", &["line 1"]);
    refuse(&"[".repeat(100_000), "a", &["not valid JSON"]);
}

#[test]
fn updates_are_made_one_after_the_other() {
    let updates = [("a.-1.b", Value::from("x")), ("a.0.c", Value::from(1)), ("a.-1.b", Value::from("y"))];
    let edited = update("{}", &updates).unwrap();
    assert_eq!(read(&edited).unwrap(), json!({"a": [{"b": "x", "c": 1}, {"b": "y"}]}));
}

fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        "[a-c\"\\\\é\n]{0,4}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-c0-1]{1,2}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn an_edit_of_any_tree_reads_back_and_can_be_made_again(tree in tree(), key in "[a-c0-1]{1,2}(\\.([a-c0-1]{1,2}|-1)){0,3}", pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        // That the edit reads back as wanted is checked by the edit itself; what it refuses must not be for want of skill.
        match update(&text, &[(&key, "new")]) {
            Ok(edited) if !key.contains("-1") => prop_assert_eq!(update(&edited, &[(&key, "new")]).unwrap(), edited),
            Ok(_) => {}
            Err(error) => prop_assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{}", error.report()),
        }
    }

    #[test]
    fn random_text_never_panics(text in "[\\[\\]{}:,\"\\\\a1 \n\u{feff}é]{0,30}", key in "[a1.:\\\\\\[\\]-]{0,6}") {
        let _ = update(&text, &[(&key, "x")]);
    }
}
