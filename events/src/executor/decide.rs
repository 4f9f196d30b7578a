//! Deciding: what becomes of a command before anything is stored.

use std::{collections::HashMap, panic::AssertUnwindSafe};

use super::{
    batch::{Held, Outcome, Pending, Submission},
    handle::{Receipt, SubmitError},
    writer::{Speculation, Writer},
};
use crate::{
    log::CommandRow,
    machine::{Context, Machine},
    merkle::Hash,
    replay::{evolve, panic_text},
    tail::command_ulid,
};

/// Commands decided before the writer looks whether a commit has finished: deciding must not hold answers back.
pub(super) const DECIDE_AT_ONCE: usize = 128;

impl<M: Machine> Writer<M> {
    /// How many commands may be decided now.
    pub(super) fn room(&self) -> usize {
        self.open
            .room(self.options.batch_commands.max(1))
            .min(DECIDE_AT_ONCE)
    }

    /// Decides what waits, as far as there is room; looks up idempotency keys first.
    pub(super) async fn decide_waiting(&mut self) {
        let count = self.waiting.len().min(self.room());
        let chunk: Vec<Submission<M>> = self.waiting.drain(..count).collect();
        let unknown = |key: &Hash| !self.pending.contains_key(key);
        let ids: Vec<Hash> = chunk
            .iter()
            .filter_map(|s| Some(s.key.as_ref()?.id))
            .filter(unknown)
            .collect();
        // Keys that commit while this look-up runs are still in `pending`: a flight is only taken down by this task.
        let known = match ids.is_empty() {
            true => Ok(Vec::new()),
            false => {
                self.waits_for_log(true);
                let known = self.shared.log.find_commands(&ids).await;
                self.waits_for_log(false);
                known
            }
        };
        let known = known
            .map(|rows| {
                rows.into_iter()
                    .map(|row| (row.id, row))
                    .collect::<HashMap<_, _>>()
            })
            .inspect_err(|e| {
                tracing::warn!(
                    error = e as &dyn std::error::Error,
                    "keys can't be looked up"
                )
            });
        let mut chunk = chunk.into_iter();
        for submission in chunk.by_ref() {
            let span = submission.span.clone();
            span.in_scope(|| self.decide(submission, known.as_ref().ok()));
            if self.broken {
                break;
            }
        }
        // What is left is decided on the rebuilt state.
        for submission in chunk.rev() {
            self.waiting.push_front(submission);
        }
    }

    /// Decides one command. `known` are the keys found in the log; `None` if they could not be looked up.
    fn decide(&mut self, submission: Submission<M>, known: Option<&HashMap<Hash, CommandRow>>) {
        let Submission {
            actor,
            key,
            command,
            span,
            reply,
        } = submission;
        if let Some(key) = &key {
            if let Some(pending) = self.pending.get(&key.id) {
                let answer = if pending.payload == key.payload {
                    Ok(Outcome::Done(Receipt {
                        replayed: true,
                        ..pending.receipt.clone()
                    }))
                } else {
                    Err(SubmitError::Conflict)
                };
                return self.open.held.push(Held {
                    reply,
                    answer,
                    span,
                });
            }
            let Some(known) = known else {
                let _ = reply.send(Err(SubmitError::Unavailable));
                return;
            };
            if let Some(row) = known.get(&key.id) {
                let _ = reply.send(if row.payload == key.payload {
                    Ok(Outcome::Before {
                        position: row.position,
                        events: row.events,
                    })
                } else {
                    Err(SubmitError::Conflict)
                });
                return;
            }
        }
        let context = Context {
            time: self.speculation.tail.clock((self.options.clock)()),
            actor,
            entropy: (self.options.entropy)(),
            secret: self.options.secret,
        };
        let answer = match self.events(
            &command,
            &context,
            key.as_ref().map(|key| key.text.as_str()),
        ) {
            Ok(receipt) => {
                if let Some(key) = key {
                    self.remember(key.id, key.payload, &receipt);
                }
                Ok(Outcome::Done(receipt))
            }
            Err(error) => Err(error),
        };
        self.open.held.push(Held {
            reply,
            answer,
            span,
        });
    }

    /// Decides and folds into the speculative state.
    fn events(
        &mut self,
        command: &M::Command,
        context: &Context,
        key: Option<&str>,
    ) -> Result<Receipt<M::Event>, SubmitError<M::Rejection>> {
        let Speculation { state, tail } = &mut self.speculation;
        // The state is only lent to `decide`, so a panic in it leaves the state whole.
        let decision =
            std::panic::catch_unwind(AssertUnwindSafe(|| M::decide(state, command, context)));
        let events = decision
            .map_err(|panic| {
                let text = panic_text(panic.as_ref());
                tracing::error!(panic = text, "decide panicked");
                SubmitError::Internal(format!("decide panicked: {text}"))
            })?
            .map_err(SubmitError::Rejected)?;
        let cause = key.map_or_else(|| command_ulid(context).to_string(), str::to_owned);
        let staged = tail
            .stage(events, context, &cause)
            .map_err(SubmitError::Unwritable)?;
        for event in &staged {
            if let Err(corrupt) = evolve::<M>(state, &event.recorded) {
                self.broken = true;
                tracing::error!(event = event.row.label, %corrupt, "the state refused an event decided on it");
                return Err(SubmitError::Internal(format!(
                    "the state refused an event decided on it: {corrupt}"
                )));
            }
        }
        tail.accept(&staged);
        Ok(self.open.add(staged))
    }

    fn remember(&mut self, id: Hash, payload: Hash, receipt: &Receipt<M::Event>) {
        let events = receipt.events.len() as u32;
        let position = receipt.head - receipt.events.len() as u64;
        self.open.commands.push(CommandRow {
            id,
            payload,
            position,
            events,
        });
        self.pending.insert(
            id,
            Pending {
                payload,
                receipt: receipt.clone(),
            },
        );
    }
}
