//! How long after slow consumers read on everybody is as before.

use super::Bounds;

/// So many times the p99 of before is as before.
const WITHIN: f64 = 1.25;
/// Whatever was before, a p99 of so many microseconds in a single second is as before: less is the machine's.
const FLOOR_US: f64 = 5_000.0;

/// One second, by when messages arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// It ends at `index + 1` seconds from the run's start.
    pub index: u32,
    /// p99 of the fast clients' latency, microseconds; `None`: nothing came.
    pub fast: Option<u64>,
    /// The same of the victims.
    pub victims: Option<u64>,
}

/// The p99 of a second, microseconds, up to which it is as before: 1.25 × the upper bound of the p99 before, and 5 ms
/// at least.
pub fn usual(before: &Bounds) -> Option<u64> {
    let p99 = before.high.or(before.value)?;
    Some((WITHIN * p99 as f64).max(FLOOR_US) as u64)
}

/// Seconds from the fault's end to the end of the first whole second after it in which the fast clients' p99 and the
/// victims' are as before; `None`: not reached. `gone`: the victims need not come back.
pub fn recovered(end: f64, limit: u64, gone: bool, seconds: &[Moment]) -> Option<f64> {
    let back = |p99: Option<u64>| p99.is_some_and(|p99| p99 <= limit);
    seconds
        .iter()
        .filter(|second| f64::from(second.index) >= end)
        .find(|second| back(second.fast) && (gone || back(second.victims)))
        .map(|second| f64::from(second.index) + 1.0 - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(index: u32, fast: impl Into<Option<u64>>, victims: impl Into<Option<u64>>) -> Moment {
        Moment {
            index,
            fast: fast.into(),
            victims: victims.into(),
        }
    }

    #[test]
    fn as_before_is_a_quarter_more_than_before_or_five_milliseconds() {
        let bounds = |value, high| Bounds {
            value,
            low: 0,
            high,
        };
        assert_eq!(usual(&bounds(Some(8_000), Some(8_000))), Some(10_000));
        assert_eq!(usual(&bounds(Some(8_000), None)), Some(10_000));
        assert_eq!(usual(&bounds(Some(100), Some(120))), Some(5_000));
        assert_eq!(usual(&bounds(None, None)), None);
    }

    #[test]
    fn recovery_is_the_first_second_in_which_all_are_back() {
        let seconds = [
            moment(9, 100, 100),
            moment(10, 9_000, 90_000),
            moment(11, 100, 90_000),
            moment(12, 100, None),
            moment(13, 100, 100),
        ];
        assert_eq!(recovered(10.0, 5_000, false, &seconds), Some(4.0));
        assert_eq!(recovered(9.5, 5_000, true, &seconds), Some(2.5));
        assert_eq!(recovered(10.0, 5_000, false, &seconds[..4]), None);
        assert_eq!(recovered(10.0, 5_000, true, &seconds[..2]), None);
        assert_eq!(recovered(14.0, 5_000, true, &seconds), None);
    }
}
