//! What the digits guests share: the [`Dataset`] and [`Network`] file formats, and the perceptron's [`Forward`] pass, so
//! that training, evaluation and inference compute the same function with the same kernels.
//!
//! Both formats are little endian throughout and a multiple of four bytes long, so that each is also an array of
//! 32-bit words: a header of integers, then `f32` data.

mod dataset;
mod forward;
mod network;
mod words;

pub use dataset::Dataset;
pub use forward::{Forward, ROW_GROUP, ROWS_MAX, normalise};
pub use network::{Network, Shape, initial_parameters};
pub use words::WordReader;

/// Invocations a workgroup of the kernels that run over the elements of an array.
pub const GROUP: u32 = 64;
