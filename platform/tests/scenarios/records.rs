//! Records: outcomes count on the hardware that a run was leased for, fade with every epoch, and rank nodes.

use aevir_platform::{
    amount::Count,
    command::{Command, FailureClass, NodeProfile},
    definition::TaskType,
    ids::{AssignmentId, NodeId, TaskId},
    policy::Policy,
    state::{HardwareClass, Tally},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{AT_ONCE_MS, World, immediate, profile, reveal_command},
};

const KIND: TaskType = TaskType::DataProcessing;

fn of_class(name: &str, class: &str) -> NodeProfile {
    let mut profile = profile(name);
    profile.gpu.as_mut().unwrap().class = class.into();
    profile
}

fn gpu(class: &str) -> HardwareClass {
    HardwareClass::Gpu(class.into())
}

fn tally(good: u64, bad: u64) -> Tally {
    Tally { good, bad }
}

/// A task that needs a GPU, leased and begun.
fn on_gpu(w: &mut World) -> (TaskId, AssignmentId, NodeId) {
    w.task(json!({"qos": {"gpu": {}}}));
    let leased = w.plan()[0];
    w.start(leased.1);
    leased
}

fn finish(w: &mut World, assignment: AssignmentId) {
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    w.reveal(&run);
}

fn fail(w: &mut World, assignment: AssignmentId) {
    let node = w.node_on(assignment);
    let (class, message) = (FailureClass::HostError, "no".into());
    w.ok(Command::Fail {
        node,
        assignment,
        class,
        message,
    });
}

fn change(w: &mut World, node: NodeId, profile: NodeProfile) {
    let profile = Box::new(profile);
    w.ok(Command::ChangeProfile { node, profile });
}

/// So many epochs of an hour pass.
fn epochs(w: &mut World, count: u32) {
    for _ in 0..count {
        w.later(3_600_000);
        w.ok(Command::Tick);
    }
}

#[test]
fn an_outcome_counts_on_the_hardware_that_the_run_was_leased_for() {
    let mut w = World::new();
    let node = w.node("a");
    let (_, assignment, _) = on_gpu(&mut w);
    // Its driver changes while the run lasts.
    change(&mut w, node, of_class("a", "class-b"));
    finish(&mut w, assignment);
    w.task(json!({}));
    let (_, plain, _) = w.plan()[0];
    w.start(plain);
    finish(&mut w, plain);
    let (task, next, _) = on_gpu(&mut w);
    fail(&mut w, next);
    let requester = w.requester;
    w.ok(Command::CancelTask { requester, task });
    let found = &w.state.nodes[&node];
    assert_eq!(found.tally(KIND, &gpu("class-a")), tally(1_000, 0));
    assert_eq!(found.tally(KIND, &gpu("class-b")), tally(0, 1_000));
    assert_eq!(found.tally(KIND, &HardwareClass::Cpu), tally(1_000, 0));
    w.check_replay();
}

/// A requester chose the hardware, and pays for it: what another made, or the same in another profile, is no result of this lease.
#[test]
fn a_result_of_other_hardware_than_the_lease_was_for_is_refused() {
    for (definition, class, refused) in [
        (json!({"qos": {"gpu": {}}}), "class-a", false),
        (json!({"qos": {"gpu": {}}}), "class-b", true),
        (json!({"qos": {"gpu": {}}}), "cpu", true),
        (json!({"qos": {"gpu": {}}}), "class-a+fast/1", true),
        (json!({}), "cpu", false),
        (json!({}), "class-a", true),
        (json!({"runtime": "fast/1"}), "cpu+fast/1", false),
        (json!({"runtime": "fast/1"}), "cpu", true),
    ] {
        let mut w = World::new();
        w.node("a");
        w.task(definition);
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        let mut run = w.run(assignment, json!({}), &[]);
        run.report.class = class.into();
        w.commit(&run);
        match refused {
            true => assert_eq!(w.refused(reveal_command(&run)), "report-invalid", "{class}"),
            false => drop(w.reveal(&run)),
        }
        w.check_replay();
    }
}

#[test]
fn another_class_begins_a_record_and_ends_no_back_off() {
    let mut w = World::new();
    let node = w.node("a");
    let (_, assignment, _) = on_gpu(&mut w);
    fail(&mut w, assignment);
    let until = w.state.nodes[&node].backoff_until(KIND);
    assert!(until > w.now);
    change(&mut w, node, of_class("a", "class-b"));
    assert_eq!(w.state.nodes[&node].backoff_until(KIND), until);
    w.task(json!({"qos": {"gpu": {}}}));
    assert_eq!(w.plan(), [], "it backs off on every class");
    w.task(json!({"type": "training"}));
    assert_eq!(w.plan().len(), 1, "and on no other type");
    w.check_replay();
}

