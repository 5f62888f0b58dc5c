//! Connections that a fault cuts, as the server sees it and as the shard counts it.

use crate::bench::{
    accept, failures, frame, held_up, raw, read_frame, read_request, read_to_end, run, server,
};
use squall::metrics::{CloseKey, Counter, Failure, FaultEndKey, TcpEnd, Timer, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

const MS: u64 = 1_000_000;

/// How a server saw a connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Close(u16),
    Fin,
    Reset,
}

/// Reads up to the end, which says how it was; a Close frame is answered.
fn end_of(stream: &mut TcpStream) -> End {
    loop {
        match stream.peek(&mut [0]) {
            Ok(0) => return End::Fin,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return End::Reset,
            Err(e) => panic!("{e}"),
            Ok(_) => {}
        }
        let (opcode, payload) = read_frame(stream).expect("a whole frame");
        if opcode == 8 {
            let _ = stream.write_all(&frame(8, &payload));
            return End::Close(u16::from_be_bytes([payload[0], payload[1]]));
        }
    }
}

const BACK: &str = "    reconnect: { backoff: no_jitter, base: 50ms }\n";

/// Connections to a server for so long, with one drop.
fn dropped(
    serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
    count: u32,
    length: &str,
    drop: &str,
    more: &str,
) -> Totals {
    let text = raw(server(serve), count, length, ", close_timeout: 1s", more).replace(
        &format!("for: {length} }}"),
        &format!("for: {length}, faults: [{{ drop: {{ clients: some, {drop} }} }}] }}"),
    );
    run(&text)
}

fn watched() -> (
    impl Fn(TcpStream) + Send + Sync + Clone + 'static,
    Receiver<End>,
) {
    let (tell, told): (Sender<End>, _) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let _ = tell.send(end_of(&mut stream));
    };
    (serve, told)
}

fn count(totals: &Totals, counter: Counter) -> u64 {
    totals.count(counter, None, None)
}

#[test]
fn each_way_is_what_the_server_sees_and_is_not_counted_as_the_targets() {
    for (how, end, code, clean) in [
        ("close, code: 4001", End::Close(4001), 4001, true),
        ("close", End::Close(1001), 1001, true),
        ("fin", End::Fin, 1006, false),
        ("reset", End::Reset, 1006, false),
    ] {
        let (serve, told) = watched();
        let drop = format!("count: 2, after: 300ms, how: {how}");
        let totals = dropped(serve, 4, "900ms", &drop, BACK);
        let mut ends: Vec<End> = told.iter().take(6).collect();
        ends.sort();
        let mut expected = [vec![End::Close(1000); 4], vec![end; 2]].concat();
        expected.sort();
        assert_eq!(ends, expected, "{how}");
        let key = |code, clean| CloseKey {
            code,
            by_target: false,
            clean,
        };
        let closes = BTreeMap::from([(key(1000, true), 4), (key(code, clean), 2)]);
        assert_eq!(totals.closes(None, None), closes, "{how}");
        assert_eq!(failures(&totals), BTreeMap::new(), "{how}");
        for (counter, expected) in [
            (Counter::Cut, 2),
            (Counter::Reconnected, 2),
            (Counter::Opened, 6),
            (Counter::GaveUp, 0),
        ] {
            assert_eq!(count(&totals, counter), expected, "{how}: {counter:?}");
        }
        let back = totals.histogram(Timer::Reconnect, None, None);
        assert_eq!(back.len(), 2);
        // From the cut on, which the backoff is a part of.
        assert!(back.min() >= 49_000, "{how}: {} µs", back.min());
        let did = totals.fault(0).expect("it happened");
        assert_eq!((did.due, did.touched), (2, 2));
        assert!(did.first_ns >= 300 * MS && did.last_ns >= did.first_ns);
    }
}

#[test]
fn the_way_back_is_timed_from_the_cut_and_not_from_the_end_of_a_slow_handshake() {
    let slow = |mut stream: TcpStream| {
        accept(&mut stream);
        if let Some((8, payload)) = read_frame(&mut stream) {
            std::thread::sleep(Duration::from_millis(400));
            let _ = stream.write_all(&frame(8, &payload));
        }
    };
    let totals = dropped(
        slow,
        2,
        "1500ms",
        "count: 1, after: 300ms, how: close",
        BACK,
    );
    assert_eq!(count(&totals, Counter::Reconnected), 1);
    let back = totals.histogram(Timer::Reconnect, None, None);
    assert!(back.min() >= 440_000, "{} µs", back.min());
}

