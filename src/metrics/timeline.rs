//! Second by second: what all shards together did, and how each shard itself held up.

use super::histogram::{self, Quantiles};
use super::names::{Counter, Failure, Timer};
use super::neighbours::Side;
use super::nodes::NodeName;
use super::snapshot::{Gauges, Snapshot};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use std::collections::BTreeMap;

/// Timers whose whole distribution is kept for every second, for the interval logs.
const LOGGED: &[Timer] = &[Timer::Latency, Timer::Rtt];

/// The steps of an opening, and the whole of it: what a storm's seconds are asked for.
const OPENING: &[Timer] = &[
    Timer::Dns,
    Timer::Tcp,
    Timer::Tls,
    Timer::Upgrade,
    Timer::Ready,
    Timer::Open,
];

/// One second of the run, all shards together. Quantities are of this second; gauges as at its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Second {
    /// 0 is the first second of the run; it ends at `index + 1` seconds.
    pub index: u32,
    /// Ready connections by group index.
    pub open: Vec<u64>,
    /// Ready connections by index of the target's address; none where that is not told.
    pub open_by_endpoint: Vec<u64>,
    /// Ready connections by what their node calls itself; those of nodes that are known.
    pub open_by_node: BTreeMap<String, u64>,
    /// Connections being opened.
    pub opening: u64,
    /// Connections waiting to reconnect.
    pub waiting: u64,
    /// Connections with a blocked write.
    pub blocked: u64,
    /// Counts by `Counter as usize`; see [`Second::count`].
    pub counts: Vec<u64>,
    /// Failures by kind.
    pub failures: BTreeMap<Failure, u64>,
    /// Ended connections.
    pub closed: u64,
    /// Of these, ended by the target.
    pub closed_by_target: u64,
    /// Distributions of the timers that had values, microseconds.
    pub timers: BTreeMap<Timer, Quantiles>,
    /// What slow consumers and those beside them got in it, by their fault's number.
    pub beside: BTreeMap<u16, Beside>,
    /// Whole distributions (HdrHistogram V2, microseconds) of latency and RTT, where there are values.
    pub histograms: Vec<(Timer, Vec<u8>)>,
    /// Likewise of the steps of openings; none before the first loss, and none where too many seconds have some.
    pub openings: Vec<(Timer, Vec<u8>)>,
    /// Share of one core, the busiest shard's; 0 when no shard told twice yet.
    pub cpu: f64,
    /// Resident memory of all shards, bytes.
    pub rss: u64,
    /// Open descriptors of all shards.
    pub descriptors: u64,
    /// Shards that reported in this second.
    pub reported: u32,
}

/// What one second brought to slow consumers and to those beside them, by when it arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Beside {
    /// Latency of the group's other clients, microseconds.
    pub others: Option<Quantiles>,
    /// Latency of the victims, from the fault's start on.
    pub victims: Option<Quantiles>,
}

impl Second {
    /// A count.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts.get(counter as usize).copied().unwrap_or(0)
    }

    /// Distribution of latency, or of RTT where nothing was delivered; microseconds.
    pub fn response(&self) -> Option<&Quantiles> {
        self.timers
            .get(&Timer::Latency)
            .or_else(|| self.timers.get(&Timer::Rtt))
    }

    /// The whole distribution of latency or RTT; `None` for other timers and without values.
    pub fn histogram(&self, timer: Timer) -> Option<Histogram<u64>> {
        let (_, bytes) = self.histograms.iter().find(|(kept, _)| *kept == timer)?;
        histogram::decode(bytes)
    }
}

/// How long the steps of openings took that were done in these seconds, microseconds. Nothing at all where that of one of the
/// seconds was not kept: what is left would be another storm's.
pub fn openings<'a>(seconds: impl Iterator<Item = &'a Second>) -> BTreeMap<Timer, Quantiles> {
    let mut all: BTreeMap<Timer, Histogram<u64>> = BTreeMap::new();
    for second in seconds {
        let took = |timer: &&Timer| second.timers.contains_key(timer);
        if OPENING.iter().filter(took).count() != second.openings.len() {
            return BTreeMap::new();
        }
        for (timer, bytes) in &second.openings {
            let Some(values) = histogram::decode(bytes) else {
                return BTreeMap::new();
            };
            let into = all.entry(*timer).or_insert_with(histogram::empty);
            histogram::merge(into, &values);
        }
    }
    all.into_iter()
        .filter_map(|(timer, values)| Some((timer, Quantiles::of(&values)?)))
        .collect()
}

/// What one snapshot says of its shard's health.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Interval {
    /// Its end, nanoseconds from the run's start.
    pub at_ns: i64,
    /// Schedule lags recorded in it.
    pub lag_count: u64,
    /// Their 0.99 quantile, microseconds.
    pub lag_p99_us: u64,
    /// The largest, microseconds.
    pub lag_max_us: u64,
    /// Share of one core; `None` for the first one.
    pub cpu: Option<f64>,
}

