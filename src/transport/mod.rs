//! Bytes over a connection: sockets, TLS, the upgrade and WebSocket frames, without any I/O loop.
//!
//! Knows nothing of scenarios, protocols, metrics or schedules. What comes from the target is taken for
//! hostile: bounded before it is kept, checked before it is believed.

mod config;
pub mod cookies;
pub mod exchange;
pub mod handshake;
pub mod http;
pub mod proxy;
pub mod redirect;
pub mod socket;
pub mod sse;
pub mod tls;
pub mod ws;

pub use config::{Endpoint, Pick, Proxy, TargetConfig, TlsConfig};
pub use ws::Offer;
