//! Bytes on their way out of one connection, with what each frame is: what could not be written when a
//! connection ends is known frame by frame, so that nothing counts as sent that the socket (or its TLS session, which takes a
//! record at a time) did not take.

use super::stream::Stream;
use std::collections::VecDeque;
use std::io;

/// What a queued frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A ping, pong, close, subscribe or step message.
    Control,
    /// A publish: ordinal in the group, phase it was due in.
    Publish {
        /// Which of the group's publishes.
        ordinal: u8,
        /// Phase of its intended time.
        phase: u8,
    },
    /// A request, likewise.
    Request {
        /// Its `{id}`.
        id: u64,
        /// Phase of its intended time.
        phase: u8,
    },
}

/// How much of a queue may leave now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes at most.
    pub bytes: usize,
    /// Bytes of one write to the socket at most.
    pub slice: usize,
}

impl Allowance {
    /// All of it.
    pub const ALL: Allowance = Allowance {
        bytes: usize::MAX,
        slice: usize::MAX,
    };
}

/// How far a flush came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// All is gone.
    All,
    /// The socket takes no more.
    Blocked,
    /// No more may leave now.
    Held,
}

/// Queues kept for reuse.
const POOL: usize = 1024;
/// Capacity a queue keeps for reuse, bytes: one that was blocked may have grown to the largest allowed.
const KEPT: usize = 64 * 1024;

/// Keeps an empty queue for whoever needs one next.
#[expect(
    clippy::vec_box,
    reason = "boxes move to a connection and back, without an allocation"
)]
pub fn recycle(pool: &mut Vec<Box<Outbox>>, mut outbox: Box<Outbox>) {
    if pool.len() < POOL {
        outbox.bytes.shrink_to(KEPT);
        pool.push(outbox);
    }
}

struct Frame {
    end: usize,
    what: Written,
}

/// The queue of one connection. Exists only while there is something in it; empty ones wait in the
/// shard's pool with their capacity, so that steady state allocates nothing.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    gone: usize,
    /// Where the first of the frames begins; below 0 when its beginning has left, and the room for it was given back.
    first: isize,
    frames: VecDeque<Frame>,
}

impl Outbox {
    /// Where a frame is appended; [`Outbox::seal`] ends it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Everything appended since the last seal is one frame of this kind.
    pub fn seal(&mut self, what: Written) {
        self.frames.push_back(Frame {
            end: self.bytes.len(),
            what,
        });
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// Bytes to the middle of the first message none of which has left, or of the first frame of any kind.
    pub fn middle(&self, any: bool) -> Option<usize> {
        let mut start = self.first;
        for frame in &self.frames {
            let whole = usize::try_from(start).ok().filter(|at| *at >= self.gone);
            if let Some(at) = whole
                && (any || frame.what != Written::Control)
            {
                return Some(at - self.gone + (frame.end - at).div_ceil(2));
            }
            start = frame.end as isize;
        }
        None
    }

    /// Writes what the socket takes of what may leave, and reports each frame that left whole.
    pub fn flush(
        &mut self,
        stream: &mut Stream,
        may: Allowance,
        mut left: impl FnMut(Written),
    ) -> io::Result<Flushed> {
        let mut allowed = may.bytes;
        let result = loop {
            let most = self.waiting().min(allowed);
            if most == 0 {
                break match self.waiting() {
                    0 => stream.flush().map(|done| match done {
                        true => Flushed::All,
                        false => Flushed::Blocked,
                    }),
                    _ => Ok(Flushed::Held),
                };
            }
            match stream.write_in_slices(&self.bytes[self.gone..][..most], may.slice) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.gone += n;
                    allowed -= n;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break Ok(Flushed::Blocked),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        while self.frames.front().is_some_and(|f| f.end <= self.gone) {
            if let Some(frame) = self.frames.pop_front() {
                self.first = frame.end as isize;
                left(frame.what);
            }
        }
        if self.gone == self.bytes.len() {
            self.bytes.clear();
            (self.gone, self.first) = (0, 0);
        } else if self.gone > 64 * 1024 && self.gone > self.bytes.len() / 2 {
            self.bytes.drain(..self.gone);
            for frame in &mut self.frames {
                frame.end -= self.gone;
            }
            self.first -= self.gone as isize;
            self.gone = 0;
        }
        result
    }

    /// Empties it and says what never left whole, oldest first.
    pub fn abandon(&mut self, mut kept: impl FnMut(Written)) {
        for frame in self.frames.drain(..) {
            kept(frame.what);
        }
        self.bytes.clear();
        (self.gone, self.first) = (0, 0);
    }
}
