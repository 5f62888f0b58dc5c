//! The hot path of measuring: everything a shard records between two snapshots.
//!
//! Called for every message, so it does not allocate in steady state: counts are cells of flat
//! tables, histograms are made on first use and recycled from one interval to the next.

use super::absence::{Absence, AbsenceDelta};
use super::clean::clean;
use super::fate::{Arrival, Loss};
use super::histogram::{self, HIGHEST_US, LOWEST_US};
use super::moments::{Moments, Step};
use super::names::{Counter, Failure, Timer};
use super::neighbours::Recording;
use super::nodes::{Names, Node, NodeName};
use super::reasons::Reason;
use super::snapshot::{
    CloseKey, DrainDelta, DrainKey, FaultDelta, FaultEnd, FaultEndKey, FaultTally, Gauges,
    PartingDelta, PartingKey, SNAPSHOT_VERSION, Sample, Snapshot, Tagged, TimerDelta,
};
use super::streams::{Place, Streams};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use std::collections::BTreeMap;
use std::ops::Range;

/// Histograms kept for the next that is needed.
const SPARE: usize = 2;
/// Distinct texts kept of one kind in one interval.
const TEXTS_PER_KIND: usize = 20;
/// Distinct kinds of texts kept in one interval.
const KINDS: usize = 50;

/// What one shard records; see the module.
pub struct Recorder {
    shard: u32,
    number: u32,
    phases: usize,
    groups: usize,
    counts: Vec<u64>,
    failures: Vec<u64>,
    statuses: BTreeMap<(u8, u16, u16), u64>,
    expired_closes: BTreeMap<(u8, u16, u16), u64>,
    reasons: BTreeMap<(u8, u16, Reason), u64>,
    revoked_closes: BTreeMap<(u8, u16, u16), u64>,
    closes: BTreeMap<(u8, u16, CloseKey), u64>,
    endpoints: BTreeMap<(u8, u16, u16), u64>,
    nodes: BTreeMap<(u8, u16, Node), u64>,
    names: Names,
    faults: BTreeMap<u16, (FaultTally, BTreeMap<FaultEndKey, u64>)>,
    moments: Moments,
    absences: BTreeMap<u16, Absence>,
    drains: BTreeMap<DrainKey, u64>,
    partings: BTreeMap<PartingKey, u64>,
    moved: BTreeMap<u16, FaultTally>,
    neighbours: BTreeMap<u16, Recording>,
    streams: Streams,
    /// Boxed, as most cells stay empty and a shard has many: 150 bytes each would be felt among what a connection costs.
    timers: Vec<Option<Box<Histogram<u32>>>>,
    spare: Vec<Histogram<u32>>,
    serializer: V2Serializer,
    samples: BTreeMap<String, Vec<String>>,
}

impl Recorder {
    /// For a shard of a run with so many phases (at most 256) and groups (at most 65,536); none counts as one.
    pub fn new(shard: u32, phases: usize, groups: usize) -> Self {
        let phases = phases.clamp(1, usize::from(u8::MAX) + 1);
        let groups = groups.clamp(1, usize::from(u16::MAX) + 1);
        let cells = phases * groups;
        let mut timers = Vec::new();
        timers.resize_with(Timer::ALL.len() * cells, || None);
        Recorder {
            shard,
            number: 0,
            phases,
            groups,
            counts: vec![0; Counter::ALL.len() * cells],
            failures: vec![0; Failure::ALL.len() * cells],
            statuses: BTreeMap::new(),
            expired_closes: BTreeMap::new(),
            reasons: BTreeMap::new(),
            revoked_closes: BTreeMap::new(),
            closes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            names: Names::default(),
            faults: BTreeMap::new(),
            moments: Moments::default(),
            absences: BTreeMap::new(),
            drains: BTreeMap::new(),
            partings: BTreeMap::new(),
            moved: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            streams: Streams::default(),
            timers,
            spare: Vec::new(),
            serializer: V2Serializer::new(),
            samples: BTreeMap::new(),
        }
    }

    /// The same of a run that numbers its streams in these ranges.
    #[must_use]
    pub fn with_streams(mut self, numbered: impl IntoIterator<Item = Range<u32>>) -> Self {
        self.streams = Streams::new(numbered);
        self
    }

