//! The bus that joins nodes to one gateway: what is published at any of them reaches the subscribers at
//! all, numbered once.
//!
//! A star. The nodes' supervisor numbers messages ([`sequencer`]) and carries them ([`supervisor`]); a node
//! tells it what it publishes and which topics it wants ([`uplink`], [`node`]). All of it works on streams
//! that somebody else made: processes are none of its business.

pub(super) mod node;
mod sequencer;
pub(super) mod supervisor;
pub(super) mod uplink;
pub(super) mod wire;
