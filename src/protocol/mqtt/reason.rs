//! Reason codes and what they are called.

use super::config::Version;

/// All is well, or a QoS of 0 is granted.
pub const SUCCESS: u8 = 0x00;
/// A goodbye, and the will is to be published all the same.
pub const WITH_WILL: u8 = 0x04;
/// There was no such subscription.
pub const NO_SUBSCRIPTION: u8 = 0x11;
/// From here on a code says that something failed.
pub const FAILURE: u8 = 0x80;
/// Bytes that are no packet.
pub const MALFORMED_PACKET: u8 = 0x81;
/// A packet out of turn, or with something in it that cannot be.
pub const PROTOCOL_ERROR: u8 = 0x82;
/// The server does not speak this version.
pub const UNSUPPORTED_VERSION: u8 = 0x84;
/// Whatever else the server cannot do.
pub const IMPLEMENTATION: u8 = 0x83;
/// The client identifier is none.
pub const BAD_CLIENT_ID: u8 = 0x85;
/// User name or password are not right.
pub const BAD_LOGIN: u8 = 0x86;
/// There is no such authentication.
pub const BAD_METHOD: u8 = 0x8C;
/// The client was silent for too long.
pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
/// The server is going down.
pub const SHUTTING_DOWN: u8 = 0x8B;
/// The topic filter is none, or none for this client.
pub const FILTER_INVALID: u8 = 0x8F;
/// The topic's name is none, or none for this client.
pub const TOPIC_INVALID: u8 = 0x90;
/// Nothing is known under this packet identifier.
pub const ID_NOT_FOUND: u8 = 0x92;
/// More messages under way than the receiver allowed.
pub const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
/// A topic alias beyond what was allowed, or of nothing.
pub const ALIAS_INVALID: u8 = 0x94;
/// Longer than the receiver takes.
pub const PACKET_TOO_LARGE: u8 = 0x95;
/// More than the server gives to one client.
pub const QUOTA_EXCEEDED: u8 = 0x97;
/// Nothing is retained here.
pub const NO_RETAIN: u8 = 0x9A;
/// There are no shared subscriptions here.
pub const NO_SHARED: u8 = 0x9E;
/// Subscriptions have no identifiers here.
pub const NO_IDENTIFIERS: u8 = 0xA1;
/// There are no wildcards here.
pub const NO_WILDCARDS: u8 = 0xA2;

/// What a code of version 5 is called, by the specification's table 2-6.
pub fn name(code: u8) -> &'static str {
    match code {
        0x00 => "success",
        0x01 => "granted QoS 1",
        0x02 => "granted QoS 2",
        0x04 => "disconnect with will message",
        0x10 => "no matching subscribers",
        0x11 => "no subscription existed",
        0x18 => "continue authentication",
        0x19 => "re-authenticate",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8A => "banned",
        0x8B => "server shutting down",
        0x8C => "bad authentication method",
        0x8D => "keep alive timeout",
        0x8E => "session taken over",
        0x8F => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9A => "retain not supported",
        0x9B => "QoS not supported",
        0x9C => "use another server",
        0x9D => "server moved",
        0x9E => "shared subscriptions not supported",
        0x9F => "connection rate exceeded",
        0xA0 => "maximum connect time",
        0xA1 => "subscription identifiers not supported",
        0xA2 => "wildcard subscriptions not supported",
        _ => "a code that is not in the specification",
    }
}

/// What a code is called wherever it stands: those below 128 that refuse are CONNACK's of 3.1.1.
pub fn of(version: Version, code: u8) -> &'static str {
    match code {
        FAILURE.. => name(code),
        _ => refusal(version, code),
    }
}

/// What a CONNACK's code is called: that of 3.1.1 has codes of its own.
pub fn refusal(version: Version, code: u8) -> &'static str {
    match (version, code) {
        (Version::V5, code) => name(code),
        (Version::V3_1_1, 1) => "unacceptable protocol version",
        (Version::V3_1_1, 2) => "identifier rejected",
        (Version::V3_1_1, 3) => "server unavailable",
        (Version::V3_1_1, 4) => "bad user name or password",
        (Version::V3_1_1, 5) => "not authorized",
        (Version::V3_1_1, _) => "a code that is not in the specification",
    }
}
