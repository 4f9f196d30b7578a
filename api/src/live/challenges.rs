//! Which nodes are showing how fast their GPUs are, since when, and when others are to.
//!
//! Only this clock counts: the time from handing the work out to the root's arrival. When a node is asked nobody can foresee: the times
//! between two checks are drawn, exponentially distributed, so that the time that passed says nothing of the time to come, and a new
//! process may draw anew. Lost with the process: a check that nobody hears the end of any more never was.

use std::{collections::HashMap, time::Duration};

use aevir_platform::{
    command::ComputeCheck, digest::Digest, event::ComputeOutcome, hexbytes::Hex, ids::NodeId,
    policy::ComputePolicy, state::Node,
};
use aevir_wire::{CHALLENGE_INDICES, Challenge, ChallengeOpening, Work};
use tokio::time::Instant;

use crate::error::{ApiError, ApiResult, Code};

/// No draw is longer than so many means; one in three thousand would be.
const MEANS_MAX: f64 = 8.0;
/// Bytes of a challenge's id.
const ID_BYTES: usize = 16;

/// All nodes that were asked since this process began.
#[derive(Debug, Default)]
pub(crate) struct Challenges(HashMap<NodeId, Known>);

#[derive(Debug)]
struct Known {
    /// When the next one is to be handed out.
    due: Instant,
    open: Option<Open>,
    /// What the last one came to is being found out, or written down: until that stands in the log nothing says what is wanted next.
    is_ending: bool,
    /// The last one whose values were opened.
    judged: Option<String>,
}

/// A challenge that the node works on.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    id: String,
    class: u8,
    pub(crate) work: Work,
    handed: Instant,
    patience: Duration,
    deadline: Instant,
    answered: Option<Answered>,
}

#[derive(Debug, Clone)]
struct Answered {
    root: [u8; 32],
    elapsed: Duration,
    indices: [u32; CHALLENGE_INDICES],
}

/// What the log says of a node's GPU, and what the policy wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Of the next check; `None`: there is none.
    class: Option<u8>,
    /// It is a claim that is asked for at once.
    is_new: bool,
    policy: ComputePolicy,
    /// Less counts than it claims.
    is_below: bool,
}

impl Wanted {
    pub(crate) fn of(node: &Node, policy: ComputePolicy, now: aevir_events::Timestamp) -> Self {
        let class = node
            .compute
            .next_class(node.claimed_compute(), &policy, now);
        Self {
            class,
            is_new: class.is_some_and(|class| node.compute.is_new_claim(class, now)),
            policy,
            is_below: node.compute.is_below(node.claimed_compute()),
        }
    }

    /// Time to the next check.
    fn draw(&self) -> Duration {
        let mean = match self.is_below {
            true => self.policy.retry_ms,
            false => self.policy.check_ms,
        };
        // From 0 to just before 1.
        let means = -(1.0 - rand::random::<f64>()).ln();
        Duration::from_millis(mean.into()).mul_f64(means.min(MEANS_MAX))
    }
}

impl Open {
    /// Whether the node opened what was drawn, and all of it is right.
    pub(crate) fn is_right(&self, openings: &[ChallengeOpening]) -> bool {
        let Some(answered) = &self.answered else {
            return false;
        };
        let mut opened = openings.iter().zip(answered.indices);
        openings.len() == CHALLENGE_INDICES
            && opened.all(|(opening, index)| opening.is_right(&answered.root, &self.work, index))
    }

