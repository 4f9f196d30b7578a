//! After a commit that failed or whose answer was lost: find out what the log holds and go on from there.
//!
//! Whatever the failure was, the first step is the same: bump the epoch if this executor still leads. That waits
//! out an append that may still be running in the store and fences one that is still on its way. Then the head says
//! whether the batch is in.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use ulid::Ulid;

use super::{
    batch::{Flight, Held, Submission},
    handle::{Status, SubmitError},
    writer::{Ending, Speculation, Writer},
};
use crate::{
    log::{Batch, Log, LogError, LogHead},
    machine::Machine,
    replay::{Replay, ReplayError},
    snapshot::{Restored, restore},
};

/// First and longest pause between attempts to reach the log.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl<M: Machine> Writer<M> {
    /// Settles a flight that did not land well, and makes the speculative state agree with the log again.
    /// `error` is `None` where the append's task died.
    pub(super) async fn recover(
        &mut self,
        mut flight: Flight<M>,
        error: Option<LogError>,
        commands: &mut mpsc::Receiver<Submission<M>>,
    ) -> ControlFlow<Ending> {
        match &error {
            Some(error) => tracing::warn!(
                position = flight.batch.base,
                error = error as &dyn std::error::Error,
                "the batch was not committed as it should"
            ),
            None => tracing::error!(position = flight.batch.base, "the append's task died"),
        }
        // What the log has said for certain is passed on at once.
        match &error {
            Some(LogError::Fenced) => {
                self.drop_open(|| SubmitError::NotLeader);
                answer(&mut flight.held, || SubmitError::NotLeader);
            }
            Some(LogError::Unavailable(_)) => {
                self.drop_open(|| SubmitError::Unavailable);
                answer(&mut flight.held, || SubmitError::Unavailable);
            }
            Some(LogError::Unknown(_) | LogError::Migration(_) | LogError::Corrupt { .. })
            | None => self.drop_open(|| SubmitError::Unavailable),
        }
        let (head, stored) = match self.reclaim(&mut flight, commands).await? {
            Ok(found) => found,
            Err(Deposed) => return self.deposed(flight).await,
        };
        self.epoch = head.epoch;
        let batch = Arc::clone(&flight.batch);
        if stored {
            self.committed(flight)?;
        } else if head.size() == batch.base {
            for command in &batch.commands {
                self.pending.remove(&command.id);
            }
            answer(&mut flight.held, || SubmitError::Unavailable);
        } else {
            let (size, base) = (head.size(), batch.base);
            answer(&mut flight.held, || SubmitError::Unknown);
            return ControlFlow::Break(Status::Failed(format!(
                "the log has size {size} where {base} was expected"
            )));
        }
        if self.speculation.tail.size() == head.size() {
            self.open.base = head.size();
        } else {
            self.rebuild(commands).await?;
        }
        self.shared.note_sent(None);
        self.status.send_replace(Status::Leading);
        ControlFlow::Continue(())
    }

    /// Folds the speculative state anew from the log. Nothing may be in flight or being decided.
    pub(super) async fn rebuild(
        &mut self,
        commands: &mut mpsc::Receiver<Submission<M>>,
    ) -> ControlFlow<Ending> {
        let started = Instant::now();
        self.shared.note_sent_once(started);
        let mut pause = PAUSE_MIN;
        loop {
            match self.reload().await {
                Ok(()) => break,
                Err(ReplayError::Damage(damage)) => {
                    return ControlFlow::Break(Status::Failed(damage.to_string()));
                }
                Err(ReplayError::Log(error)) => self.wait_out(&error, &mut pause, commands).await?,
            }
        }
        self.broken = false;
        self.open.base = self.speculation.tail.size();
        tracing::info!(
            size = self.open.base,
            elapsed_ms = started.elapsed().as_millis() as u64,
            "state rebuilt"
        );
        self.shared.note_sent(None);
        self.status.send_replace(Status::Leading);
        ControlFlow::Continue(())
    }

    /// Up to what this executor has committed, even if another one has gone on: the next append finds that out.
    async fn reload(&mut self) -> Result<(), ReplayError> {
        let head = self.shared.head();
        let Restored { replay, .. } = restore::<M>(self.shared.log.as_ref(), head).await?;
        let Replay { state, tail } = replay;
        self.speculation = Speculation { state, tail };
        Ok(())
    }

    /// Bumps the epoch and looks whether the batch is in, for as long as it takes to reach the log.
    async fn reclaim(
        &mut self,
        flight: &mut Flight<M>,
        commands: &mut mpsc::Receiver<Submission<M>>,
    ) -> ControlFlow<Ending, Result<(LogHead, bool), Deposed>> {
        let started = self.options.timer.now();
        let mut pause = PAUSE_MIN;
        loop {
            let log = self.shared.log.as_ref();
            let error = match reclaim_and_compare(log, self.leader, &flight.batch).await {
                Ok(found) => return ControlFlow::Continue(Ok(found)),
                Err(LogError::Fenced) => return ControlFlow::Continue(Err(Deposed)),
                Err(error) => error,
            };
            if self.options.timer.now().saturating_sub(started) >= self.options.resolve_patience {
                answer(&mut flight.held, || SubmitError::Unknown);
            }
            self.wait_out(&error, &mut pause, commands).await?;
        }
    }

    /// Another executor has the log. It waited for our append, or fenced it off, so the table tells which.
    async fn deposed(&mut self, mut flight: Flight<M>) -> ControlFlow<Ending> {
        match is_stored(self.shared.log.as_ref(), &flight.batch).await {
            Ok(true) => self.committed(flight)?,
            Ok(false) => answer(&mut flight.held, || SubmitError::NotLeader),
            Err(_) => answer(&mut flight.held, || SubmitError::Unknown),
        }
        ControlFlow::Break(Status::Deposed)
    }

    /// Pauses before the log is tried again. Nobody is kept waiting for a log that can't be reached, and nobody
    /// can stop the writer's end by it.
    async fn wait_out(
        &mut self,
        error: &LogError,
        pause: &mut Duration,
        commands: &mut mpsc::Receiver<Submission<M>>,
    ) -> ControlFlow<Ending> {
        if matches!(error, LogError::Corrupt { .. } | LogError::Migration(_)) {
            return ControlFlow::Break(Status::Failed(error.to_string()));
        }
        if *self.shared.closing.borrow() || commands.is_closed() {
            return ControlFlow::Break(Status::Failed(
                "stopped while the log could not be reached".to_owned(),
            ));
        }
        if self.status.send_replace(Status::Recovering) != Status::Recovering {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the log can't be reached; trying again"
            );
        }
        let mut arrived: Vec<Submission<M>> = std::mem::take(&mut self.waiting).into();
        while let Ok(submission) = commands.try_recv() {
            arrived.push(submission);
        }
        for submission in arrived {
            let _ = submission.reply.send(Err(SubmitError::Unavailable));
        }
        self.options.timer.sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSE_MAX);
        ControlFlow::Continue(())
    }
}

