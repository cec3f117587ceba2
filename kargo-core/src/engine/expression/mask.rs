//! Secrets are masked wherever they would be written down.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::expr::RenderedConfig;

/// What stands where a secret stood.
const MASK: &str = "***";
/// A secret that is shorter than this, in bytes, is not masked: it would be found in every other word.
const SHORTEST: usize = 4;

/// The secrets that a plug-in is handed.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Secrets(Arc<Vec<SecretString>>);

impl Secrets {
    /// What of `rendered` comes from secrets, in the form that it has there, and those of `entries` that can be seen in it. Others stay
    /// what they are elsewhere: a user's name in a link is no secret because it lies beside a password.
    pub(super) fn of(rendered: &RenderedConfig, entries: impl Iterator<Item = SecretString>) -> Self {
        let mut texts = Vec::new();
        rendered
            .sensitive
            .iter()
            .filter_map(|at| rendered.value.pointer(at))
            .for_each(|value| leaves(value, &mut texts));
        let used = entries.filter(|entry| texts.iter().any(|text| text.contains(entry.expose_secret())));
        let used: Vec<SecretString> = used.collect();
        Self::all(texts.into_iter().map(SecretString::from).chain(used))
    }

    pub(super) fn all(values: impl Iterator<Item = SecretString>) -> Self {
        let mut values: Vec<SecretString> = values
            .flat_map(|secret| {
                // Keys and the like have several lines, and an error may show one of them.
                let lines =
                    secret.expose_secret().lines().map(|line| SecretString::from(line.trim())).collect::<Vec<_>>();
                std::iter::once(secret).chain(lines)
            })
            .filter(|secret| secret.expose_secret().len() >= SHORTEST)
            .collect();
        // The longest first, so that nothing of it is left when a shorter one is part of it.
        values.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self(Arc::new(values))
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::engine) fn mask(&self, mut text: String) -> String {
        for secret in self.0.iter() {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
        text
    }

    pub(in crate::engine) fn mask_value(&self, value: Value) -> Value {
        match value {
            _ if self.is_empty() => value,
            Value::String(text) => Value::String(self.mask(text)),
            Value::Number(number) if self.0.iter().any(|secret| secret.expose_secret() == number.to_string()) => {
                MASK.into()
            }
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.mask_value(item)).collect()),
            Value::Object(map) => Value::Object(self.mask_map(map)),
            other => other,
        }
    }

    pub(in crate::engine) fn mask_map(&self, map: Map<String, Value>) -> Map<String, Value> {
        if self.is_empty() {
            return map;
        }
        map.into_iter().map(|(key, value)| (self.mask(key), self.mask_value(value))).collect()
    }

    /// The error without the secrets. One that holds none stays what it is, with its source.
    pub(in crate::engine) fn mask_error(&self, error: Error) -> Error {
        let report = error.report();
        let masked = self.mask(report.clone());
        if masked == report {
            return error;
        }
        Error::new(error.kind(), masked).retry_as(error.retry())
    }
}

/// The texts and numbers in `value`.
fn leaves(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, texts)),
        Value::Object(entries) => entries.iter().for_each(|(key, item)| {
            texts.push(key.clone());
            leaves(item, texts);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_secret_is_masked_whole_in_each_of_its_lines_and_where_it_is_a_key() {
        let secrets = Secrets::all(
            ["hunter22", "hunter22-long", "first line\nsecond line", "abc"].map(SecretString::from).into_iter(),
        );
        assert_eq!(secrets.mask("hunter22-long hunter22 abc".into()), "*** *** abc");
        assert_eq!(secrets.mask("got: second line!".into()), "got: ***!");
        let value = json!({"hunter22": ["x hunter22", 1], "b": {"c": "first line"}});
        assert_eq!(secrets.mask_value(value), json!({"***": ["x ***", 1], "b": {"c": "***"}}));
        assert!(!format!("{secrets:?}").contains("hunter"));
        let error = Error::new(ErrorKind::Unavailable, "No answer.").because(std::io::Error::other("token hunter22"));
        let masked = secrets.mask_error(error);
        assert_eq!((masked.kind(), masked.report().contains("hunter")), (ErrorKind::Unavailable, false));
    }
}
