//! `summary.md`: the head of the report as a comment on a pull request.

use super::text::markdown as escape;
use super::{DeployReport, GateStatus, Outcome, ValidityState, number, story};
use std::io::{self, Write};

/// Gates shown before the rest is folded away.
const GATES: usize = 30;

/// Writes the summary in GitHub's Markdown.
///
/// # Errors
/// Those of the writer.
pub fn markdown(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let mark = if outcome.exit_code == 0 { "✅" } else { "❌" };
    let (verdict, validity) = (escape(&outcome.verdict), story::validity(outcome));
    writeln!(
        out,
        "### {mark} {verdict} · {validity} — {}\n",
        escape(&outcome.name)
    )?;
    if !outcome.description.trim().is_empty() {
        writeln!(out, "{}\n", escape(outcome.description.trim()))?;
    }
    writeln!(
        out,
        "{} · target <code>{}</code>\n",
        escape(&story::what(outcome)),
        escape(&outcome.target)
    )?;
    if !outcome.validity.reasons.is_empty() {
        let kind = if outcome.validity.state == ValidityState::Invalid {
            "CAUTION"
        } else {
            "WARNING"
        };
        writeln!(out, "> [!{kind}]")?;
        for reason in &outcome.validity.reasons {
            writeln!(out, "> - {}", escape(reason))?;
        }
        writeln!(out)?;
    }
    gates(outcome, out)?;
    writeln!(out, "| | |\n|:--|:--|")?;
    for line in story::lines(outcome) {
        let parts: Vec<String> = line.parts.iter().map(|part| escape(part)).collect();
        writeln!(
            out,
            "| **{}** | {} |",
            escape(&line.label),
            parts.join(" · ")
        )?;
    }
    for deploy in &outcome.deploys {
        self::deploy(deploy, out)?;
    }
    phases(outcome, out)?;
    pressure(outcome, out)?;
    if !outcome.warnings.is_empty() {
        writeln!(out)?;
        for warning in &outcome.warnings {
            writeln!(out, "- {}", escape(warning))?;
        }
    }
    writeln!(
        out,
        "\n<sub>{} · {} · exit {}</sub>",
        escape(&outcome.tool),
        escape(&outcome.started),
        outcome.exit_code
    )
}

fn gates(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    if outcome.gates.is_empty() {
        return writeln!(out, "No gates: this run judges nothing by itself.\n");
    }
    // What did not hold comes first; the rest of a long list is one line.
    let (failed, passed): (Vec<_>, Vec<_>) = outcome
        .gates
        .iter()
        .partition(|gate| gate.status != GateStatus::Passed);
    writeln!(out, "| | gate | actual | |\n|:-:|:--|:--|:--|")?;
    for gate in failed.iter().chain(&passed).take(GATES) {
        let sign = match gate.status {
            GateStatus::Passed => "✅",
            GateStatus::Failed => "❌",
            GateStatus::NoEvidence => "❔",
        };
        let (text, actual, note) = (escape(&gate.text), escape(&gate.actual), escape(&gate.note));
        writeln!(
            out,
            "| {sign} | <code>{text}</code> | **{actual}** | {note} |"
        )?;
    }
    if outcome.gates.len() > GATES {
        writeln!(out, "| | … | | {} |", escape(&story::tally(outcome)))?;
    }
    writeln!(out)
}

fn deploy(deploy: &DeployReport, out: &mut impl Write) -> io::Result<()> {
    let (phase, label) = (escape(&deploy.phase), escape(&deploy.label));
    writeln!(out, "\n#### Deploy in {phase}\n\n<code>{label}</code>\n")?;
    writeln!(out, "**{}**\n", escape(&deploy.verdict))?;
    for finding in &deploy.findings {
        let sign = if finding.trouble { "⚠️ " } else { "" };
        writeln!(out, "- {sign}{}", escape(&finding.text))?;
    }
    writeln!(
        out,
        "\n<details><summary>In numbers</summary>\n\n| | |\n|:--|:--|"
    )?;
    for (name, value) in deploy.facts() {
        writeln!(out, "| {name} | {} |", escape(&value))?;
    }
    if !deploy.output.is_empty() {
        writeln!(out, "\nWhat it said:\n")?;
        for line in deploy.output.lines() {
            writeln!(out, "<code>{}</code><br>", escape(line))?;
        }
    }
    writeln!(out, "\n</details>")
}

fn phases(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n<details><summary>By phase</summary>\n")?;
    writeln!(
        out,
        "| phase | length | opened | sent | received | lost | p50 | p99 | max |"
    )?;
    writeln!(out, "|:--|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for phase in &outcome.phases {
        let counts = outcome.counts_by_phase.get(&phase.name);
        let n = |name: &str| {
            number::count(
                counts
                    .and_then(|counts| counts.get(name))
                    .copied()
                    .unwrap_or(0),
            )
        };
        let timers = outcome.timers_by_phase.get(&phase.name);
        let timer = timers.and_then(|timers| timers.get("latency").or(timers.get("rtt")));
        let times = timer
            .filter(|t| t.count > 0)
            .map(|t| [t.p50, t.p99, t.max].map(number::millis));
        let [p50, p99, max] =
            times.unwrap_or([const { String::new() }; 3].map(|_| number::NONE.into()));
        writeln!(
            out,
            "| {}{} | {} | {} | {} | {} | {} | {p50} | {p99} | {max} |",
            escape(&phase.name),
            if phase.completed { "" } else { " (cut short)" },
            number::span(phase.end - phase.start),
            n("opened"),
            n("sent"),
            n("received"),
            n("lost"),
        )?;
    }
    writeln!(out, "\n</details>")
}

/// Slow consumers in a table, folded away like the phases.
fn pressure(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    if outcome.pressure.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n<details><summary>Slow consumers</summary>\n")?;
    writeln!(
        out,
        "| fault | target's policy | evidence | taken each | skipped | noisy neighbour | publishers held up | after it |"
    )?;
    writeln!(out, "|:--|:--|:--|--:|--:|:--|--:|:--|")?;
    for of in &outcome.pressure {
        writeln!(
            out,
            "| {} in {} | **{}** | {} | {} | {} | {} | {:.1} s | {} |",
            escape(&of.fault),
            escape(&of.phase),
            escape(&of.policy),
            escape(&of.why),
            number::bytes(of.taken),
            number::count(of.skipped),
            escape(&story::noisy(&of.neighbour)),
            of.publishers.held_up,
            escape(&story::recovery(of)),
        )?;
    }
    writeln!(out, "\n</details>")
}
