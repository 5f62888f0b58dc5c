//! `network`: a connection whose bytes take longer, come slower and leave in smaller pieces than they would.
//!
//! What is read waits here until its time, in order; what is queued to be written stays in its queue, and here is
//! written down how much of it may leave when. Times are drawn one after the other and never overtake: jitter moves
//! bytes, and does not reorder them. What waits to be delivered is bounded: beyond it nothing is read, and the
//! target's own buffers fill.

use super::super::end::Cause;
use super::super::outbox::Allowance;
use super::bucket::Bucket;
use crate::plan::{Network, Stream};
use std::collections::VecDeque;

/// Parts of a second that an unused bandwidth is kept for: what a look that comes late makes up for.
const KEPT: u64 = 20;
/// Parts of a second between two looks at a line that is full.
const LOOKS: u64 = 100;

/// A connection's bad network.
pub struct Shaped {
    /// The fault's number in the run.
    pub number: usize,
    latency_ns: u64,
    jitter_ns: u64,
    draws: Stream,
    slice: usize,
    inward: Inward,
    outward: Outward,
    /// The fault is over: nothing takes time any more, and what waits goes first.
    over: bool,
}

/// What was read, and waits.
struct Inward {
    chunks: VecDeque<(u64, Box<[u8]>)>,
    held: usize,
    most_held: usize,
    last_ns: u64,
    line: Option<Bucket>,
    /// How the connection ended, behind all of them.
    end: Option<(u64, Cause)>,
}

/// Of what is queued: so many bytes may leave then.
struct Outward {
    marks: VecDeque<(u64, usize)>,
    marked: usize,
    last_ns: u64,
    line: Option<Bucket>,
}

/// What comes to the connection now.
pub enum Arrival {
    /// These bytes.
    Bytes(Box<[u8]>),
    /// Its end.
    End(Cause),
}

impl Shaped {
    /// From now on; at most so many bytes wait to be delivered.
    pub fn new(
        number: usize,
        network: &Network,
        draws: Stream,
        most_held: usize,
        now: u64,
    ) -> Self {
        let line = || {
            let bucket = |rate: u64| Bucket::new(rate, rate / KEPT, now);
            network.bandwidth.map(bucket)
        };
        Shaped {
            number,
            latency_ns: network.latency.as_nanos() as u64,
            jitter_ns: network.jitter.as_nanos() as u64,
            draws,
            slice: network.slice.map_or(usize::MAX, |slice| slice as usize),
            inward: Inward {
                chunks: VecDeque::new(),
                held: 0,
                most_held: most_held.max(1),
                last_ns: now,
                line: line(),
                end: None,
            },
            outward: Outward {
                marks: VecDeque::new(),
                marked: 0,
                last_ns: now,
                line: line(),
            },
            over: false,
        }
    }

    /// When what sets out now arrives, if nothing before it is later.
    fn travel(&mut self, now: u64) -> u64 {
        let mut at = now + self.latency_ns;
        if self.jitter_ns > 0 {
            let drawn = (self.draws.unit() * 2.0 * self.jitter_ns as f64) as u64;
            at = (at + drawn).saturating_sub(self.jitter_ns);
        }
        at
    }

    /// Bytes that may be read now.
    pub fn may_read(&mut self, now: u64) -> usize {
        let inward = &mut self.inward;
        if inward.end.is_some() {
            return 0;
        }
        let room = inward.most_held.saturating_sub(inward.held);
        let line = inward.line.as_mut();
        room.min(line.map_or(usize::MAX, |line| line.allowed(now) as usize))
    }

    /// So many bytes left the socket.
    pub fn took(&mut self, bytes: usize) {
        if let Some(line) = &mut self.inward.line {
            line.spend(bytes as u64);
        }
    }

    /// Keeps what was read until its time.
    pub fn hold(&mut self, bytes: &[u8], now: u64) {
        let at = self.travel(now).max(self.inward.last_ns);
        self.inward.last_ns = at;
        self.inward.held += bytes.len();
        self.inward.chunks.push_back((at, bytes.into()));
    }

    /// The connection ends, once all that came before has been delivered. The first end counts.
    pub fn end(&mut self, cause: Cause, now: u64) {
        let at = self.travel(now).max(self.inward.last_ns);
        self.inward.end.get_or_insert((at, cause));
    }

    /// The next that has arrived.
    pub fn arrived(&mut self, now: u64) -> Option<Arrival> {
        let inward = &mut self.inward;
        match inward.chunks.front() {
            Some((at, _)) if *at <= now => {
                let (_, bytes) = inward.chunks.pop_front()?;
                inward.held -= bytes.len();
                Some(Arrival::Bytes(bytes))
            }
            Some(_) => None,
            None => {
                let (_, cause) = inward.end.take_if(|(at, _)| *at <= now)?;
                Some(Arrival::End(cause))
            }
        }
    }

