//! All shards' snapshots put together: sums, merged histograms, the timeline, and the facts that validity is judged by.

use super::absence::Absence;
use super::histogram::{self, Quantiles};
use super::moments::Steps;
use super::names::{Counter, Failure, Timer};
use super::neighbours::{self, Neighbours};
use super::nodes::{NODES, NodeName};
use super::reasons::Reason;
use super::shard::ShardTotals;
use super::snapshot::{
    CloseKey, DrainKey, FaultDelta, FaultEndKey, FaultTally, Gauges, PartingKey, SNAPSHOT_VERSION,
    Sample, Snapshot, Tagged,
};
use super::streams::StreamTotals;
use super::timeline::{Pending, Second};
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Distinct texts kept of one kind in a run.
const TEXTS_PER_KIND: usize = 20;
/// Distinct kinds of texts kept in a run.
const KINDS: usize = 100;
const SECOND_NS: i64 = 1_000_000_000;
/// Seconds of a run at most whose openings are kept: with a thousand openings in each, at 1.5 KB a step, they are some 30 MB; with
/// tens of thousands in every one of them, spread over all that a timer holds, several times that.
const OPENINGS: usize = 3_600;

/// Why a snapshot was refused. Nothing of it was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsorbError {
    /// Its wire form is of another version.
    Version {
        /// The snapshot's.
        got: u16,
    },
    /// From a shard that the run does not have.
    Shard {
        /// The index.
        shard: u32,
    },
    /// Its number was there before.
    Repeated {
        /// The shard.
        shard: u32,
        /// The number.
        number: u32,
    },
    /// A phase, group or histogram in it makes no sense.
    Malformed {
        /// The shard.
        shard: u32,
    },
}

impl fmt::Display for AbsorbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AbsorbError::Version { got } => {
                write!(
                    f,
                    "snapshot of version {got}, this squall reads {SNAPSHOT_VERSION}"
                )
            }
            AbsorbError::Shard { shard } => write!(f, "snapshot of an unknown shard {shard}"),
            AbsorbError::Repeated { shard, number } => {
                write!(f, "snapshot {number} of shard {shard} came twice")
            }
            AbsorbError::Malformed { shard } => write!(f, "malformed snapshot of shard {shard}"),
        }
    }
}

impl std::error::Error for AbsorbError {}

/// The run so far; see the module.
pub struct Totals {
    phases: usize,
    groups: usize,
    counts: BTreeMap<(Counter, u8, u16), u64>,
    failures: BTreeMap<(Failure, u8, u16), u64>,
    statuses: BTreeMap<(u16, u8, u16), u64>,
    expired_closes: BTreeMap<(u16, u8, u16), u64>,
    reasons: BTreeMap<(Reason, u8, u16), u64>,
    revoked_closes: BTreeMap<(u16, u8, u16), u64>,
    closes: BTreeMap<(CloseKey, u8, u16), u64>,
    endpoints: BTreeMap<(u16, u8, u16), u64>,
    nodes: BTreeMap<(NodeName, u8, u16), u64>,
    /// The names in `nodes`.
    names: BTreeSet<String>,
    faults: BTreeMap<u16, FaultTally>,
    steps: Steps,
    neighbours: BTreeMap<u16, Neighbours>,
    streams: StreamTotals,
    fault_ends: BTreeMap<(u16, FaultEndKey), u64>,
    absences: BTreeMap<u16, Absence>,
    drains: BTreeMap<DrainKey, u64>,
    partings: BTreeMap<PartingKey, u64>,
    moved: BTreeMap<u16, FaultTally>,
    timers: BTreeMap<(Timer, u8, u16), Histogram<u64>>,
    shards: Vec<ShardTotals>,
    states: Vec<Option<Gauges>>,
    pending: BTreeMap<u32, Pending>,
    timeline: Vec<Second>,
    /// Connections were lost: from then on there are storms.
    losses: bool,
    /// Seconds whose openings are kept.
    openings: usize,
    samples: BTreeMap<String, BTreeSet<String>>,
}

