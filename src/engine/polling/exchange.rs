//! What a connection that goes on by polling says and hears: packets in the answers to its GETs, and in its POSTs.

use super::super::answer::Heard;
use super::super::conn::{Intent, State};
use super::super::end::Cause;
use super::super::outbox::{Outbox, Written};
use super::super::shard::Shard;
use super::super::stream::Stream;
use super::super::wheel::Due;
use super::add_query;
use super::beside::{Beside, Which};
use super::upgrade::Climb;
use crate::metrics::{Failure, Timer};
use crate::protocol::socket_io::{POLLING, Polled, engine_io, payload};
use crate::protocol::{Form, Violation};
use crate::transport::handshake::RequestError;
use crate::transport::http::{self, HttpError, Part, Responses};
use std::collections::VecDeque;

/// Room for answers that is kept from one to the next, bytes.
const KEPT: usize = 16 * 1024;
/// Answers may hold so many times as much as one message.
const MESSAGES: usize = 64;
/// Bytes kept of the answer to a post.
const SAID: usize = 256;

/// What a connection polls by.
pub struct Poller {
    sid: String,
    max_payload: usize,
    /// What is written for each GET, and for each POST before the length of its body.
    get: Vec<u8>,
    post: Vec<u8>,
    /// The answer to the GET as far as it came.
    answer: Answer,
    /// A GET is under way.
    asked: bool,
    /// When the last one was answered; 0: not yet.
    answered_ns: u64,
    waiting: Packets,
    posts: Posts,
    /// What a TCP connection of posts was ended with, and had not left whole.
    unsaid: Vec<Written>,
    pub(super) climb: Climb,
    /// When the handshake was answered.
    pub(super) begun_ns: u64,
    /// It has said goodbye, or is about to.
    leaving: bool,
}

/// An answer as far as it came.
#[derive(Default)]
struct Answer {
    responses: Responses,
    status: u16,
    /// Nothing follows on its connection.
    last: bool,
    body: Vec<u8>,
}

/// The TCP connection that posts; `None` while there is none.
#[derive(Default)]
struct Posts {
    beside: Option<Beside>,
    /// A POST is under way.
    under_way: bool,
    answer: Answer,
    /// When the server ends the connection if nothing is posted, as it has told; 0: it has not.
    until_ns: u64,
}

/// Packets that wait to be posted.
#[derive(Default)]
struct Packets {
    bytes: Vec<u8>,
    gone: usize,
    ends: VecDeque<(usize, Written)>,
}

impl Packets {
    fn push(&mut self, form: Form, message: &[u8], what: Written) {
        payload::push(form, message, &mut self.bytes);
        self.ends.push_back((self.bytes.len(), what));
    }

    fn waiting(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// How many of them make a body of at most so many bytes, and its bytes. One always does, however long it is.
    fn fitting(&self, most: usize) -> (usize, usize) {
        let mut fitting = (0, 0);
        for (separators, (end, _)) in self.ends.iter().enumerate() {
            let length = end - self.gone + separators;
            if separators > 0 && length > most {
                break;
            }
            fitting = (separators + 1, length);
        }
        fitting
    }

    fn next(&mut self) -> Option<(&[u8], Written)> {
        let (end, what) = self.ends.pop_front()?;
        let start = std::mem::replace(&mut self.gone, end);
        Some((&self.bytes[start..end], what))
    }

    /// Gives back the room of what is gone.
    fn tidy(&mut self) {
        self.bytes.drain(..self.gone);
        for (end, _) in &mut self.ends {
            *end -= self.gone;
        }
        self.gone = 0;
        self.bytes.shrink_to(KEPT);
    }
}

impl Poller {
    fn new(polled: &Polled, now: u64) -> Self {
        Poller {
            sid: polled.sid.clone(),
            max_payload: polled.max_payload,
            get: Vec::new(),
            post: Vec::new(),
            answer: Answer::default(),
            asked: false,
            answered_ns: 0,
            waiting: Packets::default(),
            posts: Posts::default(),
            unsaid: Vec::new(),
            climb: Climb::No,
            begun_ns: now,
            leaving: false,
        }
    }

