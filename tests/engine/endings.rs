//! Every way an open connection ends is told apart: close codes, FIN, RST, broken frames, silence.

use crate::bench::{
    accept, failures, frame, raw, read_frame, read_to_end, run, run_when_ready, server,
};
use squall::engine::Control;
use squall::metrics::{CloseKey, Counter, Timer};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

const TWO: u32 = 2;

/// Runs two connections against a server that upgrades and then does this.
fn after_upgrade(
    then: impl Fn(TcpStream) + Send + Sync + Clone + 'static,
    more: &str,
) -> squall::metrics::Totals {
    let address = server(move |mut stream| {
        accept(&mut stream);
        then(stream);
    });
    run(&raw(
        address,
        TWO,
        "500ms",
        ", max_message: 1KiB, close_timeout: 300ms",
        more,
    ))
}

fn closes(code: u16, by_target: bool, clean: bool) -> BTreeMap<CloseKey, u64> {
    BTreeMap::from([(
        CloseKey {
            code,
            by_target,
            clean,
        },
        u64::from(TWO),
    )])
}

#[test]
fn a_close_frame_is_answered_with_its_code_and_counted_as_the_targets() {
    let (tell, told) = mpsc::channel();
    let totals = after_upgrade(
        move |mut stream| {
            let _ = stream.write_all(&frame(8, &[&1012u16.to_be_bytes()[..], b"deploy"].concat()));
            tell.send(read_frame(&mut stream)).unwrap();
        },
        "",
    );
    assert_eq!(totals.closes(None, None), closes(1012, true, true));
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(
        told.recv().unwrap(),
        Some((8, 1012u16.to_be_bytes().to_vec()))
    );
    assert!(
        totals
            .samples()
            .any(|sample| sample == ("close 1012", "deploy"))
    );
}

#[test]
fn fin_and_rst_are_told_apart() {
    let totals = after_upgrade(|stream| drop(stream.shutdown(Shutdown::Write)), "");
    assert_eq!(failures(&totals), BTreeMap::from([("eof", 2)]));
    assert_eq!(totals.closes(None, None), closes(1006, true, false));
    let totals = after_upgrade(
        |stream| {
            let linger = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            nix::sys::socket::setsockopt(
                &stream.as_fd(),
                nix::sys::socket::sockopt::Linger,
                &linger,
            )
            .unwrap();
        },
        "",
    );
    assert_eq!(failures(&totals), BTreeMap::from([("reset", 2)]));
    assert_eq!(totals.closes(None, None), closes(1006, true, false));
}

#[test]
fn broken_frames_and_large_messages_are_answered_with_their_codes() {
    for (bytes, kind, code) in [
        (vec![0x81u8, 0x80, 0, 0, 0, 0], "protocol", 1002u16),
        (vec![0xc1, 0x00], "protocol", 1002),
        (frame(1, &[0xff, 0xfe]), "protocol", 1007),
        (frame(1, &[b'a'; 1025]), "too_large", 1009),
    ] {
        let (tell, told) = mpsc::channel();
        let totals = after_upgrade(
            move |mut stream| {
                let _ = stream.write_all(&bytes);
                tell.send(read_frame(&mut stream)).unwrap();
            },
            "",
        );
        assert_eq!(failures(&totals), BTreeMap::from([(kind, 2)]));
        assert_eq!(
            told.recv().unwrap(),
            Some((8, code.to_be_bytes().to_vec())),
            "{kind}"
        );
        assert_eq!(
            totals.count(Counter::Oversized, None, None),
            if kind == "too_large" { 2 } else { 0 }
        );
    }
}

#[test]
fn our_own_close_is_1000_and_clean_when_answered() {
    let totals = after_upgrade(
        |mut stream| {
            if let Some((8, code)) = read_frame(&mut stream) {
                let _ = stream.write_all(&frame(8, &code));
            }
        },
        "",
    );
    assert_eq!(totals.closes(None, None), closes(1000, false, true));
    assert_eq!(failures(&totals), BTreeMap::new());
}

#[test]
fn a_close_nobody_answers_times_out() {
    let totals = after_upgrade(|stream| drop(read_to_end(&stream)), "");
    assert_eq!(failures(&totals), BTreeMap::from([("close_timeout", 2)]));
    assert_eq!(totals.closes(None, None), closes(1006, false, false));
}

