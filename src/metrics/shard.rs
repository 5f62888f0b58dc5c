//! One shard's own sums and health, as its snapshots told them.

use super::histogram::Quantiles;
use super::names::Counter;
use super::snapshot::Snapshot;
use super::timeline::Interval;
use hdrhistogram::Histogram;

/// One shard's own sums and health.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShardTotals {
    /// Counts by `Counter as usize`, all phases and groups; see [`ShardTotals::count`].
    pub(super) counts: Vec<u64>,
    /// Snapshots absorbed.
    pub snapshots: u32,
    /// Snapshots that never came although later ones did.
    pub missing: u32,
    /// Longest time between two snapshots, nanoseconds.
    pub longest_gap_ns: i64,
    /// Whether the last snapshot came.
    pub finished: bool,
    /// Why it was lost, if it was.
    pub lost: Option<String>,
    /// Its snapshots' intervals in order.
    pub intervals: Vec<Interval>,
    /// Largest resident memory, bytes.
    pub rss_max: u64,
    /// The number expected next.
    pub(super) next: u32,
    /// End and CPU time of the last snapshot.
    pub(super) before: Option<(i64, u64)>,
}

impl ShardTotals {
    /// A count over all phases and groups.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts.get(counter as usize).copied().unwrap_or(0)
    }

    /// Whether offered = sent + dropped + cancelled, of publishes and of requests.
    pub fn conserved(&self) -> bool {
        let sum = |counters: [Counter; 3]| {
            let counts = counters.iter().map(|c| self.count(*c));
            counts.fold(0, u64::saturating_add)
        };
        self.count(Counter::Offered) == sum([Counter::Sent, Counter::Dropped, Counter::Cancelled])
            && self.count(Counter::RequestsOffered)
                == sum([
                    Counter::Requests,
                    Counter::RequestsDropped,
                    Counter::RequestsCancelled,
                ])
    }

    /// Highest share of one core in any interval.
    pub fn cpu_max(&self) -> f64 {
        self.intervals
            .iter()
            .filter_map(|i| i.cpu)
            .fold(0.0, f64::max)
    }

    /// Highest 0.99 quantile of the schedule lag of any interval, microseconds.
    pub fn lag_p99_max_us(&self) -> u64 {
        self.intervals
            .iter()
            .map(|i| i.lag_p99_us)
            .max()
            .unwrap_or(0)
    }
}

impl ShardTotals {
    /// Takes a snapshot into the shard's own sums; returns its interval.
    pub(super) fn take(&mut self, snapshot: &Snapshot, lag: Option<&Histogram<u64>>) -> Interval {
        for tagged in &snapshot.counts {
            if let Some(count) = self.counts.get_mut(tagged.key as usize) {
                *count = count.saturating_add(tagged.count);
            }
        }
        let lag = lag.and_then(Quantiles::of).unwrap_or_default();
        let cpu = self.before.and_then(|(at_ns, cpu_ns)| {
            let length = snapshot.at_ns.saturating_sub(at_ns);
            let used = snapshot.gauges.cpu_ns.saturating_sub(cpu_ns);
            (length > 0).then(|| used as f64 / length as f64)
        });
        if let Some((at_ns, _)) = self.before {
            self.longest_gap_ns = self
                .longest_gap_ns
                .max(snapshot.at_ns.saturating_sub(at_ns));
        }
        let interval = Interval {
            at_ns: snapshot.at_ns,
            lag_count: lag.count,
            lag_p99_us: lag.p99,
            lag_max_us: lag.max,
            cpu,
        };
        self.intervals.push(interval);
        self.before = Some((snapshot.at_ns, snapshot.gauges.cpu_ns));
        self.snapshots += 1;
        self.finished |= snapshot.last;
        self.rss_max = self.rss_max.max(snapshot.gauges.rss);
        interval
    }
}
