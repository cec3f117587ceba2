//! Write the wanted version where desired state lives.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Context;
use crate::error::Result;
use crate::name::Revision;
use crate::promotion::PromotionInfo;

/// Makes a change where desired state lives: a Git branch, a registry tag.
///
/// The writer is called again with the same [`Context::key`] after a crash or a lost answer. It must then find the change that it
/// had made, and return it, rather than make a second one: derive what is written from the request alone
/// (its times come from the journal), and look for the key before writing when [`WriteRequest::resumed`] is set.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use async_trait::async_trait;
/// use kargo_core::plugin::{Context, WriteRequest, Writer, Written};
/// use kargo_core::Result;
///
/// /// Keeps each change under its key, so that a repeated call finds it.
/// #[derive(Debug, Default)]
/// struct Memory(Mutex<BTreeMap<String, String>>);
///
/// #[async_trait]
/// impl Writer for Memory {
///     async fn write(&self, cx: &Context, request: &WriteRequest<'_>) -> Result<Written> {
///         let wanted = request.promotion.freight.id().to_string();
///         let mut changes = self.0.lock().expect("no panic under the lock");
///         let made = changes.entry(cx.key().to_owned()).or_insert(wanted);
///         Ok(Written::new(made.clone(), true))
///     }
/// }
/// ```
#[async_trait]
pub trait Writer: Debug + Send + Sync + 'static {
    /// Checks a step's configuration when the pipeline is put together.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field and what it should be.
    fn validate(&self, config: &Value) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Makes the change, or finds that it is made.
    async fn write(&self, cx: &Context, request: &WriteRequest<'_>) -> Result<Written>;
}

/// A change to make.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WriteRequest<'a> {
    /// The promotion that makes it.
    pub promotion: &'a PromotionInfo,
    /// The step's configuration.
    pub config: &'a Value,
    /// When the step was started, from the journal: the time to write into what is written.
    pub started_at: Timestamp,
    /// Whether an earlier call for this change may have got through: after a restart, an error or a deadline.
    pub resumed: bool,
}

impl<'a> WriteRequest<'a> {
    /// A first try at a change.
    pub fn new(promotion: &'a PromotionInfo, config: &'a Value, started_at: Timestamp) -> Self {
        Self { promotion, config, started_at, resumed: false }
    }

    /// Sets whether an earlier call may have got through.
    #[must_use]
    pub fn resumed(mut self, resumed: bool) -> Self {
        self.resumed = resumed;
        self
    }
}

/// A change that is made.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Written {
    /// The revision that now holds it: what a deployer is to run.
    pub revision: Revision,
    /// Whether this promotion made a revision. `false` when all was already as wanted; the step then counts as skipped.
    pub changed: bool,
    /// More outputs for later steps.
    pub outputs: Map<String, Value>,
}

impl Written {
    /// A change held by `revision`.
    pub fn new(revision: impl Into<Revision>, changed: bool) -> Self {
        Self { revision: revision.into(), changed, outputs: Map::new() }
    }

    /// Adds an output.
    #[must_use]
    pub fn output(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.outputs.insert(key.into(), value.into());
        self
    }
}

#[async_trait]
impl<T: Writer + ?Sized> Writer for Arc<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn write(&self, cx: &Context, request: &WriteRequest<'_>) -> Result<Written> {
        (**self).write(cx, request).await
    }
}

#[async_trait]
impl<T: Writer + ?Sized> Writer for Box<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn write(&self, cx: &Context, request: &WriteRequest<'_>) -> Result<Written> {
        (**self).write(cx, request).await
    }
}
