//! The summary a person reads at the end of a run, in 100 columns: every gate, then the story, in as few lines as tell it.
//! What colours say is said without them too.
//! Everything in it passes through `text::clean`, so nothing a target said can drive the terminal.

mod phases;

use super::text::{clean, fit, width};
use super::{GateReport, GateStatus, Outcome, ValidityState, story};
use crate::exit::Exit;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Width of the column of labels.
const LABEL: usize = 12;
/// So many gates are seen at a glance; of more, those that did not hold come first.
const GLANCE: usize = 12;
/// Rows of what happened in single phases, before the rest is only counted.
const ROWS: usize = 24;

/// Reasons against the run shown before the rest is only counted.
const REASONS: usize = 3;

/// How the summary may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours may be used.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// For standard output: colours on a terminal unless `NO_COLOR` is set and not empty (no-color.org)
    /// or `TERM` is `dumb`.
    pub fn of_stdout() -> Look {
        let terminal = io::stdout().is_terminal();
        Look {
            colour: terminal && welcome(|name| std::env::var_os(name)),
            width: 100,
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Whether an environment lets a terminal have colours.
fn welcome(said: impl Fn(&str) -> Option<OsString>) -> bool {
    let said = |name| said(name).filter(|value| !value.is_empty());
    said("NO_COLOR").is_none() && said("TERM").is_none_or(|term| term != "dumb")
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "1;32";
const YELLOW: &str = "1;33";

/// Writes the summary of an outcome whose secrets are redacted ([`super::Redactor::outcome`]); `files` are
/// those [`super::write`] returned, of which the first is named.
///
/// # Errors
/// Those of the writer.
pub fn terminal(
    outcome: &Outcome,
    files: &[PathBuf],
    look: &Look,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut lines = vec![headline(outcome, look), String::new()];
    let mut notes = Vec::new();
    for reason in outcome.validity.reasons.iter().take(REASONS) {
        let style = if outcome.validity.state == ValidityState::Invalid {
            RED
        } else {
            YELLOW
        };
        paragraph(
            outcome.validity.state.word(),
            &[clean(reason)],
            style,
            look,
            &mut lines,
        );
    }
    let more = outcome.validity.reasons.len().saturating_sub(REASONS);
    if more > 0 {
        lines.push(format!("{:LABEL$}… {more} more in the report", ""));
    }
    for warning in outcome.warnings.iter().take(2) {
        paragraph(
            "note",
            &[fit(&clean(warning), look.width - LABEL)],
            DIM,
            look,
            &mut notes,
        );
    }
    gates(outcome, look, &mut lines);
    lines.extend(story(outcome, look));
    lines.extend(notes);
    lines.push(footer(outcome, files, look));
    for line in lines {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The story's lines, the table by phase before what happened in single ones: of very many only the first are shown.
fn story(outcome: &Outcome, look: &Look) -> Vec<String> {
    let drawn = story::lines(outcome).into_iter().map(|line| {
        let parts: Vec<String> = line.parts.iter().map(|part| clean(part)).collect();
        let mut rows = Vec::new();
        paragraph(&clean(&line.label), &parts, DIM, look, &mut rows);
        (line.of_phase, line.label == story::GENERATOR, rows)
    });
    let drawn: Vec<(bool, bool, Vec<String>)> = drawn.collect();
    let all: usize = drawn
        .iter()
        .filter(|line| line.0)
        .map(|line| line.2.len())
        .sum();
    // One row says how many are left out.
    let mut left = if all > ROWS { ROWS - 1 } else { ROWS };
    let mut table = phases::table(outcome, look);
    let mut lines = Vec::new();
    let mut hidden = 0;
    let mut at = 0;
    for (of_phase, generator, rows) in drawn {
        if of_phase || generator {
            lines.append(&mut table);
        }
        if of_phase && (hidden > 0 || rows.len() > left) {
            hidden += 1;
            continue;
        }
        if of_phase {
            left -= rows.len();
        }
        lines.extend(rows);
        if hidden == 0 {
            at = lines.len();
        }
    }
    if hidden > 0 {
        let phases = if hidden == 1 { "phase" } else { "phases" };
        let more = format!("{:LABEL$}… {hidden} more {phases} in the report", "");
        lines.insert(at, more);
    }
    lines
}

impl ValidityState {
    fn word(self) -> &'static str {
        match self {
            ValidityState::Valid => "valid",
            ValidityState::Degraded => "degraded",
            ValidityState::Invalid => "invalid",
        }
    }
}

/// Name and facts on the left, verdict and validity on the right.
fn headline(outcome: &Outcome, look: &Look) -> String {
    let verdict = fit(&clean(&outcome.verdict), 24);
    let validity = story::validity(outcome);
    let right = width(&verdict) + 3 + width(validity);
    let what = story::what(outcome);
    let room = look.width.saturating_sub(right + 2);
    let name = fit(
        &clean(&outcome.name),
        room.saturating_sub(width(&what) + 3).max(12),
    );
    let left = format!("{name} · {what}");
    let left = fit(&left, room);
    let gap = " ".repeat(look.width.saturating_sub(width(&left) + right));
    let style = match outcome.exit_code {
        code if code == Exit::Passed.code() => GREEN,
        code if code == Exit::Interrupted.code() || code == Exit::Inconclusive.code() => YELLOW,
        _ => RED,
    };
    let valid = match outcome.validity.state {
        ValidityState::Valid => DIM,
        ValidityState::Degraded => YELLOW,
        ValidityState::Invalid => RED,
    };
    let bold = match left.strip_prefix(&name) {
        Some(facts) => format!("{}{facts}", look.paint(BOLD, &name)),
        None => left,
    };
    format!(
        "{bold}{gap}{} · {}",
        look.paint(style, &verdict),
        look.paint(valid, validity)
    )
}

/// Every gate in the order written; of many those that did not hold first.
fn gates(outcome: &Outcome, look: &Look, lines: &mut Vec<String>) {
    let mut shown: Vec<&GateReport> = outcome.gates.iter().collect();
    if shown.len() > GLANCE {
        shown.sort_by_key(|gate| gate.status == GateStatus::Passed);
    }
    // Sign and actual value stand in columns; what a gate says and why it failed share the rest.
    let texts: Vec<(String, String)> = shown
        .iter()
        .map(|gate| (clean(&gate.text), clean(&gate.actual)))
        .collect();
    let column = texts
        .iter()
        .map(|(text, _)| width(text))
        .max()
        .unwrap_or(0)
        .clamp(20, look.width / 2 - 4);
    let values = texts
        .iter()
        .map(|(_, actual)| width(actual))
        .max()
        .unwrap_or(0)
        .clamp(6, look.width / 4);
    for (i, (gate, (text, actual))) in shown.iter().zip(&texts).enumerate() {
        let (text, actual) = (fit(text, column), fit(actual, values));
        let (style, noted) = match gate.status {
            GateStatus::Passed => (GREEN, DIM),
            GateStatus::Failed => (RED, RED),
            GateStatus::NoEvidence => (YELLOW, YELLOW),
        };
        let left = LABEL + 2 + column + 2 + values + 2;
        let note = if gate.note.is_empty() {
            String::new()
        } else {
            format!("← {}", clean(&gate.note))
        };
        // Why it did not hold is never cut short: where it does not fit it has lines of its own.
        let fits = width(&note) <= look.width.saturating_sub(left);
        let beside = if fits || gate.status == GateStatus::Passed {
            fit(&note, look.width.saturating_sub(left))
        } else {
            String::new()
        };
        lines.push(format!(
            "{}{} {text}{}  {}{}  {}",
            look.paint(
                DIM,
                &format!("{:LABEL$}", if i == 0 { "gates" } else { "" })
            ),
            look.paint(style, story::sign(gate.status)),
            " ".repeat(column.saturating_sub(width(&text))),
            if gate.status == GateStatus::Passed {
                actual.clone()
            } else {
                look.paint(style, &actual)
            },
            " ".repeat(values.saturating_sub(width(&actual))),
            look.paint(noted, &beside),
        ));
        if beside.is_empty() && !note.is_empty() {
            let indent = LABEL + 4;
            for row in wrapped(&note, look.width.saturating_sub(indent)) {
                let row = look.paint(noted, &row);
                lines.push(format!("{:indent$}{row}", ""));
            }
        }
    }
    if outcome.gates.len() > GLANCE {
        lines.push(format!("{:LABEL$}{}", "", story::tally(outcome)));
    }
    if outcome.gates.is_empty() {
        let none = "none: this run judges nothing by itself";
        lines.push(format!(
            "{}{none}",
            look.paint(DIM, &format!("{:LABEL$}", "gates"))
        ));
    }
}

/// A label and its parts, wrapped between parts where they do not fit, and inside a part where even one does not.
pub(super) fn paragraph(
    label: &str,
    parts: &[String],
    style: &str,
    look: &Look,
    lines: &mut Vec<String>,
) {
    let room = look.width.saturating_sub(LABEL);
    let mut rows: Vec<String> = Vec::new();
    for part in parts {
        match rows.last_mut() {
            Some(row) if width(row) + 3 + width(part) <= room => {
                row.push_str(" · ");
                row.push_str(part);
            }
            _ => rows.extend(wrapped(part, room)),
        }
    }
    let label = fit(label, LABEL - 1);
    let label = format!("{label}{}", " ".repeat(LABEL - width(&label)));
    for (i, row) in rows.iter().enumerate() {
        let first = if i == 0 {
            look.paint(style, &label)
        } else {
            " ".repeat(LABEL)
        };
        lines.push(format!("{first}{row}"));
    }
}

/// A part in at most three rows, broken between words.
fn wrapped(part: &str, room: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in part.split(' ') {
        let last = rows.len() - 1;
        if !rows[last].is_empty() && width(&rows[last]) + 1 + width(word) > room {
            rows.push(fit(word, room));
        } else {
            if !rows[last].is_empty() {
                rows[last].push(' ');
            }
            let left = room.saturating_sub(width(&rows[last]));
            rows[last].push_str(&fit(word, left));
        }
    }
    rows.truncate(3);
    rows
}

fn footer(outcome: &Outcome, files: &[PathBuf], look: &Look) -> String {
    let exit = format!("exit {}", outcome.exit_code);
    let file = files.first().map_or_else(
        || "no report written".into(),
        |path| clean(&path.display().to_string()),
    );
    // A path is never shortened: it is there to be copied.
    let gap = look
        .width
        .saturating_sub(width(&file) + width(&exit))
        .max(2);
    format!("{file}{}{}", " ".repeat(gap), look.paint(BOLD, &exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_can_do_without_colours() {
        for (name, value, colours) in [
            ("NO_COLOR", "1", false),
            ("NO_COLOR", "0", false),
            ("NO_COLOR", "", true),
            ("TERM", "dumb", false),
            ("TERM", "xterm", true),
        ] {
            let said = |asked: &str| (asked == name).then(|| value.into());
            assert_eq!(welcome(said), colours, "{name}={value}");
        }
        assert!(welcome(|_| None));
    }
}
