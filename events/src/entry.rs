//! An entry: the canonical bytes of one event's envelope, which are what is stored, hashed and exported.
//!
//! `{"actor","cause","data","id","position","revision","schema","stream","time","type"}` in RFC 8785 form.
//! `position` and `revision` are decimal strings, because canonical JSON's numbers are doubles.

mod written;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;

pub(crate) use self::written::MEMBERS;
use self::written::{Written, malformed};
use crate::{
    canonical::{JcsError, canonical_bytes},
    envelope::{Recorded, Timestamp},
    jcs,
    machine::{Data, Event, UnknownEvent},
    merkle::{Hash, leaf_hash},
    tail::MAX_COMMAND_EVENTS,
};

/// Largest entry in bytes: tlog-tiles entry bundles carry a 16-bit length before each entry.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Why an event can't become an entry, or bytes aren't one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error(
        "the entry has {bytes} bytes, and {MAX_ENTRY_BYTES} is the most: store the payload as a blob"
    )]
    TooLarge { bytes: usize },
    #[error("the command causes {events} events, and {MAX_COMMAND_EVENTS} is the most")]
    TooMany { events: usize },
    #[error(
        "the integer {0} is beyond the range that canonical JSON holds exactly: write it as a string"
    )]
    UnsafeInteger(String),
    #[error("the time {0} ms is outside the calendar")]
    Time(i64),
    #[error("the event can't be written as JSON: {0}")]
    Unwritable(String),
    #[error("not an entry: {0}")]
    Malformed(String),
    #[error("the bytes are not in canonical form (RFC 8785)")]
    NotCanonical,
    #[error("unreadable event: {0}")]
    Unknown(#[from] UnknownEvent),
    #[error("the envelope says stream `{envelope}`, the event belongs to `{event}`")]
    Stream { envelope: String, event: String },
}

/// The envelope of an entry with its data still untyped: for exports and for audits that come before typing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    #[serde(with = "decimal")]
    pub position: u64,
    pub id: Ulid,
    pub stream: String,
    #[serde(with = "decimal")]
    pub revision: u64,
    #[serde(rename = "type")]
    pub label: String,
    pub schema: u16,
    pub time: Timestamp,
    pub actor: String,
    pub cause: String,
    pub data: Value,
}

impl Envelope {
    /// The canonical bytes.
    pub fn to_entry(&self) -> Result<Entry, EntryError> {
        Entry::write(self.time, self)
    }
}

impl<E: Event> From<&Recorded<E>> for Envelope {
    fn from(recorded: &Recorded<E>) -> Self {
        Self {
            position: recorded.position,
            id: recorded.id,
            stream: recorded.stream.clone(),
            revision: recorded.revision,
            label: recorded.event.label().to_owned(),
            schema: recorded.event.schema(),
            time: recorded.time,
            actor: recorded.actor.clone(),
            cause: recorded.cause.clone(),
            data: recorded.event.to_data(),
        }
    }
}

/// [`Envelope`] as it is written: nothing copied, nothing untyped, and in the order of canonical JSON, so that nothing
/// has to be sorted.
#[derive(Serialize)]
struct Fields<'a, D> {
    actor: &'a str,
    cause: &'a str,
    data: D,
    id: Ulid,
    #[serde(with = "decimal")]
    position: u64,
    #[serde(with = "decimal")]
    revision: u64,
    schema: u16,
    stream: &'a str,
    time: Timestamp,
    #[serde(rename = "type")]
    label: &'static str,
}

/// The bytes of one entry. Not checked on construction: what storage or an export holds may be damaged.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry(pub Vec<u8>);

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({})", String::from_utf8_lossy(&self.0))
    }
}

impl Entry {
    /// The canonical bytes of a recorded event.
    pub fn encode<E: Event>(recorded: &Recorded<E>) -> Result<Self, EntryError> {
        let fields = Fields {
            actor: &recorded.actor,
            cause: &recorded.cause,
            data: Data(&recorded.event),
            id: recorded.id,
            position: recorded.position,
            revision: recorded.revision,
            schema: recorded.event.schema(),
            stream: &recorded.stream,
            time: recorded.time,
            label: recorded.event.label(),
        };
        Self::write(recorded.time, &fields)
    }