impl Totals {
    /// Of a run with so many phases, groups and shards.
    pub fn new(phases: usize, groups: usize, shards: usize) -> Self {
        let shard = ShardTotals {
            counts: vec![0; Counter::ALL.len()],
            ..ShardTotals::default()
        };
        Totals {
            phases,
            groups,
            counts: BTreeMap::new(),
            failures: BTreeMap::new(),
            statuses: BTreeMap::new(),
            expired_closes: BTreeMap::new(),
            reasons: BTreeMap::new(),
            revoked_closes: BTreeMap::new(),
            closes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            names: BTreeSet::new(),
            faults: BTreeMap::new(),
            steps: Steps::default(),
            neighbours: BTreeMap::new(),
            streams: StreamTotals::default(),
            fault_ends: BTreeMap::new(),
            absences: BTreeMap::new(),
            drains: BTreeMap::new(),
            partings: BTreeMap::new(),
            moved: BTreeMap::new(),
            timers: BTreeMap::new(),
            shards: vec![shard; shards],
            states: vec![None; shards],
            pending: BTreeMap::new(),
            timeline: Vec::new(),
            losses: false,
            openings: 0,
            samples: BTreeMap::new(),
        }
    }

    /// Adds a snapshot, whole or not at all. A hole in a shard's numbers is no error here: the snapshot counts, and
    /// the hole is kept for [`super::judge`] ([`ShardTotals::missing`]).
    pub fn absorb(&mut self, snapshot: Snapshot) -> Result<(), AbsorbError> {
        if snapshot.version != SNAPSHOT_VERSION {
            return Err(AbsorbError::Version {
                got: snapshot.version,
            });
        }
        let index = snapshot.shard as usize;
        let malformed = AbsorbError::Malformed {
            shard: snapshot.shard,
        };
        let Some(shard) = self.shards.get_mut(index) else {
            return Err(AbsorbError::Shard {
                shard: snapshot.shard,
            });
        };
        let Some(missing) = snapshot.number.checked_sub(shard.next) else {
            let (shard, number) = (snapshot.shard, snapshot.number);
            return Err(AbsorbError::Repeated { shard, number });
        };
        let (phases, groups) = (self.phases, self.groups);
        let known =
            |phase: u8, group: u16| usize::from(phase) < phases && usize::from(group) < groups;
        if !(fits(&snapshot.counts, known)
            && fits(&snapshot.failures, known)
            && fits(&snapshot.statuses, known)
            && fits(&snapshot.expired_closes, known)
            && fits(&snapshot.reasons, known)
            && fits(&snapshot.revoked_closes, known)
            && fits(&snapshot.closes, known)
            && fits(&snapshot.endpoints, known)
            && fits(&snapshot.nodes, known)
            && tallies(&snapshot).all(|delta| delta.did.makes_sense()))
        {
            return Err(malformed);
        }
        let mut decoded = Vec::with_capacity(snapshot.timers.len());
        for delta in &snapshot.timers {
            match histogram::decode(&delta.histogram) {
                Some(values) if known(delta.phase, delta.group) => {
                    decoded.push(((delta.timer, delta.phase, delta.group), values));
                }
                _ => return Err(malformed),
            }
        }
        let mut beside = Vec::with_capacity(snapshot.neighbours.len());
        for delta in &snapshot.neighbours {
            match neighbours::decode(delta) {
                Some(latencies) => beside.push((delta.fault, delta.tally, latencies)),
                None => return Err(malformed),
            }
        }
        // From here on nothing fails.
        let mut merged: BTreeMap<Timer, Histogram<u64>> = BTreeMap::new();
        for (key, values) in &decoded {
            histogram::merge(merged.entry(key.0).or_insert_with(histogram::empty), values);
            histogram::merge(
                self.timers.entry(*key).or_insert_with(histogram::empty),
                values,
            );
        }
        shard.next = snapshot.number.saturating_add(1);
        shard.missing = shard.missing.saturating_add(missing);
        let interval = shard.take(&snapshot, merged.get(&Timer::Lag));
        add(&mut self.counts, &snapshot.counts);
        add(&mut self.failures, &snapshot.failures);
        add(&mut self.statuses, &snapshot.statuses);
        add(&mut self.expired_closes, &snapshot.expired_closes);
        add(&mut self.revoked_closes, &snapshot.revoked_closes);
        add(&mut self.closes, &snapshot.closes);
        for delta in &snapshot.faults {
            for end in &delta.ends {
                grow(&mut self.fault_ends, (delta.fault, end.key), end.count);
            }
        }
        self.steps.add(&snapshot.steps);
        self.losses |= snapshot.steps.iter().any(|step| step.lost > 0);
        for delta in &snapshot.absences {
            let messages = self.absences.entry(delta.fault).or_default();
            *messages = messages.and(delta.messages);
        }
        self.streams.add(&snapshot.streams);
        tally(&mut self.faults, &snapshot.faults);
        tally(&mut self.moved, &snapshot.moved);
        for delta in &snapshot.drains {
            grow(&mut self.drains, delta.key, delta.count);
        }
        for delta in &snapshot.partings {
            grow(&mut self.partings, delta.key, delta.count);
        }
        add(&mut self.endpoints, &snapshot.endpoints);
        for (fault, tally, latencies) in &beside {
            let of = self.neighbours.entry(*fault).or_default();
            of.add(*tally, latencies);
        }
        let second = second_of(snapshot.at_ns).max(self.first_open());
        let pending = self.pending.entry(second).or_default();
        pending.add(&snapshot, &merged, interval.cpu);
        for (fault, _, latencies) in &beside {
            pending.beside(*fault, latencies);
        }
        self.meet(snapshot.nodes);
        self.hear(snapshot.reasons);
        self.keep(snapshot.samples);
        self.complete();
        Ok(())
    }

