use super::*;
use crate::plan::{Purpose, rng};
use proptest::prelude::*;
use std::time::Duration;

const MS: u64 = 1_000_000;

fn shaped(seed: u64, latency_ms: u64, jitter_ms: u64, bandwidth: Option<u64>) -> Shaped {
    let network = Network {
        latency: Duration::from_millis(latency_ms),
        jitter: Duration::from_millis(jitter_ms),
        bandwidth,
        slice: Some(16),
    };
    Shaped::new(0, &network, rng(seed, Purpose::Network, &[]), 1 << 16, 0)
}

proptest! {
    /// Each byte comes once, in order, not before its time and not after the latest that jitter allows.
    #[test]
    fn what_comes_in_is_late_within_its_bounds_and_never_reordered(
        seed: u64,
        latency in 0u64..200,
        jitter_share in 0u64..=100,
        steps in prop::collection::vec((0u64..50, 1usize..400), 1..60),
    ) {
        let jitter = latency * jitter_share / 100;
        let mut shaped = shaped(seed, latency, jitter, None);
        let (mut now, mut sent) = (0, Vec::new());
        let mut next = 0u8;
        for (pause, bytes) in steps {
            now += pause * MS;
            let chunk: Vec<u8> = (0..bytes).map(|_| { next = next.wrapping_add(1); next }).collect();
            shaped.hold(&chunk, now);
            sent.push((now, chunk));
        }
        shaped.end(Cause::Eof, now);
        prop_assert_eq!(shaped.may_read(now), 0);
        let mut latest = 0;
        for (at, chunk) in sent {
            let arrives = shaped.arrives_ns();
            prop_assert!(arrives >= at + (latency - jitter) * MS);
            latest = latest.max(at + (latency + jitter) * MS);
            prop_assert!(arrives <= latest);
            prop_assert!(arrives == 0 || shaped.arrived(arrives - 1).is_none());
            match shaped.arrived(arrives) {
                Some(Arrival::Bytes(bytes)) => prop_assert_eq!(&bytes[..], &chunk[..]),
                _ => prop_assert!(false, "bytes before the end"),
            }
        }
        prop_assert!(matches!(shaped.arrived(shaped.arrives_ns()), Some(Arrival::End(Cause::Eof))));
        prop_assert_eq!(shaped.arrives_ns(), u64::MAX);
    }

    /// A queue that grows and leaves: nothing before its time, nothing faster than the line, all of it.
    #[test]
    fn what_goes_out_waits_its_time_and_keeps_to_the_line(
        seed: u64,
        latency in 0u64..100,
        rate in 100u64..100_000,
        steps in prop::collection::vec((1u64..50, 0usize..400), 1..60),
    ) {
        let mut shaped = shaped(seed, latency, latency / 2, Some(rate));
        let (mut now, mut queued, mut gone) = (0, 0, 0);
        let mut history = Vec::new();
        let drain = |shaped: &mut Shaped, now: u64, queued: usize, gone: &mut usize| {
            let may = shaped.may_write(queued - *gone, now).map_or(0, |may| may.bytes);
            shaped.wrote(may);
            *gone += may;
        };
        for (pause, bytes) in steps {
            now += pause * MS;
            queued += bytes;
            history.push((now, queued));
            drain(&mut shaped, now, queued, &mut gone);
            prop_assert!(gone as u128 <= u128::from(now) * u128::from(rate) / 1_000_000_000);
            // No more than was queued by the time that could have travelled.
            let least = (latency - latency / 2) * MS;
            let could = history.iter().rfind(|(at, _)| at + least <= now).map_or(0, |(_, all)| *all);
            prop_assert!(gone <= could);
        }
        for _ in 0..200_000 {
            if gone == queued {
                break;
            }
            let next = shaped.writes_ns(now);
            prop_assert!(next != u64::MAX && next >= now);
            now = next;
            let before = gone;
            drain(&mut shaped, now, queued, &mut gone);
            // Each look gets on, if only to the next mark's time.
            prop_assert!(gone > before || shaped.writes_ns(now) > now);
        }
        prop_assert_eq!(gone, queued);
        prop_assert_eq!(shaped.writes_ns(now), u64::MAX);
    }
}

#[test]
fn beyond_what_may_wait_nothing_is_read_until_some_is_delivered() {
    let mut shaped = shaped(1, 100, 0, None);
    shaped.hold(&vec![0; 1 << 16], 0);
    assert_eq!((shaped.may_read(0), shaped.reads_ns(0)), (0, u64::MAX));
    assert!(shaped.arrived(100 * MS).is_some());
    assert_eq!((shaped.may_read(0), shaped.reads_ns(5)), (1 << 16, 5));
}

#[test]
fn when_it_is_over_all_that_waits_goes_at_once_and_in_order() {
    let mut shaped = shaped(1, 100, 50, Some(10));
    shaped.hold(b"ab", 0);
    shaped.hold(b"cd", 1);
    shaped.end(Cause::Eof, 2);
    shaped.let_go();
    assert!(!shaped.is_over());
    let mut came = Vec::new();
    while let Some(arrival) = shaped.arrived(3) {
        match arrival {
            Arrival::Bytes(bytes) => came.extend_from_slice(&bytes),
            Arrival::End(_) => came.push(b'.'),
        }
    }
    assert_eq!(came, b"abcd.");
    assert!(shaped.is_over());
    assert_eq!(
        shaped.may_write(1_000, 3).map(|may| (may.bytes, may.slice)),
        Some((1_000, usize::MAX))
    );
}

#[test]
fn the_same_seed_gives_the_same_times() {
    let times = |seed| {
        let mut shaped = shaped(seed, 100, 100, None);
        (0..50u64).map(|i| shaped.travel(i)).collect::<Vec<_>>()
    };
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
}
