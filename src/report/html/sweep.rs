//! The page of a sweep: what is recommended, the curves, and every try.

use super::axis;
use super::page::{document, figure, when};
use super::palette::{KINDS, Role};
use super::plot::{Axis, Plot, Series, Shape, most};
use crate::report::number;
use crate::report::sweep::{FIGURES, FITS, Sweep, Try, figures, fits, window};
use crate::report::text::clean;
use maud::{Markup, html};
use std::io;

/// Across half of the page.
const HALF: (u32, u32) = (520, 260);

/// The page.
///
/// # Errors
/// When plotters cannot draw.
pub(super) fn page(sweep: &Sweep) -> io::Result<Markup> {
    let mut figures = Vec::new();
    for plot in [peaks(sweep), returns(sweep)] {
        figures.push(figure(&plot, false, HALF)?);
    }
    let found = sweep.recommended.is_some();
    let body = html! {
        header.head {
            div {
                h1 { (clean(&sweep.name)) ": ways of coming back" }
                p.about { (number::count(sweep.victims)) " of " (clean(&sweep.group)) " cut off at once, each time with another policy or window." }
                p.facts { code { (clean(&sweep.target)) } " · " (when(&sweep.started)) }
            }
            div.verdict {
                @if found { span.badge.good { "FITS" } }
                @else if sweep.tries.iter().any(|tried| tried.valid) { span.badge.bad { "NONE FITS" } }
                @else { span.badge.bad { "RUNS INVALID" } }
            }
        }
        dl.story.card { dt { "recommended" } dd { span { (clean(&sweep.advice())) } } }
        h2 { "How it went" }
        div.charts { @for figure in &figures { (figure) } }
        h2 { "All that was tried" }
        (table(sweep))
        footer { (clean(&sweep.tool)) " · beside this page: storm.json; each run has a report of its own" }
    };
    Ok(document(&format!("{} · storms", clean(&sweep.name)), &body))
}

fn table(sweep: &Sweep) -> Markup {
    html! {
        div.card.scroll {
            table.table.tries {
                thead { tr {
                    th scope="col" { "policy" } th.n scope="col" { "window" }
                    @for name in FIGURES { th.n scope="col" { (name) } }
                    th scope="col" { (FITS) }
                } }
                tbody {
                    @for (i, tried) in sweep.tries.iter().enumerate() {
                        tr {
                            th scope="row" {
                                (clean(&tried.policy))
                                @if sweep.recommended == Some(i) { span.good { " ← recommended" } }
                            }
                            // On a phone each cell has its name beside it.
                            td.n data-name="window" { (tried.window.map_or(number::NONE.to_owned(), window)) }
                            @for (name, cell) in FIGURES.iter().zip(figures(tried)) { td.n data-name=(name) { (cell) } }
                            td.text data-name=(FITS) { (fits(tried)) }
                        }
                    }
                }
            }
        }
    }
}

/// Whether there is more than one window to compare; if not, there is a bar for each try.
fn has_windows(sweep: &Sweep) -> bool {
    let mut windows = sweep.tries.iter().filter_map(|tried| tried.window);
    let first = windows.next();
    windows.any(|window| Some(window) != first)
}

/// A bar a try, in the policies' order.
fn bars(sweep: &Sweep, value: impl Fn(&Try) -> Option<f64>) -> Vec<Series> {
    let bar = |(i, (tried, role)): (usize, (&Try, &Role))| {
        let (left, right) = (i as f64 + 0.2, i as f64 + 0.8);
        Series {
            name: clean(&tried.policy),
            role: *role,
            shape: Shape::Bars,
            points: vec![(left, Some(0.0)), (right, value(tried))],
        }
    };
    let tries = sweep.tries.iter().zip(KINDS.iter().cycle());
    tries.enumerate().map(bar).collect()
}

/// One line a policy over the windows.
fn lines(sweep: &Sweep, value: impl Fn(&Try) -> Option<f64>) -> Vec<Series> {
    if !has_windows(sweep) {
        return bars(sweep, value);
    }
    let mut policies: Vec<&str> = Vec::new();
    // What has no window has no place on that axis; the table has it.
    for tried in sweep.tries.iter().filter(|tried| tried.window.is_some()) {
        if !policies.contains(&tried.policy.as_str()) {
            policies.push(&tried.policy);
        }
    }
    let line = |(policy, role): (&&str, &Role)| {
        let tries = sweep.tries.iter().filter(|tried| tried.policy == **policy);
        let mut points: Vec<(f64, Option<f64>)> = tries
            .filter_map(|tried| Some((tried.window?, value(tried))))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series {
            name: clean(policy),
            role: *role,
            shape: Shape::Dotted,
            points,
        }
    };
    policies
        .iter()
        .zip(KINDS.iter().cycle())
        .map(line)
        .collect()
}

fn plot(
    sweep: &Sweep,
    id: &str,
    title: &str,
    unit: &str,
    series: Vec<Series>,
    label: fn(f64) -> String,
) -> Plot {
    Plot {
        id: id.into(),
        title: title.into(),
        unit: unit.into(),
        describe: sweep.advice(),
        x: windows(sweep),
        y: axis::linear(most(&series), label),
        bands: Vec::new(),
        faults: Vec::new(),
        series,
    }
}

/// What is compared.
fn by(sweep: &Sweep) -> String {
    let only = sweep.tries.iter().find_map(|tried| tried.window);
    match (has_windows(sweep), only) {
        (true, _) => "by window".to_owned(),
        (false, Some(only)) => format!("by policy over {}", window(only)),
        (false, None) => "by policy".to_owned(),
    }
}

fn longest(sweep: &Sweep) -> f64 {
    let windows = sweep.tries.iter().filter_map(|tried| tried.window);
    windows.fold(0.0, f64::max)
}

/// Where the x axis ends: with the longest window, or behind the last bar.
fn end(sweep: &Sweep) -> f64 {
    match has_windows(sweep) {
        true => longest(sweep),
        false => sweep.tries.len() as f64,
    }
}

fn windows(sweep: &Sweep) -> Axis {
    if !has_windows(sweep) {
        let tries = sweep.tries.iter().enumerate();
        return Axis {
            from: 0.0,
            to: end(sweep),
            ticks: tries
                .map(|(i, tried)| (i as f64 + 0.5, clean(&tried.policy)))
                .collect(),
        };
    }
    let mut x = axis::linear(longest(sweep) / 1.05, window);
    x.ticks.retain(|(at, _)| *at <= x.to);
    x
}

fn peaks(sweep: &Sweep) -> Plot {
    let mut series = lines(sweep, |tried| Some(tried.peak as f64));
    if let Some(capacity) = sweep.capacity {
        series.push(Series {
            name: "capacity".into(),
            role: Role::Max,
            shape: Shape::Dashed,
            points: vec![
                (0.0, Some(capacity as f64)),
                (end(sweep), Some(capacity as f64)),
            ],
        });
    }
    plot(
        sweep,
        "peaks",
        "How hard it knocks",
        &format!("peak of attempts per second, {}", by(sweep)),
        series,
        axis::compact,
    )
}

fn returns(sweep: &Sweep) -> Plot {
    let series = lines(sweep, |tried| tried.restored_99);
    plot(
        sweep,
        "returns",
        "How soon all are back",
        &match has_windows(sweep) {
            true => "99 % back after, by window; no point: never".to_owned(),
            false => format!("99 % back after, {}; no bar: never", by(sweep)),
        },
        series,
        window,
    )
}
