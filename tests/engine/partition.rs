//! Partitions: silence, and then everything that was held back.

use crate::bench::{accept, failures, frame, raw, read_frame, run, server};
use squall::metrics::{Counter, Failure, Step, Timer, Totals};
use squall::protocol::Stamp;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Half a second, a phase of so long with a partition, and a second.
fn cut_off(
    address: SocketAddr,
    count: u32,
    length: &str,
    partition: &str,
    (target, more): (&str, &str),
) -> Totals {
    let text = raw(address, count, "500ms", &format!(", close_timeout: 1s{target}"), more).replace(
        "generator:",
        &format!(
            "  - {{ name: cut, for: {length}, faults: [{{ partition: {{ clients: some{partition} }} }}] }}\n  \
             - {{ name: calm, for: 1s }}\ngenerator:"
        ),
    );
    run(&text)
}

fn count(totals: &Totals, counter: Counter) -> u64 {
    totals.count(counter, None, None)
}

/// By phase: before, in it, after.
fn by_phase(totals: &Totals, counter: Counter) -> [u64; 3] {
    [0, 1, 2].map(|phase| totals.count(counter, Some(phase), None))
}

#[test]
fn in_a_partition_all_is_silent_and_after_it_nothing_is_missing() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let mut other = stream.try_clone().unwrap();
        // In the middle of it, if this machine is not a second late.
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1000));
            let _ = other.write_all(&frame(1, &[b'x'; 98]).repeat(50));
            let _ = other.write_all(&frame(9, b"there?"));
        });
        let (mut next, mut pongs) = (0, 0);
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            match opcode {
                8 => {
                    let _ = stream.write_all(&frame(8, &payload));
                    break;
                }
                10 => pongs += 1,
                _ => {
                    let stamp = Stamp::find(&payload).expect("a stamp");
                    assert_eq!(stamp.seq, next);
                    next += 1;
                }
            }
        }
        let _ = tell.send((next, pongs));
    };
    let publish = "    publish: { rate: 100/s, size: 400B, in: [cut, calm] }\n";
    let totals = cut_off(server(serve), 1, "1500ms", "", ("", publish));
    let (got, pongs) = told.recv().expect("served to the end");
    assert_eq!((got, pongs), (count(&totals, Counter::Sent), 1));
    assert_eq!(count(&totals, Counter::Dropped), 0);
    // Not a byte in, not a byte out, and no answer, until it was over.
    for counter in [
        Counter::BytesSent,
        Counter::BytesReceived,
        Counter::PingsAnswered,
    ] {
        assert_eq!(by_phase(&totals, counter)[1], 0, "{counter:?}");
    }
    assert_eq!(by_phase(&totals, Counter::Unstamped), [0, 0, 50]);
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(
        totals.fault(0).map(|did| (did.touched, did.ended)),
        Some((1, 1))
    );
}

#[test]
fn a_heartbeat_finds_it_and_whoever_comes_back_has_to_wait() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let since = Instant::now();
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            match opcode {
                9 => drop(stream.write_all(&frame(10, &payload))),
                8 => {
                    let _ = stream.write_all(&frame(8, &payload));
                    return;
                }
                _ => {}
            }
        }
        // Ended without a Close frame.
        let _ = tell.send(since.elapsed());
    };
    let more = "    heartbeat: { every: 100ms, timeout: 200ms }\n    reconnect: { backoff: no_jitter, base: 50ms }\n";
    let target = ", connect_timeout: 250ms";
    let totals = cut_off(server(serve), 3, "1500ms", ", count: 2", (target, more));
    let told: Vec<Duration> = told.iter().take(2).collect();
    // The target hears of it when the partition is over, two seconds from the start: dead it was at 0.8 at most.
    for after in &told {
        assert!(*after >= Duration::from_millis(1500), "{told:?}");
    }
    let failed = failures(&totals);
    assert_eq!(failed["dead"], 2, "{failed:?}");
    assert!(failed["timeout"] >= 4, "{failed:?}");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(by_phase(&totals, Counter::Opened), [3, 0, 2]);
    assert_eq!(count(&totals, Counter::Reconnected), 2);
    assert_eq!(totals.histogram(Timer::Detect, None, None).len(), 2);
    // Both, each once, however often they tried.
    assert_eq!(
        totals.fault(0).map(|did| (did.due, did.touched)),
        Some((2, 2))
    );
}

