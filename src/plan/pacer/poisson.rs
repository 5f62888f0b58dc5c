//! Poisson arrivals: every connection has a unit-rate exponential stream of its own, whose events are due
//! where the integral of the rate, divided by the group's count, reaches them (time rescaling: Daley and
//! Vere-Jones, "An Introduction to the Theory of Point Processes", theorem 7.4.I). So the arrivals of a
//! connection do not depend on which shard runs it, nor on how many there are.

use super::super::seeded::{Purpose, Stream, rng};
use super::super::types::Segment;
use super::{Due, Own, ns};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

#[derive(Debug, Clone)]
pub(super) struct Poisson {
    segments: Vec<Stretch>,
    own: Own,
    /// The next of each connection that has one left.
    heap: BinaryHeap<Reverse<Due>>,
    /// By own connection, in the order of their index.
    streams: Vec<Unit>,
    /// The segment of the earliest; later ones are never before it.
    at: usize,
}

#[derive(Debug, Clone)]
struct Stretch {
    start: u64,
    /// Of one connection: events per nanosecond, and the integral before and behind.
    rate: f64,
    before: f64,
    behind: f64,
    length: u64,
}

/// A connection's unit-rate stream, as far as it was drawn.
#[derive(Debug, Clone)]
struct Unit {
    reached: f64,
    rng: Stream,
}

impl Poisson {
    pub(super) fn new(segments: &[Segment], own: Own, seed: u64, key: [u64; 2]) -> Poisson {
        let mut before = 0.0;
        let segments: Vec<Stretch> = segments
            .iter()
            .map(|s| {
                let length = ns(s.end - s.start);
                let rate = s.rate / f64::from(own.count) / 1e9;
                let behind = before + rate * length as f64;
                let stretch = Stretch {
                    start: ns(s.start),
                    rate,
                    before,
                    behind,
                    length,
                };
                before = behind;
                stretch
            })
            .collect();
        let mut streams = Vec::new();
        let mut dues = Vec::new();
        let mut index = own.start();
        while let Some(i) = index {
            let mut rng = rng(seed, Purpose::Arrivals, &[key[0], key[1], u64::from(i)]);
            let reached = rng.exponential();
            if let Some((at_ns, _)) = place(&segments, 0, reached) {
                dues.push(Reverse(Due { at_ns, index: i }));
            }
            streams.push(Unit { reached, rng });
            index = own.after(i);
        }
        Poisson {
            segments,
            own,
            heap: dues.into(),
            streams,
            at: 0,
        }
    }

    pub(super) fn peek(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(due)| due.at_ns)
    }

    pub(super) fn next(&mut self) -> Option<Due> {
        let mut top = self.heap.peek_mut()?;
        let due = top.0;
        while self.segments[self.at].start + self.segments[self.at].length <= due.at_ns {
            self.at += 1;
        }
        let unit = &mut self.streams[((due.index - self.own.first) / self.own.step) as usize];
        unit.reached += unit.rng.exponential();
        match place(&self.segments, self.at, unit.reached) {
            Some((at_ns, _)) => top.0.at_ns = at_ns,
            None => {
                PeekMut::pop(top);
            }
        }
        Some(due)
    }
}

/// The moment where the integral reaches `reached`, and its segment, from segment `from` on.
fn place(segments: &[Stretch], from: usize, reached: f64) -> Option<(u64, usize)> {
    let (at, s) = segments
        .iter()
        .enumerate()
        .skip(from)
        .find(|(_, s)| reached < s.behind)?;
    // Rounding may touch the end, which is not part of the segment.
    let offset = (((reached - s.before) / s.rate) as u64).min(s.length - 1);
    Some((s.start + offset, at))
}
