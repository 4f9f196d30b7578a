//! Results of several classes of GPU: bit by bit within a class, and compared across them.

use aevir_platform::{
    amount::{Amount, Count},
    command::{COMPILE_MIB_MIN, Command, NodeProfile, RegisterModule, World as ModuleWorld},
    digest::Digest,
    event::RefusalReason,
    ids::{NodeId, TaskId},
    report::BlobRef,
};
use serde_json::{Value, json};

use crate::{
    comparing::{Play, compared, comparisons},
    verifiers::{AEV, finished, stake, verifiers, world},
    world::{World, profile},
};

/// Nodes of these classes, with stake, beside three without a GPU.
fn classes(classes: &[&str]) -> (World, Vec<NodeId>) {
    let (mut w, plain) = world(3);
    for node in plain {
        let mut profile = w.state.nodes[&node].profile.clone();
        profile.gpu = None;
        let profile = Box::new(profile);
        w.ok(Command::ChangeProfile { node, profile });
    }
    let nodes = (0..).zip(classes).map(|(n, class)| {
        let owner = w.account(&format!("owner-{n}"));
        let mut profile: NodeProfile = profile(class);
        profile.gpu.as_mut().unwrap().class = (*class).into();
        let node = w.node_of(owner, profile);
        w.deposit(owner, 20 * AEV);
        let amount = Amount(20 * AEV);
        w.ok(Command::Stake {
            account: owner,
            node,
            amount,
        });
        node
    });
    let nodes = nodes.collect();
    (w, nodes)
}

/// On GPUs; the nodes of the world that compare have none.
fn terms(w: &mut World, quorum: u32, replicas: u32) -> Value {
    let mut terms = compared(w, quorum, replicas);
    terms["runtime"] = json!("det/1");
    terms["qos"] = json!({"gpu": {}});
    terms
}

/// Whichever of the nodes a run is on says this.
fn said(w: &World, task: TaskId, says: &[(NodeId, i64)]) -> Vec<i64> {
    let runs = w.state.tasks[&task].assignments.values();
    let mut runs: Vec<_> = runs.map(|a| (a.leased_at, a.id, a.node)).collect();
    runs.sort_unstable();
    let number = |node: NodeId| says.iter().find(|(of, _)| *of == node).unwrap().1;
    runs.into_iter().map(|(.., node)| number(node)).collect()
}

/// Each node says its number; answers what was said, in the order of the leases.
fn play(w: &mut World, task: TaskId, says: &[(NodeId, i64)]) -> Vec<i64> {
    while !w.state.tasks[&task].phase.is_final() {
        while matches!(w.phase(task), "queued" | "running") {
            w.later(1);
            let (_, run, node) = w.plan()[0];
            w.start(run);
            let number = says.iter().find(|(of, _)| *of == node).unwrap().1;
            let run = w.run(run, json!(number), &[]);
            w.commit(&run);
        }
        let numbers = said(w, task, says);
        let play = Play::new(task, &numbers);
        play.round(w);
        if play.compare(w) {
            w.ok(Command::Tick);
        }
    }
    said(w, task, says)
}

#[test]
fn replicas_may_be_of_any_class_and_are_compared_across() {
    let (mut w, nodes) = classes(&["class-a", "class-b"]);
    let terms = terms(&mut w, 2, 2);
    let task = w.task(terms);
    let numbers = play(&mut w, task, &[(nodes[0], 7), (nodes[1], 8)]);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 1));
    assert_eq!(Play::new(task, &numbers).accepted(&w).len(), 2);
    finished(&mut w, "two-classes");
}

/// Two of one class that differ are not asked about, however near they are: one of them is wrong, and which of them a third shows.
#[test]
fn within_a_class_results_are_equal_or_one_is_wrong() {
    let (mut w, nodes) = classes(&["class-a", "class-a", "class-a"]);
    let terms = terms(&mut w, 2, 3);
    let task = w.task(terms);
    let says = [(nodes[0], 7), (nodes[1], 8), (nodes[2], 7)];
    let numbers = play(&mut w, task, &says);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 0));
    let play = Play::new(task, &numbers);
    assert_eq!(play.accepted(&w), [7, 7]);
    if numbers.len() == 3 {
        assert_eq!(play.refused(&w), [(8, RefusalReason::Mismatch)]);
        assert_eq!(w.state.nodes[&nodes[1]].pledges.strikes, 1);
    }
    finished(&mut w, "one-class");
}

