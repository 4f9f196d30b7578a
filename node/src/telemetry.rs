//! What a run says between two heartbeats, bounded. What does not fit is counted, so that whoever reads the log knows that it is not all.
//!
//! Lines and metrics are numbered, so that the platform knows what it is told again because an answer was lost, and what it never gets. No two
//! heartbeats under way carry either at once: one that overtakes another passes nothing over.

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
    logs: Queue<LogLine>,
    /// Lines that the run's own limit left out; and of how many the platform knows.
    left_out: u32,
    left_out_known: u32,
    metrics: Queue<MetricValue>,
    /// Heartbeats of which it is not known yet whether they arrived.
    under_way: usize,
}

/// A heartbeat that is being sent. Unless it arrived, what it carries is put back, also where nobody waits for the answer any more: none is lost
/// without being counted.
#[derive(Debug)]
pub(crate) struct Taken {
    of: Arc<Telemetry>,
    pub(crate) heartbeat: Heartbeat,
    /// It was given lines, and metrics, to carry.
    has_logs: bool,
    has_metrics: bool,
    has_arrived: bool,
}

impl Taken {
    /// The platform has it.
    pub(crate) fn arrived(mut self) {
        self.has_arrived = true;
    }

    /// Leaves a sign of life of it, which passes over what it carried.
    pub(crate) fn strip(&mut self) {
        let heartbeat = &mut self.heartbeat;
        heartbeat.note.clear();
        let lines = heartbeat.logs.len();
        heartbeat.first_line = heartbeat.first_line.map(|first| after(first, lines));
        heartbeat.logs.clear();
        let metrics = heartbeat.metrics.len();
        heartbeat.first_metric = heartbeat.first_metric.map(|first| after(first, metrics));
        heartbeat.metrics.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let (beat, arrived) = (&mut self.heartbeat, self.has_arrived);
        let (logs, metrics) = (
            std::mem::take(&mut beat.logs),
            std::mem::take(&mut beat.metrics),
        );
        // It has both: `take` numbers them.
        let first_line = beat.first_line.unwrap_or_default();
        let first_metric = beat.first_metric.unwrap_or_default();
        let mut inner = self.of.inner();
        inner
            .logs
            .settle((first_line, logs), self.has_logs, arrived);
        inner
            .metrics
            .settle((first_metric, metrics), self.has_metrics, arrived);
        if arrived {
            inner.left_out_known = inner.left_out_known.max(beat.lines_left_out);
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
        self.inner().logs.push(LogLine { level, text });
    }

    /// Counts lines that the run's own limit left out.
    pub(crate) fn drop_lines(&self, lines: u64) {
        let mut inner = self.inner();
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        inner.left_out = inner.left_out.saturating_add(lines);
    }

    /// Whether a heartbeat has something to tell.
    pub(crate) fn is_waiting(&self) -> bool {
        let inner = self.inner();
        let is_told = inner.left_out_known >= inner.left_out;
        !is_told || inner.logs.has_untold() || inner.metrics.has_untold()
    }

    /// Drops what waits, so that the next heartbeat tells how much that was.
    pub(crate) fn drop_waiting(&self) {
        let mut inner = self.inner();
        inner.logs.waiting.clear();
        inner.metrics.waiting.clear();
    }

    pub(crate) fn metric(&self, metric: MetricValue) {
        self.inner().metrics.push(metric);
    }

    /// What happened since the last call, as a heartbeat. What passes `budget` bytes waits for the next one; at least
    /// one line and one metric go.
    pub(crate) fn take(self: &Arc<Self>, assignment: &str, budget: usize) -> Taken {
        let mut inner = self.inner();
        inner.under_way += 1;
        let (first_line, logs) = inner.logs.take(budget, |line| json_bytes(&line.text));
        let (first_metric, metrics) = inner.metrics.take(budget, |m| {
            json_bytes(&m.name) + m.step.len() + m.value.len()
        });
        let heartbeat = Heartbeat {
            assignment: assignment.to_owned(),
            ppm: inner.ppm,
            note: inner.note.clone(),
            first_line: Some(first_line),
            logs,
            lines_left_out: inner.left_out,
            logs_dropped: 0,
            first_metric: Some(first_metric),
            metrics,
        };
        drop(inner);
        Taken {
            of: Arc::clone(self),
            has_logs: !heartbeat.logs.is_empty(),
            has_metrics: !heartbeat.metrics.is_empty(),
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

/// Things of one sort that a run says, numbered in their order.
#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    /// How many there were so far: the last one has the number before.
    said: u32,
    /// Up to which number the platform knows of them.
    known: u32,
    /// The numbers of those that a heartbeat carries of which it is not known whether it arrived: the first, and the one after the last.
    under_way: Option<(u32, u32)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            said: 0,
            known: 0,
            under_way: None,
        }
    }
}

impl<T> Queue<T> {
    /// Puts one at the end. The oldest goes where there is no room.
    fn push(&mut self, item: T) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(item);
        self.said = after(self.said, 1);
    }

    /// The number of the first that waits, or of the next one.
    fn first(&self) -> u32 {
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        self.said.saturating_sub(waiting)
    }