#[test]
fn replicas_stay_on_the_class_that_the_first_was_leased_for() {
    let mut w = World::new();
    let first = w.node("first");
    // It is there, and too small.
    let owner = w.account("of the small one");
    let small = NodeProfile {
        memory_mib: 64,
        ..of_class("small", "class-a")
    };
    w.node_of(owner, small);
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    let qos = json!({"gpu": {}, "max_latency_ms": AT_ONCE_MS});
    w.task(json!({"qos": qos, "verification": sampling}));
    assert_eq!(w.plan().len(), 1);
    change(&mut w, first, of_class("first", "class-b"));
    let owner = w.account("of the second");
    let second = w.node_of(owner, of_class("second", "class-b"));
    assert_eq!(w.plan(), [], "it has begun on another class");
    change(&mut w, second, of_class("second", "class-a"));
    let placed = w.plan();
    assert_eq!(placed.len(), 1);
    assert_eq!(placed[0].2, second);
}

#[test]
fn outcomes_fade_with_every_epoch_that_closes() {
    let mut w = World::new();
    let node = w.node("a");
    let (_, assignment, _) = on_gpu(&mut w);
    finish(&mut w, assignment);
    assert_eq!(w.outcomes(node), (1_000, 0));
    epochs(&mut w, 1);
    assert_eq!(w.outcomes(node), (995, 0));
    epochs(&mut w, 2);
    // 995, 990, 985: each is rounded down.
    assert_eq!(w.outcomes(node), (985, 0));
    // A policy of another day fades otherwise, from the next closing on.
    let mut policy = Policy::default();
    policy.scheduling.reliability_keep_ppm = 500_000;
    w.ok(Command::AdoptPolicy(policy));
    assert_eq!(w.outcomes(node), (985, 0));
    epochs(&mut w, 2);
    assert_eq!(w.outcomes(node), (246, 0));
    let (_, next, _) = on_gpu(&mut w);
    finish(&mut w, next);
    assert_eq!(w.outcomes(node), (1_246, 0));
    epochs(&mut w, 11);
    assert_eq!(w.outcomes(node), (0, 0), "nothing is left");
    w.check_replay();
}

#[test]
fn the_rank_goes_by_the_class_that_the_task_needs() {
    let mut policy = Policy::default();
    // Only the best are drawn among.
    policy.scheduling.score.near_levels = 0;
    let mut w = World::with_policy(policy);
    let [good, other] = ["good", "other"].map(|name| w.node(name));
    let available = |w: &mut World, node, is: bool| {
        let availability = if is {
            aevir_platform::command::Availability::Online
        } else {
            aevir_platform::command::Availability::Offline
        };
        w.ok(Command::SetAvailability { node, availability });
    };
    available(&mut w, other, false);
    for _ in 0..8 {
        let (_, assignment, _) = on_gpu(&mut w);
        finish(&mut w, assignment);
    }
    available(&mut w, good, false);
    available(&mut w, other, true);
    for _ in 0..8 {
        w.task(json!({}));
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        finish(&mut w, assignment);
    }
    available(&mut w, good, true);
    for _ in 0..4 {
        let (_, assignment, node) = on_gpu(&mut w);
        assert_eq!(node, good);
        finish(&mut w, assignment);
        w.task(json!({}));
        let (_, assignment, node) = w.plan()[0];
        assert_eq!(node, other);
        w.start(assignment);
        finish(&mut w, assignment);
    }
    w.check_replay();
}

#[test]
fn starts_of_runs_bring_all_nodes_up_to_date_eight_at_a_time() {
    let mut w = World::new();
    let nodes: Vec<NodeId> = (0..20).map(|n| w.node(&format!("node {n}"))).collect();
    for _ in 0..20 {
        w.task(json!({}));
    }
    for (_, assignment, _) in w.plan() {
        w.start(assignment);
        finish(&mut w, assignment);
    }
    epochs(&mut w, 1);
    let up_to_date = |w: &World| {
        let closed = w.state.epochs.fading.closed;
        let nodes = nodes.iter().map(|node| &w.state.nodes[node]);
        nodes.filter(|node| node.faded == closed).count()
    };
    assert_eq!(up_to_date(&w), 0);
    for expected in [8, 16, 20, 20] {
        w.task(json!({}));
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        assert_eq!(up_to_date(&w), expected);
    }
    // Who joined meanwhile is up to date, and comes after the others in the next round.
    let new = w.node("new");
    assert_eq!(w.state.nodes[&new].faded, 1);
    epochs(&mut w, 1);
    for expected in [8, 16, 20] {
        assert_eq!(w.state.nodes[&new].faded, 1);
        w.task(json!({}));
        let (_, assignment, _) = w.plan()[0];
        w.start(assignment);
        assert_eq!(up_to_date(&w), expected);
    }
    assert_eq!(w.state.nodes[&new].faded, 2);
    w.check_replay();
}

