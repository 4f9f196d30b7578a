//! The newest log lines and metric values of tasks, bounded in every direction.

use std::collections::{HashMap, VecDeque};

use aevir_platform::ids::TaskId;
use aevir_wire::{TaskLog, TaskLogLine, TaskMetric};

/// Tasks whose log is kept; the one that was quiet for longest goes first.
const TASKS_MAX: usize = 128;
/// Lines of one task.
const LINES_MAX: usize = 500;
/// Metric values of one task.
const METRICS_MAX: usize = 2_000;
/// Characters of one line.
pub(crate) const LINE_CHARS_MAX: usize = 1_000;

/// The logs of the tasks that were active last.
#[derive(Debug, Default)]
pub(crate) struct TaskLogs {
    logs: HashMap<TaskId, Ring>,
    /// Counts additions, to tell which log was quiet for longest.
    clock: u64,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<TaskLogLine>,
    metrics: VecDeque<TaskMetric>,
    dropped: u64,
    touched: u64,
}

impl TaskLogs {
    /// Adds what a heartbeat brought; `dropped` lines came to be and were not brought.
    pub(crate) fn add(
        &mut self,
        task: TaskId,
        lines: &[TaskLogLine],
        dropped: u64,
        metrics: &[TaskMetric],
    ) {
        if lines.is_empty() && dropped == 0 && metrics.is_empty() {
            return;
        }
        if !self.logs.contains_key(&task) && self.logs.len() >= TASKS_MAX {
            let quietest = self.logs.iter().min_by_key(|(_, ring)| ring.touched);
            if let Some(id) = quietest.map(|(id, _)| *id) {
                self.logs.remove(&id);
            }
        }
        self.clock += 1;
        let ring = self.logs.entry(task).or_default();
        ring.touched = self.clock;
        ring.lines.extend(lines.iter().cloned());
        ring.metrics.extend(metrics.iter().cloned());
        let excess = ring.lines.len().saturating_sub(LINES_MAX);
        ring.lines.drain(..excess);
        ring.dropped = ring
            .dropped
            .saturating_add(dropped)
            .saturating_add(excess as u64);
        let excess = ring.metrics.len().saturating_sub(METRICS_MAX);
        ring.metrics.drain(..excess);
    }

    pub(crate) fn of(&self, task: TaskId) -> TaskLog {
        let Some(ring) = self.logs.get(&task) else {
            return TaskLog {
                lines_dropped: "0".into(),
                ..TaskLog::default()
            };
        };
        TaskLog {
            lines: ring.lines.iter().cloned().collect(),
            metrics: ring.metrics.iter().cloned().collect(),
            lines_dropped: ring.dropped.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> TaskLogLine {
        TaskLogLine {
            time: String::new(),
            assignment: String::new(),
            level: "info".into(),
            text: n.to_string(),
        }
    }

    #[test]
    fn memory_is_bounded_in_lines_and_tasks() {
        let task = |n: u128| TaskId(ulid::Ulid::from_parts(0, n));
        let mut logs = TaskLogs::default();
        let lines: Vec<_> = (0..LINES_MAX + 3).map(line).collect();
        logs.add(task(0), &lines, 4, &[]);
        let log = logs.of(task(0));
        assert_eq!(log.lines.len(), LINES_MAX);
        assert_eq!(log.lines.first().map(|l| l.text.as_str()), Some("3"));
        assert_eq!(log.lines_dropped, "7", "here and before");
        for n in 1..=TASKS_MAX as u128 {
            logs.add(task(n), &[line(0)], 0, &[]);
        }
        assert!(
            logs.of(task(0)).lines.is_empty(),
            "the quietest was dropped"
        );
        assert_eq!(logs.logs.len(), TASKS_MAX);
    }
}
