//! What nodes and requesters do when their time has come.

use aevir_events::Timestamp;
use aevir_platform::{
    amount::Count,
    command::{Availability, Command, FailureClass, LossReason},
    ids::AssignmentId,
    json::Json,
    state::{Phase, Stage, Standing},
};
use anyhow::{Context as _, Result};
use serde_json::json;

use super::{What, World};
use crate::{
    agent::{self, work_ms},
    book::BEGIN,
    strategy::{Answer, Conduct, HIT_LIES, Sight, Strategy},
    terms::{ABSENCE_MS, HASTY_MS, HASTY_ONE_IN, LIE_MS, RENAMING_MS},
};

impl World {
    pub(super) fn act(&mut self, what: What) -> Result<()> {
        match what {
            What::Arrive => self.arrive(),
            What::Begin(id) => self.begin(id),
            What::Finish(id) => self.finish(id),
            What::Lose(id) => self.lose(id),
            What::Reveal(id) => self.reveal(id),
            What::ComeBack(agent) => self.come_back(agent),
            What::Rename(seat) => {
                self.tally.renamed += 1;
                self.join(seat)
            }
        }
    }

    fn arrive(&mut self) -> Result<()> {
        self.arrivals.pop();
        if let Some(next) = self.arrivals.last().copied() {
            self.at(next, What::Arrive);
        }
        let number = self.arrivals.len();
        let mut definition = self.template.clone();
        definition.params = Json::of(&json!({"n": number}));
        if (number as u64).is_multiple_of(HASTY_ONE_IN) {
            definition.qos.max_latency_ms = Some(HASTY_MS);
        }
        let requester = self.requesters[number % self.requesters.len()];
        self.submit(&Command::SubmitTask {
            requester,
            definition: Box::new(definition),
        })?;
        Ok(())
    }

    /// Where an assignment stands, unless it is over for its node.
    fn stage(&self, id: AssignmentId) -> Option<&Stage> {
        let run = self.runs.get(&id)?;
        let task = self.book.state.tasks.get(&run.task)?;
        Some(&task.assignments.get(&id)?.stage)
    }

    fn begin(&mut self, id: AssignmentId) -> Result<()> {
        if !matches!(self.stage(id), Some(Stage::Leased)) {
            return Ok(());
        }
        let run = *self.run(id)?;
        let (now, agent) = (self.book.now, &self.agents[run.agent]);
        let node = agent.node;
        let seat = &self.seats[agent.seat];
        let strategy = if seat.follows {
            self.terms.strategy
        } else {
            Strategy::Honest
        };
        let sight = Sight {
            now,
            joined: agent.joined,
            span_ms: self.terms.span_ms(),
            begun: BEGIN,
            lies: agent.lies,
            shown: self.shown.get(&run.origin).copied(),
            is_lied_on: self.lied_on.contains(&run.origin),
            verifies: run.verifies,
        };
        let work_ms =
            work_ms(run.origin, run.verifies) * strategy.slowness() * 1_000 / seat.speed.max(1);
        let conduct = strategy.conduct(&sight, &mut self.random);
        let lie = self.random.next();
        let run = self.run(id)?;
        run.began_at = now;
        run.work_ms = work_ms;
        run.conduct = conduct;
        run.answer = match conduct {
            Conduct::Work | Conduct::KeepBack | Conduct::Break | Conduct::Vanish => Answer::Right,
            Conduct::Copy(answer) => answer,
            Conduct::Slip | Conduct::Lie => Answer::Wrong(lie),
            Conduct::PartyLine => Answer::Wrong(0),
        };
        self.submit(&Command::Start {
            node,
            assignment: id,
        })?;
        let (after, what) = match conduct {
            Conduct::Lie | Conduct::PartyLine | Conduct::Copy(_) => (LIE_MS, What::Finish(id)),
            Conduct::Work | Conduct::Slip | Conduct::KeepBack => (work_ms, What::Finish(id)),
            Conduct::Break => (work_ms / 2, What::Finish(id)),
            // From its last word on the lease runs out.
            Conduct::Vanish => {
                let lease = i64::from(self.terms.policy.lease_ms);
                (work_ms / 2 + lease, What::Lose(id))
            }
        };
        self.at(now.0 + after, what);
        Ok(())
    }

