//! A hostile Socket.IO server: no message is a panic, no more is asked to be kept than allowed, and what is read can be written.
//!
//! The input is WebSocket messages: a byte for the form (odd: binary), two for the length, then that many.

use crate::protocol::socket_io::packet::{MAX_ATTACHMENTS, Packet};
use crate::protocol::socket_io::{Config, Session, payload};
use crate::protocol::{Event, Form, Introduction, Outgoing};
use std::sync::Arc;

const MAX: usize = 1000;

/// Whatever is read as a packet is the same when it is written and read again.
fn packet(bytes: &[u8]) {
    let Ok(packet) = Packet::decode(bytes) else {
        return;
    };
    assert!(packet.attachments <= MAX_ATTACHMENTS);
    // JSON does not begin so, and would be taken for a namespace.
    if packet.data.first() == Some(&b'/') {
        return;
    }
    let mut out = Vec::new();
    packet.encode(&mut out);
    assert_eq!(Packet::decode(&out), Ok(packet));
}

/// One input.
pub fn target(data: &[u8]) {
    let mut session = Session::new(&Arc::new(Config::default()));
    let mut out = Outgoing::default();
    session.begin(&Introduction::default(), &mut out);
    let mut rest = data;
    let mut room = Vec::new();
    while let Some((&[form, high, low], more)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(more.len());
        let (message, later) = more.split_at(length);
        rest = later;
        packet(message);
        // And as the body of an answer to a poll.
        for packet in payload::packets(message) {
            let _ = payload::message(packet, &mut room);
        }
        let _ = Session::new(&Arc::new(Config::default())).polled(message);
        let _ = Session::new(&Arc::new(Config::default())).polled(message);
        let form = if form % 2 == 1 {
            Form::Binary
        } else {
            Form::Text
        };
        session.subscribe(0, "t", &mut out);
        session.publish("t", b"p", &mut out);
        let mut bytes = message;
        while let Ok(Some(event)) = session.next(&mut bytes, form, MAX, &mut out) {
            if let Event::Message { payload, .. } = event {
                assert!(payload.len() <= message.len().max(MAX));
            }
        }
        // What is said is text that is UTF-8, whatever was heard.
        for (form, said) in out.messages() {
            assert!(form == Form::Binary || std::str::from_utf8(said).is_ok());
        }
        out.clear();
    }
}
