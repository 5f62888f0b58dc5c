//! What became of the messages of each stream: one publisher's messages of one kind, so of one (topic, publisher).
//!
//! Messages that came for the first time are counted in a flat table, if the run has few enough streams for one: a
//! message costs an addition there. What went wrong is rare, and is kept by stream and [`Place`] (phase, group and
//! fault), of so many of them at most; beyond these by stream alone, of so many streams; and what there is no room for
//! then stands in one sum. So each message is in one of the three, and nothing is left out. A shard tells all of it
//! once, at its end.

use super::fate::{Arrival, Fate, Loss};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

/// Streams that a run may number for all of them to be told apart.
pub const STREAMS: usize = 65_536;
/// In a run with more: those with something wrong that each shard tells apart, and those that are told apart of all shards.
const WRONG: usize = 4_096;
/// Of how many (stream, place) each shard keeps what went wrong: about 100 bytes each.
const PLACES: usize = 16_384;
/// The same of all shards together.
const ALL_PLACES: usize = 65_536;

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

    /// What is left of it without a part of it; what came is not looked at.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        StreamTally {
            unique: self.unique,
            lost: self.lost.saturating_sub(part.lost),
            missed: self.missed.saturating_sub(part.missed),
            recovered: self.recovered.saturating_sub(part.recovered),
            duplicated: self.duplicated.saturating_sub(part.duplicated),
            reordered: self.reordered.saturating_sub(part.reordered),
            indeterminate: self.indeterminate.saturating_sub(part.indeterminate),
            unaccounted: self.unaccounted.saturating_sub(part.unaccounted),
        }
    }

    /// What a message that came counts to, but for that it came.
    fn wrong(arrival: Arrival, recovered: bool) -> Self {
        StreamTally {
            recovered: (arrival.first() && recovered).into(),
            duplicated: (arrival == Arrival::Duplicated).into(),
            reordered: (arrival == Arrival::Reordered).into(),
            indeterminate: (arrival == Arrival::Indeterminate).into(),
            ..StreamTally::default()
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

/// Where something went wrong, for whom, and by whose doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Index of the phase, as counts have it.
    pub phase: u8,
    /// Index of the subscriber's group.
    pub group: u16,
    /// The number of the fault in the run that cut the subscriber's connection last, or else of the last that came to
    /// it; `None`: of one that no fault ever touched.
    pub fault: Option<u16>,
}

impl Place {
    /// Of these numbers.
    pub fn new(phase: usize, group: usize, fault: Option<usize>) -> Self {
        Place {
            phase: u8::try_from(phase).unwrap_or(u8::MAX),
            group: u16::try_from(group).unwrap_or(u16::MAX),
            fault: fault.and_then(|fault| u16::try_from(fault).ok()),
        }
    }
}

/// A part of a stream's tally as a shard tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDelta {
    /// The stream's number in the run; `None`: of all that are not told apart.
    pub stream: Option<u32>,
    /// Of which place; `None`: of all that are not told apart.
    pub place: Option<Place>,
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
    wrong: Kept,
}

/// Tallies by what they are of, each message in one of them.
#[derive(Debug, Default)]
struct Kept {
    placed: BTreeMap<(u32, Place), StreamTally>,
    told: BTreeMap<u32, StreamTally>,
    beyond: StreamTally,
}

impl Kept {
    /// Adds to a place of a stream, of so many at most; to the stream, of so many; or to the rest.
    fn add(&mut self, stream: u32, place: Option<Place>, most: (usize, usize), more: StreamTally) {
        let tally = place
            .and_then(|place| entry(&mut self.placed, (stream, place), most.0))
            .or_else(|| entry(&mut self.told, stream, most.1))
            .unwrap_or(&mut self.beyond);
        *tally = tally.and(more);
    }
}

