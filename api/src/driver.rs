//! Turns what happened, time and silence into commands: places work, ticks what is due, loses silent leases,
//! tells which nodes are there.
//!
//! One task of the leader. It follows the log, so that it needs no call from the handlers to be right; a handler
//! only nudges it. Everything it submits is harmless when repeated.

use std::{sync::Arc, time::Duration};

use aevir_events::{BATCH_COMMANDS, Recorded, SubscribeError, Timestamp};
use aevir_platform::{
    Actor,
    command::{Availability, Command},
    event::{ComputeOutcome, Event, Verdict},
    ids::{AssignmentId, NodeId, TaskId},
    state::{Stage, State},
};
use futures::{StreamExt as _, future::join_all};
use tokio::time::Instant;

use crate::{
    app::{App, now},
    error::{ApiResult, Code},
    live::{BEAT_EVERY, LeaseTimes},
    routes::challenge_ended,
    submit::submit,
};

/// How often deadlines are looked at. Leases last a second at least.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Leases, and nodes, that are given up at once: half of what the log's writer takes into one commit, so that others find room in it. What is
/// left comes at the next look, after the ticks and plans between.
const LOST_AT_ONCE: usize = BATCH_COMMANDS / 2;
/// Work that could not be placed is tried again this often: a back-off may have ended.
const PLAN_EVERY: Duration = Duration::from_secs(1);
/// What was counted of nodes that write seldom is forgotten this often.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Pause after a tick or plan that could not be decided, or brought nothing although it was due.
const PAUSE: Duration = Duration::from_millis(500);
/// Events taken in before the driver acts.
const EVENTS_AT_ONCE: usize = 256;
/// Pause before the log is followed again after its stream broke.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// Events that arrived together.
type Chunk = Vec<Result<Arc<Recorded<Event>>, SubscribeError>>;

/// What the driver remembers between two looks.
struct Driver {
    app: App,
    /// Something happened that may let a plan place more.
    plan_wanted: bool,
    planned: Instant,
    looked: Instant,
    swept: Instant,
    tick_not_before: Instant,
    /// The epoch may be another leader's, whose secret this one does not know: a tick tells, whatever else is due.
    turn_wanted: bool,
}

/// Follows the log from a position, until the server stops or the log's writer ends.
pub(crate) async fn run(app: App, from: u64) {
    let mut driver = Driver {
        plan_wanted: true,
        planned: Instant::now(),
        looked: Instant::now(),
        swept: Instant::now(),
        tick_not_before: Instant::now(),
        turn_wanted: true,
        app: app.clone(),
    };
    // In one task, but apart: however long a command waits for the log, the process beats.
    tokio::select! {
        () = driver.follow(from) => {}
        () = beat(&app) => {}
    }
}

/// Shows that the process is there.
async fn beat(app: &App) {
    let mut beats = tokio::time::interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        app.live.beat();
    }
}

/// Gives every lease one fresh period, every node that is online one fresh patience, and every sealed result one fresh time to be
/// revealed. Answers the position from which to follow the log.
pub(crate) fn recover(app: &App) -> u64 {
    app.log.read(|state, size| {
        if let Some((_, policy)) = state.policy() {
            let reveal = Duration::from_millis(policy.reveal_ms.into());
            app.live.hear_reveals(reveal);
        }
        let tasks = state.tasks.values().filter(|t| !t.phase.is_final());
        let now = now();
        for assignment in tasks.flat_map(|t| t.active()) {
            grant(app, state, assignment.id);
            let before = now.0.saturating_sub(assignment.leased_at.0);
            let before = Duration::from_millis(u64::try_from(before).unwrap_or(0));
            app.live.leases().inherit(assignment.id, before);
            if let Stage::Running { .. } = assignment.stage {
                start(app, state, assignment.id);
            }
        }
        for node in state.nodes.values() {
            app.live.nodes().see(node.id);
        }
        size
    })
}

