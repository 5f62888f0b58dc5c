//! `squall storm`: which way of coming back the target bears, and how short it may be.

use super::{Color, Source};
use crate::exit::Exit;
use crate::report::Look;
use crate::run::{self, Order, StormOrder};
use crate::scenario::units::{Duration, Rate};
use clap::Args;
use std::path::PathBuf;

/// Runs a scenario's storm with several policies and windows, and recommends the shortest that fits: everybody back at the
/// first attempt, nobody turned away, and within --capacity where that is given.
#[derive(Debug, Args)]
pub(super) struct Storm {
    #[command(flatten)]
    source: Source,
    /// The group whose `reconnect` is varied [default: the one that the scenario's `drop` cuts]
    #[arg(long, value_name = "GROUP")]
    clients: Option<String>,
    /// Policies to try, as `reconnect.backoff` names them
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "full_jitter,equal_jitter,no_jitter"
    )]
    policies: Vec<String>,
    /// Windows to try: the longest first wait [default: by the connections and --capacity, else 1s,2s,5s,10s,20s]
    #[arg(long, value_name = "TIME,…", value_delimiter = ',')]
    windows: Vec<Duration>,
    /// Attempts per second to stay within, such as 500/s
    #[arg(long, value_name = "RATE")]
    capacity: Option<Rate>,
    /// Folder under which the reports get folders of their own
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Worker processes, instead of the scenario's or what the machine suggests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// No progress of the runs, only the table
    #[arg(long, short)]
    quiet: bool,
    /// When to use colours
    #[arg(long, value_enum, default_value_t)]
    color: Color,
}

impl Storm {
    /// Runs.
    pub(super) fn execute(self) -> Exit {
        let mut options = self.source.options();
        if let Some(shards) = self.shards {
            options.sets.push(format!("generator.shards={shards}"));
        }
        run::storm(&StormOrder {
            order: Order {
                file: self.source.file,
                options,
                out: self.out,
                quiet: self.quiet,
                styled: self.color.on_stderr(),
                look: Look {
                    colour: self.color.on_stdout(),
                    ..Look::of_stdout()
                },
            },
            group: self.clients,
            policies: self.policies,
            windows: self.windows.into_iter().map(|w| w.0).collect(),
            capacity: self.capacity.map(|rate| rate.0),
        })
    }
}
