//! A task's life: waiting, running, losing nodes, being called off.

use aevir_platform::{
    CHECKPOINT_BYTES_MAX,
    command::{Availability, Command, FailureClass, LossReason, NodeProfile},
    ids::NodeId,
    schedule::{Refused, refusal},
    state::TASK_CHECKPOINT_BYTES_MAX,
};
use serde_json::json;

use crate::world::{AT_ONCE_MS, World, immediate, labels, profile, task_of};

fn sampled(quorum: u32, replicas: u32) -> serde_json::Value {
    json!([{"method": "sampling", "quorum": quorum, "replicas": replicas}])
}

#[test]
fn a_task_without_sampling_settles_on_one_nodes_word() {
    let mut w = World::new();
    let node = w.node("a");
    let task = w.task(json!({}));
    assert_eq!(w.phase(task), "queued");
    w.finish(task, |_| json!({"n": 1}));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.available(w.owner(node)), 1_000_000);
    assert!(w.state.tasks[&task].result_is_open());
    w.check_replay();
}

#[test]
fn a_task_waits_for_what_it_depends_on_and_gets_its_outputs() {
    let mut w = World::new();
    w.node("a");
    let first = w.task(json!({}));
    let second =
        w.task(json!({"depends_on": [{"task": first.to_string(), "output": "out", "as": "data"}]}));
    assert_eq!(w.phase(second), "created");
    w.finish(first, |_| json!({"n": 1}));
    assert_eq!(
        w.state.next_due(),
        Some(Default::default()),
        "a tick is due at once"
    );
    assert_eq!(labels(&w.ok(Command::Tick)), ["task.queued"]);
    assert_eq!(w.state.next_due(), w.state.epoch_due());
    let inputs = &w.state.tasks[&second].inputs;
    assert_eq!((inputs.len(), inputs[0].name.as_str()), (1, "data"));
    assert_eq!(
        inputs[0].digest,
        w.state.tasks[&first].output("out").unwrap().digest
    );
    w.finish(second, |_| json!({"n": 2}));
    w.check_replay();
}

#[test]
fn what_can_never_run_is_closed_and_refunded_down_the_chain() {
    let mut w = World::new();
    let before = w.available(w.requester);
    let first = w.task(json!({}));
    let depend =
        |on: &aevir_platform::ids::TaskId| json!({"depends_on": [{"task": on.to_string()}]});
    let second = w.task(depend(&first));
    let third = w.task(depend(&second));
    w.ok(Command::CancelTask {
        requester: w.requester,
        task: first,
    });
    w.ok(Command::Tick);
    w.ok(Command::Tick);
    for task in [first, second, third] {
        assert_eq!(w.phase(task), "cancelled");
    }
    assert_eq!(w.available(w.requester), before);
    assert_eq!(w.refused(w.submission(depend(&first))), "dependency-failed");
    w.check_replay();
}

#[test]
fn a_missing_output_of_a_dependency_closes_the_task() {
    let mut w = World::new();
    w.node("a");
    let first = w.task(json!({}));
    let second = w.task(json!({"depends_on": [{"task": first.to_string(), "output": "nothing"}]}));
    w.finish(first, |_| json!({}));
    w.ok(Command::Tick);
    assert_eq!(w.phase(second), "cancelled");
    let late = json!({"depends_on": [{"task": first.to_string(), "output": "nothing"}]});
    assert_eq!(w.refused(w.submission(late)), "definition-invalid");
}

#[test]
fn a_lost_lease_moves_the_task_and_the_late_node_is_refused() {
    let mut w = World::new();
    let (a, b) = (w.node("a"), w.node("b"));
    let task = w.task(json!({}));
    let (_, lost, first) = w.plan()[0];
    w.start(lost);
    let run = w.run(lost, json!({}), &[]);
    w.ok(Command::LoseLease {
        assignment: lost,
        reason: LossReason::Silent,
    });
    assert_eq!(w.phase(task), "queued");
    let (_, again, second) = w.plan()[0];
    assert_ne!(first, second, "the node that fell silent backs off");
    assert!([a, b].contains(&second));
    assert_eq!(w.refused(w.commit_command(&run)), "lease-ended");
    assert_eq!(
        w.refused(Command::Start {
            node: first,
            assignment: lost
        }),
        "lease-ended"
    );
    assert_eq!(
        w.refused(Command::Start {
            node: first,
            assignment: again
        }),
        "unknown-assignment"
    );
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.available(w.owner(first)), 0);
    w.check_replay();
}

