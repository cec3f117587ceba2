//! Argo CD for Kargo: a [`Deployer`](kargo_core::plugin::Deployer) that says live only when it is.
//!
//! [`ArgoCd`] has an application run the revision that a writer made. It speaks Argo CD's REST API through [`Client`], so all it
//! needs is an address and a token with `get` and `sync` on the application. Nothing is written to the cluster by hand.
//!
//! ```no_run
//! use kargo_argocd::{ArgoCd, ArgoCdApp, Client};
//! use kargo_core::{Plugins, Stage, StepSpec};
//!
//! # fn main() -> kargo_core::Result<()> {
//! # let token = "a.b.c";
//! let client = Client::builder("https://argocd.example").token(token).build()?;
//! let plugins = Plugins::builder().deployer("argocd", ArgoCd::new(client)).build();
//! let dev = Stage::new("dev").direct("main").step(StepSpec::deploy("argocd", ArgoCdApp::new("shop-dev").project("web")));
//! # let _ = (plugins, dev);
//! # Ok(())
//! # }
//! ```
//!
//! What can be relied on:
//!
//! * **Live means live.** "Succeeded" and "Healthy" alone prove nothing, since two workers of Argo CD write one status. [`judge`]
//!   says what does.
//! * **One sync for each deployment**, tagged with the deployment's key and found again by it after a crash. What already runs is not
//!   synced at all. Only when somebody undoes it, or Argo CD does half of it, is a sync asked for again, at most twice.
//! * **Others are left alone.** An operation of somebody else is waited for; an abort stops only one's own. A promotion that no person asked
//!   for waits for a sync window as automatic sync does.
//! * **Soon, and cheap.** A waiting call listens to Argo CD's stream of changes, one for each client, and decides on reads alone. Live is
//!   said within a second, and what a request takes, of when the application is and has been for [`ArgoCdApp::stable_for`] after its
//!   operation's end; without the stream one look later, which is two seconds. An application that does nothing costs no request, however
//!   often Argo CD compares it: all of them together cost one list in five minutes, by which changes come to light that the server has told
//!   nobody of. One that is on its way for a minute has its objects looked at, at most once a minute and only when it has changed.
//! * **No answer is no verdict.** A log-in page with HTTP 200, half a body or a lost connection is an error that says whether another try
//!   can help.
//!
//! A branch that several stages write to moves on. Give [`ArgoCd::history`] something that knows how revisions follow each other,
//! and a later revision that holds the wanted one counts as well, and is named.
//!
//! Kargo's own steps are [`ArgoCdUpdate`] and [`ArgoCdWait`]. [`rollout`] says what a canary is doing, and moves it on.
//!
//! With the feature `testing` there is a fake Argo CD for the tests of hosts.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;
mod config;
mod deployer;
pub mod judge;
mod located;
pub mod rollout;
mod scrub;
mod step;
#[cfg(feature = "testing")]
pub mod testing;

pub use client::{AppRef, Client, ClientBuilder, Credentials, Selector};
pub use config::{ArgoCdApp, ArgoCdApps, Mode, Paused, Pin, SourceRef};
pub use deployer::ArgoCd;
pub use step::{ArgoCdUpdate, ArgoCdWait};

/// The name under which an operation carries the key of its deployment.
pub const TAG: &str = "kargo-rs.dev/deployment";
/// The name under which an operation carries on whose behalf it was asked for.
pub const ACTOR: &str = "kargo-rs.dev/actor";
