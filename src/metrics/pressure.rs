//! What slow consumers did to everybody else, and what the target did about them: pure functions of what was
//! counted. `docs/metrics.md` has the same rules in words and formulas.
//!
//! Nothing here knows a connection, a clock or a plan.

mod policy;
mod ratio;
mod recovery;

pub use policy::{Evidence, Policy, Verdict};
pub use ratio::{Bounds, NoRatio, Ratio, p99_bounds, ratio};
pub use recovery::{Moment, recovered, usual};
