//! What everybody makes of an event: nodes act on it, and it is counted.

use aevir_events::Timestamp;
use aevir_platform::{
    event::{AssignmentLeased, Event, InspectionOutcome, ReviewOutcome, TaskVerified, Verdict},
    ids::{AssignmentId, TaskId},
    state::{Stage, Task},
};
use anyhow::{Context as _, Result};

use super::{What, World};
use crate::{
    agent::{Run, origin, passes},
    strategy::{Answer, Conduct},
    terms::RENAMING_MS,
};

/// A requester asked for it: no second look, and no verifiers' work.
fn is_asked_for(task: &Task) -> bool {
    task.review_of.is_none() && task.inspects.is_none()
}

impl World {
    pub(super) fn react(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::TaskCreated(e) => {
                let now = self.book.now;
                self.open += 1;
                match (&e.review, &e.inspection) {
                    (None, None) => self.tally.hour(now).created += 1,
                    (Some(_), _) => self.tally.reviews += 1,
                    (None, Some(_)) => self.tally.inspections += 1,
                }
            }
            Event::TaskQueued(_) => self.plan_soon(),
            Event::AssignmentLeased(e) => self.leased(e)?,
            Event::AssignmentCommitted(e) => {
                let task = self.task(e.task)?;
                // A second look is a replica of what it looks at, and a verifier's word is none.
                if task.inspects.is_none() {
                    let created = self.task(origin(task))?.created_at;
                    self.tally.hour(created).sealed += 1;
                }
                self.slot_opened(e.assignment);
            }
            Event::RoundClosed(e) => self.ask_to_reveal(e.task)?,
            Event::AssignmentRevealed(e) => {
                if let Some(run) = self.runs.get(&e.report.assignment) {
                    self.shown.entry(run.origin).or_insert(run.answer);
                }
            }
            Event::AssignmentFailed(e) => self.slot_opened(e.assignment),
            Event::AssignmentLost(e) => self.slot_opened(e.assignment),
            Event::AssignmentReturned(e) => self.slot_opened(e.assignment),
            Event::AssignmentWithdrawn(e) => self.slot_opened(e.assignment),
            Event::TaskVerified(e) => self.verified(e)?,
            Event::TaskMatured(e) => self.matured(e.task)?,
            Event::TaskClosed(e) => {
                let is_asked_for = is_asked_for(self.task(e.task)?);
                self.tally.closed += u64::from(is_asked_for);
                self.forget(e.task);
            }
            Event::TaskInspected(e) => {
                let is_undecided = e.outcome == InspectionOutcome::Undecided;
                self.tally.undecided += u64::from(is_undecided);
            }
            Event::TaskReviewed(e) => match e.outcome {
                ReviewOutcome::Upheld | ReviewOutcome::Undecided => {}
                ReviewOutcome::Overturned | ReviewOutcome::Unconfirmed => {
                    self.tally.overturned += 1;
                    self.forget(e.task);
                }
            },
            Event::NodeSlashed(e) => {
                let agent = self.by_node.get(&e.node).copied();
                let follows = agent.is_some_and(|a| self.seats[self.agents[a].seat].follows);
                match follows {
                    true => self.tally.slashed += e.amount.0,
                    false => self.tally.honest_slashed += e.amount.0,
                }
            }
            Event::NodeSuspended(e) => {
                let agent = self.by_node.get(&e.node).copied();
                let agent = agent.filter(|a| self.seats[self.agents[*a].seat].follows);
                if self.terms.strategy.renames()
                    && let Some(agent) = agent
                {
                    self.give_up(agent)?;
                }
            }
            Event::NodeLeft(e) => {
                if let Some(agent) = self.by_node.get(&e.node).copied()
                    && !std::mem::replace(&mut self.agents[agent].is_given_up, true)
                {
                    let (now, seat) = (self.book.now.0, self.agents[agent].seat);
                    self.at(now + RENAMING_MS, What::Rename(seat));
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn task(&self, task: TaskId) -> Result<&Task> {
        let found = self.book.state.tasks.get(&task);
        found.with_context(|| format!("there is no task {task}"))
    }

    fn leased(&mut self, e: &AssignmentLeased) -> Result<()> {
        let now = self.book.now;
        let task = self.task(e.task)?;
        let origin = origin(task);
        let verifies = task.inspects.is_some();
        if task.assignments.len() == 1
            && is_asked_for(task)
            && let Some(queued) = task.queued_at
        {
            self.tally.queue_ms.push(now.0 - queued.0);
        }
        let agent = self.by_node.get(&e.node).copied();
        let agent = agent.with_context(|| format!("nobody is node {}", e.node))?;
        let seat = self.agents[agent].seat;
        self.seats[seat].last_lease = Some(now);
        let run = Run {
            agent,
            task: e.task,
            origin,
            verifies,
            leased_at: now,
            began_at: Timestamp::default(),
            work_ms: 0,
            conduct: Conduct::Work,
            answer: Answer::Right,
            is_open: true,
        };
        self.runs.insert(e.assignment, run);
        self.soon(What::Begin(e.assignment));
        Ok(())
    }

    /// A run ended, in whichever way: what it cost is spent.
    fn slot_opened(&mut self, id: AssignmentId) {
        let now = self.book.now;
        self.plan_soon();
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.is_open) else {
            return;
        };
        run.is_open = false;
        self.tally.busy_ms += now.0 - run.leased_at.0;
        let seat = self.agents[run.agent].seat;
        self.seats[seat].cost += run.cost(now);
    }

    fn ask_to_reveal(&mut self, task: TaskId) -> Result<()> {
        let task = self.task(task)?;
        let sealed = task
            .assignments
            .values()
            .filter(|a| a.round == task.round && matches!(a.stage, Stage::Committed(_)));
        let sealed: Vec<AssignmentId> = sealed.map(|a| a.id).collect();
        for id in sealed {
            self.soon(What::Reveal(id));
        }
        Ok(())
    }

    fn verified(&mut self, e: &TaskVerified) -> Result<()> {
        let task = self.task(e.task)?;
        let (created, queued) = (task.created_at, task.queued_at);
        let is_asked_for = is_asked_for(task);
        let verifies = task.inspects.is_some();
        if is_asked_for {
            self.tally.verdict_ms += self.book.now.0 - queued.unwrap_or(created).0;
        }
        match e.verdict {
            // Their word was believed, and they never looked.
            _ if verifies => self.tally.unlooked += u64::from(self.is_wrong(&e.accepted)),
            _ if !is_asked_for => {}
            Verdict::Inconclusive => self.tally.inconclusive += 1,
            Verdict::Passed | Verdict::Unmet => {
                self.tally.hour(created).verified += 1;
                self.tally.wrong_accepted += u64::from(self.is_wrong(&e.accepted));
            }
        }
        for refusal in &e.refused {
            let Some(run) = self.runs.get(&refusal.assignment).copied() else {
                continue;
            };
            let follows = self.seats[self.agents[run.agent].seat].follows;
            if !follows {
                self.tally.honest_refused += 1;
            } else if self.terms.strategy.is_disposable() {
                self.give_up(run.agent)?;
            }
        }
        if e.verdict == Verdict::Inconclusive {
            self.forget(e.task);
        }
        Ok(())
    }

    /// The platform holds a result for right that is not.
    fn is_wrong(&self, accepted: &[AssignmentId]) -> bool {
        let first = accepted.first().and_then(|id| self.runs.get(id));
        first.is_some_and(|run| run.answer != Answer::Right)
    }

    fn matured(&mut self, id: TaskId) -> Result<()> {
        let task = self.task(id)?;
        if !is_asked_for(task) {
            self.forget(id);
            return Ok(());
        }
        let created = task.created_at;
        // So is one that passed though its check would not let it.
        let is_checked = self.terms.strategy.is_about_verifiers();
        let is_wrong = task.verdict.as_ref().is_some_and(|verdict| {
            let slipped = is_checked && verdict.verdict == Verdict::Passed && !passes(id);
            slipped || self.is_wrong(&verdict.accepted)
        });
        let hour = self.tally.hour(created);
        hour.matured += 1;
        hour.wrong_matured += u64::from(is_wrong);
        self.forget(id);
        Ok(())
    }

    /// Nothing more comes of a task.
    fn forget(&mut self, task: TaskId) {
        self.open = self.open.saturating_sub(1);
        self.lied_on.remove(&task);
        self.shown.remove(&task);
        let ids = self.book.state.tasks.get(&task);
        let ids: Vec<AssignmentId> = ids
            .map(|t| t.assignments.keys().copied().collect())
            .unwrap_or_default();
        for id in ids {
            self.runs.remove(&id);
        }
    }
}
