//! Whether bytes are RFC 8785 canonical JSON, found out in one pass over them.
//!
//! To parse, write again and compare says the same and takes several times as long; a replay asks it of every
//! entry. Knows nothing of envelopes or events.

use std::{borrow::Cow, cmp::Ordering};

use crate::{canonical::MAX_SAFE_INTEGER, entry::EntryError};

/// Levels of nesting that JSON readers here accept (serde_json's limit).
const DEPTH_MAX: usize = 127;

/// Checks that `text` is one value in canonical form, whose integers a double holds exactly.
pub(crate) fn check(text: &str) -> Result<(), EntryError> {
    let mut scan = Scan::new(text);
    scan.value(DEPTH_MAX)?;
    scan.end()
}

/// Checks the same of an object with exactly these members, and answers their values as they are written.
///
/// `names` must be in canonical order and free of what has to be escaped.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<[&'a str; N], EntryError> {
    let inside = DEPTH_MAX - 1;
    let mut scan = Scan::new(text);
    let mut values = [""; N];
    scan.expect(b'{')?;
    for (index, (name, value)) in names.iter().zip(&mut values).enumerate() {
        if index > 0 {
            scan.expect(b',')?;
        }
        scan.expect(b'"')?;
        scan.literal(name)?;
        scan.expect(b'"')?;
        scan.expect(b':')?;
        let start = scan.at;
        scan.value(inside)?;
        *value = &text[start..scan.at];
    }
    scan.expect(b'}')?;
    scan.end()?;
    Ok(values)
}

