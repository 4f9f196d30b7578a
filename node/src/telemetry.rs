//! What a run says between two heartbeats, bounded.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aevir_wire::{Heartbeat, LogLine, MetricValue};

/// Lines and metrics that one heartbeat carries; the server keeps no more of one either. Older ones are dropped.
const ITEMS_MAX: usize = 200;
/// Characters of a line; the server keeps no more.
const LINE_CHARS_MAX: usize = 1_000;
/// Characters of a progress note; the server keeps no more.
const NOTE_CHARS_MAX: usize = 400;
/// Bytes of JSON around an entry's text.
const ENTRY_BYTES: usize = 64;
/// Bytes of lines, and of metrics, of all runs in one heartbeat: far below the 4 MiB of JSON that the server takes.
pub(crate) const HEARTBEAT_BYTES: usize = 128 * 1024;

/// Progress, log lines and metrics of one run.
#[derive(Debug, Default)]
pub(crate) struct Telemetry(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ppm: u32,
    note: String,
    logs: VecDeque<LogLine>,
    metrics: VecDeque<MetricValue>,
}

impl Telemetry {
    pub(crate) fn progress(&self, ppm: u32, note: impl Into<String>) {
        let mut inner = self.inner();
        inner.ppm = ppm;
        inner.note = cut(note.into(), NOTE_CHARS_MAX);
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.inner().note = cut(note.into(), NOTE_CHARS_MAX);
    }

    pub(crate) fn log(&self, level: &str, text: String) {
        let (level, text) = (level.to_owned(), cut(text, LINE_CHARS_MAX));
        push(&mut self.inner().logs, LogLine { level, text });
    }

    pub(crate) fn metric(&self, metric: MetricValue) {
        push(&mut self.inner().metrics, metric);
    }

    /// What happened since the last call, as a heartbeat. What passes `budget` bytes waits for the next one; at least
    /// one line and one metric go.
    pub(crate) fn take(&self, assignment: &str, budget: usize) -> Heartbeat {
        let mut inner = self.inner();
        Heartbeat {
            assignment: assignment.to_owned(),
            ppm: inner.ppm,
            note: inner.note.clone(),
            logs: take(&mut inner.logs, budget, |line| json_bytes(&line.text)),
            metrics: take(&mut inner.metrics, budget, |m| {
                json_bytes(&m.name) + m.step.len() + m.value.len()
            }),
        }
    }

    /// Puts back what a failed heartbeat did not deliver.
    pub(crate) fn give_back(&self, heartbeat: Heartbeat) {
        let mut inner = self.inner();
        put_back(&mut inner.logs, heartbeat.logs);
        put_back(&mut inner.metrics, heartbeat.metrics);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest items that fit into the budget, and always one.
fn take<T>(items: &mut VecDeque<T>, budget: usize, bytes: impl Fn(&T) -> usize) -> Vec<T> {
    let mut spent = 0;
    let fit = items.iter().take_while(|item| {
        let first = spent == 0;
        spent += ENTRY_BYTES + bytes(item);
        first || spent <= budget
    });
    let fit = fit.count();
    items.drain(..fit).collect()
}

fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
    text
}

/// Bytes of a text within JSON: control characters become six, quotes and backslashes two.
fn json_bytes(text: &str) -> usize {
    let bytes = text.bytes().map(|b| match b {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    });
    bytes.sum()
}

fn push<T>(items: &mut VecDeque<T>, item: T) {
    if items.len() >= ITEMS_MAX {
        items.pop_front();
    }
    items.push_back(item);
}

fn put_back<T>(items: &mut VecDeque<T>, undelivered: Vec<T>) {
    for item in undelivered.into_iter().rev() {
        if items.len() >= ITEMS_MAX {
            return;
        }
        items.push_front(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(heartbeat: &Heartbeat) -> Vec<&str> {
        heartbeat.logs.iter().map(|l| l.text.as_str()).collect()
    }

    #[test]
    fn what_was_taken_is_not_sent_twice() {
        let telemetry = Telemetry::default();
        telemetry.log("info", "one".into());
        telemetry.progress(500_000, "half");
        let first = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!((first.ppm, first.note.as_str()), (500_000, "half"));
        assert_eq!(texts(&first), ["one"]);
        let second = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!((second.ppm, texts(&second)), (500_000, Vec::new()));
    }

    #[test]
    fn undelivered_lines_come_first_next_time() {
        let telemetry = Telemetry::default();
        telemetry.log("info", "one".into());
        telemetry.log("info", "two".into());
        let failed = telemetry.take("A", HEARTBEAT_BYTES);
        telemetry.log("info", "three".into());
        telemetry.give_back(failed);
        assert_eq!(
            texts(&telemetry.take("A", HEARTBEAT_BYTES)),
            ["one", "two", "three"]
        );
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let telemetry = Telemetry::default();
        for n in 0..ITEMS_MAX + 5 {
            telemetry.log("info", n.to_string());
        }
        let failed = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!(failed.logs.len(), ITEMS_MAX);
        assert_eq!(failed.logs[0].text, "5");
        telemetry.log("info", "new".into());
        telemetry.give_back(failed);
        let again = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!(again.logs.len(), ITEMS_MAX);
        assert_eq!(again.logs[ITEMS_MAX - 1].text, "new");
    }

    #[test]
    fn a_heartbeat_is_bounded_whatever_the_run_writes() {
        let telemetry = Telemetry::default();
        for _ in 0..ITEMS_MAX {
            telemetry.log("info", "\u{1}".repeat(5_000));
        }
        let mut beats = 0;
        loop {
            let beat = telemetry.take("A", HEARTBEAT_BYTES);
            if beat.logs.is_empty() {
                break;
            }
            assert!(beat.logs.iter().all(|l| l.text.len() == LINE_CHARS_MAX));
            let json = serde_json::to_vec(&beat).map(|json| json.len());
            assert!(json.is_ok_and(|bytes| bytes < HEARTBEAT_BYTES + 1_024));
            beats += 1;
        }
        assert!(beats > 5, "they went in several: {beats}");
        telemetry.log("info", "ü".repeat(5_000));
        assert_eq!(telemetry.take("A", 0).logs.len(), 1, "one always goes");
    }
}
