//! One connection of the shard's share, in as few bytes as an idle one can do with.
//!
//! Everything that only some connections need, or only some of the time, is behind a pointer: opening,
//! queued bytes, incomplete frames, publishing and asking.

use super::outbox::Outbox;
use super::stream::Stream;
use super::tail::Topics;
use crate::metrics::Node;
use crate::protocol::Envelope;
use crate::transport::{Endpoint, ws};
use mio::Token;
use std::collections::VecDeque;
use std::net::IpAddr;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not due to open yet.
    Idle,
    /// From dialling to ready; details in [`Opening`].
    Opening,
    /// Open for business.
    Ready,
    /// A Close frame was sent or received; waiting for the end.
    Closing,
    /// Lost, and waiting for its backoff.
    Waiting,
    /// Will not open again.
    Over,
}

/// A planned connection and what it is at now. Index and group follow from its place in the shard.
pub struct Conn {
    /// The socket, when there is one.
    pub stream: Option<Stream>,
    /// Counts up with every socket and every loss: events and timers of an earlier one are stale.
    pub generation: u32,
    /// Index in its group.
    pub index: u32,
    /// Its group.
    pub group: u16,
    /// Where it is.
    pub state: State,
    /// Why it closes, when we do.
    pub intent: Intent,
    /// Code of the peer's Close frame, 0 before one came.
    pub peer_code: u16,
    /// Attempts in a row since it was last lost.
    pub attempt: u16,
    /// Times it was opened, for churn's draw.
    pub life: u16,
    /// Index of the target's address that it dials.
    pub endpoint: u16,
    /// Last sign of life, milliseconds from the run's start.
    pub heard_ms: u32,
    /// Last backoff, milliseconds.
    pub backoff_ms: u32,
    /// When it first became ready, `u64::MAX` before.
    pub first_ready_ns: u64,
    /// When it was lost, 0 if it was not.
    pub lost_ns: u64,
    /// When the ping that waits for its pong was sent, 0 when none waits.
    pub ping_ns: u64,
    /// Its queue did not fit the socket.
    pub blocked: bool,
    /// What it is marked with: see [`Mark`].
    marks: u8,
    /// A fault that lasts has something to say about its reading or writing: see `fault::trouble`.
    pub troubled: bool,
    /// Deploys that had begun when it became ready.
    pub deploys: u8,
    /// What it subscribed to.
    pub topics: Topics,
    /// Frame decoding, and what is incomplete of it.
    pub inbound: ws::Inbound,
    /// While it opens.
    pub opening: Option<Box<Opening>>,
    /// While bytes wait.
    pub outbox: Option<Box<Outbox>>,
    /// If it publishes, asks or captured variables.
    pub work: Option<Box<Work>>,
}

impl Conn {
    /// One that is not due yet.
    pub fn idle(group: u16, index: u32, endpoint: u16) -> Self {
        Conn {
            stream: None,
            generation: 0,
            index,
            group,
            state: State::Idle,
            intent: Intent::None,
            peer_code: 0,
            attempt: 0,
            life: 0,
            endpoint,
            heard_ms: 0,
            backoff_ms: 0,
            first_ready_ns: u64::MAX,
            lost_ns: 0,
            ping_ns: 0,
            blocked: false,
            marks: 0,
            troubled: false,
            deploys: 0,
            topics: Topics::None,
            inbound: ws::Inbound::default(),
            opening: None,
            outbox: None,
            work: None,
        }
    }

    /// Whether it bears this mark.
    pub fn is(&self, mark: Mark) -> bool {
        self.marks & mark as u8 != 0
    }

    /// Sets or takes away a mark; whether it bore it before.
    pub fn mark(&mut self, mark: Mark, on: bool) -> bool {
        let before = self.is(mark);
        match on {
            true => self.marks |= mark as u8,
            false => self.marks &= !(mark as u8),
        }
        before
    }

