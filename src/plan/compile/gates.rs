//! Gates: the names in them, those that are implied, and what the scenario lacks for one ever to have a value.

use super::Problems;
use crate::gate::{self, Gate, Need};
use crate::plan::fault::{Action, Effect, How, PlannedFault, Rollout};
use crate::plan::types::{Group, Plan};
use crate::protocol::settings::socket_io::Polling;
use crate::protocol::{Field, ProtocolConfig};
use crate::scenario::model::Moves;
use crate::scenario::{Problem, Scenario};
use std::net::IpAddr;

/// Parses the gates and checks the names in them; and adds those that groups imply whose connections must not move.
pub(super) fn compile(scenario: &Scenario, problems: &mut Problems) -> Vec<Gate> {
    let phases: Vec<&str> = scenario.phases.iter().map(|p| p.name.as_str()).collect();
    let groups = scenario.clients.keys().chain(scenario.inject.keys());
    let groups: Vec<&str> = groups.map(String::as_str).collect();
    let mut gates = Vec::new();
    for (i, text) in scenario.gates.iter().enumerate() {
        let parsed = gate::parse(text).and_then(|gate| {
            gate.check_names(&phases, &groups)?;
            Ok(gate)
        });
        match parsed {
            Ok(gate) => gates.push(gate),
            Err(error) => {
                let problem = Problem::error(
                    format!("gates[{i}]"),
                    format!(
                        "{} (at character {} of the gate)",
                        error.message, error.column
                    ),
                );
                problems.add(match error.suggestion {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem,
                });
            }
        }
    }
    let strict = scenario.clients.iter().filter(|(_, group)| {
        let moves = group.node.as_ref().map(|node| node.moves);
        moves == Some(Moves::Forbidden)
    });
    for (name, _) in strict {
        let text = format!("moved == 0 of {name}");
        let implied = gate::parse(&text).ok();
        gates.extend(implied.filter(|gate| gates.iter().all(|g: &Gate| g.text() != gate.text())));
    }
    gates
}

/// Warns of written gates that nothing in the plan can give a value: they are inconclusive when all is over. Of an implied one
/// the group that implies it is told.
pub(super) fn unfed(gates: &[Gate], plan: &Plan, scenario: &Scenario, problems: &mut Problems) {
    // They were all parsed, so they are in the order written, with what is implied after them.
    for (i, gate) in gates.iter().enumerate().take(scenario.gates.len()) {
        let missing = gate.needs().iter().find(|need| !has(plan, gate, **need));
        if let Some(missing) = missing {
            let (what, help) = missing.missing(gate.group(), gate.phase());
            let path = format!("gates[{i}]");
            // None of what nobody speaks would be none, and pass.
            let problem = if *missing == Need::Mqtt {
                Problem::error(path, format!("`{}` says nothing: {what}", gate.text()))
            } else {
                let message = format!("`{}` will have no value, and not pass: {what}", gate.text());
                Problem::warning(path, message)
            };
            problems.add(problem.help(help));
        }
    }
}

/// Whether the plan has what a gate needs, in the gate's group and phase where it names them.
fn has(plan: &Plan, gate: &Gate, need: Need) -> bool {
    let judged = |group: &&Group| gate.group().is_none_or(|name| group.name == name);
    let group = |has: fn(&Group) -> bool| plan.groups().iter().filter(judged).any(has);
    let address =
        |has: fn(&crate::transport::Endpoint) -> bool| plan.target().endpoints.iter().any(has);
    let last = gate
        .phase()
        .and_then(|name| plan.phases().iter().position(|p| p.name == name));
    let until = last.map_or(plan.phases().len(), |last| last + 1);
    let fault = |from: usize, has: &dyn Fn(&PlannedFault) -> bool| {
        let phases = plan.phases().get(from..until).unwrap_or_default();
        phases.iter().flat_map(|phase| &phase.faults).any(has)
    };
    let hits = |fault: &PlannedFault, does: fn(&Effect) -> bool| match &fault.action {
        Action::Hit(hit) => {
            let group = plan.groups().get(hit.group as usize);
            does(&hit.effect) && group.is_some_and(|group| judged(&group))
        }
        Action::Burst { .. } | Action::Deploy(_) => false,
    };
    match need {
        Need::Messages => plan.groups().iter().any(|group| !group.publish.is_empty()),
        Need::Publish => group(|group| !group.publish.is_empty()),
        Need::Request => group(|group| !group.request.is_empty()),
        Need::Schedule => group(|group| !group.publish.is_empty() || !group.request.is_empty()),
        Need::Heartbeat => group(|group| group.heartbeat.is_some() || group.polls()),
        // The way into a broker is made again whatever is written.
        Need::Reconnect => group(|group| group.reconnect.is_some() || group.inject.is_some()),
        Need::Node => group(|group| group.node.is_some()),
        Need::Resume => group(|group| group.resume.is_some()),
        Need::Auth => group(|group| group.auth.is_some()),
        Need::Compression => group(|group| group.compression.is_some()),
        Need::Will => plan.groups().iter().any(|group| {
            let mut fields = group.introduction.iter();
            fields.any(|(field, _)| *field == Field::WillTopic)
        }),
        Need::Polling => group(|group| group.protocol.polls_first().is_some()),
        Need::Upgrade => group(|group| {
            matches!(
                group.protocol.polling(),
                Polling::Handshake | Polling::Upgrade
            )
        }),
        Need::Mqtt => group(|group| matches!(group.protocol, ProtocolConfig::Mqtt(_))),
        Need::Ladder => group(|group| group.transport.rungs().len() > 1),
        Need::Tls => address(|address| address.tls),
        Need::HostName => address(|address| address.host.parse::<IpAddr>().is_err()),
        Need::Deploy => fault(0, &|fault| matches!(fault.action, Action::Deploy(_))),
        Need::DeployHere => fault(last.unwrap_or(0), &|fault| {
            matches!(fault.action, Action::Deploy(_))
        }),
        Need::Roll => fault(
            last.unwrap_or(0),
            &|fault| matches!(&fault.action, Action::Deploy(deploy) if matches!(deploy.how, Rollout::Roll { .. })),
        ),
        Need::Evictable => fault(0, &|fault| match &fault.action {
            Action::Hit(hit) => matches!(
                hit.effect,
                Effect::Slow(_) | Effect::Stall(_) | Effect::Cut(How::Vanish)
            ),
            Action::Burst { .. } | Action::Deploy(_) => false,
        }),
        Need::Trouble => fault(0, &|_| true),
        Need::Slow => fault(last.unwrap_or(0), &|fault| {
            hits(fault, |effect| matches!(effect, Effect::Slow(_)))
        }),
        Need::Revoke => fault(last.unwrap_or(0), &|fault| {
            hits(fault, |effect| matches!(effect, Effect::Revoke(_)))
        }),
    }
}
