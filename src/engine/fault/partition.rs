//! `partition`: a connection that cannot reach the target: silent, and its socket stays open. Nothing is read or
//! written, and an attempt to open sends no SYN; when it is over the kernel's next repetition of it gets through.

use super::super::shard::Shard;
use super::super::stream::Stream;
use super::Faults;
use super::trouble::After;
use std::net::SocketAddr;

/// First time that the kernel repeats a SYN after, doubled for each further one (RFC 6298 §2, tcp(7)).
const FIRST_SYN_NS: u64 = 1_000_000_000;

/// An attempt to connect that goes nowhere.
pub struct Dial {
    /// The address.
    pub address: SocketAddr,
    since_ns: u64,
    /// When it gets through, once the partition is over; `u64::MAX` before.
    pub at_ns: u64,
}

impl Dial {
    /// Begun now.
    pub fn new(address: SocketAddr, now: u64) -> Self {
        Dial {
            address,
            since_ns: now,
            at_ns: u64::MAX,
        }
    }

    /// From now on the next SYN gets through.
    pub fn let_through(&mut self, now: u64) {
        self.at_ns = next_syn(self.since_ns, now);
    }
}

/// When an attempt begun then repeats its SYN next.
fn next_syn(since_ns: u64, now: u64) -> u64 {
    let (mut at, mut wait) = (since_ns, FIRST_SYN_NS);
    while at < now {
        at = at.saturating_add(wait);
        wait = wait.saturating_mul(2);
    }
    at
}

impl Faults {
    /// The kernel says something that cannot get through.
    pub fn hear_nothing(&mut self, c: usize, ended: bool) {
        let trouble = self.trouble(c);
        trouble.unread = true;
        trouble.hung_up |= ended;
    }

    /// An attempt to connect that goes nowhere for now.
    pub fn dial_in_vain(&mut self, c: usize, address: SocketAddr, now: u64) {
        self.trouble(c).dial = Some(Dial::new(address, now));
    }

    /// Keeps the socket of a connection that was given up while it was silent: the target must not hear of it before the
    /// fault is over.
    pub(super) fn bury(&mut self, number: usize, stream: Stream) {
        if let Some(fault) = self.running.iter_mut().find(|f| f.number == number) {
            fault.buried.push(stream);
        }
    }
}

impl Shard {
    /// Whether a connection cannot reach the target.
    pub(in super::super) fn is_silent(&self, c: usize) -> bool {
        self.conns[c].troubled
            && (self.faults.troubles.get(&(c as u32)))
                .is_some_and(|trouble| trouble.partition.is_some())
    }

    /// The fault with this number is over for a connection: what the kernel has is read, and what waits is written.
    pub(super) fn end_partition(&mut self, c: usize, number: usize, now: u64) {
        let patience = self.plan.target().close_timeout.as_nanos() as u64;
        let Some(trouble) = self.faults.troubles.get_mut(&(c as u32)) else {
            return;
        };
        if trouble.partition.take_if(|own| *own == number).is_none() {
            return;
        }
        // That the target gave it up meanwhile is found only now.
        trouble.healed = Some(After {
            number,
            until_ns: now + patience,
        });
        trouble.unread = true;
        if let Some(dial) = &mut trouble.dial {
            dial.let_through(now);
        }
        // One that is still opening goes on where it was; writable is what its socket says itself.
        self.socket_event(c, true, false, false);
        self.pump(c);
    }

    /// Repeats an attempt to connect that gets through now.
    pub(super) fn dial_again(&mut self, c: usize) {
        let now = self.now();
        let Some(trouble) = self.faults.troubles.get_mut(&(c as u32)) else {
            return;
        };
        if let Some(dial) = trouble.dial.take_if(|dial| dial.at_ns <= now) {
            self.connect(c, dial.address, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_is_repeated_after_1_3_7_and_15_seconds() {
        const S: u64 = 1_000_000_000;
        for (now, at) in [
            (5, 5),
            (6, 6),
            (8, 8),
            (9, 12),
            (12, 12),
            (13, 20),
            (21, 36),
        ] {
            assert_eq!(next_syn(5 * S, now * S), at * S, "{now}");
        }
    }
}
