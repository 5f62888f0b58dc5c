//! What a client asks of the gateway, done.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::super::WhenFull;
use super::super::bench::Bench;
use super::super::client::{Client, Close};
use super::super::dialect::{self, Ask};
use super::super::frame::{Frame, append};
use super::super::history::Since;
use super::super::socket::Socket;
use super::super::stats::add;
use super::super::tongue::{Heard, Tongue};
use super::super::topic::Ack;
use super::{Connection, Phase};
use crate::protocol::{Form, Outgoing};

/// Topics one client may subscribe to.
const MAX_SUBSCRIPTIONS: usize = 1024;

impl<S: Socket> Connection<S> {
    /// Acts on a text or binary message.
    pub(super) fn take_data(&mut self, message: &Message, bench: &mut Bench) {
        bench.messages_in += 1;
        if self.deaf {
            return;
        }
        if let Some(bucket) = self.rare.as_mut().and_then(|rare| rare.bucket.as_mut())
            && !bucket.take(Instant::now())
        {
            return self.leave(Close::after_queue(1008, "rate limit"));
        }
        if let Some(rare) = &mut self.rare
            && let Some(tongue) = rare.tongue.take()
        {
            return self.take_words(tongue, message, bench);
        }
        let ask = match message {
            Message::Text(text) => dialect::read(text),
            _ => Ask::Raw,
        };
        self.act(ask, message, bench);
    }

    /// Acts on a message in the client's own words.
    fn take_words(&mut self, mut tongue: Box<Tongue>, message: &Message, bench: &mut Bench) {
        let (mut bytes, form) = match message {
            Message::Text(text) => (text.as_bytes(), Form::Text),
            Message::Binary(bytes) => (bytes.as_ref(), Form::Binary),
            _ => (&[][..], Form::Binary),
        };
        let hub = Arc::clone(&self.hub);
        while !self.deaf {
            let heard = tongue.next(&mut bytes, form, &hub.config, &mut bench.words);
            if let Some(Heard::Shown(pass)) = heard {
                self.shows(pass);
                if let Some(times) = self.timer.set() {
                    // It would be asked in words that are not its own.
                    times.ask = None;
                }
                if self.deaf {
                    // It was revoked: no welcome.
                    bench.words.clear();
                }
            }
            self.say_words(&bench.words);
            bench.words.clear();
            match heard {
                Some(Heard::Ask(ask)) => self.act(ask, message, bench),
                Some(Heard::Other | Heard::Shown(_)) => {}
                Some(Heard::Leave(close)) => self.leave(close),
                None => break,
            }
        }
        self.rare.get_or_insert_default().tongue = Some(tongue);
    }

    /// Says what comes before all that the client says, if there is such a thing.
    pub(in super::super) fn greet(&mut self) {
        let (hub, client) = (Arc::clone(&self.hub), self.client.id);
        let Some(tongue) = self.tongue() else {
            return;
        };
        let mut words = Outgoing::default();
        tongue.greet(client, &hub.config, &mut words);
        self.say_words(&words);
    }

    fn say_words(&self, words: &Outgoing) {
        let counters = &self.hub.counters;
        for (form, words) in words.messages() {
            let mut frame = Vec::new();
            append(form, words, &mut frame);
            add(&counters.replies, 1);
            // Nobody is to be woken: this task writes it within the same poll.
            drop(self.client.say(Frame::of(frame), counters));
        }
    }

    /// Takes nothing more, and closes once everything is said.
    pub(super) fn leave(&mut self, close: Close) {
        self.deaf = true;
        if self.phase == Phase::Open {
            // The answers to what was accepted come first, if the client reads them in time.
            self.client.close(close);
            self.timer
                .only_end(Instant::now() + self.hub.config.close_timeout);
        }
    }

    fn act(&mut self, ask: Ask<'_>, message: &Message, bench: &mut Bench) {
        if self.is_awaited() && !matches!(ask, Ask::Auth { .. }) {
            return self.refuse(
                None,
                "unauthorized",
                "the first message has to show a token",
            );
        }
        match ask {
            Ask::Auth { id, token } => self.shows_anew(id, &token),
            Ask::Publish { topic, id, payload } => match self.hub.topic(&topic) {
                Ok(topic) => {
                    let ack = id.is_some().then(|| self.ack("published", id));
                    bench.delivered += topic.publish(payload, ack, &self.hub, &mut bench.wakers);
                    self.mind(|full| topic.full(full));
                }
                Err(_) => self.reply(dialect::too_many_topics(id)),
            },
            Ask::Echo { id, payload } => self.echo(|| Frame::text(dialect::echo(id, payload))),
            Ask::Raw => self.echo(|| match message {
                Message::Text(text) => Frame::text(text.to_string()),
                other => Frame::binary(other.clone().into_data().to_vec()),
            }),
            Ask::Subscribe { topic, id, since } => self.subscribe(&topic, id, since),
            Ask::Unsubscribe { topic, id } => self.unsubscribe(&topic, id),
            Ask::Bad { id, code, message } => self.reply(dialect::error(id, code, message)),
        }
    }

    fn subscribe(&mut self, name: &str, id: Option<&str>, since: Option<Since<'_>>) {
        let Ok(topic) = self.hub.topic(name) else {
            return self.reply(dialect::too_many_topics(id));
        };
        let known = self
            .subscriptions
            .iter()
            .any(|known| Arc::ptr_eq(known, &topic));
        if !known && self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return self.reply(dialect::error(
                id,
                "too_many_subscriptions",
                "a client may subscribe to 1024 topics",
            ));
        }
        if !known {
            if self.subscriptions.is_empty() {
                // Most have one topic.
                self.subscriptions.reserve_exact(1);
            }
            self.subscriptions.push(Arc::clone(&topic));
        }
        topic.subscribe(self.ack("subscribed", id), since, &self.hub);
    }

    fn unsubscribe(&mut self, name: &str, id: Option<&str>) {
        let ack = self.ack("unsubscribed", id);
        let at = self
            .subscriptions
            .iter()
            .position(|topic| topic.name() == name);
        match at {
            Some(at) => {
                let topic = self.subscriptions.swap_remove(at);
                topic.unsubscribe(&self.client, Some(ack), &self.hub);
            }
            None => drop(ack.give(name, 0, &self.hub.counters)),
        }
    }

    fn ack(&self, kind: &'static str, id: Option<&str>) -> Ack {
        Ack {
            client: Arc::clone(&self.client),
            kind,
            id: id.map(Box::from),
        }
    }

    fn echo(&mut self, frame: impl FnOnce() -> Frame) {
        let knobs = &self.hub.config.misbehave;
        if knobs.mute {
            return;
        }
        let due = knobs.delay.map(|delay| Instant::now() + delay);
        add(&self.hub.counters.echoes, 1);
        // Nobody is to be woken: this task writes it within the same poll.
        drop(self.hub.deliver(&self.client, frame(), due, false));
        let client = Arc::clone(&self.client);
        self.mind(|full| full.extend(client.full().then_some(client)));
    }

    /// With `block`: notes the queues that are full now, which nothing more is read before.
    fn mind(&mut self, add_full: impl FnOnce(&mut Vec<Arc<Client>>)) {
        if self.hub.config.when_full != WhenFull::Block || self.hub.line.is_some() {
            return;
        }
        let behind = &mut self.rare.get_or_insert_default().behind;
        add_full(behind);
        add(&self.hub.counters.blocked, u64::from(!behind.is_empty()));
    }

    pub(super) fn reply(&mut self, text: String) {
        add(&self.hub.counters.replies, 1);
        drop(self.client.reply(Frame::text(text), &self.hub.counters));
    }
}
