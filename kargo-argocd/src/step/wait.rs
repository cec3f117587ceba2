//! `argocd-wait`: waits until applications are as asked.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::plugin::{Context, Step, StepDefaults, StepOutcome, StepRequest};
use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::{Wait, WaitFor};
use super::{Found, output};
use crate::client::{AppRef, Application, HealthCode, OperationPhase, Refresh, SyncCode};
use crate::deployer::{ArgoCd, passing};
use crate::scrub::without_userinfo;

/// The pause between two looks.
const SOON: Duration = Duration::from_secs(2);
/// How much later than the end of an operation a comparison must begin to count: stamps have whole seconds.
const SETTLED: Duration = Duration::from_secs(1);

/// Kargo's step `argocd-wait`: waits until applications are healthy, in sync and without an operation, or what else `waitFor` says.
///
/// Its configuration is Kargo's. It changes nothing, and needs no consent of the applications. Each application is compared once before its
/// status counts, since one that has not yet seen what was just written looks as well as it did before.
///
/// ```
/// use kargo_argocd::{ArgoCd, ArgoCdWait, Client};
/// use kargo_core::Plugins;
/// use serde_json::json;
///
/// # fn main() -> kargo_core::Result<()> {
/// let argocd = ArgoCd::new(Client::builder("https://argocd.example").token("a.b.c").build()?);
/// let plugins = Plugins::builder().step("argocd-wait", ArgoCdWait::new(argocd)).build();
/// let config = json!({"apps": [{"name": "shop-dev", "waitFor": ["health", "suspended"]}]});
/// assert!(plugins.step("argocd-wait")?.validate(&config).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ArgoCdWait {
    argocd: ArgoCd,
}

/// What is remembered of an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    /// The server's time at the first look.
    since: Option<Timestamp>,
    /// When the last comparison then had begun.
    compared: Option<Timestamp>,
    /// The last health that said something.
    health: Option<HealthCode>,
    /// Whether a comparison was asked for, and answered or waited for in vain.
    refreshed: bool,
}

/// How an application stands.
#[derive(Debug, Clone, PartialEq)]
enum Ready {
    Yes,
    /// Not yet, and why.
    No(String),
    /// A comparison may tell more.
    Refresh(String),
    Never(String),
}

/// Judges one read. It does no I/O.
fn ready(app: &Application, wait_for: &[WaitFor], seen: &mut Seen) -> Ready {
    let status = &app.status;
    // Always the same one, in whatever order they are shown.
    let error = |kinds: &[&str]| {
        let meant = status.conditions.iter().filter(|condition| kinds.contains(&condition.kind.as_str()));
        meant.map(|condition| format!("{}: {}", condition.kind, condition.message)).min()
    };
    let asks = |what: WaitFor| wait_for.contains(&what);
    let operation = status.operation_state.as_ref();
    let runs = app.operation.is_some()
        || operation.is_some_and(|last| !last.phase.as_ref().is_some_and(OperationPhase::is_completed));
    if asks(WaitFor::Operation) && runs {
        return Ready::No("an operation runs".into());
    }
    let compared = status.reconciled_at;
    // Argo CD's own stamps come first: the server's time may be a proxy's.
    let fresh = match seen.compared {
        Some(before) => compared > Some(before),
        None => compared.is_some() && compared >= seen.since,
    };
    let ended = operation.and_then(|last| last.finished_at);
    let settled =
        ended.is_none_or(|ended| compared.is_some_and(|at| ended.checked_add(SETTLED).is_ok_and(|end| at >= end)));
    // What was wrong before the step may be what is being mended.
    if !fresh || !settled {
        // What is not accepted is not compared either, so that no time tells that it was looked at since.
        let invalid = error(&["InvalidSpecError"]).filter(|_| seen.refreshed);
        return invalid.map_or_else(|| Ready::Refresh("Argo CD has not compared since".into()), Ready::Never);
    }
    if let Some(error) = error(&["ComparisonError", "InvalidSpecError"]) {
        return Ready::Never(error);
    }
    if asks(WaitFor::Sync) && status.sync.status != Some(SyncCode::Synced) {
        let word = status.sync.status.as_ref().map_or_else(|| "not known".into(), ToString::to_string);
        return Ready::No(format!("its sync status is {word}"));
    }
    let health = status.health.status.clone();
    let was = seen.health.clone();
    if health.as_ref().is_some_and(|health| *health != HealthCode::Unknown) {
        seen.health.clone_from(&health);
    }
    let asked = [
        (WaitFor::Health, HealthCode::Healthy),
        (WaitFor::Suspended, HealthCode::Suspended),
        (WaitFor::Degraded, HealthCode::Degraded),
    ];
    let mut wanted = asked.iter().filter(|(what, _)| asks(*what)).map(|(_, word)| word).peekable();
    if wanted.peek().is_none() || wanted.any(|word| health.as_ref() == Some(word)) {
        return Ready::Yes;
    }
    let word = health.as_ref().map_or_else(|| "not known".into(), ToString::to_string);
    // One that was degraded from the beginning may be what is being mended.
    let broke = asks(WaitFor::Health)
        && health == Some(HealthCode::Degraded)
        && was.is_some_and(|was| was != HealthCode::Degraded);
    if broke { Ready::Never("it has become Degraded".into()) } else { Ready::No(format!("its health is {word}")) }
}