    /// Notes that a shard is gone, with the reason; the timeline no longer waits for it.
    pub fn lose(&mut self, shard: u32, reason: &str) {
        let index = shard as usize;
        if let Some(shard) = self.shards.get_mut(index) {
            shard.lost.get_or_insert_with(|| reason.to_owned());
            if let Some(state) = self.states.get_mut(index) {
                *state = None;
            }
        }
        self.complete();
    }

    /// Ends the timeline: seconds that not every shard reported are taken as they are.
    pub fn finish(&mut self) {
        while let Some((index, pending)) = self.pending.pop_first() {
            self.over(index, pending);
        }
    }

    /// The complete seconds, in order. A second in which no shard reported is not in it.
    pub fn timeline(&self) -> &[Second] {
        &self.timeline
    }

    /// Merged values of a timer, microseconds; `None` means all phases, all groups. Empty when there are none.
    pub fn histogram(
        &self,
        timer: Timer,
        phase: Option<usize>,
        group: Option<usize>,
    ) -> Histogram<u64> {
        let mut merged = histogram::empty();
        for ((_, p, g), values) in self
            .timers
            .range((timer, 0, 0)..=(timer, u8::MAX, u16::MAX))
        {
            if within(*p, *g, phase, group) {
                histogram::merge(&mut merged, values);
            }
        }
        merged
    }

    /// The same in a few numbers; `None` without values.
    pub fn quantiles(
        &self,
        timer: Timer,
        phase: Option<usize>,
        group: Option<usize>,
    ) -> Option<Quantiles> {
        Quantiles::of(&self.histogram(timer, phase, group))
    }

    /// A count; `None` means all phases, all groups.
    pub fn count(&self, counter: Counter, phase: Option<usize>, group: Option<usize>) -> u64 {
        sum(&self.counts, phase, group, |key| key == counter)
    }

    /// Failures of one kind, or of all.
    pub fn failures(
        &self,
        kind: Option<Failure>,
        phase: Option<usize>,
        group: Option<usize>,
    ) -> u64 {
        sum(&self.failures, phase, group, |key| {
            kind.is_none_or(|kind| key == kind)
        })
    }

    /// Failures by kind, without those that did not happen.
    pub fn failures_by_kind(
        &self,
        phase: Option<usize>,
        group: Option<usize>,
    ) -> BTreeMap<Failure, u64> {
        by_key(&self.failures, phase, group)
    }

    /// Refused upgrades by HTTP status.
    pub fn statuses(&self, phase: Option<usize>, group: Option<usize>) -> BTreeMap<u16, u64> {
        by_key(&self.statuses, phase, group)
    }

    /// Connections that the target closed after their token had expired, by close code.
    pub fn expired_closes(&self, phase: Option<usize>, group: Option<usize>) -> BTreeMap<u16, u64> {
        by_key(&self.expired_closes, phase, group)
    }

    /// Reasons that the target gave in its protocol's own words.
    pub fn reasons(&self, phase: Option<usize>, group: Option<usize>) -> BTreeMap<Reason, u64> {
        by_key(&self.reasons, phase, group)
    }

    /// Connections that the target closed after their token was revoked, by close code.
    pub fn revoked_closes(&self, phase: Option<usize>, group: Option<usize>) -> BTreeMap<u16, u64> {
        by_key(&self.revoked_closes, phase, group)
    }

    /// Ended connections by how they ended.
    pub fn closes(&self, phase: Option<usize>, group: Option<usize>) -> BTreeMap<CloseKey, u64> {
        by_key(&self.closes, phase, group)
    }

