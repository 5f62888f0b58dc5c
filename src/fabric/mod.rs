//! Places shards and carries their messages.
//!
//! [`Fabric`] is what a run sees: so many shards, a message to one or all of them, and the next thing
//! that any of them said or suffered. [`local`] runs them as child processes over pipes; [`worker`] is
//! the other end, the same one for every fabric, and the only place here that knows the engine.
//! Nothing in here knows what a message means for a run.

pub mod local;
pub mod parent;
pub mod wire;
pub mod worker;

use std::fmt;
use std::future::Future;
use wire::{FromWorker, ToWorker, WireError};

/// A set of running shards.
pub trait Fabric {
    /// How many shards were placed; their indices are 0 to this, exclusive.
    fn shards(&self) -> u32;

    /// Queues a message for one shard. Never blocks; a message to a lost shard is dropped, its loss
    /// being reported by [`Fabric::next`].
    ///
    /// # Errors
    /// The message cannot be put into a frame.
    fn send(&mut self, shard: u32, message: &ToWorker) -> Result<(), WireError>;

    /// Queues a message for all shards; encoded once.
    ///
    /// # Errors
    /// The message cannot be put into a frame.
    fn broadcast(&mut self, message: &ToWorker) -> Result<(), WireError>;

    /// The next thing that happened, in the order it happened on each shard. Pending for ever once
    /// every shard is gone. Safe to drop and call again.
    fn next(&mut self) -> impl Future<Output = Event>;

    /// Bytes of all that the shards have said so far.
    fn heard(&self) -> u64;

    /// Ends one shard by force. Its [`Event::Gone`] still follows.
    fn kill(&mut self, shard: u32);
}

/// Something a shard said or suffered.
#[derive(Debug)]
pub enum Event {
    /// It said something.
    Said {
        /// The shard.
        shard: u32,
        /// What it said.
        message: FromWorker,
    },
    /// It is gone: nothing more will come from it.
    Gone {
        /// The shard.
        shard: u32,
        /// How it went.
        how: Departure,
    },
}

/// How a shard went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// True when its process ended by itself with status 0.
    pub clean: bool,
    /// In words: `killed by SIGKILL`, `exited with status 101`.
    pub words: String,
    /// The last of what it wrote to standard error, free of control characters; often empty.
    pub stderr: String,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)?;
        match self.stderr.trim() {
            "" => Ok(()),
            text => write!(f, " ({text})"),
        }
    }
}
