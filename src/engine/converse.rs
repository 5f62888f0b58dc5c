//! Connections whose protocol has a session: what they say and hear goes through it.
//!
//! The sessions lie in a table of those groups that have them (`Group::sessions`), made when a connection first opens, so
//! that raw and JSON pay nothing. A session is out of the table while it speaks; what it said is queued before anything else is.

use super::conn::{Asked, Awaiting, Intent, Mark, Stage, State};
use super::end::Cause;
use super::outbox::Written;
use super::shard::Shard;
use super::wheel::Due;
use crate::metrics::{Counter, Failure, Reason, Timer};
use crate::protocol::{
    Event, Field, Form, Introduction, Outgoing, Publish, Session, Stamp, Violation,
};
use crate::transport::ws::Opcode;

/// Publishes of one connection that may wait for their acknowledgement. A target that takes all and answers none would
/// else grow us without end.
const MOST_AWAITING: usize = 65_536;

/// What an event asks of the connection, once what it borrows is let go.
enum Then {
    Nothing,
    Connected { resumed: bool },
    Subscribed,
    Denied,
    Gone,
}

impl Shard {
    /// Whether a connection's protocol has a session.
    pub(super) fn converses(&self, c: usize) -> bool {
        !self.groups[usize::from(self.conns[c].group)]
            .sessions
            .is_empty()
    }

    pub(super) fn take_session(&mut self, c: usize) -> Option<Box<Session>> {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        group.sessions.get_mut(c - group.base)?.take()
    }

    pub(super) fn put_session(&mut self, c: usize, session: Box<Session>) {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        if let Some(place) = group.sessions.get_mut(c - group.base) {
            *place = Some(session);
        }
    }

    /// Has a connection's session say something, and queues that.
    fn say<T>(
        &mut self,
        c: usize,
        what: impl FnOnce(&mut Session, &mut Outgoing) -> T,
    ) -> Option<T> {
        let mut session = self.take_session(c)?;
        let mut said = std::mem::take(&mut self.said);
        let answer = what(&mut session, &mut said);
        self.put_session(c, session);
        self.queue_said(c, &mut said, Written::Control);
        self.said = said;
        Some(answer)
    }

    fn queue_said(&mut self, c: usize, said: &mut Outgoing, what: Written) {
        let polls = self.polls(c);
        let mut left = said.messages().count();
        for (form, message) in said.messages() {
            left -= 1;
            // What is said in several messages has left with the last one.
            let what = if left == 0 { what } else { Written::Control };
            match polls {
                false => self.queue_message(c, opcode(form), message, what),
                true => self.queue_packet(c, form, message, what),
            }
        }
        said.clear();
    }

    /// The upgrade is done: the protocol's own greeting comes first.
    pub(super) fn greet(&mut self, c: usize, now: u64) {
        let g = usize::from(self.conns[c].group);
        let will = self.write_will(c, now);
        let fields = self.plan.groups()[g].introduction.iter();
        let fields = fields.map(|(field, template)| match (field, &will) {
            (Field::WillPayload, Some(stamp)) => (*field, self.fill_will(c, template, stamp)),
            _ => (*field, self.fill(c, template)),
        });
        let who = Introduction::new(fields.collect());
        let Some(session) = self
            .take_session(c)
            .or_else(|| Session::new(&self.plan.groups()[g].protocol).map(Box::new))
        else {
            return;
        };
        let asks = session.asks_to_resume() && self.conns[c].lost_ns > 0;
        self.put_session(c, session);
        if let Some(opening) = &mut self.conns[c].opening {
            opening.stage = Stage::Greeting;
            if asks {
                opening.asked = Asked::Resume;
            }
        }
        self.say(c, |session, said| session.begin(&who, said));
    }

