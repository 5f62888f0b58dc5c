//! A protocol ready to be spoken: its templates compiled, its pointers in place.

use super::config::{Condition, Mapping, ProtocolConfig};
use super::extension::{Aside, Beat, Extended, lines};
use super::pointer::{Found, Pointers, lookup};
use super::template::{MessageTemplate, Values, decimal, escape_times};
use std::borrow::Cow;

/// Bytes of an error message that are kept.
const ERROR_TEXT: usize = 256;

/// What is spoken over a connection. One for a client group; holds nothing of a connection.
#[derive(Debug, Clone)]
pub struct Codec {
    json: Option<Box<Json>>,
}

#[derive(Debug, Clone)]
struct Json {
    subscribe: MessageTemplate,
    resubscribe: MessageTemplate,
    publish: MessageTemplate,
    mapping: Mapping,
    /// To the type, the topic and the sequence number.
    pointers: Pointers<3>,
    acknowledged: Acknowledged,
    extended: Option<Box<Extended>>,
}

/// How an acknowledgement is told.
#[derive(Debug, Clone)]
enum Acknowledged {
    Never,
    /// By the type alone, which is looked up anyway.
    Type(String),
    When(Condition),
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A subscription is acknowledged.
    Subscribed,
    /// A delivery.
    Message {
        /// Its topic, when the protocol tells.
        topic: Option<Cow<'a, str>>,
        /// The service's own number of it in its topic, when the protocol tells.
        sequence: Option<u64>,
    },
    /// The service refuses what it was asked for.
    Refused {
        /// The start of the message, as for an error.
        text: &'a [u8],
    },
    /// The service complains.
    Error {
        /// The start of the message as it came: untrusted, at most 256 bytes, cut anywhere.
        text: &'a [u8],
    },
    /// Anything else: replies, greetings, service chatter.
    Other,
}

/// What the acknowledgement of a subscription tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// Which topic's it is.
    pub topic: Option<Cow<'a, str>>,
    /// Or the `{id}` of the message that it answers.
    pub id: Option<u64>,
    /// The topic's last number so far.
    pub position: Option<u64>,
    /// The name of the topic's numbering.
    pub epoch: Option<Cow<'a, str>>,
    /// Whether all that was missed follows; false too when it does not say.
    pub recovered: bool,
}

/// A publish message around its payload, to be kept per connection and topic.
///
/// A message is `prefix`, the payload, `suffix`. A [`Stamp`](super::Stamp) needs no escaping wherever it goes, so once the
/// rest of the payload is in place only the stamp is written anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Before the payload.
    pub prefix: Vec<u8>,
    /// Behind the payload.
    pub suffix: Vec<u8>,
    /// How many JSON strings, one in the other, the payload stands in: it is to be escaped that often.
    pub quoted: u8,
    /// Where, in what is before the payload, the number of its bytes goes.
    pub length_at: Option<usize>,
}

impl Envelope {
    /// Appends the payload, escaped if this envelope needs it.
    pub fn put_payload(&self, payload: &str, out: &mut Vec<u8>) {
        escape_times(payload, self.quoted, out);
    }

    /// Appends what comes before a payload that takes so many bytes.
    pub fn begin(&self, length: usize, out: &mut Vec<u8>) {
        let (before, behind) = self.prefix.split_at(self.length_at.unwrap_or_default());
        out.extend_from_slice(before);
        if self.length_at.is_some() {
            decimal(length as u64, out);
        }
        out.extend_from_slice(behind);
    }

    /// Appends the whole message.
    pub fn render(&self, payload: &str, out: &mut Vec<u8>) {
        let mut escaped = Vec::new();
        self.put_payload(payload, &mut escaped);
        self.begin(escaped.len(), out);
        out.extend_from_slice(&escaped);
        out.extend_from_slice(&self.suffix);
    }
}

