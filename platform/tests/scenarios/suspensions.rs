//! Administrators suspend and release: nothing new, while what has begun goes on.

use aevir_events::Context;
use aevir_platform::{
    amount::Count,
    command::{COMPILE_MIB_MIN, Command, RegisterModule, Subject, World as ModuleWorld},
    decide,
    digest::Digest,
    ids::{AccountId, ContentId, NodeId},
    report::BlobRef,
    schedule::{Held, Refused, held},
};
use serde_json::json;

use crate::{
    market::dataset,
    nodes::why,
    world::{World, labels},
};

fn suspend(subject: Subject) -> Command {
    let reason = "under inquiry".to_owned();
    Command::Suspend { subject, reason }
}

fn release(subject: Subject) -> Command {
    let reason = "nothing was found".to_owned();
    Command::Release { subject, reason }
}

#[test]
fn a_suspended_account_does_nothing_new_and_what_runs_goes_on() {
    let mut w = World::new();
    let account = w.requester;
    let node = w.node("a");
    let (runs, waits) = (w.task(json!({})), w.task(json!({})));
    let assignment = w.plan()[0].1;
    w.ok(suspend(Subject::Account(account)));
    assert_eq!(w.refused(w.submission(json!({}))), "account-suspended");
    let blob = BlobRef {
        digest: Digest::of(b"x"),
        size: Count(1),
    };
    let module = RegisterModule {
        owner: account,
        name: "m".into(),
        blob,
        world: ModuleWorld::Task,
        imports: vec![],
        compile_mib: COMPILE_MIB_MIN,
        code_mib: 1,
    };
    for command in [
        Command::RecordUpload { account, blob },
        Command::RegisterModule(module),
        Command::IssueJoinToken {
            account,
            token_hash: Digest::of(b"t"),
            expires: w.now,
        },
    ] {
        assert_eq!(w.refused(command), "account-suspended");
    }
    w.start(assignment);
    let run = w.run(assignment, json!({}), &[]);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(runs), "settled");
    let task = &w.state.tasks[&waits];
    assert_eq!(held(&w.state, task), Some(Held::Requester));
    assert!(w.plan().is_empty());
    w.ok(release(Subject::Account(account)));
    assert_eq!(
        w.plan(),
        [(
            waits,
            w.state.tasks[&waits].active().next().unwrap().id,
            node
        )]
    );
    w.check_replay();
}

#[test]
fn money_can_always_be_taken_back_from_what_waits() {
    let mut w = World::new();
    let task = w.task(json!({}));
    w.ok(suspend(Subject::Account(w.requester)));
    w.ok(Command::CancelTask {
        requester: w.requester,
        task,
    });
    assert_eq!(w.available(w.requester), 1_000_000_000);
}

#[test]
fn a_suspended_node_or_owner_gets_nothing() {
    let mut w = World::new();
    let node = w.node("a");
    for subject in [Subject::Node(node), Subject::Account(w.owner(node))] {
        w.ok(suspend(subject));
        let task = w.task(json!({}));
        assert_eq!(why(&w, task, node), Some(Refused::Suspended));
        assert!(w.plan().is_empty() && !w.state.has_placeable());
        w.ok(release(subject));
        w.finish(task, |_| json!({}));
    }
    w.check_replay();
}

#[test]
fn a_token_of_a_suspended_account_lets_nobody_in() {
    let mut w = World::new();
    let account = w.account("owner");
    let token_hash = Digest::of(b"token");
    let expires = w.now.plus_ms(1_000);
    w.ok(Command::IssueJoinToken {
        account,
        token_hash,
        expires,
    });
    w.ok(suspend(Subject::Account(account)));
    let join = Command::RegisterNode(aevir_platform::command::RegisterNode {
        token_hash,
        public_key: aevir_platform::hexbytes::Hex([1; 32]),
        key_hash: Digest::of(b"key"),
        profile: crate::world::profile("n"),
    });
    assert_eq!(w.refused(join.clone()), "account-suspended");
    w.ok(release(Subject::Account(account)));
    w.ok(join);
}

#[test]
fn a_suspended_content_or_module_is_in_no_new_task_and_no_new_run() {
    let mut w = World::new();
    w.node("a");
    let content = dataset(&mut w, "set", 1);
    let task = json!({"data": [{"name": "set", "from": {"content": {"id": content.to_string()}}}]});
    let rows = [
        (
            Subject::Content(content),
            "content-suspended",
            Held::Content(content),
        ),
        (Subject::Module(w.module), "module-suspended", Held::Module),
    ];
    for (subject, code, why) in rows {
        let waits = w.task(task.clone());
        w.ok(suspend(subject));
        assert_eq!(w.refused(w.submission(task.clone())), code);
        assert_eq!(held(&w.state, &w.state.tasks[&waits]), Some(why));
        assert!(w.plan().is_empty());
        w.ok(release(subject));
        w.finish(waits, |_| json!({}));
        assert_eq!(w.phase(waits), "settled");
    }
    w.check_replay();
}

#[test]
fn suspensions_have_a_reason_and_come_one_at_a_time() {
    let mut w = World::new();
    let subject = Subject::Account(w.requester);
    assert_eq!(w.refused(release(subject)), "not-suspended");
    for reason in ["", " ", "a\tb", &"x".repeat(401)] {
        let reason = reason.to_owned();
        assert_eq!(
            w.refused(Command::Suspend { subject, reason }),
            "reason-invalid"
        );
    }
    assert_eq!(labels(&w.ok(suspend(subject))), ["account.suspended"]);
    assert_eq!(w.refused(suspend(subject)), "suspended-already");
    assert_eq!(labels(&w.ok(release(subject))), ["account.released"]);
    let ghost = ulid::Ulid::from_parts(1, 1);
    for (subject, code) in [
        (Subject::Account(AccountId(ghost)), "unknown-account"),
        (Subject::Node(NodeId(ghost)), "unknown-node"),
        (Subject::Content(ContentId(ghost)), "unknown-content"),
        (Subject::Module(Digest::of(b"none")), "unregistered-module"),
    ] {
        assert_eq!(w.refused(suspend(subject)), code);
        assert_eq!(w.refused(release(subject)), code);
    }
}

#[test]
fn there_is_always_an_administrator_left() {
    let mut w = World::new();
    let admins = ["first", "second"].map(|name| {
        w.ok(Command::OpenAccount(aevir_platform::command::OpenAccount {
            name: name.into(),
            key_hash: Digest::of(name.as_bytes()),
            scopes: vec![aevir_platform::command::Scope::Admin],
        }));
        let found = w.state.accounts.iter().find(|(_, a)| a.name == name);
        *found.unwrap().0
    });
    let by = |w: &World, account: AccountId, command: Command| {
        let context = Context {
            time: w.now,
            actor: format!("account/{account}"),
            entropy: [0; 32],
            secret: aevir_events::LeaderSecret([7; 32]),
        };
        decide(&w.state, &command, &context).map_err(|e| e.code())
    };
    let itself = suspend(Subject::Account(admins[0]));
    assert_eq!(by(&w, admins[0], itself.clone()), Err("suspends-itself"));
    by(&w, admins[1], itself.clone()).unwrap();
    w.ok(itself);
    // One that is suspended administrates nothing, its own release included.
    let out = release(Subject::Account(admins[0]));
    assert_eq!(by(&w, admins[0], out.clone()), Err("not-permitted"));
    by(&w, admins[1], out).unwrap();
    let requester = suspend(Subject::Account(w.requester));
    assert_eq!(by(&w, w.requester, requester), Err("not-permitted"));
}
