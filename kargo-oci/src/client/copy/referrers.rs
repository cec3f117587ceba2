//! Copies what refers to what was copied.

use std::collections::HashSet;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};

use super::annotate::annotate;
use super::gather::Nodes;
use super::{Copied, CopyOptions, Route};
use crate::client::tag_beside;

/// How many manifests may come along with a copy because they refer to it, directly or not.
const REFERRERS: usize = 1_000;
/// The tags beside an image under which cosign keeps what refers to it, by how they end.
const BESIDE: [&str; 3] = ["sig", "att", "sbom"];

impl Route<'_> {
    /// Copies what refers to these digests, which are there, and what refers to that.
    pub(super) async fn referrers(self, cx: &Context, subjects: Vec<String>, copied: &mut Copied) -> Result<()> {
        let Self { client, from, to } = self;
        let mut seen: HashSet<String> = subjects.iter().cloned().collect();
        let mut left = subjects;
        while let Some(subject) = left.pop() {
            for referrer in client.referrers(cx, from, &subject).await? {
                if !seen.insert(referrer.digest.clone()) {
                    continue;
                }
                self.whole(cx, &referrer.digest, None, copied).await?;
                left.push(referrer.digest);
            }
            for tag in BESIDE.iter().filter_map(|end| tag_beside(&subject, end)) {
                match client.head_manifest(cx, from, &tag).await {
                    Ok(_) => self.whole(cx, &tag, Some(&tag), copied).await?,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if copied.referrers > 0 {
            cx.progress(format_args!("{} manifests that refer to it are in {to} too.", copied.referrers));
        }
        Ok(())
    }

    /// Copies what `reference` names, to this tag or none.
    async fn whole(self, cx: &Context, reference: &str, tag: Option<&str>, copied: &mut Copied) -> Result<()> {
        if copied.referrers >= REFERRERS {
            let from = self.from;
            let text = format!(
                "More than {REFERRERS} manifests refer to what was to be copied from {from}, which is the most that come along; copy \
                 without referrers, or remove some of them."
            );
            return Err(Error::new(ErrorKind::InvalidResponse, text).operation("copy"));
        }
        let root = self.client.manifest(cx, self.from, reference).await?;
        let planned = annotate(Nodes::gather(cx, self, root).await?, &CopyOptions::default())?;
        for (position, node) in planned.iter().enumerate() {
            let is_root = position + 1 == planned.len();
            self.put(cx, node, tag.filter(|_| is_root).unwrap_or(&node.digest), copied).await?;
        }
        copied.referrers += 1;
        Ok(())
    }
}
