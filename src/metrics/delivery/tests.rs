use super::*;
use crate::metrics::Counter;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a caller would count.
#[derive(Default)]
struct Sums {
    all: BTreeMap<Counter, u64>,
    by_phase: BTreeMap<(Counter, usize), u64>,
}

impl Sums {
    fn arrived(&mut self, arrival: Arrival, phase: usize) {
        for counter in arrival.counters() {
            self.add(*counter, phase, 1);
        }
    }

    fn lost(&mut self, delivery: &mut Delivery) {
        for loss in delivery.losses() {
            assert!(loss.count > 0);
            for counter in loss.counters() {
                self.add(*counter, loss.phase, loss.count);
            }
        }
    }

    fn add(&mut self, counter: Counter, phase: usize, n: u64) {
        *self.all.entry(counter).or_default() += n;
        *self.by_phase.entry((counter, phase)).or_default() += n;
    }

    fn of(&self, counter: Counter) -> u64 {
        self.all.get(&counter).copied().unwrap_or(0)
    }

    fn at(&self, counter: Counter, phase: usize) -> u64 {
        self.by_phase.get(&(counter, phase)).copied().unwrap_or(0)
    }

    fn balanced(&self) -> bool {
        use Counter as C;
        self.of(C::Received)
            == self.of(C::Unique) + self.of(C::Duplicated) + self.of(C::Indeterminate)
            && self.of(C::Expected) == self.of(C::Unique) + self.of(C::Lost) + self.of(C::Missed)
    }
}

fn end(published: &[u64]) -> StreamEnd {
    StreamEnd {
        stream: 5,
        first_ns: 1000,
        published: published.to_vec(),
    }
}

/// Feeds one connection's arrivals of one stream, all in phase 0.
fn feed(
    delivery: &mut Delivery,
    sums: &mut Sums,
    seqs: impl IntoIterator<Item = u64>,
) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for seq in seqs {
        let arrival = delivery.receive(1, 5, seq, 0, true);
        sums.arrived(arrival, 0);
        sums.lost(delivery);
        arrivals.push(arrival);
    }
    arrivals
}

#[test]
fn what_is_forgotten_begins_anew_and_leaves_its_holes() {
    let mut delivery = Delivery::new();
    let receive = |delivery: &mut Delivery, seq| delivery.receive(1, 0, seq, 2, false);
    for seq in [7, 8, 11, 9] {
        receive(&mut delivery, seq);
    }
    assert_eq!(delivery.losses().count(), 0, "it may still come");
    delivery.forget(1, 0);
    delivery.forget(1, 1);
    let hole = Loss {
        conn: 1,
        stream: 0,
        phase: 2,
        fate: Fate::Lost,
        count: 1,
        blame: None,
    };
    assert_eq!(delivery.losses().collect::<Vec<_>>(), [hole]);
    assert!(!delivery.knows(1, 0) && delivery.gaps.is_empty());
    assert_eq!(receive(&mut delivery, 3), Arrival::New);
    assert_eq!(receive(&mut delivery, 4), Arrival::New);
    delivery.forget(1, 0);
    assert_eq!(delivery.losses().count(), 0);
}

#[test]
fn known_faults_are_reported_as_exactly_that() {
    // 1000 messages: 7 dropped (two in a row, one at the very end), 3 sent twice, 2 swapped with the next.
    let dropped: BTreeSet<u64> = [3, 100, 101, 480, 640, 900, 999].into();
    let doubled: BTreeSet<u64> = [0, 333, 998].into();
    let swapped: BTreeSet<u64> = [50, 700].into();
    let mut seqs: Vec<u64> = (0..1000).collect();
    for seq in &swapped {
        seqs.swap(*seq as usize, *seq as usize + 1);
    }
    let arrivals = seqs
        .into_iter()
        .filter(|seq| !dropped.contains(seq))
        .flat_map(|seq| std::iter::repeat_n(seq, 1 + usize::from(doubled.contains(&seq))));
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    feed(&mut delivery, &mut sums, arrivals);
    delivery.close_tail(1, Some(0), [&end(&[1000])], &[0], None);
    sums.lost(&mut delivery);
    let found = [
        Counter::Expected,
        Counter::Unique,
        Counter::Received,
        Counter::Lost,
        Counter::Duplicated,
        Counter::Reordered,
        Counter::Missed,
        Counter::Indeterminate,
    ]
    .map(|counter| sums.of(counter));
    assert_eq!(found, [1000, 993, 996, 7, 3, 2, 0, 0]);
    assert!(sums.balanced());
}

