//! Slow consumers: what they take, what waits for them, and how the target's goodbye is told.

use crate::bench::{accept, failures, frame, raw, read_frame, read_to_end, run, server, tcp_info};
use squall::metrics::{Counter, FaultEndKey, FaultTally, Timer, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const MS: u64 = 1_000_000;
const BACK: &str = "    reconnect: { backoff: no_jitter, base: 50ms }\n";

/// Connections to a server for so long, with one fault.
fn under(
    serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
    count: u32,
    length: &str,
    fault: &str,
    more: &str,
) -> Totals {
    let text = raw(server(serve), count, length, ", close_timeout: 1s", more).replace(
        &format!("for: {length} }}"),
        &format!("for: {length}, faults: [{{ {fault} }}] }}"),
    );
    run(&text)
}

fn count(totals: &Totals, counter: Counter) -> u64 {
    totals.count(counter, None, None)
}

fn did(totals: &Totals) -> FaultTally {
    totals.fault(0).expect("its time came")
}

fn ended(code: u16, after: bool, count: u64) -> BTreeMap<FaultEndKey, u64> {
    BTreeMap::from([(FaultEndKey { code, after }, count)])
}

/// Sends so many messages of 100 bytes once the fault has begun, and reads on.
fn sends(messages: usize) -> impl Fn(TcpStream) + Send + Sync + Clone + 'static {
    move |mut stream: TcpStream| {
        accept(&mut stream);
        std::thread::sleep(Duration::from_millis(500));
        let _ = stream.write_all(&frame(1, &[b'x'; 98]).repeat(messages));
        polite(stream);
    }
}

/// Answers pings and the goodbye.
fn polite(mut stream: TcpStream) {
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        match opcode {
            9 => drop(stream.write_all(&frame(10, &payload))),
            8 => return drop(stream.write_all(&frame(8, &payload))),
            _ => {}
        }
    }
}

#[test]
fn a_rate_is_never_exceeded_and_what_waited_comes_when_it_is_over() {
    let fault = "slow: { clients: some, count: 1, read: 8KiB/s, after: 300ms, for: 1500ms }";
    let totals = under(sends(400), 2, "2200ms", fault, "");
    let did = did(&totals);
    assert_eq!((did.due, did.touched, did.ended), (1, 1, 1));
    assert!(
        did.first_ns >= 300 * MS && did.ended_ns >= 1800 * MS,
        "{did:?}"
    );
    let lasted = u128::from(did.ended_ns - did.first_ns);
    assert!(
        u128::from(did.taken) <= 8192 * lasted / 1_000_000_000,
        "{did:?}"
    );
    // It does read: of 12 KiB that it might a quarter is enough to tell.
    assert!(did.taken >= 3 * 1024, "{did:?}");
    assert_eq!(did.taken + did.unread, 40_000, "nothing is lost");
    assert_eq!(count(&totals, Counter::Unstamped), 800);
    assert_eq!(totals.fault_ends(0), BTreeMap::new());
    assert_eq!(failures(&totals), BTreeMap::new());
}

#[test]
fn who_reads_nothing_takes_nothing_and_then_all() {
    let fault = "slow: { clients: some, count: 2, read: none, receive_buffer: 64KiB, after: 300ms, for: 1200ms }";
    let totals = under(sends(100), 3, "2s", fault, "");
    let did = did(&totals);
    assert_eq!((did.touched, did.taken, did.unread), (2, 0, 20_000));
    // What was asked for, and as much for the kernel's own needs.
    assert_eq!(did.receive_buffer, 128 * 1024);
    assert_eq!(count(&totals, Counter::Unstamped), 300);
    assert_eq!(count(&totals, Counter::Opened), 3);
}

/// How far a window may be scaled is said once, in the SYN, and the kernel reckons it from the buffer that there is by then:
/// set after connecting, a small buffer would still go with the scale of a large one.
#[test]
fn a_receive_buffer_is_set_before_connecting() {
    /// `tcpi_snd_wscale` of linux/tcp.h, in the lower half of its byte: what the other side said.
    fn scale(stream: &TcpStream) -> u8 {
        tcp_info(stream)[6] & 0x0f
    }
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let _ = tell.send(scale(&stream));
        polite(stream);
    };
    let fault = "slow: { clients: some, count: 2, read: none, receive_buffer: 16KiB, after: 300ms, for: 300ms }";
    let totals = under(serve, 3, "800ms", fault, "");
    assert_eq!(count(&totals, Counter::Opened), 3);
    let mut scales: Vec<u8> = told.try_iter().collect();
    scales.sort_unstable();
    assert_eq!(scales[..2], [0, 0], "{scales:?}");
    assert!(scales[2] > 0, "{scales:?}");
}

