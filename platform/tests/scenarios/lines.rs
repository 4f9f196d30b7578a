//! What a plan looks at: the tasks that it places, and one more of each line, however many tasks wait that no node can take.

use aevir_platform::{
    command::{Command, NodeProfile, Subject},
    ids::{NodeId, TaskId},
};
use serde_json::{Value, json};

use crate::world::{World, immediate, profile};

/// Tasks that wait.
const TASKS: usize = 200;
/// Tasks in danger that one plan looks at, by the policy.
const LOOKS_MAX: usize = 64;

/// A node of a new account that runs so many at once.
fn wide(w: &mut World, name: &str, slots: u32) -> NodeId {
    let owner = w.account(name);
    let wide = NodeProfile {
        slots,
        cpu_cores: slots,
        memory_mib: 256 * slots,
        storage_mib: 1_024 * slots,
        cpu_mfuel_s: None,
        ..profile(name)
    };
    w.node_of(owner, wide)
}

fn tasks(w: &mut World, terms: Value) -> Vec<TaskId> {
    (0..TASKS).map(|_| w.task(terms.clone())).collect()
}

#[test]
fn samples_whose_first_replica_ran_on_the_only_free_node_are_one_line() {
    let mut w = World::new();
    let only = wide(&mut w, "only", TASKS as u32);
    let sampling = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    let waiting = tasks(&mut w, json!({"verification": sampling}));
    let plan = w.plan();
    assert_eq!(plan.len(), TASKS);
    for (_, run, _) in plan {
        w.start(run);
        let run = w.run(run, json!({}), &[]);
        w.commit(&run);
    }
    assert!(w.state.has_placeable() && w.plan().is_empty());
    assert!(w.looks() <= 2, "{} looks", w.looks());
    // Another line, of a task that is drawn for the first time, is found behind all of them.
    w.later(1);
    let last = w.task(json!({}));
    assert_eq!(w.plan().len(), 1);
    let run = w.state.tasks[&last].active().next().unwrap();
    assert_eq!(run.node, only);
    wide(&mut w, "other", 2);
    assert!(w.looks() <= 8, "{} looks", w.looks());
    assert_eq!(w.plan().len(), 2);
    let begun = waiting
        .iter()
        .filter(|t| w.state.tasks[t].active().next().is_some());
    assert_eq!(begun.count(), 2);
}

#[test]
fn tasks_whose_module_or_content_is_suspended_are_one_line() {
    let mut w = World::new();
    let content = crate::market::dataset(&mut w, "digits", 1);
    let data = json!([{"name": "d", "from": {"content": {"id": content.to_string()}}}]);
    tasks(&mut w, json!({"data": data}));
    wide(&mut w, "idle", 4);
    let suspend = |w: &mut World, subject| {
        let reason = "under inquiry".to_owned();
        w.ok(Command::Suspend { subject, reason });
    };
    suspend(&mut w, Subject::Content(content));
    assert!(w.plan().is_empty());
    assert!(w.looks() <= 2, "{} looks", w.looks());
    // A task without it goes on.
    w.later(1);
    w.task(json!({}));
    assert_eq!(w.plan().len(), 1);
    w.task(json!({}));
    let module = w.module;
    suspend(&mut w, Subject::Module(module));
    assert!(w.plan().is_empty());
    assert!(w.looks() <= 3, "{} looks", w.looks());
}

/// Runs in danger, of which one can be helped, that comes after more than a plan looks at.
#[test]
fn of_many_runs_in_danger_each_is_looked_at_in_its_second() {
    let mut w = World::new();
    let busy = wide(&mut w, "busy", TASKS as u32);
    let hurry = json!({"max_latency_ms": 60_000});
    let mut all = tasks(&mut w, json!({"qos": hurry}));
    let small = json!({"qos": hurry, "limits": {"memory_mib": 32}});
    w.ok(Command::CancelTask {
        requester: w.requester,
        task: all[TASKS - 1],
    });
    // In danger after all others.
    w.later(10);
    all[TASKS - 1] = w.task(small);
    assert_eq!(w.plan().len(), TASKS);
    w.later(30_000);
    // Room for a small run, and for no other.
    let owner = w.account("helper");
    let mut helper = profile("helper");
    helper.memory_mib = 64;
    helper.cpu_mfuel_s = None;
    let helper = w.node_of(owner, helper);
    assert!(w.state.has_tail(w.now));
    let mut seconds = 0;
    let plan = loop {
        assert!(w.looks() <= LOOKS_MAX, "{} looks", w.looks());
        let plan = w.plan();
        if !plan.is_empty() {
            break plan;
        }
        w.later(1_000);
        seconds += 1;
        assert!(seconds < TASKS.div_ceil(LOOKS_MAX), "each has its second");
    };
    assert_eq!((plan[0].0, plan[0].2), (all[TASKS - 1], helper));
    assert!(seconds > 0, "it was not among the first");
    assert_ne!(busy, helper);
}

/// What a plan looks at of one requester, whatever else it has: its first lines, and as many others.
#[test]
fn of_many_lines_a_plan_looks_at_the_first_and_at_others_in_their_second() {
    const MOST: usize = 8;
    let mut policy = immediate();
    policy.scheduling.lines_max = MOST as u32;
    let mut w = World::with_policy(policy);
    wide(&mut w, "idle", 4);
    // Each is a line of its own, and none can be placed anywhere.
    let lines = 100;
    for n in 0..lines {
        w.task(json!({"limits": {"memory_mib": 2_048 + n}}));
    }
    assert!(w.plan().is_empty());
    assert!(w.looks() <= 2 * MOST, "{} looks", w.looks());
    // One that can be placed, behind all of them, has its second.
    w.later(1);
    let last = w.task(json!({}));
    let mut seconds = 0;
    while w.plan().is_empty() {
        assert!(w.looks() <= 2 * MOST + 1, "{} looks", w.looks());
        w.later(1_000);
        seconds += 1;
        assert!(seconds <= lines / MOST + 1, "each has its second");
    }
    assert!(w.state.tasks[&last].active().next().is_some());
    // Another requester's are found at once.
    let other = w.account("other");
    w.deposit(other, 1_000_000_000);
    w.push_module(other);
    let definition = Box::new(w.definition(json!({})));
    w.ok(Command::SubmitTask {
        requester: other,
        definition,
    });
    assert_eq!(w.plan().len(), 1);
    w.check_replay();
}

/// Where the first lines have something to place, those behind them wait for their turn, however many seconds pass.
#[test]
fn lines_keep_their_order_as_long_as_the_first_can_be_placed() {
    let mut policy = immediate();
    policy.scheduling.lines_max = 2;
    let mut w = World::with_policy(policy);
    wide(&mut w, "one", 1);
    let mut tasks = Vec::new();
    for n in 0..12u32 {
        tasks.push(w.task(json!({"limits": {"memory_mib": 100 + n}})));
        w.later(1);
    }
    for task in tasks {
        w.later(1_000);
        let plan = w.plan();
        assert_eq!(plan.len(), 1);
        assert_eq!(plan[0].0, task);
        w.start(plan[0].1);
        let run = w.run(plan[0].1, json!({}), &[]);
        w.commit(&run);
        w.reveal(&run);
    }
}
