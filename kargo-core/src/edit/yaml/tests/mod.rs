//! The cases that editing tools get wrong, and random text.

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

mod corpus;
mod merge;
mod tricky;
mod upsert;

fn set(text: &str, key: &str, value: &str) -> Result<String> {
    update(text, &[(key.to_owned(), value.to_owned())])
}

/// The edit must give exactly `after`.
#[track_caller]
fn expect(before: &str, key: &str, value: &str, after: &str) {
    match set(before, key, value) {
        Ok(edited) => assert_eq!(edited, after, "setting {key} to {value:?} in {before:?}"),
        Err(error) => panic!("setting {key} to {value:?} in {before:?}: {}", error.report()),
    }
}

/// The edit must be refused with an error that says all of `parts`.
#[track_caller]
fn refuse(text: &str, key: &str, value: &str, parts: &[&str]) {
    let error = set(text, key, value).expect_err("the edit must be refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", error.report());
    for part in parts {
        assert!(error.message().contains(part), "{part:?} is not in {:?}", error.message());
    }
}

#[test]
fn yaml_01_a_plain_value_that_would_not_read_as_a_string_is_quoted() {
    for value in [
        "3108617",
        "1.10",
        "1e10",
        "83e2010",
        "0123",
        "0x1f",
        "true",
        "no",
        "null",
        "2024-01-01",
        "12:30:45",
        "~",
        "0o14",
        ".inf",
        "-.INF",
        ".nan",
        "on",
        "y",
        "Y",
        "NO",
        "- x",
        "-",
        "1_000",
        "+1",
        "-1",
        "0b11",
        ".5",
        "5.",
        "1.5e-3",
        "2024-01-01T00:00:00Z",
        "190:20:30.15",
        "<<",
        "=",
        "a: b",
        "a:",
        "a #b",
        " a",
        "a ",
        "#a",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "|",
        ">",
        "{a",
        "[a",
        "---",
        "...",
        "?",
        "? a",
        ",",
        "}",
        "]",
    ] {
        expect("image:\n  tag: abc\n", "image.tag", value, &format!("image:\n  tag: \"{value}\"\n"));
    }
    expect("a: b\n", "a", "say \"hi\"\\", "a: say \"hi\"\\\n");
    expect("a: b\n", "a", "\"hi\"\\", "a: \"\\\"hi\\\"\\\\\"\n");
    expect("a: b\n", "a", "one\ntwo\t\u{7}\u{85}\u{2028}\0", "a: \"one\\ntwo\\t\\x07\\x85\\u2028\\0\"\n");
}

#[test]
fn yaml_01_a_plain_value_that_reads_as_a_string_stays_plain() {
    for value in
        ["v1.5.0", "1.2.3", "1.2.3-rc.1", "sha256:0123abcd", "registry.example/app:1.2", "3108617f", "a-b", "é"]
    {
        expect("tag: abc # keep\n", "tag", value, &format!("tag: {value} # keep\n"));
    }
}

#[test]
fn yaml_02_digits_with_an_e_stay_a_string() {
    expect("tag: main-1\n", "tag", "123456", "tag: \"123456\"\n");
    expect("tag: main-1\n", "tag", "12345e7", "tag: \"12345e7\"\n");
    expect("tag: 'main-1'\n", "tag", "12345e7", "tag: '12345e7'\n");
}

#[test]
fn yaml_04_items_of_a_list_are_reached_by_index() {
    let file = "spec:\n  containers:\n    - name: app\n      image: app:1\n    - {name: side, image: 'side:1'}\n";
    expect(file, "spec.containers.0.image", "app:2", &file.replace("app:1", "app:2"));
    expect(file, "spec.containers[0].image", "app:2", &file.replace("app:1", "app:2"));
    expect(file, "spec.containers[1].image", "side:2", &file.replace("side:1", "side:2"));
    expect("- - a\n  - b\n- c\n", "[0][1]", "x", "- - a\n  - x\n- c\n");
    expect("a:\n- b\n", "a.0", "c", "a:\n- c\n");
    refuse(file, "spec.containers.image", "x", &["list of 2 items", "spec.containers.0"]);
    refuse(file, "spec.containers.2.image", "x", &["no item 2", "0 to 1"]);
    refuse(file, "spec.containers[-1].image", "x", &["-1", ".0"]);
    refuse(file, "spec.containers.-1.image", "x", &["list of 2 items"]);
    refuse(file, "spec[0]", "x", &["is a map", "containers"]);
    refuse("a: []\n", "a.0", "x", &["empty list"]);
}

