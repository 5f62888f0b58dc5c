//! What is reported of a `slow` fault: what the target did about slow consumers, and what that did to the others.

use super::TimerReport;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One `slow` fault. Times are seconds, from the run's start where they are moments; "each" is a victim's mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PressureReport {
    /// The fault in words.
    pub fault: String,
    /// Its phase.
    pub phase: String,
    /// The client group that it acts on.
    pub group: String,
    /// Planned start.
    pub start: f64,
    /// Planned end.
    pub end: f64,
    /// Connections that it touched.
    pub victims: u64,
    /// What the target did about them: `buffer`, `drop`, `disconnect`, `block-the-publisher` or `unknown`.
    pub policy: String,
    /// What of the evidence decided.
    pub why: String,
    /// Bytes that each was owed meanwhile, as the group's other clients got them; absent: there were none.
    pub owed: Option<f64>,
    /// Bytes that each took before it stalled: read meanwhile, or in its own kernel at the end.
    pub taken: f64,
    /// Messages that victims lost while connected.
    pub skipped: u64,
    /// Victims that the target closed, each once.
    #[serde(default)]
    pub victims_closed: u64,
    /// How the target ended victims: one that comes back and is ended again is in here again.
    pub closed: Vec<EvictionReport>,
    /// Time from becoming slow to being closed, of those seen to be closed while they were slow.
    pub evicted: Option<TimerReport>,
    /// What it did to the group's other clients.
    pub neighbour: NeighbourReport,
    /// What it did to publishers.
    pub publishers: PublisherReport,
    /// From the fault's end until the others' p99 and the victims' are as before; absent: not reached.
    pub recovery: Option<f64>,
    /// The target's memory; absent: not known, see `memory_unknown`.
    pub memory: Option<MemoryReport>,
    /// Why the memory or its slope is not known; empty where they are, and where the scenario does not say how to know them.
    #[serde(default)]
    pub memory_unknown: String,
    /// Second by second: what each side got.
    pub seconds: Vec<PressureSecond>,
}

/// Times that the target ended a victim in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvictionReport {
    /// Close code, or the HTTP status by which an opening was refused.
    pub code: u16,
    /// Seen only once what had been held back was read: when it happened, nobody can tell.
    pub after: bool,
    /// How many.
    pub count: u64,
}

/// The noisy-neighbour ratio: p99 of the group's other clients within the fault ÷ before it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NeighbourReport {
    /// The ratio; absent: see `why`.
    pub ratio: Option<f64>,
    /// Not below, with 95 % confidence.
    pub low: Option<f64>,
    /// Not above; absent: too few messages to say.
    pub high: Option<f64>,
    /// p99 before, milliseconds.
    pub before: Option<f64>,
    /// p99 within the fault, milliseconds.
    pub during: Option<f64>,
    /// Why there is no ratio.
    pub why: String,
}

/// What a fault did to those who publish, in all groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublisherReport {
    /// The longest time for which the target took nothing of what one had written, seconds.
    pub held_up: f64,
    /// Publishes due within the fault.
    pub offered: u64,
    /// Of these, those that their connection could not take.
    pub dropped: u64,
}

/// The target's memory within a fault, bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryReport {
    /// Before.
    pub before: u64,
    /// The most within the fault.
    pub most: u64,
    /// Slope within the fault, bytes per second: least squares over the samples; absent with fewer than three.
    pub slope: Option<f64>,
}

/// The memory of a target that tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetMemory {
    /// Scheme, host and port of the page that was read.
    pub page: String,
    /// The metric on it.
    pub metric: String,
    /// What was read, in order; about one a second.
    pub samples: Vec<MemorySample>,
    /// Reads that told nothing.
    pub failed: u64,
    /// Why the last of these did not, and what to do about it.
    pub why: String,
}

/// Memory at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemorySample {
    /// When the answer was there, seconds from the run's start.
    pub at: f64,
    /// Bytes.
    pub bytes: u64,
}

/// One second, by when messages arrived.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PressureSecond {
    /// Its end, seconds from the run's start.
    pub at: f64,
    /// Messages that each of the others got, on the average.
    pub others: f64,
    /// Messages that each victim got, on the average; from the fault's start on.
    pub victims: f64,
    /// Messages by which a victim is behind the others, on the average, since the fault's start.
    pub backlog: f64,
    /// p99 of the others' latency, milliseconds.
    pub others_p99: Option<f64>,
    /// The same of the victims.
    pub victims_p99: Option<f64>,
}
