//! The client's side of RabbitMQ: of AMQP 0-9-1 what publishing with confirms and consuming need.

mod config;
mod consumer;
mod login;
mod publish;
pub mod wire;

pub use config::RabbitMqConfig;
pub use consumer::RabbitMqConsumer;
pub(super) use publish::RabbitMq;
