//! `http-download`.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::MARGIN;
use super::exchange::{Ask, Settings, body, headers, retry_after, send, url};
use super::target::shown;
use crate::clock::later;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::{Context, StepDefaults, StepOutcome, StepRequest};
use crate::steps::config;
use crate::steps::typed::{Builtin, failed};

/// How long a download may take that does not say; Kargo's number.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How large the file may be; Kargo's number.
const LIMIT: usize = 100 << 20;

#[derive(Debug)]
pub(in crate::steps) struct Download;

#[async_trait]
impl Builtin for Download {
    const USES: &'static str = "http-download";
    type Config = config::HttpDownload;

    fn defaults(&self) -> StepDefaults {
        StepDefaults { call_deadline: config::MAX_TIMEOUT + MARGIN, ..StepDefaults::default() }
    }

    async fn run(&self, cx: &Context, config: config::HttpDownload, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let path = &config.out_path;
        if !config.allow_overwrite && request.workspace().node(cx, path).await?.is_some() {
            return failed(format!("There is something at {path:?} already; set `allowOverwrite` to replace it."));
        }
        let ask = headers(&config.headers).and_then(|headers| {
            Ok(Ask { method: Method::GET, url: url(&config.url, &config.query_params)?, headers, body: None })
        });
        let ask = match ask {
            Ok(ask) => ask,
            Err(error) => return failed(error.report()),
        };
        let settings = Settings {
            insecure: config.insecure_skip_tls_verify,
            proxy: None,
            timeout: config.timeout.map_or(TIMEOUT, |timeout| timeout.0),
        };
        let download = async {
            let response = send(&settings, &ask).await?;
            let status = response.status();
            if !status.is_success() {
                // Whatever it says, it may say something else later: as in Kargo another try is made.
                let pause = retry_after(&response).map_or(Retry::Backoff, Retry::After);
                let message =
                    format!("{} answers {}, where a file was to be downloaded.", shown(&ask.url), status.as_u16());
                return Err(Error::new(ErrorKind::Unavailable, message).retry_as(pause));
            }
            body(response, LIMIT).await
        };
        let within = cx.clone().with_deadline(later(cx.now(), settings.timeout).min(cx.deadline()));
        let contents = match within.guard("download a file", download).await {
            Err(error) if error.kind() == ErrorKind::InvalidResponse => return failed(error.report()),
            downloaded => downloaded?,
        };
        let digest = format!("sha256:{}", hex(&Sha256::digest(&contents)));
        if let Some(before) = request.restored.and_then(|outputs| outputs.get("digest")?.as_str())
            && before != digest
        {
            let message = format!("{} is another file now: it was {before}, and is {digest}.", shown(&ask.url));
            return Err(Error::new(ErrorKind::Conflict, message).retry_as(Retry::Never));
        }
        let size = contents.len();
        request.workspace().write(cx, path, contents).await?;
        let outputs: Map<String, Value> = [("digest".to_owned(), digest.into())].into_iter().collect();
        Ok(StepOutcome::Succeeded { outputs, message: format!("{size} bytes from {}", shown(&ask.url)) })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
