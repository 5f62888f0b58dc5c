//! The gateway's JSON dialect, read without copying and written once.
//!
//! It is the default [`Mapping`](crate::protocol::Mapping) of the protocol module; a test holds the
//! two together. Payloads and ids are passed on verbatim, never interpreted.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::history::{self, Since, Standing};

/// Topics longer than this, in bytes, are refused.
pub(super) const MAX_TOPIC: usize = 256;

/// What a client asks, borrowed from its message. Ids and payloads are JSON text as the client wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    Subscribe {
        topic: Cow<'a, str>,
        id: Option<&'a str>,
        /// Of one that comes back.
        since: Option<Since<'a>>,
    },
    Unsubscribe {
        topic: Cow<'a, str>,
        id: Option<&'a str>,
    },
    Publish {
        topic: Cow<'a, str>,
        id: Option<&'a str>,
        payload: &'a str,
    },
    Echo {
        id: Option<&'a str>,
        payload: &'a str,
    },
    /// Another token, or the first one.
    Auth {
        id: Option<&'a str>,
        token: Cow<'a, str>,
    },
    /// A JSON object that is none of these.
    Bad {
        id: Option<&'a str>,
        code: &'static str,
        message: &'static str,
    },
    /// Not a JSON object at all: a raw message, which is echoed as it is.
    Raw,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    topic: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    since: Option<&'a RawValue>,
    #[serde(borrow, default)]
    epoch: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// How far it heard the topic; an error when that makes no sense. An epoch is compared as it stands, as those told
    /// need no escaping.
    fn since(&self) -> Result<Option<Since<'a>>, ()> {
        let Some(since) = self.since else {
            return Ok(None);
        };
        let sequence = since.get().parse().map_err(|_| ())?;
        let plain = |text: &'a str| text.strip_prefix('"')?.strip_suffix('"');
        let epoch = self.epoch.map(|text| plain(text.get()).ok_or(()));
        Ok(Some(Since {
            sequence,
            epoch: epoch.transpose()?,
        }))
    }
}

// `Option<Cow<str>>` would always be owned: serde borrows only where it sees the `Cow` itself.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a text message.
pub(super) fn read(text: &str) -> Ask<'_> {
    let bad = |id, code, message| Ask::Bad { id, code, message };
    if !text.trim_ascii_start().starts_with('{') {
        return Ask::Raw;
    }
    let fields: Fields<'_> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) if error.is_data() => {
            return bad(
                None,
                "bad_message",
                "type and topic must be strings, each key once",
            );
        }
        Err(_) => return Ask::Raw,
    };
    let id = fields.id.map(RawValue::get);
    let since = fields.since();
    let payload = fields.payload.map_or("null", RawValue::get);
    let kind = fields.kind.map_or(Cow::Borrowed(""), |kind| kind.0);
    if kind == "echo" {
        return Ask::Echo { id, payload };
    }
    if kind == "auth" {
        let token = fields
            .token
            .and_then(|token| serde_json::from_str(token.get()).ok());
        return match token {
            Some(Text(token)) => Ask::Auth { id, token },
            None => bad(id, "bad_token", "token must be a string"),
        };
    }
    if !matches!(&*kind, "subscribe" | "unsubscribe" | "publish") {
        return bad(
            id,
            "unknown_type",
            "type must be subscribe, unsubscribe, publish, echo or auth",
        );
    }
    let topic = match fields.topic {
        Some(Text(topic)) if !topic.is_empty() && topic.len() <= MAX_TOPIC => topic,
        _ => return bad(id, "bad_topic", "topic must have from 1 to 256 bytes"),
    };
    match &*kind {
        "subscribe" => match since {
            Ok(since) => Ask::Subscribe { topic, id, since },
            Err(()) => bad(
                id,
                "bad_since",
                "since must be a whole number and epoch a string",
            ),
        },
        "unsubscribe" => Ask::Unsubscribe { topic, id },
        _ => Ask::Publish { topic, id, payload },
    }
}