    pub(super) fn beside(&mut self, which: Which) -> Option<&mut Beside> {
        match which {
            Which::Posts => self.posts.beside.as_mut(),
            Which::Probe => self.climb.probe().map(|probe| &mut probe.beside),
        }
    }

    pub(super) fn take_besides(&mut self) -> Vec<Stream> {
        let probe = std::mem::take(&mut self.climb).into_probe();
        let probe = probe.map(|probe| probe.beside.stream);
        [self.end_posts(), probe].into_iter().flatten().collect()
    }

    /// Ends the TCP connection of the posts. What had not left whole over it [`Poller::abandon`] says.
    fn end_posts(&mut self) -> Option<Stream> {
        let mut beside = self.posts.beside.take()?;
        beside.outbox.abandon(|what| self.unsaid.push(what));
        Some(beside.stream)
    }

    pub(super) fn besides(&self) -> u32 {
        u32::from(self.posts.beside.is_some()) + u32::from(!matches!(self.climb, Climb::No))
    }

    /// Neither a GET nor a POST is under way.
    pub(super) fn is_quiet(&self) -> bool {
        !self.asked && !self.posts.under_way
    }

    /// Says what never left whole.
    pub fn abandon(mut self, mut kept: impl FnMut(Written)) {
        self.end_posts();
        let waiting = self.waiting.ends.drain(..).map(|(_, what)| what);
        self.unsaid.drain(..).chain(waiting).for_each(&mut kept);
    }
}

impl Shard {
    /// Whether a connection goes by polling now.
    pub(in super::super) fn polls(&self, c: usize) -> bool {
        let group = &self.groups[usize::from(self.conns[c].group)];
        group.polls.get(c - group.base).is_some_and(Option::is_some)
    }

    pub(super) fn poller(&mut self, c: usize) -> Option<&mut Poller> {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        group.polls.get_mut(c - group.base)?.as_deref_mut()
    }

    pub(in super::super) fn take_poller(&mut self, c: usize) -> Option<Box<Poller>> {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        group.polls.get_mut(c - group.base)?.take()
    }

    pub(super) fn put_poller(&mut self, c: usize, poller: Box<Poller>) {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        if let Some(place) = group.polls.get_mut(c - group.base) {
            *place = Some(poller);
        }
    }

    /// Bytes of packets that wait to be posted.
    pub(in super::super) fn unposted(&self, c: usize) -> usize {
        let group = &self.groups[usize::from(self.conns[c].group)];
        let poller = group.polls.get(c - group.base).and_then(Option::as_ref);
        poller.map_or(0, |poller| poller.waiting.waiting())
    }

    /// The handshake is answered, with these packets behind its own: from here on it is polled.
    pub(super) fn begin_polling(&mut self, c: usize, polled: &Polled, behind: &[u8], now: u64) {
        let generation = self.conns[c].generation;
        self.put_poller(c, Box::new(Poller::new(polled, now)));
        if let Err(e) = self.write_heads(c) {
            return self.no_handshake(c, &e.to_string(), now);
        }
        self.greet(c, now);
        self.packets(c, behind, now);
        if self.conns[c].generation != generation {
            return;
        }
        self.poll(c);
        self.begin_upgrade(c, polled, now);
    }

    /// Writes what requests begin with: again whenever a cookie is set.
    fn write_heads(&mut self, c: usize) -> Result<(), RequestError> {
        let Some(poller) = self.poller(c) else {
            return Ok(());
        };
        let query = format!("{POLLING}&sid={}", poller.sid);
        let (mut path, headers) = self.upgrade_request(c);
        add_query(&mut path, &query);
        let endpoint = self.endpoint(c);
        let request = |method, own| http::Request {
            method,
            host: &endpoint.host,
            port: endpoint.port,
            tls: endpoint.tls,
            path: &path,
            own,
            headers: &headers,
        };
        let (mut get, mut post) = (Vec::new(), Vec::new());
        http::request(&request("GET", &[("Accept", "*/*")]), None, &mut get)?;
        let own = [
            ("Accept", "*/*"),
            ("Content-Type", "text/plain;charset=UTF-8"),
        ];
        http::head(&request("POST", &own), &mut post)?;
        if let Some(poller) = self.poller(c) {
            (poller.get, poller.post) = (get, post);
        }
        Ok(())
    }