/// Another executor holds the epoch.
struct Deposed;

/// Takes the lead again, and answers the head and whether the batch is in.
async fn reclaim_and_compare(
    log: &dyn Log,
    leader: Ulid,
    batch: &Batch,
) -> Result<(LogHead, bool), LogError> {
    let head = log.reclaim(leader).await?;
    let mut stored = head.size() == batch.frontier.size() && head.root == batch.root;
    // Outcomes without events leave the head as it was: only their keys tell.
    if stored && batch.events.is_empty() && !batch.commands.is_empty() {
        stored = is_stored(log, batch).await?;
    }
    Ok((head, stored))
}

/// Whether the log holds the batch. A batch is stored whole or not at all, so its first row tells.
async fn is_stored(log: &dyn Log, batch: &Batch) -> Result<bool, LogError> {
    if let Some(event) = batch.events.first() {
        let stored = log.read(event.position, 1).await?;
        return Ok(stored.first().is_some_and(|row| row.entry == event.entry));
    }
    match batch.commands.first() {
        Some(command) => Ok(log.find_commands(&[command.id]).await?.contains(command)),
        None => Ok(false),
    }
}

/// Tells everybody who waits the same.
fn answer<M: Machine>(held: &mut Vec<Held<M>>, error: impl Fn() -> SubmitError<M::Rejection>) {
    for Held { reply, .. } in held.drain(..) {
        let _ = reply.send(Err(error()));
    }
}
