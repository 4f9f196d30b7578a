//! The books and states as of a position or a time, recomputed from the log.

use std::collections::BTreeMap;

use aevir_events::Timestamp;
use aevir_platform::state::State;
use anyhow::Result;
use serde::Serialize;

use super::report::{AuditedLedger, AuditedPoints, books, ledger, points};
use crate::output::{properties, table};

/// A moment in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// After the entry at this position.
    Position(u64),
    /// Before the first entry later than this.
    Time(Timestamp),
}

/// Reads `--at`: a position, or a time such as `2026-01-31T12:00:00Z`.
///
/// # Errors
/// When it is neither.
pub(super) fn parse(text: &str) -> Result<At> {
    if let Ok(position) = text.parse() {
        return Ok(At::Position(position));
    }
    let time = text.parse::<Timestamp>();
    time.map(At::Time).map_err(|_| {
        anyhow::anyhow!("`{text}` is neither a position nor a time such as 2026-01-31T12:00:00Z")
    })
}

/// Everything as it was.
#[derive(Debug, Serialize)]
pub(super) struct AsOf {
    /// Entries folded.
    events: u64,
    root: String,
    ledger: AuditedLedger,
    points: BTreeMap<String, AuditedPoints>,
    /// Tasks and their states.
    tasks: BTreeMap<String, TaskRow>,
    nodes: BTreeMap<String, NodeRow>,
}

#[derive(Debug, Serialize)]
struct TaskRow {
    state: &'static str,
    requester: String,
    /// What its escrow was, in micro-AEV.
    escrow: String,
    /// Assignments and their states.
    assignments: BTreeMap<String, &'static str>,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    owner: String,
    availability: aevir_platform::command::Availability,
    running: usize,
}

impl AsOf {
    pub(super) fn of(state: &State, events: u64, root: String) -> Self {
        let tasks = state.tasks.values().map(|task| {
            let assignments = task.assignments.values();
            let row = TaskRow {
                state: task.phase.name(),
                requester: task.requester.to_string(),
                escrow: task.escrow.to_string(),
                assignments: assignments
                    .map(|a| (a.id.to_string(), a.state_name()))
                    .collect(),
            };
            (task.id.to_string(), row)
        });
        let nodes = state.nodes.values().map(|node| {
            let row = NodeRow {
                owner: node.owner.to_string(),
                availability: node.availability,
                running: node.active.len(),
            };
            (node.id.to_string(), row)
        });
        Self {
            events,
            root,
            ledger: ledger(state),
            points: points(state),
            tasks: tasks.collect(),
            nodes: nodes.collect(),
        }
    }

    pub(super) fn shown(&self) -> String {
        let mut rows = vec![
            ("events".to_owned(), self.events.to_string()),
            ("root".into(), self.root.clone()),
        ];
        rows.extend(books(&self.ledger, &self.points));
        let tasks = self.tasks.iter().map(|(id, task)| {
            let states: Vec<&str> = task.assignments.values().copied().collect();
            [id.clone(), task.state.to_owned(), states.join(", ")]
        });
        let nodes = self.nodes.iter().map(|(id, node)| {
            let availability = format!("{:?}", node.availability).to_lowercase();
            [id.clone(), availability, node.running.to_string()]
        });
        [
            properties(rows),
            table(["TASK", "STATE", "ASSIGNMENTS"], tasks),
            table(["NODE", "AVAILABILITY", "RUNNING"], nodes),
        ]
        .join("\n\n")
    }
}
