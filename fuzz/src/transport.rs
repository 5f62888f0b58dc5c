//! The part of `src/transport/mod.rs` that needs no socket.

#[path = "../../src/transport/handshake.rs"]
pub mod handshake;
#[path = "../../src/transport/ws/mod.rs"]
pub mod ws;
