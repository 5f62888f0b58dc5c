//! Bytes over a connection: sockets, TLS, the upgrade and WebSocket frames, without any I/O loop.
//!
//! Knows nothing of scenarios, protocols, metrics or schedules.

mod config;

pub use config::{Endpoint, TargetConfig, TlsConfig};
