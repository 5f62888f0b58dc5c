//! From a run and its gates to the exit code.

use crate::exit::Exit;
use crate::report::{GateReport, GateStatus, ValidityState};

/// The exit code. What makes the rest meaningless comes first: interrupted, then nothing ran, then not
/// to be believed, then a gate that failed on evidence, then one without evidence.
pub fn exit(
    opened: bool,
    interrupted: bool,
    validity: ValidityState,
    gates: &[GateReport],
) -> Exit {
    let any = |status| gates.iter().any(|gate| gate.status == status);
    if interrupted {
        Exit::Interrupted
    } else if !opened {
        Exit::NothingRan
    } else if validity == ValidityState::Invalid {
        Exit::RunInvalid
    } else if any(GateStatus::Failed) {
        Exit::GateFailed
    } else if any(GateStatus::NoEvidence) {
        Exit::Inconclusive
    } else {
        Exit::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first() {
        use GateStatus::{Failed, NoEvidence, Passed};
        use ValidityState::{Degraded, Invalid, Valid};
        let table: &[(bool, bool, ValidityState, &[GateStatus], Exit)] = &[
            (true, false, Valid, &[], Exit::Passed),
            (true, false, Valid, &[Passed, Passed], Exit::Passed),
            (true, false, Degraded, &[Passed], Exit::Passed),
            (
                true,
                false,
                Valid,
                &[Passed, NoEvidence],
                Exit::Inconclusive,
            ),
            (
                true,
                false,
                Valid,
                &[NoEvidence, Failed, Passed],
                Exit::GateFailed,
            ),
            (true, false, Invalid, &[Failed], Exit::RunInvalid),
            (true, false, Invalid, &[], Exit::RunInvalid),
            (true, true, Invalid, &[Failed], Exit::Interrupted),
            (true, true, Valid, &[], Exit::Interrupted),
            (false, true, Invalid, &[Failed], Exit::Interrupted),
            (false, false, Valid, &[], Exit::NothingRan),
        ];
        for (opened, interrupted, validity, statuses, expected) in table {
            let gates: Vec<GateReport> = statuses
                .iter()
                .map(|&status| GateReport {
                    text: String::new(),
                    status,
                    actual: String::new(),
                    value: None,
                    note: String::new(),
                })
                .collect();
            let got = exit(*opened, *interrupted, *validity, &gates);
            assert_eq!(
                got, *expected,
                "{opened} {interrupted} {validity:?} {statuses:?}"
            );
        }
    }
}
