//! Which plots tell the story of a run, and what is in them.

use super::axis;
use super::palette::{KINDS, Role};
use super::plot::{Plot, Series, Shape, most, values};
use super::reduce::reduce;
use crate::metrics::Timer;
use crate::report::{
    DeployReport, Histograms, Outcome, PlaceOverTime, PressureReport, PressureSecond, Second,
    number, story,
};
use std::collections::BTreeMap;

/// A plot, and whether it takes the page's whole width.
pub(super) struct Chart {
    pub(super) plot: Plot,
    pub(super) wide: bool,
}

/// All plots that this run has something to show in.
pub(super) fn charts(outcome: &Outcome, histograms: &Histograms) -> Vec<Chart> {
    let timeline = reduce(&outcome.timeline, histograms);
    let view = View {
        outcome,
        timeline: &timeline,
    };
    let narrow = |plot: Plot| Chart { plot, wide: false };
    let mut charts = Vec::new();
    charts.extend(view.latency().map(|plot| Chart { plot, wide: true }));
    if !timeline.is_empty() {
        for deploy in &outcome.deploys {
            let plots = [Some(view.deploy(deploy)), view.deploy_by_place(deploy)];
            charts.extend((plots.into_iter().flatten()).map(|plot| Chart { plot, wide: true }));
        }
    }
    charts.extend(by_percentile(histograms).map(narrow));
    if !timeline.is_empty() {
        charts.extend([view.rates(), view.connections(), view.openings()].map(narrow));
        charts.extend(view.failures().map(narrow));
        charts.extend(view.lag().map(narrow));
        charts.push(narrow(view.cpu()));
        for (number, of) in outcome.pressure.iter().enumerate() {
            charts.extend(view.pressure(number, of).map(narrow));
        }
    }
    charts.extend(super::storm::plots(outcome).into_iter().map(narrow));
    // Two in a row: one that would stand alone takes the row.
    let narrow = charts.iter().filter(|chart| !chart.wide).count();
    if let Some(last) = charts.last_mut().filter(|_| narrow % 2 == 1) {
        last.wide = true;
    }
    charts
}

/// What the plots over time share.
struct View<'a> {
    outcome: &'a Outcome,
    timeline: &'a [Second],
}

