//! The page: verdict, validity and gates first, then the story in lines, the plots, and the tables.

use super::charts::charts;
use super::plot::{Plot, Shape};
use super::{deploys, palette, tables};
use crate::exit::Exit;
use crate::report::text::clean;
use crate::report::{GateReport, GateStatus, Histograms, Outcome, ValidityState, story};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::io;

/// Sizes that plots are drawn in: across the page, half of it, and on a phone.
const WIDE: (u32, u32) = (1060, 300);
const HALF: (u32, u32) = (520, 240);
const PHONE: (u32, u32) = (350, 230);

pub(super) fn page(outcome: &Outcome, histograms: &Histograms) -> io::Result<Markup> {
    let title = format!("{} · {}", clean(&outcome.name), clean(&outcome.verdict));
    let mut figures = Vec::new();
    for chart in charts(outcome, histograms) {
        let desk = if chart.wide { WIDE } else { HALF };
        figures.push(figure(&chart.plot, chart.wide, desk)?);
    }
    let body = html! {
        (head(outcome))
        (reasons(outcome))
        (gates(outcome))
        (story_lines(outcome))
        (deploys::deploys(outcome))
        @if !figures.is_empty() {
            h2 { "How it went" }
            div.charts { @for figure in &figures { (figure) } }
        }
        (tables::tables(outcome))
        footer {
            (clean(&outcome.tool)) " · " (clean(&outcome.started)) " · seed " (outcome.seed) " · exit "
            (outcome.exit_code) " · beside this page: summary.json, latency.hlog, timeline.csv, junit.xml, "
            "summary.md, scenario.yaml"
        }
    };
    Ok(document(&title, &body))
}

/// A page that needs nothing else.
pub(super) fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Whatever slipped through could load and run nothing.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(palette::css())) (PreEscaped(include_str!("style.css"))) }
            }
            body { main { (body) } }
        }
    }
}

fn tone(outcome: &Outcome) -> &'static str {
    match outcome.exit_code {
        code if code == Exit::Passed.code() => "good",
        code if code == Exit::Interrupted.code() || code == Exit::Inconclusive.code() => "warn",
        _ => "bad",
    }
}

fn head(outcome: &Outcome) -> Markup {
    let valid = match outcome.validity.state {
        ValidityState::Valid => "good",
        ValidityState::Degraded => "warn",
        ValidityState::Invalid => "bad",
    };
    html! {
        header.head {
            div {
                h1 { (clean(&outcome.name)) }
                @if !outcome.description.trim().is_empty() { p.about { (clean(outcome.description.trim())) } }
                p.facts { (story::what(outcome)) " · " code { (clean(&outcome.target)) } " · " (when(&outcome.started)) }
            }
            div.verdict {
                span class={ "badge " (tone(outcome)) } { (clean(&outcome.verdict)) }
                p {
                    span class=(valid) { (story::validity(outcome)) }
                    @if !outcome.gates.is_empty() { " · " (story::tally(outcome)) }
                }
            }
        }
    }
}

/// `2026-11-22T10:15:00Z` → `2026-11-22 10:15 UTC`; anything else as it is.
pub(super) fn when(started: &str) -> String {
    match (
        started.get(..10),
        started.get(11..16),
        started.ends_with('Z'),
    ) {
        (Some(day), Some(time), true) => clean(&format!("{day} {time} UTC")),
        _ => clean(started),
    }
}

fn reasons(outcome: &Outcome) -> Markup {
    let (tone, title) = match outcome.validity.state {
        ValidityState::Invalid => ("bad", "This run cannot be believed"),
        ValidityState::Degraded => ("warn", "Believable, with a caution"),
        ValidityState::Valid => ("warn", "Worth knowing"),
    };
    html! {
        @if !outcome.validity.reasons.is_empty() {
            div class={ "notice " (tone) } {
                strong { (title) }
                ul { @for reason in &outcome.validity.reasons { li { (clean(reason)) } } }
            }
        }
    }
}

fn gates(outcome: &Outcome) -> Markup {
    let row = |gate: &GateReport| {
        let (class, tone, said) = match gate.status {
            GateStatus::Passed => ("passed", "good", "passed"),
            GateStatus::Failed => ("failed", "bad", "failed"),
            GateStatus::NoEvidence => ("no-evidence", "warn", "no evidence"),
        };
        html! {
            tr class=(class) {
                td class={ "sign " (tone) } aria-label=(said) title=(said) { (story::sign(gate.status)) }
                td { code { (clean(&gate.text)) } }
                td.actual { (clean(&gate.actual)) }
                td.note { (clean(&gate.note)) }
            }
        }
    };
    html! {
        section.gates.card aria-label="Gates" {
            table { tbody {
                @for gate in &outcome.gates { (row(gate)) }
                @if outcome.gates.is_empty() {
                    tr { td.soft { "No gates: this run judges nothing by itself." } }
                }
            } }
        }
    }
}

fn story_lines(outcome: &Outcome) -> Markup {
    html! {
        dl.story.card {
            @for line in story::lines(outcome) {
                dt { (clean(&line.label)) }
                dd { @for part in &line.parts { span { (clean(part)) } } }
            }
        }
        @if !outcome.warnings.is_empty() {
            ul.notes { @for warning in &outcome.warnings { li { (clean(warning)) } } }
        }
    }
}

/// A plot in two sizes, of which the reader's screen takes one: this, and a phone's.
pub(super) fn figure(plot: &Plot, wide: bool, desk: (u32, u32)) -> io::Result<Markup> {
    let desk = plot.svg(desk, "desk")?;
    let phone = plot.svg(PHONE, "phone")?;
    Ok(html! {
        figure.card.wide[wide] {
            figcaption {
                h3 { (plot.title) }
                span.unit { (plot.unit) }
                (legend(plot, wide))
            }
            (PreEscaped(desk))
            (PreEscaped(phone))
        }
    })
}

/// One line even where there is nothing to tell apart, so that plots side by side stand at one height.
fn legend(plot: &Plot, faults: bool) -> Markup {
    html! {
        ul.legend {
            @for series in &plot.series {
                li {
                    @match series.shape {
                        Shape::Dashed => { i class={ "dashed d-" (series.role.name()) } {} }
                        Shape::Bars => { i class={ "block b-" (series.role.name()) } {} }
                        _ => { i class={ "b-" (series.role.name()) } {} }
                    }
                    (series.name)
                }
            }
            @if faults && !plot.faults.is_empty() { li { i.b-fault {} "fault" } }
        }
    }
}