#[test]
fn yaml_04_a_colon_or_a_backslash_makes_a_key_of_anything() {
    expect("a: {2: x}\n", "a.:2", "z", "a: {2: z}\n");
    expect("a: {2: x}\n", "a.2", "z", "a: {2: z}\n");
    refuse("a: [x, w, v]\n", "a.:2", "z", &["list of 3 items"]);
    expect("\"a.b/c\": x\n", "a\\.b/c", "z", "\"a.b/c\": z\n");
    expect("\":a\": x\n", "\\:a", "z", "\":a\": z\n");
    expect("a[0]: x\n", "a\\[0]", "z", "a[0]: z\n");
    expect("$1: {a: x}\n", ":$1.a", "z", "$1: {a: z}\n");
    for bad in ["", "a..b", ".a", "a.", ":", "a\\"] {
        refuse("a: b\n", bad, "x", &[]);
    }
}

#[test]
fn yaml_06_a_missing_key_is_an_error_that_names_the_first_missing_part_and_near_matches() {
    let file = "image:\n  repository: app\n  tag: v1\n";
    refuse(file, "image.tga", "v2", &["\"tga\"", "\"image\"", "did you mean \"tag\"", "repository, tag"]);
    refuse(file, "imagee.tag", "v2", &["\"imagee\"", "did you mean \"image\""]);
    refuse(file, "image.tag.name", "v2", &["\"image.tag\" is a single value"]);
    refuse(file, "image", "v2", &["is a map with the keys repository, tag"]);
    refuse("a: [b, c]\n", "a", "v2", &["is a list of 2 items"]);
    refuse("a: {}\n", "a.b.c", "v2", &["\"b\"", "\"a\"", "empty map"]);
    refuse("", "a.b.c", "v2", &["empty"]);
    refuse("# only a comment\n", "a", "v2", &["empty"]);
    refuse("b: 1\n", "a", "v2", &["\"a\"", "The keys there are: b."]);
}

#[test]
fn yaml_07_only_the_bytes_of_the_scalar_change() {
    let file = "# head\n\n#map:\n#  old: x\nmap:   # why\n    list:\n      - a   \n      -   b\t# tab\n\n    tag:   v1   # tag\n\
                 # tail\nother: {x: 1,y:  2, }\n";
    expect(file, "map.tag", "v2", &file.replace("v1", "v2"));
    expect(file, "map.list.1", "c", &file.replace("  b\t", "  c\t"));
    expect(file, "other.y", "z", &file.replace("  2, ", "  z, "));
    expect(file, "other.x", "7", &file.replace(" 1,", " \"7\","));
}

#[test]
fn yaml_08_a_literal_block_elsewhere_is_untouched() {
    let file = "config: |\n  trailing  \n\ttab\n\n   more\n\n\nimage: {tag: v1}\nlast: |+\n  x\n\n\n";
    let file = file.replace("\n\ttab", "\n  \ttab");
    expect(&file, "image.tag", "v2", &file.replace("v1", "v2"));
}

#[test]
fn yaml_09_folded_text_is_not_flowed_again() {
    let file = "args: >-\n  --one\n  --two\n\n    --three\ntag: v1\n";
    expect(file, "tag", "v2", &file.replace("v1", "v2"));
}

#[test]
fn yaml_12_anchors_are_kept_and_aliases_are_refused() {
    let file = "app: &a {tag: v1}\nsidecar: {<<: *a, tag: v1}\ncopy: *a\nname: &n shop\nagain: *n\n";
    expect(file, "sidecar.tag", "v2", &file.replace("*a, tag: v1", "*a, tag: v2"));
    expect(file, "app.tag", "v2", &file.replace("&a {tag: v1", "&a {tag: v2"));
    expect(file, "name", "store", &file.replace("&n shop", "&n store"));
    refuse(file, "again", "x", &["is an alias", "anchor"]);
    refuse(file, "copy.tag", "x", &["\"copy\"", "alias"]);
    refuse(file, "sidecar.tog", "x", &["\"tog\"", "<<"]);
    refuse("a: *missing\n", "a", "x", &["not valid YAML"]);
}

#[test]
fn yaml_14_an_empty_new_value_is_refused_and_other_values_stay() {
    let file = "a: {tag: v1}\nb: {tag: v2}\nc: {tag: v3}\n";
    refuse(file, "b.tag", "", &["\"b.tag\"", "empty"]);
    expect(file, "b.tag", "v9", &file.replace("v2", "v9"));
}

