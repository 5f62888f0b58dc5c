//! What is settled of a STOMP conversation before it begins: the protocol's part of the plan.

use crate::protocol::session::Rhythm;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How STOMP is spoken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Versions offered. Their order is that of the WebSocket subprotocols; of `accept-version` the other side takes the
    /// highest that it knows, whatever the order.
    pub versions: Vec<Version>,
    /// Heart-beats wanted.
    pub heartbeat: Heartbeat,
    /// How deliveries are acknowledged.
    pub ack: Ack,
    /// With [`Ack::Client`], which acknowledges everything up to a message: after how many messages. What is left over is
    /// acknowledged with the next heart-beat and with the goodbye. At least 1.
    pub ack_every: u32,
    /// Of so many millionths of its deliveries a connection says that it does not want them, by NACK; those that are sent again it
    /// takes. 1.0 has no such word.
    pub nack_millionths: u32,
    /// Receipts are asked for: of each SEND and of each SUBSCRIBE. That of DISCONNECT is always.
    pub receipts: bool,
    /// Put before a topic to make a destination of it (`/topic/`), and taken off one to make a topic of it.
    pub prefix: String,
    /// The same behind it.
    pub suffix: String,
    /// Further headers of each SUBSCRIBE (`prefetch-count`, `durable`, `selector`…).
    pub subscribe_headers: Vec<(String, String)>,
    /// Further headers of each SEND (`content-type`, `persistent`…).
    pub send_headers: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            versions: vec![Version::V1_2, Version::V1_1, Version::V1_0],
            heartbeat: Heartbeat::default(),
            ack: Ack::Auto,
            ack_every: 1,
            nack_millionths: 0,
            receipts: true,
            prefix: String::new(),
            suffix: String::new(),
            subscribe_headers: Vec::new(),
            send_headers: Vec::new(),
        }
    }
}

impl Config {
    /// The WebSocket subprotocols of the versions offered, in their order.
    pub fn subprotocols(&self) -> Vec<String> {
        let names = self.versions.iter().map(|version| version.subprotocol());
        names.map(String::from).collect()
    }
}

/// What a side says of heart-beats, in milliseconds; 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// It can send one so often.
    pub send_ms: u32,
    /// It wants to hear one so often.
    pub hear_ms: u32,
}

/// Ten seconds both ways, which is what most clients ask for.
impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat {
            send_ms: 10_000,
            hear_ms: 10_000,
        }
    }
}

impl Heartbeat {
    /// Of a side that says nothing.
    pub const NONE: Heartbeat = Heartbeat {
        send_ms: 0,
        hear_ms: 0,
    };

    /// Of a `heart-beat` header; `None` when it is not two numbers. What is beyond 49 days is 49 days.
    pub fn parse(value: &str) -> Option<Self> {
        let (send, hear) = value.split_once(',')?;
        let number = |text: &str| {
            let number = text.trim_ascii().parse::<u64>().ok()?;
            Some(u32::try_from(number).unwrap_or(u32::MAX))
        };
        Some(Heartbeat {
            send_ms: number(send)?,
            hear_ms: number(hear)?,
        })
    }

    /// How often this side sends one to the other, in milliseconds: never more often than it said it can, nor than the
    /// other wants; 0: never.
    fn towards(self, other: Heartbeat) -> u32 {
        match (self.send_ms, other.hear_ms) {
            (0, _) | (_, 0) => 0,
            (can, wants) => can.max(wants),
        }
    }

    /// What comes of what both sides said. A beat goes out after seven eighths of the time, so that a late one is no missed
    /// one. The other side is given twice the time: one beat may be missing, as the specification asks for "an error margin"
    /// and names none.
    pub fn agree(self, theirs: Heartbeat) -> Rhythm {
        let time = |ms: u32| (ms > 0).then(|| Duration::from_millis(u64::from(ms)));
        Rhythm {
            send: time(self.towards(theirs)).map(|every| every * 7 / 8),
            hear: time(theirs.towards(self)).map(|every| every * 2),
        }
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.send_ms, self.hear_ms)
    }
}

/// A version of STOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    /// No heart-beats, nothing is escaped.
    #[serde(rename = "1.0")]
    V1_0,
    /// Heart-beats; a carriage return cannot be escaped.
    #[serde(rename = "1.1")]
    V1_1,
    /// Lines may end in CR LF; ACK names what the MESSAGE told it to.
    #[serde(rename = "1.2")]
    V1_2,
}

impl Version {
    /// All of them, the lowest first.
    pub const ALL: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

    /// As it stands in headers.
    pub fn name(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Version::ALL.into_iter().find(|of| of.name() == name)
    }

    /// The WebSocket subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Version::V1_0 => "v10.stomp",
            Version::V1_1 => "v11.stomp",
            Version::V1_2 => "v12.stomp",
        }
    }
}

/// Who acknowledges deliveries, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// Nobody: the other side takes a message for delivered once it is sent.
    Auto,
    /// The client, everything of the subscription up to a message.
    Client,
    /// The client, each message.
    ClientIndividual,
}

impl Ack {
    /// As it stands in headers.
    pub fn name(self) -> &'static str {
        match self {
            Ack::Auto => "auto",
            Ack::Client => "client",
            Ack::ClientIndividual => "client-individual",
        }
    }
}
