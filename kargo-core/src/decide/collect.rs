//! What of the past the state can let go, so that it stays small. The journal keeps all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::admission::{available, opens_at};
use crate::clock::elapsed;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;
use crate::stage::Stage;
use crate::state::{Draft, EventKind, FreightState, Promotion, State};

/// How many ids one event holds at most, so that none is large.
const BATCH: usize = 1_000;

/// The next part of what the state can let go by the pipeline's [`Retention`](crate::Retention); nothing, when there is no more.
///
/// A promotion stays while it is under way or waits, is its stage's last, is in the stage's history, holds automatic promotions, is
/// among the newest of its stage or young; and while it says that freight which stays did not do well in its stage, so that it is
/// not promoted there again by itself, or that it runs there. A stage or a warehouse that the pipeline has no longer keeps only what is
/// young.
///
/// Freight stays while a stage runs it, a promotion that stays carries it, it is what its warehouse found last, is among the
/// newest of its warehouse or young; and while it may yet be promoted to a stage that runs older freight: all that is approved for
/// the stage or soaks for it, and the newest (as many as the retention says, but at least one) of what is available to it and of what
/// some stage before it has verified.
///
/// What goes was out of reach of automatic promotion, so no decision changes.
pub fn collect(pipeline: &Pipeline, state: &State, now: Timestamp) -> Option<Draft> {
    let mut kept = Kept { state, promotions: BTreeSet::new(), freight: BTreeSet::new(), unseen: Vec::new() };
    kept.promotions_by_rule(pipeline, now);
    kept.freight_by_rule(pipeline, now);
    if kept.is_all() {
        return None;
    }
    kept.what_may_be_promoted(pipeline, now);
    kept.close();

    let promotions = state.promotions().map(|promotion| &promotion.id).filter(|id| !kept.promotions.contains(id));
    let promotions: Vec<PromotionId> = promotions.take(BATCH).cloned().collect();
    // Freight goes after all promotions that carry it, so that none is left that carries what is gone.
    let room = BATCH - promotions.len();
    let freight = state.freight().map(|known| known.freight().id()).filter(|id| !kept.freight.contains(id));
    let freight: Vec<FreightId> = freight.take(room).cloned().collect();
    let nothing = promotions.is_empty() && freight.is_empty();
    (!nothing).then(|| Draft::rule(EventKind::Collected { freight, promotions }))
}

/// What stays, for whatever reason: with a promotion, the freight that it carries.
struct Kept<'a> {
    state: &'a State,
    promotions: BTreeSet<&'a PromotionId>,
    freight: BTreeSet<&'a FreightId>,
    /// Freight that is in, and whose promotions have not been looked at.
    unseen: Vec<&'a FreightId>,
}

impl<'a> Kept<'a> {
    fn is_all(&self) -> bool {
        self.promotions.len() == self.state.promotions().count() && self.freight.len() == self.state.freight().count()
    }

    fn promotion(&mut self, id: &'a PromotionId) {
        if !self.promotions.insert(id) {
            return;
        }
        if let Some(promotion) = self.state.promotion(id) {
            self.freight(&promotion.freight);
            promotion.collection.values().for_each(|freight| self.freight(freight));
        }
    }

    fn freight(&mut self, id: &'a FreightId) {
        // What is not there any more cannot stay; a journal of before has no such reference.
        if self.state.freight_by_id(id).is_some() && self.freight.insert(id) {
            self.unseen.push(id);
        }
    }

    fn promotions_by_rule(&mut self, pipeline: &Pipeline, now: Timestamp) {
        let retention = pipeline.retention();
        for (_, stage) in self.state.stages() {
            let under_way = stage.running.iter().chain(&stage.verifying).chain(&stage.queue);
            let held = stage.holds.values().filter_map(|hold| Some(&hold.choice.as_ref()?.promotion));
            let needed = under_way.chain(&stage.last).chain(&stage.history).chain(held);
            needed.filter(|id| self.state.promotion(id).is_some()).collect::<Vec<_>>().into_iter().for_each(|id| {
                self.promotion(id);
            });
        }
        let mut newer: HashMap<&StageName, usize> = HashMap::new();
        // Ids of one stage sort by creation.
        for promotion in self.state.promotions().rev() {
            let newer = newer.entry(&promotion.stage).or_default();
            let ended = promotion.verifications.last().and_then(|last| last.finished_at).or(promotion.finished_at);
            let young = ended.is_none_or(|ended| elapsed(ended, now) < retention.min_age);
            // A stage that is gone has no quota, or stages that come and go would fill the state.
            let quota = if pipeline.stage(&promotion.stage).is_some() { retention.promotions_per_stage } else { 0 };
            if *newer < quota || young {
                self.promotion(&promotion.id);
            }
            *newer += 1;
        }
    }

