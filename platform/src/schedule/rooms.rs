//! What machines have of everything that runs take, or have left of it, by ordinal.

use super::{bits::Bits, column::Column};
use crate::state::Room;

/// One column for each quantity of [`Room`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rooms([Column; 5]);

impl Rooms {
    pub(super) fn get(&self, i: u32) -> Room {
        let [
            memory_mib,
            storage_mib,
            gpu_memory_mib,
            cpu_cores,
            memories_mib,
        ] = self.0.each_ref().map(|column| column.get(i));
        Room {
            memory_mib,
            storage_mib,
            gpu_memory_mib,
            cpu_cores,
            memories_mib,
        }
    }

    pub(super) fn set(&mut self, i: u32, room: Room) {
        for (column, value) in self.0.iter_mut().zip(room.quantities()) {
            column.set(i, value);
        }
    }

    /// Keeps the nodes that have so much.
    pub(super) fn keep(&self, nodes: &mut Bits, need: Room) {
        for (column, need) in self.0.iter().zip(need.quantities()) {
            column.keep_at_least(nodes, need);
        }
    }
}