#[test]
fn pings_are_answered_with_their_payload() {
    let (tell, told) = mpsc::channel();
    let totals = after_upgrade(
        move |mut stream| {
            let _ = stream.write_all(&frame(9, b"are you there"));
            tell.send(read_frame(&mut stream)).unwrap();
        },
        "",
    );
    assert_eq!(told.recv().unwrap(), Some((10, b"are you there".to_vec())));
    assert_eq!(totals.count(Counter::PingsAnswered, None, None), 2);
}

#[test]
fn a_peer_without_the_right_pong_is_declared_dead_in_time() {
    for answer in [None, Some(&b"something else"[..])] {
        let totals = after_upgrade(
            move |mut stream| {
                while let Some((opcode, _)) = read_frame(&mut stream) {
                    if let (9, Some(wrong)) = (opcode, answer) {
                        let _ = stream.write_all(&frame(10, wrong));
                    }
                }
            },
            "    heartbeat: { every: 50ms, timeout: 150ms }\n",
        );
        assert_eq!(failures(&totals), BTreeMap::from([("dead", 2)]));
        assert_eq!(totals.histogram(Timer::Ping, None, None).len(), 0);
        let detect = totals.histogram(Timer::Detect, None, None);
        assert_eq!(detect.len(), 2);
        if answer.is_none() {
            // Counted from the last sign of life, which was before the ping; a timer never fires early.
            assert!(detect.min() >= 149_000, "{} µs", detect.min());
        }
    }
}

#[test]
fn answered_heartbeats_are_timed_and_kill_nobody() {
    let totals = after_upgrade(
        |mut stream| {
            while let Some((opcode, payload)) = read_frame(&mut stream) {
                let _ = match opcode {
                    9 => stream.write_all(&frame(10, &payload)),
                    8 => stream.write_all(&frame(8, &payload)),
                    _ => Ok(()),
                };
                if opcode == 8 {
                    return;
                }
            }
        },
        "    heartbeat: { every: 50ms, timeout: 5s }\n",
    );
    assert_eq!(failures(&totals), BTreeMap::new());
    let pings = totals.count(Counter::PingsSent, None, None);
    assert!(
        pings >= 6,
        "{pings} pings of two connections in half a second at 50 ms"
    );
    assert_eq!(totals.histogram(Timer::Ping, None, None).len(), pings);
}

#[test]
fn an_end_belongs_to_the_phase_it_came_in() {
    let address = server(|mut stream| {
        accept(&mut stream);
        // Nothing else happens in the second phase: this is what wakes the shard in it.
        std::thread::sleep(std::time::Duration::from_millis(400));
        let _ = stream.write_all(&frame(8, &1012u16.to_be_bytes()));
        read_to_end(&stream);
    });
    let text = raw(address, TWO, "250ms", ", close_timeout: 100ms", "")
        .replace("generator:", "  - { name: next, for: 450ms }\ngenerator:");
    let totals = run(&text);
    assert_eq!(totals.closes(Some(0), None), BTreeMap::new());
    assert_eq!(totals.count(Counter::BytesReceived, Some(1), None), 2 * 4);
}

#[test]
fn a_close_before_it_was_ready_is_an_opening_that_failed() {
    let totals = after_upgrade(
        |mut stream| {
            let _ = stream.write_all(&frame(8, &1008u16.to_be_bytes()));
            read_to_end(&stream);
        },
        "    on_open: [{ expect: { contains: welcome, within: 5s } }]\n",
    );
    assert_eq!(totals.count(Counter::Opened, None, None), 0);
    assert_eq!(failures(&totals), BTreeMap::from([("step", 2)]));
    assert_eq!(totals.closes(None, None), closes(1008, true, true));
}

#[test]
fn a_shard_that_was_held_up_blames_no_peer_whose_pong_is_there() {
    let address = server(|mut stream| {
        accept(&mut stream);
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            // Slow, so that nearly every connection waits for a pong at any moment.
            std::thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(&frame(if opcode == 9 { 10 } else { opcode }, &payload));
            if opcode == 8 {
                return;
            }
        }
    });
    // More connections than a turn takes events, so that timers fire before all pongs are read.
    let heartbeat = "    heartbeat: { every: 50ms, timeout: 300ms }\n";
    let totals = run_when_ready(&raw(address, 150, "1200ms", "", heartbeat), || {
        tokio::task::spawn_local(async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            std::thread::sleep(Duration::from_millis(500));
        });
        Control::Start {
            at: squall::engine::monotonic_ns(),
        }
    });
    assert_eq!(failures(&totals), BTreeMap::new());
}
