//! Outcome → files and words. Never sees a connection or a plan: one value in, text out.
//!
//! [`Outcome`] is the one value; `story` puts it into the lines that every head tells in the same order;
//! each format is a file of its own taking the outcome and a writer; `folder` puts them on the disk, all or nothing.
//! Texts are redacted before they are rendered ([`Redactor`]) and escaped by each renderer itself (`text`).

mod bundle;
mod folder;
pub mod json;
mod outcome;
mod redact;
mod terminal;

pub use bundle::{Bundle, Histograms, SecondHistogram};
pub use folder::{ReadError, WriteError, read, refresh, write};
pub use outcome::*;
pub use redact::Redactor;
pub use terminal::{Look, terminal};
