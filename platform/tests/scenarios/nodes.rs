//! A node's life: it drains, leaves, changes its key and its machine, and is revoked.

use aevir_platform::{
    amount::{Amount, Count},
    command::{AddKey, Availability, Command, FailureClass, LossReason, Scope},
    digest::Digest,
    event::Event,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    report::BlobRef,
    rotation::SignedRotation,
    schedule::{Refused, refusal},
    state::Standing,
};
use ed25519_dalek::SigningKey;
use serde_json::json;

use crate::world::{World, labels, profile};

/// Why the only free node can't take the task.
pub fn why(w: &World, task: TaskId, node: NodeId) -> Option<Refused> {
    refusal(
        &w.state,
        &w.state.tasks[&task],
        &w.state.nodes[&node],
        w.now,
    )
}

fn revoke(node: NodeId) -> Command {
    let reason = "stolen".to_owned();
    Command::RevokeNode { node, reason }
}

/// A task that runs on the node.
fn running(w: &mut World) -> (TaskId, AssignmentId) {
    let task = w.task(json!({}));
    let assignment = w.plan()[0].1;
    w.start(assignment);
    (task, assignment)
}

#[test]
fn a_drained_node_finishes_what_it_has_and_gets_nothing_new() {
    let mut w = World::new();
    let node = w.node("a");
    let (task, _) = running(&mut w);
    assert_eq!(labels(&w.ok(Command::DrainNode { node })), ["node.drained"]);
    assert!(
        w.ok(Command::DrainNode { node }).is_empty(),
        "it does already"
    );
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    let next = w.task(json!({}));
    assert_eq!(why(&w, next, node), Some(Refused::Draining));
    assert!(w.plan().is_empty());
    // It is heard from, and drained all the same.
    for availability in [Availability::Offline, Availability::Online] {
        w.ok(Command::SetAvailability { node, availability });
    }
    assert!(w.plan().is_empty());
    assert_eq!(
        labels(&w.ok(Command::ResumeNode { node })),
        ["node.resumed"]
    );
    assert!(w.ok(Command::ResumeNode { node }).is_empty());
    assert_eq!(w.plan().len(), 1);
    w.check_replay();
}

#[test]
fn a_leaving_node_is_gone_once_nothing_of_it_is_open() {
    let mut w = World::new();
    for name in ["a", "b"] {
        w.node(name);
    }
    let verification = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 2}]);
    let task = w.task(json!({"verification": verification}));
    let mut leased = w.plan();
    let node = leased[0].2;
    w.ok(Command::LeaveMarket { node });
    assert!(w.ok(Command::LeaveMarket { node }).is_empty());
    let mut runs = Vec::new();
    while let Some((_, assignment, on)) = leased.pop() {
        assert!(w.ok(Command::Tick).is_empty(), "it has something open");
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[]);
        w.commit(&run);
        assert!(w.state.nodes[&on].sealed.contains(&assignment));
        runs.push(run);
        leased = w.plan();
    }
    assert_eq!(runs.len(), 2);
    assert!(w.state.next_due() > Some(w.now), "only the reveals are due");
    runs.iter().for_each(|run| drop(w.reveal(run)));
    assert_eq!(w.phase(task), "settled");
    assert!(w.state.nodes[&node].sealed.is_empty());
    assert!(w.state.next_due().is_some_and(|due| due <= w.now));
    assert_eq!(
        labels(&w.ok(Command::Tick)),
        [
            "node.left",
            "account.key_revoked",
            "node.availability_changed"
        ]
    );
    assert_eq!(w.state.nodes[&node].standing, Standing::Left { at: w.now });
    for command in [
        Command::ResumeNode { node },
        Command::DrainNode { node },
        Command::LeaveMarket { node },
        Command::SetAvailability {
            node,
            availability: Availability::Online,
        },
        revoke(node),
    ] {
        assert_eq!(w.refused(command), "node-gone");
    }
    assert!(w.ok(Command::Tick).is_empty());
    w.check_replay();
}

#[test]
fn who_wanted_to_leave_may_stay() {
    let mut w = World::new();
    let node = w.node("a");
    let (task, _) = running(&mut w);
    w.ok(Command::LeaveMarket { node });
    w.ok(Command::ResumeNode { node });
    w.finish(task, |_| json!({}));
    assert!(w.ok(Command::Tick).is_empty());
    w.task(json!({}));
    assert_eq!(w.plan().len(), 1);
}

