//! Connections that are no WebSocket: event streams to subscribers, and posts from publishers.
//!
//! What comes in an event is a message like any other. What such a connection needs lies in a table of the groups that have it
//! (`Group::http`), so that WebSockets pay nothing. A stream that ends as it should counts as a close by 1000, as there is no Close frame.

use super::answer::Heard;
use super::conn::{Awaiting, Mark, Stage, State};
use super::end::Cause;
use super::outbox::Written;
use super::shard::Shard;
use crate::metrics::{CloseKey, Counter, Failure, Timer};
use crate::plan::{self, Builtin, Part, Sse, Transport};
use crate::protocol::{Form, Stamp};
use crate::transport::handshake::RequestError;
use crate::transport::http::{self, Head, HttpError, Part as Piece, Responses};
use crate::transport::sse::Events;

/// What a connection over HTTP reads by.
#[derive(Debug, Default)]
pub(super) struct Http {
    responses: Responses,
    events: Events,
    /// The answer is a stream of events: until its head says so, nothing in it is.
    streams: bool,
    /// Nothing follows the response that is being read.
    last: bool,
}

/// What a piece of an answer asks of the connection, once what it borrows is let go.
enum Then {
    Nothing,
    Head(Head, Heard, bool),
    Ended,
    Failed(Failure),
}

impl Shard {
    /// The settings of a connection that is an event stream or posts.
    fn sse(&self, c: usize) -> Option<&Sse> {
        match &self.plan.groups()[usize::from(self.conns[c].group)].transport {
            Transport::WebSocket => None,
            Transport::Sse(sse) => Some(sse),
        }
    }

    /// Whether a connection is no WebSocket.
    pub(super) fn is_over_http(&self, c: usize) -> bool {
        !self.groups[usize::from(self.conns[c].group)]
            .http
            .is_empty()
    }

    fn take_http(&mut self, c: usize) -> Option<Box<Http>> {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        group.http.get_mut(c - group.base)?.take()
    }

    fn put_http(&mut self, c: usize, http: Box<Http>) {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        if let Some(place) = group.http.get_mut(c - group.base) {
            *place = Some(http);
        }
    }

    /// TCP, and TLS where there is some, are done: a subscriber asks for its stream, a publisher has nothing to ask.
    pub(super) fn send_request(&mut self, c: usize, now: u64) {
        let mut http = self.take_http(c).unwrap_or_default();
        http.responses = Responses::default();
        http.events.begin();
        (http.streams, http.last) = (false, false);
        let last_id = String::from_utf8_lossy(http.events.last_id()).into_owned();
        self.put_http(c, http);
        let g = usize::from(self.conns[c].group);
        let subscribes = !self.plan.groups()[g].subscribe.is_empty();
        if !subscribes {
            return self.run_steps(c, 0, now);
        }
        let topics = self.plan.groups()[g].subscribe.iter();
        let topics: Vec<String> = topics.map(|topic| self.fill(c, topic)).collect();
        let Some(sse) = self.sse(c) else { return };
        let path = self.address(c, &sse.path, &topics.join(","));
        let mut own = vec![
            ("Accept", "text/event-stream"),
            ("Cache-Control", "no-store"),
        ];
        // The id is the target's: what cannot stand in a header is not sent back.
        let resumes = self.plan.groups()[g].resume.is_some();
        let sendable = !last_id.is_empty() && !last_id.bytes().any(|c| c.is_ascii_control());
        if resumes && sendable && self.conns[c].lost_ns > 0 {
            own.push(("Last-Event-ID", &last_id));
        }
        let mut request = Vec::with_capacity(512);
        let made = self.head(c, "GET", &path, &own, &mut request);
        if let Some(opening) = &mut self.conns[c].opening {
            opening.stage = Stage::Upgrade;
        }
        if let Err(e) = made {
            self.recorder.sample("handshake", e.to_string().as_bytes());
            return self.lost(c, Cause::Failed(Failure::Handshake), now);
        }
        http::end(None, &mut request);
        self.queue_bytes(c, &request);
    }

    /// A path for a connection and a topic.
    fn address(&self, c: usize, path: &plan::Template, topic: &str) -> String {
        plan::render(path, |part| match part {
            Part::Text(text) => text.clone().into(),
            Part::Builtin(Builtin::Topic) => plan::percent_encode(topic).into(),
            other => plan::percent_encode(&self.value(c, other)).into(),
        })
    }

