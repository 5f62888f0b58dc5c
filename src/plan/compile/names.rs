//! Names: what they may look like, that they are unique, and what a wrong one was probably meant to be.

use super::Problems;
use crate::scenario::{Problem, Scenario};
use std::collections::HashSet;

/// Most phases: the tag of a metric is one byte.
const PHASES: usize = 255;
/// Most groups: each has histograms of its own in every shard.
const GROUPS: usize = 4_000;

/// Most publishes of a group, and most requests: which one a frame belongs to is one byte, and requests'
/// streams are numbered in the last 256 there are.
const KINDS: usize = 255;

/// Checks the scenario's, groups' and phases' names and how many there are.
pub(super) fn check(scenario: &Scenario, problems: &mut Problems) {
    if scenario.version != 1 {
        problems.add(
            Problem::error(
                "version",
                format!(
                    "version {} of the scenario language is unknown",
                    scenario.version
                ),
            )
            .help("1 is the only one"),
        );
    }
    word(&scenario.name, "name", false, problems);
    if scenario.clients.is_empty() {
        problems.add(
            Problem::error("clients", "there are no client groups").help("add at least one group"),
        );
    }
    if scenario.clients.len() + scenario.inject.len() > GROUPS {
        let message = format!(
            "{} client groups are more than {GROUPS}",
            scenario.clients.len() + scenario.inject.len()
        );
        problems.add(
            Problem::error("clients", message)
                .help("use `vars` for what differs between connections"),
        );
    }
    for name in scenario.inject.keys() {
        let path = format!("inject.{name}");
        word(name, &path, true, problems);
        if scenario.clients.contains_key(name) {
            let message =
                "a client group has this name; reports and gates could not tell them apart";
            problems.add(Problem::error(path, message).on_key());
        }
    }
    for (name, group) in &scenario.clients {
        word(name, &format!("clients.{name}"), true, problems);
        let publishes = group.publish.as_ref().map_or(0, |p| p.to_vec().len());
        let requests = group.request.as_ref().map_or(0, |r| r.to_vec().len());
        for (what, count) in [("publish", publishes), ("request", requests)] {
            if count > KINDS {
                let message = format!("{count} entries are more than {KINDS}");
                let path = format!("clients.{name}.{what}");
                problems.add(Problem::error(path, message).help("use another group for the rest"));
            }
        }
    }
    if scenario.phases.is_empty() {
        problems
            .add(Problem::error("phases", "there are no phases").help("add at least one phase"));
    }
    if scenario.phases.len() > PHASES {
        let message = format!("{} phases are more than {PHASES}", scenario.phases.len());
        problems.add(Problem::error("phases", message));
    }
    let mut seen = HashSet::new();
    for (i, phase) in scenario.phases.iter().enumerate() {
        let path = format!("phases[{i}].name");
        word(&phase.name, &path, false, problems);
        if !seen.insert(phase.name.as_str()) {
            problems.add(Problem::error(
                path,
                format!("there is another phase named `{}`", phase.name),
            ));
        }
    }
}

/// Names appear in gates, file names and reports, so they are plain words.
fn word(name: &str, path: &str, on_key: bool, problems: &mut Problems) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let message = if name.is_empty() {
        "a name cannot be empty".to_owned()
    } else if !name.chars().all(plain) || name.starts_with('.') {
        "a name is made of letters, digits, `-`, `_` and `.`, and does not begin with a `.`"
            .to_owned()
    } else if name.len() > 100 {
        "a name is at most 100 characters long".to_owned()
    } else {
        return;
    };
    let problem = Problem::error(path, message);
    problems.add(if on_key { problem.on_key() } else { problem });
}

/// An unknown name of a kind, with the nearest known one as advice, or all if they are few.
pub(super) fn unknown<'a>(
    path: &str,
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let known: Vec<&str> = known.into_iter().collect();
    let problem = Problem::error(path, format!("unknown {what} `{name}`"));
    match nearest(name, &known) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => problem.help(format!("there is no {what}")),
        None if known.len() <= 12 => problem.help(format!("known: {}", known.join(", "))),
        None => problem,
    }
}

/// The known name that a typing mistake most likely stands for.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), *k))
        .filter(|(distance, k)| *distance <= 1.max(name.len().max(k.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