    fn write(time: Timestamp, envelope: &impl Serialize) -> Result<Self, EntryError> {
        if !time.is_valid() {
            return Err(EntryError::Time(time.0));
        }
        let bytes = canonical_bytes(envelope).map_err(|error| match error {
            JcsError::UnsafeInteger(integer) => EntryError::UnsafeInteger(integer),
            JcsError::Json(error) => EntryError::Unwritable(error.to_string()),
        })?;
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLarge { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// Reads the bytes; says nothing about whether they are canonical.
    pub fn decode<E: Event>(&self) -> Result<Recorded<E>, EntryError> {
        let text = self.text()?;
        let written = match Written::canonical(text) {
            Some(written) => written,
            None => Written::of(text)?,
        };
        written.read().map(|(recorded, _)| recorded)
    }

    /// Reads the bytes and requires them to be exactly what [`Entry::encode`] writes.
    pub fn decode_canonical<E: Event>(&self) -> Result<Recorded<E>, EntryError> {
        let text = self.text()?;
        let Some(written) = Written::canonical(text) else {
            // What is wrong with it, the slower reader knows.
            Written::of(text)?.read::<E>()?;
            jcs::check(text)?;
            return Err(EntryError::NotCanonical);
        };
        match written.read()? {
            (recorded, true) => Ok(recorded),
            (_, false) => Err(EntryError::NotCanonical),
        }
    }

    /// The untyped envelope.
    pub fn envelope(&self) -> Result<Envelope, EntryError> {
        serde_json::from_slice(&self.0).map_err(|e| malformed(&e))
    }

    /// The untyped envelope of bytes that must be canonical.
    pub fn canonical_envelope(&self) -> Result<Envelope, EntryError> {
        let envelope = self.envelope()?;
        let text = self.text()?;
        let place = Written::of(text)?.place()?;
        jcs::check(text)?;
        match place.plain {
            true => Ok(envelope),
            false => Err(EntryError::NotCanonical),
        }
    }

    fn text(&self) -> Result<&str, EntryError> {
        std::str::from_utf8(&self.0).map_err(|e| malformed(&e))
    }

    /// The Merkle leaf hash of the bytes.
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.0)
    }
}

impl AsRef<[u8]> for Entry {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A `u64` as a decimal string.
mod decimal {
    use serde::{Deserializer, Serializer};

    use crate::text::from_text;

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::toy::Happened;

