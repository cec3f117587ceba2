//! What warehouses have found, and the freight that people make of it.

use super::freight::Unless;
use crate::actor::Actor;
use crate::engine::discover::{new_freight, recall};
use crate::engine::driver::Driver;
use crate::engine::report::fits;
use crate::error::{Error, ErrorKind, Result};
use crate::freight::{Choice, choose};
use crate::name::{FreightId, WarehouseName, near_match};
use crate::state::Draft;
use crate::warehouse::{Discovered, Warehouse};

impl Driver {
    /// The warehouse of this name.
    pub(super) fn warehouse(&self, name: &WarehouseName) -> Result<Warehouse> {
        let pipeline = self.shared.read(|state| state.pipeline().cloned());
        let found = pipeline.as_ref().and_then(|pipeline| pipeline.warehouse(name)).cloned();
        found.ok_or_else(|| {
            let names = pipeline.iter().flat_map(|pipeline| pipeline.warehouses()).map(|known| known.name().as_str());
            let hint =
                near_match(name.as_str(), names).map_or_else(String::new, |near| format!(" Did you mean {near:?}?"));
            Error::new(ErrorKind::NotFound, format!("There is no warehouse {name:?}.{hint}"))
        })
    }

    /// What the last look found, one entry for each subscription.
    pub(super) async fn discovered(&self, name: &WarehouseName) -> Result<Vec<Discovered>> {
        let warehouse = self.warehouse(name)?;
        let memory = match self.polls.get(name).and_then(|poll| poll.memory().cloned()) {
            Some(memory) => memory,
            None => recall(&*self.store, &self.shared.name, name).await?,
        };
        let found = warehouse.subscriptions().iter().map(|subscription| {
            // What was found for another configuration says nothing about this one.
            let found = memory.iter().find(|last| last.subscription == *subscription)?;
            Some(Discovered { subscription: subscription.clone(), candidates: found.candidates.clone() })
        });
        found.collect::<Option<Vec<_>>>().ok_or_else(|| {
            let failing = self.shared.read(|state| state.warehouse(name).and_then(|known| known.failing.clone()));
            let why = failing.map_or_else(String::new, |failing| format!(" Its last look failed: {failing}"));
            let message =
                format!("Warehouse {name:?} has not looked yet; ask again after its first look, or refresh it.{why}");
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// Makes freight of what was chosen among what was discovered, or finds that it is there.
    pub(super) async fn assemble(
        &mut self,
        name: WarehouseName,
        choices: Vec<Choice>,
        actor: Actor,
    ) -> Result<FreightId> {
        let artifacts = choose(&name, &self.discovered(&name).await?, &choices)?;
        fits("artifacts", &artifacts)?;
        let criteria = self.warehouse(&name)?.criteria().to_vec();
        // A person may go against the criteria; that one cannot tell stops nobody either.
        let unmet = self.plugins.unmet(&criteria, &artifacts);
        let against = unmet.unwrap_or_else(|error| Some(error.report()));
        let requested = self.request(|state, now| {
            let (id, kind) = new_freight(state, &name, artifacts.clone(), against.clone(), now);
            match kind {
                Some(kind) => Ok((vec![Draft::request(actor.clone(), kind)], id)),
                None => Err(Unless::Already(id)),
            }
        });
        requested.await.or_else(Unless::into_result)
    }
}
