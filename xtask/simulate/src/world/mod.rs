//! A market that plays: tasks come in, nodes do what their owners want, and the platform's own driver places and ticks. One
//! thread, one clock, everything in the order of its time.

mod act;
mod react;
mod setup;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use aevir_events::Timestamp;
use aevir_platform::{
    command::Command,
    definition::TaskDefinition,
    event::Event,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
};
use anyhow::Result;

use crate::{
    agent::{Agent, Run, Seat},
    book::{BEGIN, Book},
    random::Random,
    strategy::Answer,
    tally::Tally,
    terms::{GRACE_MS, LATENCY_MS, Terms},
};

/// How soon the driver places after something happened, in ms.
const PLAN_SOON_MS: i64 = 200;
/// How often it tries again what could not be placed, in ms.
const PLAN_AGAIN_MS: i64 = 1_000;

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The next task comes in.
    Arrive,
    /// The lease has reached its node.
    Begin(AssignmentId),
    /// The node is through with a run.
    Finish(AssignmentId),
    /// The platform has not heard of a run for too long.
    Lose(AssignmentId),
    Reveal(AssignmentId),
    /// An agent is back.
    ComeBack(usize),
    /// A seat takes another name.
    Rename(usize),
}

/// The market.
pub(crate) struct World {
    pub(crate) terms: Terms,
    pub(crate) book: Book,
    pub(crate) seats: Vec<Seat>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) tally: Tally,
    by_node: BTreeMap<NodeId, usize>,
    runs: BTreeMap<AssignmentId, Run>,
    requesters: Vec<AccountId>,
    template: TaskDefinition,
    /// Tasks on which a member of the cartel has sealed its lie.
    lied_on: BTreeSet<TaskId>,
    /// What the log shows of tasks that have not ended.
    shown: BTreeMap<TaskId, Answer>,
    agenda: BinaryHeap<Reverse<(i64, u64, What)>>,
    entries: u64,
    /// When tasks come in, the last one first.
    arrivals: Vec<i64>,
    /// Tasks that have not ended, or not matured.
    open: u64,
    plan_at: i64,
    /// Of nodes' conduct, and of the wires.
    random: Random,
    wires: Random,
}

impl World {
    /// Plays until everything has ended and matured.
    ///
    /// # Errors
    /// When the machine refuses what an agent or the driver asks for: a fault of the simulation.
    pub(crate) fn play(&mut self) -> Result<()> {
        let window = i64::from(self.terms.policy.settlement.window_ms);
        let last = BEGIN.0 + self.terms.span_ms() + window + GRACE_MS;
        while let Some(next) = self.next_time().filter(|next| *next <= last) {
            if self.arrivals.is_empty() && self.open == 0 {
                break;
            }
            self.book.now = Timestamp(next);
            self.tick()?;
            while let Some(Reverse((at, _, what))) = self.agenda.peek().copied()
                && at <= next
            {
                self.agenda.pop();
                self.act(what)?;
            }
            self.tick()?;
            self.plan()?;
        }
        Ok(())
    }

    fn next_time(&self) -> Option<i64> {
        let now = self.book.now.0;
        let entry = self.agenda.peek().map(|Reverse((at, _, _))| *at);
        let due = self.book.state.next_due().map(|due| due.0.max(now + 1));
        entry.into_iter().chain(due).chain([self.plan_at]).min()
    }

    /// Decides what is due by time.
    fn tick(&mut self) -> Result<()> {
        while let Some(due) = self.book.state.next_due()
            && due <= self.book.now
        {
            if self.submit(&Command::Tick)?.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn plan(&mut self) -> Result<()> {
        let now = self.book.now;
        if self.plan_at > now.0 {
            return Ok(());
        }
        while self.book.state.has_placeable() || self.book.state.has_tail(now) {
            if self.submit(&Command::Plan)?.is_empty() {
                break;
            }
        }
        self.plan_at = now.0 + PLAN_AGAIN_MS;
        Ok(())
    }

    /// Something happened that may let a plan place more.
    fn plan_soon(&mut self) {
        let soon = (self.book.now.0 / PLAN_SOON_MS + 1) * PLAN_SOON_MS;
        self.plan_at = self.plan_at.min(soon);
    }

    /// Has a command decided, and lets everybody see what it brought.
    fn submit(&mut self, command: &Command) -> Result<Vec<Event>> {
        let events = self.book.submit(command)?;
        for event in &events {
            self.react(event)?;
        }
        Ok(events)
    }

    fn at(&mut self, time: i64, what: What) {
        self.entries += 1;
        self.agenda.push(Reverse((time, self.entries, what)));
    }

    /// After the way from a node to the platform, or back.
    fn soon(&mut self, what: What) {
        let (least, most) = LATENCY_MS;
        let time = self.book.now.0 + self.wires.between(least, most);
        self.at(time, what);
    }
}
