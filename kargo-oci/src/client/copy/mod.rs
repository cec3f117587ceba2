//! Copies between repositories and registries. What is copied stays byte for byte what it was, unless annotations are added.

mod annotate;
mod blob;
mod gather;
mod referrers;

use std::collections::{BTreeMap, HashSet};

use futures::stream;
use futures::{StreamExt as _, TryStreamExt as _};
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};

use self::annotate::annotate;
use self::blob::Moved;
use self::gather::Nodes;
use super::Client;
use super::descriptor::Descriptor;
use super::manifest::Manifest;
use crate::repository::{Repository, checked_tag};

/// How many blobs are moved at the same time. Each takes a chunk of memory as large as the connection gives it.
const CONCURRENCY: usize = 4;

/// How a copy is made. By default it is exactly what it is a copy of, of any size, and without referrers.
///
/// ```
/// use kargo_oci::CopyOptions;
///
/// let options = CopyOptions::default().referrers().limit(1 << 30).annotation("org.example.promoted-to", "prod");
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct CopyOptions {
    referrers: bool,
    limit: Option<u64>,
    manifest: BTreeMap<String, String>,
    index: BTreeMap<String, String>,
}

impl CopyOptions {
    /// Copies what refers to the images too: signatures, attestations, SBOMs, and whatever refers to these. Those that cosign keeps
    /// under tags of their own (`sha256-….sig`, `.att`, `.sbom`) are among them. An image that gets annotations has another digest
    /// then, so what refers to it stays behind. More than 1,000 in all are an error, at which the image and the first of them are there.
    pub fn referrers(mut self) -> Self {
        self.referrers = true;
        self
    }

    /// Refuses what has more than so many bytes in its blobs, before any of them moves. Does not count within one repository.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// Adds an annotation to the image, or to each image of an index. The digest is another one then.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.manifest.insert(key.into(), value.into());
        self
    }

    /// Adds an annotation to the index itself; a single image is left alone.
    pub fn index_annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.index.insert(key.into(), value.into());
        self
    }
}

/// What a copy has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The digest of what the tag names now.
    pub digest: String,
    /// Whether anything was written: not when the tag named this already.
    pub changed: bool,
    /// How many blobs the registry took over from the other repository itself.
    pub mounted: usize,
    /// How many blobs went through this process.
    pub streamed: usize,
    /// The bytes of these.
    pub bytes: u64,
    /// How many manifests were copied because they refer to what was copied.
    pub referrers: usize,
}

/// A manifest as it is going to be pushed.
#[derive(Debug)]
struct Planned {
    /// The digest that it had.
    original: String,
    digest: String,
    media_type: String,
    bytes: Vec<u8>,
    blobs: Vec<Descriptor>,
}

/// From where to where.
#[derive(Debug, Clone, Copy)]
struct Route<'a> {
    client: &'a Client,
    from: &'a Repository,
    to: &'a Repository,
}

