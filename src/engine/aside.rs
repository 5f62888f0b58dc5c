//! What a JSON service and a connection say to each other that is nobody's delivery: pings as messages, both ways, and several
//! texts in one message. Only groups whose mapping has such things come here (`Codec::is_extended`).

use super::conn::State;
use super::shard::Shard;
use super::traffic::{REQUEST_STREAMS, is_full};
use super::wheel::Due;
use crate::metrics::{Counter, Timer};
use crate::protocol::{Aside, Stamp};
use crate::transport::ws::Opcode;
use std::time::Duration;

impl Shard {
    /// A whole message of a group whose mapping says more.
    pub(super) fn message_extended(&mut self, c: usize, message: &[u8], now: u64) {
        let g = usize::from(self.conns[c].group);
        if !self.groups[g].codec.has_lines() {
            return self.text_extended(c, message, now);
        }
        let generation = self.conns[c].generation;
        for text in self.groups[g].codec.lines(message) {
            self.text_extended(c, text, now);
            // It was lost over this one.
            if self.conns[c].generation != generation {
                return;
            }
        }
    }

    fn text_extended(&mut self, c: usize, text: &[u8], now: u64) {
        match Stamp::find(text) {
            // What carries a stamp is no aside; but it may be an answer that quotes what was published.
            Some(stamp) => {
                let conn = &self.conns[c];
                let codec = &self.groups[usize::from(conn.group)].codec;
                let quotes = stamp.stream < REQUEST_STREAMS && !codec.is_delivery(text);
                if quotes && matches!(conn.state, State::Ready | State::Closing) {
                    return self.message_unstamped(c, text, now);
                }
            }
            None if self.aside(c, text, now) => return,
            None => {}
        }
        self.message_plain(c, text, now);
    }

    /// True when a message was an aside, and is used up.
    fn aside(&mut self, c: usize, text: &[u8], now: u64) -> bool {
        let conn = &self.conns[c];
        let g = usize::from(conn.group);
        let Some(aside) = self.groups[g].codec.aside(text) else {
            return false;
        };
        match aside {
            Aside::Ping(None) => {}
            Aside::Ping(Some(answer)) => {
                let open = matches!(conn.state, State::Opening | State::Ready);
                // A peer that asks without reading the answers gets no more of them than of anything else.
                if open && !is_full(conn, &self.plan) {
                    let answer = answer.to_owned();
                    self.queue_control(c, Opcode::Text, answer.as_bytes());
                    self.count(c, Counter::PingsAnswered);
                }
            }
            Aside::Answer(which) => {
                let sent = conn.ping_ns;
                if sent != 0 && which.is_none_or(|id| id == sent) {
                    self.conns[c].ping_ns = 0;
                    let took = now as i64 - sent as i64;
                    self.recorder.time(Timer::Ping, self.phase, g, took);
                }
            }
        }
        true
    }

    /// Queues a ping, which bears this number: the protocol's own where it has one, else the WebSocket's.
    pub(super) fn queue_ping(&mut self, c: usize, number: u64) {
        let g = usize::from(self.conns[c].group);
        let mut message = Vec::new();
        match self.groups[g].codec.beat(number, &mut message) {
            true => self.queue_control(c, Opcode::Text, &message),
            false => self.queue_control(c, Opcode::Ping, &number.to_be_bytes()),
        }
    }

    /// A connection is ready, and the service is the one that pings: how long its silence is borne.
    pub(super) fn hears_within(&self, c: usize) -> Option<Duration> {
        let g = usize::from(self.conns[c].group);
        let heartbeat = self.plan.groups()[g].heartbeat?;
        self.groups[g]
            .codec
            .service_beats()
            .then(|| heartbeat.every + heartbeat.timeout)
    }

    /// Begins to listen for the service's signs of life; false where it is for us to ping.
    pub(super) fn begin_to_listen(&mut self, c: usize, now: u64) -> bool {
        let within = self.hears_within(c);
        if let Some(within) = within {
            self.set_timer(now + within.as_nanos() as u64, c, Due::Silence);
        }
        within.is_some()
    }

    /// What a resumed subscription's acknowledgement brings along: deliveries, as if each had come by itself.
    pub(super) fn backlog(&mut self, c: usize, place: u32, message: &[u8], now: u64) {
        let g = usize::from(self.conns[c].group);
        let codec = &self.groups[g].codec;
        let all: Vec<_> = codec
            .backlog(message)
            .map(|(text, number)| (Stamp::find(text.raw()), text.raw().len(), number))
            .collect();
        for (stamp, length, number) in all {
            match stamp {
                Some(stamp) if stamp.run == self.run => {
                    self.delivered(c, g, &stamp, length, now);
                }
                _ => self.count(c, Counter::Unstamped),
            }
            if let Some(number) = number {
                self.numbered_at(c, place, number);
            }
        }
    }
}
