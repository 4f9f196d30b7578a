//! What the rules derive beside what the log has.

use aevir_events::{Event as _, Recorded};
use serde_json::Value;

use super::{Fault, Flaw};
use crate::{event::Event, ids::TaskId, ledger::LedgerAccount};

/// Characters of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 120;

/// The first place where the events of a batch are not those that the rules derive. `start` is where the batch begins.
pub(super) fn first_difference(
    mut expected: Vec<Event>,
    batch: &[&Recorded<Event>],
    start: u64,
) -> Option<Fault> {
    take_over_draws(&mut expected, batch);
    for (expected, found) in expected.iter().zip(batch) {
        if *expected != found.event {
            return Some(Fault {
                position: found.position,
                flaw: difference(expected, &found.event),
            });
        }
    }
    match (expected.get(batch.len()), batch.get(expected.len())) {
        (Some(missing), _) => Some(Fault {
            position: batch.last().map_or(start, |last| last.position + 1),
            flaw: Flaw::Missing {
                expected: missing.label(),
            },
        }),
        (None, Some(extra)) => Some(Fault {
            position: extra.position,
            flaw: Flaw::Uncalled {
                found: extra.event.label(),
            },
        }),
        (None, None) => None,
    }
}

fn difference(expected: &Event, found: &Event) -> Flaw {
    if expected.label() != found.label() {
        return Flaw::Another {
            expected: expected.label(),
            found: found.label(),
        };
    }
    let (pointer, expected, was) = first_field(&expected.to_data(), &found.to_data(), "");
    Flaw::Differs {
        label: found.label(),
        pointer,
        found: was,
        expected,
    }
}

/// The first field that differs, with both its values.
fn first_field(expected: &Value, found: &Value, pointer: &str) -> (String, String, String) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a
                .keys()
                .chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                let (x, y) = (a.get(name), b.get(name));
                if x != y {
                    return deeper(x, y, &format!("{pointer}/{name}"));
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for index in 0..a.len().max(b.len()) {
                let (x, y) = (a.get(index), b.get(index));
                if x != y {
                    return deeper(x, y, &format!("{pointer}/{index}"));
                }
            }
        }
        _ => {}
    }
    (
        pointer.to_owned(),
        shown(Some(expected)),
        shown(Some(found)),
    )
}

fn deeper(
    expected: Option<&Value>,
    found: Option<&Value>,
    pointer: &str,
) -> (String, String, String) {
    match (expected, found) {
        (Some(expected), Some(found)) => first_field(expected, found, pointer),
        (expected, found) => (pointer.to_owned(), shown(expected), shown(found)),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".into(),
        Some(value) => {
            let text = value.to_string();
            if text.chars().count() <= SHOWN_CHARS_MAX {
                return text;
            }
            text.chars()
                .take(SHOWN_CHARS_MAX)
                .chain("...".chars())
                .collect()
        }
    }
}

/// Gives ids and seeds that a decision drew those that the log has in their place. They are fresh, so that every
/// other appearance of them in the batch is the same thing.
fn take_over_draws(expected: &mut [Event], batch: &[&Recorded<Event>]) {
    let mut task: Option<(TaskId, TaskId)> = None;
    for (expected, found) in expected.iter_mut().zip(batch) {
        if let (Event::ReviewOpened(e), Event::ReviewOpened(f)) = (&mut *expected, &found.event) {
            e.review = f.review;
        } else if let (Event::InspectionOpened(e), Event::InspectionOpened(f)) =
            (&mut *expected, &found.event)
        {
            e.inspection = f.inspection;
        } else if let (Event::TaskCreated(e), Event::TaskCreated(f)) =
            (&mut *expected, &found.event)
        {
            task = Some((e.task, f.task));
            e.task = f.task;
            if e.definition.seed.is_none() {
                e.seed = f.seed;
            }
            if e.definition.nonce.is_none() {
                e.nonce = f.nonce;
            }
        } else if let (Event::LedgerPosted(e), Some((drawn, taken))) = (&mut *expected, task) {
            e.task = e.task.map(|id| if id == drawn { taken } else { id });
            for posting in &mut e.postings {
                if posting.account == LedgerAccount::Escrow(drawn) {
                    posting.account = LedgerAccount::Escrow(taken);
                }
            }
        } else if let (Event::TaskQueued(e), Some((drawn, taken))) = (&mut *expected, task) {
            if e.task == drawn {
                e.task = taken;
            }
        } else if let (Event::AccountOpened(e), Event::AccountOpened(f)) =
            (&mut *expected, &found.event)
        {
            e.account = f.account;
        } else if let (Event::NodeRegistered(e), Event::NodeRegistered(f)) =
            (&mut *expected, &found.event)
        {
            e.node = f.node;
        } else if let (Event::ContentRegistered(e), Event::ContentRegistered(f)) =
            (&mut *expected, &found.event)
        {
            e.content = f.content;
        } else if let (Event::WithdrawalRequested(e), Event::WithdrawalRequested(f)) =
            (&mut *expected, &found.event)
        {
            e.withdrawal = f.withdrawal;
        }
    }
    take_over_keys(expected, batch);
}

/// Keys come alone, as a batch's second event, after the account or node that they are for, or with a node's new signing key.
fn take_over_keys(expected: &mut [Event], batch: &[&Recorded<Event>]) {
    let (mut opened, mut joined) = (None, None);
    if let Some(Event::AccountOpened(account)) = batch.first().map(|r| &r.event) {
        opened = Some(account.account);
    }
    if let Some(Event::NodeRegistered(node)) = batch.first().map(|r| &r.event) {
        joined = Some(node.node);
    }
    for (expected, found) in expected.iter_mut().zip(batch) {
        if let (Event::KeyAdded(e), Event::KeyAdded(f)) = (expected, &found.event) {
            e.key = f.key;
            e.account = opened.unwrap_or(e.account);
            e.node = joined.or(e.node);
        }
    }
}
