//! Random operations through the real machine, and beside it a naive model of money and points: after each the two agree.
//!
//! `AEVIR_OPERATIONS=1000000 cargo test --release -p aevir-platform --test model -- --nocapture` is the million. A failure names the seed
//! of its life and the step; `AEVIR_SEED=n` plays that life alone.

#![allow(clippy::unwrap_used, missing_debug_implementations, unreachable_pub)]

mod coverage;
mod market;
mod naive;
mod operations;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::{
    coverage::{Coverage, MUST},
    operations::Player,
};

/// Operations of an ordinary run.
const OPERATIONS: usize = 96_000;
/// Operations of one life of a market: each begins anew, and is replayed at its end.
const LIFE: usize = 4_000;

fn setting(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// One life; what fails in it names the seed and the step.
fn live(seed: u64, coverage: &mut Coverage) {
    let mut step = 0;
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut player = Player::new(seed);
        while step < LIFE {
            player.play();
            step += 1;
        }
        player.market.check_replay();
        for (what, (granted, refused)) in &player.market.coverage {
            let counts = coverage.entry(what).or_default();
            *counts = (counts.0 + granted, counts.1 + refused);
        }
    }));
    if let Err(panic) = lived {
        eprintln!(
            "failed in the life of seed {seed} at step {step}: AEVIR_SEED={seed} plays it again"
        );
        resume_unwind(panic);
    }
}

#[test]
fn the_machine_and_the_naive_model_agree() {
    let operations = setting("AEVIR_OPERATIONS").unwrap_or(OPERATIONS);
    let mut coverage = Coverage::new();
    if let Some(seed) = setting("AEVIR_SEED") {
        return live(seed as u64, &mut coverage);
    }
    for seed in 0..operations.div_ceil(LIFE) {
        live(seed as u64, &mut coverage);
    }
    for (what, (granted, refused)) in &coverage {
        println!("{what}: {granted}, refused {refused}");
    }
    let missing = MUST
        .iter()
        .filter(|what| coverage.get(**what).is_none_or(|n| n.0 == 0));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
