//! The one shape of histogram used everywhere, its wire form, and how quantiles are read from it.
//!
//! All histograms have the same bounds, so that any two can be merged without loss: 1 µs to 60 s at
//! three significant digits (HdrHistogram). Shards count in `u32` (an interval), totals in `u64`.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

/// Smallest value told apart, microseconds.
pub const LOWEST_US: u64 = 1;
/// Largest value recorded, microseconds; more is counted out of range.
pub const HIGHEST_US: u64 = 60_000_000;
/// Significant decimal digits kept.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// Bytes of the V2 header: cookie, payload length, normalizing offset (u32 each), digits (u32), lowest, highest (u64), ratio (f64).
const HEADER: usize = 40;

/// An empty histogram of the common shape.
pub(super) fn empty<T: hdrhistogram::Counter>() -> Histogram<T> {
    match Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS) {
        Ok(histogram) => histogram,
        // The bounds are constants that a test constructs; no input leads here.
        Err(error) => unreachable!("constant histogram bounds: {error}"),
    }
}

/// Appends the V2 form. False when a count cannot be encoded (above `i64::MAX`: unreachable in a run's length).
pub(super) fn encode<T: hdrhistogram::Counter>(
    serializer: &mut V2Serializer,
    histogram: &Histogram<T>,
    out: &mut Vec<u8>,
) -> bool {
    serializer.serialize(histogram, out).is_ok()
}

/// Reads the V2 form; `None` unless it is whole and of the common shape.
pub(super) fn decode(bytes: &[u8]) -> Option<Histogram<u64>> {
    // The shape is checked before the deserialiser allocates by it.
    let header = bytes.get(..HEADER)?;
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_be_bytes(header.get(at..at + 8)?.try_into().ok()?))
    };
    let digits = u32::from_be_bytes(header.get(12..16)?.try_into().ok()?);
    if digits != u32::from(SIGNIFICANT_DIGITS) || word(16)? != LOWEST_US || word(24)? != HIGHEST_US
    {
        return None;
    }
    let mut rest = bytes;
    let histogram = Deserializer::new().deserialize(&mut rest).ok()?;
    rest.is_empty().then_some(histogram)
}

/// Adds histograms of the common shape, which cannot fail.
pub(super) fn merge(into: &mut Histogram<u64>, other: &Histogram<u64>) {
    let merged = into.add(other);
    debug_assert!(merged.is_ok(), "same bounds always merge");
}

/// The value at a rank (1 = smallest), as the highest value equivalent to it at three digits; `None` when there are fewer values.
///
/// Ranks are integers, so that a quantile's rank is exact whatever the floating point does.
pub fn value_at_rank(histogram: &Histogram<u64>, rank: u64) -> Option<u64> {
    if rank == 0 {
        return None;
    }
    let mut seen = 0u64;
    for step in histogram.iter_recorded() {
        seen = seen.saturating_add(step.count_since_last_iteration());
        if seen >= rank {
            return Some(histogram.highest_equivalent(step.value_iterated_to()));
        }
    }
    None
}

/// A distribution in a few numbers, microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quantiles {
    /// Values.
    pub count: u64,
    /// Smallest.
    pub min: u64,
    /// Arithmetic mean, of the buckets' middles.
    pub mean: f64,
    /// 0.5 quantile: the value at rank ⌈0.5·count⌉, as are the others.
    pub p50: u64,
    /// 0.9
    pub p90: u64,
    /// 0.99
    pub p99: u64,
    /// 0.999
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

impl Quantiles {
    /// Of a histogram of microseconds; `None` when it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Quantiles> {
        let count = histogram.len();
        let rank = |per_mille: u64| (u128::from(count) * u128::from(per_mille)).div_ceil(1000);
        let ranks = [500, 900, 990, 999].map(rank);
        let mut values = [0; 4];
        // One pass for all: the buckets are many.
        let mut seen = 0u128;
        for step in histogram.iter_recorded() {
            let before = seen;
            seen += u128::from(step.count_since_last_iteration());
            for (value, rank) in values.iter_mut().zip(ranks) {
                if before < rank && rank <= seen {
                    *value = histogram.highest_equivalent(step.value_iterated_to());
                }
            }
        }
        let [p50, p90, p99, p999] = values;
        if count == 0 {
            return None;
        }
        Some(Quantiles {
            count,
            min: histogram.min(),
            mean: histogram.mean(),
            p50,
            p90,
            p99,
            p999,
            max: histogram.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = empty();
        for value in values {
            histogram.record(value).unwrap();
        }
        histogram
    }

    #[test]
    fn the_wire_form_round_trips() {
        let histogram = of([1, 1, 500, 59_999_999, HIGHEST_US]);
        let mut bytes = Vec::new();
        assert!(encode(&mut V2Serializer::new(), &histogram, &mut bytes));
        assert_eq!(decode(&bytes), Some(histogram));
    }

    #[test]
    fn foreign_shapes_and_broken_bytes_are_refused() {
        let mut bytes = Vec::new();
        encode(&mut V2Serializer::new(), &of([7]), &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode(&longer), None);
        let shapes: [(u64, u64, u8); 3] = [
            (1, 60_000_000, 2),
            (1, 3_600_000_000, 3),
            (2, 60_000_000, 3),
        ];
        for (low, high, digits) in shapes {
            let mut other = Histogram::<u64>::new_with_bounds(low, high, digits).unwrap();
            other.record(7).unwrap();
            let mut bytes = Vec::new();
            encode(&mut V2Serializer::new(), &other, &mut bytes);
            assert_eq!(decode(&bytes), None, "{low} {high} {digits}");
        }
    }

    #[test]
    fn a_rank_is_exact() {
        let histogram = of(1..=1000);
        assert_eq!(value_at_rank(&histogram, 0), None);
        assert_eq!(value_at_rank(&histogram, 1), Some(1));
        assert_eq!(value_at_rank(&histogram, 500), Some(500));
        assert_eq!(value_at_rank(&histogram, 990), Some(990));
        assert_eq!(value_at_rank(&histogram, 1000), Some(1000));
        assert_eq!(value_at_rank(&histogram, 1001), None);
    }

    #[test]
    fn quantiles_are_ranks() {
        assert_eq!(Quantiles::of(&of([])), None);
        let quantiles = Quantiles::of(&of(1..=1000)).unwrap();
        assert_eq!(
            (
                quantiles.count,
                quantiles.min,
                quantiles.p50,
                quantiles.p90,
                quantiles.p99,
                quantiles.p999,
                quantiles.max
            ),
            (1000, 1, 500, 900, 990, 999, 1000)
        );
        assert!((quantiles.mean - 500.5).abs() < 1.0, "{}", quantiles.mean);
        let one = Quantiles::of(&of([5])).unwrap();
        assert_eq!((one.p50, one.p90, one.p99, one.p999), (5, 5, 5, 5));
    }
}
