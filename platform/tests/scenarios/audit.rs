//! The recomputation explains every honest log, and names the first event of a dishonest one that it can't explain.

use std::sync::Arc;

use aevir_events::{Event as _, Recorded};
use aevir_platform::{
    amount::{Amount, Points},
    audit::{Fault, Sealed},
    command::Availability,
    event::{Event, PostingReason, Verdict},
    hexbytes::Hex,
    json::Json,
};
use serde_json::json;

use crate::{
    sample::eventful,
    world::{World, profile, recompute},
};

/// The position of the first event that `pick` chooses.
fn position(log: &[Recorded<Event>], pick: impl Fn(&Event) -> bool) -> usize {
    log.iter().position(|r| pick(&r.event)).unwrap()
}

/// Changes one event; the position of the fault, and what it says.
fn tampered(change: impl FnOnce(&mut Vec<Recorded<Event>>) -> usize) -> (usize, Fault) {
    let mut log = eventful().log;
    let at = change(&mut log);
    (at, recompute(&log).unwrap_err())
}

#[test]
fn an_eventful_log_is_explained_to_the_last_event() {
    let world = eventful();
    let (counts, sealed) = recompute(&world.log).unwrap();
    assert_eq!(counts.events, world.log.len() as u64);
    let of = |label: &str| {
        world
            .log
            .iter()
            .filter(|r| r.event.label() == label)
            .count() as u64
    };
    assert_eq!(counts.verdicts, of("task.verified"));
    assert_eq!(counts.closures, of("task.closed"));
    assert_eq!(counts.points, of("points.changed"));
    assert_eq!(counts.leases, of("assignment.leased"));
    assert_eq!(counts.tasks, of("task.created"));
    assert_eq!(sealed.len() as u64, of("assignment.committed"));
    assert!(counts.verdicts > 5 && counts.closures > 3);
    assert_eq!(counts.draws + counts.draws_open, counts.leases);
    assert!(counts.draws > 5 && counts.draws_open > 0, "{counts:?}");
    // One task names its own seed, and those that look at another's verdict or result have that one's.
    assert_eq!(counts.seeds_taken, counts.tasks - 3);
    for seal in &sealed {
        seal.verify().unwrap();
        let false_one = Sealed {
            signature: Hex([7; 64]),
            ..*seal
        };
        false_one.verify().unwrap_err();
    }
}

/// Whoever gives a command in somebody else's name is found out at its first event.
#[test]
fn a_command_of_somebody_who_may_not_give_it_is_not_explained() {
    let log = eventful().log;
    let stranger = "account/01HF7YAT00ZZZZZZZZZZZZZZZZ";
    let mut at = 0;
    while at < log.len() {
        let (actor, cause) = (log[at].actor.clone(), log[at].cause.clone());
        let end = at + log[at..].iter().take_while(|r| r.cause == cause).count();
        let others = [
            stranger,
            "node/01HF7YAT00ZZZZZZZZZZZZZZZZ",
            "system",
            "nobody",
        ];
        for other in others.into_iter().filter(|other| *other != actor) {
            // The platform's own process takes off a node that is silent.
            let off = matches!(&log[at].event, Event::AvailabilityChanged(e) if e.availability == Availability::Offline);
            if other == "system" && off {
                continue;
            }
            let mut log = log.clone();
            for recorded in &mut log[at..end] {
                recorded.actor = other.to_owned();
            }
            let fault = recompute(&log).unwrap_err();
            let label = log[at].event.label();
            assert_eq!(fault.position, at as u64, "{label} by {other}: {fault}");
            assert!(
                fault.to_string().contains("may not give"),
                "{label} by {other}: {fault}"
            );
        }
        at = end;
    }
}

/// The thief takes from the requester's refund; the sum is still zero, and `task.settled` can be made to fit.
#[test]
fn a_share_that_is_moved_within_a_settlement_is_found() {
    let (at, fault) = tampered(|log| {
        let at = position(
            log,
            |e| matches!(e, Event::LedgerPosted(p) if p.reason == PostingReason::Settlement),
        );
        let Event::LedgerPosted(posted) = &mut log[at].event else {
            unreachable!()
        };
        let last = posted.postings.len() - 1;
        posted.postings[1].amount = Amount(posted.postings[1].amount.0 + 5);
        posted.postings[last].amount = Amount(posted.postings[last].amount.0 - 5);
        at
    });
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("/postings/1/amount"), "{fault}");
}

#[test]
fn points_that_nobody_earned_are_found() {
    let (at, fault) = tampered(|log| {
        let at = position(log, |e| matches!(e, Event::PointsChanged(_)));
        let Event::PointsChanged(changed) = &mut log[at].event else {
            unreachable!()
        };
        changed.delta = Points(changed.delta.0 + 1);
        at
    });
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("/delta"), "{fault}");
}

