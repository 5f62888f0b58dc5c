//! What became of each fault: when it really was, whom it touched, and what of that makes the run worth nothing.

use super::super::drive::Course;
use super::seconds_of;
use crate::metrics::{Absence, Counter, FaultTally, Second, Totals};
use crate::plan::{Action, Plan, PlannedFault};
use crate::report::{AbsenceReport, FaultEffects, FaultEndReport, FaultReport, PhaseReport};
use std::time::Duration;

/// A fault as it was.
pub(super) fn report(fault: &PlannedFault, number: usize, course: &Course) -> FaultReport {
    match &fault.action {
        Action::Deploy(_) => super::deploy::fault(fault, number, course),
        Action::Burst { group, opens } => {
            let did = course.totals.fault(number);
            scheduled(fault, did, *opens, || {
                opened_since(fault.start, *group, course)
            })
        }
        Action::Hit(hit) => {
            let told = course.totals.fault(number);
            // A receive buffer is set before anybody's turn comes.
            let did = told.filter(|did| did.due > 0);
            let all = |count: u64| count >= u64::from(hit.victims);
            FaultReport {
                label: fault.label.clone(),
                start: fault.start.as_secs_f64(),
                end: fault.end.as_secs_f64(),
                actual_start: did.map(|did| seconds_of(did.first_ns)),
                // One that did not get to all of its connections did not end.
                actual_end: match hit.effect.lasts() {
                    false => did
                        .filter(|did| all(did.due))
                        .map(|did| seconds_of(did.last_ns)),
                    true => did
                        .filter(|did| all(did.ended))
                        .map(|did| seconds_of(did.ended_ns)),
                },
                touched: did.map_or(0, |did| did.touched),
                absence: absence(fault, &course.totals, number),
                effects: told.map_or_else(FaultEffects::default, |told| FaultEffects {
                    taken: told.taken,
                    unread: told.unread,
                    skipped: told.skipped,
                    receive_buffer: told.receive_buffer.into(),
                    ended: ends(number, course),
                }),
            }
        }
    }
}

/// What came of the messages of those whom it took away: of a fault that is there for that, or that did.
pub(super) fn absence(
    fault: &PlannedFault,
    totals: &Totals,
    number: usize,
) -> Option<AbsenceReport> {
    let absence = totals.absence(number);
    let took = fault.action.cuts() || absence != Absence::default();
    took.then_some(AbsenceReport {
        recovered: absence.recovered,
        missed: absence.missed,
        lost: absence.lost,
        duplicated: absence.duplicated,
        reordered: absence.reordered,
        indeterminate: absence.indeterminate,
    })
}

fn ends(number: usize, course: &Course) -> Vec<FaultEndReport> {
    let ends = course.totals.fault_ends(number).into_iter();
    ends.map(|(key, count)| FaultEndReport {
        code: key.code,
        after: key.after,
        count,
    })
    .collect()
}

/// A fault that is a part of the schedules, as the shards came to it. Those that it touched were there; or, if it opens
/// so many connections, they are those that were there afterwards and not before.
fn scheduled(
    fault: &PlannedFault,
    did: Option<FaultTally>,
    opens: u32,
    opened: impl Fn() -> u64,
) -> FaultReport {
    let did = did.filter(|did| did.due > 0);
    FaultReport {
        label: fault.label.clone(),
        start: fault.start.as_secs_f64(),
        end: fault.end.as_secs_f64(),
        actual_start: did.map(|did| seconds_of(did.first_ns)),
        actual_end: (did.filter(|did| did.ended == did.due)).map(|did| seconds_of(did.ended_ns)),
        touched: did.map_or(0, |did| match opens {
            0 => did.touched,
            _ => opened().min(opens.into()),
        }),
        absence: None,
        effects: FaultEffects::default(),
    }
}

/// So many more of a group were there at the end of any second after a moment than before it.
fn opened_since(start: Duration, group: u32, course: &Course) -> u64 {
    let ends = |second: &Second| Duration::from_secs(u64::from(second.index) + 1);
    let open = |second: &Second| second.open.get(group as usize).copied().unwrap_or(0);
    let seconds = course.totals.timeline();
    let before = seconds.iter().rfind(|second| ends(second) <= start);
    let after = seconds.iter().filter(|second| ends(second) > start);
    let most = after.map(open).max().unwrap_or(0);
    most.saturating_sub(before.map_or(0, open))
}

