//! Packets ↔ bytes, in both directions and versions. Reading is total, linear, and copies nothing.

use super::config::{Qos, Version};
use super::property::{Properties, WILL};
use super::reason;
use super::wire::{Broken, Reader, insert_length, malformed, protocol_error, put_binary, put_text};
use memchr::memchr2;

/// A packet, in the bytes that it came in or is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client introduces itself.
    Connect(Connect<'a>),
    /// The answer.
    ConnAck(ConnAck<'a>),
    /// A message, either way.
    Publish(Publish<'a>),
    /// An acknowledgement of one, either way.
    Ack(Ack<'a>),
    /// A client asks for topics.
    Subscribe(Subscribe<'a>),
    /// The answer.
    SubAck(Answers<'a>),
    /// A client wants no more of topics.
    Unsubscribe(Subscribe<'a>),
    /// The answer.
    UnsubAck(Answers<'a>),
    /// A client is alive.
    PingReq,
    /// So is the server.
    PingResp,
    /// The last packet of a side; of a server only in version 5.
    Disconnect(Farewell<'a>),
    /// A step of an authentication, in version 5.
    Auth(Farewell<'a>),
}

/// CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// What the packet is written in, and the conversation held.
    pub version: Version,
    /// No session of before is wanted.
    pub clean_start: bool,
    /// Seconds, 0: none.
    pub keep_alive: u16,
    /// Of version 5.
    pub properties: Properties<'a>,
    /// Empty: the server is to find one.
    pub client_id: &'a str,
    /// Published by the server when the connection is lost.
    pub will: Option<Will<'a>>,
    /// User name.
    pub username: Option<&'a str>,
    /// Password; in 3.1.1 only with a user name.
    pub password: Option<&'a [u8]>,
}

/// The message that a server publishes when a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// How it is sent.
    pub qos: Qos,
    /// It is kept.
    pub retain: bool,
    /// Of version 5.
    pub properties: Properties<'a>,
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
}

/// CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// The session of before goes on.
    pub session_present: bool,
    /// 0: welcome.
    pub reason: u8,
    /// Of version 5.
    pub properties: Properties<'a>,
}

/// PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// It was sent before.
    pub again: bool,
    /// How it is acknowledged.
    pub qos: Qos,
    /// It is to be kept, or was.
    pub retain: bool,
    /// Empty where an alias stands for it.
    pub topic: &'a str,
    /// 0 with QoS 0.
    pub id: u16,
    /// Of version 5.
    pub properties: Properties<'a>,
    /// The message.
    pub payload: &'a [u8],
}

/// Which step of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// PUBACK: of QoS 1.
    Ack,
    /// PUBREC: of QoS 2, received.
    Received,
    /// PUBREL: of QoS 2, the receipt was heard of.
    Release,
    /// PUBCOMP: of QoS 2, done.
    Complete,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Which of them.
    pub step: Step,
    /// The message's packet identifier.
    pub id: u16,
    /// 0 in 3.1.1.
    pub reason: u8,
    /// Of version 5.
    pub properties: Properties<'a>,
}

/// SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet identifier.
    pub id: u16,
    /// Of version 5.
    pub properties: Properties<'a>,
    /// At least one.
    pub filters: Filters<'a>,
}

/// The topic filters of a packet, as they came; looked through once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters<'a> {
    bytes: &'a [u8],
    options: bool,
}

impl<'a> Filters<'a> {
    /// Of bytes made by [`Filters::put`]; `options`: for SUBSCRIBE.
    pub fn of(bytes: &'a [u8], options: bool) -> Self {
        Filters { bytes, options }
    }

    /// Appends a filter, and its options for SUBSCRIBE.
    pub fn put(filter: &str, options: Option<u8>, out: &mut Vec<u8>) {
        put_text(filter, out);
        out.extend(options);
    }

    /// Filters and their options (0 with UNSUBSCRIBE): the lowest two bits are the QoS.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, u8)> {
        let Filters { bytes, options } = *self;
        let mut reader = Reader::new(bytes);
        std::iter::from_fn(move || {
            let filter = reader.text().ok()?;
            let options = if options { reader.byte().ok()? } else { 0 };
            Some((filter, options))
        })
    }

    fn read(reader: &mut Reader<'a>, version: Version, options: bool) -> Result<Self, Broken> {
        let bytes = reader.take(reader.rest.len())?;
        if bytes.is_empty() {
            return Err(protocol_error("no topic filter where one is due"));
        }
        let mut inner = Reader::new(bytes);
        while !inner.is_empty() {
            inner.text()?;
            if options {
                let options = inner.byte()?;
                let reserved = if version == Version::V5 { 0xc0 } else { 0xfc };
                if options & reserved != 0 || options & 3 == 3 || options & 0x30 == 0x30 {
                    return Err(malformed("subscription options that there are not"));
                }
            }
        }
        Ok(Filters { bytes, options })
    }
}

/// SUBACK or UNSUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers<'a> {
    /// Packet identifier of what is answered.
    pub id: u16,
    /// Of version 5.
    pub properties: Properties<'a>,
    /// One for each filter; none for UNSUBACK in 3.1.1.
    pub reasons: &'a [u8],
}