#[test]
fn who_is_not_there_is_not_touched() {
    let silent = |mut stream: TcpStream| {
        read_request(&mut stream);
        read_to_end(&stream);
    };
    let totals = dropped(silent, 3, "500ms", "count: 2, after: 200ms, how: fin", BACK);
    let did = totals.fault(0).expect("its time came");
    assert_eq!((did.due, did.touched), (2, 0));
    assert_eq!(count(&totals, Counter::Cut), 0);
    assert_eq!(count(&totals, Counter::Attempts), 3);
}

#[test]
fn a_drop_spread_over_a_time_takes_that_time() {
    let (serve, _told) = watched();
    let drop = "share: 100%, after: 200ms, over: 400ms, how: reset";
    let totals = dropped(serve, 10, "900ms", drop, BACK);
    let did = totals.fault(0).expect("it happened");
    assert_eq!((did.due, did.touched), (10, 10));
    assert!(did.first_ns >= 200 * MS, "{did:?}");
    // The last of ten is a tenth of the time before its end.
    assert!(did.last_ns >= 560 * MS, "{did:?}");
}

/// More than one turn cuts, and no more than the server lets wait (128).
#[test]
fn many_at_once_are_all_cut_and_all_come_back() {
    let (serve, _told) = watched();
    let totals = dropped(
        serve,
        120,
        "1200ms",
        "share: 100%, after: 500ms, how: reset",
        BACK,
    );
    assert_eq!(count(&totals, Counter::Cut), 120);
    assert_eq!(count(&totals, Counter::Reconnected), 120);
    assert_eq!(totals.fault(0).map(|did| did.touched), Some(120));
}

#[test]
fn who_may_not_come_back_stays_away_and_has_not_given_up() {
    let (serve, _told) = watched();
    let totals = dropped(serve, 3, "500ms", "count: 1, after: 300ms, how: reset", "");
    assert_eq!(count(&totals, Counter::Cut), 1);
    assert_eq!(count(&totals, Counter::Opened), 3);
    assert_eq!(count(&totals, Counter::GaveUp), 0);
}

/// Its handshake is still under way when the run ends: it never came back, if it was to.
#[test]
fn a_close_without_an_answer_is_the_targets_failure_and_never_came_back() {
    let deaf = |mut stream: TcpStream| {
        accept(&mut stream);
        read_to_end(&stream);
    };
    for (reconnect, gave_up) in [(BACK, 1), ("", 0)] {
        let drop = "count: 1, after: 300ms, how: close";
        let totals = dropped(deaf, 2, "400ms", drop, reconnect);
        assert_eq!(failures(&totals), BTreeMap::from([("close_timeout", 2)]));
        assert_eq!(count(&totals, Counter::Cut), 1);
        assert_eq!(count(&totals, Counter::Reconnected), 0);
        assert_eq!(count(&totals, Counter::GaveUp), gave_up);
    }
}

/// A vanished connection answers nothing more, is not ended, and another takes its place.
#[test]
fn a_vanished_connection_stays_open_and_silent_to_the_end() {
    const PING_AFTER: Duration = Duration::from_millis(800);
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let since = Instant::now();
        std::thread::sleep(PING_AFTER);
        let _ = stream.write_all(&frame(9, b"there?"));
        let answered = match read_frame(&mut stream) {
            Some((10, _)) => true,
            // The run was over before the ping.
            Some((8, _)) => return,
            _ => false,
        };
        if answered {
            end_of(&mut stream);
        }
        let _ = tell.send((answered, since.elapsed()));
    };
    let drop = "count: 2, after: 400ms, how: vanish";
    let totals = dropped(serve, 3, "1800ms", drop, BACK);
    let seen: Vec<(bool, Duration)> = told.iter().take(5).collect();
    let silent: Vec<&(bool, Duration)> = seen.iter().filter(|(answered, _)| !answered).collect();
    assert_eq!((seen.len(), silent.len()), (5, 2), "{seen:?}");
    // To the end of the run, which began with them.
    assert!(
        silent
            .iter()
            .all(|(_, open)| *open >= Duration::from_millis(1500)),
        "{silent:?}"
    );
    assert_eq!(count(&totals, Counter::Cut), 2);
    assert_eq!(count(&totals, Counter::Reconnected), 2);
    assert_eq!(failures(&totals), BTreeMap::new());
}

