//! What a plain YAML scalar means: the core schema of YAML 1.2.2, section 10.3.2.

use super::node::Scalar;

/// The meaning of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    Null,
    Bool(bool),
    /// Out of this range no setting has a meaning anyway; the digits then count as text.
    Int(i128),
    Float(f64),
    Text,
}

impl Scalar {
    /// What it means; quoted scalars are always text.
    pub fn meaning(&self) -> Meaning {
        if self.plain {
            meaning(&self.text)
        } else {
            Meaning::Text
        }
    }
}

fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" => return Meaning::Bool(true),
        "false" | "False" | "FALSE" => return Meaning::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Meaning::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Meaning::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Meaning::Float(f64::NAN),
        _ => {}
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_or(Meaning::Text, Meaning::Int);
    }
    if is_float(digits) {
        text.parse().map_or(Meaning::Text, Meaning::Float)
    } else {
        Meaning::Text
    }
}

fn radix(digits: &str, radix: u32) -> Meaning {
    // from_str_radix takes a sign, the schema does not.
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    plain
        .then(|| i128::from_str_radix(digits, radix).ok())
        .flatten()
        .map_or(Meaning::Text, Meaning::Int)
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some((whole, part)) => {
            digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    mantissa && exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_schema() {
        for (text, expected) in [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("null", Meaning::Null),
            ("nULL", Meaning::Text),
            ("true", Meaning::Bool(true)),
            ("FALSE", Meaning::Bool(false)),
            ("yes", Meaning::Text),
            ("off", Meaning::Text),
            ("0", Meaning::Int(0)),
            ("-12", Meaning::Int(-12)),
            ("+7", Meaning::Int(7)),
            ("007", Meaning::Int(7)),
            ("0x1F", Meaning::Int(31)),
            ("0o17", Meaning::Int(15)),
            ("0x", Meaning::Text),
            ("0x-1", Meaning::Text),
            ("1_000", Meaning::Text),
            ("1.5", Meaning::Float(1.5)),
            (".5", Meaning::Float(0.5)),
            ("5.", Meaning::Float(5.0)),
            ("-1e3", Meaning::Float(-1000.0)),
            (".", Meaning::Text),
            ("1e", Meaning::Text),
            ("e5", Meaning::Text),
            ("-", Meaning::Text),
            ("1.2.3", Meaning::Text),
            ("inf", Meaning::Text),
            ("nan", Meaning::Text),
            (".inf", Meaning::Float(f64::INFINITY)),
            ("5k", Meaning::Text),
        ] {
            assert_eq!(meaning(text), expected, "{text}");
        }
        assert!(matches!(meaning(".nan"), Meaning::Float(f) if f.is_nan()));
    }
}
