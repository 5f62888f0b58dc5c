//! Phases in time, how groups open in them, and the faults.

use super::{Problems, fault, names};
use crate::plan::types::{Opening, Phase};
use crate::scenario::model::{Open, Stage};
use crate::scenario::units::Boost;
use crate::scenario::{Problem, Scenario};
use std::collections::HashMap;
use std::time::Duration;

/// The run's stretches, and what happens to each group in them.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub phases: Vec<Phase>,
    /// By group: how it opens, for those that a phase names.
    pub openings: HashMap<String, Opening>,
    /// By group: when there is more of its messages, with the path of each.
    pub bursts: HashMap<String, Vec<Boosted>>,
    /// Openings that leave connections closed, with the words about it; a burst may still open them.
    left: HashMap<String, Problem>,
}

/// A boost of a group's rates for a time.
#[derive(Debug, Clone)]
pub(super) struct Boosted {
    pub start: Duration,
    pub end: Duration,
    pub boost: Boost,
    pub path: String,
}

pub(super) fn compile(scenario: &Scenario, problems: &mut Problems) -> Timeline {
    let mut timeline = Timeline::default();
    let mut opened: HashMap<&str, &str> = HashMap::new();
    let mut start = Duration::ZERO;
    for (i, phase) in scenario.phases.iter().enumerate() {
        let path = format!("phases[{i}]");
        problems.zero(
            phase.r#for.0.is_zero(),
            format!("{path}.for"),
            "a phase's length",
        );
        let mut planned = Phase {
            name: phase.name.clone(),
            start,
            end: start + phase.r#for.0,
            faults: Vec::new(),
        };
        for (name, open) in &phase.open {
            let path = format!("{path}.open.{name}");
            let Some(group) = scenario.clients.get(name) else {
                let known = scenario.clients.keys().map(String::as_str);
                problems.add(names::unknown(&path, "client group", name, known).on_key());
                continue;
            };
            if let Some(before) = opened.insert(name, &phase.name) {
                let message = format!("`{name}` already opens in phase `{before}`");
                problems.add(
                    Problem::error(path, message)
                        .help("a group opens in one phase")
                        .on_key(),
                );
                continue;
            }
            if timeline.openings.contains_key(name) {
                let message = format!("a burst opens connections of `{name}` before this phase");
                let help = "open the group before its bursts";
                problems.add(Problem::error(path, message).help(help).on_key());
                continue;
            }
            let count = group.count.0.min(u64::from(u32::MAX)) as u32;
            let (opening, left) = opening(open, count, &planned, &path, problems);
            timeline.left.extend(left.map(|left| (name.clone(), left)));
            timeline.openings.insert(name.clone(), opening);
        }
        for (j, fault) in phase.faults.iter().enumerate() {
            let path = format!("{path}.faults[{j}]");
            fault::compile(
                fault,
                &path,
                scenario,
                &mut planned,
                &mut timeline,
                problems,
            );
        }
        start = planned.end;
        timeline.phases.push(planned);
    }
    for (name, group) in &scenario.clients {
        let Some((_, opened)) = timeline.openings.get(name).and_then(|o| o.knots.last()) else {
            continue;
        };
        if u64::from(*opened) < group.count.0.min(u64::from(u32::MAX)) {
            let left = timeline.left.remove(name).unwrap_or_else(|| {
                let count = group.count.0;
                let message =
                    format!("bursts open {opened} of {count} connections; the others never open");
                Problem::warning(format!("clients.{name}.count"), message)
            });
            problems.add(left);
        }
    }
    // Beyond it, nanoseconds would not fit the arithmetic of pacing.
    if start > Duration::from_secs(366 * 86_400) {
        problems.add(Problem::error("phases", "the run is longer than a year"));
    }
    timeline
}

/// How a group opens, and the words about those that are left out by it.
fn opening(
    open: &Open,
    count: u32,
    phase: &Phase,
    path: &str,
    problems: &mut Problems,
) -> (Opening, Option<Problem>) {
    let mut left = None;
    let length = phase.end - phase.start;
    let knots = match open {
        Open::AllAtOnce => vec![(phase.start, count)],
        Open::Linear => vec![(phase.start, 0), (phase.end, count)],
        Open::Rate(rate) => {
            problems.zero(rate.0 <= 0.0, format!("{path}.rate"), "an opening rate");
            let needed = f64::from(count) / rate.0;
            // Half a millionth is the rounding of rates such as 100/m.
            if rate.0 > 0.0 && needed > length.as_secs_f64() * (1.0 + 5e-7) {
                let message = format!(
                    "{count} connections at {:.4}/s take {needed:.1} s, but phase `{}` lasts {:.1} s",
                    rate.0,
                    phase.name,
                    length.as_secs_f64()
                );
                let least = f64::from(count) / length.as_secs_f64().max(1e-9);
                let help = format!("open at {}/s or more, or lengthen the phase", least.ceil());
                problems.add(Problem::error(format!("{path}.rate"), message).help(help));
            }
            let needed = if needed.is_finite() {
                needed.min(length.as_secs_f64())
            } else {
                0.0
            };
            vec![
                (phase.start, 0),
                (phase.start + Duration::from_secs_f64(needed), count),
            ]
        }
        Open::Stages(stages) => {
            let path = format!("{path}.stages");
            let (knots, unopened) = staged(stages, count, phase, &path, problems);
            left = unopened;
            knots
        }
    };
    (Opening { knots }, left)
}

fn staged(
    stages: &[Stage],
    count: u32,
    phase: &Phase,
    path: &str,
    problems: &mut Problems,
) -> (Vec<(Duration, u32)>, Option<Problem>) {
    let mut knots = vec![(phase.start, 0)];
    let mut at = phase.start;
    let mut before = 0;
    for (i, stage) in stages.iter().enumerate() {
        at += stage.over.0;
        let to = stage.to.0;
        if to < before {
            let message =
                format!("this stage ends with {to} connections, fewer than the {before} before it");
            problems.add(
                Problem::error(format!("{path}[{i}].to"), message)
                    .help("stages only open connections"),
            );
        }
        if to > u64::from(count) {
            let message = format!("{to} connections are more than the group's {count}");
            problems.add(
                Problem::error(format!("{path}[{i}].to"), message)
                    .help("change both, the stage and the group's `count`"),
            );
        }
        before = before.max(to);
        knots.push((at, before.min(u64::from(count)) as u32));
    }
    if at > phase.end {
        let message = format!(
            "the stages take {:.1} s, but phase `{}` lasts {:.1} s",
            (at - phase.start).as_secs_f64(),
            phase.name,
            (phase.end - phase.start).as_secs_f64()
        );
        problems
            .add(Problem::error(path, message).help("shorten the stages or lengthen the phase"));
    }
    let left = (before < u64::from(count)).then(|| {
        let message =
            format!("the stages open {before} of {count} connections; the others never open");
        Problem::warning(path, message)
    });
    (knots, left)
}