impl View<'_> {
    fn plot(
        &self,
        id: &str,
        title: &str,
        unit: &str,
        y: super::plot::Axis,
        series: Vec<Series>,
    ) -> Plot {
        let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
        let phases: Vec<String> = self.outcome.phases.iter().map(|p| clean(&p.name)).collect();
        let end = self
            .timeline
            .last()
            .map_or(self.outcome.length, |second| second.at);
        Plot {
            id: id.into(),
            title: title.into(),
            unit: unit.into(),
            describe: format!(
                "Over the run: {}. Phases: {}.",
                names.join(", "),
                phases.join(", ")
            ),
            x: axis::time(end.max(self.outcome.length)),
            y,
            bands: self
                .outcome
                .phases
                .iter()
                .map(|p| (p.start, p.end, clean(&p.name)))
                .collect(),
            faults: self.faults(),
            series,
        }
    }

    fn faults(&self) -> Vec<(f64, f64)> {
        let faults = self.outcome.phases.iter().flat_map(|phase| &phase.faults);
        faults
            .filter_map(|f| {
                f.actual_start
                    .map(|start| (start, f.actual_end.unwrap_or(start)))
            })
            .collect()
    }

    fn over_time(
        &self,
        name: &str,
        role: Role,
        shape: Shape,
        value: impl Fn(&Second) -> Option<f64>,
    ) -> Series {
        let points = self
            .timeline
            .iter()
            .map(|second| (second.at, value(second)))
            .collect();
        Series {
            name: name.into(),
            role,
            shape,
            points,
        }
    }

    /// Per second, whatever the length of the interval.
    fn rate(&self, name: &str, role: Role, shape: Shape, value: impl Fn(&Second) -> u64) -> Series {
        let points = self.intervals().map(|(from, second)| {
            (
                second.at,
                Some(value(second) as f64 / (second.at - from).max(1e-3)),
            )
        });
        Series {
            name: name.into(),
            role,
            shape,
            points: points.collect(),
        }
    }

    fn intervals(&self) -> impl Iterator<Item = (f64, &Second)> {
        let starts = std::iter::once(0.0).chain(self.timeline.iter().map(|second| second.at));
        starts.zip(self.timeline)
    }

    fn latency(&self) -> Option<Plot> {
        let what = if self.outcome.timers.contains_key("latency") {
            "Latency"
        } else {
            "Round-trip time"
        };
        let line = |name, role, width, value: fn(&Second) -> Option<f64>| {
            self.over_time(name, role, Shape::Line(width), move |second| {
                value(second).map(log)
            })
        };
        let series = vec![
            line("max", Role::Max, 1.0, |s| s.max),
            line("p99", Role::P99, 1.75, |s| s.p99),
            line("p90", Role::P90, 1.75, |s| s.p90),
            line("p50", Role::P50, 1.75, |s| s.p50),
        ];
        let (least, most) = range(&series)?;
        let y = axis::log_millis(10f64.powf(least), 10f64.powf(most));
        let title = format!("{what} over time");
        Some(self.plot(
            "latency",
            &title,
            "from the intended time · logarithmic",
            y,
            series,
        ))
    }

    fn rates(&self) -> Plot {
        let mut series = vec![
            self.rate("offered", Role::Offered, Shape::Area, |s| s.offered),
            self.rate("sent", Role::Sent, Shape::Line(1.75), |s| s.sent),
        ];
        if self.timeline.iter().any(|second| second.dropped > 0) {
            series.push(self.rate("dropped", Role::Dropped, Shape::Line(1.75), |s| s.dropped));
        }
        let y = axis::linear(most(&series), axis::compact);
        self.plot(
            "rates",
            "Offered and achieved rate",
            "messages per second",
            y,
            series,
        )
    }

    fn connections(&self) -> Plot {
        let series = vec![
            self.over_time("open", Role::Open, Shape::Area, |s| Some(s.open as f64)),
            self.over_time("opening", Role::Opening, Shape::Line(1.5), |s| {
                Some(s.opening as f64)
            }),
        ];
        let y = axis::linear(most(&series), axis::compact);
        self.plot(
            "connections",
            "Connections",
            "at the end of each second",
            y,
            series,
        )
    }

    fn openings(&self) -> Plot {
        let mut series = vec![self.rate("opened", Role::Opened, Shape::Area, |s| s.opened)];
        if self.timeline.iter().any(|second| second.closed > 0) {
            series.push(self.rate(
                "closed by the target",
                Role::Dropped,
                Shape::Line(1.75),
                |s| s.closed,
            ));
        }
        let y = axis::linear(most(&series), axis::compact);
        self.plot(
            "openings",
            "Opened and closed",
            "connections per second",
            y,
            series,
        )
    }

    /// Stacked, the most frequent kinds each in a colour.
    fn failures(&self) -> Option<Plot> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, n) in self.timeline.iter().flat_map(|second| &second.failures) {
            *sums.entry(kind).or_default() += n;
        }
        sums.retain(|_, n| *n > 0);
        let mut kinds: Vec<&str> = sums.keys().copied().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(sums[kind]));
        let others = if kinds.len() > KINDS.len() {
            kinds.split_off(KINDS.len() - 1)
        } else {
            Vec::new()
        };
        let mut groups: Vec<Vec<&str>> = kinds.into_iter().map(|kind| vec![kind]).collect();
        if !others.is_empty() {
            groups.push(others);
        }
        let mut feet = vec![0.0; self.timeline.len()];
        let mut series = Vec::new();
        for (kinds, role) in groups.iter().zip(KINDS) {
            let name = if let [kind] = kinds[..] {
                clean(&story::words(kind))
            } else {
                "other".into()
            };
            let mut points = Vec::new();
            for ((from, second), foot) in self.intervals().zip(&mut feet) {
                let length = (second.at - from).max(1e-3);
                let n: u64 = kinds
                    .iter()
                    .filter_map(|kind| second.failures.get(*kind))
                    .sum();
                let head = *foot + n as f64 / length;
                let gap = length * 0.08;
                points.extend([(from + gap, Some(*foot)), (second.at - gap, Some(head))]);
                *foot = head;
            }
            series.push(Series {
                name,
                role,
                shape: Shape::Bars,
                points,
            });
        }
        let y = axis::linear(feet.iter().copied().fold(0.0, f64::max), axis::compact);
        (!series.is_empty())
            .then(|| self.plot("failures", "Failures by kind", "per second", y, series))
    }

    /// What a deploy did to connections, its whole measured time shaded.
    fn deploy(&self, deploy: &DeployReport) -> Plot {
        let refused = |second: &Second| {
            let kinds = ["status", "refused"];
            let kinds = kinds.iter().filter_map(|kind| second.failures.get(*kind));
            kinds.sum::<u64>()
        };
        let series = vec![
            self.over_time("open", Role::Open, Shape::Area, |s| Some(s.open as f64)),
            self.rate(
                "closed by the target, per second",
                Role::Dropped,
                Shape::Line(1.75),
                |s| s.closed,
            ),
            self.rate(
                "refused, per second",
                Role::Opening,
                Shape::Line(1.75),
                refused,
            ),
        ];
        let y = axis::linear(most(&series), axis::compact);
        let id = format!("deploy-{}", deploy.start as u64);
        let title = format!("Connections through the deploy in {}", clean(&deploy.phase));
        let unit = "shaded: while it was carried out, and to the last old connection's end";
        shaded(self.plot(&id, &title, unit, y, series), deploy)
    }

    /// Who was where meanwhile: a line a node, or an address. Of more than there are colours the last is for all others.
    fn deploy_by_place(&self, deploy: &DeployReport) -> Option<Plot> {
        let places = &self.outcome.open_by_place;
        let apart = match places.len() {
            0 | 1 => return None,
            n if n > KINDS.len() => KINDS.len() - 1,
            n => n,
        };
        // As many points as the other plots have.
        let seconds = &self.outcome.timeline;
        let every = seconds.len().div_ceil(self.timeline.len().max(1)).max(1);
        let line = |name: String, role: Role, places: &[PlaceOverTime]| {
            let points = seconds.chunks(every).enumerate().filter_map(|(i, chunk)| {
                let at = i * every + chunk.len() - 1;
                let open = places.iter().filter_map(|place| place.open.get(at));
                Some((chunk.last()?.at, Some(open.sum::<u64>() as f64)))
            });
            Series {
                name,
                role,
                shape: Shape::Line(1.75),
                points: points.collect(),
            }
        };
        let (told, others) = places.split_at(apart);
        let mut series: Vec<Series> = (told.iter().zip(KINDS))
            .map(|(place, role)| line(clean(&place.name), role, std::slice::from_ref(place)))
            .collect();
        if let ([_, ..], Some(role)) = (others, KINDS.last()) {
            series.push(line(format!("{} others", others.len()), *role, others));
        }
        let y = axis::linear(most(&series), axis::compact);
        let id = format!("deploy-places-{}", deploy.start as u64);
        let title = format!(
            "Connections by place through the deploy in {}",
            clean(&deploy.phase)
        );
        let unit = "open at the end of each second";
        Some(shaded(self.plot(&id, &title, unit, y, series), deploy))
    }

    fn lag(&self) -> Option<Plot> {
        let series = vec![
            self.over_time("max", Role::Max, Shape::Line(1.25), |s| s.lag_max.map(log)),
            self.over_time("p99", Role::P99, Shape::Line(1.75), |s| s.lag_p99.map(log)),
        ];
        let (least, most) = range(&series)?;
        let y = axis::log_millis(10f64.powf(least), 10f64.powf(most));
        Some(self.plot(
            "lag",
            "The generator's own lag",
            "actual − scheduled send · logarithmic",
            y,
            series,
        ))
    }

    /// What slow consumers and those beside them got, two plots a fault: how much, and how far behind.
    fn pressure(&self, number: usize, of: &PressureReport) -> [Plot; 2] {
        let series = |name: &str, role, shape, value: fn(&PressureSecond) -> f64| Series {
            name: name.into(),
            role,
            shape,
            points: (of.seconds.iter())
                .map(|second| (second.at, Some(value(second))))
                .collect(),
        };
        let line = Shape::Line(1.75);
        let throughput = vec![
            series("the others", Role::Sent, line, |s| s.others),
            series("slow consumers", Role::Dropped, line, |s| s.victims),
        ];
        let backlog = vec![series("behind", Role::Offered, Shape::Area, |s| s.backlog)];
        let window = |mut plot: Plot| {
            // Only its own window is shaded.
            plot.faults = vec![(of.start, of.end)];
            plot
        };
        let y = axis::linear(most(&throughput), axis::compact);
        let what = clean(&of.fault);
        let throughput = self.plot(
            &format!("throughput-{number}"),
            &format!("Throughput: {what}"),
            "messages per second, of each",
            y,
            throughput,
        );
        let y = axis::linear(most(&backlog), axis::compact);
        let backlog = self.plot(
            &format!("backlog-{number}"),
            &format!("Backlog: {what}"),
            "messages that each slow consumer is behind the others",
            y,
            backlog,
        );
        [window(throughput), window(backlog)]
    }

    fn cpu(&self) -> Plot {
        let series = vec![self.over_time("cpu", Role::Cpu, Shape::Area, |s| Some(s.cpu))];
        // Always up to a whole core: what matters is the distance to it.
        let mut y = axis::linear(most(&series).max(1.0) / 1.05, number::percent);
        y.ticks.retain(|(at, _)| *at <= y.to);
        self.plot(
            "cpu",
            "The generator's CPU",
            "share of one core · busiest shard",
            y,
            series,
        )
    }
}

