//! Publishing into a broker behind the target.
//!
//! A group that does has publishers in the table of connections, which never open: what a publisher needs is made at once, and
//! kept where a connection's is, so that its streams are as all others. Messages go to the group's
//! [`Publisher`], and count as sent when the broker has them. What it never took when the run is over is the end of its stream
//! and counts as dropped: no subscriber is owed it.

use super::clock::monotonic_ns;
use super::shard::Shard;
use super::traffic::put_payload;
use crate::broker::{BrokerError, Event, Message, Publisher, Tag};
use crate::metrics::{CloseKey, Counter, Failure, Timer};
use crate::plan::{self, Builtin, Part};
use crate::protocol::Stamp;
use std::io::ErrorKind;
use std::rc::Rc;
use tokio::sync::Notify;

/// A group's way to its broker.
pub(super) struct Injector {
    group: usize,
    publisher: Publisher,
    /// Where each of its publishers' messages go there.
    addresses: Vec<Address>,
    acknowledged: bool,
    /// When the connection was lost, of CLOCK_MONOTONIC; 0: it never was, or is there.
    lost_at: u64,
    open: bool,
    over: bool,
}

/// Where a publisher's messages go.
struct Address {
    text: String,
    key: Option<String>,
    publisher: u32,
}

impl Shard {
    /// Makes the shard's publishers, which connect at once. To be called where local tasks run.
    pub(super) fn prepare_injectors(&mut self, heard: &Rc<Notify>) {
        for g in 0..self.groups.len() {
            let Some(inject) = self.plan.groups()[g].inject.clone() else {
                continue;
            };
            let base = self.groups[g].base;
            let own = self.conns[base..]
                .iter()
                .take_while(|conn| usize::from(conn.group) == g);
            let own = base..base + own.count();
            if own.is_empty() {
                continue;
            }
            let mut addresses = Vec::new();
            for c in own {
                self.prepare_work(c);
                let work = self.conns[c].work.as_ref();
                let topic = work
                    .and_then(|work| work.publishes.first())
                    .map(|p| p.topic.clone());
                let topic = topic.unwrap_or_default();
                let render = |template| {
                    plan::render(template, |part| match part {
                        Part::Builtin(Builtin::Topic) => topic.as_str().into(),
                        other => self.value(c, other).into(),
                    })
                };
                addresses.push(Address {
                    text: render(&inject.address),
                    key: inject.key.as_ref().map(render),
                    publisher: self.conns[c].index,
                });
            }
            let name = format!("{:08x}-{}-{g}", self.run, self.number(base));
            let limit = self.plan.target().max_queue;
            let acknowledged = inject.broker.acknowledges();
            let publisher =
                Publisher::start(inject.broker, &name, limit, monotonic_ns, Rc::clone(heard));
            self.groups[g].injector = Some(self.injectors.len());
            self.injectors.push(Injector {
                group: g,
                publisher,
                addresses,
                acknowledged,
                lost_at: 0,
                open: false,
                over: false,
            });
        }
    }

    /// A message for the broker is due.
    pub(super) fn inject(&mut self, i: usize, c: usize, intended: u64) {
        let now = self.now();
        let phase = self.plan.phase_at(intended);
        let Shard {
            injectors,
            recorder,
            conns,
            groups,
            plan,
            compose,
            run,
            ..
        } = self;
        let injector = &injectors[i];
        let g = injector.group;
        recorder.count(Counter::Offered, phase, g, 1);
        let planned = plan.groups()[g].publish.first();
        let work = conns[c].work.as_deref_mut();
        let parts = work.and_then(|work| work.publishes.first_mut().zip(work.sizes.as_mut()));
        let (true, Some(planned), Some((publishing, sizes))) =
            (injector.publisher.takes(), planned, parts)
        else {
            return recorder.count(Counter::Dropped, phase, g, 1);
        };
        recorder.time(Timer::Lag, phase, g, now as i64 - intended as i64);
        let size = plan::payload_size(planned.size, sizes);
        let stamp = Stamp {
            run: *run,
            stream: publishing.stream,
            seq: publishing.seq,
            intended_ns: intended,
            sent_ns: now,
        };
        compose.clear();
        put_payload(compose, &publishing.head, &stamp, size);
        let id = format!("{:08x}-{}-{}", *run, stamp.stream, stamp.seq);
        let tag = Tag {
            place: c as u32,
            phase: phase as u16,
            intended_ns: intended,
            sent_ns: now,
        };
        let address = &injector.addresses[c - groups[g].base];
        let message = Message {
            address: &address.text,
            key: address.key.as_deref(),
            publisher: address.publisher,
            id: &id,
            payload: compose,
        };
        injector.publisher.push(&message, tag);
        publishing.one_more(phase, intended);
    }

