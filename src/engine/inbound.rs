//! Receiving: bytes from a socket, messages from bytes, and what each message means for the connection.

use super::conn::{Mark, Stage, State};
use super::converse::opcode;
use super::end::Cause;
use super::outbox::Written;
use super::shard::Shard;
use super::tail::{blame, origin};
use super::traffic::{REQUEST_STREAMS, is_full, take_pending};
use super::wheel::Due;
use super::will::WILL;
use crate::metrics::{Absence, Arrival, CloseKey, Counter, Failure, Place, Timer};
use crate::plan::Reply;
use crate::protocol::{Form, Incoming, Stamp, pointer};
use crate::transport::ws::{Close, Event, Opcode};
use std::io;

/// Reads of one connection in a row before others get their turn.
const READS: usize = 16;

impl Shard {
    /// The kernel says something of a connection's socket.
    pub(super) fn socket_event(&mut self, c: usize, readable: bool, ended: bool, writable: bool) {
        let now = self.now();
        if self.is_silent(c) {
            return self.faults.hear_nothing(c, ended);
        }
        if self.conns[c].opening.is_some() && self.dial_event(c, now, writable && !ended) {
            return;
        }
        let generation = self.conns[c].generation;
        if writable && self.conns[c].outbox.is_some() {
            self.flush(c);
        }
        if self.conns[c].generation != generation {
            return;
        }
        // One on the list to be read again has its turn there: events must not bring it more than others.
        if self.conns[c].troubled {
            if readable || ended {
                self.troubled_event(c, ended, now);
            }
            return;
        }
        if (readable || ended) && !self.conns[c].is(Mark::Unread) {
            self.read(c, now, ended);
        }
    }

