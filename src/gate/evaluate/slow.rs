//! Gates on what a `slow` fault did: how soon all was as before, how long publishers were held up, what the target's memory did.

use super::super::grammar::{Gate, Slow};
use super::super::value::Unit;
use super::{Judgement, Phase, judged, none, not_reached};

/// What became of a `slow` fault, as far as gates ask.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowFault {
    /// Index of its group.
    pub group: usize,
    /// Seconds from its end until the others and its victims were as before; `Ok(None)`: never. Or why nobody can tell.
    pub caught_up: Result<Option<f64>, String>,
    /// The longest time for which the target took nothing of what a publisher had written, seconds. Or why nobody can tell.
    pub held_up: Result<f64, String>,
    /// Growth of the target's memory within it, bytes per second. Or why nobody can tell.
    pub memory_slope: Result<f64, String>,
}

/// The worst of the faults looked at; without evidence if it is not known of one of them.
pub(super) fn slow(gate: &Gate, phases: &[Phase], group: Option<usize>, of: Slow) -> Judgement {
    let faults = phases.iter().flat_map(|phase| &phase.slow);
    let faults = faults.filter(|fault| group.is_none_or(|group| group == fault.group));
    let mut worst: Option<f64> = None;
    let mut never = false;
    for fault in faults {
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
            Slow::MemorySlope => match &fault.memory_slope {
                Ok(slope) => *slope,
                Err(why) => return none(why.clone()),
            },
        };
        worst = Some(worst.map_or(value, |worst| worst.max(value)));
    }
    if never {
        return not_reached("it was not as before by the end of the run".to_owned());
    }
    match worst {
        Some(worst) => judged(gate, worst, written(of, worst), String::new()),
        None => none("not exercised: there was no `slow` fault".to_owned()),
    }
}

fn written(of: Slow, value: f64) -> String {
    match of {
        Slow::CaughtUp | Slow::HeldUp => Unit::Time.write(value),
        Slow::MemorySlope => Unit::ByteRate.write(value),
    }
}
