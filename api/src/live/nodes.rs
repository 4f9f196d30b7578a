//! When each node last showed life, and how to wake its long poll.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use aevir_platform::ids::NodeId;
use tokio::{sync::Notify, time::Instant};

use super::lock;

/// The nodes that showed life since this process began.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    seen: HashMap<NodeId, Seen>,
    /// Those that are taken to be there and have no open poll, by their last sign of life: who has been silent for longest comes first.
    heard: BTreeSet<(Instant, NodeId)>,
}

#[derive(Debug)]
struct Seen {
    last: Instant,
    /// Open long polls: as long as there is one, the node is there.
    polls: u32,
    wake: Arc<Notify>,
}

impl Nodes {
    fn entry(&mut self, node: NodeId) -> &mut Seen {
        self.seen.entry(node).or_insert_with(|| Seen {
            last: Instant::now(),
            polls: 0,
            wake: Arc::default(),
        })
    }

    /// The node showed life.
    pub(crate) fn see(&mut self, node: NodeId) {
        let seen = self.entry(node);
        let before = std::mem::replace(&mut seen.last, Instant::now());
        let (last, polls) = (seen.last, seen.polls);
        self.heard.remove(&(before, node));
        if polls == 0 {
            self.heard.insert((last, node));
        }
    }

    /// The node is said to be there: its silence counts from now on, where it never showed life.
    pub(crate) fn expect(&mut self, node: NodeId) {
        if !self.seen.contains_key(&node) {
            self.see(node);
        }
    }

    /// At most so many nodes that were silent for that long, whoever was so for longest first, until they are noted as gone.
    pub(crate) fn silent(&self, now: Instant, patience: Duration, most: usize) -> Vec<NodeId> {
        let silent = |last: Instant| now.saturating_duration_since(last) >= patience;
        let first = self.heard.iter().take_while(|(last, _)| silent(*last));
        first.take(most).map(|(_, node)| *node).collect()
    }

    /// The node is not taken to be there any more, unless it has shown life since a time.
    pub(crate) fn note_gone(&mut self, node: NodeId, since: Instant) {
        if let Some(seen) = self.seen.get(&node).filter(|seen| seen.last <= since) {
            self.heard.remove(&(seen.last, node));
        }
    }

    /// Nobody listened for so long: no node was silent meanwhile.
    pub(crate) fn shift(&mut self, paused: Duration) {
        for seen in self.seen.values_mut() {
            seen.last += paused;
        }
        let heard = std::mem::take(&mut self.heard).into_iter();
        self.heard = heard.map(|(last, node)| (last + paused, node)).collect();
    }

    /// Lets the node's long poll look again.
    pub(crate) fn wake(&self, node: NodeId) {
        if let Some(seen) = self.seen.get(&node) {
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
            let (last, wake) = (seen.last, Arc::clone(&seen.wake));
            locked.heard.remove(&(last, node));
            wake
        };
        Self { nodes, node, wake }
    }
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        let mut locked = lock(&self.nodes);
        let seen = locked.entry(self.node);
        seen.polls = seen.polls.saturating_sub(1);
        locked.see(self.node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u128) -> NodeId {
        NodeId(ulid::Ulid::from_parts(0, n))
    }

    #[test]
    fn a_poll_is_life_and_silence_counts_after_it() {
        let node = node(7);
        let nodes = Arc::new(Mutex::new(Nodes::default()));
        let patience = Duration::from_secs(2);
        let silent_in = |s| {
            let then = Instant::now() + Duration::from_secs(s);
            lock(&nodes).silent(then, patience, 9) == [node]
        };
        assert!(!silent_in(3), "it is not said to be there");
        lock(&nodes).expect(node);
        assert!(!silent_in(0), "never seen: counts from now");
        assert!(silent_in(3));
        let poll = OpenPoll::new(Arc::clone(&nodes), node);
        lock(&nodes).see(node);
        assert!(!silent_in(3_600));
        drop(poll);
        assert!(!silent_in(0));
        assert!(silent_in(3));
        lock(&nodes).shift(Duration::from_secs(2));
        assert!(!silent_in(3), "nobody listened for two of them");
        assert!(silent_in(5));
    }

    #[test]
    fn who_was_silent_for_longest_comes_first_and_is_gone_until_it_shows_life() {
        let mut nodes = Nodes::default();
        for n in [3, 1, 2, 3] {
            nodes.see(node(n));
            // The clock goes on between two.
            let before = Instant::now();
            while Instant::now() == before {}
        }
        let patience = Duration::from_secs(2);
        let now = Instant::now();
        let then = now + patience;
        assert_eq!(nodes.silent(now, patience, 9), []);
        assert_eq!(nodes.silent(then, patience, 2), [node(1), node(2)]);
        nodes.note_gone(node(1), now);
        assert_eq!(nodes.silent(then, patience, 9), [node(2), node(3)]);
        // What it says after it was looked at counts.
        nodes.see(node(2));
        nodes.note_gone(node(2), now);
        nodes.see(node(1));
        let all = [node(3), node(2), node(1)];
        assert_eq!(nodes.silent(then + patience, patience, 9), all);
    }
}
