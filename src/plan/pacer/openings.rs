//! When connections open: the plan's curve of connections over time, read off at each connection.

use super::super::types::Group;
use super::{Due, Own, ns};

/// A shard's share of a group's openings, in time order.
#[derive(Debug, Clone)]
pub struct Openings {
    /// (nanoseconds, connections by then).
    knots: Vec<(u64, u32)>,
    own: Own,
    /// The next to open, and the knot that ends its stretch.
    next: Option<u32>,
    at: usize,
}

impl Openings {
    /// The openings of those of the group's connections that belong to `shard` of `shards`.
    pub fn new(group: &Group, shard: u32, shards: u32) -> Openings {
        let own = Own::new(group, shard, shards);
        let knots = group
            .opening
            .knots
            .iter()
            .map(|(time, count)| (ns(*time), *count))
            .collect();
        let mut openings = Openings {
            knots,
            own,
            next: own.start(),
            at: 0,
        };
        openings.settle();
        openings
    }

    /// Moves on to the stretch that the next connection opens in.
    fn settle(&mut self) {
        let Some(next) = self.next else { return };
        while self
            .knots
            .get(self.at)
            .is_some_and(|(_, count)| *count <= next)
        {
            self.at += 1;
        }
        if self.at == self.knots.len() {
            self.next = None;
        }
    }

    /// When the next one opens, without taking it.
    pub fn peek(&self) -> Option<u64> {
        let index = self.next?;
        let (end, to) = self.knots[self.at];
        // Before the first knot there are none open: it is a jump.
        let (start, from) = if self.at == 0 {
            (end, 0)
        } else {
            self.knots[self.at - 1]
        };
        let part = u128::from(end - start) * u128::from(index - from) / u128::from(to - from);
        Some(start + part as u64)
    }
}

impl Iterator for Openings {
    type Item = Due;
    fn next(&mut self) -> Option<Due> {
        let due = Due {
            at_ns: self.peek()?,
            index: self.next?,
        };
        self.next = self.own.after(due.index);
        self.settle();
        Some(due)
    }
}
