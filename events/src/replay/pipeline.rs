//! Replay on several cores: chunks of entries are read and hashed by workers in any order, and folded in the log's.
//!
//! ```text
//!   source --chunks--> [workers: decode, canonical form, leaf hash, the caller's Inspect]
//!                              |  tickets keep the source's order
//!                              v
//!   fold, on the caller's thread: position, revision, time, the caller's Visit, evolve, Merkle frontier
//! ```
//!
//! Workers take chunks from the source one at a time and leave a ticket for each in one bounded queue, so that the
//! fold finds results in order whoever is done first, and damage is reported at the first bad position whatever
//! later chunks hold. What is under way is bounded by [`CHUNKS_AHEAD`], however long the log is.
//!
//! Threads, and not async tasks: this is nothing but computation, and an audit needs no runtime for it.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use super::{Replay, evolve, panic_text};
use crate::{
    entry::{Entry, EntryError},
    envelope::Recorded,
    log::StoredEntry,
    machine::{Machine, UnknownEvent},
    merkle::Hash,
    tail::{Damage, Flaw, MAX_COMMAND_EVENTS},
};

/// Chunks between the source and the fold, for each worker: one being read, one ready, so that neither side waits.
const CHUNKS_AHEAD: usize = 2;
/// Most workers: the fold itself is one thread, and takes about a quarter of the time of a worker's part.
const WORKERS_MAX: usize = 8;
/// Entries in a chunk that a source should give: enough to make the hand-over cheap, at most 33 MB.
pub const CHUNK_ENTRIES: usize = 512;

/// An entry as a source found it, with what is said of it beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub entry: Entry,
    /// The position and leaf hash that a table or a tile says it has.
    pub claimed: Option<(u64, Hash)>,
}

impl From<Entry> for Found {
    fn from(entry: Entry) -> Self {
        Self {
            entry,
            claimed: None,
        }
    }
}

impl From<StoredEntry> for Found {
    fn from(stored: StoredEntry) -> Self {
        Self {
            claimed: Some((stored.position, stored.leaf)),
            entry: stored.entry,
        }
    }
}

/// An entry that was read, with its leaf hash and what the caller's [`Inspect`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected<E, F> {
    pub recorded: Recorded<E>,
    pub leaf: Hash,
    pub finding: F,
    /// The position that a table or a tile says it has.
    claimed: Option<u64>,
}

/// What a caller wants to know of each entry by itself; runs on the workers, in no particular order.
pub trait Inspect<M: Machine>: Sync {
    /// Handed to [`Visit`], in order.
    type Finding: Send;

    /// # Errors
    /// What is wrong with the entry. The replay stops there, once everything before it was found good.
    fn inspect(
        &self,
        entry: &Entry,
        recorded: &Recorded<M::Event>,
    ) -> Result<Self::Finding, String>;
}

/// Nothing but what every replay checks.
impl<M: Machine> Inspect<M> for () {
    type Finding = ();

    fn inspect(&self, _: &Entry, _: &Recorded<M::Event>) -> Result<(), String> {
        Ok(())
    }
}

/// What a caller does along the fold, in the log's order, with the state in its hand.
///
/// An error names a position and stops the replay there, after the events before that position were folded. If
/// one of those turns out bad, that is what is reported: it comes first.
pub trait Visit<M: Machine, F> {
    /// Before the events of one command, which stand together, are folded. A log that is cut within a command
    /// ends with a shorter slice; damage within a command ends the replay without this call.
    ///
    /// # Errors
    /// The first bad one of these positions, and what is wrong with it.
    fn before(
        &mut self,
        state: &M::State,
        command: &[Inspected<M::Event, F>],
    ) -> Result<(), Damage> {
        let _ = (state, command);
        Ok(())
    }

    /// After each event was folded.
    ///
    /// # Errors
    /// What is wrong with the state, or with the event.
    fn after(&mut self, state: &M::State, event: &Inspected<M::Event, F>) -> Result<(), String> {
        let _ = (state, event);
        Ok(())
    }

    /// After each chunk: how many entries are folded, from the log's beginning.
    fn progress(&mut self, size: u64) {
        let _ = size;
    }
}

/// Nothing but the fold.
impl<M: Machine, F> Visit<M, F> for () {}

/// Why a replay stopped before its source's end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped<E> {
    #[error(transparent)]
    Damage(#[from] Damage),
    /// What the source said.
    #[error("the entries can't be read")]
    Source(#[source] E),
}

/// As many workers as there are cores, [`WORKERS_MAX`] at most.
pub fn workers() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    NonZeroUsize::new(WORKERS_MAX).map_or(cores, |most| cores.min(most))
}

