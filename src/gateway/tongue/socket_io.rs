//! Socket.IO (protocol 5 over Engine.IO 4), the server's side, packet by packet however they come (`polling.rs` brings those that
//! do not come over a WebSocket): the events `subscribe` (topic),
//! `unsubscribe` (topic) and `publish` (topic, payload), and `message` (topic, payload) for what is delivered.
//!
//! One namespace a connection, by any name, all of them with the same topics. Nothing is kept for those who come back. Payloads
//! are JSON as it was published; an attachment comes out as one unless it is UTF-8: then it is a string.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::value::RawValue;

use super::super::Config;
use super::super::client::Close;
use super::super::dialect::{Ask, MAX_TOPIC};
use super::Heard;
use super::told::{Told, payload, quote};
use crate::protocol::pointer::{elements, lookup};
use crate::protocol::socket_io::engine_io::{self, Open};
use crate::protocol::socket_io::packet::{Kind, Packet};
use crate::protocol::{Form, Outgoing, Rhythm};

/// Where it is spoken.
pub(in super::super) const PATHS: [&str; 2] = ["/socket.io/", "/socket.io"];

/// When pings go out, unless the gateway pings at a pace of its own: what Socket.IO servers do.
const PACE: Open = Open {
    ping_interval: std::time::Duration::from_secs(25),
    ping_timeout: std::time::Duration::from_secs(20),
};

/// Bytes of a payload that room is kept for.
const KEPT: usize = 256;

/// What stands for an attachment in an event of ours.
const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// A conversation.
#[derive(Debug, Default)]
pub(in super::super) struct SocketIo {
    /// A right token was shown with the upgrade.
    pub(super) trusted: bool,
    /// What a client that polls calls the conversation, and whether it is offered a WebSocket.
    pub(in super::super) polled: Option<(Box<str>, bool)>,
    /// Once it is given.
    namespace: Option<Box<str>>,
    /// An event whose attachments are due.
    parts: Option<Box<Parts>>,
    /// The number of the acknowledgement that is wanted, and the payload, as JSON for the hub.
    id: String,
    payload: Vec<u8>,
}

/// An event that is not complete.
#[derive(Debug)]
struct Parts {
    /// Attachments that are still due, and the next one's number.
    due: u32,
    next: u32,
    id: Option<u64>,
    data: Box<[u8]>,
    /// What was announced, once it has come.
    attachment: Option<Box<[u8]>>,
}