/// Nothing is read from them, and that the target hangs up on them is seen all the same: once each, with its time and
/// in the phase of the vanish. Their sockets are free then; one that the target keeps is kept.
#[test]
fn a_target_that_notices_who_vanished_is_timed() {
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        let number = accepted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number >= 4 {
            end_of(&mut stream);
            return;
        }
        // News that nobody reads is no end.
        std::thread::sleep(Duration::from_millis(500));
        let _ = stream.write_all(&frame(1, b"news"));
        std::thread::sleep(Duration::from_millis(300));
        match number {
            0 => {
                let _ = stream.write_all(&frame(8, &1011u16.to_be_bytes()));
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            1 => drop(stream.shutdown(std::net::Shutdown::Write)),
            2 => {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return;
            }
            // Never.
            _ => {}
        }
        read_to_end(&stream);
    };
    let faults = "for: 600ms, faults: [{ drop: { clients: some, share: 100%, how: vanish, after: 400ms } }] }";
    let text = raw(server(serve), 4, "600ms", ", close_timeout: 1s", BACK)
        .replace("for: 600ms }", faults)
        .replace("generator:", "  - { name: next, for: 1s }\ngenerator:");
    let totals = run(&text);
    let key = FaultEndKey {
        code: 1006,
        after: false,
    };
    assert_eq!(totals.fault_ends(0), BTreeMap::from([(key, 3)]));
    let evicted = totals.histogram(Timer::Evicted, Some(0), Some(0));
    assert_eq!(evicted.len(), 3);
    assert_eq!(totals.count(Counter::Afflicted, Some(0), Some(0)), 4);
    assert_eq!(totals.histogram(Timer::Evicted, None, None).len(), 3);
    // The news of the one that was kept, with its frame's head.
    assert_eq!(totals.fault(0).map(|did| did.unread), Some(6));
    // 800 ms after they were accepted, which is at most 400 ms before they vanished.
    assert!(evicted.min() >= 390_000, "{} µs", evicted.min());
    assert_eq!(count(&totals, Counter::Cut), 4);
    assert_eq!(count(&totals, Counter::Reconnected), 4);
    assert_eq!(count(&totals, Counter::Unstamped), 0);
    assert_eq!(failures(&totals), BTreeMap::new());
    let held: Vec<u64> = totals.timeline().iter().map(|s| s.descriptors).collect();
    // Four that are back and one that vanished; and what each shard has beside.
    assert_eq!(held.first().map(|at| at - 8), Some(5), "{held:?}");
}

/// More connections than a turn takes events of: most are cut in a turn that has not read what has come for them.
fn with_something_unread(sent: Vec<u8>, how: &'static str) -> (Totals, Vec<End>) {
    const MANY: u32 = 100;
    let (tell, told) = mpsc::channel();
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        std::thread::sleep(Duration::from_millis(600));
        let _ = stream.write_all(&sent);
        let _ = tell.send(end_of(&mut stream));
    };
    let faults = format!(
        "for: 1500ms, faults: [{{ drop: {{ clients: some, share: 100%, how: {how}, after: 500ms }} }}] }}"
    );
    let text = raw(server(serve), MANY, "1500ms", ", close_timeout: 1s", "")
        .replace("for: 1500ms }", &faults);
    let totals = held_up(&text);
    let did = totals.fault(0).expect("it happened");
    assert!(did.first_ns > 1000 * MS, "not held up: {did:?}");
    assert_eq!(did.due, u64::from(MANY));
    (totals, told.iter().take(MANY as usize).collect())
}

#[test]
fn a_goodbye_that_has_come_before_the_cut_is_the_targets() {
    let (totals, ends) = with_something_unread(frame(8, &1012u16.to_be_bytes()), "reset");
    assert_eq!(ends, vec![End::Close(1012); 100]);
    assert_eq!(count(&totals, Counter::Cut), 0);
    assert_eq!(totals.fault(0).map(|did| did.touched), Some(0));
    let by_target = CloseKey {
        code: 1012,
        by_target: true,
        clean: true,
    };
    assert_eq!(
        totals.closes(None, None),
        BTreeMap::from([(by_target, 100)])
    );
}

/// A socket closed with bytes unread would send RST.
#[test]
fn a_fin_is_a_fin_also_with_messages_on_their_way() {
    let (totals, ends) = with_something_unread(frame(1, b"news"), "fin");
    assert_eq!(ends, vec![End::Fin; 100]);
    assert_eq!(count(&totals, Counter::Cut), 100);
    assert_eq!(count(&totals, Counter::Unstamped), 100);
}

