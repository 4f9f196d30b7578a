//! Lifting the data of an event's earlier version to what today's type reads. Nothing stored is ever rewritten.
//!
//! Each step is one small function from a version to the next one; reading goes through all that are left. Knows
//! nothing of any particular event.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::machine::{UnknownEvent, parse_data};

/// One step: the data of version `from` of an event type becomes that of version `from + 1`.
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    /// The event type, such as `task.created`.
    pub label: &'static str,
    pub from: u16,
    /// Fails with what was wrong where the data is not what version `from` had.
    pub lift: fn(Value) -> Result<Value, UnknownEvent>,
}

/// Reads `data` of the first of two versions as the type that the second one has; for [`crate::Event::from_data`].
///
/// # Errors
/// When the version was never written, is newer than this code, or the data is not what it must be.
pub fn read_data<T: DeserializeOwned>(
    steps: &[Upcaster],
    label: &str,
    (from, to): (u16, u16),
    data: &str,
) -> Result<T, UnknownEvent> {
    if from == to {
        return parse_data(label, data);
    }
    let lifted = upcast(steps, label, from, to, parse_data(label, data)?)?;
    serde_json::from_value(lifted).map_err(|e| {
        UnknownEvent(format!(
            "`{label}` version {from}, lifted to {to}, can't be read: {e}"
        ))
    })
}

/// Lifts data from version `from` to version `to` by the steps between them.
fn upcast(
    steps: &[Upcaster],
    label: &str,
    from: u16,
    to: u16,
    data: Value,
) -> Result<Value, UnknownEvent> {
    if from == 0 || from > to {
        return Err(UnknownEvent(format!(
            "`{label}` has no version {from}; this code knows 1 to {to}"
        )));
    }
    (from..to).try_fold(data, |data, version| {
        let step = steps
            .iter()
            .find(|step| step.label == label && step.from == version);
        let step = step.ok_or_else(|| {
            UnknownEvent(format!(
                "nothing lifts `{label}` from version {version} to {}",
                version + 1
            ))
        })?;
        (step.lift)(data)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// Version 1 said `name`; 2 has first and last name; 3 counts the letters.
    const STEPS: [Upcaster; 2] = [
        Upcaster {
            label: "guest.came",
            from: 2,
            lift: |mut data| {
                let letters = data["last"].as_str().map_or(0, str::len);
                data["letters"] = json!(letters);
                Ok(data)
            },
        },
        Upcaster {
            label: "guest.came",
            from: 1,
            lift: |data| match data["name"].as_str().and_then(|name| name.split_once(' ')) {
                Some((first, last)) => Ok(json!({"first": first, "last": last})),
                None => Err(UnknownEvent("a guest has two names".into())),
            },
        },
    ];

    #[test]
    fn steps_are_taken_in_order_from_where_the_data_is() {
        let lifted = upcast(&STEPS, "guest.came", 1, 3, json!({"name": "Ada Lovelace"})).unwrap();
        assert_eq!(
            lifted,
            json!({"first": "Ada", "last": "Lovelace", "letters": 8})
        );
        let data = json!({"first": "Ada", "last": "Byron"});
        let lifted = upcast(&STEPS, "guest.came", 2, 3, data.clone()).unwrap();
        assert_eq!(lifted["letters"], 5);
        assert_eq!(
            upcast(&STEPS, "guest.came", 2, 2, data.clone()).unwrap(),
            data
        );
    }

    #[test]
    fn data_of_any_version_is_read_as_the_newest_type() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Guest {
            first: String,
            letters: u64,
        }
        let read =
            |version, json: &str| read_data::<Guest>(&STEPS, "guest.came", (version, 3), json);
        let ada = Guest {
            first: "Ada".into(),
            letters: 5,
        };
        assert_eq!(read(1, r#"{"name":"Ada Byron"}"#).unwrap(), ada);
        assert_eq!(read(2, r#"{"first":"Ada","last":"Byron"}"#).unwrap(), ada);
        assert_eq!(read(3, r#"{"first":"Ada","letters":5}"#).unwrap(), ada);
        assert!(read(3, r#"{"first":"Ada"}"#).is_err());
        assert!(
            read(2, r#"{"last":"Byron"}"#)
                .unwrap_err()
                .0
                .contains("lifted to 3")
        );
    }

    #[test]
    fn what_can_not_be_lifted_says_why() {
        let error = |from, to, data| upcast(&STEPS, "guest.came", from, to, data).unwrap_err().0;
        assert!(error(1, 3, json!({"name": "Ada"})).contains("two names"));
        assert!(error(3, 4, json!({})).contains("from version 3 to 4"));
        assert!(error(4, 3, json!({})).contains("no version 4"));
        assert!(error(0, 3, json!({})).contains("no version 0"));
    }
}
