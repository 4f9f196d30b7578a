//! Epochs and draws: a secret that is committed to, drawn by, and disclosed.

use aevir_platform::{
    command::Command,
    event::{Disclosure, Event},
    hexbytes::Hex,
    ids::NodeId,
};
use serde_json::{Value, json};

use crate::world::{World, recompute};

#[test]
fn a_draw_that_the_secret_does_not_lead_to_is_found_where_it_was_made() {
    let mut w = World::new();
    for name in ["a", "b", "c", "d"] {
        w.node(name);
    }
    let sampled: Value = json!([{"method": "sampling", "quorum": 1, "replicas": 1}]);
    for _ in 0..3 {
        w.task(json!({"verification": sampled}));
    }
    w.plan();
    w.later(3_600_000);
    w.ok(Command::Tick);
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!((counts.draws, counts.draws_open), (3, 0));
    let leased = |e: &Event| matches!(e, Event::AssignmentLeased(_));
    let at: Vec<usize> = (0..w.log.len())
        .filter(|i| leased(&w.log[*i].event))
        .collect();
    // The last lease goes to a node that was a candidate too.
    let others: Vec<NodeId> = w.state.nodes.keys().copied().collect();
    let mut taken = Vec::new();
    for i in &at {
        if let Event::AssignmentLeased(lease) = &w.log[*i].event {
            taken.push(lease.node);
        }
    }
    let free = others.into_iter().find(|n| !taken.contains(n)).unwrap();
    if let Event::AssignmentLeased(lease) = &mut w.log[at[2]].event {
        lease.node = free;
    }
    let fault = recompute(&w.log).unwrap_err();
    assert_eq!(fault.position as usize, at[2]);
    assert!(fault.to_string().contains("was not drawn"), "{fault}");
}

#[test]
fn an_epoch_whose_secret_is_lost_is_closed_and_said_so() {
    let mut w = World::new();
    w.node("a");
    w.task(json!({}));
    assert_eq!(w.plan().len(), 1);
    // Another leader, with another secret.
    w.secret = [8; 32];
    w.task(json!({}));
    w.node("b");
    assert_eq!(w.plan().len(), 0, "nothing is drawn with a wrong secret");
    let events = w.ok(Command::Tick);
    assert!(
        matches!(&events[0], Event::EpochClosed(e) if e.secret == Disclosure::Lost && e.epoch == 1)
    );
    assert!(matches!(&events[1], Event::EpochOpened(e) if e.epoch == 2));
    assert_eq!(w.plan().len(), 1);
    let (counts, _) = recompute(&w.log).unwrap();
    assert_eq!((counts.draws_lost, counts.draws_open), (1, 1));
    w.check_replay();
}

#[test]
fn an_epochs_secret_is_disclosed_when_its_time_is_over_and_not_before() {
    let mut w = World::new();
    w.later(3_599_999);
    assert!(w.ok(Command::Tick).is_empty());
    w.later(1);
    let events = w.ok(Command::Tick);
    let Event::EpochClosed(closed) = &events[0] else {
        panic!("{events:?}")
    };
    assert!(matches!(closed.secret, Disclosure::Revealed(_)));
    let at = w.log.len() - 2;
    if let Event::EpochClosed(closed) = &mut w.log[at].event {
        closed.secret = Disclosure::Revealed(Hex([1; 32]));
    }
    let written = w.log[at].clone();
    let mut state = aevir_platform::state::State::default();
    for recorded in &w.log[..at] {
        aevir_platform::evolve(&mut state, recorded).unwrap();
    }
    let refused = aevir_platform::evolve(&mut state, &written).unwrap_err();
    assert!(
        refused.to_string().contains("not the one committed to"),
        "{refused}"
    );
}