    /// Another client takes its place: what this one waited, tried and heard is behind it.
    pub fn begin_anew(&mut self) {
        self.attempt = 0;
        self.backoff_ms = 0;
        self.mark(Mark::SentOn, false);
        if let Some(work) = &mut self.work {
            work.last.clear();
        }
    }

    /// What the kernel's events for its socket bear: its place in the shard and its generation.
    pub fn token(&self, c: usize) -> Token {
        Token(c | (self.generation as usize) << 32)
    }
}

/// What is so or not so of a connection: a bit each, as there are a million of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// This socket became ready.
    WasReady = 1,
    /// The kernel tells when its socket takes bytes again; asked only of sockets that once did not.
    Watched = 2,
    /// Its socket may still hold bytes: it is on the shard's list to be read again.
    Unread = 4,
    /// A deploy cut it, and it is not back yet.
    Moving = 8,
    /// Its close code sent it on to another address: attempts there go on counting.
    SentOn = 16,
    /// Its protocol's goodbye was said: the peer may end TCP any time.
    SaidGoodbye = 32,
    /// The target's answer was such that it does not try again.
    Refused = 64,
    /// It is away to come back at once, as we had it: no part of a storm, unless it is not let in again.
    Planned = 128,
}

/// Why we close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// We don't.
    None,
    /// Its lifetime is over: another takes its place.
    Churn,
    /// To come back at once with another token.
    Renew,
    /// To come back at once over a better transport.
    Climb,
    /// A fault cuts it: it comes back like one that was lost.
    Cut,
    /// The run ends.
    Finish,
}

/// What an opening is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// An address.
    Dns,
    /// The TCP connection.
    Tcp,
    /// The proxy's answer.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The answer to a handshake by HTTP, which is upgraded.
    Polling,
    /// The answer to the upgrade.
    Upgrade,
    /// The answer to a session's being taken up again.
    Resuming,
    /// The answer to the protocol's own greeting.
    Greeting,
    /// Its `on_open` steps; the index of the current one.
    Steps(u16),
    /// Acknowledgements of subscriptions that are still to come.
    Subscribing(u16),
}

impl Stage {
    /// Whether nothing was asked of the target yet: what fails here fails on the way to it.
    pub fn on_the_way(self) -> bool {
        matches!(self, Stage::Dns | Stage::Tcp | Stage::Proxy | Stage::Tls)
    }
}

/// What an opening asked for, of what was missed while away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing.
    Nothing,
    /// To be brought it.
    Resume,
    /// The same, and the answer was that it is gone.
    Lost,
}

/// An opening in progress: freed when ready, so that its size is not paid for life.
pub struct Opening {
    /// When it was to start.
    pub scheduled_ns: u64,
    /// When the current stage began.
    pub since_ns: u64,
    /// What it waits for.
    pub stage: Stage,
    /// Deadline of an expectation or end of a pause, 0 when neither.
    pub step_until_ns: u64,
    /// What of before it asked for.
    pub asked: Asked,
    /// Sec-WebSocket-Key.
    pub key: String,
    /// The address that is dialled.
    pub address: Option<IpAddr>,
    /// Subprotocols offered beside its group's: with its token.
    pub offered: Vec<String>,
    /// Response so far.
    pub response: Vec<u8>,
    /// The node that its headers tell.
    pub node: Node,
    /// When its handshake by polling was answered, 0 where none was.
    pub polled_ns: u64,
    /// Whether it has reached out for the target, if only for its name: not while a fault of ours keeps it from that.
    pub reaches: bool,
    /// Whether the target has answered that there is no room for it: 429 or 503.
    pub crowded: bool,
    /// Until when it must be ready.
    pub until_ns: u64,
    /// Where the target has redirected it.
    pub redirected: Option<Box<Redirected>>,
}

/// Where an opening goes instead.
pub struct Redirected {
    /// The address.
    pub endpoint: Endpoint,
    /// Path and query.
    pub path: String,
    /// Where its name is looked up.
    pub lookup: usize,
    /// It has been another host's, and is shown no credentials.
    pub foreign: bool,
    /// Redirects so far.
    pub hops: u8,
}

