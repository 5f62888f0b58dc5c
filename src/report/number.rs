//! Numbers as people read them: `1,204,332`, `41.2 ms`, `1.2 s`, `71 %`. Used by every format for people.

/// Stands where there is no value.
pub(super) const NONE: &str = "–";

/// `1,204,332`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// About three digits that matter, without a unit: `0.04`, `3.1`, `41.2`, `233`, `12,400`.
pub(super) fn plain(value: f64) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    let (sign, size) = if value < 0.0 {
        ("−", -value)
    } else {
        ("", value)
    };
    let text = match size {
        s if s < 0.0005 => "0".into(),
        s if s < 0.01 => trimmed(format!("{s:.3}")),
        s if s < 0.995 => trimmed(format!("{s:.2}")),
        s if s < 99.95 => trimmed(format!("{s:.1}")),
        s => count(s.round() as u64),
    };
    if text == "0" {
        text
    } else {
        format!("{sign}{text}")
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds in the unit that reads best: `85 µs`, `3.1 ms`, `233 ms`, `1.2 s`, `2m 05s`.
pub(super) fn millis(ms: f64) -> String {
    match ms.abs() {
        size if !size.is_finite() => NONE.into(),
        0.0 => "0 ms".into(),
        size if size < 0.0995 => format!("{} µs", plain(ms * 1e3)),
        size if size < 999.5 => format!("{} ms", plain(ms)),
        size if size < 59_950.0 => format!("{} s", plain(ms / 1e3)),
        _ => span(ms / 1e3),
    }
}

/// Values in milliseconds in one unit, chosen so that the largest reads well, and that unit.
pub(super) fn millis_row(values: &[f64]) -> (Vec<String>, &'static str) {
    let largest = values
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .fold(0.0, f64::max);
    let (scale, unit) = if largest >= 9_995.0 {
        (1e-3, "s")
    } else {
        (1.0, "ms")
    };
    (values.iter().map(|v| plain(v * scale)).collect(), unit)
}

/// Seconds as a length: `8.5 s`, `42 s`, `4m 20s`, `1h 05m`.
pub(super) fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.into();
    }
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 59.5 => format!("{} s", plain(seconds)),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// A share of one as `71 %`; what is not nothing never reads `0 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        size if !size.is_finite() => NONE.into(),
        0.0 => "0 %".into(),
        size if size < 0.01 => "<0.01 %".into(),
        size if size < 9.95 => format!("{} %", plain(percent)),
        _ => format!("{} %", count(percent.abs().round() as u64)),
    }
}

/// Bytes as `1.1 KiB`.
pub(super) fn bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", plain(value), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_204_332, "1,204,332"),
        ] {
            assert_eq!(count(n), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn times_read_well_in_every_size() {
        for (ms, text) in [
            (0.0, "0 ms"),
            (0.001, "1 µs"),
            (0.0854, "85.4 µs"),
            (0.1, "0.1 ms"),
            (0.62, "0.62 ms"),
            (3.12, "3.1 ms"),
            (38.0, "38 ms"),
            (41.23, "41.2 ms"),
            (99.96, "100 ms"),
            (233.4, "233 ms"),
            (999.4, "999 ms"),
            (999.6, "1 s"),
            (1_234.0, "1.2 s"),
            (59_949.0, "59.9 s"),
            (59_960.0, "1m 00s"),
            (-2.5, "−2.5 ms"),
            (f64::NAN, NONE),
            (f64::INFINITY, NONE),
        ] {
            assert_eq!(millis(ms), text, "{ms}");
        }
    }

    #[test]
    fn rows_share_one_unit() {
        assert_eq!(
            millis_row(&[3.1, 233.0]),
            (vec!["3.1".into(), "233".into()], "ms")
        );
        assert_eq!(
            millis_row(&[500.0, 17_800.0]),
            (vec!["0.5".into(), "17.8".into()], "s")
        );
    }

    #[test]
    fn spans_shares_and_bytes() {
        for (s, text) in [
            (8.5, "8.5 s"),
            (42.0, "42 s"),
            (260.0, "4m 20s"),
            (3_900.0, "1h 05m"),
            (-1.0, NONE),
        ] {
            assert_eq!(span(s), text);
        }
        assert_eq!(span(59.7), "1m 00s");
        for (share, text) in [
            (0.0, "0 %"),
            (0.00001, "<0.01 %"),
            (0.0312, "3.1 %"),
            (0.71, "71 %"),
            (1.0, "100 %"),
            (12.0, "1,200 %"),
        ] {
            assert_eq!(percent(share), text);
        }
        for (b, text) in [
            (0.0, "0 B"),
            (1126.0, "1.1 KiB"),
            (1024.0 * 1024.0, "1 MiB"),
            (1023.9, "1 KiB"),
        ] {
            assert_eq!(bytes(b), text);
        }
    }
}
