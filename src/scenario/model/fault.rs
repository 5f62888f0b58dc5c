//! What a user may write of faults: trouble on purpose, one type a fault.

mod deploy;
mod revoke;

pub use deploy::{Deploy, Roll, SendSignal, To, Webhook};
pub use revoke::Revoke;

use super::super::units::{Boost, ByteRate, ByteSize, Count, Duration, ReadRate, Share};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Trouble on purpose. Exactly one key is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// More of a group for a time: of its messages, or of its connections.
    Burst(Burst),
    /// A part of a group's connections is cut, and comes back by the group's `reconnect`.
    Drop(Cut),
    /// A part of a group's connections reads slowly, in pauses or not at all, or answers pings late.
    Slow(Slow),
    /// A part of a group's connections stops in the middle of what it sends.
    Stall(Stall),
    /// A part of a group's connections has a bad network: latency, jitter, little bandwidth, small writes.
    Network(Network),
    /// A part of a group's connections cannot reach the target, or some of its addresses.
    Partition(Partition),
    /// The target is deployed anew, and what its clients have of it is measured.
    Deploy(Box<Deploy>),
    /// The tokens of a part of a group's connections are revoked, and what the target does about it is measured.
    Revoke(Box<Revoke>),
}

/// More of a group for a time. Exactly one of `rate`, `messages` and `connections` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// The group.
    pub clients: String,
    /// How much more it publishes and asks for a time: a multiple such as `10x`, or `+500/s` of the whole group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Boost>,
    /// So many messages (or requests) of the group more, at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Count>,
    /// So many of its connections open that no phase has opened yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Count>,
    /// Time over which messages or connections are evenly spread. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// Length of a `rate`. Default: to the end of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Duration>,
}

/// Connections of a group that are cut from the client's side. Either `share` or `count` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The group.
    pub clients: String,
    /// How many of its connections, as a share of the group's count; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// How many of its connections; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// In which way.
    pub how: How,
    /// Code of the Close frame, with `how: close`. Default 1001 (going away).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// Time over which they are evenly spread. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
}

/// In which way a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By a Close frame and its handshake.
    Close,
    /// By the end of TCP (FIN), without a Close frame.
    Fin,
    /// By a reset of TCP (RST).
    Reset,
    /// Without a word: nothing is read or written any more, and the socket stays open until the target hangs up or the run
    /// ends (half-open).
    Vanish,
}

/// Connections that are slow consumers. Either `share` or `count` is given, and at least one of `read` and `pong`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// The group.
    pub clients: String,
    /// How many of its connections, as a share of the group's count; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// How many of its connections; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// Length. Default: to the end of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Duration>,
    /// Time over which its beginnings are evenly spread; it ends for all at once. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
    /// How they read: at most so many bytes a second, not at all (`none`), or in pauses. Default: as ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Reading>,
    /// How late they answer pings of the target. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pong: Option<Duration>,
    /// Receive buffer (SO_RCVBUF) of their sockets, set before they connect, from the start of the run. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_buffer: Option<ByteSize>,
}

/// How slow consumers read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Reading {
    /// At most so fast; `none`: not at all.
    Rate(ReadRate),
    /// In pauses.
    Pauses(Pauses),
}

/// Reading as ever, but for a pause at regular times.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pauses {
    /// Length of each pause; the first one comes at once.
    pub pause: Duration,
    /// From the start of one to the start of the next.
    pub every: Duration,
}

/// Connections that stop in the middle of what they send. Either `share` or `count` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// The group.
    pub clients: String,
    /// How many of its connections, as a share of the group's count; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// How many of its connections; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// Length. Default: to the end of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Duration>,
    /// Time over which its beginnings are evenly spread; it ends for all at once. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
    /// In the middle of what.
    pub what: Stalled,
    /// With `what: message`: whether the message is finished at the end; if not, the connection leaves by FIN then. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<bool>,
    /// With `what: handshake`: how fast the upgrade request trickles. Default 1B/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<ByteRate>,
}

/// What is stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stalled {
    /// The next message: its length was declared, and half of it is sent.
    Message,
    /// The upgrade request of those that open in that time.
    Handshake,
}

/// Connections with a bad network. At least one of `latency`, `jitter`, `bandwidth` and `slice` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The group.
    pub clients: String,
    /// How many of its connections, as a share of the group's count; which ones is chosen by the seed. Default 100%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// How many of its connections; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// Length. Default: to the end of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Duration>,
    /// Time over which its beginnings are evenly spread; it ends for all at once. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
    /// Added in each direction. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    /// Evenly drawn from ± this and added to the latency; at most as long as it. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Duration>,
    /// Most bytes a second in each direction. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<ByteRate>,
    /// Most bytes of one write to the socket. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<ByteSize>,
}

/// Connections that are cut off from the target without a word.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The group.
    pub clients: String,
    /// How many of its connections, as a share of the group's count; which ones is chosen by the seed. Default 100%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// How many of its connections; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// Length. Default: to the end of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Duration>,
    /// Time over which its beginnings are evenly spread; it ends for all at once. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
    /// Which addresses of the target they cannot reach: `all`, or some by number (from 0) or as written in `target.url`. Default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Addresses>,
}

/// Some of the target's addresses.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Addresses {
    /// One, by number.
    Number(u32),
    /// `all`, or one as written.
    Text(String),
    /// Several.
    Many(Vec<Address>),
}

/// An address of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Address {
    /// By number, from 0, in the order of `target.url` or of the embedded nodes.
    Number(u32),
    /// As written in `target.url`.
    Text(String),
}
