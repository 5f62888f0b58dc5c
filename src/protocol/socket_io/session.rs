//! The client's side of a conversation.
//!
//! An event that wants an acknowledgement has a number: odd ones are of subscriptions and tell their place, even ones of
//! publishes. So nothing is kept of a publish that waits.

use super::config::{Config, Place};
use super::engine_io::{self, Open, PROBE, PROBED, UPGRADE};
use super::packet::{Kind, Packet};
use super::payload;
use crate::protocol::pointer::{Found, elements, lookup};
use crate::protocol::session::{
    Event, Field, Form, Introduction, Outgoing, Publish, Rhythm, Violation,
};
use crate::protocol::template::{MessageTemplate, Values};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of what the other side says that are told.
const TEXT: usize = 256;

/// Session numbers and offsets longer than this are not kept: those of servers have about twenty bytes.
const TOKEN: usize = 256;

/// Room for a packet whose attachments are due that is kept from one to the next.
const ROOM: usize = 4096;

/// What stands in an event for its attachment.
const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// What a server opened for by polling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// What it calls the conversation, as it may stand in an address.
    pub sid: String,
    /// Whether it offers a WebSocket.
    pub upgrades: bool,
    /// Bytes of a POST that it takes.
    pub max_payload: usize,
    /// Bytes of the answer that said so; other packets follow behind a separator.
    pub opened: usize,
}

/// One connection's conversation, or the conversations of one that comes back.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    state: State,
    /// JSON that goes with CONNECT, until it is sent.
    auth: Option<Box<str>>,
    /// Without anything from the other side for so long it is dead; 0: it is not asked for.
    hear: Duration,
    /// The server has opened by polling: what it said then is for the WebSocket that follows.
    polled: Option<Duration>,
    /// What the server calls this session where it keeps it for whoever comes back; empty: it does not. As it stands in JSON.
    pid: String,
    /// How far the session was heard; empty: nothing of it. As it stands in JSON.
    offset: String,
    /// Places of subscriptions that wait for their acknowledgement.
    waiting: Vec<u32>,
    /// Publishes so far, over all connections: an acknowledgement is never taken for another's.
    sent: u64,
    /// A packet whose attachments are due, and its room.
    parts: Option<Box<Parts>>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server has opened by polling, and the WebSocket's probe is not answered.
    Probing,
    /// The server has not opened.
    Opening,
    /// CONNECT is not answered.
    Joining,
    /// In the namespace.
    Joined,
}

/// A packet that is not complete.
#[derive(Debug, Default)]
struct Parts {
    /// Attachments that are still due; 0: none is under way.
    due: u32,
    /// The next one's number.
    next: u32,
    /// The number of the one that is wanted, if any is; others are not kept.
    wanted: Option<u32>,
    /// It is an acknowledgement, not an event.
    is_ack: bool,
    /// It is of our namespace.
    ours: bool,
    id: Option<u64>,
    data: Vec<u8>,
    payload: Vec<u8>,
}

impl Session {
    /// One that has not begun.
    pub fn new(config: &Arc<Config>) -> Self {
        Session {
            config: Arc::clone(config),
            state: State::Opening,
            auth: None,
            hear: Duration::ZERO,
            polled: None,
            pid: String::new(),
            offset: String::new(),
            waiting: Vec::new(),
            sent: 0,
            parts: None,
        }
    }

    /// The answer to the handshake by polling, which is the server's open packet: what is to be asked for from there on. Where
    /// a conversation goes on by polling, other packets may follow it.
    ///
    /// # Errors
    /// When it is none, or more than that.
    pub fn polled(&mut self, answer: &[u8]) -> Result<Polled, Violation> {
        let end = memchr::memchr(payload::SEPARATOR, answer);
        let (packet, behind) = answer.split_at(end.unwrap_or(answer.len()));
        let (kind, rest) = engine_io::decode(packet)?;
        let more = !behind.is_empty() && !self.config.polling.goes_on();
        if kind != engine_io::Kind::Open || more {
            return Err(Violation("the answer to the poll is not one open packet"));
        }
        let open = Open::read(rest)?;
        let sid = lookup(rest, "/sid").and_then(token);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        let sid = sid
            .filter(|sid| !sid.is_empty() && sid.chars().all(plain))
            .ok_or(Violation("an open packet without a sid for an address"))?;
        self.polled = Some(open.ping_interval + open.ping_timeout);
        let upgrades = lookup(rest, "/upgrades");
        Ok(Polled {
            sid: sid.to_owned(),
            upgrades: upgrades.is_some_and(|found| found.elements().any(|t| t.is("websocket"))),
            max_payload: lookup(rest, "/maxPayload")
                .and_then(|found| found.number())
                .and_then(|bytes| usize::try_from(bytes).ok())
                .filter(|bytes| *bytes > 0)
                .unwrap_or(usize::MAX),
            opened: packet.len(),
        })
    }

