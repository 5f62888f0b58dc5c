//! What became of slow consumers and of those beside them: the evidence of each `slow` fault put together, and judged by
//! the rules of [`metrics`].

use super::super::drive::Course;
use super::{millis, ms};
use crate::gate::SlowFault;
use crate::metrics::{
    self, Bounds, Evidence, Moment, Neighbours, NoRatio, Quantiles, Ratio, Second, Side, Timer,
    Verdict,
};
use crate::plan::{Action, Effect, Hit, Plan, Reading, Watch};
use crate::report::{
    CostSample, EvictionReport, MemoryReport, NeighbourReport, PressureReport, PressureSecond,
    PublisherReport, TargetMemory,
};
use std::time::Duration;

/// What Linux lets a socket's send buffer grow to unless told otherwise (`net.ipv4.tcp_wmem`), bytes.
pub(in super::super) const KERNEL: f64 = 4_194_304.0;

/// What there is to know the target's memory by: that of its processes, or what it tells itself.
type Told<'a> = (&'a [CostSample], Option<&'a TargetMemory>);

/// A `slow` fault as it was, for the report and for gates.
pub(super) struct Pressure {
    /// Index of its phase.
    pub phase: usize,
    /// Index of its group.
    pub group: usize,
    /// The noisy-neighbour ratio, or why there is none.
    pub ratio: Result<Ratio, NoRatio>,
    /// Whether it is known how the others fared before it.
    pub usual: bool,
    /// What the target did with its victims.
    pub verdict: Verdict,
    /// For the report.
    pub report: PressureReport,
}

impl Pressure {
    /// What gates ask of it.
    pub fn judged(&self) -> SlowFault {
        let of = &self.report;
        let slope = of.memory.as_ref().and_then(|memory| memory.slope);
        SlowFault {
            group: self.group,
            caught_up: match self.usual {
                true => Ok(of.recovery),
                false => Err("too little is known of how it was before".to_owned()),
            },
            held_up: match of.publishers.offered {
                0 => Err("nothing was due to be published in it".to_owned()),
                _ => Ok(of.publishers.held_up),
            },
            taken: match of.victims {
                0 => Err("nobody was slow".to_owned()),
                _ => Ok(of.taken),
            },
            skipped: match of.victims {
                0 => Err("nobody was slow".to_owned()),
                _ => Ok(of.skipped),
            },
            policy: self.verdict.clone(),
            memory_slope: slope.ok_or_else(|| match of.memory_unknown.is_empty() {
                true => "the scenario does not say how the target's memory is known".to_owned(),
                false => of.memory_unknown.clone(),
            }),
        }
    }
}

/// All of them. `kernel`: bytes that the target's kernel may hold for a connection.
pub(super) fn all(plan: &Plan, course: &Course, kernel: f64, told: Told<'_>) -> Vec<Pressure> {
    let watches = plan.watches();
    let each = watches.iter().filter_map(|watch| {
        let fault = plan.faults().nth(watch.fault)?;
        let Action::Hit(hit) = &fault.action else {
            return None;
        };
        let Effect::Slow(slow) = &hit.effect else {
            return None;
        };
        let one = One {
            plan,
            course,
            watch,
            hit,
        };
        let reading = slow.read != Reading::Normal;
        Some(one.pressure(&fault.label, reading, kernel, told))
    });
    each.collect()
}

struct One<'a> {
    plan: &'a Plan,
    course: &'a Course,
    watch: &'a Watch,
    hit: &'a Hit,
}

