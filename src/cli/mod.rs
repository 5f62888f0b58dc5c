//! The command line: one file a verb. Parses, hands over, prints, and turns the result into an exit code.
//!
//! Knows every part but the engine, which only a shard runs.

mod check;
mod gateway;
mod init;
mod output;
mod protocols;
mod report;
mod run;
mod schema;
mod shard;
mod storm;

use crate::exit::Exit;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Load testing and chaos for real-time services: one scenario in, one verdict out that can be trusted.
#[derive(Debug, Parser)]
#[command(name = "squall", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes:
  0    passed
  2    wrong usage
  99   a gate failed, or a deploy did; of storm: nothing that was tried fits
  104  the scenario is invalid, or this machine is too small for it
  105  interrupted
  106  the run is invalid (generator-limited, lost shard, telemetry gap, a fault that touched nobody, a deploy not begun)
  107  inconclusive: a gate had no evidence
  108  results could not be written
  109  nothing ran: no connection ever became ready";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a scenario and judge the target
    Run(run::Run),
    /// Find the shortest way of coming back that the target bears
    Storm(storm::Storm),
    /// Validate a scenario and print its plan in words
    Check(check::Check),
    /// Write a commented scenario to start from
    Init(init::Init),
    /// Print the JSON Schema of scenarios
    Schema,
    /// List the protocols there are, or print a preset's file to be copied
    Protocols(protocols::Protocols),
    /// Serve the embedded reference target on its own
    Gateway(Box<gateway::Gateway>),
    /// Render the report of an earlier run again
    Report(report::Report),
    /// Be one shard of a run (started by `run`)
    #[command(hide = true)]
    Shard {
        /// Its number, for people reading a process list; what counts comes over standard input
        #[arg(default_value_t)]
        number: u32,
    },
}

/// What of a scenario is taken from the command line; shared by `run`, `storm` and `check`.
#[derive(Debug, Args)]
struct Source {
    /// The scenario
    file: PathBuf,
    /// Override a value of the scenario, such as `clients.subscribers.count=500`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Aim at this address instead of the scenario's target; at several with --set
    /// 'target.url=["ws://a/", "ws://b/"]'
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Let the scenario refer to files outside of its folder
    #[arg(long)]
    allow_outside: bool,
}

impl Source {
    fn options(&self) -> crate::scenario::Options {
        crate::scenario::Options {
            sets: self.sets.clone(),
            target: self.target.clone(),
            allow_outside: self.allow_outside,
            ..crate::scenario::Options::default()
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, mistakes to standard error; both may be closed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    match cli.verb {
        Verb::Run(run) => run.execute().into(),
        Verb::Storm(storm) => storm.execute().into(),
        Verb::Check(check) => check.execute().into(),
        Verb::Init(init) => init.execute().into(),
        Verb::Schema => schema::execute().into(),
        Verb::Protocols(protocols) => protocols.execute().into(),
        Verb::Gateway(gateway) => gateway.execute().into(),
        Verb::Report(report) => report.execute().into(),
        Verb::Shard { number: _ } => shard::execute(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        for exit in Exit::ALL {
            let line = format!("\n  {:<5}", exit.code());
            assert!(EXIT_CODES.contains(&line), "{} is missing", exit.code());
        }
    }
}
