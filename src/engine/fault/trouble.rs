//! A connection that a lasting fault acts on: what may be read, written and answered now, and when it is looked at next.
//!
//! A connection without trouble pays one look at a flag. Of one in trouble the details are here, in a table of the
//! shard's, one part for each fault: faults of several kinds act on a connection together. Whatever happens to it
//! (an event, a queued frame, a time that has come) ends in [`Shard::pump`], which does all that may be done now
//! and sets the time of the next look.
//!
//! Nothing is lost here: what is not read stays in the kernel's buffer. Events are edges, so that a socket that was
//! not read to its end is remembered (`unread`) and read again when it may be.

use super::super::conn::{Conn, Mark, Stage};
use super::super::end::Cause;
use super::super::outbox::{Allowance, Outbox};
use super::super::shard::Shard;
use super::Faults;
use super::network::Shaped;
use super::partition::Dial;
use super::slow::Slowed;
use super::stall::Stalled;
use crate::metrics::{FaultEndKey, FaultTally, Timer};
use std::cmp::Reverse;
use std::io;

/// Reads of one connection in a row before others get their turn.
pub(super) const READS: usize = 16;
/// Connections looked at in one turn because their time has come.
const LOOKS_PER_TURN: usize = 256;

/// What is wrong with a connection; see the module.
#[derive(Default)]
pub struct Trouble {
    pub slow: Option<Slowed>,
    pub stall: Option<Stalled>,
    /// Boxed, as it is large.
    pub network: Option<Box<Shaped>>,
    /// The number of the fault that keeps it from the target.
    pub partition: Option<usize>,
    /// An attempt to connect that was made in a partition.
    pub dial: Option<Dial>,
    /// What comes to light once a fault is over.
    pub after: Option<After>,
    /// The same of a partition: a loss that was its doing.
    pub healed: Option<After>,
    /// The socket may hold bytes that no further event will tell of.
    pub unread: bool,
    /// First sign that the target ends the connection: its Close frame, or the kernel's word. 0: none.
    pub ended_ns: u64,
    /// HTTP status by which its opening was refused, 0 if it was not.
    pub refused: u16,
    /// The kernel says that the target has ended the connection: no more will come.
    pub hung_up: bool,
    /// When it is looked at next, `u64::MAX` when only an event can move it.
    wake_ns: u64,
}

/// A fault that is over: closes are still its doing, as long as what was held back is being read.
pub struct After {
    /// The fault's number in the run.
    pub number: usize,
    /// To when.
    pub until_ns: u64,
}

impl Trouble {
    fn new() -> Self {
        Trouble {
            unread: true,
            wake_ns: u64::MAX,
            ..Trouble::default()
        }
    }

    fn is_over(&self) -> bool {
        self.slow.is_none()
            && self.stall.is_none()
            && self.network.is_none()
            && self.partition.is_none()
            && self.dial.is_none()
            && self.after.is_none()
            && self.healed.is_none()
    }

    /// Bytes that may be read now.
    fn may_read(&mut self, now: u64) -> usize {
        if self.partition.is_some() {
            return 0;
        }
        let slow = match &mut self.slow {
            Some(slow) if !self.hung_up => slow.may_read(now),
            _ => usize::MAX,
        };
        let network = self.network.as_mut();
        slow.min(network.map_or(usize::MAX, |network| network.may_read(now)))
    }

    /// How much of a queue may leave now; `None`: it is not even looked at.
    fn may_write(&mut self, outbox: &Outbox, upgrading: bool, now: u64) -> Option<Allowance> {
        if self.partition.is_some() {
            return None;
        }
        let mut may = match &mut self.network {
            Some(network) => network.may_write(outbox.waiting(), now)?,
            None => Allowance::ALL,
        };
        if let Some(stall) = &mut self.stall {
            may.bytes = may.bytes.min(stall.may_write(outbox, upgrading, now));
        }
        Some(may)
    }

    /// So many bytes left. The number of the fault that the connection stalls by from now on.
    fn wrote(&mut self, bytes: usize, upgrading: bool, now: u64) -> Option<usize> {
        if let Some(network) = &mut self.network {
            network.wrote(bytes);
        }
        let stall = self.stall.as_mut()?;
        stall.wrote(bytes, upgrading, now).then_some(stall.number)
    }

