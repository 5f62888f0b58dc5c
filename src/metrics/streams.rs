//! What became of the messages of each stream: one publisher's messages of one kind, so of one (topic, publisher).
//!
//! Messages that came for the first time are counted in a flat table, if the run has few enough streams for one: a
//! message costs an addition there. What went wrong is rare, and is kept by stream in any run, of so many streams at
//! most; what there is no room for stands in one sum, so that nothing is left out. A shard tells all of it once, at its end.

use super::fate::{Arrival, Fate, Loss};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

/// Streams that a run may number for all of them to be told apart.
pub const STREAMS: usize = 65_536;
/// In a run with more: those with something wrong that each shard tells apart, and those that are told apart of all shards.
const WRONG: usize = 4_096;

/// What became of a stream's messages, over all subscribers that were owed them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamTally {
    /// Distinct messages that came.
    pub unique: u64,
    /// Never came, while connected.
    pub lost: u64,
    /// Never came, and the subscriber was away.
    pub missed: u64,
    /// Of the distinct ones: brought by resuming.
    pub recovered: u64,
    /// Came again.
    pub duplicated: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Came too late or too early to tell whether new or again.
    pub indeterminate: u64,
    /// Published while a subscriber was joining, and did not come.
    pub unaccounted: u64,
}

impl StreamTally {
    /// What subscribers were owed.
    pub fn expected(self) -> u64 {
        self.unique
            .saturating_add(self.lost)
            .saturating_add(self.missed)
    }

    /// Whether there is anything to be said of it but that it came.
    pub fn is_wrong(self) -> bool {
        let StreamTally { unique, .. } = self;
        self != StreamTally {
            unique,
            ..StreamTally::default()
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        StreamTally {
            unique: self.unique.saturating_add(other.unique),
            lost: self.lost.saturating_add(other.lost),
            missed: self.missed.saturating_add(other.missed),
            recovered: self.recovered.saturating_add(other.recovered),
            duplicated: self.duplicated.saturating_add(other.duplicated),
            reordered: self.reordered.saturating_add(other.reordered),
            indeterminate: self.indeterminate.saturating_add(other.indeterminate),
            unaccounted: self.unaccounted.saturating_add(other.unaccounted),
        }
    }

    fn of(loss: &Loss) -> Self {
        let mut tally = StreamTally::default();
        match loss.fate {
            Fate::Lost => tally.lost = loss.count,
            Fate::Missed => tally.missed = loss.count,
            Fate::Unaccounted => tally.unaccounted = loss.count,
        }
        tally
    }
}

/// A stream's tally as a shard tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDelta {
    /// The stream's number in the run; `None`: of all that are not told apart.
    pub stream: Option<u32>,
    /// What became of it.
    pub tally: StreamTally,
}

/// What one shard keeps; see the module.
#[derive(Default)]
pub(super) struct Streams {
    /// The streams that somebody publishes, in order, each with the place of its first in `unique`. Empty where they
    /// are too many.
    ranges: Vec<(Range<u32>, usize)>,
    unique: Vec<u64>,
    wrong: BTreeMap<u32, StreamTally>,
    beyond: StreamTally,
}

impl Streams {
    /// Of a run that numbers its streams in these ranges.
    pub fn new(numbered: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut streams = Streams::default();
        let mut places = 0;
        for range in numbered {
            streams.ranges.push((range.clone(), places));
            places += range.len();
        }
        match places <= STREAMS {
            true => streams.unique = vec![0; places],
            false => streams.ranges.clear(),
        }
        streams
    }

    /// A message of a stream that is known to be one of the run's.
    pub fn came(&mut self, stream: u32, arrival: Arrival, recovered: bool) {
        let first = arrival.first();
        if first {
            self.first(stream);
        }
        if arrival == Arrival::New && !recovered {
            return;
        }
        let wrong = StreamTally {
            recovered: (first && recovered).into(),
            duplicated: (arrival == Arrival::Duplicated).into(),
            reordered: (arrival == Arrival::Reordered).into(),
            indeterminate: (arrival == Arrival::Indeterminate).into(),
            ..StreamTally::default()
        };
        self.add(stream, wrong);
    }

    fn first(&mut self, stream: u32) {
        // Groups that publish are few.
        let place = self.ranges.iter().find_map(|(range, at)| {
            range
                .contains(&stream)
                .then(|| at + (stream - range.start) as usize)
        });
        match place.and_then(|place| self.unique.get_mut(place)) {
            Some(unique) => *unique += 1,
            None => self.beyond.unique += 1,
        }
    }

    /// Messages that never came.
    pub fn lost(&mut self, loss: &Loss) {
        self.add(loss.stream, StreamTally::of(loss));
    }

    fn add(&mut self, stream: u32, more: StreamTally) {
        let most = match self.ranges.is_empty() {
            true => WRONG,
            false => STREAMS,
        };
        add(&mut self.wrong, &mut self.beyond, most, (stream, more));
    }

