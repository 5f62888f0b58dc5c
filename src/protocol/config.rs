//! What is spoken over a connection: the protocol's part of the plan.

use serde::{Deserialize, Serialize};

/// A protocol with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ProtocolConfig {
    /// Payloads as they are.
    Raw,
    /// JSON messages in a mapping.
    Json(Box<Mapping>),
}

/// How messages of a JSON service are written and read. `Default` is the embedded gateway's dialect.
///
/// Message templates hold `{topic}`, `{id}` and `{payload}`; values are JSON-escaped where they are
/// put in. Pointers are RFC 6901; an empty pointer text means "not used".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mapping {
    /// Subscribe message.
    pub subscribe: String,
    /// Acknowledgement of a subscribe message: pointer and value there; `None`: the service sends none.
    pub subscribed: Option<Condition>,
    /// Publish message.
    pub publish: String,
    /// Pointer to the type.
    pub r#type: String,
    /// Type of a delivery; empty: every message that is nothing else.
    pub message: String,
    /// Type of an error; empty: none.
    pub error: String,
    /// Pointer to a delivery's topic.
    pub topic: String,
    /// Pointer to the service's own sequence number, per topic.
    pub sequence: String,
    /// Pointer to a delivery's payload.
    pub payload: String,
}

/// A test of a JSON message; all given parts must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Text that must occur; empty: any.
    pub contains: String,
    /// Pointer that must exist; empty: not tested.
    pub pointer: String,
    /// Value there, as text (`true`, `12`, `subscribed`); `None`: any.
    pub equals: Option<String>,
}

impl Default for Mapping {
    fn default() -> Self {
        Mapping {
            subscribe: r#"{"type":"subscribe","topic":"{topic}","id":{id}}"#.into(),
            subscribed: Some(Condition {
                contains: String::new(),
                pointer: "/type".into(),
                equals: Some("subscribed".into()),
            }),
            publish: r#"{"type":"publish","topic":"{topic}","payload":"{payload}"}"#.into(),
            r#type: "/type".into(),
            message: "message".into(),
            error: "error".into(),
            topic: "/topic".into(),
            sequence: "/seq".into(),
            payload: "/payload".into(),
        }
    }
}
