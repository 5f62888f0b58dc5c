//! What became of each (topic, publisher)'s messages: the worst ones, and the sum of the rest.

use super::super::drive::Course;
use crate::metrics::{Place, STREAMS, StreamTally, StreamTotals};
use crate::plan::{Plan, PlannedFault};
use crate::report::{StreamMessages, StreamPart, StreamReport, StreamsReport, WrongMessages};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Streams that are told apart in a report.
const ROWS: usize = 20;
/// Parts of a stream that are told apart, the rest of them included.
const PARTS: usize = 12;

type Tallies = Vec<(u32, StreamTally)>;

/// Nothing where nobody was owed anything.
pub(super) fn report(plan: &Plan, course: &Course) -> Option<StreamsReport> {
    let totals = course.totals.streams();
    let beyond = totals.beyond();
    let mut streams = totals.told();
    if streams.is_empty() && beyond == StreamTally::default() {
        return None;
    }
    let numbered: usize = plan.numbered_streams().map(|range| range.len()).sum();
    let told_apart = numbered <= STREAMS;
    for (stream, _) in &course.published {
        streams.entry(*stream).or_default();
    }
    let published = |stream: u32| {
        let at = course.published.binary_search_by_key(&stream, |(s, _)| *s);
        at.ok().map(|at| course.published[at].1)
    };
    let (order, rest) = worst_first(streams);
    let sum = |of: &[(u32, StreamTally)]| {
        let published = of.iter().filter_map(|(stream, _)| published(*stream));
        published.sum::<u64>()
    };
    let all = rest.iter().fold(beyond, |sum, (_, tally)| sum.and(*tally));
    let worst = order.iter().filter_map(|(stream, tally)| {
        let (connection, publish) = plan.stream_owner(*stream);
        plan.publish_of(*stream)?;
        let group = plan.groups().get(plan.group_of(connection))?;
        Some(StreamReport {
            group: group.name.clone(),
            publisher: (connection - group.first).into(),
            publish: publish.into(),
            topic: plan.topic_of(*stream),
            messages: messages(tally, published(*stream), told_apart),
            parts: parts(plan, totals, *stream, tally),
        })
    });
    Some(StreamsReport {
        told_apart,
        worst: worst.collect(),
        others: rest.len() as u64,
        rest: messages(&all, Some(sum(&rest)), told_apart),
    })
}

/// What went wrong with a stream, by phase, group and fault.
fn parts(plan: &Plan, totals: &StreamTotals, stream: u32, all: &StreamTally) -> Vec<StreamPart> {
    let faults: Vec<&PlannedFault> = plan.faults().collect();
    let (told, rest) = worst_places(totals.places(stream).collect(), all);
    let part = |(place, tally): &(Place, StreamTally)| StreamPart {
        phase: (plan.phases().get(usize::from(place.phase))).map(|phase| phase.name.clone()),
        group: (plan.groups().get(usize::from(place.group))).map(|group| group.name.clone()),
        fault: (place.fault)
            .and_then(|fault| faults.get(usize::from(fault)))
            .map(|fault| named(fault, &faults)),
        wrong: wrong(tally),
    };
    let rest = rest.is_wrong().then(|| StreamPart {
        wrong: wrong(&rest),
        ..StreamPart::default()
    });
    told.iter().map(part).chain(rest).collect()
}

/// A fault in words; where others are called the same, with its time.
fn named(fault: &PlannedFault, all: &[&PlannedFault]) -> String {
    let called = all.iter().filter(|other| other.label == fault.label);
    match called.count() {
        0 | 1 => fault.label.clone(),
        _ => format!("{} (at {:.1} s)", fault.label, fault.start.as_secs_f64()),
    }
}

/// The places to be told apart, the worst first, and what remains of all that went wrong.
fn worst_places(
    mut places: Vec<(Place, StreamTally)>,
    all: &StreamTally,
) -> (Vec<(Place, StreamTally)>, StreamTally) {
    places.sort_by_key(|(place, tally)| (Reverse(badness(tally)), *place));
    let sum = places
        .iter()
        .fold(StreamTally::default(), |sum, (_, tally)| sum.and(*tally));
    let rest = all.without(sum);
    // Where something remains it takes one of the lines.
    let most = match places.len() > PARTS || rest.is_wrong() {
        true => PARTS - 1,
        false => PARTS,
    };
    let others = places.split_off(places.len().min(most));
    let rest = others.iter().fold(rest, |sum, (_, tally)| sum.and(*tally));
    (places, rest)
}

