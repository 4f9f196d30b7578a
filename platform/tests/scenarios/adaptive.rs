//! Adaptive samples: one result of a trusted node may stand alone, and nobody knows before it is sealed.

use aevir_platform::{
    amount::Amount,
    command::Command,
    event::{Event, Trust, TrustDecided, Untrusted},
    ids::NodeId,
    ledger::LedgerAccount,
    policy::{AdaptivePolicy, Policy, SettlementPolicy, StakePolicy, VerificationPolicy},
};
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{AT_ONCE_MS, WINDOW_MS, World, labels, recompute},
};

const AEV: i64 = 1_000_000;

/// A window of ten seconds, and newcomers are trusted; with so much of a chance of being repeated.
pub fn policy(chance_ppm: u32) -> Policy {
    let adaptive = AdaptivePolicy {
        cheat_saving_ppm: 0,
        floor_ppm: chance_ppm,
        trusted_ppm: 0,
        vouched: false,
        ..AdaptivePolicy::default()
    };
    Policy {
        settlement: SettlementPolicy {
            window_ms: WINDOW_MS,
        },
        verification: VerificationPolicy {
            adaptive,
            ..VerificationPolicy::default()
        },
        stake: StakePolicy {
            free_after: 0,
            ..StakePolicy::default()
        },
        ..Policy::default()
    }
}

pub const NEVER: u32 = 0;
const ALWAYS: u32 = 1_000_000;

/// Three nodes of three owners, each with a stake of 20 AEV.
fn world(policy: Policy) -> (World, [NodeId; 3]) {
    let mut w = World::with_policy(policy);
    let nodes = ["a", "b", "c"].map(|name| staked(&mut w, name));
    (w, nodes)
}

pub fn staked(w: &mut World, name: &str) -> NodeId {
    let node = w.node(name);
    let account = w.owner(node);
    w.deposit(account, 20 * AEV);
    let amount = Amount(20 * AEV);
    w.ok(Command::Stake {
        account,
        node,
        amount,
    });
    node
}

pub fn adaptive() -> Value {
    json!({"verification": [{"method": "sampling", "quorum": 2, "replicas": 3, "adaptive": true}]})
}

/// One run from its lease to its commitment, with this result; what the commitment brought.
fn run_one(w: &mut World, result: &Value) -> (NodeId, Vec<Event>) {
    let leased = w.plan();
    assert_eq!(leased.len(), 1, "one after the other");
    let (_, assignment, node) = leased[0];
    w.start(assignment);
    let run = w.run(assignment, result.clone(), &[]);
    (node, w.commit(&run))
}

fn decided(events: &[Event]) -> Option<&TrustDecided> {
    events.iter().find_map(|e| match e {
        Event::TrustDecided(e) => Some(e),
        _ => None,
    })
}

fn treasury(w: &World) -> i64 {
    w.state.ledger.balance(LedgerAccount::Treasury).0
}

fn finished(w: &World, name: &str) {
    w.check_replay();
    documents_agree(w, name);
}

/// The next epoch, in which the coins of the last one are recomputed.
fn next_epoch(w: &mut World) {
    w.later(3_600_000);
    // One for the turn of the epoch, and one for what is due.
    w.ok(Command::Tick);
    w.ok(Command::Tick);
}

#[test]
fn a_trusted_result_that_is_not_drawn_stands_alone_and_is_paid_for_once() {
    let (mut w, _) = world(policy(NEVER));
    let before = w.available(w.requester);
    let task = w.task(adaptive());
    assert_eq!(
        before - w.available(w.requester),
        3 * AEV + 150_000 + 3_000,
        "the escrow is for all replicas"
    );
    let (node, events) = run_one(&mut w, &json!({"n": 1}));
    assert_eq!(
        labels(&events),
        [
            "assignment.committed",
            "task.trust_decided",
            "task.round_closed"
        ]
    );
    let Trust::Drawn { coin, repeated } = decided(&events).unwrap().trust else {
        panic!("{events:?}");
    };
    assert_eq!((coin.chance_ppm, coin.number, repeated), (0, 1, false));
    w.reveal_all(task, |_| json!({"n": 1}));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(before - w.available(w.requester), AEV + 50_000);
    assert_eq!(w.state.nodes[&node].pledges.locked.0, 3 * AEV);
    next_epoch(&mut w);
    assert_eq!(w.state.nodes[&node].pledges.locked.0, 0, "it has matured");
    let counts = recompute(&w.log).unwrap().0;
    assert_eq!((counts.coins, counts.coins_open), (1, 0));
    finished(&w, "alone");
}

