//! Reading the compressed CSV file.

use std::io::Read;

use aevir_guest::{Result, Rng, ensure};
use flate2::read::GzDecoder;

/// The most text that a file may unpack to: small archives can hold huge files.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Labels are small integers.
const CLASSES_MAX: u32 = 1_000;

/// Rows of raw values, and a label each.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) features: u32,
    pub(crate) classes: u32,
    /// Row after row.
    pub(crate) values: Vec<f32>,
    pub(crate) labels: Vec<u32>,
}

/// Unpacks a gzip file, checksum included.
pub(crate) fn gunzip(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    GzDecoder::new(bytes)
        .take(TEXT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("the input is no gzip file of text: {error}"))?;
    ensure!(
        text.len() as u64 <= TEXT_BYTES_MAX,
        "the input unpacks to over {TEXT_BYTES_MAX} bytes"
    );
    Ok(text)
}

impl Table {
    /// Reads lines of integers, as many on each; the last of a line is its label.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut table = Self {
            features: 0,
            classes: 0,
            values: Vec::new(),
            labels: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let cells: Vec<u32> = line
                .split(',')
                .map(|cell| cell.trim().parse())
                .collect::<Result<_, _>>()
                .map_err(|error| format!("line {number}: {error}"))?;
            let Some((&label, values)) = cells.split_last() else {
                continue;
            };
            if index == 0 {
                table.features = values.len() as u32;
            }
            ensure!(
                values.len() as u32 == table.features && !values.is_empty(),
                "line {number} has {} values before its label, line 1 has {}",
                values.len(),
                table.features
            );
            ensure!(
                label < CLASSES_MAX,
                "line {number}: the label {label} is over {CLASSES_MAX}"
            );
            table.classes = table.classes.max(label + 1);
            table
                .values
                .extend(values.iter().map(|&value| value as f32));
            table.labels.push(label);
        }
        ensure!(!table.labels.is_empty(), "the file has no rows");
        Ok(table)
    }

    /// Shuffles the rows.
    pub(crate) fn shuffle(&mut self, rng: &mut Rng) {
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        rng.shuffle(&mut order);
        let features = self.features as usize;
        self.values = order
            .iter()
            .flat_map(|&row| &self.values[row * features..(row + 1) * features])
            .copied()
            .collect();
        self.labels = order.iter().map(|&row| self.labels[row]).collect();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Table, gunzip};
    use aevir_guest::Rng;

    const DIGITS: &[u8] = include_bytes!("../../data/digits.csv.gz");

    #[test]
    fn the_digits_are_1797_rows_of_64_grey_levels() {
        let table = Table::parse(&gunzip(DIGITS).unwrap()).unwrap();
        assert_eq!(
            (table.features, table.classes, table.labels.len()),
            (64, 10, 1797)
        );
        assert_eq!(table.values.len(), 1797 * 64);
        assert!(table.values.iter().all(|&x| (0.0..=16.0).contains(&x)));
        assert_eq!(table.labels[..4], [0, 1, 2, 3]);
        assert_eq!(table.values[..6], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0]);
    }

    #[test]
    fn a_shuffle_keeps_each_row_with_its_label() {
        let mut table = Table::parse("1,10,1\n2,20,2\n3,30,3\n4,40,4\n").unwrap();
        table.shuffle(&mut Rng::new(9));
        for (row, &label) in table.labels.iter().enumerate() {
            assert_eq!(
                table.values[2 * row..2 * row + 2],
                [label as f32, 10.0 * label as f32]
            );
        }
        let mut labels = table.labels;
        labels.sort_unstable();
        assert_eq!(labels, [1, 2, 3, 4]);
    }

    #[test]
    fn bad_files_are_refused_with_the_line() {
        let refused = |text: &str, why: &str| {
            let error = Table::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("", "no rows");
        refused("1,2,3\n1,3\n", "line 2 has 1 values");
        refused("1,2,3\n1,x,3\n", "line 2: invalid digit");
        refused("1,2,-3\n", "line 1: invalid digit");
        refused("1,2,1000\n", "label 1000");
        refused("7\n", "line 1 has 0 values");
        gunzip(b"not gzip").unwrap_err();
        gunzip(&DIGITS[..DIGITS.len() - 9]).unwrap_err();
    }
}
