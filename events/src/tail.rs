//! The end of the log: all that it takes to append the next entry, and to check the next one that is read.
//!
//! Positions, revisions, interned ids, time and the Merkle frontier are assigned and verified by the same code,
//! so that what is written is what a replay accepts. Knows nothing of states, storage or callers.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use crate::{
    entry::{Entry, EntryError},
    envelope::{Recorded, Timestamp},
    log::NewEvent,
    machine::{Context, Corrupt, Event},
    merkle::{Frontier, Hash},
};

/// Most events that one command may cause; a decision with more is refused instead of blocking everybody.
pub const MAX_COMMAND_EVENTS: usize = 10_000;

/// The first place where a log is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is damaged at position {position}: {flaw}")]
pub struct Damage {
    pub position: u64,
    pub flaw: Flaw,
}

/// What is wrong at a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("the entry is missing; the next one found has position {0}")]
    Gap(u64),
    #[error("the entry is missing, and none follows it")]
    Missing,
    #[error("there is an entry beyond the head")]
    BeyondHead,
    #[error("the entry does not match its stored leaf hash {stored}; its bytes hash to {computed}")]
    Leaf { stored: Hash, computed: Hash },
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("the envelope says position {0}")]
    Position(u64),
    #[error("the envelope says revision {found} of stream `{stream}`, which is at {expected}")]
    Revision {
        stream: String,
        found: u64,
        expected: u64,
    },
    #[error("the time {found} is before the previous entry's {previous}")]
    Time {
        found: Timestamp,
        previous: Timestamp,
    },
    #[error("the state does not accept the event: {0}")]
    State(Corrupt),
    /// What a caller of the replay checks beside what every replay does.
    #[error("{0}")]
    Check(String),
    #[error("the Merkle root of the entries before it is {computed}, the head says {head}")]
    Root { computed: Hash, head: Hash },
}

/// An event with its place in the log, not yet accepted.
#[derive(Debug)]
pub(crate) struct Staged<E> {
    pub(crate) recorded: Arc<Recorded<E>>,
    pub(crate) row: NewEvent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamEnd {
    /// Position of the first event.
    pub(crate) id: u64,
    pub(crate) next_revision: u64,
}

/// The end of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) streams: HashMap<String, StreamEnd>,
    pub(crate) types: HashMap<String, u64>,
    pub(crate) frontier: Frontier,
    pub(crate) time: Option<Timestamp>,
}

