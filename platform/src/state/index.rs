//! Indexes over the state: kept by `evolve`, left out of the state's JSON, and made anew from a snapshot.
//!
//! Each is a function of the rest of the state, whatever the way there was; [`Index::of`] is that function.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use aevir_events::Timestamp;

use super::{Content, Key, Phase, Review, State, Task};
use crate::{
    command::Scope,
    content::{Ancestor, ancestors},
    digest::Digest,
    ids::{AccountId, AssignmentId, ContentId, KeyId, NodeId, TaskId},
    report::NodeKey,
    schedule::{Alarms, Fleet, Queues, Tails, hastens_at, round_ends_at},
};

/// Indexes over the state.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) key_by_hash: BTreeMap<Digest, KeyId>,
    /// How many live keys of an account have a scope; nothing where none has it.
    pub(crate) live_scopes: BTreeMap<(AccountId, Scope), u32>,
    pub(crate) content_names: BTreeMap<(AccountId, String, String), ContentId>,
    /// The contents that have a file of these bytes, the first registered one first.
    pub(crate) content_files: BTreeMap<Digest, BTreeSet<(Timestamp, ContentId)>>,
    /// The contents that earn by another one, because it was made of them; nothing where there are none.
    pub(crate) ancestors: BTreeMap<ContentId, Vec<Ancestor>>,
    /// Every key that a node has or had.
    pub(crate) node_keys: BTreeMap<NodeKey, NodeId>,
    /// The live API key of each node.
    pub(crate) api_keys: BTreeMap<NodeId, KeyId>,
    pub(crate) task_of: BTreeMap<AssignmentId, TaskId>,
    /// Tasks with a replica to place.
    pub(crate) queues: Queues,
    /// The tasks for which nodes are kept free, as long as the task waits and the node can take it.
    pub(crate) reserved: BTreeMap<NodeId, TaskId>,
    /// When runs are in danger of making their task late.
    pub(crate) tails: Tails,
    /// When tasks whose replicas go one after the other are to be hastened.
    pub(crate) hastens: Alarms,
    /// When samples end that wait for a replica in vain.
    pub(crate) rounds: Alarms,
    /// When tasks expire.
    pub(crate) deadlines: BTreeSet<(Timestamp, TaskId)>,
    /// When the reveals of closed rounds are due.
    pub(crate) reveals: BTreeSet<(Timestamp, TaskId)>,
    /// When the shares of verdicts mature.
    pub(crate) maturing: BTreeSet<(Timestamp, TaskId)>,
    /// Tasks whose verdict rests on one word of a node that was caught.
    pub(crate) recalls: BTreeSet<TaskId>,
    /// Tasks whose verdict waits for nothing any more, for all their verifiers have ended.
    pub(crate) inspected: BTreeSet<TaskId>,
    /// Created tasks whose dependencies have all settled, or one of which can't any more.
    pub(crate) unblocked: BTreeSet<TaskId>,
    /// Tasks that wait for another one, which has not ended.
    pub(crate) dependents: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// What nodes have and do, as placement looks at it.
    pub(crate) fleet: Fleet,
    /// Nodes that are to leave, and have nothing open any more.
    pub(crate) departing: BTreeSet<NodeId>,
    /// How many tasks of each requester have not ended.
    pub(crate) unended: BTreeMap<AccountId, u32>,
    pub(crate) tasks_by_requester: BTreeMap<AccountId, BTreeSet<TaskId>>,
    pub(crate) nodes_by_owner: BTreeMap<AccountId, BTreeSet<NodeId>>,
}

impl Index {
    /// The indexes over a state.
    pub(super) fn of(state: &State) -> Self {
        let mut index = Self {
            key_by_hash: state.keys.iter().map(|(id, key)| (key.hash, *id)).collect(),
            fleet: Fleet::of(state),
            queues: Queues::of(state),
            tails: Tails::of(state),
            ..Self::default()
        };
        for (id, key) in state.keys.iter().filter(|(_, key)| !key.revoked) {
            index.add_key(*id, key);
        }
        for (id, content) in &state.contents {
            index.add_content(&state.contents, *id, content);
        }
        for node in state.nodes.values() {
            let nodes = index.nodes_by_owner.entry(node.owner).or_default();
            nodes.insert(node.id);
            let keys = node.former_keys.iter().chain([&node.public_key]);
            index.node_keys.extend(keys.map(|key| (*key, node.id)));
            if node.may_go() {
                index.departing.insert(node.id);
            }
        }
        for task in state.tasks.values() {
            index.add_task(state, task);
        }
        index
    }