fn grant(app: &App, state: &State, id: AssignmentId) {
    if let Some(task) = state.task_of(id) {
        let times = LeaseTimes::of(task, &state.policy_of(task));
        app.live.leases().grant(id, Instant::now(), times);
    }
}

fn start(app: &App, state: &State, id: AssignmentId) {
    if let Some(task) = state.task_of(id) {
        let runtime = Duration::from_secs(task.definition.limits.runtime_s.into());
        app.live.leases().start(id, Instant::now(), runtime);
    }
}

impl Driver {
    async fn follow(&mut self, mut next: u64) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let app = self.app.clone();
        while !app.stopping.is_cancelled() && !app.log.status().is_final() {
            // What is there already is taken in before acting on it, in bounded chunks.
            let mut events = app.log.subscribe(next).ready_chunks(EVENTS_AT_ONCE);
            let mut following = true;
            while following {
                tokio::select! {
                    () = app.stopping.cancelled() => return,
                    chunk = events.next() => following = self.take(chunk, &mut next),
                    () = app.live.driver.notified() => self.plan_wanted = true,
                    _ = look.tick() => {}
                }
                self.act().await;
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
    }

    /// Takes events in; answers whether the stream goes on.
    fn take(&mut self, chunk: Option<Chunk>, next: &mut u64) -> bool {
        for item in chunk.iter().flatten() {
            match item {
                Ok(recorded) => {
                    *next = recorded.position + 1;
                    self.happened(&recorded.event);
                }
                Err(error) => {
                    let error: &dyn std::error::Error = error;
                    tracing::error!(position = *next, error, "the driver can't follow the log");
                    return false;
                }
            }
        }
        self.app.live.advance(*next);
        chunk.is_some()
    }

    /// Takes note of an event.
    fn happened(&mut self, event: &Event) {
        let live = &self.app.live;
        match event {
            Event::AssignmentLeased(e) => {
                self.app
                    .log
                    .read(|state, _| grant(&self.app, state, e.assignment));
                live.nodes().wake(e.node);
            }
            Event::AssignmentStarted(e) => {
                self.app
                    .log
                    .read(|state, _| start(&self.app, state, e.assignment));
            }
            Event::AssignmentCommitted(e) => live.leases().end(e.assignment),
            Event::AssignmentShown(e) => live.leases().end(e.assignment),
            Event::AssignmentRevealed(e) => live.leases().end(e.report.assignment),
            Event::AssignmentFailed(e) => self.ended(e.assignment),
            Event::AssignmentLost(e) => self.ended(e.assignment),
            Event::AssignmentReturned(e) => self.ended(e.assignment),
            Event::AssignmentWithdrawn(e) => self.ended(e.assignment),
            Event::RoundClosed(e) => self.wake_nodes_of(e.task),
            Event::TaskVerified(e) => {
                self.task_ended(e.task);
                if e.verdict == Verdict::Inconclusive {
                    self.count_left(e.task);
                }
            }
            Event::TaskClosed(e) => {
                self.task_ended(e.task);
                self.count_left(e.task);
            }
            Event::NodeDrained(e) => live.nodes().wake(e.node),
            Event::NodeSuspended(e) => live.nodes().wake(e.node),
            Event::NodeLeft(e) => live.nodes().wake(e.node),
            Event::NodeRevoked(e) => live.nodes().wake(e.node),
            Event::AvailabilityChanged(e) => {
                // Its silence counts from here on where it was not heard by this process.
                if e.availability == Availability::Online {
                    live.nodes().expect(e.node);
                }
            }
            Event::TaskQueued(_)
            | Event::TaskExtended(_)
            | Event::TaskHastened(_)
            | Event::TrustDecided(_)
            | Event::TaskReserved(_)
            | Event::ReviewOpened(_)
            | Event::TaskReviewed(_)
            | Event::InspectionOpened(_)
            | Event::TaskInspected(_)
            | Event::RewardsClaimed(_)
            | Event::LimitsSet(_)
            | Event::EpochOpened(_)
            | Event::ProfileChanged(_)
            | Event::TermsChanged(_)
            | Event::ComputeChecked(_)
            | Event::NodeResumed(_)
            | Event::NodeReleased(_)
            | Event::AccountReleased(_)
            | Event::ContentReleased(_)
            | Event::ModuleReleased(_)
            | Event::PolicyAdopted(_) => {}
            Event::AccountOpened(_)
            | Event::KeyAdded(_)
            | Event::KeyRevoked(_)
            | Event::JoinTokenIssued(_)
            | Event::WithdrawalRequested(_)
            | Event::WithdrawalPaid(_)
            | Event::WithdrawalRefused(_)
            | Event::BlobUploaded(_)
            | Event::LedgerPosted(_)
            | Event::PointsChanged(_)
            | Event::ModuleRegistered(_)
            | Event::ContentRegistered(_)
            | Event::ContentTermsChanged(_)
            | Event::NodeRegistered(_)
            | Event::KeyRotated(_)
            | Event::AccountSuspended(_)
            | Event::ContentSuspended(_)
            | Event::ModuleSuspended(_)
            | Event::NodeSlashed(_)
            | Event::TaskCreated(_)
            | Event::TaskSettled(_)
            | Event::TaskMatured(_)
            | Event::AssignmentProgressed(_)
            | Event::AssignmentCheckpointed(_)
            | Event::OutputUploaded(_)
            | Event::OutputClosed(_)
            | Event::EpochClosed(_) => return,
        }
        self.plan_wanted = true;
    }

    fn ended(&self, id: AssignmentId) {
        self.app.live.leases().end(id);
        let node = self
            .app
            .log
            .read(|state, _| state.assignment(id).map(|(_, a)| a.node));
        if let Some(node) = node {
            self.app.live.nodes().wake(node);
        }
    }

    /// All its nodes have something to do: reveal, or stop.
    fn wake_nodes_of(&self, task: TaskId) {
        let assignments = self.assignments_of(task);
        let known = self.app.live.nodes();
        assignments.iter().for_each(|(_, node)| known.wake(*node));
    }

    fn task_ended(&self, task: TaskId) {
        for (assignment, _) in self.assignments_of(task) {
            self.app.live.leases().end(assignment);
        }
        self.wake_nodes_of(task);
    }

    /// A task that ended without a result stays in the log. What it cost may have gone to a node of its requester's friends.
    fn count_left(&self, task: TaskId) {
        let requester = self.app.log.read(|state, _| {
            let task = state.tasks.get(&task);
            task.filter(|task| !task.looks_back())
                .map(|task| task.requester)
        });
        if let Some(requester) = requester {
            self.app.live.rates.left(requester);
        }
    }

    fn assignments_of(&self, task: TaskId) -> Vec<(AssignmentId, NodeId)> {
        self.app.log.read(|state, _| {
            let task = state.tasks.get(&task).into_iter();
            task.flat_map(|t| t.assignments.values())
                .map(|a| (a.id, a.node))
                .collect()
        })
    }

    /// Submits what is called for now.
    async fn act(&mut self) {
        // Under load this runs after every batch of events; looking through all nodes has its own pace.
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.lose_silent_leases().await;
            self.note_silent_nodes().await;
            self.note_silent_gpus().await;
        }
        if self.swept.elapsed() >= SWEEP_EVERY {
            self.swept = Instant::now();
            self.app.live.rates.sweep();
        }
        self.tick().await;
        self.plan().await;
    }

