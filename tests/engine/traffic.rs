//! Reconnects, churn, blocked writes and replies, against scripted servers.

use crate::bench::{accept, failures, frame, raw, read_frame, read_to_end, run, server};
use squall::metrics::{Counter, Timer};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Answers Close, ping and echoes everything else until the end.
fn polite(mut stream: std::net::TcpStream) {
    accept(&mut stream);
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        let reply = match opcode {
            9 => frame(10, &payload),
            other => frame(other, &payload),
        };
        if stream.write_all(&reply).is_err() || opcode == 8 {
            return;
        }
    }
}

#[test]
fn a_lost_connection_comes_back_by_its_policy() {
    let served = Arc::new(AtomicU32::new(0));
    let counter = served.clone();
    let address = server(move |mut stream| {
        // The first two are dropped once open, the next two refused, then all is well.
        match counter.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => accept(&mut stream),
            2 | 3 => {}
            _ => polite(stream),
        }
    });
    let reconnect = "    reconnect: { backoff: no_jitter, base: 40ms, cap: 1s }\n";
    let totals = run(&raw(address, 2, "1500ms", "", reconnect));
    assert_eq!(served.load(Ordering::SeqCst), 6);
    assert_eq!(totals.count(Counter::Attempts, None, None), 6);
    assert_eq!(totals.count(Counter::Opened, None, None), 4);
    assert_eq!(totals.count(Counter::Reconnected, None, None), 2);
    let back = totals.histogram(Timer::Reconnect, None, None);
    // 40 ms, then a failed attempt, then 80 ms: the formula without jitter, never early.
    assert!(
        back.len() == 2 && back.min() >= 119_000,
        "{} µs",
        back.min()
    );
}

#[test]
fn attempts_are_bounded() {
    let address = server(drop);
    let totals = run(&raw(
        address,
        3,
        "800ms",
        "",
        "    reconnect: { backoff: no_jitter, base: 10ms, attempts: 4 }\n",
    ));
    assert_eq!(totals.count(Counter::Attempts, None, None), 3 * 5);
    assert_eq!(totals.count(Counter::GaveUp, None, None), 3);
}

#[test]
fn churn_replaces_connections_and_fails_nobody() {
    let address = server(polite);
    let totals = run(&raw(
        address,
        4,
        "1s",
        "",
        "    lifetime: { fixed: 200ms }\n",
    ));
    let churned = totals.count(Counter::Churned, None, None);
    assert!(
        (12..=20).contains(&churned),
        "{churned} of four connections a second at 200 ms"
    );
    assert_eq!(totals.count(Counter::Opened, None, None), 4 + churned);
    assert_eq!(totals.count(Counter::Reconnected, None, None), 0);
    assert!(failures(&totals).is_empty(), "{:?}", failures(&totals));
}

#[test]
fn a_blocked_write_parks_its_connection_and_not_the_shard() {
    let first = Arc::new(AtomicU32::new(0));
    let address = server(move |mut stream| {
        if first.fetch_add(1, Ordering::SeqCst) == 0 {
            // Upgraded, and never read again.
            accept(&mut stream);
            std::thread::park_timeout(std::time::Duration::from_secs(10));
        } else {
            polite(stream);
        }
    });
    // 2 × 100/s × 64 KiB: the kernel's buffers of the silent one are full within the first second.
    let text = format!(
        "name: test\ntarget: {{ url: \"ws://{address}/\", close_timeout: 200ms, max_queue: 1MiB }}\nclients:\n  some:\n    count: 2\n    protocol: raw\n    \
         request: {{ send: \"{{payload}}\", reply: stamp, size: 60KiB, rate: 200/s, timeout: 300ms }}\n\
         phases:\n  - {{ name: only, for: 3s }}\ngenerator: {{ drain: 500ms }}\n"
    );
    let totals = run(&text);
    let (replies, timeouts) = (
        totals.count(Counter::Replies, None, None),
        totals.count(Counter::RequestTimeouts, None, None),
    );
    let dropped = totals.count(Counter::RequestsDropped, None, None);
    assert!(dropped > 0, "the silent one's queue is bounded");
    assert!(timeouts > 0);
    // Every second request is the other connection's; few of the first may have gone before it was open.
    assert!(
        (280..=300).contains(&replies),
        "{replies} replies, {timeouts} timeouts, {dropped} dropped"
    );
}

#[test]
fn steps_capture_what_later_steps_send() {
    let address = server(|mut stream| {
        accept(&mut stream);
        let _ = stream.write_all(&frame(1, br#"{"type":"hello","session":{"id":"s-77"}}"#));
        let Some((1, asked)) = read_frame(&mut stream) else {
            return;
        };
        if asked == br#"{"resume":"s-77"}"# {
            let _ = stream.write_all(&frame(1, br#"{"type":"welcome"}"#));
        }
        read_to_end(&stream);
    });
    let steps = r#"    on_open:
      - expect: { pointer: /type, equals: hello, within: 2s, capture: { session: /session/id } }
      - pause: 20ms
      - send: '{"resume":"{session}"}'
      - expect: { contains: welcome, within: 2s }
"#;
    let totals = run(&raw(address, 2, "500ms", ", close_timeout: 100ms", steps));
    assert_eq!(totals.count(Counter::Opened, None, None), 2);
    assert!(
        totals.histogram(Timer::Ready, None, None).min() >= 20_000,
        "the pause is part of becoming ready"
    );
    let totals = run(&raw(
        address,
        2,
        "500ms",
        "",
        &steps.replace("hello,", "goodbye,").replace("2s", "100ms"),
    ));
    assert_eq!(failures(&totals).get("step"), Some(&2));
}
