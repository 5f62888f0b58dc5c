//! The one value every report is rendered from; serialised it is `summary.json`.

use super::PressureReport;
use super::deploy::DeployReport;
use super::{StreamsReport, TargetMemory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of `summary.json`.
pub const OUTCOME_VERSION: u32 = 1;

/// All of a run. Times are seconds from the run's start unless the name says otherwise; durations in
/// timers are milliseconds. Texts from the target are already cleaned and bounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// [`OUTCOME_VERSION`].
    pub version: u32,
    /// `squall 0.1.0`.
    pub tool: String,
    /// The scenario's name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its seed.
    pub seed: u64,
    /// Wall-clock start, RFC 3339 UTC.
    pub started: String,
    /// Length of the run in seconds, drain included.
    pub length: f64,
    /// The target in words, without secrets.
    pub target: String,
    /// Worker processes.
    pub shards: u32,
    /// Connections planned.
    pub connections: u64,
    /// Exit code and its label (`PASSED`, `FAILED`…).
    pub exit_code: u8,
    /// See `exit_code`.
    pub verdict: String,
    /// Can the run be believed?
    pub validity: Validity,
    /// Each gate with its actual value.
    pub gates: Vec<GateReport>,
    /// Phases in order; the `phase` keys of `counts` and `timers` are their names.
    pub phases: Vec<PhaseReport>,
    /// Reconnect storms in time: one for each fault that takes connections away; without such a fault one for all that
    /// was lost.
    #[serde(default)]
    pub storms: Vec<StormReport>,
    /// Client groups in order.
    pub groups: Vec<GroupReport>,
    /// Totals by metric name over the whole run and all groups.
    pub counts: BTreeMap<String, u64>,
    /// The same by phase name, then metric name.
    pub counts_by_phase: BTreeMap<String, BTreeMap<String, u64>>,
    /// The same by group name, then metric name.
    pub counts_by_group: BTreeMap<String, BTreeMap<String, u64>>,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
    /// Refused upgrades by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections that the target closed after their token had expired, by close code.
    #[serde(default)]
    pub expired_closes: BTreeMap<u16, u64>,
    /// Reasons that the target gave in its protocol's own words (MQTT's reason codes, STOMP's ERROR), most frequent first; also what it broke
    /// of its protocol, in our words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonReport>,
    /// Connections that the target closed after their token was revoked, by close code.
    #[serde(default)]
    pub revoked_closes: BTreeMap<u16, u64>,
    /// Ended connections.
    pub closes: Vec<CloseReport>,
    /// Connections that became ready, by address of the target: all addresses there are.
    #[serde(default)]
    pub endpoints: Vec<PlaceReport>,
    /// Connections that became ready, by node of the target: in groups that say how it tells them.
    #[serde(default)]
    pub nodes: NodesReport,
    /// Ready connections by node, or where none is told by address, second by second; none of one place, or of more than 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_by_place: Vec<PlaceOverTime>,
    /// Timers over the whole run and all groups, by name; only those with values.
    pub timers: BTreeMap<String, TimerReport>,
    /// The same by phase name, then timer name.
    pub timers_by_phase: BTreeMap<String, BTreeMap<String, TimerReport>>,
    /// The same by group name, then timer name.
    pub timers_by_group: BTreeMap<String, BTreeMap<String, TimerReport>>,
    /// What became of each (topic, publisher)'s messages; absent where nobody was owed any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<StreamsReport>,
    /// What each `slow` fault did, and what the target did about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pressure: Vec<PressureReport>,
    /// Each shard's own conservation sum and health.
    pub per_shard: Vec<ShardReport>,
    /// What the run cost this machine.
    #[serde(default)]
    pub cost: CostReport,
    /// The target's memory as its page of metrics tells it; absent where the scenario names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<TargetMemory>,
    /// Deploys, in order.
    #[serde(default)]
    pub deploys: Vec<DeployReport>,
    /// Second by second.
    pub timeline: Vec<Second>,
    /// Texts from the target, by kind.
    pub samples: Vec<(String, String)>,
    /// Things worth knowing that are not verdicts.
    pub warnings: Vec<String>,
}

