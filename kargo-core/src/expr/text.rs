//! Values as text: JSON as Go's `encoding/json` writes it, `%v`, and quoting.

use super::error::Fault;
use super::kargo;
use super::limits::{Meter, Metered};
use super::number::{json_float, plain_float};
use super::time;
use super::value::Value;

/// JSON on one line, or with `indent` blanks a level.
pub(super) fn json(value: &Value, indent: usize, meter: &mut Meter) -> Result<String, Fault> {
    let mut writer = Writer { out: Metered::new(meter), indent };
    writer.json(value, 0)?;
    writer.out.finish()
}

/// What `string()` gives: Go's `%v`.
pub(super) fn plain(value: &Value, meter: &mut Meter) -> Result<String, Fault> {
    let mut writer = Writer { out: Metered::new(meter), indent: 0 };
    writer.plain(value)?;
    writer.out.finish()
}

/// Go's `%q`: the text between quotes, with what cannot be seen escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            c if (c as u32) < 0x80 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// Whether Go's `unicode.IsPrint` holds. Rust's escaping follows the same categories; a letter in front keeps it from
/// escaping marks that would stand alone.
fn is_printable(c: char) -> bool {
    let mut pair = String::from("a");
    pair.push(c);
    format!("{pair:?}").len() == pair.len() + 2
}

struct Writer<'m> {
    out: Metered<'m>,
    indent: usize,
}

impl Writer<'_> {
    fn line(&mut self, level: usize) {
        if self.indent > 0 {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', self.indent * level));
        }
    }

    fn json(&mut self, value: &Value, level: usize) -> Result<(), Fault> {
        self.out.charge()?;
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => self.out.push_str(&value.to_string()),
            Value::Float(value) if value.is_finite() => self.out.push_str(&json_float(*value)),
            Value::String(text) => self.string(text),
            Value::List(list) => {
                let items = list.as_slice().iter().map(|item| (None, item));
                self.group('[', ']', items, level)?;
            }
            Value::Map(map) if map.others().is_empty() => {
                let entries = map.iter().map(|(key, value)| (Some(key.as_ref()), value));
                self.group('{', '}', entries, level)?;
            }
            Value::Record(record) => {
                let fields = record.fields.iter().filter(|field| !field.value.is_blank());
                self.group('{', '}', fields.map(|field| (Some(field.json), &field.value)), level)?;
            }
            Value::Time(moment) => self.string(&time::rfc3339(moment)),
            Value::Duration(nanoseconds) => self.out.push_str(&nanoseconds.to_string()),
            Value::Version(version) => self.string(&kargo::canonical(version)),
            // The error is the same as that of the conversion.
            other => drop(other.to_json()?),
        }
        Ok(())
    }

    fn group<'v>(
        &mut self,
        open: char,
        close: char,
        items: impl Iterator<Item = (Option<&'v str>, &'v Value)>,
        level: usize,
    ) -> Result<(), Fault> {
        self.out.push(open);
        let mut any = false;
        for (key, item) in items {
            if any {
                self.out.push(',');
            }
            any = true;
            self.line(level + 1);
            if let Some(key) = key {
                self.string(key);
                self.out.push_str(if self.indent > 0 { ": " } else { ":" });
            }
            self.json(item, level + 1)?;
        }
        if any {
            self.line(level);
        }
        self.out.push(close);
        Ok(())
    }

    /// A JSON string; Go escapes what HTML would take for markup.
    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                    self.out.push_str(&format!("\\u{:04x}", c as u32));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn plain(&mut self, value: &Value) -> Result<(), Fault> {
        self.out.charge()?;
        match value {
            Value::Nil => self.out.push_str("<nil>"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => self.out.push_str(&value.to_string()),
            Value::Float(value) => self.out.push_str(&plain_float(*value)),
            Value::String(text) => self.out.push_str(text),
            Value::List(list) => {
                self.out.push('[');
                for (index, item) in list.as_slice().iter().enumerate() {
                    if index > 0 {
                        self.out.push(' ');
                    }
                    self.plain(item)?;
                }
                self.out.push(']');
            }
            Value::Map(map) => {
                self.out.push_str("map[");
                for (index, (key, item)) in map.pairs().enumerate() {
                    if index > 0 {
                        self.out.push(' ');
                    }
                    self.plain(&key)?;
                    self.out.push(':');
                    self.plain(item)?;
                }
                self.out.push(']');
            }
            Value::Record(record) => {
                self.out.push('{');
                for (index, field) in record.fields.iter().enumerate() {
                    if index > 0 {
                        self.out.push(' ');
                    }
                    self.plain(&field.value)?;
                }
                self.out.push('}');
            }
            Value::Time(moment) => self.out.push_str(&time::plain(moment)),
            Value::Duration(nanoseconds) => self.out.push_str(&time::duration_text(*nanoseconds)),
            Value::Zone(zone) => self.out.push_str(zone.iana_name().unwrap_or("UTC")),
            Value::Version(version) => self.out.push_str(&kargo::canonical(version)),
            Value::Function(_) => return Err(Fault::kind("A function has no text.")),
        }
        Ok(())
    }
}
