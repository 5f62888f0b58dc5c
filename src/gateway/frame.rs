//! Frames as they go to a client: encoded once, shared by all who get them.
//!
//! A server's frames are not masked, so a delivery is the same bytes for every subscriber.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::protocol::frame::Frame as Unshared;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// One whole data message with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame(Arc<[u8]>);

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
        }
        assert_eq!(Frame::binary(vec![7]).bytes(), [0x82, 1, 7]);
    }
}