impl Tail {
    /// Number of entries, which is the next position.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// When the last event was decided.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// `now`, but never before the last event.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        self.time.map_or(now, |time| time.max(now))
    }

    /// Checks the next entry, whose bytes must be canonical, and takes it in.
    pub(crate) fn admit_canonical<E: Event>(
        &mut self,
        entry: &Entry,
    ) -> Result<Recorded<E>, Damage> {
        let recorded = entry
            .decode_canonical()
            .map_err(|e| self.damage(e.into()))?;
        self.admit(&recorded, entry.leaf())?;
        Ok(recorded)
    }

    /// Checks the place of the next event and takes it in.
    pub(crate) fn admit<E: Event>(
        &mut self,
        recorded: &Recorded<E>,
        leaf: Hash,
    ) -> Result<(), Damage> {
        if recorded.position != self.size() {
            return Err(self.damage(Flaw::Position(recorded.position)));
        }
        let expected = self
            .streams
            .get(&recorded.stream)
            .map_or(0, |end| end.next_revision);
        if recorded.revision != expected {
            return Err(self.damage(Flaw::Revision {
                stream: recorded.stream.clone(),
                found: recorded.revision,
                expected,
            }));
        }
        if let Some(previous) = self.time.filter(|previous| recorded.time < *previous) {
            return Err(self.damage(Flaw::Time {
                found: recorded.time,
                previous,
            }));
        }
        self.advance(
            &recorded.stream,
            recorded.event.label(),
            recorded.time,
            leaf,
        );
        Ok(())
    }

    /// Gives the events of one decision their places, without taking them in.
    ///
    /// Each event is read back from what will be written and that is what is returned: nothing that a replay
    /// can't read gets into the log, and live state folds what a replay will fold.
    pub(crate) fn stage<E: Event>(
        &self,
        events: Vec<E>,
        context: &Context,
        cause: &str,
    ) -> Result<Vec<Staged<E>>, EntryError> {
        if events.len() > MAX_COMMAND_EVENTS {
            return Err(EntryError::TooMany {
                events: events.len(),
            });
        }
        let mut streams: HashMap<String, StreamEnd> = HashMap::new();
        let mut types: HashMap<&'static str, u64> = HashMap::new();
        let last = events.len().saturating_sub(1);
        let mut staged = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            let position = self.size() + index as u64;
            let name = event.stream();
            let before = streams
                .get(&name)
                .or_else(|| self.streams.get(&name))
                .copied();
            let stream = before.unwrap_or(StreamEnd {
                id: position,
                next_revision: 0,
            });
            let label = event.label();
            let type_id = types.get(label).or_else(|| self.types.get(label));
            let type_id = type_id.copied().unwrap_or(position);
            // Nothing comes after the last one, which most often is the only one.
            if index < last {
                types.insert(label, type_id);
                streams.insert(
                    name.clone(),
                    StreamEnd {
                        next_revision: stream.next_revision + 1,
                        ..stream
                    },
                );
            }
            let recorded = Recorded {
                position,
                id: derived_ulid(b"aevir.event/1\n", context, index as u64),
                stream: name,
                revision: stream.next_revision,
                time: context.time,
                actor: context.actor.clone(),
                cause: cause.to_owned(),
                event,
            };
            staged.push(stage_one(recorded, stream.id, type_id)?);
        }
        Ok(staged)
    }

    /// Takes staged events in. They must have been staged on this very tail.
    pub(crate) fn accept<E: Event>(&mut self, staged: &[Staged<E>]) {
        for Staged { row, .. } in staged {
            self.advance(&row.stream, row.label, row.time, row.leaf);
        }
    }

    /// The damage that a state's refusal of the entry admitted last amounts to.
    pub(crate) fn refused(&self, corrupt: Corrupt) -> Damage {
        Damage {
            position: self.size().saturating_sub(1),
            flaw: Flaw::State(corrupt),
        }
    }

    pub(crate) fn damage(&self, flaw: Flaw) -> Damage {
        Damage {
            position: self.size(),
            flaw,
        }
    }

    fn advance(&mut self, stream: &str, label: &str, time: Timestamp, leaf: Hash) {
        let position = self.size();
        match self.streams.get_mut(stream) {
            Some(end) => end.next_revision += 1,
            None => {
                self.streams.insert(
                    stream.to_owned(),
                    StreamEnd {
                        id: position,
                        next_revision: 1,
                    },
                );
            }
        }
        if !self.types.contains_key(label) {
            self.types.insert(label.to_owned(), position);
        }
        self.time = Some(time);
        self.frontier.push(leaf);
    }
}

/// Id of a command that came without a key.
pub(crate) fn command_ulid(context: &Context) -> Ulid {
    derived_ulid(b"aevir.command/1\n", context, 0)
}

/// A ULID with the context's time and bits derived from its entropy; the label keeps it apart from the ids that a
/// decision makes for itself.
fn derived_ulid(label: &[u8], context: &Context, index: u64) -> Ulid {
    let mut hash = Sha256::new();
    hash.update(label);
    hash.update(context.entropy);
    hash.update(index.to_be_bytes());
    let digest = hash.finalize();
    let mut random = [0u8; 16];
    random.copy_from_slice(&digest[..16]);
    Ulid::from_parts(context.time.0.max(0) as u64, u128::from_be_bytes(random))
}

fn stage_one<E: Event>(
    recorded: Recorded<E>,
    stream_id: u64,
    type_id: u64,
) -> Result<Staged<E>, EntryError> {
    let entry = Entry::encode(&recorded)?;
    // From the bytes, as every later reader gets it: what they can't read must not be written.
    let read: Recorded<E> = entry.decode()?;
    let row = NewEvent {
        position: read.position,
        stream_id,
        stream: recorded.stream,
        revision: read.revision,
        id: read.id,
        type_id,
        label: read.event.label(),
        schema: recorded.event.schema(),
        time: read.time,
        leaf: entry.leaf(),
        entry,
    };
    Ok(Staged {
        recorded: Arc::new(read),
        row,
    })
}
