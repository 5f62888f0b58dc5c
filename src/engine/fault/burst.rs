//! `burst`: what it is more of is in the schedules; a shard tells when it came to it, and who was there.
//!
//! It touched whoever of its group was ready when it began, and as many more as there were when it ended. (Of those that it opens itself the
//! run's seconds tell.)

use super::super::shard::{Group, Shard};
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
    fn there(&self, groups: &[Group]) -> u32 {
        match self.opens {
            true => 0,
            false => groups.get(self.group).map_or(0, |group| group.open),
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
    fn begin(&mut self, now: u64, groups: &[Group], recorder: &mut Recorder) {
        for burst in &mut self.0 {
            if burst.stage == Stage::Ahead && burst.start_ns <= now {
                let there = burst.there(groups);
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
    fn end(&mut self, now: u64, stopping: bool, groups: &[Group], recorder: &mut Recorder) {
        for burst in &mut self.0 {
            let Stage::Begun(before) = burst.stage else {
                continue;
            };
            if burst.end_ns <= now || stopping {
                burst.stage = Stage::Over;
                let ended = FaultTally {
                    touched: burst.there(groups).saturating_sub(before).into(),
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
        self.faults
            .bursts
            .begin(now, &self.groups, &mut self.recorder);
    }

    /// Ends those whose time is over.
    pub(super) fn end_bursts(&mut self, now: u64, stopping: bool) {
        let bursts = &mut self.faults.bursts;
        bursts.end(now, stopping, &self.groups, &mut self.recorder);
    }
}