/// Two that are equal show the third of their class to be wrong; what only a comparison says shows nobody to be wrong.
#[test]
fn a_class_blames_its_own_and_no_other() {
    let (mut w, nodes) = classes(&["class-a", "class-a", "class-a", "class-b", "class-b"]);
    let mut terms = terms(&mut w, 3, 5);
    terms["verification"][0]["initial"] = json!(5);
    let task = w.task(terms);
    let says = [
        (nodes[0], 70),
        (nodes[1], 70),
        (nodes[2], 50),
        (nodes[3], 71),
        (nodes[4], 90),
    ];
    let numbers = play(&mut w, task, &says);
    assert_eq!(w.phase(task), "settled");
    let play = Play::new(task, &numbers);
    assert_eq!(play.accepted(&w), [70, 70, 71]);
    let mut refused = play.refused(&w);
    refused.sort_unstable_by_key(|(number, _)| *number);
    assert_eq!(
        refused,
        [(50, RefusalReason::Mismatch), (90, RefusalReason::Apart)]
    );
    let strikes = |node| w.state.nodes[&node].pledges.strikes;
    assert_eq!((strikes(nodes[2]), strikes(nodes[4])), (1, 0));
    assert_eq!(stake(&w, nodes[4]), 20 * AEV);
    finished(&mut w, "blame-in-class");
}

/// What third parties refute is wrong; what was only near it is not paid, and not blamed.
#[test]
fn who_was_near_a_refuted_result_is_not_blamed() {
    let names = [
        "class-a", "class-b", "class-a", "class-a", "class-b", "class-b",
    ];
    let (mut w, nodes) = classes(&names);
    for node in &nodes[2..] {
        w.ok(Command::DrainNode { node: *node });
    }
    let mut terms = terms(&mut w, 2, 2);
    let attestation = json!({"method": "attestation", "verifiers": verifiers()});
    terms["verification"]
        .as_array_mut()
        .unwrap()
        .push(attestation);
    let task = w.task(terms);
    let says = [(nodes[0], 7), (nodes[1], 8)];
    for _ in 0..2 {
        w.later(1);
        let (_, run, node) = w.plan()[0];
        w.start(run);
        let number = says.iter().find(|(of, _)| *of == node).unwrap().1;
        let run = w.run(run, json!(number), &[]);
        w.commit(&run);
    }
    let numbers = said(&w, task, &says);
    let play = Play::new(task, &numbers);
    play.round(&mut w);
    assert!(play.compare(&mut w));
    w.ok(Command::Tick);
    for node in &nodes[2..] {
        w.ok(Command::ResumeNode { node: *node });
    }
    let look = w.state.tasks[&task].inspections[1].by;
    w.finish(look, |_| json!("another"));
    w.ok(Command::Tick);
    assert_eq!(w.phase(task), "inconclusive");
    let mut reasons: Vec<RefusalReason> = play.refused(&w).into_iter().map(|(_, r)| r).collect();
    reasons.sort_unstable_by_key(|reason| format!("{reason:?}"));
    assert_eq!(reasons, [RefusalReason::Apart, RefusalReason::Mismatch]);
    finished(&mut w, "near-refuted");
}

/// A market that has a module for it lets everybody name a tolerance.
#[test]
fn a_tolerance_is_compared_by_the_markets_module() {
    let (mut w, nodes) = classes(&["class-a", "class-b"]);
    let tolerance =
        json!({"outputs": ["out"], "absolute": 0.001, "ulps": 4, "verifiers": verifiers()});
    let mut terms = terms(&mut w, 2, 2);
    terms["verification"][0]["comparator"] = json!({"tolerance": tolerance});
    let nothing = w.submission(terms.clone());
    assert_eq!(w.refused(nothing), "definition-invalid");
    // It is the operator's, and not this requester's.
    let operator = w.account("operator");
    let digest = Digest::of(b"tolerance");
    let mut policy = w.state.policy().unwrap().1.as_ref().clone();
    policy.verification.tolerance = Some(digest);
    assert_eq!(
        w.refused(Command::AdoptPolicy(policy.clone())),
        "policy-invalid"
    );
    let blob = BlobRef {
        digest,
        size: Count(10),
    };
    w.ok(Command::RegisterModule(RegisterModule {
        owner: operator,
        name: "tolerance".into(),
        blob,
        world: ModuleWorld::Comparator,
        imports: vec![],
        compile_mib: COMPILE_MIB_MIN,
        code_mib: 1,
    }));
    w.ok(Command::AdoptPolicy(policy));
    for (field, bad) in [
        ("absolute", json!(-1)),
        ("outputs", json!([])),
        ("outputs", json!(["../x"])),
    ] {
        let mut terms = terms.clone();
        terms["verification"][0]["comparator"]["tolerance"][field] = bad;
        let wrong = w.submission(terms);
        assert_eq!(w.refused(wrong), "definition-invalid", "{field}");
    }
    let task = w.task(terms);
    let recorded = &w.state.tasks[&task].definition.verification[0];
    let recorded = serde_json::to_value(recorded).unwrap();
    let params = json!({"outputs": ["out"], "numbers": "f32", "skip": 0, "absolute": 0.001, "relative": 0, "ulps": 4});
    let module = &recorded["comparator"]["module"];
    assert_eq!(
        (&module["module"], &module["params"]),
        (&json!(digest.to_string()), &params)
    );
    play(&mut w, task, &[(nodes[0], 7), (nodes[1], 8)]);
    assert_eq!((w.phase(task), comparisons(&w, task)), ("settled", 1));
    let look = w.state.tasks[&task].inspections[0].by;
    assert_eq!(w.state.tasks[&look].definition.module, digest);
    finished(&mut w, "tolerance");
}
