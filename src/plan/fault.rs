//! Faults as data: what happens to whom, and when.
//!
//! Of three kinds, by who carries them out: some are a part of the schedules, some act on connections, some act
//! on the target. Who is hit and when is a formula; see [`Victims`].

mod deploy;
mod lasting;
mod revoke;
mod victims;
mod watch;

pub(in crate::plan) use deploy::quoted;
pub use deploy::{Deploy, Receiver, Rollout, SIGNALS, Webhook, Window};
pub use lasting::{Network, Partition, Reading, Slow, Stall};
pub use revoke::{Elsewhere, Revoke};
pub use victims::{Victim, Victims};
pub use watch::Watch;

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A fault as planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// In words: `publishers at 10x`.
    pub label: String,
    /// Start, from the run's start.
    pub start: Duration,
    /// End, from the run's start.
    pub end: Duration,
    /// What it does.
    pub action: Action,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// More of a group: already a part of its profiles, or of the curve that it opens by.
    Burst {
        /// Index of the group.
        group: u32,
        /// So many connections that open by it; 0 where it is of messages.
        opens: u32,
    },
    /// Acts on connections of a group: shards carry it out.
    Hit(Hit),
    /// Acts on the target: the coordinator carries it out, shards measure it.
    Deploy(Deploy),
}

impl Action {
    /// Whether it takes connections away or has them given up, so that there is something to come back from.
    pub fn cuts(&self) -> bool {
        match self {
            Action::Burst { .. } => false,
            Action::Deploy(_) => true,
            Action::Hit(hit) => {
                let has_it_cut = matches!(hit.effect, Effect::Partition(_) | Effect::Revoke(_));
                hit.effect.cuts() || has_it_cut
            }
        }
    }
}

/// What is done to some of a group's connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Index of the group.
    pub group: u32,
    /// How many of its connections, at most its count.
    pub victims: u32,
    /// Time over which their turns are evenly spread, from the fault's start.
    pub over: Duration,
    /// What happens to each.
    pub effect: Effect,
}

/// What happens to a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// It is cut from our side.
    Cut(How),
    /// It is a slow consumer for a time.
    Slow(Slow),
    /// It stops in the middle of what it sends for a time.
    Stall(Stall),
    /// It has a bad network for a time.
    Network(Network),
    /// It cannot reach the target for a time.
    Partition(Partition),
    /// Its token is revoked.
    Revoke(Box<Revoke>),
}

impl Effect {
    /// What it is called in scenarios.
    pub fn name(&self) -> &'static str {
        match self {
            Effect::Cut(_) => "drop",
            Effect::Slow(_) => "slow",
            Effect::Stall(_) => "stall",
            Effect::Network(_) => "network",
            Effect::Partition(_) => "partition",
            Effect::Revoke(_) => "revoke",
        }
    }

    /// Whether it takes a connection away, so that there is something to come back from.
    pub fn cuts(&self) -> bool {
        matches!(self, Effect::Cut(_))
    }

    /// Whether it lasts to the end of its fault; what does not is over as soon as it happened.
    pub fn lasts(&self) -> bool {
        !matches!(self, Effect::Cut(_) | Effect::Revoke(_))
    }
}

/// In which way a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// By a Close frame with this code, and the handshake after it.
    Close(u16),
    /// By the end of TCP alone.
    Fin,
    /// By a reset.
    Reset,
    /// Nothing is read or written any more, and the socket stays open.
    Vanish,
}

/// Whether a Close frame may carry a code: RFC 6455 §7.4 and the IANA registry. 1004 is reserved; 1005, 1006 and
/// 1015 exist only in APIs.
pub(super) fn sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests;
