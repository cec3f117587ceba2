//! How two revisions stand to each other.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::Context;
use crate::error::Result;
use crate::name::Revision;

/// Knows how revisions follow each other. Deployers ask it when a target runs another revision than the wanted one: a branch that
/// several stages write to moves on, and a later commit of it still holds the earlier ones.
#[async_trait]
pub trait History: Debug + Send + Sync + 'static {
    /// How `observed` stands to `wanted`.
    async fn relate(&self, cx: &Context, observed: &Revision, wanted: &Revision) -> Result<Relation>;
}

/// How an observed revision stands to the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is the wanted one.
    Same,
    /// It is later, and holds the wanted one.
    Later,
    /// It is earlier; the wanted one holds it.
    Earlier,
    /// Neither holds the other.
    Diverged,
    /// Not known, such as when one of the two is not in the history.
    Unknown,
}

#[async_trait]
impl<T: History + ?Sized> History for Arc<T> {
    async fn relate(&self, cx: &Context, observed: &Revision, wanted: &Revision) -> Result<Relation> {
        (**self).relate(cx, observed, wanted).await
    }
}
