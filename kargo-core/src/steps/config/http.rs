//! The configurations of `http` and `http-download`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{ParseOutput, empty};
use crate::steps::typed::{Config, is_template};

/// How long until a request is made again that was neither success nor failure, when `pollInterval` does not say: 30 seconds, as in Kargo.
pub const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// How long a request or a download may take at most, whatever its `timeout`: 30 minutes, as long as a step may by default.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How often is asked at most, by `pollInterval`: once a second.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// What is wrong with a `timeout`, if anything.
fn timeout_fault(timeout: Option<Span>) -> Option<String> {
    let timeout = timeout?.0;
    let fits = !timeout.is_zero() && timeout <= MAX_TIMEOUT;
    (!fits).then(|| {
        format!("`timeout` is {timeout:?}; write one above zero and of at most {}m", MAX_TIMEOUT.as_secs() / 60)
    })
}

/// What is wrong with a `pollInterval`, if anything.
pub(super) fn interval_fault(interval: Option<Span>) -> Option<String> {
    let interval = interval?.0;
    (interval < SHORTEST_INTERVAL).then(|| format!("`pollInterval` is {interval:?}; write at least 1s"))
}

/// A duration as Kargo writes it: `30s`, `5m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::manifest::duration::parse(&text)
            .map(Self)
            .map_err(|fault| serde::de::Error::custom(format!("{text:?} is no duration: {fault}")))
    }
}

/// A header or a parameter.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct NamedValue {
    /// Its name.
    pub name: String,
    /// Its value. It does not print: it may be a secret.
    pub value: String,
}

impl std::fmt::Debug for NamedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedValue").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `http`: makes a request and judges the answer, again and again until it is success or failure.
///
/// With neither `successExpression` nor `failureExpression` an answer of 200 to 299 is success; 429 and 500 to 599 are tried again, and
/// everything else is failure, whatever the body. With either, what is neither is asked again after `pollInterval`, and so is a 429 or 500
/// to 599 that the expressions cannot judge, since it has not the body that they are about.
///
/// The expressions stand without `${{ }}` and see `response.status`, `response.headers` (lists by name), `response.header(name)` (the
/// first, or an empty text) and `response.body`: JSON and YAML with their structure, text as text, `{}` when there is none.
///
/// Redirects of `GET` and `HEAD` are followed, to other hosts without the headers. A `POST` or `PATCH` carries the promotion's key of the
/// step as `Idempotency-Key`, so that a server which knows that header does once what a crash has made to be asked twice.
///
/// # Outputs
///
/// One for each entry of `outputs`, by its `name`.
///
/// # Errors
///
/// - The URL cannot be asked, or leads to a link-local address: the step fails.
/// - The answer is a failure, by its status or by `failureExpression`: the step fails, with what `errorExpression` gives.
/// - There is no answer, or one of 429 or 500 to 599 without expressions: it is tried again, when `Retry-After` says if it does.
/// - The body, or the answer, has more than 2 MiB: the step fails.
/// - An expression cannot be evaluated, or one that judges gives neither true nor false, or the body is not what it is said to be: it is
///   tried again. Where the answer is a success that lacks an output, the step ends, since asking again would do again what was done; only
///   a `GET`, `HEAD`, `PUT` or `DELETE` without expressions is.
///
/// # Example
///
/// ```yaml
/// - uses: http
///   as: check
///   config:
///     url: https://ci.example/api/checks
///     queryParams:
///     - name: image
///       value: ${{ imageFrom(vars.image).Digest }}
///     successExpression: response.status == 200 && response.body.state == "passed"
///     failureExpression: response.body.state == "failed"
///     pollInterval: 1m
///     outputs:
///     - name: report
///       fromExpression: response.body.url
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Http {
    /// Where to. Link-local addresses, behind which clouds keep credentials, are refused.
    pub url: String,
    /// `DELETE`, `GET`, `HEAD`, `PATCH`, `POST` or `PUT`. Default: `GET`.
    pub method: Option<String>,
    /// What is sent along.
    #[serde(default)]
    pub headers: Vec<NamedValue>,
    /// What is put behind the URL, escaped as it must be.
    #[serde(default)]
    pub query_params: Vec<NamedValue>,
    /// The body. At most 2 MiB.
    pub body: Option<String>,
    /// A file of the workspace that is the body. Not with `body`.
    pub body_from_file: Option<String>,
    /// Whether any certificate is accepted. Default: no.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub insecure_skip_tls_verify: bool,
    /// The URL of a proxy. Default: what the environment says.
    pub proxy: Option<String>,
    /// How long one request may take, with its redirects, up to `30m`. Default: 10 seconds.
    pub timeout: Option<Span>,
    /// How long until the next request when one was neither success nor failure, from `1s`. Default: 30 seconds.
    pub poll_interval: Option<Span>,
    /// What the body is taken for, whatever the answer says: `application/json`, `application/yaml` or `text/plain`. Default: what
    /// the answer says.
    pub response_content_type: Option<String>,
    /// What the step puts out when it succeeds.
    #[serde(default)]
    pub outputs: Vec<ParseOutput>,
    /// When the step has succeeded. Default: see above.
    pub success_expression: Option<String>,
    /// When the step has failed. It is looked at first. Default: see above.
    pub failure_expression: Option<String>,
    /// What is said when the step has failed.
    pub error_expression: Option<String>,
}

