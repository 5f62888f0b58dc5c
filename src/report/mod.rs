//! Outcome → files and words. Never sees a connection or a plan: one value in, text out.
//!
//! [`Outcome`] is the one value; `story` puts it into the lines that every head tells in the same order;
//! each format is a file of its own taking the outcome and a writer; `folder` puts them on the disk, all or nothing.
//! Texts are redacted before they are rendered ([`Redactor`]) and escaped by each renderer itself (`text`).

mod bundle;
mod csv;
mod deploy;
mod folder;
mod hlog;
mod html;
mod json;
mod junit;
mod markdown;
mod number;
mod outcome;
mod pressure;
mod redact;
mod story;
mod streams;
mod sweep;
mod terminal;
mod text;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use bundle::{Bundle, Histograms, SecondHistogram};
pub use csv::csv;
pub use deploy::*;
pub use folder::{ReadError, WriteError, read, refresh, write};
pub use hlog::{hlog, read_hlog};
pub use html::html;
pub use json::{json, read_json, schema};
pub use junit::junit;
pub use markdown::markdown;
pub use number::count as thousands;
pub use outcome::*;
pub use pressure::*;
pub use redact::{MASK, Redactor};
pub use streams::*;
pub use sweep::{SWEEP_VERSION, Sweep, Try, sweep_terminal, write_sweep};
pub use terminal::{Look, terminal};
