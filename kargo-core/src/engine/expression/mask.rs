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
pub(in crate::engine) struct Secrets {
    /// The longest first.
    texts: Arc<Vec<SecretString>>,
    /// Where in the configuration something comes from secrets, as JSON pointers.
    places: Arc<Vec<String>>,
}

impl Secrets {
    /// What of `rendered` comes from secrets: in the form that it has there, in that which each expression gave it, as it was read and in
    /// all forms in between, since a server that is sent one of them may answer with another. `variables` are those that come from secrets,
    /// and the same about them; they count when they were read. Of `entries` also those count that can be seen in it. Others stay what they
    /// are elsewhere: a user's name in a link is no secret because it lies beside a password.
    pub(super) fn of(
        rendered: &RenderedConfig,
        variables: &[(Value, Vec<Arc<str>>)],
        entries: impl Iterator<Item = SecretString>,
    ) -> Self {
        let mut texts = Vec::new();
        rendered
            .sensitive
            .iter()
            .filter_map(|at| rendered.value.pointer(at))
            .for_each(|value| leaves(value, &mut texts));
        let mut secrets = rendered.secrets.clone();
        // Later ones can be made of earlier ones.
        for (value, made_of) in variables.iter().rev() {
            let mut own = Vec::new();
            leaves(value, &mut own);
            if own.iter().any(|text| secrets.contains(text.as_str())) {
                secrets.extend(made_of.iter().cloned());
            }
        }
        let seen = |form: &SecretString| texts.iter().any(|text| text.contains(form.expose_secret()));
        let used: Vec<SecretString> =
            entries.filter(|entry| forms(entry.expose_secret()).any(|form| seen(&form))).collect();
        let secrets = secrets.iter().map(|text| SecretString::from(&**text));
        let all = Self::all(texts.into_iter().map(SecretString::from).chain(secrets).chain(used));
        Self { places: Arc::new(rendered.sensitive.iter().map(ToString::to_string).collect()), ..all }
    }

    pub(super) fn all(values: impl Iterator<Item = SecretString>) -> Self {
        let mut values: Vec<SecretString> = values
            .flat_map(|secret| {
                // Keys and the like have several lines, and an error may show one of them.
                let parts =
                    std::iter::once(secret.expose_secret()).chain(secret.expose_secret().lines().map(str::trim));
                parts.flat_map(forms).collect::<Vec<_>>()
            })
            .filter(|secret| secret.expose_secret().len() >= SHORTEST)
            .collect();
        // The longest first, so that nothing of it is left when a shorter one is part of it.
        values.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        values.dedup_by(|one, other| one.expose_secret() == other.expose_secret());
        Self { texts: Arc::new(values), places: Arc::default() }
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The configuration without what comes from secrets, wherever else the same text may be.
    pub(in crate::engine) fn mask_places(&self, mut config: Value) -> Value {
        for place in self.places.iter() {
            if let Some(secret) = config.pointer_mut(place) {
                *secret = MASK.into();
            }
        }
        config
    }

    pub(in crate::engine) fn mask(&self, mut text: String) -> String {
        for secret in self.texts.iter() {
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
            Value::Number(number) if self.texts.iter().any(|secret| secret.expose_secret() == number.to_string()) => {
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

/// A text as it is, and as it stands in JSON and in messages that put it in quotes.
fn forms(text: &str) -> impl Iterator<Item = SecretString> + use<> {
    let inner = |quoted: String| quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let mut forms = vec![text.to_owned()];
    for form in [inner(Value::from(text).to_string()), inner(format!("{text:?}"))] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms.into_iter().map(SecretString::from)
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
    fn a_secret_is_masked_also_where_it_stands_in_quotes() {
        let secret = "ab\"cd\\ef\tgh";
        let secrets = Secrets::all([secret].map(SecretString::from).into_iter());
        let message = format!("invalid type: string {secret:?}, expected u32; {}", Value::from(secret));
        assert_eq!(secrets.mask(message), "invalid type: string \"***\", expected u32; \"***\"");
        assert_eq!(secrets.mask(format!("password={secret};")), "password=***;");
    }

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
