//! How fast a node's GPU showed itself to be when the platform asked it to compute something: checks of the class that it claims.
//!
//! The best answer counts and fades, by an eighth with each further check: runs that share the GPU make one answer slow, not all of them. Fewer
//! checks than results tell of a CPU's speed, so that it fades faster. No answer in time shows nothing. A wrong answer, of values that were
//! not computed, takes back what was shown before: nothing counts until the next right one.

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{event::ComputeOutcome, policy::ComputePolicy};

/// Above it a check has this class's work: it is above any GPU's.
pub const CHECKED_CLASS_MAX: u8 = 10;
/// Binary logarithm of the floating point operations of a check of class 0. Each further class has four times as many, which take 2.15 s at
/// the class's lower bound.
const FLOPS_LOG2: u32 = 29;
/// With each further check the best so far loses one of so many parts.
const FADING: u64 = 8;
/// A check holds starting, waiting for others' runs, hashing and two calls, too: what takes up to so many times as long as at the class's lower
/// bound still shows the class. As classes are a factor of four, a node can claim one too much at most.
const LENIENCE: u64 = 4;
/// The lower bound of class 1, in millions of operations a second; each further one is four times as high.
const CLASS_1_MFLOP_S: u64 = 1_000;
/// Operations in a ms for each million a second.
const FLOPS_PER_MS: u64 = 1_000;
/// Checks of new claims on one day, beside those that are drawn: a machine changes seldom. Who could have one whenever he likes would have all
/// of a day's with a card that he has for a minute.
const CLAIMS_PER_DAY: u32 = 4;
/// In ms.
const DAY: i64 = 86_400_000;

/// What checks of a node's GPU showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ComputeRecord {
    /// Millions of floating point operations a second: the best answer's, faded by the checks after it.
    pub mflop_s: u64,
    /// Checks that it was taken from.
    pub checks: u32,
    /// The last answer was wrong, and no right one came since.
    pub wrong: bool,
    /// The class that the last check was of.
    pub checked_class: Option<u8>,
    /// The day of the last check, in days since 1970.
    pub day: i64,
    /// How many there were on it that were drawn.
    pub today: u32,
    /// How many there were on it of new claims.
    pub claims_today: u32,
}

/// Operations of a check of a class.
pub fn checked_flops(class: u8) -> u64 {
    1 << (FLOPS_LOG2 + 2 * u32::from(class.min(CHECKED_CLASS_MAX)))
}

impl ComputeRecord {
    /// Takes a check in.
    pub fn see(&mut self, class: u8, elapsed_ms: u32, outcome: ComputeOutcome, at: Timestamp) {
        // Rounded up, so that small figures fade, too.
        let faded = self.mflop_s - self.mflop_s.div_ceil(FADING);
        match outcome {
            ComputeOutcome::Shown => {
                let ms = u64::from(elapsed_ms.max(1));
                self.mflop_s = faded.max(checked_flops(class) / ms / FLOPS_PER_MS);
                self.wrong = false;
            }
            ComputeOutcome::Silent => self.mflop_s = faded,
            ComputeOutcome::Wrong => (self.mflop_s, self.wrong) = (0, true),
        }
        self.checks = self.checks.saturating_add(1);
        let is_claim = self.is_new_claim(class, at);
        (self.today, self.claims_today) = (self.drawn_on(at), self.claims_on(at));
        let counted = match is_claim {
            true => &mut self.claims_today,
            false => &mut self.today,
        };
        *counted = counted.saturating_add(1);
        self.checked_class = Some(class);
        self.day = day(at);
    }

    /// What placement counts with, for a node that claims a class. `None` where nothing counts.
    pub fn counted(&self, claimed: Option<u8>) -> Option<u8> {
        // Class 0 is anything.
        let claimed = claimed.filter(|class| *class == 0 || !self.wrong)?;
        match self.checks {
            0 => Some(claimed),
            _ => Some(claimed.min(self.shown())),
        }
    }

    /// The highest class that the best answer shows.
    pub fn shown(&self) -> u8 {
        let (mut class, mut floor) = (0, CLASS_1_MFLOP_S);
        while self.mflop_s.saturating_mul(LENIENCE) >= floor && class < u8::MAX {
            class += 1;
            floor = floor.saturating_mul(4);
        }
        class
    }

    /// Whether less counts than the node claims.
    pub fn is_below(&self, claimed: Option<u8>) -> bool {
        self.counted(claimed) < claimed
    }

    /// The class of a check that there may be now, for a node that claims a class.
    pub fn next_class(
        &self,
        claimed: Option<u8>,
        policy: &ComputePolicy,
        now: Timestamp,
    ) -> Option<u8> {
        let class = claimed?.min(CHECKED_CLASS_MAX);
        (class > 0 && self.may_check(class, policy, now)).then_some(class)
    }

    /// Whether there may be a check of a class now.
    pub fn may_check(&self, class: u8, policy: &ComputePolicy, now: Timestamp) -> bool {
        let is_drawn = self.drawn_on(now) < policy.per_day;
        policy.check_ms > 0 && (is_drawn || self.is_new_claim(class, now))
    }

