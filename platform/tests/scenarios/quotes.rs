//! Quotes: they agree with what a plan then does, and tell of foreign nodes no more than powers of two.

use aevir_events::{Context, LeaderSecret};
use aevir_platform::{
    amount::Amount,
    command::{Command, GpuProfile, NodeProfile},
    definition::TaskType,
    ids::NodeId,
    policy::Policy,
    schedule::{Quote, Refused, quote, why},
    terms::NodeTerms,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, profile};

pub fn quoted(w: &World, terms: Value) -> Quote {
    let context = Context {
        time: w.now,
        actor: format!("account/{}", w.requester),
        entropy: [0; 32],
        secret: LeaderSecret([0; 32]),
    };
    quote(&w.state, w.requester, &w.definition(terms), &context).unwrap()
}

fn odd(name: &str) -> NodeProfile {
    NodeProfile {
        cpu_cores: 5,
        memory_mib: 1_500,
        storage_mib: 10_240,
        cpu_mfuel_s: Some(14_909),
        gpu: Some(GpuProfile {
            memory_mib: 3_000,
            buffer_mib: Some(700),
            software: false,
            ..profile("of a GPU").gpu.unwrap()
        }),
        ..profile(name)
    }
}

fn asking(w: &mut World, node: NodeId, micro: i64) {
    let terms = Box::new(NodeTerms {
        asks: TaskType::ALL.map(|kind| (kind, Amount(micro))).into(),
        ..NodeTerms::default()
    });
    w.ok(Command::ChangeTerms { node, terms });
}

