//! The end of a plan: nodes are kept free for tasks that found none and have waited for long.

use super::{
    super::{
        filter::replica_class,
        needs::Needs,
        reserve::{self, Reservations, Stuck},
    },
    Barred, Planner, ordinal,
};
use crate::{
    event::{Event, TaskReserved},
    ids::NodeId,
    state::Task,
};

impl<'a> Planner<'a> {
    /// Keeps nodes free for tasks that found none and have waited for long.
    pub(super) fn reserve_all(&mut self, stuck: Vec<Stuck>) {
        let mut stuck = stuck;
        stuck.retain(|(requester, _)| self.quota_left(*requester) > 0);
        if stuck.is_empty() {
            return;
        }
        let (state, now) = (self.state, self.market.now);
        let mut made = Reservations::of(state, now);
        let given = self.given_by_now();
        for (requester, id) in made.looked_at(state, stuck, now) {
            let task = state.tasks.get(&id);
            let Some(task) = task.filter(|_| made.may_have(requester)) else {
                continue;
            };
            self.plan.looks += 1;
            let needs = Needs::of(task, &state.policy_of(task));
            let class = replica_class(state, task, &[]);
            let class = (class, task.requester);
            let mut fit = self.market.fleet().fitting_idle(&needs, class, now);
            self.market.admit(&mut fit, task, i64::MAX);
            Barred::of(state, task, &[]).take_out(&mut fit);
            for i in made.nodes.iter().filter_map(|node| ordinal(state, *node)) {
                fit.remove(i);
            }
            let nodes = reserve::nodes_looked_at(state, &fit, now);
            let nodes = nodes.iter().filter_map(|id| state.nodes.get(id));
            if let Some(node) = reserve::choose(state, &needs, nodes, &given, now) {
                made.make(requester, node);
                self.plan
                    .events
                    .push(TaskReserved { task: id, node }.into());
            }
        }
    }

    /// What the plan has given out.
    fn given_by_now(&self) -> Vec<(&'a Task, NodeId)> {
        let lease = |event: &Event| {
            if let Event::AssignmentLeased(lease) = event {
                Some((self.state.tasks.get(&lease.task)?, lease.node))
            } else {
                None
            }
        };
        self.plan.events.iter().filter_map(lease).collect()
    }
}