    fn took(&mut self, bytes: usize) {
        if let Some(network) = &mut self.network {
            network.took(bytes);
        }
        if let Some(slow) = &mut self.slow {
            slow.took(bytes);
        }
    }

    /// When something may be done that may not be done now; a blocked socket says itself when it takes bytes again.
    fn next_ns(&self, now: u64, conn: &Conn) -> u64 {
        let mut next = u64::MAX;
        let mut at = |time: u64| next = next.min(time);
        let over = self.after.iter().chain(&self.healed);
        over.filter(|_| self.ended_ns == 0)
            .for_each(|after| at(after.until_ns));
        if self.partition.is_some() {
            return next;
        }
        if self.unread {
            let slow = match &self.slow {
                Some(slow) if !self.hung_up => slow.reads_ns(now),
                _ => now,
            };
            let network = self.network.as_ref();
            at(slow.max(network.map_or(now, |network| network.reads_ns(now))));
        }
        if let Some(network) = &self.network {
            at(network.arrives_ns());
        }
        if conn.outbox.is_some() && !conn.blocked {
            let stall = self.stall.as_ref();
            let stall = stall.map(|stall| stall.writes_ns(is_upgrading(conn), now));
            let network = self.network.as_ref().map(|network| network.writes_ns(now));
            // What nothing holds back has left already.
            at(stall.max(network).unwrap_or(u64::MAX));
        }
        if let Some(dial) = &self.dial {
            at(dial.at_ns);
        }
        if let Some(slow) = &self.slow {
            at(slow.pongs.front().map_or(u64::MAX, |(due, _)| *due));
        }
        next
    }
}

/// Whether what a connection has to write is its upgrade request.
fn is_upgrading(conn: &Conn) -> bool {
    let opening = conn.opening.as_ref();
    opening.is_some_and(|opening| matches!(opening.stage, Stage::Polling | Stage::Upgrade))
}

impl Faults {
    /// The trouble of a connection, which has some from now on.
    pub(super) fn trouble(&mut self, c: usize) -> &mut Trouble {
        let new = || Box::new(Trouble::new());
        self.troubles.entry(c as u32).or_insert_with(new)
    }

    /// The target says that it goes.
    pub fn told_to_go(&mut self, c: usize, now: u64) {
        if let Some(trouble) = self.troubles.get_mut(&(c as u32))
            && trouble.ended_ns == 0
        {
            trouble.ended_ns = now;
        }
    }

    /// A connection goes on over another socket: what was held of the one before is gone with it.
    pub fn another_socket(&mut self, c: usize) {
        let Some(trouble) = self.troubles.get_mut(&(c as u32)) else {
            return;
        };
        if let Some(network) = &mut trouble.network {
            network.begin_anew();
        }
        (trouble.unread, trouble.hung_up, trouble.ended_ns) = (true, false, 0);
    }

    /// Whether the peer's silence is of our own making, and its pong may lie unread.
    pub fn is_patient(&self, c: usize) -> bool {
        let trouble = self.troubles.get(&(c as u32));
        trouble.is_some_and(|t| {
            t.after.is_some()
                || t.slow.as_ref().is_some_and(|s| !s.reads_normally())
                || t.stall.as_ref().is_some_and(Stalled::is_stuck)
        })
    }

    /// When the next connection in trouble is to be looked at, or the next fault ends.
    pub fn wake_ns(&self) -> u64 {
        let wake = self.wakes.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        wake.min(self.ends_ns)
    }
}

impl Shard {
    /// The kernel says something of the socket of a connection in trouble.
    pub(in super::super) fn troubled_event(&mut self, c: usize, ended: bool, now: u64) {
        self.faults.trouble(c).unread = true;
        if ended {
            self.hung_up(c, now);
        }
        self.pump(c);
    }

