//! Secrets and config maps of a host's.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::error::Result;
use crate::name::PipelineName;
use crate::plugin::{Context, ProjectData};

type Entries = BTreeMap<&'static str, &'static str>;

/// Of which each secret has the same entries, and each config map, whatever its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    secret: Entries,
    config_map: Option<Entries>,
    /// How long it takes to look a config map up.
    takes: Duration,
}

impl Data {
    pub(crate) fn secret(entries: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        Self { secret: entries.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn config_map(self, entries: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        Self { config_map: Some(entries.into_iter().collect()), ..self }
    }

    pub(crate) fn after(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }
}

#[async_trait]
impl ProjectData for Data {
    async fn secret(
        &self,
        _: &Context,
        _: &PipelineName,
        _: &str,
        _: bool,
    ) -> Result<Option<BTreeMap<String, SecretString>>> {
        Ok(Some(self.secret.iter().map(|(key, value)| ((*key).to_owned(), SecretString::from(*value))).collect()))
    }

    async fn config_map(
        &self,
        _: &Context,
        _: &PipelineName,
        _: &str,
        _: bool,
    ) -> Result<Option<BTreeMap<String, String>>> {
        tokio::time::sleep(self.takes).await;
        let owned = |(key, value): (&&str, &&str)| ((*key).to_owned(), (*value).to_owned());
        Ok(self.config_map.as_ref().map(|entries| entries.iter().map(owned).collect()))
    }
}
