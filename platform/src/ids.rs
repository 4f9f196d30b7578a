//! Identifiers. Each is its own type, so that a task's id can't stand where a node's is wanted.

use std::{fmt, str::FromStr};

use aevir_events::from_text;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use ulid::Ulid;

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
            type Err = ulid::DecodeError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ulid::from_string(text).map(Self)
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
