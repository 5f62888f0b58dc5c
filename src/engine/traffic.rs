//! Sending: publishes and requests when they are due, frames into the connection's queue, queues into sockets.

use super::conn::{Conn, Mark, Pending, Piece, Publishing, State, Work};
use super::deflate::Sent;
use super::end::Cause;
use super::outbox::{Allowance, Flushed, Outbox, Written, recycle};
use super::shard::{Group, Shard};
use crate::metrics::{Counter, Timer};
use crate::plan::{self, Builtin, Part, Plan, Purpose};
use crate::protocol::{Envelope, MIN_PAYLOAD, STAMP_LEN, Stamp, escape};
use crate::transport::ws;
use mio::Interest;

/// Stream numbers from here on are requests of the receiving connection itself, by ordinal.
pub(super) const REQUEST_STREAMS: u32 = u32::MAX - 255;

/// Bytes of a payload with this head that is to have so many.
fn payload_len(head: &[u8], size: usize) -> usize {
    size.max(head.len() + STAMP_LEN).max(MIN_PAYLOAD)
}

/// Appends `size` bytes of payload: head, stamp, filler. The stamp always fits.
pub(super) fn put_payload(out: &mut Vec<u8>, head: &[u8], stamp: &Stamp, size: usize) {
    let end = out.len() + payload_len(head, size);
    out.extend_from_slice(head);
    out.extend_from_slice(&stamp.text());
    out.resize(end, b'.');
}

impl Shard {
    /// Queues a control frame or message: never dropped, whatever the queue holds.
    pub(super) fn queue_control(&mut self, c: usize, opcode: ws::Opcode, payload: &[u8]) {
        self.queue_message(c, opcode, payload, Written::Control);
    }

    /// Queues a frame of this kind.
    pub(super) fn queue_message(
        &mut self,
        c: usize,
        opcode: ws::Opcode,
        payload: &[u8],
        what: Written,
    ) {
        let Shard {
            conns,
            groups,
            masks,
            shared,
            recorder,
            pool,
            dirty,
            phase,
            echoes,
            ..
        } = self;
        let g = usize::from(conns[c].group);
        let outbox = outbox(&mut conns[c], pool, dirty, c);
        let (mask, out) = (masks.draw(), outbox.buffer());
        if opcode.is_control() {
            ws::push_frame(opcode, &[payload], mask, out);
        } else {
            let sent = Sent {
                c,
                g,
                phase: *phase,
                again: what != Written::Control || *echoes,
                opcode,
                message: payload,
            };
            shared.push(&mut groups[g], &sent, recorder, mask, out);
        }
        outbox.seal(what);
    }

    /// Queues bytes as they are: the upgrade request.
    pub(super) fn queue_bytes(&mut self, c: usize, bytes: &[u8]) {
        self.queue_raw(c, bytes, Written::Control);
    }

    /// Queues bytes as they are, of this kind.
    pub(super) fn queue_raw(&mut self, c: usize, bytes: &[u8], what: Written) {
        let Shard {
            conns, pool, dirty, ..
        } = self;
        let outbox = outbox(&mut conns[c], pool, dirty, c);
        outbox.buffer().extend_from_slice(bytes);
        outbox.seal(what);
    }

