//! What a machine has is shared by its runs: GPU memory and cores as memory and storage; and what is sealed takes its part of the storage.

use aevir_platform::{
    command::{Command, GpuProfile, NodeProfile},
    ids::{NodeId, TaskId},
    policy::Policy,
    schedule::{Refused, refusal, why},
};
use serde_json::{Value, json};

use crate::{
    quotes::quoted,
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
            software: false,
            ..gpu
        }),
        ..profile(name)
    }
}

/// The same with a GPU that is software.
fn with_software(name: &str) -> NodeProfile {
    let mut machine = machine(name, 4, 4);
    machine.gpu.as_mut().unwrap().software = true;
    machine
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

#[test]
fn a_software_gpus_memory_is_the_machines() {
    let mut w = World::new();
    let owner = w.account("owner");
    let node = w.node_of(owner, with_software("software"));
    let with_gpu = |memory_mib: u32, gpu_mib: u32| json!({"limits": {"memory_mib": memory_mib}, "qos": {"gpu": {"memory_mib": gpu_mib}}});
    // It says that its GPU has 8 GiB, and has 4 GiB in all.
    let large = w.task(with_gpu(1_024, 4_096));
    assert_eq!(w.plan().len(), 0, "5 GiB of 4");
    let reason = |w: &World, task: TaskId| {
        let task = &w.state.tasks[&task];
        let nearest = why(&w.state, task, w.now).nearest.unwrap();
        let help = nearest.into_iter().next().unwrap().help;
        (refusal(&w.state, task, &w.state.nodes[&node], w.now), help)
    };
    let both = "`/limits/memory_mib` and `/qos/gpu/memory_mib`, which are one memory there,";
    assert_eq!(
        reason(&w, large),
        (
            Some(Refused::Memory),
            format!("lower {both} from 5120 to 4096 or less")
        )
    );
    assert_eq!(quoted(&w, with_gpu(1_024, 4_096)).eligible, 0);
    assert_eq!(quoted(&w, with_gpu(1_024, 1_024)).eligible, 1);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task: large,
    });
    w.task(with_gpu(512, 2_048));
    assert_eq!(w.plan().len(), 1);
    let taken = w.state.nodes[&node].taken;
    assert_eq!((taken.memory_mib, taken.memories_mib), (512, 2_560));
    // A run without the GPU finds no more memory there than the GPU's run has left.
    let plain = w.task(json!({"limits": {"memory_mib": 2_048}}));
    let on_gpu = w.task(with_gpu(512, 1_536));
    assert_eq!(w.plan().len(), 0);
    assert_eq!(
        reason(&w, plain),
        (
            Some(Refused::Memory),
            "lower `/limits/memory_mib` from 2048 to 1024 or less, or wait until other runs end"
                .into()
        )
    );
    assert_eq!(
        reason(&w, on_gpu),
        (
            Some(Refused::Memory),
            format!("lower {both} from 2048 to 1024 or less, or wait until other runs end")
        )
    );
    let fits = w.task(with_gpu(512, 1_024));
    let placed = w.plan();
    assert_eq!(placed.len(), 1);
    assert_eq!(placed[0].0, fits);
    documents_agree(&w, "software-memory");
    w.check_replay();
}

#[test]
fn a_hardware_gpus_memory_is_its_own() {
    let (mut w, node) = with_machine(4, 4);
    let whole = json!({"limits": {"memory_mib": 2_048}, "qos": {"gpu": {"memory_mib": 4_096}}});
    w.task(whole.clone());
    w.task(whole);
    assert_eq!(w.plan().len(), 2, "4 GiB of memory, and 8 of the GPU's");
    let node = &w.state.nodes[&node];
    assert!(!node.has_one_memory());
    assert_eq!(node.taken.memories_mib, 12_288);
    documents_agree(&w, "hardware-memory");
}

