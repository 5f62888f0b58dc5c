//! Tokens that are revoked, as it is written.

use super::super::super::units::{Count, Duration, Share};
use super::Webhook;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Connections whose tokens are revoked, by a request for each. Either `share` or `count` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The group; it has `auth`.
    pub clients: String,
    /// How many of its connections, as a share of the group's count; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// How many of its connections; which ones is chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// The request that revokes a token; status 200 to 299 confirms. Templated, with `{token}`. Default: the embedded gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// How long the answer may take. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// Time over which they are evenly spread. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
}
