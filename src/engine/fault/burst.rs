//! `burst`: what it is more of is in the schedules; a shard tells when it came to it, and who was there.
//!
//! It touched whoever of its group was ready when it began, and as many more as there were when it ended. (Of those that it opens itself the
//! run's seconds tell.)

use super::super::shard::Shard;
use crate::metrics::{FaultTally, Recorder};
use crate::plan::{Action, Plan};

/// One of the plan.
struct Burst {
    /// Its number in the run.
    number: usize,
    group: usize,
    /// Whether it opens connections, which are then all that it touches.
    opens: bool,
    start_ns: u64,
    end_ns: u64,
    stage: Stage,
}

/// How far one is.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Ahead,
    /// With so many ready when it began.
    Begun(u32),
    Over,
}

impl Burst {
    /// Ready connections of its group that it is about.
    fn there(&self, open: impl Fn(usize) -> u32) -> u32 {
        match self.opens {
            true => 0,
            false => open(self.group),
        }
    }
}

/// The bursts that groups of this shard are a part of.
#[derive(Default)]
pub(super) struct Bursts(Vec<Burst>);

impl Bursts {
    /// Those of groups that have connections in a shard.
    pub fn new(plan: &Plan, has: impl Fn(usize) -> bool) -> Self {
        let of = plan.faults().enumerate().filter_map(|(number, fault)| {
            let Action::Burst { group, opens } = fault.action else {
                return None;
            };
            Some(Burst {
                number,
                group: group as usize,
                opens: opens > 0,
                start_ns: fault.start.as_nanos() as u64,
                end_ns: fault.end.as_nanos() as u64,
                stage: Stage::Ahead,
            })
        });
        Bursts(of.filter(|burst| has(burst.group)).collect())
    }

    /// When the next one begins; `u64::MAX` when there is none.
    pub fn next_ns(&self) -> u64 {
        let ahead = self.0.iter().filter(|burst| burst.stage == Stage::Ahead);
        ahead.map(|burst| burst.start_ns).min().unwrap_or(u64::MAX)
    }

    /// When the next of those that have begun is over; `u64::MAX` when there is none.
    pub fn ends_ns(&self) -> u64 {
        let begun = (self.0.iter()).filter(|burst| matches!(burst.stage, Stage::Begun(_)));
        begun.map(|burst| burst.end_ns).min().unwrap_or(u64::MAX)
    }

    /// Begins those whose time has come.
    fn begin(&mut self, now: u64, open: impl Fn(usize) -> u32, recorder: &mut Recorder) {
        for burst in &mut self.0 {
            if burst.stage == Stage::Ahead && burst.start_ns <= now {
                let there = burst.there(&open);
                burst.stage = Stage::Begun(there);
                let began = FaultTally {
                    touched: there.into(),
                    ..FaultTally::one(false, now)
                };
                recorder.fault_did(burst.number, began);
            }
        }
    }

    /// Ends those whose time is over, as it is for all when the run is.
    fn end(
        &mut self,
        now: u64,
        stopping: bool,
        open: impl Fn(usize) -> u32,
        recorder: &mut Recorder,
    ) {
        for burst in &mut self.0 {
            let Stage::Begun(before) = burst.stage else {
                continue;
            };
            if burst.end_ns <= now || stopping {
                burst.stage = Stage::Over;
                let ended = FaultTally {
                    touched: burst.there(&open).saturating_sub(before).into(),
                    ended: 1,
                    ended_ns: now,
                    ..FaultTally::default()
                };
                recorder.fault_did(burst.number, ended);
            }
        }
    }
}

impl Shard {
    /// Begins the bursts whose time has come.
    pub(super) fn begin_bursts(&mut self, now: u64) {
        let open = |g: usize| self.groups[g].open;
        self.faults.bursts.begin(now, open, &mut self.recorder);
    }

    /// Ends those whose time is over.
    pub(super) fn end_bursts(&mut self, now: u64, stopping: bool) {
        let open = |g: usize| self.groups[g].open;
        let bursts = &mut self.faults.bursts;
        bursts.end(now, stopping, open, &mut self.recorder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Gauges, Totals};

    fn bursts(opens: bool) -> Bursts {
        Bursts(vec![Burst {
            number: 3,
            group: 1,
            opens,
            start_ns: 200,
            end_ns: 600,
            stage: Stage::Ahead,
        }])
    }

    /// What it comes to, of a shard with so many of each group ready at these moments, which ends at the last of them.
    fn did(mut bursts: Bursts, moments: &[(u64, [u32; 2])]) -> Option<FaultTally> {
        let mut recorder = Recorder::new(0, 1, 2);
        for (at, &(now, open)) in moments.iter().enumerate() {
            let stopping = at + 1 == moments.len();
            let before = bursts.ends_ns();
            if now >= before || stopping && before != u64::MAX {
                bursts.end(now, stopping, |g| open[g], &mut recorder);
            }
            if !stopping && now >= bursts.next_ns() {
                bursts.begin(now, |g| open[g], &mut recorder);
            }
        }
        let mut totals = Totals::new(1, 1, 2);
        let snapshot = recorder.snapshot(1_000_000_000, Gauges::default(), true);
        totals.absorb(snapshot).expect("its own");
        totals.fault(3)
    }

    fn tally(touched: u64, first_ns: u64, ended: Option<u64>) -> Option<FaultTally> {
        Some(FaultTally {
            touched,
            ended: ended.map_or(0, |_| 1),
            ended_ns: ended.unwrap_or(0),
            ..FaultTally::one(false, first_ns)
        })
    }

    #[test]
    fn it_touches_who_is_there_at_its_beginning_or_its_end() {
        for (moments, expected) in [
            (
                &[(100, [9, 1]), (210, [9, 2]), (640, [9, 5]), (900, [9, 9])][..],
                tally(5, 210, Some(640)),
            ),
            // Who left is touched all the same, and who came back is no other.
            (
                &[(210, [0, 4]), (640, [0, 1]), (900, [0, 9])],
                tally(4, 210, Some(640)),
            ),
            // The run is stopped in it, at its own time.
            (&[(210, [0, 1]), (300, [0, 3])], tally(3, 210, Some(300))),
            // Before it.
            (&[(100, [0, 1]), (150, [0, 1])], None),
            // A shard that was held up until it was over.
            (
                &[(100, [0, 1]), (700, [0, 1]), (701, [0, 2]), (900, [0, 2])],
                tally(2, 700, Some(701)),
            ),
        ] {
            assert_eq!(did(bursts(false), moments), expected, "{moments:?}");
        }
        // Of those that it opens others tell.
        let opened = did(bursts(true), &[(210, [0, 4]), (640, [0, 9]), (900, [0, 9])]);
        assert_eq!(opened, tally(0, 210, Some(640)));
    }
}
