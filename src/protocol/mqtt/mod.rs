//! MQTT 5 and 3.1.1: packets, and the client's side of a conversation.
//!
//! Over WebSocket the packets are a stream: one may lie in several binary messages, and one message may hold several. The
//! gateway speaks the other side with the same packets.
//!
//! The codec is our own: what there is as a crate copies each topic and payload into memory of its own (mqtt-proto), or answers
//! every packet with a list of events on the heap (mqtt-protocol-core).

mod config;
mod decoder;
mod flights;
pub mod packet;
mod property;
pub mod reason;
mod session;
pub mod topic;
mod wire;

pub use config::{Config, Qos, Version};
pub use decoder::Decoder;
pub use property::{List, Name, Properties, Value};
pub use session::Session;
pub use wire::Broken;

#[cfg(test)]
mod tests;
