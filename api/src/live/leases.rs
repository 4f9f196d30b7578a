//! Deadlines of leases: silence past one becomes a `LoseLease`.

use std::{collections::HashMap, time::Duration};

use aevir_platform::{
    command::LossReason,
    ids::AssignmentId,
    policy::Policy,
    schedule::{fetch_ms, slack_ms},
    state::Task,
};
use aevir_wire::Heartbeat;
use tokio::time::Instant;

/// The leases under way.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    granted: HashMap<AssignmentId, Lease>,
    /// Its node may be quicker than whoever grants the lease by the log: what it says before is heard, too.
    heard: HashMap<AssignmentId, Heard>,
}

/// How long a lease lasts, by the policy of its task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// It must be started within this time, or show life.
    accept: Duration,
    /// Each sign of life extends it by so much.
    lease: Duration,
    /// How long a node may fetch inputs before it starts, however lively its heartbeats.
    fetch: Duration,
    /// What a run may take beyond its own time limit: compiling, uploading outputs, longer for more of them.
    slack: Duration,
    /// Progress is recorded in the log at most this often.
    record: Duration,
}

impl Times {
    /// Of a task, by the policy that it was created under.
    pub(crate) fn of(task: &Task, policy: &Policy) -> Self {
        let [fetch, slack] = [fetch_ms, slack_ms].map(|of| of(task, &policy.scheduling));
        Self::within(
            policy,
            Duration::from_millis(fetch),
            Duration::from_millis(slack),
        )
    }

    fn within(policy: &Policy, fetch: Duration, slack: Duration) -> Self {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let leases = &policy.scheduling.leases;
        Self {
            accept: ms(policy.accept_ms),
            lease: ms(policy.lease_ms),
            fetch,
            slack,
            record: ms(leases.progress_ms),
        }
    }
}

/// One lease.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    started: bool,
    deadline: Instant,
    /// Heartbeats do not extend it past this.
    end: Instant,
    times: Times,
    /// As the last heartbeat told it.
    pub(crate) progress: Option<(u32, String)>,
    recorded: Option<Instant>,
    /// For how long there was no leader since it was granted.
    absent: Duration,
}

/// Up to which number what a run says is known.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    lines: u32,
    lines_left_out: u32,
    metrics: u32,
}

/// What of a heartbeat is no news, and what never comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// So many of its lines, from the first on, were heard before; and of its metrics.
    pub(crate) lines: usize,
    pub(crate) metrics: usize,
    /// Lines that were logged since and that nobody brings.
    pub(crate) lines_dropped: u32,
}

/// Hears `count` things from number `first` on; answers how many of them are known, and how many before them were passed over. What has no
/// number is news.
fn hear(heard: &mut u32, first: Option<u32>, count: usize) -> (usize, u32) {
    let Some(first) = first else {
        return (0, 0);
    };
    let known = usize::try_from(heard.saturating_sub(first)).unwrap_or(usize::MAX);
    let passed_over = first.saturating_sub(*heard);
    let next = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    *heard = next.max(*heard);
    (known.min(count), passed_over)
}

impl Leases {
    pub(crate) fn get(&self, id: AssignmentId) -> Option<&Lease> {
        self.granted.get(&id)
    }

    /// A fresh lease.
    pub(crate) fn grant(&mut self, id: AssignmentId, now: Instant, times: Times) {
        let granted = Lease {
            started: false,
            deadline: now + times.accept,
            end: now + times.fetch.max(times.accept),
            times,
            progress: None,
            recorded: None,
            absent: Duration::ZERO,
        };
        self.granted.insert(id, granted);
    }

    /// There was another leader before, or none: nobody knows for how long.
    pub(crate) fn inherit(&mut self, id: AssignmentId, before: Duration) {
        if let Some(lease) = self.granted.get_mut(&id) {
            lease.absent = before;
        }
    }

    /// For how long there was no leader since the lease was granted.
    pub(crate) fn absent(&self, id: AssignmentId) -> Duration {
        let lease = self.granted.get(&id);
        lease.map_or(Duration::ZERO, |lease| lease.absent)
    }

    /// The run has begun; it may take `runtime`.
    pub(crate) fn start(&mut self, id: AssignmentId, now: Instant, runtime: Duration) {
        if let Some(lease) = self.granted.get_mut(&id) {
            lease.started = true;
            lease.deadline = now + lease.times.lease;
            lease.end = now + runtime + lease.times.slack;
        }
    }

    /// A sign of life.
    pub(crate) fn extend(&mut self, id: AssignmentId, now: Instant) {
        if let Some(lease) = self.granted.get_mut(&id) {
            let extended = lease.deadline.max(now + lease.times.lease);
            lease.deadline = extended.min(lease.end);
        }
    }