    /// The kernel says that the target has ended the connection.
    pub(in super::super) fn hung_up(&mut self, c: usize, now: u64) {
        let trouble = self.faults.trouble(c);
        trouble.hung_up = true;
        trouble.unread = true;
        if trouble.ended_ns == 0 {
            trouble.ended_ns = now;
        }
    }

    /// Does what may be done now for a connection in trouble, and sets the time to look again.
    pub(super) fn pump(&mut self, c: usize) {
        self.dial_again(c);
        self.late_pongs(c);
        self.deliver(c);
        self.read_some(c);
        if self.conns[c].troubled {
            self.flush_in_trouble(c);
        }
    }

    /// Looks at those whose time has come. True while there are more.
    pub(super) fn look_at_troubled(&mut self, now: u64) -> bool {
        for _ in 0..LOOKS_PER_TURN {
            let Some(Reverse((at, c))) = self.faults.wakes.peek().copied() else {
                return false;
            };
            if at > now {
                return false;
            }
            self.faults.wakes.pop();
            let Some(trouble) = self.faults.troubles.get_mut(&c) else {
                continue;
            };
            // One that was moved to an earlier time was there already.
            if trouble.wake_ns != at {
                continue;
            }
            trouble.wake_ns = u64::MAX;
            // Whoever has said goodbye by then is on its way.
            if trouble.ended_ns == 0 {
                trouble.after.take_if(|after| after.until_ns <= now);
                trouble.healed.take_if(|after| after.until_ns <= now);
            }
            self.pump(c as usize);
        }
        true
    }

    /// Sets the time of the next look; one without any trouble left is as ever.
    pub(super) fn look_again(&mut self, c: usize) {
        let now = self.now();
        let Some(trouble) = self.faults.troubles.get_mut(&(c as u32)) else {
            return;
        };
        trouble.network.take_if(|network| network.is_over());
        if trouble.is_over() {
            let unread = trouble.unread;
            self.faults.troubles.remove(&(c as u32));
            let conn = &mut self.conns[c];
            conn.troubled = false;
            if unread && !conn.mark(Mark::Unread, true) {
                self.again.push_back((c as u32, conn.generation));
            }
            return;
        }
        let next = trouble.next_ns(now, &self.conns[c]);
        if next < trouble.wake_ns {
            trouble.wake_ns = next;
            self.faults.wakes.push(Reverse((next, c as u32)));
        }
    }

    /// Reads as much as may be read, and sets the time to go on.
    pub(in super::super) fn read_in_trouble(&mut self, c: usize) {
        self.read_some(c);
        self.look_again(c);
    }

    fn read_some(&mut self, c: usize) {
        // While a read is under way its rest is still to be handled: the look after it goes on.
        if self.scratch.is_empty() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let generation = self.conns[c].generation;
        for _ in 0..READS {
            let now = self.now();
            let opening = self.conns[c].opening.as_ref();
            let greets = opening.is_some_and(|opening| opening.stage == Stage::Tls);
            let Some(trouble) = self.faults.troubles.get_mut(&(c as u32)) else {
                break;
            };
            if greets {
                // Behind a proxy: what comes next is TLS's, and is read by its handshake as it comes.
                trouble.unread = false;
            }
            if !trouble.unread {
                break;
            }
            let most = trouble.may_read(now);
            if most == 0 {
                break;
            }
            let Some(stream) = &mut self.conns[c].stream else {
                trouble.unread = false;
                break;
            };
            let mut left = most;
            let read = stream.read_at_most(&mut scratch, &mut left);
            trouble.took(most - left);
            let network = trouble.network.as_mut();
            match (read, network) {
                // The limit, and not the socket, which may hold more.
                (Err(e), _) if e.kind() == io::ErrorKind::WouldBlock && left == 0 => {}
                (Err(e), _) if e.kind() == io::ErrorKind::WouldBlock => trouble.unread = false,
                (Err(e), _) if e.kind() == io::ErrorKind::Interrupted => {}
                (Ok(n), Some(network)) if n > 0 => network.hold(&scratch[..n], now),
                (Ok(_), Some(network)) => network.end(Cause::Eof, now),
                (Err(e), Some(network)) => network.end(Cause::Socket(e), now),
                (Ok(0), None) => self.lost(c, Cause::Eof, now),
                (Ok(n), None) => self.bytes(c, &scratch[..n], now),
                (Err(e), None) => self.lost(c, Cause::Socket(e), now),
            }
            if self.conns[c].generation != generation {
                break;
            }
        }
        self.scratch = scratch;
    }

