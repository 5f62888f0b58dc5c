//! The client's side of a conversation.
//!
//! Nothing is kept of what waits for an answer: a receipt's name says what it is of (`s` and the subscription's place, `m` and
//! the message's number, `bye`).

use super::config::{Ack, Config, Heartbeat, Version};
use super::frame::{Decoder, Frame, Writer};
use crate::protocol::session::{
    Event, Field, Form, Introduction, Outgoing, Publish, Rhythm, Violation,
};
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes of an error that are told.
const ERROR_TEXT: usize = 256;

/// The virtual host asked for where none is given; 1.1 and 1.2 want one.
const HOST: &str = "/";

/// Names the receipt of DISCONNECT.
const BYE: &str = "bye";

/// One connection's conversation, or the conversations of one that comes back.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    decoder: Decoder,
    state: State,
    /// Subscriptions asked for have places below this.
    places: u32,
    /// Of those, the ones below this are answered: requests are answered in their order.
    answered: u32,
    /// Messages sent with a receipt asked for, over all connections: an answer is never taken for another's.
    sent: u64,
    /// New deliveries that it could refuse, over all connections.
    offered: u64,
    owed: Owed,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// CONNECT is not answered.
    Greeting,
    /// In this version.
    Connected(Version, Rhythm),
}

/// Messages that one acknowledgement is to cover.
#[derive(Debug, Default)]
struct Owed {
    count: u32,
    /// Headers of the last one, as they came.
    subscription: String,
    id: String,
}

impl Session {
    /// One that has not begun.
    pub fn new(config: &Arc<Config>) -> Self {
        Session {
            config: Arc::clone(config),
            decoder: Decoder::default(),
            state: State::Greeting,
            places: 0,
            answered: 0,
            sent: 0,
            offered: 0,
            owed: Owed::default(),
        }
    }

    /// Begins on a new connection: CONNECT.
    pub fn begin(&mut self, who: &Introduction, out: &mut Outgoing) {
        self.decoder.clear();
        self.state = State::Greeting;
        self.places = 0;
        self.answered = 0;
        self.owed.count = 0;
        let versions = &self.config.versions;
        let mut names = [""; 2 * Version::ALL.len()];
        let offered = Version::ALL.into_iter().filter(|of| versions.contains(of));
        let mut count = 0;
        for version in offered {
            names[count] = if count == 0 { "" } else { "," };
            names[count + 1] = version.name();
            count += 2;
        }
        let mut frame = Writer::new("CONNECT", None, out.buffer());
        frame
            .header("accept-version", &names)
            .header("host", &[who.get(Field::Host).unwrap_or(HOST)])
            .header("heart-beat", &[&self.config.heartbeat.to_string()]);
        for (name, field) in [("login", Field::Login), ("passcode", Field::Passcode)] {
            if let Some(value) = who.get(field) {
                frame.header(name, &[value]);
            }
        }
        frame.end();
        out.seal(Form::Text);
    }

