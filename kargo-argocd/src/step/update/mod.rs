//! `argocd-update`: changes the sources of applications, syncs them, and waits for the sync.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use kargo_core::plugin::{
    Context, DeployRequest, Deployer, Deployment, Health, Observation, ObserveRequest, Step, StepDefaults, StepOutcome,
    StepRequest,
};
use kargo_core::{Error, ErrorKind, PromotionInfo, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::authorize::{is_authorized, refusal};
use super::config::{SourceUpdate, Update, UpdateApp};
use super::{AT_ONCE, Found, output};
use crate::client::{AppRef, OwnerReference, Refresh};
use crate::config::{ArgoCdApp, SourceRef};
use crate::deployer::{AppMemory, ArgoCd, Job, Memory, Stand, TakenOver, Which, is_repository, merge, passing, place};
use crate::judge::Policy;
use plan::Plan;

/// How often the sources of one application are changed, when somebody changes them back.
const MAX_EDITS: u32 = 3;

/// Kargo's step `argocd-update`.
///
/// Its configuration is Kargo's. It changes the sources that its entries name, of all applications or of none, has each application synced,
/// and is done when the sync has ended well at the desired revisions. It does not wait for the health; that is for `argocd-wait`, for the
/// stage's [health watch](kargo_core::Stage::watch_health), which asks this step about the applications it changed, and for
/// [`ArgoCd`], which waits for everything.
///
/// The applications must let the stage change them, by the annotation `kargo.akuity.io/authorized-stage: <project>:<stage>`, where the
/// pipeline's name stands for the project. The account needs the permissions `get`, `sync`, and for sources `update`.
///
/// ```
/// use kargo_argocd::{ArgoCd, ArgoCdUpdate, Client};
/// use kargo_core::{Plugins, StepSpec};
/// use serde_json::json;
///
/// # fn main() -> kargo_core::Result<()> {
/// let argocd = ArgoCd::new(Client::builder("https://argocd.example").token("a.b.c").build()?);
/// let plugins = Plugins::builder().step("argocd-update", ArgoCdUpdate::new(argocd)).build();
/// let source = json!({"repoURL": "https://git.example/config", "desiredRevision": "${{ outputs.commit.commit }}"});
/// let step = StepSpec::new("argocd-update", json!({"apps": [{"name": "shop-dev", "sources": [source]}]}));
/// assert!(plugins.step("argocd-update")?.validate_template(&step.config).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ArgoCdUpdate {
    argocd: ArgoCd,
}

/// What is remembered between two calls.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    memory: Memory,
    /// How often the sources of an application were changed.
    edits: BTreeMap<String, u32>,
}

/// One application with what is to be done with it.
struct Work {
    found: Found,
    plan: Plan,
}

impl ArgoCdUpdate {
    /// Syncs with `argocd`, whose history of revisions, if it has one, lets a later revision than the desired one count.
    pub fn new(argocd: ArgoCd) -> Self {
        Self { argocd }
    }

    /// Every application with its plan. Nothing is changed before all of them are known to be permitted and possible.
    async fn prepare(&self, cx: &Context, promotion: &PromotionInfo, apps: &[UpdateApp]) -> Result<Vec<Work>> {
        let mut works: Vec<Work> = Vec::new();
        let mut updates: Vec<Vec<SourceUpdate>> = Vec::new();
        for entry in apps {
            let wanted = entry.wanted();
            let found = wanted.find(cx, &self.argocd).await?;
            if found.is_empty() {
                let text = format!("No application has the labels {} that argocd-update asks for.", wanted.shown());
                return Err(Error::new(ErrorKind::NotFound, text));
            }
            let (mut refused, mut permitted) = (None, false);
            for found in found {
                if !is_authorized(&found.snapshot.app, promotion)? {
                    // What was named must be permitted; of what was selected, the rest is left alone.
                    refused = Some(refusal(&found.snapshot.app, promotion, cx));
                    continue;
                }
                permitted = true;
                // By itself each entry must meet it; what several want of one application is done at once.
                let here = place(&found.snapshot);
                let plan = Plan::of(&found.snapshot.app, &entry.sources)?;
                match works.iter().position(|work| place(&work.found.snapshot) == here) {
                    Some(at) => {
                        updates[at].extend(entry.sources.iter().cloned());
                        works[at].plan = Plan::of(&found.snapshot.app, &updates[at])?;
                    }
                    None => {
                        works.push(Work { found, plan });
                        updates.push(entry.sources.clone());
                    }
                }
            }
            if let Some(error) = refused.filter(|_| !permitted) {
                return Err(error);
            }
        }
        Ok(works)
    }