impl<M: Machine> Replay<M> {
    /// Folds what `source` gives into this replay; what is folded stays folded when it stops early.
    ///
    /// # Errors
    /// The damage at the first bad position, or the source's own error once everything before it was folded.
    pub fn run<E, S, I, V>(
        &mut self,
        workers: NonZeroUsize,
        source: S,
        inspect: &I,
        visit: &mut V,
    ) -> Result<(), Stopped<E>>
    where
        E: Send,
        S: Iterator<Item = Result<Vec<Found>, E>> + Send,
        I: Inspect<M>,
        V: Visit<M, I::Finding>,
    {
        let ahead = workers.get() * CHUNKS_AHEAD;
        let (tickets, queue) = sync_channel(ahead);
        let source = Mutex::new(Some((source, tickets)));
        std::thread::scope(|scope| {
            for _ in 0..workers.get() {
                scope.spawn(|| work::<M, E, S, I>(&source, inspect));
            }
            let folded = self.fold(&queue, visit);
            // Workers that wait to leave a ticket find that nobody will look at it.
            drop(queue);
            folded
        })
    }

    /// [`Replay::run`] without threads, for what is shorter than it takes to start them.
    pub(super) fn run_here(&mut self, found: Vec<Found>) -> Result<(), Damage> {
        let chunk = Ok(read_chunk::<M, ()>(found, &()));
        let mut held = Vec::new();
        match self
            .fold_chunk::<std::convert::Infallible, (), ()>(chunk, &mut held, &mut ())
            .and_then(|()| self.fold_rest(held, &mut ()).map_err(Stopped::Damage))
        {
            Ok(()) => Ok(()),
            Err(Stopped::Damage(damage)) => Err(damage),
            Err(Stopped::Source(never)) => match never {},
        }
    }

    fn fold<E, F, V: Visit<M, F>>(
        &mut self,
        queue: &Receiver<Receiver<Work<M, E, F>>>,
        visit: &mut V,
    ) -> Result<(), Stopped<E>> {
        // The events of a command whose end was not seen yet.
        let mut held = Vec::new();
        for ticket in queue {
            // Workers catch panics, so they always answer.
            if let Ok(chunk) = ticket.recv() {
                self.fold_chunk(chunk, &mut held, visit)?;
                visit.progress(self.size());
            }
        }
        self.fold_rest(held, visit)?;
        visit.progress(self.size());
        Ok(())
    }