    /// Connections that became ready by the index of the target's address.
    pub fn endpoints(&self, phase: Option<usize>, group: Option<usize>) -> BTreeMap<u16, u64> {
        by_key(&self.endpoints, phase, group)
    }

    /// Connections that became ready by the node that serves them: of groups whose target tells it.
    pub fn nodes(&self, phase: Option<usize>, group: Option<usize>) -> BTreeMap<NodeName, u64> {
        by_key(&self.nodes, phase, group)
    }

    /// Openings at each place of the target: its nodes, if it told any anywhere in the run, or else its addresses that anybody came to.
    /// One that nobody came to in this phase and group is among them, with none.
    pub fn places(&self, phase: Option<usize>, group: Option<usize>) -> Vec<u64> {
        let here = self.nodes(phase, group);
        let known = self.nodes(None, None).into_keys();
        let known = known.filter(|node| matches!(node, NodeName::Named(_)));
        let nodes: Vec<u64> = known
            .map(|node| here.get(&node).copied().unwrap_or(0))
            .collect();
        if !nodes.is_empty() {
            return nodes;
        }
        let here = self.endpoints(phase, group);
        let known = self.endpoints(None, None).into_keys();
        known
            .map(|place| here.get(&place).copied().unwrap_or(0))
            .collect()
    }

    /// What came of the messages of connections that the run's fault with this number cut off.
    pub fn absence(&self, number: usize) -> Absence {
        let number = u16::try_from(number).ok();
        let messages = number.and_then(|number| self.absences.get(&number));
        messages.copied().unwrap_or_default()
    }

    /// What the run's fault with this number did to connections; `None` before it did anything.
    pub fn fault(&self, number: usize) -> Option<FaultTally> {
        self.faults.get(&u16::try_from(number).ok()?).copied()
    }

    /// Openings and losses in steps of 100 ms.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// What slow consumers and those beside them got of the run's fault with this number.
    pub fn neighbours(&self, number: usize) -> Option<&Neighbours> {
        self.neighbours.get(&u16::try_from(number).ok()?)
    }

    /// What became of each stream's messages, of shards that came to their end.
    pub fn streams(&self) -> &StreamTotals {
        &self.streams
    }

    /// How the target ended connections under the run's fault with this number.
    pub fn fault_ends(&self, number: usize) -> BTreeMap<FaultEndKey, u64> {
        let ends = self.fault_ends.iter();
        ends.filter(|((fault, _), _)| usize::from(*fault) == number)
            .map(|((_, key), count)| (*key, *count))
            .collect()
    }

    /// When connections that the deploy with this number cut were ready again; `None` while none is.
    pub fn moved(&self, number: usize) -> Option<FaultTally> {
        self.moved.get(&u16::try_from(number).ok()?).copied()
    }

    /// How the connections that were open when the deploy with this number began ended during it, in order of time
    /// for each endpoint.
    pub fn drains(&self, number: usize) -> impl Iterator<Item = (&DrainKey, u64)> {
        let of = move |key: &DrainKey| usize::from(key.fault) == number;
        self.drains
            .iter()
            .filter(move |(key, _)| of(key))
            .map(|(key, count)| (key, *count))
    }

    /// How TCP ended of the connections that the deploy with this number cut: of those of [`Totals::drains`] whose is over.
    pub fn partings(&self, number: usize) -> impl Iterator<Item = (&PartingKey, u64)> {
        let of = move |key: &PartingKey| usize::from(key.fault) == number;
        self.partings
            .iter()
            .filter(move |(key, _)| of(key))
            .map(|(key, count)| (key, *count))
    }

    /// The shards' own sums, by index.
    pub fn shards(&self) -> &[ShardTotals] {
        &self.shards
    }

    /// Texts from the target, by kind.
    pub fn samples(&self) -> impl Iterator<Item = (&str, &str)> {
        self.samples
            .iter()
            .flat_map(|(kind, texts)| texts.iter().map(move |text| (kind.as_str(), text.as_str())))
    }

    /// The first second that is not in the timeline yet: what comes late still counts, there.
    fn first_open(&self) -> u32 {
        let last = self.timeline.last();
        last.map_or(0, |second| second.index.saturating_add(1))
    }

    /// Moves the seconds that every live shard has reported to the timeline.
    fn complete(&mut self) {
        let waiting = self
            .shards
            .iter()
            .filter(|s| s.lost.is_none() && !s.finished);
        let reported = waiting
            .map(|shard| shard.before.map_or(0, |(at_ns, _)| seconds_over(at_ns)))
            .min();
        while let Some(first) = self.pending.first_entry() {
            let index = *first.key();
            if reported.is_some_and(|reported| index >= reported) {
                break;
            }
            let pending = first.remove();
            self.over(index, pending);
        }
    }