    /// Notes progress; answers whether it is time to record it.
    pub(crate) fn report(&mut self, id: AssignmentId, now: Instant, ppm: u32, note: &str) -> bool {
        let Some(lease) = self.granted.get_mut(&id) else {
            return false;
        };
        let said = (ppm, note.to_owned());
        if lease.progress.as_ref() == Some(&said) || (ppm == 0 && note.is_empty()) {
            return false;
        }
        lease.progress = Some(said);
        let every = lease.times.record;
        let due = lease.recorded.is_none_or(|last| now >= last + every);
        if due {
            lease.recorded = Some(now);
        }
        due
    }

    /// Hears what a run says; answers what of it is known already. The run must not have ended: what is heard is kept until [`Self::end`].
    pub(crate) fn hear(&mut self, id: AssignmentId, beat: &Heartbeat) -> Known {
        let heard = self.heard.entry(id).or_default();
        let (lines, passed_over) = hear(&mut heard.lines, beat.first_line, beat.logs.len());
        let (metrics, _) = hear(&mut heard.metrics, beat.first_metric, beat.metrics.len());
        let (_, left_out) = hear(&mut heard.lines_left_out, Some(beat.lines_left_out), 0);
        Known {
            lines,
            metrics,
            lines_dropped: passed_over
                .saturating_add(left_out)
                .saturating_add(beat.logs_dropped),
        }
    }

    /// The lease needs no more life: sealed, ended or lost.
    pub(crate) fn end(&mut self, id: AssignmentId) {
        self.granted.remove(&id);
        self.heard.remove(&id);
    }

    /// Nobody listened for so long: that time counts for no lease, and by the wall clock, which may have gone further, for no run.
    pub(crate) fn shift(&mut self, paused: Duration, by_wall: Duration) {
        for lease in self.granted.values_mut() {
            lease.deadline += paused;
            lease.end += paused;
            lease.absent += by_wall;
        }
    }

