//! Who earns by a file: whoever registered it first, and the requester of the task that made it.

use std::collections::BTreeSet;

use aevir_platform::{
    command::{Command, ContentKind, RegisterContent, Subject},
    digest::Digest,
    event::{ContentSuspended, Event, ShareRole},
    ids::{AccountId, AssignmentId, ContentId, NodeId, TaskId},
    policy::Policy,
};
use serde_json::{Value, json};

use crate::{
    contents::{Offer, earned, offered, offering, submission_of, using},
    sample::documents_agree,
    world::{World, immediate, recompute, task_of},
};

#[test]
fn the_first_registrant_of_a_file_earns_by_it() {
    let mut w = World::new();
    let [first, second] = ["first", "second"].map(|name| w.account(name));
    let set = offered(&mut w, first, "set", &Offer::default());
    let mut copy = offering(&mut w, second, "set", &Offer::default());
    assert_eq!(
        w.refused(Command::RegisterContent(copy.clone())),
        "content-known"
    );
    // One byte of one's own beside it changes nothing.
    let own = offering(&mut w, second, "own", &Offer::default());
    let mut beside = own.files[0].clone();
    beside.name = "beside.csv".into();
    copy.files.push(beside);
    assert_eq!(
        w.refused(Command::RegisterContent(copy.clone())),
        "content-known"
    );
    // Its first registrant may have it in a further version.
    let mut next = offering(&mut w, first, "set", &Offer::default());
    next.version = "2".into();
    w.ok(Command::RegisterContent(next));
    // Who registered what isn't his is suspended, and stands in nobody's way.
    let suspend = |content| Command::Suspend {
        subject: Subject::Content(content),
        reason: "it is somebody else's".into(),
    };
    w.ok(suspend(set));
    assert_eq!(
        w.refused(Command::RegisterContent(copy.clone())),
        "content-known",
        "the other version stands"
    );
    let next = w.state.content_named(first, "set", "2").unwrap();
    w.ok(suspend(next));
    w.ok(Command::RegisterContent(copy));
    let standing = w.state.registrants(Digest::of(b"set"));
    let standing: Vec<_> = standing.map(|(_, content)| content.owner).collect();
    assert_eq!(standing, [second]);
    w.check_replay();
}

/// Before a policy said so, whoever had a file could register it, and an audit of such a log holds by its time.
#[test]
fn a_policy_decides_whether_the_first_registrant_counts() {
    let mut policy: Policy = immediate();
    policy.contents.first_registrant = false;
    let mut w = World::with_policy(policy);
    let [first, second] = ["first", "second"].map(|name| w.account(name));
    offered(&mut w, first, "set", &Offer::default());
    offered(&mut w, second, "set", &Offer::default());
    w.ok(Command::AdoptPolicy(immediate()));
    // Both have it, and may go on; nobody else may begin.
    let mut next = offering(&mut w, second, "set", &Offer::default());
    next.version = "2".into();
    w.ok(Command::RegisterContent(next));
    let third = w.account("third");
    let third = offering(&mut w, third, "set", &Offer::default());
    assert_eq!(w.refused(Command::RegisterContent(third)), "content-known");
    w.check_replay();
}

/// Whoever copies a content by a task that hands its input back has the bytes, and registers nothing by them.
#[test]
fn an_output_that_somebody_registered_is_nobody_elses_model() {
    let mut w = World::new();
    w.node("a");
    let result = json!({"stolen": true});
    let bytes = serde_json_canonicalizer::to_vec(&result).unwrap();
    let owner = w.account("owner");
    let name = std::str::from_utf8(&bytes).unwrap();
    offered(&mut w, owner, name, &Offer::default());
    let target = json!({"name": "m", "version": "1", "outputs": ["out"], "licence": "MIT"});
    let task = w.task(json!({"type": "training", "model": {"target": target}}));
    w.finish(task, |_| result.clone());
    assert_eq!(
        (w.phase(task), w.state.tasks[&task].model),
        ("settled", None)
    );
    w.check_replay();
}

