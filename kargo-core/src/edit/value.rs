//! What a key is set to.

use std::fmt;

/// A single value, as an edit sets it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A string, which is quoted where it would be read as anything else.
    String(String),
    /// A number, as it is.
    Number(serde_json::Number),
    /// `true` or `false`.
    Bool(bool),
    /// A text of which it is not known whether a string is meant, such as what an expression gave. Where a whole number, a fraction or
    /// a bool stands already it becomes one, if it reads as one and is written as one usually is; else it is a string.
    ///
    /// In YAML that holds for whole numbers of up to six digits and for bools only: Helm prints longer numbers as `1.234567e+06`, and
    /// fractions are more often versions.
    Untyped(String),
}

impl Value {
    /// The text without quotes.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::String(text) | Self::Untyped(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::String(text) | Self::Untyped(text) if text.is_empty())
    }

    /// The value with its kind, where `there` stands now.
    pub(super) fn settled(&self, there: &serde_json::Value) -> Self {
        let Self::Untyped(text) = self else { return self.clone() };
        match (there, serde_json::from_str(text)) {
            (serde_json::Value::Bool(_), Ok(serde_json::Value::Bool(value))) => Self::Bool(value),
            (serde_json::Value::Number(there), Ok(serde_json::Value::Number(number)))
                if there.is_f64() == number.is_f64() && number.to_string() == *text =>
            {
                Self::Number(number)
            }
            _ => Self::String(text.clone()),
        }
    }
}

/// As it would be written in JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) | Self::Untyped(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
            other => f.write_str(&other.plain()),
        }
    }
}

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) | Value::Untyped(text) => Self::String(text),
            Value::Number(number) => Self::Number(number),
            Value::Bool(value) => Self::Bool(value),
        }
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Number(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Number(value.into())
    }
}

impl From<serde_json::Number> for Value {
    fn from(value: serde_json::Number) -> Self {
        Self::Number(value)
    }
}
