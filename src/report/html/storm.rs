//! Reconnect storms: the knocking and the way back drawn in steps of 100 ms, and a table of all of them.

use super::axis;
use super::palette::Role;
use super::plot::{Plot, Series, Shape, most};
use crate::report::text::clean;
use crate::report::{Outcome, StormReport, StormStep, number, story};
use maud::{Markup, html};

/// Storms that are drawn: those that knocked hardest.
const DRAWN: usize = 3;
/// Before the storm, as a part of its length, so that its beginning can be seen.
const BEFORE: f64 = 0.05;

/// Two plots for each of the storms that knocked hardest, in time: how hard, and how soon all were back.
pub(super) fn plots(outcome: &Outcome) -> Vec<Plot> {
    let mut storms: Vec<(usize, &StormReport)> = outcome.storms.iter().enumerate().collect();
    storms.retain(|(_, storm)| storm.lost > 0 && !storm.curve.is_empty());
    storms.sort_by_key(|(_, storm)| std::cmp::Reverse(storm.peak));
    storms.truncate(DRAWN);
    storms.sort_by_key(|(at, _)| *at);
    let both = |(at, storm): &(usize, &StormReport)| {
        [attempts(*at, storm, outcome), recovery(*at, storm, outcome)]
    };
    storms.iter().flat_map(both).collect()
}

/// A series with a value at the end of each step, and nothing before the first.
fn series(
    storm: &StormReport,
    name: &str,
    role: Role,
    shape: Shape,
    mut value: impl FnMut(&StormStep, f64) -> f64,
) -> Series {
    let mut from = storm.start;
    let mut points = vec![(from, Some(0.0))];
    for step in &storm.curve {
        points.push((step.at, Some(value(step, (step.at - from).max(1e-3)))));
        from = step.at;
    }
    Series {
        name: name.into(),
        role,
        shape,
        points,
    }
}

fn plot(storm: &StormReport, outcome: &Outcome, series: Vec<Series>) -> Plot {
    let end = storm.curve.last().map_or(storm.end, |step| step.at);
    let x = axis::stretch(storm.start - BEFORE * (end - storm.start), end);
    let inside = |from: f64, to: f64| to >= x.from && from <= x.to;
    let faults = outcome.phases.iter().flat_map(|phase| &phase.faults);
    let faults = faults.filter_map(|f| Some((f.actual_start?, f.actual_end.or(f.actual_start)?)));
    let phases = outcome
        .phases
        .iter()
        .map(|p| (p.start, p.end, clean(&p.name)));
    Plot {
        id: String::new(),
        title: String::new(),
        unit: String::new(),
        describe: String::new(),
        bands: phases.filter(|(from, to, _)| inside(*from, *to)).collect(),
        faults: faults.filter(|(from, to)| inside(*from, *to)).collect(),
        y: axis::linear(1.0, axis::compact),
        x,
        series,
    }
}

fn attempts(at: usize, storm: &StormReport, outcome: &Outcome) -> Plot {
    let rate = |n: u64, length: f64| n as f64 / length;
    let mut all = vec![
        series(
            storm,
            "attempts",
            Role::Opening,
            Shape::Area,
            |s, length| rate(s.attempts, length),
        ),
        series(
            storm,
            "back",
            Role::Opened,
            Shape::Line(1.75),
            |s, length| rate(s.back, length),
        ),
    ];
    if storm.curve.iter().any(|step| step.failed > 0) {
        all.push(series(
            storm,
            "failed",
            Role::Dropped,
            Shape::Line(1.5),
            |s, length| rate(s.failed, length),
        ));
    }
    if let Some(capacity) = storm.capacity {
        let name = match storm.capacity_reached {
            true => "capacity before",
            false => "most before",
        };
        all.push(series(storm, name, Role::Max, Shape::Dashed, |_, _| {
            capacity as f64
        }));
        // A level, not something that rises from nothing.
        if let Some(level) = all.last_mut().and_then(|level| level.points.first_mut()) {
            level.1 = Some(capacity as f64);
        }
    }
    Plot {
        id: format!("storm-{at}"),
        title: format!("Storm: {}", clean(&storm.cause)),
        unit: "per second, in steps of 100 ms".into(),
        describe: format!("Attempts and returns per second. {}.", words(storm)),
        y: axis::linear(most(&all), axis::compact),
        ..plot(storm, outcome, all)
    }
}