    /// A request's line and headers, with the group's and its cookies.
    fn head(
        &self,
        c: usize,
        method: &str,
        path: &str,
        own: &[(&str, &str)],
        out: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        let g = usize::from(self.conns[c].group);
        let headers = self.plan.upgrade(g).headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), self.fill(c, value)));
        let mut headers: Vec<(String, String)> = headers.collect();
        self.send_cookies(c, &mut headers);
        let endpoint = &self.plan.target().endpoints[usize::from(self.conns[c].endpoint)];
        let request = http::Request {
            method,
            host: &endpoint.host,
            port: endpoint.port,
            tls: endpoint.tls,
            path,
            own,
            headers: &headers,
        };
        http::head(&request, out)
    }

    /// What every post of a publisher to a topic begins with; nothing where it cannot be written.
    pub(super) fn post_head(&self, c: usize, topic: &str) -> Vec<u8> {
        let Some(sse) = self.sse(c) else {
            return Vec::new();
        };
        let path = self.address(c, &sse.publish, topic);
        let mut head = Vec::new();
        let own = [("Content-Type", sse.content_type.as_str())];
        if self.head(c, "POST", &path, &own, &mut head).is_err() {
            head.clear();
        }
        head
    }

    /// A publish is due, and its payload composed. False when it cannot be sent. Answers come in the order of the requests
    /// (RFC 9112 §9.3.2), which do not wait for each other.
    pub(super) fn post(
        &mut self,
        c: usize,
        ordinal: usize,
        phase: usize,
        (intended_ns, sent_ns): (u64, u64),
    ) -> bool {
        let payload = std::mem::take(&mut self.compose);
        let mut request = Vec::new();
        if let Some(work) = &mut self.conns[c].work
            && let Some(publishing) = work.publishes.get(ordinal)
            && !publishing.envelope.prefix.is_empty()
        {
            request.extend_from_slice(&publishing.envelope.prefix);
            http::end(Some(&payload), &mut request);
            work.awaiting.push_back(Awaiting {
                id: 0,
                intended_ns,
                sent_ns,
            });
        }
        self.compose = payload;
        if request.is_empty() {
            let said =
                "a publish cannot be posted: its path or a header holds what cannot stand there";
            self.recorder.sample("publish", said.as_bytes());
            return false;
        }
        let what = Written::Publish {
            ordinal: ordinal as u8,
            phase: phase as u8,
        };
        self.queue_raw(c, &request, what);
        true
    }

    /// Bytes of a connection over HTTP.
    pub(super) fn http_bytes(&mut self, c: usize, mut bytes: &[u8], now: u64) {
        let generation = self.conns[c].generation;
        let g = usize::from(self.conns[c].group);
        let max_header = self.plan.target().max_header;
        // When what came together was sent: earliest and latest.
        let mut span: Option<(u64, u64)> = None;
        let mut came = 0;
        loop {
            let Some(mut http) = self.take_http(c) else {
                return;
            };
            let mut heard = Heard::default();
            let mut of_events = false;
            let group = &self.plan.groups()[g];
            let part = http.responses.next(&mut bytes, max_header, |name, value| {
                heard.take(group, name, value);
                of_events |= name.eq_ignore_ascii_case("content-type") && is_event_stream(value);
            });
            let then = match part {
                Ok(None) => {
                    self.put_http(c, http);
                    break;
                }
                Ok(Some(Piece::Head(head))) => {
                    http.streams = head.status == 200 && of_events;
                    http.last = !head.keep_alive;
                    Then::Head(head, heard, of_events)
                }
                Ok(Some(Piece::Body(body))) if http.streams => {
                    let (then, sent) = self.events_in(c, &mut http, body, now);
                    if let Some((first, last, n)) = sent {
                        let (earliest, latest) = span.unwrap_or((first, last));
                        span = Some((earliest.min(first), latest.max(last)));
                        came += n;
                    }
                    then
                }
                Ok(Some(Piece::Body(_))) => Then::Nothing,
                Ok(Some(Piece::End)) => Then::Ended,
                Err(e) => {
                    self.recorder.sample("handshake", e.to_string().as_bytes());
                    Then::Failed(match (e, self.conns[c].state) {
                        (HttpError::HeadTooLarge, _) => Failure::HeaderTooLarge,
                        (_, State::Opening) => Failure::Handshake,
                        _ => Failure::Protocol,
                    })
                }
            };
            let last = http.last;
            self.put_http(c, http);
            match then {
                Then::Nothing => {}
                Then::Head(head, heard, of_events) => {
                    self.answer_head(c, head, heard, of_events, now)
                }
                Then::Ended => self.answer_over(c, last, now),
                Then::Failed(failure) => self.lost(c, Cause::Failed(failure), now),
            }
            if self.conns[c].generation != generation {
                break;
            }
        }
        if let (Some((first, latest)), true) = (span, came > 1) {
            let spread = latest.saturating_sub(first);
            self.recorder
                .time(Timer::Bunch, self.phase, g, spread as i64);
        }
    }

    /// The events in a piece of a stream; and when those of this run's that came were sent, earliest and latest, and how many.
    fn events_in(
        &mut self,
        c: usize,
        http: &mut Http,
        mut body: &[u8],
        now: u64,
    ) -> (Then, Option<(u64, u64, u32)>) {
        let generation = self.conns[c].generation;
        let max = self.plan.target().max_message;
        let mut sent: Option<(u64, u64, u32)> = None;
        loop {
            match http.events.next(&mut body, max) {
                Ok(None) => return (Then::Nothing, sent),
                Ok(Some(event)) => {
                    let stamp = Stamp::find(event.data).filter(|stamp| stamp.run == self.run);
                    if let Some(stamp) = stamp {
                        let at = stamp.sent_ns;
                        let (first, last, n) = sent.unwrap_or((at, at, 0));
                        sent = Some((first.min(at), last.max(at), n + 1));
                    }
                    self.message(c, Form::Text, event.data, now);
                    if self.conns[c].generation != generation {
                        return (Then::Nothing, sent);
                    }
                }
                Err(_) => {
                    self.count(c, Counter::Oversized);
                    return (Then::Failed(Failure::TooLarge), sent);
                }
            }
        }
    }

    /// An answer begins.
    fn answer_head(&mut self, c: usize, head: Head, heard: Heard, of_events: bool, now: u64) {
        let g = usize::from(self.conns[c].group);
        let subscribes = !self.plan.groups()[g].subscribe.is_empty();
        if !subscribes {
            let counter = match head.status {
                200..=299 => Counter::Acked,
                status => {
                    self.recorder.status(status, self.phase, g);
                    Counter::Rejected
                }
            };
            return self.acknowledged_next(c, counter, now);
        }
        if self.conns[c].state != State::Opening {
            // Behind the end of a stream nothing was asked for.
            return self.lost(c, Cause::Failed(Failure::Protocol), now);
        }
        self.step_done(c, Timer::Upgrade, now);
        if head.status == 200 && of_events {
            if self.keep_heard(c, heard, now) {
                self.run_steps(c, 0, now);
            }
            return;
        }
        // As the standard has it, only a stream that ended is asked for again; 204 is how a server says never to.
        let tries = self.sse(c).is_some_and(|sse| sse.keep_trying);
        if head.status == 204 || !tries {
            self.conns[c].mark(Mark::Refused, true);
        }
        let failure = match head.status {
            200 => {
                let said = "the answer is no text/event-stream";
                self.recorder.sample("handshake", said.as_bytes());
                Failure::Handshake
            }
            status => {
                self.recorder.status(status, self.phase, g);
                Failure::Status
            }
        };
        self.lost(c, Cause::Failed(failure), now);
    }

    /// An answer is whole. A stream that is over has ended as it should, and so has a connection after its last answer.
    fn answer_over(&mut self, c: usize, last: bool, now: u64) {
        let g = usize::from(self.conns[c].group);
        let subscribes = !self.plan.groups()[g].subscribe.is_empty();
        if subscribes || last {
            self.stream_over(c, now);
        }
    }

    /// The target ended a connection over HTTP in the way that HTTP has for it.
    fn stream_over(&mut self, c: usize, now: u64) {
        if !matches!(self.conns[c].state, State::Ready) {
            return self.lost(c, Cause::Eof, now);
        }
        self.begin_deploys(now);
        let said = CloseKey {
            code: 1000,
            by_target: true,
            clean: true,
        };
        self.ended_in_deploy(c, said, now);
        self.leave_ready(c);
        let conn = &mut self.conns[c];
        conn.state = State::Closing;
        conn.peer_code = 1000;
        self.closing += 1;
        self.lost(c, Cause::Closed, now);
    }

    /// The peer ended TCP. True when that was the end of an answer, and all that follows from it is done.
    pub(super) fn ended_well(&mut self, c: usize, now: u64) -> bool {
        let group = &self.groups[usize::from(self.conns[c].group)];
        let http = group.http.get(c - group.base);
        let idle = self.conns[c]
            .work
            .as_ref()
            .is_none_or(|work| work.awaiting.is_empty());
        let may = http.is_some_and(|http| http.as_ref().is_some_and(|h| h.responses.may_end()));
        if may && idle && self.conns[c].state == State::Ready {
            self.stream_over(c, now);
            return true;
        }
        false
    }

    /// How long the target wants a connection to wait before it comes back, nanoseconds.
    pub(super) fn told_to_wait(&self, c: usize) -> u64 {
        let group = &self.groups[usize::from(self.conns[c].group)];
        let http = group.http.get(c - group.base).and_then(Option::as_ref);
        let retry = http.and_then(|http| http.events.retry_ms());
        // Whatever it says, an hour is longer than a run.
        retry.unwrap_or(0).min(3_600_000) * 1_000_000
    }
}

/// Whether a Content-Type is `text/event-stream`, with whatever parameters.
fn is_event_stream(value: &[u8]) -> bool {
    let essence = value.split(|c| *c == b';').next().unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"text/event-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_stream_is_its_essence() {
        for (value, is) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("text/html; text/event-stream", false),
            ("", false),
        ] {
            assert_eq!(is_event_stream(value.as_bytes()), is, "{value}");
        }
    }
}
