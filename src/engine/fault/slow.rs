//! `slow`: a connection that takes what the target sends slowly, in pauses or not at all, or answers its pings late.
//!
//! Its bytes are limited where they leave the socket, below TLS: what is not read fills the kernel's buffer, then
//! the target's. Once the kernel says that the target has ended the connection there is nothing left to be slow
//! with: what it sent last is read at once, so that its close code is known when it happened.

use super::super::conn::State;
use super::super::shard::Shard;
use super::super::traffic::is_full;
use super::bucket::Bucket;
use super::trouble::After;
use crate::metrics::{Counter, FaultTally};
use crate::plan::{Reading, Slow};
use crate::transport::socket;
use crate::transport::ws::Opcode;
use std::collections::VecDeque;

/// Pongs that wait at most; a newer ping takes the place of the newest (RFC 6455 §5.5.3).
const PONGS: usize = 32;

/// A slow consumer, while it is one.
pub struct Slowed {
    /// The fault's number in the run.
    pub number: usize,
    /// When it began for this connection, nanoseconds from the run's start.
    pub since_ns: u64,
    /// Bytes read since.
    pub taken: u64,
    /// Pongs with the time they are due.
    pub pongs: VecDeque<(u64, Vec<u8>)>,
    late_ns: u64,
    read: Read,
}

enum Read {
    Normal,
    Rate(Bucket),
    Never,
    Pauses { pause_ns: u64, every_ns: u64 },
}

impl Slowed {
    pub fn new(number: usize, slow: &Slow, now: u64) -> Self {
        Slowed {
            number,
            since_ns: now,
            taken: 0,
            pongs: VecDeque::new(),
            late_ns: slow.pong.as_nanos() as u64,
            read: match slow.read {
                Reading::Normal => Read::Normal,
                Reading::Rate(rate) => Read::Rate(Bucket::new(rate, rate, now)),
                Reading::Never => Read::Never,
                Reading::Pauses { pause, every } => Read::Pauses {
                    pause_ns: pause.as_nanos() as u64,
                    every_ns: every.as_nanos() as u64,
                },
            },
        }
    }

    /// Whether it reads as ever.
    pub fn reads_normally(&self) -> bool {
        matches!(self.read, Read::Normal)
    }

    /// Bytes that it may read now.
    pub fn may_read(&mut self, now: u64) -> usize {
        match &mut self.read {
            Read::Normal => usize::MAX,
            Read::Never => 0,
            Read::Rate(bucket) => bucket.allowed(now) as usize,
            Read::Pauses { pause_ns, every_ns } => {
                match (now.saturating_sub(self.since_ns)) % *every_ns < *pause_ns {
                    true => 0,
                    false => usize::MAX,
                }
            }
        }
    }

    /// When it may read again; `u64::MAX`: not while this lasts.
    pub fn reads_ns(&self, now: u64) -> u64 {
        match &self.read {
            Read::Normal => now,
            Read::Never => u64::MAX,
            // Ten times a second, not for every byte.
            Read::Rate(bucket) => bucket.ready_ns(bucket.rate() / 10),
            Read::Pauses { pause_ns, every_ns } => {
                let passed = now.saturating_sub(self.since_ns);
                match passed % every_ns < *pause_ns {
                    true => self.since_ns + passed / every_ns * every_ns + pause_ns,
                    false => now,
                }
            }
        }
    }

    /// So many bytes left the socket.
    pub fn took(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        if let Read::Rate(bucket) = &mut self.read {
            bucket.spend(bytes as u64);
        }
    }

    /// Keeps a ping's answer for later. False when it answers at once.
    pub fn put_off(&mut self, payload: &[u8], now: u64) -> bool {
        if self.late_ns == 0 {
            return false;
        }
        if self.pongs.len() == PONGS {
            self.pongs.pop_back();
        }
        self.pongs.push_back((now + self.late_ns, payload.to_vec()));
        true
    }
}