#[test]
fn a_node_backs_off_longer_with_each_fault() {
    let mut w = World::new();
    let node = w.node("a");
    let task = w.task(json!({"retry": {"max_attempts": 16}}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let reason = LossReason::NotStarted;
    let lose = Command::LoseLease { assignment, reason };
    assert_eq!(w.refused(lose), "assignment-started", "who looked was late");
    w.ok(Command::GiveBack { node, assignment });
    w.heard_from(node);
    for wait_ms in [5_000, 10_000, 20_000] {
        let (_, assignment, _) = w.plan()[0];
        w.ok(Command::LoseLease {
            assignment,
            reason: LossReason::NotStarted,
        });
        w.heard_from(node);
        w.later(wait_ms - 1);
        let state = &w.state;
        assert_eq!(
            refusal(state, &state.tasks[&task], &state.nodes[&node], w.now),
            Some(Refused::BackingOff)
        );
        assert_eq!(w.plan(), []);
        w.later(1);
    }
    assert_eq!(w.plan().len(), 1);
}

#[test]
fn a_task_fails_when_its_attempts_are_spent() {
    let mut w = World::new();
    let nodes: Vec<_> = ["a", "b", "c", "d"].map(|n| w.node(n)).into();
    let before = w.available(w.requester);
    let task = w.task(json!({}));
    for attempt in 1..=3 {
        let (_, assignment, node) = w.plan()[0];
        w.start(assignment);
        let events = w.ok(Command::Fail {
            node,
            assignment,
            class: FailureClass::Trap,
            message: "unreachable".into(),
        });
        assert_eq!(labels(&events).contains(&"task.closed"), attempt == 3);
    }
    assert_eq!(w.phase(task), "failed");
    // Three owners say that the module traps: each attempt is paid, and nobody's reliability suffers.
    assert_eq!(w.available(w.requester), before - 3 * 1_000);
    assert!(nodes.iter().all(|n| w.outcomes(*n).1 == 0));
    w.check_replay();
}

#[test]
fn one_nodes_word_against_a_module_is_not_paid_and_contradiction_harms_it() {
    let mut w = World::new();
    w.node("a");
    w.node("b");
    let task = w.task(json!({}));
    let (_, assignment, liar) = w.plan()[0];
    w.start(assignment);
    w.ok(Command::Fail {
        node: liar,
        assignment,
        class: FailureClass::GuestError,
        message: "no".into(),
    });
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.outcomes(liar).1, 1_000);
    assert_eq!(w.available(w.owner(liar)), 0);
}

#[test]
fn cancelling_pays_for_work_done_and_returns_the_rest() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let before = w.available(w.requester);
    let verification = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]);
    let qos = json!({"max_latency_ms": AT_ONCE_MS});
    let task = w.task(json!({"verification": verification, "qos": qos}));
    let leases = w.plan();
    w.start(leases[0].1);
    w.later(60_000);
    let run = w.run(leases[0].1, json!({}), &[]);
    w.commit(&run);
    w.start(leases[1].1);
    // A quarter of the ten minutes that a run may take.
    w.later(150_000);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task,
    });
    assert_eq!(w.phase(task), "cancelled");
    assert_eq!(
        w.available(w.owner(leases[0].2)),
        100_000,
        "a sealed result earns by the time that it took, for nobody has looked at it"
    );
    assert_eq!(
        w.available(w.owner(leases[1].2)),
        250_000,
        "a run under way its part, for its log was there to be read"
    );
    assert_eq!(
        w.available(w.owner(leases[2].2)),
        1_000,
        "a lease that was not begun the attempt fee, for it was drawn"
    );
    assert_eq!(w.available(w.requester), before - 351_000);
    assert!(w.state.nodes.values().all(|n| n.active.is_empty()));
    assert_eq!(
        w.refused(Command::CancelTask {
            requester: w.requester,
            task
        }),
        "task-ended"
    );
    w.check_replay();
}