/// Those to be told apart, and the others.
fn worst_first(streams: BTreeMap<u32, StreamTally>) -> (Tallies, Tallies) {
    let mut order: Tallies = streams.into_iter().collect();
    order.sort_by_key(|(stream, tally)| (Reverse(badness(tally)), *stream));
    let rest = order.split_off(order.len().min(ROWS));
    (order, rest)
}

/// The larger, the worse.
fn badness(tally: &StreamTally) -> (u64, u64, u64) {
    let all = |counts: &[u64]| counts.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
    (
        all(&[tally.lost, tally.missed]),
        all(&[tally.duplicated, tally.reordered, tally.indeterminate]),
        tally.recovered,
    )
}

fn messages(tally: &StreamTally, published: Option<u64>, told_apart: bool) -> StreamMessages {
    let received = [tally.unique, tally.duplicated, tally.indeterminate];
    let received = received.into_iter().fold(0, u64::saturating_add);
    StreamMessages {
        published,
        expected: told_apart.then(|| tally.expected()),
        received: told_apart.then_some(received),
        wrong: wrong(tally),
    }
}

fn wrong(tally: &StreamTally) -> WrongMessages {
    WrongMessages {
        lost: tally.lost,
        missed: tally.missed,
        recovered: tally.recovered,
        duplicated: tally.duplicated,
        reordered: tally.reordered,
        indeterminate: tally.indeterminate,
        unaccounted: tally.unaccounted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_comes_before_what_came_twice_and_the_rest_is_bounded() {
        let mut streams: BTreeMap<u32, StreamTally> = (0..50)
            .map(|stream| {
                let unique = u64::from(stream);
                (
                    stream,
                    StreamTally {
                        unique,
                        ..StreamTally::default()
                    },
                )
            })
            .collect();
        let mut wrong = |stream: u32, change: fn(&mut StreamTally)| {
            change(streams.get_mut(&stream).expect("one of them"));
        };
        wrong(40, |t| t.duplicated = 1_000_000);
        wrong(41, |t| t.missed = 2);
        wrong(42, |t| (t.lost, t.missed) = (1, 2));
        wrong(43, |t| t.recovered = 9);
        wrong(44, |t| (t.reordered, t.indeterminate) = (500_000, 500_001));
        let (worst, rest) = worst_first(streams);
        let order: Vec<u32> = worst.iter().map(|(stream, _)| *stream).collect();
        assert_eq!(order[..7], [42, 41, 44, 40, 43, 0, 1]);
        assert_eq!((worst.len(), rest.len()), (ROWS, 30));
    }

    #[test]
    fn where_there_are_too_many_only_what_went_wrong_is_known() {
        let tally = StreamTally {
            unique: 5,
            lost: 2,
            duplicated: 1,
            ..StreamTally::default()
        };
        let known = messages(&tally, Some(7), true);
        assert_eq!(
            (known.expected, known.received, known.wrong.lost),
            (Some(7), Some(6), 2)
        );
        let few = messages(&tally, None, false);
        assert_eq!(
            (few.published, few.expected, few.received),
            (None, None, None)
        );
        assert_eq!((few.wrong.lost, few.wrong.duplicated), (2, 1));
    }

    #[test]
    fn parts_are_bounded_and_add_up() {
        let lost = |lost| StreamTally {
            lost,
            ..StreamTally::default()
        };
        let place = |phase| Place::new(phase, 0, None);
        let places = |n: u64| (0..n).map(|i| (place(i as usize), lost(i + 1))).collect();
        let sum = |n: u64| n * (n + 1) / 2;
        // The worst first, and all of it there.
        let (few, rest) = worst_places(places(12), &lost(sum(12)));
        assert_eq!((few.len(), few[0].1.lost, rest), (12, 12, lost(0)));
        // One too many, or one of which only the sum is known: a line for what remains.
        let (many, rest) = worst_places(places(13), &lost(sum(13)));
        assert_eq!((many.len(), rest), (11, lost(1 + 2)));
        let (known, rest) = worst_places(places(12), &lost(sum(12) + 5));
        assert_eq!((known.len(), rest), (11, lost(1 + 5)));
    }
}