    /// Makes what a connection needs to publish and ask; built when it first is ready.
    pub(super) fn prepare_work(&mut self, c: usize) {
        let group = usize::from(self.conns[c].group);
        let plan_group = &self.plan.groups()[group];
        if plan_group.publish.is_empty() && plan_group.request.is_empty() {
            return;
        }
        let number = self.number(c);
        let phases = self.plan.phases().len();
        let over_http = self.is_over_http(c);
        let publishes: Vec<Publishing> = plan_group
            .publish
            .iter()
            .enumerate()
            .map(|(ordinal, publish)| {
                let topic = self.fill(c, &publish.topic);
                let mut envelope = self.groups[group].codec.publish(&topic, 1);
                if over_http {
                    envelope = Envelope::default();
                    envelope.prefix = self.post_head(c, &topic);
                }
                let mut head = Vec::new();
                envelope.put_payload(&self.fill(c, &publish.payload), &mut head);
                Publishing {
                    topic,
                    stream: self.plan.stream(number, ordinal as u32),
                    seq: 0,
                    first_ns: 0,
                    by_phase: vec![0; phases],
                    envelope,
                    head,
                }
            })
            .collect();
        let json = self.groups[group].codec.is_json();
        let requests = plan_group
            .request
            .iter()
            .map(|request| {
                let mut pieces = Vec::new();
                let mut bytes = Vec::new();
                for part in &request.send.parts {
                    match part {
                        Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                        Part::Builtin(Builtin::Id) => {
                            pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                            pieces.push(Piece::Id);
                        }
                        Part::Builtin(Builtin::Payload) => {
                            pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                            pieces.push(Piece::Payload);
                        }
                        other if json => escape(&self.value(c, other), &mut bytes),
                        other => bytes.extend_from_slice(self.value(c, other).as_bytes()),
                    }
                }
                pieces.push(Piece::Bytes(bytes));
                pieces
            })
            .collect();
        let sizes = plan::rng(self.plan.seed(), Purpose::Size, &[u64::from(number)]);
        let work = self.conns[c].work.get_or_insert_default();
        if work.next_id == 0 {
            work.next_id = 1;
        }
        work.sizes.get_or_insert(sizes);
        // A reconnected publisher goes on where it was: its streams' numbers are never used twice. What
        // it says may be new: a step may have captured another value.
        let before = std::mem::replace(&mut work.publishes, publishes);
        for (now, before) in work.publishes.iter_mut().zip(before) {
            now.seq = before.seq;
            now.first_ns = before.first_ns;
            now.by_phase = before.by_phase;
        }
        work.requests = requests;
    }

    /// Counts something due as offered, and as dropped unless the connection can take it now; then its
    /// phase, and its lag is recorded.
    fn admit(
        &mut self,
        g: usize,
        c: usize,
        intended: u64,
        now: u64,
        (offered, dropped): (Counter, Counter),
    ) -> Option<usize> {
        let phase = self.plan.phase_at(intended);
        self.recorder.count(offered, phase, g, 1);
        let conn = &self.conns[c];
        if conn.state != State::Ready || conn.work.is_none() || is_full(conn, &self.plan) {
            self.recorder.count(dropped, phase, g, 1);
            return None;
        }
        self.recorder
            .time(Timer::Lag, phase, g, now as i64 - intended as i64);
        Some(phase)
    }

    /// A publish is due.
    pub(super) fn publish(&mut self, g: usize, c: usize, ordinal: usize, intended: u64) {
        let now = self.now();
        let counters = (Counter::Offered, Counter::Dropped);
        let admitted = self.admit(g, c, intended, now, counters);
        if !self.watches.is_empty() {
            self.publish_beside(intended, admitted.is_none());
        }
        let Some(phase) = admitted else {
            return;
        };
        let Shard {
            conns,
            groups,
            plan,
            masks,
            shared,
            recorder,
            compose,
            pool,
            dirty,
            run,
            ..
        } = self;
        let conn = &mut conns[c];
        let planned = &plan.groups()[g].publish[ordinal];
        let Some(work) = &mut conn.work else { return };
        let Work {
            publishes,
            sizes,
            next_id,
            ..
        } = &mut **work;
        let (Some(publishing), Some(sizes)) = (publishes.get_mut(ordinal), sizes) else {
            return;
        };
        let size = plan::payload_size(planned.size, sizes);
        let stamp = Stamp {
            run: *run,
            stream: publishing.stream,
            seq: publishing.seq,
            intended_ns: intended,
            sent_ns: now,
        };
        compose.clear();
        if groups[g].apart(c) {
            put_payload(compose, &publishing.head, &stamp, size);
            return self.publish_apart(c, ordinal, phase, (intended, now));
        }
        if groups[g].codec.publish_has_id() {
            let Publishing {
                topic, envelope, ..
            } = publishing;
            groups[g].codec.publish_again(topic, *next_id, envelope);
            *next_id += 1;
        }
        let length = payload_len(&publishing.head, size);
        publishing.envelope.begin(length, compose);
        put_payload(compose, &publishing.head, &stamp, size);
        compose.extend_from_slice(&publishing.envelope.suffix);
        publishing.one_more(phase, intended);
        let outbox = outbox(conn, pool, dirty, c);
        let (mask, out, opcode) = (masks.draw(), outbox.buffer(), ws::Opcode::Text);
        let sent = Sent {
            c,
            g,
            phase,
            again: true,
            opcode,
            message: compose,
        };
        shared.push(&mut groups[g], &sent, recorder, mask, out);
        outbox.seal(Written::Publish {
            ordinal: ordinal as u8,
            phase: phase as u8,
        });
    }

