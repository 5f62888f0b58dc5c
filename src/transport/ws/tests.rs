//! The codec against tungstenite's, against RFC 6455 line by line, and against hostile peers.

use super::*;
use proptest::prelude::*;
use std::io::Cursor;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame as TheirFrame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error as TheirError, Message, Utf8Bytes};

const MAX: usize = 1 << 20;

/// An event that outlives its buffer.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl Heard {
    fn of(event: Event) -> Heard {
        match event {
            Event::Text(text) => Heard::Text(text.into()),
            Event::Binary(bytes) => Heard::Binary(bytes.into()),
            Event::Ping(bytes) => Heard::Ping(bytes.into()),
            Event::Pong(bytes) => Heard::Pong(bytes.into()),
            Event::Close(close) => Heard::Close(close.code, close.reason.into()),
            Event::Deflated { .. } => panic!("nothing was agreed on"),
        }
    }
}

/// Feeds `bytes` in pieces of these sizes, over and over; the events, and how it ended.
fn hear(bytes: &[u8], sizes: &[usize], max: usize) -> (Vec<Heard>, Result<Inbound, Violation>) {
    let mut inbound = Inbound::default();
    let mut heard = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        let (mut piece, later) = rest.split_at((*size).clamp(1, rest.len().max(1)).min(rest.len()));
        rest = later;
        loop {
            match inbound.next(&mut piece, max) {
                Ok(Some(event)) => heard.push(Heard::of(event)),
                Ok(None) => break,
                Err(violation) => return (heard, Err(violation)),
            }
        }
        assert!(piece.is_empty(), "`None` must mean that all is used");
        if rest.is_empty() {
            return (heard, Ok(inbound));
        }
    }
    unreachable!("there is at least one size")
}

fn hear_all(bytes: &[u8]) -> (Vec<Heard>, Result<(), Violation>) {
    let (heard, end) = hear(bytes, &[usize::MAX], MAX);
    (heard, end.map(drop))
}

/// What a peer says, with the data messages cut into fragments at these places.
#[derive(Debug, Clone)]
enum Said {
    Text(String, Vec<usize>),
    Binary(Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

impl Said {
    fn heard(&self) -> Heard {
        match self {
            Said::Text(text, _) => Heard::Text(text.clone()),
            Said::Binary(bytes, _) => Heard::Binary(bytes.clone()),
            Said::Ping(bytes) => Heard::Ping(bytes.clone()),
            Said::Pong(bytes) => Heard::Pong(bytes.clone()),
        }
    }

    fn frames(&self) -> Vec<TheirFrame> {
        match self {
            Said::Ping(bytes) => vec![TheirFrame::ping(bytes.clone())],
            Said::Pong(bytes) => vec![TheirFrame::pong(bytes.clone())],
            Said::Text(text, cuts) => fragments(Data::Text, text.as_bytes(), cuts),
            Said::Binary(bytes, cuts) => fragments(Data::Binary, bytes, cuts),
        }
    }
}

fn fragments(kind: Data, bytes: &[u8], cuts: &[usize]) -> Vec<TheirFrame> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut from = 0;
    let last = places.len() - 1;
    places
        .iter()
        .enumerate()
        .map(|(i, to)| {
            let kind = if i == 0 { kind } else { Data::Continue };
            let frame =
                TheirFrame::message(bytes[from..*to].to_vec(), OpCode::Data(kind), i == last);
            from = *to;
            frame
        })
        .collect()
}

fn any_said() -> impl Strategy<Value = Said> {
    let cuts = || prop::collection::vec(any::<usize>(), 0..4);
    // Lengths about the limits of each form of a header.
    let length = || prop_oneof![Just(0usize), 1..130usize, 65_530..65_540usize];
    let bytes =
        move || length().prop_map(|len| (0..len).map(|i| (i * 31) as u8).collect::<Vec<u8>>());
    prop_oneof![
        (any::<String>(), cuts()).prop_map(|(text, cuts)| Said::Text(text, cuts)),
        (bytes(), cuts()).prop_map(|(bytes, cuts)| Said::Binary(bytes, cuts)),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Said::Ping),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Said::Pong),
    ]
}

