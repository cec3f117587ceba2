//! `http`.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::Map;

use super::TIMEOUT;
use super::exchange::{Ask, Settings, body, headers, retry_after, send, url};
use super::response::{Answer, evaluate, holds};
use super::target::shown;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::{Context, StepOutcome, StepRequest};
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
            Ok((Answer { status: status.as_u16(), headers, body: body(response, BODY).await? }, pause))
        };
        let (answer, pause) = match cx.guard("send a request", exchange).await {
            Err(error) if error.kind() == ErrorKind::InvalidInput => return failed(error.report()),
            answered => answered?,
        };
        let shown = format!("{} {}", ask.method, shown(&ask.url));
        let scope = answer.scope(config.response_content_type.as_deref())?.now(cx.now());
        if let Some(expression) = &config.failure_expression
            && holds("failureExpression", expression, &scope)?
        {
            let said = match &config.error_expression {
                Some(expression) => Some(evaluate("errorExpression", expression, &scope)?),
                None => None,
            };
            return failed(match said.as_ref().and_then(crate::expr::Value::as_str) {
                Some(text) => format!("{shown} answers {}: {text}", answer.status),
                None => format!("{shown} answers {}, which `failureExpression` calls a failure", answer.status),
            });
        }
        let succeeded = match &config.success_expression {
            Some(expression) => holds("successExpression", expression, &scope)?,
            None => config.failure_expression.is_none() && (200..300).contains(&answer.status),
        };
        if succeeded {
            let mut outputs = Map::new();
            for output in &config.outputs {
                let value = evaluate("fromExpression", &output.from_expression, &scope)?;
                let value = value.to_json().map_err(|_| {
                    let message = format!("The output {:?} cannot be one, as JSON has nothing like it.", output.name);
                    Error::new(ErrorKind::InvalidInput, message)
                })?;
                outputs.insert(output.name.clone(), value);
            }
            return Ok(StepOutcome::Succeeded { outputs, message: format!("{shown} answers {}", answer.status) });
        }
        if config.success_expression.is_some() || config.failure_expression.is_some() {
            let reason = format!("{shown} answers {}, which is neither success nor failure yet", answer.status);
            let check_after = config.poll_interval.map_or(config::POLL_INTERVAL, |interval| interval.0);
            return Ok(StepOutcome::Running { reason, check_after, state: None });
        }
        let text: String = String::from_utf8_lossy(&answer.body).chars().take(SHOWN).collect();
        let text = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) };
        match answer.status {
            // Kargo asks again for as long as the step may take.
            429 | 500..600 => {
                let kind = if answer.status == 429 { ErrorKind::RateLimited } else { ErrorKind::Unavailable };
                let message = format!("{shown} answers {}{text}.", answer.status);
                Err(Error::new(kind, message).retry_as(pause.map_or(Retry::Backoff, Retry::After)))
            }
            status => failed(format!("{shown} answers {status}{text}")),
        }
    }
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
    let polls = config.success_expression.is_some() || config.failure_expression.is_some();
    let repeats = !polls && matches!(method, Method::POST | Method::PATCH);
    if let (true, false, Ok(key)) = (repeats, headers.contains_key(IDEMPOTENCY_KEY), HeaderValue::try_from(cx.key())) {
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    Ok(Ask { method, url: url(&config.url, &config.query_params)?, headers, body })
}
