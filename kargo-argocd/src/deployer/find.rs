//! Which applications a configuration means, and how each of them is now.

use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, Result};

use super::ArgoCd;
use crate::client::{AppRef, Refresh, Search, Snapshot, is_missing};
use crate::config::ArgoCdApp;

/// What is found for one entry of a configuration.
pub(super) enum Found<'a> {
    App(Box<Target<'a>>),
    /// There is none yet, and it is waited for.
    Awaited(String),
}

/// One application to work on.
pub(super) struct Target<'a> {
    pub(super) app: AppRef,
    pub(super) config: &'a ArgoCdApp,
    pub(super) snapshot: Snapshot,
}

impl ArgoCd {
    /// Reads an application, or takes the last read when nothing has been heard of it since.
    pub(crate) async fn get(&self, cx: &Context, app: &AppRef) -> Result<Snapshot> {
        let read = async {
            if self.polls {
                self.client.get(app, Refresh::No).await
            } else {
                self.client.watch().get(cx, &self.client, app).await
            }
        };
        cx.guard("read the application", read).await
    }

    /// Reads an application in any case.
    pub(crate) async fn read(&self, cx: &Context, app: &AppRef, refresh: Refresh) -> Result<Snapshot> {
        if self.polls {
            self.client.get(app, refresh).await
        } else {
            self.client.watch().read(cx, &self.client, app, refresh).await
        }
    }

    /// The applications that are searched for, as they were listed last when nothing has been heard since, unless they are to be `fresh`.
    pub(crate) async fn list(&self, cx: &Context, search: &Search, fresh: bool) -> Result<Vec<Snapshot>> {
        let list = async {
            if self.polls {
                self.client.list(search).await
            } else {
                self.client.watch().list(cx, &self.client, search, fresh).await
            }
        };
        cx.guard("list the applications", list).await
    }

    /// What one entry means. Those that a selector finds come in the order of their namespaces and names.
    pub(super) async fn find<'a>(
        &self,
        cx: &Context,
        config: &'a ArgoCdApp,
        started_at: Timestamp,
        fresh: bool,
    ) -> Result<Vec<Found<'a>>> {
        let error = match &config.selector {
            None => {
                let app = config.reference();
                let read = async {
                    if fresh {
                        cx.guard("read the application", self.read(cx, &app, Refresh::No)).await
                    } else {
                        self.get(cx, &app).await
                    }
                };
                match read.await {
                    Ok(snapshot) => return Ok(vec![Found::App(Box::new(Target { app, config, snapshot }))]),
                    Err(error) if is_missing(&error) => missing(&app, config, error),
                    Err(error) => return Err(error),
                }
            }
            Some(selector) => {
                let found = self.list(cx, &config.search(selector), fresh).await?;
                if !found.is_empty() {
                    let target = |snapshot: Snapshot| Target { app: AppRef::of(&snapshot.app), config, snapshot };
                    return Ok(found.into_iter().map(|snapshot| Found::App(Box::new(target(snapshot)))).collect());
                }
                unmatched(config, &selector.to_string())
            }
        };
        let until = config.wait_for_app.map(|wait| started_at.checked_add(wait).unwrap_or(Timestamp::MAX));
        match until {
            Some(until) if cx.now() < until => Ok(vec![Found::Awaited(format!(
                "{} is not found or not permitted; waiting for it until {until}",
                named(config)
            ))]),
            _ => Err(error),
        }
    }
}

/// The entry in words.
fn named(config: &ArgoCdApp) -> String {
    match &config.selector {
        None => format!("application {}", config.reference()),
        Some(selector) => format!("any application with {selector}"),
    }
}

pub(super) fn missing(app: &AppRef, config: &ArgoCdApp, error: Error) -> Error {
    let hint = match config.project {
        None => "Is the name right, and may the account get it? Naming its project tells the two apart.",
        Some(_) => "Are its name, namespace and project right, and may the account get it?",
    };
    let wait = if config.wait_for_app.is_none() { " If something has yet to create it, set waitForApp." } else { "" };
    Error::new(error.kind(), format!("Application {app} is not found or not permitted. {hint}{wait}")).because(error)
}

/// The error for an application that a step names.
pub(crate) fn missing_app(app: &AppRef, error: Error) -> Error {
    let text = format!(
        "Application {app} is not found or not permitted. Are its name and namespace right, and may the account get it?"
    );
    Error::new(error.kind(), text).because(error)
}

fn unmatched(config: &ArgoCdApp, selector: &str) -> Error {
    let wait = if config.wait_for_app.is_none() { " If something has yet to create one, set waitForApp." } else { "" };
    let text = format!(
        "No application has the labels {selector} that are asked for. Are they, the namespace and the project right, and may the account \
         get it?{wait}"
    );
    Error::new(kargo_core::ErrorKind::NotFound, text)
}
