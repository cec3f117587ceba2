//! Looking ahead in one promotion, so that what follows at once can be appended at once.

use jiff::Timestamp;

use crate::actor::Actor;
use crate::state::event::EventKind;
use crate::state::promotion::Promotion;

/// A promotion as it will be once events are in the journal that are not there yet.
#[derive(Debug)]
pub(crate) struct Ahead(Promotion);

impl Ahead {
    /// From how it is now.
    pub(crate) fn of(promotion: &Promotion) -> Self {
        Self(promotion.clone())
    }

    /// From the request for it.
    pub(crate) fn requested(kind: &EventKind, actor: &Actor, at: Timestamp) -> Option<Self> {
        Promotion::requested(kind, actor, at).map(Self)
    }

    /// After this event too.
    pub(crate) fn change(&mut self, kind: &EventKind, at: Timestamp) {
        self.0.change(kind, at);
    }

    /// The promotion.
    pub(crate) fn promotion(&self) -> &Promotion {
        &self.0
    }
}
