//! The plug-in traits: how the engine reaches the world.
//!
//! | trait | question |
//! |---|---|
//! | [`Source`] | what versions exist? |
//! | [`Writer`] | write the wanted version where desired state lives |
//! | [`Deployer`] | make a target run a revision, and say when it does |
//! | [`Verifier`] | is it good? |
//! | [`Step`] | any other entry of a promotion's step list |
//! | [`Messenger`] | tell people |
//! | [`Criterion`] | may these artifacts become freight by themselves? |
//!
//! All are object-safe, and all but the last are asynchronous and reach outside. What holds for each of these:
//!
//! * A call gets a [`Context`]: deadline, cancellation, clock, actor, and a key that is the same on every try of the same
//!   effect. **An effect must be idempotent under its key**: the engine calls again after a crash, and cannot know
//!   whether the call before it had got through.
//! * A call may be dropped at any await point, when it is cancelled or its deadline passes. Nothing may be left half done that
//!   the next call with the same key does not complete.
//! * Long work is polled: return "not yet, look again after so long" rather than wait inside the call.
//! * A verdict is data; an [`Error`](crate::Error) means "could not find out". A panic is caught and is that step's failure.
//!
//! Plug-ins are registered by name in [`Plugins`]; pipelines refer to them by these names.

mod adapt;
mod config;
mod context;
mod criterion;
mod data;
mod deployer;
mod expression;
mod history;
mod messenger;
mod record;
mod registry;
mod source;
mod step;
mod verifier;
mod writer;

pub(crate) use config::{WrongField, is_template, proposal};
pub use config::{read_config, read_template, unusable};
pub use context::{Context, Progress};
pub use criterion::{Criterion, Judgement};
pub use data::ProjectData;
pub use deployer::{DeployRequest, Deployer, Deployment, Health, Observation, ObserveRequest};
pub use expression::ExpressionCriterion;
pub use history::{History, Relation};
pub use messenger::{Channel, ChannelKind, Encoding, Message, Messenger, Sent, SlackOptions, SmtpOptions};
pub use record::Record;
pub use registry::{Plugins, PluginsBuilder};
pub use source::{Cursor, DiscoverRequest, Discovery, Source};
pub use step::{Step, StepDefaults, StepOutcome, StepRequest};
pub use verifier::{Verdict, Verifier, VerifyRequest};
pub use writer::{WriteRequest, Writer, Written};
