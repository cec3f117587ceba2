//! Keys that are not there are written in the style of what stands around them.

use super::*;

#[track_caller]
fn expect(before: &str, key: &str, value: impl Into<Value> + Clone, after: &str) {
    match upsert(before, &[(key, value)]) {
        Ok(edited) => assert_eq!(edited, after, "setting {key} in {before:?}"),
        Err(error) => panic!("setting {key} in {before:?}: {}", error.report()),
    }
}

#[track_caller]
fn refuse(text: &str, key: &str, parts: &[&str]) {
    let error = upsert(text, &[(key, "x")]).expect_err("the edit must be refused");
    for part in parts {
        assert!(error.message().contains(part), "{part:?} is not in {:?}", error.message());
    }
}

#[test]
fn yaml_06_a_missing_key_is_made_on_request() {
    expect("a: {}\n", "a.b.c", "x", "a: {b: {c: x}}\n");
    expect("", "a.b.c", "x", "a:\n  b:\n    c: x\n");
    expect("b: 1\n", "a.b.c", "x", "b: 1\na:\n  b:\n    c: x\n");
    expect("a: 1\n", "a", "x", "a: x\n");
}

#[test]
fn a_new_key_stands_behind_the_last_one_of_its_map() {
    let file = "image:\n    name: app # n\n    pull: {policy: x} # p\n\n# other\nother: 1\n";
    expect(file, "image.tag", "1.10", &file.replace("# p\n", "# p\n    tag: \"1.10\"\n"));
    expect(file, "image.a.b", "x", &file.replace("# p\n", "# p\n    a:\n        b: x\n"));
    expect(file, "image.pull.secret", "x", &file.replace("policy: x", "policy: x, secret: x"));
    expect(file, "last", 7, &format!("{file}last: 7\n"));
    expect("a: 1", "b", true, "a: 1\nb: true");
    expect("a: 1\r\nb:\r\n  c: 1\r\n", "b.d", "x", "a: 1\r\nb:\r\n  c: 1\r\n  d: x\r\n");
    expect("a:\n- x: 1\n- y: 2\nb: 1\n", "a.1.z", "x", "a:\n- x: 1\n- y: 2\n  z: x\nb: 1\n");
    expect("a:\n  b: [\n    1,\n    2\n  ]\n", "a.c", "x", "a:\n  b: [\n    1,\n    2\n  ]\n  c: x\n");
    expect("a:\n  b: one\n    two\nc: 1\n", "a.d", "x", "a:\n  b: one\n    two\n  d: x\nc: 1\n");
    expect("a: &x\n  b: 1\nc: *x\n", "d", "x", "a: &x\n  b: 1\nc: *x\nd: x\n");
    expect("a:\n  b:\nc: 1\n", "a.d", "x", "a:\n  b:\n  d: x\nc: 1\n");
}

#[test]
fn a_new_key_behind_a_block_leaves_the_block_as_it_was() {
    expect("a:\n  b: |\n    one\n\n    two\n\nc: 1\n", "a.d", "x", "a:\n  b: |\n    one\n\n    two\n  d: x\n\nc: 1\n");
    expect("a:\n  b: >-\n    one\n", "a.d", "x", "a:\n  b: >-\n    one\n  d: x\n");
    expect("a:\n  b: |+\n    one\n\nc: 1\n", "a.d", "x", "a:\n  b: |+\n    one\n\n  d: x\nc: 1\n");
    expect("b: |\n  one", "d", "x", "b: |\n  one\nd: x");
}

#[test]
fn a_key_without_a_value_becomes_a_map() {
    expect("a:\nb: 1\n", "a.c", "x", "a:\n  c: x\nb: 1\n");
    expect("a: # why\nb: 1\n", "a.c.d", "x", "a: # why\n  c:\n    d: x\nb: 1\n");
    expect("a: ~\nb: 1\n", "a.c", "x", "a: {c: x}\nb: 1\n");
    expect("{a: , b: 1}\n", "a.c", "x", "{a: {c: x} , b: 1}\n");
    expect("- a\n-\n", "1.c.d", "x", "- a\n- c:\n    d: x\n");
    expect("# head\n", "a.b", "x", "# head\na:\n  b: x\n");
    expect("# head", "a", "x", "# head\na: x\n");
    expect("---\n", "a", "x", "---\na: x\n");
    expect("\u{feff}", "a", "x", "\u{feff}a: x\n");
}

#[test]
fn a_map_in_braces_stays_in_them() {
    expect("a: {b: 1, }\n", "a.c", "x", "a: {b: 1, c: x, }\n");
    expect("{\"a\":{\"b\":\"c\"}}", "a.d", "x", "{\"a\":{\"b\":\"c\", \"d\": \"x\"}}");
    expect("a: {}\n", "a.b", "1,2", "a: {b: \"1,2\"}\n");
    expect("a: { }\n", "a.b", "x", "a: { b: x}\n");
}