    /// Reads until the socket is drained or others are due. A read that did not fill the buffer has
    /// drained it, as whatever comes later is an event of its own; but an end that the kernel has told
    /// of already (`to_end`) is only seen by reading on.
    pub(super) fn read(&mut self, c: usize, now: u64, to_end: bool) {
        if self.conns[c].troubled {
            return self.read_in_trouble(c);
        }
        // The one scratch buffer leaves the shard while its slices are in use, and never crosses an await.
        let mut scratch = std::mem::take(&mut self.scratch);
        let generation = self.conns[c].generation;
        let mut drained = false;
        for _ in 0..READS {
            let conn = &mut self.conns[c];
            let Some(stream) = &mut conn.stream else {
                drained = true;
                break;
            };
            match stream.read(&mut scratch) {
                Ok(0) => {
                    if !self.ended_well(c, now) {
                        self.lost(c, Cause::Eof, now);
                    }
                    drained = true;
                    break;
                }
                Ok(n) => {
                    // TLS gives a record at a time, however much there is.
                    let short = n < scratch.len() && stream.tls.is_none();
                    // Each read has its own moment: the messages behind a long one came later.
                    let now = self.now();
                    self.bytes(c, &scratch[..n], now);
                    // One that a fault has come to in there is read on at the fault's pace.
                    let conn = &self.conns[c];
                    let greets = conn.opening.as_ref().is_some_and(|o| o.stage == Stage::Tls);
                    if conn.generation != generation
                        || conn.troubled
                        || (short && !to_end)
                        // Behind a proxy: what comes next is TLS's.
                        || greets
                    {
                        drained = true;
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    drained = true;
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.lost(c, Cause::Socket(e), now);
                    drained = true;
                    break;
                }
            }
        }
        self.scratch = scratch;
        if !drained && !self.conns[c].mark(Mark::Unread, true) {
            self.again.push_back((c as u32, generation));
        }
    }

    /// Bytes of a connection in the order they came.
    pub(super) fn bytes(&mut self, c: usize, bytes: &[u8], now: u64) {
        let conn = &mut self.conns[c];
        conn.heard_ms = (now / 1_000_000) as u32;
        self.recorder.count(
            Counter::BytesReceived,
            self.phase,
            usize::from(conn.group),
            bytes.len() as u64,
        );
        let stage = conn.opening.as_ref().map(|o| o.stage);
        if stage == Some(Stage::Proxy) {
            self.proxy_bytes(c, bytes, now);
        } else if self.is_over_http(c) {
            self.http_bytes(c, bytes, now);
        } else if stage == Some(Stage::Upgrade) {
            self.upgrade_bytes(c, bytes, now);
        } else if stage == Some(Stage::Polling) {
            self.polled_bytes(c, bytes, now);
        } else if self.polls(c) {
            self.poll_bytes(c, bytes, now);
        } else {
            self.frames(c, bytes, now);
        }
    }

    /// WebSocket frames, whole or in part.
    pub(super) fn frames(&mut self, c: usize, mut bytes: &[u8], now: u64) {
        let max = self.plan.target().max_message;
        let generation = self.conns[c].generation;
        let mut inbound = std::mem::take(&mut self.conns[c].inbound);
        loop {
            match inbound.next(&mut bytes, max) {
                Ok(Some(event)) => {
                    match event {
                        Event::Text(text) => self.message(c, Form::Text, text.as_bytes(), now),
                        Event::Binary(bytes) => self.message(c, Form::Binary, bytes, now),
                        Event::Deflated { text, bytes } => {
                            if let Err(violation) = self.deflated_message(c, text, bytes, now) {
                                return self.violation(c, violation, now);
                            }
                        }
                        Event::Ping(payload) => {
                            // A peer that asks without reading the answers gets no more of them than of
                            // anything else: its queue is bounded.
                            let late = self.conns[c].troubled && self.put_off_pong(c, payload, now);
                            let conn = &self.conns[c];
                            if !late && conn.state != State::Closing && !is_full(conn, &self.plan) {
                                self.queue_control(c, Opcode::Pong, payload);
                                self.count(c, Counter::PingsAnswered);
                            }
                        }
                        Event::Pong(payload) => self.pong(c, payload, now),
                        Event::Close(close) => {
                            self.close_frame(c, close, now);
                            // Whatever follows a Close frame is not for us (RFC 6455 §5.5.1).
                            bytes = &[];
                        }
                    }
                    // The connection ended in there: its next socket has a decoder of its own.
                    if self.conns[c].generation != generation {
                        return;
                    }
                }
                Ok(None) => break,
                Err(violation) => {
                    self.violation(c, violation, now);
                    return;
                }
            }
        }
        self.conns[c].inbound = inbound;
    }

    pub(super) fn count(&mut self, c: usize, counter: Counter) {
        self.recorder
            .count(counter, self.phase, usize::from(self.conns[c].group), 1);
    }

    fn close_frame(&mut self, c: usize, close: Close<'_>, now: u64) {
        if self.conns[c].troubled {
            self.faults.told_to_go(c, now);
        }
        let conn = &mut self.conns[c];
        conn.peer_code = close.code.unwrap_or(1005);
        if !close.reason.is_empty() {
            self.recorder.sample(
                &format!("close {}", conn.peer_code),
                close.reason.as_bytes(),
            );
        }
        match conn.state {
            // Ours was first: the handshake is complete, and the peer ends TCP.
            State::Closing => {}
            _ => {
                let code = close.code;
                // Old or not is a question of now: the rest of the handshake may take until after a deploy begins.
                self.begin_deploys(now);
                let said = CloseKey {
                    code: code.unwrap_or(1005),
                    by_target: true,
                    clean: true,
                };
                self.ended_in_deploy(c, said, now);
                if self.conns[c].state == State::Ready {
                    self.ended_with_token(c, Some(said.code), now);
                }
                if code.is_some_and(Shard::refuses) {
                    self.resume_refused(c);
                }
                self.leave_ready(c);
                self.conns[c].state = State::Closing;
                self.closing += 1;
                let payload = code.map(u16::to_be_bytes);
                self.queue_control(
                    c,
                    Opcode::Close,
                    payload.as_ref().map_or(&[], |p| p.as_slice()),
                );
                let timeout = self.plan.target().close_timeout.as_nanos() as u64;
                self.set_timer(now + timeout, c, Due::CloseTimeout);
            }
        }
    }

    /// A whole message.
    pub(super) fn message(&mut self, c: usize, form: Form, message: &[u8], now: u64) {
        if self.echoes && self.conns[c].state == State::Ready {
            self.queue_message(c, opcode(form), message, Written::Control);
        }
        if self.converses(c) {
            return self.converse(c, form, message, now);
        }
        if self.groups[usize::from(self.conns[c].group)]
            .codec
            .is_extended()
        {
            return self.message_extended(c, message, now);
        }
        self.message_plain(c, message, now);
    }

    /// One that is to be asked nothing beyond what each mapping has.
    pub(super) fn message_plain(&mut self, c: usize, message: &[u8], now: u64) {
        self.note_last(c, message);
        match self.conns[c].state {
            State::Opening => {
                if self.step_message(c, message, now) {
                    return;
                }
            }
            State::Ready => {}
            // Between the Close frames messages may still arrive and count: the target sent them in time.
            State::Closing => {}
            _ => return,
        }
        let g = usize::from(self.conns[c].group);
        if let Some(stamp) = Stamp::find(message)
            && stamp.run == self.run
            && !self.groups[g].codec.is_error(message)
        {
            if stamp.stream >= REQUEST_STREAMS {
                self.reply_stamped(c, &stamp, message, now);
            } else {
                self.delivered(c, g, &stamp, message.len(), now);
                if let Some((topic, sequence)) = self.groups[g].codec.numbered(message) {
                    self.numbered(c, &topic, sequence);
                } else if let Some((id, sequence)) = self.groups[g].codec.numbered_by_id(message) {
                    self.numbered_by_id(c, id, sequence);
                }
            }
            return;
        }
        self.message_unstamped(c, message, now);
    }

    /// One whose stamp, if it has any, says nothing.
    pub(super) fn message_unstamped(&mut self, c: usize, message: &[u8], now: u64) {
        let g = usize::from(self.conns[c].group);
        if !self.groups[g].held.is_empty() && self.token_message(c, message, now) {
            return;
        }
        if self.conns[c]
            .work
            .as_ref()
            .is_some_and(|w| !w.pending.is_empty())
            && self.reply_plain(c, message, now)
        {
            return;
        }
        match self.groups[g].codec.classify(message) {
            Incoming::Error { text } | Incoming::Refused { text } => {
                self.recorder.sample("error", text);
                self.count(c, Counter::Errors);
            }
            Incoming::Message { topic, sequence } => {
                self.count(c, Counter::Unstamped);
                if let (Some(topic), Some(sequence)) = (topic, sequence) {
                    self.numbered(c, &topic, sequence);
                }
            }
            Incoming::Subscribed | Incoming::Other => {}
        }
    }

    /// A stamped delivery.
    pub(super) fn delivered(&mut self, c: usize, g: usize, stamp: &Stamp, bytes: usize, now: u64) {
        let number = self.account_of(c);
        // Metrics of a message belong to the phase it was due in, whenever it arrives.
        let phase = self.plan.phase_at(stamp.intended_ns);
        let recovered = self.is_recovered(c, stamp.sent_ns);
        // Where the stream comes from matters once a stream and connection: whether it was asked for, and
        // whether the connection was there before the stream began.
        let Shard {
            delivery,
            origins,
            conns,
            plan,
            resumes,
            faults,
            ..
        } = self;
        let arrival = delivery.receive_if(
            number,
            stamp.stream,
            stamp.seq,
            phase,
            recovered,
            || {
                // Streams that nobody publishes are not believed: they could be any number.
                let origin = origin(origins, plan, stamp.stream)?;
                conns[c]
                    .topics
                    .takes(&origin)
                    .then(|| conns[c].first_ready_ns <= origin.starts_ns)
            },
            || blame(resumes, faults, c),
        );
        let Some(arrival) = arrival else {
            // Nobody publishes wills, so they have no origin either.
            match stamp.stream {
                WILL => self.will_heard(c, stamp, now),
                _ => self.count(c, Counter::Misrouted),
            }
            return;
        };
        let recorder = &mut self.recorder;
        for counter in arrival.counters() {
            recorder.count(*counter, phase, g, 1);
        }
        recorder.came(stamp.stream, arrival);
        if arrival != Arrival::New || recovered {
            self.came_wrong(c, stamp.stream, (phase, g), arrival, recovered);
        }
        self.book_losses();
        self.one_more_shared(c);
        if !arrival.first() {
            return;
        }
        if !self.watches.is_empty() {
            self.beside(c, g, stamp, bytes, (!recovered).then_some(now));
        }
        let recorder = &mut self.recorder;
        if recovered {
            // The time away is in it, and is not the latency of those who stayed.
            recorder.count(Counter::Recovered, phase, g, 1);
            let late = now as i64 - stamp.intended_ns as i64;
            return recorder.time(Timer::Recovery, phase, g, late);
        }
        recorder.time(
            Timer::Latency,
            phase,
            g,
            now as i64 - stamp.intended_ns as i64,
        );
        recorder.time(Timer::Service, phase, g, now as i64 - stamp.sent_ns as i64);
    }

    /// A delivery was recovered, or is no new one in order: its stream has it by phase, group and fault, and so has the
    /// fault that cut its connection.
    fn came_wrong(
        &mut self,
        c: usize,
        stream: u32,
        (phase, g): (usize, usize),
        arrival: Arrival,
        recovered: bool,
    ) {
        let cut_by = self.resumes.cut_by(c);
        if let Some(fault) = cut_by {
            self.recorder
                .absence(fault, Absence::came(arrival, recovered));
        }
        let place = Place::new(phase, g, cut_by.or_else(|| self.faults.touched(c)));
        self.recorder.came_wrong(stream, place, arrival, recovered);
    }

    /// An answer that carries its request's stamp.
    fn reply_stamped(&mut self, c: usize, stamp: &Stamp, message: &[u8], now: u64) {
        let ordinal = (stamp.stream - REQUEST_STREAMS) as usize;
        let g = usize::from(self.conns[c].group);
        let Some(request) = self.plan.groups()[g].request.get(ordinal) else {
            return;
        };
        // A service that answers by id may quote the payload in something that is not the answer.
        if let Reply::Id(path) = &request.reply
            && pointer::lookup(message, path).is_none_or(|found| found.number() != Some(stamp.seq))
        {
            return;
        }
        self.answered(
            c,
            |p| p.id == stamp.seq && usize::from(p.ordinal) == ordinal,
            now,
        );
    }

    /// An answer that is known by an id or a text. False when it is none.
    fn reply_plain(&mut self, c: usize, message: &[u8], now: u64) -> bool {
        let g = usize::from(self.conns[c].group);
        for ordinal in 0..self.plan.groups()[g].request.len() {
            let matched = match &self.plan.groups()[g].request[ordinal].reply {
                Reply::Id(path) => pointer::lookup(message, path)
                    .and_then(|found| found.number())
                    .map(Some),
                Reply::Contains(text) => {
                    memchr::memmem::find(message, text.as_bytes()).map(|_| None)
                }
                Reply::Stamp => None,
            };
            let Some(id) = matched else { continue };
            if self.answered(
                c,
                |p| usize::from(p.ordinal) == ordinal && id.is_none_or(|id| p.id == id),
                now,
            ) {
                return true;
            }
        }
        false
    }

    fn answered(
        &mut self,
        c: usize,
        matches: impl Fn(&super::conn::Pending) -> bool,
        now: u64,
    ) -> bool {
        let conn = &mut self.conns[c];
        let g = usize::from(conn.group);
        let Some(pending) = conn.work.as_mut().and_then(|w| take_pending(w, matches)) else {
            return false;
        };
        let phase = self.plan.phase_at(pending.intended_ns);
        self.recorder.count(Counter::Replies, phase, g, 1);
        self.recorder.time(
            Timer::Rtt,
            phase,
            g,
            now as i64 - pending.intended_ns as i64,
        );
        self.recorder.time(
            Timer::RttService,
            phase,
            g,
            now as i64 - pending.sent_ns as i64,
        );
        true
    }

    fn violation(&mut self, c: usize, violation: crate::transport::ws::Violation, now: u64) {
        let failure = match violation {
            crate::transport::ws::Violation::TooLarge => {
                self.count(c, Counter::Oversized);
                Failure::TooLarge
            }
            crate::transport::ws::Violation::Bomb => {
                self.count(c, Counter::Oversized);
                Failure::Bomb
            }
            crate::transport::ws::Violation::Deflate => Failure::Deflate,
            _ => Failure::Protocol,
        };
        self.recorder
            .sample("protocol", violation.to_string().as_bytes());
        // Tell the peer why, as far as its socket takes it at once, then fail the connection (RFC 6455 §7.1.7).
        self.queue_control(c, Opcode::Close, &violation.close_code().to_be_bytes());
        let generation = self.conns[c].generation;
        self.flush(c);
        if self.conns[c].generation == generation {
            self.lost(c, Cause::Failed(failure), now);
        }
    }
}
