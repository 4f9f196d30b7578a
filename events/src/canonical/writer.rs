//! Canonical JSON (RFC 8785, JCS) written straight from anything serialisable, in one pass and one buffer.
//!
//! serde_json decides how values become JSON; this formatter sorts each object's properties in place when it ends,
//! writes numbers as JCS does, and catches integers that a double can't hold. Knows nothing of entries.
//! `serde_json_canonicalizer` is what the tests compare with: it allocates for every fragment that it writes, which
//! was most of the cost of an append.

use std::{
    cmp::Ordering,
    io::{self, Write as _},
};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

use super::{MAX_SAFE_INTEGER, is_unsafe_double};

/// Room for a common entry, so that most are written without growing the buffer.
const BUFFER_BYTES: usize = 512;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JcsError {
    /// An integer beyond ±(2^53 - 1), which JCS would round.
    #[error("the integer {0} is beyond the range that canonical JSON holds exactly")]
    UnsafeInteger(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What becomes of integers that canonical JSON would round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnsafeIntegers {
    /// [`JcsError::UnsafeInteger`].
    Refuse,
    /// Written as decimal strings.
    Quote,
}

/// The canonical bytes of `value`.
pub(crate) fn to_vec<T: Serialize + ?Sized>(
    value: &T,
    integers: UnsafeIntegers,
) -> Result<Vec<u8>, JcsError> {
    let mut document = Document {
        bytes: Vec::with_capacity(BUFFER_BYTES),
        objects: Vec::new(),
        properties: Vec::new(),
        sorted: Vec::new(),
        in_key: false,
        integers,
        refused: None,
    };
    let mut serializer = Serializer::with_formatter(io::sink(), Jcs(&mut document));
    let written = value.serialize(&mut serializer);
    match (written, document.refused) {
        (_, Some(integer)) => Err(JcsError::UnsafeInteger(integer)),
        (Err(error), None) => Err(error.into()),
        (Ok(()), None) => Ok(document.bytes),
    }
}

/// A property within the document's bytes: the key with its quotes, a colon, the value.
#[derive(Debug, Clone, Copy)]
struct Property {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Property {
    /// What stands between the key's quotes, still escaped.
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start + 1..self.key_end - 1]
    }
}

/// What has been written so far.
struct Document {
    bytes: Vec<u8>,
    /// Of each object that is open, the index of its first property.
    objects: Vec<usize>,
    /// Of all objects that are open.
    properties: Vec<Property>,
    /// Only lent to `end_object`; kept for its capacity.
    sorted: Vec<u8>,
    in_key: bool,
    integers: UnsafeIntegers,
    refused: Option<String>,
}

impl Document {
    /// Puts the properties from index `first` on, which are the last bytes, into the order of their keys.
    fn sort(&mut self, first: usize) -> io::Result<()> {
        let (bytes, properties) = (&mut self.bytes, &mut self.properties[first..]);
        let ascending =
            |a: &Property, b: &Property| key_order(a.key(bytes), b.key(bytes)) == Ordering::Less;
        if properties.is_sorted_by(ascending) {
            return Ok(());
        }
        let Some(start) = properties.first().map(|property| property.start) else {
            return Ok(());
        };
        properties.sort_by(|a, b| key_order(a.key(bytes), b.key(bytes)));
        if !properties.is_sorted_by(ascending) {
            return Err(invalid("an object has the same key twice"));
        }
        self.sorted.clear();
        for property in properties.iter() {
            if !self.sorted.is_empty() {
                self.sorted.push(b',');
            }
            self.sorted
                .extend_from_slice(&bytes[property.start..property.end]);
        }
        bytes.truncate(start);
        bytes.extend_from_slice(&self.sorted);
        Ok(())
    }

    /// An integer's decimal digits; `safe` where a double holds it and its neighbours.
    fn integer(&mut self, integer: impl std::fmt::Display, safe: bool) -> io::Result<()> {
        if safe || self.in_key {
            write!(self.bytes, "{integer}")
        } else {
            self.unsafe_integer(integer.to_string())
        }
    }

    fn unsafe_integer(&mut self, text: String) -> io::Result<()> {
        match self.integers {
            UnsafeIntegers::Quote => write!(self.bytes, "\"{text}\""),
            UnsafeIntegers::Refuse => {
                self.refused = Some(text);
                Err(invalid("an integer that canonical JSON would round"))
            }
        }
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// RFC 8785 section 3.2.3: by the UTF-16 code units of the unescaped keys.
fn key_order(a: &[u8], b: &[u8]) -> Ordering {
    let plain = |key: &[u8]| key.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    if plain(a) && plain(b) {
        return a.cmp(b);
    }
    utf16(a).cmp(&utf16(b))
}

fn utf16(escaped: &[u8]) -> Vec<u16> {
    let quoted = [b"\"", escaped, b"\""].concat();
    // What serde_json wrote it reads; an empty key would only sort first.
    let key: String = serde_json::from_slice(&quoted).unwrap_or_default();
    key.encode_utf16().collect()
}

/// The formatter. Writes into the document and not into the serialiser's writer, which is a sink.
struct Jcs<'a>(&'a mut Document);

macro_rules! integers {
    ($($name:ident: $type:ty),+) => {$(
        fn $name<W: ?Sized + io::Write>(&mut self, _: &mut W, value: $type) -> io::Result<()> {
            let safe = i128::try_from(value).is_ok_and(|value| value.unsigned_abs() <= u128::from(MAX_SAFE_INTEGER));
            self.0.integer(value, safe)
        }
    )+};
}

macro_rules! literals {
    ($($name:ident => $text:literal),+) => {$(
        fn $name<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
            self.0.bytes.extend_from_slice($text);
            Ok(())
        }
    )+};
}

macro_rules! separators {
    ($($name:ident),+) => {$(
        fn $name<W: ?Sized + io::Write>(&mut self, _: &mut W, first: bool) -> io::Result<()> {
            if !first {
                self.0.bytes.push(b',');
            }
            Ok(())
        }
    )+};
}

impl Formatter for Jcs<'_> {
    integers!(
        write_i8: i8, write_i16: i16, write_i32: i32, write_i64: i64, write_i128: i128,
        write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64, write_u128: u128
    );
    literals!(
        write_null => b"null", begin_string => b"\"", end_string => b"\"", begin_array => b"[", end_array => b"]"
    );
    separators!(begin_array_value);

    fn write_bool<W: ?Sized + io::Write>(&mut self, _: &mut W, value: bool) -> io::Result<()> {
        write!(self.0.bytes, "{value}")
    }

    fn write_f32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        self.write_f64(writer, f64::from(value))
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, _: &mut W, value: f64) -> io::Result<()> {
        if self.0.in_key || !value.is_finite() {
            return Err(invalid(
                "a key that is a fraction, or a number that is not finite",
            ));
        }
        if is_unsafe_double(value) {
            // As serde_json spells it, so that it reads the same as in other messages.
            return self
                .0
                .unsafe_integer(serde_json::Value::from(value).to_string());
        }
        let mut buffer = ryu_js::Buffer::new();
        self.0
            .bytes
            .extend_from_slice(buffer.format_finite(value).as_bytes());
        Ok(())
    }

    fn write_number_str<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        value: &str,
    ) -> io::Result<()> {
        let number = value
            .parse()
            .map_err(|_| invalid("a number that is no double"))?;
        self.write_f64(writer, number)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        self.0.bytes.extend_from_slice(fragment.as_bytes());
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let bytes = &mut self.0.bytes;
        match escape {
            CharEscape::Quote => bytes.extend_from_slice(b"\\\""),
            CharEscape::ReverseSolidus => bytes.extend_from_slice(b"\\\\"),
            CharEscape::Solidus => bytes.push(b'/'),
            CharEscape::Backspace => bytes.extend_from_slice(b"\\b"),
            CharEscape::FormFeed => bytes.extend_from_slice(b"\\f"),
            CharEscape::LineFeed => bytes.extend_from_slice(b"\\n"),
            CharEscape::CarriageReturn => bytes.extend_from_slice(b"\\r"),
            CharEscape::Tab => bytes.extend_from_slice(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(bytes, "\\u{byte:04x}")?,
        }
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.bytes.push(b'{');
        self.0.objects.push(self.0.properties.len());
        Ok(())
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        let first = self.0.objects.pop().unwrap_or_default();
        self.0.sort(first)?;
        self.0.properties.truncate(first);
        self.0.bytes.push(b'}');
        Ok(())
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            self.0.bytes.push(b',');
        }
        let start = self.0.bytes.len();
        self.0.properties.push(Property {
            start,
            key_end: start,
            end: start,
        });
        self.0.in_key = true;
        Ok(())
    }

    fn end_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.0.in_key = false;
        let key_end = self.0.bytes.len();
        if let Some(property) = self.0.properties.last_mut() {
            property.key_end = key_end;
        }
        Ok(())
    }

    literals!(begin_object_value => b":");

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        let end = self.0.bytes.len();
        // The value's own properties are gone again, so the last one is this object's.
        if let Some(property) = self.0.properties.last_mut() {
            property.end = end;
        }
        Ok(())
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(invalid("raw JSON, whose form nobody has checked"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::unsafe_integer;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(to_vec(value, UnsafeIntegers::Refuse).unwrap()).unwrap()
    }

    #[test]
    fn the_example_of_the_standard() {
        // RFC 8785, sections 3.2.2 and 3.2.3.
        let value: Value = serde_json::from_str(concat!(
            r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],"#,
            r#""string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals": [null, true, false]}"#
        ))
        .unwrap();
        assert_eq!(
            text(&value),
            concat!(
                r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
                r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
            )
        );
        let keys: Value = serde_json::from_str(
            r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#,
        )
        .unwrap();
        assert_eq!(
            text(&keys),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn keys_that_are_integers_keep_their_digits() {
        let keys = BTreeMap::from([(u64::MAX, 1), (5, 2)]);
        assert_eq!(text(&keys), r#"{"18446744073709551615":1,"5":2}"#);
    }

    #[test]
    fn the_same_key_twice_is_refused() {
        #[derive(Serialize)]
        struct Twice {
            a: u8,
            #[serde(flatten)]
            more: BTreeMap<String, u8>,
        }
        let twice = Twice {
            a: 1,
            more: BTreeMap::from([("a".to_owned(), 2)]),
        };
        assert!(matches!(
            to_vec(&twice, UnsafeIntegers::Refuse),
            Err(JcsError::Json(_))
        ));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1_000_000i64..1_000_000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x7f]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[a-c\u{20}\"\\\\\u{1f600}\u{fb33}é]{0,3}", inner, 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_another_implementation(value in any_json()) {
            let ours = to_vec(&value, UnsafeIntegers::Refuse);
            match unsafe_integer(&value) {
                None => prop_assert_eq!(ours.unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap()),
                Some(_) => prop_assert!(matches!(ours, Err(JcsError::UnsafeInteger(_)))),
            }
        }

        #[test]
        fn typed_data_and_its_value_are_written_alike(
            map in prop::collection::hash_map(any::<String>(), prop::option::of(any::<i32>()), 0..6), x: f32, c: char,
            pair: (u8, String), sum in prop::option::of(any::<u16>()),
        ) {
            #[derive(Serialize)]
            enum Sum { Unit, Tuple(u16), Struct { z: u8, a: char } }
            #[derive(Serialize)]
            struct Typed { zz: std::collections::HashMap<String, Option<i32>>, x: f32, pair: (u8, String), sums: [Sum; 3] }
            let sums = [Sum::Unit, Sum::Tuple(sum.unwrap_or(1)), Sum::Struct { z: 1, a: c }];
            let typed = Typed { zz: map, x, pair, sums };
            let value = serde_json::to_value(&typed).unwrap();
            prop_assert_eq!(
                to_vec(&typed, UnsafeIntegers::Quote).unwrap(), to_vec(&value, UnsafeIntegers::Quote).unwrap()
            );
        }
    }

    #[test]
    fn integers_that_would_be_rounded_are_quoted_or_refused() {
        for (value, digits) in [
            (json!([u64::MAX]), "18446744073709551615"),
            (json!([i64::MIN]), "-9223372036854775808"),
        ] {
            assert_eq!(
                to_vec(&value, UnsafeIntegers::Quote).unwrap(),
                format!("[\"{digits}\"]").into_bytes()
            );
            let refused = to_vec(&value, UnsafeIntegers::Refuse);
            assert!(matches!(refused, Err(JcsError::UnsafeInteger(found)) if found == digits));
        }
    }
}
