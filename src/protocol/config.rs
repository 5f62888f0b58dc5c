//! What is spoken over a connection: the protocol's part of the plan.

use super::extension::Extension;
use super::{mqtt, socket_io, stomp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A protocol with its settings. Those of protocols with a session are shared by all their sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ProtocolConfig {
    /// Payloads as they are.
    Raw,
    /// JSON messages in a mapping.
    Json(Box<Mapping>),
    /// STOMP.
    Stomp(Arc<stomp::Config>),
    /// MQTT.
    Mqtt(Arc<mqtt::Config>),
    /// Socket.IO over Engine.IO.
    SocketIo(Arc<socket_io::Config>),
}

impl ProtocolConfig {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            ProtocolConfig::Raw => "raw",
            ProtocolConfig::Json(_) => "JSON",
            ProtocolConfig::Stomp(_) => "STOMP",
            ProtocolConfig::Mqtt(_) => "MQTT",
            ProtocolConfig::SocketIo(_) => "Socket.IO",
        }
    }

    /// Whether connections have a session: see [`Session`](super::Session).
    pub fn has_session(&self) -> bool {
        match self {
            ProtocolConfig::Raw | ProtocolConfig::Json(_) => false,
            ProtocolConfig::Stomp(_) | ProtocolConfig::Mqtt(_) | ProtocolConfig::SocketIo(_) => {
                true
            }
        }
    }

    /// Whether the protocol itself has a way to take up again what a connection had.
    pub fn resumes(&self) -> bool {
        match self {
            ProtocolConfig::Raw | ProtocolConfig::Json(_) | ProtocolConfig::Stomp(_) => false,
            ProtocolConfig::Mqtt(config) => config.resumes(),
            ProtocolConfig::SocketIo(config) => config.recover,
        }
    }

    /// Whether a topic that is subscribed to stands for others, which only the target can tell.
    pub fn is_pattern(&self, topic: &str) -> bool {
        match self {
            ProtocolConfig::Raw
            | ProtocolConfig::Json(_)
            | ProtocolConfig::Stomp(_)
            | ProtocolConfig::SocketIo(_) => topic.contains(['*', '#', '>']),
            ProtocolConfig::Mqtt(_) => topic.contains(['+', '#']),
        }
    }

    /// What the query of a handshake by polling asks for, if the protocol begins with one.
    pub fn polls_first(&self) -> Option<&'static str> {
        match self {
            ProtocolConfig::SocketIo(config) if config.polling != socket_io::Polling::Never => {
                Some(socket_io::POLLING)
            }
            _ => None,
        }
    }

    /// What a reason code is called, in a protocol that has them.
    pub fn reason(&self, code: u16) -> Option<&'static str> {
        match self {
            ProtocolConfig::Mqtt(config) => {
                let code = u8::try_from(code).ok().filter(|code| *code > 0)?;
                Some(mqtt::reason::of(config.version, code))
            }
            ProtocolConfig::Raw
            | ProtocolConfig::Json(_)
            | ProtocolConfig::Stomp(_)
            | ProtocolConfig::SocketIo(_) => None,
        }
    }

    /// What of the protocol goes by polling.
    pub fn polling(&self) -> socket_io::Polling {
        match self {
            ProtocolConfig::SocketIo(config) => config.polling,
            _ => socket_io::Polling::Never,
        }
    }

    /// Whether a topic that is subscribed to is shared: each message goes to one of those who do.
    pub fn is_shared(&self, topic: &str) -> bool {
        matches!(self, ProtocolConfig::Mqtt(_)) && topic.starts_with("$share/")
    }

    /// WebSocket subprotocols that it is spoken under, most wanted first; empty: any.
    pub fn subprotocols(&self) -> Vec<String> {
        match self {
            ProtocolConfig::Raw | ProtocolConfig::SocketIo(_) => Vec::new(),
            ProtocolConfig::Json(mapping) => mapping.extension.subprotocols.clone(),
            ProtocolConfig::Stomp(config) => config.subprotocols(),
            ProtocolConfig::Mqtt(config) => config.subprotocols(),
        }
    }
}

/// How messages of a JSON service are written and read. `Default` is the embedded gateway's dialect.
///
/// Message templates hold `{topic}`, `{id}` and `{payload}`, that of a resubscribe message `{seq}` and `{epoch}`; values
/// are JSON-escaped where they are put in. Pointers are RFC 6901; an empty pointer text means "not used".
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
    /// Subscribe message of a connection that comes back and says how far it heard a topic; empty: there is none.
    pub resubscribe: String,
    /// Pointer, in an acknowledgement, to whether all that was missed of the topic follows (`true`).
    pub recovered: String,
    /// Pointer, in an acknowledgement, to the name of the topic's numbering: another one means that numbers of before
    /// say nothing any more.
    pub epoch: String,
    /// Pointer, in an acknowledgement, to the topic's last number so far.
    pub position: String,
    /// More, of services that need it.
    pub extension: Extension,
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
            resubscribe: r#"{"type":"subscribe","topic":"{topic}","id":{id},"since":{seq},"epoch":"{epoch}"}"#.into(),
            recovered: "/recovered".into(),
            epoch: "/epoch".into(),
            position: "/seq".into(),
            extension: Extension::default(),
        }
    }
}
