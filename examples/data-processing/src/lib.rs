//! Prepares the handwritten digits for training: parse, shuffle by seed, split, standardise on the GPU.
//!
//! Input `digits.csv.gz`: gzip of lines of comma-separated integers, the last of them the label. Outputs `train` and
//! `heldout`: [`Dataset`]s, standardised with the mean and deviation of the training rows only, so that nothing is
//! learnt from the rows that are held out.

mod table;

use aevir_guest::gpu::{Batch, Buffer, Kernel, workgroups};
use aevir_guest::{Input, Output, Result, ensure, info, progress};
use digits::{Dataset, GROUP, ROWS_MAX, normalise};
use serde::{Deserialize, Serialize};
use table::Table;

/// A deviation below this many grey levels counts as this many, so that pixels that are almost always blank don't turn
/// into outliers.
const DEVIATION_MIN: f64 = 1.0;

const STEPS: u64 = 3;

/// The task's `params`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The share of rows that is held out for evaluation, between 0 and 1.
    held_out: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { held_out: 0.2 }
    }
}

/// The task's result.
#[derive(Debug, Serialize)]
pub struct Prepared {
    rows: usize,
    train: usize,
    held_out: usize,
    features: u32,
    classes: u32,
    /// Rows of each label in the training part.
    train_labels: Vec<usize>,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::task!(prepare);

/// The task.
pub fn prepare(params: Params) -> Result<Prepared> {
    let mut table = Table::parse(&table::gunzip(&Input::open("digits.csv.gz")?.read_all()?)?)?;
    let rows = table.labels.len();
    let held_out = held_out_rows(rows, params.held_out)?;
    let train = rows - held_out;
    table.shuffle(&mut aevir_guest::rng());
    progress(1, STEPS, "read and shuffled");

    let whole = standardise(&table, train)?;
    progress(2, STEPS, "standardised");

    let cut = train * table.features as usize;
    let part = |values: &[f32], labels: &[u32]| Dataset {
        values: values.to_vec(),
        labels: labels.to_vec(),
        mean: whole.mean.clone(),
        scale: whole.scale.clone(),
        ..whole
    };
    let (train_part, held_out_part) = (
        part(&whole.values[..cut], &whole.labels[..train]),
        part(&whole.values[cut..], &whole.labels[train..]),
    );
    Output::create("train")?.write(&train_part.to_bytes())?;
    Output::create("heldout")?.write(&held_out_part.to_bytes())?;
    progress(STEPS, STEPS, "written");
    info!("{train} rows to train on, {held_out} held out");

    let mut train_labels = vec![0; table.classes as usize];
    for &label in &train_part.labels {
        train_labels[label as usize] += 1;
    }
    let (features, classes) = (table.features, table.classes);
    Ok(Prepared {
        rows,
        train,
        held_out,
        features,
        classes,
        train_labels,
    })
}

fn held_out_rows(rows: usize, share: f64) -> Result<usize> {
    let held_out = (rows as f64 * share).round() as usize;
    ensure!(
        held_out > 0 && held_out < rows,
        "`held_out` is {share}: of {rows} rows that leaves one of the parts empty"
    );
    ensure!(
        rows <= ROWS_MAX,
        "{rows} rows are more than one pass takes ({ROWS_MAX})"
    );
    Ok(held_out)
}

/// Standardises all rows with the statistics of the first `train`.
fn standardise(table: &Table, train: usize) -> Result<Dataset> {
    let features = table.features as usize;
    let values = Buffer::from_slice(&table.values)?;
    let (mean, scale) = (Buffer::new(features)?, Buffer::new(features)?);
    let statistics = Kernel::with_constants(
        include_str!("statistics.wgsl"),
        "main",
        &[
            ("FEATURES", features as f64),
            ("ROWS", train as f64),
            ("DEVIATION_MIN", DEVIATION_MIN),
        ],
    )?;
    let mut batch = Batch::new()?;
    let groups = [workgroups(features, GROUP), 1, 1];
    batch.dispatch(&statistics, &[&values, &mean, &scale], groups)?;
    normalise(&mut batch, &mean, &scale, &values, table.labels.len())?;
    batch.submit()?;
    Ok(Dataset {
        features: table.features,
        classes: table.classes,
        mean: mean.read()?,
        scale: scale.read()?,
        values: values.read()?,
        labels: table.labels.clone(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::held_out_rows;

    #[test]
    fn the_held_out_share_is_rounded_and_leaves_two_parts() {
        assert_eq!(held_out_rows(1797, 0.2).unwrap(), 359);
        for share in [0.0, 1.0, -0.5, 2.0, f64::NAN, 0.0001] {
            held_out_rows(1797, share).unwrap_err();
        }
    }
}
