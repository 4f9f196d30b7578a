//! A run's files: inputs, outputs, checkpoints. Paths come from the host alone; a guest only ever says names, which are looked
//! up or checked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Stop;
use crate::outcome::OutputFile;
use crate::spec::RunSpec;

/// Longest name of an output or metric, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;
/// The folder of outputs below a run's `out_dir`.
pub(crate) const OUTPUTS_DIR: &str = "outputs";
/// The folder of checkpoints below it.
pub(crate) const CHECKPOINTS_DIR: &str = "checkpoints";

/// All files of one run.
#[derive(Debug)]
pub(crate) struct Files {
    spec: Arc<RunSpec>,
    /// In the spec's order.
    inputs: Vec<File>,
    by_name: BTreeMap<String, usize>,
    outputs: Vec<OpenOutput>,
    output_bytes: u64,
    checkpoint: Option<File>,
    checkpoints_saved: u32,
    checkpoint_bytes_saved: u64,
}

#[derive(Debug)]
struct OpenOutput {
    name: String,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
}

/// A saved checkpoint.
pub(crate) struct Saved {
    pub path: PathBuf,
    pub digest: String,
    pub size: u64,
}

impl Files {
    /// The spec's inputs with their open files in the same order, and the open checkpoint. The folders of outputs and
    /// checkpoints are there.
    pub(crate) fn new(spec: &Arc<RunSpec>, inputs: Vec<File>, checkpoint: Option<File>) -> Self {
        let names = spec.inputs.iter().map(|input| input.name.clone());
        Self {
            spec: Arc::clone(spec),
            by_name: names.zip(0..).collect(),
            inputs,
            outputs: Vec::new(),
            output_bytes: 0,
            checkpoint,
            checkpoints_saved: 0,
            checkpoint_bytes_saved: 0,
        }
    }

    /// The number of an input, or nothing if there is none of this name.
    pub(crate) fn open_input(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Bytes of an open input.
    pub(crate) fn input_size(&self, index: usize) -> u64 {
        self.spec.inputs.get(index).map_or(0, |input| input.size)
    }

    /// Reads exactly `len` bytes of an open input; the range was checked.
    pub(crate) fn read_input(
        &self,
        index: usize,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, Stop> {
        let (Some(file), Some(input)) = (self.inputs.get(index), self.spec.inputs.get(index))
        else {
            return Err(Stop::Host("an input's handle has no file".into()));
        };
        let mut bytes = vec![0; len];
        let read = file.read_exact_at(&mut bytes, offset);
        read.map_err(|error| {
            let name = &input.name;
            Stop::Host(format!("could not read the input `{name}`: {error}"))
        })?;
        Ok(bytes)
    }

    /// The names of all inputs.
    pub(crate) fn input_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.by_name.keys().map(String::as_str)
    }

    /// The names of all outputs, in the order in which they were made.
    pub(crate) fn output_names(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|output| output.name.as_str())
    }

    /// The number of the output `name`, if there is one.
    pub(crate) fn output_named(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == name)
    }

    /// Bytes written to an output so far.
    pub(crate) fn output_size(&self, index: usize) -> u64 {
        self.outputs.get(index).map_or(0, |output| output.size)
    }

    /// How many outputs there are.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Makes an output; answers its number, or nothing if the name is taken. The name was checked.
    pub(crate) fn create_output(&mut self, name: &str) -> Result<Option<usize>, Stop> {
        if self.outputs.iter().any(|output| output.name == name) {
            return Ok(None);
        }
        let path = self.spec.out_dir.join(OUTPUTS_DIR).join(name);
        let file = File::create_new(&path).map_err(|error| failed("make", &path, &error))?;
        self.outputs.push(OpenOutput {
            name: name.to_owned(),
            path,
            file,
            hash: Sha256::new(),
            size: 0,
        });
        Ok(Some(self.outputs.len() - 1))
    }

    /// Appends to an output; `total_max` is the limit of all outputs together.
    pub(crate) fn write_output(
        &mut self,
        index: usize,
        bytes: &[u8],
        total_max: u64,
    ) -> Result<(), Stop> {
        let Some(output) = self.outputs.get_mut(index) else {
            return Err(Stop::Host("an output's handle has no file".into()));
        };
        let len = bytes.len() as u64;
        if self.output_bytes.saturating_add(len) > total_max {
            return Err(Stop::limit("output", total_max));
        }
        output
            .file
            .write_all(bytes)
            .map_err(|error| failed("write", &output.path, &error))?;
        output.hash.update(bytes);
        output.size += len;
        self.output_bytes += len;
        Ok(())
    }

    /// The outputs with their digests, in the order of their names.
    pub(crate) fn finish(&mut self) -> Vec<OutputFile> {
        let mut outputs: Vec<_> = std::mem::take(&mut self.outputs)
            .into_iter()
            .map(|output| OutputFile {
                name: output.name,
                digest: hex::encode(output.hash.finalize()),
                size: output.size,
                path: output.path,
            })
            .collect();
        outputs.sort_by(|a, b| a.name.cmp(&b.name));
        outputs
    }

    /// How many checkpoints were saved.
    pub(crate) fn checkpoints_saved(&self) -> u32 {
        self.checkpoints_saved
    }

    /// Saves a checkpoint in a file of its own; `total_max` is the limit of all of them together.
    pub(crate) fn save_checkpoint(&mut self, bytes: &[u8], total_max: u64) -> Result<Saved, Stop> {
        let total = self
            .checkpoint_bytes_saved
            .saturating_add(bytes.len() as u64);
        if total > total_max {
            return Err(Stop::limit("checkpoint-total", total_max));
        }
        let name = format!("{:06}", self.checkpoints_saved);
        let path = self.spec.out_dir.join(CHECKPOINTS_DIR).join(name);
        fs::write(&path, bytes).map_err(|error| failed("write", &path, &error))?;
        self.checkpoints_saved += 1;
        self.checkpoint_bytes_saved = total;
        Ok(Saved {
            digest: hex::encode(Sha256::digest(bytes)),
            size: bytes.len() as u64,
            path,
        })
    }

    /// Bytes of the checkpoint that the run resumes from.
    pub(crate) fn checkpoint_size(&self) -> Result<Option<u64>, Stop> {
        let Some(file) = &self.checkpoint else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(|error| bad_checkpoint(&error))?;
        Ok(Some(metadata.len()))
    }

    /// The checkpoint that the run resumes from.
    pub(crate) fn read_checkpoint(&self) -> Result<Option<Vec<u8>>, Stop> {
        let (Some(file), Some(size)) = (&self.checkpoint, self.checkpoint_size()?) else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|error| bad_checkpoint(&error))?;
        Ok(Some(bytes))
    }
}

/// Whether a name is `[A-Za-z0-9._-]{1,64}` and no path.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && name != "."
        && name != ".."
}

fn bad_checkpoint(error: &std::io::Error) -> Stop {
    Stop::Host(format!("could not read the checkpoint: {error}"))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Stop {
    Stop::Host(format!("could not {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_plain() {
        for name in ["weights.bin", "a", "A-1_b", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "ä", "\0", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
