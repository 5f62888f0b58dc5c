//! Openings that begin with a handshake by polling, against a server whose every byte the test decides.

use crate::bench::{accept_with, failures, frame, read_frame, read_head, read_to_end, run, server};
use squall::metrics::{Counter, Totals};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OPEN: &str = r#"0{"sid":"Ab-1_","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100}"#;

fn scenario(address: SocketAddr, more: &str) -> String {
    format!(
        "name: test
target: {{ url: 'ws://{address}/', connect_timeout: 1s }}
clients:
  some: {{ count: 2, subscribe: [t], protocol: {{ socket_io: {{ polling: handshake }} }}{more} }}
phases: [ {{ name: only, for: 300ms }} ]
generator: {{ drain: 200ms }}
"
    )
}

/// Connections against a server that answers the poll with these bytes and ends its side.
fn answered(answer: String) -> Totals {
    let address = server(move |mut stream| {
        let head = read_head(&mut stream);
        assert!(
            head.starts_with("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n"),
            "{head}"
        );
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        read_to_end(&stream);
    });
    run(&scenario(address, ""))
}

fn ok(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn each_bad_answer_to_the_poll_has_its_kind() {
    for (answer, kind) in [
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno".to_owned(),
            "status",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), "status"),
        (String::new(), "eof"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0{".into(),
            "eof",
        ),
        ("garbage\r\n\r\n".into(), "handshake"),
        (
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(20_000)),
            "header_too_large",
        ),
        (ok("", "hello"), "handshake"),
        (ok("", "0{}"), "handshake"),
        (ok("", &OPEN.replace("Ab-1_", "a&b=c d")), "handshake"),
        (ok("", &format!("{OPEN}\u{1e}2")), "handshake"),
        (
            ok("", &OPEN.replace("Ab", &"b".repeat(20_000))),
            "handshake",
        ),
        (ok("Connection: close\r\n", OPEN), "handshake"),
        (ok("", OPEN) + "HTTP/1.1 200 OK\r\n", "handshake"),
        // After a good one the upgrade is asked for, and nobody answers.
        (ok("", OPEN), "eof"),
    ] {
        let totals = answered(answer.clone());
        let found = failures(&totals);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [(kind, 2)],
            "{answer:.60}"
        );
        assert_eq!(totals.count(Counter::Opened, None, None), 0);
    }
}

#[test]
fn the_upgrade_is_of_what_was_polled_and_brings_its_cookie() {
    let address = server(|mut stream| {
        read_head(&mut stream);
        // In pieces, as chunks, and byte by byte.
        let (one, two) = OPEN.split_at(20);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: node=a; Path=/\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
            one.len(),
            two.len()
        );
        let _ = stream.set_nodelay(true);
        for byte in answer.as_bytes() {
            let _ = stream.write_all(&[*byte]);
        }
        let head = accept_with(&mut stream, "");
        let line = "GET /socket.io/?EIO=4&transport=websocket&sid=Ab-1_ HTTP/1.1\r\n";
        assert!(
            head.starts_with(line) && head.contains("Cookie: node=a\r\n"),
            "{head}"
        );
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            let text = String::from_utf8_lossy(&payload).into_owned();
            let answer = match &*text {
                "2probe" => "3probe",
                "5" | "41" => continue,
                "40" => r#"40{"sid":"s"}"#,
                r#"421["subscribe","t"]"# => "431[]",
                _ if opcode == 8 => {
                    let _ = stream.write_all(&frame(8, &payload));
                    return;
                }
                other => panic!("{other}"),
            };
            let _ = stream.write_all(&frame(1, answer.as_bytes()));
        }
    });
    let totals = run(&scenario(address, ", keep_cookies: true"));
    assert_eq!(failures(&totals).into_iter().collect::<Vec<_>>(), []);
    assert_eq!(totals.count(Counter::Opened, None, None), 2);
    assert_eq!(totals.count(Counter::Errors, None, None), 0);
}

/// The GET that is held when the probe is answered brings the last acknowledgement: without waiting for it nobody is subscribed.
#[test]
fn the_websocket_waits_for_the_get_that_is_held() {
    let wait = |flag: &AtomicBool| {
        while !flag.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // What was posted, over all of the one client's connections; and what was heard over the WebSocket before the GET was answered.
    let posted = Arc::new(Mutex::new(String::new()));
    let flags = [(); 4].map(|()| Arc::new(AtomicBool::new(false)));
    let [asked, subscribed, probed, released] = flags.clone();
    let early = Arc::new(AtomicBool::new(false));
    let was_early = Arc::clone(&early);
    let address = server(move |mut stream| {
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                return;
            }
            let mut said = |body: &str| stream.write_all(ok("", body).as_bytes());
            if head.contains("Upgrade: websocket") {
                let key = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
                let accept = squall::transport::handshake::accept_key(key.unwrap());
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                break;
            } else if head.starts_with("POST") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "));
                let mut body = vec![0; length.unwrap().parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                let mut posted = posted.lock().unwrap();
                posted.push_str(&String::from_utf8(body).unwrap());
                asked.store(posted.contains("40"), Ordering::SeqCst);
                subscribed.store(posted.contains("421["), Ordering::SeqCst);
                let _ = stream.write_all(ok("", "ok").as_bytes());
            } else if !head.contains("&sid=") {
                let _ = said(OPEN);
            } else if !subscribed.load(Ordering::SeqCst) {
                wait(&asked);
                let _ = said(r#"40{"sid":"s"}"#);
                wait(&subscribed);
            } else {
                wait(&probed);
                std::thread::sleep(Duration::from_millis(100));
                released.store(true, Ordering::SeqCst);
                let _ = said("431[]\u{1e}6");
            }
        }
        while let Some((opcode, payload)) = read_frame(&mut stream) {
            if payload == b"2probe" {
                wait(&subscribed);
                probed.store(true, Ordering::SeqCst);
                let _ = stream.write_all(&frame(1, b"3probe"));
            } else if !released.load(Ordering::SeqCst) {
                was_early.store(true, Ordering::SeqCst);
            } else if opcode == 8 {
                let _ = stream.write_all(&frame(8, &payload));
                return;
            }
        }
    });
    let text = scenario(address, "").replace("count: 2", "count: 1");
    let text = text
        .replace("polling: handshake", "polling: upgrade")
        .replace("for: 300ms", "for: 1s");
    let totals = run(&text);
    assert!(!early.load(Ordering::SeqCst), "it did not wait");
    assert_eq!(failures(&totals).into_iter().collect::<Vec<_>>(), []);
    for counter in [Counter::Opened, Counter::Polled, Counter::Upgraded] {
        assert_eq!(totals.count(counter, None, None), 1, "{counter:?}");
    }
}