    /// Carries one application on.
    async fn one(&self, cx: &Context, work: Work, memory: &mut AppMemory, edits: &mut u32) -> Result<Stand> {
        let Work { found: Found { app, mut snapshot }, plan } = work;
        let soon = |reason: String| Ok(Stand::Pending { reason, check_after: Duration::from_secs(2) });
        // While something runs, it is waited for: a change would be none of what it syncs.
        let begins = snapshot.app.operation.is_none();
        if begins && !plan.edit.is_empty() {
            if *edits >= MAX_EDITS {
                return Ok(Stand::Failed { reason: undone(&app, &snapshot.app.metadata.owner_references) });
            }
            self.argocd.touched(&app);
            match cx.guard("edit the application", self.argocd.client.edit(&app, &plan.edit)).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    return soon(format!("application {app} was changed just now; trying again"));
                }
                Err(error) => return Err(error),
            }
            *edits += 1;
            cx.progress(format!("changed the sources of application {app}"));
        }
        let edited = begins && !plan.edit.is_empty();
        let is_first = memory.latches.since.is_none();
        let now = snapshot.server_time.unwrap_or_else(|| cx.now());
        if edited {
            memory.latches.begin_anew(&snapshot.app, now);
        } else {
            memory.latches.begin(&snapshot.app, now);
        }
        if begins && (is_first || edited) {
            // As Kargo does: what is rendered anew has no stale cache behind it.
            match cx
                .guard("refresh the application", async { Ok(self.argocd.read(cx, &app, Refresh::Hard).await) })
                .await?
            {
                Ok(fresh) => snapshot = fresh,
                // What was read before the change says nothing of it.
                Err(error) if error.kind() == ErrorKind::Timeout && edited => {
                    return soon(format!("application {app}: Argo CD has not compared its changed sources yet"));
                }
                Err(error) if error.kind() == ErrorKind::Timeout => {}
                Err(error) => return Err(error),
            }
        }
        let policy = Policy { healthy: false, allow_empty: true, auto_sync_grace: Duration::ZERO, ..Policy::default() };
        let job = Job { app: app.clone(), wanted: plan.wanted, policy: &policy, prune: None, snapshot };
        match self.argocd.carry(cx, job, memory).await? {
            // Whoever writes them anew does so at once.
            Stand::Live { .. } if edited => {
                soon(format!("application {app}: whether its changed sources stay is not known yet"))
            }
            stand => Ok(stand),
        }
    }

    /// One look at all applications.
    async fn look(&self, cx: &Context, works: Vec<Work>, kept: &mut Kept) -> Result<Stand> {
        let jobs = works.into_iter().map(|work| {
            let name = work.found.app.to_string();
            let mut memory = kept.memory.apps.get(&name).cloned().unwrap_or_default();
            let mut edits = kept.edits.get(&name).copied().unwrap_or_default();
            async move {
                let stand = self.one(cx, work, &mut memory, &mut edits).await;
                (name, memory, edits, stand)
            }
        });
        let jobs: Vec<_> = jobs.collect();
        let mut carried = stream::iter(jobs).buffered(AT_ONCE);
        let (mut stands, mut trouble) = (Vec::new(), None);
        while let Some((name, memory, edits, stand)) = carried.next().await {
            kept.memory.apps.insert(name.clone(), memory);
            kept.edits.insert(name, edits);
            match stand {
                Ok(stand) => stands.push(stand),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        trouble.map_or(Ok(merge(stands)), Err)
    }
}

fn undone(app: &AppRef, owners: &[OwnerReference]) -> String {
    let set = owners.iter().find(|owner| owner.kind == "ApplicationSet");
    let who = match set {
        Some(set) => format!(
            "It belongs to the ApplicationSet {}, which writes it anew; let that ignore these fields (ignoreApplicationDifferences)",
            set.name
        ),
        None => "Something else writes it; find out what, such as another application that holds it".into(),
    };
    format!("The sources of application {app} were changed back {MAX_EDITS} times. {who}.")
}

/// The applications, as Kargo's step puts them out.
fn outputs(works: &[Work]) -> Map<String, Value> {
    Map::from_iter([("apps".to_owned(), works.iter().map(|work| output(&work.found.snapshot)).collect())])
}

#[async_trait]
impl Step for ArgoCdUpdate {
    fn validate(&self, config: &Value) -> Result<()> {
        Update::read(config).map(drop)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        Update::check_template(config)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        Update::takes_text(pointer)
    }

    fn deployer(&self) -> Option<Arc<dyn Deployer>> {
        Some(Arc::new(Updated(self.clone())))
    }

    /// 5 minutes in all, as in Kargo.
    fn defaults(&self) -> StepDefaults {
        StepDefaults { timeout: Duration::from_secs(300), ..StepDefaults::default() }
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config = Update::read(request.config)?;
        let mut kept: Kept = request.state.and_then(|state| Kept::deserialize(state).ok()).unwrap_or_default();
        let until = self.argocd.hold_until(cx);
        loop {
            let begun = kept.memory.has_begun();
            let works =
                self.prepare(cx, request.promotion, &config.apps).await.map_err(|error| passing(error, begun))?;
            let (outputs, names) =
                (outputs(&works), works.iter().map(|work| work.found.app.clone()).collect::<Vec<_>>());
            let done = |kept: &Kept| {
                kept.memory.apps.values().map(|app| app.latches.syncs).sum::<u32>() + kept.edits.values().sum::<u32>()
            };
            let before = done(&kept);
            let (reason, check_after) =
                match self.look(cx, works, &mut kept).await.map_err(|error| passing(error, begun))? {
                    Stand::Live { evidence, .. } => {
                        self.argocd.unanswered.forget(cx.key());
                        return Ok(StepOutcome::Succeeded { outputs, message: evidence });
                    }
                    Stand::Failed { reason } => {
                        let reason = self.argocd.left_over(cx, kept.memory, reason).await;
                        return Ok(StepOutcome::Failed { reason });
                    }
                    Stand::Pending { reason, check_after } => (reason, check_after),
                };
            // What was done belongs into the journal first.
            if done(&kept) != before || !self.argocd.hold(cx, &names, check_after, until).await? {
                return Ok(StepOutcome::Running { reason, check_after, state: serde_json::to_value(&kept).ok() });
            }
        }
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        let config = Update::read(request.config)?;
        let kept: Kept = request.state.and_then(|state| Kept::deserialize(state).ok()).unwrap_or_default();
        let (mut apps, mut trouble) = (Vec::new(), None);
        for entry in &config.apps {
            match entry.wanted().find_to_stop(cx, &self.argocd).await {
                Ok(found) => apps.extend(found),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        let stopped = self.argocd.stop_all(cx, kept.memory.with_synced(apps), Which::All).await;
        self.argocd.unanswered.forget(cx.key());
        trouble.map_or(stopped, Err)
    }
}

/// What a stage's health watch asks about the applications that the step has changed.
#[derive(Debug)]
struct Updated(ArgoCdUpdate);

impl Updated {
    /// The sources that later steps of the same promotion have updated as well: what they asked for has taken the place of what this one did.
    async fn taken_over(&self, cx: &Context, request: &ObserveRequest<'_>) -> TakenOver {
        let mut taken = TakenOver::default();
        let later = request.later.iter().filter_map(|config| Update::read(config).ok());
        for entry in later.flat_map(|config| config.apps) {
            let found = entry.wanted().find(cx, &self.0.argocd).await;
            taken.unsure |= found.is_err();
            for Found { snapshot, .. } in &found.unwrap_or_default() {
                let sources = snapshot.app.spec.written_sources();
                let updated = sources.iter().enumerate().filter(|(_, source)| {
                    entry.sources.iter().any(|of| is_repository(source, &of.repo_url, of.chart.as_deref()))
                });
                updated.for_each(|(at, _)| taken.insert(place(snapshot), at));
            }
        }
        taken
    }
}

#[async_trait]
impl Deployer for Updated {
    async fn deploy(&self, _cx: &Context, _request: &DeployRequest<'_>) -> Result<Deployment> {
        Err(Error::new(ErrorKind::Unsupported, "What argocd-update did can be looked at; to deploy, run the step."))
    }

    /// The applications at the desired revisions. Whether their sources still ask for them is not part of the health: what runs is.
    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        let config = Update::read(request.config)?;
        let taken = self.taken_over(cx, request).await;
        let mut apps = Vec::new();
        for entry in &config.apps {
            let before = apps.len();
            for found in entry.wanted().find(cx, &self.0.argocd).await? {
                if request
                    .promotion
                    .is_some_and(|promotion| !is_authorized(&found.snapshot.app, promotion).unwrap_or(false))
                {
                    continue;
                }
                let plan = Plan::of(&found.snapshot.app, &entry.sources)?;
                let mut app = ArgoCdApp::new(found.app.name).source(SourceRef::Index(0));
                (app.namespace, app.project) = (found.app.namespace, found.app.project);
                let here = place(&found.snapshot);
                for (source, revision) in plan.wanted.only(|at| !taken.holds(&here, at)).iter() {
                    app = app.pin(SourceRef::Index(source), revision.as_str());
                }
                apps.push(app);
            }
            if apps.len() == before {
                let detail =
                    "no application that argocd-update changed is there any more, or lets this stage look at it";
                return Ok(Observation::new(None, Health::Unknown, detail));
            }
        }
        self.0.argocd.observe_all(cx, &apps, None, &taken).await
    }
}
