//! The terms on which a node's operator offers it: how much of the machine, when, at what price, for whom, and what.
//!
//! All of it holds for what is placed from then on; a run that has begun goes on to its end.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{amount::Amount, definition::TaskType, digest::Digest, ids::AccountId};

/// Minutes of a week.
pub const WEEK_MIN: u16 = 7 * 24 * 60;
/// Windows of one node's week.
pub const HOURS_MAX: usize = 64;
/// Entries of one list; four full lists fit one entry of the log.
pub const LIST_MAX: usize = 256;
/// The highest ask, as high as the highest fee of an attempt: 1,000,000 AEV.
pub const ASK_MAX: Amount = Amount(1_000_000_000_000);

const MINUTE_MS: i64 = 60_000;
/// The Unix epoch began on a Thursday; weeks begin on Monday.
const EPOCH_MIN: i64 = 3 * 24 * 60;

/// What a node's operator allows. Whatever is left out is not restricted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeTerms {
    #[serde(default, skip_serializing_if = "Caps::is_none")]
    pub caps: Caps,
    /// When the node takes work: windows of the week, in their order, none touching the next. Empty: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<Window>,
    /// The least that one replica must earn by its task's type, in micro-AEV. A type that is not named has no least price.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asks: BTreeMap<TaskType, Amount>,
    /// Whose tasks it takes.
    #[serde(default, skip_serializing_if = "AllowDeny::is_any")]
    pub requesters: AllowDeny<AccountId>,
    /// Which modules it runs.
    #[serde(default, skip_serializing_if = "AllowDeny::is_any")]
    pub modules: AllowDeny<Digest>,
}

/// How much of the machine may be used, where that is less than the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Cores of all runs together. A run takes one, or as many as its task names, so that this bounds the runs at once, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<u32>,
    /// Memory of all runs together, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Memory of the GPU of all runs together, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory_mib: Option<u32>,
    /// Inputs and outputs of all runs together, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_mib: Option<u32>,
    /// Runs at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
}

/// A part of the week, in minutes since Monday 00:00 UTC: from `from_min`, to just before `to_min`. One that passes
/// Sunday's midnight is written as two.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// 0 to 10,079.
    pub from_min: u16,
    /// 1 to 10,080; above `from_min`.
    pub to_min: u16,
}

/// Who or what is taken: everything in `allow`, or everything where that is empty, but for what stands in `deny`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de> + Ord"))]
pub struct AllowDeny<T: Ord> {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow: BTreeSet<T>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub deny: BTreeSet<T>,
}

impl Caps {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Takes everybody and everything.
impl<T: Ord> Default for AllowDeny<T> {
    fn default() -> Self {
        Self {
            allow: BTreeSet::new(),
            deny: BTreeSet::new(),
        }
    }
}

impl<T: Ord> AllowDeny<T> {
    fn is_any(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether it is taken.
    pub fn admits(&self, one: &T) -> bool {
        !self.deny.contains(one) && (self.allow.is_empty() || self.allow.contains(one))
    }
}

/// The minute of the week, from Monday 00:00 UTC.
pub fn minute_of_week(at: Timestamp) -> u16 {
    let minutes = at.0.div_euclid(MINUTE_MS).saturating_add(EPOCH_MIN);
    // The remainder is below a week's minutes, which fit.
    u16::try_from(minutes.rem_euclid(WEEK_MIN.into())).unwrap_or(0)
}

impl Window {
    /// Whether a minute of the week is in it.
    pub fn holds(&self, minute: u16) -> bool {
        self.from_min <= minute && minute < self.to_min
    }
}

impl NodeTerms {
    /// Whether the node takes work at this time.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let minute = minute_of_week(at);
        self.hours.is_empty() || self.hours.iter().any(|window| window.holds(minute))
    }

    /// When it takes work from a time on: then, or when its next window begins.
    pub fn opens_at(&self, at: Timestamp) -> Timestamp {
        if self.is_open(at) {
            return at;
        }
        let minute = minute_of_week(at);
        let waits = self.hours.iter().map(|window| {
            let later = i64::from(window.from_min) - i64::from(minute);
            later.rem_euclid(WEEK_MIN.into())
        });
        let begun = Timestamp(at.0 - at.0.rem_euclid(MINUTE_MS));
        waits
            .min()
            .map_or(at, |minutes| begun.plus_ms(minutes * MINUTE_MS))
    }

    /// The least that a replica of this type must earn.
    pub fn ask(&self, kind: TaskType) -> Amount {
        self.asks.get(&kind).copied().unwrap_or(Amount::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_default()
    }

    #[test]
    fn a_week_begins_on_monday() {
        for (time, minute) in [
            ("1970-01-01T00:00:00.000Z", 3 * 1_440),
            ("2023-11-13T00:00:00.000Z", 0),
            ("2023-11-13T00:00:59.999Z", 0),
            ("2023-11-14T22:13:20.000Z", 1_440 + 22 * 60 + 13),
            ("2023-11-19T23:59:59.999Z", WEEK_MIN - 1),
            ("1969-12-31T23:59:00.000Z", 3 * 1_440 - 1),
        ] {
            assert_eq!(minute_of_week(at(time)), minute, "{time}");
        }
    }

    #[test]
    fn a_window_holds_its_first_minute_and_not_its_last() {
        let terms = NodeTerms {
            hours: vec![
                Window {
                    from_min: 60,
                    to_min: 120,
                },
                Window {
                    from_min: WEEK_MIN - 60,
                    to_min: WEEK_MIN,
                },
            ],
            ..NodeTerms::default()
        };
        for (time, open) in [
            ("2023-11-13T00:59:59.999Z", false),
            ("2023-11-13T01:00:00.000Z", true),
            ("2023-11-13T01:59:59.999Z", true),
            ("2023-11-13T02:00:00.000Z", false),
            ("2023-11-19T22:59:59.999Z", false),
            ("2023-11-19T23:59:59.999Z", true),
        ] {
            assert_eq!(terms.is_open(at(time)), open, "{time}");
        }
        for (time, opens) in [
            ("2023-11-13T00:59:30.500Z", "2023-11-13T01:00:00.000Z"),
            ("2023-11-13T01:30:30.500Z", "2023-11-13T01:30:30.500Z"),
            ("2023-11-13T02:00:00.000Z", "2023-11-19T23:00:00.000Z"),
            ("2023-11-20T00:10:00.000Z", "2023-11-20T01:00:00.000Z"),
        ] {
            assert_eq!(terms.opens_at(at(time)), at(opens), "{time}");
        }
        assert!(NodeTerms::default().is_open(at("2023-11-13T02:00:00.000Z")));
    }

    #[test]
    fn denial_wins() {
        let mut list: AllowDeny<u8> = AllowDeny::default();
        assert!(list.admits(&1));
        list.deny.insert(1);
        assert!(!list.admits(&1) && list.admits(&2));
        list.allow.extend([1, 3]);
        assert!(!list.admits(&1) && !list.admits(&2) && list.admits(&3));
    }
}