/// While it reads nothing what is sent fills all buffers and waits; between the pauses it reads as ever, and all of it comes.
#[test]
fn who_reads_in_pauses_holds_the_target_up_for_their_length_and_reads_all() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(16 * 1024);
        let (since, mut longest, mut sent) = (Instant::now(), Duration::ZERO, 0);
        while since.elapsed() < Duration::from_millis(1500) {
            let before = Instant::now();
            if stream.write_all(&frame(1, &[b'x'; 2000])).is_err() {
                break;
            }
            longest = longest.max(before.elapsed());
            sent += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = tell.send((longest, sent));
        polite(stream);
    };
    let fault = "slow: { clients: some, count: 1, read: { pause: 400ms, every: 1s }, receive_buffer: 16KiB, after: 300ms, for: 1s }";
    let totals = under(serve, 1, "2200ms", fault, "");
    let (longest, sent) = told.recv().expect("it served");
    // Some of each pause passes while the buffers fill.
    assert!(longest >= Duration::from_millis(200), "{longest:?}");
    let did = did(&totals);
    assert_eq!((did.touched, did.ended), (1, 1));
    assert!(did.taken > 100_000, "it reads between them: {did:?}");
    assert_eq!(count(&totals, Counter::Unstamped), sent);
    assert_eq!(count(&totals, Counter::Opened), 1);
}

/// Its phase ends with the run: it is let go before the goodbyes.
#[test]
fn a_fault_to_the_end_of_the_run_ends_with_it() {
    let fault = "slow: { clients: some, share: 100%, read: none, after: 300ms }";
    let totals = under(sends(100), 2, "1000ms", fault, "");
    let did = did(&totals);
    assert_eq!((did.touched, did.ended, did.unread), (2, 2, 20_000));
    assert!(did.ended_ns >= 1000 * MS, "{did:?}");
    assert_eq!(count(&totals, Counter::Unstamped), 200);
    let codes: Vec<u16> = totals
        .closes(None, None)
        .keys()
        .map(|key| key.code)
        .collect();
    assert_eq!(codes, [1000]);
}

/// A goodbye behind what is not read: the kernel tells of the end at once, and the code with it.
#[test]
fn a_target_that_hangs_up_is_seen_while_the_fault_lasts() {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        std::thread::sleep(Duration::from_millis(600));
        let _ = stream.write_all(&frame(1, &[b'x'; 98]).repeat(100));
        let _ = stream.write_all(&frame(8, &1013u16.to_be_bytes()));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_to_end(&stream);
    };
    let fault = "slow: { clients: some, count: 1, read: none, after: 300ms, for: 1s }";
    let totals = under(serve, 1, "2s", fault, "");
    assert_eq!(totals.fault_ends(0), ended(1013, false, 1));
    assert_eq!(totals.histogram(Timer::Evicted, None, None).len(), 1);
    assert_eq!(count(&totals, Counter::Afflicted), 1);
    assert_eq!(did(&totals).closed, 1);
    assert_eq!(did(&totals).taken, 10_004);
    assert_eq!(count(&totals, Counter::Unstamped), 100);
}

/// Without the end of TCP a goodbye that nobody reads is not known of before it is read.
#[test]
fn a_goodbye_that_is_read_after_the_fault_is_told_as_such() {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        std::thread::sleep(Duration::from_millis(600));
        let _ = stream.write_all(&frame(1, &[b'x'; 98]).repeat(10));
        let _ = stream.write_all(&frame(8, &1008u16.to_be_bytes()));
        while let Some((opcode, _)) = read_frame(&mut stream) {
            if opcode == 8 {
                return;
            }
        }
    };
    let fault = "slow: { clients: some, count: 1, read: none, after: 300ms, for: 700ms }";
    let totals = under(serve, 1, "1500ms", fault, "");
    assert_eq!(totals.fault_ends(0), ended(1008, true, 1));
    assert_eq!(totals.histogram(Timer::Evicted, None, None).len(), 0);
    assert_eq!(count(&totals, Counter::Afflicted), 1);
    assert_eq!(did(&totals).closed, 1);
    assert_eq!(did(&totals).unread, 1_004);
}

