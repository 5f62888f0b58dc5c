//! Frames by table and by property, and conversations.

use super::frame::{Decoder, MAX_HEADERS, Writer};
use super::*;
use crate::protocol::session::{
    Event, Field, Form, Introduction, Outgoing, Publish, Rhythm, Violation,
};
use proptest::prelude::*;
use std::time::Duration;

mod conversation;

type Read = (String, Vec<(String, String)>, Vec<u8>);

/// Reads all, in pieces of that many bytes; never keeping more than is allowed.
fn read(
    bytes: &[u8],
    step: usize,
    version: Option<Version>,
    max: usize,
) -> Result<Vec<Read>, (Vec<Read>, Violation)> {
    let mut decoder = Decoder::default();
    let mut all = Vec::new();
    for mut piece in bytes.chunks(step) {
        loop {
            match decoder.next(&mut piece, version, max) {
                Ok(Some(frame)) => {
                    let headers = frame.headers();
                    let headers =
                        headers.map(|(name, value)| (name.into_owned(), value.into_owned()));
                    all.push((
                        frame.command.to_owned(),
                        headers.collect(),
                        frame.body.to_vec(),
                    ));
                }
                Ok(None) => break,
                Err(violation) => return Err((all, violation)),
            }
        }
        assert!(piece.is_empty());
        assert!(decoder.memory() <= max, "{} bytes kept", decoder.memory());
    }
    Ok(all)
}

fn write(
    command: &str,
    headers: &[(String, String)],
    body: &[u8],
    version: Option<Version>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut frame = Writer::new(command, version, &mut out);
    for (name, value) in headers {
        frame.header(name, &[value]);
    }
    frame.body(body);
    out
}

fn headers(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn frames_are_read_however_they_are_cut() {
    let v10 = Some(Version::V1_0);
    let v11 = Some(Version::V1_1);
    let v12 = Some(Version::V1_2);
    let frame = |command: &str, of: &[(&str, &str)], body: &[u8]| {
        (command.to_owned(), headers(of), body.to_vec())
    };
    let table: [(&[u8], Option<Version>, Vec<Read>); 13] = [
        (b"", v12, vec![]),
        (b"\n\r\n\n", v12, vec![]),
        (
            b"RECEIPT\nreceipt-id:7\n\n\0",
            v12,
            vec![frame("RECEIPT", &[("receipt-id", "7")], b"")],
        ),
        // What RabbitMQ does.
        (
            b"A\n\n\0\nB\n\n\0\n",
            v12,
            vec![frame("A", &[], b""), frame("B", &[], b"")],
        ),
        (
            b"A\r\nx:1\r\n\r\nbody\0\r\n",
            v12,
            vec![frame("A", &[("x", "1")], b"body")],
        ),
        (
            b"A\nx:1\r\n\nbody\0",
            v11,
            vec![frame("A", &[("x", "1\r")], b"body")],
        ),
        (
            b"CONNECTED\r\nversion:1.2\r\n\r\n\0",
            None,
            vec![frame("CONNECTED", &[("version", "1.2")], b"")],
        ),
        (
            b"A\ncontent-length:3\n\n\0\n\0\0",
            v12,
            vec![frame("A", &[("content-length", "3")], b"\0\n\0")],
        ),
        // The first of repeated headers counts; those behind it are there all the same.
        (
            b"A\ncontent-length:1\ncontent-length:9\n\nx\0",
            v12,
            vec![frame(
                "A",
                &[("content-length", "1"), ("content-length", "9")],
                b"x",
            )],
        ),
        (
            b"A\nx:a\\c\\n\\r\\\\b\n\n\0",
            v12,
            vec![frame("A", &[("x", "a:\n\r\\b")], b"")],
        ),
        (
            b"A\nx:a\\c\\n\\\\b\n\n\0",
            v11,
            vec![frame("A", &[("x", "a:\n\\b")], b"")],
        ),
        (
            b"A\nx:a:\\c\\t\n\n\0",
            v10,
            vec![frame("A", &[("x", "a:\\c\\t")], b"")],
        ),
        (
            b"CONNECTED\nsession:a:\\t\n\n\0",
            v12,
            vec![frame("CONNECTED", &[("session", "a:\\t")], b"")],
        ),
    ];
    for (bytes, version, expected) in table {
        for step in [usize::MAX, 1, 2, 3, 5] {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(
                read(bytes, step, version, 1000),
                Ok(expected.clone()),
                "{text:?} by {step}"
            );
        }
    }
}

#[test]
fn what_is_no_frame_is_refused_and_what_is_too_long() {
    let v12 = Some(Version::V1_2);
    let many = format!("A\n{}\n\0", "x:1\n".repeat(MAX_HEADERS + 1));
    let long_head = format!("A\nx:{}\n\n\0", "x".repeat(frame::MAX_HEAD));
    let endless = "x".repeat(40_000);
    let long_body = format!("A\n\n{}\0", "x".repeat(40_000));
    let table: [(&[u8], &str); 12] = [
        (b"A\nno colon\n\n\0", "no colon"),
        (b"A\nx:\\t\n\n\0", "escape"),
        (b"A\nx:\\\n\n\0", "escape"),
        (b"A\n\xff:1\n\n\0", "UTF-8"),
        (b"A\0\n\n\0", "within its headers"),
        (b"A\ncontent-length:2\n\nabc\0", "no NUL"),
        (b"A\ncontent-length:-1\n\n\0", "not a number"),
        (
            b"A\ncontent-length:99999999999999999999999999\n\n",
            "too long",
        ),
        (many.as_bytes(), "too many headers"),
        (long_head.as_bytes(), "headers are too long"),
        (endless.as_bytes(), "headers are too long"),
        (long_body.as_bytes(), "a frame is too long"),
    ];
    for (bytes, expected) in table {
        for step in [usize::MAX, 1, 7, 4096] {
            let Err((before, Violation(why))) = read(bytes, step, v12, 30_000) else {
                panic!("{expected} by {step}: nothing is wrong");
            };
            assert!(
                before.is_empty() && why.contains(expected),
                "{why} for {expected}"
            );
        }
    }
    // An escape of 1.2 is none of 1.1.
    assert!(read(b"A\nx:\\r\n\n\0", 9, Some(Version::V1_1), 100).is_err());
}

#[test]
fn the_longest_frame_is_as_long_as_allowed() {
    for body in ["A\n\nxxxxx\0", "A\ncontent-length:5\n\nxxxxx\0"] {
        for step in [usize::MAX, 1, 3] {
            let whole = body.as_bytes();
            assert_eq!(read(whole, step, None, whole.len()).unwrap().len(), 1);
            assert!(read(whole, step, None, whole.len() - 1).is_err());
        }
    }
}

#[test]
fn a_header_cannot_smuggle_another_nor_end_the_frame() {
    let evil = headers(&[("login", "me\nhost:evil\0\r\n\n"), ("a:b", "c")]);
    for version in [None, Some(Version::V1_0)] {
        let bytes = write("CONNECT", &evil, b"", version);
        let all = read(&bytes, 4, version, 1000).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(
            all[0].1[..2],
            headers(&[("login", "mehost:evil"), ("ab", "c")])
        );
    }
    let bytes = write("SEND", &evil, b"", Some(Version::V1_2));
    let all = read(&bytes, 4, Some(Version::V1_2), 1000).unwrap();
    assert_eq!(
        all[0].1[..2],
        headers(&[("login", "me\nhost:evil\r\n\n"), ("a:b", "c")])
    );
}

fn any_version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL.to_vec())
}

