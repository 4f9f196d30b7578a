//! Entries as CloudEvents 1.0, one JSON document a line, and back: a mapping that loses no byte.
//!
//! | CloudEvents attribute | entry | kind |
//! | --- | --- | --- |
//! | `specversion` | always `1.0` | required |
//! | `id` | `id` | required |
//! | `source` | the log's origin, the same for all its entries | required |
//! | `type` | `type` | required |
//! | `subject` | `stream` | optional |
//! | `time` | `time` | optional |
//! | `data` | `data` | |
//! | `position`, `revision` | the same, decimal strings | extension |
//! | `schemaversion` | `schema` | extension |
//! | `actor`, `cause` | the same | extension |
//!
//! Names of extensions are lower-case letters, as the specification asks. Source: CloudEvents 1.0.2, and its JSON
//! event format, which reads a missing `datacontenttype` as JSON.
//!
//! A line is in RFC 8785 form, as the entry is, and its values stand in the same order. So both ways are a splice of
//! the values' own bytes: nothing is parsed and written anew, and what was damaged stays damaged. Whether the entry is
//! canonical, dense and legal is for others to check.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    entry::{Entry, MEMBERS},
    jcs,
};

/// A line's attributes in canonical order, which is also the order of the entry's members that they stand for.
const ATTRIBUTES: [&str; 12] = [
    "actor",
    "cause",
    "data",
    "id",
    "position",
    "revision",
    "schemaversion",
    "source",
    "specversion",
    "subject",
    "time",
    "type",
];
const SPEC_VERSION: &str = "\"1.0\"";

/// Why a line is no exported entry, or an entry can't be exported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    #[error("not an entry's envelope: {0}")]
    Entry(String),
    #[error("not a CloudEvent of an Aevir log: {0}")]
    Line(String),
    #[error("the CloudEvent's specversion is {0}, not \"1.0\"")]
    SpecVersion(String),
    #[error("the line is not in canonical form (RFC 8785)")]
    NotCanonical,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry<'a> {
    #[serde(borrow)]
    actor: &'a RawValue,
    #[serde(borrow)]
    cause: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    position: &'a RawValue,
    #[serde(borrow)]
    revision: &'a RawValue,
    #[serde(borrow)]
    schema: &'a RawValue,
    #[serde(borrow)]
    stream: &'a RawValue,
    #[serde(borrow)]
    time: &'a RawValue,
    #[serde(borrow, rename = "type")]
    label: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine<'a> {
    #[serde(borrow)]
    actor: &'a RawValue,
    #[serde(borrow)]
    cause: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    position: &'a RawValue,
    #[serde(borrow)]
    revision: &'a RawValue,
    #[serde(borrow)]
    schemaversion: &'a RawValue,
    #[serde(borrow)]
    source: &'a RawValue,
    #[serde(borrow)]
    specversion: &'a RawValue,
    #[serde(borrow)]
    subject: &'a RawValue,
    #[serde(borrow)]
    time: &'a RawValue,
    #[serde(borrow, rename = "type")]
    label: &'a RawValue,
}

/// Writes the entries of one log as CloudEvents.
#[derive(Debug, Clone)]
pub struct CloudEventWriter {
    /// The origin as a JSON string.
    source: String,
}

impl CloudEventWriter {
    /// For the log with this origin.
    pub fn new(origin: &str) -> Self {
        Self {
            source: serde_json::Value::from(origin).to_string(),
        }
    }

    /// Appends the entry's line, without a line feed.
    ///
    /// # Errors
    /// When the bytes are no envelope; nothing is appended then.
    pub fn write(&self, entry: &Entry, line: &mut Vec<u8>) -> Result<(), CloudEventError> {
        let raw: RawEntry<'_> =
            serde_json::from_slice(&entry.0).map_err(|e| CloudEventError::Entry(e.to_string()))?;
        line.reserve(entry.0.len() + self.source.len() + 64);
        let values = [
            raw.actor.get(),
            raw.cause.get(),
            raw.data.get(),
            raw.id.get(),
            raw.position.get(),
            raw.revision.get(),
            raw.schema.get(),
            &self.source,
            SPEC_VERSION,
            raw.stream.get(),
            raw.time.get(),
            raw.label.get(),
        ];
        splice(line, &ATTRIBUTES, values);
        Ok(())
    }
}

