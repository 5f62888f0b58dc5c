//! Protocols that come as files, and what their mappings may say beyond subscribing and publishing.

use super::{Mapping, Match};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A preset: keys of a client group, in a file. Loading puts them in its place, so that a plan never sees one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Preset {
    /// One that comes with squall (`squall protocols` lists them), or the path of a file of your own.
    Named(String),
    /// One of them with some of its mapping's keys replaced.
    With(PresetWith),
}

/// A preset with some of its mapping's keys replaced.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PresetWith {
    /// Its name, or the path of its file.
    pub name: String,
    /// Keys of `json_mapping` that take the place of the preset's.
    #[serde(default)]
    pub mapping: Box<Mapping>,
}

/// Pings that the service sends as messages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePing {
    /// How one is known; `equals` without `pointer` is the whole message.
    pub when: Match,
    /// What it is answered with, as it stands. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Heartbeats in messages instead of WebSocket pings. The group's `heartbeat` says how often.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Beat {
    /// The service sends them: it is dead when nothing came for the heartbeat's `every` and `timeout` together.
    Service,
    /// The client sends them, and is answered.
    Client(ClientBeat),
}

/// A heartbeat that the client sends.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientBeat {
    /// The message; `{id}` is filled in, another number each time.
    pub send: String,
    /// How the answer is known.
    pub answered: Match,
    /// JSON pointer, in the answer, to the `{id}` that it answers. Default: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Messages that come inside the acknowledgement of a subscription that resumes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backlog {
    /// JSON pointer to the list of them.
    pub at: String,
    /// JSON pointer, in each of them, to the service's sequence number of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
}