impl Codec {
    /// Compiles a protocol's settings.
    pub fn new(config: &ProtocolConfig) -> Self {
        let json = match config {
            // Those with a session say it all themselves.
            ProtocolConfig::Raw
            | ProtocolConfig::Stomp(_)
            | ProtocolConfig::Mqtt(_)
            | ProtocolConfig::SocketIo(_) => None,
            ProtocolConfig::Json(mapping) => Some(Box::new(Json {
                subscribe: MessageTemplate::compile(&mapping.subscribe),
                resubscribe: MessageTemplate::compile(&mapping.resubscribe),
                publish: MessageTemplate::compile(&mapping.publish),
                acknowledged: Acknowledged::of(mapping),
                pointers: Pointers::new([&mapping.r#type, &mapping.topic, &mapping.sequence]),
                extended: Extended::new(&mapping.extension),
                mapping: (**mapping).clone(),
            })),
        };
        Codec { json }
    }

    /// Whether messages are JSON.
    pub fn is_json(&self) -> bool {
        self.json.is_some()
    }

    fn extended(&self) -> Option<&Extended> {
        self.json.as_ref()?.extended.as_deref()
    }

    /// Whether there are asides, lines or answers by id at all: without them nothing of that need be asked.
    pub fn is_extended(&self) -> bool {
        self.extended().is_some()
    }

    /// Whether a message is a delivery, by what tells one and nothing else.
    pub fn is_delivery(&self, message: &[u8]) -> bool {
        self.json.as_ref().is_none_or(|json| {
            json.is_delivery(message, |name| {
                lookup(message, &json.mapping.r#type).is_some_and(|kind| kind.is(name))
            })
        })
    }

    /// What a message is, if it is an aside.
    pub fn aside(&self, message: &[u8]) -> Option<Aside<'_>> {
        self.extended()?.aside(message)
    }

    /// Whether one message may hold several JSON texts, one a line.
    pub fn has_lines(&self) -> bool {
        self.extended().is_some_and(|e| e.config.lines)
    }

    /// Those of a message.
    pub fn lines<'a>(&self, message: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        lines(message)
    }

    /// Appends a heartbeat; `false`, and nothing, where the protocol sends none of its own.
    pub fn beat(&self, id: u64, out: &mut Vec<u8>) -> bool {
        self.extended().is_some_and(|e| e.beat(id, out))
    }

    /// Whether the service is the one that pings.
    pub fn service_beats(&self) -> bool {
        self.extended()
            .is_some_and(|e| e.config.heartbeat == Some(Beat::Service))
    }

    /// A delivery's subscription (its `{id}`) and the service's own number of it, where the protocol tells those.
    pub fn numbered_by_id(&self, message: &[u8]) -> Option<(u64, u64)> {
        let json = self.json.as_ref()?;
        let extended = json.extended.as_deref()?;
        let sequence = &json.mapping.sequence;
        if sequence.is_empty() || !json.mapping.topic.is_empty() {
            return None;
        }
        Some((
            extended.subscription(message)?,
            lookup(message, sequence)?.number()?,
        ))
    }

    /// The deliveries inside an acknowledgement, with the service's numbers of them.
    pub fn backlog<'a>(
        &'a self,
        message: &'a [u8],
    ) -> impl Iterator<Item = (Found<'a>, Option<u64>)> {
        let extended = self.extended().into_iter();
        extended.flat_map(move |extended| extended.backlog(message))
    }

    /// Whether a message is of the service's error type: one look-up, for messages whose stamp says the rest.
    pub fn is_error(&self, message: &[u8]) -> bool {
        self.json.as_ref().is_some_and(|json| {
            let mapping = &json.mapping;
            !mapping.error.is_empty()
                && !mapping.r#type.is_empty()
                && lookup(message, &mapping.r#type).is_some_and(|kind| kind.is(&mapping.error))
        })
    }

    /// A delivery's topic and the service's own number of it, where the protocol tells both.
    pub fn numbered<'a>(&self, message: &'a [u8]) -> Option<(Cow<'a, str>, u64)> {
        let json = self.json.as_ref()?;
        let mapping = &json.mapping;
        if mapping.sequence.is_empty() || mapping.topic.is_empty() {
            return None;
        }
        let [kind, topic, sequence] = json.pointers.lookup(message);
        let delivery =
            mapping.message.is_empty() || kind.is_some_and(|kind| kind.is(&mapping.message));
        delivery.then_some(())?;
        Some((topic?.text(), sequence?.number()?))
    }