    /// Begins on a new connection: the server speaks first, unless it has by polling. Then a WebSocket is probed, or what
    /// follows goes by polling too.
    pub fn begin(&mut self, who: &Introduction, out: &mut Outgoing) {
        let polled = self.polled.take();
        self.forget_connection();
        self.auth = who.get(Field::Auth).map(Box::from);
        if let Some(hear) = polled {
            self.hear = hear;
            if self.config.polling.goes_on() {
                self.state = State::Joining;
                return self.connect(out);
            }
            self.state = State::Probing;
            out.buffer().extend_from_slice(PROBE);
            out.seal(Form::Text);
        }
    }

    /// The next event of these bytes; see [`protocol::Session::next`](crate::protocol::Session::next).
    ///
    /// # Errors
    /// When the other side breaks the protocol.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        form: Form,
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Option<Event<'a>>, Violation> {
        let message = std::mem::take(bytes);
        if form == Form::Binary {
            return self.attachment(message, max, out);
        }
        // What is left of a message that was read.
        if message.is_empty() {
            return Ok(None);
        }
        if self.parts.as_ref().is_some_and(|parts| parts.due > 0) {
            return Err(Violation("a packet where an attachment is due"));
        }
        let (kind, rest) = engine_io::decode(message)?;
        match (kind, self.state) {
            (engine_io::Kind::Open, State::Opening) => {
                let open = Open::read(rest)?;
                self.hear = open.ping_interval + open.ping_timeout;
                self.state = State::Joining;
                self.connect(out);
                Ok(Some(Event::Other))
            }
            (engine_io::Kind::Open, _) => Err(Violation("a second open packet")),
            (_, State::Opening) => Err(Violation("the first packet is not open")),
            (_, State::Probing) if message == PROBED => {
                out.buffer().extend_from_slice(UPGRADE);
                out.seal(Form::Text);
                self.state = State::Joining;
                self.connect(out);
                Ok(Some(Event::Upgraded))
            }
            (_, State::Probing) => Err(Violation("the probe is not answered")),
            (engine_io::Kind::Message, _) => self.packet(rest, max, out),
            (engine_io::Kind::Ping, _) => {
                out.buffer().push(engine_io::Kind::Pong.digit());
                out.seal(Form::Text);
                Ok(Some(Event::Other))
            }
            (engine_io::Kind::Close, _) => Ok(Some(Event::Refused {
                code: 0,
                text: b"the server closes the transport",
            })),
            (engine_io::Kind::Pong | engine_io::Kind::Upgrade | engine_io::Kind::Noop, _) => {
                Ok(Some(Event::Other))
            }
        }
    }

    /// The event that subscribes, if there is one. True if its acknowledgement was asked for.
    pub fn subscribe(&mut self, place: u32, topic: &str, out: &mut Outgoing) -> bool {
        let config = Arc::clone(&self.config);
        if config.subscribe.is_empty() {
            return false;
        }
        let id = config.subscribe_ack.then(|| u64::from(place) * 2 + 1);
        if id.is_some() {
            self.waiting.push(place);
        }
        let values = Values {
            topic,
            id: u64::from(place),
            ..Values::default()
        };
        self.emit(Kind::Event, id, &config.subscribe, values, out);
        id.is_some()
    }

    /// The event that publishes.
    pub fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outgoing) -> Publish {
        let config = Arc::clone(&self.config);
        let number = self.sent;
        self.sent += 1;
        let id = config.publish_ack.then_some(number * 2);
        let text;
        let values = Values {
            topic,
            id: number,
            payload: if config.binary {
                PLACEHOLDER
            } else {
                text = String::from_utf8_lossy(payload);
                &text
            },
            ..Values::default()
        };
        if config.binary {
            self.emit(Kind::BinaryEvent, id, &config.publish, values, out);
            out.buffer().extend_from_slice(payload);
            out.seal(Form::Binary);
        } else {
            self.emit(Kind::Event, id, &config.publish, values, out);
        }
        match id {
            Some(id) => Publish::Awaiting(id),
            None => Publish::Sent,
        }
    }

    /// The server pings: nothing for so long as a ping may take is the end. Nothing is to be sent of our own accord.
    pub fn rhythm(&self) -> Rhythm {
        let known = self.state != State::Opening && !self.hear.is_zero();
        Rhythm {
            send: None,
            hear: known.then_some(self.hear),
        }
    }

    /// Nothing: only the server pings.
    pub fn beat(&mut self, _out: &mut Outgoing) {}

    /// DISCONNECT, which is not answered.
    pub fn goodbye(&mut self, out: &mut Outgoing) -> bool {
        if self.state == State::Joined {
            self.packet_head(Kind::Disconnect, None, out.buffer());
            out.seal(Form::Text);
        }
        false
    }

    /// The connection is gone: what waited for its acknowledgement is not sent again, so never true.
    pub fn lost(&mut self, _unsent: usize) -> bool {
        self.forget_connection();
        false
    }

    /// Whether the server said that it would keep something.
    pub fn asks_to_resume(&self) -> bool {
        self.config.recover && !self.pid.is_empty()
    }

    /// Bytes kept of a packet that is not complete.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.parts
            .as_ref()
            .map_or(0, |parts| parts.data.len() + parts.payload.len())
    }

    fn forget_connection(&mut self) {
        self.state = State::Opening;
        self.auth = None;
        self.hear = Duration::ZERO;
        self.waiting = Vec::new();
        self.parts = None;
    }

    /// A packet of ours, up to its JSON.
    fn packet_head(&self, kind: Kind, id: Option<u64>, out: &mut Vec<u8>) {
        head(&self.config, kind, id, out);
    }

    fn emit(
        &self,
        kind: Kind,
        id: Option<u64>,
        event: &MessageTemplate,
        values: Values<'_>,
        out: &mut Outgoing,
    ) {
        let buffer = out.buffer();
        self.packet_head(kind, id, buffer);
        event.render(values, buffer);
        out.seal(Form::Text);
    }

    /// CONNECT, with the session that is to be recovered. What the scenario says comes last, and counts where both say it.
    fn connect(&mut self, out: &mut Outgoing) {
        let auth = self.auth.take().unwrap_or_default();
        let buffer = out.buffer();
        self.packet_head(Kind::Connect, None, buffer);
        let members = match auth.trim_ascii() {
            "" => Some("}"),
            object => object.strip_prefix('{').map(str::trim_ascii_start),
        };
        match members {
            // What is no object has no room for a session.
            None => buffer.extend_from_slice(auth.as_bytes()),
            Some(_) if !self.asks_to_resume() => buffer.extend_from_slice(auth.as_bytes()),
            Some(members) => {
                let comma = if members.starts_with('}') { "" } else { "," };
                let texts: &[&str] = match &*self.offset {
                    "" => &[r#"{"pid":""#, &self.pid, "\"", comma, members],
                    offset => &[
                        r#"{"pid":""#,
                        &self.pid,
                        r#"","offset":""#,
                        offset,
                        "\"",
                        comma,
                        members,
                    ],
                };
                for text in texts {
                    buffer.extend_from_slice(text.as_bytes());
                }
            }
        }
        out.seal(Form::Text);
    }

    /// A Socket.IO packet, without its attachments.
    fn packet<'a, 'b: 'a>(
        &'a mut self,
        bytes: &'b [u8],
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Option<Event<'a>>, Violation> {
        let packet = Packet::decode(bytes)?;
        let ours = packet.namespace == self.config.namespace.as_bytes();
        if packet.attachments > 0 {
            self.expect(&packet, ours, max)?;
            return Ok(None);
        }
        if !ours {
            return Ok(Some(Event::Other));
        }
        let event = match packet.kind {
            Kind::Connect => return self.joined(packet.data).map(Some),
            Kind::ConnectError if self.state == State::Joining => {
                let message = lookup(packet.data, "/message").and_then(|found| found.content());
                Event::Refused {
                    code: 0,
                    text: short(message.unwrap_or(packet.data)),
                }
            }
            Kind::ConnectError => Event::Error {
                code: 0,
                text: short(packet.data),
            },
            Kind::Disconnect => Event::Refused {
                code: 0,
                text: b"the server disconnects this client from its namespace",
            },
            // What a recovered session missed comes before CONNECT is answered.
            Kind::Event | Kind::BinaryEvent => {
                let keep = (!self.pid.is_empty()).then_some(&mut self.offset);
                heard(&self.config, packet.id, packet.data, None, keep, out)?
            }
            Kind::Ack | Kind::BinaryAck => {
                let Session {
                    config,
                    waiting,
                    sent,
                    ..
                } = self;
                acknowledged(config, waiting, *sent, packet.id, packet.data)?
            }
        };
        Ok(Some(event))
    }

    /// CONNECT is answered.
    fn joined<'a>(&mut self, data: &[u8]) -> Result<Event<'a>, Violation> {
        if self.state != State::Joining {
            return Err(Violation("a second CONNECT"));
        }
        if lookup(data, "/sid").is_none() {
            return Err(Violation("CONNECT without sid: protocol 5 is not spoken"));
        }
        self.state = State::Joined;
        let pid = lookup(data, "/pid").and_then(token).unwrap_or_default();
        let resumed = self.asks_to_resume() && pid == self.pid;
        if !resumed {
            self.offset.clear();
            self.pid.clear();
            if self.config.recover {
                self.pid.push_str(pid);
            }
        }
        Ok(Event::Connected { resumed })
    }

    /// Attachments of this packet are due.
    fn expect(&mut self, packet: &Packet<'_>, ours: bool, max: usize) -> Result<(), Violation> {
        let is_ack = packet.kind == Kind::BinaryAck;
        let parts = self.parts.get_or_insert_default();
        parts.due = packet.attachments;
        parts.next = 0;
        parts.is_ack = is_ack;
        parts.ours = ours;
        parts.id = packet.id;
        parts.wanted = None;
        for room in [&mut parts.data, &mut parts.payload] {
            room.clear();
            room.shrink_to(ROOM);
        }
        if ours {
            if packet.data.len() > max {
                return Err(Violation("a packet with attachments is too long"));
            }
            parts.data.extend_from_slice(packet.data);
            if !is_ack {
                let of = read(&self.config, packet.data)?;
                let payload = of.payload.filter(|_| of.delivers);
                parts.wanted = payload.and_then(attachment_number);
            }
        }
        Ok(())
    }

    /// A binary message.
    fn attachment<'a, 'b: 'a>(
        &'a mut self,
        bytes: &'b [u8],
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Option<Event<'a>>, Violation> {
        let Session {
            config,
            parts: Some(parts),
            pid,
            offset,
            waiting,
            sent,
            ..
        } = self
        else {
            return undue(bytes);
        };
        if parts.due == 0 {
            return undue(bytes);
        }
        parts.due -= 1;
        let wanted = parts.wanted == Some(parts.next);
        parts.next += 1;
        if parts.due > 0 {
            if wanted {
                if parts.data.len().saturating_add(bytes.len()) > max {
                    return Err(Violation("a packet with attachments is too long"));
                }
                parts.payload.extend_from_slice(bytes);
            }
            return Ok(None);
        }
        if !parts.ours {
            return Ok(Some(Event::Other));
        }
        if parts.is_ack {
            return acknowledged(config, waiting, *sent, parts.id, &parts.data).map(Some);
        }
        let payload = match parts.wanted {
            None => None,
            Some(_) if wanted => Some(bytes),
            Some(_) => Some(&*parts.payload),
        };
        let keep = (!pid.is_empty()).then_some(offset);
        heard(config, parts.id, &parts.data, payload, keep, out).map(Some)
    }
}

