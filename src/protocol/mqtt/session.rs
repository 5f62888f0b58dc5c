//! The client's side of a conversation.

use super::config::{Config, Qos, Version};
use super::decoder::Decoder;
use super::flights::{Flights, Stage};
use super::packet::{
    Ack, ConnAck, Connect, Farewell, Filters, Packet, Publish as Message, Step, Subscribe, Will,
};
use super::property::{List, Name, Properties, Value, alias, alias_bytes};
use super::reason;
use super::wire::{Broken, protocol_error};
use crate::protocol::session::{
    Event, Field, Form, Introduction, Outgoing, Publish, Rhythm, Violation,
};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a reason that are told.
const REASON_TEXT: usize = 256;

/// Topics of ours that get an alias: a connection publishes to few.
const MOST_ALIASES: usize = 64;

/// One connection's conversation, or the conversations of one that comes back.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    talk: Talk,
}

/// All but what is incomplete.
#[derive(Debug)]
struct Talk {
    config: Arc<Config>,
    connected: bool,
    /// It was told of a will on this connection, and of no goodbye.
    will: bool,
    /// The server keeps a session of ours that can be taken up.
    kept: bool,
    /// The client identifier that the server found for us.
    assigned: String,
    terms: Terms,
    flights: Flights,
    /// Packet identifiers of deliveries with QoS 2 that were handed on, and are not released yet.
    received: HashSet<u16>,
    /// Topics that the server gave an alias, by alias − 1.
    their_aliases: Vec<Option<Box<str>>>,
    /// Topics that we gave one, likewise.
    our_aliases: Vec<Box<str>>,
}

/// What the server says in its CONNACK.
#[derive(Debug, Clone, Copy)]
struct Terms {
    keep_alive_s: u16,
    receive_maximum: u16,
    packet_maximum: usize,
    alias_maximum: u16,
    qos_maximum: Qos,
    retain: bool,
}

impl Terms {
    fn of(config: &Config, properties: &Properties<'_>) -> Self {
        let number = |name| properties.number(name);
        let two = |name| properties.small(name);
        Terms {
            keep_alive_s: two(Name::ServerKeepAlive).unwrap_or(config.keep_alive_s),
            receive_maximum: two(Name::ReceiveMaximum).unwrap_or(u16::MAX),
            packet_maximum: number(Name::MaximumPacketSize).map_or(usize::MAX, |max| max as usize),
            alias_maximum: two(Name::TopicAliasMaximum).unwrap_or(0),
            qos_maximum: match number(Name::MaximumQos) {
                Some(0) => Qos::AtMostOnce,
                Some(1) => Qos::AtLeastOnce,
                _ => Qos::ExactlyOnce,
            },
            retain: number(Name::RetainAvailable) != Some(0),
        }
    }
}

impl Session {
    /// One that has not begun.
    pub fn new(config: &Arc<Config>) -> Self {
        Session {
            decoder: Decoder::default(),
            talk: Talk {
                config: Arc::clone(config),
                connected: false,
                will: false,
                kept: false,
                assigned: String::new(),
                terms: Terms::of(config, &Properties::default()),
                flights: Flights::default(),
                received: HashSet::new(),
                their_aliases: Vec::new(),
                our_aliases: Vec::new(),
            },
        }
    }

    /// Begins on a new connection: CONNECT.
    pub fn begin(&mut self, who: &Introduction, out: &mut Outgoing) {
        self.decoder.clear();
        self.talk.begin(who, out);
    }

