//! The parts of `src/broker/` that need no socket: what brokers say, and what is said to them.

#[path = "../../../src/broker/error.rs"]
mod error;
pub mod kafka;
pub mod nats;
pub mod rabbitmq;

pub use error::BrokerError;
