//! `squall shard`, hidden: what the local fabric starts.

use super::output;
use crate::fabric::worker;
use std::process::ExitCode;

/// Runs this process as a shard until its coordinator ends it.
pub(super) fn execute() -> ExitCode {
    match worker::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
