//! A hostile STOMP server: its frames are told alike however the bytes are cut, nothing is kept beyond the limit, what was read can be
//! written again, and a conversation with it ends in whatever way but a panic.

use crate::protocol::stomp::frame::{Decoder, Writer};
use crate::protocol::stomp::{Ack, Config, Session, Version};
use crate::protocol::{Event, Form, Introduction, Outgoing, Violation};

const MAX: usize = 1000;

type Frame = (String, Vec<(String, String)>, Vec<u8>);

fn hear(
    bytes: &[u8],
    step: usize,
    version: Option<Version>,
) -> (Vec<Frame>, Result<(), Violation>) {
    let mut decoder = Decoder::default();
    let mut heard = Vec::new();
    for mut piece in bytes.chunks(step) {
        loop {
            match decoder.next(&mut piece, version, MAX) {
                Ok(Some(frame)) => {
                    assert!(frame.body.len() < MAX);
                    let headers = frame.headers();
                    let headers = headers.map(|(n, v)| (n.into_owned(), v.into_owned()));
                    heard.push((frame.command.into(), headers.collect(), frame.body.into()));
                }
                Ok(None) => break,
                Err(violation) => return (heard, Err(violation)),
            }
        }
        assert!(piece.is_empty());
    }
    (heard, Ok(()))
}

fn write(frame: &Frame, version: Version) -> Vec<u8> {
    let (command, headers, body) = frame;
    let mut out = Vec::new();
    let mut writer = Writer::new(command, Some(version), &mut out);
    for (name, value) in headers.iter().filter(|(name, _)| name != "content-length") {
        writer.header(name, &[value]);
    }
    writer.body(body);
    out
}

fn converse(bytes: &[u8], step: usize, ack: Ack) {
    let config = Config {
        ack,
        ack_every: 3,
        prefix: "/topic/".into(),
        ..Config::default()
    };
    let mut session = Session::new(&config.into());
    let mut out = Outgoing::default();
    session.begin(&Introduction::default(), &mut out);
    'heard: for mut piece in bytes.chunks(step) {
        loop {
            match session.next(&mut piece, Form::Text, MAX, &mut out) {
                Ok(Some(Event::Connected { .. })) => {
                    session.subscribe(0, "a", &mut out);
                    session.publish("a", b"x", &mut out);
                }
                Ok(Some(Event::Message { payload, .. })) => assert!(payload.len() < MAX),
                Ok(Some(Event::Subscribed { place })) => assert_eq!(place, 0),
                Ok(Some(Event::Acknowledged { id } | Event::Rejected { id, .. })) => {
                    assert_eq!(id, 0)
                }
                Ok(Some(Event::Error { text, .. } | Event::Refused { text, .. })) => {
                    assert!(text.len() <= 256);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => break 'heard,
            }
        }
    }
    session.rhythm();
    session.beat(&mut out);
    session.goodbye(&mut out);
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let step = usize::from(choice / 16) + 1;
    let version = match choice % 4 {
        0 => None,
        1 => Some(Version::V1_0),
        2 => Some(Version::V1_1),
        _ => Some(Version::V1_2),
    };
    let whole = hear(bytes, usize::MAX, version);
    assert_eq!(hear(bytes, step, version), whole);
    if let Some(version) = version {
        for frame in &whole.0 {
            // What cannot be said is left out: where nothing is escaped, a carriage return. One at the end of a command is part of
            // the line's end.
            if frame.0.ends_with('\r')
                || version == Version::V1_0
                || matches!(&*frame.0, "CONNECT" | "STOMP" | "CONNECTED")
            {
                continue;
            }
            let (again, end) = hear(&write(frame, version), step, Some(version));
            if end.is_ok() {
                let plain = |frame: &Frame| {
                    let mut headers = frame.1.clone();
                    headers.retain(|(name, _)| name != "content-length");
                    (frame.0.clone(), headers, frame.2.clone())
                };
                assert_eq!(again.iter().map(plain).collect::<Vec<_>>(), [plain(frame)]);
            }
        }
    }
    let ack = [Ack::Auto, Ack::Client, Ack::ClientIndividual][usize::from(*choice) % 3];
    converse(bytes, step, ack);
}
