//! Gates on a reconnect storm: how hard the target was knocked at, and how soon everybody was back.

use super::super::grammar::{Gate, Peak};
use super::super::value::{Unit, thousands};
use super::{Judgement, Phase, Scope, Status, judged, none, not_reached};
use crate::metrics::{Counter, STEP_NS, Step, Steps, Storm, Totals};

/// From the beginning of the first phase to the end of the last, nanoseconds from the run's start. Phases are contiguous.
fn span(phases: &[Phase]) -> (u64, u64) {
    let ns = |seconds: f64| (seconds * 1e9).round() as u64;
    let start = phases.first().map_or(0, |phase| ns(phase.start));
    let end = phases
        .last()
        .map_or(0, |phase| ns(phase.start + phase.seconds));
    (start, end)
}

/// The busiest step, per second.
pub(super) fn peak(gate: &Gate, totals: &Totals, phases: &[Phase], of: Peak) -> Judgement {
    let (from, to) = span(phases);
    let steps = match steps(totals) {
        Ok(steps) => steps,
        Err(none) => return none,
    };
    let count: fn(&Step) -> u32 = match of {
        Peak::Attempts => |step| step.attempts,
        Peak::Opened => |step| step.opened,
        Peak::Reconnected => |step| step.back,
    };
    let Some(most) = steps.peak(from, to, count) else {
        return none(format!("not exercised: {} was 0", of.name()));
    };
    let value = most as f64;
    judged(gate, value, Unit::Rate.write(value), String::new())
}

/// The run's steps, if they are all there.
fn steps(totals: &Totals) -> Result<&Steps, Judgement> {
    match totals.steps().full() {
        true => Err(none(
            "the run had more steps of 100 ms than are kept".to_owned(),
        )),
        false => Ok(totals.steps()),
    }
}

/// The storm of these phases, or why none can be told of.
fn read(totals: &Totals, phases: &[Phase]) -> Result<Storm, Judgement> {
    let (from, to) = span(phases);
    let storm = Storm::read(steps(totals)?, from, to);
    storm.ok_or_else(|| none("no connection was lost that is to come back".to_owned()))
}

/// Steps in milliseconds.
fn millis(steps: u32) -> f64 {
    u64::from(steps) as f64 * (STEP_NS / 1_000_000) as f64
}

/// From the first loss in the phase to the busiest step from then on, from beginning to beginning: 0 if it is the very same.
pub(super) fn peak_after(gate: &Gate, totals: &Totals, phases: &[Phase]) -> Judgement {
    let storm = match read(totals, phases) {
        Ok(storm) => storm,
        Err(none) => return none,
    };
    let Some((most, index)) = storm.peak else {
        return none("not exercised: attempts was 0".to_owned());
    };
    let ms = millis(index.saturating_sub(storm.first));
    let per_second = Step::per_second(most) as f64;
    let actual = format!(
        "{} ({})",
        Unit::Time.write(ms),
        Unit::Rate.write(per_second)
    );
    judged(gate, ms, actual, String::new())
}

/// The busiest step as a part of what the target was seen to take before the storm. Where more was never asked of it,
/// that is at most what is told: enough to pass, and not to fail.
pub(super) fn peak_share(gate: &Gate, totals: &Totals, phases: &[Phase]) -> Judgement {
    let (from, to) = span(phases);
    let storm = match read(totals, phases) {
        Ok(storm) => storm,
        Err(none) => return none,
    };
    let Some(most) = totals.steps().peak(from, to, |step| step.attempts) else {
        return none("not exercised: attempts was 0".to_owned());
    };
    let Some(capacity) = storm.capacity.filter(|capacity| capacity.per_second > 0) else {
        return none(
            "nothing opened before it, so that nothing is known of what the target takes"
                .to_owned(),
        );
    };
    let (value, per_second) = (
        most as f64 / capacity.per_second as f64 * 100.0,
        capacity.per_second as f64,
    );
    let actual = format!(
        "{} ({} of {})",
        Unit::Ratio.write(value),
        Unit::Rate.write(most as f64),
        Unit::Rate.write(per_second)
    );
    let judgement = judged(gate, value, actual, String::new());
    match capacity.reached || gate.op.is_upper() && judgement.status == Status::Passed {
        true => judgement,
        false => none(format!(
            "the target may take more: {} at most were asked of it before",
            Unit::Rate.write(per_second)
        )),
    }
}

/// From the first loss in the phase to so many of them being back before its end: who comes back later did not in time.
pub(super) fn restored(gate: &Gate, totals: &Totals, phases: &[Phase], part: u32) -> Judgement {
    let storm = match read(totals, phases) {
        Ok(storm) => storm,
        Err(none) => return none,
    };
    let never = storm.lost - storm.back;
    let note = match never {
        0 => String::new(),
        _ => format!(
            "{} of {} were not back by then",
            thousands(never as f64),
            thousands(storm.lost as f64)
        ),
    };
    let Some(steps) = storm.restored(totals.steps(), part) else {
        return not_reached(note);
    };
    let ms = millis(steps);
    let mut judgement = judged(gate, ms, Unit::Time.write(ms), note);
    if judgement.status == Status::Failed && never == 0 {
        // Of several storms in a phase the last one's are counted from the first one's beginning, too.
        let from = u64::from(storm.first) as f64 * STEP_NS as f64 / 1e9;
        judgement.note = format!("counted from the first loss, at {from:.1} s of the run");
    }
    judgement
}

/// Attempts for each connection that came back.
pub(super) fn amplification(
    gate: &Gate,
    totals: &Totals,
    scope: Scope,
    phases: &[Phase],
) -> Judgement {
    let (attempts, back) = (
        scope.count(totals, Counter::Attempts),
        scope.count(totals, Counter::Reconnected),
    );
    if back == 0 {
        return none("not exercised: reconnected was 0".to_owned());
    }
    // Of a storm from which hardly anybody came back it would say that all is well.
    let (from, to) = span(phases);
    let storm = Storm::read(totals.steps(), from, to);
    if let Some(storm) = storm.filter(|storm| 10 * storm.back < 9 * storm.lost) {
        return none(format!(
            "only {} of {} that were lost came back",
            thousands(storm.back as f64),
            thousands(storm.lost as f64)
        ));
    }
    let value = attempts as f64 / back as f64;
    let actual = format!(
        "{value:.3} ({} for {})",
        thousands(attempts as f64),
        thousands(back as f64)
    );
    judged(gate, value, actual, String::new())
}