fn any_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        Just(vec![usize::MAX]),
        prop::collection::vec(prop_oneof![1..6usize, 1..300usize, 1..70_000usize], 1..8),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn reads_what_tungstenite_writes(said in prop::collection::vec(any_said(), 0..6), sizes in any_sizes(), code in 3000..5000u16, reason in "[ -~é]{0,40}") {
        let mut bytes = Vec::new();
        for message in &said {
            for frame in message.frames() {
                frame.format(&mut bytes).unwrap();
            }
        }
        TheirFrame::close(Some(CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from(reason.as_str()) })).format(&mut bytes).unwrap();
        bytes.extend(b"\xff\xffignored");
        let (heard, end) = hear(&bytes, &sizes, MAX);
        let mut expected: Vec<Heard> = said.iter().map(Said::heard).collect();
        expected.push(Heard::Close(Some(code), reason));
        prop_assert!(end.is_ok());
        prop_assert_eq!(heard, expected);
    }

    #[test]
    fn keeps_nothing_once_all_is_told(said in prop::collection::vec(any_said(), 1..4), sizes in any_sizes()) {
        let mut bytes = Vec::new();
        said.iter().flat_map(Said::frames).for_each(|frame| frame.format(&mut bytes).unwrap());
        let (_, end) = hear(&bytes, &sizes, MAX);
        let inbound = end.unwrap();
        prop_assert!(!inbound.is_partial());
        prop_assert!(!inbound.holds_memory());
    }

    #[test]
    fn tungstenite_reads_what_we_write(said in prop::collection::vec(any_said(), 1..6), mask: [u8; 4], code in 3000..5000u16, reason: String) {
        let mut bytes = Vec::new();
        for message in &said {
            let (opcode, payload): (Opcode, &[u8]) = match message {
                Said::Text(text, _) => (Opcode::Text, text.as_bytes()),
                Said::Binary(bytes, _) => (Opcode::Binary, bytes),
                Said::Ping(bytes) => (Opcode::Ping, bytes),
                Said::Pong(bytes) => (Opcode::Pong, bytes),
            };
            let (one, two) = payload.split_at(payload.len() / 3);
            push_frame(opcode, &[one, two], mask, &mut bytes);
        }
        push_close(Some(code), &reason, mask, &mut bytes);
        let mut theirs = WebSocketContext::new(Role::Server, None);
        let mut stream = Duplex(Cursor::new(bytes));
        for message in &said {
            let read = theirs.read(&mut stream).unwrap();
            let heard = match read {
                Message::Text(text) => Heard::Text(text.to_string()),
                Message::Binary(bytes) => Heard::Binary(bytes.to_vec()),
                Message::Ping(bytes) => Heard::Ping(bytes.to_vec()),
                Message::Pong(bytes) => Heard::Pong(bytes.to_vec()),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(heard, message.heard());
        }
        match theirs.read(&mut stream).unwrap() {
            Message::Close(Some(close)) => {
                prop_assert_eq!(u16::from(close.code), code);
                prop_assert!(reason.starts_with(close.reason.as_str()));
                prop_assert!(close.reason.len() >= reason.len().min(120));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn hostile_bytes_are_told_alike_however_they_are_cut(bytes: Vec<u8>, sizes in any_sizes(), max in 0..2000usize) {
        let whole = hear(&bytes, &[usize::MAX], max);
        let cut = hear(&bytes, &sizes, max);
        prop_assert_eq!(&whole.0, &cut.0);
        prop_assert_eq!(whole.1.err(), cut.1.err());
    }

    #[test]
    fn hostile_frames_are_judged_as_tungstenite_does(frames in prop::collection::vec(hostile_frame(), 1..6), sizes in any_sizes()) {
        let bytes = frames.concat();
        let (heard, end) = hear(&bytes, &sizes, 200);
        let (theirs, their_end) = tungstenite_hears(&bytes, 200);
        // Where both read on they must have heard the same; ours may stop earlier, where it is stricter.
        prop_assert!(theirs.starts_with(&heard), "{:?} {:?}", heard, theirs);
        if end.is_ok() {
            prop_assert_eq!(heard, theirs);
            prop_assert!(their_end, "they found a violation that we did not");
        }
    }

    #[test]
    fn masks_as_the_formula_says(bytes: Vec<u8>, mask: [u8; 4], offset in 0..9usize) {
        let mut masked = bytes.clone();
        apply_mask(&mut masked, mask, offset);
        let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ mask[(i + offset) % 4]).collect();
        prop_assert_eq!(masked, expected);
    }
}

/// Frames that are nearly right: any first byte, small payloads, sometimes masked or with a false length.
fn hostile_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x00u8, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        "[a-zé\u{1F600}]{0,4}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
        prop::collection::vec(any::<u8>(), 120..140),
        (900..5100u16).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    (first, payload, 0..12u8).prop_map(|(first, payload, form)| {
        let len = payload.len();
        let mut frame = vec![first];
        match (form, len) {
            (0, _) => frame.extend([127, 0, 0, 0, 0, 0, 0, 0, len as u8]),
            (1, _) => frame.push(0x80 | len.min(125) as u8),
            (_, 0..=125) => frame.push(len as u8),
            _ => frame.extend([126, 0, len as u8]),
        }
        frame.extend(payload);
        frame
    })
}

/// Reads from the bytes and swallows what is written.
struct Duplex(Cursor<Vec<u8>>);

impl std::io::Read for Duplex {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(out)
    }
}

