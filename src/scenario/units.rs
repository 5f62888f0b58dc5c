//! Quantities as they are written: the unit is always there (`250ms`, `5k`, `64KiB`, `30%`, `2000/s`, `10x`).
//!
//! Each type parses from text, prints back in the same form and describes itself in the JSON Schema
//! by a `format` that the checker uses to find bad units with their place.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A span of time, such as `250ms`, `1.5s`, `2m` or `1m30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Duration(pub std::time::Duration);

/// Events per second, such as `2000/s`, `2k/s` or `30/m`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Rate(pub f64);

/// A part of a whole, such as `30%`; kept as 0.3.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Share(pub f64);

/// Bytes, such as `256B`, `64KiB` or `1MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

/// Bytes per second, such as `64KiB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteRate(pub u64);

/// How fast something is read: a byte rate, or `none` for not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadRate(pub Option<ByteRate>);

/// A number of things: `2000` or `20k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Count(pub u64);

/// How much more of something: a multiple such as `10x`, or so many a second on top, such as `+500/s`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Boost {
    /// The rate, so many times.
    Times(f64),
    /// The rate, and so many a second.
    Plus(Rate),
}

/// Why a quantity could not be read: what was expected, with examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    /// The text as written.
    pub found: String,
    /// What would have been right.
    pub expected: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.found, self.expected)
    }
}

impl std::error::Error for UnitError {}

/// Splits `12.5ms` into 12.5 and `ms`; only plain decimals, so never NaN or infinite.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim()))
}

fn thousands(unit: &str) -> Option<f64> {
    Some(match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        _ => return None,
    })
}

impl FromStr for Duration {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a duration such as 250ms, 5s, 2m or 1m30s",
        };
        let mut rest = text.trim();
        let mut seconds = 0.0;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let (number, after) = split(rest).ok_or_else(error)?;
            let end = after
                .find(|c: char| !c.is_alphabetic())
                .unwrap_or(after.len());
            let scale = match &after[..end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                _ => return Err(error()),
            };
            seconds += number * scale;
            rest = after[end..].trim_start();
        }
        // A year is longer than any run and far below where nanoseconds overflow.
        if seconds > 366.0 * 86_400.0 {
            return Err(error());
        }
        Ok(Duration(std::time::Duration::from_nanos(
            (seconds * 1e9).round() as u64,
        )))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest unit that divides it, so that it reads back as the same time.
        const UNITS: [(u128, &str); 6] = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        let ns = self.0.as_nanos();
        match UNITS
            .iter()
            .find(|(unit, _)| ns > 0 && ns.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{}{name}", ns / unit),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a rate such as 2000/s, 2k/s or 30/m",
        };
        let (amount, per) = text.trim().rsplit_once('/').ok_or_else(error)?;
        let (number, unit) = split(amount.trim()).ok_or_else(error)?;
        let seconds = match per.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(error()),
        };
        let rate = number * thousands(unit).ok_or_else(error)? / seconds;
        // Beyond any machine, and far from infinity.
        (rate <= 1e12).then_some(Rate(rate)).ok_or_else(error)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl FromStr for Share {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a share such as 30% (0% to 100%)",
        };
        let (number, unit) = split(text.trim()).ok_or_else(error)?;
        (unit == "%" && number <= 100.0)
            .then_some(Share(number / 100.0))
            .ok_or_else(error)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 0.07 * 100 is 7.000000000000001; nobody writes that many digits.
        write!(f, "{}%", (self.0 * 1e11).round() / 1e9)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a size such as 256B, 64KiB or 1MB",
        };
        let (number, unit) = split(text.trim()).ok_or_else(error)?;
        let scale = match unit {
            "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1048576.0,
            "GiB" => 1073741824.0,
            _ => return Err(error()),
        };
        let bytes = number * scale;
        (bytes <= 1e15)
            .then_some(ByteSize(bytes.round() as u64))
            .ok_or_else(error)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b > 0 && b % 1073741824 == 0 => write!(f, "{}GiB", b / 1073741824),
            b if b > 0 && b % 1048576 == 0 => write!(f, "{}MiB", b / 1048576),
            b if b > 0 && b % 1024 == 0 => write!(f, "{}KiB", b / 1024),
            b => write!(f, "{b}B"),
        }
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a byte rate such as 1KiB/s",
        };
        let (amount, per) = text.trim().rsplit_once('/').ok_or_else(error)?;
        if per.trim() != "s" {
            return Err(error());
        }
        let size: ByteSize = amount.trim().parse().map_err(|_| error())?;
        Ok(ByteRate(size.0))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0))
    }
}

