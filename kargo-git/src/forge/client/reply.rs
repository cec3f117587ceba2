//! An answer of an API.

use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{HeaderMap, LINK};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::remote::readable;

/// How much of a foreign text is kept in an error, in characters.
const KEPT: usize = 300;

/// An answer in the API's own words: good, or a refusal.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) what: String,
    pub(super) who: String,
    pub(super) secret: Option<SecretString>,
}

impl Reply {
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer, or the refusal as an error.
    pub(crate) fn expect(self) -> Result<Self> {
        if self.is_ok() { Ok(self) } else { Err(self.refusal()) }
    }

    /// The answer as what it should be.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The source tells line and column; the text could show a part of a token.
            let fault = format!("line {}, column {}", error.line(), error.column());
            Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "{}, asked to {}, answered with JSON of another shape than its documentation has ({fault}).",
                    self.who, self.what
                ),
            )
        })
    }

    /// A refusal as an error that stays until somebody does something.
    pub(crate) fn refusal(&self) -> Error {
        let (kind, way_out) = match self.status {
            403 => (ErrorKind::PermissionDenied, "Give the token the right to read code and to write pull requests."),
            404 | 410 => (ErrorKind::NotFound, "It does not exist, or is hidden from these credentials."),
            409 | 412 => (ErrorKind::Conflict, "Somebody changed it in between; another try can help."),
            400 | 422 => (ErrorKind::InvalidInput, "The server does not accept the request as it is."),
            _ => (ErrorKind::Other, "That is not an answer this client expects."),
        };
        let text = format!(
            "{}, asked to {}, answered {}: {} {way_out}",
            self.who,
            self.what,
            self.status,
            sentence(&self.text())
        );
        Error::new(kind, text).with("status", self.status)
    }

    /// The refusal in the server's words, on one line and without secrets.
    pub(crate) fn text(&self) -> String {
        let decoded: Option<Value> = serde_json::from_slice(&self.body).ok();
        let text = decoded.as_ref().and_then(words).unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        let mut text = readable(text.as_bytes());
        if let Some(secret) = &self.secret
            && !secret.expose_secret().is_empty()
        {
            text = text.replace(secret.expose_secret(), "***");
        }
        match text.char_indices().nth(KEPT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    /// Whether the server says in its own words something like this, in any case.
    pub(crate) fn says(&self, part: &str) -> bool {
        self.text().to_ascii_lowercase().contains(&part.to_ascii_lowercase())
    }

    /// Whether there is a next page, by the header `Link` (RFC 8288).
    pub(crate) fn has_next(&self) -> bool {
        let links = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        links.flat_map(|value| value.split(',')).any(|link| link.contains("rel=\"next\""))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
    }
}

/// What a JSON error says, in any of the forms in which forges write it: `message` as text, list or map, `error` as text or with a
/// `message` of its own, `errors` as a list.
fn words(body: &Value) -> Option<String> {
    let mut parts = Vec::new();
    for key in ["message", "error", "error_description", "errors", "detail"] {
        match body.get(key) {
            Some(Value::Null) | None => {}
            Some(Value::String(text)) => parts.push(text.clone()),
            Some(Value::Array(entries)) => parts.extend(entries.iter().map(|entry| match entry {
                Value::String(text) => text.clone(),
                other => words(other).unwrap_or_else(|| other.to_string()),
            })),
            Some(inner) => parts.push(words(inner).unwrap_or_else(|| inner.to_string())),
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `text` as a sentence.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    match text.chars().last() {
        None => "no reason was given.".to_owned(),
        Some('.' | '!' | '?') => text.to_owned(),
        Some(_) => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_words_of_every_forge_are_found() {
        for (body, text) in [
            (
                json!({"message": "Validation Failed", "errors": [{"code": "custom", "message": "exists"}]}),
                "Validation Failed; exists",
            ),
            (json!({"message": ["Another open merge request"]}), "Another open merge request"),
            (json!({"message": {"title": ["is too long"]}}), "{\"title\":[\"is too long\"]}"),
            (json!({"type": "error", "error": {"message": "Bad request", "detail": "more"}}), "Bad request; more"),
            (json!({"errors": [{"context": null, "message": "Out of date"}]}), "Out of date"),
        ] {
            assert_eq!(words(&body).as_deref(), Some(text), "{body}");
        }
    }
}