impl One<'_> {
    fn pressure(&self, label: &str, reading: bool, kernel: f64, told: Told<'_>) -> Pressure {
        let (watch, totals) = (self.watch, &self.course.totals);
        let group = watch.group as usize;
        let phase = self.plan.phase_at(watch.start.as_nanos() as u64);
        let did = totals.fault(watch.fault).unwrap_or_default();
        let beside = totals.neighbours(watch.fault).cloned().unwrap_or_default();
        let others = self.others();
        let victims = did.touched;
        let each = |bytes: u64| bytes as f64 / victims.max(1) as f64;
        let closed: Vec<EvictionReport> = (totals.fault_ends(watch.fault).into_iter())
            .map(|(key, count)| EvictionReport {
                code: key.code,
                after: key.after,
                count,
            })
            .collect();
        let seconds = (watch.end - watch.start).as_secs_f64();
        let owed = (others > 0).then(|| beside.tally.bytes as f64 / others as f64);
        let held_up = Duration::from_nanos(beside.tally.held_up_ns).as_secs_f64();
        // From its phase on, as those of its victims are counted.
        let lost: u64 = (phase..self.plan.phases().len())
            .map(|phase| totals.count(metrics::Counter::Lost, Some(phase), Some(group)))
            .sum();
        let fast_lost = lost.saturating_sub(did.skipped);
        let evidence = Evidence {
            reading,
            over: watch.end <= self.course.reached,
            seconds,
            victims,
            owed,
            taken: each(did.taken + did.unread),
            kernel,
            closed: did.closed,
            skipped: did.skipped,
            fast: others,
            fast_lost,
            held_up,
            offered: beside.tally.offered,
            dropped: beside.tally.dropped,
        };
        let verdict = evidence.verdict();
        let bounds = self.bounds(&beside, others, fast_lost);
        let ratio = self.ratio(&bounds);
        let gone = evidence.closed >= victims;
        let limit = bounds.0.as_ref().ok().and_then(metrics::usual);
        let moments = self.moments();
        let end = watch.end.as_secs_f64();
        let recovery = limit.and_then(|limit| metrics::recovered(end, limit, gone, &moments));
        let evicted = totals.quantiles(Timer::Evicted, Some(phase), Some(group));
        let (memory, memory_unknown) = memory(watch, told);
        let report = PressureReport {
            fault: label.to_owned(),
            phase: self.plan.phases()[phase].name.clone(),
            group: self.plan.groups()[group].name.clone(),
            start: watch.start.as_secs_f64(),
            end,
            victims,
            policy: verdict.policy.name().to_owned(),
            why: verdict.why.clone(),
            owed,
            taken: evidence.taken,
            skipped: did.skipped,
            victims_closed: did.closed,
            closed,
            evicted: evicted.as_ref().map(millis),
            neighbour: neighbour(&bounds, &ratio),
            publishers: PublisherReport {
                held_up,
                offered: evidence.offered,
                dropped: evidence.dropped,
            },
            recovery,
            memory,
            memory_unknown,
            seconds: self.seconds(others, victims),
        };
        Pressure {
            phase,
            group,
            ratio,
            usual: limit.is_some(),
            verdict,
            report,
        }
    }

    /// The group's clients that are no victims.
    fn others(&self) -> u64 {
        let group = &self.plan.groups()[self.watch.group as usize];
        group.count.saturating_sub(self.hit.victims).into()
    }

    /// The others' p99 before and within the fault. What they lost counts as within it.
    fn bounds(
        &self,
        beside: &Neighbours,
        others: u64,
        lost: u64,
    ) -> (Result<Bounds, String>, Result<Bounds, String>) {
        let bounds = |side, never, when| {
            let values = beside.latencies(side);
            metrics::p99_bounds(&values, others, never).map_err(|why| format!("{when}: {why}"))
        };
        (
            bounds(Side::Before, 0, "before it"),
            bounds(Side::During, lost, "within it"),
        )
    }

    fn ratio(
        &self,
        (before, during): &(Result<Bounds, String>, Result<Bounds, String>),
    ) -> Result<Ratio, NoRatio> {
        if self.others() == 0 {
            let why = "all clients of the group are slow: there is nobody beside them";
            return Err(NoRatio::Evidence(why.to_owned()));
        }
        let (before, during) = (before.as_ref(), during.as_ref());
        let evidence = |bounds: Result<&Bounds, &String>| {
            bounds
                .copied()
                .map_err(|why| NoRatio::Evidence(why.clone()))
        };
        metrics::ratio(&evidence(before)?, &evidence(during)?)
    }

    fn watched(&self) -> impl Iterator<Item = (&Second, metrics::Beside)> {
        let fault = u16::try_from(self.watch.fault).unwrap_or(u16::MAX);
        let seconds = self.course.totals.timeline().iter();
        seconds.filter_map(move |second| Some((second, *second.beside.get(&fault)?)))
    }

    fn moments(&self) -> Vec<Moment> {
        let p99 = |values: Option<Quantiles>| values.map(|values| values.p99);
        self.watched()
            .map(|(second, beside)| Moment {
                index: second.index,
                fast: p99(beside.others),
                victims: p99(beside.victims),
            })
            .collect()
    }

    fn seconds(&self, others: u64, victims: u64) -> Vec<PressureSecond> {
        let each = |values: Option<Quantiles>, of: u64| {
            values.map_or(0.0, |values| values.count as f64 / of.max(1) as f64)
        };
        let p99 = |values: Option<Quantiles>| values.map(|values| ms(values.p99));
        let mut behind = 0.0;
        self.watched()
            .map(|(second, beside)| {
                let of_others = each(beside.others, others);
                let of_victims = each(beside.victims, victims);
                let start = f64::from(second.index);
                if start >= self.watch.start.as_secs_f64() {
                    behind += of_others - of_victims;
                }
                PressureSecond {
                    at: start + 1.0,
                    others: of_others,
                    victims: of_victims,
                    backlog: f64::max(behind, 0.0),
                    others_p99: p99(beside.others),
                    victims_p99: p99(beside.victims),
                }
            })
            .collect()
    }
}

fn neighbour(
    (before, during): &(Result<Bounds, String>, Result<Bounds, String>),
    ratio: &Result<Ratio, NoRatio>,
) -> NeighbourReport {
    let p99 = |bounds: &Result<Bounds, String>| bounds.as_ref().ok()?.value.map(ms);
    let known = ratio.as_ref().ok();
    NeighbourReport {
        ratio: known.map(|ratio| ratio.value),
        low: known.map(|ratio| ratio.low),
        high: known.and_then(|ratio| ratio.high),
        before: p99(before),
        during: p99(during),
        why: ratio
            .as_ref()
            .err()
            .map_or(String::new(), ToString::to_string),
    }
}