/// Why a client is not served any more.
struct Nonsense(&'static str);

impl SocketIo {
    /// The first packet, which is the server's.
    pub(super) fn greet(&mut self, client: u64, config: &Config, out: &mut Outgoing) {
        let max = config.max_message as u64;
        let named = self.polled.take();
        let (sid, upgrades) = named.unwrap_or_else(|| (format!("e{client:x}").into(), false));
        pace(config).write(&sid, upgrades, max, out.buffer());
        out.seal(Form::Text);
    }

    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        form: Form,
        config: &Config,
        out: &mut Outgoing,
    ) -> Option<Heard<'a>> {
        let message = std::mem::take(bytes);
        self.payload.shrink_to(KEPT);
        let heard = match form {
            Form::Binary => self.attachment(message, config, out),
            // What is left of a message that was read.
            Form::Text if message.is_empty() => return None,
            Form::Text => self.packet(message, config, out),
        };
        heard.unwrap_or_else(|Nonsense(why)| Some(Heard::Leave(Close::after_queue(1002, why))))
    }

    /// An Engine.IO packet.
    fn packet<'a, 'b: 'a>(
        &'a mut self,
        message: &'b [u8],
        config: &Config,
        out: &mut Outgoing,
    ) -> Result<Option<Heard<'a>>, Nonsense> {
        if self.parts.is_some() {
            return Err(Nonsense("a packet where an attachment is due"));
        }
        let (kind, rest) = engine_io::decode(message).map_err(|violation| Nonsense(violation.0))?;
        match kind {
            engine_io::Kind::Message => {}
            engine_io::Kind::Pong | engine_io::Kind::Noop => return Ok(Some(Heard::Other)),
            engine_io::Kind::Close => {
                return Ok(Some(Heard::Leave(Close::after_queue(1000, ""))));
            }
            _ => return Err(Nonsense("no client says this here")),
        }
        let packet = Packet::decode(rest).map_err(|violation| Nonsense(violation.0))?;
        if packet.kind == Kind::Connect {
            return self.connect(&packet, config, out).map(Some);
        }
        let ours = self.namespace.as_deref().map(str::as_bytes) == Some(packet.namespace);
        if !ours {
            return Err(Nonsense("CONNECT comes first"));
        }
        match packet.kind {
            Kind::Disconnect => {
                self.namespace = None;
                Ok(Some(Heard::Other))
            }
            Kind::Event | Kind::BinaryEvent if packet.attachments == 0 => {
                self.event(packet.id, Cow::Borrowed(packet.data), None, out)
            }
            Kind::BinaryEvent => {
                self.parts = Some(Box::new(Parts {
                    due: packet.attachments,
                    next: 0,
                    id: packet.id,
                    data: packet.data.into(),
                    attachment: None,
                }));
                Ok(None)
            }
            // Nothing here asks for one.
            Kind::Ack => Ok(Some(Heard::Other)),
            _ => Err(Nonsense("no client says this here")),
        }
    }

    /// CONNECT: the namespace is given, or refused.
    fn connect<'a>(
        &mut self,
        packet: &Packet<'_>,
        config: &Config,
        out: &mut Outgoing,
    ) -> Result<Heard<'a>, Nonsense> {
        let name = std::str::from_utf8(packet.namespace)
            .ok()
            .filter(|name| name.len() <= MAX_TOPIC)
            .ok_or(Nonsense("there is no such namespace"))?;
        let asks = config.asks_for_tokens() && !self.trusted;
        let token = lookup(packet.data, "/token").filter(|_| asks);
        let shown = token.and_then(|told| config.accepts(&told.text()));
        let refusal = match (&self.namespace, !asks || shown.is_some()) {
            (Some(_), _) => Some("Invalid namespace"),
            (None, false) => Some("Not authorized"),
            (None, true) => None,
        };
        if let Some(refusal) = refusal {
            let data = format!(r#"{{"message":"{refusal}"}}"#);
            say(name, Kind::ConnectError, None, &data, out);
        } else {
            say(name, Kind::Connect, None, r#"{"sid":"s"}"#, out);
            self.namespace = Some(name.into());
            return Ok(shown.map_or(Heard::Other, Heard::Shown));
        }
        Ok(Heard::Other)
    }

    /// A binary message.
    fn attachment<'a>(
        &'a mut self,
        bytes: &[u8],
        config: &Config,
        out: &mut Outgoing,
    ) -> Result<Option<Heard<'a>>, Nonsense> {
        let Some(parts) = &mut self.parts else {
            // What is left of a message that was read.
            if bytes.is_empty() {
                return Ok(None);
            }
            return Err(Nonsense("an attachment where none is due"));
        };
        parts.due -= 1;
        if wanted(&parts.data) == Some(parts.next) {
            if parts.data.len().saturating_add(bytes.len()) > config.max_message {
                return Err(Nonsense("a packet with attachments is too long"));
            }
            parts.attachment = Some(bytes.into());
        }
        parts.next += 1;
        if parts.due > 0 {
            return Ok(None);
        }
        let Some(parts) = self.parts.take() else {
            return Ok(None);
        };
        let data = Cow::Owned(parts.data.into_vec());
        self.event(parts.id, data, parts.attachment.as_deref(), out)
    }

    /// An event, complete.
    fn event<'a>(
        &'a mut self,
        id: Option<u64>,
        data: Cow<'a, [u8]>,
        attachment: Option<&[u8]>,
        out: &mut Outgoing,
    ) -> Result<Option<Heard<'a>>, Nonsense> {
        let SocketIo {
            namespace,
            id: id_room,
            payload: payload_room,
            ..
        } = self;
        let namespace = namespace.as_deref().unwrap_or_default();
        let event: Vec<&RawValue> =
            serde_json::from_slice(&data).map_err(|_| Nonsense("an event is a JSON array"))?;
        let text = |at: usize| {
            let json = event.get(at)?.get();
            serde_json::from_str::<String>(json).ok()
        };
        let name = text(0).unwrap_or_default();
        let topic = text(1).filter(|topic| !topic.is_empty() && topic.len() <= MAX_TOPIC);
        let known = matches!(&*name, "subscribe" | "unsubscribe" | "publish");
        let why = match topic {
            Some(_) if known => None,
            None if known => Some("the topic must have from 1 to 256 bytes"),
            _ => Some("the events are subscribe, unsubscribe and publish"),
        };
        if let Some(why) = why {
            refuse(namespace, id, why, out);
            return Ok(Some(Heard::Other));
        }
        let topic = Cow::Owned(topic.unwrap_or_default());
        id_room.clear();
        if let Some(id) = id {
            let _ = write!(id_room, "{id}");
        }
        let id = id.map(|_| &**id_room);
        Ok(Some(Heard::Ask(match &*name {
            "subscribe" => Ask::Subscribe {
                topic,
                id,
                since: None,
            },
            "unsubscribe" => Ask::Unsubscribe { topic, id },
            _ => Ask::Publish {
                topic,
                id,
                payload: match attachment {
                    Some(bytes) => payload(bytes, payload_room),
                    None => {
                        payload_room.clear();
                        let json = event.get(2).map_or("null", |json| json.get());
                        payload_room.extend_from_slice(json.as_bytes());
                        std::str::from_utf8(payload_room).unwrap_or("null")
                    }
                },
            },
        })))
    }

    /// `json` is what was read as `told`.
    pub(super) fn tell(&mut self, told: Told<'_>, json: &[u8], out: &mut Outgoing) {
        let Some(namespace) = self.namespace.as_deref() else {
            return;
        };
        match told {
            Told::Message { topic, payload, .. } => {
                let kind = if payload.text {
                    Kind::Event
                } else {
                    Kind::BinaryEvent
                };
                head(namespace, kind, None, out.buffer());
                out.buffer().extend_from_slice(br#"["message","#);
                let mut room = Vec::new();
                out.buffer()
                    .extend_from_slice(quote(&topic, &mut room).as_bytes());
                out.buffer().push(b',');
                if payload.text {
                    let json = lookup(json, "/payload");
                    out.buffer()
                        .extend_from_slice(json.map_or(b"null", |found| found.raw()));
                    out.buffer().push(b']');
                    out.seal(Form::Text);
                } else {
                    out.buffer().extend_from_slice(PLACEHOLDER.as_bytes());
                    out.buffer().push(b']');
                    out.seal(Form::Text);
                    out.buffer().extend_from_slice(&payload.bytes);
                    out.seal(Form::Binary);
                }
            }
            Told::Done { id, .. } => {
                if let Some(id) = id.and_then(|id| id.parse().ok()) {
                    say(namespace, Kind::Ack, Some(id), "[]", out);
                }
            }
            Told::Error { id, message } => {
                refuse(namespace, id.and_then(|id| id.parse().ok()), &message, out);
            }
            Told::Other => {}
        }
    }

    pub(super) fn rhythm(&self, config: &Config) -> Rhythm {
        let pace = pace(config);
        Rhythm {
            send: Some(pace.ping_interval),
            hear: Some(match self.namespace {
                None => config.handshake_timeout,
                Some(_) => pace.ping_interval + pace.ping_timeout,
            }),
        }
    }
}

