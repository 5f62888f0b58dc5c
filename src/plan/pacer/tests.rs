use super::*;
use crate::plan::types::{Arrivals, Lifetime, Opening, Segment, Transport, Upgrade};
use crate::protocol::ProtocolConfig;
use proptest::prelude::*;
use std::time::Duration;

fn group(first: u32, count: u32) -> Group {
    Group {
        name: "g".into(),
        count,
        first,
        opening: Opening {
            knots: vec![(Duration::ZERO, count)],
        },
        vars: Vec::new(),
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
        lifetime: Lifetime::Forever,
        inject: None,
    }
}

/// Stretches of (gap before, length, rate), times in milliseconds.
fn profile(stretches: &[(u64, u64, f64)], arrivals: Arrivals) -> Profile {
    let mut at = 0;
    let mut segments = Vec::new();
    for &(gap, length, rate) in stretches {
        let start = at + gap;
        at = start + length;
        segments.push(Segment {
            start: Duration::from_millis(start),
            end: Duration::from_millis(at),
            rate,
        });
    }
    Profile { segments, arrivals }
}

fn all(profile: &Profile, group: &Group, seed: u64) -> Vec<Due> {
    Schedule::new(profile, group, 0, seed, 0, 1).collect()
}

/// What the shards enumerate together, each checked to be in order and to hold only its own.
fn union(profile: &Profile, group: &Group, seed: u64, shards: u32) -> Vec<Due> {
    let mut union = Vec::new();
    for shard in 0..shards {
        let own: Vec<Due> = Schedule::new(profile, group, 0, seed, shard, shards).collect();
        assert!(own.is_sorted(), "shard {shard} is out of order");
        assert!(
            own.iter()
                .all(|due| (group.first + due.index) % shards == shard),
            "not of shard {shard}"
        );
        union.extend(own);
    }
    union.sort();
    union
}

fn integral(profile: &Profile) -> f64 {
    profile
        .segments
        .iter()
        .map(|s| s.rate * (s.end - s.start).as_secs_f64())
        .sum()
}

#[test]
fn constant_events_are_evenly_spaced_and_go_round() {
    let profile = profile(&[(0, 10, 1000.0)], Arrivals::Constant);
    let dues = all(&profile, &group(0, 3), 1);
    let expected: Vec<Due> = (0..10)
        .map(|i| Due {
            at_ns: i * 1_000_000,
            index: (i % 3) as u32,
        })
        .collect();
    assert_eq!(dues, expected);
}

#[test]
fn a_constant_shard_has_its_own_events_only() {
    let profile = profile(&[(0, 10, 1000.0)], Arrivals::Constant);
    // Connections 5, 6, 7 of the run: the last is the only one of shard 1 of 2 twice over.
    let dues: Vec<(u64, u32)> = Schedule::new(&profile, &group(5, 3), 0, 1, 1, 2)
        .map(|d| (d.at_ns / 1_000_000, d.index))
        .collect();
    assert_eq!(
        dues,
        [(0, 0), (2, 2), (3, 0), (5, 2), (6, 0), (8, 2), (9, 0)]
    );
}

#[test]
fn peek_is_what_next_takes() {
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let profile = profile(&[(3, 40, 500.0), (20, 40, 900.0)], arrivals);
        let mut schedule = Schedule::new(&profile, &group(0, 4), 0, 1, 0, 2);
        let mut taken = 0;
        while let Some(at_ns) = schedule.peek() {
            assert_eq!(schedule.peek(), Some(at_ns));
            assert_eq!(schedule.next().map(|d| d.at_ns), Some(at_ns));
            taken += 1;
        }
        assert_eq!(schedule.next(), None);
        assert!(taken > 10, "{taken}");
    }
}

#[test]
fn a_burst_multiplies_within_its_time_and_keeps_the_count() {
    // 10/s for 1 s, 100/s for 1 s, 10/s for 1 s.
    let profile = profile(
        &[(0, 1000, 10.0), (0, 1000, 100.0), (0, 1000, 10.0)],
        Arrivals::Constant,
    );
    let dues = all(&profile, &group(0, 7), 1);
    let within = |from: u64, to: u64| {
        dues.iter()
            .filter(|d| (from..to).contains(&(d.at_ns / 1_000_000)))
            .count()
    };
    assert_eq!(
        (within(0, 1000), within(1000, 2000), within(2000, 3000)),
        (10, 100, 10)
    );
    assert_eq!(dues[10].at_ns, 1_000_000_000);
    assert_eq!(dues[11].at_ns, 1_010_000_000);
    assert_eq!(dues[110].at_ns, 2_000_000_000);
}

