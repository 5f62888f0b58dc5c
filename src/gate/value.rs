//! Values with their units: read from a gate, and written for people.

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
    /// Percent.
    Share,
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
        }
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
            Unit::Share => scaled(text, &[("%", 1.0)]).filter(|percent| *percent <= 100.0),
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
            Unit::Share => format!("{value:.3} %"),
        }
    }
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
