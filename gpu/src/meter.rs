//! What a session used, and what it did for the trace.

use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Command};
use crate::trace::{Entry, Trace};

/// What a session used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Dispatches submitted.
    pub dispatches: u64,
    /// Workgroups of those.
    pub workgroups: u64,
    /// Buffer to buffer copies submitted.
    pub copies: u64,
    /// Bytes written to buffers.
    pub bytes_in: u64,
    /// Bytes read from buffers.
    pub bytes_out: u64,
    /// Nanoseconds of GPU time: from the start to the end of each batch by the device's own timestamps, where it has them;
    /// otherwise the time in which work was outstanding, from a submission to the end of the next wait.
    pub time_ns: u64,
}

impl Usage {
    /// Counts a submitted batch, and enters each of its commands into the trace.
    pub(crate) fn count(&mut self, batch: &Batch, trace: &mut Trace) {
        for command in &batch.commands {
            let entry = match command {
                Command::Dispatch {
                    kernel,
                    bindings,
                    groups,
                } => {
                    self.dispatches += 1;
                    self.workgroups += groups.iter().map(|&n| u64::from(n)).product::<u64>();
                    let compiled = &kernel.0.compiled;
                    let bound = compiled.slots.iter().zip(bindings);
                    let bound = bound
                        .map(|(slot, buffer)| [buffer.0.id, 0, slot.bound_bytes(buffer.size())]);
                    Entry::dispatch(&compiled.digest, *groups, bound)
                }
                Command::Copy {
                    src,
                    src_offset,
                    dst,
                    dst_offset,
                    len,
                } => {
                    self.copies += 1;
                    Entry::copy([src.0.id, *src_offset, dst.0.id, *dst_offset, *len])
                }
            };
            trace.push(entry.bytes());
        }
    }
}