/// DISCONNECT or AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell<'a> {
    /// 0 in 3.1.1.
    pub reason: u8,
    /// Of version 5.
    pub properties: Properties<'a>,
}

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK: u8 = 11;
const PINGREQ: u8 = 12;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;
const AUTH: u8 = 15;

impl Step {
    fn packet(self) -> u8 {
        match self {
            Step::Ack => PUBACK,
            Step::Received => PUBREC,
            Step::Release => PUBREL,
            Step::Complete => PUBCOMP,
        }
    }
}

/// The flags that a packet of a type has, all but PUBLISH.
fn flags_of(packet: u8) -> u8 {
    match packet {
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => 2,
        _ => 0,
    }
}

impl<'a> Packet<'a> {
    /// Of the bytes of one packet, header and all. The version is the conversation's, which a CONNECT says itself.
    ///
    /// # Errors
    /// Anything that the specification does not allow in a packet by itself.
    pub fn decode(bytes: &'a [u8], version: Version) -> Result<Self, Broken> {
        let mut reader = Reader::new(bytes);
        let first = reader.byte()?;
        let (packet, flags) = (first >> 4, first & 0x0f);
        let length = reader.variable()?;
        if length as usize != reader.rest.len() {
            return Err(malformed("a packet's length is not what it says"));
        }
        if packet != PUBLISH && flags != flags_of(packet) {
            return Err(malformed("a packet's flags are not its type's"));
        }
        let v5 = version == Version::V5;
        let r = &mut reader;
        let packet = match packet {
            CONNECT => Packet::Connect(Connect::read(r)?),
            CONNACK => Packet::ConnAck(ConnAck {
                session_present: match r.byte()? {
                    flag @ 0..=1 => flag == 1,
                    _ => return Err(malformed("CONNACK has flags that there are not")),
                },
                reason: r.byte()?,
                properties: properties(r, version, packet)?,
            }),
            PUBLISH => Packet::Publish(Publish::read(r, flags, version)?),
            PUBACK => Packet::Ack(Ack::read(r, Step::Ack, version)?),
            PUBREC => Packet::Ack(Ack::read(r, Step::Received, version)?),
            PUBREL => Packet::Ack(Ack::read(r, Step::Release, version)?),
            PUBCOMP => Packet::Ack(Ack::read(r, Step::Complete, version)?),
            SUBSCRIBE | UNSUBSCRIBE => {
                let subscribe = Subscribe {
                    id: r.id()?,
                    properties: properties(r, version, packet)?,
                    filters: Filters::read(r, version, packet == SUBSCRIBE)?,
                };
                match packet {
                    SUBSCRIBE => Packet::Subscribe(subscribe),
                    _ => Packet::Unsubscribe(subscribe),
                }
            }
            SUBACK | UNSUBACK => {
                let answers = Answers {
                    id: r.id()?,
                    properties: properties(r, version, packet)?,
                    reasons: r.take(r.rest.len())?,
                };
                let none = packet == UNSUBACK && !v5;
                if none != answers.reasons.is_empty() {
                    return Err(protocol_error("an answer to nothing"));
                }
                match packet {
                    SUBACK => Packet::SubAck(answers),
                    _ => Packet::UnsubAck(answers),
                }
            }
            PINGREQ => Packet::PingReq,
            PINGRESP => Packet::PingResp,
            DISCONNECT => Packet::Disconnect(Farewell::read(r, version, packet)?),
            AUTH if v5 => Packet::Auth(Farewell::read(r, version, packet)?),
            _ => return Err(malformed("a packet of a type that there is not")),
        };
        match reader.is_empty() {
            true => Ok(packet),
            false => Err(malformed("a packet goes on behind its end")),
        }
    }

