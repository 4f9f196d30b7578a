//! The plan itself: requesters take turns, each with the first of its tasks that a node can take.
//!
//! A requester's turn comes by what it has used ([start-time fair queueing](https://doi.org/10.1109/90.649569), Goyal, Vin
//! and Cheng, 1997), so that those who wait share the nodes by their weights. What can't be placed is passed over in whole
//! lines.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    iter::Peekable,
    ops::Bound,
    sync::Arc,
};

use aevir_events::Timestamp;

use super::{
    Candidates, Drawn, Ticket, charge,
    filter::{replica_class, replicas, tried},
    fit::{Fit, Given, Market},
    held, lease,
    needs::Needs,
    queue::Turn,
    reserved_ms, tail,
};
use crate::{
    digest::Digest,
    event::Event,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    state::{State, Task},
};

/// The order of requesters, the least used first.
type Order<'a> = Peekable<Box<dyn Iterator<Item = (u64, AccountId)> + 'a>>;

/// What a fit is for: the needs, the GPU class that a task's replicas have begun on, and the requester and the module where
/// nodes choose by those.
type FitKey = (Arc<Needs>, Option<String>, Option<(AccountId, Digest)>);

/// A plan while it is made.
pub(super) struct Planner<'a> {
    state: &'a State,
    market: Market<'a>,
    placements_max: usize,
    /// Requesters that this plan has not come to.
    order: Order<'a>,
    /// Requesters that got something and may get more, with what they have used by now.
    again: BinaryHeap<Reverse<(u64, AccountId)>>,
    waiting: BTreeMap<AccountId, Waiting<'a>>,
    fits: Vec<Fit>,
    fit_of: BTreeMap<FitKey, usize>,
    given: Given,
    on_task: BTreeMap<TaskId, Vec<NodeId>>,
    events: Vec<Event>,
}

/// A requester in this plan.
struct Waiting<'a> {
    /// The first task of each line that may still have something to place.
    heads: BinaryHeap<Reverse<(Turn, usize)>>,
    lines: Vec<Line<'a>>,
    /// Replicas that it may have placed before its quota is reached.
    left: u32,
    weight: u32,
}

/// Tasks with equal needs.
struct Line<'a> {
    needs: &'a Arc<Needs>,
    tasks: &'a BTreeSet<Turn>,
    /// Nodes were tried, which differ from task to task.
    tried: bool,
    /// The nodes that fit all its tasks, once they were looked for.
    fit: Option<usize>,
}

/// What looking for a place for a task brought.
enum Found {
    Placed,
    /// Not this task; the next one of its line may.
    NotThis,
    /// No task of its line.
    NoneOfLine,
    /// The draw ended the plan.
    Ended,
}

impl<'a> Planner<'a> {
    pub(super) fn new(state: &'a State, now: Timestamp) -> Self {
        let policy = state.scheduling();
        let most = policy.placements_max as usize;
        let order: Box<dyn Iterator<Item = (u64, AccountId)> + 'a> =
            Box::new(state.index.queues.turns());
        Self {
            state,
            market: Market {
                state,
                score: &policy.score,
                now,
            },
            placements_max: most,
            order: order.peekable(),
            again: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            fits: Vec::new(),
            fit_of: BTreeMap::new(),
            given: Given::default(),
            on_task: BTreeMap::new(),
            // Grown step by step, the events would be moved more often than made.
            events: Vec::with_capacity(state.index.queues.len().min(most)),
        }
    }

