//! The hydrator: it renders what was written ahead, and commits what comes of it to a branch.
//!
//! As the newer servers do, it notes that it has looked at a revision before it begins to render it, and does not render a revision that
//! leaves the path as it was, unless it is asked to by a hard refresh.

use jiff::Timestamp;

use super::app::App;
use super::world::{World, later};
use crate::client::SourceHydrator;

impl World {
    /// Looks whether there is something to render.
    pub(super) fn look_at_dry(&mut self, app: &mut App, at: Timestamp) {
        let Some(hydrator) = app.spec.hydrator.clone() else { return };
        let hard = std::mem::take(&mut app.hydrator.hard);
        if app.hydrator.due.is_some() {
            return;
        }
        let Some(dry) = self.dry(&hydrator) else { return };
        let content = self.dry_content(&hydrator, &dry);
        let last = app.hydrator.last.as_ref();
        let unchanged = last.is_some_and(|(then, _, settings)| {
            *settings == hydrator && (*then == dry || self.dry_content(&hydrator, then) == content)
        });
        let seen = app.hydrator.looked_at.replace(dry);
        if hard || !unchanged || app.hydrator.phase != Some("Hydrated") {
            app.hydrator.due = Some((later(at, self.timings.hydration / 2), false));
        }
        if seen != app.hydrator.looked_at {
            self.changed(app);
        }
    }

    pub(super) fn hydrate(&mut self, app: &mut App, at: Timestamp) {
        let Some((_, begun)) = app.hydrator.due.take() else { return };
        let Some(hydrator) = app.spec.hydrator.clone() else { return };
        if !begun {
            (app.hydrator.phase, app.hydrator.message) = (Some("Hydrating"), String::new());
            app.hydrator.due = Some((later(at, self.timings.hydration / 2), true));
            return;
        }
        let dry = self.dry(&hydrator);
        let content = dry.as_ref().and_then(|dry| self.dry_content(&hydrator, dry));
        let (Some(dry), Some(content)) = (dry, content) else {
            (app.hydrator.phase, app.hydrator.message) = (Some("Failed"), "Failed to hydrate: no such path".into());
            return;
        };
        if let Some(message) = self.unrenderable.get(&dry) {
            (app.hydrator.phase, app.hydrator.message) = (Some("Failed"), format!("Failed to hydrate: {message}"));
            return;
        }
        let again = app.hydrator.last.as_ref().filter(|(then, ..)| *then == dry).map(|(_, commit, _)| commit.clone());
        let commit = again.unwrap_or_else(|| {
            let branch = hydrator.hydrate_to.as_ref().map(|to| &to.target_branch);
            let branch = branch.unwrap_or(&hydrator.sync_source.target_branch);
            self.hydrated.commit(branch, [(hydrator.sync_source.path.as_str(), content.as_str())])
        });
        app.hydrator.phase = Some("Hydrated");
        app.hydrator.looked_at = Some(dry.clone());
        app.hydrator.last = Some((dry, commit, hydrator));
        // There is something new to compare with.
        app.compare_at = app.compare_at.min(at);
    }

    fn dry(&self, hydrator: &SourceHydrator) -> Option<String> {
        let source = &hydrator.dry_source;
        self.resolve(source, source.target_revision.as_deref().unwrap_or("HEAD"))
    }

    fn dry_content(&self, hydrator: &SourceHydrator, dry: &str) -> Option<String> {
        self.render(std::slice::from_ref(&hydrator.dry_source), &[dry.to_owned()])
    }
}