    /// The same where it is not a frame around the payload: by the protocol's session, or as a post. The payload is composed.
    fn publish_apart(&mut self, c: usize, ordinal: usize, phase: usize, times: (u64, u64)) {
        let taken = match self.is_over_http(c) {
            true => self.post(c, ordinal, phase, times),
            false => self.say_publish(c, ordinal, phase, times),
        };
        if !taken {
            let g = usize::from(self.conns[c].group);
            return self.recorder.count(Counter::Dropped, phase, g, 1);
        }
        let work = self.conns[c].work.as_mut();
        if let Some(publishing) = work.and_then(|work| work.publishes.get_mut(ordinal)) {
            publishing.one_more(phase, times.0);
        }
    }

    /// A request is due.
    pub(super) fn request(&mut self, g: usize, c: usize, ordinal: usize, intended: u64) {
        let now = self.now();
        let counters = (Counter::RequestsOffered, Counter::RequestsDropped);
        let Some(phase) = self.admit(g, c, intended, now, counters) else {
            return;
        };
        let Shard {
            conns,
            groups,
            plan,
            masks,
            shared,
            recorder,
            compose,
            pool,
            dirty,
            run,
            ..
        } = self;
        let conn = &mut conns[c];
        let planned = &plan.groups()[g].request[ordinal];
        let generation = conn.generation;
        let Some(work) = &mut conn.work else { return };
        let Work {
            requests,
            sizes,
            next_id,
            pending,
            ..
        } = &mut **work;
        let (Some(pieces), Some(sizes)) = (requests.get(ordinal), sizes) else {
            return;
        };
        let id = *next_id;
        *next_id += 1;
        let stamp = Stamp {
            run: *run,
            stream: REQUEST_STREAMS + ordinal as u32,
            seq: id,
            intended_ns: intended,
            sent_ns: now,
        };
        compose.clear();
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => compose.extend_from_slice(bytes),
                Piece::Id => put_number(compose, id),
                Piece::Payload => put_payload(
                    compose,
                    &[],
                    &stamp,
                    plan::payload_size(planned.size, sizes),
                ),
            }
        }
        pending.push_back(Pending {
            id,
            intended_ns: intended,
            sent_ns: now,
            ordinal: ordinal as u8,
        });
        groups[g].deadlines[ordinal].push_back((
            now + planned.timeout.as_nanos() as u64,
            c as u32,
            generation,
            id,
        ));
        let outbox = outbox(conn, pool, dirty, c);
        let (mask, out, opcode) = (masks.draw(), outbox.buffer(), ws::Opcode::Text);
        let sent = Sent {
            c,
            g,
            phase,
            again: true,
            opcode,
            message: compose,
        };
        shared.push(&mut groups[g], &sent, recorder, mask, out);
        outbox.seal(Written::Request {
            id,
            phase: phase as u8,
        });
    }

    /// Requests whose time is up.
    pub(super) fn expire_requests(&mut self, now: u64) {
        let Shard {
            groups,
            conns,
            recorder,
            plan,
            ..
        } = self;
        for (g, Group { deadlines, .. }) in groups.iter_mut().enumerate() {
            for queue in deadlines {
                while let Some(&(deadline, c, generation, id)) = queue.front() {
                    if deadline > now {
                        break;
                    }
                    queue.pop_front();
                    let conn = &mut conns[c as usize];
                    // Those of a lost connection were counted when it was lost.
                    if conn.generation != generation {
                        continue;
                    }
                    if let Some(pending) = conn
                        .work
                        .as_mut()
                        .and_then(|w| take_pending(w, |p| p.id == id))
                    {
                        recorder.count(
                            Counter::RequestTimeouts,
                            plan.phase_at(pending.intended_ns),
                            g,
                            1,
                        );
                    }
                }
            }
        }
    }

    /// Writes every queue that got something in this turn: frames due together leave in one write.
    pub(super) fn flush_dirty(&mut self) {
        self.post_due();
        let mut dirty = std::mem::take(&mut self.dirty);
        for c in dirty.drain(..) {
            self.flush(c as usize);
        }
        // What a failing connection queued on others' behalf is written in the next turn.
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Writes a connection's queue as far as the socket takes it; a blocked one parks only itself.
    pub(super) fn flush(&mut self, c: usize) {
        if self.conns[c].troubled {
            return self.flush_in_trouble(c);
        }
        self.flush_within(c, Allowance::ALL);
    }

    /// The same with no more than may leave now; the bytes that left.
    pub(super) fn flush_within(&mut self, c: usize, may: Allowance) -> usize {
        let now_phase = self.phase;
        let Shard {
            conns,
            recorder,
            pool,
            blocked,
            ..
        } = self;
        let conn = &mut conns[c];
        let g = usize::from(conn.group);
        let (Some(stream), Some(outbox)) = (&mut conn.stream, &mut conn.outbox) else {
            return 0;
        };
        let before = outbox.waiting();
        let result = outbox.flush(stream, may, |what| match what {
            Written::Publish { phase, .. } => {
                recorder.count(Counter::Sent, usize::from(phase), g, 1)
            }
            Written::Request { phase, .. } => {
                recorder.count(Counter::Requests, usize::from(phase), g, 1)
            }
            Written::Control => {}
        });
        let gone = before - outbox.waiting();
        recorder.count(Counter::BytesSent, now_phase, g, gone as u64);
        match result {
            Ok(done @ (Flushed::All | Flushed::Held)) => {
                if conn.blocked {
                    conn.blocked = false;
                    *blocked -= 1;
                }
                if done == Flushed::All
                    && let Some(outbox) = conn.outbox.take()
                {
                    recycle(pool, outbox);
                }
            }
            Ok(Flushed::Blocked) => {
                if !conn.blocked {
                    conn.blocked = true;
                    *blocked += 1;
                }
                if !conn.is(Mark::Watched) {
                    self.watch_writes(c);
                }
            }
            Err(e) => {
                let generation = conn.generation;
                let now = self.now();
                // A peer that said why it goes said it before: its Close frame may still be unread. (While
                // a read is under way, that is what is being read.)
                if !self.scratch.is_empty() {
                    if self.conns[c].troubled {
                        self.hung_up(c, now);
                    }
                    self.read(c, now, true);
                }
                if self.conns[c].generation == generation {
                    self.broken(c, e, now);
                }
            }
        }
        gone
    }

    /// Has the kernel tell when the socket takes bytes again, which it does at once if it does by now.
    fn watch_writes(&mut self, c: usize) {
        let conn = &mut self.conns[c];
        let token = conn.token(c);
        let Some(stream) = &mut conn.stream else {
            return;
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        match registry.reregister(&mut stream.socket, token, both) {
            Ok(()) => drop(conn.mark(Mark::Watched, true)),
            Err(e) => {
                let now = self.now();
                self.lost(c, Cause::Socket(e), now);
            }
        }
    }
}

pub(super) fn is_full(conn: &Conn, plan: &Plan) -> bool {
    conn.outbox
        .as_ref()
        .is_some_and(|o| o.waiting() >= plan.target().max_queue)
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    use std::io::Write;
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{number}");
}

/// Takes the request that matches out of the queue; nearly always it is the first.
pub(super) fn take_pending(work: &mut Work, matches: impl Fn(&Pending) -> bool) -> Option<Pending> {
    let at = work.pending.iter().position(matches)?;
    if at == 0 {
        work.pending.pop_front()
    } else {
        work.pending.remove(at)
    }
}

/// The connection's queue, from the pool if it has none, and the connection on the list to flush.
#[expect(
    clippy::vec_box,
    reason = "boxes move to a connection and back, without an allocation"
)]
fn outbox<'a>(
    conn: &'a mut Conn,
    pool: &mut Vec<Box<Outbox>>,
    dirty: &mut Vec<u32>,
    c: usize,
) -> &'a mut Outbox {
    // A blocked queue is flushed when the socket says so, and only then; a fault wants to know of every frame's time.
    if conn.outbox.is_none() || conn.troubled {
        dirty.push(c as u32);
    }
    conn.outbox
        .get_or_insert_with(|| pool.pop().unwrap_or_default())
}