#[test]
fn what_is_sealed_takes_storage_until_it_is_opened() {
    let mut w = World::new();
    let owner = w.account("owner");
    let small = NodeProfile {
        storage_mib: 600,
        ..machine("small", 4, 4)
    };
    let node = w.node_of(owner, small);
    // 256 MiB of outputs and the reserve: 320.
    let sealed = |w: &mut World| {
        let task = w.task(json!({}));
        let placed = w.plan();
        assert_eq!(placed.len(), 1);
        assert_eq!(w.state.nodes[&node].taken.storage_mib % 256, 64);
        w.start(placed[0].1);
        let run = w.run(placed[0].1, json!({}), &[]);
        w.commit(&run);
        (task, run)
    };
    let taken = |w: &World| {
        let node = &w.state.nodes[&node];
        assert_eq!(node.taken.storage_mib, node.sealed_mib);
        node.sealed_mib
    };
    let (first, run) = sealed(&mut w);
    assert_eq!(taken(&w), 256);
    let (second, _) = sealed(&mut w);
    assert_eq!(taken(&w), 512);
    let third = w.task(json!({}));
    assert_eq!(w.plan().len(), 0, "88 MiB are left");
    let waits = &w.state.tasks[&third];
    let refused = refusal(&w.state, waits, &w.state.nodes[&node], w.now);
    assert_eq!(refused, Some(Refused::Storage));
    // Once they are opened there is room; they have half a minute.
    let starts = quoted(&w, json!({})).starts_at;
    assert_eq!(starts, Some(w.now.plus_ms(30_000)));
    w.reveal(&run);
    assert_eq!(w.phase(first), "settled");
    assert_eq!(taken(&w), 256);
    let placed = w.plan();
    assert_eq!((placed.len(), placed[0].0), (1, third));
    // The second is never opened: its time is over.
    w.later(30_000);
    w.ok(Command::Tick);
    assert_eq!(w.state.nodes[&node].sealed_mib, 0);
    assert_eq!(w.phase(second), "queued");
    documents_agree(&w, "sealed-storage");
    w.check_replay();
}

#[test]
fn a_sample_keeps_its_outputs_until_they_are_shown_or_it_ends() {
    let mut w = World::new();
    let nodes = ["a", "b", "c"].map(|n| w.node(n));
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2, "initial": 2}]);
    let kept = |w: &World| {
        nodes
            .map(|node| w.state.nodes[&node].sealed_mib)
            .iter()
            .sum::<u64>()
    };
    let task = w.task(json!({"verification": sampling}));
    w.finish(task, |_| json!({}));
    assert_eq!((w.phase(task), kept(&w)), ("settled", 0));
    // One is sealed, and then the task is called off.
    let task = w.task(json!({"verification": sampling}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    assert_eq!(kept(&w), 256);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task,
    });
    assert_eq!((w.phase(task), kept(&w)), ("cancelled", 0));
    documents_agree(&w, "sealed-sample");
    w.check_replay();
}

#[test]
fn no_node_is_kept_free_for_what_does_not_fit_beside_what_it_keeps_sealed() {
    let mut policy = Policy::default();
    policy.scheduling.reserve.after_ms = 1_000;
    let mut w = World::with_policy(policy);
    let owner = w.account("owner");
    let small = NodeProfile {
        storage_mib: 1_000,
        ..machine("small", 4, 4)
    };
    let node = w.node_of(owner, small);
    let outputs = |mib: u32| json!({"limits": {"output_mib": mib}});
    let sealed = w.task(outputs(256));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    // Each takes 264 MiB, and the large one 764: it waits for both, on a machine that has so much.
    w.task(outputs(200));
    w.task(outputs(200));
    assert_eq!(w.plan().len(), 2);
    let large = w.task(outputs(700));
    w.later(1_000);
    w.ok(Command::Plan);
    assert_eq!(w.state.tasks[&large].reserved, None, "744 MiB when all end");
    w.reveal(&run);
    assert_eq!(w.phase(sealed), "settled");
    w.ok(Command::Plan);
    assert_eq!(w.state.tasks[&large].reserved, Some(node));
    documents_agree(&w, "sealed-reserved");
    w.check_replay();
}