/// What a written string says; copied only where something in it is escaped. `None` for what is no string.
pub(crate) fn string(written: &str) -> Option<Cow<'_, str>> {
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(written).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    /// Nothing may follow.
    fn end(&self) -> Result<(), EntryError> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(EntryError::NotCanonical),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), EntryError> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(EntryError::NotCanonical),
        }
    }

    fn value(&mut self, levels_left: usize) -> Result<(), EntryError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(levels_left),
            Some(b'[') => self.array(levels_left),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) | None => Err(EntryError::NotCanonical),
        }
    }

    fn literal(&mut self, literal: &str) -> Result<(), EntryError> {
        if !self.bytes[self.at..].starts_with(literal.as_bytes()) {
            return Err(EntryError::NotCanonical);
        }
        self.at += literal.len();
        Ok(())
    }

    fn array(&mut self, levels_left: usize) -> Result<(), EntryError> {
        let inside = levels_left.checked_sub(1).ok_or(EntryError::NotCanonical)?;
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(inside)?;
            if !self.take(b',') {
                return self.expect(b']');
            }
        }
    }

    fn object(&mut self, levels_left: usize) -> Result<(), EntryError> {
        let inside = levels_left.checked_sub(1).ok_or(EntryError::NotCanonical)?;
        self.at += 1;
        if self.take(b'}') {
            return Ok(());
        }
        let mut previous: Option<&str> = None;
        loop {
            let name = self.string()?;
            if previous.is_some_and(|previous| !is_before(previous, name)) {
                return Err(EntryError::NotCanonical);
            }
            previous = Some(name);
            self.expect(b':')?;
            self.value(inside)?;
            if !self.take(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// What stands between the quotes, escapes and all.
    fn string(&mut self) -> Result<&'a str, EntryError> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let rest = &self.bytes[self.at..];
            let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            let plain = rest.iter().position(special);
            self.at += plain.ok_or(EntryError::NotCanonical)?;
            match self.peek() {
                Some(b'"') => {
                    let inner = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(inner);
                }
                Some(b'\\') => self.escape()?,
                Some(_) | None => return Err(EntryError::NotCanonical),
            }
        }
    }

    /// Only what must be escaped is, and in one way.
    fn escape(&mut self) -> Result<(), EntryError> {
        match &self.bytes[self.at..] {
            [_, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [
                _,
                b'u',
                b'0',
                b'0',
                b'0',
                b'0'..=b'7' | b'b' | b'e' | b'f',
                ..,
            ]
            | [_, b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => self.at += 6,
            _ => return Err(EntryError::NotCanonical),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), EntryError> {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        let number = &self.text[start..self.at];
        if crate::text::is_plain_decimal(number) {
            let magnitude = number.strip_prefix('-').unwrap_or(number).parse::<u64>();
            return match magnitude {
                Ok(0..=MAX_SAFE_INTEGER) => Ok(()),
                Ok(_) | Err(_) => Err(EntryError::UnsafeInteger(number.to_owned())),
            };
        }
        let double: f64 = number.parse().map_err(|_| EntryError::NotCanonical)?;
        // How a double is written is the canonicalizer's knowledge; doubles are rare in a log.
        match serde_json_canonicalizer::to_string(&double) {
            Ok(written) if written == number => Ok(()),
            Ok(_) | Err(_) => Err(EntryError::NotCanonical),
        }
    }
}

/// Whether one member's name, as written, comes before another's: by UTF-16 code units.
fn is_before(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii() && b != b'\\');
    if plain(one) && plain(other) {
        return one < other;
    }
    let read = |name: &str| serde_json::from_str::<String>(&format!("\"{name}\""));
    match (read(one), read(other)) {
        (Ok(one), Ok(other)) => one.encode_utf16().cmp(other.encode_utf16()) == Ordering::Less,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn canonical(value: &Value) -> String {
        serde_json_canonicalizer::to_string(value).unwrap()
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for good in [
            r#"{"a":[1,-2,0.5,true,false,null,"\u0001\n\"\\/é"],"b":{}}"#,
            "{\"\":[],\"\\r\":1,\"1\":2,\"€\":3,\"😀\":4,\"\u{fb33}\":5}",
            "1e+21",
            "1e-7",
            "9007199254740991",
            "-9007199254740991",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
            assert_eq!(canonical(&serde_json::from_str(good).unwrap()), good);
        }
        for bad in [
            "",
            " 1",
            "1 ",
            "{\"a\": 1}",
            "[1, 2]",
            "[1,]",
            "{,}",
            "{\"a\":1,}",
            "01",
            "-0",
            "1.0",
            "1e21",
            "1E+21",
            "+1",
            "0.50",
            "1e400",
            "nul",
            "\"\\u0008\"",
            "\"\\u001F\"",
            "\"\\/\"",
            "\"\\u00e9\"",
            "\"\u{1}\"",
            "\"a",
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            "{\"\u{fb33}\":1,\"😀\":2}",
            r#"{"a\n":1,"a\t":2}"#,
            "-",
            "[",
            "{",
            "\"\\",
            "1-1",
            "--1",
            "NaN",
        ] {
            assert_eq!(check(bad), Err(EntryError::NotCanonical), "{bad}");
        }
        for unsafe_integer in ["9007199254740992", "-100000000000000000000"] {
            assert_eq!(
                check(unsafe_integer),
                Err(EntryError::UnsafeInteger(unsafe_integer.to_owned()))
            );
        }
    }

    #[test]
    fn nesting_is_bounded_where_the_reader_bounds_it() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for levels in [1, 126, 127, 128, 100_000] {
            let text = nested(levels);
            let read = serde_json::from_str::<Value>(&text).is_ok();
            assert_eq!(check(&text).is_ok(), read, "{levels}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1i64 << 53) + 1..1i64 << 53).prop_map(Value::from),
            prop_oneof![any::<f64>(), -1e3..1e3].prop_map(|x| json!(x)),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x7f]{0,8}".prop_map(Value::from),
        ];
        let name = prop_oneof![
            any::<String>(),
            "[a-c\\x00-\\x1f\"]{0,3}",
            "[\u{e000}-\u{ffff}\u{10000}-\u{10010}]{0,2}"
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The canonicalizer's word is the measure: for what it writes, and for every small change to it.
        #[test]
        fn agrees_with_the_canonicalizer(value in value(), at: prop::sample::Index, byte in "[\\x20-\\x7e]", kind in 0..3) {
            prop_assume!(crate::unsafe_integer(&value).is_none());
            let text = canonical(&value);
            prop_assert_eq!(check(&text), Ok(()));
            let mut changed: Vec<char> = text.chars().collect();
            let (at, byte) = (at.index(changed.len()), byte.chars().next().unwrap());
            match kind {
                0 => changed[at] = byte,
                1 => changed.insert(at, byte),
                _ => drop(changed.remove(at)),
            }
            let changed: String = changed.into_iter().collect();
            let same = serde_json::from_str::<Value>(&changed)
                .is_ok_and(|value| crate::unsafe_integer(&value).is_none() && canonical(&value) == changed);
            prop_assert_eq!(check(&changed).is_ok(), same, "{}", changed);
        }
    }
}
