//! What a run says between two heartbeats, bounded. What does not fit is counted, so that whoever reads the log knows that it is not all.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use aevir_wire::{Heartbeat, LogLine, MetricValue};

/// Lines and metrics that one heartbeat carries; the server keeps no more of one either.
const ITEMS_MAX: usize = 200;
/// Lines, and metrics, that wait for heartbeats: as many lines as the server keeps of a task. Older ones are dropped.
const WAITING_MAX: usize = 500;
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
pub(crate) struct Telemetry {
    inner: Mutex<Inner>,
    /// Rings when it is known whether a heartbeat arrived.
    known: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    ppm: u32,
    note: String,
    logs: VecDeque<LogLine>,
    /// Lines that are not among them any more, and that no heartbeat has told of.
    logs_dropped: u32,
    metrics: VecDeque<MetricValue>,
    /// Heartbeats of which it is not known yet whether they arrived.
    under_way: usize,
}

/// A heartbeat that is being sent. Unless it arrived, what it carries is put back, also where nobody waits for the answer any more: a line
/// may be told twice, and none is lost without being counted.
#[derive(Debug)]
pub(crate) struct Taken {
    of: Arc<Telemetry>,
    pub(crate) heartbeat: Heartbeat,
    has_arrived: bool,
}

impl Taken {
    /// The platform has it.
    pub(crate) fn arrived(mut self) {
        self.has_arrived = true;
    }