/// The memory of the target within a fault, and why it or its slope is not known.
fn memory(watch: &Watch, (cost, page): Told<'_>) -> (Option<MemoryReport>, String) {
    let processes = cost.iter().filter(|sample| sample.gateway_memory > 0);
    let samples: Vec<(f64, u64)> = match page {
        Some(page) => page.samples.iter().map(|s| (s.at, s.bytes)).collect(),
        None => processes.map(|s| (s.at, s.gateway_memory)).collect(),
    };
    let (start, end) = (watch.start.as_secs_f64(), watch.end.as_secs_f64());
    let within: Vec<(f64, f64)> = (samples.iter())
        .filter(|(at, _)| (start..=end).contains(at))
        .map(|(at, bytes)| (*at, *bytes as f64))
        .collect();
    let slope = slope(&within);
    let unknown = match (slope, page) {
        (None, Some(page)) => {
            let words = format!("{} of its memory within the fault", many(within.len()));
            let why = unread(page).map_or(String::new(), |why| format!("; {why}"));
            format!("{words}, three are needed for a slope{why}")
        }
        (None, None) if !samples.is_empty() => format!(
            "{} of its memory within the fault, three are needed for a slope",
            many(within.len())
        ),
        _ => String::new(),
    };
    let most = within.iter().map(|(_, bytes)| *bytes).reduce(f64::max);
    let before = samples.iter().rfind(|(at, _)| *at <= start);
    let report = most.map(|most| MemoryReport {
        before: before.map_or(0, |(_, bytes)| *bytes),
        most: most as u64,
        slope,
    });
    (report, unknown)
}

fn many(samples: usize) -> String {
    match samples {
        0 => "no sample".into(),
        1 => "one sample".into(),
        n => format!("{n} samples"),
    }
}

/// Reads of the target's page that told nothing, in words; none where all did.
pub(super) fn unread(page: &TargetMemory) -> Option<String> {
    let (failed, all) = (page.failed, page.failed + page.samples.len() as u64);
    (failed > 0).then(|| {
        format!(
            "{failed} of {all} reads of the target's memory at {} failed: {}",
            page.page, page.why
        )
    })
}

/// Least squares: Σ(x−x̄)(y−ȳ) ÷ Σ(x−x̄)².
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 {
        return None;
    }
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let along: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    (spread > 0.0).then(|| along / spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::MemorySample;

    #[test]
    fn a_slope_is_of_least_squares() {
        assert_eq!(slope(&[(1.0, 10.0), (2.0, 30.0)]), None);
        assert_eq!(slope(&[(1.0, 10.0), (2.0, 30.0), (3.0, 50.0)]), Some(20.0));
        // By hand: x̄ = 1, ȳ = 2; (−1·−2 + 0·1 + 1·1) ÷ 2.
        assert_eq!(slope(&[(0.0, 0.0), (1.0, 3.0), (2.0, 3.0)]), Some(1.5));
        assert_eq!(slope(&[(1.0, 1.0); 3]), None);
    }

    #[test]
    fn memory_is_of_the_targets_processes_within_the_fault() {
        let watch = Watch {
            fault: 0,
            group: 0,
            before: Duration::ZERO,
            start: Duration::from_secs(2),
            end: Duration::from_secs(5),
        };
        let sample = |at, gateway_memory| CostSample {
            at,
            gateway_memory,
            ..CostSample::default()
        };
        let cost: Vec<CostSample> = [100, 110, 200, 300, 400, 90]
            .into_iter()
            .zip(0u32..)
            .map(|(memory, at)| sample(f64::from(at) + 0.5, memory))
            .collect();
        let (known, unknown) = memory(&watch, (&cost, None));
        let known = known.expect("samples");
        assert_eq!((known.before, known.most), (110, 400));
        assert_eq!((known.slope, unknown.as_str()), (Some(100.0), ""));
        let nothing = [sample(3.0, 0)];
        assert_eq!(memory(&watch, (&nothing, None)), (None, String::new()));
        let (few, why) = memory(&watch, (&cost[..4], None));
        assert_eq!(few.expect("two").slope, None);
        assert!(why.contains("2 samples") && why.contains("three"), "{why}");
        // What the target tells comes before what a process takes.
        let mut page = TargetMemory {
            page: "http://h:9".into(),
            samples: (0..6)
                .map(|at| MemorySample {
                    at: f64::from(at) + 0.5,
                    bytes: 7,
                })
                .collect(),
            ..TargetMemory::default()
        };
        let (known, why) = memory(&watch, (&cost, Some(&page)));
        let known = known.expect("samples");
        assert_eq!((known.before, known.most, known.slope), (7, 7, Some(0.0)));
        assert_eq!(why, "");
        (page.failed, page.why) = (3, "HTTP 404".into());
        page.samples.clear();
        let (known, why) = memory(&watch, (&cost, Some(&page)));
        assert_eq!(known, None, "it is unknown, not zero");
        assert_eq!(
            why,
            "no sample of its memory within the fault, three are needed for a slope; \
             3 of 3 reads of the target's memory at http://h:9 failed: HTTP 404"
        );
    }
}