#[test]
fn yaml_04_minus_one_appends_to_a_list() {
    let file = "charts:\n  - name: a # first\n    version: 1\n\n  # second\n  - name: b\n# end\n";
    expect(file, "charts.-1.name", "c", &file.replace("name: b\n", "name: b\n  - name: c\n"));
    expect(file, "charts.2.name", "c", &file.replace("name: b\n", "name: b\n  - name: c\n"));
    expect("a:\n- x\nb: 1\n", "a.-1", "v", "a:\n- x\n- v\nb: 1\n");
    expect("a: [x]\n", "a.-1", "v", "a: [x, v]\n");
    expect("a: []\n", "a.-1.b", "v", "a: [{b: v}]\n");
    expect("- - a\n", "0.-1", "b", "- - a\n  - b\n");
    expect("a: 1\n", "b.-1.c", "x", "a: 1\nb:\n  - c: x\n");
    let twice = upsert("a: [x]\n", &[("a.-1", "v"), ("a.-1", "z")]).unwrap();
    assert_eq!(twice, "a: [x, v, z]\n");
    refuse("a: [x]\n", "a.3", &["no item 3", "-1", "or 1"]);
    refuse("a: {}\n", "a.b.3", &["item 3", ":3"]);
    refuse("a: {b: 1}\n", "a[0]", &["is a map"]);
}

#[test]
fn what_would_lose_something_is_refused() {
    refuse("a: text\n", "a.b", &["\"a\" is a single value"]);
    refuse("a: ''\n", "a.b", &["\"a\" is a single value"]);
    refuse("a: {b: 1}\n", "a", &["is a map"]);
    refuse("a: &x {b: 1}\nc: *x\n", "c.d", &["alias"]);
    refuse("a: 1\n---\nb: 1\n", "c", &["none of the 2 documents", "$0.c"]);
    expect("a: 1\n---\nb: 1\n", "$1.c", "x", "a: 1\n---\nb: 1\nc: x\n");
    expect("a: 1\n---\nb: 1\n", "$0.c", "x", "a: 1\nc: x\n---\nb: 1\n");
    let error = upsert("a: 1\n", &[("b", "x"), ("b", "y")]).unwrap_err();
    assert!(error.message().contains("same value"), "{error}");
}

#[test]
fn numbers_and_bools_are_written_plain() {
    for (before, value, after) in [
        ("a: '1'\n", Value::from(3), "a: 3\n"),
        ("a: 3 # c\n", Value::from(3), "a: 3 # c\n"),
        ("a: \"3\"\n", Value::from(3), "a: 3\n"),
        ("a: x\n", Value::from(true), "a: true\n"),
        ("a: |\n  x\n", Value::from(1), "a: 1\n"),
        ("a:\n", Value::from(1), "a: 1\n"),
    ] {
        assert_eq!(update(before, &[("a", value)]).unwrap(), after);
    }
    let error = update("a: !!str 1\n", &[("a", 2)]).unwrap_err();
    assert!(error.message().contains("tag"), "{error}");
}

#[test]
fn an_entry_is_taken_out_or_renamed_and_the_others_stay() {
    for (before, key, after) in [
        ("a: 1 # one\nb: 2 # two\nc: 3\n", "b", "a: 1 # one\nc: 3\n"),
        ("a: 1\nb: 2\n", "a", "b: 2\n"),
        ("a: 1\nb: 2", "b", "a: 1\n"),
        ("- a: 1\n  b: 2\n", "0.a", "- b: 2\n"),
        ("{a: 1, b: 2, c: 3}", "b", "{a: 1, c: 3}"),
        ("{a: 1, b: 2}", "a", "{b: 2}"),
        ("a: 1\nb: |\n  x\n  y\nc: 3\n", "a", "b: |\n  x\n  y\nc: 3\n"),
    ] {
        assert_eq!(remove(before, key).unwrap(), after, "{before:?}");
    }
    assert_eq!(rename("a: 1 # c\n\"b\": 2\n", "b", "d").unwrap(), "a: 1 # c\nd: 2\n");
    assert!(remove("a: 1\n", "a").is_err(), "the only one");
    assert!(remove("a: &x 1\nb: *x\n", "a").is_err(), "an anchor in use");
    assert!(remove("a: {b: 1}\nc: 1\n", "a").is_err(), "a map");
}

proptest! {
    #[test]
    fn a_key_can_be_made_in_any_generated_tree(shape in shape(), pick in any::<prop::sample::Index>()) {
        let (mut text, mut leaves) = ("root:".to_owned(), Vec::new());
        write(&shape, 2, "root", None, &mut text, &mut leaves);
        let leaf = &leaves[pick.index(leaves.len())];
        let parent = leaf.rsplit_once('.').map_or("", |(parent, _)| parent);
        let key = if parent.is_empty() { "new".to_owned() } else { format!("{parent}.-1") };
        // `-1` is a key as any other in a map. That the edit reads back is checked by the edit itself.
        let edited = upsert(&text, &[(&key, "x")]).map_err(|e| TestCaseError::fail(format!("{}\n{text}", e.report())))?;
        prop_assert_eq!(edited.lines().count(), text.lines().count() + 1);
    }

    #[test]
    fn random_text_and_keys_never_panic_when_keys_are_made(
        text in "([a-c]{1,2}|[-:?|>{}\\[\\],&*!#'\"%~. \t\r\n<=é\u{feff}\u{2028}0-9\\\\]|: |\n  |\n- ){0,40}",
        key in "([a-c0-2]|-1|\\.|\\[0\\]|:){0,6}",
    ) {
        for key in [key.as_str(), "a", "a.b", "0.a", "a.-1", "-1.c"] {
            if let Ok(edited) = upsert(&text, &[(key, "x")]) && !key.contains("-1") {
                prop_assert_eq!(upsert(&edited, &[(key, "x")]).unwrap(), edited);
            }
            let _ = (remove(&text, key), rename(&text, key, "z"), parse(&text));
        }
    }
}
