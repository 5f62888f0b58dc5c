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
            table.table {
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
                            td.n { (tried.window.map_or(number::NONE.to_owned(), window)) }
                            @for cell in figures(tried) { td.n { (cell) } }
                            td { (fits(tried)) }
                        }
                    }
                }
            }
        }
    }
}

/// One line a policy over the windows.
fn lines(sweep: &Sweep, value: impl Fn(&Try) -> Option<f64>) -> Vec<Series> {
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
            shape: Shape::Line(1.75),
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

fn longest(sweep: &Sweep) -> f64 {
    let windows = sweep.tries.iter().filter_map(|tried| tried.window);
    windows.fold(0.0, f64::max)
}

fn windows(sweep: &Sweep) -> Axis {
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
                (longest(sweep), Some(capacity as f64)),
            ],
        });
    }
    plot(
        sweep,
        "peaks",
        "How hard it knocks",
        "peak of attempts per second, by window",
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
        "99 % back after, by window; no point: never",
        series,
        window,
    )
}
