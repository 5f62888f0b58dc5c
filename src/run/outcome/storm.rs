//! Reconnect storms as they were: one for each fault that takes connections away, and others for losses that nobody planned.

use super::super::drive::Course;
use super::{millis, named, seconds_of};
use crate::metrics::{self, Failure, STEP_NS, Step, Steps, Storm};
use crate::plan::Plan;
use crate::report::{FaultReport, PhaseReport, StormReport, StormStep};
use std::collections::BTreeMap;

/// What storms are called that no fault of ours began.
const UNPLANNED: &str = "connections were lost";

/// Steps of a report's curve at most: longer storms have longer steps.
const CURVE: u32 = 600;

/// Storms from one fault to the next at most: the last of them has all the rest.
const STORMS: usize = 12;

/// All of them, in time.
pub(super) fn storms(plan: &Plan, phases: &[PhaseReport], course: &Course) -> Vec<StormReport> {
    let steps = course.totals.steps();
    if steps.full() {
        return Vec::new();
    }
    let ns = |seconds: f64| (seconds * 1e9) as u64;
    // From when to when each acts, and what it is called.
    let mut causes: Vec<(u64, u64, String)> = cutting(plan, phases)
        .filter_map(|fault| {
            let start = fault.actual_start?;
            let end = fault.actual_end.unwrap_or(fault.end);
            Some((ns(start), ns(end), fault.label.clone()))
        })
        .collect();
    causes.sort();
    if causes.first().is_none_or(|first| first.0 > 0) {
        causes.insert(0, (0, 0, UNPLANNED.to_owned()));
    }
    let ends = causes.iter().skip(1).map(|(start, ..)| *start);
    let ends: Vec<u64> = ends.chain([u64::MAX]).collect();
    let mut all: Vec<StormReport> = Vec::new();
    for ((start, least, cause), end) in causes.iter().zip(&ends) {
        let (mut from, mut cause) = (*start, cause.as_str());
        for n in 1..=STORMS {
            let before = all.last().filter(|before| before.overtaken);
            let away = before.map_or(0, |before| before.lost - before.back);
            let until = match n {
                STORMS => *end,
                _ => Storm::settled(steps, from, *end, *least, away),
            };
            let Some(storm) = Storm::read(steps, from, until) else {
                break;
            };
            let mut report = report(cause, &storm, steps, plan, course);
            report.overtaken = report.back < report.lost && *end != u64::MAX;
            all.push(report);
            (from, cause) = (until, UNPLANNED);
        }
    }
    all
}

/// The faults that take connections away.
fn cutting<'a>(plan: &'a Plan, phases: &'a [PhaseReport]) -> impl Iterator<Item = &'a FaultReport> {
    let reports = phases.iter().flat_map(|phase| &phase.faults);
    let both = plan.faults().zip(reports);
    both.filter(|(planned, _)| planned.action.cuts())
        .map(|(_, report)| report)
}

fn report(cause: &str, storm: &Storm, steps: &Steps, plan: &Plan, course: &Course) -> StormReport {
    let at = |index: u32| seconds_of(u64::from(index) * STEP_NS);
    let restored = |millionths| storm.restored(steps, millionths).map(at);
    let (start, end) = (at(storm.first), at(storm.end));
    let mut failures: BTreeMap<Failure, u64> = BTreeMap::new();
    // Whole ones: what is told by the second has no part of one.
    let seconds = course.totals.timeline().iter();
    let seconds = seconds.filter(|s| f64::from(s.index) < end && f64::from(s.index) + 1.0 > start);
    for second in seconds.clone() {
        for (kind, n) in &second.failures {
            *failures.entry(*kind).or_default() += n;
        }
    }
    let phase = plan.phase_at(u64::from(storm.first) * STEP_NS);
    StormReport {
        cause: cause.to_owned(),
        phase: plan
            .phases()
            .get(phase)
            .map_or_else(String::new, |p| p.name.clone()),
        start,
        end,
        overtaken: false,
        lost: storm.lost,
        back: storm.back,
        attempts: storm.attempts,
        peak: storm.peak.map_or(0, |(most, _)| Step::per_second(most)),
        peak_at: storm.peak.map(|(_, index)| at(index)),
        capacity: storm.capacity.map(|capacity| capacity.per_second),
        capacity_reached: storm.capacity.is_some_and(|capacity| capacity.reached),
        amplification: storm.amplification(),
        restored_50: restored(500_000),
        restored_90: restored(900_000),
        restored_99: restored(990_000),
        restored_100: restored(1_000_000),
        spread: super::deploy::spread(&course.totals, Some(phase)),
        failures: named(failures),
        openings: metrics::openings(seconds)
            .into_iter()
            .map(|(timer, quantiles)| (timer.name().to_owned(), millis(&quantiles)))
            .collect(),
        curve: curve(storm, steps),
    }
}

/// The storm's course, gaps filled with nothing, in steps of 100 ms or as many times that as it takes.
fn curve(storm: &Storm, steps: &Steps) -> Vec<StormStep> {
    let length = storm.end - storm.first;
    let wide = length.div_ceil(CURVE).max(1);
    let mut curve: Vec<StormStep> = (0..length.div_ceil(wide))
        .map(|i| StormStep {
            at: seconds_of((u64::from(storm.first) + u64::from(i + 1) * u64::from(wide)) * STEP_NS),
            ..StormStep::default()
        })
        .collect();
    for step in storm.steps(steps) {
        if let Some(into) = curve.get_mut(((step.index - storm.first) / wide) as usize) {
            into.attempts += u64::from(step.attempts);
            into.lost += u64::from(step.lost);
            into.back += u64::from(step.back);
            into.failed += u64::from(step.failed);
        }
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Step;

    fn long(length: u32) -> (Storm, Steps) {
        let step = |index: u32| Step {
            index,
            attempts: 1,
            lost: u32::from(index == 5),
            ..Step::default()
        };
        let steps = Steps::from((5..5 + length).map(step).collect::<Vec<_>>());
        (Storm::read(&steps, 0, u64::MAX).expect("a loss"), steps)
    }

    #[test]
    fn a_long_storm_has_longer_steps_and_loses_nothing() {
        for (length, expected) in [(1, 1), (600, 600), (601, 301), (1_500, 500)] {
            let (storm, steps) = long(length);
            let curve = curve(&storm, &steps);
            assert_eq!(curve.len(), expected, "{length}");
            let sum: u64 = curve.iter().map(|step| step.attempts).sum();
            assert_eq!(sum, u64::from(length));
            let ends: Vec<f64> = curve.iter().map(|step| step.at).collect();
            assert!(ends.is_sorted() && ends[0] > 0.5, "{ends:?}");
        }
    }
}
