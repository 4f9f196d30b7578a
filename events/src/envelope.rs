//! The envelope that every event is stored in. Its canonical bytes are [`crate::Entry`]'s business.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::text::from_text;

/// Milliseconds since the Unix epoch, UTC; written as RFC 3339 with three decimals and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time plus `ms` milliseconds, saturating.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Reads `2023-11-14T22:13:20.120Z`, the form that is written here for the years 0 to 9999. Nothing else, and
    /// so in a tenth of the time that a general parser takes.
    pub(crate) fn from_plain(text: &str) -> Option<Self> {
        let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
        for (at, separator) in [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
            (23, b'Z'),
        ] {
            if text[at] != separator {
                return None;
            }
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0i64, |number, digit| {
                digit
                    .is_ascii_digit()
                    .then(|| number * 10 + i64::from(digit - b'0'))
            })
        };
        let (year, month, day) = (
            number(&text[0..4])?,
            number(&text[5..7])?,
            number(&text[8..10])?,
        );
        let (hour, minute) = (number(&text[11..13])?, number(&text[14..16])?);
        let (second, ms) = (number(&text[17..19])?, number(&text[20..23])?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days_in_month = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + i64::from(leap),
            _ => return None,
        };
        if day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_from_civil(year, month, day);
        let time = Self((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms);
        time.is_valid().then_some(time)
    }

    /// Writes what [`Timestamp::from_plain`] reads: years 0 to 9999, in a tenth of the time that a general formatter takes.
    fn to_plain(self) -> Option<[u8; 24]> {
        if !self.is_valid() {
            return None;
        }
        let (days, ms) = (
            self.0.div_euclid(MS_PER_DAY),
            self.0.rem_euclid(MS_PER_DAY) as u64,
        );
        let (year, month, day) = civil_from_days(days);
        let year = u64::try_from(year).ok().filter(|year| *year <= 9_999)?;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut digits = |at: std::ops::Range<usize>, mut number: u64| {
            for digit in text[at].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        digits(0..4, year);
        digits(5..7, month);
        digits(8..10, day);
        digits(11..13, ms / 3_600_000);
        digits(14..16, ms / 60_000 % 60);
        digits(17..19, ms / 1_000 % 60);
        digits(20..23, ms % 1_000);
        Some(text)
    }

    /// Whether the calendar (years -9999 to 9999) has this time, so that it can be written and read back.
    pub fn is_valid(self) -> bool {
        jiff::Timestamp::from_millisecond(self.0).is_ok()
    }
}

const MS_PER_DAY: i64 = 86_400_000;
/// Days of 400 years.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days since 1970-01-01. Source of both functions: H. Hinnant, "chrono-compatible low-level date algorithms", in which
/// years begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month as u64, day as u64)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.to_plain() {
            // Digits and separators alone.
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "invalid time {}", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::from_plain(text) {
            Some(time) => Ok(time),
            None => text
                .parse::<jiff::Timestamp>()
                .map(|t| Self(t.as_millisecond())),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// One event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<E> {
    /// Global, gapless, from 0; the leaf index in the Merkle tree.
    pub position: u64,
    pub id: Ulid,
    /// Such as `task/01J...`.
    pub stream: String,
    /// Gapless within the stream, from 0.
    pub revision: u64,
    /// When the executor decided it. Never decreases along the log.
    pub time: Timestamp,
    /// `account/<id>`, `node/<id>` or `system`.
    pub actor: String,
    /// Id of the command: the caller's idempotency key where one was given.
    pub cause: String,
    pub event: E,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_times_of_the_calendar_are_read_fast() {
        for bad in [
            "2023-02-29T00:00:00.000Z",
            "2100-02-29T00:00:00.000Z",
            "2023-04-31T00:00:00.000Z",
            "2023-13-01T00:00:00.000Z",
            "2023-00-01T00:00:00.000Z",
            "2023-01-00T00:00:00.000Z",
            "2023-01-01T24:00:00.000Z",
            "2023-01-01T00:60:00.000Z",
            "2023-01-01T00:00:60.000Z",
            "2023-01-01t00:00:00.000Z",
            "2023-01-01T00:00:00.000z",
            "2023-01-01T00:00:00.00Z",
            "2023-01-01T00:00:00,000Z",
            "+023-01-01T00:00:00.000Z",
            "9999-12-31T00:00:00.000Z",
        ] {
            assert_eq!(Timestamp::from_plain(bad), None, "{bad}");
        }
        for good in [
            "0000-01-01T00:00:00.000Z",
            "2000-02-29T23:59:59.999Z",
            "9999-12-30T22:00:00.000Z",
        ] {
            let time: jiff::Timestamp = good.parse().unwrap();
            assert_eq!(
                Timestamp::from_plain(good),
                Some(Timestamp(time.as_millisecond()))
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_general_formatter_writes(ms in -377_705_023_201_000i64..253_402_207_200_000) {
            let general = jiff::Timestamp::from_millisecond(ms).unwrap();
            prop_assert_eq!(Timestamp(ms).to_string(), format!("{general:.3}"));
        }

        #[test]
        fn what_is_written_is_read_fast(ms in -62_167_219_200_000i64..253_402_207_200_000) {
            let time = Timestamp(ms);
            prop_assert_eq!(Timestamp::from_plain(&time.to_string()), Some(time));
        }
    }
}
