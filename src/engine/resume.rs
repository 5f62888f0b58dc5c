//! Resuming: what a connection that comes back says of how far it heard, and what the answer means.
//!
//! By topic, the service's own numbers (`service.rs`) and the epoch that they are of outlive the connection: 32 bytes a
//! (connection, topic), and each epoch's text once for the whole shard. As a session, a connection keeps the last value
//! at the session's pointer. When it was ready again is kept of connections of such groups only (`Group::back_ns`), 8 bytes each.

use super::conn::{Asked, Stage, State};
use super::polling::add_query;
use super::shard::{Shard, Stretch};
use super::tail::Topics;
use super::wheel::Due;
use crate::metrics::Counter;
use crate::plan::{self, Part, Resume, Session};
use crate::protocol::pointer;
use crate::transport::ws::Opcode;
use indexmap::IndexSet;
use std::collections::HashMap;
use std::num::NonZeroU16;

/// Longest epoch that is kept, in bytes. They are the target's texts, and sent back to it.
const EPOCH_TEXT: usize = 128;
/// Longest `{last}`, in bytes.
const LAST_TEXT: usize = 256;

/// What a shard keeps for connections that come back.
#[derive(Default)]
pub(super) struct Resumes {
    epochs: Epochs,
    /// By connection that a fault cut: the number of the last one that did.
    cut_by: HashMap<u32, u16>,
}

impl Resumes {
    /// A fault cut a connection: what comes of its messages from here on is of that.
    pub fn cut(&mut self, c: usize, fault: usize) {
        if let Ok(fault) = u16::try_from(fault) {
            self.cut_by.insert(c as u32, fault);
        }
    }

    /// The text of an epoch.
    pub fn epoch(&self, number: NonZeroU16) -> &str {
        self.epochs.text(number)
    }

    /// The number of an epoch; `None` for one too long, or one too many.
    pub fn epoch_number(&mut self, text: &str) -> Option<NonZeroU16> {
        self.epochs.number(text)
    }

    /// It was lost by something else, or another client takes its place.
    pub fn uncut(&mut self, c: usize) {
        self.cut_by.remove(&(c as u32));
    }

    /// The fault that cut a connection last.
    pub fn cut_by(&self, c: usize) -> Option<usize> {
        self.cut_by
            .get(&(c as u32))
            .map(|fault| usize::from(*fault))
    }
}

/// The epochs that were told, each once: a service has few.
#[derive(Default)]
struct Epochs(IndexSet<Box<str>>);

impl Epochs {
    /// The number of an epoch; `None` for one too long, or one too many (65,535).
    fn number(&mut self, text: &str) -> Option<NonZeroU16> {
        let place = match self.0.get_index_of(text) {
            Some(place) => place,
            None if text.len() > EPOCH_TEXT || self.0.len() >= usize::from(u16::MAX) => {
                return None;
            }
            None => self.0.insert_full(text.into()).0,
        };
        NonZeroU16::new(u16::try_from(place + 1).ok()?)
    }

    fn text(&self, number: NonZeroU16) -> &str {
        let place = usize::from(number.get()) - 1;
        self.0.get_index(place).map_or("", |text| text)
    }
}

impl Shard {
    fn resume(&self, c: usize) -> Option<&Resume> {
        let g = usize::from(self.conns[c].group);
        self.plan.groups()[g].resume.as_ref()
    }

    fn by_topic(&self, c: usize) -> bool {
        matches!(self.resume(c), Some(Resume::Topics))
    }

    /// Whether what a connection knows of the service's numbers outlives its socket.
    pub(super) fn keeps_numbers(&self, c: usize) -> bool {
        self.by_topic(c)
            && self.conns[c].intent != super::conn::Intent::Churn
            && self.stretch < Stretch::Finishing
    }

    /// What the connection is about to subscribe to. Where that is another topic than before, what was known is not of it.
    pub(super) fn set_topics(&mut self, c: usize, topics: Topics) {
        let before = std::mem::replace(&mut self.conns[c].topics, topics);
        if !self.by_topic(c) {
            return;
        }
        let number = self.number(c);
        for place in 0..before.named() {
            if self.conns[c].topics.hash_at(place) != before.hash_at(place) {
                self.service.forget(number, place);
            }
        }
        self.book_gaps();
    }