    /// All of it, which is over with this.
    pub fn take(&mut self) -> Vec<StreamDelta> {
        let mut all = std::mem::take(&mut self.wrong);
        for (range, at) in &self.ranges {
            for (stream, unique) in range.clone().zip(&mut self.unique[*at..]) {
                if *unique > 0 {
                    all.entry(stream).or_default().unique = std::mem::take(unique);
                }
            }
        }
        let beyond = std::mem::take(&mut self.beyond);
        let rest = (beyond != StreamTally::default()).then_some((None, beyond));
        let told = all.into_iter().map(|(stream, tally)| (Some(stream), tally));
        told.chain(rest)
            .map(|(stream, tally)| StreamDelta { stream, tally })
            .collect()
    }
}

/// The streams of all shards together.
#[derive(Debug, Default)]
pub struct StreamTotals {
    told: BTreeMap<u32, StreamTally>,
    beyond: StreamTally,
}

impl StreamTotals {
    pub(super) fn add(&mut self, deltas: &[StreamDelta]) {
        for delta in deltas {
            match delta.stream {
                None => self.beyond = self.beyond.and(delta.tally),
                Some(stream) => add(
                    &mut self.told,
                    &mut self.beyond,
                    STREAMS,
                    (stream, delta.tally),
                ),
            }
        }
    }

    /// Those that are told apart, by their number. In a run with more than [`STREAMS`] only those with something wrong,
    /// and nothing is known of them but that.
    pub fn told(&self) -> impl Iterator<Item = (u32, StreamTally)> {
        self.told.iter().map(|(stream, tally)| (*stream, *tally))
    }

    /// All others.
    pub fn beyond(&self) -> StreamTally {
        self.beyond
    }
}

/// Adds to a stream's tally, or to that of the rest where there is no room for another stream.
fn add(
    told: &mut BTreeMap<u32, StreamTally>,
    beyond: &mut StreamTally,
    most: usize,
    (stream, more): (u32, StreamTally),
) {
    let full = told.len() >= most;
    let tally = match told.entry(stream) {
        Entry::Vacant(_) if full => beyond,
        entry => entry.or_default(),
    };
    *tally = tally.and(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(stream: u32, fate: Fate, count: u64) -> Loss {
        Loss {
            conn: 0,
            stream,
            phase: 0,
            fate,
            count,
        }
    }

    /// By stream: unique, lost, missed, recovered, duplicated, reordered, indeterminate, unaccounted.
    fn row(delta: &StreamDelta) -> (Option<u32>, [u64; 8]) {
        let t = delta.tally;
        (
            delta.stream,
            [
                t.unique,
                t.lost,
                t.missed,
                t.recovered,
                t.duplicated,
                t.reordered,
                t.indeterminate,
                t.unaccounted,
            ],
        )
    }

    #[test]
    fn each_outcome_is_its_streams_once() {
        let mut streams = Streams::new([10..12, 20..21]);
        for (stream, arrival, recovered) in [
            (10, Arrival::New, false),
            (10, Arrival::New, true),
            (10, Arrival::Reordered, true),
            (10, Arrival::Duplicated, true),
            (20, Arrival::New, false),
            (20, Arrival::Indeterminate, false),
        ] {
            streams.came(stream, arrival, recovered);
        }
        streams.lost(&loss(20, Fate::Lost, 3));
        streams.lost(&loss(11, Fate::Missed, 4));
        streams.lost(&loss(11, Fate::Unaccounted, 5));
        let all = streams.take();
        let rows: Vec<_> = all.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                (Some(10), [3, 0, 0, 2, 1, 1, 0, 0]),
                (Some(11), [0, 0, 4, 0, 0, 0, 0, 5]),
                (Some(20), [1, 3, 0, 0, 0, 0, 1, 0]),
            ]
        );
        assert_eq!(all[0].tally.expected() + all[2].tally.expected(), 3 + 4);
        assert!(streams.take().is_empty(), "it is told once");
    }

    #[test]
    fn of_too_many_streams_only_what_went_wrong_is_told_apart() {
        let many = STREAMS as u32 + 1;
        let mut streams = Streams::new(std::iter::once(0..many));
        streams.came(7, Arrival::New, false);
        for stream in 0..many {
            streams.came(stream, Arrival::Duplicated, false);
        }
        let all = streams.take();
        assert_eq!(all.len(), WRONG + 1);
        let (wrong, rest) = all.split_at(WRONG);
        assert!(wrong.iter().all(|d| d.tally.duplicated == 1));
        assert_eq!(rest[0].stream, None);
        assert_eq!(rest[0].tally.unique, 1);
        assert_eq!(rest[0].tally.duplicated, u64::from(many) - WRONG as u64);
        // What shards tell is bounded as well, and adds up.
        let mut totals = StreamTotals::default();
        totals.add(&all);
        let flood: Vec<StreamDelta> = (0..2 * many)
            .map(|stream| StreamDelta {
                stream: Some(stream),
                tally: StreamTally {
                    lost: 1,
                    ..StreamTally::default()
                },
            })
            .collect();
        totals.add(&flood);
        assert_eq!(totals.told().count(), STREAMS);
        let told = totals.told().map(|(_, tally)| tally);
        let sum = told.fold(totals.beyond(), StreamTally::and);
        assert_eq!(sum.lost, 2 * u64::from(many));
        assert_eq!(sum.duplicated, u64::from(many));
    }
}
