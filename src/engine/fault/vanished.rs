//! Sockets of connections that vanished: silent, and open until the target ends them or the run is over.
//!
//! Nothing is read from them, so that what the target sent last, its Close frame among it, stays unknown. That it has
//! hung up (FIN or RST) the kernel tells by itself.

use super::super::shard::Shard;
use super::super::stream::Stream;
use crate::metrics::{Counter, FaultEndKey, FaultTally, Timer};
use crate::transport::socket;
use mio::{Interest, Token};
use std::collections::HashMap;

/// The lower half of their tokens: a connection's has its place there, and of so many a shard would not have a third of
/// the descriptors. The upper half is their own number.
const PLACE: usize = 1 << 31;
/// Nobody knows by which code the target ended it.
const UNKNOWN: u16 = 1006;

/// One of them.
struct Silent {
    stream: Stream,
    /// TCP connections that it had beside that one: as silent, and of no interest.
    _besides: Vec<Stream>,
    /// The fault's number in the run.
    number: usize,
    group: u16,
    phase: usize,
    since_ns: u64,
}

/// Those of a shard, by their number.
#[derive(Default)]
pub struct Vanished {
    all: HashMap<u32, Silent>,
    next: u32,
}

impl Vanished {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

/// The number of the vanished connection that an event is for; `None`: for something else.
pub fn of(token: Token) -> Option<u32> {
    (token.0 & 0xffff_ffff == PLACE).then_some((token.0 >> 32) as u32)
}

impl Shard {
    /// Keeps the socket of a connection that has just vanished, by the run's fault with this number.
    pub(super) fn vanish(
        &mut self,
        c: usize,
        mut stream: Stream,
        mut besides: Vec<Stream>,
        number: usize,
        now: u64,
    ) {
        for beside in &mut besides {
            let _ = self.poll.registry().deregister(&mut beside.socket);
        }
        let vanished = &mut self.faults.vanished;
        let own = vanished.next;
        vanished.next = own.wrapping_add(1);
        let token = Token(PLACE | (own as usize) << 32);
        // Should the kernel refuse, it is as silent, and its end is not told: one measurement less, and no wrong one.
        let registry = self.poll.registry();
        let _ = registry.reregister(&mut stream.socket, token, Interest::READABLE);
        let group = usize::from(self.conns[c].group);
        self.recorder
            .count(Counter::Afflicted, self.phase, group, 1);
        let silent = Silent {
            stream,
            _besides: besides,
            number,
            group: self.conns[c].group,
            phase: self.phase,
            since_ns: now,
        };
        vanished.all.insert(own, silent);
    }

    /// The run is over: what lies unread in those that nobody was seen to end. Where the kernel's buffer is full, the target's own
    /// end waits behind it, and cannot be seen.
    pub(in super::super) fn end_vanished(&mut self) {
        for silent in self.faults.vanished.all.values() {
            let unread = FaultTally {
                unread: socket::unread(&silent.stream.socket) as u64,
                ..FaultTally::default()
            };
            self.recorder.fault_did(silent.number, unread);
        }
    }

    /// The kernel says that the target has ended the connection behind such a socket.
    pub(in super::super) fn vanished_ended(&mut self, own: u32) {
        let Some(mut silent) = self.faults.vanished.all.remove(&own) else {
            return;
        };
        let took = self.now() as i64 - silent.since_ns as i64;
        let group = usize::from(silent.group);
        self.recorder
            .time(Timer::Evicted, silent.phase, group, took);
        let key = FaultEndKey {
            code: UNKNOWN,
            after: false,
        };
        self.recorder.fault_end(silent.number, key);
        let _ = self.poll.registry().deregister(&mut silent.stream.socket);
    }
}