    /// The oldest that fit into the budget, and always one, with the first one's number: none while others are under way.
    fn take(&mut self, budget: usize, bytes: impl Fn(&T) -> usize) -> (u32, Vec<T>) {
        if let Some((first, _)) = self.under_way {
            return (first, Vec::new());
        }
        let first = self.first();
        let mut spent = 0;
        let fit = self.waiting.iter().take(ITEMS_MAX).take_while(|item| {
            let is_first = spent == 0;
            spent += ENTRY_BYTES + bytes(item);
            is_first || spent <= budget
        });
        let fit = fit.count();
        if fit > 0 {
            self.under_way = Some((first, after(first, fit)));
        }
        (first, self.waiting.drain(..fit).collect())
    }

    /// It is known what became of a heartbeat that said so much: what did not arrive waits again, the newest of it, as far as there is room.
    fn settle(&mut self, (first, mut items): (u32, Vec<T>), had_any: bool, arrived: bool) {
        if had_any {
            self.under_way = None;
        }
        let next = after(first, items.len());
        if arrived {
            self.known = self.known.max(next);
        } else if next == self.first() {
            let room = WAITING_MAX.saturating_sub(self.waiting.len());
            let dropped = items.len().saturating_sub(room);
            for item in items.drain(dropped..).rev() {
                self.waiting.push_front(item);
            }
        }
    }

    /// Whether there is something of which the platform does not know, and no heartbeat is telling.
    fn has_untold(&self) -> bool {
        let told = self.under_way.map_or(0, |(_, next)| next);
        self.known.max(told) < self.said
    }
}

/// The number after so many more.
fn after(number: u32, more: usize) -> u32 {
    number.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the platform makes of the heartbeats that it hears.
    #[derive(Debug, Default)]
    pub(crate) struct Ear {
        next: u32,
        left_out: u32,
        pub(crate) lines: Vec<String>,
        pub(crate) dropped: u32,
    }

    impl Ear {
        pub(crate) fn hear(&mut self, beat: &Heartbeat) {
            let (first, left_out) = (beat.first_line.unwrap_or_default(), beat.lines_left_out);
            self.dropped += first.saturating_sub(self.next);
            self.dropped += left_out.saturating_sub(self.left_out);
            let known = self.next.saturating_sub(first) as usize;
            let texts = beat.logs.iter().skip(known).map(|line| line.text.clone());
            self.lines.extend(texts);
            self.next = self.next.max(after(first, beat.logs.len()));
            self.left_out = self.left_out.max(left_out);
        }
    }

    fn numbered(taken: &Taken) -> (Option<u32>, usize) {
        (taken.heartbeat.first_line, taken.heartbeat.logs.len())
    }

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
        assert_eq!((beat.logs.len(), beat.first_line), (ITEMS_MAX, Some(5)));
        assert_eq!((beat.logs[0].text.as_str(), beat.lines_left_out), ("5", 2));
        telemetry.log("info", "new".into());
        drop(failed);
        let mut ear = Ear::default();
        while telemetry.is_waiting() {
            let taken = telemetry.take("A", HEARTBEAT_BYTES);
            ear.hear(&taken.heartbeat);
            taken.arrived();
        }
        assert_eq!((ear.lines.len(), ear.dropped), (WAITING_MAX, 8));
        let ends = (ear.lines[0].as_str(), ear.lines[WAITING_MAX - 1].as_str());
        assert_eq!(ends, ("6", "new"));
    }

    #[test]
    fn what_arrived_without_an_answer_is_told_once() {
        let (telemetry, mut ear) = (Arc::new(Telemetry::default()), Ear::default());
        telemetry.log("info", "one".into());
        let unanswered = telemetry.take("A", HEARTBEAT_BYTES);
        ear.hear(&unanswered.heartbeat);
        // Another one overtakes it, which carries no lines and passes none over.
        telemetry.log("info", "two".into());
        let other = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!(numbered(&other), (Some(0), 0));
        ear.hear(&other.heartbeat);
        other.arrived();
        drop(unanswered);
        let again = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!(texts(&again), ["one", "two"]);
        ear.hear(&again.heartbeat);
        again.arrived();
        assert_eq!(
            (ear.lines, ear.dropped),
            (vec!["one".into(), "two".into()], 0)
        );
        assert!(!telemetry.is_waiting());
    }

    #[test]
    fn what_comes_back_to_an_emptied_queue_is_counted() {
        let (telemetry, mut ear) = (Arc::new(Telemetry::default()), Ear::default());
        telemetry.log("info", "one".into());
        let lost = telemetry.take("A", HEARTBEAT_BYTES);
        telemetry.log("info", "two".into());
        telemetry.drop_waiting();
        drop(lost);
        while telemetry.is_waiting() {
            let taken = telemetry.take("A", HEARTBEAT_BYTES);
            ear.hear(&taken.heartbeat);
            taken.arrived();
        }
        assert_eq!((ear.lines.len(), ear.dropped), (0, 2));
    }

    #[test]
    fn what_there_is_no_time_for_is_counted() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.log("info", "one".into());
        telemetry.drop_waiting();
        let taken = telemetry.take("A", HEARTBEAT_BYTES);
        let beat = &taken.heartbeat;
        assert_eq!((beat.logs.len(), beat.first_line), (0, Some(1)));
        taken.arrived();
        assert!(!telemetry.is_waiting());
    }

    #[test]
    fn a_heartbeat_that_was_refused_leaves_its_count() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.log("info", "one".into());
        let mut refused = telemetry.take("A", HEARTBEAT_BYTES);
        refused.strip();
        assert_eq!(numbered(&refused), (Some(1), 0));
        drop(refused);
        let next = telemetry.take("A", HEARTBEAT_BYTES);
        assert_eq!(numbered(&next), (Some(1), 0));
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
