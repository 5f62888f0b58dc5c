use super::*;
use crate::plan::fault::{Effect, How};
use crate::plan::types::{Lifetime, Opening, Transport, Upgrade};
use crate::protocol::ProtocolConfig;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn group(first: u32, count: u32) -> Group {
    Group {
        name: "g".into(),
        count,
        first,
        opening: Opening { knots: Vec::new() },
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

const START: Duration = Duration::from_secs(3);

/// So many, over so many milliseconds.
fn planned(victims: u32, over_ms: u64) -> Hit {
    Hit {
        group: 0,
        victims,
        over: Duration::from_millis(over_ms),
        effect: Effect::Cut(How::Reset),
    }
}

fn victims(seed: u64, hit: &Hit, of: &Group, shard: u32, shards: u32) -> Vec<Victim> {
    Victims::new(seed, 0, (START, hit), of, shard, shards).collect()
}

/// The whole run's victims by their indices.
fn chosen(seed: u64, number: usize, count: u32, of: u32) -> BTreeSet<u32> {
    Victims::new(
        seed,
        number,
        (START, &planned(count, 0)),
        &group(0, of),
        0,
        1,
    )
    .map(|victim| victim.index)
    .collect()
}

proptest! {
    #[test]
    fn the_order_is_a_bijection(seed: u64, number in 0usize..9, n in 1u32..3_000) {
        let order = Order::new(seed, number, n);
        let places: BTreeSet<u32> = (0..n).map(|place| order.at(place)).collect();
        prop_assert_eq!(places.len() as u32, n);
        prop_assert_eq!(places.last(), Some(&(n - 1)));
    }

    #[test]
    fn a_place_is_the_inverse_of_who_is_there(seed: u64, number in 0usize..9, n in 1u32..3_000) {
        let order = Order::new(seed, number, n);
        for place in 0..n {
            prop_assert_eq!(order.place(order.at(place)), place);
        }
    }

    #[test]
    fn whose_turn_it_is_can_be_asked_of_any_connection(
        seed: u64,
        (count, part) in (1u32..400).prop_flat_map(|count| (Just(count), 1..=count)),
        shards in 1u32..5,
        over_ms in prop_oneof![Just(0u64), 1u64..5_000],
    ) {
        let (fault, group) = (planned(part, over_ms), group(3, count));
        let listed: std::collections::BTreeMap<u32, u64> =
            victims(seed, &fault, &group, 0, 1).into_iter().map(|v| (v.index, v.at_ns)).collect();
        let asked = Victims::new(seed, 0, (START, &fault), &group, shards - 1, shards);
        for index in 0..count + 2 {
            prop_assert_eq!(asked.turn_of(index), listed.get(&index).copied());
        }
    }

    #[test]
    fn shards_together_cut_exactly_whom_one_would_and_when(
        seed: u64,
        (count, part) in (1u32..400).prop_flat_map(|count| (Just(count), 1..=count)),
        first in 0u32..50,
        shards in 1u32..9,
        over_ms in prop_oneof![Just(0u64), 1u64..5_000],
    ) {
        let (fault, group) = (planned(part, over_ms), group(first, count));
        let alone = victims(seed, &fault, &group, 0, 1);
        prop_assert_eq!(alone.len() as u32, part);
        let distinct: BTreeSet<u32> = alone.iter().map(|v| v.index).collect();
        prop_assert_eq!(distinct.len() as u32, part);
        prop_assert!(distinct.iter().all(|index| *index < count));
        let mut together = Vec::new();
        for shard in 0..shards {
            let own = victims(seed, &fault, &group, shard, shards);
            prop_assert!(own.is_sorted_by_key(|victim| victim.at_ns));
            for victim in &own {
                prop_assert_eq!(Plan::shard_of(first + victim.index, shards), shard);
            }
            together.extend(own);
        }
        let key = |victim: &Victim| (victim.at_ns, victim.index);
        let mut alone = alone;
        alone.sort_by_key(key);
        together.sort_by_key(key);
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn a_spread_drop_is_even_and_ends_in_time(
        seed: u64,
        part in 1u32..500,
        over_ms in 1u64..5_000,
    ) {
        let all = victims(seed, &planned(part, over_ms), &group(0, 500), 0, 1);
        let (start, over) = (3_000_000_000, over_ms * 1_000_000);
        for (i, victim) in all.iter().enumerate() {
            let exact = over as f64 * i as f64 / f64::from(part);
            prop_assert!(((victim.at_ns - start) as f64 - exact).abs() <= 1.0);
            prop_assert!(victim.at_ns < start + over);
        }
        prop_assert_eq!(all[0].at_ns, start);
    }
}

#[test]
fn at_once_is_at_once() {
    let all = victims(7, &planned(20, 0), &group(5, 100), 0, 1);
    assert!(all.iter().all(|victim| victim.at_ns == 3_000_000_000));
    assert_eq!(all.len(), 20);
}

#[test]
fn a_peek_is_the_next_ones_time() {
    let fault = planned(30, 900);
    let mut victims = Victims::new(1, 0, (START, &fault), &group(0, 60), 1, 3);
    while let Some(at) = victims.peek() {
        assert_eq!(victims.next().map(|victim| victim.at_ns), Some(at));
    }
    assert_eq!(victims.next(), None);
}

#[test]
fn another_seed_or_fault_has_other_victims_and_the_same_has_the_same() {
    let one = chosen(1, 0, 100, 1_000);
    assert_eq!(one, chosen(1, 0, 100, 1_000));
    // Two independent choices of 100 of 1,000 share 10 on average; 30 is seven standard deviations away.
    for other in [chosen(2, 0, 100, 1_000), chosen(1, 1, 100, 1_000)] {
        assert!(one.intersection(&other).count() < 30);
    }
}

/// Each connection is chosen as often as any other, whatever its place: over 4,000 seeds a third of 12 is 1,333
/// times each, with a standard deviation of 30. Pairs likewise: 4·3/(12·11) of 4,000 is 364, deviation 18.
#[test]
fn everybody_is_as_likely_a_victim() {
    let (mut each, mut pairs) = ([0i32; 12], [[0i32; 12]; 12]);
    for seed in 0..4_000 {
        let chosen: Vec<u32> = chosen(seed, 0, 4, 12).into_iter().collect();
        for (i, a) in chosen.iter().enumerate() {
            each[*a as usize] += 1;
            for b in &chosen[i + 1..] {
                pairs[*a as usize][*b as usize] += 1;
            }
        }
    }
    for (a, count) in each.iter().enumerate() {
        assert!((count - 1_333).abs() < 150, "{a}: {count}");
        for (b, count) in pairs[a].iter().enumerate().skip(a + 1) {
            assert!((count - 364).abs() < 90, "{a} and {b}: {count}");
        }
    }
}