#[test]
fn every_end_of_an_assignment_lets_a_node_leave() {
    type End = fn(&mut World, TaskId, AssignmentId);
    let ends: [(&str, End); 5] = [
        ("failed", |w, _, assignment| {
            let node = w.node_on(assignment);
            let (class, message) = (FailureClass::HostError, "disk".to_owned());
            w.ok(Command::Fail {
                node,
                assignment,
                class,
                message,
            });
        }),
        ("lost", |w, _, assignment| {
            let reason = LossReason::Silent;
            w.ok(Command::LoseLease { assignment, reason });
        }),
        ("cancelled", |w, task, _| {
            w.ok(Command::CancelTask {
                requester: w.requester,
                task,
            });
        }),
        ("cancelled after the seal", |w, task, assignment| {
            let run = w.run(assignment, json!({}), &[]);
            w.commit(&run);
            w.ok(Command::CancelTask {
                requester: w.requester,
                task,
            });
        }),
        ("expired after the seal", |w, _, assignment| {
            let run = w.run(assignment, json!({}), &[]);
            w.commit(&run);
            w.later(100_000);
            w.ok(Command::Tick);
            // It has its time to show what it sealed.
            w.later(30_000);
            w.ok(Command::Tick);
        }),
    ];
    for (name, end) in ends {
        let mut w = World::new();
        let node = w.node("a");
        let deadline = w.now.plus_ms(100_000).to_string();
        // Two replicas, and one node: the round does not close.
        let task = w.task(json!({
            "qos": {"deadline": deadline},
            "verification": [{"method": "sampling", "quorum": 2, "replicas": 2}],
        }));
        let assignment = w.plan()[0].1;
        w.start(assignment);
        w.ok(Command::LeaveMarket { node });
        assert_ne!(w.state.nodes[&node].standing.name(), "left", "{name}");
        end(&mut w, task, assignment);
        w.ok(Command::Tick);
        assert_eq!(w.state.nodes[&node].standing.name(), "left", "{name}");
        w.check_replay();
    }
}

#[test]
fn a_revoked_nodes_leases_are_lost_at_once() {
    let mut w = World::new();
    let mut big = profile("big");
    (big.slots, big.cpu_cores) = (3, 3);
    let owner = w.account("owner");
    let node = w.node_of(owner, big);
    // It earned points, fewer than its losses will cost.
    let first = w.task(json!({}));
    w.finish(first, |_| json!({}));
    let price =
        |micro: &str| json!({"budget": "10000000", "pricing": {"mode": "fixed", "price": micro}});
    let tasks = [(); 3].map(|()| w.task(json!({"economics": price("1000")})));
    let leased = w.plan();
    assert_eq!(leased.len(), 3);
    w.start(leased[0].1);
    let owned = w.compute_points(owner);
    let events = w.ok(revoke(node));
    assert_eq!(
        labels(&events)[..3],
        [
            "node.revoked",
            "account.key_revoked",
            "node.availability_changed"
        ]
    );
    let lost = events
        .iter()
        .filter(|e| matches!(e, Event::AssignmentLost(l) if l.reason == LossReason::Revoked));
    assert_eq!(lost.count(), 3);
    assert_eq!(w.compute_points(owner), owned - 3 * 2);
    for (task, (_, assignment, _)) in tasks.iter().zip(&leased) {
        assert_eq!(w.phase(*task), "queued");
        // Its key is dead, whatever it still wants.
        assert_eq!(
            w.refused(Command::Start {
                node,
                assignment: *assignment
            }),
            "node-gone"
        );
    }
    assert!(w.plan().is_empty());
    w.node("another");
    w.later(60_000);
    assert_eq!(w.plan().len(), 1);
    assert_eq!(w.refused(revoke(node)), "node-gone");
    w.check_replay();
}

