//! TCP connections beside a connection's own: what polling needs more than one for.
//!
//! They lie with what the connection polls by, and end with it. Their events bear tokens of their own, which name the
//! connection, its generation and which of them it is. Unlike a connection's own they are watched for writing from the
//! beginning: there are few of them.

use super::super::end::Cause;
use super::super::outbox::{Allowance, Outbox, Written};
use super::super::shard::Shard;
use super::super::stream::Stream;
use crate::metrics::Counter;
use crate::transport::socket;
use mio::{Interest, Token};
use std::io;

/// Marks in the lower half of their tokens, beside the connection's place, which is below 2^28.
const POSTS: usize = 1 << 29;
const PROBE: usize = 1 << 30;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that posts.
    Posts,
    /// The one that is to be a WebSocket.
    Probe,
}

/// One of them.
pub struct Beside {
    pub stream: Stream,
    pub outbox: Outbox,
    /// TCP, and TLS where there is some, are done.
    pub(super) there: bool,
}

impl Beside {
    /// Moves its opening on. True when it is there.
    fn arrive(&mut self) -> io::Result<bool> {
        self.there =
            self.there || socket::connected(&self.stream.socket)? && self.stream.handshake()?;
        Ok(self.there)
    }
}

/// The connection that an event is for, its generation, and which of its TCP connections; `None`: for something else.
pub fn of(token: Token) -> Option<(usize, u32, Which)> {
    let low = token.0 & 0xffff_ffff;
    let which = match low & (POSTS | PROBE) {
        POSTS => Which::Posts,
        PROBE => Which::Probe,
        _ => return None,
    };
    Some((low & !(POSTS | PROBE), (token.0 >> 32) as u32, which))
}

impl Shard {
    /// Dials the address that a connection is connected to once more.
    pub(super) fn dial_beside(&mut self, c: usize, which: Which) -> io::Result<Beside> {
        let own = self.conns[c].stream.as_ref();
        let address = own.ok_or(io::ErrorKind::NotConnected)?.socket.peer_addr()?;
        let source = self.plan.source_of(self.number(c), address.ip());
        let tls = match self.endpoint(c).tls {
            true => Some(Box::new(self.tls_session(c)?)),
            false => None,
        };
        let mut socket = socket::connect(address, source)?;
        let mark = match which {
            Which::Posts => POSTS,
            Which::Probe => PROBE,
        };
        let token = Token(self.conns[c].token(c).0 | mark);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, token, both)?;
        let mut beside = Beside {
            stream: Stream { socket, tls },
            outbox: Outbox::default(),
            there: false,
        };
        // On the machine itself it is there as soon as it is asked for.
        if address.ip().is_loopback() && !self.endpoint(c).tls {
            beside.arrive()?;
        }
        Ok(beside)
    }

    /// The kernel says something of one of them.
    pub(in super::super) fn beside_event(&mut self, c: usize, which: Which) {
        let now = self.now();
        let generation = self.conns[c].generation;
        let Some(beside) = self.beside_of(c, which) else {
            return;
        };
        match beside.arrive() {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => return self.beside_failed(c, which, &e, now),
        }
        self.flush_beside(c, which, now);
        if self.conns[c].generation == generation {
            self.read_beside(c, which);
        }
    }

    /// Writes what waits, as far as the socket takes it; it tells when it takes more.
    pub(super) fn flush_beside(&mut self, c: usize, which: Which, now: u64) {
        let g = usize::from(self.conns[c].group);
        let phase_now = self.phase;
        let Shard {
            groups, recorder, ..
        } = self;
        let group = &mut groups[g];
        let place = c - group.base;
        let Some(beside) = group
            .polls
            .get_mut(place)
            .and_then(|poller| poller.as_mut()?.beside(which))
            .filter(|beside| beside.there)
        else {
            return;
        };
        let Beside { stream, outbox, .. } = beside;
        let before = outbox.waiting();
        let result = outbox.flush(stream, Allowance::ALL, |what| match what {
            Written::Publish { phase, .. } => {
                recorder.count(Counter::Sent, usize::from(phase), g, 1);
            }
            Written::Request { phase, .. } => {
                recorder.count(Counter::Requests, usize::from(phase), g, 1);
            }
            Written::Control => {}
        });
        let gone = before - outbox.waiting();
        recorder.count(Counter::BytesSent, phase_now, g, gone as u64);
        if let Err(e) = result {
            self.beside_failed(c, which, &e, now);
        }
    }

    /// Reads until there is nothing more.
    fn read_beside(&mut self, c: usize, which: Which) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let generation = self.conns[c].generation;
        let g = usize::from(self.conns[c].group);
        while self.conns[c].generation == generation
            && let Some(beside) = self.beside_of(c, which)
        {
            let read = beside.stream.read(&mut scratch);
            let now = self.now();
            match read {
                Ok(0) => {
                    let end = io::ErrorKind::UnexpectedEof.into();
                    self.beside_failed(c, which, &end, now);
                    break;
                }
                Ok(n) => {
                    self.recorder
                        .count(Counter::BytesReceived, self.phase, g, n as u64);
                    match which {
                        Which::Posts => self.post_bytes(c, &scratch[..n], now),
                        Which::Probe => self.probe_bytes(c, &scratch[..n], now),
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.beside_failed(c, which, &e, now);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    /// One of them is gone.
    fn beside_failed(&mut self, c: usize, which: Which, error: &io::Error, now: u64) {
        match which {
            Which::Posts => {
                let cause = match error.kind() {
                    io::ErrorKind::UnexpectedEof => Cause::Eof,
                    kind => Cause::Socket(error.raw_os_error().map_or_else(
                        || io::Error::new(kind, error.to_string()),
                        io::Error::from_raw_os_error,
                    )),
                };
                self.posts_gone(c, cause, now);
            }
            Which::Probe => {
                let said = match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        "the target ended the connection of the upgrade".to_owned()
                    }
                    _ => error.to_string(),
                };
                self.stuck(c, Counter::StuckFailed, said.as_bytes(), now);
            }
        }
    }

    pub(super) fn beside_of(&mut self, c: usize, which: Which) -> Option<&mut Beside> {
        self.poller(c)?.beside(which)
    }

    /// Takes a connection's away from it.
    pub(in super::super) fn take_besides(&mut self, c: usize) -> Vec<Stream> {
        let poller = self.poller(c);
        poller.map_or_else(Vec::new, |poller| poller.take_besides())
    }

    /// How many there are.
    pub(in super::super) fn besides(&self) -> u32 {
        let pollers = self.groups.iter().flat_map(|group| &group.polls).flatten();
        pollers.map(|poller| poller.besides()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_tell_whose_and_which() {
        let token = |low: usize| Token(low | 7 << 32);
        assert_eq!(of(token(5 | POSTS)), Some((5, 7, Which::Posts)));
        assert_eq!(of(token(5 | PROBE)), Some((5, 7, Which::Probe)));
        assert_eq!(of(token((1 << 28) - 1)), None);
        // Those of the vanished, and the alarm's.
        assert_eq!(of(token(1 << 31)), None);
        assert_eq!(of(Token(usize::MAX)), None);
    }
}