#[test]
fn arrivals_are_told_apart() {
    use Arrival::{Duplicated, Indeterminate, New, Reordered};
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    let arrivals = feed(
        &mut delivery,
        &mut sums,
        [0, 1, 1, 3, 2, 2, 66, 4, 3, 2, 0, 67, 130, 66, 65],
    );
    assert_eq!(
        arrivals,
        [
            New,
            New,
            Duplicated,
            New,
            Reordered,
            Duplicated,
            New,
            Reordered,
            Duplicated,
            Indeterminate,
            Indeterminate,
            New,
            New,
            Indeterminate,
            Indeterminate
        ]
    );
    assert!(
        arrivals
            .iter()
            .all(|a| a.first() == matches!(a, New | Reordered))
    );
    // 5..=65 but none else never came: all of them are below the window of 67..=130 by now.
    assert_eq!(sums.of(Counter::Lost), 61);
}

#[test]
fn the_window_is_64_numbers() {
    for (last, seq, expected) in [
        (64, 1, Arrival::Reordered),
        (64, 0, Arrival::Indeterminate),
        (65, 1, Arrival::Indeterminate),
        (65, 2, Arrival::Reordered),
    ] {
        let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
        let arrivals = feed(&mut delivery, &mut sums, [0, last, seq]);
        assert_eq!(arrivals[2], expected, "{last} then {seq}");
        assert_eq!(sums.of(Counter::Lost), last.saturating_sub(64), "{last}");
    }
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    assert_eq!(
        feed(&mut delivery, &mut sums, [0, 63, 0])[2],
        Arrival::Duplicated
    );
}

#[test]
fn a_hole_that_is_over_is_not_kept() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    feed(&mut delivery, &mut sums, [0, 2]);
    assert_eq!(delivery.gaps.len(), 1);
    feed(&mut delivery, &mut sums, 3..=65);
    assert_eq!(sums.of(Counter::Lost), 1);
    assert!(delivery.gaps.is_empty());
}

#[test]
fn what_was_published_is_summed_over_the_phases() {
    assert_eq!(end(&[]).total(), 0);
    assert_eq!(end(&[6, 0, 4]).total(), 10);
}

#[test]
fn a_loss_is_of_the_phase_that_found_the_hole() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    for (seq, phase) in [(0, 0), (2, 1), (5, 2), (6, 3)]
        .into_iter()
        .chain((7..200).map(|s| (s, 3)))
    {
        let arrival = delivery.receive(1, 5, seq, phase, true);
        sums.arrived(arrival, phase);
        sums.lost(&mut delivery);
    }
    let lost = [0, 1, 2, 3].map(|phase| sums.at(Counter::Lost, phase));
    assert_eq!(lost, [0, 1, 2, 0]);
    assert_eq!(sums.at(Counter::Expected, 1), 2, "one received, one lost");
    // One hole far wider than the window: its distant part is final at once, the rest when the tail closes.
    delivery.receive(1, 5, 1000, 4, true);
    sums.lost(&mut delivery);
    assert_eq!(sums.at(Counter::Lost, 4), 1001 - 64 - 200);
    delivery.close_tail(1, Some(0), [&end(&[1001])], &[0], None);
    sums.lost(&mut delivery);
    assert_eq!(sums.at(Counter::Lost, 4), 800);
}