    /// Appends the packet's bytes.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(0);
        let put = |properties: Properties<'_>, out: &mut Vec<u8>| {
            if version == Version::V5 {
                properties.write(out);
            }
        };
        let mut payload: &[u8] = &[];
        let (packet, flags) = match self {
            Packet::Connect(connect) => {
                connect.write(out);
                (CONNECT, 0)
            }
            Packet::ConnAck(ack) => {
                out.extend_from_slice(&[ack.session_present.into(), ack.reason]);
                put(ack.properties, out);
                (CONNACK, 0)
            }
            Packet::Publish(publish) => {
                put_text(publish.topic, out);
                if publish.qos > Qos::AtMostOnce {
                    out.extend_from_slice(&publish.id.to_be_bytes());
                }
                put(publish.properties, out);
                // Only once behind its length: a long one is not moved.
                payload = publish.payload;
                let [again, retain] = [publish.again, publish.retain].map(u8::from);
                (PUBLISH, again << 3 | publish.qos.level() << 1 | retain)
            }
            Packet::Ack(ack) => {
                out.extend_from_slice(&ack.id.to_be_bytes());
                put_reason(ack.reason, ack.properties, version, out);
                (ack.step.packet(), flags_of(ack.step.packet()))
            }
            Packet::Subscribe(subscribe) | Packet::Unsubscribe(subscribe) => {
                out.extend_from_slice(&subscribe.id.to_be_bytes());
                put(subscribe.properties, out);
                out.extend_from_slice(subscribe.filters.bytes);
                match self {
                    Packet::Subscribe(_) => (SUBSCRIBE, 2),
                    _ => (UNSUBSCRIBE, 2),
                }
            }
            Packet::SubAck(answers) | Packet::UnsubAck(answers) => {
                out.extend_from_slice(&answers.id.to_be_bytes());
                put(answers.properties, out);
                out.extend_from_slice(answers.reasons);
                match self {
                    Packet::SubAck(_) => (SUBACK, 0),
                    _ => (UNSUBACK, 0),
                }
            }
            Packet::PingReq => (PINGREQ, 0),
            Packet::PingResp => (PINGRESP, 0),
            Packet::Disconnect(farewell) | Packet::Auth(farewell) => {
                put_reason(farewell.reason, farewell.properties, version, out);
                match self {
                    Packet::Disconnect(_) => (DISCONNECT, 0),
                    _ => (AUTH, 0),
                }
            }
        };
        out[start] = packet << 4 | flags;
        insert_length(start + 1, payload.len(), out);
        out.extend_from_slice(payload);
    }
}

fn properties<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    packet: u8,
) -> Result<Properties<'a>, Broken> {
    match version {
        Version::V5 => Properties::read(reader, packet),
        Version::V3_1_1 => Ok(Properties::default()),
    }
}

/// A reason code with properties, both left out where they say nothing.
fn put_reason(reason: u8, properties: Properties<'_>, version: Version, out: &mut Vec<u8>) {
    if version == Version::V5 && (reason != reason::SUCCESS || !properties.is_empty()) {
        out.push(reason);
        if !properties.is_empty() {
            properties.write(out);
        }
    }
}

/// The same, read.
fn read_reason<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    packet: u8,
) -> Result<(u8, Properties<'a>), Broken> {
    if version != Version::V5 || reader.is_empty() {
        return Ok((reason::SUCCESS, Properties::default()));
    }
    let reason = reader.byte()?;
    let properties = match reader.is_empty() {
        true => Properties::default(),
        false => Properties::read(reader, packet)?,
    };
    Ok((reason, properties))
}

