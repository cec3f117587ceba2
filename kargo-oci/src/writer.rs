//! Desired state in a registry: a tag that says which image an environment runs.

use async_trait::async_trait;
use kargo_core::plugin::{Context, WriteRequest, Writer, Written};
use kargo_core::{Error, ErrorKind, Pick, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::Client;
use crate::repository::{Repository, checked_tag};

/// Gives the image of the freight another tag in its repository, such as `prod`. Register it as [`ImageTag::WRITER`].
///
/// The bytes stay as they are, and so does the digest, which is the revision that is returned; further outputs are `image`
/// (`repository:tag@digest`), `digest` and `tag`. When the tag names the image already, nothing is written. One request
/// then, else three.
///
/// A repeated call finds what the first one did, since a tag names the same image however often it is set. A registry cannot
/// be told to move a tag only if nobody else has moved it meanwhile, so one tag should have one stage that writes it.
///
/// ```
/// use kargo_core::{Plugins, Stage, StepSpec};
/// use kargo_oci::{Client, ImageTag, ImageTagWriter};
///
/// let plugins = Plugins::builder().writer(ImageTag::WRITER, ImageTagWriter::new(Client::anonymous()?)).build();
/// let prod = Stage::new("prod")
///     .direct("main")
///     .step(StepSpec::write(ImageTag::WRITER, ImageTag::new("ghcr.io/acme/app", "prod")));
/// # let _ = (plugins, prod);
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageTagWriter {
    client: Client,
}

/// The configuration of an [`ImageTagWriter`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageTag {
    /// The image's repository, or the name of its subscription.
    image: String,
    /// The tag that it gets.
    tag: String,
}

impl ImageTag {
    /// The name under which [`ImageTagWriter`] is registered for these.
    pub const WRITER: &'static str = "image-tag";

    /// The image of this repository, or of the subscription of this name, gets `tag`.
    pub fn new(image: impl Into<String>, tag: impl Into<String>) -> Self {
        Self { image: image.into(), tag: tag.into() }
    }

    fn read(config: &Value) -> Result<Self> {
        let fields: Self = serde_json::from_value(config.clone())
            .map_err(|error| Error::new(ErrorKind::InvalidInput, format!("The tag to set cannot be read: {error}.")))?;
        checked_tag(&fields.tag)?;
        Ok(fields)
    }
}

impl From<ImageTag> for Value {
    fn from(tag: ImageTag) -> Self {
        serde_json::to_value(tag).expect("a struct of strings always becomes JSON")
    }
}

impl ImageTagWriter {
    /// A writer that pushes through `client`, whose credentials must allow it.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Writer for ImageTagWriter {
    fn validate(&self, config: &Value) -> Result<()> {
        ImageTag::read(config).map(|_| ())
    }

    async fn write(&self, cx: &Context, request: &WriteRequest<'_>) -> Result<Written> {
        let ImageTag { image, tag } = ImageTag::read(request.config)?;
        let reference = Pick::ImageReference(image).resolve(&request.promotion.collection)?;
        let found = reference.rsplit_once('@').and_then(|(name, digest)| Some((name.rsplit_once(':')?.0, digest)));
        let Some((repo_url, digest)) = found else {
            let text = format!("The image {reference} of the freight has no digest, so it cannot be tagged.");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        };
        let repository = Repository::parse(repo_url)?;
        let is_there = self.client.names(cx, &repository, &tag, digest).await?;
        if !is_there {
            self.client.retag(cx, &repository, digest, &tag).await?;
        }
        // An earlier call of this promotion may have set it.
        Ok(Written::new(digest, !is_there || request.resumed)
            .output("image", format!("{repository}:{tag}@{digest}"))
            .output("digest", digest)
            .output("tag", tag))
    }
}
