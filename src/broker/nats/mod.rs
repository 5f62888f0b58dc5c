//! The client's side of NATS: the text protocol, and of JetStream what publishing and consuming need.

mod consumer;
mod link;
mod wire;

pub use consumer::{Consumer, Delivery};
pub(super) use link::{Link, connect, key, read_on};
pub(super) use wire::{Op, next, put_publish};