#[test]
fn a_policy_keeps_between_half_and_all() {
    let mut w = World::new();
    for (keep_ppm, is_fine) in [
        (499_999, false),
        (500_000, true),
        (1_000_000, true),
        (1_000_001, false),
    ] {
        let mut policy = Policy::default();
        policy.scheduling.reliability_keep_ppm = keep_ppm;
        let adopted = w.submit(Command::AdoptPolicy(policy));
        assert_eq!(adopted.is_ok(), is_fine, "{keep_ppm}");
    }
}

/// A failure that a node takes on itself counts when the task ends: if another managed, or only one owner's nodes failed.
#[test]
fn whose_fault_a_host_error_was_shows_when_the_task_ends() {
    let fail = |w: &mut World| {
        let (_, assignment, node) = w.plan()[0];
        w.start(assignment);
        fail(w, assignment);
        assert_eq!(w.outcomes(node).1, 0, "not yet");
        let backoff = w.state.nodes[&node].records[&KIND].backoff;
        assert!(backoff.backoff_until > w.now, "it backs off at once");
        node
    };
    // Nobody manages, and nodes of two owners fail: it says as much of the module as of them.
    let mut w = World::new();
    let nodes = ["a", "b"].map(|name| w.node(name));
    let task = w.task(json!({"retry": {"max_attempts": 2}}));
    let (_, _) = (fail(&mut w), fail(&mut w));
    assert_eq!(w.phase(task), "failed");
    assert_eq!(nodes.map(|node| w.outcomes(node).1), [0, 0]);
    w.check_replay();
    documents_agree(&w, "host-errors-of-two-owners");

    // Another manages: it was the node.
    let mut w = World::new();
    w.node("a");
    w.node("b");
    let task = w.task(json!({}));
    let failed = fail(&mut w);
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.outcomes(failed).1, 1_000);
    w.check_replay();
    documents_agree(&w, "host-error-of-one");

    // One owner's nodes alone, and a task that is called off after them.
    let mut w = World::new();
    let first = w.node("a");
    let owner = w.owner(first);
    w.node_of(owner, profile("b"));
    let task = w.task(json!({}));
    let nodes = [fail(&mut w), fail(&mut w)];
    w.ok(Command::CancelTask {
        requester: w.requester,
        task,
    });
    assert_eq!(nodes.map(|node| w.outcomes(node).1), [1_000, 1_000]);
    w.check_replay();
    documents_agree(&w, "host-errors-of-one-owner");
}

/// Runs a task that pays so, and answers what its node has shown by it: good outcomes, samples of its speed, and runs at once beyond one.
fn shown_for(policy: Policy, economics: &Value) -> (u64, u32, u32) {
    let mut w = World::with_policy(policy);
    let wide = NodeProfile {
        slots: 4,
        cpu_cores: 4,
        ..profile("wide")
    };
    let owner = w.account("owner");
    let node = w.node_of(owner, wide);
    let task = w.task(json!({"economics": economics}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    w.later(10_000);
    let mut run = w.run(assignment, json!({}), &[]);
    run.report.usage.fuel = Count(20_000_000_000);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(task), "settled");
    w.check_replay();
    documents_agree(&w, "what-earns-nothing");
    let found = &w.state.nodes[&node];
    (
        w.outcomes(node).0,
        found.speed.samples,
        found.concurrency - 1,
    )
}

/// Made-up work of a second account would else make any record for nothing.
#[test]
fn what_earns_its_node_too_little_shows_nothing_of_it() {
    let mut policy = immediate();
    policy.scheduling.unproven_slots = 1;
    let fixed =
        |price: &str| json!({"budget": "9000000", "pricing": {"mode": "fixed", "price": price}});
    let (all, nothing) = ((1_000, 1, 1), (0, 0, 0));
    assert_eq!(shown_for(policy.clone(), &fixed("0")), nothing);
    assert_eq!(shown_for(policy.clone(), &fixed("999")), nothing);
    assert_eq!(shown_for(policy.clone(), &fixed("1000")), all);
    // What it could have earned says nothing.
    let by_use = |base: &str| {
        let pricing =
            json!({"mode": "metered", "base": base, "per_gfuel": "1", "max_price": "1000000"});
        json!({"budget": "9000000", "pricing": pricing})
    };
    assert_eq!(shown_for(policy.clone(), &by_use("979")), nothing);
    assert_eq!(shown_for(policy.clone(), &by_use("980")), all);
    // Where one owner runs everything there is nobody to deceive.
    let mut private = Policy::private();
    private.scheduling.unproven_slots = 1;
    assert_eq!(shown_for(private, &fixed("0")), all);
}

/// Bad outcomes count as ever.
#[test]
fn who_fails_what_pays_nothing_has_failed() {
    let mut w = World::new();
    let node = w.node("a");
    let economics = json!({"budget": "9000000", "pricing": {"mode": "fixed", "price": "0"}});
    let task = w.task(json!({"economics": economics}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    fail(&mut w, assignment);
    let requester = w.requester;
    w.ok(Command::CancelTask { requester, task });
    assert_eq!(w.outcomes(node), (0, 1_000));
    w.check_replay();
}
