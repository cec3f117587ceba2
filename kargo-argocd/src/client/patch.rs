//! Edits of an application.

use kargo_core::{Error, ErrorKind, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::exchange::Ask;
use super::{AppRef, Client, Snapshot, api_error};

/// A change of an application: what must still be so, and what is to be set.
///
/// Only the named fields are written, so that what others set beside them stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edit(Vec<Value>);

impl Edit {
    /// Demands that the field at `path`, a JSON pointer, is `value`.
    #[must_use]
    pub fn expect(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.push(json!({"op": "test", "path": path.into(), "value": value.into()}));
        self
    }

    /// Sets the field at `path`, whose parent must be there.
    #[must_use]
    pub fn set(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.push(json!({"op": "add", "path": path.into(), "value": value.into()}));
        self
    }

    /// Does what `other` does as well, after this.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|operation| operation["op"] == "test")
    }
}

impl Client {
    /// Edits an application, whole or not at all. Needs the permission `update`.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when something that the edit expects is otherwise; else as for [`Client::get`].
    pub async fn edit(&self, app: &AppRef, edit: &Edit) -> Result<Snapshot> {
        let what = format!("edit the application {app}");
        let patch = Value::from(edit.0.clone()).to_string();
        let mut body = json!({"name": app.name, "patch": patch, "patchType": "json"});
        app.fill_body(&mut body);
        let path = ["api", "v1", "applications", &app.name];
        let ask = Ask { method: Method::PATCH, ..Ask::post(&path, &body, &what) };
        match self.call(&ask).await {
            Ok(answer) => answer.snapshot(),
            Err(error) if api_error(&error).is_some_and(|api| api.message.contains("test failed")) => {
                let text =
                    format!("The application {app} was edited by somebody else in between; another try can help.");
                Err(Error::new(ErrorKind::Conflict, text).because(error))
            }
            Err(error) => Err(error),
        }
    }
}
