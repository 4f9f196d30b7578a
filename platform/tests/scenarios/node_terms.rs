//! The terms of nodes: each holds for what is placed from then on.

use aevir_platform::{
    command::Command, digest::Digest, event::Event, ids::NodeId, policy::Policy, schedule::Refused,
};
use serde_json::{Value, json};

use crate::{
    nodes::why,
    sample::documents_agree,
    world::{World, labels, profile},
};

fn set(w: &mut World, node: NodeId, terms: Value) -> Vec<&'static str> {
    labels(&w.ok(terms_of(node, terms)))
}

fn terms_of(node: NodeId, terms: Value) -> Command {
    let terms = Box::new(serde_json::from_value(terms).unwrap());
    Command::ChangeTerms { node, terms }
}

#[test]
fn a_task_outside_a_nodes_terms_is_not_placed_on_it() {
    let mut w = World::new();
    let owner = w.account("a");
    let mut hardware = profile("a");
    hardware.gpu.as_mut().unwrap().software = false;
    let node = w.node_of(owner, hardware);
    let gpu = json!({"qos": {"gpu": {"memory_mib": 256}}});
    let (requester, module) = (w.requester.to_string(), w.module.to_string());
    let other = Digest::of(b"other").to_string();
    // The world's clock stands at Tuesday 22:13, minute 2,773.
    let rows = [
        (
            json!({"caps": {"memory_mib": 255}}),
            json!({}),
            Refused::Memory,
        ),
        (
            json!({"caps": {"storage_mib": 255}}),
            json!({}),
            Refused::Storage,
        ),
        (
            json!({"caps": {"gpu_memory_mib": 255}}),
            gpu.clone(),
            Refused::GpuMemory,
        ),
        (json!({"caps": {"runs": 0}}), json!({}), Refused::NoRuns),
        (
            json!({"caps": {"cpu_cores": 0}}),
            json!({}),
            Refused::NoRuns,
        ),
        (
            json!({"hours": [{"from_min": 0, "to_min": 2_773}]}),
            json!({}),
            Refused::Hours,
        ),
        (
            json!({"asks": {"data-processing": "1000001"}}),
            json!({}),
            Refused::Price,
        ),
        (
            json!({"requesters": {"deny": [requester]}}),
            json!({}),
            Refused::RequesterDenied,
        ),
        (
            json!({"modules": {"deny": [module]}}),
            json!({}),
            Refused::ModuleDenied,
        ),
        (
            json!({"modules": {"allow": [other]}}),
            json!({}),
            Refused::ModuleDenied,
        ),
    ];
    for (terms, task, refused) in rows {
        assert_eq!(set(&mut w, node, terms.clone()), ["node.terms_changed"]);
        let task = w.task(task);
        assert_eq!(why(&w, task, node), Some(refused), "{terms}");
        assert!(w.plan().is_empty(), "{terms}");
        w.ok(Command::CancelTask {
            requester: w.requester,
            task,
        });
    }
    let fits = [
        json!({"caps": {"memory_mib": 256, "storage_mib": 320, "gpu_memory_mib": 256, "runs": 1, "cpu_cores": 1}}),
        // More than the machine has is no more than it has.
        json!({"caps": {"memory_mib": 4_000_000_000_u32, "runs": 256}}),
        json!({"hours": [{"from_min": 2_773, "to_min": 2_774}]}),
        json!({"asks": {"data-processing": "1000000", "training": "9000000"}}),
        json!({"requesters": {"allow": [requester]}, "modules": {"allow": [module]}}),
        json!({}),
    ];
    for terms in fits {
        set(&mut w, node, terms.clone());
        let task = w.task(gpu.clone());
        assert_eq!(why(&w, task, node), None, "{terms}");
        w.finish(task, |_| json!({}));
    }
    w.check_replay();
}

