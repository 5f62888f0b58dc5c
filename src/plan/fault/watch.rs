//! What a `slow` fault is compared with: the same group's other clients, before it.

use super::super::types::Plan;
use super::{Action, Effect, PlannedFault};
use std::time::Duration;

/// The stretch before a fault is at least so long, if the run has it.
const BEFORE: Duration = Duration::from_secs(30);
/// What opened so shortly before is not at rest yet.
const SETTLE: Duration = Duration::from_secs(1);

/// A fault whose victims are told apart from the others of their group, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The fault's number in the run.
    pub fault: usize,
    /// Index of the group.
    pub group: u32,
    /// From here to `start` is before it: no other fault, and nothing that opens. Empty where there is no such stretch.
    pub before: Duration,
    /// The fault's start, from the run's start.
    pub start: Duration,
    /// Its end.
    pub end: Duration,
}

impl Plan {
    /// The faults that make consumers slow, with what they are compared with.
    pub fn watches(&self) -> Vec<Watch> {
        let all = self.faults().enumerate();
        all.filter_map(|(number, fault)| {
            let Action::Hit(hit) = &fault.action else {
                return None;
            };
            matches!(hit.effect, Effect::Slow(_)).then(|| Watch {
                fault: number,
                group: hit.group,
                before: self.quiet_before(number, fault),
                start: fault.start,
                end: fault.end,
            })
        })
        .collect()
    }

    /// The stretch up to the fault's start, as long as the fault or [`BEFORE`], less what was not as ever.
    fn quiet_before(&self, number: usize, fault: &PlannedFault) -> Duration {
        let length = fault.end.saturating_sub(fault.start);
        let others = self.faults().enumerate();
        let trouble = others
            .filter(|(other, of)| *other != number && of.start < fault.start)
            .map(|(_, of)| of.end);
        let openings = (self.groups().iter())
            .flat_map(|group| &group.opening.knots)
            .map(|(at, _)| *at)
            .filter(|at| *at < fault.start)
            .map(|at| at + SETTLE);
        let longest = fault.start.saturating_sub(length.max(BEFORE));
        let from = trouble.chain(openings).chain([longest]).max();
        from.unwrap_or_default().min(fault.start)
    }
}
