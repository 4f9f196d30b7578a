//! What is saved after an epoch: all that the next one depends on.

use aevir_guest::{Result, ensure};
use digits::{Shape, WordReader};

const MAGIC: &[u8; 4] = b"AVTC";
const VERSION: u32 = 1;

/// The state between two epochs.
///
/// The bytes: `AVTC`, version 1, inputs, hidden, classes, finished epochs (`u32` each), the loss (`f64` as two words, low
/// first), parameters and velocities (`f32` each, in the order of a network file).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) shape: Shape,
    /// Finished epochs.
    pub(crate) epochs: u32,
    /// Mean loss of the last of them.
    pub(crate) loss: f64,
    pub(crate) parameters: Vec<f32>,
    /// The last update of each parameter.
    pub(crate) velocities: Vec<f32>,
}

impl Checkpoint {
    /// The state before the first epoch.
    pub(crate) fn start(shape: Shape, parameters: Vec<f32>) -> Self {
        let velocities = vec![0.0; parameters.len()];
        Self {
            shape,
            epochs: 0,
            loss: 0.0,
            parameters,
            velocities,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Shape {
            inputs,
            hidden,
            classes,
        } = self.shape;
        let loss = self.loss.to_bits();
        let mut bytes = MAGIC.to_vec();
        for word in [
            VERSION,
            inputs,
            hidden,
            classes,
            self.epochs,
            loss as u32,
            (loss >> 32) as u32,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(bytemuck::cast_slice(&self.parameters));
        bytes.extend_from_slice(bytemuck::cast_slice(&self.velocities));
        bytes
    }

    /// Reads the bytes, which have to be of a network of this shape.
    pub(crate) fn from_bytes(bytes: &[u8], shape: Shape) -> Result<Self> {
        let mut reader = WordReader::new(bytes, MAGIC, VERSION)?;
        let found = Shape {
            inputs: reader.word()?,
            hidden: reader.word()?,
            classes: reader.word()?,
        };
        ensure!(
            found == shape,
            "the checkpoint is of another network: {found:?}, not {shape:?}"
        );
        let epochs = reader.word()?;
        let loss = f64::from_bits(u64::from(reader.word()?) | u64::from(reader.word()?) << 32);
        let parameters = reader.floats(shape.parameters())?;
        let velocities = reader.floats(shape.parameters())?;
        reader.finish()?;
        Ok(Self {
            shape,
            epochs,
            loss,
            parameters,
            velocities,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Checkpoint;
    use digits::Shape;

    const SHAPE: Shape = Shape {
        inputs: 3,
        hidden: 2,
        classes: 2,
    };

    #[test]
    fn a_saved_state_is_read_back_and_only_for_its_network() {
        let mut state = Checkpoint::start(SHAPE, (0..14).map(|i| i as f32).collect());
        state.epochs = 7;
        state.loss = 0.123_456_789;
        state.velocities[3] = -2.5;
        let bytes = state.to_bytes();
        assert_eq!(Checkpoint::from_bytes(&bytes, SHAPE).unwrap(), state);
        let other = Shape { hidden: 3, ..SHAPE };
        let text = Checkpoint::from_bytes(&bytes, other)
            .unwrap_err()
            .to_string();
        assert!(text.contains("another network"), "{text}");
        Checkpoint::from_bytes(&bytes[..bytes.len() - 4], SHAPE).unwrap_err();
    }
}
