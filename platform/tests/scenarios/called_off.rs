//! What work is worth that is called off, and by which policy a task lives.

use aevir_platform::{
    amount::Amount,
    command::Command,
    ids::{AssignmentId, TaskId},
    policy::{Market, Policy},
};
use serde_json::json;

use crate::{
    sample::documents_agree,
    world::{World, labels, profile},
};

#[test]
fn a_run_earns_by_its_time_whoever_or_whatever_ends_it() {
    for expires in [false, true] {
        let mut w = World::new();
        let (staller, idle) = (w.node("staller"), w.node("idle"));
        let deadline = w.now.plus_ms(60_000).to_string();
        let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
        let task = w.task(json!({"verification": sampling, "limits": {"runtime_s": 600}, "qos": {"deadline": deadline}}));
        let leases = w.plan();
        let (begun, other) = (leases[0].1, leases.get(1).map(|l| l.1));
        w.start(begun);
        // It tells that it is nearly done, which is its own word.
        w.progress(begun, 990_000);
        let node = w.node_on(begun);
        w.later(60_000);
        if expires {
            w.ok(Command::Tick);
        } else {
            w.ok(Command::CancelTask {
                requester: w.requester,
                task,
            });
        }
        assert_eq!(w.phase(task), if expires { "expired" } else { "cancelled" });
        assert_eq!(
            w.available(w.owner(node)),
            100_000,
            "a tenth of the time, a tenth of the price"
        );
        let rest = [staller, idle].into_iter().find(|n| *n != node).unwrap();
        let drawn = i64::from(other.is_some());
        assert_eq!(
            w.available(w.owner(rest)),
            1_000 * drawn,
            "drawn, and not begun"
        );
        w.check_replay();
        documents_agree(&w, "by-time");
    }
}

#[test]
fn a_run_that_idles_until_the_deadline_earns_an_attempt_and_is_late() {
    // With five seconds to prepare 20 s of its own fit 25 s, and 21 do not.
    for (runtime_s, paid, late) in [(20, 1_000, 1_000), (21, 1_000_000, 0), (40, 625_000, 0)] {
        let mut w = World::new();
        let node = w.node("idle");
        let deadline = w.now.plus_ms(25_000).to_string();
        let task =
            w.task(json!({"limits": {"runtime_s": runtime_s}, "qos": {"deadline": deadline}}));
        let (_, run, _) = w.plan()[0];
        w.start(run);
        w.progress(run, 990_000);
        w.later(25_000);
        w.ok(Command::Tick);
        assert_eq!(w.phase(task), "expired");
        // Without time for all that it may take, it is paid for the time that it had.
        assert_eq!(w.available(w.owner(node)), paid);
        assert_eq!(w.outcomes(node), (0, late));
        w.check_replay();
        documents_agree(&w, "idle");
    }
}

/// Two of two, by a deadline; one has sealed something, and the other runs.
fn half_sealed(w: &mut World) -> (TaskId, crate::world::Run, AssignmentId) {
    for name in ["a", "b"] {
        w.node(name);
    }
    let deadline = w.now.plus_ms(60_000).to_string();
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    let task = w.task(json!({"verification": sampling, "limits": {"runtime_s": 600}, "qos": {"deadline": deadline}}));
    let leases = w.plan();
    let (first, second) = (leases[0].1, leases[1].1);
    w.start(first);
    w.start(second);
    w.later(6_000);
    let run = w.run(first, json!({}), &[]);
    w.commit(&run);
    (task, run, second)
}

#[test]
fn what_is_sealed_is_looked_at_before_it_expires() {
    for reveals in [false, true] {
        let mut w = World::new();
        let (task, run, second) = half_sealed(&mut w);
        let (sealed, other) = (run.report.node, w.node_on(second));
        w.later(54_000);
        let events = w.ok(Command::Tick);
        assert_eq!(
            labels(&events),
            ["task.round_closed", "assignment.withdrawn"]
        );
        assert_eq!(w.phase(task), "verifying");
        if reveals {
            w.reveal(&run);
        } else {
            w.later(i64::from(w.state.policy().unwrap().1.reveal_ms));
            w.ok(Command::Tick);
        }
        // Nothing agrees with it: it earns what an undecided sample pays, and nothing where it was never shown.
        assert_eq!(w.phase(task), "inconclusive");
        let paid = w.available(w.owner(sealed));
        assert_eq!(paid, if reveals { 1_000 } else { 0 });
        assert_eq!(w.outcomes(sealed).1, if reveals { 0 } else { 1_000 });
        assert_eq!(w.available(w.owner(other)), 1_000, "it had begun");
        w.check_replay();
        documents_agree(&w, "sealed-expired");
    }
}

