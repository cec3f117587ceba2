//! What others do while a deployment is under way.

use super::super::super::Latches;
use super::{Kind, Run};
use crate::testing::model::{App, Request};

/// Why commits of others cannot be synced.
const THEIR_FAULT: &str = "their namespace is missing";

impl Run {
    /// What others do in between.
    pub(super) fn chaos(&mut self) {
        let at = self.dice.below(self.carried.len() as u64) as usize;
        let name = self.carried[at].name;
        match self.dice.below(14) {
            0 => {
                let path = if self.dice.one_in(2) { "dev" } else { "prod" };
                let content = format!("v{}", self.dice.below(1_000));
                let id = self.commits.commit("main", [(path, content.as_str())]);
                self.did("commit");
                self.note(|now| format!("{now} committed {id} to {path}"));
                if self.dice.one_in(3) && self.kind != Kind::Hydrated {
                    self.spoil(&id);
                }
            }
            1 if self.dice.one_in(3) => {
                let old =
                    (self.dice.one_in(2) && self.kind != Kind::Hydrated).then(|| self.commits.head("main").unwrap());
                let revisions = old.map(|old| (0, old)).into_iter().collect();
                let request = Request { revisions, username: "bob".into(), ..Request::default() };
                if self.world.request(name, request, self.now).is_ok() {
                    self.did("sync by another");
                    self.note(|now| format!("{now} bob synced"));
                }
            }
            2 => {
                self.carried.iter_mut().for_each(|carried| carried.latches = Latches::default());
                self.did("crash");
                self.note(|now| format!("{now} crashed"));
            }
            // A deny window that comes and goes, and objects that cannot be applied for a while.
            4 if self.dice.one_in(3) => {
                let app = self.world.apps.get_mut(name).unwrap();
                app.spec.window_closed = !app.spec.window_closed;
                self.did("window");
                self.note(|now| format!("{now} the window changed"));
            }
            5 if self.dice.one_in(6) => {
                self.world.failing_tries = Some((1, "one or more objects failed to apply".into()));
                self.did("failing try");
                self.note(|now| format!("{now} a try will fail"));
            }
            3 if self.dice.one_in(4) && self.world.terminate(name, self.now) => {
                self.did("termination");
                self.note(|now| format!("{now} bob terminated"));
            }
            // Somebody else sets an image, which is then part of what is to run.
            6 if self.dice.one_in(6) && self.kind == Kind::Plain && self.carried[at].cached.is_none() => {
                let image = format!("nginx:{}", self.dice.below(100));
                self.edit_image(at, &image);
                self.did("image");
                self.note(|now| format!("{now} somebody set {image}"));
            }
            // Deleted and made anew, as by an ApplicationSet.
            7 if self.dice.one_in(12) => {
                let spec = self.world.apps[name].spec.clone();
                self.world.create(spec, self.now);
                self.carried[at].cached = None;
                self.did("made anew");
                self.note(|now| format!("{now} {name} was made anew"));
            }
            _ => {}
        }
    }

    /// Somebody's commit is one whose sync fails: before it changes anything, or halfway where it is applied in waves.
    fn spoil(&mut self, id: &str) {
        if self.world.apps.values().all(|app| app.spec.waves) {
            self.world.failing_halfway.insert(id.to_owned(), THEIR_FAULT.into());
        } else {
            self.world.failing.insert(id.to_owned(), THEIR_FAULT.into());
        }
        self.spoiled.insert(id.to_owned());
        self.did("failing commit");
        self.note(|now| format!("{now} whose sync fails"));
    }

    /// Whoever has committed what cannot be synced, or what was not, mends it in the end.
    pub(super) fn mend(&mut self) {
        self.world.failing_tries = None;
        let is_spoiled = self.commits.head("main").is_some_and(|head| self.spoiled.contains(&head));
        let has_failed = |app: &App| app.state.as_ref().is_some_and(|state| state.phase == "Failed");
        if is_spoiled || self.world.apps.values().any(has_failed) {
            let id = self.commits.commit("main", [("dev", "mended"), ("prod", "mended")]);
            self.did("commit");
            self.note(|now| format!("{now} mended by {id}"));
        }
    }
}
