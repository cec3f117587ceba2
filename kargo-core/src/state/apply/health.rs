//! How what stages run is.

use jiff::Timestamp;

use super::Affected;
use crate::name::{PromotionId, StageName};
use crate::plugin::Health;
use crate::state::State;
use crate::state::stage::StageHealth;

impl State {
    pub(super) fn change_health(
        &mut self,
        stage: &StageName,
        promotion: &PromotionId,
        health: Health,
        reason: &str,
        at: Timestamp,
    ) -> Option<Affected> {
        let known = self.stages.get_mut(stage)?;
        if known.history.front() != Some(promotion) {
            return None;
        }
        let since = known.health.as_ref().filter(|last| last.health == health).map_or(at, |last| last.since);
        known.health = Some(StageHealth { health, reason: reason.to_owned(), since, promotion: promotion.clone() });
        Some(self.with_downstream(stage))
    }

    /// What was known was about what ran before.
    pub(super) fn forget_health(&mut self, stage: &StageName) {
        if let Some(known) = self.stages.get_mut(stage) {
            known.health = None;
        }
    }
}
