//! The language of `${{ … }}`: expr-lang with Kargo's functions.
//!
//! Kargo's files have expressions in two styles. A [`Template`] is a text with expressions between `${{` and `}}` (or `${%`
//! and `%}`): a step's `if`, its variables, and, with [`Config`], its configuration. A [`Program`] is a bare expression:
//! `freightCreationCriteria`, `expressionFilter`, `successExpression`. Both are compiled against an [`Environment`], which says
//! which functions there are at that place, and evaluated against a [`Scope`]: variables, the time, and a [`Host`], who
//! answers what `imageFrom`, `secret` and their like ask. Evaluating has no effects and reads no clock.
//!
//! ```
//! use kargo_core::expr::{Environment, Fault, Host, Program, Query, Scope, Value, kargo};
//!
//! #[derive(Debug)]
//! struct Freight;
//!
//! impl Host for Freight {
//!     fn answer(&self, query: Query<'_>) -> Result<Value, Fault> {
//!         Ok(match query {
//!             Query::Image { repo_url: "ghcr.io/acme/app", .. } => {
//!                 kargo::image("ghcr.io/acme/app", "1.2.3", "sha256:…", Default::default(), "").into()
//!             }
//!             _ => Value::Nil,
//!         })
//!     }
//! }
//!
//! let program = Program::compile("semverDiff(imageFrom('ghcr.io/acme/app').Tag, '1.1.0')", &Environment::promotion())?;
//! assert_eq!(program.evaluate(&Scope::default().host(&Freight))?.value, Value::from("Minor"));
//!
//! let misspelled = Program::compile("imageFrom('ghcr.io/acme/app').tag", &Environment::promotion())?;
//! let error = misspelled.evaluate(&Scope::default().host(&Freight)).unwrap_err();
//! assert_eq!(error.message(), "Image has no field tag; did you mean Tag?");
//! # Ok::<(), kargo_core::expr::Error>(())
//! ```
//!
//! # Limits
//!
//! Expressions come from files, so that they may be anything: [`Limits`] bounds what they take, regular expressions run in
//! linear time, and no input makes the module panic. What reaches a limit is an error that names it.
//!
//! # Secrets
//!
//! An error never shows a value that was computed. [`Evaluation::sensitive`], [`Rendered::sensitive`] and
//! [`RenderedConfig::sensitive`] say whether a secret was read on the way; variables that come from secrets are named with
//! [`Scope::sensitive`].

mod builtin;
mod config;
mod environment;
mod error;
mod host;
pub mod kargo;
mod lexer;
mod limits;
mod machine;
mod number;
mod operator;
mod parser;
mod program;
mod reads;
mod regex;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod traces;
mod value;
mod yaml;

pub use config::{Config, RenderedConfig};
pub use environment::{Environment, Function, Parameter, Scope};
pub use error::{Error, Fault, FaultKind};
pub use host::{Host, Query};
pub use limits::Limits;
pub use program::{Evaluation, Program};
pub use reads::{Argument, Call, Read};
pub use template::{MAX_TEMPLATE, Rendered, Template};
pub use value::{List, MAX_DEPTH, MAX_WEIGHT, Map, Record, Value};
