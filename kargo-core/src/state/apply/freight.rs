//! The pipeline's definition, and the freight that comes and passes.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Affected, promotes_by_itself};
use crate::freight::Freight;
use crate::name::{FreightId, StageName};
use crate::pipeline::Pipeline;
use crate::state::{FreightState, StageState, State, Verified};

impl State {
    pub(super) fn define(&mut self, pipeline: &Arc<Pipeline>) {
        self.pipeline = Some(Arc::clone(pipeline));
        self.take_out_stages(pipeline);
        self.warehouses.retain(|name| pipeline.warehouse(name).is_some());
        for (name, stage) in &mut self.stages {
            // A hold belongs to the rule that it holds, and ends with it.
            stage.holds.retain(|origin, _| promotes_by_itself(pipeline, name, origin));
            if pipeline.stage(name).is_none_or(|stage| stage.health_watch().is_none()) {
                // Nobody looks any more, so what was seen last would be told for ever.
                stage.health = None;
            }
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

    /// Forgets what was found out in stages that the pipeline has no longer, as Kargo does when a stage is deleted: one that comes
    /// back under that name begins anew. What is under way there goes on, and nothing that waits there begins.
    fn take_out_stages(&mut self, pipeline: &Pipeline) {
        let is_there = |name: &StageName| pipeline.stage(name).is_some();
        for known in self.freight.values_mut() {
            known.verified.retain(|stage, _| is_there(stage));
            known.approved.retain(|stage, _| is_there(stage));
            known.presence.retain(|stage, _| is_there(stage));
        }
        for (_, stage) in self.stages.iter_mut().filter(|(name, _)| !is_there(name)) {
            let (running, verifying) = (stage.running.take(), stage.verifying.take());
            *stage =
                StageState { running, verifying, queue: std::mem::take(&mut stage.queue), ..StageState::default() };
        }
        self.stages.retain(|name, stage| is_there(name) || !stage.is_idle());
    }

    pub(super) fn add_freight(&mut self, freight: &Freight, alias: Option<&str>, offered: bool) -> Affected {
        let origin = freight.origin().clone();
        self.by_age.entry(origin.clone()).or_default().insert((freight.discovered_at(), freight.id().clone()));
        let warehouse = self.warehouses.or_default(&origin);
        warehouse.latest = Some(freight.id().clone());
        warehouse.waiting = None;
        if offered {
            warehouse.offered = warehouse.latest.clone();
        }
        if !self.freight.contains_key(freight.id()) {
            self.freight.insert(freight.id().clone(), FreightState::new(freight.clone()));
        }
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
