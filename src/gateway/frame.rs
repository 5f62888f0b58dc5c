//! Frames as they go to a client: encoded once, shared by all who get them.
//!
//! A server's frames are not masked, so a delivery is the same bytes for every subscriber.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame as Unshared, FrameHeader};

use crate::protocol::Form;

/// One whole data message with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame(Arc<[u8]>);

/// Appends a whole data message to bytes for a socket.
pub(super) fn append(form: Form, payload: &[u8], to: &mut Vec<u8>) {
    let header = FrameHeader {
        opcode: OpCode::Data(match form {
            Form::Text => Data::Text,
            Form::Binary => Data::Binary,
        }),
        ..FrameHeader::default()
    };
    // Writing into memory does not fail.
    let _ = header.format(payload.len() as u64, to);
    to.extend_from_slice(payload);
}

impl Frame {
    /// A text message.
    pub(super) fn text(text: String) -> Frame {
        Frame::data(text.into_bytes(), Data::Text)
    }

    /// A binary message.
    pub(super) fn binary(bytes: Vec<u8>) -> Frame {
        Frame::data(bytes, Data::Binary)
    }

    fn data(payload: Vec<u8>, kind: Data) -> Frame {
        let frame = Unshared::message(payload, OpCode::Data(kind), true);
        let mut bytes = Vec::with_capacity(frame.len());
        // Writing into memory does not fail; were it to, an empty frame would break nothing else.
        let _ = frame.format(&mut bytes);
        Frame(bytes.into())
    }

    /// Of these bytes, header and all.
    pub(super) fn of(bytes: Vec<u8>) -> Frame {
        Frame(bytes.into())
    }

    /// The message in it.
    pub(super) fn payload(&self) -> &[u8] {
        // Not masked, and as short a length as is possible.
        let header = match self.0.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        self.0.get(header..).unwrap_or_default()
    }

    /// What goes to the socket.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_all_three_forms() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = Frame::text("a".repeat(length));
            assert_eq!(frame.bytes().len(), header + length);
            assert_eq!(frame.bytes()[0], 0x81, "final, text");
            assert_eq!(frame.bytes()[1] & 0x80, 0, "not masked");
            assert_eq!(frame.payload().len(), length);
        }
        assert_eq!(Frame::binary(vec![7]).bytes(), [0x82, 1, 7]);
        for (form, length) in [(Form::Text, 3), (Form::Binary, 126), (Form::Binary, 70_000)] {
            let payload = vec![b'x'; length];
            let mut bytes = b"before".to_vec();
            append(form, &payload, &mut bytes);
            let frame = match form {
                Form::Text => Frame::text("x".repeat(length)),
                Form::Binary => Frame::binary(payload),
            };
            assert_eq!(bytes, [b"before", frame.bytes()].concat());
        }
    }
}
