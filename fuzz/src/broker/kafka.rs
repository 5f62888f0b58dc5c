//! The parts of `src/broker/kafka/` that do no I/O.

#[path = "../../../src/broker/kafka/api.rs"]
pub mod api;
#[path = "../../../src/broker/kafka/records.rs"]
pub mod records;
#[path = "../../../src/broker/kafka/wire.rs"]
pub mod wire;
