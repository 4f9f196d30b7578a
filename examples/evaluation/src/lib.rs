//! Scores a trained perceptron on data that it has not seen, on the GPU.
//!
//! Inputs `weights` (a [`Network`]) and `heldout` (a [`Dataset`]). Reports the metric `accuracy`; the result also has the
//! confusion matrix.

use aevir_guest::gpu::{Batch, Buffer, Kernel, workgroups};
use aevir_guest::{Input, Result, ensure, info, metric, progress};
use digits::{Dataset, Forward, Network, ROW_GROUP, ROWS_MAX};
use serde::{Deserialize, Serialize};

/// The result is inline, which bounds the matrix.
const CLASSES_MAX: u32 = 32;

/// The task's `params`: none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {}

/// The task's result.
#[derive(Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The share of rows whose most probable class is the right one.
    accuracy: f64,
    correct: u32,
    n: usize,
    /// `confusion[label][predicted]`: how many rows.
    confusion: Vec<Vec<u32>>,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::task!(evaluate);

/// The task.
pub fn evaluate(_: Params) -> Result<Evaluation> {
    let network = Network::from_bytes(&Input::open("weights")?.read_all()?)?;
    let data = Dataset::from_bytes(&Input::open("heldout")?.read_all()?)?;
    let shape = network.shape;
    ensure!(
        (shape.inputs, shape.classes) == (data.features, data.classes),
        "the network takes {} features to {} classes, the data has {} and {}",
        shape.inputs,
        shape.classes,
        data.features,
        data.classes
    );
    ensure!(
        shape.classes <= CLASSES_MAX,
        "{} classes are more than {CLASSES_MAX}",
        shape.classes
    );
    ensure!(
        network.mean == data.mean && network.scale == data.scale,
        "the network was trained on data that was normalised differently"
    );
    ensure!(
        data.rows() <= ROWS_MAX,
        "{} rows are more than one pass takes ({ROWS_MAX})",
        data.rows()
    );

    let counts = confusion(&network, &data)?;
    let evaluation = summarise(&counts, shape.classes as usize);
    info!("{} of {} right", evaluation.correct, evaluation.n);
    metric("accuracy", 0, evaluation.accuracy);
    progress(1, 1, "scored");
    Ok(evaluation)
}

/// The confusion matrix, row by row, counted on the GPU.
fn confusion(network: &Network, data: &Dataset) -> Result<Vec<u32>> {
    let rows = data.rows();
    let classes = network.shape.classes;
    let forward = Forward::new(network.shape, rows)?;
    let constants = [("CLASSES", classes.into()), ("ROWS", rows as f64)];
    let score = Kernel::with_constants(include_str!("score.wgsl"), "main", &constants)?;
    let labels = Buffer::from_slice(&data.labels)?;
    let counts = Buffer::<u32>::new((classes * classes) as usize)?;
    let parameters = Buffer::from_slice(&network.parameters)?;
    let features = Buffer::from_slice(&data.values)?;

    let mut batch = Batch::new()?;
    forward.pass(&mut batch, &parameters, &features)?;
    let groups = [workgroups(rows, ROW_GROUP), 1, 1];
    batch.dispatch(&score, &[&forward.probabilities, &labels, &counts], groups)?;
    batch.submit()?;
    counts.read()
}

fn summarise(counts: &[u32], classes: usize) -> Evaluation {
    let confusion: Vec<Vec<u32>> = counts.chunks(classes).map(<[u32]>::to_vec).collect();
    let correct = (0..classes).map(|label| confusion[label][label]).sum();
    let n = counts.iter().sum::<u32>() as usize;
    Evaluation {
        accuracy: f64::from(correct) / n as f64,
        correct,
        n,
        confusion,
    }
}

#[cfg(test)]
mod tests {
    use super::summarise;

    #[test]
    fn accuracy_is_the_diagonal_share() {
        let evaluation = summarise(&[3, 1, 0, 4], 2);
        assert_eq!(
            (evaluation.correct, evaluation.n, evaluation.accuracy),
            (7, 8, 0.875)
        );
        assert_eq!(evaluation.confusion, [[3, 1], [0, 4]]);
    }
}