    /// The next event of these bytes; see [`protocol::Session::next`](crate::protocol::Session::next).
    ///
    /// # Errors
    /// When the other side breaks the protocol; a server of version 5 is told how.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        form: Form,
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Option<Event<'a>>, Violation> {
        let Session { decoder, talk } = self;
        let version = talk.config.version;
        let tells = talk.connected && version == Version::V5;
        let give_up = |broken: Broken, out: &mut Outgoing| {
            if tells {
                say(&farewell(broken.code), version, out);
            }
            Violation(broken.what)
        };
        if form == Form::Text {
            return Err(give_up(protocol_error("MQTT in a text message"), out));
        }
        let packet = match decoder.next(bytes, max) {
            Ok(None) => return Ok(None),
            Ok(Some(packet)) => Packet::decode(packet, version),
            Err(broken) => Err(broken),
        };
        let event = packet.and_then(|packet| talk.heard(packet, max, out));
        event.map(Some).map_err(|broken| give_up(broken, out))
    }

    /// SUBSCRIBE. True: it is always answered.
    pub fn subscribe(&mut self, place: u32, topic: &str, out: &mut Outgoing) -> bool {
        let Talk {
            config, flights, ..
        } = &mut self.talk;
        // With all 65,535 packet identifiers in use it cannot be said, and whoever waits for the answer waits in vain.
        if let Some(id) = flights.ask(place) {
            let mut filter = Vec::new();
            Filters::put(topic, Some(config.subscribe_qos.level()), &mut filter);
            let subscribe = Packet::Subscribe(Subscribe {
                id,
                properties: Properties::default(),
                filters: Filters::of(&filter, true),
            });
            say(&subscribe, config.version, out);
        }
        true
    }

    /// PUBLISH. Full also for a message that is longer than the server takes.
    pub fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outgoing) -> Publish {
        self.talk.publish(topic, payload, out)
    }

    /// A beat goes out after seven eighths of the keep-alive, so that a late one is no broken promise. As the server answers each,
    /// it is dead when it was silent for half as much again as the keep-alive, which is also when it takes us for dead.
    pub fn rhythm(&self) -> Rhythm {
        let keep_alive = Duration::from_secs(self.talk.terms.keep_alive_s.into());
        if !self.talk.connected || keep_alive.is_zero() {
            return Rhythm::default();
        }
        Rhythm {
            send: Some(keep_alive * 7 / 8),
            hear: Some(keep_alive * 3 / 2),
        }
    }

    /// PINGREQ.
    pub fn beat(&mut self, out: &mut Outgoing) {
        say(&Packet::PingReq, self.talk.config.version, out);
    }

    /// DISCONNECT, and the session need not be kept. Never answered.
    pub fn goodbye(&mut self, out: &mut Outgoing) -> bool {
        let talk = &mut self.talk;
        if talk.connected {
            let mut list = List::default();
            if talk.config.version == Version::V5 && talk.config.session_expiry_s > 0 {
                list.put(Name::SessionExpiry, Value::Four(0));
            }
            let farewell = Packet::Disconnect(Farewell {
                reason: reason::SUCCESS,
                properties: list.properties(),
            });
            say(&farewell, talk.config.version, out);
            talk.kept = false;
            talk.will = false;
        }
        false
    }

    /// Whether the server is to publish our will should the connection be gone now.
    pub fn owes_will(&self) -> bool {
        self.talk.connected && self.talk.will
    }

    /// The connection is gone. True if the server may have kept the session: then what waits for its acknowledgement is sent
    /// again once it says so.
    pub fn lost(&mut self, unsent: usize) -> bool {
        self.decoder.clear();
        let talk = &mut self.talk;
        talk.connected = false;
        talk.flights.forget_last(unsent);
        // One that lacks subscriptions is not worth taking up.
        if talk.flights.forget_asked() {
            talk.kept = false;
        }
        if !talk.kept {
            talk.forget();
        }
        talk.kept
    }

    /// Whether the server was asked to keep a session, and has one that is whole.
    pub fn asks_to_resume(&self) -> bool {
        self.talk.kept
    }
}