impl FromStr for ReadRate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim() == "none" {
            return Ok(ReadRate(None));
        }
        let rate = text.parse().map(|rate| ReadRate(Some(rate)));
        rate.map_err(|error: UnitError| UnitError {
            expected: "a byte rate such as 1KiB/s, or none",
            ..error
        })
    }
}

impl fmt::Display for ReadRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl FromStr for Count {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a whole number such as 2000, 20k or 1M",
        };
        let (number, unit) = split(text.trim()).ok_or_else(error)?;
        let value = number * thousands(unit).ok_or_else(error)?;
        // Where a whole number carries a fraction the user meant something else.
        ((value - value.round()).abs() < 1e-6 && value <= 1e12)
            .then_some(Count(value.round() as u64))
            .ok_or_else(error)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Boost {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a multiple such as 10x or 0.5x, or so many more such as +500/s",
        };
        if let Some(more) = text.trim().strip_prefix('+') {
            return more.parse().map(Boost::Plus).map_err(|_| error());
        }
        let (number, unit) = split(text.trim()).ok_or_else(error)?;
        (unit == "x" && number <= 1e6)
            .then_some(Boost::Times(number))
            .ok_or_else(error)
    }
}

impl fmt::Display for Boost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Boost::Times(factor) => write!(f, "{factor}x"),
            Boost::Plus(rate) => write!(f, "+{rate}"),
        }
    }
}

macro_rules! written {
    ($type:ident, $format:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = Text::deserialize(d)?.0;
                text.parse().map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $format.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern })
            }
        }
    };
}

written!(
    Duration,
    "duration",
    r"^\s*([0-9.]+\s*(ns|us|µs|ms|s|m|min|h)\s*)+$"
);
written!(Rate, "rate", r"^\s*[0-9.]+\s*[kM]?\s*/\s*(s|m|min|h)$");
written!(Share, "share", r"^\s*[0-9.]+\s*%$");
written!(
    ByteSize,
    "size",
    r"^\s*[0-9.]+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)$"
);
written!(
    ByteRate,
    "byte_rate",
    r"^\s*[0-9.]+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*/\s*s$"
);
written!(
    ReadRate,
    "read_rate",
    r"^\s*(none|[0-9.]+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*/\s*s)$"
);
written!(
    Boost,
    "boost",
    r"^\s*([0-9.]+\s*x|\+\s*[0-9.]+\s*[kM]?\s*/\s*(s|m|min|h))$"
);

