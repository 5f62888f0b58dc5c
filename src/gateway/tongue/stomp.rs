//! STOMP 1.0 to 1.2, the server's side. A destination is a topic's name as it stands.
//!
//! Acknowledgements are taken and mean nothing, as nothing is ever delivered again; transactions are not spoken. What makes no
//! sense is answered by ERROR and the end of the connection, as the specification has it.

use std::borrow::Cow;

use super::super::Config;
use super::super::auth::Pass;
use super::super::client::Close;
use super::super::dialect::{Ask, MAX_TOPIC};
use super::Heard;
use super::told::{Told, payload, quote};
use crate::protocol::stomp::frame::{Decoder, Frame, Writer};
use crate::protocol::stomp::{Ack, Heartbeat, Version};
use crate::protocol::{Form, Outgoing, Rhythm};

/// What it can do and wants itself, in milliseconds: whatever the client asks for, down to this.
const HEARTBEAT: Heartbeat = Heartbeat {
    send_ms: 50,
    hear_ms: 50,
};

/// Bytes of a payload that room is kept for.
const KEPT: usize = 256;

/// Subscriptions of one client.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// Whether a subprotocol is one of STOMP's.
pub(super) fn speaks(subprotocol: &str) -> bool {
    Version::ALL
        .iter()
        .any(|version| version.subprotocol() == subprotocol)
}

/// A conversation.
#[derive(Debug, Default)]
pub(in super::super) struct Stomp {
    /// A right token was shown with the upgrade.
    pub(super) trusted: bool,
    decoder: Decoder,
    /// Once connected.
    agreed: Option<(Version, Rhythm)>,
    subscriptions: Vec<Subscription>,
    /// Of the last MESSAGE.
    last: u64,
    /// The receipt that is wanted, and the payload, as JSON for the hub.
    receipt: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Debug)]
struct Subscription {
    /// As it came, escapes and all.
    id: Box<str>,
    topic: Box<str>,
    ack: Ack,
}

