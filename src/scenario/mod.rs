//! The scenario: what the user wrote. Parsing, places, messages and value types.
//!
//! Knows YAML and files; knows nothing of plans, connections or metrics. The way of a document:
//! text → spanned nodes (`node`) → `--set` and `--target` (`overrides`) → presets (`presets`) → `${env:}` and `${file:}`
//! (`expand`) → checked against the schema with every mistake at its place (`check`) → files it
//! refers to (`files`) → the model.

mod check;
mod document;
mod expand;
mod files;
mod language;
pub mod model;
mod node;
mod overrides;
mod presets;
mod problem;
mod redact;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;
pub mod units;

pub use document::{Document, Env, Options, load, parse};
pub use files::Files;
pub use model::Scenario;
pub use presets::{PRESETS, ShippedPreset};
pub use problem::{Level, Located, Place, Problem, Report};
pub use schema::{schema, schema_text};

/// A commented scenario to start from, runnable against the embedded gateway; what `squall init` writes.
pub const STARTER: &str = include_str!("starter.yaml");