/// Faults that did not get to all of their connections, though their phase ran to its end: the shards had no time for them.
pub(super) fn unfinished(phases: &[PhaseReport]) -> Vec<String> {
    let completed = phases.iter().filter(|phase| phase.completed);
    let faults = completed.flat_map(|p| p.faults.iter().map(move |f| (p, f)));
    faults
        .filter(|(_, f)| f.actual_start.is_some() && f.actual_end.is_none())
        .map(|(phase, fault)| {
            format!(
                "generator-limited: the fault `{}` in {} did not get to all of its connections: use more shards or machines",
                fault.label, phase.name
            )
        })
        .collect()
}

/// Faults that came and found nobody. Of deploys more is known: they are judged by themselves.
pub(super) fn untouched(plan: &Plan, phases: &[PhaseReport], totals: &Totals) -> Vec<String> {
    let faults = phases
        .iter()
        .flat_map(|p| p.faults.iter().map(move |f| (p, f)));
    faults
        .zip(plan.faults())
        .filter(|(_, planned)| !matches!(planned.action, Action::Deploy(_)))
        .filter(|((_, fault), _)| fault.actual_start.is_some() && fault.touched == 0)
        .map(|((phase, fault), planned)| {
            let group = match &planned.action {
                Action::Hit(hit) => Some(hit.group),
                Action::Burst { .. } | Action::Deploy(_) => None,
            };
            let count = |counter, g: u32| totals.count(counter, None, Some(g as usize));
            // The failure to open is what is to be mended, and not the time of the fault.
            let vain = group.filter(|g| count(Counter::Opened, *g) == 0);
            match vain.filter(|g| count(Counter::Attempts, *g) > 0) {
                Some(g) => format!(
                    "nothing of `{}` ever opened, in {} attempts, so that the fault `{}` in {} touched nobody",
                    plan.groups()[g as usize].name,
                    count(Counter::Attempts, g),
                    fault.label,
                    phase.name
                ),
                None => format!(
                    "the fault `{}` in {} touched no connection, none of its group was open (or, for a stall, sent or opened anything): have the group open before it",
                    fault.label, phase.name
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_that_did_not_get_to_all_count_against_the_run() {
        let fault = |label: &str, end: Option<f64>| FaultReport {
            label: label.into(),
            start: 1.0,
            end: 2.0,
            actual_start: Some(1.0),
            actual_end: end,
            touched: 3,
            absence: None,
            effects: FaultEffects::default(),
        };
        let phase = |completed, faults| PhaseReport {
            name: "storm".into(),
            start: 0.0,
            end: 3.0,
            completed,
            faults,
        };
        let half = || vec![fault("all", Some(2.0)), fault("half", None)];
        let told = unfinished(&[phase(true, half())]);
        let [one] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert!(one.contains("`half` in storm"), "{one}");
        // An interrupted phase had no time for more.
        assert!(unfinished(&[phase(false, half())]).is_empty());
    }

    #[test]
    fn a_burst_is_over_when_every_shard_that_began_it_is_through() {
        let burst = PlannedFault {
            label: "pubs at 3x".into(),
            start: Duration::from_secs(1),
            end: Duration::from_secs(2),
            action: Action::Burst { group: 0, opens: 0 },
        };
        let began = |touched, first_ns| FaultTally {
            touched,
            ..FaultTally::one(false, first_ns)
        };
        let ended = |ended_ns| FaultTally {
            ended: 1,
            ended_ns,
            ..FaultTally::default()
        };
        let (late, later) = (1_200_000_000, 1_300_000_000);
        let both = began(2, later).and(began(3, late));
        let one = both.and(ended(2_100_000_000));
        let all = one.and(ended(2_000_000_000));
        let of = |did, opens| {
            let report = scheduled(&burst, did, opens, || 7);
            (report.actual_start, report.actual_end, report.touched)
        };
        assert_eq!(of(Some(all), 0), (Some(1.2), Some(2.1), 5));
        assert_eq!(of(Some(one), 0), (Some(1.2), None, 5));
        // Of connections they are those that are there more, and never more than it opens.
        assert_eq!(of(Some(all), 9).2, 7);
        assert_eq!(of(Some(all), 4).2, 4);
        // It never began: whatever opened is not its doing.
        assert_eq!(of(None, 4), (None, None, 0));
        assert_eq!(of(Some(FaultTally::default()), 4), (None, None, 0));
    }
}
