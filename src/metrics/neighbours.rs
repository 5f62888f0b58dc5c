//! What slow consumers and those beside them got, by the fault that made them slow: recorded apart from the
//! metrics of the group, which hold both.

use super::histogram::{self, HIGHEST_US, LOWEST_US};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whose latencies, and of messages due when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Of the group's other clients, before the fault.
    Before,
    /// Of the others, within the fault.
    During,
    /// Of the others, after it.
    After,
    /// Of its victims, from when the others are looked at on.
    Victims,
}

impl Side {
    /// All of them, in the order of declaration (which is their index).
    pub const ALL: [Side; 4] = [Side::Before, Side::During, Side::After, Side::Victims];
}

/// Sums of what happened within a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourTally {
    /// Bytes of the messages due within the fault that the group's other clients got; without frame headers.
    pub bytes: u64,
    /// Publishes due within the fault, of all groups…
    pub offered: u64,
    /// …and those of them that their connection could not take.
    pub dropped: u64,
    /// The longest time for which the target's side took nothing of what a publishing connection had written, nanoseconds.
    pub held_up_ns: u64,
}

impl NeighbourTally {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        NeighbourTally {
            bytes: self.bytes.saturating_add(other.bytes),
            offered: self.offered.saturating_add(other.offered),
            dropped: self.dropped.saturating_add(other.dropped),
            held_up_ns: self.held_up_ns.max(other.held_up_ns),
        }
    }
}

/// What a shard recorded of a fault since its last snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourDelta {
    /// The fault's number in the run.
    pub fault: u16,
    /// Sums.
    pub tally: NeighbourTally,
    /// Latencies in microseconds, HdrHistogram V2 (not deflated).
    pub latencies: Vec<(Side, Vec<u8>)>,
}

/// What a shard records of a fault.
#[derive(Default)]
pub struct Recording {
    tally: NeighbourTally,
    latencies: [Option<Histogram<u32>>; Side::ALL.len()],
}

impl Recording {
    /// Records a latency in nanoseconds, as [`super::Recorder::time`] does but that what is out of range is cut to it:
    /// the group's own timer counts it.
    pub fn time(&mut self, side: Side, ns: i64) {
        let us = (u64::try_from(ns).unwrap_or(0) + 500) / 1000;
        if let Some(slot) = self.latencies.get_mut(side as usize) {
            slot.get_or_insert_with(histogram::empty)
                .saturating_record(us.clamp(LOWEST_US, HIGHEST_US));
        }
    }

    /// Adds to what happened.
    pub fn add(&mut self, more: NeighbourTally) {
        self.tally = self.tally.and(more);
    }

    /// Everything since the last time; `None` when there is nothing.
    pub(super) fn take(
        &mut self,
        fault: u16,
        serializer: &mut V2Serializer,
    ) -> Option<NeighbourDelta> {
        let tally = std::mem::take(&mut self.tally);
        let mut latencies = Vec::new();
        for (side, slot) in Side::ALL.into_iter().zip(&mut self.latencies) {
            let Some(values) = slot.as_mut().filter(|values| !values.is_empty()) else {
                // Not used for a whole interval: it will not soon be.
                *slot = None;
                continue;
            };
            let mut bytes = Vec::new();
            if histogram::encode(serializer, values, &mut bytes) {
                latencies.push((side, bytes));
            }
            values.reset();
        }
        (tally != NeighbourTally::default() || !latencies.is_empty()).then_some(NeighbourDelta {
            fault,
            tally,
            latencies,
        })
    }
}

/// A fault's neighbours so far, all shards together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbours {
    /// Sums.
    pub tally: NeighbourTally,
    latencies: BTreeMap<Side, Histogram<u64>>,
}

impl Neighbours {
    /// Latencies, microseconds.
    pub fn latencies(&self, side: Side) -> Histogram<u64> {
        let known = self.latencies.get(&side).cloned();
        known.unwrap_or_else(histogram::empty)
    }

    pub(super) fn add(&mut self, tally: NeighbourTally, latencies: &[(Side, Histogram<u64>)]) {
        self.tally = self.tally.and(tally);
        for (side, values) in latencies {
            let into = self.latencies.entry(*side);
            histogram::merge(into.or_insert_with(histogram::empty), values);
        }
    }
}

/// Latencies of one delta; `None` unless all are whole and of the common shape.
pub(super) fn decode(delta: &NeighbourDelta) -> Option<Vec<(Side, Histogram<u64>)>> {
    let all = delta.latencies.iter();
    all.map(|(side, bytes)| Some((*side, histogram::decode(bytes)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Gauges, Quantiles, Recorder, Totals};
    use super::*;

    /// Two shards' parts of a fault come together, whole and second by second; a broken one is turned away whole.
    #[test]
    fn parts_come_together() {
        let mut totals = Totals::new(1, 1, 2);
        for shard in 0..2u32 {
            let mut recorder = Recorder::new(shard, 1, 1);
            recorder.beside(3).time(Side::Before, 1_000_000);
            recorder
                .beside(3)
                .time(Side::During, 2_000_000 + i64::from(shard) * 1_000_000);
            recorder.beside(3).time(Side::Victims, 9_000_000);
            let tally = NeighbourTally {
                bytes: 10,
                offered: 2,
                dropped: 1,
                held_up_ns: 100 + u64::from(shard),
            };
            recorder.beside(3).add(tally);
            let first = recorder.snapshot(1_000_000_000, Gauges::default(), false);
            assert_eq!(first.neighbours.len(), 1);
            let mut broken = first.clone();
            broken.neighbours[0].latencies[0].1.pop();
            assert!(totals.absorb(broken).is_err());
            totals.absorb(first).unwrap();
            // Nothing is told twice.
            let second = recorder.snapshot(2_000_000_000, Gauges::default(), true);
            assert_eq!(second.neighbours, []);
            totals.absorb(second).unwrap();
        }
        totals.finish();
        let all = totals.neighbours(3).unwrap();
        let sum = NeighbourTally {
            bytes: 20,
            offered: 4,
            dropped: 2,
            held_up_ns: 101,
        };
        assert_eq!(all.tally, sum);
        let counts = Side::ALL.map(|side| all.latencies(side).len());
        assert_eq!(counts, [2, 2, 0, 2]);
        assert_eq!(all.latencies(Side::During).max() / 100, 30);
        assert_eq!(totals.neighbours(0), None);
        let beside = totals.timeline()[0].beside[&3];
        let count = |of: Option<Quantiles>| of.map(|of| of.count);
        assert_eq!(
            (count(beside.others), count(beside.victims)),
            (Some(4), Some(2))
        );
        assert!(totals.timeline()[1].beside.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_cut_to_what_does() {
        let mut recorder = Recorder::new(0, 1, 1);
        for ns in [i64::MIN, -1, 0, i64::MAX] {
            recorder.beside(0).time(Side::After, ns);
        }
        let mut totals = Totals::new(1, 1, 1);
        totals
            .absorb(recorder.snapshot(1_000_000_000, Gauges::default(), true))
            .unwrap();
        let values = totals.neighbours(0).unwrap().latencies(Side::After);
        assert_eq!((values.len(), values.min()), (4, 1));
        assert!(values.max() >= 60_000_000);
    }
}