impl ArgoCdWait {
    /// Looks through `argocd`.
    pub fn new(argocd: ArgoCd) -> Self {
        Self { argocd }
    }

    async fn one(&self, cx: &Context, found: &mut Found, wait_for: &[WaitFor], seen: &mut Seen) -> Result<Ready> {
        if seen.since.is_none() {
            let now = found.snapshot.server_time.unwrap_or_else(|| cx.now());
            seen.since = Some(Timestamp::from_second(now.as_second()).unwrap_or(now));
            seen.compared = found.snapshot.app.status.reconciled_at;
        }
        let first = ready(&found.snapshot.app, wait_for, seen);
        let Ready::Refresh(_) = &first else { return Ok(first) };
        let read = async { Ok(self.argocd.read(cx, &found.app, Refresh::Normal).await) };
        match cx.guard("refresh the application", read).await? {
            Ok(snapshot) => found.snapshot = snapshot,
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            Err(error) => return Err(error),
        }
        seen.refreshed = true;
        Ok(ready(&found.snapshot.app, wait_for, seen))
    }
}

#[async_trait]
impl Step for ArgoCdWait {
    fn validate(&self, config: &Value) -> Result<()> {
        Wait::read(config).map(drop)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        Wait::check_template(config)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        pointer.starts_with("/apps/")
    }