/// What a version can say in a header.
fn text_of(version: Version) -> &'static str {
    match version {
        Version::V1_0 => "[^\\x00\\n\\r]{0,12}",
        _ => "[^\\x00]{0,12}",
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        (version, of) in any_version().prop_flat_map(|version| {
            let name = if version == Version::V1_0 { "[^\\x00\\n\\r:]{1,9}" } else { "[^\\x00]{1,9}" };
            (Just(version), prop::collection::vec((name, text_of(version)), 0..9))
        }),
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..4),
        step in 1..40usize,
    ) {
        let version = Some(version);
        let of: Vec<_> = of.into_iter().filter(|(name, _)| name != "content-length").collect();
        let mut bytes = Vec::new();
        for body in &bodies {
            bytes.extend(write("MESSAGE", &of, body, version));
            bytes.push(b'\n');
        }
        let all = read(&bytes, step, version, 4000).unwrap();
        prop_assert_eq!(all.len(), bodies.len());
        for ((command, headers, body), expected) in all.into_iter().zip(bodies) {
            prop_assert_eq!(command, "MESSAGE");
            prop_assert_eq!(&headers[..of.len()], &of[..]);
            prop_assert_eq!(body, expected);
        }
    }

    #[test]
    fn hostile_bytes_are_told_alike_however_they_are_cut(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                &b"A"[..], b"\n", b"\n\n", b"\r\n", b"\r", b"\0", b":", b"x:y\n", b"content-length:3\n", b"content-length:",
                b"12", b"\\", b"\\n", b"\xff", b"CONNECTED\nversion:1.2\n\n\0", b"MESSAGE\n\n", b"body of some length",
            ]), 0..30),
        version in prop::option::of(any_version()),
        step in 1..20usize,
        max in 1..80usize,
    ) {
        let bytes = parts.concat();
        prop_assert_eq!(read(&bytes, step, version, max), read(&bytes, usize::MAX, version, max));
    }

    #[test]
    fn a_hostile_server_never_makes_a_session_panic(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
        commands in prop::collection::vec(
            (prop::sample::select(vec!["MESSAGE", "RECEIPT", "ERROR", "CONNECTED", "NONSENSE"]),
             prop::collection::vec((prop::sample::select(vec![
                "receipt-id", "message-id", "ack", "subscription", "destination", "version", "heart-beat", "message"]),
                "[sm0-9,.a-z]{0,8}"), 0..5)), 0..6),
        ack in prop::sample::select(vec![Ack::Auto, Ack::Client, Ack::ClientIndividual]),
    ) {
        let mut session = Session::new(&Config { ack, ack_every: 2, ..Config::default() }.into());
        let mut out = Outgoing::default();
        session.begin(&Introduction::default(), &mut out);
        session.subscribe(0, "t", &mut out);
        let mut said = b"CONNECTED\nversion:1.2\n\n\0".to_vec();
        for (command, of) in commands {
            let of: Vec<_> = of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            said.extend(write(command, &of, b"body", Some(Version::V1_2)));
        }
        said.extend(pieces.concat());
        'said: for mut piece in said.chunks(7) {
            loop {
                match session.next(&mut piece, Form::Binary, 500, &mut out) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'said,
                }
            }
        }
        session.beat(&mut out);
        session.goodbye(&mut out);
    }
}
