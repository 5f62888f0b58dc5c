//! Socket.IO (protocol 5, which Socket.IO 3 and 4 speak) over Engine.IO (protocol 4): packets, and the client's side of a
//! conversation over WebSocket.
//!
//! An Engine.IO packet is one WebSocket message, and a Socket.IO packet is one Engine.IO packet of the kind `message`,
//! followed by one binary WebSocket message for each of its attachments. Over polling the packets of a GET's answer, or of a
//! POST, stand in one body ([`payload`]). The gateway speaks the other side with the same packets.

mod config;
pub mod engine_io;
pub mod packet;
pub mod payload;
mod session;

pub use config::{Config, PATH, POLLING, Place, Polling, QUERY, VERSION};
pub use session::{Polled, Session};

#[cfg(test)]
mod tests;
