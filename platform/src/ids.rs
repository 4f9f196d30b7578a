//! Identifiers. Each is its own type, so that a task's id can't stand where a node's is wanted.

use std::{fmt, str::FromStr};

use aevir_events::from_text;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use ulid::Ulid;

/// How much of a text that is no id an error repeats, in characters: it may be anything.
const REPEATED: usize = 40;

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no id: an id is 26 letters and digits, such as 01ARZ3NDEKTSV4RRFFQ69G5FAV")]
pub struct NotAnId(String);

impl NotAnId {
    fn of(text: &str) -> Self {
        Self(text.chars().take(REPEATED).collect())
    }
}

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub Ulid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ulid::from_string(text).map(Self).map_err(|_| NotAnId::of(text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"})
            }
        }
    )+};
}

id! {
    /// Who owns money, keys, nodes, contents and tasks.
    AccountId,
    /// An API key.
    KeyId,
    /// A machine that runs tasks.
    NodeId,
    /// A registered dataset or model version.
    ContentId,
    /// A task.
    TaskId,
    /// One node's try at one task; also the fencing token of its lease, for it is never used twice.
    AssignmentId,
    /// Money that an account wants to take out.
    WithdrawalId,
}