    /// Whoever is lost together is lost in a few commits: one after the other, nothing would be placed or ticked meanwhile.
    async fn lose_silent_leases(&self) {
        // Whoever was not heard was not silent.
        self.app.live.beat();
        let mut expired = self.app.live.leases().expired(Instant::now());
        expired.truncate(LOST_AT_ONCE);
        let lost = expired.into_iter().map(async |(assignment, reason)| {
            tracing::info!(%assignment, ?reason, "a lease ran out");
            let command = Command::LoseLease { assignment, reason };
            match self.submit(command).await {
                // Not to be lost twice before the event comes back to this task.
                Ok(_) => self.app.live.leases().end(assignment),
                // It ended meanwhile, or never was: forget it.
                Err(e) if e.code() == "lease-ended" || e.code() == "unknown-assignment" => {
                    self.app.live.leases().end(assignment);
                }
                // It is tried again.
                Err(_) => {}
            }
        });
        join_all(lost).await;
    }

    async fn note_silent_nodes(&self) {
        let patience = self.app.log.read(|state, _| {
            let (_, policy) = state.policy()?;
            Some(Duration::from_millis(policy.offline_ms.into()))
        });
        let Some(patience) = patience else {
            return;
        };
        let now = Instant::now();
        let silent = self.app.live.nodes().silent(now, patience, LOST_AT_ONCE);
        let gone = silent.into_iter().map(async |node| {
            let is_online = self.app.log.read(|state, _| {
                let known = state.nodes.get(&node);
                known.is_some_and(|n| n.availability == Availability::Online)
            });
            if is_online {
                tracing::info!(%node, "a node fell silent");
                let availability = Availability::Offline;
                let command = Command::SetAvailability { node, availability };
                if self.submit(command).await.is_err() {
                    // It is tried again.
                    return;
                }
            }
            self.app.live.nodes().note_gone(node, now);
        });
        join_all(gone).await;
    }

