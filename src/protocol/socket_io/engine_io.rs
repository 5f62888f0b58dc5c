//! Engine.IO packets (protocol 4) as WebSocket messages: a digit, and what belongs to it. A binary WebSocket message is a
//! `message` packet without its digit.

use crate::protocol::Violation;
use crate::protocol::pointer::lookup;
use crate::protocol::template::decimal;
use std::time::Duration;

/// What is said over a WebSocket to find out whether it works: a ping…
pub const PROBE: &[u8] = b"2probe";
/// …and its answer…
pub const PROBED: &[u8] = b"3probe";
/// …behind which the conversation goes on there.
pub const UPGRADE: &[u8] = b"5";
/// What either side leaves with, where there is no Close frame.
pub const CLOSE: &[u8] = b"1";
/// What a server releases a held GET with that it has nothing to say to.
pub const NOOP: &[u8] = b"6";

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server's greeting.
    Open,
    /// The transport is to be closed.
    Close,
    /// The server wants a sign of life; a client asks so whether a transport works.
    Ping,
    /// The answer to a ping.
    Pong,
    /// Something of the protocol above.
    Message,
    /// The client goes on over this transport.
    Upgrade,
    /// Nothing; ends a poll.
    Noop,
}

impl Kind {
    /// All of them, by their digit.
    pub const ALL: [Kind; 7] = [
        Kind::Open,
        Kind::Close,
        Kind::Ping,
        Kind::Pong,
        Kind::Message,
        Kind::Upgrade,
        Kind::Noop,
    ];

    /// The digit that a packet begins with.
    pub fn digit(self) -> u8 {
        b'0' + self as u8
    }
}

/// A text message as a packet: its kind, and what belongs to it.
///
/// # Errors
/// When it is none.
pub fn decode(message: &[u8]) -> Result<(Kind, &[u8]), Violation> {
    let (digit, rest) = message
        .split_first()
        .ok_or(Violation("an empty Engine.IO packet"))?;
    let kind = Kind::ALL.get(usize::from(digit.wrapping_sub(b'0')));
    let kind = kind.ok_or(Violation("an Engine.IO packet of no known kind"))?;
    Ok((*kind, rest))
}

/// What an open packet says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// A ping comes so often.
    pub ping_interval: Duration,
    /// So much later than that is too late: the other side is dead.
    pub ping_timeout: Duration,
}

impl Open {
    /// Reads what belongs to an open packet. Beyond 49 days is 49 days.
    ///
    /// # Errors
    /// When it does not say how often pings come.
    pub fn read(json: &[u8]) -> Result<Self, Violation> {
        let time = |pointer: &str| {
            let found = lookup(json, pointer)?.number()?;
            Some(Duration::from_millis(found.min(u64::from(u32::MAX))))
        };
        let missing = Violation("an open packet without pingInterval and pingTimeout");
        Ok(Open {
            ping_interval: time("/pingInterval").ok_or(missing)?,
            ping_timeout: time("/pingTimeout").ok_or(missing)?,
        })
    }

    /// Appends the packet; `sid` needs no escaping. `upgrades`: a WebSocket is offered.
    pub fn write(&self, sid: &str, upgrades: bool, max_payload: u64, out: &mut Vec<u8>) {
        out.push(Kind::Open.digit());
        out.extend_from_slice(br#"{"sid":""#);
        out.extend_from_slice(sid.as_bytes());
        let upgrades: &[u8] = match upgrades {
            true => br#"","upgrades":["websocket"],"pingInterval":"#,
            false => br#"","upgrades":[],"pingInterval":"#,
        };
        let parts = [
            (upgrades, ms(self.ping_interval)),
            (br#","pingTimeout":"#, ms(self.ping_timeout)),
            (br#","maxPayload":"#, max_payload),
        ];
        for (text, number) in parts {
            out.extend_from_slice(text);
            decimal(number, out);
        }
        out.push(b'}');
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
