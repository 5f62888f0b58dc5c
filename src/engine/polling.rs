//! Protocols that begin by polling: the handshake by HTTP, one request whose answer names the conversation.
//!
//! Some go on so (`exchange.rs`): GETs on the connection's own TCP connection, the next as soon as one is answered, and POSTs
//! on another (`beside.rs`), one at a time, as browsers do it. There all of HTTP is read by `transport/http.rs`, and all packets by
//! the session, as over a WebSocket. A third one may prove that a WebSocket works, and take over (`upgrade.rs`). Where only the
//! handshake is polled for, its TCP connection is what is upgraded.

pub(super) mod beside;
mod exchange;
mod upgrade;

pub(super) use exchange::Poller;

use super::answer::Heard;
use super::conn::Stage;
use super::end::Cause;
use super::shard::Shard;
use crate::metrics::{Counter, Failure, Timer};
use crate::protocol::Session;
use crate::protocol::pointer::lookup;
use crate::transport::http::{self, HttpError, Part, Responses};

/// Longest body of an answer, bytes: those of servers have about a hundred.
const LONGEST: usize = 16 * 1024;

/// Engine.IO's number of an error: the server has no such session.
const UNKNOWN_SESSION: u64 = 1;
const UNKNOWN_SESSION_TEXT: &[u8] = b"Session ID unknown";

/// An answer as far as it came.
enum Answer {
    Part,
    Whole {
        status: u16,
        keep_alive: bool,
        body: Vec<u8>,
    },
}

impl Shard {
    /// What the query of a handshake by polling asks for, if this connection begins with one.
    pub(super) fn polls_first(&self, c: usize) -> Option<&'static str> {
        let group = &self.plan.groups()[usize::from(self.conns[c].group)];
        group.protocol.polls_first()
    }

    /// The way to the target is open: asks for the handshake.
    pub(super) fn send_poll(&mut self, c: usize, query: &str, now: u64) {
        let (mut path, headers) = self.upgrade_request(c);
        add_query(&mut path, query);
        let endpoint = &self.plan.target().endpoints[usize::from(self.conns[c].endpoint)];
        let mut request = Vec::with_capacity(512);
        let made = http::request(
            &http::Request {
                method: "GET",
                host: &endpoint.host,
                port: endpoint.port,
                tls: endpoint.tls,
                path: &path,
                own: &[("Accept", "*/*")],
                headers: &headers,
            },
            None,
            &mut request,
        );
        if let Some(opening) = &mut self.conns[c].opening {
            opening.stage = Stage::Polling;
        }
        if let Err(e) = made {
            self.recorder.sample("handshake", e.to_string().as_bytes());
            return self.lost(c, Cause::Failed(Failure::Handshake), now);
        }
        self.queue_bytes(c, &request);
    }

    /// Bytes of the answer to that.
    pub(super) fn polled_bytes(&mut self, c: usize, bytes: &[u8], now: u64) {
        let g = usize::from(self.conns[c].group);
        let Some(opening) = &mut self.conns[c].opening else {
            return;
        };
        opening.response.extend_from_slice(bytes);
        let group = &self.plan.groups()[g];
        let mut heard = Heard::default();
        let max_head = self.plan.target().max_header;
        let answer = read(&opening.response, max_head, |name, value| {
            heard.take(group, name, value);
        });
        let (status, keep_alive, body) = match answer {
            Ok(Answer::Part) => return,
            Ok(Answer::Whole {
                status,
                keep_alive,
                body,
            }) => (status, keep_alive, body),
            Err(HttpError::HeadTooLarge) => {
                return self.lost(c, Cause::Failed(Failure::HeaderTooLarge), now);
            }
            Err(error) => return self.no_handshake(c, &error.to_string(), now),
        };
        opening.response = Vec::new();
        if status != 200 {
            let failure = self.answered_otherwise(c, status, &body);
            return self.lost(c, Cause::Failed(failure), now);
        }
        if !keep_alive {
            let why = "the answer to the poll ends the connection, and its upgrade is asked on the same one";
            return self.no_handshake(c, why, now);
        }
        let session = self
            .take_session(c)
            .or_else(|| Session::new(&self.plan.groups()[g].protocol).map(Box::new));
        let Some(mut session) = session else { return };
        let polled = session.polled(&body);
        self.put_session(c, session);
        let polled = match polled {
            Ok(polled) => polled,
            Err(violation) => return self.no_handshake(c, violation.0, now),
        };
        self.count(c, Counter::Polled);
        if self.plan.groups()[g].protocol.polling().goes_on() {
            self.step_done(c, Timer::Upgrade, now);
            if self.keep_heard(c, heard, now) {
                let behind = body.get(polled.opened + 1..).unwrap_or_default();
                self.begin_polling(c, &polled, behind, now);
            }
            return;
        }
        self.keep_cookies(c, heard);
        if let Some(opening) = &mut self.conns[c].opening {
            opening.polled_ns = now;
        }
        self.send_upgrade(c, Some(&upgrade::query(&polled.sid)));
    }

    /// Counts an answer that says that the target knows no such session, which is how broken stickiness shows: by its number where
    /// a poll or a post is answered, by its text where an upgrade is.
    pub(super) fn count_unknown_session(&mut self, c: usize, status: u16, said: &[u8]) {
        if status != 400 || self.polls_first(c).is_none() {
            return;
        }
        let code = lookup(said, "/code").and_then(|code| code.number());
        if code == Some(UNKNOWN_SESSION)
            || memchr::memmem::find(said, UNKNOWN_SESSION_TEXT).is_some()
        {
            self.count(c, Counter::UnknownSession);
        }
    }

    /// A connection that opened by polling goes on over a WebSocket.
    pub(super) fn upgraded(&mut self, c: usize, since_ns: u64, now: u64) {
        let g = usize::from(self.conns[c].group);
        self.count(c, Counter::Upgraded);
        let took = now as i64 - since_ns as i64;
        self.recorder.time(Timer::Switch, self.phase, g, took);
    }

    fn no_handshake(&mut self, c: usize, why: &str, now: u64) {
        self.recorder.sample("handshake", why.as_bytes());
        self.lost(c, Cause::Failed(Failure::Handshake), now);
    }
}

/// Adds to a path's query.
pub(super) fn add_query(path: &mut String, query: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(query);
}

/// Reads an answer from its beginning; it is short.
fn read(
    mut bytes: &[u8],
    max_head: usize,
    mut heard: impl FnMut(&str, &[u8]),
) -> Result<Answer, HttpError> {
    let mut responses = Responses::default();
    let mut head = None;
    let mut body = Vec::new();
    while let Some(part) = responses.next(&mut bytes, max_head, &mut heard)? {
        match part {
            Part::Head(told) => head = Some(told),
            Part::Body(more) if body.len() + more.len() > LONGEST => {
                return Err(HttpError::Invalid("the answer to the poll is too long"));
            }
            Part::Body(more) => body.extend_from_slice(more),
            Part::End => {
                let Some(head) = head else { break };
                if !bytes.is_empty() {
                    return Err(HttpError::Invalid("more than the answer to the poll"));
                }
                return Ok(Answer::Whole {
                    status: head.status,
                    keep_alive: head.keep_alive,
                    body,
                });
            }
        }
    }
    Ok(Answer::Part)
}
