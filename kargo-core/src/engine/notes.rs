//! What an engine keeps of tasks beside the state: nothing that a restart would miss.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::clock::elapsed;
use crate::state::Task;

use super::calls::TELL_AGAIN;

/// What is kept of one task that is under way.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// It is not to be called before this time: it said when to look again.
    pub(super) not_before: Option<Timestamp>,
    /// Whether this engine has started it and not yet called it: its first call has nothing to look for.
    pub(super) fresh: bool,
    /// Whether this engine has called it. One that it has not is called once before it is given up as late: the time may have passed
    /// while no engine ran.
    pub(super) called: bool,
    /// Whether somebody has answered it since its last call began: then it is called again, whatever that call says.
    pub(super) answered: bool,
    /// When the journal last told what it waits for.
    pub(super) told: Option<Timestamp>,
    /// How often in a row it could not look at what it waits for.
    pub(super) misses: u32,
}

impl Note {
    /// Whether the journal told of it just now: a reason that changes with every look must not flood it.
    pub(super) fn told_lately(&self, now: Timestamp) -> bool {
        self.told.is_some_and(|told| elapsed(told, now) < TELL_AGAIN)
    }
}

/// The notes of all tasks under way.
#[derive(Debug, Default)]
pub(super) struct Notes(HashMap<Task, Note>);

impl Notes {
    pub(super) fn of(&self, task: &Task) -> Option<&Note> {
        self.0.get(task)
    }

    pub(super) fn entry(&mut self, task: &Task) -> &mut Note {
        // Most calls find what is there, without a copy of the key.
        if !self.0.contains_key(task) {
            self.0.insert(task.clone(), Note::default());
        }
        self.0.get_mut(task).unwrap_or_else(|| unreachable!("it has just been put there"))
    }

    /// The task has ended.
    pub(super) fn forget(&mut self, task: &Task) {
        self.0.remove(task);
    }

    /// Times that were to come may be far off now.
    pub(super) fn clock_set_back(&mut self) {
        for note in self.0.values_mut() {
            (note.not_before, note.told) = (None, None);
        }
    }

    /// The calls under way are dropped: each is as new to this engine as after a restart.
    pub(super) fn dropped(&mut self) {
        for note in self.0.values_mut() {
            *note = Note { told: note.told, ..Note::default() };
        }
    }
}
