//! `stall`: a part of a group's connections stops in the middle of what it sends.

use super::super::Problems;
use super::lasting::Lasting;
use crate::plan::fault::{Effect, PlannedFault, Stall};
use crate::plan::types::Phase;
use crate::scenario::model::{self, Stalled};
use crate::scenario::units::ByteRate;
use crate::scenario::{Problem, Scenario};

/// What is trickled where nothing else is said, as slow clients of attackers do.
const TRICKLE: ByteRate = ByteRate(1);

/// Who stops in the middle of what, and when.
pub(super) fn compile(
    stall: &model::Stall,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let what = what(stall, path, problems);
    let lasting = Lasting {
        name: "stall",
        done: "stalled",
        clients: &stall.clients,
        share: stall.share,
        count: stall.count,
        after: stall.after,
        length: stall.r#for,
        over: stall.over,
    };
    let checked = lasting.check(path, scenario, phase, problems)?;
    let what = what?;
    if matches!(what, Stall::Handshake { .. }) && !opens(&stall.clients, scenario, phase) {
        let name = &stall.clients;
        let message = format!(
            "`{name}` has no `reconnect` and does not open in this phase, so there are no handshakes to stall"
        );
        let help = format!(
            "give `clients.{name}.reconnect`: whoever is connected then leaves and opens anew"
        );
        problems.add(Problem::warning(format!("{path}.clients"), message).help(help));
    }
    let label = match what {
        Stall::Message { finish: true } => {
            format!("{} stop in the middle of a message", checked.who)
        }
        Stall::Message { finish: false } => {
            format!("{} leave in the middle of a message", checked.who)
        }
        Stall::Handshake { .. } => {
            format!("{} open at {}", checked.who, stall.rate.unwrap_or(TRICKLE))
        }
    };
    checked.planned(label, Effect::Stall(what), path, phase, problems)
}

/// Whether connections of a group may open in a phase.
fn opens(name: &str, scenario: &Scenario, phase: &Phase) -> bool {
    let back = scenario
        .clients
        .get(name)
        .is_some_and(|group| group.reconnect.is_some());
    let mut named = scenario.phases.iter().filter(|p| p.open.contains_key(name));
    // A group that no phase names opens at the start.
    back || named
        .next()
        .map_or(phase.start.is_zero(), |own| own.name == phase.name)
}

fn what(stall: &model::Stall, path: &str, problems: &mut Problems) -> Option<Stall> {
    match (stall.what, stall.rate, stall.finish) {
        (Stalled::Message, Some(_), _) => {
            let message = "a message stops: only a handshake has a rate";
            problems.add(
                Problem::error(format!("{path}.rate"), message)
                    .help("say `what: handshake`, or leave `rate` out")
                    .on_key(),
            );
            None
        }
        (Stalled::Handshake, _, Some(_)) => {
            let message = "only a message is finished or left";
            problems.add(
                Problem::error(format!("{path}.finish"), message)
                    .help("say `what: message`, or leave `finish` out")
                    .on_key(),
            );
            None
        }
        (Stalled::Message, None, finish) => Some(Stall::Message {
            finish: finish.unwrap_or(true),
        }),
        (Stalled::Handshake, rate, None) => {
            let rate = rate.unwrap_or(TRICKLE).0;
            problems.zero(rate == 0, format!("{path}.rate"), "a rate");
            (rate > 0).then_some(Stall::Handshake { rate })
        }
    }
}
