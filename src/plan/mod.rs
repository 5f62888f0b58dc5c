//! The plan: what will run. Compiling a scenario, pacing, shares; pure, no clock, no I/O.

mod types;

pub use types::*;