/// A reason and how often it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonReport {
    /// The protocol's code; 0 where it has none.
    pub code: u16,
    /// What the code is called; without one what was said. Empty: those beyond the 1,024 that are told apart.
    pub text: String,
    /// How often.
    pub count: u64,
}

/// Can the run be believed?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// valid, degraded (believable, with a caution) or invalid.
    pub state: ValidityState,
    /// Why, and what to change; empty when valid.
    pub reasons: Vec<String>,
}

/// See [`Validity`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ValidityState {
    /// Nothing stood in the way.
    Valid,
    /// Believable, with a caution.
    Degraded,
    /// Not to be believed; never passes a gate.
    Invalid,
}

/// A gate and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateReport {
    /// As written.
    pub text: String,
    /// What became of it.
    pub status: GateStatus,
    /// The actual value in words (`41.2 ms`, `312`), or `–` without evidence.
    pub actual: String,
    /// The actual value as a number in the gate's own unit (milliseconds for timers).
    pub value: Option<f64>,
    /// Why it failed where the value does not say so (`too few samples: 12 of 1000`).
    pub note: String,
}

/// What became of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateStatus {
    /// Held, on enough evidence.
    Passed,
    /// Did not hold.
    Failed,
    /// Could not be judged; counts as not passed.
    NoEvidence,
}

/// A phase as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseReport {
    /// Name.
    pub name: String,
    /// Start, seconds.
    pub start: f64,
    /// End, seconds.
    pub end: f64,
    /// Whether the run reached its end.
    pub completed: bool,
    /// Faults: words, planned start and end in seconds, connections touched.
    pub faults: Vec<FaultReport>,
}

/// A fault as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultReport {
    /// In words.
    pub label: String,
    /// Planned start, seconds.
    pub start: f64,
    /// Planned end, seconds.
    pub end: f64,
    /// Actual start, seconds, if it started.
    pub actual_start: Option<f64>,
    /// Actual end, seconds, if it ended.
    pub actual_end: Option<f64>,
    /// Connections touched.
    pub touched: u64,
    /// How these and the target fared under it.
    #[serde(default)]
    pub effects: FaultEffects,
    /// Of one that cut connections off, or kept them away until they were given up: what came of their messages.
    #[serde(default)]
    pub absence: Option<AbsenceReport>,
}

/// How connections and the target fared under a fault that lasts; all 0 of one that does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultEffects {
    /// Bytes that slow consumers read while they were slow, TLS included.
    pub taken: u64,
    /// Bytes that the kernel had accepted for them and they had not read when it was over.
    pub unread: u64,
    /// Messages that connections it had touched lost while connected, from then on to the end of the run.
    pub skipped: u64,
    /// Smallest receive buffer in effect of sockets it was set for, bytes; 0: of none.
    pub receive_buffer: u64,
    /// Connections under it that the target ended.
    pub ended: Vec<FaultEndReport>,
}

/// Connections under a fault that the target ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultEndReport {
    /// Close code; or the HTTP status by which an opening was refused.
    pub code: u16,
    /// Whether it was seen only when what had been held back was read after the fault.
    pub after: bool,
    /// How many.
    pub count: u64,
}

