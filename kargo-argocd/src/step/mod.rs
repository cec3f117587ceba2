//! Kargo's steps for Argo CD: `argocd-update` and `argocd-wait`.

mod authorize;
mod config;
mod update;
mod wait;

pub use update::ArgoCdUpdate;
pub use wait::ArgoCdWait;

use kargo_core::Result;
use kargo_core::plugin::Context;
use serde_json::{Value, json};

use crate::client::{AppRef, Search, Selector, Snapshot, is_missing};
use crate::deployer::{ArgoCd, missing_app};

/// How many applications of one step are worked on at once.
const AT_ONCE: usize = 16;

/// Which applications an entry of a step means.
struct Wanted<'a> {
    name: Option<&'a str>,
    selector: Option<&'a Selector>,
    namespace: Option<&'a str>,
}

/// An application, and how it is.
struct Found {
    app: AppRef,
    snapshot: Snapshot,
}

impl Wanted<'_> {
    fn reference(&self, name: &str) -> AppRef {
        let mut app = AppRef::new(name);
        app.namespace = self.namespace.map(str::to_owned);
        app
    }

    /// The applications that are meant; those of a selector in the order of their namespaces and names.
    async fn find(&self, cx: &Context, argocd: &ArgoCd) -> Result<Vec<Found>> {
        if let Some(name) = self.name {
            let app = self.reference(name);
            let snapshot = argocd
                .get(cx, &app)
                .await
                .map_err(|error| if is_missing(&error) { missing_app(&app, error) } else { error })?;
            return Ok(vec![Found { app, snapshot }]);
        }
        let found = argocd.list(cx, &self.search(), false).await?;
        Ok(found.into_iter().map(|snapshot| Found { app: AppRef::of(&snapshot.app), snapshot }).collect())
    }

    /// The same for an abort, for which an application that is named need not be read.
    async fn find_to_stop(&self, cx: &Context, argocd: &ArgoCd) -> Result<Vec<AppRef>> {
        if let Some(name) = self.name {
            return Ok(vec![self.reference(name)]);
        }
        let found = argocd.search_to_stop(cx, &self.search()).await?;
        Ok(found.iter().map(|one| AppRef::of(&one.app)).collect())
    }

    fn search(&self) -> Search {
        let mut search = Search::new();
        search.selector = self.selector.cloned();
        search.namespace = self.namespace.map(str::to_owned);
        search
    }

    fn shown(&self) -> String {
        self.name.map(str::to_owned).or_else(|| self.selector.map(ToString::to_string)).unwrap_or_default()
    }
}

/// An application as the steps put it out.
fn output(snapshot: &Snapshot) -> Value {
    let metadata = &snapshot.app.metadata;
    json!({"name": metadata.name, "namespace": metadata.namespace})
}