    /// Leaves a sign of life of it, and how many lines it carried.
    pub(crate) fn strip(&mut self) {
        let heartbeat = &mut self.heartbeat;
        let lines = u32::try_from(heartbeat.logs.len()).unwrap_or(u32::MAX);
        heartbeat.note.clear();
        heartbeat.logs_dropped = heartbeat.logs_dropped.saturating_add(lines);
        heartbeat.logs.clear();
        heartbeat.metrics.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut inner = self.of.inner();
        if !self.has_arrived {
            inner.put_back(&mut self.heartbeat);
        }
        inner.under_way = inner.under_way.saturating_sub(1);
        drop(inner);
        self.of.known.notify_waiters();
    }
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
        let mut inner = self.inner();
        let dropped = push(&mut inner.logs, LogLine { level, text });
        inner.count_dropped(dropped);
    }

    /// Counts lines that the run's own limit left out.
    pub(crate) fn drop_lines(&self, lines: u64) {
        self.inner().count_dropped(lines);
    }

    /// Whether a heartbeat has something to carry.
    pub(crate) fn is_waiting(&self) -> bool {
        let inner = self.inner();
        inner.logs_dropped > 0 || !inner.logs.is_empty() || !inner.metrics.is_empty()
    }

    /// Drops and counts the lines that wait, so that the next heartbeat carries the count alone.
    pub(crate) fn drop_waiting(&self) {
        let mut inner = self.inner();
        let lines = inner.logs.drain(..).count() as u64;
        inner.metrics.clear();
        inner.count_dropped(lines);
    }

    pub(crate) fn metric(&self, metric: MetricValue) {
        push(&mut self.inner().metrics, metric);
    }

    /// What happened since the last call, as a heartbeat. What passes `budget` bytes waits for the next one; at least
    /// one line and one metric go.
    pub(crate) fn take(self: &Arc<Self>, assignment: &str, budget: usize) -> Taken {
        let mut inner = self.inner();
        inner.under_way += 1;
        let heartbeat = Heartbeat {
            assignment: assignment.to_owned(),
            ppm: inner.ppm,
            note: inner.note.clone(),
            logs_dropped: std::mem::take(&mut inner.logs_dropped),
            logs: take(&mut inner.logs, budget, |line| json_bytes(&line.text)),
            metrics: take(&mut inner.metrics, budget, |m| {
                json_bytes(&m.name) + m.step.len() + m.value.len()
            }),
        };
        drop(inner);
        Taken {
            of: Arc::clone(self),
            heartbeat,
            has_arrived: false,
        }
    }

    /// Waits until of no heartbeat it is unknown whether it arrived.
    pub(crate) async fn all_known(&self) {
        loop {
            let known = self.known.notified();
            let mut known = std::pin::pin!(known);
            // From here on it hears every ring.
            known.as_mut().enable();
            if self.inner().under_way == 0 {
                return;
            }
            known.await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count_dropped(&mut self, lines: u64) {
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        self.logs_dropped = self.logs_dropped.saturating_add(lines);
    }

    /// Puts back what a heartbeat did not deliver.
    fn put_back(&mut self, heartbeat: &mut Heartbeat) {
        let dropped = put_back(&mut self.logs, std::mem::take(&mut heartbeat.logs));
        self.count_dropped(dropped);
        self.count_dropped(heartbeat.logs_dropped.into());
        put_back(&mut self.metrics, std::mem::take(&mut heartbeat.metrics));
    }
}

/// The oldest items that fit into the budget, and always one.
fn take<T>(items: &mut VecDeque<T>, budget: usize, bytes: impl Fn(&T) -> usize) -> Vec<T> {
    let mut spent = 0;
    let fit = items.iter().take(ITEMS_MAX).take_while(|item| {
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

/// Puts one at the end; answers how many had to go for it.
fn push<T>(items: &mut VecDeque<T>, item: T) -> u64 {
    let full = items.len() >= WAITING_MAX;
    if full {
        items.pop_front();
    }
    items.push_back(item);
    full.into()
}

/// Puts them at the beginning, the newest first; answers how many found no room.
fn put_back<T>(items: &mut VecDeque<T>, mut undelivered: Vec<T>) -> u64 {
    let room = WAITING_MAX.saturating_sub(items.len());
    let dropped = undelivered.len().saturating_sub(room);
    for item in undelivered.drain(dropped..).rev() {
        items.push_front(item);
    }
    dropped as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(taken: &Taken) -> Vec<&str> {
        let heartbeat = &taken.heartbeat;
        heartbeat.logs.iter().map(|l| l.text.as_str()).collect()
    }

    #[test]
    fn what_was_taken_is_not_sent_twice() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.log("info", "one".into());
        telemetry.progress(500_000, "half");
        let first = telemetry.take("A", HEARTBEAT_BYTES);
        let beat = &first.heartbeat;
        assert_eq!((beat.ppm, beat.note.as_str()), (500_000, "half"));
        assert_eq!(texts(&first), ["one"]);
        first.arrived();
        let second = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!(
            (second.heartbeat.ppm, texts(&second)),
            (500_000, Vec::new())
        );
    }

    #[test]
    fn undelivered_lines_come_first_next_time() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.log("info", "one".into());
        telemetry.log("info", "two".into());
        let failed = telemetry.take("A", HEARTBEAT_BYTES);
        telemetry.log("info", "three".into());
        drop(failed);
        assert_eq!(
            texts(&telemetry.take("A", HEARTBEAT_BYTES)),
            ["one", "two", "three"]
        );
    }

    #[test]
    fn the_newest_lines_are_kept_and_the_others_counted() {
        let telemetry = Arc::new(Telemetry::default());
        for n in 0..WAITING_MAX + 5 {
            telemetry.log("info", n.to_string());
        }
        telemetry.drop_lines(2);
        let failed = telemetry.take("A", HEARTBEAT_BYTES);
        let beat = &failed.heartbeat;
        assert_eq!((beat.logs.len(), beat.logs_dropped), (ITEMS_MAX, 7));
        assert_eq!(beat.logs[0].text, "5");
        telemetry.log("info", "new".into());
        drop(failed);
        let (mut texts, mut dropped) = (Vec::new(), 0);
        while telemetry.is_waiting() {
            let taken = telemetry.take("A", HEARTBEAT_BYTES);
            let beat = taken.heartbeat.clone();
            taken.arrived();
            dropped += beat.logs_dropped;
            texts.extend(beat.logs.into_iter().map(|line| line.text));
        }
        assert_eq!((texts.len(), dropped), (WAITING_MAX, 8));
        assert_eq!(
            (texts[0].as_str(), texts[WAITING_MAX - 1].as_str()),
            ("6", "new")
        );
    }

    #[test]
    fn what_there_is_no_time_for_is_counted() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.log("info", "one".into());
        telemetry.drop_waiting();
        let taken = telemetry.take("A", HEARTBEAT_BYTES);
        let beat = &taken.heartbeat;
        assert_eq!((beat.logs.len(), beat.logs_dropped), (0, 1));
        taken.arrived();
        assert!(!telemetry.is_waiting());
    }

    #[test]
    fn a_heartbeat_that_was_refused_leaves_its_count() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.log("info", "one".into());
        let mut refused = telemetry.take("A", HEARTBEAT_BYTES);
        refused.strip();
        assert_eq!(
            (refused.heartbeat.logs_dropped, texts(&refused).len()),
            (1, 0)
        );
        drop(refused);
        let next = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!((next.heartbeat.logs_dropped, texts(&next).len()), (1, 0));
    }

    #[tokio::test]
    async fn whoever_waits_for_the_answers_hears_of_the_last_one() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.all_known().await;
        let (one, two) = (telemetry.take("A", 0), telemetry.take("A", 0));
        let waiting = tokio::spawn({
            let telemetry = Arc::clone(&telemetry);
            async move { telemetry.all_known().await }
        });
        tokio::task::yield_now().await;
        one.arrived();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(two);
        assert!(waiting.await.is_ok());
    }

    #[test]
    fn a_heartbeat_is_bounded_whatever_the_run_writes() {
        let telemetry = Arc::new(Telemetry::default());
        for _ in 0..ITEMS_MAX {
            telemetry.log("info", "\u{1}".repeat(5_000));
        }
        let mut beats = 0;
        loop {
            let taken = telemetry.take("A", HEARTBEAT_BYTES);
            let beat = taken.heartbeat.clone();
            taken.arrived();
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
        assert_eq!(
            telemetry.take("A", 0).heartbeat.logs.len(),
            1,
            "one always goes"
        );
    }
}
