//! One epoch on the GPU: everything stays there, and only the losses come back.

use aevir_guest::gpu::{Batch, Buffer, Kernel, workgroups};
use aevir_guest::{Result, Rng};
use digits::{Dataset, Forward, GROUP, ROW_GROUP, Shape};

use crate::checkpoint::Checkpoint;
use crate::params::Params;

/// Steps handed to the GPU at once: enough to keep it busy, few enough for the limits of one submission.
const STEPS_PER_BATCH: usize = 64;

/// Size of the kernels' `Step` uniform: start, seed, rate, padding.
const STEP_WORDS: usize = 4;

/// The network, its data and the kernels, on the GPU.
#[derive(Debug)]
pub(crate) struct Trainer {
    shape: Shape,
    rows: usize,
    batch: usize,

    gather: Kernel,
    forward: Forward,
    loss: Kernel,
    backward: Kernel,
    update: Kernel,

    features: Buffer<f32>,
    labels: Buffer<u32>,
    /// The rows in the order of this epoch.
    order: Buffer<u32>,
    /// All steps of the epoch; each is copied to `step_now` when its turn comes.
    steps: Buffer<u32>,
    step_now: Buffer<u32>,
    /// The step's rows, `[row][input]`.
    inputs: Buffer<f32>,
    /// Loss of each place in `order`.
    losses: Buffer<f32>,
    /// Loss by the hidden units' sums, `[row][unit]`.
    hidden_errors: Buffer<f32>,
    parameters: Buffer<f32>,
    velocities: Buffer<f32>,
}

impl Trainer {
    /// Compiles the kernels and uploads the data and the state.
    pub(crate) fn new(
        shape: Shape,
        data: &Dataset,
        params: &Params,
        state: &Checkpoint,
    ) -> Result<Self> {
        let rows = data.rows();
        let batch = rows.min(params.batch as usize);
        let [inputs, hidden, classes] = shape.constants();
        let batch_rows = ("ROWS", batch as f64);
        let noise = ("NOISE", params.noise.into());
        let momentum = ("MOMENTUM", params.momentum.into());
        let decay = ("WEIGHT_DECAY", params.weight_decay.into());
        let kernel = |wgsl, constants: &[_]| Kernel::with_constants(wgsl, "main", constants);
        Ok(Self {
            shape,
            rows,
            batch,
            gather: kernel(include_str!("gather.wgsl"), &[inputs, noise])?,
            forward: Forward::new(shape, batch)?,
            loss: kernel(include_str!("loss.wgsl"), &[classes, batch_rows])?,
            backward: kernel(include_str!("backward.wgsl"), &[inputs, hidden, classes])?,
            update: kernel(
                include_str!("update.wgsl"),
                &[inputs, hidden, classes, batch_rows, momentum, decay],
            )?,
            features: Buffer::from_slice(&data.values)?,
            labels: Buffer::from_slice(&data.labels)?,
            order: Buffer::new(rows)?,
            steps: Buffer::new(rows / batch * STEP_WORDS)?,
            step_now: Buffer::new(STEP_WORDS)?,
            inputs: Buffer::new(batch * shape.inputs as usize)?,
            losses: Buffer::new(rows)?,
            hidden_errors: Buffer::new(batch * shape.hidden as usize)?,
            parameters: Buffer::from_slice(&state.parameters)?,
            velocities: Buffer::from_slice(&state.velocities)?,
        })
    }

    /// Steps an epoch. Rows that don't fill a step are left out; each epoch leaves out others.
    pub(crate) fn steps(&self) -> usize {
        self.rows / self.batch
    }

    /// Walks the rows once in random order; the mean loss.
    pub(crate) fn epoch(&self, rate: f32, rng: &mut Rng) -> Result<f64> {
        let mut order: Vec<u32> = (0..self.rows as u32).collect();
        rng.shuffle(&mut order);
        self.order.write(0, &order)?;
        let seed = rng.bits() as u32;
        let steps: Vec<u32> = (0..self.steps())
            .flat_map(|step| [(step * self.batch) as u32, seed, rate.to_bits(), 0])
            .collect();
        self.steps.write(0, &steps)?;

        for first in (0..self.steps()).step_by(STEPS_PER_BATCH) {
            let mut batch = Batch::new()?;
            for step in first..self.steps().min(first + STEPS_PER_BATCH) {
                let place = step * STEP_WORDS;
                batch.copy((&self.steps, place), (&self.step_now, 0), STEP_WORDS)?;
                self.step(&mut batch)?;
            }
            batch.submit()?;
        }
        let losses = self.losses.read_range(0, self.steps() * self.batch)?;
        let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
        Ok(sum / losses.len() as f64)
    }

    /// Gather, forward, loss, backward, update.
    fn step(&self, batch: &mut Batch) -> Result<()> {
        let rows = self.batch as u32;
        let Self {
            order,
            step_now,
            inputs,
            hidden_errors,
            parameters,
            ..
        } = self;
        let Forward {
            hidden,
            probabilities: errors,
            ..
        } = &self.forward;
        batch.dispatch(
            &self.gather,
            &[&self.features, order, step_now, inputs],
            [workgroups(self.shape.inputs as usize, GROUP), rows, 1],
        )?;
        self.forward.pass(batch, parameters, inputs)?;
        batch.dispatch(
            &self.loss,
            &[&self.labels, order, step_now, errors, &self.losses],
            [workgroups(self.batch, ROW_GROUP), 1, 1],
        )?;
        batch.dispatch(
            &self.backward,
            &[parameters, errors, hidden, hidden_errors],
            [workgroups(self.shape.hidden as usize, GROUP), rows, 1],
        )?;
        batch.dispatch(
            &self.update,
            &[
                inputs,
                hidden,
                hidden_errors,
                errors,
                step_now,
                parameters,
                &self.velocities,
            ],
            [workgroups(self.shape.parameters(), GROUP), 1, 1],
        )
    }

    /// The state after so many epochs.
    pub(crate) fn state(&self, epochs: u32, loss: f64) -> Result<Checkpoint> {
        let (parameters, velocities) = (self.parameters.read()?, self.velocities.read()?);
        Ok(Checkpoint {
            shape: self.shape,
            epochs,
            loss,
            parameters,
            velocities,
        })
    }
}
