//! Whom a fault hits, and when each has its turn.
//!
//! Victims are the first so many of a seeded order of the group's connections, so their number is exact, and who
//! they are does not depend on the number of shards. The order is a formula: nothing is kept per connection.

use super::super::seeded::{Purpose, mix, rng};
use super::super::types::{Group, Plan};
use super::Hit;
use rand::TryRng;
use std::time::Duration;

/// One whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// When, nanoseconds from the run's start.
    pub at_ns: u64,
    /// Index in the group.
    pub index: u32,
}

/// A shard's own victims of one fault in the order of their time. The union over all shards is exactly what one
/// shard would have: victim i of k has its turn at start + over·i/k.
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
    /// Of the run's fault with this number, which begins at `start` and hits this group.
    pub fn new(
        seed: u64,
        number: usize,
        (start, hit): (Duration, &Hit),
        group: &Group,
        shard: u32,
        shards: u32,
    ) -> Self {
        let mut victims = Victims {
            order: Order::new(seed, number, group.count),
            of: hit.victims.min(group.count),
            rank: 0,
            start_ns: start.as_nanos() as u64,
            spread_ns: hit.over.as_nanos() as u64,
            first: group.first,
            shard,
            shards,
            next: None,
        };
        victims.advance();
        victims
    }

    /// When the next one is due, nanoseconds from the run's start.
    pub fn peek(&self) -> Option<u64> {
        self.next.map(|victim| victim.at_ns)
    }

    /// When it is the turn of a connection of the group, nanoseconds from the run's start; `None` for one that is no
    /// victim. The inverse of the enumeration, whichever shard the connection is of.
    pub fn turn_of(&self, index: u32) -> Option<u64> {
        if index >= self.order.n {
            return None;
        }
        let rank = self.order.place(index);
        (rank < self.of).then(|| self.turn(rank))
    }

    fn turn(&self, rank: u32) -> u64 {
        let passed = u128::from(self.spread_ns) * u128::from(rank);
        self.start_ns + (passed / u128::from(self.of)) as u64
    }

    fn advance(&mut self) {
        self.next = None;
        while self.rank < self.of && self.next.is_none() {
            let index = self.order.at(self.rank);
            if Plan::shard_of(self.first + index, self.shards) == self.shard {
                let at_ns = self.turn(self.rank);
                self.next = Some(Victim { at_ns, index });
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

    /// The place of somebody below n: the inverse of [`Order::at`].
    fn place(&self, index: u32) -> u32 {
        let mut at = u64::from(index);
        loop {
            at = self.step_back(at);
            if at < u64::from(self.n) {
                return at as u32;
            }
        }
    }

    fn step_back(&self, at: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (at >> self.half, at & mask);
        for key in self.keys.iter().rev() {
            (left, right) = (right ^ (mix(key ^ left) & mask), left);
        }
        left << self.half | right
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