#[test]
fn what_is_sealed_and_called_off_earns_by_the_time_that_it_took() {
    let mut w = World::new();
    let (task, run, _) = half_sealed(&mut w);
    w.later(24_000);
    let requester = w.requester;
    w.ok(Command::CancelTask { requester, task });
    // Six seconds of six hundred; the other thirty.
    let paid = w.available(w.owner(run.report.node));
    assert_eq!(paid, 10_000);
    w.check_replay();
    documents_agree(&w, "sealed-cancelled");
}

#[test]
fn drawing_again_costs_each_time() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let before = w.available(w.requester);
    for _ in 0..5 {
        let task = w.task(json!({}));
        w.plan();
        w.ok(Command::CancelTask {
            requester: w.requester,
            task,
        });
    }
    assert_eq!(before - w.available(w.requester), 5_000);
    w.check_replay();
}

#[test]
fn a_task_lives_by_the_market_that_it_was_created_in() {
    let policy = |market| Policy {
        market,
        ..Policy::default()
    };
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    let deadline = |w: &World| w.now.plus_ms(20_000).to_string();
    // Created in an open market, and then it turns private: its requester still can't confirm himself.
    let mut w = World::new();
    for name in ["own", "own too"] {
        w.node_of(w.requester, profile(name));
    }
    let qos = json!({"deadline": deadline(&w)});
    let open = w.task(json!({"verification": sampling, "qos": qos}));
    w.ok(Command::AdoptPolicy(policy(Market::Private)));
    assert!(w.plan().is_empty());
    let why = aevir_platform::schedule::why(&w.state, &w.state.tasks[&open], w.now);
    assert_eq!(why.refused.keys().next().unwrap().code(), "own-node");
    // Created in the private one, it may; also once the market is open again.
    let private = w.task(json!({"verification": sampling, "qos": qos}));
    w.ok(Command::AdoptPolicy(policy(Market::Open)));
    w.finish(private, |_| json!({}));
    assert_eq!((w.phase(private), w.phase(open)), ("settled", "queued"));
    assert!(w.log.iter().any(
        |r| matches!(&r.event, aevir_platform::event::Event::TaskSettled(e) if e.private_market)
    ));
    assert_eq!(
        w.state
            .ledger
            .balance(aevir_platform::ledger::LedgerAccount::Treasury),
        Amount(100_000)
    );
    w.check_replay();
    documents_agree(&w, "market-flip");
}

#[test]
fn a_sample_without_a_second_owner_ends_and_lets_its_node_go() {
    let mut w = World::new();
    let node = w.node("only");
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 3}]);
    let task = w.task(json!({"verification": sampling}));
    let (_, run, _) = w.plan()[0];
    w.start(run);
    let run = w.run(run, json!({}), &[]);
    w.commit(&run);
    w.ok(Command::LeaveMarket { node });
    w.later(86_400_000 - 1);
    w.ok(Command::Tick);
    assert_eq!(w.phase(task), "running");
    w.later(1);
    assert_eq!(w.state.next_due(), Some(w.now));
    let events = w.ok(Command::Tick);
    assert!(crate::world::labels(&events).contains(&"task.round_closed"));
    let events = w.reveal(&run);
    assert_eq!(crate::world::labels(&events)[1], "task.verified");
    assert_eq!(
        w.phase(task),
        "inconclusive",
        "and no further replica is waited for"
    );
    assert_eq!(w.available(w.owner(node)), 1_000);
    w.ok(Command::Tick);
    assert_eq!(w.state.nodes[&node].standing.name(), "left");
    w.check_replay();
    documents_agree(&w, "incomplete-round");
}

#[test]
fn why_tells_all_that_a_node_lacks_and_what_helps() {
    let mut w = World::new();
    let own = w.node_of(w.requester, profile("own"));
    let task = w.task(json!({"qos": {"cpu_cores": 512, "labels": {"region": "x"}, "gpu": {"memory_mib": 1 << 19, "features": ["subgroups"]}}}));
    let why = |w: &World| aevir_platform::schedule::why(&w.state, &w.state.tasks[&task], w.now);
    let codes = |w: &World| {
        let nearest = why(w).nearest.unwrap();
        nearest.iter().map(|r| r.reason.code()).collect::<Vec<_>>()
    };
    // Where there is only what can't help, it says so. The GPU is software, so that what is asked of it is too much for the machine, too.
    assert_eq!(
        codes(&w),
        [
            "label",
            "gpu-feature",
            "memory",
            "gpu-memory",
            "cpu-cores",
            "own-node"
        ]
    );
    // The one that lacks least: another needs no other owner.
    let other = w.node("other");
    assert_eq!(
        codes(&w),
        ["label", "gpu-feature", "memory", "gpu-memory", "cpu-cores"]
    );
    // What was drained is told so, and not that it is away.
    w.ok(Command::DrainNode { node: other });
    let availability = aevir_platform::command::Availability::Offline;
    for node in [own, other] {
        w.ok(Command::SetAvailability { node, availability });
    }
    let refused: Vec<_> = why(&w).refused.keys().map(|r| r.code()).collect();
    assert_eq!(refused, ["offline", "draining"]);
}
