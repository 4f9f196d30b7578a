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
        // Days since 1970-01-01, as in H. Hinnant, "chrono-compatible low-level date algorithms": years begin in March.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * month + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        let time = Self((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms);
        time.is_valid().then_some(time)
    }

    /// Whether the calendar (years -9999 to 9999) has this time, so that it can be written and read back.
    pub fn is_valid(self) -> bool {
        jiff::Timestamp::from_millisecond(self.0).is_ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        fn what_is_written_is_read_fast(ms in -62_167_219_200_000i64..253_402_207_200_000) {
            let time = Timestamp(ms);
            prop_assert_eq!(Timestamp::from_plain(&time.to_string()), Some(time));
        }
    }
}