    /// A second is complete.
    fn over(&mut self, index: u32, pending: Pending) {
        let keep = self.losses && self.openings < OPENINGS;
        let second = pending.finish(index, &mut self.states, keep);
        self.openings += usize::from(!second.openings.is_empty());
        self.timeline.push(second);
    }

    /// Adds openings by node. Shards may have met different ones: only so many are told apart here too.
    fn meet(&mut self, nodes: Vec<Tagged<NodeName>>) {
        for Tagged {
            phase,
            group,
            mut key,
            count,
        } in nodes
        {
            if let NodeName::Named(name) = &key
                && !self.names.contains(name)
            {
                if self.names.len() < NODES {
                    self.names.insert(name.clone());
                } else {
                    key = NodeName::Beyond;
                }
            }
            grow(&mut self.nodes, (key, phase, group), count);
        }
    }

    /// Adds reasons: only so many are told apart here too.
    fn hear(&mut self, reasons: Vec<Tagged<Reason>>) {
        for Tagged {
            phase,
            group,
            key,
            count,
        } in reasons
        {
            let key = (key, phase, group);
            let known = self.reasons.contains_key(&key);
            let reason = key.0.counted(self.reasons.len(), known);
            grow(&mut self.reasons, (reason, phase, group), count);
        }
    }

    fn keep(&mut self, samples: Vec<Sample>) {
        for Sample { kind, text } in samples {
            if self.samples.len() >= KINDS && !self.samples.contains_key(&kind) {
                continue;
            }
            let texts = self.samples.entry(kind).or_default();
            if texts.len() < TEXTS_PER_KIND {
                texts.insert(text);
            }
        }
    }
}

/// The second a snapshot taken then speaks of: the nearest whole second is its end.
fn second_of(at_ns: i64) -> u32 {
    seconds_over(at_ns).saturating_sub(1)
}

/// The seconds that are over then: none at the start, when a shard's first snapshot only gives later ones
/// something to be counted from.
fn seconds_over(at_ns: i64) -> u32 {
    let over = at_ns.saturating_add(SECOND_NS / 2).div_euclid(SECOND_NS);
    u32::try_from(over.max(0)).unwrap_or(u32::MAX)
}

fn tallies(snapshot: &Snapshot) -> impl Iterator<Item = &FaultDelta> {
    snapshot.faults.iter().chain(&snapshot.moved)
}

fn tally(into: &mut BTreeMap<u16, FaultTally>, deltas: &[FaultDelta]) {
    for delta in deltas {
        let did = into.entry(delta.fault).or_default();
        *did = did.and(delta.did);
    }
}

fn fits<K>(tagged: &[Tagged<K>], known: impl Fn(u8, u16) -> bool) -> bool {
    tagged
        .iter()
        .all(|tagged| known(tagged.phase, tagged.group))
}

fn add<K: Ord + Copy>(into: &mut BTreeMap<(K, u8, u16), u64>, tagged: &[Tagged<K>]) {
    for t in tagged {
        grow(into, (t.key, t.phase, t.group), t.count);
    }
}

/// Adds to a count, up to the largest there is: what a shard tells may be anything.
fn grow<K: Ord>(into: &mut BTreeMap<K, u64>, key: K, more: u64) {
    let count = into.entry(key).or_default();
    *count = count.saturating_add(more);
}

fn within(p: u8, g: u16, phase: Option<usize>, group: Option<usize>) -> bool {
    phase.is_none_or(|phase| phase == usize::from(p))
        && group.is_none_or(|group| group == usize::from(g))
}

fn sum<K: Copy>(
    of: &BTreeMap<(K, u8, u16), u64>,
    phase: Option<usize>,
    group: Option<usize>,
    wanted: impl Fn(K) -> bool,
) -> u64 {
    of.iter()
        .filter(|((key, p, g), _)| wanted(*key) && within(*p, *g, phase, group))
        .fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

fn by_key<K: Clone + Ord>(
    of: &BTreeMap<(K, u8, u16), u64>,
    phase: Option<usize>,
    group: Option<usize>,
) -> BTreeMap<K, u64> {
    let mut out = BTreeMap::new();
    for ((key, p, g), count) in of {
        if within(*p, *g, phase, group) {
            grow(&mut out, key.clone(), *count);
        }
    }
    out
}

#[cfg(test)]
mod tests;
