//! An answer, as expressions see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value as Json;

use crate::edit;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::expr::{Environment, Fault, Function, Map, Parameter, Program, Scope, Value};

/// An answer with its body.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The next answer may be another one: a proxy has its pages for a while.
fn unfit(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidResponse, what).retry_as(Retry::Backoff)
}

impl Answer {
    /// The variable `response`, where `content_type` takes the place of what the answer says of itself.
    ///
    /// # Errors
    /// When the body is not what it is said to be.
    pub(super) fn scope(&self, content_type: Option<&str>) -> Result<Scope<'static>> {
        let fault = |_: Fault| unfit("The answer is nested too deep, or is too large, to be read by expressions.");
        let headers: BTreeMap<String, Vec<String>> = self
            .headers
            .keys()
            .map(|name| {
                let values = self.headers.get_all(name).iter();
                (
                    canonical(name.as_str()),
                    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect(),
                )
            })
            .collect();
        let first: BTreeMap<String, String> = headers
            .iter()
            .filter_map(|(name, values)| Some((name.to_ascii_lowercase(), values.first()?.clone())))
            .collect();
        let header = Function::new("header", &[Parameter::String], move |arguments| {
            let name = arguments.first().and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            Ok(Value::from(first.get(&name).map(String::as_str).unwrap_or_default()))
        });
        let mut response = Map::empty();
        response.set("status", Value::Int(self.status.into())).map_err(fault)?;
        let headers = serde_json::to_value(headers).unwrap_or_default();
        response.set("headers", Value::from_json(&headers).map_err(fault)?).map_err(fault)?;
        response.set("header", Value::Function(Arc::new(header))).map_err(fault)?;
        response.set("body", Value::from_json(&self.parsed(content_type)?).map_err(fault)?).map_err(fault)?;
        Scope::default().variable("response", Value::Map(response)).map_err(fault)
    }

    fn parsed(&self, content_type: Option<&str>) -> Result<Json> {
        let own = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let own = own.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let kind = content_type.unwrap_or(&own);
        let text = || {
            let text = std::str::from_utf8(&self.body).map_err(|_| unfit("The answer is not UTF-8 text."))?;
            Ok::<_, Error>(text)
        };
        let nothing = Json::Object(serde_json::Map::new());
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(nothing);
        }
        let subtype = kind.rsplit('/').next().unwrap_or_default();
        if kind == "text/plain" {
            return Ok(Json::String(text()?.to_owned()));
        }
        if subtype.ends_with("yaml") {
            let documents =
                edit::yaml::parse(text()?).map_err(|error| unfit("The answer is not YAML.").because(error))?;
            return Ok(documents.into_iter().next().unwrap_or(nothing));
        }
        let json = serde_json::from_slice(&self.body);
        if subtype.ends_with("json") {
            return json.map_err(|error| unfit("The answer is not JSON, though it is said to be.").because(error));
        }
        // What says nothing that is known is JSON if it can be read as such; Kargo does the same.
        Ok(json.unwrap_or(nothing))
    }
}

/// `Content-Type` for `content-type`, as Go has header names.
fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut characters = part.chars();
        characters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + characters.as_str())
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

/// What an expression gives.
pub(super) fn evaluate(field: &str, expression: &str, scope: &Scope<'_>) -> Result<Value> {
    let program = Program::compile(expression, &Environment::bare())
        .map_err(|error| in_field(field, error).retry_as(Retry::Never))?;
    Ok(program.evaluate(scope).map_err(|error| in_field(field, error))?.value)
}

/// Whether an expression holds.
pub(super) fn holds(field: &str, expression: &str, scope: &Scope<'_>) -> Result<bool> {
    match evaluate(field, expression, scope)? {
        Value::Bool(holds) => Ok(holds),
        other => Err(unfit(format!("`{field}` gives {}, where it should give true or false.", other.type_name()))),
    }
}

fn in_field(field: &str, error: crate::expr::Error) -> Error {
    let error = Error::from(error);
    // What one answer lacks, another may have.
    Error::new(error.kind(), format!("`{field}`: {}", error.report())).retry_as(Retry::Backoff)
}
