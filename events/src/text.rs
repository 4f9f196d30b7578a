//! Values that stand in JSON as strings: ids, digests, times, 64-bit numbers.
//!
//! Most of a log's bytes are such strings, so a replay must not copy each of them before it reads it. Knows
//! nothing of what the values mean.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserializer, de};

/// Reads a value from a JSON string in place; for implementations of `Deserialize`, and for
/// `#[serde(deserialize_with = ..)]`.
///
/// # Errors
/// When there is no string, or `T` can't be read from it.
pub fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    deserializer.deserialize_str(Text(PhantomData))
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr> de::Visitor<'_> for Text<T>
where
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Whether `text` is how a decimal number is written here: no sign but a minus, no leading zeros, no `-0`.
pub fn is_plain_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for good in ["0", "7", "10", "-1", "18446744073709551615"] {
            assert!(is_plain_decimal(good), "{good}");
        }
        for bad in ["", "-", "+1", "01", "-0", "-01", "1.0", " 1", "1 ", "٣"] {
            assert!(!is_plain_decimal(bad), "{bad}");
        }
    }
}
