//! `burst`: a group's rates at a multiple for a time. It becomes a part of the group's profiles.

use super::super::Problems;
use super::super::timeline::Multiple;
use super::{SOONER, beyond, group};
use crate::plan::fault::{Action, PlannedFault};
use crate::plan::types::Phase;
use crate::scenario::model::Burst;
use crate::scenario::{Problem, Scenario};
use std::collections::HashMap;
use std::time::Duration;

/// Checks a burst and adds it to those of its group.
pub(super) fn compile(
    burst: &Burst,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    bursts: &mut HashMap<String, Vec<Multiple>>,
    problems: &mut Problems,
) -> Option<PlannedFault> {
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
    let (index, group) = group(&burst.clients, path, scenario, problems)?;
    let name = &burst.clients;
    if group.publish.is_none() && group.request.is_none() {
        let message =
            format!("`{name}` neither publishes nor asks, so there is nothing to multiply");
        problems.add(Problem::error(format!("{path}.clients"), message));
        return None;
    }
    // What was refused above needs no second message from what follows of it.
    if burst.rate.0 <= 0.0 || start >= end || end > phase.end {
        return None;
    }
    let others = bursts.entry(name.clone()).or_default();
    if others.iter().any(|o| o.start < end && start < o.end) {
        problems.add(Problem::error(
            path,
            format!("two bursts of `{name}` overlap"),
        ));
        return None;
    }
    others.push(Multiple {
        start,
        end,
        factor: burst.rate.0,
        path: path.to_owned(),
    });
    let label = format!("{name} at {}", burst.rate);
    Some(PlannedFault {
        label,
        start,
        end,
        action: Action::Burst {
            group: index as u32,
        },
    })
}
