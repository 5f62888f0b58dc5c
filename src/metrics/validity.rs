//! Can the run be believed? Judged from how the generator itself held up, never from what the target did.

use super::names::{Counter, Failure};
use super::shard::ShardTotals;
use super::timeline::Interval;
use super::totals::Totals;
use std::time::Duration;

/// Fewer lags than this in an interval have no 0.99 quantile worth the name: their largest is judged.
const FEW: u64 = 20;
/// Busy intervals in a row that count as saturation.
const IN_A_ROW: usize = 3;
/// Longest silence of a shard, nanoseconds.
const LONGEST_GAP_NS: i64 = 5_000_000_000;

/// What the generator is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Schedule lag (0.99 quantile of a second) over which the run is invalid; over a fifth of it, degraded.
    pub max_lag: Duration,
    /// Share of one core from which a second counts as saturated.
    pub max_cpu: f64,
}

/// How far a run can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing stood in the way.
    Valid,
    /// Believable, with a caution.
    Degraded,
    /// Not to be believed; never passes a gate.
    Invalid,
}

/// How far a run can be believed, and why not further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// The worst of the reasons.
    pub state: State,
    /// Why, and what to change, worst first; empty when valid.
    pub reasons: Vec<String>,
}

/// Judges a run that is over (every shard finished or lost).
pub fn judge(totals: &Totals, limits: Limits) -> Validity {
    let mut found: Vec<(State, String)> = Vec::new();
    let shards = totals.shards();
    telemetry(shards, &mut found);
    exhausted(totals, &mut found);
    lag(shards, limits, &mut found);
    cpu(shards, limits, &mut found);
    found.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    Validity {
        state: found.first().map_or(State::Valid, |(state, _)| *state),
        reasons: found.into_iter().map(|(_, reason)| reason).collect(),
    }
}

/// Lost shards, silence, missing numbers, sums that do not add up.
fn telemetry(shards: &[ShardTotals], found: &mut Vec<(State, String)>) {
    let mut invalid = |reason: String| found.push((State::Invalid, reason));
    let count = shards.len();
    for (index, shard) in shards.iter().enumerate() {
        if let Some(why) = &shard.lost {
            invalid(format!(
                "shard {index} was lost ({why}): its share, {index} of {count} counted from 0, is missing from every number; look for its end in the system log (out of memory, killed) and run again"
            ));
            continue;
        }
        if shard.missing > 0 {
            invalid(format!(
                "telemetry gap: {} of shard {index}'s reports never arrived, what they counted is missing; run again",
                shard.missing
            ));
        }
        if shard.longest_gap_ns > LONGEST_GAP_NS {
            invalid(format!(
                "telemetry gap: shard {index} said nothing for {:.1} s; the machine was overloaded or suspended, use fewer shards than cores and run again",
                shard.longest_gap_ns as f64 / 1e9
            ));
        }
        if !shard.finished {
            invalid(format!(
                "telemetry gap: shard {index} never sent its last report, the end of its share is missing; run again"
            ));
        } else if !shard.conserved() {
            invalid(format!(
                "shard {index}'s sums do not add up (offered {} ≠ sent {} + dropped {} + cancelled {}, or the same of requests): a defect of squall, please report it",
                shard.count(Counter::Offered),
                shard.count(Counter::Sent),
                shard.count(Counter::Dropped),
                shard.count(Counter::Cancelled)
            ));
        }
    }
}

/// The generator's machine ran out of something.
fn exhausted(totals: &Totals, found: &mut Vec<(State, String)>) {
    for (kind, what) in [
        (
            Failure::NoPort,
            "no local port was left: add source addresses (generator.sources) or lower the number of connections",
        ),
        (
            Failure::NoDescriptor,
            "no file descriptor was left: raise the limit (ulimit -n) or use more shards",
        ),
    ] {
        let count = totals.failures(Some(kind), None, None);
        if count > 0 {
            found.push((
                State::Invalid,
                format!("{count} connections failed on this machine, not on the target: {what}"),
            ));
        }
    }
}

/// What is judged of an interval's lags, microseconds, and its name.
fn judged_lag(interval: &Interval) -> (u64, &'static str) {
    if interval.lag_count >= FEW {
        (interval.lag_p99_us, "p99")
    } else {
        (interval.lag_max_us, "max")
    }
}

fn lag(shards: &[ShardTotals], limits: Limits, found: &mut Vec<(State, String)>) {
    let limit = u64::try_from(limits.max_lag.as_micros()).unwrap_or(u64::MAX);
    let worst_of = |shard: &ShardTotals| -> Option<(u64, &'static str, i64)> {
        let lags = shard.intervals.iter().map(|i| {
            let (lag, name) = judged_lag(i);
            (lag, name, i.at_ns)
        });
        lags.max_by_key(|(lag, _, _)| *lag)
    };
    let late = |floor: u64| {
        let all = shards
            .iter()
            .enumerate()
            .filter_map(|(i, s)| Some((i, worst_of(s)?)));
        let late: Vec<_> = all.filter(|(_, (lag, _, _))| *lag > floor).collect();
        let worst = late.iter().max_by_key(|(_, (lag, _, _))| *lag).copied();
        worst.map(|worst| (late.len(), worst))
    };
    let words = |(count, (shard, (lag, name, at_ns))): (usize, (usize, (u64, &str, i64)))| {
        format!(
            "generator-limited: shard {shard} sent late, schedule lag {name} {:.1} ms in the second ending at {:.0} s ({count} of {} shards were late at some time)",
            lag as f64 / 1e3,
            at_ns as f64 / 1e9,
            shards.len()
        )
    };
    let max = limits.max_lag.as_secs_f64() * 1e3;
    if let Some(worst) = late(limit) {
        found.push((State::Invalid, format!(
            "{}; the limit is {max} ms: use more shards or machines, a lower rate, or keep other work off this machine", words(worst)
        )));
    } else if let Some(worst) = late(limit / 5) {
        found.push((State::Degraded, format!(
            "{}; that is over a fifth of the limit of {max} ms: latencies include it, leave the generator more room", words(worst)
        )));
    }
}

fn cpu(shards: &[ShardTotals], limits: Limits, found: &mut Vec<(State, String)>) {
    let fifth = u64::try_from(limits.max_lag.as_micros()).unwrap_or(u64::MAX) / 5;
    let mut worst: Option<(State, usize)> = None;
    for (index, shard) in shards.iter().enumerate() {
        for run in shard.intervals.windows(IN_A_ROW) {
            let busy = run
                .iter()
                .all(|i| i.cpu.is_some_and(|cpu| cpu >= limits.max_cpu));
            let late = run.iter().any(|i| judged_lag(i).0 > fifth);
            let state = if late {
                State::Invalid
            } else {
                State::Degraded
            };
            if busy && worst.is_none_or(|(worst, _)| state > worst) {
                worst = Some((state, index));
            }
        }
    }
    if let Some((state, shard)) = worst {
        let with = if state == State::Invalid {
            " and sent late"
        } else {
            ""
        };
        found.push((state, format!(
            "generator-limited: shard {shard} used {:.0} % of a core or more for {IN_A_ROW} seconds in a row{with}: use more shards (on more cores) or a lower rate",
            limits.max_cpu * 100.0
        )));
    }
}

#[cfg(test)]
mod tests;
