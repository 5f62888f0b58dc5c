//! Fewer points for long runs, without averaging a percentile.

use crate::metrics::Timer;
use crate::report::{Histograms, Second};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

/// More points than this show no more, and make the page large.
const POINTS: usize = 400;

/// Joins seconds of long runs: counts are summed, states are the last or the worst, and quantiles come from merged
/// histograms (from the worst second where there are none).
pub(super) fn reduce(timeline: &[Second], histograms: &Histograms) -> Vec<Second> {
    let together = timeline.len().div_ceil(POINTS).max(1);
    if together == 1 {
        return timeline.to_vec();
    }
    // The timeline's quantiles are of one timer; the other timers' seconds stand between.
    let of = |timer| {
        histograms
            .seconds
            .iter()
            .any(|second| second.timer == timer)
    };
    let timer = if of(Timer::Latency) {
        Timer::Latency
    } else {
        Timer::Rtt
    };
    let mut seconds = histograms
        .seconds
        .iter()
        .filter(|second| second.timer == timer)
        .peekable();
    let mut deserializer = Deserializer::new();
    let mut joined = Vec::new();
    for chunk in timeline.chunks(together) {
        let Some(last) = chunk.last() else { continue };
        let mut new = Second {
            at: last.at,
            phase: last.phase,
            open: last.open,
            opening: last.opening,
            ..Second::default()
        };
        for second in chunk {
            new.opened += second.opened;
            new.closed += second.closed;
            new.offered += second.offered;
            new.sent += second.sent;
            new.dropped += second.dropped;
            new.received += second.received;
            new.cpu = new.cpu.max(second.cpu);
            new.rss = new.rss.max(second.rss);
            for (kind, n) in &second.failures {
                *new.failures.entry(kind.clone()).or_default() += n;
            }
            for (joined, one) in [
                (&mut new.p50, second.p50),
                (&mut new.p90, second.p90),
                (&mut new.p99, second.p99),
                (&mut new.max, second.max),
                (&mut new.lag_p99, second.lag_p99),
                (&mut new.lag_max, second.lag_max),
            ] {
                *joined = one.map_or(*joined, |one| {
                    Some(joined.map_or(one, |value| value.max(one)))
                });
            }
        }
        let mut merged: Option<Histogram<u64>> = None;
        while let Some(second) =
            seconds.next_if(|second| (second.start_ms as f64) < last.at * 1e3 - 1.0)
        {
            if let Ok(histogram) = deserializer.deserialize::<u64, _>(&mut &second.v2[..]) {
                let added = merged.as_mut().map(|merged| merged.add(&histogram));
                if !matches!(added, Some(Ok(()))) {
                    merged = Some(histogram);
                }
            }
        }
        if let Some(merged) = merged.filter(|merged| !merged.is_empty()) {
            let quantile = |q| Some(merged.value_at_quantile(q) as f64 / 1e3);
            (new.p50, new.p90, new.p99) = (quantile(0.5), quantile(0.9), quantile(0.99));
        }
        joined.push(new);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::SecondHistogram;
    use crate::report::hlog::encode_v2;

    /// In second n there are n values of n milliseconds.
    fn long_run(seconds: u64) -> (Vec<Second>, Histograms) {
        let mut timeline = Vec::new();
        let mut histograms = Histograms::default();
        for n in 1..=seconds {
            let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
            histogram.record_n(n * 1000, n).unwrap();
            let (start_ms, length_ms) = ((n - 1) * 1000, 1000);
            // Another timer's seconds in between, of other values, must not count.
            let mut lag = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
            lag.record_n(50_000_000, 100).unwrap();
            for (timer, histogram) in [(Timer::Lag, &lag), (Timer::Latency, &histogram)] {
                let v2 = encode_v2(histogram).unwrap();
                histograms.seconds.push(SecondHistogram {
                    start_ms,
                    length_ms,
                    timer,
                    v2,
                });
            }
            let value = Some(n as f64);
            let (at, sent, open) = (n as f64, n, n);
            timeline.push(Second {
                at,
                sent,
                open,
                p50: value,
                p99: value,
                max: value,
                ..Second::default()
            });
        }
        (timeline, histograms)
    }

    #[test]
    fn short_runs_stay_as_they_are() {
        let (timeline, histograms) = long_run(POINTS as u64);
        assert_eq!(reduce(&timeline, &histograms), timeline);
    }

    #[test]
    fn long_runs_are_joined_and_their_quantiles_merged() {
        let (timeline, histograms) = long_run(POINTS as u64 * 3);
        let joined = reduce(&timeline, &histograms);
        assert_eq!(joined.len(), POINTS);
        let sent = |seconds: &[Second]| seconds.iter().map(|second| second.sent).sum::<u64>();
        assert_eq!(sent(&joined), sent(&timeline));
        assert_eq!(
            (joined[0].at, joined[0].open, joined[0].max),
            (3.0, 3, Some(3.0))
        );
        // Of 1, 2, 2, 3, 3, 3 the median is 2, where the mean of the medians would be 2 too, and their worst 3;
        // of the next three seconds' 4, 5 and 6 values it is 5.
        let near =
            |value: Option<f64>, ms: f64| value.is_some_and(|value| (value - ms).abs() < 0.01 * ms);
        assert!(
            near(joined[0].p50, 2.0) && near(joined[1].p50, 5.0),
            "{:?} {:?}",
            joined[0].p50,
            joined[1].p50
        );
        assert!(near(joined[0].p99, 3.0));
    }

    #[test]
    fn without_histograms_the_worst_second_stands_for_all() {
        let (timeline, _) = long_run(POINTS as u64 * 2);
        assert_eq!(reduce(&timeline, &Histograms::default())[0].p50, Some(2.0));
    }
}
