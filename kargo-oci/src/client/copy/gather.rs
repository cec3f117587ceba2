//! Finds all manifests that an image or index is made of.

use std::collections::HashSet;

use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};

use super::{CONCURRENCY, Route};
use crate::client::descriptor::Parts;
use crate::client::manifest::Manifest;

/// How many manifests a copy may have, how many bytes they may have in all, and how deep indexes may be in each other: all
/// manifests are in memory at the same time.
const MANIFESTS: usize = 1_000;
const BYTES: usize = 32 * 1024 * 1024;
const DEPTH: usize = 3;

/// Manifests with what they refer to, every one after those that it refers to.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) all: Vec<(Manifest, Parts)>,
    seen: HashSet<String>,
    bytes: usize,
}

impl Nodes {
    /// One manifest alone.
    pub(super) fn only(root: Manifest) -> Result<Self> {
        let parts = root.parts(&root.digest)?;
        Ok(Self { all: vec![(root, parts)], ..Self::default() })
    }

    /// `root` and everything below it.
    pub(super) async fn gather(cx: &Context, route: Route<'_>, root: Manifest) -> Result<Self> {
        let mut nodes = Self::default();
        nodes.seen.insert(root.digest.clone());
        nodes.add(cx, route, root, DEPTH).await?;
        Ok(nodes)
    }

    fn add<'a>(
        &'a mut self,
        cx: &'a Context,
        route: Route<'a>,
        manifest: Manifest,
        depth: usize,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let from = route.from;
            let too_much = |what: String| {
                Err(Error::new(ErrorKind::InvalidResponse, format!("What was to be copied from {from} has {what}."))
                    .operation("copy"))
            };
            self.bytes += manifest.bytes.len();
            if self.bytes > BYTES {
                return too_much(format!("more than {BYTES} bytes of manifests"));
            }
            let parts = manifest.parts(&format!("{from}@{}", manifest.digest))?;
            let children: Vec<String> = parts.manifests().iter().map(|child| child.digest.clone()).collect();
            let children: Vec<String> = children.into_iter().filter(|child| self.seen.insert(child.clone())).collect();
            if self.seen.len() > MANIFESTS {
                return too_much(format!("more than {MANIFESTS} manifests"));
            }
            if depth == 0 && !children.is_empty() {
                return too_much(format!("indexes in each other, more than {DEPTH} deep"));
            }
            let mut fetched = stream::iter(children)
                .map(|digest| async move { route.client.manifest(cx, from, &digest).await })
                .buffered(CONCURRENCY);
            while let Some(child) = fetched.try_next().await? {
                self.add(cx, route, child, depth - 1).await?;
            }
            drop(fetched);
            self.all.push((manifest, parts));
            Ok(())
        }
        .boxed()
    }
}
