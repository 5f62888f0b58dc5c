//! MQTT 5 and 3.1.1, the server's side. A topic's name is the hub's as it stands.
//!
//! No session outlives its connection, nothing is kept for those who subscribe later, and there are neither wildcards nor shared
//! subscriptions: whoever asks for one is told so by its reason code. A will is published when its client is gone without a goodbye, at
//! once, whatever delay it asks for. Publishes are taken with any QoS; deliveries are
//! made with 0 or 1, and of those with 1 as many are under way as the client allows: what is more waits here. What makes no
//! sense ends the connection, in version 5 with a DISCONNECT that says why.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::client::Close;
use super::super::dialect::{Ask, MAX_TOPIC};
use super::super::{Config, PongLie};
use super::Heard;
use super::told::{Done, Told, payload, quote};
use crate::protocol::mqtt::packet::{
    Ack, Answers, ConnAck, Connect, Farewell, Packet, Publish, Step, Subscribe,
};
use crate::protocol::mqtt::topic::Filter;
use crate::protocol::mqtt::{Broken, Decoder, List, Name, Properties, Qos, Value, Version, reason};
use crate::protocol::{Form, Outgoing, Rhythm};

/// The WebSocket subprotocol.
pub(super) const SUBPROTOCOL: &str = "mqtt";

/// Publishes with QoS 2 that a client may have under way, and topic aliases, as it is told.
const RECEIVE_MAXIMUM: u16 = 1024;
const ALIASES: u16 = 16;

/// Deliveries with QoS 1 that are under way to a client at most, also where it allows more.
const MOST_UNDER_WAY: u16 = 4096;

/// Bytes of deliveries that wait for a client's acknowledgements; who lets more wait is closed.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Subscriptions of one client.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// Bytes of a payload that room is kept for.
const KEPT: usize = 256;

/// Clients that were given an identifier.
static NAMED: AtomicU64 = AtomicU64::new(0);

/// A conversation.
#[derive(Debug, Default)]
pub(in super::super) struct Mqtt {
    /// A right token was shown with the upgrade.
    pub(super) trusted: bool,
    decoder: Decoder,
    talk: Talk,
}

