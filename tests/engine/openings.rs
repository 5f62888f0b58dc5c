//! Every way an opening fails has its own kind.

use crate::bench::{failures, raw, read_request, read_to_end, run, run_when_ready, server};
use squall::engine::{self, Control};
use squall::metrics::{Counter, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Three connections against a server that answers the upgrade with these bytes and ends the connection.
fn answered(answer: &'static str, target: &str) -> Totals {
    let address = server(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        read_to_end(&stream);
    });
    run(&raw(address, 3, "300ms", target, ""))
}

/// Openings that the target had no room for.
fn crowded(totals: &Totals) -> u32 {
    let steps = totals.steps().between(0, u64::MAX);
    steps.iter().map(|step| step.crowded).sum()
}

#[test]
fn each_bad_answer_to_the_upgrade_has_its_kind() {
    const GOOD: &str =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let long: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(20_000)).into_boxed_str());
    let wrong_key: &'static str = Box::leak(
        format!("{GOOD}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
            .into_boxed_str(),
    );
    let no_key: &'static str = Box::leak(format!("{GOOD}\r\n").into_boxed_str());
    for (answer, kind) in [
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater",
            "status",
        ),
        ("HTTP/1.1 301 Moved\r\nLocation: /there\r\n\r\n", "redirect"),
        ("garbage\r\n\r\n", "handshake"),
        ("", "eof"),
        ("HTTP/1.1 101 Switch", "eof"),
        (long, "header_too_large"),
        (wrong_key, "accept_key"),
        (no_key, "accept_key"),
    ] {
        let totals = answered(answer, "");
        let found = failures(&totals);
        // A missing accept header may be told as either; what matters is that it is not accepted.
        let kinds: Vec<_> = found.keys().copied().collect();
        assert!(
            kinds == [kind] || (answer == no_key && kinds == ["handshake"]),
            "{answer:.40}: {found:?}"
        );
        assert_eq!(found.values().sum::<u64>(), 3, "{answer:.40}");
        let no_room = answer.contains(" 503 ");
        assert_eq!(
            crowded(&totals),
            if no_room { 3 } else { 0 },
            "{answer:.40}"
        );
        assert_eq!(totals.count(Counter::Attempts, None, None), 3);
        assert_eq!(totals.count(Counter::Opened, None, None), 0);
        assert!(
            totals.closes(None, None).is_empty(),
            "never open, so never closed"
        );
    }
}

/// The run's 100 ms are over long before: none of them may be neither opened nor failed. Takes the timeout's second.
#[test]
fn openings_under_way_at_the_end_are_waited_for() {
    let turn = Arc::new(AtomicUsize::new(0));
    let address = server(move |mut stream| {
        // Every other one is answered when the run is over, the rest never.
        if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            std::thread::sleep(Duration::from_millis(400));
            crate::bench::accept(&mut stream);
        }
        read_to_end(&stream);
    });
    let target = ", connect_timeout: 1s, close_timeout: 100ms";
    let totals = run(&raw(
        address,
        6,
        "100ms",
        target,
        "    reconnect: { base: 1ms }\n",
    ));
    assert_eq!(totals.count(Counter::Attempts, None, None), 6);
    assert_eq!(totals.count(Counter::Opened, None, None), 3);
    // This server answers no Close frame either.
    let expected = BTreeMap::from([("close_timeout", 3), ("timeout", 3)]);
    assert_eq!(failures(&totals), expected);
    assert_eq!(totals.count(Counter::GaveUp, None, None), 0, "never lost");
}

#[test]
fn openings_that_a_late_shard_did_not_get_to_are_failures() {
    let address = server(|mut stream| {
        crate::bench::accept(&mut stream);
        read_to_end(&stream);
    });
    let text = raw(address, 100, "100ms", ", close_timeout: 100ms", "");
    // Told to start two seconds ago, it has one turn to open what it can.
    let totals = run_when_ready(&text, || Control::Start {
        at: engine::monotonic_ns() - 2_000_000_000,
    });
    let opened = totals.count(Counter::Opened, None, None);
    let late = failures(&totals)["timeout"];
    assert!(opened > 0 && late > 0, "{opened} and {late}");
    assert_eq!(opened + late, 100);
    assert_eq!(totals.count(Counter::Attempts, None, None), 100);
}

#[test]
fn statuses_are_counted_by_number() {
    let totals = answered("HTTP/1.1 429 Slow down\r\n\r\n", "");
    assert_eq!(totals.statuses(None, None), BTreeMap::from([(429, 3)]));
    assert_eq!(crowded(&totals), 3);
}

#[test]
fn a_subprotocol_that_was_not_picked_fails() {
    let address = server(|mut stream| {
        crate::bench::accept(&mut stream);
        read_to_end(&stream);
    });
    let totals = run(&raw(address, 2, "300ms", ", subprotocols: [chat]", ""));
    assert_eq!(failures(&totals), BTreeMap::from([("subprotocol", 2)]));
}

#[test]
fn nobody_listening_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let totals = run(&raw(address, 4, "300ms", "", ""));
    assert_eq!(failures(&totals), BTreeMap::from([("refused", 4)]));
    assert_eq!(crowded(&totals), 4);
}

#[test]
fn a_target_that_never_answers_times_out() {
    let address = server(|mut stream| {
        read_request(&mut stream);
        read_to_end(&stream);
    });
    let totals = run(&raw(address, 2, "600ms", ", connect_timeout: 200ms", ""));
    assert_eq!(failures(&totals), BTreeMap::from([("timeout", 2)]));
}

#[test]
fn a_reset_while_opening_is_a_reset() {
    let address = server(|mut stream| {
        read_request(&mut stream);
        let socket = nix::sys::socket::sockopt::Linger;
        nix::sys::socket::setsockopt(
            &stream.as_fd(),
            socket,
            &libc::linger {
                l_onoff: 1,
                l_linger: 0,
            },
        )
        .unwrap();
    });
    let totals = run(&raw(address, 2, "300ms", "", ""));
    assert_eq!(failures(&totals), BTreeMap::from([("reset", 2)]));
}
