//! Compression of a group's messages.

use crate::scenario::units::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// permessage-deflate (RFC 7692): offered with the upgrade, and used where the target accepts it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compression {
    /// Largest window that the target may use, as a power of two: 9 to 15. Default: it may choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_max_window_bits: Option<u8>,
    /// Largest window that we use: 9 to 15; the target may ask for a smaller one. Default 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_max_window_bits: Option<u8>,
    /// The target is to begin anew with each message, which spares us its window.
    #[serde(default)]
    pub server_no_context_takeover: bool,
    /// We begin anew with each message, so that one compressor serves all connections of a shard.
    #[serde(default)]
    pub client_no_context_takeover: bool,
    /// How much time is spent on making our messages smaller: 1 (least) to 9. Default 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// Our messages below this are sent as they are. Default 0B.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<ByteSize>,
    /// Largest message accepted once inflated; a larger one closes with 1009 and counts as `bomb`. Default: `target.max_message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_inflated: Option<ByteSize>,
}