/// A ping.
pub(super) fn beat(out: &mut Outgoing) {
    out.buffer().push(engine_io::Kind::Ping.digit());
    out.seal(Form::Text);
}

fn pace(config: &Config) -> Open {
    config.ping.as_ref().map_or(PACE, |ping| Open {
        ping_interval: ping.every,
        ping_timeout: ping.timeout,
    })
}

/// The number of the attachment that a publish has as its payload.
fn wanted(data: &[u8]) -> Option<u32> {
    let payload = elements(data).nth(2)?;
    payload
        .lookup("/_placeholder")
        .filter(|found| found.is("true"))?;
    payload.lookup("/num")?.number()?.try_into().ok()
}

/// A refusal: to whoever asked for an acknowledgement in that, else as an event.
fn refuse(namespace: &str, id: Option<u64>, why: &str, out: &mut Outgoing) {
    let mut room = Vec::new();
    let why = quote(why, &mut room);
    match id {
        Some(id) => say(
            namespace,
            Kind::Ack,
            Some(id),
            &format!(r#"[{{"error":{why}}}]"#),
            out,
        ),
        None => say(
            namespace,
            Kind::Event,
            None,
            &format!(r#"["error",{why}]"#),
            out,
        ),
    }
}

fn say(namespace: &str, kind: Kind, id: Option<u64>, data: &str, out: &mut Outgoing) {
    head(namespace, kind, id, out.buffer());
    out.buffer().extend_from_slice(data.as_bytes());
    out.seal(Form::Text);
}

/// A packet as an Engine.IO packet, up to its JSON.
fn head(namespace: &str, kind: Kind, id: Option<u64>, out: &mut Vec<u8>) {
    out.push(engine_io::Kind::Message.digit());
    let packet = Packet {
        kind,
        attachments: u32::from(kind.is_binary()),
        namespace: namespace.as_bytes(),
        id,
        data: b"",
    };
    packet.encode(out);
}
