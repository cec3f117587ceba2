//! YAML as JSON, the way Kubernetes tools read it.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value};

use super::invalid;
use super::scalar::Style;
use super::tree::{Event, Shape, Tree};
use crate::Result;

/// How deep values may be nested.
const MAX_DEPTH: usize = 128;

/// How many values the result may have, so that aliases of aliases do not become gigabytes.
const MAX_VALUES: usize = 1_000_000;

/// How many bytes of text the copies that aliases stand for may have in all: 16 MiB. Whoever writes aliases out keeps to it, as one anchor
/// on a long text and many aliases would take all the memory there is.
pub(crate) const MAX_COPIED: usize = 16 << 20;

/// Reads `text` and returns each of its documents as JSON; none when the text is empty.
///
/// Plain scalars become what Go's yaml.v3 makes of them, which is what Kargo and Kubernetes use: `yes` and `on` are strings,
/// `0x1f`, `0o17` and `017` are numbers, dates stay strings. Aliases are written out, and `<<` merges maps in. Keys that are
/// not strings become strings. Infinities and NaN, which JSON does not have, stay the strings that they are.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the text is not YAML, is longer than
/// [`MAX_BYTES`](super::MAX_BYTES), is nested more than 128 levels deep, holds more than a million values once aliases are written
/// out, of which the aliases copy more than 16 MiB of text, or has a key twice in one map.
pub fn parse(text: &str) -> Result<Vec<Value>> {
    let tree = Tree::parse(text)?;
    let mut anchors = HashMap::new();
    for (index, node) in tree.nodes.iter().enumerate() {
        if let Event::Scalar(_, _, anchor, _) | Event::MappingStart(_, anchor, _) | Event::SequenceStart(_, anchor, _) =
            &tree.events[node.event]
            && *anchor != 0
        {
            anchors.insert(*anchor, index);
        }
    }
    let mut reader = Reader { tree: &tree, anchors, values: 0, copied: 0, is_copy: false };
    tree.documents.iter().map(|document| reader.value(*document, 0)).collect()
}

struct Reader<'t> {
    tree: &'t Tree<'t>,
    anchors: HashMap<usize, usize>,
    values: usize,
    /// The bytes of text that were copied for aliases.
    copied: usize,
    /// Whether what is read now is a copy that an alias stands for.
    is_copy: bool,
}

