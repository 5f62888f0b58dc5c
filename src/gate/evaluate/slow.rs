//! Gates on what a `slow` fault did: what the target did with its victims, how soon all was as before, how long publishers were
//! held up, what the target's memory did.

use super::super::grammar::{Gate, Slow};
use super::super::value::place;
use super::{Judgement, Phase, judged, none, not_reached};
use crate::metrics::{Policy, Verdict};

/// What became of a `slow` fault, as far as gates ask.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowFault {
    /// Index of its group.
    pub group: usize,
    /// Seconds from its end until the others and its victims were as before; `Ok(None)`: never. Or why nobody can tell.
    pub caught_up: Result<Option<f64>, String>,
    /// The longest time for which the target took nothing of what a publisher had written, seconds. Or why nobody can tell.
    pub held_up: Result<f64, String>,
    /// Bytes that each victim took before it stalled, on the average. Or why nobody can tell.
    pub taken: Result<f64, String>,
    /// Messages that its victims lost while connected. Or why nobody can tell.
    pub skipped: Result<u64, String>,
    /// What the target does with its victims.
    pub policy: Verdict,
    /// Growth of the target's memory within it, bytes per second. Or why nobody can tell.
    pub memory_slope: Result<f64, String>,
}

/// The policy, of every fault looked at: one that is another fails it, one that is unknown leaves it without evidence.
pub(super) fn policy(gate: &Gate, phases: &[Phase], group: Option<usize>) -> Judgement {
    let told = || looked_at(phases, group).map(|fault| &fault.policy);
    let wanted = |policy| gate.op.holds(place(policy), gate.limit);
    let other = told().find(|of| of.policy != Policy::Unknown && !wanted(of.policy));
    let unknown = told().find(|of| of.policy == Policy::Unknown);
    if let (None, Some(Verdict { why, .. })) = (other, unknown) {
        return none(format!("unknown: {why}"));
    }
    match other.or_else(|| told().next()) {
        Some(Verdict { policy, why }) => {
            let name = policy.name().to_owned();
            let mut judgement = judged(gate, place(*policy), name, why.clone());
            judgement.value = None;
            judgement
        }
        None => none("not exercised: there was no `slow` fault".to_owned()),
    }
}

fn looked_at(phases: &[Phase], group: Option<usize>) -> impl Iterator<Item = &SlowFault> {
    let faults = phases.iter().flat_map(|phase| &phase.slow);
    faults.filter(move |fault| group.is_none_or(|group| group == fault.group))
}

/// The worst of the faults looked at: the largest, or where the gate asks for at least something the smallest. Without evidence if it is not known of one of them.
pub(super) fn slow(gate: &Gate, phases: &[Phase], group: Option<usize>, of: Slow) -> Judgement {
    let mut worst: Option<f64> = None;
    let mut never = false;
    for fault in looked_at(phases, group) {
        let value = match of {
            Slow::CaughtUp => match &fault.caught_up {
                Ok(Some(seconds)) => seconds * 1e3,
                Ok(None) if gate.op.is_upper() => {
                    never = true;
                    continue;
                }
                Ok(None) => return none("it was not as before by the end of the run".to_owned()),
                Err(why) => return none(why.clone()),
            },
            Slow::HeldUp => match &fault.held_up {
                Ok(seconds) => *seconds * 1e3,
                Err(why) => return none(why.clone()),
            },
            Slow::Taken => match &fault.taken {
                Ok(bytes) => *bytes,
                Err(why) => return none(why.clone()),
            },
            Slow::Skipped => match &fault.skipped {
                Ok(messages) => *messages as f64,
                Err(why) => return none(why.clone()),
            },
            Slow::MemorySlope => match &fault.memory_slope {
                Ok(slope) => *slope,
                Err(why) => return none(why.clone()),
            },
        };
        worst = Some(worst.map_or(value, |worst| gate.op.worse(worst, value)));
    }
    if never {
        return not_reached("it was not as before by the end of the run".to_owned());
    }
    match worst {
        Some(worst) => judged(gate, worst, of.unit().write(worst), String::new()),
        None => none("not exercised: there was no `slow` fault".to_owned()),
    }
}
