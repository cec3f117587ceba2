//! Values as YAML, in the style of Go's yaml.v3: four blanks a level, plain scalars where they read back as they are.

use super::error::Fault;
use super::limits::{Meter, Metered};
use super::text;
use super::value::Value;

/// The value as a YAML document that ends in a newline.
pub(super) fn write(value: &Value, meter: &mut Meter) -> Result<String, Fault> {
    let mut writer = Writer { out: Metered::new(meter) };
    writer.node(value, 0, Place::Top)?;
    writer.out.finish()
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    AfterKey,
    AfterDash,
}

struct Writer<'m> {
    out: Metered<'m>,
}

impl Writer<'_> {
    fn indent(&mut self, level: usize) {
        self.out.extend(std::iter::repeat_n(' ', level));
    }

    /// Writes `value`, whose own lines are indented by `level`.
    fn node(&mut self, value: &Value, level: usize, place: Place) -> Result<(), Fault> {
        self.out.charge()?;
        match value {
            Value::List(list) if !list.as_slice().is_empty() => {
                for (index, item) in list.as_slice().iter().enumerate() {
                    self.start(level, place, index);
                    self.out.push('-');
                    self.node(item, level + 2, Place::AfterDash)?;
                }
            }
            Value::Map(map) if map.others().is_empty() && !map.is_empty() => {
                for (index, (key, item)) in map.iter().enumerate() {
                    self.entry(key, item, level, place, index)?;
                }
            }
            Value::Record(record) => {
                let kept: Vec<_> = record.fields.iter().filter(|field| !field.value.is_blank()).collect();
                if kept.is_empty() {
                    self.scalar_text("{}", place);
                }
                for (index, field) in kept.into_iter().enumerate() {
                    self.entry(field.json, &field.value, level, place, index)?;
                }
            }
            Value::List(_) => self.scalar_text("[]", place),
            Value::Map(map) if map.is_empty() => self.scalar_text("{}", place),
            Value::String(text) if text.contains('\n') => self.block(text, level, place),
            Value::String(text) => {
                let scalar = scalar(text);
                self.scalar_text(&scalar, place);
            }
            Value::Float(value) => {
                let text = super::number::plain_float(*value);
                let text = match text.as_str() {
                    "NaN" => ".nan",
                    "+Inf" => ".inf",
                    "-Inf" => "-.inf",
                    other => other,
                };
                self.scalar_text(text, place);
            }
            Value::Time(moment) => self.scalar_text(&super::time::rfc3339(moment), place),
            Value::Duration(nanoseconds) => self.scalar_text(&super::time::duration_text(*nanoseconds), place),
            other => {
                // What is left are scalars that YAML writes as JSON does, and what neither can hold.
                let text = text::json(other, 0, self.out.meter())?;
                self.scalar_text(&text, place);
            }
        }
        Ok(())
    }

    /// The start of an item's line. The first of a group behind a dash stands on the dash's line.
    fn start(&mut self, level: usize, place: Place, index: usize) {
        match (place, index) {
            (Place::AfterDash, 0) => self.out.push(' '),
            (Place::AfterKey, 0) => {
                self.out.push('\n');
                self.indent(level);
            }
            _ => self.indent(level),
        }
    }

    fn entry(&mut self, key: &str, item: &Value, level: usize, place: Place, index: usize) -> Result<(), Fault> {
        self.start(level, place, index);
        let key = scalar(key);
        self.out.push_str(&key);
        self.out.push(':');
        // yaml.v3 goes to the next multiple of four, also from within a list.
        self.node(item, (level + 4) / 4 * 4, Place::AfterKey)
    }

    fn scalar_text(&mut self, text: &str, place: Place) {
        if place != Place::Top {
            self.out.push(' ');
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// Several lines as a literal block, or quoted where a block cannot hold them.
    fn block(&mut self, text: &str, level: usize, place: Place) {
        let body = text.trim_end_matches('\n');
        let fits = !body.is_empty()
            && !text.starts_with([' ', '\n', '\t'])
            && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
        if !fits {
            self.scalar_text(&double_quoted(text), place);
            return;
        }
        let end = match text.len() - body.len() {
            0 => "|-",
            1 => "|",
            _ => "|+",
        };
        self.scalar_text(end, place);
        let level = if place == Place::Top { 4 } else { level };
        for line in body.split('\n') {
            if !line.is_empty() {
                self.indent(level);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n('\n', (text.len() - body.len()).saturating_sub(1)));
    }
}

/// A text on one line, quoted where it would read back as something else.
fn scalar(text: &str) -> String {
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')) {
        return double_quoted(text);
    }
    if reads_as_other(text) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let special = text.is_empty()
        || text.starts_with(|c: char| c.is_whitespace() || "!&*{}[]|>@`\"'%#,=".contains(c))
        || text.starts_with(['-', '?', ':']) && text[1..].chars().next().is_none_or(char::is_whitespace)
        || text.ends_with(|c: char| c.is_whitespace() || c == ':')
        || [": ", " #"].iter().any(|mark| text.contains(mark))
        || ["---", "..."].iter().any(|mark| text.starts_with(mark));
    if !special {
        return text.to_owned();
    }
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether YAML 1.1 or 1.2 would read a plain `text` as a number, a bool, a null or a date.
fn reads_as_other(text: &str) -> bool {
    const WORDS: [&str; 14] =
        ["null", "~", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf", "-.inf", "<<"];
    if WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return true;
    }
    let Some(first) = text.bytes().next() else { return false };
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return false;
    }
    let based = |prefix: &str, radix| {
        text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let date = text.len() >= 8
        && text.bytes().take(4).all(|byte| byte.is_ascii_digit())
        && text.as_bytes().get(4) == Some(&b'-')
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"-:TtZz+. ".contains(&byte));
    let sexagesimal = text.contains(':') && text.bytes().all(|byte| byte.is_ascii_digit() || b":+-._".contains(&byte));
    super::number::parse_float(text).is_some()
        || super::number::parse_float(&text.replace('_', "")).is_some()
        || based("0x", 16)
        || based("0o", 8)
        || based("0b", 2)
        || date
        || sexagesimal
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let code = c as u32;
                out.push_str(&if code < 0x100 { format!("\\x{code:02X}") } else { format!("\\u{code:04X}") });
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;

    fn yaml(json: serde_json::Value) -> String {
        write(&Value::from_json(&json).unwrap(), &mut Meter::new(Limits::default())).unwrap()
    }

    #[test]
    fn values_are_written_as_yaml_v3_writes_them() {
        use serde_json::json;
        assert_eq!(yaml(json!({"a": {"b": [1, "x"]}, "c": []})), "a:\n    b:\n        - 1\n        - x\nc: []\n");
        assert_eq!(yaml(json!([{"a": 1, "b": 2}, [1, 2]])), "- a: 1\n  b: 2\n- - 1\n  - 2\n");
        assert_eq!(
            yaml(json!({"tag": "1.10", "on": "yes", "d": "2024-01-02", "e": ""})),
            concat!("d: \"2024-01-02\"\n", "e: \"\"\n", "\"on\": \"yes\"\n", "tag: \"1.10\"\n",)
        );
        assert_eq!(
            yaml(json!({"script": "one\ntwo\n", "end": "a\nb"})),
            concat!("end: |-\n    a\n    b\n", "script: |\n    one\n    two\n",)
        );
        assert_eq!(yaml(json!({"a": "x: y", "b": "it's #1", "c": "a #b"})), "a: 'x: y'\nb: 'it''s #1'\nc: 'a #b'\n");
        assert_eq!(yaml(json!("plain")), "plain\n");
        assert_eq!(yaml(json!(null)), "null\n");
    }
}
