//! Adaptive samples: whether the first result of one is repeated, decided once it is sealed, so that its node can't know before
//! (formulas: `docs/economics.md`, Adaptive samples).

use aevir_events::Timestamp;

use crate::{
    event::{Trust, TrustDecided, Untrusted},
    schedule::{Coin, Toss},
    state::{Assignment, Sample, State, Task},
};

/// How a coin fell: the epoch that it was drawn in, and whether the result is repeated. `None` where nobody knows the secret.
pub(crate) type Fall = Option<(u32, bool)>;

/// What is decided about the result that is sealed here, where its task's sample is adaptive and has none yet.
pub(super) fn decide(
    state: &State,
    task: &Task,
    sealed: &Assignment,
    now: Timestamp,
    toss: impl FnOnce(&Toss) -> Fall,
) -> Option<TrustDecided> {
    match task.sample {
        Sample::Undecided => {}
        Sample::Alone { .. } | Sample::Repeated { .. } => return None,
    }
    Some(TrustDecided {
        task: task.id,
        assignment: sealed.id,
        trust: trust(state, task, sealed, now, toss),
    })
}

fn trust(
    state: &State,
    task: &Task,
    sealed: &Assignment,
    now: Timestamp,
    toss: impl FnOnce(&Toss) -> Fall,
) -> Trust {
    if let Some(reason) = untrusted(state, task, sealed, now) {
        return Trust::Denied { reason };
    }
    let adaptive = &state.policy_of(task).verification.adaptive;
    let toss_up = Toss::of(task, adaptive.chance_ppm(sealed.price, sealed.stake));
    match toss(&toss_up) {
        None => Trust::Denied {
            reason: Untrusted::NoSecret,
        },
        Some((epoch, repeated)) => Trust::Drawn {
            coin: Coin {
                epoch,
                number: toss_up.number,
                chance_ppm: toss_up.chance_ppm,
            },
            repeated,
        },
    }
}

/// Why a result is repeated whatever a coin would say.
fn untrusted(state: &State, task: &Task, sealed: &Assignment, now: Timestamp) -> Option<Untrusted> {
    let policy = state.policy_of(task);
    let node = state.nodes.get(&sealed.node)?;
    if task.definition.is_narrowed() && !state.is_private(task) {
        return Some(Untrusted::Narrowed);
    }
    // With no price it is no vote where votes are asked for, and one word that does not decide would leave it to the next one alone.
    let is_vote = sealed.is_backed() || task.staked_votes(&policy) == 0;
    if !(sealed.is_staked && is_vote) {
        return Some(Untrusted::Unstaked);
    }
    // A strike that cost no stake counts, too.
    if node.pledges.strikes_at(now, policy.stake) > 0 {
        return Some(Untrusted::Struck);
    }
    let tally = node.tally(task.definition.kind, &sealed.hardware);
    let tally = state.epochs.fading.fade(tally, node.faded);
    if tally.reliability() < policy.verification.adaptive.trusted_ppm {
        return Some(Untrusted::Unproven);
    }
    // Results of GPUs compare within a class: where it has too few owners, nobody could contradict.
    let needed = task.definition.sampling().replicas;
    let class = sealed.hardware.gpu().filter(|_| !state.is_private(task))?;
    let fleet = &state.index.fleet;
    let suffices = fleet.has_owners(&[class.to_owned()], task.requester, needed);
    (!suffices).then_some(Untrusted::SmallClass)
}

impl TrustDecided {
    /// All replicas of the first round run.
    pub(super) fn is_repeated(&self) -> bool {
        match self.trust {
            Trust::Drawn { repeated, .. } => repeated,
            Trust::Denied { .. } => true,
        }
    }
}
