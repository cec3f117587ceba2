//! `oci-download`: a layer of an artifact as a file.

use async_trait::async_trait;
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_template};
use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{is_open, read};
use crate::client::{Client, Descriptor, Manifest, ManifestContent, Platform};
use crate::reference::Reference;

/// How large the file may be, in bytes: 100 MiB, as in Kargo.
const FILE: u64 = 100 * 1024 * 1024;
/// The output that says what was downloaded, by which the same is downloaded again when the workspace was lost.
const DIGEST: &str = "digest";

/// Puts a layer of an artifact, such as a chart's archive, into the workspace as a file. Register it as [`OciDownload::STEP`].
///
/// The file has the layer's bytes as they are, compressed or not, after they have proved to have their digest. Of an index, the
/// image for linux/amd64 is taken. The output `digest` is that of the image's manifest.
///
/// ```
/// use kargo_core::{Plugins, Stage, StepSpec};
/// use kargo_oci::{Client, OciDownload, OciDownloadStep};
///
/// let plugins = Plugins::builder().step(OciDownload::STEP, OciDownloadStep::new(Client::anonymous()?)).build();
/// let download = OciDownload::new("oci://ghcr.io/acme/charts/shop:1.2.0", "shop.tgz");
/// let dev = Stage::new("dev").direct("main").step(StepSpec::new(OciDownload::STEP, download.into()));
/// # let _ = (plugins, dev);
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OciDownloadStep {
    client: Client,
}

/// `oci-download`: puts a layer of an artifact, such as a chart's archive, into the workspace as a file.
///
/// The file has the layer's bytes as they are, compressed or not. Of an index, the image for linux/amd64 is taken. It is the configuration
/// of an [`OciDownloadStep`], with Kargo's fields.
///
/// # Outputs
///
/// - `digest`: that of the image's manifest.
///
/// # Errors
///
/// - There is no such artifact, or the registry does not let the host in.
/// - It has no layer of the `mediaType`, or the layer has more than 100 MiB.
/// - There is something at `outPath` already, and `allowOverwrite` is not set.
///
/// # Example
///
/// ```yaml
/// - uses: oci-download
///   config:
///     imageRef: oci://ghcr.io/acme/charts/shop:1.2.0
///     outPath: ./shop.tgz
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciDownload {
    /// The artifact, with its tag or digest, with or without `oci://`.
    image_ref: String,
    /// Where the file is put.
    out_path: String,
    /// Whether a file that is there may be replaced. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    allow_overwrite: bool,
    /// The media type of the layer, of which the first is taken. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// Kargo's; refused when set, since the host's client is given the certificates. Default: no.
    #[serde(default, skip_serializing, rename = "insecureSkipTLSVerify")]
    insecure_skip_tls_verify: bool,
}

impl OciDownload {
    /// The name under which [`OciDownloadStep`] is registered for these.
    pub const STEP: &'static str = "oci-download";

    /// Puts the first layer of `image`, with its tag or digest, at `path` in the workspace, where no file may be yet.
    pub fn new(image: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            image_ref: image.into(),
            out_path: path.into(),
            allow_overwrite: false,
            media_type: None,
            insecure_skip_tls_verify: false,
        }
    }

    /// Takes the first layer of this media type.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// Lets the file take the place of one that is there.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.allow_overwrite = true;
        self
    }

    fn read(config: &Value) -> Result<Self> {
        let fields = read(Self::STEP, config, |fields: &Self| fields.insecure_skip_tls_verify)?;
        for (name, value) in [("outPath", Some(&fields.out_path)), ("mediaType", fields.media_type.as_ref())] {
            if value.is_some_and(String::is_empty) {
                let text = format!("The configuration of {} has an empty {name}.", Self::STEP);
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
        }
        Ok(fields)
    }

    fn source(&self) -> Result<Reference> {
        Reference::parse("imageRef", &self.image_ref)
    }

    /// The layer that is meant.
    fn layer<'a>(&self, layers: &'a [Descriptor], source: &Reference) -> Result<&'a Descriptor> {
        let fits = |layer: &&Descriptor| self.media_type.is_none() || layer.media_type == self.media_type;
        layers.iter().find(fits).ok_or_else(|| {
            let wanted =
                self.media_type.as_ref().map(|wanted| format!(" of media type {wanted:?}")).unwrap_or_default();
            let kinds: Vec<String> =
                layers.iter().take(5).map(|layer| format!("{:?}", layer.media_type.as_deref().unwrap_or(""))).collect();
            let has = if kinds.is_empty() { "none at all".to_owned() } else { kinds.join(", ") };
            Error::new(ErrorKind::InvalidInput, format!("{source} has no layer{wanted}; it has {has}."))
        })
    }
}

impl From<OciDownload> for Value {
    fn from(download: OciDownload) -> Self {
        serde_json::to_value(download).expect("a struct of strings always becomes JSON")
    }
}

impl OciDownloadStep {
    /// A step that downloads through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The manifest of one image, also where there is an index of several.
    async fn image(&self, cx: &Context, source: &Reference, reference: &str) -> Result<Manifest> {
        let manifest = self.client.manifest(cx, &source.repository, reference).await?;
        let ManifestContent::Index { entries } = &manifest.content else { return Ok(manifest) };
        let usual = Platform::new("linux", "amd64", "");
        match entries.iter().find(|entry| entry.platform.as_ref() == Some(&usual)) {
            Some(entry) => self.client.manifest(cx, &source.repository, &entry.digest).await,
            None => {
                let text = format!(
                    "{source} is an index without an image for {usual}; name the digest of the one that is meant."
                );
                Err(Error::new(ErrorKind::InvalidInput, text))
            }
        }
    }
}

#[async_trait]
impl Step for OciDownloadStep {
    fn validate(&self, config: &Value) -> Result<()> {
        let fields = OciDownload::read(config)?;
        if is_open(&fields.image_ref) { Ok(()) } else { fields.source().map(|_| ()) }
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<OciDownload>(OciDownload::STEP, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        matches!(pointer, "/imageRef" | "/outPath" | "/mediaType")
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let fields = OciDownload::read(request.config)?;
        let source = fields.source()?;
        let (workspace, path) = (request.workspace(), fields.out_path.as_str());
        if !fields.allow_overwrite && workspace.node(cx, path).await?.is_some() {
            let text =
                format!("There is something at {path:?} already; set allowOverwrite, or choose another outPath.");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        // The tag may have moved since.
        let before = request.restored.and_then(|outputs| outputs.get(DIGEST)?.as_str());
        let manifest = self.image(cx, &source, before.unwrap_or(source.name())).await?;
        let parts = manifest.parts(&source.to_string())?;
        let layer = fields.layer(parts.layers(), &source)?;
        if layer.size > FILE {
            let text =
                format!("The layer of {source} has {} bytes, and {FILE} is the most that is downloaded.", layer.size);
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let bytes = self.client.blob_of_size(cx, &source.repository, &layer.digest, layer.size).await?;
        let message = format!("{path} has the {} bytes of {} of {source}", bytes.len(), layer.digest);
        workspace.write(cx, path, bytes).await?;
        let outputs = Map::from_iter([(DIGEST.to_owned(), manifest.digest.into())]);
        Ok(StepOutcome::Succeeded { outputs, message })
    }
}