#[test]
fn a_tail_is_of_the_phases_that_published_it() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    feed(&mut delivery, &mut sums, 0..12);
    delivery.close_tail(1, Some(0), [&end(&[10, 5, 0, 7])], &[0, 10, 20, 30], None);
    sums.lost(&mut delivery);
    assert_eq!(
        [0, 1, 2, 3].map(|p| sums.at(Counter::Lost, p)),
        [0, 3, 0, 7]
    );
    assert_eq!(
        [0, 1, 2, 3].map(|p| sums.at(Counter::Expected, p)),
        [12, 3, 0, 7]
    );
    assert!(sums.balanced());
    // Again: nothing more. And what comes after all is too late, or a duplicate.
    delivery.close_tail(1, Some(0), [&end(&[10, 5, 0, 7])], &[0, 10, 20, 30], None);
    assert_eq!(delivery.losses().count(), 0);
    assert_eq!(delivery.receive(1, 5, 21, 3, true), Arrival::Indeterminate);
    assert_eq!(delivery.receive(1, 5, 22, 3, true), Arrival::Indeterminate);
    assert_eq!(delivery.receive(1, 5, 11, 3, true), Arrival::Duplicated);
}

#[test]
fn who_saw_nothing_is_owed_what_it_was_there_for() {
    let phases = [0, 2000, 3000];
    type Row = (Option<u64>, u32, [u64; 3], [u64; 3]);
    let table: &[Row] = &[
        // ready at, times away → per phase lost or missed, per phase unaccounted
        (Some(0), 0, [10, 20, 30], [0, 0, 0]),
        (Some(1000), 0, [10, 20, 30], [0, 0, 0]),
        (Some(1001), 0, [0, 20, 30], [10, 0, 0]),
        (Some(2000), 0, [0, 20, 30], [10, 0, 0]),
        (Some(2001), 0, [0, 0, 30], [10, 20, 0]),
        (Some(3001), 0, [0, 0, 0], [10, 20, 30]),
        (Some(1001), 1, [0, 20, 30], [10, 0, 0]),
        (Some(0), 1, [10, 20, 30], [0, 0, 0]),
        (None, 0, [0, 0, 0], [0, 0, 0]),
    ];
    for (ready, aways, never, unaccounted) in table {
        let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
        for _ in 0..*aways {
            delivery.away(1);
        }
        let end = end(&[10, 20, 30]);
        let outstanding = delivery.outstanding(1, *ready, [&end], &phases);
        assert_eq!(outstanding, never.iter().sum::<u64>(), "{ready:?}");
        delivery.close_tail(1, *ready, [&end], &phases, None);
        sums.lost(&mut delivery);
        let counter = if *aways == 0 {
            Counter::Lost
        } else {
            Counter::Missed
        };
        assert_eq!([0, 1, 2].map(|p| sums.at(counter, p)), *never, "{ready:?}");
        let found = [0, 1, 2].map(|p| sums.at(Counter::Unaccounted, p));
        assert_eq!(found, *unaccounted, "{ready:?}");
        assert!(sums.balanced());
        assert_eq!(delivery.outstanding(1, *ready, [&end], &phases), 0);
        delivery.close_tail(1, *ready, [&end], &phases, None);
        assert_eq!(delivery.losses().count(), 0);
    }
}

#[test]
fn a_late_joiner_is_owed_from_its_first_message() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    for seq in [40, 41, 39, 43] {
        sums.arrived(delivery.receive(1, 5, seq, 0, false), 0);
    }
    delivery.close_tail(1, Some(5000), [&end(&[45])], &[0], None);
    sums.lost(&mut delivery);
    // 39 came late but came; 42 and 44 are lost; what was before 39 is nobody's business.
    let found = [
        Counter::Unique,
        Counter::Reordered,
        Counter::Lost,
        Counter::Expected,
        Counter::Unaccounted,
    ];
    assert_eq!(found.map(|c| sums.of(c)), [4, 1, 2, 6, 0]);
}

