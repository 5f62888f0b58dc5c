//! Evenly spaced arrivals: event i of the group is due where the integral of the rate reaches i, and
//! goes to the group's connection i mod count.
//!
//! The arithmetic is in whole numbers, so that nothing drifts however long the run: rates are multiples of
//! 2⁻³² events per second (rounded down: a rate that is not one never makes an event too many), and the
//! place of an event within its segment is a quotient and a remainder that are stepped, not recomputed.

use super::super::types::Segment;
use super::{Due, Own, ns};

/// One event, in (events per second × 2³²) × nanoseconds.
const EVENT: u128 = (1_000_000_000u128) << 32;

#[derive(Debug, Clone)]
pub(super) struct Constant {
    segments: Vec<Stretch>,
    own: Own,
    /// The segment that the next event is in; behind the last: no more.
    at: usize,
    /// Number of the next own event in the group, and its connection.
    event: u64,
    index: u32,
    /// Where it is in its segment: whole nanoseconds and the rest in 1/rate of one.
    offset: u64,
    rest: u64,
    /// From an own connection to the next, and from the last to the first of the next round.
    near: Stride,
    wrap: Stride,
}

#[derive(Debug, Clone)]
struct Stretch {
    start: u64,
    length: u64,
    /// Events per second × 2³².
    rate: u64,
    /// Integral of the rate before it, in `EVENT`ths.
    before: u128,
}

/// How far it is over a number of events at the current rate.
#[derive(Debug, Clone, Copy, Default)]
struct Stride {
    events: u64,
    offset: u64,
    rest: u64,
}

impl Stride {
    fn at(events: u64, rate: u64) -> Stride {
        let (offset, rest) = divide(u128::from(events) * EVENT, rate);
        Stride {
            events,
            offset,
            rest,
        }
    }
}

/// Quotient (as far as it fits) and remainder.
fn divide(amount: u128, by: u64) -> (u64, u64) {
    let by = u128::from(by);
    (
        (amount / by).min(u128::from(u64::MAX)) as u64,
        (amount % by) as u64,
    )
}

impl Constant {
    pub(super) fn new(segments: &[Segment], own: Own) -> Constant {
        let mut before = 0;
        let segments: Vec<Stretch> = segments
            .iter()
            .map(|s| {
                // A float too large for the target saturates, which a plan's limits keep far away.
                let rate = (s.rate * 4_294_967_296.0) as u64;
                let stretch = Stretch {
                    start: ns(s.start),
                    length: ns(s.end - s.start),
                    rate,
                    before,
                };
                before += u128::from(rate) * u128::from(stretch.length);
                stretch
            })
            .collect();
        let none = segments.len();
        let mut constant = Constant {
            segments,
            own,
            at: none,
            event: 0,
            index: 0,
            offset: 0,
            rest: 0,
            near: Stride::default(),
            wrap: Stride::default(),
        };
        if let Some(first) = own.start() {
            constant.event = u64::from(first);
            constant.index = first;
            constant.enter(0);
        }
        constant
    }

    /// Finds the segment of the next event, from segment `from` on, and its place there.
    fn enter(&mut self, from: usize) {
        let target = u128::from(self.event) * EVENT;
        self.at = self.segments.len();
        for (at, s) in self.segments.iter().enumerate().skip(from) {
            if target < s.before + u128::from(s.rate) * u128::from(s.length) {
                (self.offset, self.rest) = divide(target - s.before, s.rate);
                self.near = Stride::at(u64::from(self.own.step), s.rate);
                let own = (self.own.count - self.own.first).div_ceil(self.own.step);
                let last = self.own.first + (own - 1) * self.own.step;
                self.wrap = Stride::at(u64::from(self.own.count - last + self.own.first), s.rate);
                self.at = at;
                return;
            }
        }
    }

    pub(super) fn peek(&self) -> Option<u64> {
        self.segments.get(self.at).map(|s| s.start + self.offset)
    }

    pub(super) fn next(&mut self) -> Option<Due> {
        let due = Due {
            at_ns: self.peek()?,
            index: self.index,
        };
        let stride = match self.own.after(self.index) {
            Some(next) => {
                self.index = next;
                self.near
            }
            None => {
                self.index = self.own.first;
                self.wrap
            }
        };
        let Stretch { rate, length, .. } = self.segments[self.at];
        self.event += stride.events;
        let rest = u128::from(self.rest) + u128::from(stride.rest);
        let carry = rest >= u128::from(rate);
        self.rest = if carry {
            (rest - u128::from(rate)) as u64
        } else {
            rest as u64
        };
        self.offset = self
            .offset
            .saturating_add(stride.offset)
            .saturating_add(u64::from(carry));
        if self.offset >= length {
            self.enter(self.at + 1);
        }
        Some(due)
    }
}
