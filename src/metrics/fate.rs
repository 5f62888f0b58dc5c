//! The words of sequence accounting: what an arriving message was, what became of one that never came, and what a
//! stream published.

use super::names::Counter;
use serde::{Deserialize, Serialize};

/// What a stream published, known to its shard when publishing is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// The stream's number in the run.
    pub stream: u32,
    /// Intended time of its first message, nanoseconds from the run's start.
    pub first_ns: u64,
    /// Messages sent, by phase, in order: the first phase's have the lowest numbers.
    pub published: Vec<u64>,
}

impl StreamEnd {
    /// Messages sent in all phases.
    pub fn total(&self) -> u64 {
        self.published.iter().sum()
    }

    /// Whether a subscriber that was first ready then was there for the whole stream.
    pub fn heard_whole_by(&self, ready_ns: u64) -> bool {
        ready_ns <= self.first_ns
    }
}

/// What an arriving message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first time, in order.
    New,
    /// The first time, after a later one.
    Reordered,
    /// Came before.
    Duplicated,
    /// Too late (its fate is counted already) or impossibly early.
    Indeterminate,
}

impl Arrival {
    /// What it counts to, one each.
    pub fn counters(self) -> &'static [Counter] {
        match self {
            Arrival::New => &[Counter::Received, Counter::Unique, Counter::Expected],
            Arrival::Reordered => &[
                Counter::Received,
                Counter::Unique,
                Counter::Expected,
                Counter::Reordered,
            ],
            Arrival::Duplicated => &[Counter::Received, Counter::Duplicated],
            Arrival::Indeterminate => &[Counter::Received, Counter::Indeterminate],
        }
    }

    /// Whether it is the message's first arrival, so that its latency is recorded.
    pub fn first(self) -> bool {
        matches!(self, Arrival::New | Arrival::Reordered)
    }
}

/// What became of a message that never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Published while the connection was there.
    Lost,
    /// The connection was away in between.
    Missed,
    /// The connection was joining: owed or not, nobody can tell.
    Unaccounted,
}

/// The fault that a hole is put down to, as its connection stood to it when the hole was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// Its number in the run.
    pub fault: u16,
    /// Whether the connection was lost by it or under it; if not, it acted on it otherwise.
    pub cut: bool,
}

/// Messages that never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Whose.
    pub conn: u32,
    /// Of which stream.
    pub stream: u32,
    /// Passed when the hole was found; for a tail, the phase it was published in.
    pub phase: usize,
    /// What became of them.
    pub fate: Fate,
    /// How many, at least 1.
    pub count: u64,
    /// The fault that they are put down to.
    pub blame: Option<Blame>,
}

impl Loss {
    /// What it counts to, `count` each.
    pub fn counters(&self) -> &'static [Counter] {
        match self.fate {
            Fate::Lost => &[Counter::Expected, Counter::Lost],
            Fate::Missed => &[Counter::Expected, Counter::Missed],
            Fate::Unaccounted => &[Counter::Unaccounted],
        }
    }
}
