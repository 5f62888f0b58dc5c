//! The summary a person reads at the end of a run: one screen of 100 columns.

use super::Outcome;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// How the summary may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours may be used.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// For standard output: colours on a terminal unless `NO_COLOR` is set and not empty (no-color.org)
    /// or `TERM` is `dumb`.
    pub fn of_stdout() -> Look {
        let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = said("TERM").is_some_and(|term| term == "dumb");
        Look {
            colour: io::stdout().is_terminal() && said("NO_COLOR").is_none() && !dumb,
            width: 100,
        }
    }
}

/// Writes the summary of an outcome whose secrets are redacted ([`super::Redactor::outcome`]); `files` are
/// those [`super::write`] returned.
///
/// # Errors
/// Those of the writer.
pub fn terminal(
    outcome: &Outcome,
    files: &[PathBuf],
    _look: &Look,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{}  {}", outcome.name, outcome.verdict)?;
    for file in files.iter().take(1) {
        writeln!(out, "{}", file.display())?;
    }
    Ok(())
}
