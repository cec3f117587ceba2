//! Answers that nobody could have meant to get: trouble, limits, sign-in pages.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kargo_core::{Error, ErrorKind, Retry};
use reqwest::header::{CONTENT_TYPE, DATE, RETRY_AFTER};

use super::reply::{Reply, sentence};

/// The longest pause that a server is believed.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The pause that GitHub asks for after a secondary limit, when the answer itself names none.
const SECONDARY_PAUSE: Duration = Duration::from_secs(60);

/// The error that `reply` is, unless it is an answer in the API's own words.
pub(super) fn of(reply: &Reply, signed_in: &str) -> Option<Error> {
    let Reply { status, what, who, .. } = reply;
    let error = |kind, text: String| Some(Error::new(kind, text).with("status", *status));
    if is_limit(reply) {
        let pause = pause(reply).unwrap_or(SECONDARY_PAUSE);
        let text = format!("{who}, asked to {what}, asks to slow down: {}", sentence(&reply.text()));
        return error(ErrorKind::RateLimited, text).map(|error| error.retry_as(Retry::After(pause)));
    }
    // 203 with a page is how Azure DevOps says that it does not know the token.
    if *status == 401 || (*status == 203 && !is_json(reply)) {
        let text = format!(
            "{who}, asked to {what}, does not know who asks ({status}); the request was made {signed_in}. Is the token valid, not expired, \
             and allowed to use the API?"
        );
        return error(ErrorKind::Unauthenticated, text);
    }
    if matches!(status, 408 | 425 | 500..) {
        let kind = if matches!(status, 408 | 504) { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        let text = format!("{who}, asked to {what}, cannot answer now ({status}); whether it did is not known.");
        return error(kind, text).map(|error| match pause(reply) {
            Some(pause) => error.retry_as(Retry::After(pause)),
            None => error,
        });
    }
    // Some refusals, and some that say yes, have nothing to say.
    if !reply.body.is_empty() && !is_json(reply) {
        let kind = reply.header(CONTENT_TYPE.as_str()).unwrap_or("no content type");
        let text = format!(
            "{who}, asked to {what}, answered {status} with {kind} instead of JSON. Is the address that of the API, and is there a \
             sign-in page in front of it?"
        );
        return error(ErrorKind::InvalidResponse, text);
    }
    None
}

fn is_json(reply: &Reply) -> bool {
    // `application/json`, and `application/vnd.github+json`.
    let kind = reply.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase();
    kind.split(';').next().is_some_and(|kind| kind.trim().ends_with("json"))
}

/// GitHub says it with 403 too, and then only the headers or the words tell it from a refusal.
fn is_limit(reply: &Reply) -> bool {
    match reply.status {
        429 => true,
        403 => {
            reply.headers.contains_key(RETRY_AFTER)
                || reply.header("x-ratelimit-remaining") == Some("0")
                || reply.says("secondary rate limit")
                || reply.says("rate limit exceeded")
        }
        _ => false,
    }
}

/// The pause that the server names: `Retry-After` in seconds or as a date, or the time at which its count begins anew.
fn pause(reply: &Reply) -> Option<Duration> {
    let parse = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    // On the server's clock: ours may be wrong.
    let now = reply.header(DATE.as_str()).and_then(parse).unwrap_or_else(Timestamp::now);
    let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
    let after = reply.header(RETRY_AFTER.as_str()).and_then(|text| match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => parse(text).map(until),
    });
    let reset = || {
        if reply.header("x-ratelimit-remaining").is_some_and(|remaining| remaining != "0") {
            return None;
        }
        let text = reply.header("x-ratelimit-reset").or_else(|| reply.header("ratelimit-reset"))?;
        Timestamp::from_second(text.parse().ok()?).ok().map(until)
    };
    after.or_else(reset).map(|pause| pause.min(MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Reply {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Reply {
            status,
            headers,
            body: body.into(),
            what: "look".into(),
            who: "GitHub".into(),
            secret: Some("s3cret".into()),
        }
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    const NOW: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    fn pause_of(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Option<u64> {
        let error = of(&reply(status, headers, body), "")?;
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        match error.retry() {
            Retry::After(pause) => Some(pause.as_secs()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn git_27_the_pause_is_the_one_that_the_server_asks_for() {
        assert_eq!(pause_of(429, &[JSON, ("retry-after", "7")], "{}"), Some(7));
        assert_eq!(pause_of(429, &[JSON, NOW, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], "{}"), Some(30));
        let reset = [JSON, NOW, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111822")];
        assert_eq!(pause_of(403, &reset, "{}"), Some(45));
        assert_eq!(pause_of(429, &[JSON, NOW, ("ratelimit-reset", "784111822")], "{}"), Some(45));
        assert_eq!(pause_of(429, &[JSON, ("retry-after", "31536000")], "{}"), Some(3600), "nobody waits for a year");
        let secondary = r#"{"message": "You have exceeded a secondary rate limit."}"#;
        assert_eq!(
            pause_of(403, &[JSON, ("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "1")], secondary),
            Some(60)
        );
    }

    #[test]
    fn a_403_that_is_no_limit_is_the_apis_own_answer() {
        let remaining = [JSON, ("x-ratelimit-remaining", "4999")];
        assert!(of(&reply(403, &remaining, r#"{"message": "Resource not accessible"}"#), "").is_none());
    }

    #[test]
    fn pages_and_trouble_are_errors() {
        let page = [("content-type", "text/html")];
        let kind = |status, headers: &[_], body| {
            of(&reply(status, headers, body), "").map(|error| (error.kind(), error.retry()))
        };
        assert_eq!(kind(200, &page, "<html>"), Some((ErrorKind::InvalidResponse, Retry::Never)));
        assert_eq!(kind(404, &page, "<html>"), Some((ErrorKind::InvalidResponse, Retry::Never)));
        assert_eq!(kind(203, &page, "<html>"), Some((ErrorKind::Unauthenticated, Retry::Never)));
        assert_eq!(kind(502, &page, "<html>"), Some((ErrorKind::Unavailable, Retry::Backoff)));
        assert_eq!(kind(504, &page, "<html>"), Some((ErrorKind::Timeout, Retry::Backoff)));
        assert_eq!(kind(555, &[JSON], "{}"), Some((ErrorKind::Unavailable, Retry::Backoff)));
        assert_eq!(
            kind(503, &[("retry-after", "9")], ""),
            Some((ErrorKind::Unavailable, Retry::After(Duration::from_secs(9))))
        );
        assert_eq!(kind(204, &[], ""), None);
        assert_eq!(kind(200, &[("content-type", "application/vnd.github+json")], "{}"), None);
    }

    #[test]
    fn a_secret_that_the_server_repeats_does_not_show() {
        let error = reply(422, &[JSON], r#"{"message": "no such token: s3cret"}"#).expect().unwrap_err();
        assert!(error.message().contains("no such token: ***"), "{error}");
    }
}