#[derive(Debug, Default)]
struct Talk {
    /// Once connected.
    agreed: Option<Agreed>,
    /// Topics, and the QoS of their deliveries.
    subscriptions: HashMap<Box<str>, Qos>,
    /// Packet identifier of the last delivery with QoS 1, and those that are not acknowledged.
    last: u16,
    under_way: HashSet<u16>,
    /// What waits for acknowledgements: topic and payload.
    waiting: VecDeque<(Box<str>, Box<[u8]>)>,
    waiting_bytes: usize,
    /// Packet identifiers of publishes with QoS 2 that are not released.
    received: HashSet<u16>,
    /// What the client's topic aliases stand for.
    aliases: HashMap<u16, Box<str>>,
    /// Topic and payload of what is published when the client is gone without a goodbye.
    will: Option<(Box<str>, Box<[u8]>)>,
    /// Packets of which the hub has not answered for each filter.
    asked: Vec<Asked>,
    /// The hub's answer is to come with this, and the payload; both as JSON.
    id: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Agreed {
    version: Version,
    keep_alive: Duration,
    receive_maximum: u16,
    packet_maximum: usize,
}

/// A SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug)]
struct Asked {
    id: u16,
    subscribe: bool,
    /// Topics that the hub was not asked for yet, and their places.
    left: Vec<(usize, Box<str>)>,
    /// One for each filter.
    reasons: Vec<u8>,
    unanswered: usize,
}

/// Bytes that make no sense, or not here.
const fn nonsense(what: &'static str) -> Broken {
    Broken {
        code: reason::PROTOCOL_ERROR,
        what,
    }
}

impl Mqtt {
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        form: Form,
        config: &Config,
        out: &mut Outgoing,
    ) -> Option<Heard<'a>> {
        let Mqtt {
            trusted,
            decoder,
            talk,
        } = self;
        // The rest of a packet with several filters comes first.
        if let Some(at) = talk.asked.iter().position(|asked| !asked.left.is_empty()) {
            return talk.ask(at);
        }
        let version = talk.agreed.map(|agreed| agreed.version);
        let heard = match (form, decoder.next(bytes, config.max_message)) {
            (Form::Text, _) => Err(nonsense("MQTT in a text message")),
            (_, Err(broken)) => Err(broken),
            (_, Ok(None)) => {
                // One that waits holds no room for the largest message that it ever sent.
                talk.payload.shrink_to(KEPT);
                return None;
            }
            (_, Ok(Some(packet))) => Packet::decode(packet, version.unwrap_or(Version::V5))
                .and_then(|packet| talk.hear(packet, *trusted, config, out)),
        };
        Some(heard.unwrap_or_else(|broken| {
            if version == Some(Version::V5) {
                disconnect(broken.code, out);
            }
            Heard::Leave(Close::after_queue(1002, broken.what))
        }))
    }

    pub(super) fn tell(&mut self, told: Told<'_>, out: &mut Outgoing) -> Option<Close> {
        self.talk.tell(told, out)
    }

    pub(super) fn rhythm(&self, config: &Config) -> Rhythm {
        let hear = match self.talk.agreed {
            None => Some(config.handshake_timeout),
            // As the specification has it.
            Some(agreed) => (!agreed.keep_alive.is_zero()).then_some(agreed.keep_alive * 3 / 2),
        };
        Rhythm { send: None, hear }
    }

    /// Topic and payload of what is to be published now that the client is gone.
    pub(super) fn last_will(&mut self) -> Option<(Box<str>, Box<[u8]>)> {
        self.talk.will.take()
    }

    /// The client's own silence was too long.
    pub(super) fn silent(&mut self, out: &mut Outgoing) {
        self.last_words(reason::KEEP_ALIVE_TIMEOUT, out);
    }

    /// The gateway closes the connection with this code, of its own accord.
    pub(super) fn farewell(&mut self, code: u16, out: &mut Outgoing) {
        if code == 1001 {
            self.last_words(reason::SHUTTING_DOWN, out);
        }
    }

    fn last_words(&mut self, reason: u8, out: &mut Outgoing) {
        if self.talk.version() == Some(Version::V5) {
            disconnect(reason, out);
        }
    }
}

impl Talk {
    fn version(&self) -> Option<Version> {
        self.agreed.map(|agreed| agreed.version)
    }