    /// Whether a claim is asked for at once: of a class above the last check's, and not too often on one day. Others wait for the check that is
    /// drawn. Such a check is none of those that are drawn, so that no claim uses them up.
    pub fn is_new_claim(&self, class: u8, now: Timestamp) -> bool {
        let is_above = self.checked_class.is_none_or(|last| class > last);
        is_above && self.claims_on(now) < CLAIMS_PER_DAY
    }

    /// Checks on the day of a time that were drawn.
    pub fn drawn_on(&self, at: Timestamp) -> u32 {
        if self.day == day(at) { self.today } else { 0 }
    }

    fn claims_on(&self, at: Timestamp) -> u32 {
        if self.day == day(at) {
            self.claims_today
        } else {
            0
        }
    }
}

fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use ComputeOutcome::{Shown, Silent, Wrong};

    use super::*;

    fn see(record: &mut ComputeRecord, class: u8, ms: u32, outcome: ComputeOutcome) {
        record.see(class, ms, outcome, Timestamp(0));
    }

    #[test]
    fn a_class_is_shown_down_to_a_quarter_of_its_bound() {
        // 4^3 * 2^29 operations.
        assert_eq!(checked_flops(3), 34_359_738_368);
        for (ms, shown) in [
            (1_000, 4),
            (2_147, 4),
            (2_148, 3),
            (8_589, 3),
            (8_590, 2),
            (34_360, 1),
        ] {
            let mut record = ComputeRecord::default();
            assert_eq!(record.counted(Some(3)), Some(3), "claimed until then");
            see(&mut record, 3, ms, Shown);
            assert_eq!(record.shown(), shown, "{ms}");
            assert_eq!(record.counted(Some(3)), Some(shown.min(3)), "{ms}");
            assert_eq!(record.is_below(Some(3)), shown < 3, "{ms}");
            assert_eq!(record.counted(None), None);
        }
    }

    #[test]
    fn the_best_counts_and_fades() {
        let mut record = ComputeRecord::default();
        see(&mut record, 3, 2_000, Shown);
        assert_eq!(record.mflop_s, 17_179);
        see(&mut record, 3, 2_200, Shown);
        assert_eq!(record.mflop_s, 15_618, "better than seven eighths");
        for checks in 3..200 {
            see(&mut record, 3, 60_000, Silent);
            assert_eq!(record.checks, checks);
        }
        assert_eq!((record.mflop_s, record.counted(Some(3))), (0, Some(0)));
        see(&mut record, 3, 0, Shown);
        assert_eq!(record.mflop_s, 34_359_738, "no time is a ms");
    }

    #[test]
    fn a_wrong_answer_takes_all_back_until_a_right_one() {
        let mut record = ComputeRecord::default();
        see(&mut record, 5, 2_000, Shown);
        see(&mut record, 5, 2_000, Wrong);
        assert_eq!((record.mflop_s, record.counted(Some(5))), (0, None));
        assert!(record.is_below(Some(5)));
        assert_eq!(record.counted(Some(0)), Some(0), "anything has class 0");
        see(&mut record, 5, 60_000, Silent);
        assert_eq!(record.counted(Some(5)), None, "silence is not right");
        see(&mut record, 4, 2_000, Shown);
        assert_eq!(record.counted(Some(5)), Some(5), "it does four times that");
    }

    #[test]
    fn a_day_has_so_many() {
        let policy = ComputePolicy {
            per_day: 2,
            ..ComputePolicy::default()
        };
        let mut record = ComputeRecord::default();
        let next = |record: &ComputeRecord, claimed, at| {
            record.next_class(claimed, &policy, Timestamp(at))
        };
        // The first is of a new claim.
        for _ in 0..3 {
            assert_eq!(next(&record, Some(200), DAY), Some(CHECKED_CLASS_MAX));
            record.see(3, 1, Shown, Timestamp(DAY));
        }
        assert_eq!((record.today, record.claims_today), (2, 1));
        assert_eq!(next(&record, Some(3), 2 * DAY - 1), None);
        assert_eq!(next(&record, Some(3), 2 * DAY), Some(3));
        assert_eq!(next(&record, Some(0), 2 * DAY), None);
        assert_eq!(next(&record, None, 2 * DAY), None);
        let off = ComputePolicy {
            check_ms: 0,
            ..policy
        };
        assert_eq!(record.next_class(Some(3), &off, Timestamp(2 * DAY)), None);
    }

    #[test]
    fn no_claim_uses_up_the_checks_that_are_drawn() {
        let policy = ComputePolicy::default();
        let mut record = ComputeRecord::default();
        let at = Timestamp(DAY);
        // As often as it flips: only what is above the last one is asked at once.
        for class in [5, 6, 5, 6, 5, 6] {
            if record.is_new_claim(class, at) {
                record.see(class, 1, Shown, at);
            }
        }
        assert_eq!((record.today, record.claims_today), (0, 2));
        // A check of a lower class that was drawn lets it climb again, and not for ever.
        for class in [1, 6, 1, 6, 1, 6, 1, 6] {
            assert!(record.may_check(class, &policy, at));
            record.see(class, 1, Shown, at);
        }
        assert_eq!((record.today, record.claims_today), (6, 4));
        assert!(!record.is_new_claim(10, at));
        assert!(record.is_new_claim(10, Timestamp(2 * DAY)));
    }
}
