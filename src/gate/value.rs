//! Values with their units: read from a gate, and written for people.

use crate::metrics::Policy;

/// What a value is measured in. The base is what comparisons use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Milliseconds.
    Time,
    /// A plain number.
    Number,
    /// Bytes.
    Bytes,
    /// Per second.
    Rate,
    /// Bytes per second.
    ByteRate,
    /// Percent of what it is a part of.
    Share,
    /// Percent of something that it may be more than.
    Ratio,
    /// What a target does with slow consumers: by its place among [`Policy::ALL`].
    Policy,
}

impl Unit {
    /// How values of it are written, for messages.
    pub fn example(self) -> &'static str {
        match self {
            Unit::Time => "a time with its unit, such as 250ms or 1.5s",
            Unit::Number => "a number, such as 0, 500 or 5k",
            Unit::Bytes => "a number of bytes, such as 500k or 64MiB",
            Unit::Rate => "a rate, such as 900/s",
            Unit::ByteRate => "a rate of bytes, such as 900k/s or 10MiB/s",
            Unit::Share => "a share, such as 99.9%",
            Unit::Ratio => "a share, such as 80% or 150%",
            Unit::Policy => "buffer, drop, disconnect or block-the-publisher",
        }
    }

    /// The policies that can be asked for: nobody wants an unknown one.
    pub fn policies() -> impl Iterator<Item = Policy> {
        Policy::ALL.into_iter().filter(|p| *p != Policy::Unknown)
    }

    /// Reads a value into the base; `None` if it is not one of this unit, negative or not finite.
    pub fn read(self, text: &str) -> Option<f64> {
        let value = match self {
            Unit::Time => scaled(
                text,
                &[
                    ("ns", 1e-6),
                    ("us", 1e-3),
                    ("µs", 1e-3),
                    ("ms", 1.0),
                    ("s", 1e3),
                    ("min", 6e4),
                    ("m", 6e4),
                    ("h", 3.6e6),
                ],
            ),
            Unit::Number => scaled(text, NUMBERS),
            Unit::Bytes => scaled(text, BYTES).or_else(|| scaled(text, NUMBERS)),
            Unit::Rate => per(text, Unit::Number),
            Unit::ByteRate => per(text, Unit::Bytes),
            Unit::Share => Unit::Ratio.read(text).filter(|percent| *percent <= 100.0),
            Unit::Ratio => scaled(text, &[("%", 1.0)]),
            Unit::Policy => Unit::policies().find(|p| p.name() == text).map(place),
        }?;
        value.is_finite().then_some(value)
    }

    /// For people.
    pub fn write(self, value: f64) -> String {
        match self {
            Unit::Time if value < 1.0 => format!("{value:.3} ms"),
            Unit::Time if value < 1000.0 => format!("{value:.1} ms"),
            Unit::Time => format!("{:.3} s", value / 1e3),
            Unit::Number | Unit::Bytes => thousands(value),
            Unit::Rate | Unit::ByteRate => format!("{value:.1}/s"),
            Unit::Share | Unit::Ratio => format!("{value:.3} %"),
            Unit::Policy => (Policy::ALL.iter())
                .find(|policy| place(**policy) == value)
                .map_or(String::new(), |policy| policy.name().to_owned()),
        }
    }
}

/// A policy as a value of [`Unit::Policy`].
pub(super) fn place(policy: Policy) -> f64 {
    let place = Policy::ALL.iter().position(|known| *known == policy);
    place.unwrap_or(Policy::ALL.len()) as f64
}

const NUMBERS: &[(&str, f64)] = &[("", 1.0), ("k", 1e3), ("M", 1e6)];
const BYTES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

/// A plain decimal number (no sign, no exponent) and one of the units.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.ends_with('.') {
        return None;
    }
    Some(digits.parse::<f64>().ok()? * factor)
}

/// A number of something per time.
fn per(text: &str, of: Unit) -> Option<f64> {
    let (amount, time) = text.split_once('/')?;
    let seconds = match time {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(of.read(amount)? / seconds)
}

/// A whole number with separators: `1,204,332`.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_into_the_base() {
        let table: &[(Unit, &str, Option<f64>)] = &[
            (Unit::Time, "250ms", Some(250.0)),
            (Unit::Time, "1.5s", Some(1500.0)),
            (Unit::Time, "2m", Some(120_000.0)),
            (Unit::Time, "2min", Some(120_000.0)),
            (Unit::Time, "1h", Some(3_600_000.0)),
            (Unit::Time, "5us", Some(0.005)),
            (Unit::Time, "5", None),
            (Unit::Time, "ms", None),
            (Unit::Time, "", None),
            (Unit::Time, "5 ms", None),
            (Unit::Number, "5", Some(5.0)),
            (Unit::Number, "5k", Some(5000.0)),
            (Unit::Number, "0.5M", Some(500_000.0)),
            (Unit::Number, "5s", None),
            (Unit::Number, &"9".repeat(400), None),
            (Unit::Bytes, "1GiB", Some(1_073_741_824.0)),
            (Unit::Bytes, "1MB", Some(1e6)),
            (Unit::Bytes, "1kB", Some(1e3)),
            (Unit::Bytes, "12B", Some(12.0)),
            (Unit::Bytes, "12", Some(12.0)),
            (Unit::Rate, "60/min", Some(1.0)),
            (Unit::Rate, "7.2k/h", Some(2.0)),
            (Unit::Rate, "5MiB/s", None),
            (Unit::ByteRate, "1KiB/s", Some(1024.0)),
            (Unit::ByteRate, "1KiB", None),
            (Unit::Share, "0%", Some(0.0)),
            (Unit::Share, "100%", Some(100.0)),
            (Unit::Share, "100.01%", None),
            (Unit::Ratio, "150%", Some(150.0)),
            (Unit::Ratio, "150", None),
            (Unit::Share, "0.5", None),
        ];
        for (unit, text, expected) in table {
            assert_eq!(unit.read(text), *expected, "{unit:?} {text}");
        }
    }

    #[test]
    fn examples_are_readable_by_their_own_unit() {
        for (unit, example) in [
            (Unit::Time, "250ms"),
            (Unit::Number, "5k"),
            (Unit::Bytes, "64MiB"),
            (Unit::Rate, "900/s"),
            (Unit::ByteRate, "10MiB/s"),
            (Unit::Share, "99.9%"),
            (Unit::Ratio, "150%"),
        ] {
            assert!(
                unit.example().contains(example) && unit.read(example).is_some(),
                "{unit:?}"
            );
        }
    }

    #[test]
    fn values_are_written_for_people() {
        let table = [
            (Unit::Time, 0.25, "0.250 ms"),
            (Unit::Time, 1.0, "1.0 ms"),
            (Unit::Time, 999.94, "999.9 ms"),
            (Unit::Time, 1000.0, "1.000 s"),
            (Unit::Number, 0.0, "0"),
            (Unit::Number, 999.0, "999"),
            (Unit::Number, 1000.0, "1,000"),
            (Unit::Bytes, 1_204_332.0, "1,204,332"),
            (Unit::Rate, 900.0, "900.0/s"),
            (Unit::ByteRate, 1.5, "1.5/s"),
            (Unit::Share, 99.9, "99.900 %"),
        ];
        for (unit, value, expected) in table {
            assert_eq!(unit.write(value), expected);
        }
    }
}
