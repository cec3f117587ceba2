//! TOML: set single values by their key.
//!
//! [`update`] replaces scalar values and changes no byte outside of them. The key must exist. Keys are those of
//! [`yaml`](super::yaml): parts joined by dots, `\.` for a dot in a name, a whole number for an item of an array or of an array
//! of tables. There is one document, so `$1` is a name as any other.
//!
//! ```
//! use kargo_core::edit::toml;
//!
//! let before = "[[service]]\nimage = 'shop/app:1.4' # the shop\n";
//! let after = toml::update(before, &[("service.0.image", "shop/app:1.5")])?;
//! assert_eq!(after, "[[service]]\nimage = 'shop/app:1.5' # the shop\n");
//! # Ok::<(), kargo_core::Error>(())
//! ```

use std::ops::Range;

use serde_json::{Map, Value as Json};
use toml_edit::{Array, Document, Item, TableLike, Value as Toml};

use super::path::{Part, Path};
use super::{Value, bounded, damaged};
use crate::{Error, Result, near_match};

const OPERATION: &str = "update TOML";

/// Sets each key of `updates` to its value and returns the new text. All keys are looked up in `text` as it comes in.
///
/// A string between single quotes stays there when they can hold the new one; other strings stand in double quotes.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), and nothing was changed, when
/// - the text is not TOML (with the line) or longer than [`MAX_BYTES`](super::MAX_BYTES);
/// - a key does not exist: the error names the first part that is missing, a near match and the keys that are there;
/// - a key does not hold a single value, or two updates name the same one.
pub fn update<K: AsRef<str>, V: Clone + Into<Value>>(text: &str, updates: &[(K, V)]) -> Result<String> {
    let document = read(text)?;
    let mut wanted = table(document.as_table());
    let mut splices: Vec<(Range<usize>, String, &str)> = Vec::new();
    for (key, value) in updates {
        let (key, value): (&str, Value) = (key.as_ref(), value.clone().into());
        let path = Path::of_one_document(key)?;
        let old = find(document.as_item(), &path)?;
        let value = value.settled(&match old {
            // A date is no string that a text could take the place of unseen, but in JSON it is one.
            Toml::Datetime(_) => Json::Null,
            old => scalar(old),
        });
        let span = old.span().ok_or_else(|| damaged(OPERATION))?;
        if let Some((_, _, earlier)) = splices.iter().find(|(range, ..)| range.start == span.start) {
            return Err(invalid(format!("The updates {earlier:?} and {key:?} set the same value; keep one of them.")));
        }
        assign(&mut wanted, &path.parts, &value);
        let is_there = match (old, &value) {
            (Toml::String(old), Value::String(new)) => old.value() == new,
            (Toml::Integer(_) | Toml::Float(_) | Toml::Boolean(_), Value::Number(_) | Value::Bool(_)) => {
                scalar(old) == Json::from(value.clone())
            }
            _ => false,
        };
        let new = if is_there { text[span.clone()].to_owned() } else { written(&value, &text[span.clone()]) };
        splices.push((span, new, key));
    }
    splices.sort_by_key(|(span, ..)| span.start);
    let mut edited = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (span, new, _) in &splices {
        edited.push_str(&text[at..span.start]);
        edited.push_str(new);
        at = span.end;
    }
    edited.push_str(&text[at..]);
    if table(read(&edited)?.as_table()) == wanted { Ok(edited) } else { Err(damaged(OPERATION)) }
}

/// Reads `text` as JSON. Dates and times are strings, and so are infinities and NaN, which JSON does not have.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the text is not TOML (with the line), or longer than
/// [`MAX_BYTES`](super::MAX_BYTES).
pub fn parse(text: &str) -> Result<Json> {
    Ok(table(read(text)?.as_table()))
}

fn invalid(message: String) -> Error {
    super::invalid(OPERATION, message)
}

fn read(text: &str) -> Result<Document<&str>> {
    bounded(OPERATION, text)?;
    Document::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        invalid(format!("The text is not valid TOML at line {line}; correct the file first.")).because(error)
    })
}

