//! What all faults that last share: whom they act on, from when to when, and that two of a kind do not meet.

use super::super::Problems;
use super::{Many, beyond, group};
use crate::plan::fault::{Action, Effect, Hit, PlannedFault};
use crate::plan::types::Phase;
use crate::scenario::units::{Count, Duration, Share};
use crate::scenario::{Problem, Scenario};

/// The keys that all of them have.
pub(super) struct Lasting<'a> {
    /// What it is called: `slow`.
    pub name: &'static str,
    /// What happens to the connections: `slowed`.
    pub done: &'static str,
    pub clients: &'a str,
    pub share: Option<Share>,
    pub count: Option<Count>,
    pub after: Option<Duration>,
    pub length: Option<Duration>,
    pub over: Option<Duration>,
}

/// Whom it acts on and when, as far as that makes sense.
pub(super) struct Checked {
    /// In words: `10% of subscribers`.
    pub who: String,
    index: u32,
    victims: u32,
    start: std::time::Duration,
    end: std::time::Duration,
    over: std::time::Duration,
}

/// All of a group, where nothing else is said.
pub(super) fn or_all(share: Option<Share>, count: Option<Count>) -> Option<Share> {
    share.or(count.is_none().then_some(Share(1.0)))
}

impl Lasting<'_> {
    /// Checks them all, so that every mistake is told.
    pub fn check(
        &self,
        path: &str,
        scenario: &Scenario,
        phase: &Phase,
        problems: &mut Problems,
    ) -> Option<Checked> {
        let span = self.span(path, phase, problems);
        let (index, group) = group(self.clients, path, scenario, problems)?;
        let many = Many {
            share: self.share,
            count: self.count,
            done: self.done,
            of: (self.clients, group.count.0),
        };
        let victims = many.victims(path, problems);
        let ((start, end, over), victims) = (span?, victims?);
        Some(Checked {
            who: format!("{} of {}", many.words(), self.clients),
            index: index as u32,
            victims,
            start,
            end,
            over,
        })
    }

    fn span(
        &self,
        path: &str,
        phase: &Phase,
        problems: &mut Problems,
    ) -> Option<(
        std::time::Duration,
        std::time::Duration,
        std::time::Duration,
    )> {
        let name = self.name;
        let start = super::start(name, self.after, path, phase, problems)?;
        let end = self.length.map_or(phase.end, |d| start + d.0);
        let over = self.over.unwrap_or_default().0;
        if end > phase.end {
            let what = format!("{name} ends");
            problems.add(
                beyond(&what, format!("{path}.for"), phase)
                    .help("leave `for` out to end with the phase"),
            );
            return None;
        }
        if end == start {
            problems.zero(true, format!("{path}.for"), "a fault's length");
            return None;
        }
        if over >= end - start {
            let length = Duration(end - start);
            let message = format!(
                "the beginnings are spread over {}, but the fault lasts {length}",
                Duration(over)
            );
            problems.add(
                Problem::error(format!("{path}.over"), message)
                    .help("spread them over less than its length"),
            );
            return None;
        }
        Some((start, end, over))
    }
}

impl Checked {
    /// The fault with its effect, unless another of its kind acts on the group at the same time: which of the two a
    /// connection is under could not be told.
    pub fn planned(
        self,
        label: String,
        effect: Effect,
        path: &str,
        phase: &Phase,
        problems: &mut Problems,
    ) -> Option<PlannedFault> {
        let meets = |other: &PlannedFault| {
            matches!(&other.action, Action::Hit(hit)
                if hit.group == self.index && hit.effect.name() == effect.name())
                && other.start < self.end
                && self.start < other.end
        };
        if phase.faults.iter().any(meets) {
            let message = format!("two faults `{}` of one group overlap", effect.name());
            problems
                .add(Problem::error(path, message).help("one after the other, or in two groups"));
            return None;
        }
        Some(PlannedFault {
            label,
            start: self.start,
            end: self.end,
            action: Action::Hit(Hit {
                group: self.index,
                victims: self.victims,
                over: self.over,
                effect,
            }),
        })
    }
}
