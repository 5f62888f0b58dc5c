//! Budgets: lines such as `latency p99 < 250ms in steady`, parsed before anything connects and judged on
//! what was measured.
//!
//! Gates fail closed: without enough evidence nothing passes. Knows metrics only; phases and groups are
//! names and indices here.

mod evaluate;
mod grammar;
mod metric;
mod need;
mod value;
mod words;

pub use evaluate::{Deployed, Judgement, Phase, SlowFault, Status, evaluate};
pub use grammar::{Gate, GateError, parse};
pub use metric::{Metric, metrics};
pub use need::Need;