/// The scalar at `path`.
fn find<'d>(root: &'d Item, path: &Path<'_>) -> Result<&'d Toml> {
    let mut node = Node::Table(root.as_table_like().ok_or_else(|| damaged(OPERATION))?);
    for (depth, part) in path.parts.iter().enumerate() {
        let place = if depth == 0 { "the document".to_owned() } else { format!("{:?}", path.up_to(depth)) };
        let missing = |why: String| invalid(format!("The key {:?} does not exist: {why}", path.key));
        let item = |index: usize, count: usize| {
            missing(format!("{place} has {count} items, counted from 0, so there is no item {index}."))
        };
        node = match (node, part) {
            (Node::Table(table), Part::Key(_) | Part::Either(..)) => {
                let name = part.text();
                match table.get(&name) {
                    Some(found) => Node::of(found).ok_or_else(|| damaged(OPERATION))?,
                    None => {
                        let keys: Vec<&str> = table.iter().map(|(key, _)| key).collect();
                        let near = near_match(&name, keys.iter().copied())
                            .map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near:?}?"));
                        return Err(missing(format!(
                            "there is no {name:?} in {place}{near} The keys there are: {}.",
                            keys.join(", ")
                        )));
                    }
                }
            }
            (Node::Tables(tables), Part::Either(_, index) | Part::Index(index)) => {
                Node::Table(tables.get(*index).ok_or_else(|| item(*index, tables.len()))?)
            }
            (Node::Array(array), Part::Either(_, index) | Part::Index(index)) => {
                Node::of_value(array.get(*index).ok_or_else(|| item(*index, array.len()))?)
            }
            (Node::Scalar(_), _) => return Err(missing(format!("{place} is a single value."))),
            (Node::Table(_), _) => {
                return Err(missing(format!("{place} is a table, so it has no item {}.", part.text())));
            }
            (_, _) => {
                return Err(missing(format!(
                    "{place} is an array; name an item by its index, such as \"{}.0\".",
                    path.up_to(depth)
                )));
            }
        };
    }
    match node {
        Node::Scalar(value) => Ok(value),
        Node::Table(_) => Err(invalid(format!("The key {:?} is a table; name one of its keys.", path.key))),
        Node::Array(_) | Node::Tables(_) => {
            Err(invalid(format!("The key {:?} is an array; name one of its items.", path.key)))
        }
    }
}

