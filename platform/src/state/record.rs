//! How reliable a node was: its outcomes by type of task and by class of hardware. They fade with every epoch that closes,
//! so that what a node did long ago counts less than what it does now.
//!
//! Fading is lazy: counts stand with how many epochs had closed when they were last brought up to date, and are multiplied
//! once for each epoch since then when somebody looks. Each multiplication rounds down, so that it makes no difference how
//! often, and when, anybody looked.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use aevir_events::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    amount::{PPM, Ppm},
    fixed::wilson_lower_bound,
    policy::Policy,
};

/// One outcome, in the unit that outcomes are counted in: thousandths, so that they can fade.
const OUTCOME: u64 = 1_000;
/// The most that one count holds, in thousandths: four thousand million outcomes, far more than a node lives to see.
const COUNT_MAX: u64 = u32::MAX as u64 * OUTCOME;

/// The hardware that a run uses, as far as its result depends on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HardwareClass {
    /// Of tasks that ask for no GPU.
    Cpu,
    /// The class that its GPU results compare within.
    Gpu(Arc<str>),
}

/// What stands before a GPU's class in the text form, so that no class can be taken for `cpu`.
const GPU_PREFIX: &str = "gpu:";

/// A text that names no class of hardware.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a class of hardware is `cpu` or `gpu:<class>`")]
pub struct NotAClass;

impl HardwareClass {
    /// The GPU's class, where it is one.
    pub fn gpu(&self) -> Option<&str> {
        match self {
            Self::Cpu => None,
            Self::Gpu(class) => Some(class),
        }
    }
}

impl fmt::Display for HardwareClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(class) => write!(f, "{GPU_PREFIX}{class}"),
        }
    }
}

impl FromStr for HardwareClass {
    type Err = NotAClass;
    fn from_str(text: &str) -> Result<Self, NotAClass> {
        match text.strip_prefix(GPU_PREFIX) {
            Some(class) => Ok(Self::Gpu(class.into())),
            None if text == "cpu" => Ok(Self::Cpu),
            None => Err(NotAClass),
        }
    }
}

impl Serialize for HardwareClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HardwareClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Outcomes on one type of task and one class of hardware, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Accepted results in time.
    pub good: u64,
    /// Refused results, lost leases, node failures, failures that others contradicted, and late results.
    pub bad: u64,
}

impl Tally {
    /// One more good outcome.
    pub fn succeed(&mut self) {
        self.good = self.good.saturating_add(OUTCOME).min(COUNT_MAX);
    }

    /// One more bad outcome.
    pub fn fault(&mut self) {
        self.bad = self.bad.saturating_add(OUTCOME).min(COUNT_MAX);
    }

    /// Nothing is left of it.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Lower confidence bound of the share of good outcomes, in parts per million.
    pub fn reliability(self) -> Ppm {
        wilson_lower_bound(self.good, self.bad)
    }
}

/// How a node did on one type of task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// By the class of hardware that the runs used; none that is empty.
    pub tallies: BTreeMap<HardwareClass, Tally>,
    /// On whatever hardware: another class does not end a back-off.
    #[serde(flatten)]
    pub backoff: Backoff,
}

/// How long a node gets no task of a type after faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backoff {
    /// Since the last accepted result; doubles the back-off.
    pub faults_in_a_row: u32,
    pub backoff_until: Timestamp,
}

impl Backoff {
    /// An accepted result ends the row.
    pub fn succeed(&mut self) {
        self.faults_in_a_row = 0;
    }

    /// Backs off for `backoff_ms`, doubled with each fault in a row.
    pub fn fault(&mut self, now: Timestamp, policy: &Policy) {
        let doubled = u64::from(policy.backoff_ms) << self.faults_in_a_row.min(31);
        let wait_ms = doubled.min(u64::from(policy.backoff_max_ms));
        self.faults_in_a_row = self.faults_in_a_row.saturating_add(1);
        self.backoff_until = now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
    }
}

/// Owners whose nodes must have failed a task by themselves, when none had a result that stood, for it to be the module's doing: what makes
/// one machine fail may be wrong with the machine.
pub const FAILING_OWNERS_MIN: usize = 2;

/// What a run meant for its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An accepted result in time.
    Good,
    /// A result that was right but later than asked for: bad, and no reason to back off.
    Late,
    /// A refused result, a lost lease, or a failure that others contradicted.
    Fault,
    /// A failure of the node's own, which may yet be the module's doing: for now the node backs off.
    Setback,
    /// A setback that was the node's own: bad, and it has backed off.
    Failure,
}

impl Outcome {
    /// Counts it, in a tally that is up to date.
    pub fn count(self, tally: &mut Tally, backoff: &mut Backoff, now: Timestamp, policy: &Policy) {
        match self {
            Self::Good => {
                tally.succeed();
                backoff.succeed();
            }
            Self::Late | Self::Failure => tally.fault(),
            Self::Setback => backoff.fault(now, policy),
            Self::Fault => {
                tally.fault();
                backoff.fault(now, policy);
            }
        }
    }
}

