//! A log with an end of every kind, recomputed by a program that knows only the documents.

use std::{collections::BTreeMap, fs, path::Path, process::Command as Process};

use aevir_events::{Entry, Timestamp, merkle::Frontier};
use aevir_platform::{
    amount::{Amount, Count},
    command::{AddKey, Command, FailureClass, LossReason, Scope, Subject},
    digest::Digest,
    event::{ComputeOutcome, Event, Track},
    ids::{AssignmentId, NodeId},
    policy::AccountLimits,
    report::BlobRef,
};
use serde_json::{Value, json};

use crate::{
    compute::checked,
    market::dataset,
    reservations::kept_free,
    royalties,
    world::{AT_ONCE_MS, World, profile},
};

fn sampling(quorum: u32, replicas: u32, initial: u32) -> Value {
    json!({"method": "sampling", "quorum": quorum, "replicas": replicas, "initial": initial})
}

/// Settled with a cheat, late, unmet, inconclusive, failed, cancelled, expired, and out of reach.
pub fn eventful() -> World {
    let mut w = World::new();
    let nodes = ["a", "b", "c"].map(|n| w.node(n));
    let data: Vec<Value> = [("light", 1), ("heavy", 2), ("odd", 4)]
        .map(|(name, weight)| {
            let id = dataset(&mut w, name, weight).to_string();
            json!({"name": name, "from": {"content": {"id": id}}})
        })
        .into();
    for round in 0..3 {
        let price = json!({"budget": "9000000", "pricing": {"mode": "fixed", "price": format!("{}", 1_000_003 + round)}});
        let verification = json!([sampling(2, 3, 3), {"method": "check", "bounds": [{"metric": "m", "at_most": "1"}]}]);
        // The metric is not reported: unmet, and paid all the same.
        let unmet = w.task(json!({"data": data, "economics": price, "verification": verification}));
        w.finish(unmet, |_| json!({}));
        let task = w.task(json!({"data": data, "economics": price, "verification": [sampling(2, 3, 3)], "privacy": {"publish": "full"}}));
        w.finish(
            task,
            |node| json!({"n": if node == nodes[0] { 1 } else { 0 }, "x": 1.5e-7}),
        );
        w.later(60_000);
    }
    released(&mut w, nodes[0]);
    let inconclusive = w.task(json!({"data": data, "verification": [sampling(2, 3, 2)]}));
    w.finish(inconclusive, |node| json!({"n": node.to_string()}));
    let lost = w.task(json!({"qos": {"max_latency_ms": 100}}));
    let (_, assignment, silent) = w.plan()[0];
    w.start(assignment);
    progress(&mut w, assignment);
    w.ok(Command::LoseLease {
        assignment,
        reason: LossReason::Silent,
    });
    w.heard_from(silent);
    w.later(60_000);
    w.finish(lost, |_| json!({}));
    let failed = w.task(json!({}));
    for _ in 0..3 {
        let (_, assignment, node) = w.plan()[0];
        w.start(assignment);
        w.ok(Command::Fail {
            node,
            assignment,
            class: FailureClass::Trap,
            message: "unreachable".into(),
        });
    }
    assert_eq!(w.phase(failed), "failed");
    let after = w.task(json!({}));
    let waiting = w.task(json!({"depends_on": [{"task": after.to_string()}]}));
    let soon = w.now.plus_ms(5_000).to_string();
    let expired = w.task(json!({"verification": [sampling(2, 3, 2)], "qos": {"deadline": soon}}));
    for (_, assignment, _) in w.plan() {
        w.start(assignment);
        if w.state.assignment(assignment).unwrap().0.id == expired {
            break;
        }
    }
    w.later(5_000);
    w.ok(Command::Tick);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task: after,
    });
    w.ok(Command::Tick);
    assert_eq!(
        (w.phase(expired), w.phase(waiting)),
        ("expired", "cancelled")
    );
    hastened(&mut w);
    silent_reveal(&mut w);
    withdrawals(&mut w);
    stakes(&mut w, nodes[0]);
    given_back(&mut w);
    priced(&mut w);
    royalties::handed_down(&mut w);
    kept_free(&mut w);
    reviewed(&mut w);
    inspected(&mut w);
    comings_and_goings(&mut w);
    // The next epoch: the draws so far can be recomputed from here on.
    w.later(3_600_000);
    w.ok(Command::Tick);
    let account = w.owner(nodes[1]);
    w.ok(Command::ClaimRewards { account });
    let limits = AccountLimits {
        weight: 200,
        ..w.state.limits_of(w.requester)
    };
    w.ok(Command::SetLimits {
        account: w.requester,
        limits,
    });
    w.task(json!({"nonce": "ab".repeat(32)}));
    assert_eq!(w.plan().len(), 1);
    let twin = w.account("idle owner");
    w.node_of(twin, profile("idle"));
    w.task(json!({"seed": "7", "data": [{"name": "p", "from": {"inline": "täxt\u{1}"}}], "params": {"é": [1e21, 0.1, -0.0, 5]}}));
    w
}

