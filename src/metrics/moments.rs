//! Openings and losses in steps of 100 ms: fine enough to see the peak of a reconnect storm, which a second would hide.

use serde::{Deserialize, Serialize};

/// Length of a step, nanoseconds.
pub const STEP_NS: u64 = 100_000_000;
/// Steps of a second.
pub(super) const SECOND: u64 = 1_000_000_000 / STEP_NS;
/// Steps of a run that are kept: 29 hours in which something happened all the time.
const KEPT: usize = 1 << 20;

/// What happened to connections in one step, all phases and groups together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number: step i ends (i + 1)·100 ms after the run's start.
    pub index: u32,
    /// Connections started, from when they reach out for the target.
    pub attempts: u32,
    /// Connections that became ready.
    pub opened: u32,
    /// Of these, connections that had been lost before.
    pub back: u32,
    /// Openings that failed.
    pub failed: u32,
    /// Ready connections that were lost, and are to come back.
    pub lost: u32,
    /// Of those that failed, openings that the target had no room for: refused by TCP or by 429 or 503, reset or not answered.
    pub crowded: u32,
    /// Attempts that ended without reaching out, as a fault of ours kept them from it: the target never heard of them.
    pub vain: u32,
}

impl Step {
    /// So many in one step, as a rate per second.
    pub fn per_second(count: u32) -> u64 {
        u64::from(count) * SECOND
    }

    /// Adds what another part of the run did in the same step.
    fn add(&mut self, other: Step) {
        let add = |into: &mut u32, n: u32| *into = into.saturating_add(n);
        add(&mut self.attempts, other.attempts);
        add(&mut self.opened, other.opened);
        add(&mut self.back, other.back);
        add(&mut self.failed, other.failed);
        add(&mut self.lost, other.lost);
        add(&mut self.crowded, other.crowded);
        add(&mut self.vain, other.vain);
    }
}

/// The step of a moment, nanoseconds from the run's start.
fn index_of(ns: u64) -> u32 {
    u32::try_from(ns / STEP_NS).unwrap_or(u32::MAX)
}

/// The steps since the last snapshot, in order. Time goes forward, so the last one is nearly always the one.
#[derive(Debug, Default)]
pub(super) struct Moments(Vec<Step>);

impl Moments {
    /// The step of this moment.
    pub fn at(&mut self, now_ns: u64) -> &mut Step {
        let index = index_of(now_ns);
        let place = match self.0.last() {
            Some(last) if last.index == index => Ok(self.0.len() - 1),
            Some(last) if last.index < index => Err(self.0.len()),
            None => Err(0),
            Some(_) => self.0.binary_search_by_key(&index, |step| step.index),
        };
        let place = place.unwrap_or_else(|place| {
            let blank = Step {
                index,
                ..Step::default()
            };
            self.0.insert(place, blank);
            place
        });
        &mut self.0[place]
    }

    /// All of them; begins anew.
    pub fn take(&mut self) -> Vec<Step> {
        let taken = self.0.clone();
        // Its room is needed again in the next second.
        self.0.clear();
        taken
    }
}

/// A whole run's steps in order; those in which nothing happened are not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// Adds a shard's. Beyond what is kept, later ones are left out; see [`Steps::full`].
    pub(super) fn add(&mut self, steps: &[Step]) {
        for step in steps {
            match self.0.binary_search_by_key(&step.index, |kept| kept.index) {
                Ok(place) => self.0[place].add(*step),
                Err(_) if self.full() => {}
                Err(place) => self.0.insert(place, *step),
            }
        }
    }

    /// Whether there may be later ones that were not kept.
    pub fn full(&self) -> bool {
        self.0.len() >= KEPT
    }

    /// Those from one moment up to another, nanoseconds from the run's start.
    pub fn between(&self, from_ns: u64, to_ns: u64) -> &[Step] {
        let place = |ns: u64| {
            let index = index_of(ns);
            self.0.partition_point(|step| step.index < index)
        };
        let (from, to) = (place(from_ns), place(to_ns));
        self.0.get(from..to.max(from)).unwrap_or(&[])
    }

    /// Most per second of what is counted, in any step between two moments: ten times that of the busiest. `None`:
    /// there was none.
    pub fn peak(&self, from_ns: u64, to_ns: u64, of: fn(&Step) -> u32) -> Option<u64> {
        let most = self.between(from_ns, to_ns).iter().map(of).max();
        most.filter(|most| *most > 0).map(Step::per_second)
    }
}

impl From<Vec<Step>> for Steps {
    /// From steps in any order.
    fn from(steps: Vec<Step>) -> Self {
        let mut all = Steps::default();
        all.add(&steps);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_belongs_to_the_step_it_lies_in() {
        let mut moments = Moments::default();
        for now in [0, 99_999_999, 250_000_000, 100_000_000, 299_999_999] {
            moments.at(now).attempts += 1;
        }
        let steps: Vec<(u32, u32)> = moments
            .take()
            .iter()
            .map(|s| (s.index, s.attempts))
            .collect();
        assert_eq!(steps, [(0, 2), (1, 1), (2, 2)]);
        assert_eq!(moments.take(), []);
    }

    proptest! {
        #[test]
        fn shards_together_are_what_one_would_be(times in prop::collection::vec((0u64..3_000_000_000, 0usize..4), 0..200)) {
            let mut alone = Moments::default();
            let mut shards: Vec<Moments> = (0..4).map(|_| Moments::default()).collect();
            for (now, shard) in &times {
                alone.at(*now).lost += 1;
                shards[*shard].at(*now).lost += 1;
            }
            let mut together = Steps::default();
            for shard in &mut shards {
                together.add(&shard.take());
            }
            prop_assert_eq!(together, Steps::from(alone.take()));
        }

        #[test]
        fn between_takes_what_lies_between(indices in prop::collection::btree_set(0u32..60, 0..30), from in 0u64..70, to in 0u64..70) {
            let steps = Steps::from(indices.iter().map(|index| Step { index: *index, ..Step::default() }).collect::<Vec<_>>());
            let got: Vec<u64> = steps.between(from * STEP_NS, to * STEP_NS).iter().map(|s| s.index.into()).collect();
            let expected: Vec<u64> = indices.iter().map(|i| u64::from(*i)).filter(|i| (from..to).contains(i)).collect();
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn the_peak_is_per_second_and_none_where_nothing_was_tried() {
        let steps = Steps::from(vec![
            Step {
                index: 4,
                attempts: 7,
                ..Step::default()
            },
            Step {
                index: 9,
                attempts: 31,
                ..Step::default()
            },
            Step {
                index: 12,
                lost: 5,
                ..Step::default()
            },
        ]);
        let peak = |from_ns, to_ns| steps.peak(from_ns, to_ns, |step| step.attempts);
        assert_eq!(peak(0, 2_000_000_000), Some(310));
        assert_eq!(peak(0, 900_000_000), Some(70));
        assert_eq!(peak(1_000_000_000, 2_000_000_000), None);
    }
}
