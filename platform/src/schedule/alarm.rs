//! Tasks by when something about them is due: one time for each task that has any.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;

use crate::ids::TaskId;

/// The index of tasks by their time. A function of the state, as what is put in is one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Alarms {
    due: BTreeSet<(Timestamp, TaskId)>,
    at: BTreeMap<TaskId, Timestamp>,
}

impl Alarms {
    /// Sets a task's time, or takes it out.
    pub(crate) fn set(&mut self, task: TaskId, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.at.insert(task, at),
            None => self.at.remove(&task),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, task));
        }
        if let Some(at) = at {
            self.due.insert((at, task));
        }
    }

    /// Tasks whose time has come, the one for longest first.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = TaskId> + '_ {
        let due = self.due.iter().take_while(move |(at, _)| *at <= now);
        due.map(|(_, id)| *id)
    }

    /// The first time.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}
