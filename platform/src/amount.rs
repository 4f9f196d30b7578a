//! Money and other exact numbers. 64-bit integers are decimal strings in JSON, whose numbers are doubles.

use std::{fmt, str::FromStr};

use aevir_events::{from_text, is_plain_decimal};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Parts per million: shares, rates and probabilities.
pub type Ppm = u32;

/// One million, the whole of a [`Ppm`].
pub const PPM: i64 = 1_000_000;

macro_rules! decimal_string {
    ($(#[$doc:meta])* $name:ident($inner:ty), $pattern:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotANumber;
            fn from_str(text: &str) -> Result<Self, NotANumber> {
                // One spelling for each number: no plus sign, no leading zeros, no "-0".
                match text.parse::<$inner>() {
                    Ok(n) if is_plain_decimal(text) => Ok(Self(n)),
                    Ok(_) | Err(_) => Err(NotANumber($what)),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
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
                schemars::json_schema!({"type": "string", "pattern": $pattern})
            }
        }
    };
}

/// A text that is no number of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}, as a decimal string without sign padding")]
pub struct NotANumber(&'static str);

decimal_string! {
    /// Money in micro-AEV (1 AEV = 1,000,000 micro-AEV), signed: a posting may take away.
    Amount(i64), "^(0|-?[1-9][0-9]{0,18})$", "an integer of micro-AEV"
}
decimal_string! {
    /// IntelliPoints: whole points, signed where it is a change.
    Points(i64), "^(0|-?[1-9][0-9]{0,18})$", "a whole number of points"
}
decimal_string! {
    /// A count or size of up to 64 bits: fuel, bytes, nanoseconds, seeds.
    Count(u64), "^(0|[1-9][0-9]{0,19})$", "a count"
}
decimal_string! {
    /// A metric's value in millionths of its unit.
    MicroUnits(i64), "^(0|-?[1-9][0-9]{0,18})$", "an integer of micro-units"
}

impl Count {
    /// Whether it is nothing at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl Amount {
    pub const ZERO: Self = Self(0);

    /// Whether it is nothing at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The sum, or `None` past 64 bits.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` past 64 bits.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `n` times this amount, or `None` past 64 bits.
    pub fn times(self, n: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(n)).map(Self)
    }

    /// `share` millionths of this amount, rounded down. Can't overflow for a share of at most one million.
    pub fn share(self, share: Ppm) -> Self {
        let product = i128::from(self.0) * i128::from(share);
        Self(i64::try_from(product.div_euclid(i128::from(PPM))).unwrap_or(i64::MAX))
    }

    /// The least amount of which this much is left without so many millionths; all there is where nothing ever would.
    pub fn grossed_up(self, share: Ppm) -> Self {
        if self.0 <= 0 {
            return Self::ZERO;
        }
        let left = i128::from(PPM) - i128::from(share);
        let below = (i128::from(self.0) - 1) * i128::from(PPM);
        let least = below.checked_div(left).map(|n| n + 1);
        Self(
            least
                .and_then(|n| i64::try_from(n).ok())
                .unwrap_or(i64::MAX),
        )
    }

    /// What is left of it without so many millionths.
    pub fn less(self, share: Ppm) -> Self {
        Self(self.0 - self.share(share).0)
    }
}

impl std::ops::Neg for Amount {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

/// Splits `total` (not negative) by `weights` so that the parts sum to it exactly: each gets the floor of its
/// due, and the units left over go to the largest remainders, the earlier one first among equals
/// (largest-remainder method). Without any positive weight the parts are all zero.
pub fn split(total: Amount, weights: &[u64]) -> Vec<Amount> {
    let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if sum == 0 {
        return vec![Amount::ZERO; weights.len()];
    }
    let due = |weight: u64| i128::from(total.0) * i128::from(weight);
    let mut parts: Vec<i64> = weights.iter().map(|w| (due(*w) / sum) as i64).collect();
    let left = total.0 - parts.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| (-(due(weights[i]) % sum), i));
    for &i in order.iter().take(left.max(0) as usize) {
        parts[i] += 1;
    }
    parts.into_iter().map(Amount).collect()
}

/// Reads a decimal such as `0.95` or `-12` into micro-units; at most six decimals.
///
/// # Errors
/// When the text is no plain decimal (`-?digits[.1-6 digits]`) or does not fit 64 bits.
pub fn parse_micro(text: &str) -> Result<MicroUnits, NotANumber> {
    const WHAT: NotANumber =
        NotANumber("a decimal with at most six decimals and below 9,223,372,036,855, such as 0.95");
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 6 {
        return Err(WHAT);
    }
    let whole: i64 = whole.parse().map_err(|_| WHAT)?;
    let padded: i64 = format!("{fraction:0<6}").parse().map_err(|_| WHAT)?;
    let micro = whole
        .checked_mul(PPM)
        .and_then(|w| w.checked_add(padded))
        .ok_or(WHAT)?;
    Ok(MicroUnits(if negative { -micro } else { micro }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_become_micro_units() {
        for (text, micro) in [
            ("0.95", 950_000),
            ("1", 1_000_000),
            ("-0.000001", -1),
            ("12.5", 12_500_000),
        ] {
            assert_eq!(parse_micro(text), Ok(MicroUnits(micro)), "{text}");
        }
        for bad in [
            "",
            ".5",
            "1.",
            "1e3",
            "0.1234567",
            "+1",
            "99999999999999",
            "NaN",
            "1.-5",
        ] {
            assert!(parse_micro(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_has_one_spelling() {
        for bad in ["+1", "01", "-0", "1.0", " 1", ""] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
        assert_eq!("-17".parse::<Amount>().unwrap(), Amount(-17));
    }

    proptest! {
        #[test]
        fn a_split_loses_nothing_and_is_fair(total in 0i64..i64::MAX / 2, weights in prop::collection::vec(0u64..1 << 62, 1..20)) {
            let parts = split(Amount(total), &weights);
            let sum: i64 = parts.iter().map(|p| p.0).sum();
            let weight_sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
            if weight_sum == 0 {
                prop_assert_eq!(sum, 0);
            } else {
                prop_assert_eq!(sum, total);
                for (part, weight) in parts.iter().zip(&weights) {
                    let floor = (i128::from(total) * i128::from(*weight) / weight_sum) as i64;
                    prop_assert!(part.0 == floor || part.0 == floor + 1);
                }
            }
        }
    }
}