/// The four shapes of TOML, however they are written.
enum Node<'d> {
    Scalar(&'d Toml),
    Table(&'d dyn TableLike),
    Array(&'d Array),
    Tables(&'d toml_edit::ArrayOfTables),
}

impl<'d> Node<'d> {
    fn of(item: &'d Item) -> Option<Self> {
        match item {
            Item::None => None,
            Item::Value(value) => Some(Self::of_value(value)),
            Item::Table(table) => Some(Self::Table(table)),
            Item::ArrayOfTables(tables) => Some(Self::Tables(tables)),
        }
    }

    fn of_value(value: &'d Toml) -> Self {
        match value {
            Toml::Array(array) => Self::Array(array),
            Toml::InlineTable(table) => Self::Table(table),
            scalar => Self::Scalar(scalar),
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Scalar(value) => scalar(value),
            Self::Table(inner) => table(*inner),
            Self::Array(array) => array.iter().map(|value| Node::of_value(value).json()).collect(),
            Self::Tables(tables) => tables.iter().map(|inner| table(inner)).collect(),
        }
    }
}

fn table(table: &dyn TableLike) -> Json {
    let entries = table.iter().filter_map(|(key, item)| Some((key.to_owned(), Node::of(item)?.json())));
    Json::Object(entries.collect::<Map<_, _>>())
}

fn scalar(value: &Toml) -> Json {
    match value {
        Toml::String(text) => Json::from(text.value().as_str()),
        Toml::Integer(number) => Json::from(*number.value()),
        Toml::Float(number) => serde_json::Number::from_f64(*number.value())
            .map_or_else(|| Json::from(number.value().to_string()), Json::Number),
        Toml::Boolean(value) => Json::from(*value.value()),
        Toml::Datetime(moment) => Json::from(moment.value().to_string()),
        // These are no scalars; `Node` has told them apart.
        Toml::Array(_) | Toml::InlineTable(_) => Json::Null,
    }
}

/// `value` as TOML, in the quotes of `old` when they can hold it.
fn written(value: &Value, old: &str) -> String {
    match value {
        Value::String(text) => {
            let literal =
                old.starts_with('\'') && !text.contains('\'') && !text.chars().any(|c| c.is_control() && c != '\t');
            if literal { format!("'{text}'") } else { value.to_string().replace('\u{7f}', "\\u007f") }
        }
        other => other.plain(),
    }
}

/// `tree` with the value at `parts`, which is there.
fn assign(tree: &mut Json, parts: &[Part], value: &Value) {
    let child = match (parts.first(), &mut *tree) {
        (None, _) => {
            *tree = value.clone().into();
            return;
        }
        (Some(Part::Either(_, index) | Part::Index(index)), Json::Array(items)) => items.get_mut(*index),
        (Some(part), Json::Object(map)) => map.get_mut(&part.text()),
        _ => None,
    };
    if let Some(child) = child {
        assign(child, &parts[1..], value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn expect(before: &str, key: &str, value: impl Into<Value> + Clone, after: &str) {
        let edited = update(before, &[(key, value)]).unwrap_or_else(|error| panic!("{before:?}: {}", error.report()));
        assert_eq!(edited, after);
    }

    #[test]
    fn only_the_bytes_of_the_value_change() {
        let file = "# head\r\ntitle = \"a\" # why\r\n[image]\r\ntag=\"v1\"\r\n'odd.key' = 'x'\r\nports = [ 1, 2, # two\r\n 3 ]\r\n";
        expect(file, "image.tag", "v2", &file.replace("v1", "v2"));
        expect(file, "title", "it \"is\"\u{7f}\n", &file.replace("\"a\"", "\"it \\\"is\\\"\\u007f\\n\""));
        expect(file, "image.odd\\.key", "y", &file.replace("'x'", "'y'"));
        expect(file, "image.odd\\.key", "it's", &file.replace("'x'", "\"it's\""));
        expect(file, "image.ports.1", 7, &file.replace(" 2,", " 7,"));
        expect(file, "image.ports[2]", 7, &file.replace(" 3 ]", " 7 ]"));
        expect("a.b = 1 # c\n", "a.b", true, "a.b = true # c\n");
        expect("a = { b = 1.5, c = 2024-01-02 }", "a.c", "x", "a = { b = 1.5, c = \"x\" }");
        expect("a = \"\"\"\none\n  two\"\"\" # c\n", "a", "three", "a = \"three\" # c\n");
        expect("[[s]]\nt = '1'\n[[s]]\nt = '2'\n", "s.1.t", "3", "[[s]]\nt = '1'\n[[s]]\nt = '3'\n");
        expect("\u{feff}a = 1\n", "a", 2, "\u{feff}a = 2\n");
    }

    #[test]
    fn a_value_that_is_there_already_leaves_the_text_alone() {
        for file in ["t = \"1.2\"\n", "t = '1.2'\n", "t = '''1.2'''\n", "t = \"\\u0031.2\"\n"] {
            expect(file, "t", "1.2", file);
        }
        expect("t = 0x10\n", "t", 16, "t = 0x10\n");
        expect("t = 1_000\n", "t", 1000, "t = 1_000\n");
        expect("t = 2024-01-02\n", "t", "2024-01-02", "t = \"2024-01-02\"\n");
        expect("t = 1\n", "t", "1", "t = \"1\"\n");
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_the_way_out() {
        let file = "[image]\ntag = 'v1'\nlist = [1]\n[[s]]\nt = 1\n";
        for (key, parts) in [
            ("image.tga", ["\"tga\"", "did you mean \"tag\"?"]),
            ("image", ["is a table", "keys"]),
            ("image.list", ["is an array", "items"]),
            ("image.list.1", ["1 items", "no item 1"]),
            ("image.list.-1", ["is an array", "image.list.0"]),
            ("s.3.t", ["1 items", "no item 3"]),
            ("image.tag.x", ["\"image.tag\" is a single value", "does not exist"]),
        ] {
            let error = update(file, &[(key, "x")]).unwrap_err();
            for part in parts {
                assert!(error.message().contains(part), "{part:?} is not in {error}");
            }
        }
        assert!(update(file, &[("image.tag", "a"), ("image.:tag", "b")]).unwrap_err().message().contains("same value"));
        assert!(update("a = 1\nb = [", &[("a", "x")]).unwrap_err().message().contains("line 2"));
        assert!(update(&format!("a = {}", "[".repeat(10_000)), &[("a", "x")]).is_err(), "depth");
    }

    #[test]
    fn a_file_is_read_as_json() {
        let file =
            "a = 1\nb = 1.5\nc = 2024-01-02T03:04:05Z\nd = [1, {e = true}]\nf = inf\n[[t]]\nx = 'y'\n[g.h]\ni = 'j'\n";
        let wanted = json!({
            "a": 1, "b": 1.5, "c": "2024-01-02T03:04:05Z", "d": [1, {"e": true}], "f": "inf", "t": [{"x": "y"}], "g": {"h": {"i": "j"}},
        });
        assert_eq!(parse(file).unwrap(), wanted);
    }
}
