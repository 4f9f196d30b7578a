//! A lease holds the memory in which its module is compiled, until its run starts: no node gets a module that it can't compile, and none that
//! has to wait for the memory.

use aevir_platform::{
    command::{Command, LossReason, NodeProfile},
    digest::Digest,
    event::Event,
    ids::{NodeId, TaskId},
    schedule::{Refused, quote, refusal, why},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, profile, recompute},
};

/// What compiling Python's interpreter takes.
const PYTHON_MIB: u32 = 1_216;

fn python() -> Digest {
    Digest::of(b"python")
}

/// A task of it whose run takes less.
fn task(w: &mut World) -> TaskId {
    w.task(of_python())
}

fn of_python() -> Value {
    json!({"module": python().to_string(), "limits": {"memory_mib": 300}})
}

/// A world with the module and a node that offers so much memory to four runs.
fn with_node(memory_mib: u32) -> (World, NodeId) {
    let mut w = World::new();
    w.push(w.requester, python(), PYTHON_MIB);
    let owner = w.account("owner");
    let machine = NodeProfile {
        slots: 4,
        cpu_cores: 4,
        memory_mib,
        ..profile("m")
    };
    let node = w.node_of(owner, machine);
    (w, node)
}

fn refused(w: &World, task: TaskId, node: NodeId) -> Option<Refused> {
    refusal(
        &w.state,
        &w.state.tasks[&task],
        &w.state.nodes[&node],
        w.now,
    )
}

fn taken(w: &World, node: NodeId) -> u64 {
    w.state.nodes[&node].taken.memory_mib
}

#[test]
fn a_node_that_offers_less_gets_no_such_module() {
    for (offered, capped, expected) in [
        (PYTHON_MIB - 1, None, Some(Refused::CompileMemory)),
        (PYTHON_MIB, None, None),
        (PYTHON_MIB + 1, None, None),
        // What counts is what its operator allows.
        (4_096, Some(PYTHON_MIB - 1), Some(Refused::CompileMemory)),
        (4_096, Some(PYTHON_MIB), None),
        // Without room for the run that is told.
        (299, None, Some(Refused::Memory)),
    ] {
        let (mut w, node) = with_node(offered);
        if let Some(memory_mib) = capped {
            let terms = json!({"caps": {"memory_mib": memory_mib}});
            let terms = serde_json::from_value(terms).unwrap();
            w.ok(Command::ChangeTerms { node, terms });
        }
        let task = task(&mut w);
        assert_eq!(refused(&w, task, node), expected, "{offered} {capped:?}");
        assert_eq!(
            w.plan().is_empty(),
            expected.is_some(),
            "{offered} {capped:?}"
        );
        w.check_replay();
    }
}

#[test]
fn a_requester_is_told_what_the_module_needs() {
    let (mut w, _) = with_node(700);
    let waits = task(&mut w);
    let nearest = why(&w.state, &w.state.tasks[&waits], w.now)
        .nearest
        .unwrap();
    assert_eq!(nearest[0].reason, Refused::CompileMemory);
    assert_eq!(
        nearest[0].help,
        "make the module smaller: it needs 1216 MiB of memory to be compiled, and the node has 512"
    );
    let definition = w.definition(of_python());
    let context = w.next_context("system".into());
    let quote = quote(&w.state, w.requester, &definition, &context).unwrap();
    assert_eq!((quote.eligible, quote.borderline), (0, 0));
    assert_eq!(quote.refused, [(Refused::CompileMemory, 1)].into());
    assert_eq!(quote.starts_at, None);
}

#[test]
fn the_memory_is_held_until_the_run_starts() {
    let (mut w, node) = with_node(2_700);
    let tasks = [(); 4].map(|()| task(&mut w));
    let placed = w.plan();
    assert_eq!(placed.len(), 2, "a third would have 268 MiB");
    assert_eq!(taken(&w, node), 2 * u64::from(PYTHON_MIB));
    let waits = *tasks
        .iter()
        .find(|id| placed.iter().all(|(task, ..)| task != *id))
        .unwrap();
    assert_eq!(
        refused(&w, waits, node),
        Some(Refused::Memory),
        "268 MiB are too little for the run"
    );
    assert_eq!(w.plan(), []);
    w.start(placed[0].1);
    assert_eq!(taken(&w, node), 300 + u64::from(PYTHON_MIB));
    // 1,184 MiB: the run would fit, and can't be compiled.
    assert_eq!(refused(&w, waits, node), Some(Refused::CompileMemory));
    let help = why(&w.state, &w.state.tasks[&waits], w.now)
        .nearest
        .unwrap();
    assert_eq!(
        help[0].help,
        "wait until other runs of the node end: the module needs 1216 MiB of memory to be compiled"
    );
    assert_eq!(w.plan(), []);
    // The machine fits it once it is idle.
    let definition = w.definition(of_python());
    let context = w.next_context("system".into());
    let quote = quote(&w.state, w.requester, &definition, &context).unwrap();
    assert_eq!((quote.eligible, quote.free), (1, 0));
    w.start(placed[1].1);
    assert_eq!(taken(&w, node), 600);
    assert_eq!(w.plan().len(), 1, "2,100 MiB");
    documents_agree(&w, "compile-memory");
    w.check_replay();
}

#[test]
fn a_lease_that_never_starts_gives_all_of_it_back() {
    let (mut w, node) = with_node(PYTHON_MIB);
    task(&mut w);
    let [(_, assignment, _)] = w.plan()[..] else {
        panic!()
    };
    assert_eq!(taken(&w, node), u64::from(PYTHON_MIB));
    let reason = LossReason::NotStarted;
    w.ok(Command::LoseLease { assignment, reason });
    assert_eq!(taken(&w, node), 0);
    documents_agree(&w, "compile-memory-lost");
    w.check_replay();
}

/// A task keeps what held when it was created, and a module what its first registration said.
#[test]
fn the_first_measurement_holds() {
    let (mut w, node) = with_node(PYTHON_MIB);
    let second = w.account("second");
    w.push(second, python(), 4_096);
    assert_eq!(w.state.modules[&python()].compile_mib, PYTHON_MIB);
    let task = task(&mut w);
    assert_eq!(w.state.tasks[&task].compile_mib, PYTHON_MIB);
    assert_eq!(refused(&w, task, node), None);
    documents_agree(&w, "compile-memory-twice");
}

#[test]
fn nobody_registers_more_than_nodes_give() {
    let mut w = World::new();
    for (asked, registered) in [(0, 1), (1, 1), (4_096, 4_096), (4_097, 4_096)] {
        let digest = Digest::of(&u32::to_be_bytes(asked));
        w.push(w.requester, digest, asked);
        assert_eq!(w.state.modules[&digest].compile_mib, registered);
    }
    documents_agree(&w, "compile-memory-bounds");
}

/// A log that says more than was decided is a forged one.
#[test]
fn an_audit_finds_a_measurement_that_nobody_may_have_made() {
    let (mut w, _) = with_node(PYTHON_MIB);
    let second = w.account("second");
    w.push(second, Digest::of(b"other"), 256);
    assert!(recompute(&w.log).is_ok());
    let at = w.log.len() - 1;
    let Event::ModuleRegistered(registered) = &mut w.log[at].event else {
        panic!("the last event registers the module")
    };
    registered.compile_mib = 4_097;
    assert_eq!(recompute(&w.log).unwrap_err().position, at as u64);
}