/// A run that says how far it is and saves where it is; the requester takes a key of his back meanwhile.
fn progress(w: &mut World, assignment: AssignmentId) {
    let node = w.node_on(assignment);
    w.ok(Command::ReportProgress {
        node,
        assignment,
        ppm: 250_000,
        note: "a quarter".into(),
    });
    let checkpoint = BlobRef {
        digest: Digest::of(b"checkpoint"),
        size: Count(10),
    };
    w.ok(Command::SaveCheckpoint {
        node,
        assignment,
        checkpoint,
    });
    let account = w.requester;
    let (key, _) = w
        .state
        .keys
        .iter()
        .find(|(_, k)| k.account == account)
        .unwrap();
    let key = *key;
    // Another one first: without a key nobody can do anything.
    w.ok(Command::AddKey(AddKey {
        account,
        label: "the next one".into(),
        hash: Digest::of(b"the next one"),
        scopes: Scope::OWNER.to_vec(),
    }));
    w.ok(Command::RevokeKey { account, key });
}

/// Nodes change, drain, leave and are revoked; administrators suspend and release.
fn comings_and_goings(w: &mut World) {
    w.later(600_000);
    let [changing, leaving, revoked] = ["changing", "leaving", "revoked"].map(|n| w.node(n));
    let mut changed = profile("changing");
    changed.cpu_mfuel_s = None;
    w.ok(Command::ChangeProfile {
        node: changing,
        profile: Box::new(changed),
    });
    w.ok(checked(changing, 3, 9_000, ComputeOutcome::Shown));
    let terms = json!({
        "caps": {"memory_mib": 512, "runs": 1},
        "hours": [{"from_min": 0, "to_min": 600}, {"from_min": 1_440, "to_min": 10_080}],
        "asks": {"training": "5000000"},
        "requesters": {"deny": [w.owner(leaving).to_string()]},
    });
    w.ok(Command::ChangeTerms {
        node: changing,
        terms: Box::new(serde_json::from_value(terms).unwrap()),
    });
    w.rotate(changing, "the next key");
    let again =
        w.task(json!({"verification": [sampling(5, 6, 6)], "qos": {"max_latency_ms": AT_ONCE_MS}}));
    let plan = w.plan();
    assert_eq!(plan.len(), 6, "there is no time for one after the other");
    plan.into_iter().for_each(|(_, run, _)| w.start(run));
    put_up(w, leaving, 5_000);
    w.ok(Command::LeaveMarket { node: leaving });
    w.ok(Command::DrainNode { node: changing });
    w.ok(Command::ResumeNode { node: changing });
    w.ok(Command::RevokeNode {
        node: revoked,
        reason: "its machine was stolen".into(),
    });
    // The revoked node's slot is open again, and the others have theirs.
    w.node("spare");
    w.finish(again, |_| json!({}));
    assert_eq!(w.phase(again), "settled");
    w.ok(Command::Tick);
    let contents = w.state.contents.keys().next().copied();
    let subjects = [
        Subject::Account(w.requester),
        Subject::Node(changing),
        Subject::Module(w.module),
        Subject::Content(contents.unwrap()),
    ];
    for subject in subjects {
        let reason = "under inquiry".to_owned();
        w.ok(Command::Suspend { subject, reason });
        let reason = "nothing was found".to_owned();
        w.ok(Command::Release { subject, reason });
    }
}

