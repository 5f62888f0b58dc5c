//! permessage-deflate against scripted servers: what is agreed, what is made of messages, and peers that do it badly.

use crate::bench::{accept_with, failures, frame, raw, read_to_end, read_whole_frame, run, server};
use squall::metrics::{Counter, Totals};
use squall::transport::ws::{Deflater, Inflater};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// The answer's header with this value.
fn answer(value: &str) -> String {
    format!("Sec-WebSocket-Extensions: {value}\r\n")
}

/// A server's frame of a message that was made smaller.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(1, payload);
    bytes[0] |= 0x40;
    bytes
}

/// Echoes texts, and remembers how many of them came smaller.
fn echo(mut stream: TcpStream, anew: (bool, bool), smaller: &AtomicU32) {
    // Of the largest window: it reads what any smaller one makes.
    let mut inflater = Inflater::new(15, anew.0);
    let mut deflater = Deflater::new(6, 9, anew.1);
    let (mut text, mut packed) = (Vec::new(), Vec::new());
    while let Some((first, payload)) = read_whole_frame(&mut stream) {
        let reply = match first {
            0xc1 => {
                smaller.fetch_add(1, Ordering::SeqCst);
                inflater.inflate(&payload, &mut text, 1 << 20).unwrap();
                assert!(deflater.deflate(&text, &mut packed));
                deflated(&packed)
            }
            0x88 => frame(8, &payload),
            _ => frame(first & 0x0f, &payload),
        };
        if stream.write_all(&reply).is_err() || first == 0x88 {
            return;
        }
    }
}

const ASKS: &str =
    "    request: { rate: 50/s, reply: stamp, size: 2KiB, timeout: 2s }\n    compression: ";

/// A run of two connections that ask, their request's header, and how many texts came smaller.
fn asked(value: &str, offer: &str, anew: (bool, bool)) -> (Totals, String, u32) {
    let smaller = Arc::new(AtomicU32::new(0));
    let head = Arc::new(Mutex::new(String::new()));
    let (count, kept) = (smaller.clone(), head.clone());
    let header = answer(value);
    let address = server(move |mut stream| {
        *kept.lock().unwrap() = accept_with(&mut stream, &header);
        echo(stream, anew, &count);
    });
    let totals = run(&raw(address, 2, "1s", "", &format!("{ASKS}{offer}\n")));
    let head = head.lock().unwrap().clone();
    (totals, head, smaller.load(Ordering::SeqCst))
}

#[test]
fn what_was_agreed_is_used_both_ways() {
    for (value, offer, anew, offered) in [
        (
            "permessage-deflate",
            "{}",
            (false, false),
            "permessage-deflate; client_max_window_bits\r\n",
        ),
        (
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=9; server_max_window_bits=9",
            "{ server_no_context_takeover: true, server_max_window_bits: 9, client_max_window_bits: 11, level: 1 }",
            (true, true),
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=11\r\n",
        ),
    ] {
        let (totals, head, smaller) = asked(value, offer, anew);
        assert!(head.contains(offered), "{head}");
        let n = |counter| totals.count(counter, None, None);
        assert_eq!(failures(&totals), [].into(), "{value}");
        assert_eq!((n(Counter::Opened), n(Counter::Compressed)), (2, 2));
        assert_eq!(n(Counter::Requests), n(Counter::Replies));
        assert_eq!(n(Counter::Requests), u64::from(smaller));
        // The filler of a payload is one character over and over.
        let bytes = n(Counter::Requests) * 2048;
        assert_eq!(n(Counter::InflatedSent), bytes);
        assert_eq!(n(Counter::InflatedReceived), bytes);
        for counter in [Counter::DeflatedSent, Counter::DeflatedReceived] {
            let small = n(counter);
            assert!(small > 0 && small < bytes / 8, "{} of {bytes}", small);
        }
        let wire = n(Counter::BytesSent);
        assert!(wire < bytes / 4, "{wire} of {bytes}");
    }
}

