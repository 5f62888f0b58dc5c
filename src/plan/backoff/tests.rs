use super::*;
use crate::plan::seeded::{Purpose, rng};
use proptest::prelude::*;

const ALL: [Backoff; 10] = [
    Backoff::None,
    Backoff::Constant,
    Backoff::NoJitter,
    Backoff::FullJitter,
    Backoff::EqualJitter,
    Backoff::Decorrelated,
    Backoff::Rfc6455,
    Backoff::Phoenix,
    Backoff::SocketIo,
    Backoff::Centrifuge,
];

/// Draws of a distribution.
const DRAWS: u32 = 20_000;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn policy(backoff: Backoff, base: Duration, cap: Duration) -> Reconnect {
    Reconnect {
        backoff,
        base,
        cap,
        attempts: None,
        codes: REGISTERED.to_vec(),
    }
}

/// As it is when a scenario names nothing but the policy.
fn usual(backoff: Backoff) -> Reconnect {
    let (base, cap) = backoff.usual();
    policy(backoff, base, cap)
}

/// Seconds that so many connections wait before an attempt, sorted; each has a draw of its own, as in a run.
fn waits(reconnect: &Reconnect, attempt: u32, previous: Duration) -> Vec<f64> {
    let mut waits: Vec<f64> = (0..DRAWS)
        .map(|connection| {
            let mut rng = rng(1, Purpose::Backoff, &[u64::from(connection)]);
            wait(reconnect, attempt, previous, &mut rng).as_secs_f64()
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    waits
}

/// Holds sorted draws against the distribution they are to be of, by Kolmogorov and Smirnov's test: were they of it, the
/// largest distance of the two curves would be over 1.95/√n in one of a thousand such tests. The seed is fixed, so it is
/// the same every time. A jump of the curve makes the test stricter only in what it lets pass.
fn follow(waits: &[f64], distribution: impl Fn(f64) -> f64, what: &str) {
    let n = waits.len() as f64;
    let mut largest: f64 = 0.0;
    let mut i = 0;
    while i < waits.len() {
        let value = waits[i];
        let below = i as f64 / n;
        while i < waits.len() && waits[i] == value {
            i += 1;
        }
        // Just before the value, and at it. (A nanosecond is what waits are whole numbers of.)
        largest = largest
            .max((distribution(value - 1e-9) - below).abs())
            .max((distribution(value) - i as f64 / n).abs());
    }
    let limit = 1.95 / n.sqrt();
    assert!(largest < limit, "{what}: {largest} of {limit}");
}

/// Uniform between two numbers of seconds, whatever is over the cap at the cap.
fn uniform(low: f64, high: f64, cap: f64) -> impl Fn(f64) -> f64 {
    move |x| {
        if x >= cap {
            1.0
        } else {
            ((x - low) / (high - low)).clamp(0.0, 1.0)
        }
    }
}

#[test]
fn the_test_of_distributions_finds_what_is_wrong_by_a_little() {
    let full = waits(&usual(Backoff::FullJitter), 1, ms(0));
    for (low, high) in [(0.02, 1.0), (0.0, 0.98), (-0.02, 1.0), (0.0, 1.02)] {
        let tried = std::panic::catch_unwind(|| follow(&full, uniform(low, high, 9.0), "wrong"));
        assert!(tried.is_err(), "[{low}, {high}] passed for [0, 1]");
    }
}

#[test]
fn those_without_jitter_are_what_they_say() {
    let table: [(Reconnect, &[(u32, u64)]); 4] = [
        (
            usual(Backoff::None),
            &[(0, 0), (1, 0), (100, 0), (u32::MAX, 0)],
        ),
        (
            policy(Backoff::Constant, ms(700), ms(30_000)),
            &[(0, 700), (1, 700), (u32::MAX, 700)],
        ),
        // b = min(cap, base·2ⁿ), far beyond where 2ⁿ or the product overflow.
        (
            policy(Backoff::NoJitter, ms(100), ms(2_000)),
            &[
                (0, 100),
                (1, 200),
                (2, 400),
                (4, 1_600),
                (5, 2_000),
                (31, 2_000),
                (32, 2_000),
                (u32::MAX, 2_000),
            ],
        ),
        (
            usual(Backoff::Phoenix),
            &[
                (0, 10),
                (1, 50),
                (2, 100),
                (3, 150),
                (4, 200),
                (5, 250),
                (6, 500),
                (7, 1_000),
                (8, 2_000),
                (9, 5_000),
                (10, 5_000),
                (u32::MAX, 5_000),
            ],
        ),
    ];
    for (reconnect, expected) in table {
        for (attempt, wait) in expected {
            let waits = waits(&reconnect, *attempt, ms(0));
            let wait = ms(*wait).as_secs_f64();
            let what = format!("{:?} attempt {attempt}", reconnect.backoff);
            assert!(waits.iter().all(|w| *w == wait), "{what}");
        }
    }
}

#[test]
fn exponential_ones_follow_their_formulas() {
    for (attempt, b) in [(0, 0.1), (1, 0.2), (4, 1.6), (5, 2.0), (32, 2.0)] {
        let of = |backoff| waits(&policy(backoff, ms(100), ms(2_000)), attempt, ms(0));
        let what = format!("attempt {attempt}");
        follow(&of(Backoff::FullJitter), uniform(0.0, b, 2.0), &what);
        follow(&of(Backoff::EqualJitter), uniform(b / 2.0, b, 2.0), &what);
    }
    // Uniform in [base, 3·previous], capped; the first after nothing in [base, 3·base].
    for (previous, high) in [(0, 0.3), (600, 1.8), (2_000, 6.0)] {
        let reconnect = policy(Backoff::Decorrelated, ms(100), ms(2_000));
        let waits = waits(&reconnect, 9, ms(previous));
        follow(&waits, uniform(0.1, high, 2.0), "decorrelated");
    }
}

#[test]
fn rfc_6455_is_at_first_anywhere_in_five_seconds_and_then_in_twice_as_much() {
    for (attempt, b) in [(0, 5.0), (1, 10.0), (2, 20.0), (3, 30.0), (9, 30.0)] {
        let waits = waits(&usual(Backoff::Rfc6455), attempt, ms(0));
        follow(&waits, uniform(0.0, b, b), &format!("attempt {attempt}"));
    }
}

/// backo2: r is uniform, and its first decimal says whether r/2 is taken off or put on.
fn socket_io(b: f64, cap: f64) -> impl Fn(f64) -> f64 {
    move |x| {
        if x >= cap {
            return 1.0;
        }
        (0..10)
            .map(|tenth| {
                let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
                match tenth % 2 {
                    0 => (to - from.max(2.0 * (1.0 - x / b))).max(0.0),
                    _ => (to.min(2.0 * (x / b - 1.0)) - from).max(0.0),
                }
            })
            .sum()
    }
}

#[test]
fn socket_io_is_half_more_or_less_and_never_over_five_seconds() {
    for (attempt, b) in [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0)] {
        let waits = waits(&usual(Backoff::SocketIo), attempt, ms(0));
        let what = format!("attempt {attempt}");
        let within = |w: &f64| (b / 2.0..=(b * 1.5_f64).min(5.0)).contains(w);
        assert!(waits.iter().all(within), "{what}");
        follow(&waits, socket_io(b, 5.0), &what);
    }
    for attempt in [4, 31, 32, u32::MAX] {
        let waits = waits(&usual(Backoff::SocketIo), attempt, ms(0));
        assert!(waits.iter().all(|w| *w == 5.0), "attempt {attempt}");
    }
    // Mean of the first: 1 + E[±r]/2 = 1.025, as the odd tenths are the larger ones; standard deviation 0.289, so the
    // mean of 20,000 is within five times 0.289/√20,000 = 0.0102 of it.
    let first = waits(&usual(Backoff::SocketIo), 0, ms(0));
    let mean = first.iter().sum::<f64>() / first.len() as f64;
    assert!((mean - 1.025).abs() < 0.0102, "{mean}");
}

#[test]
fn centrifuge_adds_full_jitter_to_half_a_second() {
    for (attempt, b) in [(0, 0.5), (1, 1.0), (5, 16.0), (6, 20.0), (u32::MAX, 20.0)] {
        let waits = waits(&usual(Backoff::Centrifuge), attempt, ms(0));
        let what = format!("attempt {attempt}");
        assert!(waits.iter().all(|w| (0.5..=20.0).contains(w)), "{what}");
        follow(&waits, uniform(0.5, 0.5 + b, 20.0), &what);
    }
}

#[test]
fn a_wait_is_the_connections_own_whoever_draws_it() {
    // As shards do it: each draws for the connections it has, in its own order.
    let drawn = |shards: u32| {
        let mut all = vec![Duration::ZERO; 500];
        for shard in (0..shards).rev() {
            for connection in (0..500).filter(|c| c % shards == shard) {
                let key = [u64::from(connection), 3, 1];
                let mut rng = rng(42, Purpose::Backoff, &key);
                let one = comeback(
                    &usual(Backoff::SocketIo),
                    OnClose::BackOff,
                    1,
                    ms(0),
                    false,
                    &mut rng,
                );
                if let Comeback::After { wait, .. } = one {
                    all[connection as usize] = wait;
                }
            }
        }
        all
    };
    let one = drawn(1);
    assert!(one.iter().all(|wait| *wait > Duration::ZERO));
    assert_eq!(one, drawn(4));
    assert_eq!(one, drawn(7));
}

#[test]
fn a_rule_says_what_a_code_leads_to() {
    let rule = |from, to, then| CodeRule { from, to, then };
    let rules = [
        rule(4001, 4001, OnClose::Now),
        rule(4000, 4499, OnClose::Stop),
        rule(1012, 1012, OnClose::BackOff),
    ];
    let with: Vec<CodeRule> = [&rules[..], &REGISTERED].concat();
    for (code, then) in [
        (4000, OnClose::Stop),
        (4001, OnClose::Now),
        (4499, OnClose::Stop),
        (4500, OnClose::BackOff),
        (3999, OnClose::BackOff),
        (1006, OnClose::BackOff),
        // The scenario's rule goes before the registered meaning.
        (1012, OnClose::BackOff),
        (1013, OnClose::Elsewhere),
    ] {
        assert_eq!(on_close(&with, code), then, "{code}");
    }
    let restart = OnClose::Within(Duration::from_secs(5), Duration::from_secs(30));
    assert_eq!(on_close(&REGISTERED, 1012), restart);
}

#[test]
fn codes_decide_how_a_connection_comes_back() {
    let mut stream = rng(1, Purpose::Backoff, &[]);
    let reconnect = usual(Backoff::Phoenix);
    let mut after = |reconnect: &Reconnect, code, others| {
        let rule = on_close(&reconnect.codes, code);
        comeback(reconnect, rule, 2, ms(0), others, &mut stream)
    };
    let here = |wait| Comeback::After {
        wait,
        elsewhere: false,
    };
    assert_eq!(after(&reconnect, 4000, true), here(ms(100)));
    assert_eq!(after(&reconnect, 1006, true), here(ms(100)));
    let there = Comeback::After {
        wait: ms(0),
        elsewhere: true,
    };
    assert_eq!(after(&reconnect, 1013, true), there);
    // Alone, it waits as after very many attempts.
    assert_eq!(after(&reconnect, 1013, false), here(ms(5_000)));
    let with = |then| Reconnect {
        codes: vec![CodeRule {
            from: 1000,
            to: 4999,
            then,
        }],
        ..reconnect.clone()
    };
    assert_eq!(after(&with(OnClose::Stop), 1008, true), Comeback::Stopped);
    assert_eq!(after(&with(OnClose::Now), 1008, true), here(ms(0)));
    assert_eq!(after(&with(OnClose::BackOff), 1008, true), here(ms(100)));
}

#[test]
fn a_restarted_service_is_come_back_to_within_five_to_thirty_seconds() {
    let reconnect = usual(Backoff::None);
    let mut waits: Vec<f64> = (0..DRAWS)
        .map(|connection| {
            let mut rng = rng(9, Purpose::Backoff, &[u64::from(connection)]);
            match comeback(
                &reconnect,
                on_close(&reconnect.codes, 1012),
                0,
                ms(0),
                false,
                &mut rng,
            ) {
                Comeback::After { wait, .. } => wait.as_secs_f64(),
                Comeback::Stopped => panic!("stopped"),
            }
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    follow(&waits, uniform(5.0, 30.0, 30.0), "1012");
}

proptest! {
    #[test]
    fn waits_stay_within_their_bounds(
        which in 0..ALL.len(), attempt: u32, previous in 0u64..100_000, base in 1u64..10_000, more in 0u64..100_000, seed: u64,
    ) {
        let reconnect = policy(ALL[which], ms(base), ms(base + more));
        let wait = wait(&reconnect, attempt, ms(previous), &mut rng(seed, Purpose::Backoff, &[]));
        let most = match reconnect.backoff {
            Backoff::Phoenix => ms(PHOENIX_REST),
            _ => reconnect.cap,
        };
        prop_assert!(wait <= most);
        if matches!(reconnect.backoff, Backoff::Decorrelated | Backoff::Centrifuge | Backoff::Constant) {
            prop_assert!(wait >= reconnect.base);
        }
    }
}
