//! Openings that begin with a handshake by polling, against a server whose every byte the test decides.

use crate::bench::{accept_with, failures, frame, read_frame, read_head, read_to_end, run, server};
use squall::metrics::{Counter, Totals};
use std::io::Write;
use std::net::{Shutdown, SocketAddr};

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