    /// Appends the message that subscribes to the topic at a place, which takes up again what was heard of it if that is
    /// known. False, and nothing, where the protocol has none.
    pub(super) fn put_subscribe(
        &mut self,
        c: usize,
        place: u32,
        topic: &str,
        message: &mut Vec<u8>,
    ) -> bool {
        let codec = &self.groups[usize::from(self.conns[c].group)].codec;
        let id = u64::from(place) + 1;
        let known = self
            .by_topic(c)
            .then(|| self.service.marked(self.number(c), place));
        let Some((last, epoch)) = known.flatten() else {
            return codec.subscribe(topic, id, message);
        };
        let epoch = self.resumes.epochs.text(epoch);
        if !codec.resubscribe(topic, id, last, epoch, message) {
            return codec.subscribe(topic, id, message);
        }
        if let Some(opening) = &mut self.conns[c].opening {
            opening.asked = Asked::Resume;
        }
        true
    }

    /// A subscription is acknowledged. Which one the answer says itself, or it is that of the next that was asked for.
    pub(super) fn acknowledged(&mut self, c: usize, next: u32, message: &[u8], now: u64) {
        if !self.by_topic(c) {
            return;
        }
        let g = usize::from(self.conns[c].group);
        let number = self.number(c);
        let answer = self.groups[g].codec.acknowledgement(message);
        let named = answer.topic.as_deref();
        let place = named
            .and_then(|topic| self.conns[c].topics.place(topic))
            .or_else(|| self.place_of(c, answer.id?))
            .unwrap_or(next);
        let asked = self.conns[c]
            .opening
            .as_ref()
            .is_some_and(|opening| opening.asked != Asked::Nothing);
        if asked && self.service.marked(number, place).is_some() && !answer.recovered {
            // Its numbers say nothing any more.
            self.service.forget(number, place);
            self.book_gaps();
            self.state_lost(c);
        }
        let epoch = answer.epoch.as_deref();
        match epoch.and_then(|text| self.resumes.epochs.number(text)) {
            Some(epoch) => self.service.mark(number, place, epoch, answer.position),
            None => {
                let why = match epoch {
                    None => "an acknowledgement tells no epoch: it is subscribed to anew each time",
                    Some(_) => {
                        "an epoch longer than 128 bytes, or one of more than 65,535: not kept"
                    }
                };
                self.recorder.sample("resume", why.as_bytes());
            }
        }
        if asked && self.groups[g].codec.is_extended() {
            self.backlog(c, place, message, now);
        }
    }

    /// The answer to a resume says that the state is gone: counted at once, whatever becomes of this opening.
    pub(super) fn state_lost(&mut self, c: usize) {
        if let Some(opening) = &mut self.conns[c].opening
            && opening.asked != Asked::Lost
        {
            opening.asked = Asked::Lost;
            self.count(c, Counter::StateLost);
        }
    }

    /// Whether a Close frame with this code, to somebody who asked to resume, can be the answer: policy, and whatever
    /// frameworks and applications mean by codes of their own. That a server goes away is none.
    pub(super) fn refuses(code: u16) -> bool {
        code == 1008 || (3000..5000).contains(&code)
    }

    /// What was asked for was refused, or never answered: the state is lost, and the next opening does not ask for it.
    pub(super) fn resume_refused(&mut self, c: usize) {
        let asked = self.conns[c].opening.as_ref().map(|opening| opening.asked);
        if asked != Some(Asked::Resume) {
            return;
        }
        self.state_lost(c);
        if self.by_topic(c) {
            let number = self.number(c);
            for place in 0..self.conns[c].topics.named() {
                self.service.forget(number, place);
            }
            self.book_gaps();
        } else {
            self.give_session_up(c);
        }
    }

    /// The upgrade that named a session was refused: so was that, as far as anybody can tell.
    pub(super) fn session_refused(&mut self, c: usize) {
        let named = self
            .session(c)
            .is_some_and(|s| !s.query.is_empty() || !s.headers.is_empty());
        if let (true, Some(opening)) = (named, &mut self.conns[c].opening) {
            opening.asked = Asked::Resume;
            self.resume_refused(c);
        }
    }

    /// The session is gone: it is not asked for again, and what came last was of that.
    fn give_session_up(&mut self, c: usize) {
        let work = self.conns[c].work.get_or_insert_default();
        work.session_gone = true;
        work.last.clear();
    }

    /// A connection is ready again, after it asked for this.
    pub(super) fn back(&mut self, c: usize, asked: Asked, now: u64) {
        if asked == Asked::Resume {
            self.count(c, Counter::Resumed);
        }
        if let Some(work) = &mut self.conns[c].work {
            work.session_gone = false;
        }
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        if let Some(back) = group.back_ns.get_mut(c - group.base) {
            *back = now;
        }
    }