#[test]
fn an_event_that_is_left_out_or_added_is_found() {
    let (at, fault) = tampered(|log| {
        let at = position(log, |e| matches!(e, Event::PointsChanged(_)));
        log.remove(at);
        at
    });
    assert!(fault.position as usize >= at, "{fault}");
    let (at, fault) = tampered(|log| {
        let at = position(log, |e| matches!(e, Event::PointsChanged(_)));
        let mut again = log[at].clone();
        again.cause = "a command of its own".into();
        let end = log.len();
        again.position = end as u64;
        log.push(again);
        end
    });
    assert_eq!(fault.position as usize, at);
    assert!(
        fault
            .to_string()
            .contains("nothing calls for this `points.changed`"),
        "{fault}"
    );
}

#[test]
fn a_verdict_that_the_reveals_do_not_carry_is_found() {
    let (at, fault) = tampered(|log| {
        let at = position(
            log,
            |e| matches!(e, Event::TaskVerified(v) if v.verdict == Verdict::Unmet),
        );
        let Event::TaskVerified(verified) = &mut log[at].event else {
            unreachable!()
        };
        verified.verdict = Verdict::Passed;
        at
    });
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("/verdict"), "{fault}");
}

#[test]
fn an_escrow_of_another_size_is_found() {
    let (at, fault) = tampered(|log| {
        let at = position(log, |e| matches!(e, Event::TaskCreated(_)));
        let Event::TaskCreated(created) = &mut log[at].event else {
            unreachable!()
        };
        created.escrow = Amount(created.escrow.0 - 1);
        at
    });
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("/escrow"), "{fault}");
}

#[test]
fn a_definition_that_is_not_the_digests_is_found() {
    let (at, fault) = tampered(|log| {
        let at = position(log, |e| matches!(e, Event::TaskCreated(_)));
        let Event::TaskCreated(created) = &mut log[at].event else {
            unreachable!()
        };
        Arc::make_mut(&mut created.definition).params = Json::of(&json!({"other": true}));
        at
    });
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("/definition_digest"), "{fault}");
}

#[test]
fn a_lease_of_a_node_that_was_not_eligible_is_found() {
    let mut w = World::new();
    let (good, slow) = (w.account("good"), w.account("slow"));
    let good = w.node_of(good, profile("good"));
    let small = aevir_platform::command::NodeProfile {
        memory_mib: 1,
        ..profile("slow")
    };
    let slow = w.node_of(slow, small);
    w.task(json!({}));
    assert_eq!(w.plan()[0].2, good);
    let at = position(&w.log, |e| matches!(e, Event::AssignmentLeased(_)));
    recompute(&w.log).unwrap();
    let Event::AssignmentLeased(lease) = &mut w.log[at].event else {
        unreachable!()
    };
    lease.node = slow;
    let fault = recompute(&w.log).unwrap_err();
    assert_eq!(fault.position as usize, at);
    assert!(
        fault.to_string().contains("was not eligible") && fault.to_string().contains("memory"),
        "{fault}"
    );
}

#[test]
fn a_replica_that_was_not_placed_though_a_node_was_free_is_found() {
    let mut w = World::new();
    for name in ["a", "b"] {
        w.node(name);
    }
    w.task(json!({}));
    w.task(json!({}));
    assert_eq!(w.plan().len(), 2);
    w.log.pop();
    let fault = recompute(&w.log).unwrap_err();
    assert_eq!(fault.position as usize, w.log.len());
    assert!(fault.to_string().contains("was left out"), "{fault}");
}

#[test]
fn a_log_that_ends_within_a_command_lacks_what_follows() {
    let log = eventful().log;
    let at = position(&log, |e| matches!(e, Event::AccountOpened(_)));
    let fault = recompute(&log[..=at]).unwrap_err();
    assert_eq!(fault.position as usize, at + 1);
    let at = position(&log, |e| matches!(e, Event::TaskSettled(_)));
    let fault = recompute(&log[..=at]).unwrap_err();
    assert_eq!(fault.position as usize, at + 1);
    assert!(fault.to_string().contains("which the log lacks"), "{fault}");
}

#[test]
fn a_result_that_is_not_the_reports_is_found() {
    let (at, fault) = tampered(|log| {
        let at = position(
            log,
            |e| matches!(e, Event::AssignmentRevealed(r) if r.published.is_some()),
        );
        let Event::AssignmentRevealed(revealed) = &mut log[at].event else {
            unreachable!()
        };
        revealed.published = Some(json!({"n": 99}));
        at
    });
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("the rules refuse"), "{fault}");
}

/// Who hands work back for ever is not spared by the log.
#[test]
fn a_return_that_is_counted_otherwise_is_found() {
    let (at, fault) = tampered(|log| {
        let at = position(log, |e| matches!(e, Event::AssignmentReturned(_)));
        let Event::AssignmentReturned(returned) = &mut log[at].event else {
            unreachable!()
        };
        returned.counted = !returned.counted;
        at
    });
    assert_eq!(fault.position as usize, at);
    assert!(fault.to_string().contains("/counted"), "{fault}");
}