    /// The cell of a phase and group of the key's table; what is beyond the last counts to the last.
    fn cell(&self, key: usize, phase: usize, group: usize) -> usize {
        debug_assert!(phase < self.phases && group < self.groups);
        let phase = phase.min(self.phases - 1);
        let group = group.min(self.groups - 1);
        (key * self.phases + phase) * self.groups + group
    }

    /// Records a duration in nanoseconds, rounded to microseconds; under one microsecond counts as one.
    /// A negative one or one above 60 s is counted as [`Counter::OutOfRange`] instead.
    pub fn time(&mut self, timer: Timer, phase: usize, group: usize, ns: i64) {
        let us = match u64::try_from(ns) {
            Ok(ns) if ns <= HIGHEST_US * 1000 => ((ns + 500) / 1000).max(LOWEST_US),
            _ => return self.count(Counter::OutOfRange, phase, group, 1),
        };
        let cell = self.cell(timer as usize, phase, group);
        let Some(slot) = self.timers.get_mut(cell) else {
            return;
        };
        let histogram = match slot {
            Some(histogram) => histogram,
            None => {
                let spare = self.spare.pop();
                slot.insert(Box::new(spare.unwrap_or_else(histogram::empty)))
            }
        };
        histogram.saturating_record(us);
    }

    /// Adds `n` to a counter.
    pub fn count(&mut self, counter: Counter, phase: usize, group: usize, n: u64) {
        let cell = self.cell(counter as usize, phase, group);
        if let Some(count) = self.counts.get_mut(cell) {
            *count += n;
        }
    }

    /// Counts a failure.
    pub fn fail(&mut self, failure: Failure, phase: usize, group: usize) {
        let cell = self.cell(failure as usize, phase, group);
        if let Some(count) = self.failures.get_mut(cell) {
            *count += 1;
        }
    }

    /// Counts the HTTP status of a refused upgrade (besides its [`Failure::Status`]).
    pub fn status(&mut self, status: u16, phase: usize, group: usize) {
        let key = (tag8(phase), tag16(group), status);
        *self.statuses.entry(key).or_default() += 1;
    }

    /// Counts a connection that the target closed with this code after its token had expired (besides its close).
    pub fn expired_close(&mut self, code: u16, phase: usize, group: usize) {
        let key = (tag8(phase), tag16(group), code);
        *self.expired_closes.entry(key).or_default() += 1;
    }

    /// Counts a reason that the target gave, or that a connection was given up for.
    pub fn reason(&mut self, reason: Reason, phase: usize, group: usize) {
        let (phase, group) = (tag8(phase), tag16(group));
        let key = (phase, group, reason);
        if let Some(count) = self.reasons.get_mut(&key) {
            *count += 1;
            return;
        }
        let reason = key.2.counted(self.reasons.len(), false);
        *self.reasons.entry((phase, group, reason)).or_default() += 1;
    }

    /// Counts a connection that the target closed with this code after its token was revoked (besides its close).
    pub fn revoked_close(&mut self, code: u16, phase: usize, group: usize) {
        let key = (tag8(phase), tag16(group), code);
        *self.revoked_closes.entry(key).or_default() += 1;
    }

    /// Counts an ended connection.
    pub fn close(&mut self, close: CloseKey, phase: usize, group: usize) {
        let key = (tag8(phase), tag16(group), close);
        *self.closes.entry(key).or_default() += 1;
    }

    /// Counts a connection that became ready at the target's address with this index.
    pub fn endpoint(&mut self, endpoint: u16, phase: usize, group: usize) {
        let key = (tag8(phase), tag16(group), endpoint);
        *self.endpoints.entry(key).or_default() += 1;
    }

    /// The number of the node that calls itself so.
    pub fn node(&mut self, told: &[u8]) -> Node {
        self.names.number(told)
    }

    /// What a node calls itself.
    pub fn name(&self, node: Node) -> NodeName {
        self.names.name(node)
    }

    /// Counts a connection that became ready at this node.
    pub fn served_by(&mut self, node: Node, phase: usize, group: usize) {
        let key = (tag8(phase), tag16(group), node);
        *self.nodes.entry(key).or_default() += 1;
    }

