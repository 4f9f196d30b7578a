//! Checkpoints: what a run saves so that another node can go on from there when this one dies.
//!
//! A run that resumes must end with the bytes an uninterrupted one would have produced: save everything the next step
//! depends on (the step number, optimiser state), and derive randomness from the seed and the step, not from how often
//! it was drawn (see [`Rng::stream`](crate::Rng::stream)).

use crate::Result;
use crate::bindings::aevir::task::context;

/// Saves a checkpoint of at most 8 MiB; the newest counts.
pub fn save(bytes: &[u8]) -> Result<()> {
    Ok(context::save_checkpoint(bytes)?)
}

/// The checkpoint to resume from, where there is one.
pub fn last() -> Option<Vec<u8>> {
    context::last_checkpoint()
}