    /// Whether a message that comes now was sent before its subscriber was ready again: only resuming brings it.
    pub(super) fn is_recovered(&self, c: usize, sent_ns: u64) -> bool {
        let conn = &self.conns[c];
        // With several topics the first one's come while the next one's answer is still waited for.
        if conn.state == State::Opening && conn.lost_ns > 0 {
            return self.resume(c).is_some();
        }
        let group = &self.groups[usize::from(conn.group)];
        let back = group.back_ns.get(c - group.base);
        back.is_some_and(|back| sent_ns < *back)
    }

    /// The session that an opening connection takes up again.
    fn session(&self, c: usize) -> Option<&Session> {
        let conn = &self.conns[c];
        let gone = conn.work.as_ref().is_some_and(|work| work.session_gone);
        match self.resume(c) {
            Some(Resume::Session(session)) if conn.lost_ns > 0 && !gone => Some(session),
            _ => None,
        }
    }

    /// Adds to an upgrade what names the session.
    pub(super) fn name_session(
        &self,
        c: usize,
        path: &mut String,
        headers: &mut Vec<(String, String)>,
    ) {
        let Some(session) = self.session(c) else {
            return;
        };
        if !session.query.is_empty() {
            let query = plan::render(&session.query, |part| match part {
                Part::Text(text) => text.clone().into(),
                other => plan::percent_encode(&self.value(c, other)).into(),
            });
            add_query(path, &query);
        }
        for (name, value) in &session.headers {
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            headers.push((name.clone(), self.fill(c, value)));
        }
    }

    /// The upgrade is done: a session that is taken up again waits for the answer to that, anything else begins.
    pub(super) fn after_upgrade(&mut self, c: usize, now: u64) {
        if self.converses(c) {
            return self.greet(c, now);
        }
        let Some(session) = self.session(c) else {
            return self.run_steps(c, 0, now);
        };
        let until = now + session.within.as_nanos() as u64;
        let first = session
            .first
            .as_ref()
            .map(|first| self.fill_message(c, first));
        if let Some(opening) = &mut self.conns[c].opening {
            opening.stage = Stage::Resuming;
            opening.asked = Asked::Resume;
            opening.step_until_ns = until;
        }
        if let Some(first) = first {
            self.queue_control(c, Opcode::Text, &first);
        }
        self.set_timer(until, c, Due::Step);
    }

    /// A message while the answer to a resume is waited for. True when it is used up.
    pub(super) fn session_message(&mut self, c: usize, message: &[u8], now: u64) -> bool {
        let Some(session) = self.session(c) else {
            return false;
        };
        if self.matches(c, &session.recovered, message) {
            self.ready(c, now);
            return true;
        }
        let lost = session.lost.as_ref();
        if lost.is_some_and(|lost| self.matches(c, lost, message)) {
            self.begin_anew(c, now);
            // The same message may be what a new connection is greeted with.
            return self.conns[c].state != State::Opening || {
                self.step_message(c, message, now);
                true
            };
        }
        false
    }

    /// The session is gone, or nothing was said of it in time.
    pub(super) fn begin_anew(&mut self, c: usize, now: u64) {
        self.state_lost(c);
        self.give_session_up(c);
        self.run_steps(c, 0, now);
    }

    /// Keeps a message's value for `{last}`. Nothing is allocated once there was one as long.
    pub(super) fn note_last(&mut self, c: usize, message: &[u8]) {
        let g = usize::from(self.conns[c].group);
        let Some(Resume::Session(session)) = &self.plan.groups()[g].resume else {
            return;
        };
        let Some(found) = session
            .last
            .as_ref()
            .and_then(|at| pointer::lookup(message, at))
        else {
            return;
        };
        let text = found.text();
        if text.len() <= LAST_TEXT {
            let last = &mut self.conns[c].work.get_or_insert_default().last;
            last.clear();
            last.push_str(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_kept_once_and_hostile_ones_are_bounded() {
        let mut epochs = Epochs::default();
        let one = epochs.number("a");
        assert_eq!(epochs.number("a"), one);
        assert_ne!(epochs.number("b"), one);
        assert_eq!(epochs.text(one.unwrap()), "a");
        assert_eq!(epochs.number(&"x".repeat(EPOCH_TEXT + 1)), None);
        for n in 0..100_000 {
            epochs.number(&n.to_string());
        }
        assert_eq!(epochs.0.len(), usize::from(u16::MAX));
        assert_eq!(epochs.number("one more"), None);
        assert_eq!(epochs.number("a"), one, "those known stay known");
    }
}
