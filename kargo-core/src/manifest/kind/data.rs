//! Secrets and config maps, for the functions `secret()` and `configMap()`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::{Fields, Notes, put_flag, put_texts};
use crate::manifest::finding::{Rule, below};

/// Values that must not be seen. They show in no error, log or file: [`Secret::reveal`] is the only way to one.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Secret {
    pub(in crate::manifest) values: BTreeMap<String, SecretString>,
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let entries = |secret: &Self| secret.values.keys().cloned().collect::<Vec<_>>();
        entries(self) == entries(other) && self.keys().all(|key| self.reveal(key) == other.reveal(key))
    }
}

impl Secret {
    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The value of a key, in clear.
    pub fn reveal(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(ExposeSecret::expose_secret)
    }

    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let mut values = BTreeMap::new();
        let data = fields.take("data");
        for (key, packed) in fields.text_map(notes, "data") {
            let bytes = base64::engine::general_purpose::STANDARD.decode(packed.trim()).ok();
            match bytes.map(String::from_utf8) {
                Some(Ok(text)) => drop(values.insert(key, text.into())),
                // Such as a key store; nothing an expression could use.
                Some(Err(_)) => {}
                None => {
                    let at = data.clone();
                    let (span, pointer) = at.map_or((fields.span, String::new()), |at| (at.span(), at.pointer));
                    let message =
                        format!("The value of {key:?} is no Base64; encode it, or write it under stringData.");
                    notes.error(Rule::BadValue, span, &below(&pointer, &key), message);
                }
            }
        }
        values.extend(fields.text_map(notes, "stringData").into_iter().map(|(key, text)| (key, text.into())));
        fields.text(notes, "type");
        fields.flag(notes, "immutable");
        Self { values }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("keys", &self.values.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// Values that anybody may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigMap {
    /// By key.
    pub data: BTreeMap<String, String>,
    /// What is no text, in Base64. Kept as it is; expressions do not see it.
    pub binary_data: BTreeMap<String, String>,
    /// Whether a cluster lets nobody change it.
    pub immutable: bool,
}

impl ConfigMap {
    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        Self {
            data: fields.text_map(notes, "data"),
            binary_data: fields.text_map(notes, "binaryData"),
            immutable: fields.flag(notes, "immutable").unwrap_or_default(),
        }
    }

    pub(super) fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        put_texts(&mut body, "data", &self.data);
        put_texts(&mut body, "binaryData", &self.binary_data);
        put_flag(&mut body, "immutable", self.immutable);
        body
    }
}
