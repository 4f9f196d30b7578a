//! The assignments that this node has, and where each stands.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Telemetry;

/// Where an assignment stands.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// Fetched, run, uploaded or being sealed: it needs heartbeats.
    Running(Work),
    /// Sealed; the platform says when to reveal.
    Sealed,
    /// Being revealed.
    Revealing,
    /// Taken and kept silent about, on purpose.
    Stalled,
}

/// What the agent's parts share about a run.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) stop: CancellationToken,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Without a heartbeat for this long the lease is lost.
    pub(crate) lease: Duration,
}

/// All of them, with a bell that rings when the next ask for leases would be another one.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    held: Mutex<BTreeMap<String, Held>>,
    /// Rings when a slot became free or a result was sealed.
    pub(crate) ask_again: Notify,
    /// Rings when a run was added.
    pub(crate) beat_again: Notify,
}

impl Holdings {
    /// Takes an assignment in; `false` when it is there already.
    pub(crate) fn add(&self, assignment: &str, held: Held) -> bool {
        let mut all = self.all();
        if all.contains_key(assignment) {
            return false;
        }
        all.insert(assignment.to_owned(), held);
        drop(all);
        self.beat_again.notify_one();
        true
    }

    /// Moves an assignment that is still held; `false` when it was dropped meanwhile.
    pub(crate) fn set(&self, assignment: &str, held: Held) -> bool {
        let mut all = self.all();
        let known = all.get_mut(assignment).map(|old| *old = held).is_some();
        drop(all);
        self.ask_again.notify_one();
        known
    }

    /// Lets go of an assignment.
    pub(crate) fn remove(&self, assignment: &str) -> Option<Held> {
        let removed = self.all().remove(assignment);
        self.ask_again.notify_one();
        removed
    }

    pub(crate) fn get(&self, assignment: &str) -> Option<Held> {
        self.all().get(assignment).cloned()
    }

    /// How many hold a slot.
    pub(crate) fn busy(&self) -> u32 {
        let all = self.all();
        let busy = all
            .values()
            .filter(|held| matches!(held, Held::Running(_) | Held::Stalled));
        u32::try_from(busy.count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// What the platform is told that we have and listen for. Naming what is being revealed or stopped already would
    /// end every long poll at once.
    pub(crate) fn named(&self) -> Vec<String> {
        let all = self.all();
        let named = all.iter().filter(|(_, held)| match held {
            Held::Running(work) => !work.stop.is_cancelled(),
            Held::Sealed | Held::Stalled => true,
            Held::Revealing => false,
        });
        named.map(|(assignment, _)| assignment.clone()).collect()
    }

    /// The runs.
    pub(crate) fn running(&self) -> Vec<(String, Work)> {
        let all = self.all();
        let running = all.iter().filter_map(|(assignment, held)| match held {
            Held::Running(work) => Some((assignment.clone(), work.clone())),
            Held::Sealed | Held::Revealing | Held::Stalled => None,
        });
        running.collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Held {
        Held::Running(Work {
            stop: CancellationToken::new(),
            telemetry: Arc::default(),
            lease: Duration::from_secs(6),
        })
    }

    #[test]
    fn an_assignment_is_taken_once() {
        let holdings = Holdings::default();
        assert!(holdings.add("A", work()));
        assert!(!holdings.add("A", work()));
        assert_eq!(holdings.busy(), 1);
    }

    #[test]
    fn a_sealed_one_frees_its_slot_and_is_still_listened_for() {
        let holdings = Holdings::default();
        holdings.add("A", work());
        assert!(holdings.set("A", Held::Sealed));
        assert_eq!(
            (holdings.busy(), holdings.named()),
            (0, vec!["A".to_owned()])
        );
        assert!(holdings.set("A", Held::Revealing));
        assert!(holdings.named().is_empty() && !holdings.is_empty());
    }

    #[test]
    fn what_was_dropped_does_not_come_back() {
        let holdings = Holdings::default();
        holdings.add("A", work());
        assert!(holdings.remove("A").is_some());
        assert!(!holdings.set("A", Held::Sealed));
        assert!(holdings.is_empty() && holdings.running().is_empty());
    }
}