impl Shard {
    /// Answers a ping later, if the connection's trouble is of that kind. False when it is answered now.
    pub(in super::super) fn put_off_pong(&mut self, c: usize, payload: &[u8], now: u64) -> bool {
        let slow = self.faults.trouble(c).slow.as_mut();
        let put_off = slow.is_some_and(|slow| slow.put_off(payload, now));
        if put_off {
            self.look_again(c);
        }
        put_off
    }

    /// Answers the pings whose answers are late enough.
    pub(super) fn late_pongs(&mut self, c: usize) {
        let now = self.now();
        while let Some(slow) = self
            .faults
            .troubles
            .get_mut(&(c as u32))
            .and_then(|t| t.slow.as_mut())
            && slow.pongs.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, payload)) = slow.pongs.pop_front()
        {
            self.pong_to(c, &payload);
        }
    }

    fn pong_to(&mut self, c: usize, payload: &[u8]) {
        let conn = &self.conns[c];
        if conn.state == State::Ready && !is_full(conn, &self.plan) {
            self.queue_control(c, Opcode::Pong, payload);
            self.count(c, Counter::PingsAnswered);
        }
    }

    /// The fault with this number is over for a connection, which goes on as if nothing had been. What it did not
    /// read is read now; should there be a goodbye in it, it is the fault's doing.
    pub(super) fn end_slow(&mut self, c: usize, number: usize, now: u64) {
        if self.leave_slow(c, number, now) {
            self.pump(c);
        }
    }

    /// The same without reading. False when it was not the one.
    pub(super) fn leave_slow(&mut self, c: usize, number: usize, now: u64) -> bool {
        let patience = self.plan.target().close_timeout.as_nanos() as u64;
        let Some(trouble) = self.faults.troubles.get_mut(&(c as u32)) else {
            return false;
        };
        let Some(slow) = trouble.slow.take_if(|slow| slow.number == number) else {
            return false;
        };
        trouble.after = Some(After {
            number,
            until_ns: now + patience,
        });
        trouble.unread = true;
        let stream = self.conns[c].stream.as_ref();
        let unread = stream.map_or(0, |stream| socket::unread(&stream.socket));
        self.recorder.fault_did(
            number,
            FaultTally {
                taken: slow.taken,
                unread: unread as u64,
                ..FaultTally::default()
            },
        );
        for (_, payload) in &slow.pongs {
            self.pong_to(c, payload);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn slowed(read: Reading, pong_ms: u64) -> Slowed {
        let slow = Slow {
            read,
            pong: Duration::from_millis(pong_ms),
            receive_buffer: None,
        };
        Slowed::new(0, &slow, 1_000)
    }

    #[test]
    fn pauses_come_first_and_at_their_times() {
        let mut slow = slowed(
            Reading::Pauses {
                pause: Duration::from_nanos(20),
                every: Duration::from_nanos(50),
            },
            0,
        );
        // (now, whether it reads, when it reads next)
        for (now, reads, next) in [
            (1_000, false, 1_020),
            (1_019, false, 1_020),
            (1_020, true, 1_020),
            (1_049, true, 1_049),
            (1_050, false, 1_070),
            (1_172, true, 1_172),
            (1_169, false, 1_170),
        ] {
            assert_eq!(slow.may_read(now) > 0, reads, "{now}");
            assert_eq!(slow.reads_ns(now), next, "{now}");
        }
    }

    #[test]
    fn one_that_reads_nothing_never_does() {
        let mut slow = slowed(Reading::Never, 0);
        assert_eq!((slow.may_read(1 << 60), slow.reads_ns(5)), (0, u64::MAX));
    }

    #[test]
    fn late_pongs_are_bounded_and_the_newest_is_among_them() {
        assert!(!slowed(Reading::Normal, 0).put_off(b"x", 5));
        let mut slow = slowed(Reading::Normal, 3);
        for i in 0..200u8 {
            assert!(slow.put_off(&[i], u64::from(i)));
        }
        assert_eq!(slow.pongs.len(), PONGS);
        assert_eq!(slow.pongs.front(), Some(&(3_000_000, vec![0])));
        assert_eq!(slow.pongs.back(), Some(&(3_000_199, vec![199])));
    }
}
