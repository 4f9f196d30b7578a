//! The plan itself: requesters take turns, each with the first of its tasks that a node can take.
//!
//! A requester's turn comes by what it has used ([start-time fair queueing](https://doi.org/10.1109/90.649569), Goyal, Vin
//! and Cheng, 1997), so that those who wait share the nodes by their weights. What can't be placed is passed over in whole
//! lines: a plan looks at the tasks that it places, and at one more of each line, of a bounded number of lines of each requester.

mod reservations;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    iter::Peekable,
    ops::Bound,
    sync::Arc,
};

use aevir_events::Timestamp;

use super::{
    Candidates, Drawn, Ticket,
    barred::{Barred, class_owner, ordinal, requesters_own},
    charge_of,
    filter::{pledge, replica_class},
    fit::{Fit, Given, Market},
    held, lease,
    needs::Needs,
    parties::NamedParty,
    queue::{Line, Turn, others_from},
    reserve::{self, Kept, Stuck},
    tail,
};
use crate::{
    event::Event,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    state::{State, Task},
};

/// The order of requesters, the least used first.
type Order<'a> = Peekable<Box<dyn Iterator<Item = (u64, AccountId)> + 'a>>;

/// The first tasks of a requester's lines, in their order.
type Heads<'a> = Peekable<Box<dyn Iterator<Item = (Turn, &'a Arc<Line>)> + 'a>>;

/// What a fit is for: the needs, the GPU class that a task's replicas have begun on, the requester and the module where
/// nodes name those, and the nodes that are not as for others.
type FitKey = (Arc<Needs>, Option<String>, NamedParty, OwnNodes);

/// The node that is kept free for a task, its requester where one is kept free from his tasks alone, how many of those that are kept free for
/// others take it all the same, and its requester where he owns many, and where he owns some of GPU classes that a sample may begin in.
type OwnNodes = (
    Option<u32>,
    Option<AccountId>,
    usize,
    Option<AccountId>,
    Option<AccountId>,
);

/// Fits that a plan has room for from its beginning: more than most markets' needs differ.
const FITS: usize = 64;

/// A plan that was made.
pub(super) struct Plan {
    pub(super) events: Vec<Event>,
    /// How many times it looked at a task.
    pub(super) looks: usize,
}

/// A plan while it is made.
pub(super) struct Planner<'a> {
    state: &'a State,
    market: Market<'a>,
    placements_max: usize,
    lines_max: usize,
    fits: Vec<Fit>,
    fit_of: BTreeMap<FitKey, usize>,
    given: Given,
    /// The nodes that tasks were given which may have several at once.
    on_task: BTreeMap<TaskId, Vec<NodeId>>,
    /// How many replicas each requester was given.
    placed: BTreeMap<AccountId, u32>,
    plan: Plan,
}

/// A requester in this plan.
struct Waiting<'a> {
    requester: AccountId,
    weight: u32,
    /// Replicas that it may have placed before its quota is reached.
    left: u32,
    /// Lines that the plan has not come to.
    fresh: Heads<'a>,
    /// The first task that is left of the others which may have more to place.
    begun: BinaryHeap<Reverse<(Turn, usize)>>,
    /// One of its first lines gave something, or the plan has come to others: it looks no further.
    is_settled: bool,
    /// Tasks that found no node and have waited for long, the first of their lines, in their order.
    stuck: Vec<TaskId>,
    lines: Vec<Begun<'a>>,
}

/// A line that the plan has come to.
struct Begun<'a> {
    needs: &'a Arc<Needs>,
    tasks: &'a BTreeSet<Turn>,
    /// The nodes that fit its tasks.
    fit: usize,
    /// The nodes that its tasks can't go to.
    barred: Barred<'a>,
}

/// What looking for a place for a task brought.
enum Found {
    Placed,
    /// Not this task, which got something before; the next one of its line may.
    NotThis,
    /// No task of its line.
    NoneOfLine,
    /// The draw ended the plan.
    Ended,
}

impl<'a> Planner<'a> {
    pub(super) fn new(state: &'a State, now: Timestamp, kept: &'a Kept) -> Self {
        let policy = state.scheduling();
        let most = policy.placements_max as usize;
        Self {
            state,
            market: Market {
                state,
                score: &policy.score,
                now,
                kept,
            },
            placements_max: most,
            lines_max: policy.lines_max as usize,
            fits: Vec::with_capacity(FITS),
            fit_of: BTreeMap::new(),
            given: Given::new(&state.index.fleet, most.min(state.index.queues.len())),
            on_task: BTreeMap::new(),
            placed: BTreeMap::new(),
            plan: Plan {
                // Grown step by step, the events would be moved more often than made.
                events: Vec::with_capacity(state.index.queues.len().min(most)),
                looks: 0,
            },
        }
    }

