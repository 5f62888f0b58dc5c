//! `network`: a connection whose bytes take longer, come slower and leave in smaller pieces than they would.
//!
//! What is read waits here until its time, in order; what is queued to be written stays in its queue, and here is
//! written down how much of it may leave when. Times are drawn one after the other and never overtake: jitter moves
//! bytes, and does not reorder them. What waits to be delivered is bounded: beyond it nothing is read, and the
//! target's own buffers fill.

use super::super::end::Cause;
use super::super::outbox::Allowance;
use super::super::shard::Shard;
use super::bucket::Bucket;
use super::trouble::READS;
use crate::plan::{Network, Stream};
use std::collections::VecDeque;
use std::io;

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

    /// Nothing is under way any more, in either direction.
    pub fn begin_anew(&mut self) {
        self.inward.chunks.clear();
        self.inward.held = 0;
        self.inward.end = None;
        self.outward.marks.clear();
        self.outward.marked = 0;
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

    /// The fault is over and another begins. What is on its way was let go first, and stays in front of all that comes.
    pub fn give_way(&mut self, next: Shaped) {
        self.let_go();
        let before = std::mem::replace(self, next);
        self.inward.chunks = before.inward.chunks;
        self.inward.held = before.inward.held;
        self.inward.end = before.inward.end;
        self.outward.marks = before.outward.marks;
        self.outward.marked = before.outward.marked;
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

impl Shard {
    /// What has arrived by now through a bad network.
    pub(super) fn deliver(&mut self, c: usize) {
        let generation = self.conns[c].generation;
        for _ in 0..READS {
            let now = self.now();
            let trouble = self.faults.troubles.get_mut(&(c as u32));
            let Some(trouble) = trouble.filter(|trouble| trouble.partition.is_none()) else {
                return;
            };
            let arrival = trouble.network.as_mut().and_then(|n| n.arrived(now));
            match arrival {
                Some(Arrival::Bytes(bytes)) => self.bytes(c, &bytes, now),
                Some(Arrival::End(cause)) => return self.lost(c, cause, now),
                None => return,
            }
            if self.conns[c].generation != generation {
                return;
            }
        }
    }

    /// The socket takes nothing any more. What came before that may still be on its way through a bad network.
    pub(in super::super) fn broken(&mut self, c: usize, error: io::Error, now: u64) {
        let trouble = self.faults.troubles.get_mut(&(c as u32));
        match trouble.and_then(|trouble| trouble.network.as_mut()) {
            Some(network) => network.end(Cause::Socket(error), now),
            None => self.lost(c, Cause::Socket(error), now),
        }
    }

    /// The fault with this number is over for a connection: what was under way arrives at once.
    pub(super) fn end_network(&mut self, c: usize, number: usize) {
        let trouble = self.faults.troubles.get_mut(&(c as u32));
        if let Some(network) = trouble.and_then(|trouble| trouble.network.as_mut())
            && network.number == number
        {
            network.let_go();
            self.pump(c);
        }
    }
}

#[cfg(test)]
mod tests;