#[test]
fn nothing_is_due_between_segments_and_a_part_of_an_event_is_carried_over() {
    // One and a half events, a pause, and the second half of the second.
    let profile = profile(&[(100, 150, 10.0), (1000, 100, 10.0)], Arrivals::Constant);
    let dues: Vec<u64> = all(&profile, &group(0, 1), 1)
        .iter()
        .map(|d| d.at_ns / 1_000_000)
        .collect();
    assert_eq!(dues, [100, 200, 1300]);
}

#[test]
fn constant_does_not_drift_over_an_hour_at_200k_per_second() {
    let hour = 3_600_000;
    let profile = profile(&[(0, hour, 200_000.0)], Arrivals::Constant);
    // 720 million events; a shard of 100,000 sees 7,200 of them, with all of the arithmetic.
    let group = group(0, 100_000);
    let mut schedule = Schedule::new(&profile, &group, 0, 1, 99_999, 100_000);
    let dues: Vec<Due> = schedule.by_ref().collect();
    assert_eq!(dues.len(), 7_200);
    for (round, due) in dues.iter().enumerate() {
        let event = round as u64 * 100_000 + 99_999;
        assert_eq!(due.at_ns, event * 5_000, "event {event}");
    }
}

#[test]
fn a_rate_without_an_exact_fraction_does_not_drift_either() {
    // A third of an event per second for three days, and no event more than the integral says.
    let days = 3 * 86_400_000;
    let rate = 1.0 / 3.0;
    let dues = all(
        &profile(&[(0, days, rate)], Arrivals::Constant),
        &group(0, 1),
        1,
    );
    assert_eq!(dues.len(), 86_400);
    let last = dues[86_399].at_ns as f64 / 1e9;
    assert!((last - 86_399.0 * 3.0).abs() < 1e-3, "{last}");
}

#[test]
fn the_unusual_is_silent_instead_of_wrong() {
    let nothing = profile(&[], Arrivals::Constant);
    assert_eq!(all(&nothing, &group(0, 3), 1), []);
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let some = profile(&[(0, 1000, 100.0)], arrivals);
        assert_eq!(all(&some, &group(0, 0), 1), [], "no connections");
        // A shard beyond the group's connections has none.
        assert_eq!(Schedule::new(&some, &group(0, 3), 0, 1, 5, 8).peek(), None);
    }
    // Slower than the arithmetic's resolution: never.
    assert_eq!(
        all(
            &profile(&[(0, 1000, 1e-12)], Arrivals::Constant),
            &group(0, 1),
            1
        )
        .len(),
        0
    );
}

#[test]
fn poisson_gaps_are_exponential() {
    let rate = 2_000.0;
    let profile = profile(&[(0, 20_000, rate)], Arrivals::Poisson);
    let dues = all(&profile, &group(0, 50), 42);
    let n = dues.len() as f64;
    // The count is Poisson itself: mean 40,000, standard deviation 200.
    assert!((n - 40_000.0).abs() < 4.0 * 200.0, "{n}");
    let mut gaps: Vec<f64> = dues
        .windows(2)
        .map(|w| (w[1].at_ns - w[0].at_ns) as f64 / 1e9 * rate)
        .collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    assert!((variance - 1.0).abs() < 0.05, "{variance}");
    assert!(
        kolmogorov_smirnov(&mut gaps, |x| 1.0 - (-x).exp()) < 1.63,
        "not exponential"
    );
}

#[test]
fn each_poisson_connection_is_a_process_of_its_own() {
    let profile = profile(&[(0, 50_000, 10_000.0)], Arrivals::Poisson);
    let mut own: Vec<Vec<f64>> = vec![Vec::new(); 1_000];
    for due in all(&profile, &group(0, 1_000), 7) {
        own[due.index as usize].push(due.at_ns as f64 / 1e9);
    }
    // 10/s each for 50 s: 500 with a standard deviation of 22.4.
    assert!(
        own.iter()
            .all(|times| (times.len() as f64 - 500.0).abs() < 5.0 * 22.4)
    );
    // 5 % of true exponential samples exceed 1.358: 50 of 1,000, with a standard deviation of 6.9.
    let far = own
        .iter()
        .filter(|times| {
            let mut gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) * 10.0).collect();
            kolmogorov_smirnov(&mut gaps, |x| 1.0 - (-x).exp()) > 1.358
        })
        .count();
    assert!(
        (20..=80).contains(&far),
        "{far} of 1,000 are not exponential"
    );
}