    /// Keeps the cookies of an answer, and sends them from here on.
    fn keep_polled_cookies(&mut self, c: usize, heard: Heard) {
        if heard.has_cookies() {
            self.keep_cookies(c, heard);
            // What could be written without them can be with them, as they are cleaned.
            let _ = self.write_heads(c);
        }
    }

    /// Sends a GET.
    fn poll(&mut self, c: usize) {
        let Some(mut poller) = self.take_poller(c) else {
            return;
        };
        poller.asked = true;
        let answered_ns = std::mem::take(&mut poller.answered_ns);
        self.queue_bytes(c, &poller.get);
        self.put_poller(c, poller);
        if answered_ns > 0 {
            let g = usize::from(self.conns[c].group);
            let gap = self.now().saturating_sub(answered_ns);
            self.recorder.time(Timer::Gap, self.phase, g, gap as i64);
        }
    }

    /// Bytes of the answers to GETs.
    pub(in super::super) fn poll_bytes(&mut self, c: usize, mut bytes: &[u8], now: u64) {
        let generation = self.conns[c].generation;
        let g = usize::from(self.conns[c].group);
        let max_head = self.plan.target().max_header;
        let most = self.plan.target().max_message.saturating_mul(MESSAGES);
        while self.conns[c].generation == generation
            && let Some(mut poller) = self.take_poller(c)
        {
            let mut heard = Heard::default();
            let group = &self.plan.groups()[g];
            let mut taken = |name: &str, value: &[u8]| heard.take(group, name, value);
            let asked = poller.asked;
            let read = poller
                .answer
                .read(&mut bytes, max_head, most, asked, &mut taken);
            self.put_poller(c, poller);
            self.keep_polled_cookies(c, heard);
            match read {
                Ok(Read::Part) => return,
                Ok(Read::More) => {}
                Ok(Read::Whole) => self.poll_answered(c, now),
                Err(failure) => self.answer_failed(c, failure, now),
            }
        }
    }

    fn answer_failed(&mut self, c: usize, (failure, said): (Failure, &str), now: u64) {
        self.recorder.sample("protocol", said.as_bytes());
        self.lost(c, Cause::Failed(failure), now);
    }

    /// The answer to a GET is whole.
    fn poll_answered(&mut self, c: usize, now: u64) {
        let generation = self.conns[c].generation;
        let Some(poller) = self.poller(c) else {
            return;
        };
        poller.asked = false;
        poller.answered_ns = now.max(1);
        let body = std::mem::take(&mut poller.answer.body);
        let (status, last, leaving) = (poller.answer.status, poller.answer.last, poller.leaving);
        if status != 200 {
            // What a goodbye is answered with does not matter.
            if leaving {
                return;
            }
            let failure = self.answered_otherwise(c, status, &body[..body.len().min(SAID)]);
            return self.lost(c, Cause::Failed(failure), now);
        }
        self.packets(c, &body, now);
        if self.conns[c].generation != generation {
            return;
        }
        let Some(poller) = self.poller(c) else {
            return;
        };
        poller.answer.body = body;
        poller.answer.body.clear();
        poller.answer.body.shrink_to(KEPT);
        if poller.leaving {
            return;
        }
        if last {
            let said = "the answer to a poll ends its connection, on which the next one was to go";
            self.recorder.sample("protocol", said.as_bytes());
            return self.lost(c, Cause::Eof, now);
        }
        self.go_on(c, now);
    }

    /// Polls again, or goes over to the WebSocket that is ready to take over.
    pub(super) fn go_on(&mut self, c: usize, now: u64) {
        let Some(poller) = self.poller(c) else {
            return;
        };
        match poller.climb.is_ready() {
            true => self.switch(c, now),
            false if !poller.asked => self.poll(c),
            false => {}
        }
    }