/// A SYN that got lost is repeated a second later, by which time it gets through.
#[test]
fn an_attempt_in_a_partition_gets_through_when_it_is_over() {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if opcode == 8 {
                let _ = stream.write_all(&frame(8, &payload));
            }
        }
    };
    let address = server(serve);
    let text = raw(address, 2, "700ms", ", close_timeout: 1s", "")
        .replace(
            "for: 700ms }",
            "for: 700ms, faults: [{ partition: { clients: some, count: 1 } }] }",
        )
        .replace("generator:", "  - { name: calm, for: 1500ms }\ngenerator:");
    let totals = run(&text);
    assert_eq!(by_phase(&totals, Counter::Opened)[..2], [1, 1]);
    let open = totals.histogram(Timer::Open, Some(1), None);
    assert!(open.min() >= 999_000, "{} µs", open.min());
    assert_eq!(failures(&totals), BTreeMap::new());
}

#[test]
fn only_the_addresses_that_are_named_are_out_of_reach() {
    let (tell, told) = mpsc::channel();
    let serve = |name: u16| {
        let tell = tell.clone();
        server(move |mut stream: TcpStream| {
            accept(&mut stream);
            std::thread::sleep(Duration::from_millis(1000));
            let _ = stream.write_all(&frame(9, &name.to_be_bytes()));
            while let Some((opcode, payload)) = read_frame(&mut stream) {
                match opcode {
                    10 => drop(tell.send(name)),
                    8 => return drop(stream.write_all(&frame(8, &payload))),
                    _ => {}
                }
            }
        })
    };
    let (first, second) = (serve(0), serve(1));
    let text = raw(first, 6, "500ms", ", close_timeout: 1s", "")
        .replace(
            &format!("\"ws://{first}/\""),
            &format!("[\"ws://{first}/\", \"ws://{second}/\"]"),
        )
        .replace(
            "generator:",
            "  - { name: cut, for: 1500ms, faults: [{ partition: { clients: some, from: 1 } }] }\n  \
             - { name: calm, for: 500ms }\ngenerator:",
        );
    let totals = run(&text);
    assert_eq!(
        totals.fault(0).map(|did| (did.due, did.touched)),
        Some((6, 3))
    );
    assert_eq!(by_phase(&totals, Counter::PingsAnswered), [0, 3, 3]);
    assert_eq!(
        told.iter().take(6).collect::<Vec<u16>>(),
        [0, 0, 0, 1, 1, 1]
    );
}

/// No SYN leaves for them: the target, whose load and capacity the steps are about, never hears of these attempts.
#[test]
fn attempts_that_a_partition_holds_are_not_waiting_for_the_target() {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            match opcode {
                8 => return drop(stream.write_all(&frame(8, &payload))),
                9 => drop(stream.write_all(&frame(10, &payload))),
                _ => {}
            }
        }
    };
    let more = "    heartbeat: { every: 100ms, timeout: 150ms }\n    reconnect: { backoff: no_jitter, base: 50ms, cap: 50ms }\n";
    let target = ", connect_timeout: 200ms";
    let totals = cut_off(server(serve), 2, "1500ms", "", (target, more));
    let steps = totals.steps().between(0, u64::MAX);
    let sum = |of: fn(&Step) -> u32| steps.iter().map(|step| u64::from(of(step))).sum::<u64>();
    let given_up = totals.failures(Some(Failure::Timeout), None, None);
    assert!(given_up >= 4, "{:?}", failures(&totals));
    assert_eq!(sum(|step| step.vain), given_up);
    assert_eq!(sum(|step| step.failed), 0);
    assert_eq!(sum(|step| step.attempts), count(&totals, Counter::Opened));
}
