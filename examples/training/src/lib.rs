//! Trains a perceptron with one hidden layer on the GPU, by stochastic gradient descent with momentum.
//!
//! Input `train`: a [`Dataset`]. Output `weights`: a [`Network`]. After each epoch the mean loss is reported as metric
//! `loss` and everything that the next epoch depends on is saved, so that a run that resumes elsewhere ends with the
//! same bytes as one that was never interrupted.

mod checkpoint;
mod params;
mod trainer;

use aevir_guest::{Input, Output, Result, ensure, info, metric, progress};
use checkpoint::Checkpoint;
use digits::{Dataset, Network, ROWS_MAX, Shape, initial_parameters};
use serde::Serialize;
use trainer::Trainer;

pub use params::Params;

/// The label of the random stream for initial weights; epoch `n` shuffles with stream `n`.
const WEIGHTS_STREAM: u64 = u64::MAX;

/// The task's result.
#[derive(Debug, Serialize)]
pub struct Trained {
    epochs: u32,
    /// Mean cross-entropy over the last epoch, in nats.
    final_loss: f64,
    rows: usize,
    parameters: usize,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::task!(train);

/// The task.
pub fn train(params: Params) -> Result<Trained> {
    params.check()?;
    let data = Dataset::from_bytes(&Input::open("train")?.read_all()?)?;
    let rows = data.rows();
    ensure!(
        rows <= ROWS_MAX,
        "{rows} rows are more than one pass takes ({ROWS_MAX})"
    );
    let shape = Shape {
        inputs: data.features,
        hidden: params.hidden,
        classes: data.classes,
    };
    let rng = aevir_guest::rng();

    let mut state = match aevir_guest::checkpoint::last() {
        Some(bytes) => {
            let state = Checkpoint::from_bytes(&bytes, shape)?;
            info!("resuming after epoch {}", state.epochs);
            state
        }
        None => Checkpoint::start(
            shape,
            initial_parameters(shape, &mut rng.stream(WEIGHTS_STREAM)),
        ),
    };
    let trainer = Trainer::new(shape, &data, &params, &state)?;
    info!(
        "{} parameters, {rows} rows, {} epochs of {} steps",
        shape.parameters(),
        params.epochs,
        trainer.steps()
    );

    while state.epochs < params.epochs {
        let epoch = state.epochs;
        let loss = trainer.epoch(params.rate(epoch), &mut rng.stream(epoch.into()))?;
        ensure!(
            loss.is_finite(),
            "the loss of epoch {epoch} is not finite: lower `learning_rate`"
        );
        state = trainer.state(epoch + 1, loss)?;
        metric("loss", state.epochs.into(), loss);
        progress(state.epochs.into(), params.epochs.into(), "training");
        if state.epochs % params.checkpoint_every == 0 {
            aevir_guest::checkpoint::save(&state.to_bytes())?;
        }
    }

    let (final_loss, parameters) = (state.loss, state.parameters.len());
    let network = Network {
        shape,
        mean: data.mean,
        scale: data.scale,
        parameters: state.parameters,
    };
    Output::create("weights")?.write(&network.to_bytes())?;
    Ok(Trained {
        epochs: params.epochs,
        final_loss,
        rows,
        parameters,
    })
}