/// Gates count cuts by phase exactly: a shard that was held up cuts late, but for the phase that planned it.
#[test]
fn a_late_cut_is_of_the_phase_that_planned_it() {
    let (serve, _told) = watched();
    let faults =
        "for: 600ms, faults: [{ drop: { clients: some, count: 2, how: reset, after: 500ms } }] }";
    let text = raw(server(serve), 3, "600ms", ", close_timeout: 1s", BACK)
        .replace("for: 600ms }", faults)
        .replace("generator:", "  - { name: next, for: 1s }\ngenerator:");
    let totals = held_up(&text);
    let did = totals.fault(0).expect("it happened");
    assert!(did.first_ns > 600 * MS, "not held up: {did:?}");
    assert_eq!(totals.count(Counter::Cut, Some(0), None), 2);
    assert_eq!(count(&totals, Counter::Cut), 2);
    assert_eq!(totals.count(Counter::Reconnected, Some(1), None), 2);
}

/// Ends a connection after a while, in this way.
fn ends_after(stream: &mut TcpStream, ms: u64, how: End) {
    std::thread::sleep(Duration::from_millis(ms));
    match how {
        End::Close(code) => {
            let _ = stream.write_all(&frame(8, &code.to_be_bytes()));
            let _ = end_of(stream);
        }
        // By being dropped.
        End::Fin => {}
        End::Reset => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        }
    }
}

#[test]
fn what_a_deploy_has_cut_is_told_from_what_was_before_after_and_again() {
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let serve = move |mut stream: TcpStream| {
        accept(&mut stream);
        match accepted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            // Before the deploy: it is back, and old, when that begins at 1 s.
            0 => ends_after(&mut stream, 200, End::Close(1001)),
            // During it, one with a goodbye and two without.
            1 => ends_after(&mut stream, 1500, End::Close(1001)),
            2 => ends_after(&mut stream, 1500, End::Reset),
            3 => ends_after(&mut stream, 1500, End::Fin),
            // Of those that came back one is cut again, at about 1.9 s, and one after the phase.
            5 => ends_after(&mut stream, 400, End::Reset),
            6 => ends_after(&mut stream, 1500, End::Close(1001)),
            _ => drop(end_of(&mut stream)),
        }
    };
    let text = raw(server(serve), 4, "1s", "", BACK).replace(
        "generator:",
        "  - { name: deploy, for: 1500ms, faults: [ { deploy: { run: [\"true\"] } } ] }\n  - { name: after, for: 1s }\ngenerator:",
    );
    let totals = run(&text);
    let in_deploy = |counter| {
        (
            totals.count(counter, Some(1), None),
            count(&totals, counter),
        )
    };
    for (counter, expected) in [
        (Counter::Old, 4),
        (Counter::Severed, 3),
        (Counter::Returned, 3),
        (Counter::CutAgain, 1),
    ] {
        assert_eq!(in_deploy(counter), (expected, expected), "{counter:?}");
    }
    assert_eq!(count(&totals, Counter::Reconnected), 6);
    let did = totals.fault(0).expect("it touched some");
    assert_eq!((did.due, did.touched), (3, 3));
    assert!(
        did.first_ns > 1_000 * MS && did.last_ns < 2_500 * MS,
        "{did:?}"
    );
    assert_eq!(totals.moved(0).map(|did| did.touched), Some(3));
    let mut ends: Vec<(u16, bool, u64)> = totals
        .drains(0)
        .map(|(key, n)| {
            assert!(key.endpoint == 0 && key.close.by_target);
            // Since the deploy's start, not the run's.
            assert!((1..15).contains(&key.tenth), "{key:?}");
            (key.close.code, key.close.clean, n)
        })
        .collect();
    ends.sort_unstable();
    assert_eq!(ends.iter().map(|(.., n)| n).sum::<u64>(), 3);
    assert!(
        ends.iter()
            .all(|(code, clean, _)| *clean == (*code == 1001))
    );
    // Two were reset in its phase, and one of them was old.
    assert_eq!(totals.failures(Some(Failure::Reset), Some(1), None), 2);
    let tcp: Vec<(u16, bool, TcpEnd, u64)> = totals
        .partings(0)
        .map(|(key, n)| {
            assert!(key.close.by_target, "{key:?}");
            (key.close.code, key.close.clean, key.tcp, n)
        })
        .collect();
    let expected = [
        (1001, true, TcpEnd::Fin, 1),
        (1006, false, TcpEnd::Fin, 1),
        (1006, false, TcpEnd::Reset, 1),
    ];
    assert_eq!(tcp, expected);
    let off = totals.histogram(Timer::CutOff, Some(1), None);
    assert_eq!(off.len(), 3);
    assert!(off.min() >= 49_000, "the backoff is a part of it");
    assert_eq!(totals.histogram(Timer::Drain, Some(1), None).len(), 3);
}