/// A reconnect storm: connections that were lost, and came back or did not. Counted in steps of 100 ms, over all groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StormReport {
    /// What took the connections away, in words.
    pub cause: String,
    /// The phase it began in.
    pub phase: String,
    /// Beginning of the step in which the first connection was lost, seconds from the run's start.
    pub start: f64,
    /// When nothing was going on any more, the next storm began or the run was over.
    pub end: f64,
    /// Whether it was still going on when the next one began: then it is not known who would have come back.
    #[serde(default)]
    pub overtaken: bool,
    /// Connections lost in it that were to come back.
    pub lost: u64,
    /// Of these, back by its end; the others never came.
    pub back: u64,
    /// Connections started in it.
    pub attempts: u64,
    /// Attempts of its busiest step, per second.
    pub peak: u64,
    /// Beginning of that step; none where nothing was tried.
    pub peak_at: Option<f64>,
    /// Most openings that the target completed within a second before the storm.
    pub capacity: Option<u64>,
    /// Whether more were waiting all through that second; if not, the target may take more.
    pub capacity_reached: bool,
    /// Attempts for each connection that came back.
    pub amplification: Option<f64>,
    /// Seconds from the start until half of the lost were back; none: never.
    pub restored_50: Option<f64>,
    /// The same for 90 %.
    pub restored_90: Option<f64>,
    /// For 99 %.
    pub restored_99: Option<f64>,
    /// For all of them.
    pub restored_100: Option<f64>,
    /// How evenly its phase's openings were spread: most ÷ mean, over the nodes that the target tells, or else over
    /// its addresses; null with fewer than two.
    #[serde(default)]
    pub spread: Option<f64>,
    /// Failures in its seconds, by kind.
    pub failures: BTreeMap<String, u64>,
    /// How long openings took that were done in its seconds, by step, milliseconds; none where not all of them were kept.
    #[serde(default)]
    pub openings: BTreeMap<String, TimerReport>,
    /// Its course.
    pub curve: Vec<StormStep>,
}

/// A step of a storm's course.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StormStep {
    /// Its end, seconds from the run's start. It begins where the one before it ended, the first with the storm.
    pub at: f64,
    /// Connections started.
    pub attempts: u64,
    /// Connections lost.
    pub lost: u64,
    /// Connections that came back.
    pub back: u64,
    /// Openings that failed.
    pub failed: u64,
}

/// Messages of connections that a fault cut off, from the cut on. Each counts to the last fault that cut its connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AbsenceReport {
    /// Brought by resuming.
    pub recovered: u64,
    /// Missed while away, and not brought.
    pub missed: u64,
    /// Lost while connected again.
    pub lost: u64,
    /// Came again.
    #[serde(default)]
    pub duplicated: u64,
    /// Came after a later one.
    #[serde(default)]
    pub reordered: u64,
    /// Came too late or too early to tell whether new or again.
    #[serde(default)]
    pub indeterminate: u64,
}

/// A client group in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupReport {
    /// Name.
    pub name: String,
    /// Connections planned.
    pub count: u64,
}

/// Ended connections of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloseReport {
    /// Close code.
    pub code: u16,
    /// Whether the target ended it.
    pub by_target: bool,
    /// Whether the handshake was completed.
    pub clean: bool,
    /// How many.
    pub count: u64,
}

/// Connections that became ready at one place of the target, reconnects included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceReport {
    /// `ws://host:port` of an address; of a node what the target calls it.
    pub name: String,
    /// How many.
    pub opened: u64,
    /// The same by phase name; only those in which there were any.
    pub opened_by_phase: BTreeMap<String, u64>,
}

/// Connections at one place of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceOverTime {
    /// What the target calls the node, or `ws://host:port` of an address.
    pub name: String,
    /// Ready connections at the end of each interval of `timeline`.
    pub open: Vec<u64>,
}

/// Connections that became ready, by node of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodesReport {
    /// Nodes by name.
    pub told: Vec<PlaceReport>,
    /// Connections whose node the target did not tell.
    pub untold: u64,
    /// Connections at nodes beyond the 1,024 that are told apart.
    pub beyond: u64,
}

/// A timer's distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimerReport {
    /// Values recorded.
    pub count: u64,
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Quantiles.
    pub p50: f64,
    /// 0.9
    pub p90: f64,
    /// 0.99
    pub p99: f64,
    /// 0.999
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