#[test]
fn a_deadline_expires_the_task_but_not_while_it_is_verified() {
    let mut w = World::new();
    let deadline = w.now.plus_ms(10_000).to_string();
    let task = w.task(json!({"qos": {"deadline": deadline}}));
    let second = w.task(json!({"qos": {"deadline": deadline}}));
    w.node("a");
    let (_, assignment, _) = w.plan()[0];
    let (held, other) = (w.state.task_of(assignment).unwrap().id, [task, second]);
    let other = other.into_iter().find(|t| *t != held).unwrap();
    w.start(assignment);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    w.later(10_000);
    assert_eq!(w.state.next_due(), Some(w.now));
    w.ok(Command::Tick);
    assert_eq!((w.phase(held), w.phase(other)), ("verifying", "expired"));
    w.reveal(&run);
    assert_eq!(w.phase(held), "settled");
    let past = json!({"qos": {"deadline": w.now.to_string()}});
    assert_eq!(w.refused(w.submission(past)), "definition-invalid");
    w.check_replay();
}

#[test]
fn checkpoints_are_resumed_from_only_where_nobody_has_to_confirm() {
    for (verification, resumes) in [(json!([]), true), (sampled(2, 3), false)] {
        let mut w = World::new();
        for name in ["a", "b", "c"] {
            w.node(name);
        }
        w.task(json!({"verification": verification}));
        let (_, assignment, node) = w.plan()[0];
        w.start(assignment);
        let checkpoint = aevir_platform::report::BlobRef {
            digest: aevir_platform::digest::Digest::of(b"weights"),
            size: aevir_platform::amount::Count(7),
        };
        w.ok(Command::SaveCheckpoint {
            node,
            assignment,
            checkpoint,
        });
        w.ok(Command::LoseLease {
            assignment,
            reason: LossReason::Silent,
        });
        let (_, next, _) = w.plan()[0];
        let lease = w.state.assignment(next).unwrap().1;
        assert_eq!(lease.resume, resumes.then_some(checkpoint));
        assert_eq!(lease.author, resumes.then_some(node));
        let mut run = w.run(next, json!({}), &[]);
        w.start(next);
        if resumes {
            run.report.resumed_from = None;
            w.commit(&run);
            assert_eq!(
                w.refused(crate::world::reveal_command(&run)),
                "report-invalid"
            );
        }
        w.check_replay();
    }
}

/// However many nodes work on it, one after the other: what was kept stays.
#[test]
fn the_checkpoints_of_a_task_have_a_limit_together() {
    let mut w = World::new();
    w.node("a");
    w.node("b");
    let task = w.task(json!({}));
    let save = |w: &World, assignment, size| Command::SaveCheckpoint {
        node: w.node_on(assignment),
        assignment,
        checkpoint: aevir_platform::report::BlobRef {
            digest: aevir_platform::digest::Digest::of(b"weights"),
            size: aevir_platform::amount::Count(size),
        },
    };
    let (_, first, _) = w.plan()[0];
    w.start(first);
    for _ in 0..TASK_CHECKPOINT_BYTES_MAX / CHECKPOINT_BYTES_MAX - 1 {
        w.ok(save(&w, first, CHECKPOINT_BYTES_MAX));
    }
    w.ok(save(&w, first, CHECKPOINT_BYTES_MAX - 1));
    w.ok(Command::LoseLease {
        assignment: first,
        reason: LossReason::Silent,
    });
    let (_, second, _) = w.plan()[0];
    w.start(second);
    assert_eq!(w.refused(save(&w, second, 2)), "checkpoints-full");
    w.ok(save(&w, second, 1));
    assert_eq!(w.refused(save(&w, second, 1)), "checkpoints-full");
    // The run itself is none the worse for it.
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    w.check_replay();
}

