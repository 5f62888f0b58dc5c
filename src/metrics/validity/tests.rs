use super::*;
use crate::metrics::{Gauges, Recorder, Timer};

const LIMITS: Limits = Limits {
    max_lag: Duration::from_millis(50),
    max_cpu: 0.9,
};
const SECOND: i64 = 1_000_000_000;

/// One shard's seconds: lags in ms (each this often) and the share of CPU.
type Seconds = Vec<(Vec<(i64, usize)>, f64)>;

fn run(shards: &[Seconds]) -> Totals {
    let mut totals = Totals::new(1, 1, shards.len());
    for (shard, seconds) in (0u32..).zip(shards) {
        let mut recorder = Recorder::new(shard, 1, 1);
        let mut cpu_ns = 0.0;
        totals
            .absorb(recorder.snapshot(0, Gauges::default(), false))
            .unwrap();
        for (at, (lags, cpu)) in (1..).zip(seconds) {
            for (ms, times) in lags {
                (0..*times).for_each(|_| recorder.time(Timer::Lag, 0, 0, ms * 1_000_000));
            }
            cpu_ns += cpu * 1e9;
            let gauges = Gauges {
                cpu_ns: cpu_ns as u64,
                ..Gauges::default()
            };
            let last = at == seconds.len() as i64;
            totals
                .absorb(recorder.snapshot(at * SECOND, gauges, last))
                .unwrap();
        }
    }
    totals
}

fn quiet() -> (Vec<(i64, usize)>, f64) {
    (vec![(1, 1000)], 0.3)
}

fn state(shards: &[Seconds]) -> State {
    judge(&run(shards), LIMITS).state
}

#[test]
fn a_quiet_run_is_valid() {
    let validity = judge(&run(&[vec![quiet(); 5], vec![quiet(); 5]]), LIMITS);
    assert_eq!(
        validity,
        Validity {
            state: State::Valid,
            reasons: vec![]
        }
    );
}

#[test]
fn one_late_second_of_one_shard_is_enough() {
    let table: &[(&[(i64, usize)], State)] = &[
        // p99 judged from 20 samples on: 2 % late is over, 1 % is not.
        (&[(1, 98), (60, 2)], State::Invalid),
        (&[(1, 99), (60, 1)], State::Valid),
        (&[(1, 19), (60, 1)], State::Invalid),
        // Under 20 the largest counts.
        (&[(1, 18), (60, 1)], State::Invalid),
        (&[(60, 1)], State::Invalid),
        (&[(49, 1)], State::Degraded),
        (&[(1, 98), (49, 2)], State::Degraded),
        (&[(1, 98), (11, 2)], State::Degraded),
        (&[(9, 100)], State::Valid),
        (&[], State::Valid),
    ];
    for (lags, expected) in table {
        let shards = [
            vec![quiet(); 4],
            vec![quiet(), (lags.to_vec(), 0.3), quiet(), quiet()],
        ];
        assert_eq!(state(&shards), *expected, "{lags:?}");
    }
}

#[test]
fn exactly_the_limit_is_within_it() {
    let limits = |ms: f64| Limits {
        max_lag: Duration::from_secs_f64(ms / 1e3),
        ..LIMITS
    };
    let totals = run(&[vec![(vec![(2, 100)], 0.3)]]);
    // 2 ms is exact in the histogram: its bucket is one microsecond wide.
    let lag = totals.shards()[0].lag_p99_max_us() as f64 / 1e3;
    assert_eq!(judge(&totals, limits(lag)).state, State::Degraded);
    assert_eq!(judge(&totals, limits(lag - 0.001)).state, State::Invalid);
    assert_eq!(judge(&totals, limits(lag * 5.0)).state, State::Valid);
    assert_eq!(
        judge(&totals, limits(lag * 5.0 - 0.01)).state,
        State::Degraded
    );
}

#[test]
fn busy_but_exactly_a_fifth_of_the_limit_late_is_a_caution_about_the_first() {
    let busy = vec![(vec![(2, 100)], 0.95); 4];
    let totals = run(&[busy.clone(), busy]);
    let limits = Limits {
        max_lag: Duration::from_micros(totals.shards()[0].lag_p99_max_us() * 5),
        ..LIMITS
    };
    let validity = judge(&totals, limits);
    assert_eq!(validity.state, State::Degraded, "{validity:?}");
    let [reason] = validity.reasons.as_slice() else {
        panic!("one reason: {validity:?}")
    };
    assert!(reason.contains("shard 0 used"), "{reason}");
}

