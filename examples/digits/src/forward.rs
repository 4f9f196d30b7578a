//! The forward pass on the GPU.

use aevir_guest::Result;
use aevir_guest::gpu::{Batch, Buffer, Kernel, workgroups};

use crate::{GROUP, Shape};

/// Invocations a workgroup of the kernels that handle one row an invocation.
pub const ROW_GROUP: u32 = 32;

/// The most rows of one pass: a dispatch has at most this many workgroups a dimension.
pub const ROWS_MAX: usize = 65_535;

/// The kernels from features to class probabilities of a fixed number of rows, with the buffers in between.
#[derive(Debug)]
pub struct Forward {
    hidden_layer: Kernel,
    output_layer: Kernel,
    shape: Shape,
    rows: u32,
    /// Activations of the hidden layer, `[row][unit]`.
    pub hidden: Buffer<f32>,
    /// Class probabilities, `[row][label]`.
    pub probabilities: Buffer<f32>,
}

impl Forward {
    /// Compiles the kernels and makes room for passes of `rows` rows (at most [`ROWS_MAX`]).
    pub fn new(shape: Shape, rows: usize) -> Result<Self> {
        let [inputs, hidden, classes] = shape.constants();
        let all = [inputs, hidden, classes, ("ROWS", rows as f64)];
        Ok(Self {
            hidden_layer: Kernel::with_constants(
                include_str!("hidden.wgsl"),
                "main",
                &[inputs, hidden],
            )?,
            output_layer: Kernel::with_constants(include_str!("output.wgsl"), "main", &all)?,
            shape,
            rows: rows as u32,
            hidden: Buffer::new(rows * shape.hidden as usize)?,
            probabilities: Buffer::new(rows * shape.classes as usize)?,
        })
    }

    /// Appends a pass to a batch: the class probabilities of all rows of `features`.
    pub fn pass(
        &self,
        batch: &mut Batch,
        parameters: &Buffer<f32>,
        features: &Buffer<f32>,
    ) -> Result<()> {
        batch.dispatch(
            &self.hidden_layer,
            &[parameters, features, &self.hidden],
            [workgroups(self.shape.hidden as usize, GROUP), self.rows, 1],
        )?;
        batch.dispatch(
            &self.output_layer,
            &[parameters, &self.hidden, &self.probabilities],
            [workgroups(self.rows as usize, ROW_GROUP), 1, 1],
        )
    }
}

/// Appends `x = (raw - mean) * scale` for `rows` rows of `values`, in place, to a batch.
pub fn normalise(
    batch: &mut Batch,
    mean: &Buffer<f32>,
    scale: &Buffer<f32>,
    values: &Buffer<f32>,
    rows: usize,
) -> Result<()> {
    let features = mean.len();
    let constants = [("FEATURES", features as f64)];
    let kernel = Kernel::with_constants(include_str!("normalise.wgsl"), "main", &constants)?;
    let groups = [workgroups(features, GROUP), rows as u32, 1];
    batch.dispatch(&kernel, &[mean, scale, values], groups)
}