/// What is there, or begins here if there is room.
fn entry<K: Ord>(
    of: &mut BTreeMap<K, StreamTally>,
    key: K,
    most: usize,
) -> Option<&mut StreamTally> {
    let full = of.len() >= most;
    match of.entry(key) {
        Entry::Vacant(_) if full => None,
        entry => Some(entry.or_default()),
    }
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
    pub fn came(&mut self, stream: u32, arrival: Arrival) {
        if arrival.first() {
            self.first(stream);
        }
    }

    /// The same message again where there is more to be said of it than that it came.
    pub fn wrong(&mut self, stream: u32, place: Place, arrival: Arrival, recovered: bool) {
        self.add(stream, place, StreamTally::wrong(arrival, recovered));
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
            None => self.wrong.beyond.unique += 1,
        }
    }

    /// Messages that never came.
    pub fn lost(&mut self, loss: &Loss, place: Place) {
        self.add(loss.stream, place, StreamTally::of(loss));
    }

    fn add(&mut self, stream: u32, place: Place, more: StreamTally) {
        let streams = match self.ranges.is_empty() {
            true => WRONG,
            false => STREAMS,
        };
        self.wrong.add(stream, Some(place), (PLACES, streams), more);
    }

    /// All of it, which is over with this.
    pub fn take(&mut self) -> Vec<StreamDelta> {
        let Kept {
            placed,
            mut told,
            beyond,
        } = std::mem::take(&mut self.wrong);
        for (range, at) in &self.ranges {
            for (stream, unique) in range.clone().zip(&mut self.unique[*at..]) {
                if *unique > 0 {
                    told.entry(stream).or_default().unique = std::mem::take(unique);
                }
            }
        }
        let delta = |stream, place, tally| StreamDelta {
            stream,
            place,
            tally,
        };
        let placed = placed.into_iter();
        let placed = placed.map(|((stream, place), tally)| delta(Some(stream), Some(place), tally));
        let told = told.into_iter();
        let told = told.map(|(stream, tally)| delta(Some(stream), None, tally));
        let rest = (beyond != StreamTally::default()).then(|| delta(None, None, beyond));
        told.chain(placed).chain(rest).collect()
    }
}

/// The streams of all shards together.
#[derive(Debug, Default)]
pub struct StreamTotals(Kept);

impl StreamTotals {
    pub(super) fn add(&mut self, deltas: &[StreamDelta]) {
        for delta in deltas {
            match delta.stream {
                None => self.0.beyond = self.0.beyond.and(delta.tally),
                Some(stream) => {
                    let most = (ALL_PLACES, STREAMS);
                    self.0.add(stream, delta.place, most, delta.tally);
                }
            }
        }
    }

    /// Those that are told apart, by their number. In a run with more than [`STREAMS`] only those with something wrong,
    /// and nothing is known of them but that.
    pub fn told(&self) -> BTreeMap<u32, StreamTally> {
        let mut streams = self.0.told.clone();
        for ((stream, _), tally) in &self.0.placed {
            let sum = streams.entry(*stream).or_default();
            *sum = sum.and(*tally);
        }
        streams
    }

    /// What went wrong with a stream, by place; what there was no room for is in its sum only.
    pub fn places(&self, stream: u32) -> impl Iterator<Item = (Place, StreamTally)> {
        let (first, last) = (
            Place::new(0, 0, None),
            Place {
                phase: u8::MAX,
                group: u16::MAX,
                fault: Some(u16::MAX),
            },
        );
        let places = self.0.placed.range((stream, first)..=(stream, last));
        places.map(|((_, place), tally)| (*place, *tally))
    }