/// A task that trains a model on a set, by two of two.
fn training(w: &World, set: ContentId) -> Command {
    let target = json!({"name": "m", "version": "1", "outputs": ["out"], "licence": "MIT", "price": "700000"});
    let sample = json!([{"method": "sampling", "replicas": 2, "quorum": 2}]);
    w.submission(json!({"type": "training", "model": {"target": target}, "data": using(&[set]), "verification": sample}))
}

/// What every run of it brings: its one output is the result.
fn weights() -> Value {
    json!({"weights": "of the model"})
}

/// A content of one file, which is the trained model's, byte for byte.
fn copy(w: &mut World, owner: AccountId, version: &str) -> RegisterContent {
    let bytes = serde_json_canonicalizer::to_vec(&weights()).unwrap();
    let name = std::str::from_utf8(&bytes).unwrap();
    let mut copy = offering(w, owner, name, &Offer::default());
    copy.name = "my net".into();
    copy.version = version.into();
    copy.kind = ContentKind::Model;
    copy
}

/// A training task of which one run is sealed, and the other one is to come.
struct Trained {
    w: World,
    set: ContentId,
    task: TaskId,
    first: (AssignmentId, NodeId),
    others: [AccountId; 2],
}

impl Trained {
    /// As long as no run of it is sealed, this happens.
    fn with(before_the_seal: impl FnOnce(&mut World, NodeId)) -> Self {
        let mut w = World::new();
        for name in ["a", "b"] {
            w.node(name);
        }
        let [author, other] = ["author", "other"].map(|name| w.account(name));
        let set = offered(&mut w, author, "set", &Offer::default());
        let task = training(&w, set);
        let task = task_of(&w.ok(task));
        let (_, assignment, node) = w.plan()[0];
        w.start(assignment);
        w.later(1);
        before_the_seal(&mut w, node);
        let run = w.run(assignment, weights(), &[]);
        w.commit(&run);
        let first = (assignment, node);
        let others = [author, other];
        Self {
            w,
            set,
            task,
            first,
            others,
        }
    }

    fn verdict(&mut self) -> Vec<Event> {
        let before = self.w.log.len();
        self.w.later(1);
        self.w.finish(self.task, |_| weights());
        assert_eq!(self.w.phase(self.task), "settled");
        let since = self.w.log[before..].iter();
        since.map(|recorded| recorded.event.clone()).collect()
    }

    /// It has the file, and its lineage: a use of it pays the set's author.
    fn has_its_model(&mut self) -> ContentId {
        let model = self.w.state.tasks[&self.task].model.unwrap();
        let content = &self.w.state.contents[&model];
        assert_eq!(content.owner, self.w.requester);
        assert_eq!(content.files.len(), 1);
        assert!(content.suspended.is_none());
        let user = self.others[1];
        let terms = json!({"data": using(&[model])});
        let submission = submission_of(&mut self.w, user, terms);
        let task = task_of(&self.w.ok(submission));
        self.w.finish(task, |_| json!({}));
        let earned = earned(&self.w, task);
        let royalty = earned.iter().find(|(role, ..)| *role == ShareRole::Royalty);
        let (_, content, account, amount) = royalty.unwrap();
        assert_eq!((*content, *account), (self.set, self.others[0]));
        assert!(*amount > 0);
        model
    }
}

fn registered(w: &mut World, copy: RegisterContent) -> ContentId {
    let (owner, name, version) = (copy.owner, copy.name.clone(), copy.version.clone());
    w.ok(Command::RegisterContent(copy));
    w.state.content_named(owner, &name, &version).unwrap()
}