    /// What it came to.
    pub(crate) fn check(
        &self,
        node: NodeId,
        outcome: ComputeOutcome,
        now: Instant,
    ) -> ComputeCheck {
        let elapsed = self.answered.as_ref().map(|answered| answered.elapsed);
        let elapsed = elapsed.unwrap_or_else(|| now.saturating_duration_since(self.handed));
        // What was answered came in time: what is beyond it is a pause of this process, of which nobody knows what part the node computed.
        let elapsed = match outcome {
            ComputeOutcome::Shown | ComputeOutcome::Wrong => elapsed.min(self.patience),
            ComputeOutcome::Silent => elapsed,
        };
        ComputeCheck {
            node,
            class: self.class,
            elapsed_ms: u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX),
            outcome,
            seed: Hex(self.work.seed),
            root: self.answered.as_ref().map(|answered| Digest(answered.root)),
        }
    }

    fn told(&self) -> Challenge {
        Challenge {
            id: self.id.clone(),
            seed: hex::encode(self.work.seed),
            dispatches: self.work.dispatches,
            starts: self.work.starts,
            answer_ms: u32::try_from(self.patience.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

impl Challenges {
    /// What is to be handed to a node now: a new challenge, or the one that it works on where it has not heard of that; `heard` is the last
    /// one that it was told.
    pub(crate) fn hand(
        &mut self,
        node: NodeId,
        wanted: &Wanted,
        heard: Option<&str>,
        now: Instant,
    ) -> Option<Challenge> {
        let known = self.0.entry(node).or_insert_with(|| Known {
            due: now + wanted.draw(),
            open: None,
            is_ending: false,
            judged: None,
        });
        if let Some(open) = &known.open {
            let is_told = heard == Some(&open.id) || open.answered.is_some();
            return (!is_told).then(|| open.told());
        }
        let class = wanted.class?;
        if known.is_ending || (!wanted.is_new && now < known.due) {
            return None;
        }
        let patience = Duration::from_millis(wanted.policy.answer_ms.into());
        let open = Open {
            id: hex::encode(rand::random::<[u8; ID_BYTES]>()),
            class,
            work: Work::of_class(class, rand::random()),
            handed: now,
            patience,
            deadline: now + patience,
            answered: None,
        };
        let told = open.told();
        (known.due, known.open) = (now + wanted.draw(), Some(open));
        Some(told)
    }

    /// The root has arrived: which values are to be opened. The same again where it arrives again.
    ///
    /// # Errors
    /// Where there is no such challenge any more, or another root came before.
    pub(crate) fn answer(
        &mut self,
        node: NodeId,
        id: &str,
        root: [u8; 32],
        now: Instant,
    ) -> ApiResult<Vec<u32>> {
        let open = self.0.get_mut(&node).and_then(|known| known.open.as_mut());
        let open = open.filter(|open| open.id == id && now <= open.deadline);
        let open = open.ok_or_else(unknown)?;
        let values = open.work.values();
        let answered = open.answered.get_or_insert_with(|| {
            open.deadline = now + open.patience;
            Answered {
                root,
                elapsed: now.saturating_duration_since(open.handed),
                indices: std::array::from_fn(|_| rand::random_range(0..values)),
            }
        });
        if answered.root != root {
            let detail = "another root came before, and which values are to be opened is told";
            return Err(ApiError::new(Code::ChallengeAnswered, detail));
        }
        Ok(answered.indices.to_vec())
    }

    /// Takes out what was answered, to be judged and then [`ended`](Self::ended). `None` where that was done before.
    ///
    /// # Errors
    /// Where there is no such challenge any more, or no root.
    pub(crate) fn judge(&mut self, node: NodeId, id: &str) -> ApiResult<Option<Open>> {
        let known = self.0.get_mut(&node).ok_or_else(unknown)?;
        if known.judged.as_deref() == Some(id) {
            return Ok(None);
        }
        let is_answered = |open: &mut Open| open.id == id && open.answered.is_some();
        let open = known.open.take_if(is_answered).ok_or_else(unknown)?;
        known.judged = Some(open.id.clone());
        known.is_ending = true;
        Ok(Some(open))
    }

    /// What was taken out stands in the log by now, or never will: draws when the node is asked next. A claim whose check was not written down
    /// is as new as before.
    pub(crate) fn ended(&mut self, node: NodeId, wanted: Option<&Wanted>, now: Instant) {
        if let Some(known) = self.0.get_mut(&node) {
            known.is_ending = false;
            known.due = wanted.map_or(known.due, |wanted| now + wanted.draw());
        }
    }

    /// Takes out those that nobody answered in time, at most so many, to be written down and then [`ended`](Self::ended).
    pub(crate) fn overdue(&mut self, now: Instant, most: usize) -> Vec<(NodeId, Open)> {
        let late = self.0.iter_mut().filter_map(|(node, known)| {
            let open = known.open.take_if(|open| now > open.deadline)?;
            known.is_ending = true;
            Some((*node, open))
        });
        late.take(most).collect()
    }

    /// Nobody listened for so long: answers may come so much later. When the work was handed out stays: a pause makes no GPU look faster.
    pub(crate) fn shift(&mut self, paused: Duration) {
        for open in self.0.values_mut().filter_map(|known| known.open.as_mut()) {
            open.deadline += paused;
        }
    }
}

fn unknown() -> ApiError {
    let detail = "this node has no such challenge, or its time is over, or its root is missing";
    ApiError::new(Code::UnknownChallenge, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(120_000);

    fn node() -> NodeId {
        NodeId(ulid::Ulid::from_parts(0, 7))
    }

    fn wanted(class: Option<u8>, is_new: bool) -> Wanted {
        Wanted {
            class,
            is_new,
            policy: ComputePolicy::default(),
            is_below: false,
        }
    }

    /// An open challenge of class 1.
    fn handed(now: Instant) -> (Challenges, String) {
        let mut challenges = Challenges::default();
        let told = challenges.hand(node(), &wanted(Some(1), true), None, now);
        (challenges, told.map(|told| told.id).unwrap_or_default())
    }

    #[test]
    fn a_new_claim_is_checked_at_once_and_told_until_it_is_heard() {
        let now = Instant::now();
        let (mut challenges, id) = handed(now);
        let again = challenges.hand(node(), &wanted(Some(1), true), None, now);
        assert_eq!(again.map(|told| told.id), Some(id.clone()));
        let heard = challenges.hand(node(), &wanted(Some(1), true), Some(&id), now);
        assert_eq!(heard, None);
        // Another claim waits until this one is over, and is checked at once then.
        assert_eq!(
            challenges.hand(node(), &wanted(Some(2), true), Some(&id), now),
            None
        );
        assert_eq!(challenges.overdue(now + PATIENCE, 9).len(), 0);
        let late = now + PATIENCE + Duration::from_millis(1);
        assert_eq!(challenges.overdue(late, 9).len(), 1);
        let early = challenges.hand(node(), &wanted(Some(2), true), Some(&id), late);
        assert_eq!(early, None, "its silence is not written down yet");
        challenges.ended(node(), Some(&wanted(Some(2), true)), late);
        let next = challenges.hand(node(), &wanted(Some(2), true), Some(&id), late);
        assert_eq!(next.map(|told| told.dispatches), Some(4));
    }

    #[test]
    fn who_has_shown_it_is_asked_again_at_a_time_that_is_drawn() {
        let now = Instant::now();
        let mut challenges = Challenges::default();
        let known = wanted(Some(1), false);
        let mut due = Vec::new();
        for n in 0..200 {
            let node = NodeId(ulid::Ulid::from_parts(0, n));
            assert_eq!(challenges.hand(node, &known, None, now), None);
            due.push(challenges.0[&node].due - now);
        }
        let mean = due.iter().sum::<Duration>() / 200;
        let expected = Duration::from_millis(ComputePolicy::default().check_ms.into());
        assert!(mean > expected / 2 && mean < expected * 2, "{mean:?}");
        due.sort_unstable();
        assert!(due[199] > due[0] * 4, "not the same for all");
        let other = NodeId(ulid::Ulid::from_parts(1, 7));
        let later = now + expected * 9;
        assert!(challenges.hand(other, &known, None, later).is_none());
        let later = later + expected * 9;
        assert!(challenges.hand(other, &known, None, later).is_some());
        let off = challenges.hand(node(), &wanted(None, true), None, later);
        assert!(off.is_none(), "the policy wants none");
        let open = challenges.hand(other, &wanted(None, false), None, later);
        assert!(open.is_some(), "what is open goes on");
    }

    #[test]
    fn the_clock_stops_with_the_root_and_which_values_nobody_knew_before() {
        let now = Instant::now();
        let (mut challenges, id) = handed(now);
        assert!(challenges.judge(node(), &id).is_err(), "no root yet");
        assert!(challenges.answer(node(), "another", [1; 32], now).is_err());
        let then = now + Duration::from_millis(2_500);
        let indices = challenges.answer(node(), &id, [1; 32], then);
        let again = challenges.answer(node(), &id, [1; 32], then + PATIENCE);
        assert_eq!((indices.as_ref().map(Vec::len), &again), (Ok(16), &indices));
        let other = challenges.answer(node(), &id, [2; 32], then);
        assert_eq!(
            other.map_err(|error| error.code()),
            Err("challenge-answered")
        );
        let open = challenges.judge(node(), &id);
        let check = open.map(|open| {
            open.map(|open| open.check(node(), ComputeOutcome::Shown, then + PATIENCE))
        });
        let check = check.ok().flatten();
        assert_eq!(
            check.map(|check| (check.class, check.elapsed_ms)),
            Some((1, 2_500))
        );
        assert!(matches!(challenges.judge(node(), &id), Ok(None)), "done");
    }

    #[test]
    fn nothing_is_asked_until_the_last_one_stands_in_the_log() {
        let begun = Instant::now();
        let known = wanted(Some(1), false);
        let mut challenges = Challenges::default();
        assert!(challenges.hand(node(), &known, None, begun).is_none());
        // One that was drawn.
        let now = begun + Duration::from_secs(10 * 24 * 3_600);
        let told = challenges.hand(node(), &known, None, now);
        let id = told.map(|told| told.id).unwrap_or_default();
        assert!(challenges.answer(node(), &id, [1; 32], now).is_ok());
        assert!(matches!(challenges.judge(node(), &id), Ok(Some(_))));
        // However long that takes, and whatever is claimed meanwhile.
        let later = now + Duration::from_secs(10 * 24 * 3_600);
        for wanted in [&known, &wanted(Some(1), true), &wanted(Some(2), true)] {
            assert!(challenges.hand(node(), wanted, Some(&id), later).is_none());
        }
        challenges.ended(node(), Some(&known), later);
        let next = challenges.hand(node(), &known, Some(&id), later);
        assert!(next.is_none(), "drawn anew");
        // It was not written down: the machine says that the claim is new.
        let new = wanted(Some(1), true);
        assert!(challenges.hand(node(), &new, Some(&id), later).is_some());
    }

    #[test]
    fn an_answer_that_comes_too_late_is_none_unless_nobody_listened() {
        let now = Instant::now();
        let (mut challenges, id) = handed(now);
        let late = now + PATIENCE + Duration::from_millis(1);
        assert!(challenges.answer(node(), &id, [1; 32], late).is_err());
        challenges.shift(Duration::from_millis(1));
        assert!(challenges.answer(node(), &id, [1; 32], late).is_ok());
        let open = challenges.0[&node()].open.clone();
        let shown = open.map(|open| open.check(node(), ComputeOutcome::Shown, late));
        assert_eq!(shown.map(|check| check.elapsed_ms), Some(120_000));
        assert_eq!(challenges.overdue(late + PATIENCE, 9).len(), 0);
        let silent = challenges.overdue(late + PATIENCE * 2, 9);
        let check = silent
            .first()
            .map(|(node, open)| open.check(*node, ComputeOutcome::Silent, late));
        assert_eq!(check.and_then(|check| check.root), Some(Digest([1; 32])));
    }
}