/// What a connection that does things needs for them.
#[derive(Default)]
pub struct Work {
    /// One for each of the group's publishes.
    pub publishes: Vec<Publishing>,
    /// One for each of the group's requests.
    pub requests: Vec<Vec<Piece>>,
    /// Requests without an answer yet, oldest first.
    pub pending: VecDeque<Pending>,
    /// Publishes that wait for their acknowledgement, oldest first.
    pub awaiting: VecDeque<Awaiting>,
    /// Next request's `{id}`; ids start at 1 and are never used twice.
    pub next_id: u64,
    /// Captured variables by slot.
    pub captured: Vec<(u32, String)>,
    /// `{last}` of a session that is resumed.
    pub last: String,
    /// The session is not there any more: the next opening does not ask for it.
    pub session_gone: bool,
    /// Random sizes.
    pub sizes: Option<crate::plan::Stream>,
}

/// A publish as this connection does it.
pub struct Publishing {
    /// Topic, rendered.
    pub topic: String,
    /// Number of the stream in the run.
    pub stream: u32,
    /// Next sequence number.
    pub seq: u64,
    /// First message's intended time.
    pub first_ns: u64,
    /// Published by phase.
    pub by_phase: Vec<u64>,
    /// Message around the payload.
    pub envelope: Envelope,
    /// Payload before the stamp.
    pub head: Vec<u8>,
}

impl Publishing {
    /// A message was queued that was due at `intended`, in this phase.
    pub fn one_more(&mut self, phase: usize, intended: u64) {
        if self.seq == 0 {
            self.first_ns = intended;
        }
        self.seq += 1;
        self.by_phase[phase] += 1;
    }
}

/// A publish without an acknowledgement yet.
#[derive(Debug, Clone, Copy)]
pub struct Awaiting {
    /// What its session calls it.
    pub id: u64,
    /// When it was due.
    pub intended_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
}

/// A piece of a request.
pub enum Piece {
    /// As it is.
    Bytes(Vec<u8>),
    /// The id.
    Id,
    /// The stamped payload.
    Payload,
}

/// A request without an answer.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// Its `{id}`.
    pub id: u64,
    /// When it was due.
    pub intended_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// Which of the group's requests.
    pub ordinal: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_apart() {
        let mut conn = Conn::idle(0, 0, 0);
        let all = [
            Mark::WasReady,
            Mark::Watched,
            Mark::Unread,
            Mark::Moving,
            Mark::SentOn,
            Mark::SaidGoodbye,
            Mark::Refused,
        ];
        for mark in all {
            assert!(!conn.is(mark) && !conn.mark(mark, true) && conn.is(mark));
        }
        assert!(conn.mark(Mark::Watched, false));
        assert_eq!(
            all.map(|mark| conn.is(mark)),
            [true, false, true, true, true, true, true]
        );
    }

    /// The budget is 256 bytes of user memory an idle connection, its timers (16 bytes each) and its
    /// accounts (32 bytes a stream) included.
    #[test]
    fn an_idle_connection_is_small() {
        // In debug builds mio remembers a socket's selector.
        let limit = if cfg!(debug_assertions) { 136 } else { 128 };
        let size = size_of::<Conn>();
        assert!(size <= limit, "{size} bytes a connection");
    }

    /// A million subscribers that resume: beside the connection itself, its account (held to its size in `metrics`) and that
    /// of the service's numbers, two timers, and when it was ready again.
    #[test]
    fn a_subscriber_that_resumes_is_within_the_budget() {
        const ACCOUNT: usize = 32;
        let timer = size_of::<(u64, super::super::wheel::Timer)>().max(16);
        let whole = size_of::<Conn>() + 2 * ACCOUNT + 2 * timer + size_of::<u64>();
        assert!(whole <= 256, "{whole} bytes a subscriber");
    }
}
