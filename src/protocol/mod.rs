//! Messages ↔ frames' payloads, without I/O: the stamp, raw and json, and protocols that have a session.
//!
//! Knows nothing of sockets, schedules or metrics. The embedded gateway shares this module and
//! nothing else of the generator's side. Nothing here allocates per message, and whatever comes in
//! is taken for hostile: every function is total and linear in its input.

mod codec;
mod condition;
mod config;
mod extension;
pub mod jwt;
pub mod mqtt;
pub mod pointer;
mod session;
pub mod socket_io;
mod stamp;
pub mod stomp;
mod template;

/// What is settled of a protocol before a conversation begins: all that a plan may know of it.
pub mod settings {
    /// MQTT's.
    pub mod mqtt {
        pub use crate::protocol::mqtt::topic::Filter;
        pub use crate::protocol::mqtt::{Config, Qos, Version};
    }
    /// Socket.IO's.
    pub mod socket_io {
        pub use crate::protocol::socket_io::{Config, PATH, Place, Polling, QUERY, VERSION};
    }
    /// What a JSON mapping says beyond subscribing and publishing.
    pub mod json {
        pub use crate::protocol::extension::{Backlog, Beat, Extension, ServicePing};
    }
    /// STOMP's.
    pub mod stomp {
        pub use crate::protocol::stomp::{Ack, Config, Version};
    }
}

pub use codec::{Acknowledgement, Codec, Envelope, Incoming};
pub use config::{Condition, Mapping, ProtocolConfig};
pub use extension::Aside;
pub use jwt::{JwtAlgorithm, JwtSigner};
pub use session::{
    Event, Field, Form, Introduction, Outgoing, Publish, Rhythm, Session, Violation,
};
pub use stamp::{MIN_PAYLOAD, STAMP_LEN, Stamp, fill};
pub use template::{MessageTemplate, Values, escape};