/// Stake is put up, lost for one more refused result, and taken back.
fn stakes(w: &mut World, node: NodeId) {
    w.later(600_000);
    put_up(w, node, 10_000_000);
    let task = w.task(json!({"verification": [sampling(2, 3, 3)]}));
    w.finish(task, |of| json!({"n": i32::from(of == node)}));
    assert_eq!(w.state.stake(node), Amount(7_000_000));
    w.ok(Command::Unstake {
        account: w.owner(node),
        node,
        amount: Amount(1_000_000),
    });
    released(w, node);
    // It has enough at stake, and a record of refused results.
    let adaptive = json!({"method": "sampling", "quorum": 2, "replicas": 2, "adaptive": true});
    let task = w.task(json!({"verification": [adaptive]}));
    w.finish(task, |_| json!({}));
}

/// Under a policy with a dispute window, a whole quorum is refuted.
fn reviewed(w: &mut World) {
    let mut policy = w.state.policy().unwrap().1.as_ref().clone();
    let immediate = policy.clone();
    policy.settlement.window_ms = 60_000;
    w.later(600_000);
    w.ok(Command::AdoptPolicy(policy));
    let others = ["fresh", "fresher"].map(|n| w.node(n));
    for node in others {
        w.ok(Command::DrainNode { node });
    }
    let task = w.task(json!({"verification": [sampling(2, 2, 2)]}));
    w.finish(task, |_| json!({"n": "lie"}));
    for node in others {
        w.ok(Command::ResumeNode { node });
    }
    w.ok(Command::Dispute {
        account: w.requester,
        task,
        reason: "the sum does not add up".into(),
        bond: Amount(9_000_000),
    });
    let review = w.state.tasks[&task].review.by().unwrap();
    w.finish(review, |_| json!({"n": "truth"}));
    assert_eq!(w.phase(task), "overturned");
    w.later(60_000);
    w.ok(Command::Tick);
    w.ok(Command::AdoptPolicy(immediate));
}

/// A check module refuses a result, and one verifier says otherwise.
fn inspected(w: &mut World) {
    w.later(600_000);
    w.push_check();
    for name in ["first", "second", "third"] {
        crate::adaptive::staked(w, name);
    }
    let task = w.task(crate::verifiers::checked());
    w.finish(task, |_| json!({}));
    let by = w.state.tasks[&task].inspections[0].by;
    let first = std::cell::OnceCell::new();
    w.finish(by, |node| json!(*first.get_or_init(|| node) == node));
    w.ok(Command::Tick);
    assert_eq!(w.phase(task), "unmet");
}

/// A node that was shut out for its refused results is let in again.
fn released(w: &mut World, node: NodeId) {
    w.ok(Command::Release {
        subject: Subject::Node(node),
        reason: "its memory was replaced".into(),
    });
}

fn put_up(w: &mut World, node: NodeId, amount: i64) {
    let account = w.owner(node);
    w.deposit(account, amount);
    let amount = Amount(amount);
    w.ok(Command::Stake {
        account,
        node,
        amount,
    });
}

/// Money is taken out, some of it in vain.
fn withdrawals(w: &mut World) {
    let account = w.requester;
    for paid in [true, false] {
        let events = w.ok(Command::RequestWithdrawal {
            account,
            amount: Amount(5_000),
            destination: "the account on file".into(),
        });
        let Event::WithdrawalRequested(requested) = &events[0] else {
            unreachable!()
        };
        let withdrawal = requested.withdrawal;
        w.ok(if paid {
            Command::PayWithdrawal {
                account,
                withdrawal,
                reference: "payout 1".into(),
            }
        } else {
            Command::RefuseWithdrawal {
                account,
                withdrawal,
                reason: "it is not on file".into(),
            }
        });
    }
}

/// Tasks that pay what nodes ask for, and by what is used.
fn priced(w: &mut World) {
    w.later(600_000);
    let asking = w.node("asking");
    let asks = json!({"asks": {"data-processing": "750000"}});
    w.ok(Command::ChangeTerms {
        node: asking,
        terms: Box::new(serde_json::from_value(asks).unwrap()),
    });
    let ask = json!({"budget": "2000000", "pricing": {"mode": "ask", "max_price": "1000000"}, "late_refund_ppm": 249_999});
    let task = w.task(json!({"economics": ask, "qos": {"max_latency_ms": 600_000}}));
    assert_eq!(w.plan()[0].2, asking, "the only one that asks");
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    let metered = json!({"budget": "9000000", "pricing": {"mode": "metered", "base": "5", "per_gfuel": "7000000001", "per_mib_out": "1048576", "max_price": "1000000"}});
    let task = w.task(json!({"economics": metered, "verification": [sampling(2, 3, 3)]}));
    w.finish(task, |of| json!({"n": i32::from(of == asking)}));
    assert_eq!(w.phase(task), "settled");
}

