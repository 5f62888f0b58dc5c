//! The plan: what will run. Compiling a scenario, pacing, shares; pure, no clock, no I/O.
//!
//! Knows the configuration types of the parts it composes, and nothing of how they do their work.

mod pacer;
mod seeded;
mod template;
mod types;

pub use pacer::{Due, Openings, Schedule};
pub use seeded::{Purpose, Stream, backoff, lifetime, payload_size, rng, var_value};
pub use template::{percent_encode, render};
pub use types::*;
