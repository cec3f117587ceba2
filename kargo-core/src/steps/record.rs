//! `set-metadata` and `set-freight-alias`.

use async_trait::async_trait;

use super::config::{self, MetadataKind};
use super::typed::Builtin;
use crate::error::Result;
use crate::plugin::{Context, Record, StepOutcome, StepRequest};

#[derive(Debug)]
pub(super) struct SetMetadata;

#[async_trait]
impl Builtin for SetMetadata {
    const USES: &'static str = "set-metadata";
    const CHANGES_FILES: bool = false;
    type Config = config::SetMetadata;

    async fn run(&self, _: &Context, config: config::SetMetadata, request: &StepRequest<'_>) -> Result<StepOutcome> {
        for update in config.updates {
            let (name, values) = (update.name.as_str(), update.values);
            request.record(match update.kind {
                MetadataKind::Stage => Record::StageMetadata { stage: name.into(), values },
                MetadataKind::Freight => Record::FreightMetadata { freight: name.into(), values },
            });
        }
        Ok(StepOutcome::succeeded())
    }
}

#[derive(Debug)]
pub(super) struct SetFreightAlias;

#[async_trait]
impl Builtin for SetFreightAlias {
    const USES: &'static str = "set-freight-alias";
    const CHANGES_FILES: bool = false;
    type Config = config::SetFreightAlias;

    async fn run(
        &self,
        _: &Context,
        config: config::SetFreightAlias,
        request: &StepRequest<'_>,
    ) -> Result<StepOutcome> {
        request.record(Record::FreightAlias { freight: config.name.as_str().into(), alias: config.alias });
        Ok(StepOutcome::succeeded())
    }
}