impl Client {
    /// Copies what `reference`, a tag or a digest, names in `from` to the tag `tag` in `to`: the image, or the index with all its
    /// images. Credentials are those of each repository.
    ///
    /// Blobs come first, then images, then indexes, and the tag last, so that nobody sees half a copy. Within one registry
    /// blobs are mounted, which moves no bytes; otherwise they pass through this process piece by piece, whatever their size, and
    /// are hashed on the way. What is there already is not moved again, so a call that is repeated goes on where the first one
    /// was ended. Dropping the future ends the copy where it is; only what the tag names is of account.
    ///
    /// Whether a manifest is there, its bytes tell, and not what the registry says of it. Whether a blob is, the registry that it is
    /// copied to says without sending it: one that claims to have what it has not gets no bytes, and has nothing to serve. Whoever pulls
    /// the copy by its digest notices.
    ///
    /// ```no_run
    /// use kargo_core::plugin::Context;
    /// use kargo_oci::{Client, CopyOptions, Repository};
    ///
    /// # async fn example(client: &Client, digest: &str) -> kargo_core::Result<()> {
    /// let (from, to) = (Repository::parse("ghcr.io/acme/app")?, Repository::parse("registry.acme.example/prod/app")?);
    /// let copied = client.copy(&Context::system("copy"), &from, digest, &to, "1.2.0", &CopyOptions::default().referrers()).await?;
    /// assert_eq!(copied.digest, digest);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such image, or a part of it is missing; [`ErrorKind::InvalidInput`] when it is larger
    /// than the limit; [`ErrorKind::InvalidResponse`] when what is received does not have its digest.
    pub async fn copy(
        &self,
        cx: &Context,
        from: &Repository,
        reference: &str,
        to: &Repository,
        tag: &str,
        options: &CopyOptions,
    ) -> Result<Copied> {
        checked_tag(tag)?;
        let root = self.manifest(cx, from, reference).await?;
        let route = Route { client: self, from, to };
        let mut copied = Copied::default();
        let is_plain = options.manifest.is_empty() && options.index.is_empty();
        // Within a repository all parts are where they belong.
        let nodes = if from == to && is_plain { Nodes::only(root)? } else { Nodes::gather(cx, route, root).await? };
        let planned = annotate(nodes, options)?;
        let Some(root) = planned.last() else { return Ok(copied) };
        copied.digest.clone_from(&root.digest);
        if !self.names(cx, to, tag, &root.digest).await? {
            if from != to {
                check_size(&planned, options.limit, from)?;
            }
            for node in &planned[..planned.len() - 1] {
                route.put(cx, node, &node.digest, &mut copied).await?;
            }
            route.put(cx, root, tag, &mut copied).await?;
            copied.changed = true;
        }
        if options.referrers && from != to {
            let kept = planned.iter().filter(|node| node.digest == node.original);
            route.referrers(cx, kept.map(|node| node.digest.clone()).collect(), &mut copied).await?;
        }
        Ok(copied)
    }
}

/// Refuses what is too large, before any of it moves.
fn check_size(planned: &[Planned], limit: Option<u64>, from: &Repository) -> Result<()> {
    let mut seen = HashSet::new();
    let distinct = planned.iter().flat_map(|node| &node.blobs).filter(|blob| seen.insert(blob.digest.as_str()));
    let size = distinct.fold(0_u64, |size, blob| size.saturating_add(blob.size));
    match limit.filter(|limit| size > *limit) {
        None => Ok(()),
        Some(limit) => Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "What was to be copied from {from} has {size} bytes, and {limit} is the most that a copy to another repository may \
                 have; raise the limit, or copy within the repository."
            ),
        )
        .operation("copy")),
    }
}

impl Route<'_> {
    /// Copies a manifest whose children are there, with its blobs, and has `reference` name it.
    async fn put(self, cx: &Context, node: &Planned, reference: &str, copied: &mut Copied) -> Result<()> {
        let Self { client, from, to } = self;
        // A registry that has a manifest has taken its blobs. The one that gets a tag is pushed in any case.
        if reference == node.digest && client.names(cx, to, reference, &node.digest).await? {
            return Ok(());
        }
        if from != to {
            let mut seen = HashSet::new();
            let blobs: Vec<Descriptor> =
                node.blobs.iter().filter(|blob| seen.insert(blob.digest.clone())).cloned().collect();
            let moved: Vec<(Moved, u64)> = stream::iter(blobs)
                .map(|blob| async move { Ok::<_, Error>((self.blob(cx, &blob).await?, blob.size)) })
                .buffer_unordered(CONCURRENCY)
                .try_collect()
                .await?;
            for (moved, size) in moved {
                match moved {
                    Moved::Mounted => copied.mounted += 1,
                    Moved::Present => {}
                    Moved::Streamed => {
                        copied.streamed += 1;
                        copied.bytes += size;
                    }
                }
            }
        }
        client.push_manifest(cx, to, reference, &node.media_type, node.bytes.clone()).await?;
        cx.progress(format_args!("Copied {} from {from} to {to}.", node.original));
        Ok(())
    }
}

impl Planned {
    /// What is pushed as it is.
    fn plain(manifest: Manifest, blobs: Vec<Descriptor>) -> Self {
        let Manifest { digest, media_type, bytes, .. } = manifest;
        Self { original: digest.clone(), digest, media_type, bytes, blobs }
    }
}