    pub(super) fn run(&mut self, id: AssignmentId) -> Result<&mut agent::Run> {
        let run = self.runs.get_mut(&id);
        run.with_context(|| format!("nobody knows of assignment {id}"))
    }

    /// The run has come to its end, if nobody called it off.
    fn finish(&mut self, assignment: AssignmentId) -> Result<()> {
        if !matches!(self.stage(assignment), Some(Stage::Running { .. })) {
            return Ok(());
        }
        let run = *self.run(assignment)?;
        let node = self.agents[run.agent].node;
        if run.conduct == Conduct::Break {
            self.submit(&Command::Fail {
                node,
                assignment,
                class: FailureClass::HostError,
                message: "the machine broke down".into(),
            })?;
            return Ok(());
        }
        let agent = &mut self.agents[run.agent];
        if run.conduct.cheats() {
            agent.lies += 1;
        }
        let lies = agent.lies;
        if run.answer != Answer::Right {
            self.tally.wrong_sealed += 1;
            let now = self.book.now;
            self.seats[agent.seat].first_wrong.get_or_insert(now);
        }
        if run.conduct == Conduct::PartyLine {
            self.lied_on.insert(run.origin);
        }
        let (report, _) = agent::report(&self.book.state, assignment, run.answer)?;
        let commitment = agent::seal(&self.agents[run.agent].key, &report);
        self.submit(&Command::Commit {
            node,
            assignment,
            commitment,
            absent_ms: Count(0),
        })?;
        let hits = self.terms.strategy == Strategy::HitAndRun;
        if hits && self.seats[self.agents[run.agent].seat].follows && lies == HIT_LIES {
            self.submit(&Command::LeaveMarket { node })?;
        }
        Ok(())
    }

    fn lose(&mut self, assignment: AssignmentId) -> Result<()> {
        if !matches!(self.stage(assignment), Some(Stage::Running { .. })) {
            return Ok(());
        }
        let agent = self.run(assignment)?.agent;
        let back = self.book.now.plus_ms(ABSENCE_MS);
        self.agents[agent].silent_until = back;
        self.at(back.0, What::ComeBack(agent));
        let reason = LossReason::Silent;
        self.submit(&Command::LoseLease { assignment, reason })?;
        Ok(())
    }

    fn reveal(&mut self, assignment: AssignmentId) -> Result<()> {
        if !matches!(self.stage(assignment), Some(Stage::Committed(_))) {
            return Ok(());
        }
        let run = *self.run(assignment)?;
        let agent = &self.agents[run.agent];
        let is_silent = agent.silent_until > self.book.now;
        let task = self.book.state.tasks.get(&run.task);
        let is_time = task.is_some_and(|t| {
            matches!(t.phase, Phase::Verifying { .. })
                && t.assignments
                    .get(&assignment)
                    .is_some_and(|a| a.round == t.round)
        });
        if is_silent || !is_time || run.conduct == Conduct::KeepBack {
            return Ok(());
        }
        let node = agent.node;
        let (report, result) = agent::report(&self.book.state, assignment, run.answer)?;
        self.submit(&Command::Reveal {
            node,
            report: Box::new(report),
            result,
        })?;
        Ok(())
    }

    fn come_back(&mut self, agent: usize) -> Result<()> {
        let agent = &self.agents[agent];
        if agent.is_given_up {
            return Ok(());
        }
        let (node, availability) = (agent.node, Availability::Online);
        self.submit(&Command::SetAvailability { node, availability })?;
        Ok(())
    }

    /// A name is thrown away, and the machine takes another one.
    pub(super) fn give_up(&mut self, agent: usize) -> Result<()> {
        let now: Timestamp = self.book.now;
        let of = &mut self.agents[agent];
        // One that leaves takes its stake out first.
        if self.book.state.nodes[&of.node].standing != Standing::Working {
            return Ok(());
        }
        if std::mem::replace(&mut of.is_given_up, true) {
            return Ok(());
        }
        let (node, seat) = (of.node, of.seat);
        self.submit(&Command::DrainNode { node })?;
        self.at(now.0 + RENAMING_MS, What::Rename(seat));
        Ok(())
    }
}