/// Why a client is not served any more.
struct Nonsense(&'static str);

impl Stomp {
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        _form: Form,
        config: &Config,
        out: &mut Outgoing,
    ) -> Option<Heard<'a>> {
        let version = self.agreed.map(|(version, _)| version);
        let Stomp {
            trusted,
            decoder,
            agreed,
            subscriptions,
            receipt: receipt_room,
            payload: payload_room,
            ..
        } = self;
        let frame = match decoder.next(bytes, version, config.max_message) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                // One that waits holds no room for the largest message that it ever sent.
                payload_room.shrink_to(KEPT);
                return None;
            }
            Err(violation) => {
                error(version, violation.0, None, out);
                return Some(Heard::Leave(Close::after_queue(1002, violation.0)));
            }
        };
        let receipt = frame.raw_value("receipt");
        let heard = match version {
            None => greet(&frame, config, *trusted, out).map(|(terms, shown)| {
                *agreed = Some(terms);
                shown.map_or(Heard::Other, Heard::Shown)
            }),
            Some(version) => match frame.command {
                "SEND" => topic(&frame).map(|topic| {
                    Heard::Ask(Ask::Publish {
                        topic,
                        id: receipt.map(|receipt| quote(receipt, receipt_room)),
                        payload: payload(frame.body, payload_room),
                    })
                }),
                "SUBSCRIBE" => subscribe(&frame, version, subscriptions).map(|topic| {
                    Heard::Ask(Ask::Subscribe {
                        topic,
                        id: receipt.map(|receipt| quote(receipt, receipt_room)),
                        since: None,
                    })
                }),
                "UNSUBSCRIBE" => unsubscribe(&frame, version, subscriptions).map(|topic| {
                    let Some(topic) = topic else {
                        // Another subscription still wants it.
                        give_receipt(version, receipt, out);
                        return Heard::Other;
                    };
                    Heard::Ask(Ask::Unsubscribe {
                        topic: Cow::Owned(topic),
                        id: receipt.map(|receipt| quote(receipt, receipt_room)),
                    })
                }),
                "ACK" | "NACK" => acknowledged(&frame, version).map(|()| {
                    give_receipt(version, receipt, out);
                    Heard::Other
                }),
                "DISCONNECT" => {
                    give_receipt(version, receipt, out);
                    Ok(Heard::Leave(Close::after_queue(1000, "")))
                }
                "BEGIN" | "COMMIT" | "ABORT" => Err(Nonsense("transactions are not spoken here")),
                _ => Err(Nonsense("there is no such frame, or not now")),
            },
        };
        Some(heard.unwrap_or_else(|Nonsense(why)| {
            error(version, why, receipt, out);
            Heard::Leave(Close::after_queue(1002, why))
        }))
    }

    pub(super) fn tell(&mut self, told: Told<'_>, out: &mut Outgoing) -> Option<Close> {
        let (version, _) = self.agreed?;
        match told {
            Told::Message { topic, payload, .. } => {
                for of in self.subscriptions.iter().filter(|of| *of.topic == topic) {
                    self.last += 1;
                    let mut frame = Writer::new("MESSAGE", Some(version), out.buffer());
                    frame
                        .raw_header("subscription", &of.id)
                        .numbered("message-id", "", self.last)
                        .header("destination", &[&topic]);
                    if version == Version::V1_2 && of.ack != Ack::Auto {
                        frame.numbered("ack", "", self.last);
                    }
                    frame.body(&payload.bytes);
                    out.seal(if payload.text {
                        Form::Text
                    } else {
                        Form::Binary
                    });
                }
                None
            }
            Told::Done { id, .. } => {
                give_receipt(version, id.as_deref(), out);
                None
            }
            Told::Error { id, message } => {
                error(Some(version), &message, id.as_deref(), out);
                Some(Close::after_queue(1008, "refused"))
            }
            Told::Other => None,
        }
    }

    pub(super) fn rhythm(&self, config: &Config) -> Rhythm {
        match self.agreed {
            Some((_, rhythm)) => rhythm,
            None => Rhythm {
                send: None,
                hear: Some(config.handshake_timeout),
            },
        }
    }

    pub(super) fn silent(&mut self, out: &mut Outgoing) {
        let version = self.agreed.map(|(version, _)| version);
        error(version, "nothing was heard for too long", None, out);
    }
}

/// A line end.
pub(super) fn beat(out: &mut Outgoing) {
    out.buffer().push(b'\n');
    out.seal(Form::Text);
}

/// The first frame: CONNECTED if it is CONNECT and all is right.
fn greet(
    frame: &Frame<'_>,
    config: &Config,
    trusted: bool,
    out: &mut Outgoing,
) -> Result<((Version, Rhythm), Option<Pass>), Nonsense> {
    if !matches!(frame.command, "CONNECT" | "STOMP") {
        return Err(Nonsense("CONNECT comes first"));
    }
    let names = ["accept-version", "heart-beat", "passcode"];
    let [accepted, beats, passcode] = frame.raw_values(names);
    // 1.0 does not ask.
    let accepted = accepted.unwrap_or(Version::V1_0.name()).split(',');
    let version = accepted
        .filter_map(|name| Version::named(name.trim_ascii()))
        .max();
    let version = version.ok_or(Nonsense("1.0, 1.1 and 1.2 are spoken here"))?;
    let asks = config.asks_for_tokens() && !trusted;
    let shown = passcode.filter(|_| asks).and_then(|p| config.accepts(p));
    if asks && shown.is_none() {
        return Err(Nonsense("the passcode is not one of the tokens"));
    }
    let theirs = match beats {
        None => Heartbeat::NONE,
        Some(beats) => Heartbeat::parse(beats).ok_or(Nonsense("heart-beat is not two numbers"))?,
    };
    let mut answer = Writer::new("CONNECTED", None, out.buffer());
    if version != Version::V1_0 {
        answer
            .header("version", &[version.name()])
            .header("heart-beat", &[&HEARTBEAT.to_string()]);
    }
    let server = concat!("squall/", env!("CARGO_PKG_VERSION"));
    answer.header("server", &[server]).end();
    out.seal(Form::Text);
    Ok(((version, HEARTBEAT.agree(theirs)), shown))
}

