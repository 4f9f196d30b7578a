//! Inclusion proofs out of tiles that the reader has in its cache.

use std::{sync::Arc, time::Instant};

use aevir_events::{
    merkle::leaf_hash,
    testing::MemoryTiles,
    tlog::{Tile, TileBuilder, TileReader, TileStore, verify_inclusion},
};
use anyhow::{Context, Result};

use super::Bench;
use crate::figure::{Figure, Target, median};

/// Entries of the published log: three levels of tiles, and as many tiles of leaves as the reader caches.
const ENTRIES: u64 = 100_000;
/// Proofs of one round.
const PROOFS: u64 = 20_000;
/// Visits the indexes in an order that is not theirs; no divisor of their number.
const STRIDE: u64 = 7_919;

/// Measures the mean time of a proof.
pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    bench.say("inclusion proofs");
    let store = Arc::new(MemoryTiles::default());
    let mut builder = TileBuilder::default();
    let mut full = Vec::new();
    for n in 0..ENTRIES {
        builder.push(&n.to_be_bytes(), &mut full);
    }
    for Tile { path, bytes } in full.into_iter().chain(builder.partials()) {
        store.put_tile(path, bytes).await?;
    }
    let (root, reader) = (builder.root(), TileReader::new(store));
    let mut micros = Vec::new();
    for round in 0..=bench.rounds {
        let started = Instant::now();
        for n in 0..PROOFS {
            let proof = reader
                .inclusion_proof(n * STRIDE % ENTRIES, ENTRIES, ENTRIES)
                .await?;
            std::hint::black_box(proof);
        }
        // The first round warms the cache.
        if round > 0 {
            micros.push(started.elapsed().as_secs_f64() * 1e6 / PROOFS as f64);
        }
    }
    let proof = reader.inclusion_proof(STRIDE, ENTRIES, ENTRIES).await?;
    verify_inclusion(
        STRIDE,
        ENTRIES,
        leaf_hash(&STRIDE.to_be_bytes()),
        &proof,
        root,
    )
    .context("a proof that was measured is none")?;
    bench.add(Figure::alone("proof.inclusion", median(micros), "us").target(Target::Below(50.0)));
    Ok(())
}