#[cfg(feature = "http")]
impl Http {
    /// Whether it asks until the answer is success or failure.
    pub(in crate::steps) fn polls(&self) -> bool {
        self.success_expression.is_some() || self.failure_expression.is_some()
    }
}

impl Config for Http {
    const TEXTS: &'static [&'static str] = &[
        "/url",
        "/method",
        "/headers/*/name",
        "/headers/*/value",
        "/queryParams/*/name",
        "/queryParams/*/value",
        "/body",
        "/bodyFromFile",
        "/proxy",
        "/timeout",
        "/pollInterval",
        "/responseContentType",
        "/outputs/*/name",
        "/outputs/*/fromExpression",
        "/successExpression",
        "/failureExpression",
        "/errorExpression",
    ];

    fn fault(&self) -> Option<String> {
        const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];
        const TYPES: [&str; 3] = ["application/json", "application/yaml", "text/plain"];
        let one_of = |field: &str, text: Option<&String>, known: &[&str]| {
            text.filter(|text| !is_template(text) && !known.contains(&text.as_str()))
                .map(|text| format!("`{field}` is {text:?}, and not one of {}", known.join(", ")))
        };
        let compiles = |field: &str, text: Option<&String>| {
            let text = text.filter(|text| !is_template(text))?;
            let error = crate::expr::Program::compile(text, &crate::expr::Environment::bare()).err()?;
            Some(format!("`{field}`: {error}"))
        };
        if self.body.is_some() && self.body_from_file.is_some() {
            return Some("`body` and `bodyFromFile` exclude each other".to_owned());
        }
        empty("url", &self.url)
            .or_else(|| timeout_fault(self.timeout))
            .or_else(|| interval_fault(self.poll_interval))
            .or_else(|| one_of("method", self.method.as_ref(), &METHODS))
            .or_else(|| one_of("responseContentType", self.response_content_type.as_ref(), &TYPES))
            .or_else(|| compiles("successExpression", self.success_expression.as_ref()))
            .or_else(|| compiles("failureExpression", self.failure_expression.as_ref()))
            .or_else(|| compiles("errorExpression", self.error_expression.as_ref()))
            .or_else(|| self.outputs.iter().find_map(|one| compiles("fromExpression", Some(&one.from_expression))))
            .or_else(|| self.outputs.iter().find_map(|one| empty("name", &one.name)))
    }
}

/// `http-download`: fetches a file from a server, of at most 100 MiB. Puts out its `digest`, by which it is known again when it has to be fetched
/// anew after a restart.
///
/// # Outputs
///
/// - `digest`: the file's, as `sha256:…`.
///
/// # Errors
///
/// - There is a file already, and `allowOverwrite` is not set: the step fails.
/// - The URL cannot be asked, or leads to a link-local address: the step fails.
/// - The answer is none of 200 to 299: it is tried again.
/// - The file has more than 100 MiB: the step fails.
/// - After a restart it is another file.
///
/// # Example
///
/// ```yaml
/// - uses: http-download
///   config:
///     url: https://releases.example/crds-1.4.0.yaml
///     outPath: ./env/crds.yaml
///     allowOverwrite: true
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpDownload {
    /// Where from. Link-local addresses are refused, as for `http`.
    pub url: String,
    /// Where to.
    pub out_path: String,
    /// Whether a file that is there may be replaced. Default: no.
    #[serde(default)]
    pub allow_overwrite: bool,
    /// What is sent along.
    #[serde(default)]
    pub headers: Vec<NamedValue>,
    /// What is put behind the URL.
    #[serde(default)]
    pub query_params: Vec<NamedValue>,
    /// How long it may take, up to `30m`. Default: 5 minutes.
    pub timeout: Option<Span>,
    /// Whether any certificate is accepted. Default: no.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub insecure_skip_tls_verify: bool,
}

impl Config for HttpDownload {
    const TEXTS: &'static [&'static str] = &[
        "/url",
        "/outPath",
        "/headers/*/name",
        "/headers/*/value",
        "/queryParams/*/name",
        "/queryParams/*/value",
        "/timeout",
    ];

    fn fault(&self) -> Option<String> {
        empty("url", &self.url).or_else(|| empty("outPath", &self.out_path)).or_else(|| timeout_fault(self.timeout))
    }
}