/// An exported line, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEventLine {
    /// The bytes that were exported, if the line was not tampered with.
    pub entry: Entry,
    /// The origin of the log that it says it belongs to.
    pub source: String,
}

impl CloudEventLine {
    /// Reads a line without its line feed.
    ///
    /// # Errors
    /// When it is no CloudEvent with exactly the attributes of an exported entry, or not in canonical form.
    pub fn read(line: &[u8]) -> Result<Self, CloudEventError> {
        match Self::read_canonical(line) {
            Some(read) => Ok(read),
            None => Self::read_any(line),
        }
    }

    /// Reads a line all of which is canonical, as every line is that nobody touched.
    fn read_canonical(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let [
            actor,
            cause,
            data,
            id,
            position,
            revision,
            schema,
            source,
            spec_version,
            stream,
            time,
            label,
        ] = jcs::members(text, &ATTRIBUTES).ok()?;
        if spec_version != SPEC_VERSION {
            return None;
        }
        let source = jcs::string(source)?.into_owned();
        let mut entry = Vec::with_capacity(line.len());
        let values = [
            actor, cause, data, id, position, revision, schema, stream, time, label,
        ];
        splice(&mut entry, &MEMBERS, values);
        Some(Self {
            entry: Entry(entry),
            source,
        })
    }

    /// Reads a line whose values may be anything, and knows what is wrong with one that is none.
    fn read_any(line: &[u8]) -> Result<Self, CloudEventError> {
        let raw: RawLine<'_> =
            serde_json::from_slice(line).map_err(|e| CloudEventError::Line(e.to_string()))?;
        if raw.specversion.get() != SPEC_VERSION {
            return Err(CloudEventError::SpecVersion(
                raw.specversion.get().to_owned(),
            ));
        }
        let source: String = serde_json::from_str(raw.source.get())
            .map_err(|e| CloudEventError::Line(format!("its source: {e}")))?;
        let mut entry = Vec::with_capacity(line.len());
        let values = [
            raw.actor,
            raw.cause,
            raw.data,
            raw.id,
            raw.position,
            raw.revision,
            raw.schemaversion,
            raw.subject,
            raw.time,
            raw.label,
        ];
        splice(&mut entry, &MEMBERS, values.map(RawValue::get));
        let entry = Entry(entry);
        // One line for one entry: no other order of attributes, spacing or spelling of the source.
        let mut again = Vec::with_capacity(line.len());
        CloudEventWriter::new(&source).write(&entry, &mut again)?;
        if again == line {
            Ok(Self { entry, source })
        } else {
            Err(CloudEventError::NotCanonical)
        }
    }
}