#[test]
fn a_result_that_is_drawn_is_repeated_by_another_owner() {
    let (mut w, _) = world(policy(ALWAYS));
    let task = w.task(adaptive());
    let (first, events) = run_one(&mut w, &json!({}));
    assert_eq!(
        labels(&events),
        ["assignment.committed", "task.trust_decided"]
    );
    assert!(matches!(
        decided(&events).unwrap().trust,
        Trust::Drawn { repeated: true, .. }
    ));
    let (second, events) = run_one(&mut w, &json!({}));
    assert_ne!(w.owner(first), w.owner(second));
    assert_eq!(
        labels(&events),
        ["assignment.committed", "task.round_closed"],
        "one coin is enough"
    );
    w.reveal_all(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.state.tasks[&task].replicas(), 2, "no third one");
    next_epoch(&mut w);
    finished(&w, "repeated");
}

/// Everything else costs no stake the first time: this result could have stood alone, and was pledged for.
#[test]
fn a_trusted_cheat_that_is_drawn_loses_its_stake_at_once() {
    let (mut w, _) = world(policy(ALWAYS));
    let task = w.task(adaptive());
    let (cheat, _) = run_one(&mut w, &json!({"n": "wrong"}));
    let answer = |node: NodeId| json!({"n": if node == cheat { "wrong" } else { "right" }});
    w.finish(task, answer);
    assert_eq!(w.phase(task), "settled");
    assert_eq!(w.state.stake(cheat), Amount(17 * AEV));
    assert_eq!(treasury(&w), 3 * AEV + 100_000);
    assert_eq!(w.state.nodes[&cheat].pledges.strikes, 1);
    // From here on it is not trusted, until the strike is forgotten.
    let before = w.log.len();
    while !w.log[before..].iter().any(|r| {
        matches!(&r.event, Event::TrustDecided(e) if e.trust == Trust::Denied { reason: Untrusted::Struck })
    }) {
        w.later(600_000);
        w.ok(Command::Tick);
        w.ok(Command::Tick);
        let task = w.task(adaptive());
        w.finish(task, |_| json!({}));
    }
    finished(&w, "trusted-cheat");
}

#[test]
fn who_is_not_trusted_is_always_repeated() {
    let reason = |mut policy: Policy, stake: bool| {
        policy.verification.staked_votes = 0;
        let (mut w, nodes) = world(policy);
        if !stake {
            for node in nodes {
                let account = w.owner(node);
                let amount = Amount(20 * AEV);
                w.ok(Command::Unstake {
                    account,
                    node,
                    amount,
                });
            }
        }
        let task = w.task(adaptive());
        let (_, events) = run_one(&mut w, &json!({}));
        let Trust::Denied { reason } = decided(&events).unwrap().trust else {
            panic!("{events:?}");
        };
        w.finish(task, |_| json!({}));
        assert_eq!(w.state.tasks[&task].replicas(), 2);
        finished(&w, "untrusted");
        reason
    };
    assert_eq!(reason(policy(NEVER), false), Untrusted::Unstaked);
    let mut strict = policy(NEVER);
    strict.verification.adaptive.trusted_ppm = 94_529;
    assert_eq!(
        reason(strict, true),
        Untrusted::Unproven,
        "a newcomer has 94,528"
    );
}

