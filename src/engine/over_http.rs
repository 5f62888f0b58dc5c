//! Connections that are no WebSocket: event streams or long polls to subscribers, and posts from publishers.
//!
//! What comes in an event, or in the answer to a poll, is a message like any other. What such a connection needs lies in a table of the groups that have it
//! (`Group::http`), so that WebSockets pay nothing. A stream that ends as it should counts as a close by 1000, as there is no Close frame.

use super::answer::Heard;
use super::conn::{Awaiting, Mark, Stage, State};
use super::end::Cause;
use super::outbox::Written;
use super::polling::add_query;
use super::shard::Shard;
use super::wheel::Due;
use crate::metrics::{CloseKey, Counter, Failure, Timer};
use crate::plan::{self, Builtin, CursorTo, OverHttp, Part, Transport};
use crate::protocol::{Form, Stamp};
use crate::transport::handshake::{self, RequestError};
use crate::transport::http::{self, Head, HttpError, Part as Piece, Responses};
use crate::transport::redirect::is_redirect;
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
    /// The answer to a poll, as far as it came.
    answer: Vec<u8>,
    /// How far polls have heard: what the last answer that told it said, in the order of the plan's cursors.
    cursors: Vec<String>,
    /// When the last poll was answered; 0 while one is under way.
    answered_ns: u64,
    /// When the last poll was sent.
    polled_ns: u64,
}

/// What a piece of an answer asks of the connection, once what it borrows is let go.
enum Then {
    Nothing,
    Head(Head, Heard, bool),
    Redirected(u16, Option<String>),
    Polled(u16),
    Ended,
    Failed(Failure),
}

impl Shard {
    /// The settings of a connection that is no WebSocket.
    fn over_http(&self, c: usize) -> Option<&OverHttp> {
        match self.transport(c) {
            Transport::Http(settings) => Some(settings),
            Transport::WebSocket | Transport::Ladder(_) => None,
        }
    }

    /// Whether a connection is no WebSocket.
    pub(super) fn is_over_http(&self, c: usize) -> bool {
        self.groups[usize::from(self.conns[c].group)].over_http(c)
    }

    /// Whether an event stream has begun, of which nothing but its head has come.
    pub(super) fn has_begun(&self, c: usize) -> bool {
        let group = &self.groups[usize::from(self.conns[c].group)];
        let http = group.http.get(c - group.base).and_then(Option::as_ref);
        group.over_http(c) && http.is_some_and(|http| http.streams)
    }

    /// What the last event or answer said of how far a connection has heard.
    pub(super) fn heard_over_http(&self, c: usize, polls: bool) -> Option<String> {
        let group = &self.groups[usize::from(self.conns[c].group)];
        let http = group.http.get(c - group.base)?.as_ref()?;
        let text = match polls {
            true => http.cursors.first()?.clone(),
            false => String::from_utf8_lossy(http.events.last_id()).into_owned(),
        };
        (!text.is_empty()).then_some(text)
    }