/// From a deploy's start until it was carried out and the last old connection had ended, whichever was later.
fn shaded(mut plot: Plot, deploy: &DeployReport) -> Plot {
    let last = deploy.drain.unwrap_or(0.0).max(deploy.took.unwrap_or(0.0));
    plot.faults = vec![(deploy.start, deploy.start + last)];
    plot
}

/// The distribution up to its last values: x is log10(1/(1−q)), so each nine has the same width.
fn by_percentile(histograms: &Histograms) -> Option<Plot> {
    let wanted = [
        (Timer::Latency, "latency", Role::P99, Shape::Line(2.0)),
        (
            Timer::Service,
            "from the actual send",
            Role::P50,
            Shape::Dashed,
        ),
        (Timer::Rtt, "round trip", Role::P90, Shape::Line(2.0)),
    ];
    let mut series = Vec::new();
    let mut nines: f64 = 1.0;
    for (timer, name, role, shape) in wanted {
        let Some(histogram) = histograms
            .total
            .get(&timer)
            .filter(|histogram| !histogram.is_empty())
        else {
            continue;
        };
        let end = (histogram.len() as f64).log10().clamp(1.0, 6.0);
        nines = nines.max(end);
        let steps = 240;
        let at = |n: i32| f64::from(n) / f64::from(steps) * end;
        let value = |x: f64| histogram.value_at_quantile(1.0 - 10f64.powf(-x)) as f64 / 1e3;
        let mut points: Vec<(f64, Option<f64>)> = (0..steps)
            .map(|n| (at(n), Some(log(value(at(n))))))
            .collect();
        points.push((end, Some(log(histogram.max() as f64 / 1e3))));
        series.push(Series {
            name: name.into(),
            role,
            shape,
            points,
        });
    }
    let (least, most) = range(&series)?;
    Some(Plot {
        id: "percentiles".into(),
        title: "Latency by percentile".into(),
        unit: "whole run · both axes logarithmic".into(),
        describe:
            "How slow the slowest share of messages was, each nine as wide as the one before."
                .into(),
        x: axis::percentile(nines),
        y: axis::log_millis(10f64.powf(least), 10f64.powf(most)),
        bands: Vec::new(),
        faults: Vec::new(),
        series,
    })
}

/// log10 of milliseconds; what is below a microsecond stands at a microsecond.
fn log(ms: f64) -> f64 {
    ms.max(1e-3).log10()
}

fn range(series: &[Series]) -> Option<(f64, f64)> {
    let least = values(series).reduce(f64::min)?;
    Some((least, values(series).reduce(f64::max)?))
}

fn clean(text: &str) -> String {
    crate::report::text::clean(text)
}

#[cfg(test)]
mod tests;
