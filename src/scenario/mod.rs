//! The scenario: what the user wrote. Parsing, places, messages and value types.
//!
//! Knows YAML and files; knows nothing of plans, connections or metrics.

pub mod model;
pub mod units;
