//! Faults that act on connections, as data: what happens to whom, and when.
//!
//! Victims are the first so many of a seeded order of the group's connections, so their number is exact, and who
//! they are does not depend on the number of shards. The order is a formula: nothing is kept per connection.

use super::seeded::{Purpose, mix, rng};
use super::types::{Group, Plan, PlannedFault};
use rand::TryRng;
use serde::{Deserialize, Serialize};

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Multiplies rates: already a part of the group's profiles.
    Burst,
    /// Cuts connections.
    Cut(Cut),
}

/// Connections that are cut from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// How many, at most the group's count.
    pub victims: u32,
    /// In which way.
    pub how: How,
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

/// One whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// When, nanoseconds from the run's start.
    pub at_ns: u64,
    /// Index in the group.
    pub index: u32,
}

/// A shard's own victims of one fault in the order of their time. The union over all shards is exactly what one
/// shard would have: victim i of k has its turn at start + (end − start)·i/k.
#[derive(Debug, Clone)]
pub struct Victims {
    order: Order,
    of: u32,
    rank: u32,
    start_ns: u64,
    spread_ns: u64,
    first: u32,
    shard: u32,
    shards: u32,
    next: Option<Victim>,
}

impl Victims {
    /// Of the run's fault with this number, which hits this group; `None` when it acts on no connections.
    pub fn new(
        seed: u64,
        number: usize,
        fault: &PlannedFault,
        group: &Group,
        shard: u32,
        shards: u32,
    ) -> Option<Self> {
        let Action::Cut(cut) = fault.action else {
            return None;
        };
        let mut victims = Victims {
            order: Order::new(seed, number, group.count),
            of: cut.victims.min(group.count),
            rank: 0,
            start_ns: fault.start.as_nanos() as u64,
            spread_ns: fault.end.saturating_sub(fault.start).as_nanos() as u64,
            first: group.first,
            shard,
            shards,
            next: None,
        };
        victims.advance();
        Some(victims)
    }

    /// When the next one is due, nanoseconds from the run's start.
    pub fn peek(&self) -> Option<u64> {
        self.next.map(|victim| victim.at_ns)
    }

    fn advance(&mut self) {
        self.next = None;
        while self.rank < self.of && self.next.is_none() {
            let index = self.order.at(self.rank);
            if Plan::shard_of(self.first + index, self.shards) == self.shard {
                let passed = u128::from(self.spread_ns) * u128::from(self.rank);
                self.next = Some(Victim {
                    at_ns: self.start_ns + (passed / u128::from(self.of)) as u64,
                    index,
                });
            }
            self.rank += 1;
        }
    }
}

impl Iterator for Victims {
    type Item = Victim;

    fn next(&mut self) -> Option<Victim> {
        let victim = self.next?;
        self.advance();
        Some(victim)
    }
}

/// Rounds of the network: four are as good as random for large halves, small ones take more.
const ROUNDS: usize = 8;

/// A seeded order of 0..n: a bijection by a balanced Feistel network over the next power of four, walked along its
/// cycle until it is back below n (J. Black, P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).
/// As the power is below 4n, that takes fewer than four steps on average.
#[derive(Debug, Clone)]
struct Order {
    n: u32,
    half: u32,
    keys: [u64; ROUNDS],
}

impl Order {
    fn new(seed: u64, number: usize, n: u32) -> Self {
        let mut draws = rng(seed, Purpose::Fault, &[number as u64]);
        let bits = u32::BITS - n.saturating_sub(1).leading_zeros();
        Order {
            n,
            half: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| draws.try_next_u64().unwrap_or_default()),
        }
    }

    /// Whoever is at this place, which is below n.
    fn at(&self, place: u32) -> u32 {
        let mut at = u64::from(place);
        loop {
            at = self.step(at);
            if at < u64::from(self.n) {
                return at as u32;
            }
        }
    }

    fn step(&self, at: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (at >> self.half, at & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(key ^ right) & mask));
        }
        left << self.half | right
    }
}

#[cfg(test)]
mod tests;
