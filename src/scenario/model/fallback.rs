//! When a connection goes from one of its transports to the next, and when it goes back.

use super::super::units::{Count, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a connection goes on to the next of several transports, and when it goes back.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// What leads to the next transport. Default `[refused, timeout, silent]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Vec<StepDown>>,
    /// HTTP statuses that are a refusal of the transport. Default: all that are no success but 401, 429, 502, 503 and 504, which are
    /// the service's own trouble.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// From the first step of opening to ready over any transport but the last. Default: the target's `connect_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// An event stream on which nothing at all came for so long (no event, no comment) is silent; before something came it is not
    /// ready. Default: it may be silent for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Duration>,
    /// Openings in a row that must have failed over a transport, waits by `reconnect` between them. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<Count>,
    /// When a connection tries the first transport again. Default reconnect.
    #[serde(default)]
    pub climb: Climb,
    /// How ids of events and cursors of polls say how far a topic was heard, by the `{seq}` and `{epoch}` that messages over
    /// WebSocket have: so that whoever resumes does so over another transport too. Default "{epoch}:{seq}".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

/// What leads to the next transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepDown {
    /// The answer is not what the transport needs (a status, a type, no proper upgrade), or the connection was ended instead of one.
    Refused,
    /// No connection: name, TCP or TLS.
    Unreachable,
    /// Not ready in time.
    Timeout,
    /// An event stream says nothing.
    Silent,
}

/// When a connection tries the first transport again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Climb {
    /// Never: it comes back over the one that it had.
    Never,
    /// Whenever it was lost and comes back.
    #[default]
    Reconnect,
    /// After so long over another one: it leaves that, and comes back when it is lost over the one that it had.
    After(Duration),
}