    /// Appends the message that subscribes to a topic; `false`, and nothing, where the protocol has none.
    pub fn subscribe(&self, topic: &str, id: u64, out: &mut Vec<u8>) -> bool {
        match &self.json {
            Some(json) if !json.mapping.subscribe.is_empty() => {
                json.subscribe.render(
                    Values {
                        topic,
                        id,
                        ..Values::default()
                    },
                    out,
                );
                true
            }
            _ => false,
        }
    }

    /// Appends the message that subscribes to a topic again, which was heard as far as `seq` of a numbering; `false`,
    /// and nothing, where the protocol has none.
    pub fn resubscribe(
        &self,
        topic: &str,
        id: u64,
        seq: u64,
        epoch: &str,
        out: &mut Vec<u8>,
    ) -> bool {
        match &self.json {
            Some(json) if !json.mapping.resubscribe.is_empty() => {
                let values = Values {
                    topic,
                    id,
                    seq,
                    epoch,
                    ..Values::default()
                };
                json.resubscribe.render(values, out);
                true
            }
            _ => false,
        }
    }

    /// What the acknowledgement of a subscription says of the topic's numbering. For a message that is one.
    pub fn acknowledgement<'a>(&self, message: &'a [u8]) -> Acknowledgement<'a> {
        let Some(json) = &self.json else {
            return Acknowledgement::default();
        };
        let mapping = &json.mapping;
        let at = |path: &str| (!path.is_empty()).then(|| lookup(message, path))?;
        let extended = json.extended.as_deref();
        let position = at(&mapping.position).and_then(|found| found.number());
        // Services with messages made from protobuf leave out what is 0.
        let zero = extended
            .is_some_and(|e| e.config.backlog.is_some())
            .then_some(0);
        Acknowledgement {
            topic: at(&mapping.topic).map(|found| found.text()),
            id: extended.and_then(|extended| extended.subscription(message)),
            position: position.or(zero),
            // Empty where there are none, as for `{epoch}`.
            epoch: match mapping.epoch.as_str() {
                "" => Some(Cow::Borrowed("")),
                path => at(path).map(|found| found.text()),
            },
            recovered: at(&mapping.recovered).is_some_and(|found| found.is("true")),
        }
    }

    /// Whether a subscription is acknowledged, so that readiness can wait for it.
    pub fn acknowledges(&self) -> bool {
        self.json
            .as_ref()
            .is_some_and(|json| !matches!(json.acknowledged, Acknowledged::Never))
    }

    /// Whether a publish message holds an `{id}`, so that its envelope cannot be kept when ids must differ.
    pub fn publish_has_id(&self) -> bool {
        self.json.as_ref().is_some_and(|json| json.publish.has_id())
    }

    /// The publish message for a topic, open where the payload goes.
    pub fn publish(&self, topic: &str, id: u64) -> Envelope {
        let mut envelope = Envelope::default();
        self.publish_again(topic, id, &mut envelope);
        envelope
    }

    /// The same in an envelope that was used before: nothing is allocated once it is long enough.
    pub fn publish_again(&self, topic: &str, id: u64, envelope: &mut Envelope) {
        let Envelope {
            prefix,
            suffix,
            quoted,
            length_at,
        } = envelope;
        prefix.clear();
        suffix.clear();
        let values = Values {
            topic,
            id,
            ..Values::default()
        };
        let publish = self.json.as_ref().map(|json| &json.publish);
        *length_at = publish.and_then(|publish| publish.length_at(values));
        *quoted = match &self.json {
            None => 0,
            Some(json) => json.publish.split(values, prefix, suffix),
        };
    }

    /// What an incoming message is. Never fails: what cannot be read is [`Incoming::Other`], or with
    /// raw or an empty `message` type a delivery that says nothing of itself.
    pub fn classify<'a>(&self, message: &'a [u8]) -> Incoming<'a> {
        match &self.json {
            None => Incoming::Message {
                topic: None,
                sequence: None,
            },
            Some(json) => json.classify(message),
        }
    }
}

