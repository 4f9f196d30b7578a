//! Random operations through the real machine, and beside it a naive model of money and points: after each the two agree.
//!
//! `AEVIR_OPERATIONS=1000000 cargo test --release -p aevir-platform --test model -- --nocapture` is the million. A failure names the seed
//! of its life and the step; `AEVIR_SEED=n` plays that life alone.

#![allow(clippy::unwrap_used, missing_debug_implementations, unreachable_pub)]

mod coverage;
mod market;
mod naive;
mod operations;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use crate::{
    coverage::{COMMANDS, Coverage, ENDS, GRANTED_MIN},
    operations::Player,
};

/// Operations of an ordinary run: commands that are decided.
const OPERATIONS: usize = 64_000;
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
    let times = (operations as u64).max(1);
    let scaled = |least: u64| (least * times / OPERATIONS as u64).max(1);
    let commands = COMMANDS.iter().map(|what| (*what, scaled(GRANTED_MIN)));
    let ends = ENDS.iter().map(|(what, least)| (*what, scaled(*least)));
    let least: BTreeMap<&str, u64> = commands.chain(ends).collect();
    let granted = |what: &str| coverage.get(what).map_or(0, |counts| counts.0);
    let missing = least.iter().filter(|(what, least)| granted(what) < **least);
    let missing: Vec<_> = missing.collect();
    let is_short = operations < OPERATIONS;
    assert!(
        is_short || missing.is_empty(),
        "happened less often: {missing:?}"
    );
    let unknown = coverage.keys().find(|what| !least.contains_key(*what));
    assert_eq!(unknown, None, "it is played, and nobody asks for it");
}
