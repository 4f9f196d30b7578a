//! What stood alone matures once something vouches for it: a later result of its node that a draw had repeated, or a second look.

use aevir_platform::{
    amount::Amount,
    command::Command,
    event::{Event, ReviewCause, ReviewOutcome},
    ids::{AccountId, NodeId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    state::Review,
};
use serde_json::{Value, json};

use crate::{
    adaptive::{NEVER, adaptive, policy, staked},
    sample::documents_agree,
    world::{WINDOW_MS, World, labels},
};

const AEV: i64 = 1_000_000;
/// What looking at a lone result again may cost: two replicas and three attempts.
const AGAIN: i64 = 2 * AEV + 3_000;
const ALWAYS: u32 = 1_000_000;

/// Newcomers are trusted, repeated with such a chance, and must be vouched for.
pub fn vouched(chance_ppm: u32) -> Policy {
    let mut policy = policy(chance_ppm);
    policy.verification.adaptive.vouched = true;
    policy
}

/// Four nodes of four owners, each with a stake of 20 AEV.
fn world(chance_ppm: u32) -> (World, [NodeId; 4]) {
    let mut w = World::with_policy(vouched(chance_ppm));
    let nodes = ["a", "b", "c", "d"].map(|name| staked(&mut w, name));
    (w, nodes)
}

fn truth(_: NodeId) -> Value {
    json!({"n": "truth"})
}

/// Plans where nothing runs, and has one replica of a task run and sealed, and revealed if it is the round's last.
pub fn finish_one(w: &mut World, task: TaskId, result: &Value) {
    if w.state.tasks[&task].active().next().is_none() {
        w.plan();
    }
    let assignment = w.state.tasks[&task].active().next().unwrap().id;
    w.start(assignment);
    let run = w.run(assignment, result.clone(), &[]);
    w.commit(&run);
    if w.phase(task) == "verifying" {
        w.reveal_all(task, |_| result.clone());
    }
}

/// A task whose verdict rests on this node's word, or at least begins with it.
fn by(w: &mut World, node: NodeId, nodes: &[NodeId], result: &Value) -> TaskId {
    let task = w.task(adaptive());
    let others = || nodes.iter().filter(|other| **other != node);
    let drain = |node: &NodeId| Command::DrainNode { node: *node };
    let resume = |node: &NodeId| Command::ResumeNode { node: *node };
    others().for_each(|node| drop(w.ok(drain(node))));
    finish_one(w, task, result);
    others().for_each(|node| drop(w.ok(resume(node))));
    w.finish(task, |_| result.clone());
    assert_eq!(w.phase(task), "settled");
    task
}

fn pending(w: &World, account: AccountId) -> i64 {
    w.state.ledger.balance(LedgerAccount::Pending(account)).0
}

fn finished(w: &World, name: &str) {
    w.check_replay();
    documents_agree(w, name);
}

/// Plans, and has what was placed run, until all of these have ended.
fn finish_all(w: &mut World, tasks: &[TaskId]) {
    while tasks.iter().any(|t| !w.state.tasks[t].phase.is_final()) {
        let leased = w.plan();
        assert!(!leased.is_empty());
        for (task, assignment, _) in leased {
            w.start(assignment);
            let run = w.run(assignment, truth(w.node_on(assignment)), &[]);
            w.commit(&run);
            if w.phase(task) == "verifying" {
                w.reveal_all(task, truth);
            }
        }
    }
}

/// Lets the window pass, and says what the ticks of that time bring.
fn window_over(w: &mut World) -> Vec<Event> {
    w.later(WINDOW_MS.into());
    let mut events = Vec::new();
    while w.state.next_due().is_some_and(|due| due <= w.now) {
        let more = w.ok(Command::Tick);
        assert!(!more.is_empty());
        events.extend(more);
    }
    events
}

#[test]
fn what_nothing_vouches_for_is_repeated_when_its_time_comes_and_its_requester_pays() {
    let (mut w, nodes) = world(NEVER);
    let (before, node) = (w.available(w.requester), nodes[0]);
    let task = by(&mut w, node, &nodes, &truth(node));
    let fee = AEV + AEV / 20;
    let held = w.state.tasks[&task].settlement.as_ref().unwrap().held;
    assert_eq!(held, Amount(AGAIN));
    assert_eq!(pending(&w, w.requester), AGAIN);
    assert_eq!(before - w.available(w.requester), fee + AGAIN);
    let events = window_over(&mut w);
    assert!(labels(&events).contains(&"task.review_opened"));
    assert_eq!(w.state.tasks[&task].matured_at(), None, "it waits");
    let review = w.state.tasks[&task].review.by().unwrap();
    assert_eq!(
        w.state.stake(node).0,
        20 * AEV - AGAIN,
        "the node advances it"
    );
    w.finish(review, truth);
    assert_eq!(w.state.tasks[&review].replicas(), 1, "both words agree");
    window_over(&mut w);
    assert!(w.state.tasks[&task].matured_at().is_some());
    assert_eq!(w.state.stake(node).0, 20 * AEV, "it has it back");
    assert_eq!(w.available(w.owner(node)), AEV);
    assert_eq!(pending(&w, w.requester), 0);
    let paid = before - w.available(w.requester);
    assert_eq!(paid, fee + AEV, "as if a draw had had it repeated");
    finished(&w, "unvouched");
}

#[test]
fn a_lie_that_nothing_vouches_for_never_matures() {
    let (mut w, nodes) = world(NEVER);
    let (before, cheat) = (w.available(w.requester), nodes[0]);
    let lie = json!({"n": "lie"});
    let tasks = [0, 1, 2].map(|_| by(&mut w, cheat, &nodes, &lie));
    window_over(&mut w);
    let reviews = tasks.map(|task| w.state.tasks[&task].review.by().unwrap());
    finish_all(&mut w, &reviews);
    window_over(&mut w);
    for task in tasks {
        assert_eq!(w.phase(task), "overturned");
        let ended = &w.state.tasks[&task].review;
        assert!(matches!(
            ended,
            Review::Ended {
                outcome: ReviewOutcome::Overturned,
                ..
            }
        ));
    }
    assert_eq!(w.available(w.owner(cheat)), 0);
    assert_eq!(w.state.stake(cheat).0, 20 * AEV - 3 * 3 * AEV + 3 * 3_000);
    let paid = before - w.available(w.requester);
    assert_eq!(paid, 0, "it has back all that it paid");
    assert_eq!(pending(&w, w.requester), 0);
    finished(&w, "never-vouched");
}

/// The sample that the one word began ends without a quorum: nobody is paid for the result, and nobody is blamed.
#[test]
fn what_nobody_confirms_is_not_paid_and_its_node_has_back_what_it_advanced() {
    let (mut w, nodes) = world(NEVER);
    let (before, node) = (w.available(w.requester), nodes[0]);
    let task = by(&mut w, node, &nodes, &truth(node));
    window_over(&mut w);
    let review = w.state.tasks[&task].review.by().unwrap();
    assert_eq!(w.state.stake(node).0, 20 * AEV - AGAIN);
    w.finish(review, |of| json!({"n": of.to_string()}));
    window_over(&mut w);
    assert_eq!(
        (w.phase(review), w.phase(task)),
        ("inconclusive", "overturned")
    );
    let ended = &w.state.tasks[&task].review;
    assert!(matches!(
        ended,
        Review::Ended {
            outcome: ReviewOutcome::Unconfirmed,
            ..
        }
    ));
    assert_eq!(w.state.stake(node).0, 20 * AEV);
    assert_eq!(
        (pending(&w, w.owner(node)), w.available(w.owner(node))),
        (0, 0)
    );
    assert_eq!(
        (w.state.nodes[&node].pledges.strikes, w.outcomes(node).1),
        (0, 0)
    );
    // Two attempts of the second look are all that it cost.
    assert_eq!(before - w.available(w.requester), 2_000);
    assert_eq!(pending(&w, w.requester), 0);
    finished(&w, "unvouched-unconfirmed");
}

/// A result that a draw had repeated stands: what its node had sealed before is vouched for, and what it seals later is not.
#[test]
fn a_later_result_that_a_draw_had_repeated_vouches_for_those_before() {
    let (mut w, nodes) = world(NEVER);
    let node = nodes[0];
    let earlier = [0, 1].map(|_| by(&mut w, node, &nodes, &truth(node)));
    w.later(1_000);
    w.ok(Command::AdoptPolicy(vouched(ALWAYS)));
    let drawn = by(&mut w, node, &nodes, &truth(node));
    assert!(w.state.tasks[&drawn].trusted().is_some());
    w.later(1_000);
    w.ok(Command::AdoptPolicy(vouched(NEVER)));
    let later = by(&mut w, node, &nodes, &truth(node));
    let events = window_over(&mut w);
    let opened: Vec<TaskId> = events
        .iter()
        .filter_map(|event| match event {
            Event::ReviewOpened(e) => {
                assert_eq!(e.cause, ReviewCause::Unvouched { node });
                Some(e.task)
            }
            _ => None,
        })
        .collect();
    assert_eq!(opened, [later]);
    for task in earlier {
        assert!(w.state.tasks[&task].matured_at().is_some());
    }
    // As if nothing had waited.
    let held: i64 = pending(&w, w.requester);
    assert_eq!(held, AGAIN, "of the later one alone");
    let review = w.state.tasks[&later].review.by().unwrap();
    w.finish(review, truth);
    window_over(&mut w);
    finished(&w, "vouched");
}

/// A second look vouches for what was sealed before it, too: the oldest that is due comes first, and costs no more than itself.
#[test]
fn one_tick_opens_so_many_reviews_and_the_next_one_more() {
    let (mut w, nodes) = world(NEVER);
    // More stake, so that ten results stand alone.
    let node = nodes[0];
    let account = w.owner(node);
    w.deposit(account, 30 * AEV);
    w.ok(Command::Stake {
        account,
        node,
        amount: Amount(30 * AEV),
    });
    let tasks: Vec<TaskId> = (0..10)
        .map(|_| by(&mut w, node, &nodes, &truth(node)))
        .collect();
    w.later(WINDOW_MS.into());
    let count = |events: &[Event]| {
        let opened = events
            .iter()
            .filter(|e| matches!(e, Event::ReviewOpened(_)));
        opened.count()
    };
    let first = w.ok(Command::Tick);
    let second = w.ok(Command::Tick);
    assert_eq!((count(&first), count(&second)), (8, 2));
    let reviews: Vec<TaskId> = tasks
        .iter()
        .map(|task| w.state.tasks[task].review.by().unwrap())
        .collect();
    finish_all(&mut w, &reviews);
    window_over(&mut w);
    let matured = tasks
        .iter()
        .all(|t| w.state.tasks[t].matured_at().is_some());
    assert!(matured);
    assert_eq!(w.state.stake(node).0, 50 * AEV);
    finished(&w, "many-unvouched");
}

/// Without a window nothing is held, for nothing could be looked at in time.
#[test]
fn without_a_window_nothing_waits() {
    let mut policy = vouched(NEVER);
    policy.settlement.window_ms = 0;
    let mut w = World::with_policy(policy);
    let nodes = ["a", "b", "c", "d"].map(|name| staked(&mut w, name));
    let task = by(&mut w, nodes[0], &nodes, &truth(nodes[0]));
    assert!(w.state.tasks[&task].matured_at().is_some());
    assert_eq!(pending(&w, w.requester), 0);
    finished(&w, "no-window");
}

/// A review that nobody can run in time leaves the verdict as it was, and the requester has what it did not cost.
#[test]
fn a_second_look_that_nobody_takes_holds_up_no_longer_than_a_review_may_take() {
    let (mut w, nodes) = world(NEVER);
    let (before, node) = (w.available(w.requester), nodes[0]);
    let task = by(&mut w, node, &nodes, &truth(node));
    for other in &nodes[1..] {
        w.ok(Command::DrainNode { node: *other });
    }
    window_over(&mut w);
    let review_ms = w.state.policy().unwrap().1.verification.review_ms;
    w.later(review_ms.into());
    window_over(&mut w);
    assert!(w.state.tasks[&task].matured_at().is_some());
    assert_eq!(before - w.available(w.requester), AEV + AEV / 20);
    assert_eq!(w.state.stake(node).0, 20 * AEV);
    finished(&w, "unvouched-in-vain");
}