/// Three owners have this class when the sample begins in it, which may need three; when one has another GPU meanwhile, they are too few.
#[test]
fn a_class_that_too_few_owners_have_is_always_repeated() {
    let (mut w, nodes) = world(policy(NEVER));
    let mut terms = adaptive();
    terms["qos"] = json!({"gpu": {}});
    let mut trust = |shrinks: bool| {
        let task = w.task(terms.clone());
        let (_, first, runner) = w.plan()[0];
        w.start(first);
        if shrinks {
            let node = *nodes.iter().find(|node| **node != runner).unwrap();
            let mut profile = w.state.nodes[&node].profile.clone();
            profile.gpu.as_mut().unwrap().class = "another".into();
            let profile = Box::new(profile);
            w.ok(Command::ChangeProfile { node, profile });
        }
        let run = w.run(first, json!({}), &[]);
        let events = w.commit(&run);
        w.finish(task, |_| json!({}));
        if w.phase(task) == "verifying" {
            w.reveal_all(task, |_| json!({}));
        }
        assert_eq!(w.phase(task), "settled");
        decided(&events).unwrap().trust
    };
    assert!(matches!(
        trust(false),
        Trust::Drawn {
            repeated: false,
            ..
        }
    ));
    let reason = Untrusted::SmallClass;
    assert_eq!(trust(true), Trust::Denied { reason });
    finished(&w, "small-class");
}

#[test]
fn where_time_is_short_all_replicas_run_and_nothing_is_drawn() {
    let (mut w, _) = world(policy(NEVER));
    let mut terms = adaptive();
    terms["qos"] = json!({"max_latency_ms": AT_ONCE_MS});
    let task = w.task(terms.clone());
    assert_eq!(labels(&w.ok(Command::Tick)), ["task.hastened"]);
    assert_eq!(w.plan().len(), 2, "the whole first round at once");
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    assert!(!w.log.iter().any(|r| r.event_is_trust()));
    // It becomes short while the first one runs.
    terms["qos"] = json!({"max_latency_ms": 120_000});
    terms["limits"] = json!({"runtime_s": 10});
    let task = w.task(terms);
    let (_, first, _) = w.plan()[0];
    w.start(first);
    w.later(60_000);
    assert_eq!(labels(&w.ok(Command::Tick))[0], "task.hastened");
    assert_eq!(w.plan().len(), 1);
    let run = w.run(first, json!({}), &[]);
    assert_eq!(labels(&w.commit(&run)), ["assignment.committed"]);
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    finished(&w, "short");
}

