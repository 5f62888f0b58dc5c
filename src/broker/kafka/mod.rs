//! The client's side of Kafka: of its protocol what publishing into topics needs, and reading their partitions without a group.

mod api;
mod config;
mod consumer;
mod lanes;
mod publish;
mod records;
mod sasl;
mod session;
mod wire;

pub use config::{Acks, KafkaConfig, Mechanism};
pub use consumer::KafkaConsumer;
pub(super) use publish::Kafka;

#[cfg(test)]
mod tests;