/// A scalar taken as text, whether it was written as text or as a number.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a quantity with its unit")
            }
            fn visit_str<E>(self, v: &str) -> Result<Text, E> {
                Ok(Text(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Text::deserialize(d)?.0.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Count {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "count".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "format": "count", "minimum": 0, "pattern": r"^\s*[0-9.]+\s*[kM]?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration as Time;

    fn table<T: FromStr<Err = UnitError> + PartialEq + fmt::Debug>(rows: &[(&str, Option<T>)]) {
        for (text, expected) in rows {
            assert_eq!(
                text.parse::<T>().ok().as_ref(),
                expected.as_ref(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn durations() {
        let ms = |n| Some(Duration(Time::from_millis(n)));
        table(&[
            ("250ms", ms(250)),
            ("1.5s", ms(1500)),
            (" 2 m ", ms(120_000)),
            ("1m30s", ms(90_000)),
            ("1h 1min", ms(3_660_000)),
            ("0s", ms(0)),
            ("5us", Some(Duration(Time::from_micros(5)))),
            ("5µs", Some(Duration(Time::from_micros(5)))),
            ("5ns", Some(Duration(Time::from_nanos(5)))),
            ("5", None),
            ("", None),
            ("s", None),
            ("-5s", None),
            ("5S", None),
            ("5 seconds", None),
            ("1e3s", None),
            ("1.2.3s", None),
            ("400000h", None),
            ("5s,", None),
        ]);
    }

    #[test]
    fn rates() {
        table(&[
            ("2000/s", Some(Rate(2000.0))),
            ("2k/s", Some(Rate(2000.0))),
            ("2 M / s", Some(Rate(2e6))),
            ("30/m", Some(Rate(0.5))),
            ("30/min", Some(Rate(0.5))),
            ("3600/h", Some(Rate(1.0))),
            ("2000", None),
            ("2000/ms", None),
            ("/s", None),
            ("-1/s", None),
            ("2K/s", None),
            ("1/2/s", None),
            ("9999999M/s", None),
        ]);
    }

    #[test]
    fn shares() {
        table(&[
            ("30%", Some(Share(0.3))),
            ("0 %", Some(Share(0.0))),
            ("100%", Some(Share(1.0))),
            ("100.1%", None),
            ("0.3", None),
            ("-1%", None),
            ("%", None),
        ]);
    }

    #[test]
    fn sizes() {
        table(&[
            ("256B", Some(ByteSize(256))),
            ("64KiB", Some(ByteSize(65_536))),
            ("1MB", Some(ByteSize(1_000_000))),
            ("1.5 kB", Some(ByteSize(1500))),
            ("1GiB", Some(ByteSize(1 << 30))),
            ("256", None),
            ("256b", None),
            ("1Kib", None),
            ("9999999GB", None),
        ]);
    }

    #[test]
    fn byte_rates() {
        table(&[
            ("1KiB/s", Some(ByteRate(1024))),
            ("1.5 kB / s", Some(ByteRate(1500))),
            ("1B/s", Some(ByteRate(1))),
            ("1KiB", None),
            ("1KiB/m", None),
            ("5/s", None),
            ("none", None),
        ]);
        table(&[
            ("64KiB/s", Some(ReadRate(Some(ByteRate(65_536))))),
            (" none ", Some(ReadRate(None))),
            ("None", None),
            ("64KiB", None),
        ]);
    }

    #[test]
    fn counts() {
        table(&[
            ("2000", Some(Count(2000))),
            ("20k", Some(Count(20_000))),
            ("1.5k", Some(Count(1500))),
            ("1M", Some(Count(1_000_000))),
            ("1.5", None),
            ("-1", None),
            ("20K", None),
            ("", None),
            ("99999999M", None),
        ]);
    }

    #[test]
    fn boosts() {
        table(&[
            ("10x", Some(Boost::Times(10.0))),
            ("0.5 x", Some(Boost::Times(0.5))),
            ("+500/s", Some(Boost::Plus(Rate(500.0)))),
            ("+ 3k/m", Some(Boost::Plus(Rate(50.0)))),
            ("10", None),
            ("x10", None),
            ("+10x", None),
            ("500/s", None),
            ("9999999x", None),
        ]);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = "5".parse::<Duration>().map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("`5` is not a duration such as 250ms, 5s, 2m or 1m30s".into())
        );
    }

    /// Through text and through JSON.
    fn round_trip<T>(value: T) -> Result<(), TestCaseError>
    where
        T: FromStr<Err = UnitError>
            + fmt::Display
            + fmt::Debug
            + PartialEq
            + Serialize
            + serde::de::DeserializeOwned,
    {
        prop_assert_eq!(
            &value
                .to_string()
                .parse::<T>()
                .map_err(|e| TestCaseError::fail(e.to_string()))?,
            &value
        );
        let json = serde_json::to_string(&value).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let back: T =
            serde_json::from_str(&json).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(back, value);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(n in 0u64..1 << 49, unit in prop::sample::select(vec![1u64, 1000, 1_000_000])) {
            let ns = (n / unit) * unit;
            round_trip(Duration(Time::from_nanos(ns)))?;
            round_trip(ByteSize(n))?;
            round_trip(ByteRate(n))?;
            round_trip(ReadRate((n % 2 == 0).then_some(ByteRate(n))))?;
            round_trip(Count(n % 1_000_000_000_000))?;
            round_trip(Rate((n % 1_000_000_000) as f64 / 64.0))?;
            round_trip(Boost::Times((n % 1_000_000) as f64 / 8.0))?;
            round_trip(Boost::Plus(Rate((n % 1_000_000_000) as f64 / 64.0)))?;
            // As parsed from text with up to six decimals.
            let share: Share = format!("{}.{:06}%", n % 100, n / 100 % 1_000_000).parse().map_err(|e: UnitError| TestCaseError::fail(e.to_string()))?;
            round_trip(share)?;
        }

        #[test]
        fn any_text_is_judged_without_panic(text in ".*") {
            let _ = text.parse::<Duration>();
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Share>();
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<ByteRate>();
            let _ = text.parse::<ReadRate>();
            let _ = text.parse::<Count>();
            let _ = text.parse::<Boost>();
        }
    }
}
