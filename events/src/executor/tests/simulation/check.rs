//! What must hold at the end of every simulation: the log, the answers and what was read agree with the machine.
//!
//! The model is the toy bank itself, folded entry by entry: `states[n]` is what it was after `n` entries.

use std::collections::BTreeMap;

use ulid::Ulid;

use super::{callers::Attempt, store::Disk, world::World};
use crate::{
    Context, Machine as _, Receipt, Recorded, Request, SubmitError, Timestamp, canonical_hash,
    executor::{handle::command_id, tests::Submitted},
    toy::{Balances, Bank, Happened, Order, Refused},
};

/// The log, folded.
pub(super) struct Model<'a> {
    world: &'a World,
    disk: &'a Disk,
    entries: Vec<Recorded<Happened>>,
    states: Vec<Balances>,
}

/// What makes one command one: its actor, and its key if it has one.
type Identity = (String, Option<String>);

impl<'a> Model<'a> {
    /// Reads and folds what the disk has, and compares the columns beside the entries.
    pub(super) fn new(world: &'a World, disk: &'a Disk) -> Self {
        let mut model = Self {
            world,
            disk,
            entries: Vec::new(),
            states: vec![Balances::default()],
        };
        for row in disk.rows.values() {
            let recorded: Recorded<Happened> = row.entry.decode().unwrap();
            let columns = (row.position, row.id, &row.stream, row.revision, row.time);
            let Recorded {
                position,
                id,
                stream,
                revision,
                time,
                ..
            } = &recorded;
            if columns != (*position, *id, stream, *revision, *time) {
                world.violation(format_args!(
                    "the columns of {position} are not its entry's"
                ));
            }
            let mut state = model.states.last().unwrap().clone();
            if let Err(corrupt) = Bank::evolve(&mut state, &recorded) {
                world.violation(format_args!("position {position}: {corrupt}"));
            }
            model.entries.push(recorded);
            model.states.push(state);
        }
        model
    }

    /// What was read anywhere is what the log said up to there.
    pub(super) fn check_reads(&self, observed: &[(u64, Balances)], followed: &[Vec<Ulid>]) {
        for (size, state) in observed {
            if self.states.get(*size as usize) != Some(state) {
                self.world.violation(format_args!(
                    "the state read at size {size} is not the log's"
                ));
            }
        }
        let ids: Vec<Ulid> = self.entries.iter().map(|entry| entry.id).collect();
        for followed in followed {
            if *followed != ids {
                self.world
                    .violation("a follower did not see what the log has");
            }
        }
    }

    /// Every answer was true, and every command happened as often as was answered.
    pub(super) fn check_answers(&self, history: &[Attempt]) {
        let mut written: BTreeMap<Identity, Vec<usize>> = BTreeMap::new();
        for (position, entry) in self.entries.iter().enumerate() {
            let key = entry
                .actor
                .starts_with("account/")
                .then(|| entry.cause.clone());
            written
                .entry((entry.actor.clone(), key))
                .or_default()
                .push(position);
        }
        let mut asked: BTreeMap<Identity, Vec<&Attempt>> = BTreeMap::new();
        for attempt in history {
            let Request { actor, key, .. } = &attempt.request;
            asked
                .entry((actor.clone(), key.clone()))
                .or_default()
                .push(attempt);
            self.check_answer(attempt);
        }
        for (identity, positions) in &written {
            let attempts = asked.get(identity).map_or(&[][..], Vec::as_slice);
            self.check_written(identity, positions, attempts);
        }
        for (identity, attempts) in &asked {
            self.check_once(identity, attempts);
        }
        let keyed = |row: &&crate::CommandRow| row.events > 0;
        let groups = written.keys().filter(|(_, key)| key.is_some()).count();
        if self.disk.commands.values().filter(keyed).count() != groups {
            self.world
                .violation("the table of commands is not what the entries say");
        }
    }

    fn check_answer(&self, attempt: &Attempt) {
        let complain = |what: &str| {
            let Request {
                actor,
                key,
                command,
            } = &attempt.request;
            let about = format!("{actor} {key:?} {command:?}");
            self.world
                .violation(format_args!("{about}: {what}: {:?}", attempt.answer));
        };
        let Some(answer) = &attempt.answer else {
            return;
        };
        let order = &attempt.request.command;
        match answer {
            Ok(receipt) => self.check_receipt(attempt, receipt, &complain),
            Err(SubmitError::Rejected(refused)) => {
                let between = attempt.before as usize..=attempt.after as usize;
                let says = |state: &Balances| decide(state, order).as_ref() == Err(refused);
                if !self.states[between].iter().any(says) {
                    complain("the rejection was never true");
                }
            }
            Err(SubmitError::Conflict) => {
                let row = self.command(&attempt.request);
                if row.is_none_or(|row| row.payload == canonical_hash(order).unwrap()) {
                    complain("there is nothing that it conflicts with");
                }
            }
            Err(SubmitError::Internal(_))
                if matches!(order, Order::Panic | Order::Poison { .. }) => {}
            Err(SubmitError::Unwritable(_)) if matches!(order, Order::Unsafe) => {}
            Err(SubmitError::Internal(_) | SubmitError::Unwritable(_)) => {
                complain("not with this order")
            }
            Err(
                SubmitError::Busy
                | SubmitError::NotLeader
                | SubmitError::Unavailable
                | SubmitError::Unknown
                | SubmitError::Stopped,
            ) => {}
        }
    }

