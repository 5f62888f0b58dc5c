//! What a deploy did to its clients: counts put together, and findings derived from them. No guesses: what there is too
//! little of is unknown.

mod findings;

use super::super::deploy::{Done, Ending};
use super::super::drive::Course;
use super::super::places;
use crate::metrics::{
    Capacity, CloseKey, Counter, DrainKey, PartingKey, TcpEnd, Timer, Totals, uneven,
};
use crate::plan::{Action, Deploy, Plan, PlannedFault, Window};
use crate::report::{
    DeployClose, DeployReport, DeployResult, FaultEffects, FaultReport, GateReport, GateStatus,
    NodeTurn, PlaceOverTime, TcpEnding,
};
use findings::{findings, stretches, verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// The deploys of a plan, as they were.
pub(super) fn reports(plan: &Plan, course: &Course) -> Vec<DeployReport> {
    let faults: Vec<&PlannedFault> = plan.faults().collect();
    plan.deploys()
        .into_iter()
        .filter_map(|window| Some(report(plan, faults.get(window.fault)?, window, course)))
        .collect()
}

/// The deploy as a fault of the timeline.
pub(super) fn fault(fault: &PlannedFault, number: usize, course: &Course) -> FaultReport {
    let done = course.deploys.get(&number);
    FaultReport {
        label: fault.label.clone(),
        start: fault.start.as_secs_f64(),
        end: fault.end.as_secs_f64(),
        actual_start: done.map(|done| done.start.as_secs_f64()),
        actual_end: done.map(|done| done.end.as_secs_f64()),
        touched: course.totals.fault(number).map_or(0, |did| did.touched),
        absence: super::fault::absence(fault, &course.totals, number),
        effects: FaultEffects::default(),
    }
}

/// A deploy's own gate: one that did not happen is never passed over.
pub(super) fn gate(deploy: &DeployReport, believed: bool) -> GateReport {
    let (status, actual) = match deploy.result {
        DeployResult::Succeeded if believed => (GateStatus::Passed, "succeeded"),
        DeployResult::Succeeded => (GateStatus::NoEvidence, "succeeded"),
        DeployResult::Failed => (GateStatus::Failed, "failed"),
        DeployResult::TimedOut => (GateStatus::Failed, "timed out"),
        DeployResult::NotBegun => (GateStatus::Failed, "not begun"),
        DeployResult::Interrupted => (GateStatus::NoEvidence, "interrupted"),
        DeployResult::NeverStarted => (GateStatus::NoEvidence, "–"),
    };
    let last = deploy.output.lines().last().unwrap_or_default();
    let note = match deploy.result {
        DeployResult::Succeeded if believed => String::new(),
        DeployResult::Succeeded => "the run is invalid".into(),
        _ if last.is_empty() => deploy.detail.clone(),
        _ => format!("{}: {last}", deploy.detail),
    };
    GateReport {
        text: format!("deploy succeeds in {}", deploy.phase),
        status,
        actual: actual.into(),
        value: None,
        note,
    }
}

/// Deploys that say nothing about the target: they could not be begun, or touched nobody.
pub(super) fn against(plan: &Plan, course: &Course, reports: &[DeployReport]) -> Vec<String> {
    let hitless = plan.faults().filter_map(|fault| match &fault.action {
        Action::Deploy(Deploy { hitless, .. }) => Some(*hitless),
        _ => None,
    });
    let opened = course.totals.count(Counter::Opened, None, None) > 0;
    let mut against = Vec::new();
    for (deploy, hitless) in reports.iter().zip(hitless) {
        let (label, phase) = (&deploy.label, &deploy.phase);
        match deploy.result {
            DeployResult::NotBegun => {
                against.push(format!("`{label}` in {phase} {}", deploy.detail));
            }
            DeployResult::Succeeded if deploy.cut == 0 && !hitless && opened => against.push(format!(
                "`{label}` in {phase} touched no connection: none was open, or it cut none before its phase was over; \
                 lengthen the phase, or say `hitless: true` if it is to cut nobody"
            )),
            _ => {}
        }
    }
    against
}

fn report(plan: &Plan, fault: &PlannedFault, window: Window, course: &Course) -> DeployReport {
    let totals = &course.totals;
    let phase = Some(window.phase);
    let n = |counter| totals.count(counter, phase, None);
    let since = |ns: u64| Duration::from_nanos(ns.saturating_sub(window.start_ns)).as_secs_f64();
    let cuts = totals.fault(window.fault);
    let absence = totals.absence(window.fault);
    let done = course.deploys.get(&window.fault);
    let (result, detail) = result(done);
    let ends: Vec<(DrainKey, u64)> = totals
        .drains(window.fault)
        .map(|(key, count)| (*key, count))
        .collect();
    let nodes: Vec<NodeTurn> = done.map(nodes).unwrap_or_default();
    let told = nodes.iter().filter_map(|node| node.opened_draining);
    let (told, accepted) = told.fold((0, 0), |(n, sum), accepted| (n + 1, sum + accepted));
    // None on the word of some is not none; some are some.
    let all = !nodes.is_empty() && told == nodes.len();
    let accepted_draining = (all || accepted > 0).then_some(accepted);
    let (start, until) = (window.start_ns as f64 / 1e9, window.end_ns as f64 / 1e9);
    let steps = totals.steps();
    let capacity = Capacity::before(steps, window.start_ns);
    let mut report = DeployReport {
        label: fault.label.clone(),
        phase: plan
            .phases()
            .get(window.phase)
            .map_or(String::new(), |p| p.name.clone()),
        result,
        detail,
        output: done.map_or(String::new(), |done| done.carried.output.clone()),
        start,
        until,
        took: done.map(|done| done.end.saturating_sub(done.start).as_secs_f64()),
        old: n(Counter::Old),
        cut: n(Counter::Severed),
        moved: n(Counter::Returned),
        cut_again: n(Counter::CutAgain),
        first_cut: cuts.map(|did| since(did.first_ns)),
        drain: cuts.map(|did| since(did.last_ns)),
        moved_in: totals.moved(window.fault).map(|did| since(did.last_ns)),
        closes: closes(&ends, totals.partings(window.fault)),
        cut_off: totals
            .quantiles(Timer::CutOff, phase, None)
            .map(|quantiles| super::millis(&quantiles)),
        refused: totals.statuses(phase, None).values().sum(),
        refused_by_status: totals.statuses(phase, None),
        peak_attempts: steps
            .peak(window.start_ns, window.end_ns, |step| step.attempts)
            .unwrap_or(0),
        capacity: capacity.map(|capacity| capacity.per_second),
        capacity_reached: capacity.is_some_and(|capacity| capacity.reached),
        spread: spread(totals, phase),
        spread_after: spread_at(plan, totals, window.end_ns),
        lost: n(Counter::Lost),
        missed: absence.missed,
        recovered: absence.recovered,
        duplicated: n(Counter::Duplicated),
        reordered: n(Counter::Reordered),
        accepted_draining,
        nodes,
        drains: stretches(&ends),
        findings: Vec::new(),
        verdict: String::new(),
    };
    report.findings = findings(&report);
    report.verdict = verdict(&report);
    report
}

/// Most ÷ mean of the connections that were open at a moment, likewise: what of a second is over is not of it.
fn spread_at(plan: &Plan, totals: &Totals, at_ns: u64) -> Option<f64> {
    let second = (at_ns / 1_000_000_000).checked_sub(1)?;
    // Seconds of which no shard told anything are not in the timeline.
    let seconds = totals.timeline();
    let at = seconds.iter().rposition(|s| u64::from(s.index) <= second)?;
    let places = places::over_time(plan, totals);
    let open = |place: &PlaceOverTime| place.open.get(at).copied();
    uneven(&places.iter().map(open).collect::<Option<Vec<u64>>>()?)
}

/// Most ÷ mean of a phase's openings, as gates have it.
pub(super) fn spread(totals: &Totals, phase: Option<usize>) -> Option<f64> {
    uneven(&totals.places(phase, None))
}

fn result(done: Option<&Done>) -> (DeployResult, String) {
    let Some(done) = done else {
        return (DeployResult::NeverStarted, "never started".into());
    };
    let ending = &done.carried.ending;
    let result = match ending {
        Ending::Succeeded => DeployResult::Succeeded,
        Ending::NotBegun(_) => DeployResult::NotBegun,
        Ending::Failed(_) => DeployResult::Failed,
        Ending::TimedOut => DeployResult::TimedOut,
        Ending::Interrupted => DeployResult::Interrupted,
    };
    (result, ending.words())
}

fn nodes(done: &Done) -> Vec<NodeTurn> {
    let turn = |times: &super::super::embedded::NodeTimes| NodeTurn {
        node: times.node as u64,
        draining: times.draining.as_secs_f64(),
        ended: times.ended.map(|at| at.as_secs_f64()),
        ready: times.ready.map(|at| at.as_secs_f64()),
        opened_draining: times.opened_draining,
        cut_at_deadline: times.cut_at_deadline,
    };
    done.carried.nodes.iter().map(turn).collect()
}

/// How old connections ended, down to TCP. Those whose TCP is not over, as far as any shard told, are the rest.
fn closes<'a>(
    ends: &[(DrainKey, u64)],
    partings: impl Iterator<Item = (&'a PartingKey, u64)>,
) -> Vec<DeployClose> {
    let mut rest: BTreeMap<CloseKey, u64> = BTreeMap::new();
    for (key, count) in ends {
        *rest.entry(key.close).or_default() += count;
    }
    let mut sums: BTreeMap<(CloseKey, TcpEnding), u64> = BTreeMap::new();
    for (key, count) in partings {
        let tcp = match key.tcp {
            TcpEnd::Fin => TcpEnding::Fin,
            TcpEnd::Reset => TcpEnding::Reset,
            TcpEnd::Ours => TcpEnding::Ours,
            TcpEnd::Unknown => TcpEnding::Unknown,
        };
        *sums.entry((key.close, tcp)).or_default() += count;
        let rest = rest.entry(key.close).or_default();
        *rest = rest.saturating_sub(count);
    }
    for (close, count) in rest.into_iter().filter(|(_, count)| *count > 0) {
        *sums.entry((close, TcpEnding::Unknown)).or_default() += count;
    }
    sums.into_iter()
        .map(|((close, tcp), count)| DeployClose {
            code: close.code,
            by_target: close.by_target,
            clean: close.clean,
            tcp,
            count,
        })
        .collect()
}

#[cfg(test)]
mod tests;
