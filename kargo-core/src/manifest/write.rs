//! JSON as YAML in the style of `kubectl get -o yaml`: two blanks a level, quotes only where they must be.

use serde_json::{Map, Value};

use crate::edit::yaml::scalar;
use granit_parser::ScalarStyle;

/// The document that reads as `object`, ending in a line break.
pub(super) fn document(object: &Map<String, Value>) -> String {
    let mut out = String::new();
    map(&mut out, object, 0);
    out
}

fn map(out: &mut String, object: &Map<String, Value>, indent: usize) {
    for (index, (key, value)) in object.iter().enumerate() {
        if index > 0 {
            pad(out, indent);
        }
        out.push_str(&scalar::render(key, ScalarStyle::Plain, false));
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                pad(out, indent + 2);
                map(out, inner, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                pad(out, indent);
                list(out, items, indent);
            }
            other => {
                out.push(' ');
                inline(out, other, indent + 2);
            }
        }
    }
}

fn list(out: &mut String, items: &[Value], indent: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            pad(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => map(out, inner, indent + 2),
            Value::Array(inner) if !inner.is_empty() => list(out, inner, indent + 2),
            other => inline(out, other, indent + 2),
        }
    }
}

/// A value that begins on the line of its key and ends with a line break. `indent` is for the lines of a block.
fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(text) => match scalar::literal(text, indent, "", "\n") {
            Some(block) => out.push_str(&block),
            None => out.push_str(&scalar::render(text, ScalarStyle::Plain, false)),
        },
        // Empty lists and maps, numbers, booleans and null are written in YAML as in JSON.
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::manifest::reader::read;

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~]{0,12}",
            "[a-z\n\t :#-]{0,20}",
            any::<String>(),
            prop::sample::select(vec![
                "yes",
                "1.10",
                "0123",
                "~",
                "null",
                "",
                "- a",
                "a: b",
                "a\nb\n",
                "|",
                "\u{feff}x",
                "1e3",
                "&a",
                "*a"
            ])
            .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
            text.clone().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_it_was(value in values()) {
            let object = Map::from_iter([("x".to_owned(), value)]);
            let text = document(&object);
            let (documents, faults) = read(&text);
            if text.contains('\0') {
                return Ok(());
            }
            prop_assert_eq!(faults, Vec::new(), "{}", text);
            prop_assert_eq!(documents[0].json(), Value::Object(object), "{}", text);
        }
    }

    #[test]
    fn documents_look_as_people_write_them() {
        let value = json!({"spec": {"empty": {}, "list": [{"a": 1, "b": ["x", []]}, "yes"], "tag": "1.10", "text": "one\ntwo\n"}});
        let text = document(value.as_object().unwrap());
        assert_eq!(
            text,
            "spec:\n  empty: {}\n  list:\n  - a: 1\n    b:\n    - x\n    - []\n  - \"yes\"\n  tag: \"1.10\"\n  text: |\n    one\n    two\n"
        );
    }
}
