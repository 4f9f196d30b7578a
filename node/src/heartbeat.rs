//! Signs of life: they extend the leases of what runs, and carry what the runs have to say.

use std::{sync::Arc, time::Duration};

use aevir_wire::{ClientError, Directive, Heartbeat, Heartbeats};
use tokio::time::{Instant, timeout};

use crate::{
    agent::Shared,
    directive::heed,
    held::{Holdings, Work},
    retry::{Backoff, full, may_pass},
    telemetry::{HEARTBEAT_BYTES, Taken, Telemetry},
};

/// Signs of life of a node without work.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats within a lease: two may get lost.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// How long a heartbeat waits for its answer: the next one is due, and the lease depends on it.
const BEAT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a run that has ended may take to tell what it had still to say; the platform waits for how it ended.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);
/// Heartbeats for that, of [`FLUSH_BYTES`] each: more than the lines that wait take.
const FLUSH_BEATS_MAX: usize = 5;
/// Bytes of lines, and of metrics, of such a heartbeat: below the 4 MiB of JSON that the server takes.
const FLUSH_BYTES: usize = 1024 * 1024;
/// How long a node that stops waits until the platform knows it.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(3);

/// Shows life, and tells what the runs have to say.
pub(crate) async fn heartbeats(shared: Arc<Shared>) {
    let mut last = Instant::now();
    loop {
        last = due(&shared.holdings, last).await;
        beat(&shared).await;
    }
}

/// Waits for the next heartbeat after the `last`, and answers when it is.
async fn due(holdings: &Holdings, last: Instant) -> Instant {
    loop {
        let running = holdings.running();
        let next = after(last, running.iter().map(|(_, work)| work.lease));
        tokio::select! {
            () = tokio::time::sleep_until(next) => return Instant::now(),
            // A new run may want a shorter pause. It never makes the others' longer: the pause counts from the last heartbeat.
            () = holdings.beat_again.notified() => {}
        }
    }
}

/// When the heartbeat after the `last` is due, for runs with these leases.
fn after(last: Instant, leases: impl Iterator<Item = Duration>) -> Instant {
    let pauses = leases.map(|lease| lease / HEARTBEATS_PER_LEASE);
    last + pauses.fold(IDLE_HEARTBEAT, Duration::min)
}

async fn beat(shared: &Shared) {
    let running = shared.holdings.running();
    let budget = HEARTBEAT_BYTES / running.len().max(1);
    let taken = running
        .iter()
        .map(|(assignment, work)| work.telemetry.take(assignment, budget));
    let mut taken: Vec<Taken> = taken.collect();
    let mut told = tell(shared, &taken).await;
    // Whatever is wrong with what the runs say, their leases must not die of it.
    if matches!(told, Told::Refused) {
        taken.iter_mut().for_each(Taken::strip);
        told = tell(shared, &taken).await;
    }
    if let Told::Arrived(directives) = told {
        taken.into_iter().for_each(Taken::arrived);
        heed(shared, directives);
    }
}

/// What became of a heartbeat.
#[derive(Debug)]
enum Told {
    Arrived(Vec<Directive>),
    /// The platform does not take it.
    Refused,
    /// Nobody knows.
    Lost,
}

async fn tell(shared: &Shared, taken: &[Taken]) -> Told {
    let assignments: Vec<Heartbeat> = taken.iter().map(|t| t.heartbeat.clone()).collect();
    tell_of(shared, assignments).await
}

async fn tell_of(shared: &Shared, assignments: Vec<Heartbeat>) -> Told {
    let beats = Heartbeats {
        assignments,
        stopping: shared.shutdown.is_cancelled(),
    };
    match timeout(BEAT_PATIENCE, shared.client.heartbeat(&beats)).await {
        Ok(Ok(answer)) => Told::Arrived(answer.directives),
        Ok(Err(error)) => not_arrived(&error),
        Err(_) => {
            tracing::debug!("a heartbeat had no answer");
            Told::Lost
        }
    }
}

fn not_arrived(error: &ClientError) -> Told {
    if may_pass(error) {
        tracing::debug!(error = full(error), "a heartbeat did not arrive");
        return Told::Lost;
    }
    tracing::warn!(error = full(error), "a heartbeat was refused");
    Told::Refused
}

/// Tells what a run that has ended had still to say, before the platform hears how it ended: afterwards nobody listens to it. What takes
/// longer than there is time for is counted instead, and the count told as soon as anything can be told.
pub(crate) async fn flush(shared: &Shared, assignment: &str, work: &Work) {
    let tell = |beat: Heartbeat| tell_of(shared, vec![beat]);
    let said = last_words(&work.telemetry, assignment, FLUSH_PATIENCE, tell);
    // Without its lease nobody listens any more.
    tokio::select! {
        () = said => {}
        () = work.stop.cancelled() => {}
    }
}

/// The same of a run that a stopping node breaks off, for so long at most.
pub(crate) async fn flush_within(
    shared: &Shared,
    assignment: &str,
    telemetry: &Arc<Telemetry>,
    patience: Duration,
) {
    let tell = |beat: Heartbeat| tell_of(shared, vec![beat]);
    let said = last_words(telemetry, assignment, patience / 2, tell);
    if timeout(patience, said).await.is_err() {
        tracing::warn!(assignment, "what the run said last was not told in time");
    }
}