    /// The next event of these bytes; see [`protocol::Session::next`](crate::protocol::Session::next). Heart-beats are none.
    ///
    /// # Errors
    /// When the other side breaks the protocol.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        _form: Form,
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Option<Event<'a>>, Violation> {
        let version = self.version();
        let Session {
            config,
            decoder,
            state,
            places,
            answered,
            sent,
            offered,
            owed,
        } = self;
        let Some(frame) = decoder.next(bytes, version, max)? else {
            return Ok(None);
        };
        let Some(version) = version else {
            return greeted(&frame, config, state).map(Some);
        };
        let event = match frame.command {
            "MESSAGE" => {
                let names = [
                    "destination",
                    "subscription",
                    "message-id",
                    "ack",
                    "redelivered",
                ];
                let [destination, subscription, id, ack, redelivered] = frame.raw_values(names);
                let ack = if version == Version::V1_2 { ack } else { id };
                let again = redelivered == Some("true");
                let mut refused = false;
                match (config.ack, ack) {
                    (Ack::Auto, _) => {}
                    (_, None) => {
                        return Err(Violation("a MESSAGE does not say how to acknowledge it"));
                    }
                    (_, Some(ack)) if !again && refuses(config, version, offered) => {
                        refused = true;
                        // It would be for those before it, too.
                        owed.settle(version, out);
                        answer("NACK", version, subscription, ack, out);
                    }
                    (Ack::ClientIndividual, Some(ack)) => {
                        answer("ACK", version, subscription, ack, out);
                    }
                    (Ack::Client, Some(ack)) => {
                        owed.add(version, subscription.unwrap_or_default(), ack, out);
                        if owed.count >= config.ack_every {
                            owed.settle(version, out);
                        }
                    }
                }
                Event::Message {
                    topic: destination.map(|raw| topic(frame.plain(raw), config)),
                    payload: frame.body,
                    again,
                    refused,
                }
            }
            "RECEIPT" => match frame
                .raw_value("receipt-id")
                .map(|raw| Receipt::of(raw, *places, *sent))
            {
                Some(Some(Receipt::Subscription(place))) => {
                    *answered = (*answered).max(place + 1);
                    Event::Subscribed { place }
                }
                Some(Some(Receipt::Message(id))) => Event::Acknowledged { id },
                Some(Some(Receipt::Goodbye)) => Event::Gone,
                Some(None) => Event::Other,
                None => return Err(Violation("a RECEIPT without receipt-id")),
            },
            "ERROR" => {
                let receipt = frame.raw_value("receipt-id");
                let (code, text) = (0, complaint(&frame));
                match receipt.and_then(|raw| Receipt::of(raw, *places, *sent)) {
                    Some(Receipt::Subscription(place)) => {
                        Event::NotSubscribed { place, code, text }
                    }
                    Some(Receipt::Message(id)) => Event::Rejected { id, code, text },
                    // It does not say which, as RabbitMQ's does not: then it is of the first that waits for its receipt.
                    _ if config.receipts && *answered < *places => Event::NotSubscribed {
                        place: *answered,
                        code,
                        text,
                    },
                    _ => Event::Error { code, text },
                }
            }
            "CONNECTED" => return Err(Violation("a second CONNECTED")),
            _ => return Err(Violation("a frame that no server sends")),
        };
        Ok(Some(event))
    }

    /// SUBSCRIBE. True if a receipt was asked for.
    pub fn subscribe(&mut self, place: u32, topic: &str, out: &mut Outgoing) -> bool {
        let config = &self.config;
        self.places = self.places.max(place.saturating_add(1));
        let mut frame = Writer::new("SUBSCRIBE", self.version(), out.buffer());
        frame
            .numbered("id", "", u64::from(place))
            .header("destination", &[&config.prefix, topic, &config.suffix])
            .header("ack", &[config.ack.name()]);
        for (name, value) in &config.subscribe_headers {
            frame.header(name, &[value]);
        }
        if config.receipts {
            frame.numbered("receipt", "s", u64::from(place));
        }
        frame.end();
        out.seal(Form::Text);
        config.receipts
    }

    /// SEND.
    pub fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outgoing) -> Publish {
        let config = &self.config;
        let mut frame = Writer::new("SEND", self.version(), out.buffer());
        frame.header("destination", &[&config.prefix, topic, &config.suffix]);
        for (name, value) in &config.send_headers {
            frame.header(name, &[value]);
        }
        if config.receipts {
            frame.numbered("receipt", "m", self.sent);
        }
        frame.body(payload);
        // A text message has to be UTF-8 to its end.
        let text = std::str::from_utf8(payload).is_ok();
        out.seal(if text { Form::Text } else { Form::Binary });
        if !config.receipts {
            return Publish::Sent;
        }
        self.sent += 1;
        Publish::Awaiting(self.sent - 1)
    }

    /// What was agreed on; see [`Heartbeat::agree`].
    pub fn rhythm(&self) -> Rhythm {
        match self.state {
            State::Greeting => Rhythm::default(),
            State::Connected(_, rhythm) => rhythm,
        }
    }

    /// A line end, and what is left to acknowledge.
    pub fn beat(&mut self, out: &mut Outgoing) {
        if let Some(version) = self.version()
            && self.owed.count > 0
        {
            return self.owed.settle(version, out);
        }
        out.buffer().push(b'\n');
        out.seal(Form::Text);
    }

    /// DISCONNECT, and before it what is left to acknowledge and an UNSUBSCRIBE for each subscription. True if it was sent: its
    /// receipt is always asked for, and is one for all that came before it.
    pub fn goodbye(&mut self, out: &mut Outgoing) -> bool {
        let Some(version) = self.version() else {
            return false;
        };
        self.owed.settle(version, out);
        for place in 0..self.places {
            let mut frame = Writer::new("UNSUBSCRIBE", Some(version), out.buffer());
            frame.numbered("id", "", u64::from(place)).end();
            out.seal(Form::Text);
        }
        let mut frame = Writer::new("DISCONNECT", Some(version), out.buffer());
        frame.header("receipt", &[BYE]).end();
        out.seal(Form::Text);
        true
    }

    /// The connection is gone: what waited for its receipt is not sent again by anybody, so never true.
    pub fn lost(&mut self, _unsent: usize) -> bool {
        self.decoder.clear();
        false
    }

    /// Never: STOMP has no sessions.
    pub fn asks_to_resume(&self) -> bool {
        false
    }

    fn version(&self) -> Option<Version> {
        match self.state {
            State::Greeting => None,
            State::Connected(version, _) => Some(version),
        }
    }
}