#[test]
fn a_target_may_decline_and_a_small_message_goes_as_it_is() {
    // The answer says nothing; or what is sent is below the threshold.
    for (value, offer, agreed) in [
        ("", "{}", 0),
        ("permessage-deflate", "{ threshold: 3KiB }", 2),
        // zlib cannot make a window of 8.
        ("permessage-deflate; client_max_window_bits=8", "{}", 2),
    ] {
        let (totals, _, smaller) = asked(value, offer, (false, false));
        let n = |counter| totals.count(counter, None, None);
        assert_eq!(smaller, 0);
        assert_eq!(failures(&totals), [].into());
        assert_eq!((n(Counter::Opened), n(Counter::Compressed)), (2, agreed));
        assert!(n(Counter::Replies) >= 40);
        assert_eq!(n(Counter::InflatedSent) + n(Counter::InflatedReceived), 0);
    }
}

#[test]
fn an_answer_that_was_not_offered_fails_the_opening() {
    for (value, offer) in [
        (
            "permessage-deflate; server_max_window_bits=12",
            "{ server_max_window_bits: 10 }",
        ),
        ("permessage-deflate", "{ server_no_context_takeover: true }"),
        ("x-webkit-deflate-frame", "{}"),
    ] {
        let (totals, ..) = asked(value, offer, (false, false));
        assert_eq!(failures(&totals), [("extension", 2)].into(), "{value}");
        assert_eq!(totals.count(Counter::Opened, None, None), 0);
    }
    // Nor may it be accepted by itself.
    let address = server(|mut stream| {
        accept_with(&mut stream, &answer("permessage-deflate"));
        read_to_end(&stream);
    });
    let totals = run(&raw(address, 1, "300ms", "", ""));
    assert_eq!(failures(&totals), [("extension", 1)].into());
}

/// Sends this to the first, and serves all others well; what the first is answered with, and what the run was like.
fn badly(bytes: Vec<u8>, offer: &str) -> (Vec<u8>, Totals) {
    let served = AtomicU32::new(0);
    let first = Arc::new(Mutex::new(Vec::new()));
    let (kept, served) = (first.clone(), Arc::new(served));
    let address = server(move |mut stream| {
        accept_with(&mut stream, &answer("permessage-deflate"));
        if served.fetch_add(1, Ordering::SeqCst) > 0 {
            return echo(stream, (false, false), &AtomicU32::new(0));
        }
        let _ = stream.write_all(&bytes);
        while let Some((first, payload)) = read_whole_frame(&mut stream) {
            if first == 0x88 {
                *kept.lock().unwrap() = payload;
            }
        }
    });
    let more = format!("{ASKS}{offer}\n    reconnect: {{ base: 20ms, cap: 40ms }}\n");
    let totals = run(&raw(address, 3, "1s", ", max_message: 64KiB", &more));
    let code = first.lock().unwrap().clone();
    (code, totals)
}

#[test]
fn a_bomb_is_counted_and_survived() {
    let mut bomb = Vec::new();
    assert!(Deflater::new(9, 15, true).deflate(&vec![b'a'; 32 << 20], &mut bomb));
    for (size, offer) in [(bomb.len(), "{}"), (100, "{ max_inflated: 4KiB }")] {
        // A small part of it will do where less is accepted.
        let (code, totals) = badly(deflated(&bomb[..size]), offer);
        assert_eq!(code, 1009u16.to_be_bytes());
        assert_eq!(failures(&totals), [("bomb", 1)].into());
        let n = |counter| totals.count(counter, None, None);
        assert_eq!(n(Counter::Oversized), 1);
        assert_eq!((n(Counter::Opened), n(Counter::Reconnected)), (4, 1));
        // Nothing of it was kept, and the others went on.
        assert!(n(Counter::InflatedReceived) < 400 * 2048);
        assert!(n(Counter::Replies) >= 40);
    }
}

#[test]
fn what_cannot_be_inflated_is_counted_and_survived() {
    let (code, totals) = badly(deflated(&[0xff; 20]), "{}");
    assert_eq!(code, 1007u16.to_be_bytes());
    assert_eq!(failures(&totals), [("deflate", 1)].into());
    assert_eq!(totals.count(Counter::Reconnected, None, None), 1);
    // What is inflated well, and is no text.
    let mut packed = Vec::new();
    assert!(Deflater::new(6, 15, true).deflate(&[0xff, 0xfe], &mut packed));
    let (code, totals) = badly(deflated(&packed), "{}");
    assert_eq!(code, 1007u16.to_be_bytes());
    assert_eq!(failures(&totals), [("protocol", 1)].into());
}
