use super::*;

const CLOSE: CloseKey = CloseKey {
    code: 1006,
    by_target: true,
    clean: false,
};

fn snapshot(recorder: &mut Recorder) -> Snapshot {
    recorder.snapshot(1_000_000_000, Gauges::default(), false)
}

#[test]
fn values_are_microseconds_and_what_does_not_fit_is_counted_apart() {
    let table: &[(i64, Option<u64>)] = &[
        (0, Some(1)),
        (1, Some(1)),
        (1_499, Some(1)),
        (1_500, Some(2)),
        (250_000, Some(250)),
        (60_000_000_000, Some(60_000_000)),
        (60_000_000_001, None),
        (i64::MAX, None),
        (-1, None),
        (i64::MIN, None),
    ];
    for (ns, expected) in table {
        let mut recorder = Recorder::new(0, 2, 3);
        recorder.time(Timer::Latency, 1, 2, *ns);
        let snapshot = snapshot(&mut recorder);
        match expected {
            Some(us) => {
                assert_eq!(snapshot.counts, []);
                let [delta] = snapshot.timers.as_slice() else {
                    panic!("{ns}: one timer")
                };
                assert_eq!(
                    (delta.timer, delta.phase, delta.group),
                    (Timer::Latency, 1, 2)
                );
                let histogram = histogram::decode(&delta.histogram).unwrap();
                assert_eq!(histogram.len(), 1);
                assert!(histogram.equivalent(histogram.max(), *us), "{ns}");
            }
            None => {
                assert_eq!(snapshot.timers, []);
                let out = Tagged {
                    phase: 1,
                    group: 2,
                    key: Counter::OutOfRange,
                    count: 1,
                };
                assert_eq!(snapshot.counts, [out], "{ns}");
            }
        }
    }
}

#[test]
fn a_snapshot_has_what_happened_and_nothing_else_and_starts_anew() {
    let mut recorder = Recorder::new(4, 2, 2);
    recorder.count(Counter::Sent, 0, 1, 5);
    recorder.count(Counter::Sent, 0, 1, 2);
    recorder.count(Counter::OutOfRange, 1, 1, 1);
    recorder.count(Counter::Lost, 1, 0, 0);
    recorder.fail(Failure::Dns, 0, 0);
    recorder.fail(Failure::Os, 1, 1);
    recorder.fail(Failure::Os, 1, 1);
    recorder.status(503, 1, 0);
    recorder.status(503, 1, 0);
    recorder.close(CLOSE, 0, 1);
    recorder.time(Timer::OpenLag, 1, 1, 5_000);
    recorder.time(Timer::Latency, 0, 0, 5_000);
    let gauges = Gauges {
        open: vec![1, 2],
        cpu_ns: 7,
        ..Gauges::default()
    };
    let first = recorder.snapshot(-5, gauges.clone(), true);
    assert_eq!(
        (
            first.version,
            first.shard,
            first.number,
            first.at_ns,
            first.last
        ),
        (SNAPSHOT_VERSION, 4, 0, -5, true)
    );
    assert_eq!(first.gauges, gauges);
    assert_eq!(
        first.counts,
        [
            Tagged {
                phase: 0,
                group: 1,
                key: Counter::Sent,
                count: 7
            },
            Tagged {
                phase: 1,
                group: 1,
                key: Counter::OutOfRange,
                count: 1
            },
        ]
    );
    assert_eq!(
        first.failures,
        [
            Tagged {
                phase: 0,
                group: 0,
                key: Failure::Dns,
                count: 1
            },
            Tagged {
                phase: 1,
                group: 1,
                key: Failure::Os,
                count: 2
            },
        ]
    );
    assert_eq!(
        first.statuses,
        [Tagged {
            phase: 1,
            group: 0,
            key: 503,
            count: 2
        }]
    );
    assert_eq!(
        first.closes,
        [Tagged {
            phase: 0,
            group: 1,
            key: CLOSE,
            count: 1
        }]
    );
    let timers: Vec<_> = first
        .timers
        .iter()
        .map(|t| (t.timer, t.phase, t.group))
        .collect();
    assert_eq!(timers, [(Timer::Latency, 0, 0), (Timer::OpenLag, 1, 1)]);

    recorder.time(Timer::Latency, 0, 0, 8_000);
    let second = snapshot(&mut recorder);
    assert_eq!((second.number, second.last), (1, false));
    assert_eq!(
        (
            second.counts.len(),
            second.failures.len(),
            second.statuses.len(),
            second.closes.len()
        ),
        (0, 0, 0, 0)
    );
    let [delta] = second.timers.as_slice() else {
        panic!("one timer")
    };
    let histogram = histogram::decode(&delta.histogram).unwrap();
    assert_eq!(
        (histogram.len(), histogram.max()),
        (1, 8),
        "the first interval's values are gone"
    );
}

