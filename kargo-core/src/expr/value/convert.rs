//! Between values, JSON and Rust's own types.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entries, Extent, MAX_DEPTH, Map, Record, Value};
use crate::expr::error::Fault;
use crate::expr::number::json_number;
use crate::expr::{kargo, time};

impl Value {
    /// The value of some JSON. Whole numbers that fit become [`Value::Int`].
    ///
    /// # Errors
    /// When it is nested more than [`MAX_DEPTH`] levels deep, or has more than [`MAX_WEIGHT`](super::MAX_WEIGHT) elements.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, Fault> {
        fn convert(json: &serde_json::Value, room: usize) -> Result<Value, Fault> {
            let room = room
                .checked_sub(1)
                .ok_or_else(|| Fault::limit(format!("The JSON is nested more than {MAX_DEPTH} levels deep.")))?;
            Ok(match json {
                serde_json::Value::Null => Value::Nil,
                serde_json::Value::Bool(value) => Value::Bool(*value),
                serde_json::Value::Number(number) => match number.as_i64() {
                    Some(value) => Value::Int(value),
                    None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
                },
                serde_json::Value::String(text) => Value::String(text.as_str().into()),
                serde_json::Value::Array(items) => {
                    Value::list(items.iter().map(|item| convert(item, room)).collect::<Result<_, _>>()?)?
                }
                serde_json::Value::Object(entries) => {
                    let entries = entries.iter().map(|(key, item)| Ok((key.as_str().into(), convert(item, room)?)));
                    Value::Map(Map::new(entries.collect::<Result<_, Fault>>()?)?)
                }
            })
        }
        convert(json, MAX_DEPTH + 1)
    }

    /// The value as JSON: records with their JSON names, times as RFC 3339, durations in nanoseconds.
    ///
    /// # Errors
    /// When JSON cannot hold it: an infinite number, a function, a map whose keys are no strings.
    pub fn to_json(&self) -> Result<serde_json::Value, Fault> {
        use serde_json::Value as Json;
        Ok(match self {
            Self::Nil => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Json::Number(json_number(*value)?),
            Self::String(text) => Json::String(text.to_string()),
            Self::List(list) => Json::Array(list.as_slice().iter().map(Self::to_json).collect::<Result<_, _>>()?),
            Self::Map(map) => {
                if !map.others().is_empty() {
                    return Err(Fault::kind("A map whose keys are not all strings cannot become JSON."));
                }
                let entries = map.iter().map(|(key, value)| Ok((key.to_string(), value.to_json()?)));
                Json::Object(entries.collect::<Result<_, Fault>>()?)
            }
            Self::Record(record) => {
                let kept = record.fields.iter().filter(|field| !field.value.is_blank());
                Json::Object(
                    kept.map(|field| Ok((field.json.to_owned(), field.value.to_json()?)))
                        .collect::<Result<_, Fault>>()?,
                )
            }
            Self::Time(time) => Json::String(time::rfc3339(time)),
            Self::Duration(nanoseconds) => Json::from(*nanoseconds),
            Self::Version(version) => Json::String(kargo::canonical(version)),
            Self::Zone(_) | Self::Function(_) => {
                return Err(Fault::kind(format!("{} cannot become JSON.", capitalized(self.kind()))));
            }
        })
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Self::Map(value)
    }
}

impl From<Record> for Value {
    fn from(value: Record) -> Self {
        Self::Record(Arc::new(value))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// Texts under keys, such as a ConfigMap's data.
impl From<BTreeMap<String, String>> for Value {
    fn from(entries: BTreeMap<String, String>) -> Self {
        let named: BTreeMap<Arc<str>, Self> =
            entries.into_iter().map(|(key, value)| (Arc::from(key), Self::from(value))).collect();
        let start = Extent { depth: 1, weight: 1 };
        let extent = named.values().map(Self::extent).fold(start, Extent::joined);
        Self::Map(Map { entries: Arc::new(Entries { named, others: BTreeMap::new() }), extent })
    }
}
