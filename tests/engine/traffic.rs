//! Reconnects, churn, blocked writes and replies, against scripted servers.

use crate::bench::{
    accept, failures, frame, raw, read_frame, read_to_end, run, run_when_ready, server,
};
use squall::engine::Control;
use squall::metrics::{Counter, Timer};
use squall::protocol::Stamp;
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

/// Takes three seconds: one in which the kernel's buffers fill, and the others to show that all of it leaves.
#[test]
fn what_was_blocked_leaves_when_the_target_reads_again() {
    let address = server(|mut stream| {
        accept(&mut stream);
        std::thread::sleep(std::time::Duration::from_secs(1));
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if opcode == 8 {
                let _ = stream.write_all(&frame(8, &payload));
                return;
            }
        }
    });
    // 12 MiB in that second, more than the buffers of both ends hold.
    let text = format!(
        "name: test\ntarget: {{ url: \"ws://{address}/\", max_queue: 64MiB }}\nclients:\n  some:\n    count: 1\n    protocol: raw\n    \
         publish: {{ size: 60KiB, rate: 300/s, in: [only] }}\n\
         phases:\n  - {{ name: open, for: 300ms }}\n  - {{ name: only, for: 2s }}\ngenerator: {{ drain: 5s }}\n"
    );
    let totals = run(&text);
    let blocked = totals.timeline().iter().any(|second| second.blocked > 0);
    assert!(blocked, "the target's pause was no pause");
    assert_eq!(totals.count(Counter::Sent, None, None), 600);
    assert_eq!(totals.count(Counter::Dropped, None, None), 0);
    assert!(failures(&totals).is_empty(), "{:?}", failures(&totals));
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

#[test]
fn what_comes_between_the_close_frames_does_not_make_the_absence_a_loss() {
    let served = Arc::new(AtomicU32::new(0));
    let address = server(move |mut stream| {
        if served.fetch_add(1, Ordering::SeqCst) > 0 {
            return polite(stream);
        }
        // Echoes ten messages, and the eleventh only once it is told to close.
        accept(&mut stream);
        let (mut echoed, mut kept) = (0, Vec::new());
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            match opcode {
                8 => {
                    let _ = stream.write_all(&[kept, frame(8, &payload)].concat());
                    return;
                }
                _ if echoed < 10 => stream.write_all(&frame(opcode, &payload)).unwrap(),
                _ if echoed == 10 => kept = frame(opcode, &payload),
                _ => {}
            }
            echoed += 1;
        }
    });
    let more = "    lifetime: { fixed: 300ms }\n    publish: { rate: 100/s, size: 64B }\n";
    let totals = run(&raw(address, 1, "800ms", "", more));
    assert!(totals.count(Counter::Churned, None, None) > 0);
    assert!(totals.count(Counter::Missed, None, None) > 5);
    assert_eq!(
        totals.count(Counter::Lost, None, None),
        0,
        "passed over while it was away"
    );
}

#[test]
fn a_life_that_ends_with_the_run_gives_nothing_up() {
    let address = server(|mut stream| {
        accept(&mut stream);
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if opcode == 8 {
                std::thread::sleep(std::time::Duration::from_millis(200));
                let _ = stream.write_all(&frame(8, &payload));
                return;
            }
        }
    });
    // Closed at 400 ms, answered at 600 ms: an unanswered request keeps the drain waiting until then.
    let more = "    lifetime: { fixed: 400ms }\n    reconnect: { base: 2s, backoff: no_jitter }\n    \
                request: { send: \"{payload}\", reply: stamp, size: 64B, rate: 20/s, timeout: 5s }\n";
    let totals = run(&raw(address, 1, "500ms", "", more));
    assert_eq!(totals.count(Counter::GaveUp, None, None), 0);
    assert_eq!(totals.count(Counter::Opened, None, None), 1);
}

#[test]
fn who_is_told_to_stop_opens_nothing_more() {
    let address = server(polite);
    let more = "    publish: { rate: 1000/s, size: 64B }\n";
    let totals = run_when_ready(&raw(address, 3, "300ms", "", more), || Control::Stop);
    assert_eq!(totals.count(Counter::Attempts, None, None), 0);
    assert_eq!(totals.count(Counter::Sent, None, None), 0);
}

#[test]
fn pings_of_a_target_that_reads_nothing_cost_no_memory() {
    const PINGS: usize = 200_000;
    let address = server(|mut stream| {
        accept(&mut stream);
        let pings = frame(9, &[b'p'; 125]).repeat(1000);
        for _ in 0..PINGS / 1000 {
            if stream.write_all(&pings).is_err() {
                return;
            }
        }
        std::thread::park_timeout(std::time::Duration::from_secs(5));
    });
    let totals = run(&raw(
        address,
        1,
        "3s",
        ", close_timeout: 200ms, max_queue: 64KiB",
        "",
    ));
    let received = totals.count(Counter::BytesReceived, None, None);
    assert!(received > PINGS as u64 * 127, "{received} bytes of pings");
    // What the kernel's buffers hold was answered, and little more.
    let answered = totals.count(Counter::PingsAnswered, None, None);
    assert!(
        answered > 0 && answered < PINGS as u64 * 3 / 4,
        "{answered} pings answered"
    );
}

#[test]
fn a_stamp_of_a_stream_that_nobody_publishes_is_not_believed() {
    let address = server(|mut stream| {
        accept(&mut stream);
        // Of connection 1, which only listens.
        let forged = Stamp {
            run: 7,
            stream: 1,
            ..Stamp::default()
        };
        let _ = stream.write_all(&frame(1, &forged.text()));
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if opcode == 8 {
                let _ = stream.write_all(&frame(8, &payload));
                return;
            }
        }
    });
    let totals = run(&format!(
        "name: test\ntarget: {{ url: \"ws://{address}/\" }}\nclients:\n  \
         talkers: {{ count: 1, protocol: raw, publish: {{ rate: 10/s, size: 64B }} }}\n  \
         listeners: {{ count: 1, protocol: raw }}\n\
         phases:\n  - {{ name: only, for: 300ms }}\ngenerator: {{ drain: 100ms }}\n"
    ));
    assert_eq!(totals.count(Counter::Received, None, None), 0);
    assert_eq!(totals.count(Counter::Misrouted, None, None), 2);
}

#[test]
fn a_value_with_quotes_does_not_break_a_json_message() {
    let (tell, told) = std::sync::mpsc::channel();
    let address = server(move |mut stream| {
        accept(&mut stream);
        tell.send(read_frame(&mut stream)).unwrap();
        read_to_end(&stream);
    });
    let text = format!(
        "name: test\ntarget: {{ url: \"ws://{address}/\", close_timeout: 100ms }}\nclients:\n  some:\n    count: 1\n    \
         vars: {{ user: {{ cycle: ['al\"ice\\'] }} }}\n    on_open: [ {{ send: '{{\"user\":\"{{user}}\"}}' }} ]\n\
         phases:\n  - {{ name: only, for: 300ms }}\ngenerator: {{ drain: 100ms }}\n"
    );
    run(&text);
    let (_, sent) = told.recv().unwrap().unwrap();
    assert_eq!(String::from_utf8(sent).unwrap(), r#"{"user":"al\"ice\\"}"#);
}
