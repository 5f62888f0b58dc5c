//! The part of `src/broker/rabbitmq/` that does no I/O.

#[path = "../../../src/broker/rabbitmq/wire.rs"]
pub mod wire;
