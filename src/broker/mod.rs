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
mod kafka;
mod link;
mod nats;
mod publisher;
mod queue;
mod rabbitmq;

pub use config::{Config, Endpoint, Login};
pub use kafka::{Acks, KafkaConfig, KafkaConsumer, Mechanism};
pub use nats::{NatsConfig, NatsConsumer};
pub use publisher::{Event, Message, Publisher, Tag};
pub use rabbitmq::{RabbitMqConfig, RabbitMqConsumer};

use std::fmt;
use std::io;

/// A message that was consumed.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Where it was published: a subject, a routing key.
    pub address: &'a str,
    /// What it is.
    pub payload: &'a [u8],
}

/// Why a broker was not reached, or was lost.
#[derive(Debug)]
pub enum BrokerError {
    /// The network.
    Io(io::Error),
    /// TLS cannot be set up or was refused.
    Tls(String),
    /// It takes no answer for one: nothing was heard for too long.
    Timeout,
    /// It said no: credentials, permissions.
    Refused(String),
    /// It ended a connection that it had let in; its words.
    Closed(String),
    /// It broke its protocol.
    Protocol(String),
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokerError::Io(error) => error.fmt(f),
            BrokerError::Tls(what) => write!(f, "TLS: {what}"),
            BrokerError::Timeout => f.write_str("the broker does not answer"),
            BrokerError::Refused(what) => write!(f, "the broker refused: {what}"),
            BrokerError::Closed(what) => write!(f, "the broker closed the connection: {what}"),
            BrokerError::Protocol(what) => write!(f, "the broker broke its protocol: {what}"),
        }
    }
}

impl std::error::Error for BrokerError {}

impl From<io::Error> for BrokerError {
    fn from(error: io::Error) -> Self {
        BrokerError::Io(error)
    }
}
