//! `AVDS`: labelled rows of numbers, ready to train on.

use aevir_guest::{Result, ensure};

use crate::words::{WordReader, product};

const MAGIC: &[u8; 4] = b"AVDS";
const VERSION: u32 = 1;

/// Labelled rows, and how their features were made from raw values.
///
/// The file: `AVDS`, version 1, rows, features, classes (`u32` each); `mean` and `scale` (`f32[features]` each); the
/// features (`f32[rows][features]`); the labels (`u32[rows]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Numbers a row.
    pub features: u32,
    /// Labels are below this.
    pub classes: u32,
    /// Per feature: what was subtracted from the raw value.
    pub mean: Vec<f32>,
    /// Per feature: what the difference was multiplied by.
    pub scale: Vec<f32>,
    /// Row after row, `features` each.
    pub values: Vec<f32>,
    /// One label a row.
    pub labels: Vec<u32>,
}

impl Dataset {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for word in [
            VERSION,
            self.labels.len() as u32,
            self.features,
            self.classes,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for floats in [&self.mean, &self.scale, &self.values] {
            bytes.extend_from_slice(bytemuck::cast_slice(floats));
        }
        bytes.extend_from_slice(bytemuck::cast_slice(&self.labels));
        bytes
    }

    /// Reads a file, which has to be consistent and not empty.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = WordReader::new(bytes, MAGIC, VERSION)?;
        let (rows, features, classes) = (reader.word()?, reader.word()?, reader.word()?);
        ensure!(
            rows > 0 && features > 0 && classes > 0,
            "the data set is empty"
        );
        let dataset = Self {
            features,
            classes,
            mean: reader.floats(features as usize)?,
            scale: reader.floats(features as usize)?,
            values: reader.floats(product(rows, features)?)?,
            labels: reader.words(rows as usize)?,
        };
        reader.finish()?;
        ensure!(
            dataset.labels.iter().all(|&label| label < classes),
            "a label is out of range"
        );
        Ok(dataset)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Dataset;

    fn sample() -> Dataset {
        Dataset {
            features: 2,
            classes: 3,
            mean: vec![1.0, 2.0],
            scale: vec![0.5, 0.25],
            values: vec![0.0, -1.5, 3.25, 4.0, 5.0, 6.0],
            labels: vec![2, 0, 1],
        }
    }

    #[test]
    fn a_written_file_reads_back() {
        assert_eq!(Dataset::from_bytes(&sample().to_bytes()).unwrap(), sample());
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = sample().to_bytes();
        assert_eq!(bytes.len(), 20 + 4 * (2 + 2 + 6 + 3));
        assert_eq!(
            bytes[..20],
            *b"AVDS\x01\0\0\0\x03\0\0\0\x02\0\0\0\x03\0\0\0"
        );
        assert_eq!(bytes[20..24], 1.0f32.to_le_bytes());
        assert_eq!(bytes[bytes.len() - 4..], 1u32.to_le_bytes());
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = sample().to_bytes();
        let refused = |bytes: &[u8], why: &str| {
            let text = Dataset::from_bytes(bytes).unwrap_err().to_string();
            assert!(text.contains(why), "{text}");
        };
        refused(b"", "no `AVDS` file");
        refused(&good[..good.len() - 1], "cut short");
        refused(&[&good[..], &[0]].concat(), "1 bytes too many");
        let mut version = good.clone();
        version[4] = 2;
        refused(&version, "version 2");
        let mut rows = good.clone();
        rows[8..12].fill(0xff);
        refused(&rows, "cut short");
        let mut label = good.clone();
        let at = label.len() - 4;
        label[at] = 3;
        refused(&label, "label");
        let mut nan = good;
        nan[20..24].copy_from_slice(&f32::NAN.to_le_bytes());
        refused(&nan, "not finite");
    }
}
