use super::*;
use crate::plan::types::{Opening, Transport, Upgrade, Var};
use crate::protocol::ProtocolConfig;
use std::collections::HashSet;

fn group(sources: Vec<VarSource>, lifetime: Lifetime) -> Group {
    Group {
        name: "g".into(),
        count: 1_000,
        first: 100,
        opening: Opening { knots: Vec::new() },
        vars: sources
            .into_iter()
            .map(|source| Var {
                name: "v".into(),
                source,
            })
            .collect(),
        upgrade: Upgrade::default(),
        transport: Transport::WebSocket,
        protocol: ProtocolConfig::Raw,
        introduction: Vec::new(),
        auth: None,
        capture_headers: Vec::new(),
        keep_cookies: false,
        compression: None,
        node: None,
        on_open: Vec::new(),
        subscribe: Vec::new(),
        publish: Vec::new(),
        request: Vec::new(),
        heartbeat: None,
        reconnect: None,
        resume: None,
        lifetime,
        inject: None,
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Mean and variance of many draws.
fn moments(draws: impl Iterator<Item = f64>) -> (f64, f64) {
    let draws: Vec<f64> = draws.collect();
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    (
        mean,
        draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n,
    )
}

#[test]
fn the_stream_is_splitmix64() {
    // First outputs for the state 1234567, as the reference implementation in C prints them.
    let mut stream = Stream(1_234_567);
    let draws: Vec<u64> = (0..3).map(|_| stream.next_u64()).collect();
    assert_eq!(
        draws,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423
        ]
    );
    let mut bytes = [0; 11];
    Stream(1_234_567).fill_bytes(&mut bytes);
    assert_eq!(bytes[..8], draws[0].to_le_bytes());
    assert_eq!(bytes[8..], draws[1].to_le_bytes()[..3]);
    assert_eq!(Stream(1_234_567).next_u32(), (draws[0] >> 32) as u32);
}

#[test]
fn every_key_has_a_stream_of_its_own() {
    let first = |seed, purpose, parts: &[u64]| rng(seed, purpose, parts).next_u64();
    let mut seen = HashSet::new();
    for seed in 0..5 {
        for purpose in [Purpose::Variable, Purpose::Arrivals, Purpose::Size] {
            for parts in [
                &[][..],
                &[0],
                &[0, 0],
                &[1],
                &[0, 1],
                &[1, 0],
                &[1, 1],
                &[u64::MAX],
            ] {
                assert!(
                    seen.insert(first(seed, purpose, parts)),
                    "{seed} {purpose:?} {parts:?}"
                );
                assert_eq!(first(seed, purpose, parts), first(seed, purpose, parts));
            }
        }
    }
}

#[test]
fn neighbouring_keys_are_independent() {
    // The first draws of many streams are uniform, and those of neighbours do not go together.
    let draws: Vec<f64> = (0..20_000)
        .map(|i| rng(1, Purpose::Backoff, &[i]).unit())
        .collect();
    let (mean, variance) = moments(draws.iter().copied());
    assert!((mean - 0.5).abs() < 0.01, "{mean}");
    assert!((variance - 1.0 / 12.0).abs() < 0.002, "{variance}");
    let (together, _) = moments(draws.windows(2).map(|w| (w[0] - 0.5) * (w[1] - 0.5) * 12.0));
    assert!(together.abs() < 0.03, "{together}");
}

#[test]
fn units_and_exponentials_are_what_they_say() {
    let mut stream = rng(5, Purpose::Size, &[]);
    let units: Vec<f64> = (0..50_000).map(|_| stream.unit()).collect();
    assert!(units.iter().all(|u| (0.0..1.0).contains(u)));
    let (mean, variance) = moments(units.into_iter());
    assert!(
        (mean - 0.5).abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.001,
        "{mean} {variance}"
    );
    let exponentials: Vec<f64> = (0..50_000).map(|_| stream.exponential()).collect();
    assert!(exponentials.iter().all(|e| *e >= 0.0 && e.is_finite()));
    let (mean, variance) = moments(exponentials.into_iter());
    assert!(
        (mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05,
        "{mean} {variance}"
    );
}

#[test]
fn variables_are_functions_of_the_connection() {
    let text = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let group = group(
        vec![
            VarSource::Cycle(text(&["a", "b", "c"])),
            VarSource::Sequence(-1),
            VarSource::Captured,
            VarSource::Sequence(i64::MAX),
            VarSource::Cycle(Vec::new()),
            VarSource::Choice(Vec::new()),
        ],
        Lifetime::Forever,
    );
    let values = |slot| {
        (0..4)
            .map(|i| var_value(9, &group, slot, i))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(0), ["a", "b", "c", "a"]);
    assert_eq!(values(1), ["-1", "0", "1", "2"]);
    assert_eq!(values(2), ["", "", "", ""]);
    assert_eq!(values(3), vec![i64::MAX.to_string(); 4]);
    for slot in 4..7 {
        assert_eq!(values(slot), ["", "", "", ""], "slot {slot}");
    }
}

#[test]
fn random_variables_are_seeded_and_cover_their_values() {
    let choices: Vec<String> = ["x", "y"].map(str::to_owned).into();
    let group = group(
        vec![
            VarSource::Choice(choices),
            VarSource::Int(-2, 2),
            VarSource::Hex(6),
            VarSource::Int(3, 3),
        ],
        Lifetime::Forever,
    );
    let set = |slot| {
        (0..500)
            .map(|i| var_value(1, &group, slot, i))
            .collect::<HashSet<_>>()
    };
    assert_eq!(set(0).len(), 2);
    let mut ints: Vec<i64> = set(1).iter().map(|v| v.parse().unwrap()).collect();
    ints.sort_unstable();
    assert_eq!(ints, [-2, -1, 0, 1, 2]);
    let hex = set(2);
    assert!(
        hex.len() > 490
            && hex
                .iter()
                .all(|h| h.len() == 6 && h.chars().all(|c| c.is_ascii_hexdigit()))
    );
    // Every digit occurs.
    assert_eq!(
        hex.iter()
            .flat_map(|h| h.chars())
            .collect::<HashSet<_>>()
            .len(),
        16
    );
    assert_eq!(set(3), HashSet::from(["3".to_owned()]));
    assert_eq!(var_value(1, &group, 2, 7), var_value(1, &group, 2, 7));
    assert_ne!(
        var_value(1, &group, 2, 7),
        var_value(2, &group, 2, 7),
        "seed"
    );
    assert_ne!(
        var_value(1, &group, 2, 7),
        var_value(1, &group, 2, 8),
        "connection"
    );
}

#[test]
fn lifetimes_follow_their_distribution() {
    let draw = |lifetime| {
        let group = group(Vec::new(), lifetime);
        (0..20_000u32)
            .map(|i| lifetime_of(&group, i))
            .collect::<Vec<_>>()
    };
    fn lifetime_of(group: &Group, i: u32) -> f64 {
        lifetime(1, group, i % 1_000, i / 1_000)
            .unwrap()
            .as_secs_f64()
    }
    assert_eq!(
        lifetime(1, &group(Vec::new(), Lifetime::Forever), 0, 0),
        None
    );
    assert_eq!(
        lifetime(1, &group(Vec::new(), Lifetime::Fixed(ms(7))), 0, 0),
        Some(ms(7))
    );
    let uniform = draw(Lifetime::Uniform(ms(1_000), ms(3_000)));
    assert!(uniform.iter().all(|l| (1.0..=3.0).contains(l)));
    let (mean, variance) = moments(uniform.into_iter());
    assert!(
        (mean - 2.0).abs() < 0.02 && (variance - 4.0 / 12.0).abs() < 0.01,
        "{mean} {variance}"
    );
    let (mean, variance) = moments(draw(Lifetime::Exponential(ms(2_000))).into_iter());
    assert!(
        (mean - 2.0).abs() < 0.06 && (variance - 4.0).abs() < 0.3,
        "{mean} {variance}"
    );
    let group = group(Vec::new(), Lifetime::Exponential(ms(2_000)));
    let one = lifetime(1, &group, 3, 0);
    assert_eq!(one, lifetime(1, &group, 3, 0));
    assert!(
        one != lifetime(2, &group, 3, 0)
            && one != lifetime(1, &group, 4, 0)
            && one != lifetime(1, &group, 3, 1)
    );
}

#[test]
fn payload_sizes_follow_their_distribution() {
    let mut stream = rng(1, Purpose::Size, &[]);
    let mut draw = |size| {
        (0..20_000)
            .map(|_| payload_size(size, &mut stream))
            .collect::<Vec<_>>()
    };
    assert!(draw(Size::Fixed(99)).iter().all(|s| *s == 99));
    let uniform = draw(Size::Uniform(50, 53));
    assert_eq!(
        uniform.iter().copied().collect::<HashSet<_>>(),
        HashSet::from([50, 51, 52, 53])
    );
    let exponential = draw(Size::Exponential {
        mean: 1_000.0,
        max: 4_000,
    });
    assert_eq!(exponential.iter().min(), Some(&48));
    assert_eq!(exponential.iter().max(), Some(&4_000));
    // Mean of an exponential cut at c·mean: mean·(1 − e^−c); what is raised to 48 adds about 1.
    let (mean, _) = moments(exponential.iter().map(|s| *s as f64));
    assert!((mean - 981.7 - 1.2).abs() < 25.0, "{mean}");
    assert!(
        draw(Size::Exponential { mean: 5.0, max: 48 })
            .iter()
            .all(|s| *s == 48)
    );
}