/// A binary message that no packet announced; none at all is what is left of one that was read.
fn undue<'a>(bytes: &[u8]) -> Result<Option<Event<'a>>, Violation> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Err(Violation("an attachment where none is due"))
}

/// A packet of ours as an Engine.IO packet, up to its JSON.
fn head(config: &Config, kind: Kind, id: Option<u64>, out: &mut Vec<u8>) {
    out.push(engine_io::Kind::Message.digit());
    let packet = Packet {
        kind,
        attachments: u32::from(kind.is_binary()),
        namespace: config.namespace.as_bytes(),
        id,
        data: b"",
    };
    packet.encode(out);
}

/// An event as it was heard.
struct Heard<'a> {
    /// It is the one that delivers.
    delivers: bool,
    topic: Option<Found<'a>>,
    payload: Option<Found<'a>>,
    /// Its last argument, if that is none of these.
    last: Option<Found<'a>>,
}

fn read<'a>(config: &Config, data: &'a [u8]) -> Result<Heard<'a>, Violation> {
    let mut all = elements(data);
    let name = all.next().ok_or(Violation("an event without a name"))?;
    let delivers = name.is(&config.message);
    let (mut topic, mut payload, mut last) = (None, None, None);
    let own = |place: &Place| if delivers { place.index } else { 0 };
    let own = own(&config.payload).max(config.topic.as_ref().map_or(0, own));
    for (at, found) in all.enumerate() {
        let at = at + 1;
        let there = |place: &Place| {
            (place.index == at)
                .then(|| found.lookup(&place.pointer))
                .flatten()
        };
        topic = topic.or_else(|| config.topic.as_ref().and_then(there));
        payload = payload.or_else(|| there(&config.payload));
        last = (at > own).then_some(found);
    }
    Ok(Heard {
        delivers,
        topic,
        payload,
        last,
    })
}