impl Talk {
    fn begin(&mut self, who: &Introduction, out: &mut Outgoing) {
        let Config {
            version,
            clean_start,
            session_expiry_s,
            keep_alive_s,
            receive_maximum,
            topic_alias_maximum,
            will_qos,
            will_retain,
            ..
        } = *self.config;
        self.connected = false;
        self.will = who.get(Field::WillTopic).is_some();
        self.their_aliases.clear();
        self.our_aliases.clear();
        self.flights.forget_asked();
        let mut list = List::default();
        if session_expiry_s > 0 {
            list.put(Name::SessionExpiry, Value::Four(session_expiry_s));
        }
        if receive_maximum < u16::MAX {
            list.put(Name::ReceiveMaximum, Value::Two(receive_maximum));
        }
        if topic_alias_maximum > 0 {
            list.put(Name::TopicAliasMaximum, Value::Two(topic_alias_maximum));
        }
        let password = who.get(Field::Passcode).map(str::as_bytes);
        // 3.1.1 has no password without a user name.
        let nobody = (version == Version::V3_1_1 && password.is_some()).then_some("");
        let connect = Packet::Connect(Connect {
            version,
            clean_start: clean_start && !self.kept,
            keep_alive: keep_alive_s,
            properties: list.properties(),
            client_id: match who.get(Field::ClientId) {
                None | Some("") => &self.assigned,
                Some(id) => id,
            },
            will: who.get(Field::WillTopic).map(|topic| Will {
                qos: will_qos,
                retain: will_retain,
                properties: Properties::default(),
                topic,
                payload: who.get(Field::WillPayload).unwrap_or_default().as_bytes(),
            }),
            username: who.get(Field::Login).or(nobody),
            password,
        });
        say(&connect, version, out);
    }

