//! The parts of squall that read what a target sends, without the rest of it.
//!
//! They depend on nothing else of the crate (`tests/layering.rs` holds that), so they are built from their sources alone:
//! in seconds with the sanitizer instead of many minutes.

pub mod broker;
#[path = "../../src/protocol/mod.rs"]
pub mod protocol;
pub mod targets;
pub mod transport;
