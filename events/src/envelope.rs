//! The envelope that every event is stored in. Its canonical bytes are [`crate::Entry`]'s business.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::Ulid;

/// Milliseconds since the Unix epoch, UTC; written as RFC 3339 with three decimals and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time plus `ms` milliseconds, saturating.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
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
        text.parse::<jiff::Timestamp>()
            .map(|t| Self(t.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
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
