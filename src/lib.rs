//! squall: load testing and chaos for real-time services.
//!
//! The flow is the folder layout: scenario → plan → fabric → shard (engine, transport,
//! protocol) → metrics → gate → report. `ARCHITECTURE.md` says what each module may know; the test
//! `tests/layering.rs` holds that table.

pub mod broker;
pub mod cli;
pub mod engine;
pub mod exit;
pub mod fabric;
pub mod gate;
pub mod gateway;
pub mod heap;
pub mod metrics;
pub mod plan;
pub mod protocol;
pub mod report;
pub mod run;
pub mod scenario;
pub mod transport;