/// The part of a delivery that is the same for a whole topic, up to the sequence number.
pub(super) fn delivery_head(topic: &str) -> String {
    format!(r#"{{"type":"message","topic":{},"seq":"#, quoted(topic))
}

/// A delivery, from the head of its topic.
pub(super) fn delivery(head: &str, sequence: u64, payload: &str) -> String {
    let mut out = String::with_capacity(head.len() + payload.len() + 32);
    out.push_str(head);
    let _ = write!(out, r#"{sequence},"payload":"#);
    out.push_str(payload);
    out.push('}');
    out
}

/// The acknowledgement of something done to a topic; `sequence` is the topic's last one, `standing` what a gateway with a
/// history tells subscribers beside it.
pub(super) fn done(
    kind: &str,
    topic: &str,
    id: Option<&str>,
    sequence: u64,
    standing: Option<Standing>,
) -> String {
    let mut out = format!(r#"{{"type":"{kind}","topic":{}"#, quoted(topic));
    push_id(&mut out, id);
    let _ = write!(out, r#","seq":{sequence}"#);
    if let Some(Standing { epoch, recovered }) = standing {
        let _ = write!(out, r#","epoch":"{}""#, history::text(epoch));
        if let Some(recovered) = recovered {
            let _ = write!(out, r#","recovered":{recovered}"#);
        }
    }
    out.push('}');
    out
}

/// The answer to a token that is good.
pub(super) fn authenticated(id: Option<&str>) -> String {
    let mut out = String::from(r#"{"type":"authenticated""#);
    push_id(&mut out, id);
    out.push('}');
    out
}

/// What a client is told whose token is about to expire.
pub(super) const TOKEN_EXPIRES: &str = r#"{"type":"token_expires"}"#;

/// The answer to an echo.
pub(super) fn echo(id: Option<&str>, payload: &str) -> String {
    let mut out = String::with_capacity(payload.len() + 48);
    out.push_str(r#"{"type":"echo""#);
    push_id(&mut out, id);
    out.push_str(r#","payload":"#);
    out.push_str(payload);
    out.push('}');
    out
}

/// An error that leaves the connection open.
pub(super) fn error(id: Option<&str>, code: &str, message: &str) -> String {
    let mut out = format!(r#"{{"type":"error","code":"{code}","message":"{message}""#);
    push_id(&mut out, id);
    out.push('}');
    out
}

/// The error of one topic too many.
pub(super) fn too_many_topics(id: Option<&str>) -> String {
    error(id, "too_many_topics", "this gateway has its 100000 topics")
}

fn push_id(out: &mut String, id: Option<&str>) {
    if let Some(id) = id {
        out.push_str(r#","id":"#);
        out.push_str(id);
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Mapping;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn reads_every_kind() {
        let table = [
            (
                r#"{"type":"subscribe","topic":"a/b","id":7}"#,
                Ask::Subscribe {
                    topic: "a/b".into(),
                    id: Some("7"),
                    since: None,
                },
            ),
            (
                r#"{"type":"subscribe","topic":"a","since":12,"epoch":"e"}"#,
                Ask::Subscribe {
                    topic: "a".into(),
                    id: None,
                    since: Some(Since {
                        sequence: 12,
                        epoch: Some("e"),
                    }),
                },
            ),
            (
                r#"{"type":"subscribe","topic":"a","since":0}"#,
                Ask::Subscribe {
                    topic: "a".into(),
                    id: None,
                    since: Some(Since {
                        sequence: 0,
                        epoch: None,
                    }),
                },
            ),
            (
                r#" {"id":"x","topic":"a","type":"unsubscribe","more":[1]}"#,
                Ask::Unsubscribe {
                    topic: "a".into(),
                    id: Some(r#""x""#),
                },
            ),
            (
                r#"{"type":"publish","topic":"a","payload":{"n": 1.0}}"#,
                Ask::Publish {
                    topic: "a".into(),
                    id: None,
                    payload: r#"{"n": 1.0}"#,
                },
            ),
            (
                r#"{"type":"publish","topic":"a"}"#,
                Ask::Publish {
                    topic: "a".into(),
                    id: None,
                    payload: "null",
                },
            ),
            (
                r#"{"type":"echo","id":1,"payload":"p"}"#,
                Ask::Echo {
                    id: Some("1"),
                    payload: r#""p""#,
                },
            ),
            (
                r#"{"type":"auth","token":"a.b.c","id":1}"#,
                Ask::Auth {
                    id: Some("1"),
                    token: "a.b.c".into(),
                },
            ),
            ("sq1:AAAA", Ask::Raw),
            ("", Ask::Raw),
            ("[1]", Ask::Raw),
            (r#"{"type":"#, Ask::Raw),
            ("{not json}", Ask::Raw),
        ];
        for (text, ask) in table {
            assert_eq!(read(text), ask, "{text}");
        }
    }

    #[test]
    fn says_what_is_bad_and_keeps_the_id() {
        let long = format!(r#"{{"type":"publish","topic":"{}"}}"#, "t".repeat(257));
        let table = [
            ("{}", "unknown_type", None),
            (r#"{"type":"dance","id":3}"#, "unknown_type", Some("3")),
            (r#"{"type":"subscribe","id":4}"#, "bad_topic", Some("4")),
            (r#"{"type":"subscribe","topic":""}"#, "bad_topic", None),
            (long.as_str(), "bad_topic", None),
            (
                r#"{"type":"subscribe","topic":"a","since":-1,"id":5}"#,
                "bad_since",
                Some("5"),
            ),
            (
                r#"{"type":"subscribe","topic":"a","since":1,"epoch":2}"#,
                "bad_since",
                None,
            ),
            (r#"{"type":5}"#, "bad_message", None),
            (r#"{"type":"auth"}"#, "bad_token", None),
            (
                r#"{"type":"auth","token":7,"id":6}"#,
                "bad_token",
                Some("6"),
            ),
            (r#"{"type":"echo","type":"echo"}"#, "bad_message", None),
        ];
        for (text, expected, its) in table {
            match read(text) {
                Ask::Bad { id, code, .. } => assert_eq!((code, id), (expected, its), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn plain_topics_are_borrowed() {
        let Ask::Publish { topic, .. } = read(r#"{"type":"publish","topic":"plain"}"#) else {
            panic!("not a publish");
        };
        assert!(matches!(topic, Cow::Borrowed("plain")));
    }

    #[test]
    fn is_the_default_mapping() {
        let mapping = Mapping::default();
        let fill = |template: &str| {
            template
                .replace("{topic}", "room")
                .replace("{id}", "7")
                .replace("{payload}", "data")
                .replace("{seq}", "41")
                .replace("{epoch}", "e1")
        };
        let subscribe = fill(&mapping.subscribe);
        assert!(matches!(
            read(&subscribe),
            Ask::Subscribe {
                id: Some("7"),
                ref topic,
                since: None,
            } if topic == "room"
        ));
        assert!(matches!(
            read(&fill(&mapping.resubscribe)),
            Ask::Subscribe {
                id: Some("7"),
                since: Some(Since {
                    sequence: 41,
                    epoch: Some("e1")
                }),
                ..
            }
        ));
        assert!(matches!(
            read(&fill(&mapping.publish)),
            Ask::Publish {
                payload: r#""data""#,
                ..
            }
        ));

        let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let subscribed = mapping.subscribed.unwrap();
        let standing = Standing {
            epoch: 0xab,
            recovered: Some(true),
        };
        let ack = json(done("subscribed", "room", Some("7"), 5, Some(standing)));
        assert_eq!(ack.pointer(&mapping.recovered).unwrap(), true);
        assert_eq!(ack.pointer(&mapping.epoch).unwrap(), "00000000000000ab");
        assert_eq!(ack.pointer(&mapping.position).unwrap(), 5);
        assert_eq!(
            ack.pointer(&subscribed.pointer).unwrap(),
            subscribed.equals.as_deref().unwrap()
        );
        let message = json(delivery(&delivery_head("room"), 9, r#""data""#));
        assert_eq!(
            message.pointer(&mapping.r#type).unwrap(),
            mapping.message.as_str()
        );
        assert_eq!(message.pointer(&mapping.topic).unwrap(), "room");
        assert_eq!(message.pointer(&mapping.sequence).unwrap(), 9);
        assert_eq!(message.pointer(&mapping.payload).unwrap(), "data");
        let failed = json(error(None, "bad_topic", "no"));
        assert_eq!(
            failed.pointer(&mapping.r#type).unwrap(),
            mapping.error.as_str()
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}") {
            read(&text);
        }

        #[test]
        fn what_it_writes_is_json_with_the_topic_and_payload_given(
            topic in ".{1,60}", payload in ".{0,100}", id in any::<i64>(), sequence in any::<u64>()
        ) {
            let payload = json!({ "p": payload }).to_string();
            let id = id.to_string();
            let message: Value =
                serde_json::from_str(&delivery(&delivery_head(&topic), sequence, &payload)).unwrap();
            prop_assert_eq!(&message["topic"], &json!(topic));
            prop_assert_eq!(&message["seq"], &json!(sequence));
            prop_assert_eq!(message["payload"].to_string(), payload.clone());
            let echoed = echo(Some(&id), &payload);
            prop_assert_eq!(read(&echoed), Ask::Echo { id: Some(&id), payload: &payload });
            let ack: Value =
                serde_json::from_str(&done("subscribed", &topic, Some(&id), sequence, None)).unwrap();
            prop_assert_eq!(&ack["topic"], &json!(topic));
        }
    }
}
