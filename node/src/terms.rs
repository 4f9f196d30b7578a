//! What an operator says of a node's terms: a part of them, over what holds.

use aevir_wire::{AllowDeny, NodeCaps, NodeTerms};

/// A change of a node's terms. What it does not name stays as it is: a restriction that was set is never dropped in passing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermsChange {
    /// Replaces all that held before.
    pub whole: Option<NodeTerms>,
    /// What is given here replaces the same field, or the same cap, type's ask or list.
    pub part: NodeTerms,
}

impl TermsChange {
    /// Whether it changes nothing, whatever holds.
    pub fn is_empty(&self) -> bool {
        self.whole.is_none() && self.part == NodeTerms::default()
    }

    /// The terms that it makes of `known`.
    pub fn over(&self, known: &NodeTerms) -> NodeTerms {
        let known = self.whole.as_ref().unwrap_or(known).clone();
        let part = self.part.clone();
        let caps = known.caps;
        NodeTerms {
            caps: NodeCaps {
                cpu_cores: part.caps.cpu_cores.or(caps.cpu_cores),
                memory_mib: part.caps.memory_mib.or(caps.memory_mib),
                gpu_memory_mib: part.caps.gpu_memory_mib.or(caps.gpu_memory_mib),
                storage_mib: part.caps.storage_mib.or(caps.storage_mib),
                runs: part.caps.runs.or(caps.runs),
            },
            hours: given(part.hours, known.hours),
            asks: known.asks.into_iter().chain(part.asks).collect(),
            requesters: lists(part.requesters, known.requesters),
            modules: lists(part.modules, known.modules),
        }
    }
}

fn lists(part: AllowDeny, known: AllowDeny) -> AllowDeny {
    AllowDeny {
        allow: given(part.allow, known.allow),
        deny: given(part.deny, known.deny),
    }
}

fn given<T>(part: Vec<T>, known: Vec<T>) -> Vec<T> {
    if part.is_empty() { known } else { part }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn terms(json: serde_json::Value) -> NodeTerms {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_part_leaves_the_rest() {
        let known = terms(json!({
            "caps": {"runs": 3, "memory_mib": 9}, "hours": [{"from_min": 0, "to_min": 5}], "asks": {"training": "5", "inference": "1"},
            "requesters": {"deny": ["a"]}, "modules": {"allow": ["m"]},
        }));
        let change = TermsChange {
            whole: None,
            part: terms(
                json!({"caps": {"runs": 1}, "asks": {"training": "7"}, "requesters": {"allow": ["b"]}}),
            ),
        };
        let expected = terms(json!({
            "caps": {"runs": 1, "memory_mib": 9}, "hours": [{"from_min": 0, "to_min": 5}], "asks": {"training": "7", "inference": "1"},
            "requesters": {"allow": ["b"], "deny": ["a"]}, "modules": {"allow": ["m"]},
        }));
        assert_eq!(change.over(&known), expected);
        assert!(!change.is_empty());
    }

    #[test]
    fn a_whole_replaces_everything_and_nothing_changes_nothing() {
        let known = terms(json!({"caps": {"runs": 3}, "modules": {"deny": ["m"]}}));
        let nothing = TermsChange::default();
        assert!(nothing.is_empty());
        assert_eq!(nothing.over(&known), known);
        let free = TermsChange {
            whole: Some(NodeTerms::default()),
            part: NodeTerms::default(),
        };
        assert!(!free.is_empty(), "no restriction is said, too");
        assert_eq!(free.over(&known), NodeTerms::default());
    }
}
