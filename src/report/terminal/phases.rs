//! How each phase went, a row each: where a run has several, its totals hide in which of them it went wrong.

use super::super::number::{NONE, count, millis, span};
use super::super::text::{clean, fit, width};
use super::{LABEL, Look, Outcome};
use crate::report::PhaseReport;

/// Phases shown before the rest is only counted.
const MOST: usize = 24;
/// Columns of a phase's name.
const NAME: usize = 24;

/// What is in the columns: of messages, or of requests where there were only those.
struct Columns {
    timer: &'static str,
    /// (heading, counter).
    counts: Vec<(&'static str, &'static str)>,
}

fn columns(outcome: &Outcome) -> Columns {
    let any = |name: &str| {
        let in_phase = |phase: &PhaseReport| of(outcome, phase, name).is_some_and(|n| n > 0);
        outcome.phases.iter().any(in_phase)
    };
    let messages = any("received") || any("offered") || !any("requests_offered");
    let (timer, mut counts) = match messages {
        true => ("latency", vec![("received", "received"), ("lost", "lost")]),
        false => (
            "rtt",
            vec![("replies", "replies"), ("timed out", "request_timeouts")],
        ),
    };
    if any("missed") {
        counts.push(("missed", "missed"));
    }
    counts.push(("reconnected", "reconnected"));
    Columns { timer, counts }
}

/// A count of a phase; none where the run did not come to it.
fn of(outcome: &Outcome, phase: &PhaseReport, name: &str) -> Option<u64> {
    let counts = outcome.counts_by_phase.get(&phase.name)?;
    Some(counts.get(name).copied().unwrap_or(0))
}

/// The table; nothing of a run with one phase, whose totals say it all.
pub(super) fn table(outcome: &Outcome, look: &Look) -> Vec<String> {
    if outcome.phases.len() < 2 {
        return Vec::new();
    }
    let Columns { timer, counts } = columns(outcome);
    let mut rows = vec![vec![
        String::new(),
        "length".to_owned(),
        format!("{timer} p50"),
        "p99".to_owned(),
    ]];
    rows[0].extend(counts.iter().map(|(heading, _)| (*heading).to_owned()));
    for phase in outcome.phases.iter().take(MOST) {
        let cut = if phase.completed { "" } else { " (cut short)" };
        let name = fit(&clean(&phase.name), NAME - width(cut));
        let timers = outcome.timers_by_phase.get(&phase.name);
        let times = timers.and_then(|timers| timers.get(timer));
        let times = times.filter(|times| times.count > 0);
        let time = |value: Option<f64>| value.map_or(NONE.to_owned(), millis);
        let mut row = vec![
            format!("{name}{cut}"),
            span(phase.end - phase.start),
            time(times.map(|times| times.p50)),
            time(times.map(|times| times.p99)),
        ];
        row.extend(
            counts
                .iter()
                .map(|(_, name)| of(outcome, phase, name).map_or(NONE.to_owned(), count)),
        );
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|i| rows.iter().map(|row| width(&row[i])).max().unwrap_or(0))
        .collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths, look)).collect();
    let label = format!("{:LABEL$}", "phases");
    lines[0] = format!(
        "{}{}",
        look.paint(super::DIM, &label),
        look.paint(super::DIM, lines[0].get(LABEL..).unwrap_or_default())
    );
    let hidden = outcome.phases.len().saturating_sub(MOST);
    if hidden > 0 {
        let phases = if hidden == 1 { "phase" } else { "phases" };
        lines.push(format!(
            "{:LABEL$}… {hidden} more {phases} in the report",
            ""
        ));
    }
    lines
}

/// Names stand left, numbers right.
fn line(row: &[String], widths: &[usize], look: &Look) -> String {
    let cells = row.iter().zip(widths).enumerate();
    let cells: Vec<String> = cells
        .map(|(i, (cell, wide))| {
            let pad = " ".repeat(wide - width(cell));
            if i == 0 {
                format!("{cell}{pad}")
            } else {
                format!("{pad}{cell}")
            }
        })
        .collect();
    fit(&format!("{:LABEL$}{}", "", cells.join("  ")), look.width)
}
