//! `squall report`: render an earlier run's report again.

use super::{Color, output};
use crate::exit::Exit;
use crate::report::{self, Look, Redactor};
use clap::Args;
use std::path::PathBuf;

/// Renders every format again from `summary.json` and the histograms, and prints the summary.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The report's folder
    folder: PathBuf,
    /// When to use colours
    #[arg(long, value_enum, default_value_t)]
    color: Color,
}

impl Report {
    /// Reads, renders, prints. Passed whatever the run's own verdict was.
    pub(super) fn execute(self) -> Exit {
        let bundle = match report::read(&self.folder) {
            Ok(bundle) => bundle,
            Err(error) => {
                output::complain(&error.to_string());
                return Exit::Usage;
            }
        };
        // What is on the disk is redacted already, and the secrets are not known here.
        let redact = Redactor::default();
        let files = match report::refresh(&self.folder, &bundle, &redact) {
            Ok(files) => files,
            Err(error) => {
                output::complain(&error.to_string());
                return Exit::NotWritten;
            }
        };
        let look = Look {
            colour: self.color.on_stdout(),
            ..Look::of_stdout()
        };
        let mut text = Vec::new();
        match report::terminal(&bundle.outcome, &files, &look, &mut text) {
            Ok(()) => output::print(&String::from_utf8_lossy(&text)),
            Err(_) => Exit::NotWritten,
        }
    }
}