#[test]
fn poisson_follows_the_rate() {
    // Ten times the rate in the middle; the arrivals of each second are near the integral.
    let profile = profile(
        &[
            (0, 10_000, 100.0),
            (0, 10_000, 1_000.0),
            (5_000, 10_000, 100.0),
        ],
        Arrivals::Poisson,
    );
    let dues = all(&profile, &group(0, 20), 3);
    let within = |from: u64, to: u64| {
        dues.iter()
            .filter(|d| (from * 1_000_000_000..to * 1_000_000_000).contains(&d.at_ns))
            .count() as f64
    };
    assert!(
        (within(0, 10) - 1_000.0).abs() < 4.0 * 31.6,
        "{}",
        within(0, 10)
    );
    assert!(
        (within(10, 20) - 10_000.0).abs() < 4.0 * 100.0,
        "{}",
        within(10, 20)
    );
    assert_eq!(within(20, 25), 0.0);
    assert!(
        (within(25, 35) - 1_000.0).abs() < 4.0 * 31.6,
        "{}",
        within(25, 35)
    );
}

#[test]
fn seeds_and_uses_give_different_arrivals() {
    let profile = profile(&[(0, 1_000, 100.0)], Arrivals::Poisson);
    let of = |first, which, seed| -> Vec<u64> {
        Schedule::new(&profile, &group(first, 5), which, seed, 0, 1)
            .map(|d| d.at_ns)
            .collect()
    };
    assert_eq!(of(0, 0, 1), of(0, 0, 1));
    assert_ne!(of(0, 0, 1), of(0, 0, 2), "seed");
    assert_ne!(of(0, 0, 1), of(0, 1, 1), "publish");
    assert_ne!(of(0, 0, 1), of(5, 0, 1), "group");
}

#[test]
fn poisson_keeps_its_precision_over_an_hour_at_200k_per_second() {
    // One connection takes it all, so that its stream reaches the largest numbers there are.
    let profile = profile(&[(0, 3_600_000, 200_000.0)], Arrivals::Poisson);
    let mut early: Vec<u64> = Vec::new();
    let mut schedule = Schedule::new(&profile, &group(0, 40_000), 0, 1, 7, 40_000);
    early.extend(schedule.by_ref().map(|d| d.at_ns));
    // Mean 18,000 of one connection, standard deviation 134; the last is near the end.
    assert!(
        (early.len() as f64 - 18_000.0).abs() < 4.0 * 134.0,
        "{}",
        early.len()
    );
    assert!(*early.last().unwrap() > 3_595_000_000_000);
}

/// The Kolmogorov–Smirnov statistic times √n; 1.63 is exceeded by chance once in a hundred times.
fn kolmogorov_smirnov(values: &mut [f64], distribution: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let furthest = values
        .iter()
        .enumerate()
        .map(|(i, x)| {
            let p = distribution(*x);
            (p - i as f64 / n).max((i + 1) as f64 / n - p)
        })
        .fold(0.0, f64::max);
    furthest * n.sqrt()
}

/// Gaps of milliseconds, lengths and rates that make a few hundred events.
fn stretches() -> impl Strategy<Value = Vec<(u64, u64, f64)>> {
    proptest::collection::vec((0u64..50, 1u64..400, 0.5f64..900.0), 1..5)
}

