//! Engine.IO packets as they stand in the body of a GET's answer or of a POST: one after the other with a record separator
//! between them. What is a binary WebSocket message elsewhere is a `b` and its bytes in base64.

use crate::protocol::Violation;
use crate::protocol::session::Form;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What stands between two packets.
pub const SEPARATOR: u8 = 0x1e;

/// What an attachment begins with.
const BINARY: u8 = b'b';

/// Appends a message as a packet of a body; separators are the caller's.
pub fn push(form: Form, message: &[u8], out: &mut Vec<u8>) {
    match form {
        Form::Text => out.extend_from_slice(message),
        Form::Binary => {
            out.push(BINARY);
            let start = out.len();
            out.resize(start + message.len().div_ceil(3) * 4, 0);
            // The room is what base64 takes: this cannot fail.
            let _ = STANDARD.encode_slice(message, &mut out[start..]);
        }
    }
}

/// The packets of a body. None of them is empty but the one of an empty body.
pub fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR)
}

/// A packet as the message that it is; an attachment's bytes are put into `room`.
///
/// # Errors
/// When it is none.
pub fn message<'a>(packet: &'a [u8], room: &'a mut Vec<u8>) -> Result<(Form, &'a [u8]), Violation> {
    match packet.split_first() {
        None => Err(Violation("an empty packet between two others")),
        Some((&BINARY, text)) => {
            room.clear();
            STANDARD
                .decode_vec(text, room)
                .map_err(|_| Violation("an attachment that is not base64"))?;
            Ok((Form::Binary, room))
        }
        Some(_) if std::str::from_utf8(packet).is_err() => {
            Err(Violation("a packet that is not UTF-8"))
        }
        Some(_) => Ok((Form::Text, packet)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_is_what_servers_make_of_it() {
        let body = b"2\x1e42[\"a\",1]\x1ebAQIDBA==\x1e6";
        let mut room = Vec::new();
        let mut heard = Vec::new();
        for packet in packets(body) {
            let (form, message) = message(packet, &mut room).unwrap();
            heard.push((form, message.to_vec()));
        }
        let expected: [(Form, &[u8]); 4] = [
            (Form::Text, b"2"),
            (Form::Text, b"42[\"a\",1]"),
            (Form::Binary, &[1, 2, 3, 4]),
            (Form::Text, b"6"),
        ];
        assert_eq!(heard, expected.map(|(form, bytes)| (form, bytes.to_vec())));
    }

    #[test]
    fn nonsense_is_told() {
        let mut room = Vec::new();
        for (packet, why) in [
            (&b""[..], "empty"),
            (b"b!", "base64"),
            (b"bAQI", "base64"),
            (b"4\xff", "UTF-8"),
        ] {
            let violation = message(packet, &mut room).unwrap_err();
            assert!(violation.0.contains(why), "{packet:?}: {violation}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(messages in proptest::collection::vec((any::<bool>(), "[^\u{1e}b][^\u{1e}]{0,9}"), 1..9)) {
            let mut body = Vec::new();
            for (i, (binary, text)) in messages.iter().enumerate() {
                if i > 0 {
                    body.push(SEPARATOR);
                }
                let form = if *binary { Form::Binary } else { Form::Text };
                push(form, text.as_bytes(), &mut body);
            }
            let mut room = Vec::new();
            let mut read = Vec::new();
            for packet in packets(&body) {
                let (form, message) = message(packet, &mut room).unwrap();
                read.push((form == Form::Binary, String::from_utf8(message.to_vec()).unwrap()));
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn whatever_comes_is_read_or_told(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut room = Vec::new();
            for packet in packets(&body) {
                let _ = message(packet, &mut room);
            }
        }
    }
}
