//! The writer's loop: decide while the previous batch commits, commit, fold, answer.
//!
//! Two states are kept. The speculative one has every decision in it and is what the next decision is made on; the
//! committed one has what is durable and is what readers see. They differ by the batch that is being decided and
//! the one in flight.

use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    sync::{Arc, PoisonError},
    time::Instant,
};

use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinError,
};
use ulid::Ulid;

use super::{
    Options,
    batch::{Flight, Held, Open, Outcome, PendingKeys, Submission},
    decide::DECIDE_AT_ONCE,
    handle::{Shared, Status, SubmitError},
};
use crate::{
    envelope::Recorded,
    log::{Batch, Head, Log, LogError},
    machine::Machine,
    replay::{Replay, evolve},
    snapshot::Keeper,
    tail::Tail,
};

/// The state and the end of the log with everything in it that was decided.
pub(super) struct Speculation<M: Machine> {
    pub(super) state: M::State,
    pub(super) tail: Tail,
}

/// Who leads, and under which number.
pub(super) struct Term {
    pub(super) leader: Ulid,
    pub(super) epoch: u64,
}

/// Why the writer ends.
pub(super) type Ending = Status;

/// The single writer.
pub(super) struct Writer<M: Machine> {
    pub(super) shared: Arc<Shared<M>>,
    pub(super) options: Options,
    pub(super) leader: Ulid,
    pub(super) epoch: u64,
    pub(super) speculation: Speculation<M>,
    /// The speculative state refused an event that was decided on it: rebuild it before the next decision.
    pub(super) broken: bool,
    pub(super) open: Open<M>,
    pub(super) flight: Option<Flight<M>>,
    pub(super) pending: PendingKeys<M>,
    /// Taken from the queue and not yet decided.
    pub(super) waiting: VecDeque<Submission<M>>,
    live: broadcast::Sender<Arc<Recorded<M::Event>>>,
    pub(super) status: watch::Sender<Status>,
    keeper: Keeper,
}

/// What the loop woke up for.
enum Wake {
    Landed(Result<Result<(), LogError>, JoinError>),
    Commands,
    Closed,
    ShutDown,
}

impl<M: Machine> Writer<M> {
    pub(super) fn new(
        shared: Arc<Shared<M>>,
        options: Options,
        Term { leader, epoch }: Term,
        speculation: Speculation<M>,
        live: broadcast::Sender<Arc<Recorded<M::Event>>>,
        status: watch::Sender<Status>,
        keeper: Keeper,
    ) -> Self {
        let open = Open::new(speculation.tail.size());
        Self {
            shared,
            options,
            leader,
            epoch,
            speculation,
            broken: false,
            open,
            flight: None,
            pending: HashMap::new(),
            waiting: VecDeque::new(),
            live,
            status,
            keeper,
        }
    }