#[test]
fn placement_obeys_every_filter() {
    let mut w = World::new();
    let own = w.node_of(w.requester, profile("own"));
    let small = {
        let owner = w.account("small");
        w.node_of(
            owner,
            aevir_platform::command::NodeProfile {
                memory_mib: 100,
                ..profile("small")
            },
        )
    };
    let bare = {
        let owner = w.account("bare");
        w.node_of(
            owner,
            aevir_platform::command::NodeProfile {
                gpu: None,
                ..profile("bare")
            },
        )
    };
    let away = w.node("away");
    w.ok(Command::SetAvailability {
        node: away,
        availability: Availability::Offline,
    });
    let gpu = json!({"gpu": {"memory_mib": 512}});
    let task = w.task(json!({"qos": gpu}));
    let refused = |w: &World, node| {
        refusal(
            &w.state,
            &w.state.tasks[&task],
            &w.state.nodes[&node],
            w.now,
        )
    };
    assert_eq!(refused(&w, own), Some(Refused::OwnNode));
    assert_eq!(refused(&w, small), Some(Refused::Memory));
    assert_eq!(refused(&w, bare), Some(Refused::NoGpu));
    assert_eq!(refused(&w, away), Some(Refused::Offline));
    assert_eq!(w.plan(), []);
    let labelled = w.task(json!({"qos": {"labels": {"region": "north"}}}));
    let state = &w.state;
    assert_eq!(
        refusal(state, &state.tasks[&labelled], &state.nodes[&bare], w.now),
        Some(Refused::Label)
    );
    let fit = w.node("fit");
    assert_eq!(
        w.plan(),
        [(task, w.state.tasks[&task].active().next().unwrap().id, fit)]
    );
    assert_eq!(refused(&w, fit), Some(Refused::NoFreeSlot));
}

#[test]
fn gpu_replicas_stay_within_one_class_and_owners_apart() {
    let mut w = World::new();
    let owner = w.account("twin");
    w.node_of(owner, profile("twin-1"));
    w.node_of(owner, profile("twin-2"));
    let of_class = |name: &str, class: &str, memory_mib: u32| {
        let mut profile = profile(name);
        profile.gpu.as_mut().unwrap().class = class.into();
        profile.memory_mib = memory_mib;
        profile
    };
    let mut join = |profile: NodeProfile| {
        let owner = w.account(&profile.name);
        w.node_of(owner, profile)
    };
    let other = join(of_class("other", "class-b", 1_024));
    // They are there, and too small.
    let small = ["class-a", "class-b"].map(|class| join(of_class(class, class, 64)));
    let grow = |w: &mut World, node: NodeId, class: &str| {
        let profile = Box::new(of_class(class, class, 1_024));
        w.ok(Command::ChangeProfile { node, profile });
    };
    let qos = json!({"gpu": {}, "max_latency_ms": AT_ONCE_MS});
    w.task(json!({"qos": qos, "verification": sampled(2, 2)}));
    let leases = w.plan();
    assert_eq!(
        leases.len(),
        1,
        "the twin has the owner, the other the class against it"
    );
    let mut classes = [(small[0], "class-a"), (small[1], "class-b")];
    if leases[0].2 == other {
        classes.reverse();
    }
    let [(of_first, class), (of_none, another)] = classes;
    grow(&mut w, of_none, another);
    assert!(w.plan().is_empty());
    grow(&mut w, of_first, class);
    assert_eq!(w.plan()[0].2, of_first);
}

#[test]
fn a_private_market_has_no_owner_filters() {
    let policy = aevir_platform::policy::Policy {
        market: aevir_platform::policy::Market::Private,
        ..immediate()
    };
    let mut w = World::with_policy(policy);
    for name in ["one", "two"] {
        w.node_of(w.requester, profile(name));
    }
    let command = w.submission(json!({"verification": sampled(2, 3)}));
    let task = task_of(&w.ok(command));
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
}

#[test]
fn a_node_gets_no_more_than_its_memory_and_storage_hold() {
    let mut w = World::new();
    let owner = w.account("roomy");
    let roomy = aevir_platform::command::NodeProfile {
        slots: 8,
        cpu_cores: 8,
        ..profile("roomy")
    };
    w.node_of(owner, roomy);
    for _ in 0..8 {
        w.task(json!({}));
    }
    // 1,024 MiB of memory hold four runs of 256 MiB, within one plan and over several.
    assert_eq!(w.plan().len(), 4);
    assert_eq!(w.plan(), []);
    let bulky = w.task(json!({"limits": {"memory_mib": 1, "output_mib": 10_200}}));
    let node = w.state.nodes.values().next().unwrap();
    let refused = refusal(&w.state, &w.state.tasks[&bulky], node, w.now);
    assert_eq!(refused, Some(Refused::Memory));
}
