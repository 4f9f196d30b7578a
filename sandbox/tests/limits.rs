//! Every limit on the CPU's side: passing it is an outcome that names it and its value.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::{End, Limits, RunEvent};
use support::{Bench, example};

/// A limit, the run that passes it, and what the outcome says.
struct Row {
    limit: &'static str,
    value: u64,
    set: fn(&mut Limits),
    bench: fn() -> Bench,
}

fn echo(params: &str) -> Bench {
    Bench::new(&example("echo")).params(params)
}

const ROWS: [Row; 13] = [
    Row {
        limit: "fuel",
        value: 1_000,
        set: |limits| limits.fuel = 1_000,
        bench: || Bench::guest("spin"),
    },
    Row {
        limit: "wall",
        value: 200,
        set: |limits| limits.wall_ms = 200,
        bench: || Bench::guest("spin"),
    },
    Row {
        limit: "memory",
        value: 8 << 20,
        set: |limits| limits.memory_bytes = 8 << 20,
        bench: || Bench::guest("grow"),
    },
    Row {
        limit: "table",
        value: 63,
        set: |limits| limits.table_elements = 63,
        bench: || Bench::guest("stain"),
    },
    Row {
        limit: "output",
        value: 1 << 20,
        set: |limits| limits.output_bytes = 1 << 20,
        bench: || Bench::guest("flood"),
    },
    Row {
        limit: "outputs",
        value: 0,
        set: |limits| limits.outputs = 0,
        bench: || echo(r#"{"copy": ["a"]}"#).input("a", b"x"),
    },
    Row {
        limit: "metrics",
        value: 1,
        set: |limits| limits.metric_events = 1,
        bench: || echo(r#"{"metrics": {"a": 1, "b": 2}}"#),
    },
    Row {
        limit: "metric-names",
        value: 1,
        set: |limits| limits.metric_names = 1,
        bench: || echo(r#"{"metrics": {"a": 1, "b": 2}}"#),
    },
    Row {
        limit: "checkpoints",
        value: 2,
        set: |limits| limits.checkpoints = 2,
        bench: || echo(r#"{"spin": 4}"#),
    },
    Row {
        // Three of twelve bytes.
        limit: "checkpoint-total",
        value: 47,
        set: |limits| limits.checkpoint_total_bytes = 47,
        bench: || echo(r#"{"spin": 4}"#),
    },
    Row {
        limit: "result",
        value: 8,
        set: |limits| limits.result_bytes = 8,
        bench: || Bench::guest("long-result"),
    },
    Row {
        limit: "handles",
        value: 16,
        set: |limits| limits.handles = 16,
        bench: || Bench::guest("hoard").input("data", b"x"),
    },
    Row {
        limit: "memory",
        value: 65_535,
        set: |limits| limits.memory_bytes = 65_535,
        bench: || Bench::guest("ok"),
    },
];

#[tokio::test]
async fn passing_a_limit_is_an_outcome_that_names_it_and_its_value() {
    for row in ROWS {
        let ran = (row.bench)().limits(row.set).run().await;
        let expected = End::Limit {
            limit: row.limit.into(),
            value: row.value,
        };
        assert_eq!(ran.outcome.end, expected, "{}", row.limit);
        assert!(ran.outcome.outputs.is_empty() && ran.outcome.result.is_none());
    }
}

/// What is said beyond these limits is dropped, and counted where it matters: a guest must not fail for being talkative.
#[tokio::test]
async fn talk_beyond_its_limits_is_dropped_or_cut() {
    let mut bench = Bench::guest("chatter").limits(|limits| {
        limits.fuel = 1_000_000;
        limits.log_lines = 3;
        limits.log_line_bytes = 1;
    });
    let ran = bench.run().await;
    let lines: Vec<_> = ran
        .events
        .iter()
        .filter_map(|event| match event {
            RunEvent::Log { text, .. } => Some(text.len()),
            _ => None,
        })
        .collect();
    assert_eq!(lines, [1, 1, 1]);
    assert!(ran.outcome.log_lines_dropped > 0);

    let mut bench = echo(r#"{"spin": 4}"#).limits(|limits| limits.progress_events = 0);
    let ran = bench.run().await;
    assert_eq!(ran.outcome.end, End::Ok);
    let progress = |event: &&RunEvent| matches!(event, RunEvent::Progress { .. });
    // The newest is never lost.
    assert!(ran.events.iter().filter(progress).count() <= 1);
}

/// What an allocator only reserves is not taken: a node's operator may allow little, and its node compiles all the same.
#[tokio::test]
async fn the_examples_compile_in_the_least_memory_that_a_node_gives() {
    const LEAST_BYTES: u64 = 1_024 << 20;
    for name in ["echo", "mlp-train", "mlp-evaluate", "tolerance"] {
        // A module that nobody has compiled: a custom section with a name that is never the same.
        let unique = tempfile::tempdir().unwrap();
        let section = unique.path().to_str().unwrap().as_bytes();
        let mut module = example(name);
        module.extend([0, section.len() as u8 + 1, section.len() as u8]);
        module.extend(section);
        let bench = Bench::new(&module);
        assert!(bench.executor.compiled(&bench.spec).await.is_none());
        let compiled = bench.executor.compile(&bench.spec, LEAST_BYTES).await;
        assert!(compiled.is_ok(), "{name}: {compiled:?}");
    }
}

#[tokio::test]
async fn the_lines_of_a_run_that_is_killed_are_heard_or_counted() {
    let mut bench = Bench::guest("chatter").limits(|limits| {
        limits.log_lines = 10;
        limits.wall_ms = 300;
        limits.fuel = 1_000_000_000_000_000;
    });
    let ran = bench.run().await;
    let End::Limit { limit, .. } = &ran.outcome.end else {
        panic!("it talks for ever: {:?}", ran.outcome.end);
    };
    assert_eq!(limit, "wall");
    let lines = ran.events.iter();
    let lines = lines.filter(|event| matches!(event, RunEvent::Log { .. }));
    assert_eq!(lines.count(), 10);
    assert!(ran.outcome.log_lines_dropped > 100, "{:?}", ran.outcome);
}