    /// Writes as much of a connection's queue as may leave.
    pub(in super::super) fn flush_in_trouble(&mut self, c: usize) {
        let now = self.now();
        if let Some(outbox) = &self.conns[c].outbox
            && let Some(trouble) = self.faults.troubles.get_mut(&(c as u32))
            && let upgrading = is_upgrading(&self.conns[c])
            && let Some(may) = trouble.may_write(outbox, upgrading, now)
        {
            let generation = self.conns[c].generation;
            let gone = self.flush_within(c, may);
            if self.conns[c].generation == generation
                && let Some(trouble) = self.faults.troubles.get_mut(&(c as u32))
                && let Some(stalls) = trouble.wrote(gone, upgrading, now)
            {
                self.touch_by(stalls, c);
                self.afflicted(stalls, c);
            }
        }
        self.look_again(c);
    }

    /// A connection in trouble is lost: with this code, if the target ended it. The number of the partition whose doing
    /// it is, if it is one's; and of another fault that acted on it, or had until a moment ago.
    pub(in super::super) fn trouble_lost(
        &mut self,
        c: usize,
        ended_with: Option<u16>,
        now: u64,
    ) -> (Option<usize>, Option<usize>) {
        self.conns[c].troubled = false;
        let Some(trouble) = self.faults.troubles.remove(&(c as u32)) else {
            return (None, None);
        };
        let healed = trouble.healed.as_ref().map(|healed| healed.number);
        let parted = trouble.partition.or(healed);
        let slow = trouble.slow.as_ref().map(|slow| slow.number);
        let stuck = trouble.stall.as_ref().filter(|stall| stall.is_stuck());
        let after = trouble.after.as_ref().map(|after| after.number);
        let network = trouble.network.as_ref().map(|network| network.number);
        let acted = slow.or(stuck.map(|stall| stall.number)).or(after);
        self.blame(c, *trouble, ended_with, now);
        (parted, acted.or(network))
    }

    /// Counts the end of a connection that was in this trouble to the fault whose doing it is.
    fn blame(&mut self, c: usize, trouble: Trouble, ended_with: Option<u16>, now: u64) {
        if let Some(number) = trouble.partition
            && let Some(mut stream) = self.conns[c].stream.take()
        {
            let _ = self.poll.registry().deregister(&mut stream.socket);
            self.faults.bury(number, stream);
        }
        let mut blamed = None;
        if let Some(slow) = &trouble.slow {
            blamed = Some((slow.number, Some(slow.since_ns)));
            self.recorder.fault_did(
                slow.number,
                FaultTally {
                    taken: slow.taken,
                    ..FaultTally::default()
                },
            );
        } else if let Some(stall) = trouble
            .stall
            .as_ref()
            .filter(|stall| stall.is_stuck() || stall.since_ns > 0 && is_upgrading(&self.conns[c]))
        {
            blamed = Some((stall.number, Some(stall.since_ns)));
        } else if let Some(after) = &trouble.after {
            blamed = Some((after.number, None));
        }
        let refused = (trouble.refused > 0).then_some(trouble.refused);
        let (Some((number, since)), Some(code)) = (blamed, refused.or(ended_with)) else {
            return;
        };
        let after = since.is_none();
        // A refused opening is nobody's close.
        if refused.is_none() {
            self.faults.closed(number, c, &mut self.recorder);
        }
        self.recorder.fault_end(number, FaultEndKey { code, after });
        if let Some(since) = since {
            let seen = if trouble.ended_ns > 0 {
                trouble.ended_ns
            } else {
                now
            };
            let g = usize::from(self.conns[c].group);
            let took = seen as i64 - since as i64;
            let phase = self.phase_of(number);
            self.recorder.time(Timer::Evicted, phase, g, took);
        }
    }
}