    /// Packets of the server's.
    fn packets(&mut self, c: usize, body: &[u8], now: u64) {
        if body.is_empty() {
            return;
        }
        let generation = self.conns[c].generation;
        let mut room = Vec::new();
        for packet in payload::packets(body) {
            if packet == engine_io::CLOSE {
                return match self.conns[c].state {
                    State::Closing => self.left(c, now),
                    _ => self.stream_over(c, Cause::Closed, now),
                };
            }
            match payload::message(packet, &mut room) {
                Ok((form, message)) => self.converse(c, form, message, now),
                Err(Violation(said)) => {
                    return self.answer_failed(c, (Failure::Protocol, said), now);
                }
            }
            if self.conns[c].generation != generation {
                return;
            }
        }
    }

    /// Queues a packet of ours; what is queued in one turn is posted together.
    pub(in super::super) fn queue_packet(
        &mut self,
        c: usize,
        form: Form,
        message: &[u8],
        what: Written,
    ) {
        if let Some(poller) = self.poller(c) {
            let first = poller.waiting.ends.is_empty();
            poller.waiting.push(form, message, what);
            if first {
                self.to_post.push(c as u32);
            }
        }
    }

    /// Posts what waits for it, of those that have something.
    pub(in super::super) fn post_due(&mut self) {
        if self.to_post.is_empty() {
            return;
        }
        let mut due = std::mem::take(&mut self.to_post);
        let now = self.now();
        for c in due.drain(..) {
            self.post_some(c as usize, now);
        }
        if self.to_post.is_empty() {
            self.to_post = due;
        }
    }

    fn post_some(&mut self, c: usize, now: u64) {
        let Some(poller) = self.poller(c) else {
            return;
        };
        let posts = &mut poller.posts;
        if poller.waiting.ends.is_empty() || posts.under_way || poller.climb.is_ready() {
            return;
        }
        // One that the server is about to end is not used again.
        if posts.until_ns > 0 && posts.until_ns <= now {
            posts.beside = None;
        }
        if posts.beside.is_none() {
            let beside = match self.dial_beside(c, Which::Posts) {
                Ok(beside) => Some(beside),
                Err(e) => return self.lost(c, Cause::Socket(e), now),
            };
            if let Some(poller) = self.poller(c) {
                poller.posts = Posts {
                    beside,
                    ..Posts::default()
                };
            }
        }
        let Some(poller) = self.poller(c) else {
            return;
        };
        let Some(beside) = &mut poller.posts.beside else {
            return;
        };
        poller.posts.under_way = true;
        write_post(
            &poller.post,
            &mut poller.waiting,
            poller.max_payload,
            &mut beside.outbox,
        );
        self.flush_beside(c, Which::Posts, now);
    }

    /// Bytes of the answers to POSTs.
    pub(super) fn post_bytes(&mut self, c: usize, mut bytes: &[u8], now: u64) {
        let generation = self.conns[c].generation;
        let g = usize::from(self.conns[c].group);
        let max_head = self.plan.target().max_header;
        while self.conns[c].generation == generation
            && let Some(mut poller) = self.take_poller(c)
        {
            let mut heard = Heard::default();
            let mut kept_ns = None;
            let group = &self.plan.groups()[g];
            let mut taken = |name: &str, value: &[u8]| {
                heard.take(group, name, value);
                if name.eq_ignore_ascii_case("keep-alive") {
                    kept_ns = kept_for(value);
                }
            };
            let posts = &mut poller.posts;
            let asked = posts.under_way;
            let read = posts
                .answer
                .read(&mut bytes, max_head, KEPT, asked, &mut taken);
            if let Some(kept_ns) = kept_ns {
                posts.until_ns = now + kept_ns;
            }
            self.put_poller(c, poller);
            self.keep_polled_cookies(c, heard);
            match read {
                Ok(Read::Part) => return,
                Ok(Read::More) => {}
                Ok(Read::Whole) => self.posted(c, now),
                Err(failure) => self.answer_failed(c, failure, now),
            }
        }
    }

