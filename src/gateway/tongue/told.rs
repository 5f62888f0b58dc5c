//! What the hub has for a client, read out of its JSON for those who speak something else.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::escape;

/// What a client is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Told<'a> {
    /// A delivery.
    Message {
        topic: Cow<'a, str>,
        /// Its number in the topic.
        sequence: u64,
        payload: Payload<'a>,
    },
    /// Something is done.
    Done {
        kind: Done,
        topic: Cow<'a, str>,
        /// As it was given: a string's content, anything else as JSON.
        id: Option<Cow<'a, str>>,
        /// The topic's last number.
        sequence: u64,
    },
    /// Something is not.
    Error {
        id: Option<Cow<'a, str>>,
        message: Cow<'a, str>,
    },
    /// An echo, or nothing that the hub says.
    Other,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Done {
    Subscribed,
    Unsubscribed,
    Published,
}

/// The bytes that were published.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Payload<'a> {
    pub bytes: Cow<'a, [u8]>,
    /// They are UTF-8.
    pub text: bool,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: &'a str,
    #[serde(borrow, default)]
    topic: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    seq: u64,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Binary<'a> {
    #[serde(borrow)]
    base64: &'a str,
}

/// Reads a message of the hub's.
pub(super) fn read(json: &[u8]) -> Told<'_> {
    let Ok(fields) = serde_json::from_slice::<Fields<'_>>(json) else {
        return Told::Other;
    };
    let (topic, id) = (text(fields.topic), fields.id.map(|id| text(Some(id))));
    let done = |kind| Told::Done {
        kind,
        topic: text(fields.topic),
        id: fields.id.map(|id| text(Some(id))),
        sequence: fields.seq,
    };
    match fields.kind {
        "message" => Told::Message {
            topic,
            sequence: fields.seq,
            payload: bytes(fields.payload),
        },
        "subscribed" => done(Done::Subscribed),
        "unsubscribed" => done(Done::Unsubscribed),
        "published" => done(Done::Published),
        "error" => Told::Error {
            id,
            message: text(fields.message),
        },
        _ => Told::Other,
    }
}

/// A string's content; anything else as it stands.
fn text(value: Option<&RawValue>) -> Cow<'_, str> {
    let Some(json) = value.map(RawValue::get) else {
        return Cow::Borrowed("");
    };
    match json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        None => Cow::Borrowed(json),
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        Some(_) => Cow::Owned(serde_json::from_str(json).unwrap_or_default()),
    }
}

fn bytes(value: Option<&RawValue>) -> Payload<'_> {
    let json = value.map_or("", RawValue::get);
    if json.starts_with('{')
        && let Ok(Binary { base64 }) = serde_json::from_str(json)
        && let Ok(bytes) = BASE64_STANDARD.decode(base64)
    {
        return Payload {
            bytes: Cow::Owned(bytes),
            text: false,
        };
    }
    Payload {
        bytes: match text(value) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        text: true,
    }
}

/// A payload as JSON text, written into `room`, whose content is lost.
pub(in super::super) fn payload<'r>(bytes: &[u8], room: &'r mut Vec<u8>) -> &'r str {
    match std::str::from_utf8(bytes) {
        Ok(text) => quote(text, room),
        Err(_) => {
            room.clear();
            room.extend_from_slice(br#"{"base64":""#);
            room.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            room.extend_from_slice(br#""}"#);
            std::str::from_utf8(room).unwrap_or_default()
        }
    }
}

/// A string as JSON text, written into `room`, whose content is lost.
pub(super) fn quote<'r>(text: &str, room: &'r mut Vec<u8>) -> &'r str {
    room.clear();
    room.push(b'"');
    escape(text, room);
    room.push(b'"');
    std::str::from_utf8(room).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::super::dialect;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_that_the_hub_says_is_read() {
        let head = dialect::delivery_head("a \"b\"");
        let json = dialect::delivery(&head, 7, r#"{"n": 1}"#);
        let payload = Payload {
            bytes: Cow::Borrowed(br#"{"n": 1}"#),
            text: true,
        };
        let topic = "a \"b\"".into();
        let sequence = 7;
        assert_eq!(
            read(json.as_bytes()),
            Told::Message {
                topic,
                sequence,
                payload
            }
        );
        for (kind, name) in [
            (Done::Subscribed, "subscribed"),
            (Done::Unsubscribed, "unsubscribed"),
            (Done::Published, "published"),
        ] {
            for (id, expected) in [
                (None, None),
                (Some(r#""r\\1""#), Some("r\\1")),
                (Some("12"), Some("12")),
            ] {
                let json = dialect::done(name, "t", id, 3, None);
                let expected = Told::Done {
                    kind,
                    topic: "t".into(),
                    id: expected.map(Cow::Borrowed),
                    sequence: 3,
                };
                assert_eq!(read(json.as_bytes()), expected);
            }
        }
        let json = dialect::too_many_topics(Some("\"x\""));
        assert_eq!(
            read(json.as_bytes()),
            Told::Error {
                id: Some("x".into()),
                message: "this gateway has its 100000 topics".into()
            }
        );
        for other in [&dialect::echo(None, "1"), "[]", "", "sq1"] {
            assert_eq!(read(other.as_bytes()), Told::Other, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_payload_comes_out_as_it_went_in(bytes: Vec<u8>, string: String) {
            for bytes in [bytes, string.into_bytes()] {
                let mut room = Vec::new();
                let json = dialect::delivery(&dialect::delivery_head("t"), 1, payload(&bytes, &mut room));
                let text = std::str::from_utf8(&bytes).is_ok();
                let expected = Told::Message {
                    topic: "t".into(),
                    sequence: 1,
                    payload: Payload { bytes: Cow::Owned(bytes), text },
                };
                prop_assert_eq!(read(json.as_bytes()), expected);
            }
        }
    }
}