#[test]
fn a_reason_says_who_when_and_what_to_change() {
    let late = |ms| (vec![(ms, 100)], 0.3);
    let validity = judge(
        &run(&[
            vec![quiet(), late(70)],
            vec![quiet(), late(200)],
            vec![quiet(), quiet()],
        ]),
        LIMITS,
    );
    let [reason] = validity.reasons.as_slice() else {
        panic!("{:?}", validity.reasons)
    };
    for part in [
        "shard 1",
        "p99 200",
        "ending at 2 s",
        "2 of 3 shards",
        "limit is 50 ms",
        "more shards",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let validity = judge(&run(&[vec![(vec![(70, 1)], 0.3)]]), LIMITS);
    assert!(
        validity.reasons[0].contains("lag max 70"),
        "{}",
        validity.reasons[0]
    );
}

#[test]
fn saturation_is_three_seconds_in_a_row() {
    let cpu = |shares: &[f64], lag: i64| -> Seconds {
        shares
            .iter()
            .map(|share| (vec![(lag, 1000)], *share))
            .collect()
    };
    let table = [
        (cpu(&[0.95, 0.95, 0.3, 0.95, 0.95], 1), State::Valid),
        (cpu(&[0.3, 0.95, 0.91, 0.95, 0.3], 1), State::Degraded),
        (cpu(&[0.95, 0.95, 0.95], 1), State::Degraded),
        (cpu(&[0.95, 0.95, 0.95], 11), State::Invalid),
        (cpu(&[0.89, 0.89, 0.89, 0.89], 1), State::Valid),
        (cpu(&[0.95, 0.95], 11), State::Degraded),
    ];
    for (seconds, expected) in table {
        assert_eq!(
            state(&[vec![quiet(); 3], seconds.clone()]),
            expected,
            "{seconds:?}"
        );
    }
    // Late at another time than busy: two cautions, not one verdict.
    let mut seconds = cpu(&[0.95, 0.95, 0.95], 1);
    seconds.extend(cpu(&[0.3, 0.3], 11));
    let validity = judge(&run(&[seconds]), LIMITS);
    assert_eq!(
        (validity.state, validity.reasons.len()),
        (State::Degraded, 2)
    );
    // The worse shard is the one named.
    let shards = [
        cpu(&[0.95, 0.95, 0.95], 1),
        cpu(&[0.95, 0.95, 0.95], 11),
        cpu(&[0.95; 3], 1),
    ];
    let validity = judge(&run(&shards), LIMITS);
    assert_eq!(validity.state, State::Invalid);
    assert!(
        validity.reasons[0].contains("shard 1 used 90 %"),
        "{:?}",
        validity.reasons
    );
    assert!(validity.reasons[0].contains("sent late"));
    // Worst first.
    assert!(
        validity.reasons[1].contains("over a fifth"),
        "{:?}",
        validity.reasons
    );
}

/// A run of one snapshot a second at these times; number and end as told.
fn told(snapshots: &[(u32, i64, bool)]) -> Totals {
    let mut totals = Totals::new(1, 1, 1);
    for (number, at_ms, last) in snapshots {
        let mut snapshot =
            Recorder::new(0, 1, 1).snapshot(at_ms * 1_000_000, Gauges::default(), *last);
        snapshot.number = *number;
        totals.absorb(snapshot).unwrap();
    }
    totals
}

#[test]
fn telemetry_must_be_whole() {
    type Told = &'static [(u32, i64, bool)];
    let table: &[(Told, State, &str)] = &[
        (&[(0, 1000, false), (1, 2000, true)], State::Valid, ""),
        (&[(0, 1000, false), (1, 6000, true)], State::Valid, ""),
        (
            &[(0, 1000, false), (1, 6001, true)],
            State::Invalid,
            "said nothing for 5.0 s",
        ),
        (
            &[(0, 1000, false), (2, 3000, true)],
            State::Invalid,
            "1 of shard 0's reports",
        ),
        (
            &[(0, 1000, false), (1, 2000, false)],
            State::Invalid,
            "never sent its last report",
        ),
        (&[], State::Invalid, "never sent its last report"),
    ];
    for (snapshots, expected, words) in table {
        let validity = judge(&told(snapshots), LIMITS);
        assert_eq!(validity.state, *expected, "{snapshots:?}");
        assert_eq!(
            validity.reasons.len(),
            usize::from(*expected == State::Invalid)
        );
        assert!(
            validity.reasons.iter().all(|reason| reason.contains(words)),
            "{validity:?}"
        );
    }
}

#[test]
fn a_lost_shard_says_which_share_is_missing() {
    let mut totals = run(&[vec![quiet(); 2], vec![quiet(); 2], vec![quiet(); 2]]);
    totals.lose(1, "killed by signal 9");
    let validity = judge(&totals, LIMITS);
    assert_eq!(validity.state, State::Invalid);
    let [reason] = validity.reasons.as_slice() else {
        panic!("{validity:?}")
    };
    assert!(
        reason.contains("shard 1 was lost (killed by signal 9)") && reason.contains("1 of 3"),
        "{reason}"
    );
}

#[test]
fn sums_that_do_not_add_up_are_not_believed() {
    let mut recorder = Recorder::new(0, 1, 1);
    recorder.count(Counter::Offered, 0, 0, 2);
    recorder.count(Counter::Sent, 0, 0, 1);
    let mut totals = Totals::new(1, 1, 1);
    totals
        .absorb(recorder.snapshot(SECOND, Gauges::default(), true))
        .unwrap();
    let validity = judge(&totals, LIMITS);
    assert_eq!(validity.state, State::Invalid);
    assert!(
        validity.reasons[0].contains("offered 2 ≠ sent 1 + dropped 0 + cancelled 0"),
        "{validity:?}"
    );
}

#[test]
fn an_exhausted_machine_is_not_the_targets_failure() {
    for (kind, state, words) in [
        (
            Failure::NoPort,
            State::Invalid,
            "2 connections failed on this machine",
        ),
        (Failure::NoDescriptor, State::Invalid, "ulimit -n"),
        (Failure::Refused, State::Valid, ""),
    ] {
        let mut recorder = Recorder::new(0, 1, 1);
        recorder.fail(kind, 0, 0);
        recorder.fail(kind, 0, 0);
        let mut totals = Totals::new(1, 1, 1);
        totals
            .absorb(recorder.snapshot(SECOND, Gauges::default(), true))
            .unwrap();
        let validity = judge(&totals, LIMITS);
        assert_eq!(validity.state, state, "{kind:?}");
        assert!(
            validity.reasons.iter().all(|reason| reason.contains(words)),
            "{validity:?}"
        );
    }
}