    fn recorded() -> Recorded<Happened> {
        Recorded {
            position: u64::MAX,
            id: Ulid::from_parts(1_700_000_000_000, 7),
            stream: "account/ünï".to_owned(),
            revision: 3,
            time: Timestamp(1_700_000_000_120),
            actor: "system".to_owned(),
            cause: "key \"1\"".to_owned(),
            event: Happened::Deposited {
                to: "ünï".to_owned(),
                cents: 9_007_199_254_740_993,
            },
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let expected = concat!(
            r#"{"actor":"system","cause":"key \"1\"","data":{"account":"ünï","cents":"9007199254740993"},"#,
            r#""id":"01HF7YAT000000000000000007","position":"18446744073709551615","revision":"3","schema":1,"#,
            r#""stream":"account/ünï","time":"2023-11-14T22:13:20.120Z","type":"account.credited"}"#
        );
        let entry = Entry::encode(&recorded()).unwrap();
        assert_eq!(String::from_utf8_lossy(&entry.0), expected);
        assert_eq!(entry.decode::<Happened>().unwrap(), recorded());
        assert_eq!(entry.decode_canonical::<Happened>().unwrap(), recorded());
    }

    #[test]
    fn other_spellings_of_the_same_entry_are_read_but_are_not_canonical() {
        let canonical = String::from_utf8(Entry::encode(&recorded()).unwrap().0).unwrap();
        for (from, to) in [
            (r#"{"actor""#, r#"{ "actor""#),
            (r#""revision":"3""#, r#""revision":"03""#),
            (r#""revision":"3""#, r#""revision":"+3""#),
            (r#""schema":1"#, r#""schema":1 "#),
            ("20.120Z", "20.12Z"),
            ("20.120Z", "20.1209Z"),
            ("22:13:20.120Z", "23:13:20.120+01:00"),
            ("ü", r"\u00fc"),
            ("01HF7Y", "01hf7y"),
        ] {
            let other = canonical.replacen(from, to, 1);
            assert_ne!(other, canonical);
            let other = Entry(other.into_bytes());
            assert_eq!(
                other.envelope().unwrap(),
                Envelope::from(&recorded()),
                "{to}"
            );
            assert_eq!(
                other.decode_canonical::<Happened>(),
                Err(EntryError::NotCanonical),
                "{to}"
            );
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let canonical = String::from_utf8(Entry::encode(&recorded()).unwrap().0).unwrap();
        for (from, to) in [
            (r#""schema":1"#, r#""schema":1,"extra":0"#),
            (r#""schema":1"#, r#""schema":1,"schema":1"#),
            (r#""schema":1"#, r#""schema":65536"#),
            (r#""revision":"3""#, r#""revision":3"#),
            (r#""revision":"3""#, r#""revision":"-3""#),
            (r#","type":"account.credited""#, ""),
            ("20.120Z", "20.120"),
            ("}", "}}"),
        ] {
            let other = Entry(canonical.replacen(from, to, 1).into_bytes());
            assert!(
                matches!(other.decode::<Happened>(), Err(EntryError::Malformed(_))),
                "{to}"
            );
        }
        let other = Entry(
            canonical
                .replace("account.credited", "account.closed")
                .into_bytes(),
        );
        assert!(matches!(
            other.decode::<Happened>(),
            Err(EntryError::Unknown(_))
        ));
        let other = Entry(canonical.replace("account/ü", "account/u").into_bytes());
        assert!(matches!(
            other.decode::<Happened>(),
            Err(EntryError::Stream { .. })
        ));
    }

    #[test]
    fn the_size_limit_is_exact() {
        let mut envelope = Envelope::from(&recorded());
        let note = |bytes: usize| json!({"text": "n".repeat(bytes)});
        envelope.data = note(0);
        let room = MAX_ENTRY_BYTES - envelope.to_entry().unwrap().0.len();
        envelope.data = note(room);
        assert_eq!(envelope.to_entry().unwrap().0.len(), MAX_ENTRY_BYTES);
        envelope.data = note(room + 1);
        assert_eq!(
            envelope.to_entry(),
            Err(EntryError::TooLarge {
                bytes: MAX_ENTRY_BYTES + 1
            })
        );
    }

    #[test]
    fn a_time_outside_the_calendar_is_refused() {
        let beyond = Recorded {
            time: Timestamp(i64::MAX),
            ..recorded()
        };
        assert_eq!(Entry::encode(&beyond), Err(EntryError::Time(i64::MAX)));
    }

    /// Both readers must agree on everything, damaged or not.
    fn agree(bytes: Vec<u8>) {
        let entry = Entry(bytes);
        let Ok(text) = entry.text() else { return };
        let slow = Written::of(text).and_then(Written::read::<Happened>);
        let checked = slow.and_then(|(recorded, plain)| {
            jcs::check(text)?;
            plain.then_some(recorded).ok_or(EntryError::NotCanonical)
        });
        assert_eq!(entry.decode_canonical::<Happened>(), checked, "{text}");
    }

    #[test]
    fn the_fast_reader_agrees_with_the_slow_one_on_every_changed_byte() {
        let bytes = Entry::encode(&recorded()).unwrap().0;
        for at in 0..bytes.len() {
            for byte in *b"\"\\0 ,:{}[]u\x01Zz" {
                let mut changed = bytes.clone();
                changed[at] = byte;
                agree(changed);
                let mut longer = bytes.clone();
                longer.insert(at, byte);
                agree(longer);
            }
            let mut shorter = bytes.clone();
            shorter.remove(at);
            agree(shorter);
            agree(bytes[..at].to_vec());
        }
    }

    proptest! {
        #[test]
        fn encode_and_decode_are_inverse(
            position: u64, revision: u64, random: u128, cents: u64, account: String, actor: String, cause: String,
            time in 0i64..253_402_207_200_000,
        ) {
            let recorded = Recorded {
                position, id: Ulid::from_parts(time as u64, random), stream: format!("account/{account}"), revision,
                time: Timestamp(time), actor, cause, event: Happened::Withdrawn { from: account, cents },
            };
            let entry = Entry::encode(&recorded).unwrap();
            prop_assert_eq!(&entry, &Envelope::from(&recorded).to_entry().unwrap(), "typed as untyped");
            prop_assert_eq!(&entry.decode_canonical::<Happened>().unwrap(), &recorded);
            prop_assert_eq!(entry.decode::<Happened>().unwrap(), recorded);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Entry(bytes).decode_canonical::<Happened>();
        }
    }
}
