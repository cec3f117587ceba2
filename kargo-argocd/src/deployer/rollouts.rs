//! What Rollouts have to do with a deployment: their pauses are ended, and an aborted one is told of.

use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::{Result, Revision};

use super::ArgoCd;
use super::carry::Stand;
use super::memory::AppMemory;
use crate::client::{AppRef, Application, HealthCode, HistoryEntry, Node, ResourceRef, revision_at};
use crate::judge::same_revisions;
use crate::rollout::{Pause, Rollout, RolloutPhase};

impl ArgoCd {
    /// Ends the pauses of an application's Rollouts that wait for somebody, each once. `why` is why it waits, and when to look again.
    pub(super) async fn drive(
        &self,
        cx: &Context,
        app: &AppRef,
        memory: &mut AppMemory,
        full: bool,
        (why, check_after): (&str, Duration),
    ) -> Result<Stand> {
        let rollouts = cx.guard("look at the Rollouts", self.client.rollouts(app)).await?;
        if let Some(unsure) = rollouts.iter().find(|rollout| rollout.pause == Some(Pause::Inconclusive)) {
            let runs = self.unclear_analyses(cx, app, unsure).await;
            return Ok(Stand::failed(
                app,
                &format!("{unsure}{runs}; resume or abort it, which is for a person to say"),
            ));
        }
        let mut told = String::new();
        for rollout in rollouts {
            match &rollout.pause {
                Some(Pause::Open) => {}
                Some(_) => {
                    told.push_str(&format!("; {rollout}"));
                    continue;
                }
                None => continue,
            }
            let place = rollout.place();
            if memory.resumed.contains(&place) {
                continue;
            }
            let act = async {
                if full {
                    self.client.promote_full(app, &rollout).await
                } else {
                    self.client.resume(app, &rollout).await
                }
            };
            if cx.guard("resume a Rollout", act).await? {
                self.touched(app);
                cx.progress(format!("resumed {rollout} of application {app}"));
                told.push_str(&format!("; {rollout}, and was resumed"));
                memory.resumed.push(place);
            }
        }
        Ok(Stand::pending(format!("application {app}: {why}{told}"), check_after))
    }

    /// `: the analyses of a Rollout that were inconclusive`, or nothing when that cannot be told.
    async fn unclear_analyses(&self, cx: &Context, app: &AppRef, rollout: &Rollout) -> String {
        let nodes = cx.guard("look at the analyses", self.client.tree(app)).await.unwrap_or_default();
        let is_unclear = |node: &&Node| {
            let unclear = node.health.as_ref().is_some_and(|health| health.status == Some(HealthCode::Unknown));
            let of_it = |parent: &ResourceRef| parent.kind == "Rollout" && parent.name == rollout.object.name;
            unclear && node.object.kind == "AnalysisRun" && node.parent_refs.iter().any(of_it)
        };
        let mut names: Vec<String> = nodes.iter().filter(is_unclear).map(crate::judge::named_node).collect();
        names.sort();
        if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
    }

    /// Whether a Rollout that went back is why the application is degraded: what to say of it, and the revision that runs in truth, where
    /// that is known. The application shows the new one as synced all the same.
    pub(super) async fn aborted(
        &self,
        cx: &Context,
        app: &AppRef,
        read: &Application,
    ) -> Option<(String, Option<Revision>)> {
        let has_rollout = read.status.resources.iter().any(|resource| resource.kind == "Rollout");
        if !has_rollout || read.status.health.status != Some(HealthCode::Degraded) {
            return None;
        }
        // The failure is told in any case; this only says more of it.
        let rollouts = cx.guard("look at the Rollouts", self.client.rollouts(app)).await.ok()?;
        let aborted = rollouts.iter().find(|rollout| rollout.phase == RolloutPhase::Aborted)?;
        let before = before(read);
        let what = match &before {
            Some(revision) => format!("the previous revision {revision}"),
            None => "the previous version".to_owned(),
        };
        Some((format!("{aborted}, so that {what} is live"), before))
    }
}

/// The revision that was deployed last before what the application shows now, in the source that differs.
fn before(app: &Application) -> Option<Revision> {
    let (sync, sources) = (&app.status.sync, app.spec.effective_sources().len());
    let shown = (&sync.revision, sync.revisions.as_slice());
    let differs = |entry: &&HistoryEntry| !same_revisions((&entry.revision, &entry.revisions), shown);
    let earlier = app.status.history.iter().filter(differs).max_by_key(|entry| entry.id)?;
    let then = |index| revision_at(sources, index, earlier.revision.as_deref(), &earlier.revisions);
    let now = |index| revision_at(sources, index, sync.revision.as_deref(), &sync.revisions);
    (0..sources.max(1)).find(|index| then(*index) != now(*index)).and_then(then).map(Revision::from)
}
