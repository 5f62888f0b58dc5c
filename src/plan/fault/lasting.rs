//! What lasting faults do to a connection, from its victim's turn to the fault's end.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A slow consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// How it reads.
    pub read: Reading,
    /// How late it answers pings.
    pub pong: Duration,
    /// SO_RCVBUF of its sockets in bytes, from the run's start.
    pub receive_buffer: Option<u32>,
}

/// How a slow consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// As ever.
    Normal,
    /// At most so many bytes a second; more than 0.
    Rate(u64),
    /// Not at all.
    Never,
    /// As ever, but for a pause at the start of each stretch of `every`.
    Pauses {
        /// Shorter than `every`.
        pause: Duration,
        /// From one pause's start to the next.
        every: Duration,
    },
}

/// What a connection stops in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stall {
    /// Its next message.
    Message {
        /// Whether it is finished in the end; else the connection leaves by FIN then.
        finish: bool,
    },
    /// Its upgrade request, of which it sends so many bytes a second; more than 0.
    Handshake {
        /// Bytes a second.
        rate: u64,
    },
}

/// A bad network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// One way, and the same the other way.
    pub latency: Duration,
    /// Evenly drawn from ± this; at most the latency.
    pub jitter: Duration,
    /// Most bytes a second in each direction; more than 0.
    pub bandwidth: Option<u64>,
    /// Most bytes of one write; more than 0.
    pub slice: Option<u32>,
}

/// A network that takes nothing and brings nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The target's addresses that cannot be reached, by index; `None`: all.
    pub from: Option<Vec<u32>>,
}