    /// Records those whose GPUs did not show in time how fast they are.
    async fn note_silent_gpus(&self) {
        let now = Instant::now();
        let silent = self.app.live.challenges().overdue(now, LOST_AT_ONCE);
        let noted = silent.into_iter().map(async |(node, open)| {
            tracing::info!(%node, "a node did not show how fast its GPU is");
            let check = open.check(node, ComputeOutcome::Silent, now);
            // Where that could not be recorded it is asked again, and at once where the claim is new.
            let _ = self.submit(Command::CheckCompute(check)).await;
            challenge_ended(&self.app, node);
        });
        join_all(noted).await;
    }

    /// Whether a tick has something to do, and may do it.
    fn is_tick_due(&self) -> bool {
        let (set_up, due, reveal) = self.app.log.read(|state, _| {
            let set_up = state.policy().is_some();
            (set_up, state.next_due(), state.next_reveal_due())
        });
        let is_past = |at: Option<Timestamp>| at.is_some_and(|at| at <= now());
        // The leader before may have had another secret: nothing can be drawn in its epoch any more.
        let wanted = set_up && (self.turn_wanted || is_past(due));
        if !wanted || !is_past(reveal) {
            return wanted;
        }
        // A tick would take for kept back what nobody heard. All of it waits, for a while that is bounded.
        self.app.live.beat();
        !self.app.live.hears_reveals()
    }

    async fn tick(&mut self) {
        if Instant::now() < self.tick_not_before {
            return;
        }
        while self.is_tick_due() {
            let ticked = self.submit(Command::Tick).await;
            self.turn_wanted &= ticked.is_err();
            if ticked.is_ok_and(|events| events > 0) {
                continue;
            }
            self.tick_not_before = Instant::now() + PAUSE;
            return;
        }
    }

    async fn plan(&mut self) {
        if !self.plan_wanted && self.planned.elapsed() < PLAN_EVERY {
            return;
        }
        self.plan_wanted = false;
        self.planned = Instant::now();
        let has_work = || {
            self.app
                .log
                .read(|state, _| state.has_placeable() || state.has_tail(now()))
        };
        while has_work() {
            match self.submit(Command::Plan).await {
                Ok(events) if events > 0 => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Submits a command; answers how many events it caused.
    async fn submit(&self, command: Command) -> ApiResult<usize> {
        let submitted = submit(&self.app, Actor::System, None, command).await;
        let submitted = submitted.map(|receipt| receipt.events.len());
        if let Err(error) = &submitted {
            let code = error.code();
            if code == Code::TooLargeForLog.name() {
                tracing::error!(
                    code,
                    "a command of the driver's own was not taken: what is due waits"
                );
            } else {
                tracing::debug!(code, "the driver's command was not taken");
            }
        }
        submitted
    }
}