/// An object with these values, which stand in the order of their names.
fn splice<const N: usize>(to: &mut Vec<u8>, names: &[&str; N], values: [&str; N]) {
    let mut before: &[u8] = b"{\"";
    for (name, value) in names.iter().zip(values) {
        to.extend_from_slice(before);
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(b"\":");
        to.extend_from_slice(value.as_bytes());
        before = b",\"";
    }
    to.push(b'}');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use ulid::Ulid;

    use super::*;
    use crate::{entry::Envelope, envelope::Timestamp};

    fn envelope(data: Value) -> Envelope {
        Envelope {
            position: 7,
            id: Ulid::from_parts(1_700_000_000_000, 5),
            stream: "task/01J".into(),
            revision: 2,
            label: "task.created".into(),
            schema: 1,
            time: Timestamp(1_700_000_000_123),
            actor: "account/01H".into(),
            cause: "key \"1\"".into(),
            data,
        }
    }

    fn line_of(entry: &Entry, origin: &str) -> Vec<u8> {
        let mut line = Vec::new();
        CloudEventWriter::new(origin)
            .write(entry, &mut line)
            .unwrap();
        line
    }

    #[test]
    fn a_line_is_this_to_the_byte() {
        let entry = envelope(json!({"b": 1, "a": "é"})).to_entry().unwrap();
        let line = String::from_utf8(line_of(&entry, "aevir.example/log")).unwrap();
        let expected = concat!(
            r#"{"actor":"account/01H","cause":"key \"1\"","data":{"a":"é","b":1},"id":"01HF7YAT000000000000000005","#,
            r#""position":"7","revision":"2","schemaversion":1,"source":"aevir.example/log","specversion":"1.0","#,
            r#""subject":"task/01J","time":"2023-11-14T22:13:20.123Z","type":"task.created"}"#,
        );
        assert_eq!(line, expected);
    }

    /// Required attributes are there, names are lower-case letters and digits, values have the types of the
    /// specification.
    #[test]
    fn a_line_is_a_cloud_event() {
        let entry = envelope(json!({})).to_entry().unwrap();
        let line: Value = serde_json::from_slice(&line_of(&entry, "o")).unwrap();
        for (name, value) in line.as_object().unwrap() {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
            assert!(name.len() <= 20, "{name}");
            assert!(
                name == "data"
                    || value.is_string()
                    || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
            );
        }
        for required in ["id", "source", "specversion", "type"] {
            assert!(!line[required].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn other_lines_are_refused() {
        let entry = envelope(json!({"a": 1})).to_entry().unwrap();
        let line = String::from_utf8(line_of(&entry, "o")).unwrap();
        let refused = |from: &str, to: &str| {
            let changed = line.replacen(from, to, 1);
            assert_ne!(changed, line);
            CloudEventLine::read(changed.as_bytes()).unwrap_err()
        };
        assert_eq!(
            refused(",\"time\"", ", \"time\""),
            CloudEventError::NotCanonical
        );
        assert_eq!(
            refused("\"source\":\"o\"", "\"source\":\"\\u006f\""),
            CloudEventError::NotCanonical
        );
        assert_eq!(
            refused("\"1.0\"", "\"0.3\""),
            CloudEventError::SpecVersion("\"0.3\"".into())
        );
        let unknown = refused("{\"actor\"", "{\"a\":1,\"actor\"");
        assert!(
            unknown.to_string().contains("unknown field `a`"),
            "{unknown}"
        );
        let missing = refused("\"subject\":\"task/01J\",", "");
        assert!(
            missing.to_string().contains("missing field `subject`"),
            "{missing}"
        );
        let twice = refused("{\"actor\"", "{\"actor\":\"x\",\"actor\"");
        assert!(twice.to_string().contains("duplicate field"), "{twice}");
        let entry = CloudEventLine::read(&entry.0).unwrap_err();
        assert!(matches!(entry, CloudEventError::Line(_)));
    }

    #[test]
    fn what_is_no_envelope_is_not_exported() {
        let mut line = Vec::new();
        let writer = CloudEventWriter::new("o");
        let error = writer.write(&Entry(b"{}".to_vec()), &mut line).unwrap_err();
        assert!(matches!(error, CloudEventError::Entry(_)));
        assert!(line.is_empty());
    }

    /// A line that the quick reader takes, the other one takes too, and reads the same.
    #[test]
    fn the_quick_reader_takes_nothing_that_the_other_one_refuses() {
        let entry = envelope(json!({"a": ["é", 1], "b": {}}))
            .to_entry()
            .unwrap();
        let line = line_of(&entry, "aevir.example/log");
        assert!(CloudEventLine::read_canonical(&line).is_some());
        for at in 0..line.len() {
            for byte in *b"\"\\0 ,:{}[]u\x01Zz" {
                let mut changed = line.clone();
                changed[at] = byte;
                let mut longer = line.clone();
                longer.insert(at, byte);
                for other in [changed, longer] {
                    if let Some(read) = CloudEventLine::read_canonical(&other) {
                        assert_eq!(CloudEventLine::read_any(&other), Ok(read));
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in ".*", origin in ".+", number in -1.0e6..1.0e6f64, position: u64, revision: u64, schema: u16) {
            let mut envelope = envelope(json!({"text": text.clone(), "list": [number, null, {"deep": text.clone()}]}));
            (envelope.position, envelope.revision, envelope.schema) = (position, revision, schema);
            (envelope.actor, envelope.cause) = (text.clone(), text);
            let entry = envelope.to_entry().unwrap();
            let line = line_of(&entry, &origin);
            prop_assert!(!line.contains(&b'\n'));
            let value: Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), line.clone());
            prop_assert_eq!(CloudEventLine::read(&line).unwrap(), CloudEventLine { entry, source: origin });
        }
    }
}
