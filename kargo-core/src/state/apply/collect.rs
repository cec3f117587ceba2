//! Letting go of the past.

use super::Affected;
use crate::name::{FreightId, PromotionId};
use crate::state::State;

impl State {
    /// Takes freight and promotions out, with all that leads to them. What is not there is gone already.
    pub(super) fn collect(&mut self, freight: &[FreightId], promotions: &[PromotionId]) -> Affected {
        for id in promotions {
            let Some(gone) = self.promotions.remove(id) else { continue };
            if let Some(stage) = self.stages.get_mut(&gone.stage)
                && stage.attempts.get(&gone.freight) == Some(id)
            {
                stage.attempts.remove(&gone.freight);
            }
        }
        for id in freight {
            let Some(gone) = self.freight.remove(id) else { continue };
            let (origin, age) = (gone.freight.origin(), (gone.freight.discovered_at(), id.clone()));
            if let Some(of_origin) = self.by_age.get_mut(origin) {
                of_origin.remove(&age);
                if of_origin.is_empty() {
                    self.by_age.remove(origin);
                }
            }
            if let Some(alias) = &gone.alias {
                self.aliases.remove(alias);
            }
        }
        // What goes was out of reach of every decision.
        Affected::Stages(Vec::new())
    }
}
