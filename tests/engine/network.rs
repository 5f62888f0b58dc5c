//! Bad networks: never sooner and never faster than they say, and every byte of a live stream in its place.

use crate::bench::{accept, failures, frame, raw, read_frame, read_request, run, server, tcp_info};
use squall::metrics::{Counter, Totals};
use squall::protocol::Stamp;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Connections to a server, all behind a bad network for the first of two phases of such lengths.
fn behind(
    serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
    (bad, good): (&str, &str),
    network: &str,
    target: &str,
    more: &str,
) -> Totals {
    let text = raw(
        server(serve),
        1,
        bad,
        &format!(", close_timeout: 1s{target}"),
        more,
    )
    .replace(
        &format!("for: {bad} }}"),
        &format!("for: {bad}, faults: [{{ network: {{ clients: some, {network} }} }}] }}"),
    )
    .replace(
        "generator:",
        &format!("  - {{ name: good, for: {good} }}\ngenerator:"),
    );
    run(&text)
}

fn count(totals: &Totals, counter: Counter) -> u64 {
    totals.count(counter, None, None)
}

/// Answers the goodbye, and hands every other frame on.
fn each_frame(stream: &mut TcpStream, mut seen: impl FnMut(u8, Vec<u8>)) {
    while let Some((opcode, payload)) = read_frame(stream) {
        if opcode == 8 {
            let _ = stream.write_all(&frame(8, &payload));
            return;
        }
        seen(opcode, payload);
    }
}

/// A ping and its pong, as long as that takes.
fn ping(stream: &mut TcpStream) -> Duration {
    let since = Instant::now();
    let _ = stream.write_all(&frame(9, b"there?"));
    let answer = read_frame(stream);
    assert_eq!(answer, Some((10, b"there?".to_vec())));
    since.elapsed()
}

#[test]
fn a_latency_is_taken_each_way_and_jitter_moves_it_within_its_bounds() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        for _ in 0..5 {
            let _ = tell.send(ping(&mut stream));
        }
        each_frame(&mut stream, |_, _| {});
    };
    let totals = behind(
        serve,
        ("2500ms", "200ms"),
        "latency: 100ms, jitter: 30ms",
        "",
        "",
    );
    let took: Vec<Duration> = told.iter().take(5).collect();
    assert_eq!(took.len(), 5);
    for each in &took {
        assert!(*each >= Duration::from_millis(140), "{took:?}");
    }
    // Drawn anew each time: five pairs of draws in a row within a millisecond would be no jitter.
    let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    assert!(*most - *least > Duration::from_millis(1), "{took:?}");
    // Its upgrade went the same way: the request, and the answer.
    let upgrade = totals.histogram(squall::metrics::Timer::Upgrade, None, None);
    assert!(upgrade.min() >= 139_000, "{} µs", upgrade.min());
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(
        totals.fault(0).map(|did| (did.touched, did.ended)),
        Some((1, 1))
    );
}

/// 8 KiB before a ping at 8 KiB/s: its pong cannot come before they have.
#[test]
fn a_bandwidth_is_not_exceeded() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let since = Instant::now();
        let _ = stream.write_all(&frame(1, &[b'x'; 8188]));
        ping(&mut stream);
        let _ = tell.send(since.elapsed());
        each_frame(&mut stream, |_, _| {});
    };
    let totals = behind(serve, ("2500ms", "200ms"), "bandwidth: 8KiB/s", "", "");
    let took = told.recv().expect("a pong");
    // A twentieth of a second's worth may have been saved up before.
    assert!(took >= Duration::from_millis(940), "{took:?}");
    assert_eq!(count(&totals, Counter::Unstamped), 1);
}

/// Data segments that the kernel has got on this connection: `tcpi_data_segs_in` of linux/tcp.h.
fn segments(stream: &TcpStream) -> u32 {
    const DATA_SEGS_IN: usize = 152;
    let bytes = tcp_info(stream)[DATA_SEGS_IN..][..4].try_into().unwrap();
    u32::from_ne_bytes(bytes)
}

const PUBLISH: &str = "    publish: { rate: 100/s, size: 400B }\n";

/// Publishes through whatever it is, from within it to after it: each frame whole, in order, all of them.
fn through(network: &str) -> (Totals, u64, u32) {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let other = stream.try_clone().unwrap();
        let mut next = 0;
        each_frame(&mut stream, |opcode, payload| {
            assert_eq!((opcode, payload.len()), (1, 400));
            let stamp = Stamp::find(&payload).expect("a stamp");
            assert_eq!(stamp.seq, next);
            next += 1;
        });
        let _ = tell.send((next, segments(&other)));
    };
    let totals = behind(serve, ("1500ms", "500ms"), network, "", PUBLISH);
    let (got, segments) = told.recv().expect("served to the end");
    (totals, got, segments)
}

#[test]
fn what_is_published_comes_whole_and_in_order_through_latency_jitter_and_slices() {
    let (totals, got, sliced) = through("latency: 80ms, jitter: 80ms, slice: 16B");
    assert_eq!(got, count(&totals, Counter::Sent));
    assert!(got >= 150, "{got}");
    assert_eq!(count(&totals, Counter::Lost), 0);
    // Without slices a frame is a segment; with them it is up to 26. The kernel may join some.
    let (_, got, whole) = through("latency: 80ms");
    assert!(u64::from(whole) <= got + 20, "{whole} of {got}");
    assert!(sliced > 4 * whole, "{sliced} and {whole}");
}

/// Twenty times what may wait: reading stops, and the target's own buffers hold the rest.
#[test]
fn what_waits_is_bounded_and_nothing_is_lost_for_it() {
    const MANY: usize = 20_000;
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let _ = stream.write_all(&frame(1, &[b'x'; 98]).repeat(MANY));
        each_frame(&mut stream, |_, _| {});
    };
    let totals = behind(
        serve,
        ("1500ms", "500ms"),
        "latency: 200ms, jitter: 100ms",
        ", max_queue: 64KiB",
        "",
    );
    assert_eq!(count(&totals, Counter::Unstamped), MANY as u64);
    // 64 KiB each 100 ms at the most, in what was left of the time.
    let bad = totals.count(Counter::BytesReceived, Some(0), None);
    assert!(bad <= 15 * 64 * 1024, "{bad}");
}

/// A goodbye and the end behind it come in their time and order: as that, and not as a broken connection.
#[test]
fn a_targets_end_is_what_it_was() {
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let _ = stream.write_all(&frame(1, b"news"));
        let _ = stream.write_all(&frame(8, &1012u16.to_be_bytes()));
        // With nothing read and all closed, what still comes is answered by RST.
    };
    let publish = "    publish: { rate: 200/s }\n";
    let totals = behind(serve, ("1s", "200ms"), "latency: 100ms", "", publish);
    let closes: Vec<(u16, bool, u64)> = totals
        .closes(None, None)
        .iter()
        .map(|(key, count)| (key.code, key.by_target, *count))
        .collect();
    assert_eq!(closes, [(1012, true, 1)]);
    assert_eq!(count(&totals, Counter::Unstamped), 1);
}

/// What never answers is given up in its time.
#[test]
fn a_timeout_stands_whatever_the_network() {
    let serve = |mut stream: TcpStream| {
        read_request(&mut stream);
        std::thread::sleep(Duration::from_secs(5));
    };
    let totals = behind(
        serve,
        ("1s", "200ms"),
        "latency: 50ms",
        ", connect_timeout: 300ms",
        "",
    );
    assert_eq!(failures(&totals), BTreeMap::from([("timeout", 1)]));
}
