//! Stalls: exactly half a message, and requests that trickle; and what a target does about it.

use crate::bench::{accept, failures, frame, raw, read_frame, run, server};
use squall::metrics::{Counter, Failure, FaultEndKey, Timer, Totals};
use squall::protocol::Stamp;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const BACK: &str = "    reconnect: { backoff: no_jitter, base: 50ms }\n";
/// A frame of 408 bytes each: 2 of header, 2 of length, 4 of mask.
const PUBLISH: &str = "    publish: { rate: 100/s, size: 400B, in: [stall, calm] }\n";

/// Half a second, a second with a stall of all, and another.
fn stalled(
    serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
    count: u32,
    stall: &str,
    (target, more): (&str, &str),
) -> Totals {
    let target = format!(", close_timeout: 1s{target}");
    let text = raw(server(serve), count, "500ms", &target, more).replace(
        "generator:",
        &format!(
            "  - {{ name: stall, for: 1s, faults: [{{ stall: {{ clients: some, share: 100%, {stall} }} }}] }}\n  \
             - {{ name: calm, for: 1s }}\ngenerator:"
        ),
    );
    run(&text)
}

fn count(totals: &Totals, counter: Counter) -> u64 {
    totals.count(counter, None, None)
}

fn did(totals: &Totals) -> (u64, u64, u64) {
    let did = totals.fault(0).expect("its time came");
    (did.due, did.touched, did.ended)
}

/// Messages in order, up to the goodbye, which is answered; how many.
fn in_order(mut stream: TcpStream) -> u64 {
    let mut next = 0;
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        match opcode {
            8 => {
                let _ = stream.write_all(&frame(8, &payload));
                break;
            }
            9 => drop(stream.write_all(&frame(10, &payload))),
            _ => {
                assert_eq!(Stamp::find(&payload).expect("a stamp").seq, next);
                next += 1;
            }
        }
    }
    next
}

#[test]
fn half_a_message_is_sent_and_the_rest_and_all_behind_it_when_it_is_over() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let _ = tell.send(in_order(stream));
    };
    let totals = stalled(serve, 1, "what: message", ("", PUBLISH));
    assert_eq!(totals.count(Counter::BytesSent, Some(1), None), 204);
    assert_eq!(did(&totals), (1, 1, 1));
    let got = told.recv().expect("served to the end");
    assert_eq!(got, count(&totals, Counter::Sent));
    assert_eq!(got, count(&totals, Counter::Offered));
    assert!(got >= 195, "{got}");
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(totals.fault_ends(0), BTreeMap::new());
}

#[test]
fn who_sends_no_messages_stops_in_the_middle_of_a_ping() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let mut half = [0; 66];
        let _ = stream.read_exact(&mut half);
        // No byte more for as long as it lasts.
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let silent = stream.read(&mut [0]).is_err();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut rest = [0; 65];
        let whole = stream.read_exact(&mut rest).is_ok();
        let _ = tell.send((half[..2].to_vec(), silent, whole));
        in_order(stream);
    };
    let totals = stalled(serve, 1, "what: message", ("", ""));
    // A ping, masked, of 125 bytes.
    assert_eq!(told.recv().ok(), Some((vec![0x89, 0xfd], true, true)));
    assert_eq!(did(&totals), (1, 1, 1));
    assert_eq!(failures(&totals), BTreeMap::new());
}

#[test]
fn who_leaves_it_leaves_by_fin_with_half_a_message() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes).is_ok();
        let _ = tell.send((bytes.len(), ended));
    };
    let totals = stalled(
        serve,
        1,
        "what: message, finish: false",
        ("", &format!("{PUBLISH}{BACK}")),
    );
    assert_eq!(told.recv().ok(), Some((204, true)));
    assert_eq!(count(&totals, Counter::Cut), 1);
    assert_eq!(count(&totals, Counter::Reconnected), 1);
    assert_eq!(did(&totals), (1, 1, 1));
}