impl Acknowledged {
    fn of(mapping: &Mapping) -> Self {
        match &mapping.subscribed {
            None => Acknowledged::Never,
            Some(Condition {
                contains,
                pointer,
                equals: Some(equals),
            }) if contains.is_empty() && !pointer.is_empty() && *pointer == mapping.r#type => {
                Acknowledged::Type(equals.clone())
            }
            Some(condition) => Acknowledged::When(condition.clone()),
        }
    }
}

impl Json {
    fn classify<'a>(&self, message: &'a [u8]) -> Incoming<'a> {
        let mapping = &self.mapping;
        let [kind, topic, sequence] = self.pointers.lookup(message);
        let is = |name: &str| kind.is_some_and(|kind| kind.is(name));
        let subscribed = match &self.acknowledged {
            Acknowledged::Never => false,
            Acknowledged::Type(name) => is(name),
            Acknowledged::When(condition) => condition.matches(message),
        };
        let text = &message[..message.len().min(ERROR_TEXT)];
        let extended = self.extended.as_deref();
        if subscribed {
            Incoming::Subscribed
        } else if extended.is_some_and(|extended| extended.refuses(message)) {
            Incoming::Refused { text }
        } else if !mapping.error.is_empty() && is(&mapping.error) {
            Incoming::Error { text }
        } else if self.is_delivery(message, is) {
            Incoming::Message {
                topic: topic.map(|found| found.text()),
                sequence: sequence.and_then(|found| found.number()),
            }
        } else {
            Incoming::Other
        }
    }

    fn is_delivery(&self, message: &[u8], is: impl Fn(&str) -> bool) -> bool {
        let by_type = || self.mapping.message.is_empty() || is(&self.mapping.message);
        let Some(extended) = self.extended.as_deref() else {
            return by_type();
        };
        let config = &extended.config;
        let told = match &config.delivery {
            Some(delivery) => delivery.matches(message),
            None => by_type(),
        };
        // Without a topic it is the subscription that makes it one: answers look the same.
        let named = !self.mapping.topic.is_empty() || config.subscription.is_empty();
        told && (named || extended.subscription(message).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Stamp, fill};
    use proptest::prelude::*;

    fn json(change: impl FnOnce(&mut Mapping)) -> Codec {
        let mut mapping = Mapping::default();
        change(&mut mapping);
        Codec::new(&ProtocolConfig::Json(Box::new(mapping)))
    }

    #[test]
    fn raw_is_the_payload() {
        let codec = Codec::new(&ProtocolConfig::Raw);
        let mut out = Vec::new();
        assert!(!codec.subscribe("t", 1, &mut out));
        codec.publish("t", 1).render("a\"b", &mut out);
        assert_eq!(out, b"a\"b");
        assert_eq!(
            codec.classify(b"{\"type\":\"error\"}"),
            Incoming::Message {
                topic: None,
                sequence: None
            }
        );
        assert!(!codec.acknowledges());
    }

    #[test]
    fn only_deliveries_are_numbered() {
        let message = br#"{"type":"message","topic":"t","seq":12,"payload":"p"}"#;
        let numbered = Some(("t".into(), 12));
        assert_eq!(json(|_| ()).numbered(message), numbered);
        assert_eq!(json(|m| m.message.clear()).numbered(message), numbered);
        assert_eq!(json(|m| m.sequence.clear()).numbered(message), None);
        assert_eq!(json(|m| m.topic.clear()).numbered(message), None);
        assert_eq!(Codec::new(&ProtocolConfig::Raw).numbered(message), None);
        for other in [
            &br#"{"type":"subscribed","topic":"t","seq":12}"#[..],
            br#"{"type":"message","topic":"t"}"#,
            br#"{"type":"message","seq":12}"#,
        ] {
            assert_eq!(json(|_| ()).numbered(other), None);
        }
    }

    #[test]
    fn the_default_dialect() {
        let codec = json(|_| ());
        let mut out = Vec::new();
        assert!(codec.subscribe("a/\"b\"", 7, &mut out));
        assert_eq!(out, br#"{"type":"subscribe","topic":"a/\"b\"","id":7}"#);
        out.clear();
        codec.publish("t", 1).render("x\"", &mut out);
        assert_eq!(out, br#"{"type":"publish","topic":"t","payload":"x\""}"#);
        assert!(codec.acknowledges());
        let error = br#"{"type":"error","code":"nope"}"#;
        let table: [(&[u8], Incoming); 7] = [
            (
                br#"{"type":"subscribed","topic":"t","id":7}"#,
                Incoming::Subscribed,
            ),
            (
                br#"{"type":"message","topic":"t","seq":12,"payload":"p"}"#,
                Incoming::Message {
                    topic: Some("t".into()),
                    sequence: Some(12),
                },
            ),
            (
                br#"{"type":"message"}"#,
                Incoming::Message {
                    topic: None,
                    sequence: None,
                },
            ),
            (error, Incoming::Error { text: error }),
            (br#"{"type":"welcome"}"#, Incoming::Other),
            (b"hello", Incoming::Other),
            (b"", Incoming::Other),
        ];
        for (message, expected) in table {
            assert_eq!(
                codec.classify(message),
                expected,
                "{}",
                String::from_utf8_lossy(message)
            );
        }
    }

    #[test]
    fn mappings_of_other_services() {
        let phoenix = json(|m| {
            m.r#type = "/3".into();
            m.message = "new_msg".into();
            m.topic = "/2".into();
            m.sequence = "/4/n".into();
            m.subscribed = Some(Condition {
                contains: "phx_reply".into(),
                pointer: "/4/status".into(),
                equals: Some("ok".into()),
            });
        });
        assert_eq!(
            phoenix.classify(br#"["1","1","room:a","phx_reply",{"status":"ok"}]"#),
            Incoming::Subscribed
        );
        assert_eq!(
            phoenix.classify(br#"[null,null,"room:a","new_msg",{"n":3}]"#),
            Incoming::Message {
                topic: Some("room:a".into()),
                sequence: Some(3)
            }
        );

        let untyped = json(|m| {
            m.message = String::new();
            m.error = String::new();
            m.r#type = String::new();
            m.subscribed = None;
        });
        assert_eq!(
            untyped.classify(br#"{"type":"error","topic":"a\u0062"}"#),
            Incoming::Message {
                topic: Some("ab".into()),
                sequence: None
            }
        );
        assert_eq!(
            untyped.classify(b"\xff\xfe"),
            Incoming::Message {
                topic: None,
                sequence: None
            }
        );
    }

    #[test]
    fn an_unquoted_payload_stays_json() {
        let codec = json(|m| m.publish = r#"{"data":{payload},"to":"{topic}"}"#.into());
        let mut out = Vec::new();
        codec.publish("t", 1).render(r#"{"a":1}"#, &mut out);
        assert_eq!(out, br#"{"data":{"a":1},"to":"t"}"#);
    }

    #[test]
    fn errors_are_kept_short() {
        let codec = json(|_| ());
        let long = format!(r#"{{"type":"error","text":"{}"}}"#, "x".repeat(100_000));
        let Incoming::Error { text } = codec.classify(long.as_bytes()) else {
            panic!()
        };
        assert_eq!(text.len(), ERROR_TEXT);
    }

    proptest! {
        #[test]
        fn a_stamp_written_into_an_encoded_message_is_found(topic: String, size in 0..300usize, seq in 0..1u64 << 48) {
            let codec = json(|_| ());
            let envelope = codec.publish(&topic, 1);
            let mut payload = Vec::new();
            fill(size, &mut payload);
            let mut message = Vec::new();
            envelope.render(std::str::from_utf8(&payload).unwrap(), &mut message);
            let stamp = Stamp { run: 1, stream: 2, seq, intended_ns: 3, sent_ns: 4 };
            prop_assert!(stamp.encode(&mut message[envelope.prefix.len()..]));
            prop_assert_eq!(Stamp::find(&message), Some(stamp));
            let value: serde_json::Value = serde_json::from_slice(&message).unwrap();
            prop_assert_eq!(&value["topic"], topic.as_str());
        }

        #[test]
        fn anything_can_come_in(message: Vec<u8>) {
            json(|_| ()).classify(&message);
            json(|m| m.message = String::new()).classify(&message);
        }
    }
}
