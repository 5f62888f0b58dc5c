//! Socket.IO packets (protocol 5), which are what belongs to Engine.IO's `message` packets:
//! a digit, the number of attachments and a dash, the namespace and a comma, the number of an acknowledgement, JSON; all but
//! the digit only where there is something to say.

use crate::protocol::Violation;
use crate::protocol::template::decimal;

/// More attachments than this are refused: a packet that announces them is incomplete until they came.
pub const MAX_ATTACHMENTS: u32 = 256;

/// The namespace that is not written.
pub const MAIN: &str = "/";

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A client asks for a namespace, a server gives it.
    Connect,
    /// Either leaves a namespace.
    Disconnect,
    /// An event: its name and its arguments.
    Event,
    /// The acknowledgement of an event: its arguments.
    Ack,
    /// A server refuses a namespace.
    ConnectError,
    /// An event with attachments.
    BinaryEvent,
    /// An acknowledgement with attachments.
    BinaryAck,
}

impl Kind {
    /// All of them, by their digit.
    pub const ALL: [Kind; 7] = [
        Kind::Connect,
        Kind::Disconnect,
        Kind::Event,
        Kind::Ack,
        Kind::ConnectError,
        Kind::BinaryEvent,
        Kind::BinaryAck,
    ];

    /// Whether attachments may follow, which then are counted.
    pub fn is_binary(self) -> bool {
        matches!(self, Kind::BinaryEvent | Kind::BinaryAck)
    }
}

/// A packet, without its attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// How many attachments follow; 0 where none may.
    pub attachments: u32,
    /// The namespace.
    pub namespace: &'a [u8],
    /// The number under which it is acknowledged.
    pub id: Option<u64>,
    /// JSON, untouched; empty where there is none.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Violation> {
        let (digit, mut rest) = bytes
            .split_first()
            .ok_or(Violation("an empty Socket.IO packet"))?;
        let kind = Kind::ALL.get(usize::from(digit.wrapping_sub(b'0')));
        let kind = *kind.ok_or(Violation("a Socket.IO packet of no known kind"))?;
        let mut attachments = 0;
        if kind.is_binary() {
            let number = digits(&mut rest)?;
            let number =
                number.ok_or(Violation("a packet with attachments does not count them"))?;
            rest = rest
                .strip_prefix(b"-")
                .ok_or(Violation("no dash behind the number of attachments"))?;
            attachments = u32::try_from(number)
                .ok()
                .filter(|number| *number <= MAX_ATTACHMENTS)
                .ok_or(Violation("a packet with too many attachments"))?;
        }
        let mut namespace = MAIN.as_bytes();
        if rest.first() == Some(&b'/') {
            let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
            namespace = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        let id = digits(&mut rest)?;
        Ok(Packet {
            kind,
            attachments,
            namespace,
            id,
            data: rest,
        })
    }

    /// Appends it. A namespace with a comma cannot be written.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'0' + self.kind as u8);
        if self.kind.is_binary() {
            decimal(u64::from(self.attachments), out);
            out.push(b'-');
        }
        if self.namespace != MAIN.as_bytes() {
            out.extend_from_slice(self.namespace);
            out.push(b',');
        }
        if let Some(id) = self.id {
            decimal(id, out);
        }
        out.extend_from_slice(self.data);
    }
}

/// Takes the digits that `rest` begins with; `None` when there are none.
fn digits(rest: &mut &[u8]) -> Result<Option<u64>, Violation> {
    let end = rest.iter().position(|c| !c.is_ascii_digit());
    let (number, later) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = later;
    if number.is_empty() {
        return Ok(None);
    }
    let number = number.iter().try_fold(0u64, |all, c| {
        all.checked_mul(10)?.checked_add(u64::from(c - b'0'))
    });
    number
        .map(Some)
        .ok_or(Violation("a number that no client would count to"))
}