#[test]
fn holes_across_an_absence_are_missed() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    feed(&mut delivery, &mut sums, [0, 2]);
    delivery.away(1);
    // Another connection's absence is its own.
    delivery.away(9);
    feed(&mut delivery, &mut sums, [6, 8]);
    // 1 lost before, 3 4 5 missed, 7 lost after.
    delivery.away(1);
    // A resumed stream may still fill the hole.
    feed(&mut delivery, &mut sums, [4]);
    delivery.close_tail(1, Some(0), [&end(&[10])], &[0], None);
    sums.lost(&mut delivery);
    // The tail (9) went by while it was away a second time.
    let found = [
        Counter::Lost,
        Counter::Missed,
        Counter::Unique,
        Counter::Reordered,
    ];
    assert_eq!(found.map(|c| sums.of(c)), [2, 3, 5, 1]);
    assert!(sums.balanced());
}

#[test]
fn an_absence_without_a_hole_misses_nothing() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    feed(&mut delivery, &mut sums, [0, 1]);
    delivery.away(1);
    feed(&mut delivery, &mut sums, [2, 4]);
    delivery.close_tail(1, Some(0), [&end(&[6])], &[0], None);
    sums.lost(&mut delivery);
    assert_eq!([Counter::Lost, Counter::Missed].map(|c| sums.of(c)), [2, 0]);
    // Ready from the start, away before anything came: the head is missed.
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    delivery.away(1);
    feed(&mut delivery, &mut sums, [3, 5]);
    delivery.close_tail(1, Some(0), [&end(&[6])], &[0], None);
    sums.lost(&mut delivery);
    assert_eq!([Counter::Lost, Counter::Missed].map(|c| sums.of(c)), [1, 3]);
    // A late joiner that was away before: its first message is a base, not a hole.
    let mut delivery = Delivery::new();
    delivery.away(1);
    delivery.receive(1, 5, 7, 0, false);
    delivery.receive(1, 5, 9, 0, false);
    delivery.close_gaps();
    let losses: Vec<Loss> = delivery.losses().collect();
    assert_eq!(
        losses,
        [Loss {
            conn: 1,
            stream: 5,
            phase: 0,
            fate: Fate::Lost,
            count: 1,
            blame: None,
        }]
    );
}

#[test]
fn what_nobody_could_have_published_is_not_believed() {
    let mut delivery = Delivery::new();
    assert_eq!(
        delivery.receive(1, 5, u64::MAX, 0, false),
        Arrival::Indeterminate
    );
    assert_eq!(
        delivery.receive(1, 5, FURTHEST + 1, 0, true),
        Arrival::Indeterminate
    );
    assert_eq!(delivery.pairs(), 0);
    assert_eq!(delivery.receive(1, 5, 0, 0, true), Arrival::New);
    assert_eq!(
        delivery.receive(1, 5, FURTHEST + 2, 0, true),
        Arrival::Indeterminate
    );
    assert_eq!(
        delivery.receive(1, 5, u64::MAX, 0, true),
        Arrival::Indeterminate
    );
    assert_eq!(delivery.losses().count(), 0);
    assert_eq!(delivery.receive(1, 5, FURTHEST + 1, 0, true), Arrival::New);
    assert_eq!(delivery.receive(2, 5, FURTHEST, 0, true), Arrival::New);
    assert_eq!(delivery.pairs(), 2);
    // Up to the edge of what can be counted without overflow.
    let edge = u64::MAX - 1;
    assert_eq!(delivery.receive(3, 5, edge, 0, false), Arrival::New);
    assert_eq!(
        delivery.receive(3, 5, u64::MAX, 0, false),
        Arrival::Indeterminate
    );
    assert_eq!(delivery.receive(3, 5, edge, 0, false), Arrival::Duplicated);
}

