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

/// A number of things: `2000` or `20k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Count(pub u64);

/// A multiple, such as `10x`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Factor(pub f64);

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
        let ns = self.0.as_nanos();
        match ns {
            0 => f.write_str("0s"),
            _ if ns % 3_600_000_000_000 == 0 => write!(f, "{}h", ns / 3_600_000_000_000),
            _ if ns % 60_000_000_000 == 0 => write!(f, "{}m", ns / 60_000_000_000),
            _ if ns % 1_000_000_000 == 0 => write!(f, "{}s", ns / 1_000_000_000),
            _ if ns % 1_000_000 == 0 => write!(f, "{}ms", ns / 1_000_000),
            _ if ns % 1_000 == 0 => write!(f, "{}us", ns / 1_000),
            _ => write!(f, "{ns}ns"),
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
        Ok(Rate(number * thousands(unit).ok_or_else(error)? / seconds))
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
        write!(f, "{}%", self.0 * 100.0)
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

impl FromStr for Factor {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            found: text.into(),
            expected: "a multiple such as 10x or 0.5x",
        };
        let (number, unit) = split(text.trim()).ok_or_else(error)?;
        (unit == "x" && number <= 1e6)
            .then_some(Factor(number))
            .ok_or_else(error)
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", self.0)
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
written!(Factor, "factor", r"^\s*[0-9.]+\s*x$");

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