    /// What brokers have said since.
    pub(super) fn hear_brokers(&mut self) {
        for i in 0..self.injectors.len() {
            for event in self.injectors[i].publisher.events() {
                self.broker_event(i, event);
            }
        }
    }

    fn broker_event(&mut self, i: usize, event: Event) {
        let phase = self.phase;
        let started_at = self.started_at();
        let Shard {
            injectors,
            recorder,
            groups,
            ..
        } = self;
        let injector = &mut injectors[i];
        let g = injector.group;
        match event {
            Event::Attempt => recorder.count(Counter::Attempts, phase, g, 1),
            Event::Open(at, took) => {
                injector.open = true;
                groups[g].open += 1;
                recorder.count(Counter::Opened, phase, g, 1);
                recorder.time(Timer::Open, phase, g, took as i64);
                let lost_at = std::mem::take(&mut injector.lost_at);
                if lost_at > 0 {
                    recorder.count(Counter::Reconnected, phase, g, 1);
                    recorder.time(Timer::Reconnect, phase, g, at as i64 - lost_at as i64);
                }
            }
            Event::Failed(why) => {
                recorder.fail(failure(&why), phase, g);
                recorder.sample("broker", why.to_string().as_bytes());
            }
            Event::Lost(why, at) => {
                injector.open = false;
                injector.lost_at = at;
                groups[g].open -= 1;
                let by_target = !matches!(why, BrokerError::Timeout);
                let close = CloseKey {
                    code: 1006,
                    by_target,
                    clean: false,
                };
                recorder.close(close, phase, g);
                recorder.sample("broker", why.to_string().as_bytes());
            }
            Event::Taken(tag, bytes, at) => {
                let phase = usize::from(tag.phase);
                recorder.count(Counter::Sent, phase, g, 1);
                recorder.count(Counter::BytesSent, phase, g, u64::from(bytes));
                if injector.acknowledged {
                    let at = at.saturating_sub(started_at) as i64;
                    recorder.count(Counter::Acked, phase, g, 1);
                    recorder.time(Timer::Ack, phase, g, at - tag.intended_ns as i64);
                    recorder.time(Timer::AckService, phase, g, at - tag.sent_ns as i64);
                }
            }
            Event::Rejected(tag, why) => {
                recorder.count(Counter::Rejected, usize::from(tag.phase), g, 1);
                recorder.sample("broker", why.as_bytes());
            }
            Event::Again(count) => recorder.count(Counter::Resent, phase, g, count),
            Event::Unroutable(why) => {
                recorder.count(Counter::Unroutable, phase, g, 1);
                recorder.sample("broker", why.as_bytes());
            }
            Event::Blocked(why) => recorder.sample("broker", why.as_bytes()),
        }
    }

    /// Whether a broker has still to say what it took.
    pub(super) fn injecting(&mut self) -> bool {
        self.hear_brokers();
        self.injectors
            .iter()
            .any(|injector| !injector.over && injector.publisher.pending() > 0)
    }

    /// What no broker took by now it never will: the ends of streams that nobody is owed.
    pub(super) fn end_injecting(&mut self) {
        self.hear_brokers();
        let phase = self.phase;
        for i in 0..self.injectors.len() {
            let Shard {
                injectors,
                recorder,
                conns,
                groups,
                ..
            } = self;
            let injector = &mut injectors[i];
            let g = injector.group;
            for tag in injector.publisher.give_up() {
                let phase = usize::from(tag.phase);
                recorder.count(Counter::Dropped, phase, g, 1);
                if injector.acknowledged {
                    recorder.count(Counter::Unacked, phase, g, 1);
                }
                let work = conns
                    .get_mut(tag.place as usize)
                    .and_then(|c| c.work.as_deref_mut());
                let publishing = work.and_then(|work| work.publishes.first_mut());
                if let Some(publishing) = publishing {
                    publishing.seq -= 1;
                    publishing.by_phase[phase] -= 1;
                }
            }
            injector.over = true;
            if std::mem::take(&mut injector.open) {
                groups[g].open -= 1;
            } else if injector.lost_at > 0 {
                recorder.count(Counter::GaveUp, phase, g, 1);
            }
        }
    }
}

fn failure(why: &BrokerError) -> Failure {
    match why {
        BrokerError::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::ConnectionReset => Failure::Reset,
            ErrorKind::UnexpectedEof => Failure::Eof,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Failure::Unreachable,
            ErrorKind::TimedOut => Failure::Timeout,
            _ => Failure::Os,
        },
        BrokerError::Tls(_) => Failure::Tls,
        BrokerError::Timeout => Failure::Timeout,
        BrokerError::Refused(_) | BrokerError::Closed(_) => Failure::Step,
        BrokerError::Protocol(_) => Failure::Protocol,
    }
}