#[test]
fn gaps_of_streams_without_a_ledger_are_closed_too() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    feed(&mut delivery, &mut sums, [0, 3]);
    delivery.receive(7, 6, 0, 2, true);
    delivery.receive(7, 6, 2, 2, true);
    delivery.close_tail(1, Some(0), [&end(&[4])], &[0], None);
    sums.lost(&mut delivery);
    assert_eq!(sums.of(Counter::Lost), 2);
    delivery.close_gaps();
    let losses: Vec<Loss> = delivery.losses().collect();
    assert_eq!(
        losses,
        [Loss {
            conn: 7,
            stream: 6,
            phase: 2,
            fate: Fate::Lost,
            count: 1,
            blame: None,
        }]
    );
    delivery.close_gaps();
    assert_eq!(delivery.losses().count(), 0);
    assert_eq!(delivery.receive(7, 6, 1, 2, true), Arrival::Indeterminate);
}

#[test]
fn outstanding_counts_down_to_nothing() {
    let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
    let ends = [
        end(&[6, 4]),
        StreamEnd {
            stream: 6,
            first_ns: 0,
            published: vec![3],
        },
    ];
    let left = |delivery: &Delivery| delivery.outstanding(1, Some(0), &ends, &[0, 10]);
    assert_eq!(left(&delivery), 13);
    feed(&mut delivery, &mut sums, [0, 1, 4]);
    assert_eq!(left(&delivery), 10);
    feed(&mut delivery, &mut sums, [2]);
    assert_eq!(left(&delivery), 9);
    assert_eq!(delivery.outstanding(1, None, &ends, &[0, 10]), 0);
    delivery.away(1);
    feed(&mut delivery, &mut sums, [7]);
    // 3 of the old hole, 8 and 9 of the tail, stream 6; not 5 and 6, which passed by while it was away.
    assert_eq!(left(&delivery), 1 + 2 + 3);
    feed(&mut delivery, &mut sums, [3, 8, 9]);
    for seq in 0..3 {
        delivery.receive(1, 6, seq, 0, true);
    }
    assert_eq!(left(&delivery), 0);
}

#[test]
fn connections_and_streams_are_apart() {
    let mut delivery = Delivery::new();
    delivery.reserve(1000);
    assert!(delivery.streams.capacity() >= 1000);
    assert!(!delivery.knows(1, 0));
    for (conn, stream) in [(0, 1), (1, 0), (1, 1), (u32::MAX, 0), (0, u32::MAX)] {
        assert_eq!(
            delivery.receive(conn, stream, 0, 0, true),
            Arrival::New,
            "{conn} {stream}"
        );
    }
    assert_eq!(delivery.pairs(), 5);
    assert!(delivery.knows(1, 0) && delivery.knows(u32::MAX, 0));
    assert!(!delivery.knows(0, 0) && !delivery.knows(u32::MAX, 1));
    assert!(std::mem::size_of::<(u64, Entry)>() <= 32);
}

#[test]
fn the_hash_spreads_both_halves_of_the_key() {
    let hash = |key: u64| {
        let mut mix = Mix::default();
        mix.write_u64(key);
        mix.finish()
    };
    for by in [1u64, 1 << 32] {
        let low: BTreeSet<u64> = (0..4096).map(|i| hash(i * by) & 0xfff).collect();
        let high: BTreeSet<u64> = (0..4096).map(|i| hash(i * by) >> 57).collect();
        assert!(low.len() > 2300, "{}", low.len());
        assert_eq!(high.len(), 128);
    }
    // The published first number of SplitMix64 from the seed 0.
    assert_eq!(hash(0), 0xe220_a839_7b1d_cdaf);
    let mut bytes = Mix::default();
    bytes.write(&[0, 0xff]);
    assert_eq!(bytes.finish(), hash(hash(0) ^ 0xff));
}

/// A message's fate in the model: dropped, or arriving this much later than its turn, once for each.
fn script(most: u64) -> impl Strategy<Value = Vec<Vec<u64>>> {
    let delays = prop_oneof![
        6 => Just(vec![0]),
        1 => Just(vec![]),
        1 => proptest::collection::vec(0..=most, 1..4),
    ];
    proptest::collection::vec(delays, 1..400)
}

