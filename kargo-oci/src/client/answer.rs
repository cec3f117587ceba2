//! What an answer means: which are errors, and in which words.

use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Retry};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::Call;
use super::auth::Purpose;
use super::exchange::{Response, excerpt};

/// The error of a server that asks for credentials where everyone could read them.
pub(super) fn exposed(call: &Call<'_>) -> Error {
    Error::new(
        ErrorKind::Unauthenticated,
        format!(
            "{} asks for credentials, and none were sent, since they could be read on the way: use https, or name the host to \
             ClientBuilder::insecure_http.",
            call.repository
        ),
    )
}

/// Turns 404 into an error, and so a page for people: no registry answers with one, so it says nothing of what the registry has.
pub(super) fn found(response: Response, call: &Call<'_>, cx: &Context) -> Result<Response> {
    if call.purpose != Purpose::File && response.is_page() {
        return Err(no_registry(&response, call));
    }
    if response.status != StatusCode::NOT_FOUND {
        return Ok(response);
    }
    let error = status_error(&response, &format!("{} {}", call.doing, call.repository), cx.now());
    Err(error.operation(call.doing).with("repository", call.repository))
}

/// The error of a page for people in a registry's place: a proxy's log-in page, or that of a server that is being looked after.
fn no_registry(response: &Response, call: &Call<'_>) -> Error {
    let text = format!(
        "Could not {} {}: {} answered with status {} and content type {:?}, a page for people; it begins with {}. Is this the address \
         of a registry, and is there a proxy before it that wants a log-in?",
        call.doing,
        call.repository,
        response.url.authority(),
        response.status.as_u16(),
        response.header(CONTENT_TYPE).unwrap_or(""),
        excerpt(&response.body),
    );
    Error::new(ErrorKind::Unavailable, text).operation(call.doing).with("repository", call.repository)
}

/// The error that a status stands for. `doing` completes "could not".
pub(super) fn status_error(response: &Response, doing: &str, now: Timestamp) -> Error {
    let status = response.status;
    let host = response.url.authority();
    let (kind, hint) = match status.as_u16() {
        401 => (ErrorKind::Unauthenticated, " Are the credentials right?"),
        403 => (ErrorKind::PermissionDenied, " The credentials do not allow this."),
        404 => (ErrorKind::NotFound, " It does not exist, or these credentials may not see it."),
        405 | 501 => (ErrorKind::Unsupported, ""),
        408 | 500..=599 => (ErrorKind::Unavailable, ""),
        429 => (ErrorKind::RateLimited, " The registry asks to slow down."),
        400..=499 => (ErrorKind::InvalidInput, " The request was not accepted as it is."),
        _ => (ErrorKind::InvalidResponse, ""),
    };
    let said = reason(&response.body).map(|reason| format!(", saying {reason}")).unwrap_or_default();
    let error =
        Error::new(kind, format!("Could not {doing}: {host} answered with status {}{said}.{hint}", status.as_u16()));
    match response.retry_after(now) {
        Some(pause) if matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable) => {
            error.retry_as(Retry::After(pause))
        }
        _ => error,
    }
}

/// What a registry's error body says, escaped and shortened.
fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Fault>,
    }
    #[derive(Deserialize)]
    struct Fault {
        code: Option<String>,
        message: Option<String>,
    }
    if body.is_empty() {
        return None;
    }
    let fault = serde_json::from_slice::<Body>(body).ok().and_then(|body| body.errors.into_iter().next());
    Some(match fault {
        Some(fault) => {
            let text = [fault.code, fault.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
            excerpt(text.as_bytes())
        }
        None => excerpt(body),
    })
}
