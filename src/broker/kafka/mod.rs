//! The client's side of Kafka: of its protocol what publishing into topics needs, and reading their partitions without a group.

pub mod api;
mod config;
mod consumer;
mod lanes;
mod publish;
pub mod records;
mod sasl;
mod session;
pub mod wire;

pub use config::{Acks, KafkaConfig, Mechanism};
pub use consumer::KafkaConsumer;
pub(super) use publish::Kafka;

#[cfg(test)]
mod tests;