/// The node that trains a model registers its file before anybody else can: sealed by then, or not.
#[test]
fn a_copy_that_a_node_registers_of_what_it_runs_is_suspended_by_the_verdict() {
    for is_sealed in [true, false] {
        let mut copies = Vec::new();
        let mut steal = |w: &mut World, node: NodeId| {
            let thief = w.owner(node);
            for version in ["1", "2"] {
                let copy = copy(w, thief, version);
                copies.push(registered(w, copy));
            }
        };
        let mut trained = match is_sealed {
            true => Trained::with(|_, _| ()),
            false => Trained::with(&mut steal),
        };
        if is_sealed {
            let node = trained.first.1;
            steal(&mut trained.w, node);
        }
        let events = trained.verdict();
        let suspended = events.iter().filter_map(|event| match event {
            Event::ContentSuspended(e) => Some(e.content),
            _ => None,
        });
        let suspended: BTreeSet<ContentId> = suspended.collect();
        assert_eq!(suspended, copies.iter().copied().collect());
        let found = |e: &Event| matches!(e, Event::ContentSuspended(_));
        let at = trained.w.log.iter().position(|r| found(&r.event)).unwrap();
        let mut bent = trained.w.log.clone();
        bent[at].event = Event::ContentSuspended(ContentSuspended {
            content: copies[0],
            reason: "no reason".into(),
        });
        assert!(recompute(&bent).is_err(), "an audit derives it");
        let model = trained.has_its_model();
        let w = &mut trained.w;
        let use_it = w.submission(json!({"data": using(&copies[..1])}));
        assert_eq!(w.refused(use_it), "content-suspended");
        // And nobody begins anew.
        let thief = w.owner(trained.first.1);
        let again = copy(w, thief, "3");
        assert_eq!(w.refused(Command::RegisterContent(again)), "content-known");
        let digest = w.state.contents[&model].files[0].digest;
        assert_eq!(w.state.registrants(digest).count(), 1);
        w.check_replay();
        documents_agree(w, if is_sealed { "copied" } else { "copied-early" });
    }
}

/// What nothing in the log shows to be a copy stands beside the model, and is no reason that there is none: another account's, from whomever
/// it has the file.
#[test]
fn a_copy_of_an_account_without_a_run_takes_nothing_from_the_model() {
    let mut trained = Trained::with(|_, _| ());
    let w = &mut trained.w;
    let friend = w.account("friend");
    let theirs = copy(w, friend, "1");
    let theirs = registered(w, theirs);
    trained.verdict();
    let model = trained.has_its_model();
    let w = &mut trained.w;
    assert!(w.state.contents[&theirs].suspended.is_none());
    // Each of both may have it in a further version, and nobody else.
    for (owner, refused) in [
        (friend, false),
        (w.requester, false),
        (trained.others[1], true),
    ] {
        let mut next = copy(w, owner, "2");
        next.name = "m".into();
        let next = Command::RegisterContent(next);
        match refused {
            true => assert_eq!(w.refused(next), "content-known"),
            false => drop(w.ok(next)),
        }
    }
    assert!(w.state.contents[&model].suspended.is_none());
    w.check_replay();
    documents_agree(w, "copied-by-a-friend");
}

/// A file that was there before any node knew the task is its registrant's, also where his node runs it.
#[test]
fn what_was_registered_before_the_first_lease_is_its_registrants() {
    let mut w = World::new();
    let nodes = ["a", "b"].map(|name| w.node(name));
    let author = w.account("author");
    let set = offered(&mut w, author, "set", &Offer::default());
    let first = w.owner(nodes[0]);
    let task = training(&w, set);
    let task = task_of(&w.ok(task));
    let own = copy(&mut w, first, "1");
    let own = registered(&mut w, own);
    w.later(1);
    w.finish(task, |_| weights());
    assert_eq!(
        (w.phase(task), w.state.tasks[&task].model),
        ("settled", None)
    );
    assert!(w.state.contents[&own].suspended.is_none());
    w.check_replay();
    documents_agree(&w, "trained-late");
}

/// Outputs of a task that registers no model are its requester's, too: a copy that a node registered meanwhile stands in nobody's way.
#[test]
fn a_copy_of_any_output_gives_way_to_the_requester() {
    let mut w = World::new();
    let node = w.node("a");
    let task = w.task(json!({}));
    let (_, assignment, _) = w.plan()[0];
    w.start(assignment);
    w.later(1);
    let thief = w.owner(node);
    let stolen = copy(&mut w, thief, "1");
    let stolen = registered(&mut w, stolen);
    let run = w.run(assignment, weights(), &[]);
    w.commit(&run);
    w.reveal(&run);
    assert_eq!(w.phase(task), "settled");
    assert!(w.state.contents[&stolen].suspended.is_some());
    let requester = w.requester;
    let own = copy(&mut w, requester, "1");
    registered(&mut w, own);
    w.check_replay();
    documents_agree(&w, "copied-output");
}
