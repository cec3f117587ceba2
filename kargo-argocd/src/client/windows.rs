//! Sync windows: times in which a project allows or denies syncs.

use kargo_core::Result;
use serde::Deserialize;

use super::exchange::Ask;
use super::model::or_default;
use super::{AppRef, Client};

/// The sync windows of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SyncWindows {
    /// Those that are open now.
    #[serde(rename = "activeWindows", deserialize_with = "or_default")]
    pub active: Vec<SyncWindow>,
    /// All that concern the application.
    #[serde(rename = "assignedWindows", deserialize_with = "or_default")]
    pub assigned: Vec<SyncWindow>,
    /// Whether a person may sync now. Argo CD says nothing of what syncs by itself.
    #[serde(deserialize_with = "or_default")]
    pub can_sync: bool,
}

/// One sync window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SyncWindow {
    /// `allow` or `deny`.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// When it opens, in the form of cron.
    #[serde(deserialize_with = "or_default")]
    pub schedule: String,
    /// For how long it is open, such as `1h`.
    #[serde(deserialize_with = "or_default")]
    pub duration: String,
    /// Whether people may sync all the same.
    #[serde(deserialize_with = "or_default")]
    pub manual_sync: bool,
}

impl SyncWindow {
    fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    fn shown(&self) -> String {
        format!("{} for {}", self.schedule, self.duration)
    }
}

impl SyncWindows {
    /// Why nothing may sync by itself now; nothing when it may. An open window that denies comes first; where there are windows that allow,
    /// one of them must be open.
    pub fn keeps_automation_back(&self) -> Option<String> {
        if let Some(deny) = self.active.iter().find(|window| window.is("deny")) {
            return Some(format!("a sync window denies it ({})", deny.shown()));
        }
        let allows = |window: &&SyncWindow| window.is("allow");
        if self.active.iter().any(|window| allows(&window)) {
            return None;
        }
        let closed = self.assigned.iter().find(allows)?;
        Some(format!("no sync window that allows it is open ({})", closed.shown()))
    }
}

impl Client {
    /// The sync windows of an application, and which of them are open.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn sync_windows(&self, app: &AppRef) -> Result<SyncWindows> {
        let (what, query) = (format!("show the sync windows of the application {app}"), app.query());
        let path = ["api", "v1", "applications", &app.name, "syncwindows"];
        self.call(&Ask::get(&path, &query, &what)).await?.decode()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn windows(active: Value, assigned: Value) -> SyncWindows {
        serde_json::from_value(json!({"activeWindows": active, "assignedWindows": assigned, "canSync": true})).unwrap()
    }

    #[test]
    fn argo_11_what_a_person_may_do_automation_may_not() {
        let deny = json!([{"kind": "deny", "schedule": "0 22 * * *", "duration": "1h", "manualSync": true}]);
        let why = windows(deny.clone(), deny.clone()).keeps_automation_back().unwrap();
        assert!(why.contains("0 22 * * * for 1h"), "{why}");
        assert_eq!(windows(json!(null), deny).keeps_automation_back(), None);
        let allow = json!([{"kind": "allow", "schedule": "0 9 * * *", "duration": "8h"}]);
        assert!(windows(json!([]), allow.clone()).keeps_automation_back().unwrap().contains("0 9 * * *"));
        assert_eq!(windows(allow.clone(), allow).keeps_automation_back(), None);
        assert_eq!(SyncWindows::default().keeps_automation_back(), None);
    }
}