    /// How much of a queue with so many bytes waiting may leave now. `None`: nothing, as the connection is at its end.
    pub fn may_write(&mut self, waiting: usize, now: u64) -> Option<Allowance> {
        if self.inward.end.is_some() {
            return None;
        }
        if waiting > self.outward.marked {
            let at = self.travel(now).max(self.outward.last_ns);
            self.outward.last_ns = at;
            self.outward
                .marks
                .push_back((at, waiting - self.outward.marked));
            self.outward.marked = waiting;
        }
        let bytes = self.outward.due(now);
        let line = self.outward.line.as_mut();
        Some(Allowance {
            bytes: bytes.min(line.map_or(usize::MAX, |line| line.allowed(now) as usize)),
            slice: self.slice,
        })
    }

    /// So many bytes left the queue.
    pub fn wrote(&mut self, bytes: usize) {
        let outward = &mut self.outward;
        if let Some(line) = &mut outward.line {
            line.spend(bytes as u64);
        }
        let mut left = bytes.min(outward.marked);
        outward.marked -= left;
        while left > 0
            && let Some((_, mark)) = outward.marks.front_mut()
        {
            let part = left.min(*mark);
            *mark -= part;
            left -= part;
            if *mark == 0 {
                outward.marks.pop_front();
            }
        }
    }

    /// When more may be read; `u64::MAX`: only once something was delivered.
    pub fn reads_ns(&self, now: u64) -> u64 {
        if self.inward.end.is_some() || self.inward.held >= self.inward.most_held {
            return u64::MAX;
        }
        self.inward.line.as_ref().map_or(now, look)
    }

    /// When the next arrives; `u64::MAX`: nothing is on its way.
    pub fn arrives_ns(&self) -> u64 {
        match (self.inward.chunks.front(), &self.inward.end) {
            (Some((at, _)), _) | (None, Some((at, _))) => *at,
            (None, None) => u64::MAX,
        }
    }

    /// When more may be written; `u64::MAX`: nothing waits.
    pub fn writes_ns(&self, now: u64) -> u64 {
        if self.inward.end.is_some() {
            return u64::MAX;
        }
        match self.outward.marks.front() {
            None => u64::MAX,
            Some((at, _)) if *at > now => *at,
            Some((_, bytes)) => match &self.outward.line {
                None => now,
                Some(line) => line.ready_ns((*bytes as u64).min(line.rate() / LOOKS)),
            },
        }
    }

    /// The fault is over: what waits goes at once, in order.
    pub fn let_go(&mut self) {
        self.over = true;
        self.latency_ns = 0;
        self.jitter_ns = 0;
        self.slice = usize::MAX;
        (self.inward.line, self.outward.line) = (None, None);
        (self.inward.last_ns, self.outward.last_ns) = (0, 0);
        self.inward.chunks.iter_mut().for_each(|(at, _)| *at = 0);
        self.outward.marks.iter_mut().for_each(|(at, _)| *at = 0);
        if let Some((at, _)) = &mut self.inward.end {
            *at = 0;
        }
    }

    /// Whether the fault is over and nothing waits any more.
    pub fn is_over(&self) -> bool {
        self.over && self.inward.chunks.is_empty() && self.inward.end.is_none()
    }
}

impl Outward {
    fn due(&self, now: u64) -> usize {
        let due = self.marks.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, bytes)| bytes).sum()
    }
}

