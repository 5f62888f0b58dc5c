//! `summary.json`: the outcome itself, for machines; `docs/summary.schema.json` describes it.

use super::Outcome;
use std::io::{self, Write};

/// Writes the outcome as indented JSON.
///
/// # Errors
/// Those of the writer.
pub fn json(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, outcome).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
