//! The refresh worker: it writes all of the status but the operation's state.
//!
//! It has levels. A change of a child, such as a pod that gets ready, only brings the health up to date. A change of a managed object also
//! compares anew, at the revisions that are known. Only a full comparison resolves revisions, and only its time is written.

use jiff::Timestamp;

use super::app::{App, Comparison, Live, Shown};
use super::world::{Request, World, later};

impl World {
    /// A child changed: the health is written again, and nothing else.
    pub(super) fn write_health(&mut self, app: &mut App, at: Timestamp) {
        app.health_at = None;
        if let Some(live) = app.live.as_ref().filter(|_| app.shown.reconciled_at.is_some()) {
            app.shown.health = live.health(at);
        }
    }

    /// A managed object changed: sync and health are written again, at the revisions that are known.
    pub(super) fn touch(&mut self, app: &mut App, at: Timestamp) {
        app.touch_at = None;
        if app.shown.reconciled_at.is_none() || app.shown.error.is_some() || app.shown.sources != app.spec.sources {
            return;
        }
        let (sources, revisions) = (app.spec.sources.clone(), app.shown.revisions.clone());
        let manifests = self.rendered(app, &sources, &revisions);
        let seen = self.seen(app, at);
        let (health, sync) = (seen.map_or("Missing", |live| live.health(at)), sync_of(app, seen, manifests.as_ref()));
        (app.shown.health, app.shown.sync) = (health, sync);
    }

    /// What a comparison sees of the cluster: for a moment after a change, what was before.
    fn seen<'a>(&self, app: &'a App, at: Timestamp) -> Option<&'a Live> {
        let fresh = app.live.as_ref().filter(|live| at >= later(live.applied_at, self.timings.lag));
        fresh.or(app.before.as_ref())
    }

    pub(super) fn begin_comparison(&mut self, app: &mut App, at: Timestamp) {
        self.look_at_dry(app, at);
        let result = self.compare(app, at);
        app.comparison = Some(Comparison { began: at, due: later(at, self.timings.comparison), result });
        app.compare_at = later(at, self.timings.resync);
    }

    /// What a comparison that begins now will write: all of it from the same look at the cluster.
    fn compare(&self, app: &mut App, at: Timestamp) -> Shown {
        let sources = app.spec.sources.clone();
        let mut shown = Shown { sources: sources.clone(), reconciled_at: Some(at), ..Shown::default() };
        let target = |source: &crate::client::Source| source.target_revision.clone().unwrap_or_else(|| "HEAD".into());
        let heads: Option<Vec<String>> = sources.iter().map(|source| self.resolve(source, &target(source))).collect();
        let manifests = heads.and_then(|heads| self.rendered(app, &sources, &heads).map(|found| (heads, found)));
        let seen = self.seen(app, at);
        shown.health = seen.map_or("Missing", |live| live.health(at));
        shown.images = seen.and_then(|live| live.manifests.as_deref()).map(images).unwrap_or_default();
        let Some((heads, manifests)) = manifests else {
            shown.sync = "Unknown";
            let first = sources.first();
            shown.error = Some(format!(
                "Failed to load target state: failed to generate manifest for source 1 of {}: rpc error: code = Unknown desc = \
                 unable to resolve '{}' to a commit SHA, or no such path {}",
                sources.len(),
                first.map(target).unwrap_or_default(),
                first.and_then(|source| source.path.as_deref()).unwrap_or_default(),
            ));
            return shown;
        };
        shown.revisions = heads;
        shown.resources = true;
        shown.sync = sync_of(app, seen, Some(&manifests));
        shown
    }

    pub(super) fn write_comparison(&mut self, app: &mut App, at: Timestamp) {
        let Some(comparison) = app.comparison.take() else { return };
        app.shown = comparison.result;
        app.compared = Some(comparison.began);
        // One at a time: what was asked for meanwhile begins now.
        app.compare_at = app.compare_at.max(at);
        // Automatic sync tries each revision once, and not while something runs or a window is closed.
        let heads = app.shown.revisions.clone();
        let wants = app.spec.auto_sync && app.shown.sync == "OutOfSync" && !app.spec.window_closed;
        if wants && app.operation.is_none() && app.attempted.as_ref() != Some(&heads) {
            app.attempted = Some(heads.clone());
            let request = Request { automated: true, prune: app.spec.auto_prune, ..Request::default() };
            self.accept(app, heads, request, at);
        }
    }
}

/// The images that manifests name.
fn images(manifests: &str) -> Vec<String> {
    manifests.lines().filter_map(|line| Some(line.trim().strip_prefix("image:")?.trim().to_owned())).collect()
}

fn sync_of(app: &App, seen: Option<&Live>, manifests: Option<&String>) -> &'static str {
    let same = seen.is_some_and(|live| live.complete && live.manifests.as_ref() == manifests);
    if same && !app.spec.drifts { "Synced" } else { "OutOfSync" }
}