    /// Counts a connection whose turn it was in the run's fault with this number.
    pub fn fault(&mut self, number: usize, touched: bool, now_ns: u64) {
        self.fault_did(number, FaultTally::one(touched, now_ns));
    }

    /// Adds to what the run's fault with this number did.
    pub fn fault_did(&mut self, number: usize, more: FaultTally) {
        let (tally, _) = self.faults.entry(tag16(number)).or_default();
        *tally = tally.and(more);
    }

    /// Counts a connection under the run's fault with this number that the target ended.
    pub fn fault_end(&mut self, number: usize, key: FaultEndKey) {
        let (_, ends) = self.faults.entry(tag16(number)).or_default();
        *ends.entry(key).or_default() += 1;
    }

    /// The step of 100 ms that this moment lies in, nanoseconds from the run's start, to add to.
    pub fn step(&mut self, now_ns: u64) -> &mut Step {
        self.moments.at(now_ns)
    }

    /// Adds to what came of the messages of connections that the run's fault with this number cut off.
    pub fn absence(&mut self, number: usize, more: Absence) {
        let messages = self.absences.entry(tag16(number)).or_default();
        *messages = messages.and(more);
    }

    /// Counts a connection that is ready again after the deploy with this number cut it.
    pub fn moved(&mut self, number: usize, now_ns: u64) {
        let did = self.moved.entry(tag16(number)).or_default();
        *did = did.and(FaultTally::one(true, now_ns));
    }

    /// Counts a connection that was open when a deploy began and ended during it.
    pub fn drain(&mut self, key: DrainKey) {
        *self.drains.entry(key).or_default() += 1;
    }

    /// Counts the end of TCP of a connection that a deploy cut.
    pub fn parting(&mut self, key: PartingKey) {
        *self.partings.entry(key).or_default() += 1;
    }

    /// What is recorded beside the run's fault with this number, to add to.
    pub fn beside(&mut self, number: usize) -> &mut Recording {
        self.neighbours.entry(tag16(number)).or_default()
    }

    /// Counts a stamped message to its stream, which is known to be one of the run's.
    pub fn came(&mut self, stream: u32, arrival: Arrival) {
        self.streams.came(stream, arrival);
    }

    /// The same message again where it was recovered, or is not a new one in order: of which phase, group and fault.
    pub fn came_wrong(&mut self, stream: u32, place: Place, arrival: Arrival, recovered: bool) {
        self.streams.wrong(stream, place, arrival, recovered);
    }

    /// Counts messages that never came to their stream.
    pub fn never_came(&mut self, loss: &Loss, place: Place) {
        self.streams.lost(loss, place);
    }

    /// Keeps a text from the target, cleaned and cut; at most 20 distinct ones of a kind and 50 kinds an interval.
    pub fn sample(&mut self, kind: &str, text: &[u8]) {
        if let Some(texts) = self.samples.get_mut(kind) {
            // Full: do not even clean, a flood of texts must stay cheap.
            if texts.len() < TEXTS_PER_KIND {
                let text = clean(text);
                if !text.is_empty() && !texts.contains(&text) {
                    texts.push(text);
                }
            }
        } else if self.samples.len() < KINDS {
            let text = clean(text);
            if !text.is_empty() {
                self.samples.insert(kind.to_owned(), vec![text]);
            }
        }
    }