    /// A POST is answered.
    fn posted(&mut self, c: usize, now: u64) {
        let Some(poller) = self.poller(c) else {
            return;
        };
        let posts = &mut poller.posts;
        posts.under_way = false;
        let status = posts.answer.status;
        if posts.answer.last {
            poller.end_posts();
        }
        let more = !poller.waiting.ends.is_empty();
        if poller.leaving && !more {
            return self.left(c, now);
        }
        if status != 200 {
            let said = std::mem::take(&mut poller.posts.answer.body);
            let failure = self.answered_otherwise(c, status, &said[..said.len().min(SAID)]);
            return self.lost(c, Cause::Failed(failure), now);
        }
        if poller.climb.is_ready() {
            return self.switch(c, now);
        }
        if more {
            self.to_post.push(c as u32);
        }
    }

    /// The TCP connection that posts is gone, which matters if it was used.
    pub(super) fn posts_gone(&mut self, c: usize, cause: Cause, now: u64) {
        let Some(poller) = self.poller(c) else {
            return;
        };
        if !poller.posts.under_way {
            poller.posts.beside = None;
            return;
        }
        match poller.leaving {
            true => self.left(c, now),
            false => self.lost(c, cause, now),
        }
    }

    /// Begins to leave: the protocol's goodbye, and the transport's, whose POST is waited for.
    pub(in super::super) fn leave_polling(&mut self, c: usize, intent: Intent, now: u64) {
        if matches!(intent, Intent::Churn | Intent::Finish) {
            self.say_goodbye(c);
        }
        self.queue_packet(c, Form::Text, engine_io::CLOSE, Written::Control);
        if let Some(poller) = self.poller(c) {
            poller.leaving = true;
            poller.climb = Climb::No;
            self.to_post.push(c as u32);
        }
        let timeout = self.plan.target().close_timeout.as_nanos() as u64;
        self.set_timer(now + timeout, c, Due::CloseTimeout);
    }

    /// Both sides know that it is over.
    fn left(&mut self, c: usize, now: u64) {
        self.conns[c].peer_code = 1000;
        self.lost(c, Cause::Closed, now);
    }