    fn freight_by_rule(&mut self, pipeline: &Pipeline, now: Timestamp) {
        let retention = pipeline.retention();
        for (_, stage) in self.state.stages() {
            let held = stage.holds.values().filter_map(|hold| Some(&hold.choice.as_ref()?.freight));
            stage.current.values().chain(held).for_each(|id| self.freight(id));
        }
        for origin in self.state.origins() {
            let quota = if pipeline.warehouse(origin).is_some() { retention.freight_per_warehouse } else { 0 };
            let known = self.state.warehouse(origin);
            // Freight that the next look would find again must not go, or it would come back as new.
            known.iter().flat_map(|known| known.latest.iter().chain(&known.offered)).for_each(|id| self.freight(id));
            for (newer, known) in self.state.newest_first(origin).enumerate() {
                let young = elapsed(known.freight().discovered_at(), now) < retention.min_age;
                if newer < quota || young {
                    self.freight(known.freight().id());
                } else {
                    // All that follow are older still.
                    break;
                }
            }
        }
    }

    /// Freight that a stage could take, and that is newer than what the stage runs.
    fn what_may_be_promoted(&mut self, pipeline: &Pipeline, now: Timestamp) {
        let (state, quota) = (self.state, pipeline.retention().freight_per_warehouse.max(1));
        let mut whole: BTreeMap<&WarehouseName, bool> = BTreeMap::new();
        for stage in pipeline.stages() {
            for request in stage.requests() {
                let origin = &request.origin;
                let freight = &self.freight;
                let all = || state.newest_first(origin).all(|known| freight.contains(known.freight().id()));
                if *whole.entry(origin).or_insert_with(all) {
                    continue;
                }
                let (mut available_left, mut verified_left) = (quota, quota);
                for known in newer_than_current(state, stage, origin) {
                    let approved = known.approved().contains_key(stage.name());
                    let verified = request.stages.iter().any(|upstream| known.verified().contains_key(upstream));
                    let open = available_left > 0
                        && (request.direct || approved || verified)
                        && available(pipeline, state, stage, known, now, &mut |_| {});
                    let soaks = request.required_soak.is_some()
                        && verified
                        && opens_at(pipeline, state, stage, known, now).is_some();
                    if approved || soaks || open || (verified && verified_left > 0) {
                        self.freight(known.freight().id());
                    }
                    available_left -= usize::from(open);
                    verified_left = verified_left.saturating_sub(usize::from(verified));
                }
            }
        }
    }

    /// Takes in what freight that stays needs: the promotions that say that it did not do well.
    fn close(&mut self) {
        while let Some(id) = self.unseen.pop() {
            let Some(known) = self.state.freight_by_id(id) else { continue };
            for (name, stage) in self.state.stages() {
                let attempt = stage.attempts.get(id).and_then(|attempt| self.state.promotion(attempt));
                // What a stage runs was tried there last, and a rollback starts from that.
                let runs = stage.current.values().any(|current| current == id);
                if let Some(attempt) = attempt.filter(|attempt| runs || tells(attempt, name, known)) {
                    self.promotion(&attempt.id);
                }
            }
        }
    }
}

/// Whether the last promotion of freight in a stage says more than that all is well there.
fn tells(attempt: &Promotion, stage: &StageName, freight: &FreightState) -> bool {
    !attempt.phase.is_success() || !freight.verified().contains_key(stage)
}

fn newer_than_current<'a>(
    state: &'a State,
    stage: &Stage,
    origin: &WarehouseName,
) -> impl Iterator<Item = &'a FreightState> {
    let current = state.stage(stage.name()).and_then(|known| known.current.get(origin));
    let age = |known: &'a FreightState| (known.freight().discovered_at(), known.freight().id());
    let runs = current.and_then(|id| state.freight_by_id(id)).map(age);
    state.newest_first(origin).take_while(move |known| runs.is_none_or(|runs| age(known) > runs))
}
