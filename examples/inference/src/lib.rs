//! Classifies images with a trained perceptron, on the GPU.
//!
//! Input `weights`: a [`Network`]. The images are raw grey levels (0 to 16 for the digits), as many as the network has
//! inputs: either inline as `params.images`, or in an input `images` of one byte a pixel, image after image. The result
//! has each image's class and the probabilities of all classes.

use aevir_guest::gpu::{Batch, Buffer};
use aevir_guest::{Input, Result, ensure, progress};
use digits::{Forward, Network, normalise};
use serde::{Deserialize, Serialize};

/// The result is inline and at most 32 KiB, which holds this many.
const IMAGES_MAX: usize = 128;

/// Ten probabilities of at most eight characters an image fit; more classes may not.
const CLASSES_MAX: u32 = 16;

/// Probabilities are given to so many parts.
const MILLION: f64 = 1e6;

/// The task's `params`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The images; without them the input `images` is read.
    images: Option<Vec<Vec<u8>>>,
}

/// The task's result.
#[derive(Debug, Serialize)]
pub struct Classified {
    images: Vec<Class>,
}

/// What one image shows.
#[derive(Debug, PartialEq, Serialize)]
pub struct Class {
    /// The most probable class; the first of equals.
    class: usize,
    /// The probability of each class, to six decimals.
    probabilities: Vec<f64>,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::task!(infer);

/// The task.
pub fn infer(params: Params) -> Result<Classified> {
    let network = Network::from_bytes(&Input::open("weights")?.read_all()?)?;
    ensure!(
        network.shape.classes <= CLASSES_MAX,
        "a network of over {CLASSES_MAX} classes is not supported"
    );
    let inputs = network.shape.inputs as usize;
    let pixels = match params.images {
        Some(images) => flatten(&images, inputs)?,
        None => Input::open("images")?.read_all()?,
    };
    let count = image_count(&pixels, inputs)?;

    let raw: Vec<f32> = pixels.iter().map(|&pixel| pixel.into()).collect();
    let features = Buffer::from_slice(&raw)?;
    let (mean, scale) = (
        Buffer::from_slice(&network.mean)?,
        Buffer::from_slice(&network.scale)?,
    );
    let mut batch = Batch::new()?;
    normalise(&mut batch, &mean, &scale, &features, count)?;
    let forward = Forward::new(network.shape, count)?;
    forward.pass(
        &mut batch,
        &Buffer::from_slice(&network.parameters)?,
        &features,
    )?;
    batch.submit()?;
    let probabilities = forward.probabilities.read()?;
    progress(1, 1, "classified");
    Ok(Classified {
        images: probabilities
            .chunks(network.shape.classes as usize)
            .map(classify)
            .collect(),
    })
}

fn flatten(images: &[Vec<u8>], inputs: usize) -> Result<Vec<u8>> {
    for (index, image) in images.iter().enumerate() {
        ensure!(
            image.len() == inputs,
            "image {index} has {} pixels, the network takes {inputs}",
            image.len()
        );
    }
    Ok(images.concat())
}

fn image_count(pixels: &[u8], inputs: usize) -> Result<usize> {
    let count = pixels.len() / inputs;
    ensure!(
        count * inputs == pixels.len(),
        "{} pixels are no whole number of {inputs}-pixel images",
        pixels.len()
    );
    ensure!(
        (1..=IMAGES_MAX).contains(&count),
        "{count} images: one run takes 1 to {IMAGES_MAX}"
    );
    Ok(count)
}

fn classify(probabilities: &[f32]) -> Class {
    let mut class = 0;
    for (label, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[class] {
            class = label;
        }
    }
    let rounded = |&p: &f32| (f64::from(p) * MILLION).round() / MILLION;
    Class {
        class,
        probabilities: probabilities.iter().map(rounded).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{classify, flatten, image_count};

    #[test]
    fn the_first_of_the_most_probable_classes_wins() {
        let class = classify(&[0.1, 0.45, 0.45]);
        assert_eq!(
            (class.class, class.probabilities),
            (1, vec![0.1, 0.45, 0.45])
        );
        assert_eq!(classify(&[0.999_999_94, 6e-8]).probabilities, [1.0, 0.0]);
    }

    #[test]
    fn images_have_to_fit_the_network() {
        assert_eq!(flatten(&[vec![1, 2], vec![3, 4]], 2).unwrap(), [1, 2, 3, 4]);
        flatten(&[vec![1, 2], vec![3]], 2).unwrap_err();
        assert_eq!(image_count(&[0; 640], 64).unwrap(), 10);
        image_count(&[0; 65], 64).unwrap_err();
        image_count(&[], 64).unwrap_err();
        image_count(&[0; 64 * 129], 64).unwrap_err();
    }
}