    /// One WebSocket message of a connection that has a session.
    pub(super) fn converse(&mut self, c: usize, form: Form, mut bytes: &[u8], now: u64) {
        let generation = self.conns[c].generation;
        let max = self.plan.target().max_message;
        loop {
            let Some(mut session) = self.take_session(c) else {
                return;
            };
            let mut said = std::mem::take(&mut self.said);
            let then = match session.next(&mut bytes, form, max, &mut said) {
                Ok(None) => Ok(None),
                Ok(Some(event)) => Ok(Some(self.heard(c, event, now))),
                Err(violation) => Err(violation),
            };
            self.put_session(c, session);
            self.queue_said(c, &mut said, Written::Control);
            self.said = said;
            if self.hoards(c) {
                let unread = Violation("it asks for answers and does not read them");
                return self.broke_protocol(c, unread, now);
            }
            let then = match then {
                Ok(None) => return,
                Ok(Some(then)) => then,
                Err(violation) => return self.broke_protocol(c, violation, now),
            };
            match then {
                Then::Nothing => {}
                Then::Connected { resumed } => self.greeted(c, resumed, now),
                Then::Subscribed => self.one_more_subscribed(c, now),
                Then::Denied => self.lost(c, Cause::Failed(Failure::Denied), now),
                Then::Gone => self.end_politely(c),
            }
            // The connection ended in there, and its session is another one's, or goes on with the next.
            if self.conns[c].generation != generation {
                return;
            }
        }
    }

    /// Whether answers that a peer asks for, and does not read, fill twice the queue. Publishes stop at once the queue, so that
    /// one that is merely slow does not come here.
    fn hoards(&self, c: usize) -> bool {
        let most = self.plan.target().max_queue.saturating_mul(2);
        let outbox = self.conns[c].outbox.as_ref();
        outbox.is_some_and(|outbox| outbox.waiting() >= most) || self.unposted(c) >= most
    }

    /// What an event means for the numbers, and what it asks for.
    fn heard(&mut self, c: usize, event: Event<'_>, now: u64) -> Then {
        match event {
            Event::Message {
                payload,
                again,
                refused,
                ..
            } => {
                if again {
                    self.count(c, Counter::Redelivered);
                }
                if refused {
                    self.count(c, Counter::Nacked);
                }
                self.delivery_heard(c, payload, now);
                Then::Nothing
            }
            Event::Retained => {
                self.count(c, Counter::Retained);
                Then::Nothing
            }
            Event::Acknowledged { id } => {
                self.acknowledged_publish(c, id, Counter::Acked, now);
                Then::Nothing
            }
            Event::Rejected { id, code, text } => {
                self.told(c, "rejected", code, text);
                self.acknowledged_publish(c, id, Counter::Rejected, now);
                Then::Nothing
            }
            Event::Error { code, text } => {
                self.told(c, "error", code, text);
                self.count(c, Counter::Errors);
                Then::Nothing
            }
            Event::Connected { resumed } => Then::Connected { resumed },
            Event::Subscribed { .. } => Then::Subscribed,
            Event::Refused { code, text } => {
                self.told(c, "denied", code, text);
                Then::Denied
            }
            Event::NotSubscribed { code, text, .. } => {
                self.told(c, "denied", code, text);
                Then::Denied
            }
            Event::Gone => Then::Gone,
            Event::Upgraded => {
                let since = self.conns[c].opening.as_ref().map(|o| o.polled_ns);
                self.upgraded(c, since.unwrap_or(now), now);
                Then::Nothing
            }
            Event::Other => Then::Nothing,
        }
    }

    /// The other side gives a reason: a sample of its words, and a count by what its code is called, or by them.
    fn told(&mut self, c: usize, kind: &str, code: u16, text: &[u8]) {
        self.recorder.sample(kind, reason(code, text).as_bytes());
        let g = usize::from(self.conns[c].group);
        let name = self.plan.groups()[g].protocol.reason(code);
        let reason = Reason::of(code, name.map_or(text, str::as_bytes));
        self.recorder.reason(reason, self.phase, g);
    }

    fn delivery_heard(&mut self, c: usize, payload: &[u8], now: u64) {
        let conn = &self.conns[c];
        if !matches!(conn.state, State::Opening | State::Ready | State::Closing) {
            return;
        }
        let g = usize::from(conn.group);
        match Stamp::find(payload) {
            Some(stamp) if stamp.run == self.run => {
                self.delivered(c, g, &stamp, payload.len(), now);
            }
            _ => self.count(c, Counter::Unstamped),
        }
    }

    /// The other side took the connection.
    fn greeted(&mut self, c: usize, resumed: bool, now: u64) {
        let Some(opening) = &self.conns[c].opening else {
            return;
        };
        if opening.stage != Stage::Greeting {
            return self.broke_protocol(c, Violation("it greeted a second time"), now);
        }
        let asked = opening.asked == Asked::Resume;
        self.set_rhythm(c, now);
        if resumed {
            // What it subscribed to, and what was not acknowledged yet, is as it was.
            return self.ready(c, now);
        }
        self.forget_awaiting(c);
        if asked {
            self.state_lost(c);
        }
        self.run_steps(c, 0, now);
    }

