//! Values with a fixed set of fields.

use std::fmt;

use super::Value;

/// A value with a fixed set of fields, as a Go struct is: a field that it does not have is an error, not `nil`.
///
/// Fields go by their Go names in expressions (`imageFrom(url).RepoURL`) and by their JSON names in JSON (`repoURL`).
#[derive(Clone)]
pub struct Record {
    pub(in crate::expr) kind: &'static str,
    pub(in crate::expr) fields: Vec<Field>,
}

#[derive(Clone)]
pub(in crate::expr) struct Field {
    pub(in crate::expr) name: &'static str,
    pub(in crate::expr) json: &'static str,
    pub(in crate::expr) value: Value,
}

impl Record {
    /// A record without fields; `kind` is what `type()` and errors call it.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, fields: Vec::new() }
    }

    /// Adds a field by its name in expressions and its name in JSON, where empty texts and `nil` are left out.
    #[must_use]
    pub fn field(mut self, name: &'static str, json: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push(Field { name, json, value: value.into() });
        self
    }

    pub(in crate::expr) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.kind);
        for field in &self.fields {
            shown.field(field.name, &field.value);
        }
        shown.finish()
    }
}
