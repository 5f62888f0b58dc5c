//! What a connection that comes back asks for, and what the embedded gateway keeps to answer with.

use super::{Match, Table};
use crate::scenario::units::{Count, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a connection that comes back asks for what it missed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Resume {
    /// By topic: each is subscribed to again from the service's own number on, as the protocol's `resubscribe` says.
    Topics(bool),
    /// As a session.
    Session(Box<Session>),
}

/// How a session is taken up again. Used on a reconnect only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Query parameters added to the address. Values are templated, with `{last}`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub query: Table<String>,
    /// Headers added to the upgrade. Values are templated, with `{last}`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub headers: Table<String>,
    /// The first message after the upgrade. Templated, with `{last}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// JSON pointer to a value in received messages; the last one found is `{last}`, which is empty before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The answer that says that nothing is missing: `on_open` and subscriptions are not done again.
    pub recovered: Match,
    /// The answer that says that the state is lost: the connection begins anew. Also when neither comes in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Match>,
    /// How long to wait for the answer. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
}

/// What the embedded gateway keeps of each topic, so that clients can resume.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Messages kept of a topic. Default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Count>,
    /// How long each is kept. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Duration>,
    /// A Redis server that keeps them, and joins all gateways that share it: `redis://host:port/number`. Default: the
    /// gateway keeps them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}