/// By how much outcomes fade with each epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fading {
    /// Epochs that have closed: the number of the last one.
    pub closed: u32,
    /// What part of a count is kept when an epoch closes, in parts per million, each with the first epoch that it held for;
    /// ascending, one where it changed.
    pub keeps: Vec<(u32, Ppm)>,
}

impl Fading {
    /// An epoch closes, and so much of each count is kept.
    pub fn close(&mut self, epoch: u32, keep_ppm: Ppm) {
        self.closed = epoch;
        if self.keeps.last().is_none_or(|(_, last)| *last != keep_ppm) {
            self.keeps.push((epoch, keep_ppm));
        }
    }

    /// A tally that was up to date when so many epochs had closed, as it is now.
    pub fn fade(&self, tally: Tally, since: u32) -> Tally {
        Tally {
            good: self.count(tally.good, since, self.closed),
            bad: self.count(tally.bad, since, self.closed),
        }
    }

    /// A count that was up to date when `since` epochs had closed, as it was when `to` had.
    pub fn count(&self, count: u64, since: u32, to: u32) -> u64 {
        let mut count = count;
        let mut done = since;
        for (n, (from, keep_ppm)) in self.keeps.iter().enumerate() {
            let next = self.keeps.get(n + 1);
            let last = next.map_or(to, |(next, _)| next.saturating_sub(1).min(to));
            let epochs = last.saturating_sub(done.max(from.saturating_sub(1)));
            count = kept(count, *keep_ppm, epochs);
            done = done.max(last);
        }
        count
    }

    /// What one epoch leaves of a count.
    pub fn once(count: u64, keep_ppm: Ppm) -> u64 {
        kept(count, keep_ppm, 1)
    }
}

/// What is left of a count after so many epochs. Each rounds down, so that every count ends at zero.
fn kept(count: u64, keep_ppm: Ppm, epochs: u32) -> u64 {
    let whole = u128::from(PPM.unsigned_abs());
    let keep = u128::from(keep_ppm);
    if keep >= whole {
        return count;
    }
    let mut left = count;
    for _ in 0..epochs {
        if left == 0 {
            break;
        }
        // A part of what was there.
        left = u64::try_from(u128::from(left) * keep / whole).unwrap_or(left);
    }
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn outcomes(good: u64, bad: u64) -> Tally {
        Tally {
            good: good * OUTCOME,
            bad: bad * OUTCOME,
        }
    }

    #[test]
    fn the_example_of_the_documents() {
        let mut fading = Fading::default();
        (1..=139).for_each(|epoch| fading.close(epoch, 995_000));
        let faded = fading.fade(outcomes(90, 10), 0);
        assert_eq!((faded.good, faded.bad), (44_788, 4_932));
        assert_eq!(outcomes(90, 10).reliability(), 817_139);
        assert_eq!(faded.reliability(), 770_742);
        (140..=3_000).for_each(|epoch| fading.close(epoch, 995_000));
        assert!(fading.fade(outcomes(90, 10), 0).is_empty(), "all of it");
    }

    #[test]
    fn a_class_has_one_name_and_none_is_taken_for_another() {
        for class in [
            HardwareClass::Cpu,
            HardwareClass::Gpu("cpu".into()),
            HardwareClass::Gpu("".into()),
            HardwareClass::Gpu("gpu:x".into()),
        ] {
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        assert_eq!("class-a".parse::<HardwareClass>(), Err(NotAClass));
    }

    #[test]
    fn counts_end_at_their_bound() {
        let mut tally = outcomes(u32::MAX.into(), u32::MAX.into());
        tally.succeed();
        tally.fault();
        assert_eq!(tally, outcomes(u32::MAX.into(), u32::MAX.into()));
        let kept = kept(COUNT_MAX, 999_999, 1);
        assert!(kept < COUNT_MAX && kept > COUNT_MAX - COUNT_MAX / 999_000);
    }

    proptest! {
        /// Looking in between changes nothing: what the index, the views and the audit see is the same.
        #[test]
        fn it_does_not_matter_when_anybody_looks(
            keeps in prop::collection::vec(prop_oneof![Just(1_000_000u32), Just(995_000), 500_000u32..1_000_000], 1..40),
            good in 0u64..100_000_000,
            bad in 0u64..100_000_000,
            since in 0u32..40,
            looks in prop::collection::btree_set(0u32..40, 0..5),
        ) {
            let all = keeps.len() as u32;
            let tally = Tally { good, bad };
            let mut fading = Fading::default();
            // One after the other, as the rule says it.
            let mut plain = tally;
            let mut looked = (tally, since);
            for (n, keep) in keeps.iter().enumerate() {
                let epoch = n as u32 + 1;
                fading.close(epoch, *keep);
                if epoch > since {
                    let part = |count: u64| count * u64::from(*keep) / 1_000_000;
                    plain = Tally { good: part(plain.good), bad: part(plain.bad) };
                }
                if looks.contains(&epoch) && epoch >= looked.1 {
                    looked = (fading.fade(looked.0, looked.1), epoch);
                }
            }
            prop_assert_eq!(fading.fade(tally, since.min(all)), if since >= all { tally } else { plain });
            if since < all {
                prop_assert_eq!(fading.fade(looked.0, looked.1), plain);
            }
        }
    }
}
