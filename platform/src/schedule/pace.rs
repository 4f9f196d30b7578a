//! The pace of a sample: its replicas are drawn one after the other, each once the results before it are sealed, so that no
//! node knows which others it would have to agree with before it is bound itself. Only where that could make the task late
//! are they placed at once (`docs/economics.md`, One after the other).

use aevir_events::Timestamp;

use crate::{
    policy::Policy,
    state::{Pace, Phase, State, Task},
};

/// Fuel in a million a second for each unit a ms.
const FUEL_PER_MS: u64 = 1_000;

/// How long a node may take from its lease to its commitment, in ms: the time in which it must start, and the run's limit; or
/// what the run is expected to burn, at the least speed that the task asks of a node, where it says both.
pub(crate) fn turn_ms(task: &Task, policy: &Policy) -> u64 {
    let qos = &task.definition.qos;
    let limit_ms = super::reserved_ms(task);
    let expected = qos.expected_fuel.zip(qos.min_mfuel_s.filter(|s| *s > 0));
    let run_ms = expected.map_or(limit_ms, |(fuel, speed)| {
        fuel.0.div_ceil(u64::from(speed) * FUEL_PER_MS)
    });
    u64::from(policy.accept_ms).saturating_add(run_ms.min(limit_ms))
}

/// From when the replicas that are missing could make the task late if they were placed one after the other; `None` where
/// nothing makes it late.
pub(crate) fn at_once_from(task: &Task, policy: &Policy) -> Option<Timestamp> {
    let turns_ms = u64::from(task.missing_at_most()).saturating_mul(turn_ms(task, policy));
    let needed_ms = turns_ms.saturating_add(policy.reveal_ms.into());
    let needed_ms = i64::try_from(needed_ms).unwrap_or(i64::MAX);
    Some(Timestamp(task.due_at()?.0.saturating_sub(needed_ms)))
}

/// When a task is to be hastened: while it has more to place than it may, one after the other.
pub(crate) fn hastens_at(state: &State, task: &Task) -> Option<Timestamp> {
    let waits = match task.phase {
        Phase::Queued | Phase::Running => task.missing_at_most() > task.open_slots(),
        Phase::Created
        | Phase::Verifying { .. }
        | Phase::Inspecting
        | Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => false,
    };
    waits
        .then(|| at_once_from(task, &state.policy_of(task)))
        .flatten()
}

/// The pace that a task begins with when it is queued at this time. An adaptive sample begins with one replica, and is hastened where
/// that leaves no time for the others.
pub(crate) fn first_pace(task: &Task, policy: &Policy, at: Timestamp) -> Pace {
    let is_short = at_once_from(task, policy).is_some_and(|from| from <= at);
    if is_short && !task.definition.sampling().adaptive {
        Pace::AtOnce
    } else {
        Pace::OneByOne
    }
}

/// When a sample ends that waits for a replica which no node takes: so long after what was sealed last. `None` while anything of it runs,
/// nothing is sealed, or nothing is missing.
pub(crate) fn round_ends_at(state: &State, task: &Task) -> Option<Timestamp> {
    if task.missing() == 0 || task.active().next().is_some() {
        return None;
    }
    let sealed = task.assignments.values().filter(|a| a.is_replica());
    let last = sealed.filter_map(|a| a.commitment()).map(|c| c.at).max()?;
    Some(last.plus_ms(state.policy_of(task).scheduling.round_ms.into()))
}
