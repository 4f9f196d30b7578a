//! `AVNN`: a perceptron with one hidden layer.

use aevir_guest::{Result, Rng, ensure};

use crate::words::{WordReader, product};

const MAGIC: &[u8; 4] = b"AVNN";
const VERSION: u32 = 1;

/// The sizes of a network's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Numbers that go in.
    pub inputs: u32,
    /// Units of the hidden layer.
    pub hidden: u32,
    /// Classes that come out.
    pub classes: u32,
}

impl Shape {
    /// How many weights and biases there are.
    pub fn parameters(&self) -> usize {
        let [inputs, hidden, classes] =
            [self.inputs, self.hidden, self.classes].map(|n| n as usize);
        hidden * (inputs + 1) + classes * (hidden + 1)
    }

    /// The shape as `override` constants of the kernels.
    pub fn constants(&self) -> [(&'static str, f64); 3] {
        [
            ("INPUTS", self.inputs.into()),
            ("HIDDEN", self.hidden.into()),
            ("CLASSES", self.classes.into()),
        ]
    }
}

/// A network with the normalisation that its inputs need: all that inference takes.
///
/// The file: `AVNN`, version 1, inputs, hidden, classes (`u32` each); `mean` and `scale` (`f32[inputs]` each), as in
/// [`Dataset`](crate::Dataset); then the parameters: hidden weights `f32[hidden][inputs]`, hidden biases
/// `f32[hidden]`, output weights `f32[classes][hidden]`, output biases `f32[classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Layer sizes.
    pub shape: Shape,
    /// Per input: what is subtracted from the raw value.
    pub mean: Vec<f32>,
    /// Per input: what the difference is multiplied by.
    pub scale: Vec<f32>,
    /// Weights and biases in the file's order, which is also their layout on the GPU.
    pub parameters: Vec<f32>,
}

impl Network {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for word in [
            VERSION,
            self.shape.inputs,
            self.shape.hidden,
            self.shape.classes,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for floats in [&self.mean, &self.scale, &self.parameters] {
            bytes.extend_from_slice(bytemuck::cast_slice(floats));
        }
        bytes
    }

    /// Reads a file, which has to be consistent.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = WordReader::new(bytes, MAGIC, VERSION)?;
        let (inputs, hidden, classes) = (reader.word()?, reader.word()?, reader.word()?);
        ensure!(
            inputs > 0 && hidden > 0 && classes > 0,
            "the network is empty"
        );
        let mean = reader.floats(inputs as usize)?;
        let scale = reader.floats(inputs as usize)?;
        let mut parameters = reader.floats(product(hidden, inputs)?)?;
        parameters.extend(reader.floats(hidden as usize)?);
        parameters.extend(reader.floats(product(classes, hidden)?)?);
        parameters.extend(reader.floats(classes as usize)?);
        reader.finish()?;
        Ok(Self {
            shape: Shape {
                inputs,
                hidden,
                classes,
            },
            mean,
            scale,
            parameters,
        })
    }
}

/// Fresh parameters: weights uniform within He's bound for their layer, biases zero.
///
/// He et al., "Delving deep into rectifiers" (2015): bound = sqrt(6 / inputs of the layer).
pub fn initial_parameters(shape: Shape, rng: &mut Rng) -> Vec<f32> {
    let mut parameters = Vec::with_capacity(shape.parameters());
    for (inputs, units) in [(shape.inputs, shape.hidden), (shape.hidden, shape.classes)] {
        let bound = (6.0 / inputs as f32).sqrt();
        let weights = inputs as usize * units as usize;
        parameters.extend((0..weights).map(|_| (rng.unit() * 2.0 - 1.0) * bound));
        parameters.extend((0..units).map(|_| 0.0f32));
    }
    parameters
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Network, Shape, initial_parameters};
    use aevir_guest::Rng;

    const SHAPE: Shape = Shape {
        inputs: 6,
        hidden: 4,
        classes: 3,
    };

    fn sample() -> Network {
        Network {
            shape: SHAPE,
            mean: vec![0.5; 6],
            scale: vec![2.0; 6],
            parameters: initial_parameters(SHAPE, &mut Rng::new(1)),
        }
    }

    #[test]
    fn a_written_file_reads_back() {
        assert_eq!(Network::from_bytes(&sample().to_bytes()).unwrap(), sample());
    }

    #[test]
    fn initial_weights_are_bounded_and_biases_zero() {
        let parameters = sample().parameters;
        assert_eq!(parameters.len(), SHAPE.parameters());
        let (hidden, output) = parameters.split_at(4 * 6 + 4);
        assert!(hidden[..24].iter().all(|w| w.abs() <= 1.0 && *w != 0.0));
        assert!(hidden[24..].iter().all(|&b| b == 0.0));
        assert!(output[12..].iter().all(|&b| b == 0.0));
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = sample().to_bytes();
        for damaged in [&good[..good.len() - 4], &good[..10], b"AVDS"] {
            Network::from_bytes(damaged).unwrap_err();
        }
        let mut huge = good;
        huge[8..20].fill(0xff);
        Network::from_bytes(&huge).unwrap_err();
    }
}