#[test]
fn yaml_15_all_documents_survive_and_the_key_must_be_in_one_of_them() {
    let file = "---\nkind: A\nname: a\n---\nkind: B\nspec: {tag: v1}\n...\n---\nkind: C\n";
    expect(file, "spec.tag", "v2", &file.replace("v1", "v2"));
    expect(file, "$1.spec.tag", "v2", &file.replace("v1", "v2"));
    refuse(file, "kind", "D", &["several documents", "\"$0.kind\" or \"$1.kind\" or \"$2.kind\""]);
    expect(file, "$2.kind", "D", &file.replace("kind: C", "kind: D"));
    refuse(file, "$3.kind", "D", &["document 3", "3 documents"]);
    refuse(file, "spec.tog", "D", &["\"tog\"", "\"spec\""]);
}

#[test]
fn yaml_18_digits_of_a_commit_are_quoted() {
    expect(
        "images:\n- name: app\n  newTag: abc\n",
        "images.0.newTag",
        "9075807",
        "images:\n- name: app\n  newTag: \"9075807\"\n",
    );
}

#[test]
fn a_value_that_is_there_already_leaves_the_text_alone() {
    for file in ["tag: \"1.2.3\"\n", "tag: '1.2.3'\n", "tag: 1.2.3\n", "tag: |-\n  1.2.3\n", "tag: !!str 1.2.3\n"] {
        expect(file, "tag", "1.2.3", file);
    }
    expect("tag: \"\\x37\"\n", "tag", "7", "tag: \"\\x37\"\n");
    expect("tag: !!str 7\n", "tag", "7", "tag: !!str 7\n");
    expect("tag: 7\n", "tag", "7", "tag: \"7\"\n");
    expect("tag: ~\n", "tag", "~", "tag: \"~\"\n");
    expect("tag:\n", "tag", "~", "tag: \"~\"\n");
}

#[test]
fn a_key_without_a_colon_is_refused() {
    refuse("{a, b: 1}\n", "a", "x", &["no colon"]);
}

#[test]
fn a_tag_other_than_str_is_refused() {
    expect("a: !!str b\n", "a", "7", "a: !!str \"7\"\n");
    expect("a: ! b\n", "a", "c", "a: ! c\n");
    refuse("a: !!int 7\n", "a", "8", &["tag", "int"]);
    refuse("a: !secret x\n", "a", "8", &["!secret"]);
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    refuse("a: 1\n'a': 2\n", "a", "x", &["more than once"]);
    refuse("m: {a: {b: 1}, a: {b: 2}}\n", "m.a.b", "x", &["\"a\" more than once"]);
    expect("a: 1\na: 2\nb: c\n", "b", "d", "a: 1\na: 2\nb: d\n");
}

#[test]
fn several_updates_are_made_at_once_and_never_twice_on_one_value() {
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let file = "a: x\nb:\n- y\nc: |\n  z\n";
    let edited = update(file, &pairs(&[("c", "3"), ("a", "one"), ("b.0", "two")])).unwrap();
    assert_eq!(edited, "a: one\nb:\n- two\nc: \"3\"\n");
    let error = update(file, &pairs(&[("b.0", "1"), ("b[0]", "2")])).unwrap_err();
    assert!(error.message().contains("\"b.0\" and \"b[0]\""), "{error}");
    assert_eq!(update::<&str, &str>("not: [yaml", &[]).unwrap(), "not: [yaml");
}

#[test]
fn text_that_is_not_yaml_is_refused_with_its_place() {
    refuse("a: b\nc: [d\n", "a", "x", &["line 2"]);
    refuse("a: b\0\n", "a", "x", &["NUL"]);
    refuse("a: &x b\n  c: d\n", "a", "x", &["line"]);
    refuse(&"[".repeat(100_000), "a", "x", &["not valid"]);
    refuse(&"- ".repeat(100_000), "0", "x", &["not valid"]);
    let long = format!("a: b\nc: \"{}\"\n", "x".repeat(MAX_BYTES));
    refuse(&long, "a", "x", &["bytes"]);
    refuse(&format!("a: [{}]\n", "x,".repeat(2_000_000)), "a.0", "y", &["too many values"]);
}

#[test]
fn many_comments_and_a_long_file_are_no_obstacle() {
    let mut file = "# line\n".repeat(5_000);
    file.push_str("a:\n");
    file.push_str(&"  # line\n".repeat(5_000));
    for n in 0..5_000 {
        file.push_str(&format!("  k{n}: v1 # {n}\n"));
    }
    expect(&file, "a.k4321", "v2", &file.replace("k4321: v1", "k4321: v2"));
}

