//! The task's parameters and their limits.

use aevir_guest::{Result, ensure};
use serde::Deserialize;

/// Bounds the network, and with it the size of a checkpoint (at most 8 MiB).
const HIDDEN_MAX: u32 = 4_096;
const BATCH_MAX: u32 = 4_096;

/// What a run may save by default.
const CHECKPOINTS_MAX: u32 = 1_000;

/// The task's `params`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Units of the hidden layer.
    pub hidden: u32,
    /// Passes over the data; the duration grows with it.
    pub epochs: u32,
    /// Rows a step.
    pub batch: u32,
    /// Step size of the first epoch; it falls linearly to zero after the last.
    pub learning_rate: f32,
    /// Share of the last update that is kept, below 1.
    pub momentum: f32,
    /// Share of each parameter that a step of rate 1 would take away.
    pub weight_decay: f32,
    /// Standard deviation of the noise added to the inputs, in units of theirs.
    pub noise: f32,
    /// A checkpoint is saved after every so many epochs.
    pub checkpoint_every: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hidden: 64,
            epochs: 40,
            batch: 32,
            learning_rate: 0.05,
            momentum: 0.9,
            weight_decay: 1e-4,
            noise: 0.5,
            checkpoint_every: 1,
        }
    }
}

impl Params {
    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            (1..=HIDDEN_MAX).contains(&self.hidden),
            "`hidden` has to be 1 to {HIDDEN_MAX}"
        );
        ensure!(
            (1..=BATCH_MAX).contains(&self.batch),
            "`batch` has to be 1 to {BATCH_MAX}"
        );
        ensure!(self.epochs > 0, "`epochs` has to be at least 1");
        ensure!(
            self.checkpoint_every > 0,
            "`checkpoint_every` has to be at least 1"
        );
        ensure!(
            self.learning_rate > 0.0 && self.learning_rate.is_finite(),
            "`learning_rate` has to be positive"
        );
        ensure!(
            (0.0..1.0).contains(&self.momentum),
            "`momentum` has to be at least 0 and below 1"
        );
        ensure!(
            (0.0..1.0).contains(&self.weight_decay),
            "`weight_decay` has to be at least 0 and below 1"
        );
        ensure!(
            (0.0..10.0).contains(&self.noise),
            "`noise` has to be at least 0 and below 10"
        );
        ensure!(
            self.epochs / self.checkpoint_every <= CHECKPOINTS_MAX,
            "that is more than {CHECKPOINTS_MAX} checkpoints: raise `checkpoint_every`"
        );
        Ok(())
    }

    /// The learning rate of an epoch.
    pub(crate) fn rate(&self, epoch: u32) -> f32 {
        self.learning_rate * (self.epochs - epoch) as f32 / self.epochs as f32
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Params;

    #[test]
    fn the_defaults_pass_and_the_rate_falls() {
        let params = Params::default();
        params.check().unwrap();
        assert_eq!(params.rate(0), params.learning_rate);
        assert!(params.rate(params.epochs - 1) < params.learning_rate / 10.0);
    }

    #[test]
    fn each_bound_is_checked() {
        let cases: [fn(&mut Params); 11] = [
            |p| p.hidden = 0,
            |p| p.hidden = 5_000,
            |p| p.batch = 0,
            |p| p.epochs = 0,
            |p| p.checkpoint_every = 0,
            |p| p.learning_rate = 0.0,
            |p| p.learning_rate = f32::INFINITY,
            |p| p.momentum = 1.0,
            |p| p.weight_decay = f32::NAN,
            |p| p.noise = -1.0,
            |p| p.epochs = 1_001,
        ];
        for (index, spoil) in cases.iter().enumerate() {
            let mut params = Params::default();
            spoil(&mut params);
            assert!(params.check().is_err(), "case {index}");
        }
    }
}
