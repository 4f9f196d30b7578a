//! Who earns by a file: whoever registered it first, and the requester of the task that made it.

use aevir_platform::{
    command::{Command, Subject},
    digest::Digest,
    policy::Policy,
};
use serde_json::json;

use crate::{
    contents::{Offer, offered, offering},
    world::{World, immediate},
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
    assert_eq!(w.state.first_registrant(Digest::of(b"set")), Some(second));
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
    let mut third = offering(&mut w, second, "set", &Offer::default());
    third.version = "2".into();
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
