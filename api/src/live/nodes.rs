//! When each node last showed life, and how to wake its long poll.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aevir_platform::ids::NodeId;
use tokio::{sync::Notify, time::Instant};

use super::lock;

/// The nodes that showed life since this process began.
#[derive(Debug, Default)]
pub(crate) struct Nodes(HashMap<NodeId, Seen>);

#[derive(Debug)]
struct Seen {
    last: Instant,
    /// Open long polls: as long as there is one, the node is there.
    polls: u32,
    wake: Arc<Notify>,
}

impl Nodes {
    fn entry(&mut self, node: NodeId) -> &mut Seen {
        self.0.entry(node).or_insert_with(|| Seen {
            last: Instant::now(),
            polls: 0,
            wake: Arc::default(),
        })
    }

    /// The node showed life.
    pub(crate) fn see(&mut self, node: NodeId) {
        self.entry(node).last = Instant::now();
    }

    /// Whether the node was silent for that long. A node that was never seen counts from now on.
    pub(crate) fn is_silent(&mut self, node: NodeId, now: Instant, patience: Duration) -> bool {
        let seen = self.entry(node);
        seen.polls == 0 && now.saturating_duration_since(seen.last) >= patience
    }

    /// Nobody listened for so long: no node was silent meanwhile.
    pub(crate) fn shift(&mut self, paused: Duration) {
        for seen in self.0.values_mut() {
            seen.last += paused;
        }
    }

    /// Lets the node's long poll look again.
    pub(crate) fn wake(&self, node: NodeId) {
        if let Some(seen) = self.0.get(&node) {
            seen.wake.notify_waiters();
        }
    }
}

/// A long poll under way.
#[derive(Debug)]
pub(crate) struct OpenPoll {
    nodes: Arc<Mutex<Nodes>>,
    node: NodeId,
    pub(crate) wake: Arc<Notify>,
}

impl OpenPoll {
    pub(super) fn new(nodes: Arc<Mutex<Nodes>>, node: NodeId) -> Self {
        let wake = {
            let mut locked = lock(&nodes);
            let seen = locked.entry(node);
            seen.polls += 1;
            Arc::clone(&seen.wake)
        };
        Self { nodes, node, wake }
    }
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        let mut locked = lock(&self.nodes);
        let seen = locked.entry(self.node);
        seen.polls = seen.polls.saturating_sub(1);
        seen.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_life_and_silence_counts_after_it() {
        let node = NodeId(ulid::Ulid::from_parts(0, 7));
        let nodes = Arc::new(Mutex::new(Nodes::default()));
        let patience = Duration::from_secs(2);
        let silent_in =
            |s| lock(&nodes).is_silent(node, Instant::now() + Duration::from_secs(s), patience);
        assert!(!silent_in(0), "never seen: counts from now");
        assert!(silent_in(3));
        let poll = OpenPoll::new(Arc::clone(&nodes), node);
        assert!(!silent_in(3_600));
        drop(poll);
        assert!(!silent_in(0));
        assert!(silent_in(3));
        lock(&nodes).shift(Duration::from_secs(2));
        assert!(!silent_in(3), "nobody listened for two of them");
        assert!(silent_in(5));
    }
}
