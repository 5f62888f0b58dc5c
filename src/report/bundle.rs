//! What a report is written from: the outcome, the distributions behind it, and the scenario as run.

use super::Outcome;
use crate::metrics::Timer;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Everything of a run that is written to its report folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The one value every format is rendered from.
    pub outcome: Outcome,
    /// The full distributions, for `latency.hlog` and the percentile plot.
    pub histograms: Histograms,
    /// The scenario as run, secrets already masked (written as `scenario.yaml`).
    pub scenario_yaml: String,
}

/// Distributions of a run; all values in microseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histograms {
    /// Over the whole run and all groups, by timer.
    pub total: BTreeMap<Timer, Histogram<u64>>,
    /// Over one phase and all groups, by index of the phase and timer.
    pub by_phase: BTreeMap<(usize, Timer), Histogram<u64>>,
    /// Second by second, all shards and groups together, in order of time.
    pub seconds: Vec<SecondHistogram>,
}

/// One timer's values of one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondHistogram {
    /// Start of the interval, milliseconds from the run's start.
    pub start_ms: u64,
    /// Its length, milliseconds.
    pub length_ms: u64,
    /// Which timer.
    pub timer: Timer,
    /// HdrHistogram V2 encoding, not deflated.
    pub v2: Vec<u8>,
}
