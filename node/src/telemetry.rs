//! What a run says between two heartbeats, bounded.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aevir_wire::{Heartbeat, LogLine, MetricValue};

/// Lines and metrics that one heartbeat carries; the server keeps no more of one either. Older ones are dropped.
const ITEMS_MAX: usize = 200;

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
        inner.note = note.into();
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.inner().note = note.into();
    }

    pub(crate) fn log(&self, level: &str, text: String) {
        let level = level.to_owned();
        push(&mut self.inner().logs, LogLine { level, text });
    }

    pub(crate) fn metric(&self, metric: MetricValue) {
        push(&mut self.inner().metrics, metric);
    }

    /// What happened since the last call, as a heartbeat.
    pub(crate) fn take(&self, assignment: &str) -> Heartbeat {
        let mut inner = self.inner();
        Heartbeat {
            assignment: assignment.to_owned(),
            ppm: inner.ppm,
            note: inner.note.clone(),
            logs: std::mem::take(&mut inner.logs).into(),
            metrics: std::mem::take(&mut inner.metrics).into(),
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
        let first = telemetry.take("A");
        assert_eq!((first.ppm, first.note.as_str()), (500_000, "half"));
        assert_eq!(texts(&first), ["one"]);
        let second = telemetry.take("A");
        assert_eq!((second.ppm, texts(&second)), (500_000, Vec::new()));
    }

    #[test]
    fn undelivered_lines_come_first_next_time() {
        let telemetry = Telemetry::default();
        telemetry.log("info", "one".into());
        telemetry.log("info", "two".into());
        let failed = telemetry.take("A");
        telemetry.log("info", "three".into());
        telemetry.give_back(failed);
        assert_eq!(texts(&telemetry.take("A")), ["one", "two", "three"]);
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let telemetry = Telemetry::default();
        for n in 0..ITEMS_MAX + 5 {
            telemetry.log("info", n.to_string());
        }
        let failed = telemetry.take("A");
        assert_eq!(failed.logs.len(), ITEMS_MAX);
        assert_eq!(failed.logs[0].text, "5");
        telemetry.log("info", "new".into());
        telemetry.give_back(failed);
        let again = telemetry.take("A");
        assert_eq!(again.logs.len(), ITEMS_MAX);
        assert_eq!(again.logs[ITEMS_MAX - 1].text, "new");
    }
}