impl Reader<'_> {
    fn value(&mut self, node: usize, depth: usize) -> Result<Value> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(invalid(format!(
                "The YAML text holds more than {MAX_VALUES} values once its aliases are written out."
            )));
        }
        if depth > MAX_DEPTH {
            return Err(invalid(format!("The YAML text is nested more than {MAX_DEPTH} levels deep.")));
        }
        let tree = self.tree;
        match (&tree.nodes[node].shape, &tree.events[tree.nodes[node].event]) {
            (Shape::Alias, Event::Alias(anchor)) => match self.anchors.get(anchor) {
                // An anchor around its own alias runs into the limit on depth.
                Some(target) => {
                    let was = std::mem::replace(&mut self.is_copy, true);
                    let value = self.value(*target, depth + 1);
                    self.is_copy = was;
                    value
                }
                None => Err(invalid("An alias in the YAML text has no anchor.".to_owned())),
            },
            (Shape::List(items), _) => {
                Ok(Value::Array(items.iter().map(|item| self.value(*item, depth + 1)).collect::<Result<_>>()?))
            }
            (Shape::Map(children), _) => self.map(children, depth),
            (_, Event::Scalar(text, style, _, tag)) => {
                self.copy(text.len())?;
                let is_plain = match tag {
                    Some(tag) => ["int", "float", "bool", "null"].iter().any(|core| tag.is_yaml_core_schema_tag(core)),
                    None => *style == Style::Plain,
                };
                Ok(if is_plain { plain(text) } else { Value::from(text.as_ref()) })
            }
            _ => Err(invalid("The YAML text holds an alias without an anchor.".to_owned())),
        }
    }

    /// Counts text before it is copied, keys as well as values.
    fn copy(&mut self, bytes: usize) -> Result<()> {
        if self.is_copy {
            self.copied = self.copied.saturating_add(bytes);
        }
        if self.copied <= MAX_COPIED {
            return Ok(());
        }
        Err(invalid(format!(
            "The aliases in the YAML text stand for more than {MAX_COPIED} bytes of text; take some out, or write a shorter text \
             at the anchor."
        )))
    }

    fn map(&mut self, children: &[usize], depth: usize) -> Result<Value> {
        let mut map = Map::new();
        let mut own = HashSet::new();
        let mut merged = Vec::new();
        for [key, value] in children.as_chunks::<2>().0 {
            if self.tree.key_text(*key) == Some("<<") && self.is_plain(*key) {
                merged.push(*value);
                continue;
            }
            let name = match self.value(*key, depth + 1)? {
                Value::String(name) => name,
                name @ (Value::Null | Value::Bool(_) | Value::Number(_)) => name.to_string(),
                _ => return Err(invalid("A key of a map in the YAML text is a map or a list itself.".to_owned())),
            };
            if !own.insert(name.clone()) {
                return Err(invalid(format!(
                    "The YAML text has the key {name:?} more than once in one map; remove one."
                )));
            }
            let value = self.value(*value, depth + 1)?;
            map.insert(name, value);
        }
        for node in merged {
            let maps = match self.value(node, depth + 1)? {
                Value::Array(items) => items,
                other => vec![other],
            };
            for other in maps {
                let Value::Object(other) = other else {
                    return Err(invalid("What \"<<\" merges in must be a map or a list of maps.".to_owned()));
                };
                for (key, value) in other {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }

    fn is_plain(&self, node: usize) -> bool {
        matches!(&self.tree.events[self.tree.nodes[node].event], Event::Scalar(_, Style::Plain, ..))
    }
}

/// What a plain scalar means.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::from(text), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    let clean = text.replace('_', "");
    let (negative, digits) = match clean.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, clean.strip_prefix('+').unwrap_or(&clean)),
    };
    let based = |prefix: [&str; 2], radix| {
        let rest = prefix.iter().find_map(|prefix| digits.strip_prefix(prefix))?;
        u64::from_str_radix(rest, radix).ok().filter(|_| rest.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let whole = based(["0x", "0X"], 16)
        .or_else(|| based(["0o", "0O"], 8))
        .or_else(|| based(["0b", "0B"], 2))
        .or_else(|| based(["0", "0"], 8).filter(|_| decimal && digits.len() > 1))
        .or_else(|| digits.parse().ok().filter(|_| decimal));
    if let Some(whole) = whole {
        if !negative {
            return Some(whole.into());
        }
        if let Ok(whole) = i64::try_from(-i128::from(whole)) {
            return Some(whole.into());
        }
    }
    let mantissa = digits.split(['e', 'E']).next()?;
    let is_float = mantissa.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !is_float {
        return None;
    }
    let value: f64 = digits.parse().ok()?;
    Number::from_f64(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_read_as_kubernetes_tools_read_them() {
        for (text, value) in [
            ("1", json!(1)),
            ("-12", json!(-12)),
            ("+3", json!(3)),
            ("0x1f", json!(31)),
            ("0o17", json!(15)),
            ("017", json!(15)),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("08", json!(8)),
            ("1.10", json!(1.1)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("18446744073709551616", json!(18446744073709551616.0)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("~", json!(null)),
            ("", json!(null)),
            ("2024-01-02", json!("2024-01-02")),
            (".inf", json!(".inf")),
            ("-", json!(["x"])),
            ("1.2.3", json!("1.2.3")),
            ("1e", json!("1e")),
            ("'1'", json!("1")),
            ("!!str 1", json!("1")),
            ("!!int \"1\"", json!(1)),
            ("!secret 1", json!("1")),
            ("|\n  a\n  b\n", json!("a\nb\n")),
        ] {
            let text = if text == "-" { "a:\n- x".to_owned() } else { format!("a: {text}") };
            assert_eq!(parse(&text).unwrap(), [json!({"a": value})], "{text}");
        }
    }

    #[test]
    fn documents_aliases_and_merges_are_written_out() {
        assert_eq!(parse("").unwrap(), Vec::<Value>::new());
        assert_eq!(parse("a: 1\n---\nb: 2\n").unwrap(), [json!({"a": 1}), json!({"b": 2})]);
        let text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nc: {<<: *b, y: 5}\nd:\n  <<: [*o, *b]\nlist: [*b]\n1: &n one\ne: *n\n";
        let read = parse(text).unwrap().remove(0);
        assert_eq!(read["c"], json!({"x": 1, "y": 5}));
        assert_eq!(read["d"], json!({"x": 1, "y": 3, "z": 4}));
        assert_eq!(read["list"], json!([{"x": 1, "y": 2}]));
        assert_eq!((&read["1"], &read["e"]), (&json!("one"), &json!("one")));
    }

    #[test]
    fn bombs_and_depth_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", ")));
        }
        assert!(parse(&bomb).unwrap_err().to_string().contains("aliases"), "a bomb");
        let long = "x".repeat(1 << 20);
        for text in [
            format!("a: &a {long}\nb: [{}]\n", ["*a"; 17].join(", ")),
            format!("a: &a '{long}'\nb: {{{}}}\n", (0..17).map(|n| format!("k{n}: *a")).collect::<Vec<_>>().join(", ")),
            // A number too is looked at as text first.
            format!("a: &a {}\nb: [{}]\n", "1".repeat(1 << 20), ["*a"; 17].join(", ")),
            format!("a: &a {{? {long} : 1}}\nb: [{}]\n", ["*a"; 17].join(", ")),
            format!("a: &a {long}\nb: [{}]\n", ["{? *a : 1}"; 17].join(", ")),
            format!("a: &a {{b: {long}}}\nb: [{}]\n", ["{<<: *a}"; 17].join(", ")),
            format!("a: &a {long}\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n"),
            format!("a: &a {long}\n---\n").repeat(2) + &format!("a: &a {long}\nb: [{}]\n", ["*a"; 17].join(", ")),
        ] {
            assert!(parse(&text).unwrap_err().to_string().contains("16777216 bytes"), "{:?}", &text[..20]);
        }
        let fits = parse(&format!("a: &a {long}\nb: [{}]\n", ["*a"; 16].join(", "))).unwrap().remove(0);
        assert_eq!(fits["b"][15].as_str(), Some(long.as_str()), "as much as is allowed");
        let deep = format!("{}x{}", "[".repeat(200), "]".repeat(200));
        assert!(parse(&deep).unwrap_err().to_string().contains("128 levels"), "depth");
        assert!(parse("a: 1\na: 2\n").unwrap_err().to_string().contains("\"a\" more than once"));
        assert!(parse("a: {<<: 1}\n").is_err());
        assert!(parse("a: &a [*a]\n").is_err(), "an anchor around its own alias");
    }
}