/// Tells what waits, for as long as `patience` allows; then how many lines that were, however long it takes. What is to be done about the
/// run is told again: to the answer on how it ended.
async fn last_words<F: Future<Output = Told>>(
    telemetry: &Arc<Telemetry>,
    assignment: &str,
    patience: Duration,
    tell: impl Fn(Heartbeat) -> F,
) {
    let mut backoff = Backoff::default();
    let lines = async {
        let mut beats = 0;
        while beats < FLUSH_BEATS_MAX {
            // What an earlier heartbeat carries may come back.
            telemetry.all_known().await;
            if !telemetry.is_waiting() {
                return;
            }
            let taken = telemetry.take(assignment, FLUSH_BYTES);
            match tell(taken.heartbeat.clone()).await {
                Told::Arrived(_) => {
                    taken.arrived();
                    beats += 1;
                }
                Told::Refused => return,
                Told::Lost => {
                    drop(taken);
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    };
    // What it was telling when the time was over is put back.
    let _ = timeout(patience, lines).await;
    loop {
        telemetry.all_known().await;
        telemetry.drop_waiting();
        if !telemetry.is_waiting() {
            return;
        }
        let taken = telemetry.take(assignment, FLUSH_BYTES);
        match timeout(patience, tell(taken.heartbeat.clone())).await {
            Ok(Told::Arrived(_)) => taken.arrived(),
            Ok(Told::Refused) => return,
            Ok(Told::Lost) | Err(_) => {
                drop(taken);
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

/// Tells the platform that nobody is here any more, so that it plans nothing on this node until it is silent for long.
pub(crate) async fn say_goodbye(shared: &Shared) {
    let last = Heartbeats {
        assignments: Vec::new(),
        stopping: true,
    };
    let told = timeout(GOODBYE_PATIENCE, shared.client.heartbeat(&last)).await;
    if !matches!(told, Ok(Ok(_))) {
        tracing::debug!("the platform was not told that the node is gone");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;
    use crate::telemetry::tests::Ear;

    /// Time enough for an answer here, and little of a test's.
    const PATIENCE: Duration = Duration::from_millis(300);

    /// A platform that has no answer to the first so many heartbeats, or refuses those with lines, and notes what it heard.
    #[derive(Default)]
    struct Platform {
        silent: Mutex<u32>,
        refuses_lines: bool,
        ear: Mutex<Ear>,
    }

    impl Platform {
        async fn hear(&self, beat: Heartbeat) -> Told {
            if self.refuses_lines && !beat.logs.is_empty() {
                return Told::Refused;
            }
            let is_silent = {
                let mut silent = self.silent.lock().unwrap();
                let is_silent = *silent > 0;
                *silent = silent.saturating_sub(1);
                is_silent
            };
            if is_silent {
                std::future::pending::<()>().await;
            }
            self.ear.lock().unwrap().hear(&beat);
            Told::Arrived(Vec::new())
        }

        fn heard(&self) -> (Vec<String>, u32) {
            let ear = self.ear.lock().unwrap();
            (ear.lines.clone(), ear.dropped)
        }
    }

    fn said(lines: u32) -> Arc<Telemetry> {
        let telemetry = Arc::new(Telemetry::default());
        (0..lines).for_each(|n| telemetry.log("info", n.to_string()));
        telemetry
    }

    #[tokio::test]
    async fn last_words_arrive_and_what_a_run_left_out_is_told() {
        let (platform, telemetry) = (Platform::default(), said(300));
        telemetry.drop_lines(7);
        last_words(&telemetry, "A", PATIENCE, |beat| platform.hear(beat)).await;
        let (lines, dropped) = platform.heard();
        assert_eq!((lines.len(), dropped), (300, 7));
        assert_eq!(lines[299], "299");
    }

    #[tokio::test]
    async fn without_an_answer_in_time_the_lines_are_counted() {
        let (platform, telemetry) = (Platform::default(), said(300));
        // The first one with lines, and the first count.
        *platform.silent.lock().unwrap() = 2;
        last_words(&telemetry, "A", PATIENCE, |beat| platform.hear(beat)).await;
        assert_eq!(platform.heard(), (Vec::new(), 300));
        assert!(!telemetry.is_waiting());
    }

    #[tokio::test]
    async fn lines_that_are_refused_are_counted() {
        let telemetry = said(3);
        let platform = Platform {
            refuses_lines: true,
            ..Platform::default()
        };
        last_words(&telemetry, "A", PATIENCE, |beat| platform.hear(beat)).await;
        assert_eq!(platform.heard(), (Vec::new(), 3));
    }

    #[tokio::test]
    async fn what_an_earlier_heartbeat_did_not_bring_is_told_at_the_end() {
        let (platform, telemetry) = (Platform::default(), said(3));
        let earlier = telemetry.take("A", HEARTBEAT_BYTES);
        assert!(!telemetry.is_waiting());
        let end = last_words(&telemetry, "A", PATIENCE, |beat| platform.hear(beat));
        let lost = async {
            tokio::time::sleep(PATIENCE / 10).await;
            drop(earlier);
        };
        tokio::join!(end, lost);
        assert_eq!(
            platform.heard(),
            (vec!["0".into(), "1".into(), "2".into()], 0)
        );
    }

    #[test]
    fn another_run_never_puts_a_heartbeat_off() {
        let (last, second) = (Instant::now(), Duration::from_secs(1));
        let due = |leases: &[u32]| after(last, leases.iter().map(|s| *s * second)) - last;
        assert_eq!(due(&[]), IDLE_HEARTBEAT);
        assert_eq!(due(&[9]), 3 * second);
        assert_eq!(due(&[9, 60]), 3 * second);
        assert_eq!(due(&[9, 60, 3]), second);
    }
}
