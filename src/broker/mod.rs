//! Message brokers behind the target: publishing into one, and consuming from it.
//!
//! A publisher is an ordinary task on the shard's thread: the engine hands it stamped messages, and it says what the
//! broker took, with the times. What the broker has not confirmed is kept, in order, and said again to the broker that
//! comes back: so what it never took is the end of each stream, and never a hole in it. A consumer is the
//! embedded gateway's. Knows nothing of plans, connections or metrics.
//!
//! Each kind of broker is a folder: its bytes without I/O, how it lets us in, its `Dialect` to the publisher, and a consumer.
//!
//! The clients are our own, some hundred lines each: a library's buffers would hide which messages a lost broker had taken,
//! which is what is measured here.

mod config;
mod error;
pub mod kafka;
mod link;
pub mod nats;
mod publisher;
mod queue;
pub mod rabbitmq;

pub use config::{Config, Endpoint, Login};
pub use error::BrokerError;
pub use kafka::{Acks, KafkaConfig, KafkaConsumer, Mechanism};
pub use nats::{NatsConfig, NatsConsumer};
pub use publisher::{Event, Message, Publisher, Tag};
pub use rabbitmq::{RabbitMqConfig, RabbitMqConsumer};

/// A message that was consumed.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Where it was published: a subject, a routing key.
    pub address: &'a str,
    /// What it is.
    pub payload: &'a [u8],
}