proptest! {
    #[test]
    fn shards_together_are_one_constant(
        stretches in stretches(), first in 0u32..20, count in 1u32..40, shards in 1u32..9,
    ) {
        let (profile, group) = (profile(&stretches, Arrivals::Constant), group(first, count));
        let one = all(&profile, &group, 1);
        let mut sorted = one.clone();
        sorted.sort();
        // In the order of events, which is that of time; at very high rates several share a nanosecond.
        prop_assert!(one.is_sorted_by_key(|d| d.at_ns));
        prop_assert_eq!(union(&profile, &group, 1, shards), sorted);
        prop_assert!(one.iter().enumerate().all(|(i, d)| d.index == i as u32 % count));
        let expected = integral(&profile);
        prop_assert!((one.len() as f64 - expected).abs() <= 1.0 + 1e-6, "{} for {expected}", one.len());
    }

    #[test]
    fn constant_events_are_at_the_inverse_of_the_integral(stretches in stretches(), count in 1u32..5) {
        let profile = profile(&stretches, Arrivals::Constant);
        for (i, due) in all(&profile, &group(0, count), 1).iter().enumerate() {
            let at = due.at_ns as f64 / 1e9;
            let mut reached = 0.0;
            let mut inside = false;
            for s in &profile.segments {
                let (start, end) = (s.start.as_secs_f64(), s.end.as_secs_f64());
                reached += s.rate * (at.min(end) - start).max(0.0);
                inside |= start <= at && at < end;
            }
            prop_assert!(inside, "event {} at {} is outside of every segment", i, at);
            // A nanosecond's worth, and the rounding of this check.
            prop_assert!((reached - i as f64).abs() < 1e-5, "event {} at {}: {}", i, at, reached);
        }
    }

    #[test]
    fn shards_together_are_one_poisson(
        stretches in stretches(), first in 0u32..20, count in 1u32..40, shards in 1u32..9, seed: u64,
    ) {
        let (profile, group) = (profile(&stretches, Arrivals::Poisson), group(first, count));
        let one = all(&profile, &group, seed);
        prop_assert!(one.is_sorted());
        prop_assert_eq!(union(&profile, &group, seed, shards), one.clone());
        for due in &one {
            let at = Duration::from_nanos(due.at_ns);
            prop_assert!(profile.segments.iter().any(|s| s.start <= at && at < s.end));
        }
        // Mean and variance of the count are the integral; six deviations never happen by chance.
        let expected = integral(&profile);
        prop_assert!((one.len() as f64 - expected).abs() <= 6.0 * expected.sqrt() + 6.0, "{} for {expected}", one.len());
    }

    #[test]
    fn shards_together_open_everything_once(
        knots in proptest::collection::vec((0u64..500, 0u32..30), 0..5), first in 0u32..20, count in 1u32..60,
        shards in 1u32..9,
    ) {
        let mut group = group(first, count);
        let (mut at, mut by) = (0, 0);
        group.opening.knots = knots.iter().map(|(time, more)| {
            (at, by) = (at + time, (by + more).min(count));
            (Duration::from_millis(at), by)
        }).collect();
        let one: Vec<Due> = Openings::new(&group, 0, 1).collect();
        prop_assert!(one.is_sorted());
        prop_assert_eq!(one.len(), by as usize);
        prop_assert!(one.iter().enumerate().all(|(i, d)| d.index == i as u32));
        let mut union: Vec<Due> = (0..shards).flat_map(|shard| Openings::new(&group, shard, shards)).collect();
        union.sort();
        prop_assert_eq!(union, one);
    }
}

#[test]
fn openings_follow_the_curve() {
    let ms = |n| Duration::from_millis(n);
    type Knots = Vec<(Duration, u32)>;
    let cases: [(&str, Knots, Vec<u64>); 6] = [
        ("at once", vec![(ms(5), 3)], vec![5, 5, 5]),
        (
            "linear",
            vec![(ms(10), 0), (ms(50), 4)],
            vec![10, 20, 30, 40],
        ),
        (
            "stages",
            vec![(ms(0), 0), (ms(10), 2), (ms(30), 4)],
            vec![0, 5, 10, 20],
        ),
        (
            "a jump between",
            vec![(ms(0), 0), (ms(10), 1), (ms(10), 3), (ms(20), 4)],
            vec![0, 10, 10, 10],
        ),
        (
            "a plateau",
            vec![(ms(0), 0), (ms(10), 2), (ms(30), 2), (ms(40), 4)],
            vec![0, 5, 30, 35],
        ),
        ("some never", vec![(ms(0), 0), (ms(10), 2)], vec![0, 5]),
    ];
    for (name, knots, expected) in cases {
        let mut group = group(3, 4);
        group.opening.knots = knots;
        let mut openings = Openings::new(&group, 0, 1);
        let mut times = Vec::new();
        while let Some(at_ns) = openings.peek() {
            assert_eq!(
                openings.next(),
                Some(Due {
                    at_ns,
                    index: times.len() as u32
                }),
                "{name}"
            );
            times.push(at_ns / 1_000_000);
        }
        assert_eq!(times, expected, "{name}");
        assert_eq!(openings.next(), None, "{name}");
    }
}

#[test]
fn own_connections_are_those_of_the_shard() {
    let of = |first, count, shard, shards| -> Vec<u32> {
        let own = Own::new(&group(first, count), shard, shards);
        std::iter::successors(own.start(), |i| own.after(*i)).collect()
    };
    assert_eq!(of(0, 5, 0, 2), [0, 2, 4]);
    assert_eq!(of(0, 5, 1, 2), [1, 3]);
    assert_eq!(of(3, 5, 0, 2), [1, 3]);
    assert_eq!(of(7, 4, 1, 3), [0, 3]);
    assert!(of(0, 2, 2, 3).is_empty());
    assert_eq!(of(u32::MAX - 5, 4, 0, 1), [0, 1, 2, 3]);
}
