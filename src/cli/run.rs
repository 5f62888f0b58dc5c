//! `squall run`: the pipeline from the command line.

use super::{Color, Source};
use crate::exit::Exit;
use crate::report::Look;
use crate::run::{self, Order};
use clap::Args;
use std::path::PathBuf;

/// Runs a scenario: prints progress and a summary, writes the reports, exits with the verdict.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    how: How,
}

impl Run {
    /// Runs.
    pub(super) fn execute(self) -> Exit {
        run::run(&self.how.order(self.source))
    }
}

/// How a scenario is run and shown; shared by `run` and `storm`.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Folder under which each report gets a folder of its own
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Worker processes, instead of the scenario's or what the machine suggests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// No progress, only the result
    #[arg(long, short)]
    quiet: bool,
    /// When to use colours
    #[arg(long, value_enum, default_value_t)]
    color: Color,
}

impl How {
    /// The order to run this scenario so.
    pub(super) fn order(self, source: Source) -> Order {
        let mut options = source.options();
        if let Some(shards) = self.shards {
            options.sets.push(format!("generator.shards={shards}"));
        }
        Order {
            file: source.file,
            options,
            out: self.out,
            quiet: self.quiet,
            styled: self.color.on_stderr(),
            look: Look {
                colour: self.color.on_stdout(),
                ..Look::of_stdout()
            },
        }
    }
}