/// The destination.
fn topic<'a>(frame: &Frame<'a>) -> Result<Cow<'a, str>, Nonsense> {
    let topic = frame.value("destination").unwrap_or_default();
    if topic.is_empty() || topic.len() > MAX_TOPIC {
        return Err(Nonsense("destination must have from 1 to 256 bytes"));
    }
    Ok(topic)
}

/// A subscription's id as it came. In 1.0 it may be left out, and the destination names it.
fn subscription_id<'a>(frame: &Frame<'a>, version: Version) -> Result<&'a str, Nonsense> {
    let id = match frame.raw_value("id") {
        None if version == Version::V1_0 => frame.raw_value("destination"),
        id => id,
    };
    id.ok_or(Nonsense("id is missing"))
}

fn subscribe<'a>(
    frame: &Frame<'a>,
    version: Version,
    all: &mut Vec<Subscription>,
) -> Result<Cow<'a, str>, Nonsense> {
    let topic = topic(frame)?;
    let id = subscription_id(frame, version)?;
    let ack = match frame.raw_value("ack") {
        None | Some("auto") => Ack::Auto,
        Some("client") => Ack::Client,
        Some("client-individual") => Ack::ClientIndividual,
        Some(_) => return Err(Nonsense("ack must be auto, client or client-individual")),
    };
    if all.iter().any(|of| *of.id == *id) {
        return Err(Nonsense("there is a subscription with this id"));
    }
    if all.len() >= MAX_SUBSCRIPTIONS {
        return Err(Nonsense("a client may have 1024 subscriptions"));
    }
    if all.is_empty() {
        // Most have one.
        all.reserve_exact(1);
    }
    all.push(Subscription {
        id: id.into(),
        topic: topic.as_ref().into(),
        ack,
    });
    Ok(topic)
}

/// The topic, if no subscription to it is left.
fn unsubscribe(
    frame: &Frame<'_>,
    version: Version,
    all: &mut Vec<Subscription>,
) -> Result<Option<String>, Nonsense> {
    let id = subscription_id(frame, version)?;
    let at = all.iter().position(|of| *of.id == *id);
    let at = at.ok_or(Nonsense("there is no subscription with this id"))?;
    let topic = all.remove(at).topic;
    let wanted = all.iter().any(|of| of.topic == topic);
    Ok((!wanted).then(|| topic.into()))
}

fn acknowledged(frame: &Frame<'_>, version: Version) -> Result<(), Nonsense> {
    let name = match version {
        Version::V1_2 => "id",
        _ => "message-id",
    };
    match frame.raw_value(name) {
        Some(_) => Ok(()),
        None => Err(Nonsense("it does not say which message is meant")),
    }
}

/// RECEIPT, if one is wanted; its id is as it came, escapes and all.
fn give_receipt(version: Version, id: Option<&str>, out: &mut Outgoing) {
    let Some(id) = id else {
        return;
    };
    let mut frame = Writer::new("RECEIPT", Some(version), out.buffer());
    frame.raw_header("receipt-id", id).end();
    out.seal(Form::Text);
}

fn error(version: Option<Version>, why: &str, receipt: Option<&str>, out: &mut Outgoing) {
    let mut frame = Writer::new("ERROR", version, out.buffer());
    frame.header("message", &[why]);
    if let Some(receipt) = receipt {
        frame.raw_header("receipt-id", receipt);
    }
    if version.is_none() {
        frame.header("version", &["1.0,1.1,1.2"]);
    }
    frame.end();
    out.seal(Form::Text);
}
