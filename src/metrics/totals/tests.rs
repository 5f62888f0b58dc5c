use super::*;
use crate::metrics::{Node, Recorder, TimerDelta, openings};
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;

fn gauges(open: u32, cpu_ns: u64) -> Gauges {
    Gauges {
        open: vec![open, 1],
        opening: 2,
        waiting: 3,
        blocked: 4,
        cpu_ns,
        rss: 100,
        descriptors: 9,
        ..Gauges::default()
    }
}

/// An empty snapshot.
fn blank(shard: u32, number: u32, at_ns: i64) -> Snapshot {
    let mut snapshot = Recorder::new(shard, 1, 1).snapshot(at_ns, Gauges::default(), false);
    snapshot.number = number;
    snapshot
}

#[test]
fn a_snapshot_at_the_start_is_no_second_of_its_own() {
    let mut totals = Totals::new(1, 1, 1);
    totals.absorb(blank(0, 0, 0)).unwrap();
    assert!(totals.timeline().is_empty(), "the first second is not over");
    for number in 1..=3 {
        totals
            .absorb(blank(0, number, i64::from(number) * SECOND + 300_000))
            .unwrap();
    }
    let seconds: Vec<_> = totals.timeline().iter().map(|s| s.index).collect();
    assert_eq!(seconds, [0, 1, 2]);
}

#[test]
fn openings_are_by_address_and_by_the_name_of_the_node() {
    let mut totals = Totals::new(2, 2, 2);
    for shard in 0..2 {
        let mut recorder = Recorder::new(shard, 2, 2);
        // Each shard meets the nodes in its own order: names go together, not numbers.
        let names: [&[u8]; 2] = if shard == 0 {
            [b"a", b"b"]
        } else {
            [b"b", b"a"]
        };
        let [first, second] = names.map(|name| recorder.node(name));
        recorder.served_by(first, 0, 0);
        recorder.served_by(second, 1, 1);
        recorder.served_by(Node::UNTOLD, 1, 0);
        recorder.endpoint(3, 0, 0);
        recorder.endpoint(0, 1, 1);
        let snapshot = recorder.snapshot(SECOND, Gauges::default(), true);
        totals.absorb(snapshot).unwrap();
        // What was told is not told again.
        let empty = recorder.snapshot(2 * SECOND, Gauges::default(), true);
        assert!(empty.nodes.is_empty() && empty.endpoints.is_empty());
    }
    let named = |name: &str| NodeName::Named(name.into());
    let all = [(named("a"), 2), (named("b"), 2), (NodeName::Untold, 2)];
    assert_eq!(totals.nodes(None, None), BTreeMap::from(all));
    let first = [(named("a"), 1), (named("b"), 1)];
    assert_eq!(totals.nodes(Some(0), None), BTreeMap::from(first));
    let untold = [(NodeName::Untold, 2)];
    assert_eq!(totals.nodes(Some(1), Some(0)), BTreeMap::from(untold));
    assert_eq!(
        totals.endpoints(None, None),
        BTreeMap::from([(0, 2), (3, 2)])
    );
    assert_eq!(totals.endpoints(Some(0), None), BTreeMap::from([(3, 2)]));
}

#[test]
fn a_run_tells_no_more_nodes_apart_than_a_shard() {
    let mut totals = Totals::new(1, 1, 2);
    for shard in 0..2 {
        let mut recorder = Recorder::new(shard, 1, 1);
        for i in 0..NODES {
            let node = recorder.node(format!("{shard} {i}").as_bytes());
            recorder.served_by(node, 0, 0);
        }
        let snapshot = recorder.snapshot(SECOND, Gauges::default(), true);
        totals.absorb(snapshot).unwrap();
    }
    let nodes = totals.nodes(None, None);
    assert_eq!(nodes.len(), NODES + 1);
    assert_eq!(nodes[&NodeName::Beyond], NODES as u64);
}

