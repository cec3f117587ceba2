//! Kargo's steps for registries.

mod download;
mod push;

pub use download::{OciDownload, OciDownloadStep};
pub use push::{OciPush, OciPushStep};

use kargo_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a step's configuration, and refuses what is done when the client is built instead.
fn read<T: DeserializeOwned>(step: &str, config: &Value, skips_tls: fn(&T) -> bool) -> Result<T> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidInput, format!("The configuration of {step} {why}."));
    let fields: T =
        serde_json::from_value(config.clone()).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    if skips_tls(&fields) {
        return Err(invalid(
            "has insecureSkipTLSVerify; instead, add the registry's certificate to the HTTP client, or name the host as insecure \
             when the client is built"
                .into(),
        ));
    }
    Ok(fields)
}

/// Whether a text is still to be evaluated: then it can only be checked when the step runs.
fn is_open(text: &str) -> bool {
    text.contains("${{")
}
