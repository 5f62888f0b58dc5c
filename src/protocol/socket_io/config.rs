//! What is settled of a Socket.IO conversation before it begins: the protocol's part of the plan.

use crate::protocol::MessageTemplate;
use crate::protocol::config::Condition;
use crate::protocol::pointer::lookup;
use serde::{Deserialize, Serialize};

/// Where Socket.IO servers listen, unless told otherwise.
pub const PATH: &str = "/socket.io/";

/// What every address must ask for: protocol 4 of Engine.IO.
pub const VERSION: &str = "EIO=4";

/// What the address of the upgrade must ask for where nothing is polled before.
pub const QUERY: &str = "EIO=4&transport=websocket";

/// What the address of a poll asks for beside the version.
pub const POLLING: &str = "transport=polling";

/// How Socket.IO is spoken. Events are arrays as they stand in packets: the event's name, then its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The namespace, from its slash on.
    pub namespace: String,
    /// The event that subscribes, with a `{topic}`; empty: subscribing takes none.
    pub subscribe: MessageTemplate,
    /// Whether it asks for an acknowledgement.
    pub subscribe_ack: bool,
    /// The event that publishes, with a `{topic}` and a `{payload}`.
    pub publish: MessageTemplate,
    /// Whether it asks for an acknowledgement.
    pub publish_ack: bool,
    /// Whether a payload is an attachment; else it is a string, or what the template makes of it.
    pub binary: bool,
    /// Name of the event that delivers.
    pub message: String,
    /// Where a delivery has its topic, if it tells.
    pub topic: Option<Place>,
    /// Where it has its payload.
    pub payload: Place,
    /// What makes a refusal of an acknowledgement, whose arguments are an array.
    pub refused: Option<Condition>,
    /// What of it goes by polling.
    pub polling: Polling,
    /// Whether a connection that comes back asks for what was kept for it.
    pub recover: bool,
}

/// What of a conversation goes by polling: GETs that the server holds until it has something to say, and POSTs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Polling {
    /// Nothing: it is a WebSocket from the start.
    #[default]
    Never,
    /// The handshake, whose connection becomes the WebSocket.
    Handshake,
    /// Everything, until a WebSocket beside it has been probed, and for ever where there is none.
    Upgrade,
    /// Everything.
    Only,
}

impl Polling {
    /// Whether a conversation goes on by polling once it is open.
    pub fn goes_on(self) -> bool {
        matches!(self, Polling::Upgrade | Polling::Only)
    }
}

/// A place in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Index into the event: 0 is its name, 1 its first argument.
    pub index: usize,
    /// JSON pointer into what is there; empty: all of it.
    pub pointer: String,
}

impl Place {
    /// That a pointer into the event names; `None` when it names no argument.
    pub fn named(pointer: &str) -> Option<Self> {
        let tokens = pointer.strip_prefix('/')?;
        let end = tokens.find('/').unwrap_or(tokens.len());
        let (index, pointer) = tokens.split_at(end);
        let plain = index == "0" || index.starts_with(|c: char| matches!(c, '1'..='9'));
        let index = index.parse().ok().filter(|index| plain && *index > 0)?;
        Some(Place {
            index,
            pointer: pointer.into(),
        })
    }
}

impl Config {
    /// An event as it is written: where payloads are attachments, a `"{payload}"` is no string.
    pub fn event(text: &str, binary: bool) -> MessageTemplate {
        if binary {
            MessageTemplate::compile(&text.replace("\"{payload}\"", "{payload}"))
        } else {
            MessageTemplate::compile(text)
        }
    }

    /// Whether an acknowledgement with these arguments refuses what was asked. Where only a pointer is given, nothing but
    /// `null` and `false` may be there.
    pub(super) fn refuses(&self, arguments: &[u8]) -> bool {
        self.refused.as_ref().is_some_and(|refused| {
            let nothing = || {
                let found = lookup(arguments, &refused.pointer);
                found.is_some_and(|found| found.is("null") || found.is("false"))
            };
            refused.matches(arguments) && (refused.equals.is_some() || !nothing())
        })
    }
}

/// What the embedded gateway speaks.
impl Default for Config {
    fn default() -> Self {
        Config {
            namespace: "/".into(),
            subscribe: MessageTemplate::compile(r#"["subscribe","{topic}"]"#),
            subscribe_ack: true,
            publish: MessageTemplate::compile(r#"["publish","{topic}","{payload}"]"#),
            publish_ack: true,
            binary: false,
            message: "message".into(),
            topic: Place::named("/1"),
            payload: Place {
                index: 2,
                pointer: String::new(),
            },
            refused: Some(Condition {
                pointer: "/0/error".into(),
                ..Condition::default()
            }),
            polling: Polling::Never,
            recover: true,
        }
    }
}