    fn hear<'a>(
        &'a mut self,
        packet: Packet<'a>,
        trusted: bool,
        config: &Config,
        out: &mut Outgoing,
    ) -> Result<Heard<'a>, Broken> {
        let Some(agreed) = self.agreed else {
            return match packet {
                Packet::Connect(connect) => Ok(self.greet(&connect, trusted, config, out)),
                _ => Err(nonsense("CONNECT comes first")),
            };
        };
        let version = agreed.version;
        match packet {
            Packet::Publish(publish) => self.publish(publish, version, out),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe, version, true, out),
            Packet::Unsubscribe(subscribe) => self.subscribe(&subscribe, version, false, out),
            Packet::Ack(ack) => {
                match ack.step {
                    Step::Ack => {
                        if !self.under_way.remove(&ack.id) {
                            return Err(nonsense("a PUBACK of nothing"));
                        }
                        self.let_go(agreed, out);
                    }
                    Step::Release => {
                        let reason = match self.received.remove(&ack.id) {
                            true => reason::SUCCESS,
                            false => reason::ID_NOT_FOUND,
                        };
                        answer(Step::Complete, ack.id, reason, version, out);
                    }
                    Step::Received | Step::Complete => {
                        return Err(nonsense("nothing is delivered with QoS 2 here"));
                    }
                }
                Ok(Heard::Other)
            }
            Packet::PingReq => {
                if config.misbehave.pong != Some(PongLie::None) {
                    say(&Packet::PingResp, version, out);
                }
                Ok(Heard::Other)
            }
            Packet::Disconnect(farewell) => {
                if farewell.reason != reason::WITH_WILL {
                    self.will = None;
                }
                Ok(Heard::Leave(Close::after_queue(1000, "")))
            }
            Packet::Connect(_) => Err(nonsense("a second CONNECT")),
            Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => Err(nonsense("a packet that is not a client's, or not now")),
        }
    }

    /// CONNECT: CONNACK, and what is agreed on where all is right.
    fn greet(
        &mut self,
        connect: &Connect<'_>,
        trusted: bool,
        config: &Config,
        out: &mut Outgoing,
    ) -> Heard<'static> {
        let version = connect.version;
        let v5 = version == Version::V5;
        let asks = config.asks_for_tokens() && !trusted;
        let password = connect.password.and_then(|p| std::str::from_utf8(p).ok());
        let shown = password.filter(|_| asks).and_then(|p| config.accepts(p));
        let nobody = connect.client_id.is_empty();
        let refusal = if asks && shown.is_none() {
            Some((
                reason::BAD_LOGIN,
                4,
                "the password is not one of the tokens",
            ))
        } else if connect.will.is_some_and(|will| will.retain) {
            Some((reason::NO_RETAIN, 3, "nothing is retained here"))
        } else if connect.will.is_some_and(|will| !is_topic(will.topic)) {
            Some((reason::TOPIC_INVALID, 3, "the will's topic is none"))
        } else if nobody && !v5 && !connect.clean_start {
            Some((reason::BAD_CLIENT_ID, 2, "a session needs a name"))
        } else if connect
            .properties
            .text(Name::AuthenticationMethod)
            .is_some()
        {
            Some((
                reason::BAD_METHOD,
                5,
                "there is no such authentication here",
            ))
        } else {
            None
        };
        let mut list = List::default();
        let mut acknowledge = |reason, list: &List| {
            let ack = ConnAck {
                session_present: false,
                reason,
                properties: list.properties(),
            };
            say(&Packet::ConnAck(ack), version, out);
        };
        if let Some((new, old, why)) = refusal {
            list.put(Name::ReasonString, Value::Text(why));
            acknowledge(if v5 { new } else { old }, &list);
            return Heard::Leave(Close::after_queue(1008, "refused"));
        }
        let assigned = format!("squall-{}", NAMED.fetch_add(1, Ordering::Relaxed));
        if nobody {
            list.put(Name::AssignedClientIdentifier, Value::Text(&assigned));
        }
        if connect.properties.number(Name::SessionExpiry) > Some(0) {
            list.put(Name::SessionExpiry, Value::Four(0));
        }
        let most = u32::try_from(config.max_message).unwrap_or(u32::MAX);
        list.put(Name::ReceiveMaximum, Value::Two(RECEIVE_MAXIMUM))
            .put(Name::TopicAliasMaximum, Value::Two(ALIASES))
            .put(Name::MaximumPacketSize, Value::Four(most.max(1)))
            .put(Name::RetainAvailable, Value::Byte(0))
            .put(Name::WildcardsAvailable, Value::Byte(0))
            .put(Name::SubscriptionIdentifiersAvailable, Value::Byte(0))
            .put(Name::SharedAvailable, Value::Byte(0));
        acknowledge(reason::SUCCESS, &list);
        let will = connect.will.as_ref();
        self.will = will.map(|will| (will.topic.into(), will.payload.into()));
        let theirs = connect.properties.small(Name::ReceiveMaximum);
        let size = connect.properties.number(Name::MaximumPacketSize);
        self.agreed = Some(Agreed {
            version,
            keep_alive: Duration::from_secs(connect.keep_alive.into()),
            receive_maximum: theirs.unwrap_or(u16::MAX).min(MOST_UNDER_WAY),
            packet_maximum: size.map_or(usize::MAX, |size| size as usize),
        });
        shown.map_or(Heard::Other, Heard::Shown)
    }

    fn publish<'a>(
        &'a mut self,
        publish: Publish<'a>,
        version: Version,
        out: &mut Outgoing,
    ) -> Result<Heard<'a>, Broken> {
        if publish.retain && version == Version::V5 {
            return Err(Broken {
                code: reason::NO_RETAIN,
                what: "nothing is retained here",
            });
        }
        if publish.qos == Qos::ExactlyOnce {
            if self.received.contains(&publish.id) {
                // It was passed on already.
                answer(Step::Received, publish.id, reason::SUCCESS, version, out);
                return Ok(Heard::Other);
            }
            if self.received.len() >= usize::from(RECEIVE_MAXIMUM) {
                return Err(Broken {
                    code: reason::RECEIVE_MAXIMUM_EXCEEDED,
                    what: "more publishes under way than were allowed",
                });
            }
            self.received.insert(publish.id);
        }
        let wrong_alias = Broken {
            code: reason::ALIAS_INVALID,
            what: "a topic alias of nothing",
        };
        if publish.topic.len() > MAX_TOPIC {
            return Err(Broken {
                code: reason::TOPIC_INVALID,
                what: "a topic has more than 256 bytes",
            });
        }
        let topic = match publish.properties.small(Name::TopicAlias) {
            None if publish.topic.is_empty() => return Err(nonsense("a publish to no topic")),
            None => publish.topic,
            Some(0) => return Err(wrong_alias),
            Some(alias) if alias > ALIASES => return Err(wrong_alias),
            Some(alias) if publish.topic.is_empty() => {
                self.aliases.get(&alias).ok_or(wrong_alias)?
            }
            Some(alias) => {
                self.aliases.insert(alias, publish.topic.into());
                publish.topic
            }
        };
        let id = match publish.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => Some('a'),
            Qos::ExactlyOnce => Some('r'),
        };
        let Talk {
            id: id_room,
            payload: payload_room,
            ..
        } = self;
        Ok(Heard::Ask(Ask::Publish {
            topic: Cow::Owned(topic.to_owned()),
            id: id.map(|kind| quote(&format!("{kind}{}", publish.id), id_room)),
            payload: payload(publish.payload, payload_room),
        }))
    }

    fn subscribe<'a>(
        &'a mut self,
        packet: &Subscribe<'_>,
        version: Version,
        subscribe: bool,
        out: &mut Outgoing,
    ) -> Result<Heard<'a>, Broken> {
        let identified = packet.properties.number(Name::SubscriptionIdentifier);
        if identified.is_some() {
            return Err(Broken {
                code: reason::NO_IDENTIFIERS,
                what: "subscriptions have no identifiers here",
            });
        }
        if self.asked.iter().any(|asked| asked.id == packet.id) {
            return Err(nonsense("a packet identifier is in use"));
        }
        let (mut left, mut reasons) = (Vec::new(), Vec::new());
        for (filter, options) in packet.filters.iter() {
            let place = reasons.len();
            let refused = self.refuses(filter, options, left.len());
            let granted =
                Qos::of_level(options & 3).map_or(Qos::AtMostOnce, |qos| qos.min(Qos::AtLeastOnce));
            reasons.push(match (refused, subscribe) {
                (Some(_), true) if version == Version::V3_1_1 => reason::FAILURE,
                (Some(reason), true) => reason,
                (Some(_), false) => reason::NO_SUBSCRIPTION,
                (None, true) => granted.level(),
                (None, false) => match self.subscriptions.contains_key(filter) {
                    true => reason::SUCCESS,
                    false => reason::NO_SUBSCRIPTION,
                },
            });
            if reasons[place] <= Qos::AtLeastOnce.level() {
                left.push((place, Box::from(filter)));
                match subscribe {
                    true => drop(self.subscriptions.insert(filter.into(), granted)),
                    false => drop(self.subscriptions.remove(filter)),
                }
            }
        }
        left.reverse();
        let asked = Asked {
            id: packet.id,
            subscribe,
            unanswered: left.len(),
            left,
            reasons,
        };
        if asked.unanswered == 0 {
            asked.answer(version, out);
            return Ok(Heard::Other);
        }
        self.asked.push(asked);
        let at = self.asked.len() - 1;
        Ok(self.ask(at).unwrap_or(Heard::Other))
    }

    /// Why there is no such subscription here, if so.
    fn refuses(&self, filter: &str, options: u8, more: usize) -> Option<u8> {
        let Some(parsed) = Filter::parse(filter) else {
            return Some(reason::FILTER_INVALID);
        };
        if parsed.share.is_some() {
            Some(reason::NO_SHARED)
        } else if parsed.is_pattern() {
            Some(reason::NO_WILDCARDS)
        } else if filter.len() > MAX_TOPIC {
            Some(reason::FILTER_INVALID)
        } else if options & 4 != 0 {
            // The client's own messages come back here.
            Some(reason::IMPLEMENTATION)
        } else if self.subscriptions.len() + more >= MAX_SUBSCRIPTIONS {
            Some(reason::QUOTA_EXCEEDED)
        } else {
            None
        }
    }

    /// Asks the hub for the next topic of a packet.
    fn ask(&mut self, at: usize) -> Option<Heard<'_>> {
        let Talk { asked, id, .. } = self;
        let asked = asked.get_mut(at)?;
        let (place, topic) = asked.left.pop()?;
        let id = Some(quote(&format!("s{} {place}", asked.id), id));
        let topic = Cow::Owned(topic.into());
        Some(Heard::Ask(match asked.subscribe {
            true => Ask::Subscribe {
                topic,
                id,
                since: None,
            },
            false => Ask::Unsubscribe { topic, id },
        }))
    }

    fn tell(&mut self, told: Told<'_>, out: &mut Outgoing) -> Option<Close> {
        let agreed = self.agreed?;
        match told {
            Told::Message { topic, payload, .. } => {
                return self.deliver(&topic, &payload.bytes, agreed, out);
            }
            Told::Done { kind, id, .. } => {
                let reason = (kind == Done::Published).then_some(reason::SUCCESS);
                self.done(&id?, reason, agreed.version, out);
            }
            Told::Error { id: Some(id), .. } => {
                self.done(&id, Some(reason::QUOTA_EXCEEDED), agreed.version, out);
            }
            Told::Error { id: None, .. } => {
                if agreed.version == Version::V5 {
                    disconnect(reason::QUOTA_EXCEEDED, out);
                }
                return Some(Close::after_queue(1008, "refused"));
            }
            Told::Other => {}
        }
        None
    }

    /// The hub has answered: with this reason, or that of the subscription.
    fn done(&mut self, id: &str, reason: Option<u8>, version: Version, out: &mut Outgoing) {
        let (kind, rest) = id.split_at_checked(1).unwrap_or_default();
        let step = match kind {
            "a" => Step::Ack,
            "r" => Step::Received,
            _ => return self.answered(rest, reason, version, out),
        };
        if let Ok(id) = rest.parse() {
            let reason = reason.unwrap_or_default();
            if step == Step::Received && reason >= reason::FAILURE {
                self.received.remove(&id);
            }
            answer(step, id, reason, version, out);
        }
    }

    fn answered(&mut self, id: &str, reason: Option<u8>, version: Version, out: &mut Outgoing) {
        let Some((id, place)) = id.split_once(' ') else {
            return;
        };
        let at = id
            .parse()
            .ok()
            .and_then(|id: u16| self.asked.iter().position(|asked| asked.id == id));
        let (Some(at), Ok(place)) = (at, place.parse::<usize>()) else {
            return;
        };
        let asked = &mut self.asked[at];
        if let (Some(reason), Some(of)) = (reason, asked.reasons.get_mut(place)) {
            *of = match version {
                Version::V5 => reason,
                Version::V3_1_1 => reason::FAILURE,
            };
        }
        asked.unanswered = asked.unanswered.saturating_sub(1);
        if asked.unanswered == 0 {
            self.asked.remove(at).answer(version, out);
        }
    }

    /// A message for the client: at once, or once it has acknowledged others.
    fn deliver(
        &mut self,
        topic: &str,
        payload: &[u8],
        agreed: Agreed,
        out: &mut Outgoing,
    ) -> Option<Close> {
        // One that was unsubscribed from while this was on its way.
        let qos = *self.subscriptions.get(topic)?;
        if qos == Qos::AtMostOnce {
            send(topic, payload, None, agreed, out);
            return None;
        }
        self.waiting_bytes += topic.len() + payload.len();
        if self.waiting_bytes > MAX_WAITING {
            if agreed.version == Version::V5 {
                disconnect(reason::QUOTA_EXCEEDED, out);
            }
            return Some(Close::after_queue(1008, "too much is not acknowledged"));
        }
        self.waiting.push_back((topic.into(), payload.into()));
        self.let_go(agreed, out);
        None
    }

    /// Sends what waits, as far as the client allows.
    fn let_go(&mut self, agreed: Agreed, out: &mut Outgoing) {
        while self.under_way.len() < usize::from(agreed.receive_maximum)
            && let Some((topic, payload)) = self.waiting.pop_front()
        {
            self.waiting_bytes -= topic.len() + payload.len();
            loop {
                self.last = self.last.checked_add(1).unwrap_or(1);
                if !self.under_way.contains(&self.last) {
                    break;
                }
            }
            if send(&topic, &payload, Some(self.last), agreed, out) {
                self.under_way.insert(self.last);
            }
        }
    }
}

