//! What a check of a node's GPU came to. That it was asked when, and answered when, is the leader's fact, as every reading of its clock is.

use aevir_events::Timestamp;

use super::{super::Decision, present};
use crate::{
    amount::Count,
    command::ComputeCheck,
    event::{ComputeChecked, ComputeOutcome},
    rejection::Rejection,
    state::{CHECKED_CLASS_MAX, State, checked_flops},
};

pub(in crate::decide) fn check_compute(
    state: &State,
    check: &ComputeCheck,
    now: Timestamp,
) -> Decision {
    let node = present(state, check.node)?;
    let policy = state.scheduling().compute;
    let invalid = |detail: &str| {
        Err(Rejection::ComputeCheckInvalid {
            detail: detail.into(),
        })
    };
    // What it says of its machine by now does not matter: who takes the claim back while he is asked has been asked.
    if !(1..=CHECKED_CLASS_MAX).contains(&check.class) {
        return invalid("classes 1 to 10 are checked");
    }
    let is_late = check.elapsed_ms > policy.answer_ms;
    match check.outcome {
        ComputeOutcome::Shown | ComputeOutcome::Wrong if check.root.is_none() => {
            return invalid("an answer has a root");
        }
        ComputeOutcome::Shown | ComputeOutcome::Wrong if is_late => {
            return invalid("an answer that comes too late is none");
        }
        ComputeOutcome::Shown | ComputeOutcome::Wrong | ComputeOutcome::Silent => {}
    }
    if !node.compute.may_check(check.class, &policy, now) {
        return Err(Rejection::TooManyComputeChecks {
            most: policy.per_day,
        });
    }
    let checked = ComputeChecked {
        node: check.node,
        class: check.class,
        flops: Count(checked_flops(check.class)),
        elapsed_ms: check.elapsed_ms,
        outcome: check.outcome,
        seed: check.seed,
        root: check.root,
    };
    Ok(vec![checked.into()])
}
