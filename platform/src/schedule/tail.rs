//! The tail: a run that may make its task late gets a duplicate on a faster node (backup tasks of the straggler, as in
//! [MapReduce](https://doi.org/10.1145/1327452.1327492), section 3.6). The first results that are as many as the task wants
//! count; what was overtaken is called off and earns the attempt fee (`docs/economics.md`, The tail).

use aevir_events::Timestamp;

use super::{
    alarm::Alarms,
    needs::{Needs, most_stake},
};
use crate::{
    amount::PPM,
    ids::{AssignmentId, TaskId},
    policy::TailPolicy,
    state::{Assignment, Phase, Stage, State, Task},
};

/// The index of tasks with a run that may get a duplicate, by when it is in danger. A function of the state.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tails(Alarms);

impl Tails {
    /// The index over a state's tasks.
    pub(crate) fn of(state: &State) -> Self {
        let mut tails = Self::default();
        for task in state.tasks.values() {
            tails.refresh(state, task);
        }
        tails
    }

    /// Keeps the index right after a task changed.
    pub(crate) fn refresh(&mut self, state: &State, task: &Task) {
        self.0
            .set(task.id, endangered(state, task).map(|(at, _)| at));
    }

    /// Tasks in danger by now, the one for longest first.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = TaskId> + '_ {
        self.0.due(now)
    }
}

/// The run of a task that is in danger first, and from when.
pub(crate) fn endangered<'a>(state: &State, task: &'a Task) -> Option<(Timestamp, &'a Assignment)> {
    in_danger(state, task).min_by_key(|(at, run)| (*at, run.id))
}

/// The tasks in danger that a plan looks at: all of them, or as many as the policy says, those that follow on one another with
/// each second, so that each is looked at in turn however many there are.
pub(super) fn looked_at(state: &State, now: Timestamp) -> impl Iterator<Item = TaskId> + '_ {
    let tails = &state.index.tails;
    let most = state.scheduling().tail.looks_max as usize;
    let (first, most) = window(tails.due(now).count(), most, now);
    let rest = tails.due(now).skip(first);
    rest.chain(tails.due(now).take(first)).take(most)
}

/// Which of so many a plan looks at first that looks at `most` of them, and at how many: where there are more, they follow on one
/// another with each second, so that each has its own.
pub(super) fn window(all: usize, most: usize, now: Timestamp) -> (usize, usize) {
    let second = usize::try_from(now.0 / 1_000).unwrap_or(0);
    let first = if all > most {
        second.wrapping_mul(most) % all
    } else {
        0
    };
    (first, most)
}

/// Whether the run may get a duplicate at this time.
pub(crate) fn may_double(state: &State, task: &Task, run: AssignmentId, now: Timestamp) -> bool {
    in_danger(state, task).any(|(at, found)| found.id == run && at <= now)
}

/// What a duplicate of the run needs: what the task does, on a node whose results showed that it is faster than the run's. What nodes
/// claim does not count: a run in danger is worth money, and a claim costs nothing. Where the task needs a GPU, or the run's node has
/// shown nothing, nothing says which node is faster. A duplicate in a sample is drawn as all its replicas are, among all nodes
/// that fit: speed would be a way into it.
pub(super) fn needs(state: &State, task: &Task, run: &Assignment) -> Needs {
    let policy = state.policy_of(task);
    let mut needs = Needs::of(task, &policy);
    if needs.sampled {
        // It may take the place of a result with stake behind it.
        let asks_for_stake = task.staked_votes(&policy) > 0 || task.is_pledged(&policy);
        needs.stake = if asks_for_stake && run.is_backed() {
            most_stake(task, &policy)
        } else {
            0
        };
        needs.rekey();
        return needs;
    }
    let node = state.nodes.get(&run.node).filter(|_| needs.gpu.is_none());
    let speed = u128::from(node.map_or(0, |node| node.shown_mfuel_s()));
    let whole = PPM as u128;
    let faster = speed * (whole + u128::from(policy.scheduling.tail.faster_ppm));
    needs.shown_mfuel_s = u64::try_from(faster.div_ceil(whole)).unwrap_or(u64::MAX);
    needs.in_time_mfuel_s = 0;
    needs.rekey();
    needs
}

/// The runs of a task that may get a duplicate, each with when it is in danger: once all replicas are placed, each run once,
/// no duplicate of a duplicate, and only while an attempt is left when all duplicates are overtaken, for those use one up each.
fn in_danger<'a>(
    state: &State,
    task: &'a Task,
) -> impl Iterator<Item = (Timestamp, &'a Assignment)> {
    let is_placed = task.phase == Phase::Running && task.missing() == 0;
    let spent = task.attempts_spent.saturating_add(task.duplicates());
    let has_left = spent.saturating_add(1) < task.definition.retry.max_attempts;
    let due = task.due_at().filter(|_| is_placed && has_left);
    let policy = due.map(|_| state.policy_of(task));
    let tail = policy.map(|policy| policy.scheduling.tail.clone());
    let doubled = |run: &Assignment| {
        let mut doubles = task.assignments.values().filter_map(|a| a.doubles);
        run.doubles.is_some() || doubles.any(|of| of == run.id)
    };
    due.zip(tail).into_iter().flat_map(move |(due, tail)| {
        let runs = task.active().filter(move |run| !doubled(run));
        runs.filter_map(move |run| Some((danger_at(run, due, &tail)?, run)))
    })
}

/// When a run is in danger of being late; `None` where it was leased when it was too late already. A run that told how far it
/// is goes on at the same pace: if that is too slow it is in danger at once, and else when it has not ended by then.
fn danger_at(run: &Assignment, due: Timestamp, policy: &TailPolicy) -> Option<Timestamp> {
    let left_ms = due.0.checked_sub(run.leased_at.0).filter(|ms| *ms > 0)?;
    let silent_at = run
        .leased_at
        .plus_ms(of_ppm(left_ms, policy.after_ppm.into(), PPM as u64));
    let Stage::Running { ppm, at, .. } = &run.stage else {
        return Some(silent_at);
    };
    if *ppm == 0 {
        return Some(silent_at);
    }
    let begun = run.started_at.unwrap_or(run.leased_at);
    let passed_ms = at.0.saturating_sub(begun.0);
    let ends_at = begun.plus_ms(of_ppm(passed_ms, PPM as u64, (*ppm).into()));
    Some(if ends_at > due {
        *at
    } else {
        ends_at.max(silent_at)
    })
}

/// `ms * numerator / denominator`, rounded down; never negative.
fn of_ppm(ms: i64, numerator: u64, denominator: u64) -> i64 {
    let ms = u128::from(u64::try_from(ms).unwrap_or(0));
    let scaled = ms * u128::from(numerator) / u128::from(denominator.max(1));
    i64::try_from(scaled).unwrap_or(i64::MAX)
}