/// A shard's own sums.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShardReport {
    /// Index.
    pub shard: u32,
    /// Conservation: offered = sent + dropped + cancelled.
    pub offered: u64,
    /// See `offered`.
    pub sent: u64,
    /// See `offered`.
    pub dropped: u64,
    /// See `offered`.
    pub cancelled: u64,
    /// Highest share of one core in any second.
    pub cpu_max: f64,
    /// Highest p99 lag of any second, milliseconds.
    pub lag_p99_max: f64,
    /// Largest resident memory, bytes.
    pub rss_max: u64,
    /// Snapshots received.
    pub snapshots: u32,
    /// `finished`, or why it is missing.
    pub state: String,
}

/// What a run cost this machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostReport {
    /// Bytes of all that the shards reported to the coordinator.
    pub telemetry_bytes: u64,
    /// As it was seen every second, with many processes less often.
    pub samples: Vec<CostSample>,
}

impl CostReport {
    /// The sample in which the run's processes and the kernel took the most memory together.
    pub fn peak(&self) -> Option<&CostSample> {
        self.samples.iter().max_by_key(|sample| sample.memory())
    }

    /// Of the samples with nearly the most connections open the one in the middle, by memory: what connections take at
    /// rest with all their accounts, and not while a broadcast is under way or everyone says goodbye.
    pub fn at_rest(&self) -> Option<&CostSample> {
        let most = self.samples.iter().map(|sample| sample.open).max()?;
        let mut full: Vec<&CostSample> = self.samples.iter().collect();
        full.retain(|sample| sample.open >= most - most / 1000);
        full.sort_by_key(|sample| sample.memory());
        full.get(full.len() / 2).copied()
    }
}

impl CostSample {
    /// All of it, bytes.
    pub fn memory(&self) -> u64 {
        self.shards_memory + self.gateway_memory + self.coordinator_memory + self.kernel_memory
    }
}

/// Memory in bytes, what processes share counted in proportion (Pss); CPU in seconds since each process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostSample {
    /// Seconds from the start.
    pub at: f64,
    /// Ready connections.
    pub open: u64,
    /// Memory of all shards.
    pub shards_memory: u64,
    /// Memory of the embedded gateway's processes, or of the target's where the scenario names it.
    pub gateway_memory: u64,
    /// Memory of the coordinator.
    pub coordinator_memory: u64,
    /// The kernel's memory beyond that before the run: slab, page tables, kernel stacks, TCP buffers. Both ends of a
    /// connection where the target is on this machine, and whatever else happened on it.
    pub kernel_memory: u64,
    /// CPU of all shards.
    pub shards_cpu: f64,
    /// CPU of the same.
    pub gateway_cpu: f64,
    /// CPU of the coordinator.
    pub coordinator_cpu: f64,
}

/// One second of the run, all shards together. Rates are per second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Second {
    /// End of the interval, seconds from the start.
    pub at: f64,
    /// Index of the phase.
    pub phase: usize,
    /// Ready connections.
    pub open: u64,
    /// Connections being opened.
    pub opening: u64,
    /// Connections that became ready in it.
    pub opened: u64,
    /// Connections started in it, reconnects included.
    #[serde(default)]
    pub attempts: u64,
    /// Failures in it, by kind.
    pub failures: BTreeMap<String, u64>,
    /// Connections ended by the target in it.
    pub closed: u64,
    /// Publishes and requests due.
    pub offered: u64,
    /// Publishes and requests written.
    pub sent: u64,
    /// Publishes and requests dropped.
    pub dropped: u64,
    /// Messages and replies received.
    pub received: u64,
    /// Quantiles of latency (of RTT where nothing is published), milliseconds.
    pub p50: Option<f64>,
    /// 0.9
    pub p90: Option<f64>,
    /// 0.99
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// p99 schedule lag, milliseconds.
    pub lag_p99: Option<f64>,
    /// Largest schedule lag, milliseconds.
    pub lag_max: Option<f64>,
    /// Share of one core, the busiest shard's.
    pub cpu: f64,
    /// Resident memory of all shards, bytes.
    pub rss: u64,
}
