//! The part of `src/broker/nats/` that does no I/O.

#[path = "../../../src/broker/nats/wire.rs"]
pub mod wire;
