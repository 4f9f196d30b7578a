//! Reading an entry's bytes: the envelope's fields where they stand, and whether each has the one spelling that is written.
//!
//! There are two readers. One takes any JSON text of an envelope; the other takes canonical JSON alone, and finds out in the same
//! pass that it is. Knows nothing of what events mean.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use ulid::{ULID_LEN, Ulid};

use super::EntryError;
use crate::{
    envelope::{Recorded, Timestamp},
    jcs,
    machine::{Event, UnknownEvent},
    text::is_plain_decimal,
};

/// The envelope's members in canonical order.
pub(crate) const MEMBERS: [&str; 10] = [
    "actor", "cause", "data", "id", "position", "revision", "schema", "stream", "time", "type",
];

/// The envelope as it stands in the bytes, nothing copied and nothing read yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written<'a> {
    #[serde(borrow)]
    position: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    revision: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    label: Cow<'a, str>,
    schema: u16,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(borrow)]
    cause: Cow<'a, str>,
    /// JSON text.
    #[serde(borrow, deserialize_with = "raw_text")]
    data: &'a str,
}

/// The fields that have several spellings, read.
pub(super) struct Place {
    position: u64,
    revision: u64,
    id: Ulid,
    time: Timestamp,
    /// Whether each has the spelling that is written here.
    pub(super) plain: bool,
}

impl<'a> Written<'a> {
    /// Reads any JSON text of an envelope.
    pub(super) fn of(text: &'a str) -> Result<Self, EntryError> {
        serde_json::from_str(text).map_err(|e| malformed(&e))
    }

    /// Reads canonical JSON of an envelope, and nothing else: found out in the same pass, in a third of the time.
    pub(super) fn canonical(text: &'a str) -> Option<Self> {
        let [
            actor,
            cause,
            data,
            id,
            position,
            revision,
            schema,
            stream,
            time,
            label,
        ] = jcs::members(text, &MEMBERS).ok()?;
        Some(Self {
            position: jcs::string(position)?,
            id: jcs::string(id)?,
            stream: jcs::string(stream)?,
            revision: jcs::string(revision)?,
            label: jcs::string(label)?,
            schema: schema.parse().ok()?,
            time: jcs::string(time)?,
            actor: jcs::string(actor)?,
            cause: jcs::string(cause)?,
            data,
        })
    }

    /// Types the envelope's fields and the data; also answers whether the fields are spelt as they are written here.
    pub(super) fn read<E: Event>(self) -> Result<(Recorded<E>, bool), EntryError> {
        let event = E::from_data(&self.label, self.schema, self.data)?;
        if event.label() != self.label {
            // The tables intern the label as written: a later version keeps it.
            let label = event.label();
            let text = format!("`{}` was read as `{label}`", self.label);
            return Err(UnknownEvent(text).into());
        }
        let stream = event.stream();
        if stream != self.stream {
            return Err(EntryError::Stream {
                envelope: self.stream.into_owned(),
                event: stream,
            });
        }
        let place = self.place()?;
        let recorded = Recorded {
            position: place.position,
            id: place.id,
            stream,
            revision: place.revision,
            time: place.time,
            actor: self.actor.into_owned(),
            cause: self.cause.into_owned(),
            event,
        };
        Ok((recorded, place.plain))
    }

    pub(super) fn place(&self) -> Result<Place, EntryError> {
        let id = Ulid::from_string(&self.id).map_err(|e| malformed(&e))?;
        let (time, plain_time) = match Timestamp::from_plain(&self.time) {
            Some(time) => (time, true),
            None => {
                let time: Timestamp = self.time.parse().map_err(|e| malformed(&e))?;
                (time, time.to_string() == self.time)
            }
        };
        let plain = is_plain_decimal(&self.position)
            && is_plain_decimal(&self.revision)
            && *id.array_to_str(&mut [0; ULID_LEN]) == *self.id
            && plain_time;
        Ok(Place {
            position: self.position.parse().map_err(|e| malformed(&e))?,
            revision: self.revision.parse().map_err(|e| malformed(&e))?,
            id,
            time,
            plain,
        })
    }
}

/// A value's JSON text.
fn raw_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<&'de str, D::Error> {
    <&RawValue>::deserialize(deserializer).map(RawValue::get)
}

pub(super) fn malformed(error: &dyn std::fmt::Display) -> EntryError {
    EntryError::Malformed(error.to_string())
}
