//! The part of `src/transport/mod.rs` that needs no socket.

#[path = "../../src/transport/handshake.rs"]
pub mod handshake;
#[path = "../../src/transport/http.rs"]
pub mod http;
#[path = "../../src/transport/sse.rs"]
pub mod sse;
#[path = "../../src/transport/ws/mod.rs"]
pub mod ws;
