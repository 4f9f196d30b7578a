//! The dispute window: what a verdict brings is pending until it has passed.

use aevir_platform::{
    command::Command,
    event::{Event, Track},
    ids::{AccountId, ContentId, TaskId},
    ledger::LedgerAccount,
    policy::{Policy, SettlementPolicy},
};
use serde_json::json;

use crate::{
    contents::{Offer, offered, using},
    market::dataset,
    sample::documents_agree,
    world::{WINDOW_MS, World, immediate, labels, windowed},
};

fn pending(w: &World, account: AccountId) -> i64 {
    w.state.ledger.balance(LedgerAccount::Pending(account)).0
}

/// A task of one replica that uses a content, settled; with its node's and its content's owner.
fn settled(w: &mut World) -> (TaskId, [AccountId; 2]) {
    let node = w.node("a");
    let content = dataset(w, "set", 1);
    let data = json!([{"name": "s", "from": {"content": {"id": content.to_string()}}}]);
    let task = w.task(json!({"data": data}));
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    (task, [w.owner(node), w.state.contents[&content].owner])
}

#[test]
fn shares_and_points_wait_for_the_windows_end() {
    let mut w = windowed();
    let (task, [runner, author]) = settled(&mut w);
    let ended = w.state.tasks[&task].ended_at.unwrap();
    let due = ended.plus_ms(WINDOW_MS.into());
    assert_eq!(w.state.tasks[&task].maturing(), Some(due));
    assert_eq!(
        [runner, author].map(|a| pending(&w, a)),
        [1_000_000, 100_000]
    );
    assert_eq!([runner, author].map(|a| w.available(a)), [0, 0]);
    assert!(w.state.points.is_empty());
    // The treasury's share and the refund are nobody's to dispute.
    assert_eq!(w.state.ledger.balance(LedgerAccount::Treasury).0, 50_000);
    w.now = due.plus_ms(-1);
    assert_eq!(w.ok(Command::Tick), []);
    assert_eq!(w.state.next_due(), Some(due));
    w.now = due;
    let events = w.ok(Command::Tick);
    assert_eq!(
        labels(&events),
        [
            "ledger.posted",
            "task.matured",
            "points.changed",
            "points.changed"
        ]
    );
    assert_eq!(w.state.tasks[&task].matured_at(), Some(due));
    assert_eq!(w.state.tasks[&task].maturing(), None);
    assert_eq!([runner, author].map(|a| pending(&w, a)), [0, 0]);
    assert_eq!(
        [runner, author].map(|a| w.available(a)),
        [1_000_000, 100_000]
    );
    // Half of 40: nobody repeated the result.
    assert_eq!(w.compute_points(runner), 20);
    assert_eq!(w.ok(Command::Tick), [], "once");
    w.check_replay();
    documents_agree(&w, "maturity");
}

#[test]
fn the_window_is_the_policys_under_which_the_task_was_created() {
    let mut w = windowed();
    w.node("a");
    let task = w.task(json!({}));
    w.ok(Command::AdoptPolicy(immediate()));
    w.finish(task, |_| json!({}));
    assert!(w.state.tasks[&task].maturing().is_some());
    w.later(600_000);
    w.ok(Command::Tick);
    let at_once = w.task(json!({}));
    w.finish(at_once, |_| json!({}));
    assert!(w.state.tasks[&at_once].matured_at().is_some());
    w.check_replay();
}

/// A tick matures what is due, in bounded parts, and what is not due costs it nothing.
#[test]
fn a_tick_matures_a_bounded_number_of_tasks() {
    let mut w = windowed();
    w.node("a");
    let tasks: Vec<TaskId> = (0..70)
        .map(|_| {
            let task = w.task(json!({}));
            w.finish(task, |_| json!({}));
            task
        })
        .collect();
    w.later(WINDOW_MS.into());
    let matured = |events: Vec<Event>| {
        let matured = events.iter().filter(|e| matches!(e, Event::TaskMatured(_)));
        matured.count()
    };
    assert_eq!(matured(w.ok(Command::Tick)), 64);
    assert!(w.state.next_due() <= Some(w.now), "the rest is due at once");
    assert_eq!(matured(w.ok(Command::Tick)), 6);
    assert!(
        tasks
            .iter()
            .all(|t| w.state.tasks[t].matured_at().is_some())
    );
    w.check_replay();
}