    /// Everything since the last snapshot, and starts anew. `at_ns` is nanoseconds from the run's start.
    pub fn snapshot(&mut self, at_ns: i64, gauges: Gauges, last: bool) -> Snapshot {
        let (phases, groups) = (self.phases, self.groups);
        let number = self.number;
        self.number = self.number.wrapping_add(1);
        let mut timers = Vec::new();
        for (cell, slot) in self.timers.iter_mut().enumerate() {
            let Some(mut histogram) = slot.take() else {
                continue;
            };
            if histogram.is_empty() {
                // Not used for a whole interval: free for whatever needs one next. Of its 70 KiB not more than a few are kept.
                if self.spare.len() < SPARE {
                    self.spare.push(*histogram);
                }
                continue;
            }
            let (key, phase, group) = tags(cell, phases, groups);
            let mut bytes = Vec::new();
            if histogram::encode(&mut self.serializer, &histogram, &mut bytes)
                && let Some(&timer) = Timer::ALL.get(key)
            {
                timers.push(TimerDelta {
                    phase,
                    group,
                    timer,
                    histogram: bytes,
                });
            }
            histogram.reset();
            *slot = Some(histogram);
        }
        Snapshot {
            version: SNAPSHOT_VERSION,
            shard: self.shard,
            number,
            at_ns,
            last,
            counts: take(&mut self.counts, Counter::ALL, phases, groups),
            failures: take(&mut self.failures, Failure::ALL, phases, groups),
            statuses: drain(&mut self.statuses),
            expired_closes: drain(&mut self.expired_closes),
            reasons: drain(&mut self.reasons),
            revoked_closes: drain(&mut self.revoked_closes),
            closes: drain(&mut self.closes),
            endpoints: drain(&mut self.endpoints),
            nodes: drain(&mut self.nodes)
                .into_iter()
                .map(|tagged| Tagged {
                    phase: tagged.phase,
                    group: tagged.group,
                    key: self.names.name(tagged.key),
                    count: tagged.count,
                })
                .collect(),
            faults: std::mem::take(&mut self.faults)
                .into_iter()
                .map(|(fault, (did, ends))| FaultDelta {
                    fault,
                    did,
                    ends: ends
                        .into_iter()
                        .map(|(key, count)| FaultEnd { key, count })
                        .collect(),
                })
                .collect(),
            steps: self.moments.take(),
            absences: std::mem::take(&mut self.absences)
                .into_iter()
                .map(|(fault, messages)| AbsenceDelta { fault, messages })
                .collect(),
            drains: std::mem::take(&mut self.drains)
                .into_iter()
                .map(|(key, count)| DrainDelta { key, count })
                .collect(),
            partings: std::mem::take(&mut self.partings)
                .into_iter()
                .map(|(key, count)| PartingDelta { key, count })
                .collect(),
            moved: std::mem::take(&mut self.moved)
                .into_iter()
                .map(|(fault, did)| FaultDelta {
                    fault,
                    did,
                    ends: Vec::new(),
                })
                .collect(),
            timers,
            neighbours: self
                .neighbours
                .iter_mut()
                .filter_map(|(fault, of)| of.take(*fault, &mut self.serializer))
                .collect(),
            streams: if last {
                self.streams.take()
            } else {
                Vec::new()
            },
            gauges,
            samples: std::mem::take(&mut self.samples)
                .into_iter()
                .flat_map(|(kind, texts)| {
                    texts.into_iter().map(move |text| Sample {
                        kind: kind.clone(),
                        text,
                    })
                })
                .collect(),
        }
    }
}

fn tag8(phase: usize) -> u8 {
    u8::try_from(phase).unwrap_or(u8::MAX)
}

fn tag16(group: usize) -> u16 {
    u16::try_from(group).unwrap_or(u16::MAX)
}

/// Key, phase and group of a cell.
fn tags(cell: usize, phases: usize, groups: usize) -> (usize, u8, u16) {
    let (row, group) = (cell / groups, cell % groups);
    (row / phases, tag8(row % phases), tag16(group))
}

/// The non-zero cells, which are zero afterwards.
fn take<K: Copy>(cells: &mut [u64], keys: &[K], phases: usize, groups: usize) -> Vec<Tagged<K>> {
    let mut out = Vec::new();
    for (cell, count) in cells.iter_mut().enumerate() {
        if *count > 0 {
            let (key, phase, group) = tags(cell, phases, groups);
            if let Some(&key) = keys.get(key) {
                out.push(Tagged {
                    phase,
                    group,
                    key,
                    count: *count,
                });
            }
            *count = 0;
        }
    }
    out
}

fn drain<K: Ord>(map: &mut BTreeMap<(u8, u16, K), u64>) -> Vec<Tagged<K>> {
    std::mem::take(map)
        .into_iter()
        .map(|((phase, group, key), count)| Tagged {
            phase,
            group,
            key,
            count,
        })
        .collect()
}

#[cfg(test)]
mod tests;
