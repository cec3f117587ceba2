//! Texts that are read, and texts that must not bring the reader down.

use serde_json::{Value, json};

use super::*;

fn values(text: &str) -> Vec<Value> {
    let (documents, faults) = read(text);
    assert_eq!(faults, [], "{text}");
    documents.iter().map(Node::json).collect()
}

fn faults(text: &str) -> Vec<String> {
    let (_, faults) = read(text);
    faults.into_iter().map(|fault| fault.message).collect()
}

#[test]
fn documents_are_read_with_places() {
    let text = "# nothing\n---\na: {b: [1, two]}\n---\n---\nc: |\n  x\n  y\n...\n";
    let (documents, faults) = read(text);
    assert_eq!(faults, []);
    assert_eq!(
        documents.iter().map(Node::json).collect::<Vec<_>>(),
        [json!({"a": {"b": [1, "two"]}}), json!({"c": "x\ny\n"})]
    );
    assert_eq!(&text[documents[0].at("/a/b/1").span.range()], "two");
    // What is not there is where the last thing on the way is.
    assert_eq!(&text[documents[0].at("/a/b/1/c/d").span.range()], "two");
    let entry = documents[0].get("a").unwrap();
    assert_eq!(&text[entry.at.range()], "a");
}

#[test]
fn anchors_aliases_and_merge_keys_are_copied_where_they_stand() {
    let text = "base: &b {tag: v1, name: x}\nside: {<<: *b, tag: v2}\nlist: [*b]\nmany: {<<: [{p: 1}, {p: 2, q: 3}]}\n";
    let expected = json!({
        "base": {"tag": "v1", "name": "x"}, "side": {"tag": "v2", "name": "x"}, "list": [{"tag": "v1", "name": "x"}],
        "many": {"p": 1, "q": 3},
    });
    assert_eq!(values(text), [expected]);
}

#[test]
fn yaml_15_what_cannot_be_read_is_told_and_the_other_documents_are_read() {
    let (documents, faults) = read("a: [1, 2\n---\nb: 1\n---\nc: 1\nc: 2\n");
    assert_eq!(documents.iter().map(Node::json).collect::<Vec<_>>(), [json!({"b": 1}), json!({"c": 1})]);
    assert_eq!(faults.len(), 2);
    assert!(faults[0].message.contains("not YAML"), "{faults:?}");
    assert_eq!(faults[1].message, "The key \"c\" is here already, in line 5; remove one.");
}

#[test]
fn what_json_cannot_say_is_a_fault_with_the_way_out() {
    for (text, hint) in [
        ("a: *nowhere", "no anchor &nowhere"),
        ("a: &a [*a]", "no end"),
        ("? [1]\n: 2\n", "must be a text"),
        ("~: 1", "must be a text"),
        ("a: !mine x", "The tag !mine"),
        ("a: !!int x", "does not fit"),
        ("a: .inf", "quotes"),
        ("a: !!binary ????", "Base64"),
        ("a: {<<: 1}", "Behind <<"),
        ("a\0b", "NUL"),
    ] {
        let told = faults(text);
        assert!(told.iter().any(|fault| fault.contains(hint)), "{text:?}: {told:?}");
    }
    assert_eq!(
        values("a: !!str 1\nb: !!binary aGk=\non: 1\n1: x\n"),
        [json!({"a": "1", "b": "hi", "true": 1, "1": "x"})]
    );
}

#[test]
fn yaml_bombs_end_with_a_fault() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let previous = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
    }
    assert!(faults(&bomb).iter().any(|fault| fault.contains("aliases")));
    let mut long = format!("a: &a {}\nb: [", "x".repeat(1 << 20));
    long += &vec!["*a"; 100].join(", ");
    long += "]\n";
    assert!(faults(&long).iter().any(|fault| fault.contains("bytes")));
    let mut deep = String::from("a0: &a0 {x: 1}\n");
    for level in 1..100 {
        deep += &format!("a{level}: &a{level} {{x: *a{}}}\n", level - 1);
    }
    assert!(faults(&deep).iter().any(|fault| fault.contains("levels deep")));
}

#[test]
fn yaml_bombs_of_maps_merges_and_keys_end_with_a_fault() {
    let tenfold = |first: &str, level: &dyn Fn(&str) -> String| {
        let mut text = format!("a0: &a0 {first}\n");
        for number in 1..30 {
            text += &format!("a{number}: &a{number} {}\n", level(&format!("*a{}", number - 1)));
        }
        text
    };
    let ten = |of: &dyn Fn(usize) -> String| (0..10).map(of).collect::<Vec<_>>().join(", ");
    let maps = tenfold("{x: 1}", &|below| format!("{{{}}}", ten(&|n| format!("k{n}: {below}"))));
    assert!(faults(&maps).iter().any(|fault| fault.contains("aliases")));
    let merges = tenfold("{x: 1, y: 2}", &|below| format!("{{<<: [{}], z: {below}}}", ten(&|_| below.to_owned())));
    assert!(faults(&merges).iter().any(|fault| fault.contains("aliases")));
    // A key that is an alias of something large is no text, and costs what it stands for.
    let keys = tenfold("[x, x]", &|below| format!("{{{}}}", ten(&|_| format!("? {below} : 1"))));
    let told = faults(&keys);
    assert!(told.iter().any(|fault| fault.contains("must be a text")), "{told:?}");
    let texts = format!(
        "a: &a {}\nb: {{{}}}",
        "x".repeat(1000),
        (0..50_000).map(|_| "? *a : 1").collect::<Vec<_>>().join(", ")
    );
    assert!(faults(&texts).iter().any(|fault| fault.contains("bytes")), "a key has its length too");
    // What is merged is there once, however often it is named.
    let often = format!("a: &a {{x: 1}}\nb: {{<<: [{}]}}\n", vec!["*a"; 1000].join(", "));
    assert_eq!(values(&often)[0]["b"], json!({"x": 1}));
}

#[test]
fn long_texts_are_bounded() {
    assert!(faults(&"[".repeat(100_000)).iter().any(|fault| !fault.is_empty()));
    assert!(faults(&format!("a: {}", "{a: ".repeat(200))).iter().any(|fault| fault.contains("levels deep")));
    assert!(faults(&"x".repeat(MAX_BYTES + 1)).iter().any(|fault| fault.contains("split it")));
    assert!(faults(&"a: 1\n---\n".repeat(MAX_DOCUMENTS + 1)).iter().any(|fault| fault.contains("documents")));
    assert!(faults(&"- \n".repeat(MAX_VALUES + 1)).iter().any(|fault| fault.contains("values")));
    assert_eq!(values(&"a: 1\n---\n".repeat(1000)).len(), 1000);
    let ten_megabytes: String = (0..100_000).map(|n| format!("k{n}: {}\n", "v".repeat(90))).collect();
    assert!(ten_megabytes.len() > 9_000_000);
    assert_eq!(values(&ten_megabytes).len(), 1);
    let repeated: String = (0..100_000).map(|n| format!("k{}: v\n", n % 2)).collect();
    assert_eq!(faults(&repeated).len(), MAX_FAULTS);
}
