//! Answers that are not what was asked for: errors, refusals, and things that are no answer at all.

use std::time::Duration;

use kargo_core::{Error, ErrorKind, Retry};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use thiserror::Error as ThisError;

use crate::scrub::without_userinfo;

/// How much of a foreign text is kept in an error.
const KEPT: usize = 300;

/// What Argo CD answered instead of doing it. Found as a source of the [`kargo_core::Error`].
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("Argo CD answered {status}: {message}")]
#[non_exhaustive]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The gRPC code, when the answer was Argo CD's own.
    pub code: Option<i64>,
    /// Argo CD's text, shortened, without secrets.
    pub message: String,
}

/// Why Argo CD did not start a sync, where that is no error but a state of things.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Another operation runs or waits.
    OperationInProgress,
    /// A sync window forbids it now. The text is Argo CD's.
    SyncWindow(String),
    /// The application syncs by itself, and the revision asked for is not the one it follows. The text is Argo CD's.
    AutoSync(String),
    /// The application is being deleted.
    Deleting,
    /// Argo CD could not resolve the revision, such as when the repository is down. The text is Argo CD's.
    Revision(String),
    /// Somebody changed the application in between.
    Conflict,
}

impl Refusal {
    /// The refusal that an error's text and code mean, if it is one.
    pub(super) fn of(error: &ApiError) -> Option<Self> {
        let text = error.message.as_str();
        let lower = text.to_ascii_lowercase();
        // The HTTP status of a window is that of a real denial; only the text tells them apart.
        if lower.contains("blocked by sync window") || lower.contains("invalid sync window") {
            return Some(Self::SyncWindow(text.to_owned()));
        }
        if error.status == 409 || error.code == Some(10) {
            return Some(Self::Conflict);
        }
        if error.status != 400 {
            return None;
        }
        if lower.contains("another operation is already in progress") {
            Some(Self::OperationInProgress)
        } else if lower.contains("auto-sync currently set to") || lower.starts_with("cannot sync source") {
            Some(Self::AutoSync(text.to_owned()))
        } else if lower.contains("application is deleting") {
            Some(Self::Deleting)
        } else if lower.contains("error resolving repo revision") || lower.contains("unable to resolve") {
            Some(Self::Revision(text.to_owned()))
        } else {
            None
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: String,
    message: String,
    code: Option<i64>,
}

/// Whether the answer says that it is JSON. A wrong base path, a single sign-on proxy and an ingress all like to answer with HTML
/// and status 200.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("application/json"))
}

/// Reads an error answer.
pub(super) fn api_error(status: u16, headers: &HeaderMap, body: &[u8], secrets: &[&str]) -> ApiError {
    let text = String::from_utf8_lossy(body);
    let decoded = is_json(headers).then(|| serde_json::from_slice::<Body>(body).ok()).flatten();
    let (code, message) = match decoded {
        Some(body) if !body.message.is_empty() => (body.code, body.message),
        Some(body) if !body.error.is_empty() => (body.code, body.error),
        _ => (None, text.into_owned()),
    };
    ApiError { status, code, message: clean(&message, secrets) }
}

/// The error for a caller who asked for `what`.
pub(super) fn explain(api: ApiError, headers: &HeaderMap, what: &str, host: &str) -> Error {
    let (kind, way_out) = match (api.status, api.code) {
        (401, _) | (_, Some(16)) => (
            ErrorKind::Unauthenticated,
            "Is the token valid, not expired, and a JSON Web Token? Argo CD ignores any other bearer silently.",
        ),
        // Argo CD's own errors carry a code. Without one, nothing is said about the application.
        (403 | 404, None) => (
            ErrorKind::InvalidResponse,
            "That is not Argo CD's own answer. Is there a proxy in front of it, or is the root path missing from the base URL?",
        ),
        (403, _) | (_, Some(7)) => (
            ErrorKind::PermissionDenied,
            "It does not exist, or the account may not do this; Argo CD does not say which. Naming the project tells them apart.",
        ),
        (404, _) | (_, Some(5)) => (ErrorKind::NotFound, "Are the name, the namespace and the project right?"),
        (409, _) | (_, Some(6 | 10)) => (ErrorKind::Conflict, "Somebody changed it in between; another try can help."),
        (429, _) | (_, Some(8)) => (ErrorKind::RateLimited, "The server asks to slow down."),
        (408 | 504, _) | (_, Some(4)) => (ErrorKind::Timeout, "The server gave up waiting; another try can help."),
        (502 | 503, _) | (_, Some(14)) => {
            (ErrorKind::Unavailable, "The server cannot answer now; another try can help.")
        }
        (415, _) => {
            (ErrorKind::InvalidResponse, "The server refuses the content type; is there a proxy that rewrites it?")
        }
        (501, _) | (_, Some(12)) => (ErrorKind::Unsupported, "This server is too old for it, or has it switched off."),
        (500.., _) => (ErrorKind::Unavailable, "The server failed; its log has more."),
        (400, _) | (_, Some(3 | 9)) => (ErrorKind::InvalidInput, "The server does not accept the request as it is."),
        _ => (ErrorKind::Other, "That is not an answer this client expects."),
    };
    let pause = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok())
        .map(Duration::from_secs);
    let error = Error::new(
        kind,
        format!("Argo CD at {host} refused to {what} (HTTP {}): {} {way_out}", api.status, sentence(&api.message)),
    )
    .because(api);
    match pause {
        Some(pause) => error.retry_as(Retry::After(pause)),
        None => error,
    }
}