/// The least quantity that a quote does not take for fitting, found by bisection, as a curious requester would.
fn threshold(
    w: &World,
    most: u64,
    ask: impl Fn(u64) -> Value,
    fits: impl Fn(&Quote) -> bool,
) -> u64 {
    let (mut low, mut high) = (0, most);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if fits(&quoted(w, ask(middle))) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[test]
fn bisection_finds_powers_of_two_and_nothing_else() {
    let mut w = World::new();
    let owner = w.account("owner");
    let node = w.node_of(owner, odd("odd"));
    asking(&mut w, node, 12_345);
    type Asked = fn(u64) -> Value;
    let asked: [(&str, u64, Asked); 6] = [
        (
            "memory",
            1 << 12,
            |n| json!({"limits": {"memory_mib": n.max(1)}}),
        ),
        // The reserve of 64 MiB and an input come beside it.
        (
            "storage",
            1 << 14,
            |n| json!({"limits": {"output_mib": n.max(1)}}),
        ),
        (
            "cores",
            1 << 10,
            |n| json!({"qos": {"cpu_cores": n.max(1)}}),
        ),
        (
            "speed",
            1 << 20,
            |n| json!({"qos": {"min_mfuel_s": n.max(1)}}),
        ),
        (
            "GPU memory",
            1 << 16,
            |n| json!({"qos": {"gpu": {"memory_mib": n.max(1)}}}),
        ),
        (
            "buffer",
            1 << 12,
            |n| json!({"qos": {"gpu": {"buffer_mib": n.max(1)}}}),
        ),
    ];
    let mut found = Vec::new();
    for (name, most, ask) in asked {
        let surely = threshold(&w, most, ask, |q| q.eligible == 1);
        let perhaps = threshold(&w, most, ask, |q| q.eligible + q.borderline == 1);
        found.push((name, surely - 1, perhaps - 1));
    }
    let storage = found.remove(1);
    assert_eq!(
        found,
        [
            ("memory", 1_024, 2_047),
            ("cores", 4, 7),
            ("speed", 8_192, 16_383),
            ("GPU memory", 2_048, 4_095),
            ("buffer", 512, 1_023),
        ]
    );
    // 8,192 and 16,383 MiB with all that comes beside the output.
    assert_eq!(storage.2 - storage.1, 8_191, "{storage:?}");
    let price = |n: u64| json!({"economics": {"budget": "100000000", "pricing": {"mode": "fixed", "price": n.to_string()}}});
    // From below: the least price that is enough.
    let enough = threshold(&w, 1 << 20, price, |q| q.eligible == 0);
    let perhaps = threshold(&w, 1 << 20, price, |q| q.eligible + q.borderline == 0);
    assert_eq!((enough, perhaps), (16_384, 8_192));
}

#[test]
fn how_long_it_takes_tells_a_rounded_speed() {
    let mut w = World::new();
    let owner = w.account("owner");
    w.node_of(owner, odd("odd"));
    // 8,192 million a second, and not 14,909.
    let fuel = 8_192_000_000u64 * 10;
    let quote = quoted(&w, json!({"qos": {"expected_fuel": fuel.to_string()}}));
    let took = quote.finishes_by.unwrap().0 - quote.starts_at.unwrap().0;
    assert_eq!(took, 10_000);
}

#[test]
fn a_quote_says_why_no_node_fits_and_what_would_help() {
    let mut w = World::new();
    let owner = w.account("owner");
    let node = w.node_of(owner, odd("odd"));
    w.node_of(w.requester, odd("one's own"));
    let needy = json!({"limits": {"memory_mib": 3_000}, "qos": {"min_mfuel_s": 20_000}});
    let quote = quoted(&w, needy);
    assert_eq!((quote.eligible, quote.borderline), (0, 0));
    let refused = [(Refused::Speed, 2)];
    assert_eq!(quote.refused, refused.into());
    // The other's node: in an open market one's own is none, whatever is asked for.
    let nearest = quote.nearest.unwrap();
    let helps: Vec<(Refused, &str)> = nearest
        .iter()
        .map(|r| (r.reason, r.help.as_str()))
        .collect();
    assert_eq!(
        helps,
        [
            (
                Refused::Speed,
                "lower `/qos/min_mfuel_s` from 20000 to 8192"
            ),
            (
                Refused::Memory,
                "lower `/limits/memory_mib` from 3000 to 1024 or less"
            ),
        ]
    );
    // Who does so has a node that fits for certain.
    let meek = json!({"limits": {"memory_mib": 1_024}, "qos": {"min_mfuel_s": 8_192}});
    let quote = quoted(&w, meek.clone());
    assert_eq!(
        (quote.eligible, quote.refused),
        (1, [(Refused::OwnNode, 1)].into())
    );
    // What may fit is not refused, and says what makes it certain.
    let quote = quoted(&w, json!({"limits": {"memory_mib": 1_600}}));
    assert_eq!((quote.eligible, quote.borderline), (0, 1));
    assert_eq!(quote.nearest.unwrap()[0].reason, Refused::Memory);
    // What it does now is not what it is: a busy node fits, and is not free.
    for _ in 0..profile("odd").slots {
        w.task(meek.clone());
    }
    w.plan();
    let busy = quoted(&w, meek.clone());
    assert_eq!((busy.eligible, busy.free), (1, 0));
    w.ok(Command::DrainNode { node });
    let drained = quoted(&w, meek);
    assert_eq!(drained.refused[&Refused::Draining], 1);
    assert!(
        drained
            .nearest
            .is_some_and(|n| n.iter().any(|r| !r.help.is_empty()))
    );
}

#[test]
fn a_node_that_is_allowed_no_run_fits_nothing() {
    let mut w = World::new();
    let owner = w.account("owner");
    let node = w.node_of(owner, profile("capped"));
    let task = w.task(json!({}));
    for caps in [json!({"runs": 0}), json!({"cpu_cores": 0})] {
        let terms = serde_json::from_value(json!({"caps": caps})).unwrap();
        w.ok(Command::ChangeTerms { node, terms });
        let quote = quoted(&w, json!({}));
        assert_eq!((quote.eligible, quote.borderline, quote.free), (0, 0, 0));
        assert_eq!((quote.starts_at, quote.finishes_by), (None, None));
        assert_eq!(quote.refused, [(Refused::NoRuns, 1)].into());
        let why = why(&w.state, &w.state.tasks[&task], w.now);
        assert_eq!(why.refused, [(Refused::NoRuns, 1)].into());
        let nearest = why.nearest.unwrap();
        assert!(nearest.iter().any(|r| r.help.contains("allows it no run")));
        assert_eq!(w.plan(), []);
    }
    w.ok(Command::ChangeTerms {
        node,
        terms: Box::default(),
    });
    assert_eq!(quoted(&w, json!({})).free, 1);
    assert_eq!(w.plan().len(), 1);
}

#[test]
fn ones_own_nodes_are_told_exactly() {
    let mut w = World::with_policy(Policy::private());
    let owner = w.requester;
    w.node_of(owner, odd("mine"));
    let of = |mib: u64| json!({"limits": {"memory_mib": mib}});
    let fits = |w: &World, mib| (quoted(w, of(mib)).eligible, quoted(w, of(mib)).borderline);
    assert_eq!((fits(&w, 1_500), fits(&w, 1_501)), ((1, 0), (0, 0)));
}

#[derive(Debug, Clone)]
struct Machine {
    memory: u32,
    storage: u32,
    speed: u32,
    ask: i64,
}

/// A size, and another one between the same two powers of two.
fn alike(most: u32) -> impl Strategy<Value = (u32, u32)> {
    (1..most.ilog2()).prop_flat_map(|log| {
        let within = (1u32 << log) + 1..2 << log;
        (within.clone(), within)
    })
}

/// A machine, and another one of which others are told the same.
fn twins() -> impl Strategy<Value = [Machine; 2]> {
    (alike(5_000), alike(9_000), alike(5_000), alike(2_000_000)).prop_map(
        |(memory, storage, speed, ask)| {
            [
                (memory.0, storage.0, speed.0, ask.0),
                (memory.1, storage.1, speed.1, ask.1),
            ]
            .map(|(memory, storage, speed, ask)| Machine {
                memory,
                storage,
                speed,
                ask: i64::from(ask),
            })
        },
    )
}

/// A market with one node of another owner.
fn market_of(machine: &Machine) -> World {
    let mut w = World::new();
    let owner = w.account("owner");
    let node = w.node_of(
        owner,
        NodeProfile {
            memory_mib: machine.memory,
            storage_mib: machine.storage,
            cpu_mfuel_s: Some(machine.speed),
            gpu: profile("of a GPU").gpu.map(|gpu| GpuProfile {
                memory_mib: machine.memory,
                ..gpu
            }),
            ..profile("of a machine")
        },
    );
    asking(&mut w, node, machine.ask);
    w
}

fn machine() -> impl Strategy<Value = Machine> {
    (64u32..5_000, 400u32..9_000, 1u32..5_000, 0i64..2_000_000).prop_map(
        |(memory, storage, speed, ask)| Machine {
            memory,
            storage,
            speed,
            ask,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    /// Whatever is asked, and all that is answered: what is refused and what would help, too.
    #[test]
    fn of_machines_between_the_same_powers_of_two_all_is_told_alike(
        twins in twins(),
        asked in prop::collection::vec(
            (1u32..4_097, 1u32..6_000, 1u32..6_000, 1i64..3_000_000, any::<bool>(), prop::option::of(1u32..3_000)),
            1..8,
        ),
    ) {
        let markets = twins.each_ref().map(market_of);
        for (memory, output, speed, price, by_ask, of_gpu) in asked {
            let pricing = match by_ask {
                true => json!({"mode": "ask", "max_price": price.to_string()}),
                false => json!({"mode": "fixed", "price": price.to_string()}),
            };
            let terms = json!({
                "limits": {"memory_mib": memory, "output_mib": output},
                "qos": {"min_mfuel_s": speed, "gpu": of_gpu.map(|mib| json!({"memory_mib": mib}))},
                "economics": {"budget": "100000000", "pricing": pricing},
            });
            let [one, other] = markets.each_ref().map(|w| quoted(w, terms.clone()));
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one.eligible + one.borderline + one.refused.values().sum::<usize>(), 1);
            prop_assert_eq!(one.nearest.is_some(), one.eligible == 0);
        }
    }

    /// `World` holds every plan equal to the specification.
    #[test]
    fn what_is_quoted_as_free_is_placed_and_what_fits_nowhere_is_not(
        machines in prop::collection::vec(machine(), 1..6),
        tasks in prop::collection::vec((1u32..4_096, 1u32..5_000, 1u32..5_000, 1i64..2_000_000), 1..12),
    ) {
        let mut w = World::new();
        for (i, machine) in machines.iter().enumerate() {
            let owner = w.account(&format!("owner {i}"));
            let of = NodeProfile {
                memory_mib: machine.memory,
                storage_mib: machine.storage,
                cpu_mfuel_s: Some(machine.speed),
                ..profile(&format!("node {i}"))
            };
            let node = w.node_of(owner, of);
            asking(&mut w, node, machine.ask);
        }
        for (memory, output, speed, price) in tasks {
            let terms = json!({
                "limits": {"memory_mib": memory, "output_mib": output},
                "qos": {"min_mfuel_s": speed},
                "economics": {"budget": "100000000", "pricing": {"mode": "fixed", "price": price.to_string()}},
            });
            let quote = quoted(&w, terms.clone());
            prop_assert!(quote.free <= quote.eligible);
            prop_assert_eq!(quote.starts_at.is_some(), quote.eligible > 0);
            let task = w.task(terms);
            let plan = w.plan();
            let placed = plan.iter().any(|(of, ..)| *of == task);
            if quote.free > 0 && quote.ahead == 0 {
                prop_assert!(placed, "{quote:?}");
            }
            if quote.eligible + quote.borderline == 0 {
                prop_assert!(!placed, "{quote:?}");
            }
        }
    }
}
