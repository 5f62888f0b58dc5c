//! Faults: trouble on purpose, each checked against its phase and its group. One file a fault; what they share is here.

mod burst;
pub(super) mod deploy;
mod drop;
mod lasting;
mod meaning;
mod network;
mod partition;
mod revoke;
mod slow;
mod stall;

use super::timeline::Timeline;
use super::{Problems, names};
use crate::plan::fault::{Action, PlannedFault};
use crate::plan::types::{Opening, Phase, Plan};
use crate::scenario::model::{self, Fault};
use crate::scenario::units::{Count, Duration, Share};
use crate::scenario::{Problem, Scenario};

/// Adds a fault to its phase, and a burst to what its group does.
pub(super) fn compile(
    fault: &Fault,
    path: &str,
    scenario: &Scenario,
    phase: &mut Phase,
    timeline: &mut Timeline,
    problems: &mut Problems,
) {
    meaning::check(fault, path, scenario, problems);
    let planned = match fault {
        Fault::Burst(b) => {
            let path = format!("{path}.burst");
            burst::compile(b, &path, scenario, phase, timeline, problems)
        }
        Fault::Drop(c) => {
            let path = format!("{path}.drop");
            drop::compile(c, &path, scenario, phase, problems)
        }
        Fault::Slow(s) => {
            let path = format!("{path}.slow");
            slow::compile(s, &path, scenario, phase, problems)
        }
        Fault::Stall(s) => {
            let path = format!("{path}.stall");
            stall::compile(s, &path, scenario, phase, problems)
        }
        Fault::Network(n) => {
            let path = format!("{path}.network");
            network::compile(n, &path, scenario, phase, problems)
        }
        Fault::Partition(p) => {
            let path = format!("{path}.partition");
            partition::compile(p, &path, scenario, phase, problems)
        }
        Fault::Deploy(d) => {
            let path = format!("{path}.deploy");
            deploy::compile(d, &path, scenario, phase, problems)
        }
        Fault::Revoke(r) => {
            let path = format!("{path}.revoke");
            revoke::compile(r, &path, scenario, phase, problems)
        }
    };
    phase.faults.extend(planned);
}

/// Warns of faults that are over before anybody of their group opens: they touch nobody, which is told only when all is over.
pub(super) fn unreached(plan: &Plan, problems: &mut Problems) {
    for (i, phase) in plan.phases().iter().enumerate() {
        // Where nothing is wrong there is a planned fault for each that is written.
        for (j, fault) in phase.faults.iter().enumerate() {
            let PlannedFault {
                action: Action::Hit(hit),
                end,
                ..
            } = fault
            else {
                continue;
            };
            let group = &plan.groups()[hit.group as usize];
            let Some(opens) = first(&group.opening).filter(|opens| end <= opens) else {
                continue;
            };
            let (name, at) = (&group.name, Duration(opens));
            let after = &plan.phases()[plan.phase_at(opens.as_nanos() as u64)].name;
            let message = format!(
                "`{name}` opens from {at} on, in `{after}`, and this is over by then: it touches nobody, and the run will be invalid"
            );
            let path = format!("phases[{i}].faults[{j}].{}.clients", hit.effect.name());
            let help = "begin it later, or open the group sooner";
            problems.add(Problem::warning(path, message).help(help));
        }
    }
}

/// When the first connection opens; `None`: none ever does.
fn first(opening: &Opening) -> Option<std::time::Duration> {
    let knots = &opening.knots;
    let some = knots.iter().position(|(_, count)| *count > 0)?;
    // It opens when the curve leaves 0: at the knot before, or at the first one if it begins higher.
    Some(knots[some.saturating_sub(1)].0)
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

/// When it begins, counted from the run's start: `after` its phase began, and within it.
fn start(
    what: &str,
    after: Option<Duration>,
    path: &str,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<std::time::Duration> {
    let start = phase.start + after.unwrap_or_default().0;
    let within = start < phase.end;
    if !within {
        let what = format!("{what} begins");
        problems.add(
            beyond(&what, format!("{path}.after"), phase)
                .help("begin it sooner, or make the phase longer"),
        );
    }
    within.then_some(start)
}

/// What begins or ends when its phase is over.
fn beyond(what: &str, path: String, phase: &Phase) -> Problem {
    let length = (phase.end - phase.start).as_secs_f64();
    let name = &phase.name;
    let message = format!("the {what} after phase `{name}` is over ({length:.1} s)");
    Problem::error(path, message)
}

/// What would fit, for what is longer than that.
fn left(start: std::time::Duration, phase: &Phase) -> String {
    let rest = Duration(phase.end - start);
    format!("there are {rest} left in the phase")
}

/// How many of a group's connections a fault acts on: `share` or `count`, exactly one of them.
struct Many<'a> {
    share: Option<Share>,
    count: Option<Count>,
    /// What happens to them: `dropped`.
    done: &'a str,
    /// The group's name and connections.
    of: (&'a str, u64),
}

impl Many<'_> {
    /// In words: `10%`.
    fn words(&self) -> String {
        match (self.share, self.count) {
            (Some(share), _) => share.to_string(),
            (_, Some(count)) => count.to_string(),
            (None, None) => String::new(),
        }
    }

    fn victims(&self, path: &str, problems: &mut Problems) -> Option<u32> {
        let (name, of) = self.of;
        let (key, victims) = match (self.share, self.count) {
            (Some(_), Some(_)) => {
                problems.add(
                    Problem::error(path, "`share` and `count` exclude each other")
                        .help("leave one of them out"),
                );
                return None;
            }
            (None, None) => {
                let message = format!("it is not said how many connections are {}", self.done);
                problems.add(
                    Problem::error(path, message).help("give `share`, such as 10%, or `count`"),
                );
                return None;
            }
            (Some(share), None) => ("share", (share.0 * of as f64).round() as u64),
            (None, Some(count)) => ("count", count.0),
        };
        let path = format!("{path}.{key}");
        // A group of none is a problem of its own.
        if victims == 0 && of > 0 {
            let message = match self.share {
                Some(share) if share.0 > 0.0 => {
                    format!("{share} of the {of} connections of `{name}` is none")
                }
                _ => format!("{key} must be more than 0"),
            };
            problems.add(
                Problem::error(path, message).help("a fault that touches nobody proves nothing"),
            );
            return None;
        }
        if victims > of {
            let message = format!("{victims} connections are more than the group's {of}");
            problems.add(Problem::error(path, message).help("give a `share`, or fewer"));
            return None;
        }
        Some(victims.min(u64::from(u32::MAX)) as u32)
    }
}
