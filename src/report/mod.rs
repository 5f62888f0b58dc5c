//! Outcome → files and words. Never sees a connection or a plan: one value in, text out.

mod outcome;

pub use outcome::*;