#[test]
fn sums_are_by_phase_and_group_and_by_shard() {
    let mut totals = Totals::new(2, 2, 2);
    for shard in 0..2 {
        let mut recorder = Recorder::new(shard, 2, 2);
        let n = u64::from(shard) + 1;
        recorder.count(Counter::Sent, 0, 0, n);
        recorder.count(Counter::Sent, 0, 1, 10 * n);
        recorder.count(Counter::Sent, 1, 1, 100 * n);
        recorder.count(Counter::Lost, 1, 1, 1000);
        recorder.fail(Failure::Dns, 0, 0);
        recorder.fail(Failure::Tls, 1, 0);
        recorder.status(503, 1, 1);
        recorder.status(429, 1, 1);
        let close = |code, by_target| CloseKey {
            code,
            by_target,
            clean: false,
        };
        recorder.close(close(1006, true), 1, 0);
        recorder.close(close(1000, false), 1, 0);
        recorder.time(Timer::Rtt, 0, 1, 1_000_000 * i64::from(shard + 1));
        recorder.time(Timer::Rtt, 1, 1, 5_000_000);
        recorder.sample("error", b"x");
        recorder.sample("error", format!("from {shard}").as_bytes());
        totals
            .absorb(recorder.snapshot(SECOND, gauges(1, 0), false))
            .unwrap();
    }
    let sent = |phase, group| totals.count(Counter::Sent, phase, group);
    assert_eq!(sent(None, None), 333);
    assert_eq!(sent(Some(0), None), 33);
    assert_eq!(sent(None, Some(1)), 330);
    assert_eq!(sent(Some(1), Some(1)), 300);
    assert_eq!(sent(Some(1), Some(0)), 0);
    assert_eq!(totals.failures(None, None, None), 4);
    assert_eq!(totals.failures(Some(Failure::Tls), None, None), 2);
    assert_eq!(totals.failures(Some(Failure::Tls), Some(0), None), 0);
    assert_eq!(
        totals.failures_by_kind(Some(0), Some(0)),
        [(Failure::Dns, 2)].into()
    );
    assert_eq!(totals.statuses(None, None), [(503, 2), (429, 2)].into());
    assert_eq!(totals.statuses(Some(0), None), [].into());
    let closes = totals.closes(None, Some(0));
    assert_eq!(closes.values().sum::<u64>(), 4);
    assert_eq!(totals.histogram(Timer::Rtt, None, None).len(), 4);
    assert_eq!(totals.histogram(Timer::Rtt, Some(0), None).len(), 2);
    assert_eq!(totals.histogram(Timer::RttService, None, None).len(), 0);
    assert_eq!(totals.histogram(Timer::Lag, None, None).len(), 0);
    let quantiles = totals.quantiles(Timer::Rtt, Some(0), Some(1)).unwrap();
    assert_eq!((quantiles.min, quantiles.count), (1000, 2));
    assert_eq!(totals.quantiles(Timer::Rtt, None, Some(0)), None);
    let shards = totals.shards();
    assert_eq!(
        [0, 1].map(|s: usize| shards[s].count(Counter::Sent)),
        [111, 222]
    );
    assert_eq!(shards[1].count(Counter::Lost), 1000);
    let samples: Vec<_> = totals.samples().collect();
    assert_eq!(
        samples,
        [("error", "from 0"), ("error", "from 1"), ("error", "x")]
    );
}

