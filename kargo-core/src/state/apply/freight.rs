//! The pipeline's definition, and the freight that comes and passes.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Affected, promotes_by_itself};
use crate::freight::Freight;
use crate::name::{FreightId, StageName};
use crate::pipeline::Pipeline;
use crate::state::{FreightState, State, Verified};

impl State {
    pub(super) fn define(&mut self, pipeline: &Arc<Pipeline>) {
        self.pipeline = Some(Arc::clone(pipeline));
        for (name, stage) in &mut self.stages {
            // A hold belongs to the rule that it holds, and ends with it.
            stage.holds.retain(|origin, _| promotes_by_itself(pipeline, name, origin));
        }
        // That freight passed through a stage when it had no steps says nothing about the stage with steps.
        let has_steps = |name: &StageName| pipeline.stage(name).is_some_and(|stage| !stage.is_control_flow());
        for known in self.freight.values_mut() {
            let FreightState { verified, presence, .. } = known;
            verified.retain(|stage, verified| {
                let keep = verified.promotion.is_some() || !has_steps(stage);
                if !keep {
                    presence.remove(stage);
                }
                keep
            });
        }
    }

    pub(super) fn add_freight(&mut self, freight: &Freight, alias: Option<&str>, offered: bool) -> Affected {
        let origin = freight.origin().clone();
        self.by_age.entry(origin.clone()).or_default().insert((freight.discovered_at(), freight.id().clone()));
        let warehouse = self.warehouses.entry(origin.clone()).or_default();
        warehouse.latest = Some(freight.id().clone());
        warehouse.waiting = None;
        if offered {
            warehouse.offered = warehouse.latest.clone();
        }
        let state = || FreightState::new(freight.clone());
        self.freight.entry(freight.id().clone()).or_insert_with(state);
        if alias.is_some() {
            self.call_freight(freight.id(), alias);
        }
        let requesting = self.pipeline.iter().flat_map(|pipeline| pipeline.requesting(&origin));
        Affected::Stages(requesting.map(|stage| stage.name().clone()).collect())
    }

    /// Gives freight an alias in place of the one it has, and takes it from whoever had it.
    pub(super) fn call_freight(&mut self, freight: &FreightId, alias: Option<&str>) -> Option<Affected> {
        let known = self.freight.get_mut(freight)?;
        if let Some(before) = known.alias.take() {
            self.aliases.remove(&before);
        }
        if let Some(alias) = alias {
            known.alias = Some(alias.to_owned());
            let holder = self.aliases.insert(alias.to_owned(), freight.clone());
            if let Some(holder) = holder.and_then(|holder| self.freight.get_mut(&holder)) {
                holder.alias = None;
            }
        }
        Some(Affected::Stages(Vec::new()))
    }

    pub(super) fn pass_freight(&mut self, freight: &FreightId, stage: &StageName, at: Timestamp) -> Option<Affected> {
        let known = self.freight.get_mut(freight)?;
        known.verified.insert(stage.clone(), Verified { at, promotion: None });
        let presence = known.presence.entry(stage.clone()).or_default();
        presence.since.get_or_insert(at);
        Some(self.with_downstream(stage))
    }
}
