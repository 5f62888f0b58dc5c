//! `stall`: a connection that stops in the middle of what it sends: of a message whose length it has declared, or
//! of its upgrade request, which trickles.

use super::super::outbox::Outbox;
use super::super::shard::Shard;
use super::Faults;
use super::bucket::Bucket;
use super::trouble::After;
use crate::metrics::Counter;
use crate::plan::{How, Stall};

/// Parts of a second between two bytes or more of a fast trickle.
const LOOKS: u64 = 100;

/// What stalls, while it does.
pub struct Stalled {
    /// The fault's number in the run.
    pub number: usize,
    /// When it came to a stop (a message) or began to trickle (a handshake), nanoseconds from the run's start; 0 before.
    pub since_ns: u64,
    what: What,
}

/// What came of the end of a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It was another's, or none.
    Other,
    /// The connection may go on.
    Free,
    /// The connection left, with its message unfinished.
    Gone,
}

enum What {
    Message {
        finish: bool,
        /// Any frame will do: the group sends no messages.
        any: bool,
        /// Bytes to the middle of the one that was found; `None`: none is queued yet.
        left: Option<usize>,
    },
    Handshake(Bucket),
}

impl Stalled {
    /// From now on. Of a group that sends no messages it is the next frame of any kind.
    pub fn new(number: usize, stall: Stall, any: bool, now: u64) -> Self {
        Stalled {
            number,
            since_ns: 0,
            what: match stall {
                Stall::Message { finish } => What::Message {
                    finish,
                    any,
                    left: None,
                },
                Stall::Handshake { rate } => What::Handshake(Bucket::new(rate, rate / LOOKS, now)),
            },
        }
    }

    /// Whether it is a handshake.
    pub fn is_handshake(&self) -> bool {
        matches!(self.what, What::Handshake(_))
    }

    /// Whether it stands in the middle of a message.
    pub fn is_stuck(&self) -> bool {
        self.since_ns > 0 && !self.is_handshake()
    }

    /// Whether the message is never finished.
    pub fn is_left(&self) -> bool {
        self.is_stuck() && matches!(self.what, What::Message { finish: false, .. })
    }

    /// Bytes of the queue that may leave now; `upgrading`: the upgrade request is what is in it.
    pub fn may_write(&mut self, outbox: &Outbox, upgrading: bool, now: u64) -> usize {
        match &mut self.what {
            What::Message { any, left, .. } => {
                if left.is_none() {
                    *left = outbox.middle(*any);
                }
                left.unwrap_or(usize::MAX)
            }
            What::Handshake(bucket) if upgrading => bucket.allowed(now) as usize,
            What::Handshake(_) => usize::MAX,
        }
    }

    /// So many bytes left. True when it stalls from now on.
    pub fn wrote(&mut self, bytes: usize, upgrading: bool, now: u64) -> bool {
        let stalls = match &mut self.what {
            What::Message { left, .. } => {
                if let Some(left) = left {
                    *left -= bytes.min(*left);
                }
                *left == Some(0)
            }
            What::Handshake(bucket) => {
                bucket.spend(bytes as u64);
                upgrading
            }
        };
        let first = stalls && self.since_ns == 0;
        if first {
            self.since_ns = now.max(1);
        }
        first
    }

    /// When more may be written.
    pub fn writes_ns(&self, upgrading: bool, now: u64) -> u64 {
        match &self.what {
            What::Message { left: Some(0), .. } => u64::MAX,
            What::Handshake(bucket) if upgrading => bucket.ready_ns(bucket.rate() / LOOKS),
            _ => now,
        }
    }
}

impl Faults {
    /// Whether an opening takes so long because its own request trickles.
    pub fn trickles(&self, c: usize) -> bool {
        let stall = self
            .troubles
            .get(&(c as u32))
            .and_then(|t| t.stall.as_ref());
        stall.is_some_and(Stalled::is_handshake)
    }

