//! A task's assignments: few, so that they stand in one block in the order of their ids.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::assignment::Assignment;
use crate::ids::AssignmentId;

/// A map from ids, as small as what is in it: nearly all tasks have one assignment or two, and there are many tasks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignments(Vec<Assignment>);

impl Assignments {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their ids.
    pub fn values(&self) -> std::slice::Iter<'_, Assignment> {
        self.0.iter()
    }

    /// In their order.
    pub fn keys(&self) -> impl Iterator<Item = &AssignmentId> {
        self.0.iter().map(|assignment| &assignment.id)
    }

    pub fn get(&self, id: &AssignmentId) -> Option<&Assignment> {
        let at = self.place(id).ok()?;
        self.0.get(at)
    }

    pub(crate) fn get_mut(&mut self, id: &AssignmentId) -> Option<&mut Assignment> {
        let at = self.place(id).ok()?;
        self.0.get_mut(at)
    }

    /// Puts an assignment under its id; answers whether there was none.
    pub(crate) fn insert(&mut self, assignment: Assignment) -> bool {
        let place = self.place(&assignment.id);
        if let Err(at) = place {
            self.0.reserve_exact(1);
            self.0.insert(at, assignment);
        }
        place.is_err()
    }

    fn place(&self, id: &AssignmentId) -> Result<usize, usize> {
        self.0.binary_search_by_key(id, |assignment| assignment.id)
    }
}

impl Serialize for Assignments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|assignment| (assignment.id, assignment)))
    }
}

impl<'de> Deserialize<'de> for Assignments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_id = BTreeMap::<AssignmentId, Assignment>::deserialize(deserializer)?;
        Ok(Self(by_id.into_values().collect()))
    }
}