    fn set_rhythm(&mut self, c: usize, now: u64) {
        let Some(rhythm) = self.say(c, |session, _| session.rhythm()) else {
            return;
        };
        if let Some(every) = rhythm.send {
            self.set_timer(now + every.as_nanos() as u64, c, Due::Beat);
        }
        if let Some(within) = rhythm.hear {
            self.set_timer(now + within.as_nanos() as u64, c, Due::Silence);
        }
    }

    /// Asks for a topic; whether that will be answered.
    pub(super) fn say_subscribe(&mut self, c: usize, place: u32, topic: &str) -> bool {
        self.say(c, |session, said| session.subscribe(place, topic, said))
            .unwrap_or(false)
    }

    fn one_more_subscribed(&mut self, c: usize, now: u64) {
        let Some(opening) = &mut self.conns[c].opening else {
            return;
        };
        if let Stage::Subscribing(left) = opening.stage {
            opening.stage = Stage::Subscribing(left.saturating_sub(1));
            if left <= 1 {
                self.ready(c, now);
            }
        }
    }

    /// A publish is due, and its payload composed. False when the other side allows no more for now.
    pub(super) fn say_publish(
        &mut self,
        c: usize,
        ordinal: usize,
        phase: usize,
        (intended_ns, sent_ns): (u64, u64),
    ) -> bool {
        if self.unposted(c) >= self.plan.target().max_queue {
            return false;
        }
        let Some(mut session) = self.take_session(c) else {
            return false;
        };
        let mut said = std::mem::take(&mut self.said);
        let mut taken = false;
        if let Some(work) = &mut self.conns[c].work
            && let Some(publishing) = work.publishes.get(ordinal)
            && work.awaiting.len() < MOST_AWAITING
        {
            let answer = session.publish(&publishing.topic, &self.compose, &mut said);
            taken = answer != Publish::Full;
            if let Publish::Awaiting(id) = answer {
                work.awaiting.push_back(Awaiting {
                    id,
                    intended_ns,
                    sent_ns,
                });
            }
        }
        self.put_session(c, session);
        let what = Written::Publish {
            ordinal: ordinal as u8,
            phase: phase as u8,
        };
        self.queue_said(c, &mut said, what);
        self.said = said;
        taken
    }

    fn acknowledged_publish(&mut self, c: usize, id: u64, counter: Counter, now: u64) {
        let g = usize::from(self.conns[c].group);
        let Some(work) = &mut self.conns[c].work else {
            return;
        };
        // Nearly always the oldest.
        let Some(at) = work.awaiting.iter().position(|a| a.id == id) else {
            return;
        };
        let Some(awaiting) = work.awaiting.remove(at) else {
            return;
        };
        self.publish_answered(g, &awaiting, counter, now);
    }

    /// The same of the oldest that waits, where answers come in the order of what they answer.
    pub(super) fn acknowledged_next(&mut self, c: usize, counter: Counter, now: u64) {
        let g = usize::from(self.conns[c].group);
        let work = self.conns[c].work.as_mut();
        if let Some(awaiting) = work.and_then(|work| work.awaiting.pop_front()) {
            self.publish_answered(g, &awaiting, counter, now);
        }
    }

    fn publish_answered(&mut self, g: usize, awaiting: &Awaiting, counter: Counter, now: u64) {
        let phase = self.plan.phase_at(awaiting.intended_ns);
        self.recorder.count(counter, phase, g, 1);
        if counter == Counter::Acked {
            let late = |since: u64| now as i64 - since as i64;
            self.recorder
                .time(Timer::Ack, phase, g, late(awaiting.intended_ns));
            self.recorder
                .time(Timer::AckService, phase, g, late(awaiting.sent_ns));
        }
    }

    /// What waits for an acknowledgement will get none.
    pub(super) fn forget_awaiting(&mut self, c: usize) {
        let g = usize::from(self.conns[c].group);
        let Some(work) = &mut self.conns[c].work else {
            return;
        };
        for awaiting in work.awaiting.drain(..) {
            let phase = self.plan.phase_at(awaiting.intended_ns);
            self.recorder.count(Counter::Unacked, phase, g, 1);
        }
    }