#[test]
fn losses_of_one_revocation_never_cost_more_points_than_there_are() {
    let mut w = World::new();
    let mut big = profile("big");
    (big.slots, big.cpu_cores) = (4, 4);
    let owner = w.account("owner");
    let node = w.node_of(owner, big);
    let little = json!({"budget": "10000000", "pricing": {"mode": "fixed", "price": "200000"}});
    let first = w.task(json!({"economics": little}));
    w.finish(first, |_| json!({}));
    assert_eq!(w.compute_points(owner), 5);
    for _ in 0..4 {
        w.task(json!({}));
    }
    w.plan();
    w.ok(revoke(node));
    assert_eq!(
        w.compute_points(owner),
        0,
        "2, 2 and 1, and nothing for the last"
    );
    w.check_replay();
}

#[test]
fn a_revoked_nodes_sealed_result_counts_as_not_revealed() {
    let mut w = World::new();
    let nodes = ["a", "b", "c"].map(|name| w.node(name));
    let verification = json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]);
    let task = w.task(json!({"verification": verification}));
    let mut runs = Vec::new();
    while let [(_, assignment, _)] = w.plan()[..] {
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[]);
        w.commit(&run);
        runs.push(run);
    }
    assert_eq!(runs.len(), 3);
    w.ok(revoke(nodes[0]));
    for run in &runs {
        if run.report.node == nodes[0] {
            assert_eq!(w.refused(crate::world::reveal_command(run)), "node-gone");
        } else {
            w.reveal(run);
        }
    }
    w.later(30_000);
    w.ok(Command::Tick);
    assert_eq!(w.phase(task), "settled");
    let verdict = w.state.tasks[&task].verdict.as_ref().unwrap();
    assert_eq!((verdict.accepted.len(), verdict.refused.len()), (2, 1));
    w.check_replay();
}

#[test]
fn a_node_may_come_back_as_another_machine() {
    let mut w = World::new();
    let node = w.node("a");
    let mut smaller = profile("a");
    smaller.memory_mib = 128;
    let change = |profile| Command::ChangeProfile {
        node,
        profile: Box::new(profile),
    };
    assert_eq!(
        labels(&w.ok(change(smaller.clone()))),
        ["node.profile_changed"]
    );
    assert!(w.ok(change(smaller)).is_empty());
    let task = w.task(json!({}));
    assert_eq!(why(&w, task, node), Some(Refused::Memory));
    let mut bad = profile("a");
    bad.slots = 0;
    assert_eq!(w.refused(change(bad)), "node-profile-invalid");
    w.ok(change(profile("a")));
    assert_eq!(w.plan().len(), 1);
    w.check_replay();
}

#[test]
fn a_node_is_looked_after_by_itself_its_owner_and_nobody_else() {
    let mut w = World::new();
    let node = w.node("a");
    let owner = w.owner(node);
    let stranger = w.account("stranger");
    let by = |w: &World, account: AccountId, command: Command| {
        let context = aevir_events::Context {
            time: w.now,
            actor: format!("account/{account}"),
            entropy: [0; 32],
            secret: aevir_events::LeaderSecret([7; 32]),
        };
        aevir_platform::decide(&w.state, &command, &context).map_err(|e| e.code())
    };
    for command in [
        Command::DrainNode { node },
        Command::LeaveMarket { node },
        revoke(node),
        Command::ChangeTerms {
            node,
            terms: Box::default(),
        },
    ] {
        by(&w, owner, command.clone()).unwrap();
        assert_eq!(by(&w, stranger, command), Err("not-permitted"));
    }
    // What only the node can say.
    let key = |seed| SigningKey::from_bytes(&[seed; 32]);
    let rotation = SignedRotation::sign(node, &key(1), &key(2), Digest::of(b"an API key"));
    let profile = Box::new(profile("a"));
    for command in [
        Command::RotateKey { node, rotation },
        Command::ChangeProfile { node, profile },
    ] {
        assert_eq!(by(&w, owner, command), Err("not-permitted"));
    }
    // An operator may shut a node out, and not look after it.
    w.ok(Command::OpenAccount(aevir_platform::command::OpenAccount {
        name: "operator".into(),
        key_hash: Digest::of(b"operator"),
        scopes: vec![Scope::Admin, Scope::KeysWrite],
    }));
    let (operator, _) = w
        .state
        .accounts
        .iter()
        .find(|(_, a)| a.name == "operator")
        .unwrap();
    let operator = *operator;
    by(&w, operator, revoke(node)).unwrap();
    assert_eq!(
        by(&w, operator, Command::DrainNode { node }),
        Err("not-permitted")
    );
    // A key without the scope does not do.
    let reader = AddKey {
        account: owner,
        label: "reader".into(),
        hash: Digest::of(b"reader"),
        scopes: vec![Scope::Read],
    };
    w.ok(Command::AddKey(reader));
    let of_owner = w
        .state
        .keys
        .iter()
        .filter(|(_, k)| k.account == owner && k.node.is_none());
    let keys: Vec<_> = of_owner
        .filter(|(_, k)| k.label == "first")
        .map(|(id, _)| *id)
        .collect();
    keys.into_iter().for_each(|key| {
        drop(w.ok(Command::RevokeKey {
            account: owner,
            key,
        }))
    });
    assert_eq!(
        by(&w, owner, Command::DrainNode { node }),
        Err("not-permitted")
    );
}

