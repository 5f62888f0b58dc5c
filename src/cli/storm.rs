//! `squall storm`: which way of coming back the target bears, and how short it may be.

use super::Source;
use super::run::How;
use crate::exit::Exit;
use crate::run::{self, StormOrder};
use crate::scenario::units::{Duration, Rate};
use clap::Args;

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
    #[command(flatten)]
    how: How,
}

impl Storm {
    /// Runs.
    pub(super) fn execute(self) -> Exit {
        run::storm(&StormOrder {
            order: self.how.order(self.source),
            group: self.clients,
            policies: self.policies,
            windows: self.windows.into_iter().map(|w| w.0).collect(),
            capacity: self.capacity.map(|rate| rate.0),
        })
    }
}