#[test]
fn histograms_are_recycled() {
    let mut recorder = Recorder::new(0, 3, 1);
    recorder.time(Timer::Latency, 0, 0, 1);
    recorder.time(Timer::Lag, 0, 0, 1);
    snapshot(&mut recorder);
    // Kept for its own use first, then free for others.
    assert_eq!(
        (
            recorder.spare.len(),
            recorder.timers.iter().flatten().count()
        ),
        (0, 2)
    );
    recorder.time(Timer::Lag, 0, 0, 1);
    snapshot(&mut recorder);
    assert_eq!(
        (
            recorder.spare.len(),
            recorder.timers.iter().flatten().count()
        ),
        (1, 1)
    );
    recorder.time(Timer::Latency, 1, 0, 3_000);
    assert_eq!(
        (
            recorder.spare.len(),
            recorder.timers.iter().flatten().count()
        ),
        (0, 2)
    );
    let snapshot = snapshot(&mut recorder);
    let [delta] = snapshot.timers.as_slice() else {
        panic!("one timer")
    };
    assert_eq!((delta.timer, delta.phase), (Timer::Latency, 1));
    assert_eq!(histogram::decode(&delta.histogram).unwrap().max(), 3);
}

#[test]
fn samples_are_clean_distinct_and_bounded() {
    let mut recorder = Recorder::new(0, 1, 1);
    recorder.sample("close 1011", b"\x1b[31moh no\x1b[0m");
    recorder.sample("close 1011", b"oh no");
    recorder.sample("close 1000", b"");
    recorder.sample("close 1000", b"\x07");
    let texts = |snapshot: Snapshot| -> Vec<(String, String)> {
        snapshot
            .samples
            .into_iter()
            .map(|s| (s.kind, s.text))
            .collect()
    };
    let found = texts(snapshot(&mut recorder));
    assert_eq!(found, [("close 1011".to_owned(), "oh no".to_owned())]);
    for i in 0..100 {
        recorder.sample("error", format!("text {i}").as_bytes());
        recorder.sample(&format!("kind {i:02}"), b"x");
    }
    let found = texts(snapshot(&mut recorder));
    assert_eq!(found.iter().filter(|(kind, _)| kind == "error").count(), 20);
    assert_eq!(
        found
            .iter()
            .filter(|(kind, _)| kind.starts_with("kind"))
            .count(),
        49
    );
    assert_eq!(found[0], ("error".to_owned(), "text 0".to_owned()));
    assert_eq!(texts(snapshot(&mut recorder)), []);
    // An empty text does not bar a kind's real ones.
    recorder.sample("late", b"");
    recorder.sample("late", b"");
    recorder.sample("late", b"real");
    recorder.sample("late", b"");
    assert_eq!(
        texts(snapshot(&mut recorder)),
        [("late".to_owned(), "real".to_owned())]
    );
}

#[test]
fn every_cell_is_its_own() {
    let mut recorder = Recorder::new(0, 3, 2);
    let mut expected = Vec::new();
    for (key, counter) in Counter::ALL.iter().enumerate() {
        for phase in 0..3u8 {
            for group in 0..2u16 {
                let count = 1 + key as u64 * 100 + u64::from(phase) * 10 + u64::from(group);
                recorder.count(*counter, phase.into(), group.into(), count);
                expected.push(Tagged {
                    phase,
                    group,
                    key: *counter,
                    count,
                });
            }
        }
    }
    assert_eq!(snapshot(&mut recorder).counts, expected);
}
