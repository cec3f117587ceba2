//! `http`.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::Map;

use super::exchange::{Ask, Settings, body, headers, retry_after, send, url};
use super::response::{Answer, evaluate, holds};
use super::target::shown;
use super::{MARGIN, TIMEOUT};
use crate::clock::later;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::{Context, StepDefaults, StepOutcome, StepRequest};
use crate::steps::config;
use crate::steps::typed::{Builtin, failed};

/// How long an answer, or a body that is sent from a file, may be; Kargo's number.
const BODY: usize = 2 << 20;
/// How much of an answer is shown.
const SHOWN: usize = 200;
/// By which a server that knows it tells a repeated request from a new one.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Debug)]
pub(in crate::steps) struct Request;

#[async_trait]
impl Builtin for Request {
    const USES: &'static str = "http";
    const CHANGES_FILES: bool = false;
    type Config = config::Http;

    fn defaults(&self) -> StepDefaults {
        StepDefaults { call_deadline: config::MAX_TIMEOUT + MARGIN, ..StepDefaults::default() }
    }

    async fn run(&self, cx: &Context, config: config::Http, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let settings = Settings {
            insecure: config.insecure_skip_tls_verify,
            proxy: config.proxy.as_deref(),
            timeout: config.timeout.map_or(TIMEOUT, |timeout| timeout.0),
        };
        let ask = match ask(cx, &config, request).await {
            Ok(ask) => ask,
            Err(error) if error.kind() == ErrorKind::InvalidInput => return failed(error.report()),
            Err(error) => return Err(error),
        };
        let exchange = async {
            let response = send(&settings, &ask).await?;
            let (status, headers, pause) = (response.status(), response.headers().clone(), retry_after(&response));
            let status = status.as_u16();
            let body = match body(response, BODY).await {
                // What a server in trouble says besides is no reason to give up.
                Err(error) if is_trouble(status) && error.kind() == ErrorKind::InvalidResponse => Vec::new(),
                body => body?,
            };
            Ok((Answer { status, headers, body }, pause))
        };
        // Redirects and the body have the time of one request together.
        let within = cx.clone().with_deadline(later(cx.now(), settings.timeout).min(cx.deadline()));
        let (answer, pause) = match within.guard("send a request", exchange).await {
            Err(error) if error.kind() == ErrorKind::InvalidInput => return failed(error.report()),
            answered => answered?,
        };
        let shown = format!("{} {}", ask.method, shown(&ask.url));
        if config.polls() {
            let check_after = config.poll_interval.map_or(config::POLL_INTERVAL, |interval| interval.0);
            return match judge(cx, &config, &answer, &shown) {
                Ok(Some(outcome)) => Ok(outcome),
                Ok(None) => {
                    let reason = format!("{shown} answers {}, which is neither success nor failure yet", answer.status);
                    Ok(StepOutcome::Running { reason, check_after, state: None })
                }
                // A server in trouble answers with something else than what the expressions are about.
                Err(error) if is_trouble(answer.status) && error.retry() != Retry::Never => {
                    let reason =
                        format!("{shown} answers {}, which cannot be judged: {}", answer.status, error.message());
                    let check_after = check_after.max(pause.unwrap_or_default());
                    Ok(StepOutcome::Running { reason, check_after, state: None })
                }
                Err(error) => Err(error),
            };
        }
        if (200..300).contains(&answer.status) {
            let repeats = ask.method.is_idempotent();
            return succeeded(cx, &config, &answer, &shown).map_err(|error| {
                // Asked again, a POST would do again what it has done.
                if repeats { error } else { error.retry_as(Retry::Never) }
            });
        }
        // Masked before it is cut: of a secret that is cut in two, nobody would know the beginning again.
        let text = cx.mask(String::from_utf8_lossy(&answer.body).trim());
        let text: String = text.chars().take(SHOWN).collect();
        let text = if text.is_empty() { text } else { format!(": {text}") };
        if is_trouble(answer.status) {
            // Kargo asks again for as long as the step may take.
            let kind = if answer.status == 429 { ErrorKind::RateLimited } else { ErrorKind::Unavailable };
            let message = format!("{shown} answers {}{text}.", answer.status);
            return Err(Error::new(kind, message).retry_as(pause.map_or(Retry::Backoff, Retry::After)));
        }
        failed(format!("{shown} answers {}{text}", answer.status))
    }
}

