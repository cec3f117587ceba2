//! Secrets and other data of a project, for expressions.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use secrecy::SecretString;

use super::Context;
use crate::error::Result;
use crate::name::PipelineName;

/// Answers `secret()` and `configMap()` in expressions, and their shared kin: see [`PluginsBuilder::data`](super::PluginsBuilder::data).
///
/// It is asked anew for each call of a step whose expressions need it, so that a secret that was changed counts from then on. What a step
/// gets of them, as it is or as its expressions have changed it, is masked wherever the engine would write it down: in messages, in what
/// steps put out or remember, in the log. What has fewer than four bytes is not.
#[async_trait]
pub trait ProjectData: Debug + Send + Sync + 'static {
    /// The entries of a secret of the project, or with `shared` of one that all projects share; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be found out. The step is then tried again, as after an error of its own.
    async fn secret(
        &self,
        cx: &Context,
        project: &PipelineName,
        name: &str,
        shared: bool,
    ) -> Result<Option<BTreeMap<String, SecretString>>>;

    /// The same for a config map.
    ///
    /// # Errors
    /// As [`ProjectData::secret`].
    async fn config_map(
        &self,
        cx: &Context,
        project: &PipelineName,
        name: &str,
        shared: bool,
    ) -> Result<Option<BTreeMap<String, String>>>;
}