#[test]
fn what_makes_no_sense_is_refused_whole() {
    let mut recorder = Recorder::new(0, 2, 2);
    recorder.count(Counter::Sent, 0, 0, 1);
    recorder.time(Timer::Lag, 0, 0, 5);
    recorder.fail(Failure::Dns, 0, 0);
    recorder.status(500, 0, 0);
    recorder.fault(0, true, 7);
    recorder.close(
        CloseKey {
            code: 1000,
            by_target: true,
            clean: true,
        },
        0,
        0,
    );
    let good = recorder.snapshot(SECOND, Gauges::default(), false);
    type Spoil = fn(&mut Snapshot);
    let malformed = AbsorbError::Malformed { shard: 0 };
    let table: &[(Spoil, AbsorbError)] = &[
        (
            |s| s.version += 1,
            AbsorbError::Version {
                got: SNAPSHOT_VERSION + 1,
            },
        ),
        (|s| s.shard = 1, AbsorbError::Shard { shard: 1 }),
        (|s| s.counts[0].phase = 2, malformed),
        (|s| s.counts[0].group = 2, malformed),
        (|s| s.failures[0].phase = 2, malformed),
        (|s| s.statuses[0].group = 2, malformed),
        (|s| s.closes[0].group = 2, malformed),
        (|s| s.timers[0].phase = 2, malformed),
        (|s| s.timers[0].group = 2, malformed),
        (|s| s.timers[0].histogram.truncate(30), malformed),
        (|s| s.faults[0].did.ended = 1, malformed),
        (|s| s.faults[0].did.first_ns = 8, malformed),
        (
            |s| (s.faults[0].did.due, s.faults[0].did.touched) = (0, 0),
            malformed,
        ),
        (
            |s| {
                s.timers.push(TimerDelta {
                    phase: 0,
                    group: 0,
                    timer: Timer::Rtt,
                    histogram: vec![],
                })
            },
            malformed,
        ),
    ];
    let mut totals = Totals::new(2, 2, 1);
    for (index, (spoil, error)) in table.iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert_eq!(totals.absorb(bad), Err(*error), "row {index}");
    }
    assert_eq!(totals.count(Counter::Sent, None, None), 0);
    assert_eq!(totals.histogram(Timer::Lag, None, None).len(), 0);
    assert_eq!(totals.shards()[0].snapshots, 0);
    totals.absorb(good.clone()).unwrap();
    assert_eq!(
        totals.absorb(good),
        Err(AbsorbError::Repeated {
            shard: 0,
            number: 0
        })
    );
    assert_eq!(totals.count(Counter::Sent, None, None), 1);
    assert!(table.iter().all(|(_, error)| !error.to_string().is_empty()));
}

#[test]
fn what_a_fault_did_is_summed_over_intervals_and_shards() {
    let mut totals = Totals::new(1, 1, 2);
    let mut recorders = [Recorder::new(0, 1, 1), Recorder::new(1, 1, 1)];
    // (interval, shard, fault, touched, at)
    for (interval, events) in [
        vec![(0, 0, true, 50), (0, 3, false, 70), (1, 0, true, 40)],
        vec![(0, 0, true, 90), (1, 0, false, 95), (1, 0, true, 60)],
    ]
    .into_iter()
    .enumerate()
    {
        for (shard, fault, touched, at) in events {
            recorders[shard].fault(fault, touched, at);
        }
        for recorder in &mut recorders {
            let at = (interval as i64 + 1) * SECOND;
            let snapshot = recorder.snapshot(at, Gauges::default(), false);
            totals.absorb(snapshot).unwrap();
        }
    }
    let did = |due, touched, first_ns, last_ns| {
        Some(FaultTally {
            due,
            touched,
            first_ns,
            last_ns,
            ..FaultTally::default()
        })
    };
    assert_eq!(totals.fault(0), did(5, 4, 40, 95));
    assert_eq!(totals.fault(3), did(1, 0, 70, 70));
    assert_eq!(totals.fault(1), None);
    assert_eq!(totals.fault(1 << 16), None);
}

#[test]
fn a_hole_in_the_numbers_is_kept_as_a_fact() {
    let mut totals = Totals::new(1, 1, 2);
    for (number, at) in [(0, 1), (1, 2), (4, 7), (5, 8)] {
        totals.absorb(blank(1, number, at * SECOND)).unwrap();
    }
    let shard = &totals.shards()[1];
    assert_eq!(
        (
            shard.missing,
            shard.snapshots,
            shard.longest_gap_ns,
            shard.finished
        ),
        (2, 4, 5 * SECOND, false)
    );
    let mut last = blank(1, 6, 9 * SECOND);
    last.last = true;
    totals.absorb(last).unwrap();
    assert!(totals.shards()[1].finished);
    assert_eq!(
        totals.absorb(blank(1, 4, SECOND)),
        Err(AbsorbError::Repeated {
            shard: 1,
            number: 4
        })
    );
    // The first one missing is a hole too.
    let mut totals = Totals::new(1, 1, 1);
    totals.absorb(blank(0, 1, SECOND)).unwrap();
    assert_eq!(totals.shards()[0].missing, 1);
}

