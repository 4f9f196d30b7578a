//! Whose turn it is, and who gets it: priorities, quotas, rare needs, data that is there already.

use aevir_platform::{command::Command, ids::TaskId, policy::AccountLimits};
use serde_json::json;

use crate::world::{World, immediate, profile};

#[test]
fn priority_orders_a_requesters_own_tasks_and_waiting_outweighs_it() {
    let mut w = World::new();
    let old = w.task(json!({}));
    w.later(30_000);
    let urgent = w.task(json!({"qos": {"priority": 1}}));
    w.later(31_000);
    // A minute's wait is worth one step.
    let late = w.task(json!({"qos": {"priority": 1}}));
    let owner = w.account("owner");
    w.node_of(owner, profile("only"));
    let mut order = Vec::new();
    for _ in 0..3 {
        let (task, assignment, _) = w.plan()[0];
        order.push(task);
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[]);
        w.commit(&run);
    }
    assert_eq!(order, [urgent, old, late]);
    let command = w.submission(json!({"qos": {"priority": 10}}));
    assert_eq!(w.refused(command), "definition-invalid");
}

#[test]
fn quotas_bound_what_an_account_has_at_once() {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let account = w.requester;
    let limits = AccountLimits {
        weight: 100,
        tasks_max: 4,
        running_max: 2,
    };
    w.ok(Command::SetLimits { account, limits });
    for _ in 0..4 {
        w.task(json!({}));
    }
    let command = w.submission(json!({}));
    assert_eq!(w.refused(command), "too-many-tasks");
    assert_eq!(w.plan().len(), 2);
    assert_eq!(w.plan().len(), 0);
    let limits = AccountLimits {
        weight: 0,
        ..limits
    };
    assert_eq!(
        w.refused(Command::SetLimits { account, limits }),
        "limits-invalid"
    );
}

#[test]
fn a_task_with_rare_needs_gets_its_node_among_many_others() {
    let mut w = World::new();
    let mut big = profile("big");
    big.memory_mib = 4_096;
    let owner = w.account("owner");
    let rare = w.node_of(owner, big);
    w.node("small");
    for _ in 0..50 {
        w.task(json!({}));
    }
    let needy = w.task(json!({"limits": {"memory_mib": 2_000}}));
    let mut placed_after = 0;
    while w.phase(needy) == "queued" {
        let leases = w.plan();
        assert!(!leases.is_empty(), "it is never passed over for good");
        for (task, assignment, node) in leases {
            if task == needy {
                assert_eq!(node, rare);
            }
            placed_after += 1;
            w.start(assignment);
            w.later(1_000);
            let run = w.run(assignment, json!({}), &[]);
            w.commit(&run);
            w.reveal(&run);
        }
    }
    assert!(placed_after <= 51);
}

#[test]
fn data_that_a_node_has_draws_further_tasks_to_it() {
    let mut policy = immediate();
    policy.scheduling.score.cached_bytes_min = aevir_platform::amount::Count(4);
    policy.scheduling.score.near_levels = 0;
    policy.scheduling.score.cached_levels = 64;
    let mut w = World::with_policy(policy);
    for i in 0..6 {
        w.node(&format!("node {i}"));
    }
    let data = json!([{"name": "a", "from": {"inline": "some bytes"}}]);
    let first = w.task(json!({"data": data}));
    w.finish(first, |_| json!({}));
    let had = |w: &World, task: TaskId| {
        w.state.tasks[&task]
            .assignments
            .values()
            .next()
            .unwrap()
            .node
    };
    let node = had(&w, first);
    assert_eq!(w.state.nodes[&node].cached.len(), 1);
    for _ in 0..4 {
        let task = w.task(json!({"data": data}));
        w.finish(task, |_| json!({}));
        assert_eq!(had(&w, task), node);
    }
    w.check_replay();
}