fn arrivals(script: &[Vec<u64>]) -> Vec<u64> {
    let mut events: Vec<(u64, u64)> = script
        .iter()
        .zip(0u64..)
        .flat_map(|(delays, seq)| delays.iter().map(move |delay| (seq + delay, seq)))
        .collect();
    events.sort_by_key(|(at, _)| *at);
    events.into_iter().map(|(_, seq)| seq).collect()
}

proptest! {
    #[test]
    fn within_the_window_it_equals_a_set_of_all_numbers(script in script(60)) {
        let arrivals = arrivals(&script);
        let published = script.len() as u64;
        let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
        feed(&mut delivery, &mut sums, arrivals.iter().copied());
        let end = end(&[published]);
        let (before, outstanding) =
            (sums.of(Counter::Lost), delivery.outstanding(1, Some(0), [&end], &[0]));
        delivery.close_tail(1, Some(0), [&end], &[0], None);
        sums.lost(&mut delivery);
        // The model.
        let mut seen = BTreeSet::new();
        let (mut duplicated, mut reordered) = (0, 0);
        for seq in &arrivals {
            let later = seen.last().is_some_and(|last| last > seq);
            match seen.insert(*seq) {
                false => duplicated += 1,
                true => reordered += u64::from(later),
            }
        }
        let unique = seen.len() as u64;
        prop_assert_eq!(sums.of(Counter::Unique), unique);
        prop_assert_eq!(sums.of(Counter::Duplicated), duplicated);
        prop_assert_eq!(sums.of(Counter::Reordered), reordered);
        prop_assert_eq!(sums.of(Counter::Lost), published - unique);
        prop_assert_eq!(sums.of(Counter::Lost) - before, outstanding);
        prop_assert_eq!(sums.of(Counter::Expected), published);
        prop_assert_eq!(sums.of(Counter::Indeterminate), 0);
        prop_assert!(sums.balanced());
    }

    #[test]
    fn whatever_comes_whenever_the_sums_hold(
        script in script(300),
        aways in proptest::collection::btree_set(0usize..400, 0..4),
        phases in proptest::collection::vec(1u64..100, 1..5),
    ) {
        let published = script.len() as u64;
        let (mut delivery, mut sums) = (Delivery::new(), Sums::default());
        for (turn, seq) in arrivals(&script).into_iter().enumerate() {
            if aways.contains(&turn) {
                delivery.away(1);
            }
            feed(&mut delivery, &mut sums, [seq]);
        }
        // The ledger by phase, the last taking the rest.
        let mut by_phase: Vec<u64> = Vec::new();
        for part in phases {
            by_phase.push(part.min(published - by_phase.iter().sum::<u64>()));
        }
        by_phase.push(published - by_phase.iter().sum::<u64>());
        delivery.close_tail(1, Some(0), [&end(&by_phase)], &[0], None);
        sums.lost(&mut delivery);
        prop_assert!(sums.balanced());
        prop_assert_eq!(sums.of(Counter::Expected), published);
        prop_assert_eq!(sums.of(Counter::Unaccounted), 0);
        if aways.is_empty() {
            prop_assert_eq!(sums.of(Counter::Missed), 0);
        }
        prop_assert!(delivery.gaps.is_empty());
    }
}

#[test]
fn what_a_shard_keeps_of_absences_is_of_its_own_connections() {
    let mut delivery = Delivery::spaced(56);
    let number = |k: u32| 13 + 56 * k;
    delivery.away(number(17_000));
    delivery.away(number(17_000));
    delivery.away(number(3));
    assert_eq!(delivery.epochs.counts.len(), 17_001);
    let epochs = [3, 4, 16_999, 17_000, 17_001].map(|k| delivery.epochs.of(number(k)));
    assert_eq!(epochs, [1, 0, 0, 2, 0]);
}

/// The budget: 32 bytes a (connection, stream), the numbering that it is by included.
#[test]
fn an_account_is_small() {
    let size = size_of::<Entry>() + size_of::<u64>();
    assert!(size <= 32, "{size} bytes a (connection, stream)");
}