/// The speed that a node shows whose run computes for 20 s, by a number of its inputs' bytes, when it says that it began, in ms after its
/// lease, and when it commits.
fn shown_by(bytes: u64, started_ms: i64, committed_ms: i64) -> u32 {
    let mut w = World::new();
    let node = w.node("a");
    let blob = BlobRef {
        digest: Digest::of(b"an input"),
        size: Count(bytes),
    };
    let account = w.requester;
    w.ok(Command::RecordUpload { account, blob });
    let data = json!([{"name": "a", "from": {"blob": blob.digest.to_string()}}]);
    w.task(json!({"data": data}));
    let assignment = w.plan()[0].1;
    w.later(started_ms);
    w.start(assignment);
    w.later(committed_ms - started_ms);
    let mut run = w.run(assignment, json!({}), &[]);
    run.report.usage.fuel = Count(20_000_000_000);
    w.commit(&run);
    w.reveal(&run);
    crate::sample::documents_agree(&w, "speed-from-the-lease");
    w.state.nodes[&node].speed.mfuel_s
}

#[test]
fn what_a_node_computes_before_it_says_that_it_begins_counts() {
    const MIB: u64 = 1 << 20;
    assert_eq!(shown_by(MIB, 0, 21_000), 1_000, "but for a second");
    // It ran first, and says so afterwards: what it shows is at most twice its speed.
    assert_eq!(shown_by(MIB, 19_995, 20_000), 1_111);
    // It fetched 10 MiB, which are allowed ten seconds, and no more.
    assert_eq!(shown_by(10 * MIB, 8_000, 29_000), 1_000);
    assert_eq!(shown_by(10 * MIB, 20_000, 41_000), 666);
    // However much it may have fetched, half of the time counts.
    assert_eq!(shown_by(1_000 * MIB, 19_995, 20_000), 2_000);
}

#[test]
fn accepted_results_show_what_a_node_earned_and_how_fast_it_is() {
    let mut w = World::new();
    let node = w.node("a");
    let run = |w: &mut World, fuel: u64, ms: i64| {
        let task = w.task(json!({}));
        let assignment = w.plan()[0].1;
        w.start(assignment);
        w.later(ms);
        let mut run = w.run(assignment, json!({}), &[]);
        run.report.usage.fuel = Count(fuel);
        w.commit(&run);
        (task, run)
    };
    // It waits for its disk or its line, and computes next to nothing: that is not slow.
    let (_, waited) = run(&mut w, 1_000, 10_000);
    w.reveal(&waited);
    assert_eq!(w.state.nodes[&node].speed.samples, 0);
    for n in 1..=8 {
        // 10^10 units of fuel in 20 s: a quarter of the 2,000 million a second that it claims.
        let (task, run) = run(&mut w, 10_000_000_000, 20_000);
        assert!(
            !w.state.nodes[&node].is_slower_than_claimed(),
            "after {n} it may be chance"
        );
        w.reveal(&run);
        assert_eq!(w.phase(task), "settled");
        assert_eq!(w.state.nodes[&node].speed.samples, n);
    }
    let found = &w.state.nodes[&node];
    assert!(found.is_slower_than_claimed());
    assert_eq!(
        (found.cpu_mfuel_s(), found.profile.cpu_mfuel_s),
        (Some(526), Some(2_000))
    );
    assert_eq!(found.earned, Amount(9_000_000));
    w.check_replay();
}
