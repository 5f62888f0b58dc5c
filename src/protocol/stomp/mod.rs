//! STOMP 1.0, 1.1 and 1.2: frames, and the client's side of a conversation.
//!
//! A frame may lie in one WebSocket message, in several, or share one with others: the specification says nothing of
//! WebSocket, and servers do all of that. The gateway speaks the other side with the same frames.

mod config;
pub mod frame;
mod session;

pub use config::{Ack, Config, Heartbeat, Version};
pub use session::Session;

#[cfg(test)]
mod tests;
