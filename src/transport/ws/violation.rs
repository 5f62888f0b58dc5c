//! How a peer breaks the protocol.

use std::fmt;

/// A breach of RFC 6455, or of the accepted size. The connection cannot go on: answer with
/// [`close_code`](Violation::close_code) and end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A reserved bit without an extension (§5.2).
    ReservedBit,
    /// A reserved opcode (§5.2).
    Opcode,
    /// A masked frame from a server (§5.1).
    Masked,
    /// A length not in its shortest form, or with its top bit set (§5.2).
    Length,
    /// A control frame in fragments (§5.5).
    FragmentedControl,
    /// A control frame over 125 bytes (§5.5).
    OversizedControl,
    /// A continuation without a message under way (§5.4).
    Continuation,
    /// A new message before the end of the one under way (§5.4).
    Interleaved,
    /// A text message that is not UTF-8 (§8.1).
    Utf8,
    /// A Close frame of one byte (§5.5.1).
    CloseLength,
    /// A close code that must not be sent (§7.4).
    CloseCode(u16),
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReason,
    /// A message larger than accepted.
    TooLarge,
    /// A message that gets larger than accepted when it is inflated (RFC 7692).
    Bomb,
    /// A message that says it was made smaller, and cannot be inflated (RFC 7692 §7.2.2).
    Deflate,
}

impl Violation {
    /// The close code to answer with (§7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Violation::Utf8 | Violation::CloseReason | Violation::Deflate => 1007,
            Violation::TooLarge | Violation::Bomb => 1009,
            _ => 1002,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Violation::ReservedBit => "reserved bit set",
            Violation::Opcode => "reserved opcode",
            Violation::Masked => "masked frame from the server",
            Violation::Length => "frame length not in its shortest form",
            Violation::FragmentedControl => "control frame in fragments",
            Violation::OversizedControl => "control frame over 125 bytes",
            Violation::Continuation => "continuation without a message",
            Violation::Interleaved => "new message inside a fragmented one",
            Violation::Utf8 => "text message is not UTF-8",
            Violation::CloseLength => "close frame of one byte",
            Violation::CloseCode(code) => return write!(f, "close code {code} must not be sent"),
            Violation::CloseReason => "close reason is not UTF-8",
            Violation::TooLarge => "message larger than accepted",
            Violation::Bomb => "message larger than accepted once it is inflated",
            Violation::Deflate => "message cannot be inflated",
        };
        f.write_str(text)
    }
}

impl std::error::Error for Violation {}
