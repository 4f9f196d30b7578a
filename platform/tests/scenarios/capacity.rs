//! What a machine has is shared by its runs: GPU memory and cores as memory and storage.

use aevir_platform::{
    command::{Command, GpuProfile, NodeProfile},
    ids::NodeId,
    schedule::{Refused, refusal, why},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, profile},
};

/// A machine with room for more than its cores and its GPU's memory, in which the tests run out of those.
fn machine(name: &str, slots: u32, cpu_cores: u32) -> NodeProfile {
    NodeProfile {
        slots,
        cpu_cores,
        memory_mib: 4_096,
        storage_mib: 65_536,
        gpu: profile(name).gpu.map(|gpu| GpuProfile {
            memory_mib: 8_192,
            ..gpu
        }),
        ..profile(name)
    }
}

fn with_machine(slots: u32, cpu_cores: u32) -> (World, NodeId) {
    let mut w = World::new();
    let owner = w.account("owner");
    let node = w.node_of(owner, machine("m", slots, cpu_cores));
    (w, node)
}

fn on_gpu(memory_mib: u32) -> Value {
    json!({"qos": {"gpu": {"memory_mib": memory_mib}}})
}

#[test]
fn gpu_memory_is_given_out_once() {
    let (mut w, node) = with_machine(4, 4);
    for _ in 0..3 {
        w.task(on_gpu(4_096));
    }
    let placed = w.plan();
    assert_eq!(placed.len(), 2, "two times 4 GiB of 8");
    let waits = w.task(on_gpu(1));
    let reason = |w: &World| {
        let task = &w.state.tasks[&waits];
        refusal(&w.state, task, &w.state.nodes[&node], w.now)
    };
    assert_eq!(reason(&w), Some(Refused::GpuMemory));
    let nearest = why(&w.state, &w.state.tasks[&waits], w.now).nearest;
    assert_eq!(
        nearest.unwrap()[0].help,
        "wait until other runs of the node end"
    );
    w.start(placed[0].1);
    let run = w.run(placed[0].1, json!({}), &[]);
    w.commit(&run);
    assert_eq!(reason(&w), None);
    assert_eq!(w.state.nodes[&node].taken.gpu_memory_mib, 4_096);
    documents_agree(&w, "gpu-capacity");
    w.check_replay();
}

#[test]
fn cores_are_given_out_once_and_bound_the_runs() {
    let (mut w, node) = with_machine(8, 4);
    assert_eq!(
        w.state.nodes[&node].offered_slots(),
        4,
        "a run takes a core"
    );
    let wide = w.task(json!({"qos": {"cpu_cores": 3}}));
    for _ in 0..3 {
        w.task(json!({"limits": {"memory_mib": 64}}));
    }
    let placed = w.plan();
    assert_eq!(placed.len(), 2, "three cores, and one");
    assert!(placed.iter().any(|(task, ..)| *task == wide));
    assert_eq!(w.state.nodes[&node].taken.cpu_cores, 4);
    documents_agree(&w, "cores");
    w.check_replay();
}

#[test]
fn what_a_run_does_not_take_is_not_lacking() {
    let (mut w, node) = with_machine(4, 4);
    w.task(on_gpu(8_192));
    assert_eq!(w.plan().len(), 1);
    // The runs under way take more of the new GPU than it has.
    let mut changed = machine("m", 4, 4);
    changed.gpu.as_mut().unwrap().memory_mib = 4_096;
    let profile = Box::new(changed);
    w.ok(Command::ChangeProfile { node, profile });
    w.task(on_gpu(1));
    let on_cpu = w.task(json!({}));
    let placed = w.plan();
    assert_eq!(placed.len(), 1);
    assert_eq!(placed[0].0, on_cpu);
    documents_agree(&w, "gpu-changed");
    w.check_replay();
}

#[test]
fn the_nearest_node_is_the_one_that_only_needs_time() {
    let mut w = World::new();
    for n in 0..2 {
        let owner = w.account(&format!("other {n}"));
        w.node_of(owner, profile(&format!("other {n}")));
    }
    let owner = w.account("owner");
    let mut labelled = machine("labelled", 1, 4);
    labelled.labels.insert("hall".into(), "r".into());
    w.node_of(owner, labelled);
    let terms = json!({"qos": {"labels": {"hall": "r"}}, "limits": {"memory_mib": 64}});
    w.task(terms.clone());
    assert_eq!(w.plan().len(), 1);
    let waits = w.task(terms);
    let nearest = why(&w.state, &w.state.tasks[&waits], w.now).nearest;
    let reasons: Vec<&str> = nearest.unwrap().iter().map(|r| r.reason.code()).collect();
    assert_eq!(
        reasons,
        ["no-free-slot"],
        "a label was as many reasons, and registered first"
    );
}
