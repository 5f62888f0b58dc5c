//! How bytes get to the target, as it is written: a name, or one with its settings.

use super::OneOrMany;
use crate::scenario::units::Duration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How bytes get to the target: a transport's name, or its name with settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Transport {
    /// As it is where nothing is said.
    Named(TransportName),
    /// With settings.
    Set(TransportSettings),
}

impl Default for Transport {
    fn default() -> Self {
        Transport::Named(TransportName::Websocket)
    }
}

/// A transport as it is where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransportName {
    /// WebSocket, at the target's address.
    Websocket,
    /// Server-sent events to subscribers, HTTP POST from publishers, where the embedded gateway has them.
    Sse,
    /// Long polling by subscribers, HTTP POST from publishers, where the embedded gateway has them.
    LongPoll,
}

/// A transport with its settings.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TransportSettings {
    /// Server-sent events to subscribers, HTTP POST from publishers.
    Sse(Box<Sse>),
    /// Long polling by subscribers, HTTP POST from publishers.
    LongPoll(Box<LongPoll>),
}

/// One list of alternatives, so that a mistake is told of the one that was meant.
impl JsonSchema for Transport {
    fn schema_name() -> Cow<'static, str> {
        "Transport".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        super::name_or_settings(
            TransportName::json_schema(generator),
            &TransportSettings::json_schema(generator),
            "How bytes get to the target: a transport's name, or its name with settings.",
        )
    }
}

/// Server-sent events. Keys left out have their default, which is the embedded gateway's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sse {
    /// Path and query of the stream, at the target's host; `{topic}` is what the group subscribes to, with commas between.
    /// Templated. Default "/events?topic={topic}".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Path and query that a publish is posted to; `{topic}` is its topic. Templated. Default "/publish?topic={topic}".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Content-Type of what is posted. Default "text/plain".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Whether a client that is answered with another status than 200 or another type tries again, by the group's `reconnect`.
    /// Default false, as browsers do it: it never comes back. (One that is answered 204 never does.)
    #[serde(default)]
    pub keep_trying: bool,
}

/// Long polling: a GET that the target answers when there is something to tell. Keys left out have their default, which is the
/// embedded gateway's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPoll {
    /// Path and query of a poll, at the target's host; `{topic}` is what the group subscribes to, with commas between. Templated.
    /// Default "/poll?topic={topic}".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Path and query that a publish is posted to; `{topic}` is its topic. Templated. Default "/publish?topic={topic}".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Content-Type of what is posted. Default "text/plain".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What of an answer the next poll says again: how far it has heard. Default: the header X-Cursor, in the query as `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<OneOrMany<Cursor>>,
    /// What a message is. Default lines.
    #[serde(default)]
    pub messages: Messages,
    /// How long a poll may stay without an answer, be it one of nothing; then the target counts as dead. Default 90s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// A part of how far a poll has heard. Either `header` or `query` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Header of the answer that tells it.
    pub from: String,
    /// Header that the next poll says it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Parameter of the query that the next poll says it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// What a message is, in the answer to a poll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Messages {
    /// Each line of it.
    #[default]
    Lines,
    /// All of it.
    Whole,
}