    /// The target refuses an opening with this HTTP status.
    pub fn refused(&mut self, c: usize, status: u16) {
        if let Some(trouble) = self.troubles.get_mut(&(c as u32)) {
            trouble.refused = status;
        }
    }
}

impl Shard {
    /// The fault with this number is over for a connection: the rest of what stalled is sent, unless it is to be left.
    pub(super) fn end_stall(&mut self, c: usize, number: usize, now: u64) {
        if self.leave_stall(c, number, now) == Left::Free {
            self.pump(c);
        }
    }

    /// The same without writing.
    pub(super) fn leave_stall(&mut self, c: usize, number: usize, now: u64) -> Left {
        let patience = self.plan.target().close_timeout.as_nanos() as u64;
        let Some(trouble) = self.faults.troubles.get_mut(&(c as u32)) else {
            return Left::Other;
        };
        let Some(stall) = trouble.stall.take_if(|stall| stall.number == number) else {
            return Left::Other;
        };
        if stall.since_ns > 0 {
            trouble.after = Some(After {
                number,
                until_ns: now + patience,
            });
        }
        if stall.is_left() && self.cut(c, How::Fin, number, now) {
            let g = usize::from(self.conns[c].group);
            self.recorder.count(Counter::Cut, self.phase, g, 1);
            return Left::Gone;
        }
        Left::Free
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outbox::Written;
    use super::*;

    const PUBLISH: Written = Written::Publish {
        ordinal: 0,
        phase: 0,
    };

    fn queue(frames: &[(usize, Written)]) -> Outbox {
        let mut outbox = Outbox::default();
        for (len, what) in frames {
            let end = outbox.buffer().len() + len;
            outbox.buffer().resize(end, 0);
            outbox.seal(*what);
        }
        outbox
    }

    #[test]
    fn it_stops_in_the_middle_of_the_first_message() {
        let mut stalled = Stalled::new(0, Stall::Message { finish: true }, false, 5);
        // Nothing to stop in yet: what is queued leaves.
        let control = queue(&[(10, Written::Control)]);
        assert_eq!(stalled.may_write(&control, false, 6), usize::MAX);
        assert!(!stalled.wrote(10, false, 6));
        let both = queue(&[(10, Written::Control), (101, PUBLISH), (50, PUBLISH)]);
        assert_eq!(stalled.may_write(&both, false, 7), 61);
        assert!(!stalled.wrote(40, false, 8) && !stalled.is_stuck());
        assert_eq!(stalled.may_write(&both, false, 9), 21);
        assert!(stalled.wrote(21, false, 9) && stalled.is_stuck() && !stalled.is_left());
        assert_eq!(
            (stalled.since_ns, stalled.writes_ns(false, 10)),
            (9, u64::MAX)
        );
        assert_eq!(stalled.may_write(&both, false, 10), 0);
        assert!(!stalled.wrote(0, false, 11), "once");
        // Of a group that sends none it is any frame.
        let mut any = Stalled::new(0, Stall::Message { finish: false }, true, 5);
        assert_eq!(any.may_write(&both, false, 6), 5);
        assert!(any.wrote(5, false, 6) && any.is_left());
    }

    #[test]
    fn a_request_trickles_and_what_follows_does_not() {
        const S: u64 = 1_000_000_000;
        let mut stalled = Stalled::new(0, Stall::Handshake { rate: 1 }, false, 0);
        let request = queue(&[(200, Written::Control)]);
        assert_eq!(stalled.may_write(&request, true, S - 1), 0);
        assert_eq!(stalled.writes_ns(true, 5), S);
        assert_eq!(stalled.may_write(&request, true, S), 1);
        assert!(stalled.wrote(1, true, S) && !stalled.is_stuck());
        assert_eq!((stalled.since_ns, stalled.writes_ns(true, S)), (S, 2 * S));
        assert_eq!(stalled.may_write(&request, false, S), usize::MAX);
        assert_eq!(stalled.writes_ns(false, S), S);
    }
}