/// A value as it stands in a generated file, and its text as an edit leaves it when set to `NEW`.
const NEW: &str = "v2-new";

#[derive(Debug, Clone)]
enum Shape {
    Leaf(usize),
    Map(Vec<Shape>),
    List(Vec<Shape>),
}

/// Ways to write a leaf in a block: before, and after it was set to `NEW`.
const LEAVES: [(&str, &str); 8] = [
    ("plain", "v2-new"),
    ("'it''s' # why", "'v2-new' # why"),
    ("\"é \\\" ü\"", "\"v2-new\""),
    ("", " v2-new"),
    ("&anchor x", "&anchor v2-new"),
    ("1.10 # number", "v2-new # number"),
    ("|\n{}é one\n{}  two", "v2-new"),
    (">- # c\n{}one\n\n{}two", "v2-new # c"),
];

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = (0..LEAVES.len()).prop_map(Shape::Leaf);
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..5).prop_map(Shape::Map),
            prop::collection::vec(inner, 1..5).prop_map(Shape::List),
        ]
    })
}

/// Writes `shape` and returns the paths of its leaves; the leaf with number `chosen` is written as edited.
fn write(shape: &Shape, indent: usize, path: &str, chosen: Option<usize>, text: &mut String, leaves: &mut Vec<String>) {
    match shape {
        Shape::Leaf(style) => {
            let (before, after) = LEAVES[*style];
            let pad = " ".repeat(indent.max(1));
            let leaf = if chosen == Some(leaves.len()) { after } else { before };
            if !before.is_empty() {
                text.push(' ');
            }
            text.push_str(&leaf.replace("{}", &pad));
            text.push('\n');
            leaves.push(path.to_owned());
        }
        Shape::Map(children) => {
            text.push_str(" # map\n");
            for (n, child) in children.iter().enumerate() {
                text.push_str(&format!("{}ké{n}:", " ".repeat(indent)));
                write(child, indent + 2, &format!("{path}.ké{n}"), chosen, text, leaves);
            }
        }
        Shape::List(children) => {
            text.push('\n');
            for (n, child) in children.iter().enumerate() {
                text.push_str(&format!("{}-", " ".repeat(indent)));
                write(child, indent + 2, &format!("{path}.{n}"), chosen, text, leaves);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_text_and_keys_never_panic(
        text in "([a-c]{1,2}|[-:?|>{}\\[\\],&*!#'\"%~. \t\r\n<=é\u{feff}\u{2028}0-9\\\\]|: |\n  |\n- ){0,40}",
        key in "[a-c0-2.:\\\\\\[\\]$-]{0,8}",
        value in "[ -~\n\té]{0,8}",
    ) {
        let _ = set(&text, &key, &value);
        for key in ["a", "b", "0", "a.a", "0.a", "a.0", "$0.a"] {
            // An edit that is made can be made again, and then changes nothing.
            if let Ok(edited) = set(&text, key, &value) {
                prop_assert_eq!(set(&edited, key, &value).unwrap(), edited);
            }
        }
    }

    #[test]
    fn any_value_survives_in_any_style(value in "[ -~\n\r\té\u{85}\u{a0}\u{2028}\u{feff}😀]{1,12}") {
        for file in ["a: x # c\n", "a: 'x'\n", "a: \"x\"\n", "{a: x}\n", "- [a: x]\n", "a: |\n  x\nb: c\n", "a:\nb: c\n"] {
            let key = if file.starts_with('-') { "0.0.a" } else { "a" };
            let edited = set(file, key, &value).unwrap();
            prop_assert_eq!(set(&edited, key, &value).unwrap(), edited);
        }
    }

    #[test]
    fn an_edit_of_a_generated_tree_changes_its_scalar_only(shape in shape(), pick in any::<prop::sample::Index>()) {
        let (mut before, mut leaves) = ("root:".to_owned(), Vec::new());
        write(&shape, 2, "root", None, &mut before, &mut leaves);
        let chosen = pick.index(leaves.len());
        let mut wanted = "root:".to_owned();
        write(&shape, 2, "root", Some(chosen), &mut wanted, &mut Vec::new());
        let edited = set(&before, &leaves[chosen], NEW).map_err(|e| TestCaseError::fail(format!("{}\n{before}", e.report())))?;
        prop_assert_eq!(edited, wanted);
    }
}
