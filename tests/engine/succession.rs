//! One fault right behind another of its kind, on more connections than a turn releases: the second acts on all of them.

use crate::bench::{accept, failures, frame, raw, read_frame, run, server};
use squall::metrics::{Counter, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Connections: more than a turn works off (64), and fewer than a listening socket of the tests has room for (128).
const MANY: u32 = 120;
const CALM: usize = 0;
const SECOND: usize = 2;

/// Half a second without a fault, then one fault, the other, and what is left of it.
fn both(
    serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
    [(first, first_for), (second, second_for)]: [(&str, &str); 2],
    more: &str,
) -> Totals {
    let phase = |name: &str, length: &str, fault: &str| {
        let (kind, rest) = fault.split_once(' ').unwrap_or((fault, ""));
        format!(
            "  - {{ name: {name}, for: {length}, faults: [{{ {kind}: {{ clients: some, share: 100%{rest} }} }}] }}\n"
        )
    };
    let phases = phase("first", first_for, first)
        + &phase("second", second_for, second)
        + "  - { name: after, for: 300ms }\n";
    let text = raw(server(serve), MANY, "500ms", ", close_timeout: 10s", more)
        .replace("generator:", &format!("{phases}generator:"));
    let totals = run(&text);
    for fault in 0..2 {
        let did = totals.fault(fault).expect("its time came");
        let all = u64::from(MANY);
        assert_eq!(
            (did.due, did.touched, did.ended),
            (all, all, all),
            "{fault}: {first}, {second}"
        );
    }
    assert_eq!(failures(&totals), BTreeMap::new());
    totals
}

/// A message every 20 ms for as long as the faults last; then the goodbye is answered.
fn streams(mut stream: TcpStream) {
    accept(&mut stream);
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1700)
        && stream.write_all(&frame(2, &[b'x'; 98])).is_ok()
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        if opcode == 8 {
            let _ = stream.write_all(&frame(8, &payload));
            return;
        }
    }
}

#[test]
fn the_second_of_two_faults_acts_on_everybody() {
    // What comes in the second one's second, against the half a second before both: nothing but what is read in between.
    // In a partition that is all that waited, 200 ms' messages; without the second turn it is a second's messages more.
    for (first, second, quarters) in [
        ("slow , pong: 50ms", "slow , read: none", 1),
        ("network , latency: 20ms", "network , latency: 5s", 1),
        ("partition", "partition", 3),
    ] {
        let totals = both(streams, [(first, "200ms"), (second, "1s")], "");
        let received = |phase| totals.count(Counter::BytesReceived, Some(phase), None);
        let (calm, under) = (received(CALM), received(SECOND));
        assert!(under < calm * quarters / 4, "{second}: {calm}, {under}");
        assert_eq!(totals.count(Counter::Opened, None, None), u64::from(MANY));
    }
}

/// Each stops in the middle of a message, sends its rest, and stops in the middle of the next one.
#[test]
fn the_second_of_two_stalls_stops_everybody_again() {
    let publish = "    publish: { rate: 3000/s, size: 400B, in: [first, second] }\n";
    let stall = "stall , what: message";
    let totals = both(streams, [(stall, "500ms"); 2], publish);
    assert!(totals.count(Counter::Sent, None, None) > 0);
}