impl Asked {
    fn answer(&self, version: Version, out: &mut Outgoing) {
        let answers = Answers {
            id: self.id,
            properties: Properties::default(),
            reasons: match (self.subscribe, version) {
                (false, Version::V3_1_1) => &[],
                _ => &self.reasons,
            },
        };
        let packet = match self.subscribe {
            true => Packet::SubAck(answers),
            false => Packet::UnsubAck(answers),
        };
        say(&packet, version, out);
    }
}

/// PUBLISH to the client. False, and nothing, where it takes none so long.
fn send(topic: &str, payload: &[u8], id: Option<u16>, agreed: Agreed, out: &mut Outgoing) -> bool {
    let publish = Packet::Publish(Publish {
        again: false,
        qos: match id {
            None => Qos::AtMostOnce,
            Some(_) => Qos::AtLeastOnce,
        },
        retain: false,
        topic,
        id: id.unwrap_or_default(),
        properties: Properties::default(),
        payload,
    });
    let buffer = out.buffer();
    let start = buffer.len();
    publish.encode(agreed.version, buffer);
    if buffer.len() - start > agreed.packet_maximum {
        buffer.truncate(start);
        return false;
    }
    out.seal(Form::Binary);
    true
}

/// Whether it can be published to.
fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= MAX_TOPIC && !topic.contains(['+', '#', '\0'])
}

fn say(packet: &Packet<'_>, version: Version, out: &mut Outgoing) {
    packet.encode(version, out.buffer());
    out.seal(Form::Binary);
}

fn answer(step: Step, id: u16, reason: u8, version: Version, out: &mut Outgoing) {
    let ack = Ack {
        step,
        id,
        reason,
        properties: Properties::default(),
    };
    say(&Packet::Ack(ack), version, out);
}

/// DISCONNECT, which only version 5 has from a server.
fn disconnect(reason: u8, out: &mut Outgoing) {
    let farewell = Farewell {
        reason,
        properties: Properties::default(),
    };
    say(&Packet::Disconnect(farewell), Version::V5, out);
}