#[test]
fn a_victim_that_comes_back_is_still_one_and_counts_once() {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        std::thread::sleep(Duration::from_millis(500));
        let _ = stream.write_all(&frame(1, &[b'x'; 98]).repeat(10));
        let _ = stream.write_all(&frame(8, &1008u16.to_be_bytes()));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_to_end(&stream);
    };
    let fault = "slow: { clients: some, share: 100%, read: none, after: 300ms, for: 2200ms }";
    let totals = under(serve, 2, "2700ms", fault, BACK);
    let did = did(&totals);
    assert_eq!((did.due, did.touched, did.ended), (2, 2, 2));
    // Each life of half a second and its way back of 50 ms: several within the fault.
    let ends = totals.fault_ends(0);
    let seen = ends[&FaultEndKey {
        code: 1008,
        after: false,
    }];
    assert!(seen >= 4, "{ends:?}");
    assert_eq!(totals.histogram(Timer::Evicted, None, None).len(), seen);
    // Each of its lives was one that the target could end; the last ones may have been longer than the fault.
    let afflicted = count(&totals, Counter::Afflicted);
    assert!((seen..=seen + 2).contains(&afflicted), "{afflicted}");
    assert_eq!(did.closed, 2, "each once, however often");
}

#[test]
fn a_late_pong_is_late_and_everything_else_is_not() {
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        std::thread::sleep(Duration::from_millis(500));
        let since = Instant::now();
        let _ = stream.write_all(&frame(9, b"there?"));
        let _ = stream.write_all(&frame(1, b"news"));
        let answer = read_frame(&mut stream);
        let _ = tell.send((answer, since.elapsed()));
        read_to_end(&stream);
    };
    let fault = "slow: { clients: some, count: 1, pong: 400ms, after: 200ms, for: 1300ms }";
    let totals = under(serve, 1, "1700ms", fault, "");
    let (answer, after) = told.recv().expect("an answer");
    assert_eq!(answer, Some((10, b"there?".to_vec())));
    assert!(after >= Duration::from_millis(400), "{after:?}");
    assert_eq!(count(&totals, Counter::Unstamped), 1);
    assert_eq!(count(&totals, Counter::PingsAnswered), 1);
}

/// The pong lies in the socket that is not read: a client that is slow on purpose does not blame the target.
#[test]
fn who_does_not_read_does_not_declare_the_target_dead() {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        polite(stream);
    };
    let fault = "slow: { clients: some, count: 1, read: none, after: 300ms, for: 1s }";
    let heartbeat = "    heartbeat: { every: 100ms, timeout: 250ms }\n";
    let totals = under(serve, 1, "1800ms", fault, heartbeat);
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(count(&totals, Counter::Opened), 1);
    // The one that waited through the fault got its pong.
    let pings = totals.histogram(Timer::Ping, None, None);
    assert!(pings.max() >= 700_000, "{} µs", pings.max());
}

/// The server's messages are more than all buffers take: it has to wait, and goes on after the fault.
#[test]
fn back_pressure_reaches_the_target_and_nothing_is_lost() {
    const MANY: usize = 200_000;
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        std::thread::sleep(Duration::from_millis(500));
        let since = Instant::now();
        let _ = stream.write_all(&frame(1, &[b'x'; 98]).repeat(MANY));
        let _ = tell.send(since.elapsed());
        read_to_end(&stream);
    };
    let fault = "slow: { clients: some, count: 1, read: none, receive_buffer: 4KiB, after: 200ms, for: 1500ms }";
    let totals = under(serve, 1, "2500ms", fault, "");
    let took = told.recv().expect("it wrote");
    // From at most 200 ms into the fault, whatever this machine does, to its end.
    assert!(took >= Duration::from_millis(700), "{took:?}");
    assert_eq!(did(&totals).taken, 0);
    assert_eq!(count(&totals, Counter::Unstamped), MANY as u64);
}