    /// A receipt's events are in the log, they are what the machine decides there, and they were written while the
    /// caller waited or, where it says so, before.
    fn check_receipt(
        &self,
        attempt: &Attempt,
        receipt: &Receipt<Happened>,
        complain: &dyn Fn(&str),
    ) {
        let count = receipt.events.len() as u64;
        let first = receipt.head - count;
        let there = self.entries.get(first as usize..receipt.head as usize);
        if !there.is_some_and(|there| there.iter().eq(receipt.events.iter().map(AsRef::as_ref))) {
            return complain("the receipt's events are not in the log");
        }
        if receipt.head > attempt.after || (!receipt.replayed && first < attempt.before) {
            complain("written at another time");
        }
        let decided = decide(&self.states[first as usize], &attempt.request.command);
        let happened = receipt
            .events
            .iter()
            .map(|event| without_ticket(&event.event));
        if decided != Ok(happened.collect()) {
            complain("not what the machine decides there");
        }
        if attempt.request.key.is_some() {
            let row = self.command(&attempt.request);
            let remembered = row.map(|row| (row.position, u64::from(row.events)));
            if remembered != Some((first, count)) {
                complain("the outcome is not remembered");
            }
        }
    }

    /// A command's events stand together, once, and are owned up to.
    fn check_written(&self, identity: &Identity, positions: &[usize], attempts: &[&Attempt]) {
        let together = positions.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let first = &self.entries[positions[0]];
        let one = positions
            .iter()
            .all(|&position| self.entries[position].cause == first.cause);
        let state = &self.states[positions[0]];
        let happened: Vec<_> = positions
            .iter()
            .map(|&n| without_ticket(&self.entries[n].event))
            .collect();
        let asked_for =
            |attempt: &&&Attempt| decide(state, &attempt.request.command).as_ref() == Ok(&happened);
        let owned_up = attempts
            .iter()
            .filter(asked_for)
            .any(|attempt| attempt.may_have_happened());
        if !(together && one && owned_up) {
            let answers: Vec<_> = attempts.iter().map(|attempt| &attempt.answer).collect();
            self.world.violation(format_args!(
                "{identity:?} at {positions:?} is not what was answered: {answers:?}"
            ));
        }
    }

    /// Of several attempts at one command at most one did it.
    fn check_once(&self, identity: &Identity, attempts: &[&Attempt]) {
        let done = |attempt: &&&Attempt| matches!(&attempt.answer, Some(Ok(r)) if !r.replayed && !r.events.is_empty());
        if attempts.iter().filter(done).count() > 1 {
            self.world
                .violation(format_args!("{identity:?} was done twice"));
        }
    }

    fn command(&self, request: &Request<Order>) -> Option<&crate::CommandRow> {
        let id = command_id(&request.actor, request.key.as_deref()?);
        self.disk.commands.get(&id)
    }
}

/// What the machine says, but for the tickets' numbers.
fn decide(state: &Balances, order: &Order) -> Result<Vec<Happened>, Refused> {
    if matches!(order, Order::Panic) {
        return Ok(vec![Happened::Poisoned]);
    }
    let context = Context {
        time: Timestamp(0),
        actor: String::new(),
        entropy: [0; 32],
        secret: crate::LeaderSecret([0; 32]),
    };
    let events = Bank::decide(state, order, &context)?;
    Ok(events.iter().map(without_ticket).collect())
}

fn without_ticket(event: &Happened) -> Happened {
    match event {
        Happened::TicketDrawn { .. } => Happened::TicketDrawn {
            ticket: Ulid::nil(),
        },
        other => other.clone(),
    }
}

/// The answer without what a debug print does not need.
pub(super) fn brief(answer: &Option<Submitted>) -> String {
    match answer {
        None => "nobody heard".to_owned(),
        Some(Ok(receipt)) => {
            let first = receipt.head - receipt.events.len() as u64;
            let again = if receipt.replayed { " again" } else { "" };
            format!("done{again} {first}..{}", receipt.head)
        }
        Some(Err(error)) => error.to_string(),
    }
}