    /// All others.
    pub fn beyond(&self) -> StreamTally {
        self.0.beyond
    }
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
            blame: None,
        }
    }

    /// By stream: unique, lost, missed, recovered, duplicated, reordered, indeterminate, unaccounted.
    fn row(delta: &StreamDelta) -> (Option<u32>, Option<Place>, [u64; 8]) {
        let t = delta.tally;
        (
            delta.stream,
            delta.place,
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

    /// As a shard does it.
    fn came(streams: &mut Streams, stream: u32, place: Place, arrival: Arrival, recovered: bool) {
        streams.came(stream, arrival);
        if arrival != Arrival::New || recovered {
            streams.wrong(stream, place, arrival, recovered);
        }
    }

    #[test]
    fn each_outcome_is_its_streams_once_and_of_its_place() {
        let mut streams = Streams::new([10..12, 20..21]);
        let (calm, cut) = (Place::new(0, 1, None), Place::new(1, 1, Some(0)));
        for (stream, place, arrival, recovered) in [
            (10, calm, Arrival::New, false),
            (10, cut, Arrival::New, true),
            (10, cut, Arrival::Reordered, true),
            (10, cut, Arrival::Duplicated, true),
            (10, calm, Arrival::Duplicated, false),
            (20, calm, Arrival::New, false),
            (20, calm, Arrival::Indeterminate, false),
        ] {
            came(&mut streams, stream, place, arrival, recovered);
        }
        streams.lost(&loss(20, Fate::Lost, 3), calm);
        streams.lost(&loss(20, Fate::Lost, 2), cut);
        streams.lost(&loss(11, Fate::Missed, 4), cut);
        streams.lost(&loss(11, Fate::Unaccounted, 5), cut);
        let all = streams.take();
        let rows: Vec<_> = all.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                (Some(10), None, [3, 0, 0, 0, 0, 0, 0, 0]),
                (Some(20), None, [1, 0, 0, 0, 0, 0, 0, 0]),
                (Some(10), Some(calm), [0, 0, 0, 0, 1, 0, 0, 0]),
                (Some(10), Some(cut), [0, 0, 0, 2, 1, 1, 0, 0]),
                (Some(11), Some(cut), [0, 0, 4, 0, 0, 0, 0, 5]),
                (Some(20), Some(calm), [0, 3, 0, 0, 0, 0, 1, 0]),
                (Some(20), Some(cut), [0, 2, 0, 0, 0, 0, 0, 0]),
            ]
        );
        assert!(streams.take().is_empty(), "it is told once");
        // Of two shards that said the same.
        let mut totals = StreamTotals::default();
        totals.add(&all);
        totals.add(&all);
        let told = totals.told();
        assert_eq!(told.keys().copied().collect::<Vec<_>>(), [10, 11, 20]);
        assert_eq!(told[&10].duplicated, 4);
        assert_eq!(told[&11].expected() + told[&20].expected(), 8 + 12);
        let places: Vec<_> = totals.places(20).collect();
        assert_eq!(places.len(), 2);
        assert_eq!((places[0].0, places[0].1.lost), (calm, 6));
        assert_eq!((places[1].0, places[1].1.lost), (cut, 4));
        assert_eq!(totals.places(12).count(), 0);
    }

    #[test]
    fn of_too_many_streams_only_what_went_wrong_is_told_apart() {
        let many = STREAMS as u32 + 1;
        let place = Place::new(0, 0, None);
        let mut streams = Streams::new(std::iter::once(0..many));
        came(&mut streams, 7, place, Arrival::New, false);
        for stream in 0..many {
            came(&mut streams, stream, place, Arrival::Duplicated, false);
        }
        let all = streams.take();
        assert_eq!(all.len(), PLACES + WRONG + 1);
        let (wrong, rest) = all.split_at(PLACES + WRONG);
        assert!(wrong.iter().all(|d| d.tally.duplicated == 1));
        assert_eq!(wrong.iter().filter(|d| d.place.is_some()).count(), PLACES);
        assert_eq!((rest[0].stream, rest[0].place), (None, None));
        assert_eq!(rest[0].tally.unique, 1);
        let apart = (PLACES + WRONG) as u64;
        assert_eq!(rest[0].tally.duplicated, u64::from(many) - apart);
        // What shards tell is bounded as well, and adds up.
        let mut totals = StreamTotals::default();
        totals.add(&all);
        let flood: Vec<StreamDelta> = (0..4 * many)
            .map(|stream| StreamDelta {
                stream: Some(stream),
                place: Some(place),
                tally: StreamTally {
                    lost: 1,
                    ..StreamTally::default()
                },
            })
            .collect();
        totals.add(&flood);
        let told = totals.told();
        assert!(told.len() <= ALL_PLACES + STREAMS);
        let sum = told.into_values().fold(totals.beyond(), StreamTally::and);
        assert_eq!(sum.lost, 4 * u64::from(many));
        assert_eq!(sum.duplicated, u64::from(many));
    }

    #[test]
    fn where_there_is_no_room_for_a_place_the_stream_has_it() {
        let mut streams = Streams::new(std::iter::once(0..2));
        let places = PLACES as u32 + 10;
        for at in 0..places {
            let place = Place::new((at % 250) as usize, (at / 250) as usize, None);
            streams.lost(&loss(1, Fate::Missed, 1), place);
        }
        let all = streams.take();
        assert_eq!(all.len(), PLACES + 1);
        assert_eq!(row(&all[0]), (Some(1), None, [0, 0, 10, 0, 0, 0, 0, 0]));
        let mut totals = StreamTotals::default();
        totals.add(&all);
        assert_eq!(totals.told()[&1].missed, u64::from(places));
    }
}
