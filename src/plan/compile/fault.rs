//! Faults: trouble on purpose, each checked against its phase and its group.

use super::timeline::Multiple;
use super::{Problems, names};
use crate::plan::fault::{Action, Cut, How, sendable};
use crate::plan::types::{Phase, PlannedFault};
use crate::scenario::model::{self, Burst, Fault};
use crate::scenario::{Problem, Scenario};
use std::collections::HashMap;
use std::time::Duration;

/// Adds a fault to its phase, and a burst to those of its group.
pub(super) fn compile(
    fault: &Fault,
    path: &str,
    scenario: &Scenario,
    phase: &mut Phase,
    bursts: &mut HashMap<String, Vec<Multiple>>,
    problems: &mut Problems,
) {
    match fault {
        Fault::Burst(b) => {
            let path = format!("{path}.burst");
            burst(b, &path, scenario, phase, bursts, problems);
        }
        Fault::Drop(c) => {
            let path = format!("{path}.drop");
            phase
                .faults
                .extend(cut(c, &path, scenario, phase, problems));
        }
    }
}

/// The group of that name, or the problem that there is none.
fn group<'a>(
    name: &str,
    path: &str,
    scenario: &'a Scenario,
    problems: &mut Problems,
) -> Option<(usize, &'a model::ClientGroup)> {
    let found = scenario.clients.get_full(name);
    if found.is_none() {
        let known = scenario.clients.keys().map(String::as_str);
        let path = format!("{path}.clients");
        problems.add(names::unknown(&path, "client group", name, known));
    }
    found.map(|(index, _, group)| (index, group))
}

fn burst(
    burst: &Burst,
    path: &str,
    scenario: &Scenario,
    phase: &mut Phase,
    bursts: &mut HashMap<String, Vec<Multiple>>,
    problems: &mut Problems,
) {
    problems.zero(
        burst.rate.0 <= 0.0,
        format!("{path}.rate"),
        "a burst's multiple",
    );
    let start = phase.start + burst.after.map_or(Duration::ZERO, |d| d.0);
    let end = burst.r#for.map_or(phase.end, |d| start + d.0);
    if start >= phase.end {
        problems.add(beyond("burst begins", format!("{path}.after"), phase).help(SOONER));
    } else if end > phase.end {
        problems.add(
            beyond("burst ends", format!("{path}.for"), phase)
                .help("leave `for` out to end with the phase"),
        );
    } else {
        problems.zero(end == start, format!("{path}.for"), "a burst's length");
    }
    let Some((index, group)) = group(&burst.clients, path, scenario, problems) else {
        return;
    };
    let name = &burst.clients;
    if group.publish.is_none() && group.request.is_none() {
        let message =
            format!("`{name}` neither publishes nor asks, so there is nothing to multiply");
        problems.add(Problem::error(format!("{path}.clients"), message));
        return;
    }
    // What was refused above needs no second message from what follows of it.
    if burst.rate.0 <= 0.0 || start >= end || end > phase.end {
        return;
    }
    let others = bursts.entry(name.clone()).or_default();
    if others.iter().any(|o| o.start < end && start < o.end) {
        problems.add(Problem::error(
            path,
            format!("two bursts of `{name}` overlap"),
        ));
        return;
    }
    others.push(Multiple {
        start,
        end,
        factor: burst.rate.0,
        path: path.to_owned(),
    });
    let label = format!("{name} at {}", burst.rate);
    phase.faults.push(PlannedFault {
        label,
        start,
        end,
        group: index as u32,
        action: Action::Burst,
    });
}

/// Connections that are cut: how many, in which way, and when.
fn cut(
    cut: &model::Cut,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let how = how(cut, path, problems);
    let span = span(cut, path, phase, problems);
    let (index, group) = group(&cut.clients, path, scenario, problems)?;
    let victims = victims(cut, path, group.count.0, problems);
    if group.reconnect.is_none() {
        let message = format!(
            "`{}` has no `reconnect`, so whoever is cut stays away",
            cut.clients
        );
        let help = format!("give `clients.{}.reconnect`", cut.clients);
        problems.add(Problem::warning(format!("{path}.clients"), message).help(help));
    }
    let (victims, how, (start, end)) = (victims?, how?, span?);
    Some(PlannedFault {
        label: label(cut, how),
        start,
        end,
        group: index as u32,
        action: Action::Cut(Cut { victims, how }),
    })
}