    /// Leases whose deadline has passed, with the reason.
    pub(crate) fn expired(&self, now: Instant) -> Vec<(AssignmentId, LossReason)> {
        let silent = self
            .granted
            .iter()
            .filter(|(_, lease)| lease.deadline <= now);
        silent
            .map(|(id, lease)| match lease.started {
                true => (*id, LossReason::Silent),
                false => (*id, LossReason::NotStarted),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPT: Duration = Duration::from_secs(30);
    const LEASE: Duration = Duration::from_secs(15);
    const FETCH: Duration = Duration::from_secs(15 * 60);
    const SLACK: Duration = Duration::from_secs(5 * 60);
    const RECORD: Duration = Duration::from_secs(10);

    /// Those of the policy that a platform begins with.
    fn times() -> Times {
        let times = Times::within(&Policy::default(), FETCH, SLACK);
        let known = [times.accept, times.lease, times.fetch, times.slack];
        assert_eq!(known, [ACCEPT, LEASE, FETCH, SLACK]);
        assert_eq!(times.record, RECORD);
        times
    }

    const ID: AssignmentId = AssignmentId(ulid::Ulid::from_parts(0, 1));

    #[test]
    fn time_without_a_leader_is_counted() {
        let mut leases = Leases::default();
        let other = AssignmentId(ulid::Ulid::from_parts(0, 2));
        let now = Instant::now();
        leases.grant(ID, now, times());
        leases.grant(other, now, times());
        leases.inherit(other, LEASE);
        for _ in 0..2 {
            leases.shift(RECORD, RECORD);
        }
        assert_eq!(leases.absent(ID), RECORD * 2);
        assert_eq!(leases.absent(other), LEASE + RECORD * 2);
        leases.end(ID);
        assert_eq!(leases.absent(ID), Duration::ZERO);
    }

    #[test]
    fn silence_ends_a_lease_and_life_extends_it() {
        let mut now = Instant::now();
        let mut leases = Leases::default();
        leases.grant(ID, now, times());
        now += ACCEPT;
        assert!(leases.expired(now - Duration::from_millis(1)).is_empty());
        assert_eq!(leases.expired(now), [(ID, LossReason::NotStarted)]);

        leases.grant(ID, now, times());
        leases.start(ID, now, Duration::from_secs(600));
        for _ in 0..10 {
            now += LEASE / 2;
            leases.extend(ID, now);
            assert!(leases.expired(now).is_empty());
        }
        now += LEASE;
        assert_eq!(leases.expired(now), [(ID, LossReason::Silent)]);
        leases.end(ID);
        assert!(leases.expired(now).is_empty());
    }

    #[test]
    fn what_is_told_twice_is_heard_once() {
        let mut leases = Leases::default();
        let hear = |leases: &mut Leases, first_line: u32, lines: usize, lines_left_out: u32| {
            let line = || aevir_wire::LogLine {
                level: "info".into(),
                text: String::new(),
            };
            let beat = Heartbeat {
                first_line: Some(first_line),
                lines_left_out,
                logs: (0..lines).map(|_| line()).collect(),
                ..Heartbeat::default()
            };
            let known = leases.hear(ID, &beat);
            (known.lines, known.lines_dropped)
        };
        let before = hear(&mut leases, 0, 3, 0);
        assert_eq!(before, (0, 0), "nobody has granted it yet");
        leases.grant(ID, Instant::now(), times());
        let mut hear = |first, lines, left_out| hear(&mut leases, first, lines, left_out);
        assert_eq!(hear(0, 3, 0), (3, 0), "its answer was lost");
        assert_eq!(hear(2, 3, 0), (1, 0), "and it is told with more");
        assert_eq!(hear(7, 1, 0), (0, 2), "two were dropped on the way");
        assert_eq!(hear(3, 0, 4), (0, 4), "one without lines, that was late");
        assert_eq!(hear(8, 0, 4), (0, 0));
        assert_eq!(hear(9, 0, 4), (0, 1));
        // An agent that numbers nothing, which tells each line once.
        let beat = r#"{"assignment": "A", "ppm": 1, "logs": [{"level": "info", "text": "l"}], "logs_dropped": 2}"#;
        let before: Heartbeat = serde_json::from_str(beat).unwrap_or_default();
        for _ in 0..2 {
            let known = leases.hear(ID, &before);
            assert_eq!((before.logs.len(), known.lines), (1, 0));
            assert_eq!(known.lines_dropped, 2);
        }
        leases.end(ID);
        assert!(leases.heard.is_empty());
    }

    #[test]
    fn life_does_not_extend_a_run_past_its_own_limit() {
        let begun = Instant::now();
        let runtime = Duration::from_secs(10);
        let mut leases = Leases::default();
        leases.grant(ID, begun, times());
        leases.start(ID, begun, runtime);
        let mut now = begun;
        while leases.expired(now).is_empty() {
            now += Duration::from_secs(5);
            leases.extend(ID, now);
            assert!(now <= begun + runtime + SLACK, "a run must end");
        }
        assert_eq!(now, begun + runtime + SLACK);
    }

    #[test]
    fn what_nobody_listened_to_was_not_silence() {
        let begun = Instant::now();
        let mut leases = Leases::default();
        leases.grant(ID, begun, times());
        leases.start(ID, begun, Duration::from_secs(10));
        // Ten seconds of silence, and then a pause that is longer than any lease: five seconds are left after it.
        let paused = Duration::from_secs(3_600);
        leases.shift(paused, paused);
        let now = begun + paused + Duration::from_secs(10);
        assert!(leases.expired(now).is_empty());
        // The run's own end moved, too.
        let mut now = now;
        while now < begun + paused + Duration::from_secs(10) + SLACK {
            leases.extend(ID, now);
            assert!(leases.expired(now).is_empty());
            now += LEASE / 3;
        }
        assert_eq!(leases.expired(now), [(ID, LossReason::Silent)]);
    }

    #[test]
    fn fetching_takes_none_of_the_runs_time_and_has_a_limit_of_its_own() {
        let granted = Instant::now();
        let mut leases = Leases::default();
        leases.grant(ID, granted, times());
        let mut now = granted;
        while now + Duration::from_secs(5) < granted + FETCH {
            now += Duration::from_secs(5);
            leases.extend(ID, now);
            assert!(leases.expired(now).is_empty(), "it shows life");
        }
        // However long that took, the run has all its time.
        let runtime = Duration::from_secs(60);
        leases.start(ID, now, runtime);
        let begun = now;
        while now < begun + runtime {
            now += Duration::from_secs(5);
            leases.extend(ID, now);
            assert!(leases.expired(now).is_empty());
        }
        leases.grant(ID, granted, times());
        leases.extend(ID, granted + FETCH);
        let late = granted + FETCH + Duration::from_secs(1);
        leases.extend(ID, late);
        assert_eq!(leases.expired(late), [(ID, LossReason::NotStarted)]);
    }

    #[test]
    fn progress_is_recorded_now_and_then() {
        let now = Instant::now();
        let mut leases = Leases::default();
        leases.grant(ID, now, times());
        assert!(!leases.report(ID, now, 0, ""), "nothing to tell");
        assert!(leases.report(ID, now, 1, "a"));
        assert!(!leases.report(ID, now, 2, "a"), "too soon");
        let now = now + RECORD;
        assert!(leases.report(ID, now, 3, "a"));
        let now = now + RECORD;
        assert!(!leases.report(ID, now, 3, "a"), "nothing new");
        let told = leases.get(ID).and_then(|l| l.progress.clone());
        assert_eq!(told, Some((3, "a".into())));
    }
}