#[test]
fn a_second_is_complete_when_every_live_shard_reported_it() {
    let mut totals = Totals::new(1, 2, 2);
    let mut recorders = [0, 1].map(|shard| Recorder::new(shard, 1, 2));
    let mut tell = |totals: &mut Totals, shard: usize, second: i64, cpu_ns: u64| {
        let recorder = &mut recorders[shard];
        recorder.count(Counter::Received, 0, 0, 10);
        recorder.fail(Failure::Reset, 0, 0);
        recorder.close(
            CloseKey {
                code: 1006,
                by_target: true,
                clean: false,
            },
            0,
            0,
        );
        recorder.close(
            CloseKey {
                code: 1000,
                by_target: false,
                clean: true,
            },
            0,
            1,
        );
        recorder.time(Timer::Latency, 0, shard, 1_000_000 * second);
        recorder.time(Timer::Lag, 0, 0, 2_000_000);
        let open = 5 + u32::try_from(second).unwrap();
        // Snapshots are a little late, as timers are.
        let snapshot = recorder.snapshot(second * SECOND + 40_000_000, gauges(open, cpu_ns), false);
        totals.absorb(snapshot).unwrap();
    };
    tell(&mut totals, 0, 1, 0);
    assert_eq!(totals.timeline().len(), 0);
    tell(&mut totals, 0, 2, 900_000_000);
    assert_eq!(totals.timeline().len(), 0);
    tell(&mut totals, 1, 1, 0);
    assert_eq!(totals.timeline().len(), 1);
    let first = totals.timeline()[0].clone();
    assert_eq!((first.index, first.reported, first.cpu), (0, 2, 0.0));
    assert_eq!(
        (
            first.open.clone(),
            first.opening,
            first.waiting,
            first.blocked
        ),
        (vec![12, 2], 4, 6, 8)
    );
    assert_eq!((first.rss, first.descriptors), (200, 18));
    assert_eq!(
        (first.count(Counter::Received), first.count(Counter::Sent)),
        (20, 0)
    );
    assert_eq!((first.closed, first.closed_by_target), (4, 2));
    assert_eq!(first.failures, [(Failure::Reset, 2)].into());
    assert_eq!(first.response().unwrap().count, 2);
    assert_eq!(first.timers[&Timer::Lag].count, 2);
    let logged: Vec<Timer> = first.histograms.iter().map(|(timer, _)| *timer).collect();
    assert_eq!(logged, [Timer::Latency]);
    assert_eq!(first.histogram(Timer::Latency).unwrap().len(), 2);
    assert_eq!(first.histogram(Timer::Lag), None);
    // A shard that skipped a second (its loop was blocked) does not hold it up.
    tell(&mut totals, 0, 3, 1_200_000_000);
    tell(&mut totals, 1, 3, 1_000_000_000);
    assert_eq!(
        totals
            .timeline()
            .iter()
            .map(|s| s.index)
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    let [_, second, third] = totals.timeline() else {
        panic!("three seconds")
    };
    assert_eq!(
        (second.reported, second.cpu, second.open[0]),
        (1, 0.9, 7 + 6)
    );
    assert_eq!((third.reported, third.cpu, third.open[0]), (2, 0.5, 16));
    // A lost shard is not waited for, and holds no connections.
    tell(&mut totals, 0, 4, 1_300_000_000);
    assert_eq!(totals.timeline().len(), 3);
    totals.lose(1, "killed by signal 9");
    totals.lose(1, "a second reason");
    totals.lose(7, "never existed");
    assert_eq!(totals.timeline().len(), 4);
    assert_eq!(totals.timeline()[3].open, [9, 1]);
    assert_eq!(
        totals.shards()[1].lost.as_deref(),
        Some("killed by signal 9")
    );
}

/// Each second something opens, in as many milliseconds as it has number; in the second after the first something is lost.
#[test]
fn openings_are_kept_from_the_first_loss_on_and_put_together_by_their_seconds() {
    let mut totals = Totals::new(2, 1, 2);
    let mut recorders = [Recorder::new(0, 2, 1), Recorder::new(1, 2, 1)];
    let mut second = |totals: &mut Totals, n: i64| {
        for (shard, recorder) in recorders.iter_mut().enumerate() {
            if n == 2 && shard == 1 {
                recorder.step(1_500_000_000).lost += 1;
            }
            // Of one phase and another: in a second they are together.
            recorder.time(Timer::Upgrade, shard, 0, n * 1_000_000);
            recorder.time(Timer::Latency, shard, 0, 1_000_000);
            let snapshot = recorder.snapshot(n * SECOND, Gauges::default(), false);
            totals.absorb(snapshot).unwrap();
        }
    };
    for n in 1..=3 {
        second(&mut totals, n);
    }
    let of = |totals: &Totals, from: usize, to: usize| -> Vec<(Timer, u64, u64)> {
        openings(totals.timeline()[from..to].iter())
            .into_iter()
            .map(|(timer, took)| (timer, took.count, took.max / 1000))
            .collect()
    };
    assert_eq!(of(&totals, 1, 3), [(Timer::Upgrade, 4, 3)]);
    assert_eq!(of(&totals, 1, 2), [(Timer::Upgrade, 2, 2)]);
    // Not those of before, and not a part of what was asked for.
    assert_eq!(of(&totals, 0, 1), []);
    assert_eq!(of(&totals, 0, 3), []);
    // And not without end.
    totals.openings = OPENINGS - 1;
    for n in 4..=5 {
        second(&mut totals, n);
    }
    assert_eq!(of(&totals, 3, 4), [(Timer::Upgrade, 2, 4)]);
    assert_eq!(of(&totals, 3, 5), []);
}

#[test]
fn the_end_takes_seconds_as_they_are() {
    let mut totals = Totals::new(1, 1, 3);
    let mut last = blank(0, 0, 2 * SECOND);
    last.last = true;
    totals.absorb(last).unwrap();
    totals.absorb(blank(1, 0, 3 * SECOND)).unwrap();
    totals.absorb(blank(1, 1, 4 * SECOND)).unwrap();
    assert_eq!(totals.timeline().len(), 0, "shard 2 has not said anything");
    totals.absorb(blank(2, 0, 3 * SECOND)).unwrap();
    // Shard 0 is finished: it reports no more and is not waited for.
    assert_eq!(
        totals
            .timeline()
            .iter()
            .map(|s| s.index)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    // What comes late for a complete second counts in the next.
    let mut late = Recorder::new(2, 1, 1);
    late.snapshot(0, Gauges::default(), false);
    late.count(Counter::Sent, 0, 0, 3);
    totals
        .absorb(late.snapshot(3 * SECOND + 1, Gauges::default(), true))
        .unwrap();
    totals.finish();
    assert_eq!(
        totals
            .timeline()
            .iter()
            .map(|s| s.index)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(totals.timeline()[2].count(Counter::Sent), 3);
}

#[test]
fn a_second_that_not_all_reported_is_there_after_the_end() {
    let mut totals = Totals::new(1, 1, 2);
    totals.absorb(blank(0, 0, SECOND)).unwrap();
    totals.absorb(blank(0, 1, 2 * SECOND)).unwrap();
    totals.absorb(blank(1, 0, SECOND)).unwrap();
    let seconds = |totals: &Totals| -> Vec<(u32, u32)> {
        let all = totals.timeline().iter();
        all.map(|s| (s.index, s.reported)).collect()
    };
    assert_eq!(seconds(&totals), [(0, 2)]);
    totals.finish();
    assert_eq!(seconds(&totals), [(0, 2), (1, 1)]);
}

#[test]
fn a_snapshot_belongs_to_the_nearest_second() {
    let half = SECOND / 2;
    for (at, second) in [
        (-3 * SECOND, 0),
        (0, 0),
        (half - 1, 0),
        (SECOND, 0),
        (SECOND + half - 1, 0),
        (SECOND + half, 1),
        (2 * SECOND, 1),
        (60 * SECOND + 3, 59),
    ] {
        assert_eq!(second_of(at), second, "{at}");
    }
    assert_eq!(second_of(i64::MIN), 0);
}

#[test]
fn health_is_kept_by_shard_and_interval() {
    let mut totals = Totals::new(1, 1, 1);
    let mut recorder = Recorder::new(0, 1, 1);
    let mut intervals = [(1, 0, 50), (2, 250_000_000, 80), (3, 950_000_000, 70)].into_iter();
    for (second, cpu_ns, rss) in intervals.by_ref() {
        for i in 1..=100 {
            recorder.time(Timer::Lag, 0, 0, i * 10_000 * second);
        }
        let gauges = Gauges {
            cpu_ns,
            rss,
            ..Gauges::default()
        };
        totals
            .absorb(recorder.snapshot(second * SECOND, gauges, false))
            .unwrap();
    }
    let shard = &totals.shards()[0];
    assert_eq!(shard.rss_max, 80);
    assert_eq!(shard.intervals[0].cpu, None);
    assert_eq!(shard.intervals[1].cpu, Some(0.25));
    assert!((shard.cpu_max() - 0.7).abs() < 1e-9);
    assert_eq!(
        (
            shard.intervals[0].lag_count,
            shard.intervals[0].lag_p99_us,
            shard.intervals[0].lag_max_us
        ),
        (100, 990, 1000)
    );
    assert!((2970..=2972).contains(&shard.lag_p99_max_us()));
    // Two snapshots at one time have no share of CPU between them.
    totals
        .absorb(recorder.snapshot(3 * SECOND, Gauges::default(), false))
        .unwrap();
    assert_eq!(totals.shards()[0].intervals[3].cpu, None);
}

#[test]
fn conservation_is_checked_of_publishes_and_of_requests() {
    use Counter as C;
    let table: &[(&[(Counter, u64)], bool)] = &[
        (&[], true),
        (
            &[
                (C::Offered, 6),
                (C::Sent, 3),
                (C::Dropped, 2),
                (C::Cancelled, 1),
            ],
            true,
        ),
        (
            &[
                (C::Offered, 7),
                (C::Sent, 3),
                (C::Dropped, 2),
                (C::Cancelled, 1),
            ],
            false,
        ),
        (&[(C::Offered, 6), (C::Sent, 6), (C::Dropped, 1)], false),
        (
            &[
                (C::RequestsOffered, 6),
                (C::Requests, 3),
                (C::RequestsDropped, 2),
                (C::RequestsCancelled, 1),
            ],
            true,
        ),
        (
            &[
                (C::RequestsOffered, 5),
                (C::Requests, 3),
                (C::RequestsDropped, 1),
            ],
            false,
        ),
    ];
    for (counts, expected) in table {
        let mut totals = Totals::new(1, 1, 1);
        let mut recorder = Recorder::new(0, 1, 1);
        for (counter, n) in *counts {
            recorder.count(*counter, 0, 0, *n);
        }
        totals
            .absorb(recorder.snapshot(SECOND, Gauges::default(), true))
            .unwrap();
        assert_eq!(totals.shards()[0].conserved(), *expected, "{counts:?}");
    }
}

#[test]
fn texts_are_bounded_over_the_run() {
    let mut totals = Totals::new(1, 1, 1);
    let mut recorder = Recorder::new(0, 1, 1);
    for second in 1..=20i64 {
        for i in 0..20 {
            recorder.sample(&format!("kind {second} {i}"), b"x");
            recorder.sample("error", format!("{second} {i}").as_bytes());
        }
        totals
            .absorb(recorder.snapshot(second * SECOND, Gauges::default(), false))
            .unwrap();
    }
    assert_eq!(
        totals
            .samples()
            .filter(|(kind, _)| *kind == "error")
            .count(),
        20
    );
    assert_eq!(
        totals
            .samples()
            .filter(|(kind, _)| kind.starts_with("kind"))
            .count(),
        99
    );
}

proptest! {
    // Few but rich cases: an unoptimised histogram is slow.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn merged_quantiles_equal_one_recorders(
        values in proptest::collection::vec((1i64..=70_000_000_000, 0usize..4, 0usize..3, 0usize..2, proptest::bool::weighted(0.1)), 1..80),
    ) {
        // One recorder with one snapshot, against four shards that tell at any time.
        let mut single = Totals::new(3, 2, 1);
        let mut recorder = Recorder::new(0, 3, 2);
        let mut split = Totals::new(3, 2, 4);
        let mut shards: Vec<Recorder> = (0..4).map(|shard| Recorder::new(shard, 3, 2)).collect();
        for (at, (ns, shard, phase, group, tell)) in (1i64..).zip(&values) {
            recorder.time(Timer::Latency, *phase, *group, *ns);
            shards[*shard].time(Timer::Latency, *phase, *group, *ns);
            if *tell {
                split.absorb(shards[*shard].snapshot(at * SECOND / 3, Gauges::default(), false)).unwrap();
            }
        }
        single.absorb(recorder.snapshot(SECOND, Gauges::default(), true)).unwrap();
        for shard in &mut shards {
            split.absorb(shard.snapshot(1000 * SECOND, Gauges::default(), true)).unwrap();
        }
        split.finish();
        for phase in [None, Some(1)] {
            for group in [None, Some(1)] {
                let (a, b) = (single.histogram(Timer::Latency, phase, group), split.histogram(Timer::Latency, phase, group));
                prop_assert_eq!(&a, &b);
                prop_assert_eq!(Quantiles::of(&a), Quantiles::of(&b));
                prop_assert_eq!(
                    single.count(Counter::OutOfRange, phase, group),
                    split.count(Counter::OutOfRange, phase, group)
                );
            }
        }
        // The timeline loses nothing either.
        let mut timeline = histogram::empty();
        for second in split.timeline() {
            if let Some(values) = second.histogram(Timer::Latency) {
                histogram::merge(&mut timeline, &values);
            }
        }
        prop_assert_eq!(timeline, single.histogram(Timer::Latency, None, None));
    }
}

/// Counts that a shard makes up are refused or bounded; they end neither the coordinator nor the counting.
#[test]
fn sums_stop_at_the_largest_number() {
    let mut totals = Totals::new(1, 1, 1);
    for number in 0..3 {
        let mut recorder = Recorder::new(0, 1, 1);
        recorder.count(Counter::Offered, 0, 0, u64::MAX);
        recorder.count(Counter::Sent, 0, 0, u64::MAX);
        recorder.count(Counter::Dropped, 0, 0, 1);
        let tally = FaultTally {
            touched: u64::MAX,
            taken: u64::MAX,
            ..FaultTally::default()
        };
        recorder.fault_did(0, tally);
        let absence = Absence {
            recovered: u64::MAX,
            missed: u64::MAX,
            lost: u64::MAX,
            ..Absence::default()
        };
        recorder.absence(0, absence);
        let beside = neighbours::NeighbourTally {
            bytes: u64::MAX,
            offered: u64::MAX,
            dropped: u64::MAX,
            held_up_ns: u64::MAX,
        };
        recorder.beside(0).add(beside);
        recorder.step(u64::MAX).attempts = u32::MAX;
        recorder.step(u64::MAX).lost = u32::MAX;
        let gauges = Gauges {
            rss: u64::MAX,
            cpu_ns: u64::MAX,
            ..Gauges::default()
        };
        let mut snapshot = recorder.snapshot(i64::from(number) * SECOND, gauges, number == 2);
        snapshot.number = number;
        // The last step but one that there can be.
        snapshot
            .steps
            .iter_mut()
            .for_each(|step| step.index = u32::MAX - 1);
        let key = CloseKey {
            code: 1006,
            by_target: true,
            clean: false,
        };
        let count = u64::MAX;
        let (phase, group) = (0, 0);
        snapshot.closes = vec![Tagged {
            phase,
            group,
            key,
            count,
        }];
        let key = FaultEndKey {
            code: 1006,
            after: false,
        };
        snapshot.faults[0].ends = vec![crate::metrics::snapshot::FaultEnd { key, count }];
        totals.absorb(snapshot).unwrap();
    }
    totals.finish();
    assert_eq!(totals.count(Counter::Offered, None, None), u64::MAX);
    assert_eq!(totals.shards()[0].count(Counter::Sent), u64::MAX);
    assert!(totals.shards()[0].conserved());
    assert_eq!(totals.fault(0).map(|did| did.taken), Some(u64::MAX));
    assert_eq!(totals.fault_ends(0).into_values().max(), Some(u64::MAX));
    assert_eq!(totals.absence(0).missed, u64::MAX);
    assert_eq!(
        totals.neighbours(0).map(|of| of.tally.bytes),
        Some(u64::MAX)
    );
    let storm = crate::metrics::Storm::read(totals.steps(), 0, u64::MAX);
    let ended = storm.map(|storm| (storm.attempts, storm.end));
    assert_eq!(ended, Some((u32::MAX.into(), u32::MAX)));
}