    /// The next stream, or poll, of a connection begins from here; empty: from now.
    pub(super) fn begin_from(&mut self, c: usize, heard: &str) {
        let mut http = self.take_http(c).unwrap_or_default();
        http.events.begin_from(heard.as_bytes());
        http.cursors.clear();
        if !heard.is_empty() {
            http.cursors.push(heard.to_owned());
        }
        self.put_http(c, http);
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

    /// TCP, and TLS where there is some, are done: a subscriber asks for what it is to be told, a publisher has nothing to ask.
    pub(super) fn send_request(&mut self, c: usize, now: u64) {
        let g = usize::from(self.conns[c].group);
        let group = &self.plan.groups()[g];
        let (subscribes, resumes) = (!group.subscribe.is_empty(), group.resume.is_some());
        let again = resumes && self.conns[c].lost_ns > 0;
        let mut http = self.take_http(c).unwrap_or_default();
        http.responses = Responses::default();
        http.events.begin();
        http.answer.clear();
        (http.streams, http.last, http.answered_ns) = (false, false, 0);
        if !again {
            http.cursors.clear();
        }
        let last_id = String::from_utf8_lossy(http.events.last_id()).into_owned();
        self.put_http(c, http);
        let polls = self.over_http(c).is_some_and(|s| s.poll.is_some());
        if !subscribes {
            return self.run_steps(c, 0, now);
        }
        if polls {
            // Until there is something to tell there is no answer: whoever has asked listens.
            self.poll_again(c, now);
            self.watch_polls(c, now);
            return self.run_steps(c, 0, now);
        }
        let mut own = vec![
            ("Accept", "text/event-stream"),
            ("Cache-Control", "no-store"),
        ];
        // The id is the target's: what cannot stand in a header is not sent back.
        if again && is_sendable(&last_id) {
            own.push(("Last-Event-ID", &last_id));
        }
        let path = self.asked_path(c);
        if let Some(opening) = &mut self.conns[c].opening {
            opening.stage = Stage::Upgrade;
        }
        let mut request = Vec::with_capacity(512);
        let made = self.head(c, "GET", &path, &own, &mut request);
        self.queue_get(c, made, request, now);
    }

    /// Polls, with what is known of how far the connection has heard.
    fn poll_again(&mut self, c: usize, now: u64) {
        let topics = self.topics_asked(c);
        let Some(mut http) = self.take_http(c) else {
            return;
        };
        let answered_ns = std::mem::take(&mut http.answered_ns);
        http.polled_ns = now;
        let Some(settings) = self.over_http(c) else {
            return;
        };
        let mut path = self.address(c, &settings.path, &topics);
        let mut own = vec![("Cache-Control", "no-store")];
        let cursors = settings.poll.iter().flat_map(|poll| &poll.cursors);
        for (cursor, value) in cursors.zip(&http.cursors) {
            match &cursor.to {
                _ if !is_sendable(value) => {}
                CursorTo::Header(name) => own.push((name, value)),
                CursorTo::Query(name) => {
                    let (name, value) = (plan::percent_encode(name), plan::percent_encode(value));
                    add_query(&mut path, &format!("{name}={value}"));
                }
            }
        }
        let mut request = Vec::with_capacity(512);
        let made = self.head(c, "GET", &path, &own, &mut request);
        self.put_http(c, http);
        if !self.queue_get(c, made, request, now) {
            return;
        }
        if answered_ns > 0 {
            let g = usize::from(self.conns[c].group);
            let gap = self.now().saturating_sub(answered_ns);
            self.recorder.time(Timer::Gap, self.phase, g, gap as i64);
        }
    }

    /// How long a poll of a connection may stay without an answer, nanoseconds.
    fn patience(&self, c: usize) -> Option<u64> {
        let poll = self.over_http(c)?.poll.as_ref()?;
        Some(poll.timeout.as_nanos() as u64)
    }

    /// By when a poll that is under way is to be answered; `None`: none is.
    fn poll_until(&self, c: usize) -> Option<u64> {
        let group = &self.groups[usize::from(self.conns[c].group)];
        let http = group.http.get(c - group.base)?.as_ref()?;
        let until = http.polled_ns + self.patience(c)?;
        (http.answered_ns == 0).then_some(until)
    }

    /// Looks at a connection's polls from time to time: one timer for all of them, as there may be many.
    fn watch_polls(&mut self, c: usize, now: u64) {
        let Some(patience) = self.patience(c) else {
            return;
        };
        let until = self.poll_until(c).filter(|until| *until > now);
        self.set_timer(until.unwrap_or(now + patience), c, Due::PollCheck);
    }

    /// Time to have heard the answer to a poll: a target that gives none, not even an empty one, is dead.
    pub(super) fn poll_check(&mut self, c: usize, now: u64) {
        let overdue = |shard: &Shard| shard.poll_until(c).is_some_and(|until| until <= now);
        if !matches!(self.conns[c].state, State::Opening | State::Ready) {
            return;
        }
        // Whoever does not read on purpose does not blame the peer for it.
        let patient = self.conns[c].troubled && self.faults.is_patient(c);
        if patient || !overdue(self) {
            return self.watch_polls(c, now);
        }
        // A shard that was held up has not read everything yet: the answer may well be there.
        let generation = self.conns[c].generation;
        self.read(c, now, true);
        if self.conns[c].generation != generation {
            return;
        }
        if !overdue(self) {
            return self.watch_polls(c, now);
        }
        let g = usize::from(self.conns[c].group);
        let silent = now.saturating_sub(u64::from(self.conns[c].heard_ms) * 1_000_000);
        self.recorder
            .time(Timer::Detect, self.phase, g, silent as i64);
        self.lost(c, Cause::Failed(Failure::Dead), now);
    }

    /// What a connection subscribes to, with commas between.
    fn topics_asked(&self, c: usize) -> String {
        let g = usize::from(self.conns[c].group);
        let topics = self.plan.groups()[g].subscribe.iter();
        let topics: Vec<String> = topics.map(|topic| self.fill(c, topic)).collect();
        topics.join(",")
    }

    /// Queues a request without a body, if it could be made. False, and the connection lost, if not.
    fn queue_get(
        &mut self,
        c: usize,
        made: Result<(), RequestError>,
        mut request: Vec<u8>,
        now: u64,
    ) -> bool {
        if let Err(e) = made {
            self.recorder.sample("handshake", e.to_string().as_bytes());
            self.lost(c, Cause::Failed(Failure::Handshake), now);
            return false;
        }
        http::end(None, &mut request);
        self.queue_bytes(c, &request);
        true
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
        let mut path = path.to_owned();
        self.turn_aside(c, &mut path, &mut headers);
        let endpoint = self.endpoint(c);
        let request = http::Request {
            method,
            host: &endpoint.host,
            port: endpoint.port,
            tls: endpoint.tls,
            path: &path,
            own,
            headers: &headers,
        };
        http::head(&request, out)
    }

    /// What every post of a publisher to a topic begins with; nothing where it cannot be written.
    pub(super) fn post_head(&self, c: usize, topic: &str) -> Vec<u8> {
        let Some(settings) = self.over_http(c) else {
            return Vec::new();
        };
        let path = self.address(c, &settings.publish, topic);
        let mut head = Vec::new();
        let own = [("Content-Type", settings.content_type.as_str())];
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
        loop {
            let Some(mut http) = self.take_http(c) else {
                return;
            };
            let mut heard = Heard::default();
            let mut of_events = false;
            let group = &self.plan.groups()[g];
            let poll = self
                .over_http(c)
                .and_then(|settings| settings.poll.as_ref());
            let polls = poll.is_some() && !group.subscribe.is_empty();
            let mut told: Vec<Option<String>> = Vec::new();
            let mut location = None;
            let subscribes = !group.subscribe.is_empty();
            let part = http.responses.next(&mut bytes, max_header, |name, value| {
                heard.take(group, name, value);
                if name.eq_ignore_ascii_case("location") && value.len() <= handshake::MAX_LOCATION {
                    location = Some(String::from_utf8_lossy(value).into_owned());
                }
                of_events |= name.eq_ignore_ascii_case("content-type") && is_event_stream(value);
                for (place, cursor) in poll.iter().flat_map(|poll| &poll.cursors).enumerate() {
                    if name.eq_ignore_ascii_case(&cursor.from) && value.len() <= LONGEST_CURSOR {
                        told.resize(told.len().max(place + 1), None);
                        told[place] = Some(String::from_utf8_lossy(value).into_owned());
                    }
                }
            });
            if let Ok(Some(Piece::Head(head))) = &part
                && head.status >= 400
                && subscribes
                // A poll that was answered in vain goes on.
                && !(polls && head.status == 408)
                // Whoever subscribes is lost by it: of the body no more is needed than what is here to say why.
                && let Ok(Some(Piece::Body(text))) =
                    http.responses.next(&mut bytes, max_header, |_, _| {})
            {
                let kind = format!("status {}", head.status);
                self.recorder.sample(&kind, text);
            }
            let then = match part {
                Ok(None) => {
                    self.put_http(c, http);
                    break;
                }
                Ok(Some(Piece::Head(head))) if subscribes && is_redirect(head.status) => {
                    http.last = !head.keep_alive;
                    Then::Redirected(head.status, location)
                }
                Ok(Some(Piece::Head(head))) if polls => {
                    http.last = !head.keep_alive;
                    for (place, value) in told.into_iter().enumerate() {
                        let Some(value) = value else { continue };
                        http.cursors
                            .resize(http.cursors.len().max(place + 1), String::new());
                        http.cursors[place] = value;
                    }
                    http.streams = head.status == 200;
                    Then::Polled(head.status)
                }
                Ok(Some(Piece::Body(body))) if polls => {
                    if http.streams {
                        http.answer.extend_from_slice(body);
                    }
                    match http.answer.len() > self.plan.target().max_message {
                        false => Then::Nothing,
                        true => {
                            self.count(c, Counter::Oversized);
                            Then::Failed(Failure::TooLarge)
                        }
                    }
                }
                Ok(Some(Piece::Head(head))) => {
                    http.streams = head.status == 200 && of_events;
                    http.last = !head.keep_alive;
                    Then::Head(head, heard, of_events)
                }
                Ok(Some(Piece::Body(body))) if http.streams => {
                    // Of a stream that might be held back, its first sign is what makes it ready.
                    if self.awaits_a_sign(c) {
                        self.run_steps(c, 0, now);
                    }
                    let (then, sent) = self.events_in(c, &mut http, body, now);
                    if let Some((first, last)) = sent {
                        let (earliest, latest) = span.unwrap_or((first, last));
                        span = Some((earliest.min(first), latest.max(last)));
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
                Then::Redirected(status, location) => {
                    self.led_elsewhere(c, status, location.as_deref(), now);
                }
                Then::Polled(status) => self.polled(c, status, now),
                Then::Ended if polls => self.poll_over(c, last, now),
                Then::Ended => self.answer_over(c, last, now),
                Then::Failed(failure) => self.lost(c, Cause::Failed(failure), now),
            }
            if self.conns[c].generation != generation {
                break;
            }
        }
        if let Some((first, latest)) = span {
            let spread = latest.saturating_sub(first);
            self.recorder
                .time(Timer::Bunch, self.phase, g, spread as i64);
        }
    }

    /// Whether a stream's head has come, and nothing else that it waits for.
    fn awaits_a_sign(&self, c: usize) -> bool {
        let opening = self.conns[c].opening.as_ref();
        opening.is_some_and(|opening| opening.stage == Stage::Upgrade)
    }

    /// The events in a piece of a stream; and when those of this run's that came were sent, earliest and latest.
    fn events_in(
        &mut self,
        c: usize,
        http: &mut Http,
        mut body: &[u8],
        now: u64,
    ) -> (Then, Option<(u64, u64)>) {
        let generation = self.conns[c].generation;
        let max = self.plan.target().max_message;
        let mut sent: Option<(u64, u64)> = None;
        loop {
            match http.events.next(&mut body, max) {
                Ok(None) => return (Then::Nothing, sent),
                Ok(Some(event)) => {
                    let stamp = Stamp::find(event.data).filter(|stamp| stamp.run == self.run);
                    if let Some(stamp) = stamp {
                        let at = stamp.sent_ns;
                        let (first, last) = sent.unwrap_or((at, at));
                        sent = Some((first.min(at), last.max(at)));
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
            if self.keep_heard(c, heard, now) && !self.waits_for_a_sign(c) {
                self.run_steps(c, 0, now);
            }
            return;
        }
        // As the standard has it, only a stream that ended is asked for again; 204 is how a server says never to.
        let tries = self
            .over_http(c)
            .is_some_and(|settings| settings.keep_trying);
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
                self.refused_by(c, status);
                Failure::Status
            }
        };
        self.lost(c, Cause::Failed(failure), now);
    }

    /// The answer to a stream's request, or to a poll, is a redirect: only that of a stream that opens is followed.
    fn led_elsewhere(&mut self, c: usize, status: u16, location: Option<&str>, now: u64) {
        if self.conns[c].state == State::Opening && !self.long_polls(c) {
            // As the standard has it: see `answer_head`.
            let tries = self.over_http(c).is_some_and(|s| s.keep_trying);
            self.conns[c].mark(Mark::Refused, !tries);
            if self.redirected(c, status, location, now) {
                self.conns[c].mark(Mark::Refused, false);
            }
            return;
        }
        self.led_nowhere(c, status, location, "", now);
    }

    fn long_polls(&self, c: usize) -> bool {
        self.over_http(c).is_some_and(|s| s.poll.is_some())
    }

    /// What a stream asks for, before any redirect.
    pub(super) fn asked_path(&self, c: usize) -> String {
        let topics = self.topics_asked(c);
        let settings = self.over_http(c);
        settings.map_or_else(String::new, |s| self.address(c, &s.path, &topics))
    }

    /// The answer to a poll begins. One without anything to tell is as good as one with.
    fn polled(&mut self, c: usize, status: u16, now: u64) {
        if !matches!(status, 200 | 204 | 304 | 408) {
            let g = usize::from(self.conns[c].group);
            self.recorder.status(status, self.phase, g);
            self.refused_by(c, status);
            self.lost(c, Cause::Failed(Failure::Status), now);
        }
    }

    /// The answer to a poll is whole: what it tells, and the next poll.
    fn poll_over(&mut self, c: usize, last: bool, now: u64) {
        let generation = self.conns[c].generation;
        let Some(mut http) = self.take_http(c) else {
            return;
        };
        let answer = std::mem::take(&mut http.answer);
        http.answered_ns = now.max(1);
        self.put_http(c, http);
        let poll = self
            .over_http(c)
            .and_then(|settings| settings.poll.as_ref());
        let lines = poll.is_some_and(|poll| poll.lines);
        let messages = answer.split(|byte| lines && *byte == b'\n');
        for message in messages.filter(|message| !message.is_empty()) {
            self.message(c, Form::Text, message, now);
            if self.conns[c].generation != generation {
                return;
            }
        }
        if let Some(mut http) = self.take_http(c) {
            // Its room is used again.
            http.answer = answer;
            http.answer.clear();
            self.put_http(c, http);
        }
        match last {
            true => self.stream_over(c, Cause::Closed, now),
            // Also of one that is not ready yet: nothing else would have it poll on.
            false if matches!(self.conns[c].state, State::Opening | State::Ready) => {
                self.poll_again(c, now);
            }
            false => {}
        }
    }

    /// An answer is whole. A stream that is over has ended as it should, and so has a connection after its last answer.
    fn answer_over(&mut self, c: usize, last: bool, now: u64) {
        let g = usize::from(self.conns[c].group);
        let subscribes = !self.plan.groups()[g].subscribe.is_empty();
        if subscribes || last {
            self.stream_over(c, Cause::Closed, now);
        }
    }

    /// The target ended a connection over HTTP in the way that HTTP has for it; TCP ended, or ends now, by `cause`.
    pub(super) fn stream_over(&mut self, c: usize, cause: Cause, now: u64) {
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
        self.lost(c, cause, now);
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
            self.stream_over(c, Cause::Eof, now);
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

/// Longest value of a cursor that is kept, bytes.
const LONGEST_CURSOR: usize = 1024;

/// Whether a text of the target's can be sent back to it in a header or an address.
fn is_sendable(text: &str) -> bool {
    !text.is_empty() && !text.bytes().any(|c| c.is_ascii_control())
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
