//! The handle: freight, its aliases, and what it is made of.

use super::Engine;
use super::command::Command;
use crate::actor::Actor;
use crate::error::Result;
use crate::freight::Choice;
use crate::name::{FreightId, WarehouseName};
use crate::warehouse::Discovered;

impl Engine {
    /// What the last look of `warehouse` found: the candidates of each subscription, newest first. After a restart, what the last
    /// look before it found, until there is a new one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such warehouse, [`crate::ErrorKind::Unavailable`] when it has not looked
    /// yet, [`crate::ErrorKind::Conflict`] when another engine drives the pipeline.
    pub async fn discovered(&self, warehouse: impl Into<WarehouseName>) -> Result<Vec<Discovered>> {
        let warehouse = warehouse.into();
        self.ask(|reply| Command::Discovered { warehouse, reply }).await?
    }

    /// Makes freight of chosen artifacts, one of each subscription of `warehouse`; a subscription without a choice gives its newest.
    /// They must be among what [`Engine::discovered`] says. When there is such freight already, that is the answer and nothing changes.
    ///
    /// It counts as newer than all the warehouse had made before. The warehouse's criteria do not stop it, but the journal says that
    /// one is not satisfied.
    ///
    /// # Errors
    /// As for [`Engine::discovered`]; [`crate::ErrorKind::NotFound`] when a chosen artifact was not discovered, naming what was;
    /// [`crate::ErrorKind::InvalidInput`] when there is no such subscription, or a choice does not say which artifact.
    pub async fn assemble(
        &self,
        warehouse: impl Into<WarehouseName>,
        choices: impl IntoIterator<Item = Choice>,
        actor: Actor,
    ) -> Result<FreightId> {
        let (warehouse, choices) = (warehouse.into(), choices.into_iter().collect());
        self.ask(|reply| Command::Assemble { warehouse, choices, actor, reply }).await?
    }

    /// Calls `freight` by this alias, in place of the one it has.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such freight; [`crate::ErrorKind::InvalidInput`] when other freight has the
    /// alias, naming it, or when it cannot be one: a label of a DNS name, of at most 63 characters, and no freight's id.
    pub async fn set_alias(&self, freight: impl Into<FreightId>, alias: impl Into<String>, actor: Actor) -> Result<()> {
        let (freight, alias) = (freight.into(), Some(alias.into()));
        self.ask(|reply| Command::Call { freight, alias, actor, reply }).await?
    }

    /// Takes the alias of `freight` away.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such freight.
    pub async fn clear_alias(&self, freight: impl Into<FreightId>, actor: Actor) -> Result<()> {
        let freight = freight.into();
        self.ask(|reply| Command::Call { freight, alias: None, actor, reply }).await?
    }
}
