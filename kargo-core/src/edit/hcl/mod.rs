//! HCL, the language of Terraform and OpenTofu: set single values by their key.
//!
//! [`update`] replaces literal values in `.tf`, `.tfvars` and other files in HCL's own syntax, and changes no byte outside of them. The
//! key must exist. Its parts, joined by dots, are names of arguments and blocks, a block's labels, keys of objects, and whole numbers for
//! items of lists; `\.` is a dot in a name.
//!
//! | key | in | names |
//! |---|---|---|
//! | `replicas` | `replicas = 2` | the argument |
//! | `module.vpc.version` | `module "vpc" { version = "5.1.0" }` | an argument of a block with one label |
//! | `resource.aws_instance.web.ami` | `resource "aws_instance" "web" { ami = "ami-1" }` | with two |
//! | `ingress.1.port` | `ingress { port = 80 }`, twice | of the second of the blocks that are called the same, from 0 |
//! | `tags.app\.kubernetes\.io/version` | `tags = { "app.kubernetes.io/version" = "1" }` | an entry of an object |
//! | `images[0].tag` | `images = [{ tag = "1" }]` | of an object in a list |
//!
//! What is worked out when the file is read is no single value and is refused: references, calls, templates such as
//! `"v${var.version}"`. So are heredocs.
//!
//! ```
//! use kargo_core::edit::hcl;
//!
//! let before = "module \"vpc\" {\n  version = \"5.1.0\" # reviewed\n}\n";
//! let after = hcl::update(before, &[("module.vpc.version", "5.2.0")])?;
//! assert_eq!(after, "module \"vpc\" {\n  version = \"5.2.0\" # reviewed\n}\n");
//!
//! let error = hcl::update(before, &[("module.vcp.version", "5.2.0")]).unwrap_err().to_string();
//! assert!(error.contains("did you mean \"vpc\"?"), "{error}");
//! # Ok::<(), kargo_core::Error>(())
//! ```

mod find;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;

use hcl_edit::parser::parse_body;
use serde_json::Value as Json;

use super::path::Path;
use super::{Value, bounded, can_look, damaged, spliced};
use crate::{Error, Result};
use tree::{Entry, assign, entries, normal};

const OPERATION: &str = "update HCL";

/// Sets each key of `updates` to its value and returns the new text. All keys are looked up in `text` as it comes in.
///
/// A string stands in double quotes; in it `${` and `%{` are written as `$${` and `%%{`, so that they are read as they are.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), and nothing was changed, when
/// - the text is not HCL (with the line), is nested more than 64 levels deep, or is longer than [`MAX_BYTES`](super::MAX_BYTES);
/// - a key does not exist: the error names the first part that is missing, a near match and what is there;
/// - a key names several values, or none that is single, or two updates name the same one;
/// - there are so many updates of so long a text that looking for them would take going through more than 4 GiB.
pub fn update<K: AsRef<str>, V: Clone + Into<Value>>(text: &str, updates: &[(K, V)]) -> Result<String> {
    let file = read(text)?;
    let mut splices: Vec<(Range<usize>, String)> = Vec::new();
    let (mut keys, mut values) = (HashMap::new(), HashMap::new());
    can_look(OPERATION, updates.len(), text)?;
    for (key, value) in updates {
        let (key, value): (&str, Value) = (key.as_ref(), value.clone().into());
        let path = Path::of_one_document(key)?;
        let old = find::find(text, &file, &path)?;
        let value = value.settled(&old.value);
        if let Some(earlier) = keys.insert(old.span.start, key) {
            return Err(invalid(format!("The updates {earlier:?} and {key:?} set the same value; keep one of them.")));
        }
        let new = normal(Json::from(value.clone()));
        let written = if new == old.value { text[old.span.clone()].to_owned() } else { written(&value) };
        values.insert(old.span.start, new);
        splices.push((old.span.clone(), written));
    }
    let mut wanted = file.clone();
    assign(&mut wanted, &values);
    let edited = spliced(text, splices);
    if read(&edited)? == wanted { Ok(edited) } else { Err(damaged(OPERATION)) }
}

fn invalid(message: String) -> Error {
    super::invalid(OPERATION, message)
}

fn read(text: &str) -> Result<Vec<Entry>> {
    bounded(OPERATION, text)?;
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = text.len() - body.len();
    let parsed = parse_body(body).map_err(|error| {
        let (line, why) = (error.location().line(), error.message().to_owned());
        invalid(format!("The text is not valid HCL at line {line}: {why}. Correct the file first.")).because(error)
    })?;
    entries(text, mark, &parsed)
}

/// `value` as HCL writes it.
fn written(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text,
        other => return other.plain(),
    };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if rest[1..].starts_with('{') => quoted.extend([c, c]),
            // Readers do not agree which of several signs before a brace belong together.
            '$' | '%' if rest.trim_start_matches(['$', '%']).starts_with('{') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