#[test]
fn what_is_marked_is_known_when_both_are() {
    let tag = |n| NonZeroU16::new(n).unwrap();
    let mut table = Delivery::new();
    assert_eq!(table.marked(1, 2), None);
    // Numbers alone, a numbering alone.
    table.receive(1, 2, 5, 0, false);
    assert_eq!(table.marked(1, 2), None);
    table.mark(1, 2, tag(9), Some(77));
    assert_eq!(table.marked(1, 2), Some((5, tag(9))), "what came counts");
    table.mark(1, 3, tag(9), None);
    assert_eq!(table.marked(1, 3), None);
    // The first number is where it begins: nothing before it is missing.
    assert_eq!(table.receive(1, 3, 40, 0, false), Arrival::New);
    assert_eq!(table.marked(1, 3), Some((40, tag(9))));
    // A position that was told is where it begins too, and what comes after it must be whole.
    table.mark(1, 4, tag(1), Some(7));
    assert_eq!(table.marked(1, 4), Some((7, tag(1))));
    table.receive(1, 4, 10, 0, false);
    table.forget(1, 4);
    let lost: Vec<Loss> = table.losses().collect();
    assert_eq!(
        lost.iter().map(|l| (l.fate, l.count)).collect::<Vec<_>>(),
        [(Fate::Lost, 2)]
    );
    assert_eq!(table.marked(1, 4), None);
    table.mark(1, 5, tag(1), Some(u64::MAX));
    assert_eq!(table.receive(1, 5, 3, 0, false), Arrival::Indeterminate);
}

/// What a service recovers comes in order after the reconnect, before anything newer: nothing is missed, and what
/// it leaves out is, whatever it says.
#[test]
fn what_is_recovered_was_not_missed() {
    let mut table = Delivery::new();
    for seq in 0..10 {
        table.receive(1, 2, seq, 0, true);
    }
    table.away(1);
    // 10 to 19 were published in the meantime; 14 does not come back, and that is no loss of a connection that is there.
    for seq in (10..30).filter(|seq| *seq != 14) {
        let arrival = table.receive_if(1, 2, seq, 1, seq < 20, || Some(true), || None);
        assert_eq!(arrival, Some(Arrival::New));
    }
    let end = StreamEnd {
        stream: 2,
        first_ns: 0,
        published: vec![10, 20],
    };
    table.close_tail(1, Some(0), [&end], &[0, 10], None);
    let fates: Vec<(Fate, u64)> = table.losses().map(|l| (l.fate, l.count)).collect();
    assert_eq!(fates, [(Fate::Missed, 1)]);
}

#[test]
fn a_hole_is_put_down_to_what_was_so_when_it_was_found() {
    let mut delivery = Delivery::new();
    let cut = |fault| Some(Blame { fault, cut: true });
    let mut receive = |seq, away: bool, blame: &dyn Fn() -> Option<Blame>| {
        if away {
            delivery.away(1);
        }
        delivery.receive_if(1, 5, seq, 0, false, || Some(true), blame);
    };
    let nobody = || -> Option<Blame> { panic!("nothing is missing") };
    receive(0, false, &nobody);
    // Two absences, each another's doing, the first of more than the window; and a loss that is nobody's.
    receive(100, true, &|| cut(3));
    receive(110, true, &|| None);
    receive(113, false, &|| cut(4));
    for seq in 114..200 {
        receive(seq, false, &nobody);
    }
    delivery.close_tail(1, Some(0), [&end(&[205])], &[0], cut(9));
    let mut found: Vec<(Fate, Option<u16>, u64)> = Vec::new();
    for loss in delivery.losses() {
        let by = loss.blame.map(|blame| blame.fault);
        match found
            .last_mut()
            .filter(|last| (last.0, last.1) == (loss.fate, by))
        {
            Some(last) => last.2 += loss.count,
            None => found.push((loss.fate, by, loss.count)),
        }
    }
    let expected = [
        (Fate::Missed, Some(3), 99),
        (Fate::Missed, None, 9),
        (Fate::Lost, Some(4), 2),
        (Fate::Lost, Some(9), 5),
    ];
    assert_eq!(found, expected);
}