    fn fold_chunk<E, F, V: Visit<M, F>>(
        &mut self,
        chunk: Work<M, E, F>,
        held: &mut Vec<Inspected<M::Event, F>>,
        visit: &mut V,
    ) -> Result<(), Stopped<E>> {
        let (events, end) = match chunk {
            Ok(Chunk { events, flawed }) => (events, flawed.map(Ok)),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        let mut events = if held.is_empty() {
            events
        } else {
            held.extend(events);
            std::mem::take(held)
        };
        *held = events.split_off(end_of_whole_commands(&events));
        for command in events.chunk_by(same_command) {
            self.fold_command(command, visit)?;
        }
        let Some(end) = end else {
            return Ok(());
        };
        for event in held.drain(..) {
            self.fold_event(&event, visit)?;
        }
        match end {
            Ok(Flawed { claimed, flaw }) => {
                self.check_claim(claimed)?;
                Err(Stopped::Damage(self.tail.damage(flaw)))
            }
            Err(error) => Err(Stopped::Source(error)),
        }
    }

    fn fold_rest<F, V: Visit<M, F>>(
        &mut self,
        held: Vec<Inspected<M::Event, F>>,
        visit: &mut V,
    ) -> Result<(), Damage> {
        held.chunk_by(same_command)
            .try_for_each(|command| self.fold_command(command, visit))
    }

    fn fold_command<F, V: Visit<M, F>>(
        &mut self,
        command: &[Inspected<M::Event, F>],
        visit: &mut V,
    ) -> Result<(), Damage> {
        let objection = visit.before(&self.state, command).err();
        for event in command {
            match &objection {
                Some(damage) if damage.position <= self.size() => return Err(damage.clone()),
                Some(_) | None => self.fold_event(event, visit)?,
            }
        }
        objection.map_or(Ok(()), Err)
    }

    /// A table's row must stand where it is expected, before anything else is said of it.
    fn check_claim(&self, claimed: Option<u64>) -> Result<(), Damage> {
        match claimed.filter(|position| *position != self.size()) {
            None => Ok(()),
            Some(position) => Err(self.tail.damage(Flaw::Gap(position))),
        }
    }

    fn fold_event<F, V: Visit<M, F>>(
        &mut self,
        event: &Inspected<M::Event, F>,
        visit: &mut V,
    ) -> Result<(), Damage> {
        self.check_claim(event.claimed)?;
        self.tail.admit(&event.recorded, event.leaf)?;
        evolve::<M>(&mut self.state, &event.recorded).map_err(|e| self.tail.refused(e))?;
        visit.after(&self.state, event).map_err(|reason| Damage {
            position: event.recorded.position,
            flaw: Flaw::Check(reason),
        })
    }
}

/// How many of these events belong to commands whose last event is surely among them.
fn end_of_whole_commands<E, F>(events: &[Inspected<E, F>]) -> usize {
    // No command causes more: what looks like one is several, or damage, and need not be held in memory.
    if events.len() > MAX_COMMAND_EVENTS {
        return events.len();
    }
    events
        .windows(2)
        .rposition(|pair| !same_command(&pair[0], &pair[1]))
        .map_or(0, |last| last + 1)
}

/// Whether two neighbours were caused by one command.
fn same_command<E, F>(one: &Inspected<E, F>, next: &Inspected<E, F>) -> bool {
    let (one, next) = (&one.recorded, &next.recorded);
    one.cause == next.cause && one.actor == next.actor && one.time == next.time
}

/// A chunk read, up to the first entry that can't be.
struct Chunk<E, F> {
    events: Vec<Inspected<E, F>>,
    /// The entry after `events`.
    flawed: Option<Flawed>,
}

struct Flawed {
    claimed: Option<u64>,
    flaw: Flaw,
}

/// A worker's answer.
type Work<M, E, F> = Result<Chunk<<M as Machine>::Event, F>, E>;

/// The source, and where the tickets for what is taken from it are left: under one lock, so that their orders agree.
/// Gone when the source has ended, which ends the queue.
type Taken<S, M, E, F> = Mutex<Option<(S, Tickets<M, E, F>)>>;

/// One for each chunk, in the source's order; the worker that took it answers through it.
type Tickets<M, E, F> = SyncSender<Receiver<Work<M, E, F>>>;

fn work<M, E, S, I>(source: &Taken<S, M, E, I::Finding>, inspect: &I)
where
    M: Machine,
    S: Iterator<Item = Result<Vec<Found>, E>>,
    I: Inspect<M>,
{
    loop {
        let (answer, ticket) = sync_channel(1);
        let found = {
            let mut slot = source.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((mut source, tickets)) = slot.take() else {
                return;
            };
            let Some(found) = source.next() else {
                return;
            };
            if tickets.send(ticket).is_err() {
                return;
            }
            *slot = Some((source, tickets));
            found
        };
        let work = found.map(|found| read_chunk::<M, I>(found, inspect));
        // Nobody waits for it once the fold has stopped.
        let _ = answer.send(work);
    }
}

fn read_chunk<M: Machine, I: Inspect<M>>(
    found: Vec<Found>,
    inspect: &I,
) -> Chunk<M::Event, I::Finding> {
    let mut events = Vec::with_capacity(found.len());
    for found in found {
        // A bad record must not end the process: then nobody would learn which one it is.
        let read = catch_unwind(AssertUnwindSafe(|| read::<M, I>(&found, inspect)));
        let read = read.unwrap_or_else(|panic| {
            let text = format!("reading it panicked: {}", panic_text(panic.as_ref()));
            Err(EntryError::from(UnknownEvent(text)).into())
        });
        match read {
            Ok(event) => events.push(event),
            Err(flaw) => {
                let claimed = found.claimed.map(|(position, _)| position);
                return Chunk {
                    events,
                    flawed: Some(Flawed { claimed, flaw }),
                };
            }
        }
    }
    Chunk {
        events,
        flawed: None,
    }
}

/// Everything about an entry that needs no other one.
fn read<M: Machine, I: Inspect<M>>(
    found: &Found,
    inspect: &I,
) -> Result<Inspected<M::Event, I::Finding>, Flaw> {
    let leaf = found.entry.leaf();
    if let Some((_, stored)) = found.claimed.filter(|(_, stored)| *stored != leaf) {
        return Err(Flaw::Leaf {
            stored,
            computed: leaf,
        });
    }
    let recorded: Recorded<M::Event> = found.entry.decode_canonical()?;
    let finding = inspect
        .inspect(&found.entry, &recorded)
        .map_err(Flaw::Check)?;
    Ok(Inspected {
        recorded,
        leaf,
        finding,
        claimed: found.claimed.map(|(position, _)| position),
    })
}
