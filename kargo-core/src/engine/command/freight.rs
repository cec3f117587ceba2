//! What people say of freight.

use super::{no_stage, undefined};
use crate::actor::Actor;
use crate::engine::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::freight::alias_fault;
use crate::name::{FreightId, StageName};
use crate::state::{Draft, EventKind, State};

/// What a request comes to that may have nothing to journal.
pub(super) enum Unless<T> {
    /// It is so already.
    Already(T),
    /// It cannot be.
    Failed(Error),
}

impl<T> From<Error> for Unless<T> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<T> Unless<T> {
    pub(super) fn into_result(self) -> Result<T> {
        match self {
            Self::Already(answer) => Ok(answer),
            Self::Failed(error) => Err(error),
        }
    }
}

impl Driver {
    pub(super) async fn approve(&mut self, stage: StageName, freight: FreightId, actor: Actor) -> Result<()> {
        let name = self.shared.name.clone();
        self.request(|state, _| {
            let pipeline = state.pipeline().ok_or_else(|| undefined(&name))?;
            if pipeline.stage(&stage).is_none() {
                return Err(no_stage(pipeline, &stage));
            }
            if state.freight_by_id(&freight).is_none() {
                let message = format!("Freight {freight:?} does not exist, so it cannot be approved.");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            let kind = EventKind::FreightApproved { freight: freight.clone(), stage: stage.clone() };
            Ok((vec![Draft::request(actor.clone(), kind)], ()))
        })
        .await
    }

    /// Gives `freight` this alias, or takes its alias away.
    pub(super) async fn call_freight(&mut self, freight: FreightId, alias: Option<String>, actor: Actor) -> Result<()> {
        let requested = self.request(|state, _| match alias_set(state, &freight, alias.as_deref())? {
            Some(kind) => Ok((vec![Draft::request(actor.clone(), kind)], ())),
            None => Err(Unless::Already(())),
        });
        requested.await.or_else(Unless::into_result)
    }
}

/// The event that gives `freight` this alias, or takes its alias away; none when it is so already.
pub(in crate::engine) fn alias_set(
    state: &State,
    freight: &FreightId,
    alias: Option<&str>,
) -> Result<Option<EventKind>> {
    let refused = |kind, message: String| Err(Error::new(kind, message));
    let Some(known) = state.freight_by_id(freight) else {
        return refused(ErrorKind::NotFound, format!("Freight {freight:?} does not exist, so it has no alias."));
    };
    if known.alias() == alias {
        return Ok(None);
    }
    if let Some(alias) = alias {
        if let Some(fault) = alias_fault(alias) {
            let message = format!("Freight {} cannot be called {alias:?}: {fault}.", known.freight());
            return refused(ErrorKind::InvalidInput, message);
        }
        if let Some(holder) = state.alias_holder(alias).and_then(|holder| state.freight_by_id(holder)) {
            let message = format!(
                "Freight {} cannot be called {alias:?}: freight {} is; choose another alias, or clear that one first.",
                known.freight(),
                holder.freight()
            );
            return refused(ErrorKind::InvalidInput, message);
        }
    }
    Ok(Some(EventKind::AliasSet { freight: freight.clone(), alias: alias.map(str::to_owned) }))
}