    /// A content, once it is among the others.
    pub(crate) fn add_content(
        &mut self,
        contents: &BTreeMap<ContentId, Content>,
        id: ContentId,
        content: &Content,
    ) {
        let name = (content.owner, content.name.clone(), content.version.clone());
        self.content_names.insert(name, id);
        for file in &content.files {
            let known = self.content_files.entry(file.digest).or_default();
            known.insert((content.registered_at, id));
        }
        let ancestors = ancestors(contents, id);
        if !ancestors.is_empty() {
            self.ancestors.insert(id, ancestors);
        }
    }

    /// A live key.
    pub(crate) fn add_key(&mut self, id: KeyId, key: &Key) {
        self.api_keys.extend(key.node.map(|node| (node, id)));
        for scope in &key.scopes {
            *self.live_scopes.entry((key.account, *scope)).or_default() += 1;
        }
    }

    /// A key that was live until now.
    pub(crate) fn remove_key(&mut self, key: &Key) {
        if let Some(node) = &key.node {
            self.api_keys.remove(node);
        }
        for scope in &key.scopes {
            if let Entry::Occupied(mut count) = self.live_scopes.entry((key.account, *scope)) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    fn add_task(&mut self, state: &State, task: &Task) {
        self.tasks_by_requester
            .entry(task.requester)
            .or_default()
            .insert(task.id);
        *self.unended.entry(task.requester).or_default() += u32::from(!task.phase.is_final());
        self.task_of
            .extend(task.assignments.keys().map(|id| (*id, task.id)));
        match task.phase {
            Phase::Created | Phase::Queued | Phase::Running => {
                let deadline = task.definition.qos.deadline;
                self.deadlines.extend(deadline.map(|at| (at, task.id)));
            }
            Phase::Verifying { reveal_by } => {
                self.reveals.insert((reveal_by, task.id));
            }
            Phase::Inspecting
            | Phase::Settled { .. }
            | Phase::Unmet { .. }
            | Phase::Overturned
            | Phase::Inconclusive
            | Phase::Failed { .. }
            | Phase::Expired
            | Phase::Cancelled { .. } => {}
        }
        if task.is_inspected() {
            self.inspected.insert(task.id);
        }
        self.maturing
            .extend(task.maturing().map(|at| (at, task.id)));
        self.reserved
            .extend(task.reserved.map(|node| (node, task.id)));
        if matches!(task.review, Review::Due { .. }) {
            self.recalls.insert(task.id);
        }
        self.hastens.set(task.id, hastens_at(state, task));
        self.rounds.set(task.id, round_ends_at(state, task));
        if is_unblocked(state, task) {
            self.unblocked.insert(task.id);
        }
        for dependency in awaited(state, task) {
            self.dependents
                .entry(dependency)
                .or_default()
                .insert(task.id);
        }
    }
}

/// The tasks that `task` depends on and that have not ended.
pub(crate) fn awaited(state: &State, task: &Task) -> Vec<TaskId> {
    let dependencies = task.definition.depends_on.iter().map(|d| d.task);
    dependencies
        .filter(|id| state.tasks.get(id).is_none_or(|t| !t.phase.is_final()))
        .collect()
}

/// Whether a task that waited for others can be queued, for all have settled, or must be closed, for one can't.
pub(crate) fn is_unblocked(state: &State, task: &Task) -> bool {
    if task.phase != Phase::Created || task.definition.depends_on.is_empty() {
        return false;
    }
    let phases = || {
        task.definition
            .depends_on
            .iter()
            .filter_map(|d| state.tasks.get(&d.task))
            .map(|t| &t.phase)
    };
    let all_settled = phases().all(|p| matches!(p, Phase::Settled { .. }));
    let one_broken = phases().any(|p| p.is_final() && !matches!(p, Phase::Settled { .. }));
    all_settled || one_broken
}
