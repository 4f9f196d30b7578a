//! Faults that a node commits on purpose, for tests of the platform and for the demo. Never for production.

use std::{str::FromStr, time::Duration};

use serde_json::Value;

/// A way of misbehaving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `wrong-result=<task type>`: results of such tasks are altered before they are sealed.
    WrongResult {
        /// `training`, `inference`, `evaluation` or `data-processing`.
        task_type: String,
    },
    /// `stall`: leases are taken and started, and then nothing more is heard of them.
    Stall,
    /// `slow=<ms>`: each run takes so much longer.
    Slow { ms: u32 },
    /// `flaky=<percent>`: so many of a hundred runs fail, at random.
    Flaky { percent: u8 },
}

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fault: there are `wrong-result=<task type>`, `slow=<ms>`, `flaky=<percent>` and `stall`"
)]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        match text.split_once('=') {
            Some(("wrong-result", task_type)) => Ok(Self::WrongResult {
                task_type: task_type.to_owned(),
            }),
            Some(("slow", ms)) => match ms.parse() {
                Ok(ms) => Ok(Self::Slow { ms }),
                Err(_) => Err(UnknownFault(text.to_owned())),
            },
            Some(("flaky", percent)) => match percent.parse() {
                Ok(percent @ 0..=100) => Ok(Self::Flaky { percent }),
                Ok(_) | Err(_) => Err(UnknownFault(text.to_owned())),
            },
            None if text == "stall" => Ok(Self::Stall),
            Some(_) | None => Err(UnknownFault(text.to_owned())),
        }
    }
}

impl Fault {
    /// Whether results of this type of task are to be altered.
    pub(crate) fn spoils(&self, kind: &str) -> bool {
        match self {
            Self::WrongResult { task_type } => task_type == kind,
            Self::Stall | Self::Slow { .. } | Self::Flaky { .. } => false,
        }
    }

    /// How much longer a run takes.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::Slow { ms } => Duration::from_millis((*ms).into()),
            Self::WrongResult { .. } | Self::Stall | Self::Flaky { .. } => Duration::ZERO,
        }
    }

    /// Whether this run is to fail.
    pub(crate) fn breaks(&self) -> bool {
        match self {
            Self::Flaky { percent } => rand::random_range(0..100) < *percent,
            Self::WrongResult { .. } | Self::Stall | Self::Slow { .. } => false,
        }
    }
}

/// A result that differs from the given one and still looks like one: the first number is off by one, or, without
/// any, the whole is wrapped.
pub(crate) fn spoil(result: Value) -> Value {
    let mut spoiled = result.clone();
    if !spoil_first_number(&mut spoiled) {
        return serde_json::json!({ "spoiled": result });
    }
    spoiled
}

fn spoil_first_number(value: &mut Value) -> bool {
    match value {
        Value::Number(number) => {
            let wrong = number.as_f64().unwrap_or_default() + 1.0;
            *value = serde_json::json!(wrong);
            true
        }
        Value::Array(items) => items.iter_mut().any(spoil_first_number),
        Value::Object(fields) => fields.values_mut().any(spoil_first_number),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_read() {
        let wrong = Fault::from_str("wrong-result=evaluation").unwrap();
        assert!(wrong.spoils("evaluation") && !wrong.spoils("training"));
        assert_eq!(Fault::from_str("stall"), Ok(Fault::Stall));
        let slow = Fault::from_str("slow=1500").unwrap();
        assert_eq!(slow.delay(), Duration::from_millis(1_500));
        assert!(!slow.breaks());
        assert!(Fault::from_str("flaky=100").unwrap().breaks());
        assert!(!Fault::from_str("flaky=0").unwrap().breaks());
        for bad in [
            "",
            "wrong-result",
            "stall=1",
            "other=training",
            "slow",
            "slow=x",
            "flaky=101",
        ] {
            assert!(Fault::from_str(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_spoilt_result_is_another_one() {
        for (right, wrong) in [
            (
                json!({"accuracy": 0.5, "n": 3}),
                json!({"accuracy": 1.5, "n": 3}),
            ),
            (json!(["a", [2]]), json!(["a", [3.0]])),
            (json!("text"), json!({"spoiled": "text"})),
        ] {
            assert_eq!(spoil(right), wrong);
        }
    }
}
