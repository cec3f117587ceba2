//! `oci-push`: copies an image, or gives it another tag.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use kargo_core::plugin::{Context, Step, StepDefaults, StepOutcome, StepRequest, read_template};
use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{is_open, read};
use crate::client::{Client, CopyOptions};
use crate::reference::Reference;

/// Copies an image, index, chart or other artifact to a tag, in the same repository or another one. Register it as [`OciPush::STEP`].
///
/// It is [`Client::copy`], in Kargo's words. The outputs are `image` (the destination, with its tag), `digest` and `tag`. A call that
/// is repeated after a crash copies what is missing yet, and nothing when all is there.
///
/// ```
/// use kargo_core::{Plugins, Stage, StepSpec};
/// use kargo_oci::{Client, OciPush, OciPushStep};
///
/// let plugins = Plugins::builder().step(OciPush::STEP, OciPushStep::new(Client::anonymous()?)).build();
/// let push = OciPush::new("ghcr.io/acme/app:1.2.0", "registry.acme.example/prod/app:1.2.0").annotation("stage", "prod");
/// let prod = Stage::new("prod").direct("main").step(StepSpec::new(OciPush::STEP, push.into()));
/// # let _ = (plugins, prod);
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OciPushStep {
    client: Client,
    limit: Option<u64>,
    referrers: bool,
}

/// `oci-push`: copies an image, index, chart or other artifact to a tag, in the same repository or another one.
///
/// A call that is repeated copies what is missing yet. At most 1 GiB is copied from one repository to another, unless the host says
/// otherwise. It is the configuration of an [`OciPushStep`], with Kargo's fields.
///
/// # Outputs
///
/// - `image`: the destination, with its tag.
/// - `digest`: the digest.
/// - `tag`: the tag.
///
/// # Errors
///
/// - There is no such artifact, or a registry does not let the host in.
/// - `destRef` has no tag, or has a digest.
/// - There is more to copy than the host allows.
///
/// # Example
///
/// ```yaml
/// - uses: oci-push
///   as: release
///   config:
///     srcRef: ghcr.io/acme/app@${{ imageFrom(vars.image).Digest }}
///     destRef: registry.acme.example/prod/app:${{ imageFrom(vars.image).Tag }}
///     annotations:
///       stage: ${{ ctx.stage }}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciPush {
    /// The artifact, with its tag or digest. Some versions of Kargo call it `imageRef`.
    #[serde(alias = "imageRef")]
    src_ref: String,
    /// Where to, with the tag.
    dest_ref: String,
    /// Annotations of each image, or, when a key begins with `index:`, of an index. The digest is another one then. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    /// Kargo's; refused when set, since the host's client is given the certificates. Default: no.
    #[serde(default, skip_serializing, rename = "insecureSkipTLSVerify")]
    insecure_skip_tls_verify: bool,
}

impl OciPush {
    /// The name under which [`OciPushStep`] is registered for these.
    pub const STEP: &'static str = "oci-push";

    /// Copies `src`, with its tag or digest, to `dest`, with its tag.
    pub fn new(src: impl Into<String>, dest: impl Into<String>) -> Self {
        let (src_ref, dest_ref) = (src.into(), dest.into());
        Self { src_ref, dest_ref, annotations: BTreeMap::new(), insecure_skip_tls_verify: false }
    }

    /// Adds an annotation: to each image, or, when `key` begins with `index:`, to an index. The digest is another one then.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    fn read(config: &Value) -> Result<Self> {
        read(Self::STEP, config, |fields: &Self| fields.insecure_skip_tls_verify)
    }

    fn source(&self) -> Result<Reference> {
        Reference::parse("srcRef", &self.src_ref)
    }

    /// The destination and its tag.
    fn destination(&self) -> Result<(Reference, String)> {
        let destination = Reference::parse("destRef", &self.dest_ref)?;
        match (&destination.tag, &destination.digest) {
            (Some(tag), None) => {
                let tag = tag.clone();
                Ok((destination, tag))
            }
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "The destRef {destination} must have a tag and no digest; what the digest will be, the source decides."
                ),
            )),
        }
    }

    fn options(&self) -> Result<CopyOptions> {
        let mut options = CopyOptions::default();
        for (key, value) in &self.annotations {
            let (is_index, name) = match (key.strip_prefix("index:"), key.strip_prefix("manifest:")) {
                (Some(name), _) => (true, name),
                (None, Some(name)) => (false, name),
                (None, None) => (false, key.as_str()),
            };
            if name.is_empty() {
                let text = format!("The annotation {key:?} of {} has no name.", Self::STEP);
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            options = if is_index { options.index_annotation(name, value) } else { options.annotation(name, value) };
        }
        Ok(options)
    }
}

impl From<OciPush> for Value {
    fn from(push: OciPush) -> Self {
        serde_json::to_value(push).expect("a struct of strings always becomes JSON")
    }
}

impl OciPushStep {
    /// How much is copied from one repository to another when nothing else is set: 1 GiB, as in Kargo.
    const LIMIT: u64 = 1 << 30;

    /// A step that copies through `client`, which needs the credentials of both repositories.
    pub fn new(client: Client) -> Self {
        Self { client, limit: Some(Self::LIMIT), referrers: false }
    }

    /// How many bytes of blobs may be copied from one repository to another: 1 GiB by default. With 0 only tags within a
    /// repository are set, and `None` is no limit.
    #[must_use]
    pub fn limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.limit = bytes.into();
        self
    }

    /// Copies signatures, attestations and SBOMs along, see [`CopyOptions::referrers`]. Kargo does not.
    #[must_use]
    pub fn referrers(mut self) -> Self {
        self.referrers = true;
        self
    }
}

#[async_trait]
impl Step for OciPushStep {
    fn validate(&self, config: &Value) -> Result<()> {
        let fields = OciPush::read(config)?;
        if !is_open(&fields.src_ref) {
            fields.source()?;
        }
        if !is_open(&fields.dest_ref) {
            fields.destination()?;
        }
        fields.options().map(|_| ())
    }

    /// An hour in all and half an hour a call: a blob has to go through within one.
    fn defaults(&self) -> StepDefaults {
        StepDefaults {
            timeout: Duration::from_secs(60 * 60),
            call_deadline: Duration::from_secs(30 * 60),
            ..StepDefaults::default()
        }
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<OciPush>(OciPush::STEP, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        matches!(pointer, "/srcRef" | "/imageRef" | "/destRef") || pointer.starts_with("/annotations/")
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let fields = OciPush::read(request.config)?;
        let (from, (to, tag)) = (fields.source()?, fields.destination()?);
        let mut options = fields.options()?;
        if let Some(limit) = self.limit {
            options = options.limit(limit);
        }
        if self.referrers {
            options = options.referrers();
        }
        let copied = self.client.copy(cx, &from.repository, from.name(), &to.repository, &tag, &options).await?;
        let message = match (copied.changed, copied.streamed + copied.mounted) {
            (false, _) => format!("{to} is {} already", copied.digest),
            (true, 0) => format!("{to} is {} now", copied.digest),
            (true, blobs) => {
                format!("{to} is {} now; {blobs} blobs, {} bytes sent", copied.digest, copied.bytes)
            }
        };
        let outputs = [("image", to.to_string()), ("digest", copied.digest), ("tag", tag)]
            .map(|(key, value)| (key.into(), value.into()));
        Ok(StepOutcome::Succeeded { outputs: Map::from_iter(outputs), message })
    }
}