    /// A connection is gone, and of its publishes so many have not left. What waits for its acknowledgement is kept only
    /// if the session sends it again.
    pub(super) fn conversation_lost(&mut self, c: usize, unsent: usize, now: u64) {
        if let Some(work) = &mut self.conns[c].work {
            let left = work.awaiting.len().saturating_sub(unsent);
            work.awaiting.truncate(left);
        }
        let Some(mut session) = self.take_session(c) else {
            return self.forget_awaiting(c);
        };
        if session.owes_will() {
            self.will_owed(c, now);
        }
        let kept = session.lost(unsent) && self.conns[c].intent != Intent::Churn;
        // Another client takes its place: it has a session of its own.
        if self.conns[c].intent != Intent::Churn {
            self.put_session(c, session);
        }
        if !kept {
            self.forget_awaiting(c);
        }
    }

    /// Time for a sign of life.
    pub(super) fn beat(&mut self, c: usize, now: u64) {
        if self.conns[c].state == State::Closing {
            return;
        }
        let every = self.say(c, |session, said| {
            session.beat(said);
            session.rhythm().send
        });
        if let Some(Some(every)) = every {
            self.count(c, Counter::PingsSent);
            self.set_timer(now + every.as_nanos() as u64, c, Due::Beat);
        }
    }

    /// Time to have heard something.
    pub(super) fn silence(&mut self, c: usize, now: u64) {
        let rhythm = self.say(c, |session, _| session.rhythm().hear).flatten();
        let Some(within) = rhythm.or_else(|| self.hears_within(c)) else {
            return;
        };
        let within = within.as_nanos() as u64;
        let generation = self.conns[c].generation;
        let heard = |shard: &Shard| u64::from(shard.conns[c].heard_ms) * 1_000_000;
        if self.conns[c].state == State::Closing {
            return;
        }
        if now < heard(self) + within {
            return self.set_timer(heard(self) + within, c, Due::Silence);
        }
        // Whoever does not read on purpose does not blame the peer for it.
        if self.conns[c].troubled && self.faults.is_patient(c) {
            return self.set_timer(now + within, c, Due::Silence);
        }
        // A shard that was held up has not read everything yet.
        self.read(c, now, true);
        if self.conns[c].generation != generation {
            return;
        }
        if now < heard(self) + within {
            return self.set_timer(heard(self) + within, c, Due::Silence);
        }
        let g = usize::from(self.conns[c].group);
        let silent = now.saturating_sub(heard(self));
        self.recorder
            .time(Timer::Detect, self.phase, g, silent as i64);
        self.lost(c, Cause::Failed(Failure::Dead), now);
    }

    /// Says the protocol's goodbye. True when its answer is to be waited for before the Close frame.
    pub(super) fn say_goodbye(&mut self, c: usize) -> bool {
        let answered = self.say(c, |session, said| session.goodbye(said));
        if answered.is_some() {
            self.conns[c].mark(Mark::SaidGoodbye, true);
        }
        answered.unwrap_or(false)
    }

    /// The goodbye was answered: what is left is the WebSocket's own.
    fn end_politely(&mut self, c: usize) {
        let conn = &self.conns[c];
        if conn.state == State::Closing && conn.intent != Intent::None && conn.peer_code == 0 {
            self.queue_control(c, Opcode::Close, &1000u16.to_be_bytes());
        }
    }

    fn broke_protocol(&mut self, c: usize, violation: Violation, now: u64) {
        let text = violation.to_string();
        self.recorder.sample("protocol", text.as_bytes());
        let g = usize::from(self.conns[c].group);
        let reason = Reason::of(0, text.as_bytes());
        self.recorder.reason(reason, self.phase, g);
        if self.polls(c) {
            return self.lost(c, Cause::Failed(Failure::Protocol), now);
        }
        // 1002 is for the WebSocket's own protocol; what is above it is policy's.
        self.queue_control(c, Opcode::Close, &1008u16.to_be_bytes());
        let generation = self.conns[c].generation;
        self.flush(c);
        if self.conns[c].generation == generation {
            self.lost(c, Cause::Failed(Failure::Protocol), now);
        }
    }
}

/// What a message of this form is to the WebSocket.
pub(super) fn opcode(form: Form) -> Opcode {
    match form {
        Form::Text => Opcode::Text,
        Form::Binary => Opcode::Binary,
    }
}

/// A reason code, if there is one, and what was said with it.
fn reason(code: u16, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(256)]);
    match (code, text.is_empty()) {
        (0, _) => text.into_owned(),
        (code, true) => format!("{code:#04x}"),
        (code, false) => format!("{code:#04x} {text}"),
    }
}
