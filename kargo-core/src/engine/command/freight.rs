//! What people say of freight.

use super::{no_stage, undefined};
use crate::actor::Actor;
use crate::engine::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{FreightId, StageName};
use crate::state::{Draft, EventKind};

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
}