/// Whether a status says that the server cannot answer now, and may at another time.
fn is_trouble(status: u16) -> bool {
    matches!(status, 429 | 500..600)
}

/// What the expressions say of an answer; nothing when it is neither success nor failure yet.
fn judge(cx: &Context, config: &config::Http, answer: &Answer, shown: &str) -> Result<Option<StepOutcome>> {
    let scope = match answer.scope(config.response_content_type.as_deref()) {
        // What a proxy says for its server is not what the server would; the status can be judged all the same.
        Err(_) if is_trouble(answer.status) => Answer { body: Vec::new(), ..answer.clone() }.scope(None),
        scope => scope,
    }?;
    let scope = scope.now(cx.now());
    if let Some(expression) = &config.failure_expression
        && holds("failureExpression", expression, &scope)?
    {
        let said = match &config.error_expression {
            Some(expression) => Some(evaluate("errorExpression", expression, &scope)?),
            None => None,
        };
        let reason = match said.as_ref().and_then(crate::expr::Value::as_str) {
            Some(text) => format!("{shown} answers {}: {text}", answer.status),
            None => format!("{shown} answers {}, which `failureExpression` calls a failure", answer.status),
        };
        return Ok(Some(StepOutcome::Failed { reason }));
    }
    match &config.success_expression {
        Some(expression) if holds("successExpression", expression, &scope)? => {
            // That it has succeeded is said; what it lacks, another answer is not asked for.
            let outcome = succeeded(cx, config, answer, shown).map_err(|error| error.retry_as(Retry::Never))?;
            Ok(Some(outcome))
        }
        _ => Ok(None),
    }
}

/// The step's success, with its outputs.
fn succeeded(cx: &Context, config: &config::Http, answer: &Answer, shown: &str) -> Result<StepOutcome> {
    let scope = answer.scope(config.response_content_type.as_deref())?.now(cx.now());
    let mut outputs = Map::new();
    for output in &config.outputs {
        let value = evaluate("fromExpression", &output.from_expression, &scope)?;
        let value = value.to_json().map_err(|_| {
            let message = format!("The output {:?} cannot be one, as JSON has nothing like it.", output.name);
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        outputs.insert(output.name.clone(), value);
    }
    Ok(StepOutcome::Succeeded { outputs, message: format!("{shown} answers {}", answer.status) })
}

async fn ask(cx: &Context, config: &config::Http, request: &StepRequest<'_>) -> Result<Ask> {
    let method = match config.method.as_deref() {
        None => Method::GET,
        Some(method) => Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET),
    };
    let body = match (&config.body, &config.body_from_file) {
        (Some(body), _) => Some(bytes::Bytes::from(body.clone())),
        (None, Some(path)) => match request.workspace().read(cx, path).await? {
            Some(contents) => Some(contents),
            None => return Err(request.workspace().missing(cx, path).await),
        },
        (None, None) => None,
    };
    if body.as_ref().is_some_and(|body| body.len() > BODY) {
        return Err(Error::new(ErrorKind::InvalidInput, format!("The body has more than {BODY} bytes.")));
    }
    let mut headers = headers(&config.headers)?;
    // One that is sent again on purpose, to see whether the answer has changed, is another request each time.
    let repeats = !config.polls() && matches!(method, Method::POST | Method::PATCH);
    if let (true, false, Ok(key)) = (repeats, headers.contains_key(IDEMPOTENCY_KEY), HeaderValue::try_from(cx.key())) {
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    Ok(Ask { method, url: url(&config.url, &config.query_params)?, headers, body })
}