impl<'a> Connect<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Broken> {
        if r.text()? != "MQTT" {
            return Err(protocol_error("CONNECT names another protocol"));
        }
        let version = Version::of_level(r.byte()?).ok_or(Broken {
            code: reason::UNSUPPORTED_VERSION,
            what: "CONNECT is of another version",
        })?;
        let flags = r.byte()?;
        let [username, password, will_retain, will, clean_start] =
            [0x80, 0x40, 0x20, 0x04, 0x02].map(|bit| flags & bit != 0);
        let will_qos = Qos::of_level(flags >> 3 & 3);
        let will_qos = will_qos.ok_or(malformed("a will's QoS is 3"))?;
        if flags & 1 != 0 {
            return Err(malformed("CONNECT has a flag that there is not"));
        }
        if !will && (will_retain || will_qos != Qos::AtMostOnce) {
            return Err(malformed("CONNECT says how its will is, and has none"));
        }
        if version == Version::V3_1_1 && password && !username {
            return Err(malformed("a password without a user name"));
        }
        let keep_alive = r.two()?;
        let all = properties(r, version, CONNECT)?;
        let client_id = r.text()?;
        let will = match will {
            false => None,
            true => Some(Will {
                qos: will_qos,
                retain: will_retain,
                properties: properties(r, version, WILL)?,
                topic: r.text()?,
                payload: r.binary()?,
            }),
        };
        Ok(Connect {
            version,
            clean_start,
            keep_alive,
            properties: all,
            client_id,
            will,
            username: username.then(|| r.text()).transpose()?,
            password: password.then(|| r.binary()).transpose()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let v5 = self.version == Version::V5;
        put_text("MQTT", out);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let will = self.will.map_or(0, |will| {
            0x04 | will.qos.level() << 3 | bit(will.retain, 0x20)
        });
        let flags = bit(self.username.is_some(), 0x80)
            | bit(self.password.is_some(), 0x40)
            | bit(self.clean_start, 0x02)
            | will;
        out.extend_from_slice(&[self.version.level(), flags]);
        out.extend_from_slice(&self.keep_alive.to_be_bytes());
        if v5 {
            self.properties.write(out);
        }
        put_text(self.client_id, out);
        if let Some(will) = &self.will {
            if v5 {
                will.properties.write(out);
            }
            put_text(will.topic, out);
            put_binary(will.payload, out);
        }
        if let Some(username) = self.username {
            put_text(username, out);
        }
        if let Some(password) = self.password {
            put_binary(password, out);
        }
    }
}

impl<'a> Publish<'a> {
    fn read(r: &mut Reader<'a>, flags: u8, version: Version) -> Result<Self, Broken> {
        let qos = Qos::of_level(flags >> 1 & 3).ok_or(malformed("a QoS is 3"))?;
        let [again, retain] = [8, 1].map(|bit| flags & bit != 0);
        if again && qos == Qos::AtMostOnce {
            return Err(malformed("a message of QoS 0 says that it is sent again"));
        }
        let topic = r.text()?;
        if memchr2(b'+', b'#', topic.as_bytes()).is_some() {
            return Err(protocol_error("a message's topic has wildcards"));
        }
        if topic.is_empty() && version == Version::V3_1_1 {
            return Err(malformed("a message's topic is empty"));
        }
        Ok(Publish {
            again,
            qos,
            retain,
            topic,
            id: match qos {
                Qos::AtMostOnce => 0,
                Qos::AtLeastOnce | Qos::ExactlyOnce => r.id()?,
            },
            properties: properties(r, version, PUBLISH)?,
            payload: r.take(r.rest.len())?,
        })
    }
}

impl<'a> Ack<'a> {
    fn read(r: &mut Reader<'a>, step: Step, version: Version) -> Result<Self, Broken> {
        let id = r.id()?;
        let (reason, properties) = read_reason(r, version, step.packet())?;
        Ok(Ack {
            step,
            id,
            reason,
            properties,
        })
    }
}

impl<'a> Farewell<'a> {
    fn read(r: &mut Reader<'a>, version: Version, packet: u8) -> Result<Self, Broken> {
        let (reason, properties) = read_reason(r, version, packet)?;
        Ok(Farewell { reason, properties })
    }
}