/// A second that not all shards have reported yet.
#[derive(Default)]
pub(super) struct Pending {
    counts: Vec<u64>,
    failures: BTreeMap<Failure, u64>,
    closed: u64,
    closed_by_target: u64,
    timers: BTreeMap<Timer, Histogram<u64>>,
    /// By fault: of the others, and of the victims.
    beside: BTreeMap<u16, [Histogram<u64>; 2]>,
    /// By shard.
    gauges: BTreeMap<usize, (Gauges, Option<f64>)>,
}

impl Pending {
    /// Adds a shard's part; `timers` are its decoded histograms.
    pub fn add(
        &mut self,
        snapshot: &Snapshot,
        timers: &BTreeMap<Timer, Histogram<u64>>,
        cpu: Option<f64>,
    ) {
        self.counts.resize(Counter::ALL.len(), 0);
        for tagged in &snapshot.counts {
            if let Some(count) = self.counts.get_mut(tagged.key as usize) {
                *count = count.saturating_add(tagged.count);
            }
        }
        for tagged in &snapshot.failures {
            let count = self.failures.entry(tagged.key).or_default();
            *count = count.saturating_add(tagged.count);
        }
        for tagged in &snapshot.closes {
            self.closed = self.closed.saturating_add(tagged.count);
            if tagged.key.by_target {
                self.closed_by_target = self.closed_by_target.saturating_add(tagged.count);
            }
        }
        for (timer, histogram) in timers {
            let into = self.timers.entry(*timer).or_insert_with(histogram::empty);
            histogram::merge(into, histogram);
        }
        let before = self
            .gauges
            .get(&(snapshot.shard as usize))
            .and_then(|(_, cpu)| *cpu);
        let busiest = match (before, cpu) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.gauges
            .insert(snapshot.shard as usize, (snapshot.gauges.clone(), busiest));
    }

    /// Adds what a shard tells of one fault.
    pub fn beside(&mut self, fault: u16, latencies: &[(Side, Histogram<u64>)]) {
        let empty = || [histogram::empty(), histogram::empty()];
        let [others, victims] = self.beside.entry(fault).or_insert_with(empty);
        for (side, values) in latencies {
            let into = match side {
                Side::Victims => &mut *victims,
                Side::Before | Side::During | Side::After => &mut *others,
            };
            histogram::merge(into, values);
        }
    }

    /// The finished second. `states` are the shards' last known gauges (`None`: lost or never heard of), brought up to date here.
    /// `openings`: whether the distributions of their steps are kept.
    pub fn finish(self, index: u32, states: &mut [Option<Gauges>], openings: bool) -> Second {
        let mut second = Second {
            index,
            counts: self.counts,
            failures: self.failures,
            closed: self.closed,
            closed_by_target: self.closed_by_target,
            beside: (self.beside.iter())
                .map(|(fault, [others, victims])| {
                    let [others, victims] = [others, victims].map(Quantiles::of);
                    (*fault, Beside { others, victims })
                })
                .collect(),
            reported: u32::try_from(self.gauges.len()).unwrap_or(u32::MAX),
            ..Second::default()
        };
        for (shard, (gauges, cpu)) in self.gauges {
            second.cpu = second.cpu.max(cpu.unwrap_or(0.0));
            if let Some(state) = states.get_mut(shard) {
                *state = Some(gauges);
            }
        }
        for gauges in states.iter().flatten() {
            if second.open.len() < gauges.open.len() {
                second.open.resize(gauges.open.len(), 0);
            }
            for (sum, open) in second.open.iter_mut().zip(&gauges.open) {
                *sum += u64::from(*open);
            }
            let places = gauges.open_by_endpoint.iter().enumerate();
            for (endpoint, open) in places {
                if second.open_by_endpoint.len() <= endpoint {
                    second.open_by_endpoint.resize(endpoint + 1, 0);
                }
                second.open_by_endpoint[endpoint] += u64::from(*open);
            }
            for (node, open) in &gauges.open_by_node {
                if let NodeName::Named(name) = node {
                    *second.open_by_node.entry(name.clone()).or_default() += u64::from(*open);
                }
            }
            second.opening += u64::from(gauges.opening);
            second.waiting += u64::from(gauges.waiting);
            second.blocked += u64::from(gauges.blocked);
            second.rss = second.rss.saturating_add(gauges.rss);
            second.descriptors += u64::from(gauges.descriptors);
        }
        let mut serializer = V2Serializer::new();
        for (timer, histogram) in self.timers {
            let Some(quantiles) = Quantiles::of(&histogram) else {
                continue;
            };
            second.timers.insert(timer, quantiles);
            let into = match timer {
                _ if LOGGED.contains(&timer) => &mut second.histograms,
                _ if openings && OPENING.contains(&timer) => &mut second.openings,
                _ => continue,
            };
            let mut bytes = Vec::new();
            if histogram::encode(&mut serializer, &histogram, &mut bytes) {
                bytes.shrink_to_fit();
                into.push((timer, bytes));
            }
        }
        second
    }
}