    /// Runs until shut down, abandoned by all handles, deposed or failed; then answers whoever still waits.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Submission<M>>,
        closing: watch::Receiver<bool>,
    ) {
        let ending = match self.lead(&mut commands, closing).await {
            ControlFlow::Break(ending) => ending,
            ControlFlow::Continue(()) => Status::Stopped,
        };
        match &ending {
            Status::Failed(reason) => tracing::error!(reason, "the log's writer has failed"),
            Status::Deposed => tracing::warn!("another executor leads the log now"),
            Status::Leading | Status::Recovering | Status::Stopped => {
                tracing::info!("the log's writer has stopped")
            }
        }
        if ending == Status::Stopped {
            self.keep_snapshot().await;
        }
        let deposed = ending == Status::Deposed;
        let answer = || {
            if deposed {
                SubmitError::NotLeader
            } else {
                SubmitError::Stopped
            }
        };
        // First the status, so that whoever finds the queue closed can say why.
        self.status.send_replace(ending);
        commands.close();
        self.drop_open(answer);
        for submission in std::mem::take(&mut self.waiting) {
            let _ = submission.reply.send(Err(answer()));
        }
        while let Some(submission) = commands.recv().await {
            let _ = submission.reply.send(Err(answer()));
        }
    }

    async fn lead(
        &mut self,
        commands: &mut mpsc::Receiver<Submission<M>>,
        mut closing: watch::Receiver<bool>,
    ) -> ControlFlow<Ending> {
        let mut arrived = Vec::with_capacity(DECIDE_AT_ONCE);
        let (mut closed, mut shut_down) = (false, false);
        loop {
            if self.flight.is_none() && !self.open.is_empty() {
                self.launch();
            }
            if self.broken && self.flight.is_none() {
                self.rebuild(commands).await?;
            }
            self.prepare();
            if !self.broken && !self.waiting.is_empty() && self.room() > 0 {
                self.decide_waiting().await;
                continue;
            }
            if closed && self.flight.is_none() && self.open.is_empty() && self.waiting.is_empty() {
                return ControlFlow::Continue(());
            }
            let room = if closed || self.broken || !self.waiting.is_empty() {
                0
            } else {
                self.room()
            };
            let wake = tokio::select! {
                biased;
                landed = landed(&mut self.flight), if self.flight.is_some() => Wake::Landed(landed),
                // Changed, or all handles are gone, and then nobody can queue anything either.
                _ = closing.wait_for(|closing| *closing), if !shut_down => Wake::ShutDown,
                count = commands.recv_many(&mut arrived, room), if room > 0 => {
                    if count == 0 { Wake::Closed } else { Wake::Commands }
                }
            };
            match wake {
                Wake::Landed(result) => self.landed(result, commands).await?,
                Wake::Commands => self.waiting.extend(arrived.drain(..)),
                Wake::Closed => closed = true,
                Wake::ShutDown => {
                    shut_down = true;
                    commands.close();
                }
            }
        }
    }

    /// At a graceful end: nothing is open or in flight, so the speculative state is the committed one.
    async fn keep_snapshot(&mut self) {
        let state = std::mem::take(&mut self.speculation.state);
        let tail = std::mem::take(&mut self.speculation.tail);
        self.keeper.finish(Replay::<M> { state, tail }).await;
    }

    /// Closes the open batch: what the log is to store.
    fn seal(&mut self) -> Arc<Batch> {
        let open = &mut self.open;
        if let Some(sealed) = &open.sealed {
            return Arc::clone(sealed);
        }
        let frontier = self.speculation.tail.frontier().clone();
        let batch = Arc::new(Batch {
            epoch: self.epoch,
            base: open.base,
            events: std::mem::take(&mut open.events),
            commands: std::mem::take(&mut open.commands),
            root: frontier.root(),
            frontier,
        });
        open.sealed = Some(Arc::clone(&batch));
        batch
    }

    /// A batch that is full while another one is on its way is made ready, so that the log need not wait for it.
    fn prepare(&mut self) {
        let is_full = self.open.room(self.options.batch_commands.max(1)) == 0;
        if is_full && self.flight.is_some() && self.open.sealed.is_none() {
            let batch = self.seal();
            if !is_empty(&batch) {
                self.shared.log.prepare(&batch);
            }
        }
    }

    /// Starts committing the open batch. Without anything to store it is the base that is confirmed: a rejection
    /// is answered only if the head is still the one that it was decided on.
    fn launch(&mut self) {
        let batch = self.seal();
        let next = self.speculation.tail.size();
        let Open { recorded, held, .. } = std::mem::replace(&mut self.open, Open::new(next));
        let since = Instant::now();
        self.shared.note_sent(Some(since));
        let (shared, stored) = (Arc::clone(&self.shared), Arc::clone(&batch));
        let task = tokio::spawn(async move {
            let landed = if is_empty(&stored) {
                confirm(shared.log.as_ref(), &stored).await
            } else {
                shared.log.append(stored).await
            };
            // By itself, for the writer may be deciding for a while before it hears of it.
            if landed.is_ok() {
                shared.note_sent(None);
            }
            landed
        });
        self.flight = Some(Flight {
            task,
            batch,
            recorded,
            held,
            since,
        });
    }

    /// It waits for an answer of the log, or does not any more: between flights nothing else says so.
    pub(super) fn waits_for_log(&self, does: bool) {
        if self.flight.is_none() {
            self.shared.note_sent(does.then(Instant::now));
        }
    }

    /// Takes the flight down.
    async fn landed(
        &mut self,
        result: Result<Result<(), LogError>, JoinError>,
        commands: &mut mpsc::Receiver<Submission<M>>,
    ) -> ControlFlow<Ending> {
        let Some(flight) = self.flight.take() else {
            return ControlFlow::Continue(());
        };
        match result {
            Ok(Ok(())) => {
                // First the next batch, so that the log works while this one is folded and its callers are answered.
                if !self.open.is_empty() {
                    self.launch();
                    // The new task waits on this thread, where no other takes it over: let it send the batch first.
                    tokio::task::yield_now().await;
                }
                self.committed(flight)
            }
            Ok(Err(error)) => self.recover(flight, Some(error), commands).await,
            Err(_) => self.recover(flight, None, commands).await,
        }
    }

    /// Folds a durable batch into the committed state, tells subscribers, then answers.
    pub(super) fn committed(&mut self, flight: Flight<M>) -> ControlFlow<Ending> {
        let Flight {
            batch,
            recorded,
            held,
            since,
            ..
        } = flight;
        let folded = {
            let mut committed = self
                .shared
                .committed
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let folded = recorded.iter().try_for_each(|event| {
                evolve::<M>(&mut committed.state, event)
                    .map_err(|e| format!("position {}: {e}", event.position))
            });
            committed.size = batch.frontier.size();
            committed.root = batch.root;
            folded
        };
        if !batch.events.is_empty() {
            tracing::debug!(
                position = batch.base,
                size = batch.frontier.size(),
                epoch = batch.epoch,
                commands = held.len(),
                events = batch.events.len(),
                elapsed_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX),
                "committed"
            );
        }
        self.keeper.committed::<M>(Head {
            size: batch.frontier.size(),
            root: batch.root,
        });
        for event in recorded {
            // Nobody listening is no error.
            let _ = self.live.send(event);
        }
        for command in &batch.commands {
            self.pending.remove(&command.id);
        }
        for Held {
            reply,
            answer,
            span,
        } in held
        {
            if let Ok(Outcome::Done(receipt)) = &answer {
                let position = receipt.events.first().map(|event| event.position);
                span.in_scope(|| {
                    tracing::debug!(position, head = receipt.head, "command committed")
                });
            }
            let _ = reply.send(answer);
        }
        match folded {
            Ok(()) => ControlFlow::Continue(()),
            Err(reason) => ControlFlow::Break(Status::Failed(format!(
                "the committed state refuses {reason}"
            ))),
        }
    }

    /// Gives up the batch that is being decided. Nothing of it was sent to the log.
    pub(super) fn drop_open(&mut self, answer: impl Fn() -> SubmitError<M::Rejection>) {
        let open = std::mem::replace(&mut self.open, Open::new(self.speculation.tail.size()));
        for Held { reply, .. } in open.held {
            let _ = reply.send(Err(answer()));
        }
        let sealed = open.sealed.iter().flat_map(|batch| &batch.commands);
        for command in open.commands.iter().chain(sealed) {
            self.pending.remove(&command.id);
        }
    }
}

/// Nothing is to be stored: only rejections, or commands that changed nothing.
fn is_empty(batch: &Batch) -> bool {
    batch.events.is_empty() && batch.commands.is_empty()
}

/// Waits for the flight's end; must not be polled without a flight.
async fn landed<M: Machine>(
    flight: &mut Option<Flight<M>>,
) -> Result<Result<(), LogError>, JoinError> {
    match flight {
        Some(flight) => (&mut flight.task).await,
        None => std::future::pending().await,
    }
}

/// Whether the head is still the one that the batch was decided on.
async fn confirm(log: &dyn Log, batch: &Batch) -> Result<(), LogError> {
    let head = log.head().await?;
    if head.epoch == batch.epoch && head.size() == batch.base {
        Ok(())
    } else {
        Err(LogError::Fenced)
    }
}
