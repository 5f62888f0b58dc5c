//! What a connection takes from the answer to its upgrade: the node, variables, cookies; whatever the target says.

use crate::bench::{accept_with, failures, frame, raw, read_frame, run, server};
use squall::metrics::{Counter, NodeName, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

const AGAIN: &str = "    reconnect: { backoff: constant, base: 60s, codes: { 4000: now } }\n";

/// What the connections said that came, one after the other: request header, and first message where they send one.
type Heard = Arc<Mutex<Vec<String>>>;

/// Answers connection n with the n-th headers, and closes it by 4000; from the last on they stay.
fn answering(headers: Vec<String>) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let tell = Arc::clone(&heard);
    let address = server(move |mut stream| {
        let n = {
            // The lock is held until the request is heard, so that they come one after the other.
            let mut heard = tell.lock().unwrap();
            let n = heard.len().min(headers.len() - 1);
            let head = accept_with(&mut stream, &headers[n]);
            heard.push(head);
            n
        };
        if n + 1 < headers.len() {
            let _ = stream.write_all(&frame(8, &4000u16.to_be_bytes()));
            read_frame(&mut stream);
        } else {
            stay(stream);
        }
    });
    (address, heard)
}

fn stay(mut stream: TcpStream) {
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        if opcode == 8 {
            let _ = stream.write_all(&frame(8, &payload));
            return;
        }
    }
}

fn one(address: SocketAddr, target: &str, group: &str) -> Totals {
    run(&raw(
        address,
        1,
        "500ms",
        target,
        &format!("{group}{AGAIN}"),
    ))
}

fn named(names: &[(&str, u64)]) -> BTreeMap<NodeName, u64> {
    let named = |(name, n): &(&str, u64)| match *name {
        "" => (NodeName::Untold, *n),
        name => (NodeName::Named(name.into()), *n),
    };
    names.iter().map(named).collect()
}

#[test]
fn openings_are_counted_by_node_and_moves_only_between_known_ones() {
    let node = |name: &str| format!("x-node: {name}\r\n");
    let long = node(&"x".repeat(201));
    let (address, _) = answering(vec![
        node("a"),
        node("b"),
        node("b\r\nX-Node: a"),
        String::new(),
        node("b"),
        long,
        node("a"),
        node("a"),
    ]);
    let totals = one(address, "", "    node: { header: X-Node }\n");
    assert_eq!(totals.count(Counter::Reconnected, None, None), 7);
    let expected = named(&[("a", 3), ("b", 3), ("", 2)]);
    assert_eq!(totals.nodes(None, None), expected);
    // a to b; and the last two, and b to the b that says a second thing.
    assert_eq!(totals.count(Counter::Moved, None, None), 1);
    assert_eq!(totals.count(Counter::Stayed, None, None), 2);
}

#[test]
fn a_message_can_tell_the_node_as_well() {
    let (address, _) = (
        server(|mut stream| {
            accept_with(&mut stream, "");
            let _ = stream.write_all(&frame(1, br#"{"type":"welcome","node":"\u001b[31mred"}"#));
            stay(stream);
        }),
        (),
    );
    let group = "    on_open: [{ expect: { pointer: /type, capture: { place: /node } } }]\n    node: { var: place }\n";
    let totals = one(address, "", group);
    // Whatever would drive a terminal is gone.
    assert_eq!(totals.nodes(None, None), named(&[("red", 1)]));
}

#[test]
fn a_connection_that_takes_anothers_place_did_not_move() {
    let (address, heard) = answering(vec![
        "X-Node: a\r\nSet-Cookie: lb=a\r\n".into(),
        "X-Node: b\r\nSet-Cookie: lb=b\r\n".into(),
        "X-Node: c\r\n".into(),
    ]);
    // It is closed once by the target, and once because its time is over.
    let group =
        "    node: { header: X-Node }\n    keep_cookies: true\n    lifetime: { fixed: 300ms }\n";
    let totals = one(address, "", group);
    assert_eq!(totals.count(Counter::Moved, None, None), 2);
    let heard = heard.lock().unwrap();
    assert!(heard.len() >= 4, "{heard:?}");
    assert_eq!(totals.count(Counter::Churned, None, None), 1);
    let cookie = |n: usize| heard[n].lines().find(|line| line.starts_with("Cookie"));
    let cookies: Vec<_> = (0..4).map(cookie).collect();
    assert_eq!(
        cookies,
        [None, Some("Cookie: lb=a"), Some("Cookie: lb=b"), None]
    );
}

#[test]
fn cookies_are_kept_only_where_wanted_and_go_over_those_given() {
    let set = "Set-Cookie: lb=n1; Path=/; HttpOnly\r\nSet-Cookie: \r\nset-cookie: id=8\r\n";
    let cookies = |group: &str| -> Vec<Option<String>> {
        let (address, heard) = answering(vec![set.into(), String::new(), String::new()]);
        let totals = one(address, ", cookies: { id: '7', lang: en }", group);
        assert_eq!(totals.count(Counter::Reconnected, None, None), 2);
        let heard = heard.lock().unwrap();
        let cookie = |head: &String| {
            let mut lines = head.lines().filter_map(|l| l.strip_prefix("Cookie: "));
            let first = lines.next().map(str::to_owned);
            assert_eq!(lines.next(), None, "{head}");
            first
        };
        heard.iter().map(cookie).collect()
    };
    let given = Some("id=7; lang=en".to_owned());
    let kept = Some("lang=en; lb=n1; id=8".to_owned());
    let expected = [given.clone(), kept.clone(), kept];
    assert_eq!(cookies("    keep_cookies: true\n"), expected);
    assert_eq!(cookies(""), [given.clone(), given.clone(), given]);
}

#[test]
fn a_header_becomes_a_variable_that_breaks_no_message() {
    let hostile = r#"a"b\c","admin":true,"x":"é"#;
    let told = Heard::default();
    let tell = Arc::clone(&told);
    let address = server(move |mut stream| {
        accept_with(&mut stream, &format!("X-Session: {hostile}\r\n"));
        if let Some((1, text)) = read_frame(&mut stream) {
            let text = String::from_utf8(text).unwrap();
            tell.lock().unwrap().push(text);
        }
        stay(stream);
    });
    let group = "    capture_headers: { session: x-session }\n    on_open: [{ send: '{\"session\":\"{session}\"}' }]\n";
    let text = raw(address, 1, "400ms", "", group).replace("protocol: raw", "protocol: json");
    let totals = run(&text);
    assert_eq!(totals.count(Counter::Opened, None, None), 1);
    let told = told.lock().unwrap();
    let message: serde_json::Value = serde_json::from_str(&told[0]).unwrap();
    assert_eq!(message, serde_json::json!({ "session": hostile }));
}

#[test]
fn an_answer_without_the_header_is_an_opening_that_failed() {
    for (headers, why) in [
        (String::new(), "x-session is not in the answer"),
        (
            format!("X-Session: {}\r\n", "x".repeat(1025)),
            "x-session is longer than 1024 bytes",
        ),
    ] {
        let (address, _) = answering(vec![headers]);
        let group = "    capture_headers: { session: X-Session }\n";
        let totals = run(&raw(address, 2, "400ms", "", group));
        assert_eq!(totals.count(Counter::Opened, None, None), 0);
        assert_eq!(failures(&totals), BTreeMap::from([("step", 2)]));
        let mut samples = totals.samples();
        assert!(
            samples.any(|(kind, text)| kind == "step" && text.contains(why)),
            "{why}"
        );
    }
}
