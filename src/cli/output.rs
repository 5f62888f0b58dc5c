//! Printing, for readers that may have left: a closed pipe is no reason to panic.

use super::Color;
use crate::exit::Exit;
use std::io::{self, IsTerminal, Write};

/// Prints to standard output. Passed when it was taken, or when the reader has left; anything else (a
/// full disk) could not be written.
pub(super) fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Passed,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Passed,
        Err(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            Exit::NotWritten
        }
    }
}

/// Prints a sentence to standard error, as far as that is possible.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "squall: {text}");
}

/// Prints a text that is already whole to standard error.
pub(super) fn complain_verbatim(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

impl Color {
    /// Whether to use colours on standard error.
    pub(super) fn on_stderr(self) -> bool {
        self.resolve(io::stderr().is_terminal())
    }

    /// Whether to use colours on standard output.
    pub(super) fn on_stdout(self) -> bool {
        self.resolve(io::stdout().is_terminal())
    }

    fn resolve(self, terminal: bool) -> bool {
        let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        match self {
            Color::Always => true,
            Color::Never => false,
            // no-color.org
            Color::Auto => {
                terminal
                    && said("NO_COLOR").is_none()
                    && said("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}