/// In words: `10% of subscribers reset`.
fn label(cut: &model::Cut, how: How) -> String {
    let many = match (cut.share, cut.count) {
        (Some(share), _) => share.to_string(),
        (_, count) => count.unwrap_or_default().to_string(),
    };
    let how = match how {
        How::Close(code) => format!("closed with {code}"),
        How::Fin => "ended by FIN".to_owned(),
        How::Reset => "reset".to_owned(),
        How::Vanish => "vanished".to_owned(),
    };
    let over = cut.over.filter(|over| !over.0.is_zero());
    let over = over.map_or(String::new(), |over| format!(" over {over}"));
    format!("{many} of {} {how}{over}", cut.clients)
}

/// A client that leaves says 1001 (going away), as browsers do when their page is left.
const GOING_AWAY: u16 = 1001;

fn how(cut: &model::Cut, path: &str, problems: &mut Problems) -> Option<How> {
    let path = format!("{path}.code");
    match (cut.how, cut.code) {
        (model::How::Close, code) => {
            let code = code.unwrap_or(GOING_AWAY);
            if sendable(code) {
                return Some(How::Close(code));
            }
            let message = format!("{code} is not a code that a Close frame may carry");
            problems.add(
                Problem::error(path, message).help("such as 1000, 1001, 1008 or 3000 to 4999"),
            );
            None
        }
        (_, Some(_)) => {
            let message = "only a Close frame has a code";
            problems.add(
                Problem::error(path, message)
                    .help("say `how: close`, or leave `code` out")
                    .on_key(),
            );
            None
        }
        (model::How::Fin, None) => Some(How::Fin),
        (model::How::Reset, None) => Some(How::Reset),
        (model::How::Vanish, None) => Some(How::Vanish),
    }
}

/// Start and end, counted from the run's start.
fn span(
    cut: &model::Cut,
    path: &str,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<(Duration, Duration)> {
    let start = phase.start + cut.after.map_or(Duration::ZERO, |d| d.0);
    let end = start + cut.over.map_or(Duration::ZERO, |d| d.0);
    if start >= phase.end {
        problems.add(beyond("drop begins", format!("{path}.after"), phase).help(SOONER));
        return None;
    }
    if end > phase.end {
        let rest = crate::scenario::units::Duration(phase.end - start);
        problems.add(
            beyond("drop ends", format!("{path}.over"), phase)
                .help(format!("there are {rest} left in the phase")),
        );
        return None;
    }
    Some((start, end))
}

const SOONER: &str = "begin it sooner, or make the phase longer";

/// What begins or ends when its phase is over.
fn beyond(what: &str, path: String, phase: &Phase) -> Problem {
    let length = (phase.end - phase.start).as_secs_f64();
    let name = &phase.name;
    let message = format!("the {what} after phase `{name}` is over ({length:.1} s)");
    Problem::error(path, message)
}

/// How many of the group's connections.
fn victims(cut: &model::Cut, path: &str, of: u64, problems: &mut Problems) -> Option<u32> {
    let (key, victims) = match (cut.share, cut.count) {
        (Some(_), Some(_)) => {
            problems.add(
                Problem::error(path, "`share` and `count` exclude each other")
                    .help("leave one of them out"),
            );
            return None;
        }
        (None, None) => {
            problems.add(
                Problem::error(path, "it is not said how many connections are dropped")
                    .help("give `share`, such as 10%, or `count`"),
            );
            return None;
        }
        (Some(share), None) => ("share", (share.0 * of as f64).round() as u64),
        (None, Some(count)) => ("count", count.0),
    };
    let path = format!("{path}.{key}");
    let name = &cut.clients;
    // A group of none is a problem of its own.
    if victims == 0 && of > 0 {
        let message = match cut.share {
            Some(share) if share.0 > 0.0 => {
                format!("{share} of the {of} connections of `{name}` is none")
            }
            _ => format!("{key} must be more than 0"),
        };
        problems
            .add(Problem::error(path, message).help("a fault that touches nobody proves nothing"));
        return None;
    }
    if victims > of {
        let message = format!("{victims} connections are more than the group's {of}");
        problems.add(Problem::error(path, message).help("give a `share`, or fewer"));
        return None;
    }
    Some(victims.min(u64::from(u32::MAX)) as u32)
}
