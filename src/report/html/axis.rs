//! Ticks where people expect them.

use super::plot::Axis;
use crate::report::number;

/// From nothing to a little over `most`, with about five ticks at 1, 2 or 5 times a power of ten.
pub(super) fn linear(most: f64, label: impl Fn(f64) -> String) -> Axis {
    let most = if most.is_finite() && most > 0.0 {
        most
    } else {
        1.0
    };
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|n| n * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let steps = (most * 1.04 / step).ceil();
    let ticks = (0..=steps as u32)
        .map(|n| f64::from(n) * step)
        .map(|tick| (tick, label(tick)))
        .collect();
    Axis {
        from: 0.0,
        to: steps * step,
        ticks,
    }
}

/// Logarithms of milliseconds: whole decades, or from 1, 2 or 5 to 1, 2 or 5 where they are few.
pub(super) fn log_millis(least: f64, most: f64) -> Axis {
    let least = if least.is_finite() && least > 0.0 {
        least.max(1e-3)
    } else {
        1e-3
    };
    let most = if most.is_finite() && most > least {
        most
    } else {
        least * 10.0
    };
    let nice: Vec<f64> = (-4..7)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10f64.powi(power)))
        .collect();
    let from = nice
        .iter()
        .rev()
        .find(|tick| **tick <= least)
        .copied()
        .unwrap_or(least);
    let to = nice
        .iter()
        .find(|tick| **tick >= most)
        .copied()
        .unwrap_or(most);
    let every = if (to / from).log10() > 2.7 { 3 } else { 1 };
    let ticks = nice
        .iter()
        .enumerate()
        .filter(|(i, tick)| i % every == 0 && **tick >= from && **tick <= to);
    let ticks = ticks
        .map(|(_, tick)| (tick.log10(), number::millis(*tick)))
        .collect();
    Axis {
        from: from.log10(),
        to: to.log10(),
        ticks,
    }
}

/// Seconds of a run, about eight ticks.
pub(super) fn time(length: f64) -> Axis {
    stretch(0.0, length)
}

/// Seconds of a part of a run, as the run counts them.
pub(super) fn stretch(from: f64, to: f64) -> Axis {
    let from = if from.is_finite() { from.max(0.0) } else { 0.0 };
    let length = match to - from {
        length if length.is_finite() && length > 0.0 => length,
        _ => 1.0,
    };
    let to = from + length;
    let steps = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
        3600.0, 7200.0, 14400.0,
    ];
    let step = steps
        .into_iter()
        .find(|step| length / step <= 9.0)
        .unwrap_or(length / 8.0);
    let first = (from / step).ceil();
    let ticks = (0..=((to - first * step) / step) as u32).map(|n| (first + f64::from(n)) * step);
    let label = |s: f64| {
        let whole = s.round() as u64;
        match to {
            l if l <= 90.0 => format!("{} s", number::plain(s)),
            l if l < 7200.0 => format!("{}:{:02}", whole / 60, whole % 60),
            _ => format!("{}:{:02} h", whole / 3600, whole % 3600 / 60),
        }
    };
    Axis {
        from,
        to,
        ticks: ticks.map(|s| (s, label(s))).collect(),
    }
}

/// log10 of 1/(1−q) up to `most`: 0, 90 %, 99 %, 99.9 % …
pub(super) fn percentile(most: f64) -> Axis {
    let names = [
        "0",
        "90 %",
        "99 %",
        "99.9 %",
        "99.99 %",
        "99.999 %",
        "99.9999 %",
    ];
    let mut ticks: Vec<(f64, String)> = vec![(0.0, names[0].into()), (2f64.log10(), "50 %".into())];
    ticks.extend(
        names
            .iter()
            .enumerate()
            .skip(1)
            .map(|(n, name)| (n as f64, name.to_string())),
    );
    ticks.retain(|(at, _)| *at <= most);
    Axis {
        from: 0.0,
        to: most,
        ticks,
    }
}

/// `1.5k`, `20k`, `2M`: for labels only.
pub(super) fn compact(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => format!("{}M", number::plain(v / 1e6)),
        v if v >= 1_000.0 => format!("{}k", number::plain(v / 1e3)),
        v => number::plain(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(
            labels(&linear(20_050.0, compact)),
            ["0", "5k", "10k", "15k", "20k", "25k"]
        );
        assert_eq!(
            labels(&linear(0.0, compact)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]
        );
        let axis = log_millis(3.1, 233.0);
        assert_eq!(
            labels(&axis),
            [
                "2 ms", "5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms"
            ]
        );
        assert_eq!(
            labels(&log_millis(0.05, 9_000.0)),
            ["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]
        );
        assert_eq!(labels(&time(60.0)).len(), 7);
        assert_eq!(
            labels(&stretch(8.3, 10.4)),
            ["8.5 s", "9 s", "9.5 s", "10 s"]
        );
        assert_eq!(labels(&stretch(115.0, 155.0))[..2], ["1:55", "2:00"]);
        assert_eq!(
            labels(&time(260.0)),
            [
                "0:00", "0:30", "1:00", "1:30", "2:00", "2:30", "3:00", "3:30", "4:00"
            ]
        );
        assert_eq!(
            labels(&percentile(3.2)),
            ["0", "50 %", "90 %", "99 %", "99.9 %"]
        );
    }

    #[test]
    fn nonsense_still_makes_an_axis() {
        for axis in [
            linear(f64::NAN, compact),
            log_millis(f64::NAN, f64::INFINITY),
            time(f64::NAN),
            time(0.0),
            stretch(f64::NAN, f64::INFINITY),
            stretch(5.0, 2.0),
        ] {
            assert!(axis.from.is_finite() && axis.to.is_finite() && axis.to > axis.from);
        }
    }
}