/// A full line is looked at so often, not for every byte.
fn look(line: &Bucket) -> u64 {
    line.ready_ns(line.rate() / LOOKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Purpose, rng};
    use proptest::prelude::*;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    fn shaped(seed: u64, latency_ms: u64, jitter_ms: u64, bandwidth: Option<u64>) -> Shaped {
        let network = Network {
            latency: Duration::from_millis(latency_ms),
            jitter: Duration::from_millis(jitter_ms),
            bandwidth,
            slice: Some(16),
        };
        Shaped::new(0, &network, rng(seed, Purpose::Network, &[]), 1 << 16, 0)
    }

    proptest! {
        /// Each byte comes once, in order, not before its time and not after the latest that jitter allows.
        #[test]
        fn what_comes_in_is_late_within_its_bounds_and_never_reordered(
            seed: u64,
            latency in 0u64..200,
            jitter_share in 0u64..=100,
            steps in prop::collection::vec((0u64..50, 1usize..400), 1..60),
        ) {
            let jitter = latency * jitter_share / 100;
            let mut shaped = shaped(seed, latency, jitter, None);
            let (mut now, mut sent) = (0, Vec::new());
            let mut next = 0u8;
            for (pause, bytes) in steps {
                now += pause * MS;
                let chunk: Vec<u8> = (0..bytes).map(|_| { next = next.wrapping_add(1); next }).collect();
                shaped.hold(&chunk, now);
                sent.push((now, chunk));
            }
            shaped.end(Cause::Eof, now);
            prop_assert_eq!(shaped.may_read(now), 0);
            let mut latest = 0;
            for (at, chunk) in sent {
                let arrives = shaped.arrives_ns();
                prop_assert!(arrives >= at + (latency - jitter) * MS);
                latest = latest.max(at + (latency + jitter) * MS);
                prop_assert!(arrives <= latest);
                prop_assert!(arrives == 0 || shaped.arrived(arrives - 1).is_none());
                match shaped.arrived(arrives) {
                    Some(Arrival::Bytes(bytes)) => prop_assert_eq!(&bytes[..], &chunk[..]),
                    _ => prop_assert!(false, "bytes before the end"),
                }
            }
            prop_assert!(matches!(shaped.arrived(shaped.arrives_ns()), Some(Arrival::End(Cause::Eof))));
            prop_assert_eq!(shaped.arrives_ns(), u64::MAX);
        }

        /// A queue that grows and leaves: nothing before its time, nothing faster than the line, all of it.
        #[test]
        fn what_goes_out_waits_its_time_and_keeps_to_the_line(
            seed: u64,
            latency in 0u64..100,
            rate in 100u64..100_000,
            steps in prop::collection::vec((1u64..50, 0usize..400), 1..60),
        ) {
            let mut shaped = shaped(seed, latency, latency / 2, Some(rate));
            let (mut now, mut queued, mut gone) = (0, 0, 0);
            let mut history = Vec::new();
            let drain = |shaped: &mut Shaped, now: u64, queued: usize, gone: &mut usize| {
                let may = shaped.may_write(queued - *gone, now).map_or(0, |may| may.bytes);
                shaped.wrote(may);
                *gone += may;
            };
            for (pause, bytes) in steps {
                now += pause * MS;
                queued += bytes;
                history.push((now, queued));
                drain(&mut shaped, now, queued, &mut gone);
                prop_assert!(gone as u128 <= u128::from(now) * u128::from(rate) / 1_000_000_000);
                // No more than was queued by the time that could have travelled.
                let least = (latency - latency / 2) * MS;
                let could = history.iter().rfind(|(at, _)| at + least <= now).map_or(0, |(_, all)| *all);
                prop_assert!(gone <= could);
            }
            for _ in 0..200_000 {
                if gone == queued {
                    break;
                }
                let next = shaped.writes_ns(now);
                prop_assert!(next != u64::MAX && next >= now);
                now = next;
                let before = gone;
                drain(&mut shaped, now, queued, &mut gone);
                // Each look gets on, if only to the next mark's time.
                prop_assert!(gone > before || shaped.writes_ns(now) > now);
            }
            prop_assert_eq!(gone, queued);
            prop_assert_eq!(shaped.writes_ns(now), u64::MAX);
        }
    }

    #[test]
    fn beyond_what_may_wait_nothing_is_read_until_some_is_delivered() {
        let mut shaped = shaped(1, 100, 0, None);
        shaped.hold(&vec![0; 1 << 16], 0);
        assert_eq!((shaped.may_read(0), shaped.reads_ns(0)), (0, u64::MAX));
        assert!(shaped.arrived(100 * MS).is_some());
        assert_eq!((shaped.may_read(0), shaped.reads_ns(5)), (1 << 16, 5));
    }

    #[test]
    fn when_it_is_over_all_that_waits_goes_at_once_and_in_order() {
        let mut shaped = shaped(1, 100, 50, Some(10));
        shaped.hold(b"ab", 0);
        shaped.hold(b"cd", 1);
        shaped.end(Cause::Eof, 2);
        shaped.let_go();
        assert!(!shaped.is_over());
        let mut came = Vec::new();
        while let Some(arrival) = shaped.arrived(3) {
            match arrival {
                Arrival::Bytes(bytes) => came.extend_from_slice(&bytes),
                Arrival::End(_) => came.push(b'.'),
            }
        }
        assert_eq!(came, b"abcd.");
        assert!(shaped.is_over());
        assert_eq!(
            shaped.may_write(1_000, 3).map(|may| (may.bytes, may.slice)),
            Some((1_000, usize::MAX))
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let times = |seed| {
            let mut shaped = shaped(seed, 100, 100, None);
            (0..50u64).map(|i| shaped.travel(i)).collect::<Vec<_>>()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }
}
