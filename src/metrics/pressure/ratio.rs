//! The noisy-neighbour ratio: fast clients' p99 with slow ones around ÷ without.
//!
//! The interval is of order statistics. The number of values below the q-quantile is binomial, so the values at
//! the ranks n·q ∓ z·√(n·q·(1 − q)) enclose the quantile with the confidence that z stands for, whatever the
//! distribution (Conover, *Practical Nonparametric Statistics*, 3rd ed. 1999, §3.2). Each of the two p99 has
//! 97.5 %, so that the ratio has 95 % at least (Bonferroni). A message delivered to many is late for all of them or
//! for none: n is the number of messages, not of deliveries.

use super::super::histogram::value_at_rank;
use hdrhistogram::Histogram;
use std::fmt;

/// Of the standard normal distribution, for 97.5 % on both sides together.
const Z: f64 = 2.241_403;
/// The quantile.
const Q: f64 = 0.99;
/// Values without which nothing is said: 10/(1 − q), as gates want.
const NEEDED: u64 = 1000;

/// A p99 and between which values it is with 97.5 % confidence, microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// As measured; `None`: what never came is among the last hundredth, and so it is not reached.
    pub value: Option<u64>,
    /// Not below.
    pub low: u64,
    /// Not above; `None`: there are too few messages, or too many that never came, to say.
    pub high: Option<u64>,
}

/// The p99 of values, microseconds. `each`: how many values one message makes (1 at least). `never`: how many more
/// values never came, which count as greater than all that did.
///
/// # Errors
/// There are too few values: how many there are and should be.
pub fn p99_bounds(values: &Histogram<u64>, each: u64, never: u64) -> Result<Bounds, String> {
    let all = values.len().saturating_add(never);
    if all < NEEDED {
        return Err(format!("{all} latencies, and {NEEDED} are needed"));
    }
    let at = |share: f64| {
        let rank = (share * all as f64).ceil().max(1.0) as u64;
        value_at_rank(values, rank)
    };
    let messages = (all / each.max(1)).max(1) as f64;
    let off = Z * (Q * (1.0 - Q) / messages).sqrt();
    // The rank above: one more, as the quantile is between two values.
    let above = Q + off + 1.0 / messages;
    Ok(Bounds {
        value: at(Q),
        low: at((Q - off).max(0.0))
            .or_else(|| (!values.is_empty()).then(|| values.max()))
            .unwrap_or(0),
        high: if above <= 1.0 { at(above) } else { None },
    })
}

/// One p99 ÷ another, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// As measured.
    pub value: f64,
    /// Not below, with 95 % confidence.
    pub low: f64,
    /// Not above; `None`: too few messages to say.
    pub high: Option<f64>,
}

/// Why there is no ratio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRatio {
    /// There is nothing to say it from, in words.
    Evidence(String),
    /// More than a hundredth of the messages due within the fault never came: p99 is not reached, and the ratio beyond
    /// any limit.
    NotReached,
}

impl fmt::Display for NoRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRatio::Evidence(why) => f.write_str(why),
            NoRatio::NotReached => {
                f.write_str("more than a hundredth of the messages within it never came")
            }
        }
    }
}

/// The ratio of two p99.
///
/// # Errors
/// One of them was not reached.
pub fn ratio(before: &Bounds, during: &Bounds) -> Result<Ratio, NoRatio> {
    let over = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    let Some(without) = before.value else {
        let why = "more than a hundredth of the messages before it never came";
        return Err(NoRatio::Evidence(why.to_owned()));
    };
    let Some(with) = during.value else {
        return Err(NoRatio::NotReached);
    };
    Ok(Ratio {
        value: over(with, without),
        // Without an upper bound of what was before there is no lower one of the ratio but nothing.
        low: before.high.map_or(0.0, |high| over(during.low, high)),
        high: during.high.map(|high| over(high, before.low)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::histogram;
    use super::*;
    use crate::plan::{Purpose, rng};
    use rand::RngExt;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = histogram::empty();
        for value in values {
            histogram.record(value).unwrap();
        }
        histogram
    }

    #[test]
    fn bounds_are_the_values_at_the_binomials_ranks() {
        // n·q = 1980, z·√(n·q·(1−q)) = 9.97: ranks 1971 (rounded up) and 1991.
        let bounds = p99_bounds(&of(1..=2000), 1, 0).unwrap();
        assert_eq!(
            bounds,
            Bounds {
                value: Some(1980),
                low: 1971,
                high: Some(1991)
            }
        );
    }

    #[test]
    fn deliveries_of_one_message_are_one_value() {
        let values = || of((1..=2000).flat_map(|value| [value; 10]));
        let one = p99_bounds(&values(), 10, 0).unwrap();
        assert_eq!((one.low, one.high), (1971, Some(1991)));
        let apart = p99_bounds(&values(), 1, 0).unwrap();
        assert!(apart.low > one.low && apart.high < one.high, "{apart:?}");
        // 200 messages do not bound their p99 from above.
        assert_eq!(p99_bounds(&values(), 100, 0).unwrap().high, None);
    }

    #[test]
    fn too_few_say_nothing() {
        assert!(p99_bounds(&of(1..=999), 1, 0).is_err());
        assert!(p99_bounds(&of(1..=1000), 1, 0).is_ok());
        assert!(p99_bounds(&of(1..=999), 1, 1).is_ok());
    }

    #[test]
    fn what_never_came_is_later_than_all_that_did() {
        let bounds = p99_bounds(&of(1..=1980), 1, 20).unwrap();
        assert_eq!((bounds.value, bounds.high), (Some(1980), None));
        let bounds = p99_bounds(&of(1..=1979), 1, 21).unwrap();
        assert_eq!(bounds.value, None);
        let before = Bounds {
            value: Some(7),
            ..bounds
        };
        assert_eq!(ratio(&before, &bounds), Err(NoRatio::NotReached));
        assert!(matches!(ratio(&bounds, &before), Err(NoRatio::Evidence(_))));
    }

    #[test]
    fn a_ratio_is_as_wide_as_its_ends() {
        let before = Bounds {
            value: Some(100),
            low: 80,
            high: Some(125),
        };
        let during = Bounds {
            value: Some(500),
            low: 400,
            high: Some(1000),
        };
        let all = ratio(&before, &during).unwrap();
        assert_eq!(
            all,
            Ratio {
                value: 5.0,
                low: 3.2,
                high: Some(12.5)
            }
        );
        let open = Bounds {
            high: None,
            ..before
        };
        assert_eq!(ratio(&open, &during).unwrap().low, 0.0);
        let open = Bounds {
            high: None,
            ..during
        };
        assert_eq!(ratio(&before, &open).unwrap().high, None);
    }

    /// Of 400 samples of a skewed distribution with a known p99, at least 95 % of the intervals hold it. (97.5 % do
    /// on average; fewer than 380 of 400 is beyond three standard deviations.)
    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let mut held = 0;
        for sample in 0..400 {
            let mut random = rng(7, Purpose::Size, &[sample]);
            // Exponential with mean 10,000: p99 = 10,000·ln 100 = 46,052.
            let values = (0..2000).map(|_| {
                let u: f64 = random.random();
                ((-(1.0 - u).ln() * 10_000.0) as u64).max(1)
            });
            let bounds = p99_bounds(&of(values), 1, 0).unwrap();
            held +=
                usize::from(bounds.low <= 46_052 && bounds.high.is_some_and(|high| high >= 46_052));
        }
        assert!(held >= 380, "{held} of 400");
    }
}