    /// Says over the WebSocket what was not posted any more.
    pub(super) fn say_unposted(&mut self, c: usize, poller: &mut Poller) {
        let mut room = Vec::new();
        while let Some((packet, what)) = poller.waiting.next() {
            // They are our own.
            if let Ok((form, message)) = payload::message(packet, &mut room) {
                self.queue_message(c, super::super::converse::opcode(form), message, what);
            }
        }
    }
}

/// What came of reading an answer.
enum Read {
    /// There is nothing more to read.
    Part,
    /// There is.
    More,
    /// It is whole.
    Whole,
}

impl Answer {
    /// Reads on; a body of more than `most` bytes is a failure, and so is an answer that was not asked for.
    fn read(
        &mut self,
        bytes: &mut &[u8],
        max_head: usize,
        most: usize,
        asked: bool,
        heard: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<Read, (Failure, &'static str)> {
        match self.responses.next(bytes, max_head, heard) {
            Ok(None) => Ok(Read::Part),
            Ok(Some(Part::Head(_))) if !asked => {
                Err((Failure::Protocol, "an answer to nothing that was asked"))
            }
            Ok(Some(Part::Head(head))) => {
                self.status = head.status;
                self.last = !head.keep_alive;
                self.body.clear();
                Ok(Read::More)
            }
            Ok(Some(Part::Body(body))) if self.body.len() + body.len() > most => Err((
                Failure::TooLarge,
                "an answer to a poll or a post is too long",
            )),
            Ok(Some(Part::Body(body))) => {
                self.body.extend_from_slice(body);
                Ok(Read::More)
            }
            Ok(Some(Part::End)) => Ok(Read::Whole),
            Err(HttpError::HeadTooLarge) => Err((
                Failure::HeaderTooLarge,
                "response header larger than accepted",
            )),
            Err(HttpError::Invalid(said)) => Err((Failure::Protocol, said)),
        }
    }
}

/// Appends a POST with as many of the packets as it may have.
fn write_post(head: &[u8], packets: &mut Packets, most: usize, outbox: &mut Outbox) {
    use std::io::Write;
    let (fitting, length) = packets.fitting(most);
    let out = outbox.buffer();
    out.extend_from_slice(head);
    // Writing into a Vec cannot fail.
    let _ = write!(out, "Content-Length: {length}\r\n\r\n");
    outbox.seal(Written::Control);
    for place in 0..fitting {
        let Some((packet, what)) = packets.next() else {
            break;
        };
        if place > 0 {
            outbox.buffer().push(payload::SEPARATOR);
        }
        outbox.buffer().extend_from_slice(packet);
        outbox.seal(what);
    }
    packets.tidy();
}

/// How long a `Keep-Alive` header lets a connection be idle, nanoseconds, with a second to spare for what is under way.
fn kept_for(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let timeout = text
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?;
    let seconds: u64 = timeout.trim().parse().ok()?;
    Some(seconds.min(3600).saturating_sub(1) * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(packets: &mut Packets, most: usize) -> (String, Vec<Written>) {
        let mut outbox = Outbox::default();
        write_post(b"POST / HTTP/1.1\r\n", packets, most, &mut outbox);
        let text = String::from_utf8(outbox.buffer().clone()).unwrap();
        let mut whats = Vec::new();
        outbox.abandon(|what| whats.push(what));
        (text, whats)
    }

    #[test]
    fn a_post_has_as_many_packets_as_fit_and_one_always() {
        let publish = |phase| Written::Publish { ordinal: 0, phase };
        let mut packets = Packets::default();
        packets.push(Form::Text, b"40", Written::Control);
        packets.push(Form::Text, b"42[1]", publish(1));
        packets.push(Form::Binary, &[1, 2, 3, 4], publish(2));
        packets.push(Form::Text, b"42[\"long\"]", publish(3));
        packets.push(Form::Text, b"3", Written::Control);
        let head = "POST / HTTP/1.1\r\nContent-Length:";
        // The two, and what is between them.
        let (text, whats) = posted(&mut packets, 8);
        assert_eq!(text, format!("{head} 8\r\n\r\n40\x1e42[1]"));
        assert_eq!(whats, [Written::Control, Written::Control, publish(1)]);
        let (text, _) = posted(&mut packets, 8);
        assert_eq!(text, format!("{head} 9\r\n\r\nbAQIDBA=="));
        assert_eq!(packets.waiting(), 11);
        let (text, whats) = posted(&mut packets, usize::MAX);
        assert_eq!(text, format!("{head} 12\r\n\r\n42[\"long\"]\x1e3"));
        assert_eq!(whats, [Written::Control, publish(3), Written::Control]);
        assert_eq!((packets.waiting(), packets.fitting(9)), (0, (0, 0)));
    }

    #[test]
    fn what_had_not_left_with_a_connection_that_is_ended_is_said() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let polled = Polled {
            sid: "s".to_owned(),
            upgrades: false,
            max_payload: usize::MAX,
            opened: 0,
        };
        let mut poller = Poller::new(&polled, 1);
        let publish = |phase| Written::Publish { ordinal: 0, phase };
        poller.waiting.push(Form::Text, b"42[1]", publish(1));
        let mut beside = Beside {
            stream: Stream {
                socket: mio::net::TcpStream::from_std(socket),
                tls: None,
            },
            outbox: Outbox::default(),
            there: true,
        };
        write_post(b"", &mut poller.waiting, usize::MAX, &mut beside.outbox);
        poller.posts.beside = Some(beside);
        poller.waiting.push(Form::Text, b"42[2]", publish(2));
        assert_eq!(poller.take_besides().len(), 1);
        assert!(poller.take_besides().is_empty());
        let mut said = Vec::new();
        poller.abandon(|what| said.push(what));
        assert_eq!(said, [Written::Control, publish(1), publish(2)]);
    }

    #[test]
    fn a_connection_is_not_used_when_the_server_is_about_to_end_it() {
        for (value, seconds) in [
            ("timeout=5", Some(4)),
            ("max=99, timeout=60", Some(59)),
            ("timeout=0", Some(0)),
            ("timeout=x", None),
            ("5", None),
        ] {
            let kept = kept_for(value.as_bytes());
            assert_eq!(kept, seconds.map(|s: u64| s * 1_000_000_000), "{value}");
        }
    }
}