#[test]
fn a_node_leaves_once_its_results_have_matured() {
    let mut w = windowed();
    let (_, _) = settled(&mut w);
    let node = *w.state.nodes.keys().next().unwrap();
    w.ok(Command::LeaveMarket { node });
    assert_eq!(w.ok(Command::Tick), [], "its result may be disputed");
    w.later(WINDOW_MS.into());
    w.ok(Command::Tick);
    let events = w.ok(Command::Tick);
    assert!(labels(&events).contains(&"node.left"), "{events:?}");
    w.check_replay();
}

#[test]
fn what_waits_for_a_result_does_not_wait_for_its_maturity() {
    let mut w = windowed();
    w.node("a");
    let first = w.task(json!({}));
    let second = w.task(json!({"depends_on": [{"task": first.to_string()}]}));
    w.finish(first, |_| json!({}));
    w.ok(Command::Tick);
    assert_eq!(w.phase(second), "queued");
    w.check_replay();
}

#[test]
fn a_maturity_within_the_window_is_a_corrupt_log() {
    let mut w = windowed();
    let (task, _) = settled(&mut w);
    let mut early = w.log.last().unwrap().clone();
    early.event = aevir_platform::event::TaskMatured { task }.into();
    let error = aevir_platform::evolve(&mut w.state.clone(), &early).unwrap_err();
    assert!(
        error.to_string().contains("within its dispute window"),
        "{error}"
    );
}

#[test]
fn a_window_has_a_length_that_can_be_waited_for() {
    let mut w = World::new();
    let window_ms = 2_592_000_001;
    let policy = Policy {
        settlement: SettlementPolicy { window_ms },
        ..Policy::default()
    };
    assert_eq!(w.refused(Command::AdoptPolicy(policy)), "policy-invalid");
}

/// Most events of one command that a log takes.
const LOG_TAKES: usize = 10_000;

/// 256 accounts are paid by each of so many tasks that all of it would not fit one command.
#[test]
fn what_is_due_at_once_and_more_than_a_command_can_say_matures_in_several() {
    let mut w = windowed();
    w.node("a");
    let sets = (0..16).map(|n| {
        let accounts = (0..16).map(|m| (w.account(&format!("{n}.{m}")), 1));
        let contributors: Vec<(AccountId, u32)> = accounts.collect();
        let offer = Offer {
            contributors: &contributors,
            ..Offer::default()
        };
        offered(&mut w, contributors[0].0, &format!("set {n}"), &offer)
    });
    let sets: Vec<ContentId> = sets.collect();
    w.deposit(w.requester, 10_000_000_000);
    let economics =
        json!({"budget": "80000000", "pricing": {"mode": "fixed", "price": "60000000"}});
    let tasks = (0..40).map(|_| {
        let task = w.task(json!({"data": using(&sets), "economics": economics.clone()}));
        w.finish(task, |_| json!({}));
        task
    });
    let tasks: Vec<TaskId> = tasks.collect();
    w.later(WINDOW_MS.into());
    let mut all = 0;
    while w.state.next_due().is_some_and(|due| due <= w.now) {
        let events = w.ok(Command::Tick).len();
        assert!(events > 0 && events < LOG_TAKES, "{events} in one tick");
        all += events;
    }
    assert!(all > LOG_TAKES, "{all} in all");
    let matured = |task: &TaskId| w.state.tasks[task].matured_at().is_some();
    assert!(tasks.iter().all(matured));
    w.check_replay();
}

#[test]
fn who_has_parts_of_many_contents_earns_points_once_a_task() {
    let mut w = windowed();
    w.node("a");
    let author = w.account("author");
    let sets = ["one", "two", "three"].map(|name| offered(&mut w, author, name, &Offer::default()));
    let task = w.task(json!({"data": using(&sets)}));
    w.finish(task, |_| json!({}));
    w.later(WINDOW_MS.into());
    let events = w.ok(Command::Tick);
    assert_eq!(
        labels(&events),
        [
            "ledger.posted",
            "task.matured",
            "points.changed",
            "points.changed"
        ]
    );
    let points = w.state.points[&author];
    assert_eq!(points.thousandths_on(Track::Content), 10_000);
    documents_agree(&w, "many-contents");
}
