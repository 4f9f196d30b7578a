//! A lease holds the storage that its module, the compiled form and the run's checkpoints take on its node.

use aevir_platform::{
    amount::Count,
    command::{Command, NodeProfile, RegisterModule, World as ModuleWorld},
    digest::Digest,
    event::Event,
    ids::{NodeId, TaskId},
    report::BlobRef,
    schedule::{Refused, quote, refusal, reserve_mib, why},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, profile, recompute},
};

/// A byte more than 18 MiB, and the compiled form: 24 of checkpoints beside them.
const SIZE: u64 = (18 << 20) + 1;
const CODE_MIB: u32 = 100;
const RESERVE_MIB: u32 = 19 + CODE_MIB + 24;

fn large() -> Digest {
    Digest::of(b"large")
}

fn push(w: &mut World, code_mib: u32) {
    let owner = w.requester;
    w.ok(Command::RegisterModule(RegisterModule {
        owner,
        name: "large".into(),
        blob: BlobRef {
            digest: large(),
            size: Count(SIZE),
        },
        world: ModuleWorld::Task,
        imports: vec![],
        compile_mib: 512,
        code_mib,
    }));
}

fn of_large() -> Value {
    json!({"module": large().to_string(), "limits": {"output_mib": 10}})
}

fn with_node(storage_mib: u32) -> (World, NodeId) {
    let mut w = World::new();
    push(&mut w, CODE_MIB);
    let owner = w.account("owner");
    let machine = NodeProfile {
        storage_mib,
        slots: 4,
        cpu_cores: 4,
        memory_mib: 8_192,
        ..profile("m")
    };
    let node = w.node_of(owner, machine);
    (w, node)
}

fn refused(w: &World, task: TaskId, node: NodeId) -> Option<Refused> {
    let (task, node) = (&w.state.tasks[&task], &w.state.nodes[&node]);
    refusal(&w.state, task, node, w.now)
}

#[test]
fn a_large_module_takes_its_part_of_what_the_operator_allows() {
    let whole = 10 + RESERVE_MIB;
    for (storage_mib, runs) in [
        (whole - 1, 0),
        (whole, 1),
        (2 * whole, 2),
        (3 * whole - 1, 2),
    ] {
        let (mut w, node) = with_node(storage_mib);
        let tasks = [(); 3].map(|()| w.task(of_large()));
        assert_eq!(w.plan().len(), runs, "{storage_mib}");
        let taken = w.state.nodes[&node].taken.storage_mib;
        assert_eq!(taken, runs as u64 * u64::from(whole));
        let waits = tasks.into_iter().filter(|id| w.phase(*id) == "queued");
        let reasons: Vec<_> = waits.map(|id| refused(&w, id, node)).collect();
        assert_eq!(reasons, vec![Some(Refused::Storage); 3 - runs]);
        documents_agree(&w, &format!("module-storage-{storage_mib}"));
        w.check_replay();
    }
}

#[test]
fn the_reserve_is_enough_for_a_small_one() {
    let (mut w, node) = with_node(1_000);
    w.task(json!({"limits": {"output_mib": 10}}));
    assert_eq!(w.plan().len(), 1);
    assert_eq!(w.state.nodes[&node].taken.storage_mib, 74);
}

#[test]
fn a_requester_is_told_what_is_left_beside_the_module() {
    let (mut w, _) = with_node(144);
    let task = w.task(of_large());
    let nearest = why(&w.state, &w.state.tasks[&task], w.now).nearest.unwrap();
    assert_eq!(nearest[0].reason, Refused::Storage);
    let help = &nearest[0].help;
    assert!(
        help.contains("up to 10 MiB") && help.contains("fit 1 MiB beside the module"),
        "{help}"
    );
    // Sizes of nodes are told in powers of two.
    let (mut w, _) = with_node(100);
    let definition = w.definition(of_large());
    let context = w.next_context("system".into());
    let quote = quote(&w.state, w.requester, &definition, &context).unwrap();
    assert_eq!(quote.refused, [(Refused::Storage, 1)].into());
}

/// What the first registration says holds, within bounds; an older log says nothing, and then the reserve is all.
#[test]
fn what_was_measured_first_holds() {
    let (mut w, _) = with_node(1_000);
    let second = w.account("second");
    let register = |w: &mut World, name: &[u8], code_mib: u32| {
        let digest = Digest::of(name);
        w.ok(Command::RegisterModule(RegisterModule {
            owner: second,
            name: "m".into(),
            blob: BlobRef {
                digest,
                size: Count(SIZE),
            },
            world: ModuleWorld::Task,
            imports: vec![],
            compile_mib: 512,
            code_mib,
        }));
        w.state.modules[&digest].code_mib
    };
    assert_eq!(register(&mut w, b"large", 7), CODE_MIB);
    assert_eq!(register(&mut w, b"none", 0), 1);
    assert_eq!(register(&mut w, b"most", u32::MAX), 4_096);
    let task = w.task(of_large());
    let policy = w.state.policy_of(&w.state.tasks[&task]);
    let mut of_old = w.state.tasks[&task].clone();
    let reserve = reserve_mib(&of_old, &policy.scheduling);
    assert_eq!(reserve, u64::from(RESERVE_MIB));
    of_old.module_mib = 0;
    assert_eq!(reserve_mib(&of_old, &policy.scheduling), 64);
    documents_agree(&w, "module-storage-bounds");
    // A log that says more than was decided is a forged one.
    let registered = |e: &aevir_platform::event::Event| matches!(e, Event::ModuleRegistered(_));
    let at = w.log.iter().rposition(|e| registered(&e.event)).unwrap();
    let Event::ModuleRegistered(last) = &mut w.log[at].event else {
        panic!()
    };
    last.code_mib = 4_097;
    assert_eq!(recompute(&w.log).unwrap_err().position, at as u64);
}