/// An event, complete. Where the server keeps sessions the last argument is how far this one was heard.
fn heard<'a>(
    config: &Config,
    id: Option<u64>,
    data: &'a [u8],
    attachment: Option<&'a [u8]>,
    keep: Option<&mut String>,
    out: &mut Outgoing,
) -> Result<Event<'a>, Violation> {
    let event = read(config, data)?;
    if let Some(offset) = keep
        && let Some(told) = event.last.and_then(token)
    {
        offset.clear();
        offset.push_str(told);
    }
    if let Some(id) = id {
        head(config, Kind::Ack, Some(id), out.buffer());
        out.buffer().extend_from_slice(b"[]");
        out.seal(Form::Text);
    }
    if !event.delivers {
        return Ok(Event::Other);
    }
    let told = event
        .payload
        .map(|found| found.content().unwrap_or(found.raw()));
    Ok(Event::Message {
        topic: event.topic.map(|found| found.text()),
        payload: attachment.or(told).unwrap_or_default(),
        again: false,
        refused: false,
    })
}

/// What an acknowledgement is of, and whether it refuses that.
fn acknowledged<'a>(
    config: &Config,
    waiting: &mut Vec<u32>,
    sent: u64,
    id: Option<u64>,
    data: &'a [u8],
) -> Result<Event<'a>, Violation> {
    let id = id.ok_or(Violation("an acknowledgement without a number"))?;
    let refused = config.refuses(data);
    if id % 2 == 0 {
        return Ok(match (id / 2 < sent, refused) {
            // Of nothing that was asked for.
            (false, _) => Event::Other,
            (true, false) => Event::Acknowledged { id },
            (true, true) => Event::Rejected {
                id,
                code: 0,
                text: data,
            },
        });
    }
    let place = u32::try_from(id / 2).ok();
    let at = waiting.iter().position(|of| Some(*of) == place);
    let Some(place) = at.map(|at| waiting.swap_remove(at)) else {
        return Ok(Event::Other);
    };
    if waiting.is_empty() {
        *waiting = Vec::new();
    }
    Ok(if refused {
        Event::NotSubscribed {
            place,
            code: 0,
            text: short(data),
        }
    } else {
        Event::Subscribed { place }
    })
}

/// The attachment that a value stands for.
fn attachment_number(value: Found<'_>) -> Option<u32> {
    value
        .lookup("/_placeholder")
        .filter(|found| found.is("true"))?;
    value.lookup("/num")?.number()?.try_into().ok()
}

/// A string that may be said again as it stands.
fn token(found: Found<'_>) -> Option<&str> {
    let content = found.content().filter(|content| content.len() <= TOKEN)?;
    let text = std::str::from_utf8(content).ok()?;
    text.chars().all(|c| !c.is_control()).then_some(text)
}

fn short(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT)]
}