/// The error for an answer with a good status that is no answer.
pub(super) fn not_json(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    what: &str,
    host: &str,
    secrets: &[&str],
) -> Error {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
    Error::new(
        ErrorKind::InvalidResponse,
        format!(
            "Asked to {what}, {host} answered HTTP {status} with {kind} instead of JSON. Is the base URL complete, with the root \
             path if the server has one, and is there a log-in page in front of it?"
        ),
    )
    .with("answer", clean(&String::from_utf8_lossy(body), secrets))
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    match text.chars().last() {
        None => "no reason was given.".to_owned(),
        Some('.' | '!' | '?') => text.to_owned(),
        Some(_) => format!("{text}."),
    }
}

/// Shortens a foreign text to one line and takes out secrets, and passwords in URLs.
pub(super) fn clean(text: &str, secrets: &[&str]) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    text = without_userinfo(&text);
    if text.chars().count() > KEPT {
        text = text.chars().take(KEPT).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: i64, message: &str) -> Option<Refusal> {
        Refusal::of(&ApiError { status, code: Some(code), message: message.to_owned() })
    }

    #[test]
    fn refusals_are_told_from_errors_by_their_text() {
        assert_eq!(refusal(400, 9, "another operation is already in progress"), Some(Refusal::OperationInProgress));
        let window = "cannot sync: blocked by sync window";
        assert_eq!(refusal(403, 7, window), Some(Refusal::SyncWindow(window.into())));
        assert_eq!(refusal(403, 7, "permission denied: applications, sync, shop/app"), None);
        let mismatch = "Cannot sync to abc: auto-sync currently set to main";
        assert_eq!(refusal(400, 9, mismatch), Some(Refusal::AutoSync(mismatch.into())));
        // Older servers capitalise, and give the bare reason.
        let window = "Cannot sync: Blocked by sync window";
        assert_eq!(refusal(403, 7, window), Some(Refusal::SyncWindow(window.into())));
        let unresolved = "Unable to resolve 'mian' to a commit SHA";
        assert_eq!(refusal(400, 9, unresolved), Some(Refusal::Revision(unresolved.into())));
        assert_eq!(refusal(409, 10, "the object has been modified"), Some(Refusal::Conflict));
    }

    #[test]
    fn a_proxys_404_says_nothing_about_the_application() {
        let kind = |code| {
            let api = ApiError { status: 404, code, message: "not found".into() };
            explain(api, &HeaderMap::new(), "read the application shop", "argocd.example").kind()
        };
        assert_eq!(kind(Some(5)), ErrorKind::NotFound);
        assert_eq!(kind(None), ErrorKind::InvalidResponse);
    }

    #[test]
    fn a_pause_that_the_server_names_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, reqwest::header::HeaderValue::from_static("7"));
        let api = ApiError { status: 429, code: Some(8), message: "slow down".into() };
        let error = explain(api, &headers, "list applications", "argocd.example");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::RateLimited, Retry::After(Duration::from_secs(7))));
    }

    #[test]
    fn secrets_and_userinfo_do_not_survive_in_a_text() {
        let text = clean("fetch https://bob:hunter2@git.example/x.git with tok-123 failed\n  twice", &["tok-123"]);
        assert_eq!(text, "fetch https://***@git.example/x.git with *** failed twice");
    }
}