#[test]
fn new_terms_leave_what_has_begun_alone() {
    let mut w = World::new();
    let node = w.node("a");
    let task = w.task(json!({}));
    let assignment = w.plan()[0].1;
    let closed =
        json!({"caps": {"memory_mib": 1, "runs": 0}, "hours": [{"from_min": 0, "to_min": 1}]});
    set(&mut w, node, closed.clone());
    assert!(
        set(&mut w, node, closed).is_empty(),
        "the same terms are no event"
    );
    w.start(assignment);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.state.nodes[&node].free_slots(), 0);
    // Hours end by time alone.
    set(
        &mut w,
        node,
        json!({"hours": [{"from_min": 2_774, "to_min": 2_775}]}),
    );
    w.task(json!({}));
    assert!(w.plan().is_empty());
    w.later(60_000);
    assert_eq!(w.plan().len(), 1);
    w.check_replay();
}

#[test]
fn terms_must_make_sense() {
    let mut w = World::new();
    let node = w.node("a");
    let many = |n: usize| -> Vec<Value> {
        (0..n)
            .map(|n| json!(Digest::of(&n.to_be_bytes()).to_string()))
            .collect()
    };
    let windows = |n: u16| -> Vec<Value> {
        (0..n)
            .map(|n| json!({"from_min": 10 * n, "to_min": 10 * n + 5}))
            .collect()
    };
    for bad in [
        json!({"hours": [{"from_min": 5, "to_min": 5}]}),
        json!({"hours": [{"from_min": 10_000, "to_min": 10_081}]}),
        json!({"hours": [{"from_min": 600, "to_min": 700}, {"from_min": 0, "to_min": 100}]}),
        json!({"hours": [{"from_min": 0, "to_min": 100}, {"from_min": 100, "to_min": 200}]}),
        json!({"hours": windows(65)}),
        json!({"asks": {"training": "-1"}}),
        json!({"asks": {"training": "1000000000001"}}),
        json!({"modules": {"allow": many(257)}}),
        json!({"modules": {"deny": many(257)}}),
    ] {
        let command = terms_of(node, bad.clone());
        assert_eq!(w.refused(command), "node-terms-invalid", "{bad}");
    }
    // All lists at their fullest still fit one entry of the log.
    let accounts = |from: u128| -> Vec<Value> {
        (from..from + 256)
            .map(|n| json!(ulid::Ulid::from_parts(u64::MAX >> 16, n).to_string()))
            .collect()
    };
    let hours: Vec<Value> = (0..64u16)
        .map(|n| json!({"from_min": 150 * n + 1, "to_min": 150 * n + 150}))
        .collect();
    set(
        &mut w,
        node,
        json!({
            "caps": {"cpu_cores": u32::MAX, "memory_mib": u32::MAX, "gpu_memory_mib": u32::MAX, "storage_mib": u32::MAX, "runs": u32::MAX},
            "hours": hours,
            "asks": {"training": "1000000000000", "inference": "1000000000000", "evaluation": "1000000000000", "data-processing": "1000000000000"},
            "requesters": {"allow": accounts(0), "deny": accounts(1_000)},
            "modules": {"allow": many(256), "deny": many(256)},
        }),
    );
    let entry = aevir_events::Entry::encode(w.log.last().unwrap()).unwrap();
    assert!(entry.0.len() <= 65_535, "{}", entry.0.len());
}

#[test]
fn who_asks_for_less_comes_first() {
    let mut policy = Policy::default();
    policy.scheduling.score.near_levels = 0;
    // Of six levels, 40 % of the price leave three, as 35 % do, and 30 % four.
    let rows = [
        (["400000", "1000000"], 1, Some(0)),
        (["600000", "0"], 1, Some(1)),
        (["400000", "300000"], 1, Some(1)),
        (["400000", "350000"], 2, None),
        // One that asks for more than there is takes no such task.
        (["1000001", "1000000"], 1, Some(1)),
    ];
    for (asks, candidates, first) in rows {
        let mut w = World::with_policy(policy.clone());
        let nodes = ["a", "b"].map(|name| w.node(name));
        for (node, ask) in nodes.into_iter().zip(asks) {
            set(&mut w, node, json!({"asks": {"data-processing": ask}}));
        }
        w.task(json!({}));
        let node = w.plan()[0].2;
        let Event::AssignmentLeased(lease) = &w.log.last().unwrap().event else {
            panic!("a plan leases")
        };
        assert_eq!(
            lease.draw.as_ref().unwrap().candidates,
            candidates,
            "{asks:?}"
        );
        assert!(first.is_none_or(|first| nodes[first] == node), "{asks:?}");
        documents_agree(&w, "asks");
    }
}