fn recovery(at: usize, storm: &StormReport, outcome: &Outcome) -> Plot {
    let (mut back, mut gone) = (0, 0);
    let share = |n: u64| n as f64 / storm.lost.max(1) as f64;
    let all = vec![
        series(storm, "lost", Role::Max, Shape::Line(1.5), |step, _| {
            gone += step.lost;
            share(gone.min(storm.lost))
        }),
        series(storm, "back", Role::Opened, Shape::Area, |step, _| {
            back += step.back;
            share(back.min(storm.lost))
        }),
    ];
    let mut y = axis::linear(1.0 / 1.05, number::percent);
    y.ticks.retain(|(at, _)| *at <= 1.0);
    y.to = 1.02;
    Plot {
        id: format!("recovery-{at}"),
        title: format!("Way back: {}", clean(&storm.cause)),
        unit: format!("share of {} connections", number::count(storm.lost)),
        describe: format!("How many of those lost were back. {}.", words(storm)),
        y,
        ..plot(storm, outcome, all)
    }
}

fn words(storm: &StormReport) -> String {
    clean(&story::storm(storm).join("; "))
}

/// All storms, with what a line has no room for.
pub(super) fn table(outcome: &Outcome) -> Markup {
    let head = [
        "cause", "from", "lost", "back", "50 %", "90 %", "99 %", "all", "attempts", "peak", "at",
        "capacity", "each",
    ];
    html! {
        @if !outcome.storms.is_empty() {
            h2 { "Reconnect storms" }
            div.card.scroll {
                table.table {
                    thead { tr { @for (i, name) in head.iter().enumerate() { th.n[i > 0] scope="col" { (name) } } } }
                    tbody {
                        @for storm in &outcome.storms {
                            tr {
                                th scope="row" { (clean(&storm.cause)) }
                                @for cell in row(storm) { td.n { (cell) } }
                            }
                            @if let Some(more) = handshake(storm) {
                                tr { td.text colspan="13" { (more) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(storm: &StormReport) -> Vec<String> {
    let at = |time: Option<f64>| time.map_or(number::NONE.into(), |s| format!("{s:.1} s"));
    let restored = [
        storm.restored_50,
        storm.restored_90,
        storm.restored_99,
        storm.restored_100,
    ];
    let mut row = vec![
        at(Some(storm.start)),
        number::count(storm.lost),
        number::count(storm.back),
    ];
    row.extend(restored.map(at));
    row.extend([
        number::count(storm.attempts),
        format!("{}/s", number::count(storm.peak)),
        at(storm.peak_at),
        of_capacity(storm),
        storm
            .amplification
            .map_or(number::NONE.into(), number::plain),
    ]);
    row
}

/// The peak as a part of the target's capacity: at most that where more than was asked of it is not known.
fn of_capacity(storm: &StormReport) -> String {
    match storm.capacity.filter(|capacity| *capacity > 0) {
        Some(capacity) => {
            let share = number::percent(storm.peak as f64 / capacity as f64);
            let most = if storm.capacity_reached { "" } else { "≤ " };
            format!("{most}{share}")
        }
        None => number::NONE.into(),
    }
}

/// `p99 of the openings in its seconds: tcp 3 ms · … · failed in them: timeout 48`.
fn handshake(storm: &StormReport) -> Option<String> {
    let p99 = |name: &&str| {
        let timer = storm.openings.get(*name).filter(|timer| timer.count > 0)?;
        Some(format!("{name} {}", number::millis(timer.p99)))
    };
    let steps = ["dns", "tcp", "tls", "upgrade", "ready", "open"];
    let steps: Vec<String> = steps.iter().filter_map(p99).collect();
    let failures: Vec<String> = storm
        .failures
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(kind, n)| format!("{} {}", clean(&story::words(kind)), number::count(*n)))
        .collect();
    let mut parts = Vec::new();
    if !steps.is_empty() {
        parts.push(format!(
            "p99 of the openings in its seconds: {}",
            steps.join(" · ")
        ));
    }
    if let Some(spread) = storm.spread {
        parts.push(format!("spread over places, max ÷ mean: {spread:.2}"));
    }
    if !failures.is_empty() {
        parts.push(format!("failed in them: {}", failures.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}
