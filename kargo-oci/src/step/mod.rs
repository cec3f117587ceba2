//! Kargo's steps for registries.

mod download;
mod push;

pub use download::{OciDownload, OciDownloadStep};
pub use push::{OciPush, OciPushStep};

use kargo_core::Result;
use kargo_core::plugin::{read_config, unusable};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a step's configuration, and refuses what is done when the client is built instead.
fn read<T: DeserializeOwned>(step: &str, config: &Value, skips_tls: fn(&T) -> bool) -> Result<T> {
    let fields: T = read_config(step, config)?;
    if skips_tls(&fields) {
        return Err(unusable(
            step,
            "it has insecureSkipTLSVerify; instead, add the registry's certificate to the HTTP client, or name the host as insecure \
             when the client is built",
        ));
    }
    Ok(fields)
}

/// Whether a text is still to be evaluated: then it can only be checked when the step runs.
fn is_open(text: &str) -> bool {
    text.contains("${{")
}