    pub(super) fn run(
        mut self,
        mut draw: impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> Vec<Event> {
        if !self.state.index.fleet.has_free() {
            return self.events;
        }
        while self.events.len() < self.placements_max {
            let Some((used, requester)) = self.next_requester() else {
                break;
            };
            let mut waiting = match self.waiting.remove(&requester) {
                Some(waiting) => waiting,
                None => self.begin(requester),
            };
            match self.serve(&mut waiting, &mut draw) {
                // Nothing of this requester can be placed any more.
                None => {}
                Some(Found::Ended) => return self.events,
                Some(_) => {
                    let cost = self.last_charge(waiting.weight);
                    self.again
                        .push(Reverse((used.saturating_add(cost), requester)));
                    waiting.left = waiting.left.saturating_sub(1);
                    self.waiting.insert(requester, waiting);
                }
            }
        }
        self.double_all(&mut draw);
        self.events
    }

    /// Places duplicates of runs in danger, one a task, on what is still free.
    fn double_all(
        &mut self,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) {
        let state = self.state;
        for id in state.index.tails.due(self.market.now) {
            if self.events.len() >= self.placements_max {
                return;
            }
            let task = state.tasks.get(&id);
            let found = task.and_then(|task| Some((task, tail::endangered(state, task)?.1)));
            let Some((task, run)) = found else {
                continue;
            };
            if held(state, task).is_some() || self.quota_left(task.requester) == 0 {
                continue;
            }
            let needs = Arc::new(tail::needs(state, task, run));
            let fit = self.fit(&needs, replica_class(state, task, &[]), task);
            self.fits[fit].catch_up(self.market, &self.given);
            let excluded = excluded(state, task, &[]);
            if let Some(Found::Ended) = self.place(task, &needs, fit, &excluded, Some(run.id), draw)
            {
                return;
            }
        }
    }

    /// Replicas that a requester may have placed after what this plan gave.
    fn quota_left(&self, requester: AccountId) -> usize {
        let of = |id: &TaskId| {
            let task = self.state.tasks.get(id);
            task.is_some_and(|task| task.requester == requester)
        };
        let given = self.on_task.iter().filter(|(id, _)| of(id));
        let given: usize = given.map(|(_, nodes)| nodes.len()).sum();
        let most = self.state.limits_of(requester).running_max as usize;
        most.saturating_sub(self.state.running(requester) as usize + given)
    }

    fn next_requester(&mut self) -> Option<(u64, AccountId)> {
        let fresh = self.order.peek().copied();
        let known = self.again.peek().map(|Reverse(next)| *next);
        match (fresh, known) {
            (Some(fresh), Some(known)) if known < fresh => self.again.pop().map(|Reverse(n)| n),
            (Some(_), _) => self.order.next(),
            (None, _) => self.again.pop().map(|Reverse(next)| next),
        }
    }

    fn begin(&self, requester: AccountId) -> Waiting<'a> {
        let limits = self.state.limits_of(requester);
        let running = self.state.running(requester);
        let lines: Vec<Line<'a>> = self
            .state
            .index
            .queues
            .lines_of(requester)
            .map(|((needs, tried), tasks)| Line {
                needs,
                tasks,
                tried: *tried,
                fit: None,
            })
            .collect();
        let first = |(at, line): (usize, &Line<'_>)| Some(Reverse((*line.tasks.first()?, at)));
        let suspended = self.state.suspension(requester).is_some();
        let quota = if suspended { 0 } else { limits.running_max };
        Waiting {
            heads: lines.iter().enumerate().filter_map(first).collect(),
            lines,
            left: quota.saturating_sub(running),
            weight: limits.weight,
        }
    }

    /// Places one replica of a requester's first task that a node can take.
    fn serve(
        &mut self,
        waiting: &mut Waiting<'a>,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> Option<Found> {
        if waiting.left == 0 {
            return None;
        }
        loop {
            let Reverse((turn, at)) = *waiting.heads.peek()?;
            let line = waiting.lines.get_mut(at)?;
            let found = match self.state.tasks.get(&turn.1) {
                Some(task) => self.try_task(task, line, draw),
                None => Found::NotThis,
            };
            match found {
                Found::Placed | Found::Ended => return Some(found),
                Found::NoneOfLine => {
                    waiting.heads.pop();
                }
                Found::NotThis => {
                    waiting.heads.pop();
                    let rest = (Bound::Excluded(turn), Bound::Unbounded);
                    let next = line.tasks.range(rest).next();
                    waiting.heads.extend(next.map(|turn| Reverse((*turn, at))));
                }
            }
        }
    }

    fn try_task(
        &mut self,
        task: &'a Task,
        line: &mut Line<'a>,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> Found {
        let state = self.state;
        let on_task = self
            .on_task
            .get(&task.id)
            .map_or(&[][..], |nodes| &nodes[..]);
        if on_task.len() >= task.open_slots() as usize {
            return Found::NotThis;
        }
        let gifts: Vec<(&Task, NodeId)> = on_task.iter().map(|node| (task, *node)).collect();
        let class = replica_class(state, task, &gifts);
        if held(state, task).is_some() {
            return Found::NotThis;
        }
        let fit = match line.fit {
            Some(fit) if class.is_none() => fit,
            Some(_) | None => self.fit(line.needs, class, task),
        };
        if class.is_none() && state.index.fleet.choosy.is_empty() {
            line.fit = Some(fit);
        }
        self.fits[fit].catch_up(self.market, &self.given);
        if self.fits[fit].is_empty() {
            // Of a line's tasks, some may have another module, and all have the same requester.
            return if class.is_none() && state.index.fleet.choosy.is_empty() {
                Found::NoneOfLine
            } else {
                Found::NotThis
            };
        }
        let excluded = excluded(state, task, &gifts);
        let is_first = gifts.is_empty();
        if let Some(found) = self.place(task, line.needs, fit, &excluded, None, draw) {
            return found;
        }
        // Its requester's own nodes are out of reach for every task of the line alike.
        let chosen = !state.index.fleet.choosy.is_empty();
        let alike = !line.tried && is_first && !chosen;
        if alike {
            Found::NoneOfLine
        } else {
            Found::NotThis
        }
    }

    /// Draws a node for a replica and gives it out; `None` where there is no candidate.
    fn place(
        &mut self,
        task: &'a Task,
        needs: &Needs,
        fit: usize,
        excluded: &[u32],
        doubles: Option<AssignmentId>,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> Option<Found> {
        let candidates = self.fits[fit].candidates(self.market, excluded, &self.given);
        if candidates.len() == 0 {
            return None;
        }
        let given = self.on_task.get(&task.id).map_or(0, Vec::len);
        let number = u32::try_from(task.assignments.len() + given).unwrap_or(u32::MAX);
        let ticket = match doubles {
            None => Ticket::of(task, number),
            Some(_) => Ticket::tail(task, number),
        };
        let drawn = draw(task, ticket, &candidates);
        let leased = drawn
            .and_then(|drawn| Some((drawn.ordinal, lease(self.state, task, doubles, &drawn)?)));
        let Some((ordinal, (node, event))) = leased else {
            return Some(Found::Ended);
        };
        self.events.push(event);
        self.on_task.entry(task.id).or_default().push(node);
        self.given.give(ordinal, needs.room);
        Some(Found::Placed)
    }

    /// The nodes that fit the needs, found once.
    fn fit(&mut self, needs: &Arc<Needs>, class: Option<&str>, task: &Task) -> usize {
        let chosen = !self.state.index.fleet.choosy.is_empty();
        let party = chosen.then_some((task.requester, task.definition.module));
        let key = (Arc::clone(needs), class.map(str::to_owned), party);
        if let Some(fit) = self.fit_of.get(&key) {
            return *fit;
        }
        self.fits
            .push(Fit::of(self.market, needs, class, task, &self.given));
        self.fit_of.insert(key, self.fits.len() - 1);
        self.fits.len() - 1
    }

    /// What the placement just made costs.
    fn last_charge(&self, weight: u32) -> u64 {
        let Some(Event::AssignmentLeased(leased)) = self.events.last() else {
            return 0;
        };
        let task = self.state.tasks.get(&leased.task);
        task.map_or(0, |task| charge(reserved_ms(task), weight))
    }
}

/// The ordinals of nodes that a task can't go to for who they are, or whose: ascending.
fn excluded(state: &State, task: &Task, gifts: &[(&Task, NodeId)]) -> Vec<u32> {
    let mut nodes: BTreeSet<u32> = tried(task, gifts)
        .filter_map(|n| ordinal(state, n))
        .collect();
    if !state.is_private_market() {
        let placed = replicas(task, gifts).filter_map(|n| state.nodes.get(&n));
        let owners: BTreeSet<AccountId> = placed.map(|n| n.owner).chain([task.requester]).collect();
        for owner in owners {
            nodes.extend(state.nodes_of(owner).map(|node| node.ordinal));
        }
    }
    nodes.into_iter().collect()
}

fn ordinal(state: &State, node: NodeId) -> Option<u32> {
    state.nodes.get(&node).map(|node| node.ordinal)
}