#[test]
fn a_target_that_waits_no_longer_is_timed_with_its_code() {
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        if stream.read_exact(&mut [0; 204]).is_ok() {
            std::thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(&frame(8, &1008u16.to_be_bytes()));
        }
    };
    let totals = stalled(serve, 2, "what: message", ("", PUBLISH));
    let key = FaultEndKey {
        code: 1008,
        after: false,
    };
    assert_eq!(totals.fault_ends(0), BTreeMap::from([(key, 2)]));
    let evicted = totals.histogram(Timer::Evicted, None, None);
    assert_eq!(evicted.len(), 2);
    assert_eq!(count(&totals, Counter::Afflicted), 2);
    assert!(evicted.min() >= 299_000, "{} µs", evicted.min());
}

/// Our own ping waits behind the message: that the target says nothing to it is not its fault.
#[test]
fn who_is_stuck_does_not_declare_the_target_dead() {
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        in_order(stream);
    };
    let more = format!("{PUBLISH}    heartbeat: {{ every: 100ms, timeout: 200ms }}\n");
    let totals = stalled(serve, 1, "what: message", ("", &more));
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(count(&totals, Counter::Opened), 1);
}

/// A server that gives a request 400 ms.
#[test]
fn a_request_that_trickles_is_refused_and_later_ones_are_not() {
    let serve = |mut stream: TcpStream| {
        let since = Instant::now();
        stream
            .set_read_timeout(Some(Duration::from_millis(400)))
            .unwrap();
        let mut seen = [0; 4096];
        loop {
            match stream.peek(&mut seen) {
                Ok(n) if seen[..n].ends_with(b"\r\n\r\n") => break,
                Ok(n) if n > 0 && since.elapsed() < Duration::from_millis(400) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => {
                    let _ = stream
                        .write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
                    return;
                }
            }
        }
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        accept(&mut stream);
        in_order(stream);
    };
    // A timeout of its own would be over long before.
    let totals = stalled(
        serve,
        2,
        "what: handshake, rate: 10B/s",
        (", connect_timeout: 200ms", BACK),
    );
    assert_eq!(did(&totals), (2, 2, 2));
    assert_eq!(count(&totals, Counter::Cut), 2);
    let refused = totals.statuses(None, None)[&408];
    assert!(refused >= 2, "{refused}");
    assert_eq!(failures(&totals), BTreeMap::from([("status", refused)]));
    let ends = totals.fault_ends(0);
    let during = ends[&FaultEndKey {
        code: 408,
        after: false,
    }];
    assert!(during >= 2, "{ends:?}");
    let evicted = totals.histogram(Timer::Evicted, None, None);
    assert_eq!(evicted.len(), during);
    assert!(count(&totals, Counter::Afflicted) >= during);
    assert!(evicted.min() >= 300_000, "{} µs", evicted.min());
    assert_eq!(count(&totals, Counter::Reconnected), 2);
}

/// What is left of the request goes when it is over, and the opening goes on.
#[test]
fn a_patient_target_gets_the_whole_request_in_the_end() {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        in_order(stream);
    };
    let totals = stalled(
        serve,
        2,
        "what: handshake",
        (", connect_timeout: 200ms", BACK),
    );
    assert_eq!(did(&totals), (2, 2, 2));
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(count(&totals, Counter::Reconnected), 2);
    assert_eq!(totals.fault_ends(0), BTreeMap::new());
    // Nearly all of the fault's second.
    let upgrade = totals.histogram(Timer::Upgrade, Some(2), None);
    assert_eq!(upgrade.len(), 2);
    assert!(upgrade.min() >= 700_000, "{} µs", upgrade.min());
}

/// Its request is soon there, in spite of the stall; that the target then says nothing is the target's affair.
#[test]
fn whose_request_is_through_gives_up_as_ever() {
    let accepted = Arc::new(AtomicU32::new(0));
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        if accepted.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = stream.write_all(&frame(1, b"hello"));
        }
        in_order(stream);
    };
    let hello = "    on_open: [{ expect: { contains: hello, within: 10s } }]\n";
    let totals = stalled(
        serve,
        1,
        "what: handshake, rate: 1MB/s",
        (", connect_timeout: 200ms", &format!("{BACK}{hello}")),
    );
    assert_eq!(did(&totals), (1, 1, 1));
    // In the fault's second, and not only after it.
    let gave_up = totals.failures(Some(Failure::Step), Some(1), None);
    assert!(gave_up >= 1, "{:?}", failures(&totals));
}
