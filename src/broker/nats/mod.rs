//! The client's side of NATS: the text protocol, and of JetStream what publishing and consuming need.

mod config;
mod consumer;
mod login;
mod publish;
pub mod wire;

pub use config::NatsConfig;
pub use consumer::NatsConsumer;
pub(super) use login::key;
pub(super) use publish::Nats;