/// A node stops, and is back.
fn given_back(w: &mut World) {
    w.later(600_000);
    let task = w.task(json!({}));
    let (_, assignment, node) = w.plan()[0];
    w.ok(Command::GiveBack { node, assignment });
    w.heard_from(node);
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
}

/// A sample that is placed one after the other until time runs short.
fn hastened(w: &mut World) {
    w.later(600_000);
    let task = w.task(json!({
        "verification": [sampling(2, 2, 2)],
        "limits": {"runtime_s": 10},
        "qos": {"max_latency_ms": 120_000},
    }));
    assert_eq!(w.plan().len(), 1);
    w.later(50_000);
    w.ok(Command::Tick);
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
}

fn silent_reveal(w: &mut World) {
    w.later(600_000);
    let task = w.task(json!({"verification": [sampling(2, 3, 3)]}));
    let mut runs = Vec::new();
    while let [(_, assignment, _)] = w.plan()[..] {
        w.start(assignment);
        let run = w.run(assignment, json!({}), &[("loss", "0.25")]);
        w.commit(&run);
        runs.push(run);
    }
    assert_eq!(runs.len(), 3);
    w.reveal(&runs[0]);
    w.reveal(&runs[1]);
    w.later(30_000);
    w.ok(Command::Tick);
    assert_eq!(w.phase(task), "settled");
}

fn write(world: &World, path: &Path) -> String {
    let mut text = Vec::new();
    let mut frontier = Frontier::default();
    for recorded in &world.log {
        let entry = Entry::encode(recorded).unwrap();
        frontier.push(entry.leaf());
        text.extend_from_slice(&entry.0);
        text.push(b'\n');
    }
    fs::write(path, text).unwrap();
    frontier.root().to_string()
}

fn recompute(path: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit/recompute.py");
    let output = Process::new("python3")
        .arg(script)
        .arg(path)
        .arg("--json")
        .output();
    let output = output.expect("python3 is installed (apt-get install python3)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn expected(world: &World, root: &str) -> Value {
    let accounts: BTreeMap<String, String> = world
        .state
        .ledger
        .balances()
        .map(|(a, b)| (a.to_string(), b.to_string()))
        .collect();
    let points: BTreeMap<String, Value> = world
        .state
        .points
        .iter()
        .map(|(account, points)| {
            let tracks = json!({
                "compute": points.on(Track::Compute),
                "content": points.on(Track::Content),
                "verification": points.on(Track::Verification),
            });
            (account.to_string(), tracks)
        })
        .filter(|(_, tracks)| tracks.as_object().unwrap().values().any(|v| v != "0"))
        .collect();
    json!({"events": world.log.len(), "root": root, "sum": "0", "accounts": accounts, "points": points, "error": null})
}

#[test]
fn the_documents_alone_lead_to_the_same_books() {
    documents_agree(&eventful(), "sample");
}

/// What was written from the documents alone accepts the log, and comes to the same books.
pub fn documents_agree(world: &World, name: &str) {
    let folder = std::env::temp_dir().join(format!("aevir-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("log.ndjson");
    let root = write(world, &path);
    let expected = expected(world, &root);
    if let Some(copy) = std::env::var_os("AEVIR_SAMPLE") {
        fs::copy(&path, &copy).unwrap();
        fs::write(
            Path::new(&copy).with_extension("expected.json"),
            expected.to_string(),
        )
        .unwrap();
    }
    let found = recompute(&path);
    fs::remove_dir_all(&folder).unwrap();
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&found[field], value, "{field}: {}", found["error"]);
    }
}

#[test]
fn the_sample_replays_to_the_same_state() {
    let world = eventful();
    assert!(world.now > Timestamp::default());
    world.check_replay();
}
