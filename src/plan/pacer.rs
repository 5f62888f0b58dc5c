//! When things are due: pure functions of the plan, the seed and a shard's number.
//!
//! Nothing here looks at a clock. A shard asks what is due next and compares it with its own time; what
//! all shards enumerate together is exactly what one alone would, whatever their number.

mod constant;
mod openings;
mod poisson;

pub use openings::Openings;

use super::types::{Arrivals, Group, Profile};
use constant::Constant;
use poisson::Poisson;

/// One thing due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When, in nanoseconds from the run's start.
    pub at_ns: u64,
    /// Which connection, by its index in the group.
    pub index: u32,
}

/// A shard's share of a publish's or request's arrivals, in time order (at one moment: by index).
///
/// `next` takes constant time for constant arrivals and logarithmic for Poisson, and never allocates.
#[derive(Debug, Clone)]
pub struct Schedule(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Constant(Constant),
    Poisson(Poisson),
}

impl Schedule {
    /// The arrivals of `profile` at those of the group's connections that belong to `shard` of `shards`.
    /// `which` tells the group's publishes and requests apart: each has its own random stream.
    pub fn new(
        profile: &Profile,
        group: &Group,
        which: u32,
        seed: u64,
        shard: u32,
        shards: u32,
    ) -> Schedule {
        let own = Own::new(group, shard, shards);
        Schedule(match profile.arrivals {
            Arrivals::Constant => Kind::Constant(Constant::new(&profile.segments, own)),
            Arrivals::Poisson => {
                let key = [u64::from(group.first), u64::from(which)];
                Kind::Poisson(Poisson::new(&profile.segments, own, seed, key))
            }
        })
    }

    /// When the next one is due, without taking it.
    pub fn peek(&self) -> Option<u64> {
        match &self.0 {
            Kind::Constant(constant) => constant.peek(),
            Kind::Poisson(poisson) => poisson.peek(),
        }
    }
}

impl Iterator for Schedule {
    type Item = Due;
    fn next(&mut self) -> Option<Due> {
        match &mut self.0 {
            Kind::Constant(constant) => constant.next(),
            Kind::Poisson(poisson) => poisson.next(),
        }
    }
}

/// Which of a group's connections a shard has: every `step`-th from `first` below `count`.
#[derive(Debug, Clone, Copy)]
struct Own {
    first: u32,
    step: u32,
    count: u32,
}

impl Own {
    /// Connection number n of the run belongs to shard n mod shards.
    fn new(group: &Group, shard: u32, shards: u32) -> Own {
        let shards = shards.max(1);
        Own {
            first: (shard % shards + shards - group.first % shards) % shards,
            step: shards,
            count: group.count,
        }
    }

    /// The index after `index`, or `None` behind the last one.
    fn after(&self, index: u32) -> Option<u32> {
        index
            .checked_add(self.step)
            .filter(|next| *next < self.count)
    }

    /// The first, when there is any.
    fn start(&self) -> Option<u32> {
        (self.first < self.count).then_some(self.first)
    }
}

/// Nanoseconds of a plan's time; runs are far shorter than the 584 years that fit.
fn ns(duration: std::time::Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests;