impl std::io::Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What tungstenite's client hears, and whether it ended without a violation.
fn tungstenite_hears(bytes: &[u8], max: usize) -> (Vec<Heard>, bool) {
    use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
    let config = WebSocketConfig::default()
        .max_message_size(Some(max))
        .max_frame_size(Some(max));
    let mut theirs = WebSocketContext::new(Role::Client, Some(config));
    let mut stream = Duplex(Cursor::new(bytes.to_vec()));
    let mut heard = Vec::new();
    loop {
        match theirs.read(&mut stream) {
            Ok(Message::Text(text)) => heard.push(Heard::Text(text.to_string())),
            Ok(Message::Binary(bytes)) => heard.push(Heard::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => heard.push(Heard::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => heard.push(Heard::Pong(bytes.to_vec())),
            Ok(Message::Close(close)) => {
                let (code, reason) = close.map_or((None, String::new()), |c| {
                    (Some(u16::from(c.code)), c.reason.to_string())
                });
                heard.push(Heard::Close(code, reason));
                return (heard, true);
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(TheirError::Protocol(error)) => {
                use tokio_tungstenite::tungstenite::error::ProtocolError;
                return (heard, error == ProtocolError::ResetWithoutClosingHandshake);
            }
            Err(TheirError::ConnectionClosed | TheirError::Io(_)) => return (heard, true),
            Err(_) => return (heard, false),
        }
    }
}

/// A frame by hand.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(len as u8),
        len @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

#[test]
fn violations() {
    let table: Vec<(&str, Vec<u8>, Violation)> = vec![
        ("rsv1", vec![0xc1, 0], Violation::ReservedBit),
        ("rsv2", vec![0xa1, 0], Violation::ReservedBit),
        ("rsv3", vec![0x91, 0], Violation::ReservedBit),
        ("opcode 3", vec![0x83, 0], Violation::Opcode),
        ("opcode 7", vec![0x87, 0], Violation::Opcode),
        ("opcode 11", vec![0x8b, 0], Violation::Opcode),
        ("opcode 15", vec![0x8f, 0], Violation::Opcode),
        ("masked", vec![0x81, 0x80, 0, 0, 0, 0], Violation::Masked),
        (
            "fragmented ping",
            vec![0x09, 0],
            Violation::FragmentedControl,
        ),
        (
            "fragmented close",
            vec![0x08, 0],
            Violation::FragmentedControl,
        ),
        (
            "long ping",
            vec![0x89, 126, 0, 126],
            Violation::OversizedControl,
        ),
        (
            "very long close",
            vec![0x88, 127],
            Violation::OversizedControl,
        ),
        (
            "125 in two bytes",
            vec![0x82, 126, 0, 125],
            Violation::Length,
        ),
        (
            "65535 in eight bytes",
            vec![0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            Violation::Length,
        ),
        (
            "top bit of the length",
            vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            Violation::Length,
        ),
        (
            "2^62 bytes",
            vec![0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0],
            Violation::TooLarge,
        ),
        ("continuation first", vec![0x80, 0], Violation::Continuation),
        (
            "continuation behind a whole message",
            [frame(0x81, b"a"), frame(0x80, b"")].concat(),
            Violation::Continuation,
        ),
        (
            "continuation behind the last",
            [frame(0x01, b"a"), frame(0x80, b""), frame(0x80, b"")].concat(),
            Violation::Continuation,
        ),
        (
            "text in a text",
            [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
            Violation::Interleaved,
        ),
        (
            "binary in a text",
            [frame(0x01, b"a"), frame(0x02, b"b")].concat(),
            Violation::Interleaved,
        ),
        (
            "close of one byte",
            frame(0x88, b"x"),
            Violation::CloseLength,
        ),
        (
            "close reason not utf-8",
            frame(0x88, b"\x03\xe8\xff"),
            Violation::CloseReason,
        ),
        ("text not utf-8", frame(0x81, b"\xff"), Violation::Utf8),
        (
            "surrogate in text",
            frame(0x81, b"\xed\xa0\x80"),
            Violation::Utf8,
        ),
        ("overlong text", frame(0x81, b"\xc0\xaf"), Violation::Utf8),
        (
            "text cut in a character",
            frame(0x81, b"\xc3"),
            Violation::Utf8,
        ),
        (
            "fragments cut in a character",
            [frame(0x01, b"a\xc3"), frame(0x80, b"")].concat(),
            Violation::Utf8,
        ),
        (
            "first fragment not utf-8",
            frame(0x01, b"\xff"),
            Violation::Utf8,
        ),
        (
            "later fragment not utf-8",
            [frame(0x01, b"a\xc3"), frame(0x00, b"b")].concat(),
            Violation::Utf8,
        ),
        (
            "frame over the limit",
            frame(0x82, &vec![0; MAX + 1]),
            Violation::TooLarge,
        ),
        (
            "fragments over the limit",
            [
                frame(0x02, &vec![0; MAX]),
                frame(0x00, b""),
                frame(0x80, b"x"),
            ]
            .concat(),
            Violation::TooLarge,
        ),
    ];
    for (name, bytes, violation) in table {
        for sizes in [[usize::MAX], [1], [3]] {
            let (_, end) = hear(&bytes, &sizes, MAX);
            assert_eq!(end.err(), Some(violation), "{name} in pieces of {sizes:?}");
        }
    }
}

#[test]
fn what_is_allowed() {
    let text = |text: &str| Heard::Text(text.into());
    let table: Vec<(&str, Vec<u8>, Vec<Heard>)> = vec![
        ("empty text", frame(0x81, b""), vec![text("")]),
        (
            "empty fragments",
            [frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")].concat(),
            vec![text("")],
        ),
        (
            "a character over fragments",
            [
                frame(0x01, b"\xf0"),
                frame(0x00, b"\x9f\x98"),
                frame(0x80, b"\x80"),
            ]
            .concat(),
            vec![text("\u{1F600}")],
        ),
        (
            "ping in a message",
            [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x80, b"b")].concat(),
            vec![Heard::Ping(b"p".into()), text("ab")],
        ),
        (
            "binary that is not utf-8 over fragments",
            [frame(0x02, b"\xff"), frame(0x80, b"\xfe")].concat(),
            vec![Heard::Binary(vec![255, 254])],
        ),
        (
            "text behind binary fragments",
            [frame(0x02, b"\xff"), frame(0x80, b""), frame(0x81, b"t")].concat(),
            vec![Heard::Binary(vec![255]), text("t")],
        ),
        (
            "exactly the limit",
            frame(0x82, &vec![7; MAX]),
            vec![Heard::Binary(vec![7; MAX])],
        ),
        (
            "close within a message",
            [frame(0x01, b"a"), frame(0x88, b"")].concat(),
            vec![Heard::Close(None, String::new())],
        ),
        (
            "nothing behind a close",
            [
                frame(0x88, b"\x03\xe9bye"),
                frame(0x81, b"x"),
                vec![0xff; 99],
            ]
            .concat(),
            vec![Heard::Close(Some(1001), "bye".into())],
        ),
        (
            "unasked pong of 125",
            frame(0x8a, &[1; 125]),
            vec![Heard::Pong(vec![1; 125])],
        ),
    ];
    for (name, bytes, expected) in table {
        for sizes in [[usize::MAX], [1], [3]] {
            let (heard, end) = hear(&bytes, &sizes, MAX);
            assert_eq!(
                (&heard, end.err()),
                (&expected, None),
                "{name} in pieces of {sizes:?}"
            );
        }
    }
}

#[test]
fn close_codes() {
    for code in 0..=u16::MAX {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let (heard, end) = hear_all(&frame(0x88, &code.to_be_bytes()));
        match allowed {
            true => assert_eq!(
                (heard, end),
                (vec![Heard::Close(Some(code), String::new())], Ok(()))
            ),
            false => assert_eq!((heard, end), (vec![], Err(Violation::CloseCode(code)))),
        }
    }
    assert_eq!(Violation::CloseCode(1005).close_code(), 1002);
    assert_eq!(Violation::Utf8.close_code(), 1007);
    assert_eq!(Violation::TooLarge.close_code(), 1009);
}

#[test]
fn the_limit_holds_before_anything_is_kept() {
    let mut inbound = Inbound::default();
    let mut header: &[u8] = &[0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1];
    assert_eq!(inbound.next(&mut header, MAX), Err(Violation::TooLarge));
    assert!(!inbound.holds_memory());
}

#[test]
fn a_header_alone_costs_little() {
    let mut inbound = Inbound::default();
    let mut bytes: &[u8] = &[0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3];
    assert_eq!(inbound.next(&mut bytes, MAX), Ok(None));
    assert!(inbound.memory() <= 64 * 1024 + 16, "{}", inbound.memory());
    assert!(inbound.is_partial());
}

#[test]
fn memory_stays_within_reach_of_the_limit() {
    // Fragments up to the limit, then the beginning of a frame that would still fit.
    let mut bytes = frame(0x02, &vec![0; MAX / 2]);
    bytes.extend(&frame(0x00, &vec![0; MAX / 2])[..MAX / 2]);
    let (_, end) = hear(&bytes, &[1000], MAX);
    assert!(end.unwrap().memory() <= 2 * MAX);
    // Endless empty fragments cost nothing.
    let bytes = [frame(0x02, b""), frame(0x00, b"").repeat(10_000)].concat();
    let (_, end) = hear(&bytes, &[2], MAX);
    assert_eq!(end.unwrap().memory(), 0);
}

#[test]
fn sizes() {
    assert!(size_of::<Decoder>() <= 8, "{}", size_of::<Decoder>());
    assert!(size_of::<Inbound>() <= 16, "{}", size_of::<Inbound>());
}

#[test]
fn headers_of_every_length() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let mut bytes = Vec::new();
        let at = push_frame(Opcode::Binary, &[&vec![0; len]], [0; 4], &mut bytes);
        let mut header = [0; MAX_HEADER];
        let header_len = encode_header(Opcode::Binary, true, len, [0; 4], &mut header);
        assert_eq!((at, bytes.len()), (header_len, header_len + len));
        assert_eq!(bytes[..at], header[..header_len]);
        assert_eq!(
            header_len,
            6 + if len < 126 {
                0
            } else if len < 65_536 {
                2
            } else {
                8
            }
        );
    }
}

#[test]
fn a_part_of_a_masked_frame_is_written_anew() {
    let mask = [1, 2, 3, 4];
    let mut bytes = Vec::new();
    let payload = push_frame(Opcode::Text, &[b"abc", b"OLD", b"xyz"], mask, &mut bytes);
    let hole = &mut bytes[payload + 3..payload + 6];
    hole.copy_from_slice(b"NEW");
    apply_mask(hole, mask, 3);
    let mut expected = Vec::new();
    push_frame(Opcode::Text, &[b"abcNEWxyz"], mask, &mut expected);
    assert_eq!(bytes, expected);
}

#[test]
fn long_reasons_are_cut_between_characters() {
    let mut bytes = Vec::new();
    push_close(Some(1000), &"é".repeat(100), [0; 4], &mut bytes);
    assert_eq!(bytes[1] & 0x7f, 2 + 122);
    assert_eq!(
        std::str::from_utf8(&bytes[8..]),
        Ok("é".repeat(61).as_str())
    );
    bytes.clear();
    push_close(None, "ignored", [9; 4], &mut bytes);
    assert_eq!(bytes, [0x88, 0x80, 9, 9, 9, 9]);
}