/// The first frame.
fn greeted<'a>(
    frame: &Frame<'a>,
    config: &Config,
    state: &mut State,
) -> Result<Event<'a>, Violation> {
    match frame.command {
        "CONNECTED" => {
            let [version, beats] = frame.raw_values(["version", "heart-beat"]);
            // 1.0 does not tell.
            let version = version.map_or(Some(Version::V1_0), Version::named);
            let version = version
                .filter(|version| config.versions.contains(version))
                .ok_or(Violation("CONNECTED is of a version that was not offered"))?;
            let theirs = match beats {
                None => Heartbeat::NONE,
                Some(beats) => {
                    Heartbeat::parse(beats).ok_or(Violation("heart-beat is not two numbers"))?
                }
            };
            let rhythm = config.heartbeat.agree(theirs);
            *state = State::Connected(version, rhythm);
            Ok(Event::Connected { resumed: false })
        }
        "ERROR" => Ok(Event::Refused {
            code: 0,
            text: complaint(frame),
        }),
        _ => Err(Violation("the first frame is not CONNECTED")),
    }
}

/// What a receipt is of.
enum Receipt {
    Subscription(u32),
    Message(u64),
    Goodbye,
}

impl Receipt {
    /// `None`: of nothing that was asked for.
    fn of(id: &str, places: u32, sent: u64) -> Option<Self> {
        if let Some(place) = id.strip_prefix('s') {
            let place = place.parse().ok().filter(|place| *place < places);
            return place.map(Receipt::Subscription);
        }
        if let Some(number) = id.strip_prefix('m') {
            let number = number.parse().ok().filter(|number| *number < sent);
            return number.map(Receipt::Message);
        }
        (id == BYE).then_some(Receipt::Goodbye)
    }
}

/// The short description where there is one, else the body; both untrusted, the first with its escapes.
fn complaint<'a>(frame: &Frame<'a>) -> &'a [u8] {
    let message = frame.raw_value("message").filter(|text| !text.is_empty());
    let text = message.map_or(frame.body, str::as_bytes);
    &text[..text.len().min(ERROR_TEXT)]
}

/// The topic of a destination. One that is not ours to make stays as it is.
fn topic<'a>(destination: Cow<'a, str>, config: &Config) -> Cow<'a, str> {
    fn cut<'t>(text: &'t str, config: &Config) -> Option<&'t str> {
        text.strip_prefix(&*config.prefix)?
            .strip_suffix(&*config.suffix)
    }
    match destination {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, config).unwrap_or(text)),
        Cow::Owned(text) => match cut(&text, config).map(str::to_owned) {
            Some(topic) => Cow::Owned(topic),
            None => Cow::Owned(text),
        },
    }
}

/// Whether this one more delivery is one to be refused: evenly among them, so that the share is exact.
fn refuses(config: &Config, version: Version, offered: &mut u64) -> bool {
    let share = u64::from(config.nack_millionths);
    if share == 0 || version == Version::V1_0 {
        return false;
    }
    let due = |of: u64| of.saturating_mul(share) / 1_000_000;
    *offered = offered.saturating_add(1);
    due(*offered) > due(*offered - 1)
}

/// ACK or NACK of a message, by what it said of itself.
fn answer(word: &str, version: Version, subscription: Option<&str>, id: &str, out: &mut Outgoing) {
    let mut frame = Writer::new(word, Some(version), out.buffer());
    if version == Version::V1_2 {
        frame.raw_header("id", id);
    } else {
        frame.raw_header("message-id", id);
        if let Some(subscription) = subscription {
            frame.raw_header("subscription", subscription);
        }
    }
    frame.end();
    out.seal(Form::Text);
}

impl Owed {
    /// One more. What another subscription is owed is settled first, as an acknowledgement covers its own only.
    fn add(&mut self, version: Version, subscription: &str, id: &str, out: &mut Outgoing) {
        if self.count > 0 && self.subscription != subscription {
            self.settle(version, out);
        }
        self.count += 1;
        self.id.clear();
        self.id.push_str(id);
        if self.subscription != subscription {
            self.subscription.clear();
            self.subscription.push_str(subscription);
        }
    }

    fn settle(&mut self, version: Version, out: &mut Outgoing) {
        if self.count > 0 {
            self.count = 0;
            let subscription = Some(&*self.subscription).filter(|of| !of.is_empty());
            answer("ACK", version, subscription, &self.id, out);
        }
    }
}