    pub(super) fn run(
        mut self,
        mut draw: impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> Plan {
        if !self.state.index.fleet.has_free() {
            return self.plan;
        }
        let mut stuck = Vec::new();
        if self.serve_all(&mut stuck, &mut draw) && self.double_all(&mut draw) && !self.is_full() {
            self.reserve_all(stuck);
        }
        self.plan
    }

    fn is_full(&self) -> bool {
        self.plan.events.len() >= self.placements_max
    }

    /// Places what waits; answers whether the draw wants more.
    fn serve_all(
        &mut self,
        stuck: &mut Vec<Stuck>,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> bool {
        let order: Box<dyn Iterator<Item = (u64, AccountId)> + 'a> =
            Box::new(self.state.index.queues.turns());
        // Requesters that the plan has not come to, those that got something and may get more, by what they have used by now.
        let mut fresh: Order<'a> = order.peekable();
        let mut again: BinaryHeap<Reverse<(u64, AccountId, usize)>> = BinaryHeap::new();
        let mut all: Vec<Waiting<'a>> = Vec::new();
        while !self.is_full() {
            let known = again.peek().map(|Reverse((used, id, _))| (*used, *id));
            let is_known = match (fresh.peek(), known) {
                (Some(fresh), Some(known)) => known < *fresh,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            let next = match is_known {
                true => again.pop().map(|Reverse((used, _, at))| (used, at)),
                false => fresh.next().map(|(used, requester)| {
                    all.push(self.begin(requester));
                    (used, all.len() - 1)
                }),
            };
            let Some((used, at)) = next else {
                stuck.extend(all.iter().flat_map(|of| {
                    let tasks = of.stuck.iter();
                    tasks.map(|task| (of.requester, *task))
                }));
                return true;
            };
            let waiting = &mut all[at];
            match self.serve(waiting, draw) {
                // Nothing of this requester can be placed any more.
                None | Some(Found::NotThis | Found::NoneOfLine) => {}
                Some(Found::Ended) => return false,
                Some(Found::Placed) => {
                    waiting.left -= 1;
                    let used = used.saturating_add(self.last_charge(waiting.weight));
                    again.push(Reverse((used, waiting.requester, at)));
                }
            }
        }
        true
    }

    fn begin(&self, requester: AccountId) -> Waiting<'a> {
        let state = self.state;
        let limits = state.limits_of(requester);
        let quota = limits.running_max;
        let heads: Box<dyn Iterator<Item = (Turn, &'a Arc<Line>)> + 'a> =
            Box::new(state.index.queues.heads_of(requester).take(self.lines_max));
        Waiting {
            requester,
            weight: limits.weight,
            left: quota.saturating_sub(state.running(requester)),
            fresh: heads.peekable(),
            begun: BinaryHeap::new(),
            is_settled: false,
            stuck: Vec::new(),
            lines: Vec::new(),
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
            let begun = waiting.begun.peek().map(|Reverse((turn, _))| *turn);
            let fresh = waiting.fresh.peek().map(|(turn, _)| *turn);
            let (turn, at) = match (begun, fresh) {
                (Some(begun), Some(fresh)) if begun < fresh => waiting.begun.pop()?.0,
                (Some(_), None) => waiting.begun.pop()?.0,
                (_, Some(_)) => {
                    let (turn, line) = waiting.fresh.next()?;
                    let Some(line) = self.open(waiting.requester, turn, line) else {
                        self.note_stuck(waiting, turn.1);
                        continue;
                    };
                    waiting.lines.push(line);
                    (turn, waiting.lines.len() - 1)
                }
                (None, None) if self.look_further(waiting) => continue,
                (None, None) => return None,
            };
            let (line, task) = (waiting.lines.get(at)?, self.state.tasks.get(&turn.1)?);
            let found = self.try_task(task, line, draw);
            let rest = (Bound::Excluded(turn), Bound::Unbounded);
            let next = match found {
                // It may have more to place.
                Found::Placed if task.open_slots() > 1 => Some(turn),
                Found::Placed | Found::NotThis => line.tasks.range(rest).next().copied(),
                Found::NoneOfLine | Found::Ended => None,
            };
            waiting.begun.extend(next.map(|turn| Reverse((turn, at))));
            match found {
                Found::Placed | Found::Ended => {
                    waiting.is_settled = true;
                    return Some(found);
                }
                Found::NoneOfLine => self.note_stuck(waiting, turn.1),
                Found::NotThis => {}
            }
        }
    }

    /// The first task that is left of a line found no node.
    fn note_stuck(&self, waiting: &mut Waiting<'a>, id: TaskId) {
        let reserve = &self.state.scheduling().reserve;
        let task = self.state.tasks.get(&id);
        let task = task.filter(|task| reserve::is_due(task, reserve, self.market.now));
        if task.is_some_and(|task| held(self.state, task).is_none()) {
            waiting.stuck.push(id);
        }
    }

    /// None of a requester's first lines has anything to place: goes on with others. Answers whether there are any.
    fn look_further(&self, waiting: &mut Waiting<'a>) -> bool {
        if std::mem::replace(&mut waiting.is_settled, true) {
            return false;
        }
        let queues = &self.state.index.queues;
        let all = queues.lines_of(waiting.requester);
        let first = others_from(all, self.lines_max, self.market.now);
        let heads: Box<dyn Iterator<Item = (Turn, &'a Arc<Line>)> + 'a> = Box::new(
            queues
                .heads_of(waiting.requester)
                .skip(first)
                .take(self.lines_max),
        );
        waiting.fresh = heads.peekable();
        waiting.fresh.peek().is_some()
    }

    /// Comes to a line; `None` where nothing of it may be placed.
    fn open(&mut self, requester: AccountId, head: Turn, line: &'a Arc<Line>) -> Option<Begun<'a>> {
        let state = self.state;
        self.plan.looks += 1;
        let task = state.tasks.get(&head.1)?;
        if held(state, task).is_some() {
            return None;
        }
        let fit = self.fit(&line.needs, replica_class(state, task, &[]), task);
        self.fits[fit].catch_up(self.market, &self.given);
        if self.fits[fit].is_empty() {
            return None;
        }
        Some(Begun {
            needs: &line.needs,
            tasks: state.index.queues.tasks_in(requester, line)?,
            fit,
            barred: Barred::of(state, task, &[]),
        })
    }

    fn try_task(
        &mut self,
        task: &'a Task,
        line: &Begun<'a>,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> Found {
        self.plan.looks += 1;
        let Some(on_task) = self.on_task.get(&task.id) else {
            // A line's tasks are alike: where one has no candidates, none has.
            let placed = self.place(task, line.needs, line.fit, &line.barred, None, draw);
            return placed.unwrap_or(Found::NoneOfLine);
        };
        if on_task.len() >= task.open_slots() as usize {
            return Found::NotThis;
        }
        let gifts: Vec<(&Task, NodeId)> = on_task.iter().map(|node| (task, *node)).collect();
        let class = replica_class(self.state, task, &gifts);
        let barred = Barred::of(self.state, task, &gifts);
        let suffices = || !task.next_is_staked(&self.state.policy_of(task), gifts.len());
        let needs = if line.needs.stake > 0 && suffices() {
            Arc::new(line.needs.unstaked())
        } else {
            Arc::clone(line.needs)
        };
        let fit = self.fit(&needs, class, task);
        let placed = self.place(task, &needs, fit, &barred, None, draw);
        placed.unwrap_or(Found::NotThis)
    }

    /// Places duplicates of runs in danger, one a task, on what is still free; answers whether the draw wants more.
    fn double_all(
        &mut self,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> bool {
        let state = self.state;
        for id in tail::looked_at(state, self.market.now) {
            if self.is_full() {
                return true;
            }
            self.plan.looks += 1;
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
            let barred = Barred::of(state, task, &[]);
            if let Some(Found::Ended) = self.place(task, &needs, fit, &barred, Some(run.id), draw) {
                return false;
            }
        }
        true
    }

    /// Replicas that a requester may have placed after what this plan gave.
    fn quota_left(&self, requester: AccountId) -> u32 {
        let given = self.placed.get(&requester).copied().unwrap_or(0);
        let most = self.state.limits_of(requester).running_max;
        most.saturating_sub(self.state.running(requester).saturating_add(given))
    }

    /// Draws a node for a replica and gives it out; `None` where there is no candidate.
    fn place(
        &mut self,
        task: &'a Task,
        needs: &Needs,
        fit: usize,
        barred: &Barred<'_>,
        doubles: Option<AssignmentId>,
        draw: &mut impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
    ) -> Option<Found> {
        let candidates = self.fits[fit].candidates(self.market, barred, &self.given);
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
        self.plan.events.push(event);
        *self.placed.entry(task.requester).or_default() += 1;
        if task.open_slots() > 1 {
            self.on_task.entry(task.id).or_default().push(node);
        }
        let node = self.state.nodes.get(&node);
        let stake = node.map_or(0, |node| pledge(self.state, task, node));
        self.given.give(self.market, ordinal, needs.room, stake);
        Some(Found::Placed)
    }

    /// The nodes that fit the needs, found once.
    fn fit(&mut self, needs: &Arc<Needs>, class: Option<&str>, task: &Task) -> usize {
        let parties = &self.state.index.fleet.parties;
        let digest = task.definition.module;
        let (requester, mut named) = parties.named(task.requester, digest);
        // Nodes that could not compile it are as if they named it.
        let module = self.state.modules.get(&digest);
        if module.is_some_and(|module| module.barred(self.market.now).next().is_some()) {
            named = Some(digest);
        }
        let party = (requester, named);
        let kept = self.market.kept;
        let (own, spared) = (kept.node_of(task), kept.spared_by(self.state, task));
        let from_own = kept.own_of(task);
        let class_name = class.map(str::to_owned);
        let requesters = requesters_own(self.state, task);
        let of_class = class_owner(self.state, task, needs);
        let nodes = (own, from_own, spared, requesters, of_class);
        let key = (Arc::clone(needs), class_name, party, nodes);
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
        let Some(Event::AssignmentLeased(leased)) = self.plan.events.last() else {
            return 0;
        };
        let task = self.state.tasks.get(&leased.task);
        let on = task.zip(self.state.nodes.get(&leased.node));
        on.map_or(0, |(task, node)| charge_of(self.state, task, node, weight))
    }
}