    /// 5 minutes in all, as in Kargo.
    fn defaults(&self) -> StepDefaults {
        StepDefaults { timeout: Duration::from_secs(300), ..StepDefaults::default() }
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config = Wait::read(request.config)?;
        let mut all: BTreeMap<String, Seen> =
            request.state.and_then(|state| Deserialize::deserialize(state).ok()).unwrap_or_default();
        let until = self.argocd.hold_until(cx);
        loop {
            let (mut apps, mut health, mut names) = (Vec::new(), Map::new(), Vec::<AppRef>::new());
            let (mut waits, mut never) = (Vec::new(), Vec::new());
            for entry in &config.apps {
                let wanted = entry.wanted();
                let begun = !all.is_empty();
                let found = wanted.find(cx, &self.argocd).await.map_err(|error| passing(error, begun))?;
                if found.is_empty() {
                    let text = format!("No application has the labels {} that argocd-wait asks for.", wanted.shown());
                    return Err(Error::new(ErrorKind::NotFound, text));
                }
                for mut found in found {
                    let seen = all.entry(found.app.to_string()).or_default();
                    let app = found.app.clone();
                    let ready = self
                        .one(cx, &mut found, entry.wait_for(), seen)
                        .await
                        .map_err(|error| passing(error, begun))?;
                    match ready {
                        Ready::Yes => {}
                        Ready::No(why) | Ready::Refresh(why) => waits.push(format!("application {app}: {why}")),
                        Ready::Never(why) => never.push(format!("Application {app}: {}.", without_userinfo(&why))),
                    }
                    let shown = output(&found.snapshot);
                    let place = format!("{}/{}", shown["namespace"].as_str().unwrap_or_default(), app.name);
                    health.insert(place, json!(found.snapshot.app.status.health.status));
                    apps.push(shown);
                    names.push(app);
                }
            }
            if !never.is_empty() {
                return Ok(StepOutcome::Failed { reason: never.join(" ") });
            }
            if waits.is_empty() {
                let outputs =
                    Map::from_iter([("apps".to_owned(), apps.into()), ("healthStatus".to_owned(), health.into())]);
                return Ok(StepOutcome::Succeeded { outputs, message: "all applications are as asked".into() });
            }
            if !self.argocd.hold(cx, &names, SOON, until).await? {
                return Ok(StepOutcome::Running {
                    reason: waits.join("; "),
                    check_after: SOON,
                    state: serde_json::to_value(&all).ok(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [WaitFor; 3] = [WaitFor::Health, WaitFor::Sync, WaitFor::Operation];

    fn app(health: &str, sync: &str, compared: &str) -> Application {
        serde_json::from_value(json!({
            "metadata": {"name": "shop"},
            "status": {
                "health": {"status": health}, "sync": {"status": sync}, "reconciledAt": format!("2026-01-01T{compared}Z"),
                "operationState": {"phase": "Succeeded", "finishedAt": "2026-01-01T10:00:05Z"},
            },
        }))
        .unwrap()
    }

    fn seen() -> Seen {
        Seen { since: Some("2026-01-01T10:00:06Z".parse().unwrap()), ..Seen::default() }
    }

    #[test]
    fn a_status_from_before_the_step_does_not_count() {
        let mut before = Seen { compared: app("", "", "10:00:02").status.reconciled_at, ..seen() };
        assert!(matches!(ready(&app("Healthy", "Synced", "10:00:02"), &ALL, &mut before), Ready::Refresh(_)));
        assert_eq!(ready(&app("Healthy", "Synced", "10:00:06"), &ALL, &mut seen()), Ready::Yes);
    }

    #[test]
    fn report_43_a_condition_from_before_the_step_does_not_count_and_of_several_always_the_same_does() {
        let broken = |compared: &str, kinds: &[&str]| {
            let mut app = app("Healthy", "Synced", compared);
            let conditions = kinds.iter().map(|kind| json!({"type": kind, "message": format!("{kind} it is")}));
            app.status.conditions = serde_json::from_value(conditions.collect()).unwrap();
            app
        };
        let before = || Seen { compared: app("", "", "10:00:02").status.reconciled_at, ..seen() };
        let old = broken("10:00:02", &["ComparisonError", "InvalidSpecError"]);
        assert!(matches!(ready(&old, &ALL, &mut before()), Ready::Refresh(_)));
        // One that is not accepted is never compared.
        let mut asked = Seen { refreshed: true, ..before() };
        assert!(matches!(ready(&old, &ALL, &mut asked), Ready::Never(why) if why.contains("InvalidSpecError")));
        let one = ready(&broken("10:00:07", &["ComparisonError", "InvalidSpecError"]), &ALL, &mut seen());
        let other = ready(&broken("10:00:07", &["InvalidSpecError", "ComparisonError"]), &ALL, &mut seen());
        assert!(matches!(&one, Ready::Never(_)), "{one:?}");
        assert_eq!(one, other);
    }

    #[test]
    fn all_of_the_defaults_must_hold() {
        assert!(matches!(ready(&app("Progressing", "Synced", "10:00:07"), &ALL, &mut seen()), Ready::No(_)));
        assert!(matches!(ready(&app("Healthy", "OutOfSync", "10:00:07"), &ALL, &mut seen()), Ready::No(_)));
        let mut running = app("Healthy", "Synced", "10:00:07");
        running.operation = Some(crate::client::Operation::default());
        assert!(matches!(ready(&running, &ALL, &mut seen()), Ready::No(_)));
        assert_eq!(ready(&running, &[WaitFor::Health], &mut seen()), Ready::Yes);
    }

    #[test]
    fn one_of_several_kinds_of_health_is_enough() {
        let either = [WaitFor::Health, WaitFor::Suspended];
        assert_eq!(ready(&app("Suspended", "OutOfSync", "10:00:07"), &either, &mut seen()), Ready::Yes);
        assert!(matches!(ready(&app("Degraded", "Synced", "10:00:07"), &either, &mut seen()), Ready::No(_)));
        assert_eq!(ready(&app("Degraded", "Synced", "10:00:07"), &[WaitFor::Degraded], &mut seen()), Ready::Yes);
    }

    #[test]
    fn what_becomes_degraded_ends_the_wait_and_what_was_so_from_the_beginning_does_not() {
        let mut seen = seen();
        assert!(matches!(ready(&app("Progressing", "Synced", "10:00:07"), &ALL, &mut seen), Ready::No(_)));
        assert!(matches!(ready(&app("Degraded", "Synced", "10:00:09"), &ALL, &mut seen), Ready::Never(_)));
        assert!(matches!(ready(&app("Degraded", "Synced", "10:00:07"), &ALL, &mut super::tests::seen()), Ready::No(_)));
    }
}