    /// What a packet says, and what is answered to it.
    fn heard<'a>(
        &'a mut self,
        packet: Packet<'a>,
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Event<'a>, Broken> {
        let version = self.config.version;
        match packet {
            Packet::ConnAck(ack) => self.greeted(ack, out),
            _ if !self.connected => Err(protocol_error("the first packet is not CONNACK")),
            Packet::Publish(message) => self.delivered(message, max, out),
            Packet::Ack(ack) => self.acknowledged(ack, out),
            Packet::SubAck(answers) => {
                let place = self.flights.answered(answers.id);
                let place = place.ok_or(protocol_error("a SUBACK of nothing that was asked"))?;
                match answers.reasons {
                    [code] if *code < reason::FAILURE => Ok(Event::Subscribed { place }),
                    [code] => Ok(Event::NotSubscribed {
                        place,
                        code: u16::from(*code),
                        text: text(&answers.properties, reason::name(*code)),
                    }),
                    _ => Err(protocol_error(
                        "a SUBACK of more topics than were asked for",
                    )),
                }
            }
            Packet::PingResp => Ok(Event::Other),
            Packet::Disconnect(farewell) if version == Version::V5 => Ok(Event::Error {
                code: farewell.reason.into(),
                text: text(&farewell.properties, reason::name(farewell.reason)),
            }),
            Packet::UnsubAck(_) | Packet::Auth(_) => {
                Err(protocol_error("an answer to what was not asked"))
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_) => Err(protocol_error("a packet that no server sends")),
        }
    }

    fn greeted<'a>(
        &'a mut self,
        ack: ConnAck<'a>,
        out: &mut Outgoing,
    ) -> Result<Event<'a>, Broken> {
        let config = &self.config;
        let version = config.version;
        if self.connected {
            return Err(protocol_error("a second CONNACK"));
        }
        if ack.reason != reason::SUCCESS {
            if ack.session_present {
                return Err(protocol_error("a session for one who is refused"));
            }
            return Ok(Event::Refused {
                code: ack.reason.into(),
                text: text(&ack.properties, reason::refusal(version, ack.reason)),
            });
        }
        if ack.session_present && config.clean_start && !self.kept {
            return Err(protocol_error("a session where none was wanted"));
        }
        if let Some(id) = ack.properties.text(Name::AssignedClientIdentifier) {
            id.clone_into(&mut self.assigned);
        }
        // A session of which we know nothing (another run's) has no subscriptions of ours.
        let resumed = ack.session_present && self.kept;
        self.connected = true;
        self.terms = Terms::of(config, &ack.properties);
        self.kept = config.resumes() && ack.properties.number(Name::SessionExpiry) != Some(0);
        if resumed {
            self.flights.send_again();
            self.pump(out);
        } else {
            self.forget();
        }
        Ok(Event::Connected { resumed })
    }

    /// The session of before is no more.
    fn forget(&mut self) {
        self.flights.clear();
        self.received.clear();
    }

    /// What was sent on another connection goes out again, as far as the server allows.
    fn pump(&mut self, out: &mut Outgoing) {
        let most = usize::from(self.terms.receive_maximum);
        self.flights.pump(most, self.config.version, out);
    }

    fn delivered<'a>(
        &'a mut self,
        message: Message<'a>,
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Event<'a>, Broken> {
        let Config {
            version,
            receive_maximum,
            topic_alias_maximum,
            ..
        } = *self.config;
        // Even a message that is not handed on tells what an alias stands for.
        let aliased = message.properties.small(Name::TopicAlias);
        if let Some(alias) = aliased {
            if alias == 0 || alias > topic_alias_maximum {
                return Err(Broken {
                    code: reason::ALIAS_INVALID,
                    what: "a topic alias beyond what was offered",
                });
            }
            self.learn(usize::from(alias) - 1, message.topic, max)?;
        } else if message.topic.is_empty() {
            return Err(protocol_error("a message without a topic"));
        }
        let acknowledge = |step, out: &mut Outgoing| {
            let ack = Packet::Ack(Ack {
                step,
                id: message.id,
                reason: reason::SUCCESS,
                properties: Properties::default(),
            });
            say(&ack, version, out);
        };
        match message.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => acknowledge(Step::Ack, out),
            Qos::ExactlyOnce => {
                if self.received.contains(&message.id) {
                    // Handed on already.
                    acknowledge(Step::Received, out);
                    return Ok(Event::Other);
                }
                if version == Version::V5 && self.received.len() >= usize::from(receive_maximum) {
                    return Err(Broken {
                        code: reason::RECEIVE_MAXIMUM_EXCEEDED,
                        what: "more messages under way than were allowed",
                    });
                }
                self.received.insert(message.id);
                acknowledge(Step::Received, out);
            }
        }
        if message.retain {
            return Ok(Event::Retained);
        }
        let topic = match aliased {
            Some(alias) if message.topic.is_empty() => {
                let known = self.their_aliases.get(usize::from(alias) - 1);
                known.and_then(|topic| topic.as_deref()).unwrap_or_default()
            }
            _ => message.topic,
        };
        Ok(Event::Message {
            topic: Some(Cow::Borrowed(topic)),
            payload: message.payload,
            again: message.again,
            refused: false,
        })
    }

    /// A topic stands under an alias from now on, or does already. All of them together have `max` bytes at most.
    fn learn(&mut self, place: usize, topic: &str, max: usize) -> Result<(), Broken> {
        let aliases = &mut self.their_aliases;
        let known = aliases.get(place).and_then(|known| known.as_deref());
        if topic.is_empty() {
            return match known {
                Some(_) => Ok(()),
                None => Err(Broken {
                    code: reason::ALIAS_INVALID,
                    what: "a topic alias of nothing",
                }),
            };
        }
        if known == Some(topic) {
            return Ok(());
        }
        let others = aliases.iter().flatten().map(|topic| topic.len());
        if others.sum::<usize>() + topic.len() > max {
            return Err(Broken {
                code: reason::ALIAS_INVALID,
                what: "topic aliases of too many bytes",
            });
        }
        if aliases.len() <= place {
            aliases.resize(place + 1, None);
        }
        aliases[place] = Some(topic.into());
        Ok(())
    }

    /// A step of an acknowledgement.
    fn acknowledged<'a>(&mut self, ack: Ack<'a>, out: &mut Outgoing) -> Result<Event<'a>, Broken> {
        let version = self.config.version;
        let answer = |step, reason, out: &mut Outgoing| {
            let ack = Packet::Ack(Ack {
                step,
                id: ack.id,
                reason,
                properties: Properties::default(),
            });
            say(&ack, version, out);
        };
        let failed = ack.reason >= reason::FAILURE;
        if ack.step == Step::Release {
            // Of one that is not known any more it is answered too: the answer of before may have been lost.
            let known = self.received.remove(&ack.id);
            let reason = if known {
                reason::SUCCESS
            } else {
                reason::ID_NOT_FOUND
            };
            answer(Step::Complete, reason, out);
            return Ok(Event::Other);
        }
        let Some((at, stage)) = self.flights.stage(ack.id) else {
            if ack.step == Step::Received && !failed {
                answer(Step::Release, reason::ID_NOT_FOUND, out);
            }
            return Ok(Event::Error {
                code: reason::ID_NOT_FOUND.into(),
                text: b"an acknowledgement of nothing that was published",
            });
        };
        let landed = match (stage, ack.step) {
            (Stage::Once, Step::Ack) | (Stage::Released, Step::Complete) => self.flights.land(at),
            (Stage::Twice, Step::Received) if failed => self.flights.land(at),
            (Stage::Twice, Step::Received) => {
                self.flights.release(at);
                answer(Step::Release, reason::SUCCESS, out);
                return Ok(Event::Other);
            }
            // Heard twice: so may be the answer.
            (Stage::Released, Step::Received) => {
                answer(Step::Release, reason::SUCCESS, out);
                return Ok(Event::Other);
            }
            _ => return Err(protocol_error("an acknowledgement out of turn")),
        };
        self.pump(out);
        let id = landed.unwrap_or_default();
        Ok(match failed {
            true => Event::Rejected {
                id,
                code: ack.reason.into(),
                text: text(&ack.properties, reason::name(ack.reason)),
            },
            false => Event::Acknowledged { id },
        })
    }

    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outgoing) -> Publish {
        let version = self.config.version;
        let qos = self.config.publish_qos.min(self.terms.qos_maximum);
        let acknowledged = qos > Qos::AtMostOnce;
        let most = usize::from(self.terms.receive_maximum);
        if !self.connected || acknowledged && !self.flights.has_room(most) {
            return Publish::Full;
        }
        let (known, fresh) = self.our_alias(topic);
        let bytes = alias_bytes(known.or(fresh).unwrap_or_default());
        let mut message = Message {
            again: false,
            qos,
            retain: self.config.retain && self.terms.retain,
            topic: if known.is_some() { "" } else { topic },
            // Takes as many bytes as the one that it will have.
            id: 1,
            properties: match known.or(fresh) {
                Some(_) => alias(&bytes),
                None => Properties::default(),
            },
            payload,
        };
        let buffer = out.buffer();
        let start = buffer.len();
        let taken = acknowledged.then(|| {
            let stage = match qos {
                Qos::ExactlyOnce => Stage::Twice,
                _ => Stage::Once,
            };
            self.flights.take_off(stage)
        });
        if let Some((_, id)) = taken {
            message.id = id;
        }
        Packet::Publish(message).encode(version, buffer);
        if buffer.len() - start > self.terms.packet_maximum {
            buffer.truncate(start);
            self.flights.forget_last(taken.is_some().into());
            return Publish::Full;
        }
        if fresh.is_some() {
            self.our_aliases.push(topic.into());
        }
        out.seal(Form::Binary);
        let Some((serial, id)) = taken else {
            return Publish::Sent;
        };
        if self.kept {
            // Another connection knows no alias of this one.
            let again = Packet::Publish(Message {
                again: true,
                topic,
                id,
                properties: Properties::default(),
                ..message
            });
            self.flights
                .keep_last(|packet| again.encode(version, packet));
        }
        Publish::Awaiting(serial)
    }

    /// The alias that a topic of ours has, or the one that it may be given.
    fn our_alias(&self, topic: &str) -> (Option<u16>, Option<u16>) {
        let most = usize::from(self.terms.alias_maximum).min(MOST_ALIASES);
        if !self.config.topic_aliases || most == 0 {
            return (None, None);
        }
        let number = |place: usize| u16::try_from(place + 1).ok();
        let ours = &self.our_aliases;
        match ours.iter().position(|known| **known == *topic) {
            Some(place) => (number(place), None),
            None if ours.len() < most => (None, number(ours.len())),
            None => (None, None),
        }
    }
}

fn say(packet: &Packet<'_>, version: Version, out: &mut Outgoing) {
    packet.encode(version, out.buffer());
    out.seal(Form::Binary);
}

fn farewell(reason: u8) -> Packet<'static> {
    Packet::Disconnect(Farewell {
        reason,
        properties: Properties::default(),
    })
}

/// The server's own words where it has some, else what its code is called.
fn text<'a>(properties: &Properties<'a>, name: &'static str) -> &'a [u8] {
    let said = properties
        .text(Name::ReasonString)
        .filter(|text| !text.is_empty());
    let text = said.unwrap_or(name).as_bytes();
    &text[..text.len().min(REASON_TEXT)]
}