/// Who keeps back what was to stand alone loses what a refused result costs, and the task goes on with another first one.
#[test]
fn a_lone_result_that_is_not_revealed_is_a_lost_attempt() {
    let (mut w, _) = world(policy(NEVER));
    let task = w.task(adaptive());
    let (silent, _) = run_one(&mut w, &json!({}));
    w.later(30_000);
    let events = w.ok(Command::Tick);
    assert_eq!(labels(&events), ["assignment.lost"]);
    assert_eq!(w.phase(task), "queued");
    let (second, events) = run_one(&mut w, &json!({}));
    assert_ne!(silent, second);
    assert!(decided(&events).is_some(), "a coin of its own");
    w.reveal_all(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    finished(&w, "unrevealed-alone");
}

/// The chance is what the policy says, whatever nodes and requesters do: of 300 results about 0.222 are repeated.
#[test]
fn as_many_are_repeated_as_the_chance_says() {
    let mut defaults = policy(NEVER);
    defaults.verification.adaptive = AdaptivePolicy {
        trusted_ppm: 0,
        vouched: false,
        ..AdaptivePolicy::default()
    };
    let (mut w, _) = world(defaults);
    w.deposit(w.requester, 1_000 * AEV);
    let mut repeated = 0;
    for _ in 0..300 {
        let task = w.task(adaptive());
        w.finish(task, |_| json!({}));
        repeated += u32::from(w.state.tasks[&task].replicas() == 2);
        w.later(WINDOW_MS.into());
        w.ok(Command::Tick);
    }
    // Four standard deviations of a binomial with 300 and 0.222,223.
    assert!((38..=96).contains(&repeated), "{repeated}");
    let chances = w.log.iter().filter_map(|r| match &r.event {
        Event::TrustDecided(e) => Some(e.trust),
        _ => None,
    });
    for trust in chances {
        let Trust::Drawn { coin, .. } = trust else {
            panic!("{trust:?}");
        };
        assert_eq!(coin.chance_ppm, 222_223);
    }
    next_epoch(&mut w);
    assert_eq!(recompute(&w.log).unwrap().0.coins, 300);
    finished(&w, "chance");
}

/// Nobody can turn a coin afterwards, leave it out, or make up a reason.
#[test]
fn an_audit_finds_a_coin_that_was_turned() {
    let (mut w, _) = world(policy(500_000));
    for _ in 0..4 {
        let task = w.task(adaptive());
        w.finish(task, |_| json!({}));
    }
    next_epoch(&mut w);
    recompute(&w.log).unwrap();
    let at = w.log.iter().position(|r| r.event_is_trust()).unwrap();
    let tampered = |change: &dyn Fn(&mut TrustDecided)| {
        let mut log = w.log.clone();
        let Event::TrustDecided(e) = &mut log[at].event else {
            unreachable!()
        };
        change(e);
        log
    };
    let epoch = tampered(&|e| {
        if let Trust::Drawn { coin, .. } = &mut e.trust {
            coin.epoch = 9;
        }
    });
    let fault = recompute(&epoch).unwrap_err();
    assert_eq!(fault.position, at as u64);
    assert!(
        fault.to_string().contains("a coin is of epoch 9"),
        "{fault}"
    );
    let made_up = tampered(&|e| {
        e.trust = Trust::Denied {
            reason: Untrusted::Struck,
        }
    });
    assert_eq!(recompute(&made_up).unwrap_err().position, at as u64);
    let chance = tampered(&|e| {
        if let Trust::Drawn { coin, .. } = &mut e.trust {
            coin.chance_ppm = 1;
        }
    });
    let fault = recompute(&chance).unwrap_err();
    assert!(fault.to_string().contains("chance_ppm"), "{fault}");
}

#[test]
fn three_refused_results_shut_a_node_out_until_it_is_released() {
    let (mut w, [liar, ..]) = world(Policy::default());
    staked(&mut w, "d");
    let sample =
        json!({"verification": [{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]});
    let mut refused = 0;
    while refused < 3 {
        w.later(600_000);
        w.ok(Command::Tick);
        let task = w.task(sample.clone());
        w.finish(task, |node| json!({"n": i32::from(node == liar)}));
        refused = w.state.nodes[&liar].pledges.strikes;
    }
    let suspended = w.state.nodes[&liar].suspended.as_ref().unwrap();
    assert_eq!(suspended.reason, "3 of its results were refused");
    let subject = aevir_platform::command::Subject::Node(liar);
    let reason = "its memory was replaced".to_owned();
    w.ok(Command::Release { subject, reason });
    assert!(w.state.nodes[&liar].suspended.is_none());
    finished(&w, "shut-out");
}

#[test]
fn a_sample_of_one_is_not_adaptive() {
    let mut w = World::new();
    let one = json!({"verification": [{"method": "sampling", "quorum": 1, "replicas": 1, "adaptive": true}]});
    let command = w.submission(one);
    assert_eq!(w.refused(command), "definition-invalid");
    let mut policy = Policy::default();
    policy.verification.adaptive.floor_ppm = 1_000_001;
    assert_eq!(w.refused(Command::AdoptPolicy(policy)), "policy-invalid");
}

trait IsTrust {
    fn event_is_trust(&self) -> bool;
}

impl IsTrust for aevir_events::Recorded<Event> {
    fn event_is_trust(&self) -> bool {
        matches!(self.event, Event::TrustDecided(_))
    }
}
