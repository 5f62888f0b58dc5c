//! What a shard reports each second: deltas since its last snapshot, in a versioned wire form.

use super::absence::AbsenceDelta;
use super::moments::Step;
use super::names::{Counter, Failure, Timer};
use super::neighbours::NeighbourDelta;
use super::nodes::NodeName;
use super::reasons::Reason;
use super::streams::StreamDelta;
use serde::{Deserialize, Serialize};

/// Version of [`Snapshot`]'s wire form; a worker of another version is refused.
pub const SNAPSHOT_VERSION: u16 = 8;

/// Everything a shard recorded since its last snapshot. Quantities are deltas; `gauges` are as of now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SNAPSHOT_VERSION`].
    pub version: u16,
    /// The shard's index.
    pub shard: u32,
    /// 0, 1, 2 …; a hole is a telemetry gap.
    pub number: u32,
    /// End of the interval, nanoseconds from the run's start (negative before it).
    pub at_ns: i64,
    /// True for the shard's last one.
    pub last: bool,
    /// Counts.
    pub counts: Vec<Tagged<Counter>>,
    /// Failures by kind.
    pub failures: Vec<Tagged<Failure>>,
    /// HTTP statuses of refused upgrades.
    pub statuses: Vec<Tagged<u16>>,
    /// Connections that the target closed after their token had expired, by close code as in `closes`; in the phase of the expiry.
    pub expired_closes: Vec<Tagged<u16>>,
    /// Reasons that the target gave in its protocol's own words.
    pub reasons: Vec<Tagged<Reason>>,
    /// Connections that the target closed after their token was revoked, likewise; in the phase of the fault.
    pub revoked_closes: Vec<Tagged<u16>>,
    /// Ended connections by close code (1005: Close frame without code, 1006: no Close frame).
    pub closes: Vec<Tagged<CloseKey>>,
    /// Connections that became ready, by the index of the target's address.
    pub endpoints: Vec<Tagged<u16>>,
    /// Connections that became ready, by the node that serves them: of groups whose target tells it.
    pub nodes: Vec<Tagged<NodeName>>,
    /// What faults did to connections, by their number in the run; only those that did something.
    pub faults: Vec<FaultDelta>,
    /// Openings and losses in steps of 100 ms; only those in which something happened.
    pub steps: Vec<Step>,
    /// What came of the messages of connections that faults cut off.
    pub absences: Vec<AbsenceDelta>,
    /// How connections that were open when a deploy began ended during it.
    pub drains: Vec<DrainDelta>,
    /// How TCP ended of such connections: with a Close frame that is later than their end, and may be after the deploy.
    pub partings: Vec<PartingDelta>,
    /// When such connections were ready again, by the deploy's number among the run's faults.
    pub moved: Vec<FaultDelta>,
    /// Histograms, HdrHistogram V2 encoding, microseconds.
    pub timers: Vec<TimerDelta>,
    /// What slow consumers and those beside them got, by fault; only where there was something.
    pub neighbours: Vec<NeighbourDelta>,
    /// What became of each stream's messages in the whole run: only in the last one.
    pub streams: Vec<StreamDelta>,
    /// State of the shard now.
    pub gauges: Gauges,
    /// Bounded, cleaned texts from the target (close reasons, bodies, error messages), by kind.
    pub samples: Vec<Sample>,
}

/// A count of something in a phase by a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagged<K> {
    /// Index of the phase.
    pub phase: u8,
    /// Index of the group.
    pub group: u16,
    /// Of what.
    pub key: K,
    /// How many.
    pub count: u64,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CloseKey {
    /// Close code; 1005 and 1006 as RFC 6455 §7.1.5 defines them.
    pub code: u16,
    /// Whether the target ended it (its Close frame, FIN or RST came first).
    pub by_target: bool,
    /// Whether the close handshake was completed on both sides.
    pub clean: bool,
}

/// What a fault did since the last snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultDelta {
    /// Its number in the run.
    pub fault: u16,
    /// Its sums and times.
    pub did: FaultTally,
    /// How the target ended connections under it.
    pub ends: Vec<FaultEnd>,
}

/// Connections under a fault that the target ended in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEnd {
    /// Which way.
    pub key: FaultEndKey,
    /// How many.
    pub count: u64,
}

/// How the target ended a connection under a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FaultEndKey {
    /// Close code, as in [`CloseKey`]; or the HTTP status by which an opening was refused.
    pub code: u16,
    /// False: seen while the fault lasted, and timed as [`Timer::Evicted`]. True: seen only when what had been held
    /// back was read after it; when it happened, nobody can tell.
    pub after: bool,
}

/// What a fault did to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultTally {
    /// Connections whose turn it was.
    pub due: u64,
    /// Of these, those that were there to be touched; of a fault that lasts, also those that came while it did. Each once.
    pub touched: u64,
    /// When it came to the first of them, nanoseconds from the run's start; `u64::MAX` before.
    pub first_ns: u64,
    /// When it came to the last of them; 0 before.
    pub last_ns: u64,
    /// Of a fault that lasts: connections whose turn it had been and for which it is over.
    pub ended: u64,
    /// When it was over for the last of them, nanoseconds from the run's start; 0 before.
    pub ended_ns: u64,
    /// Bytes that slow consumers read while they were slow, TLS included.
    pub taken: u64,
    /// Bytes that the kernel had accepted for them and they had not read when it was over.
    pub unread: u64,
    /// Messages that connections it had touched lost while connected, from then on to the end of the run.
    pub skipped: u64,
    /// Of the touched ones, those that the target closed under it, whenever that was seen; each once.
    pub closed: u64,
    /// Smallest receive buffer in effect (SO_RCVBUF as the kernel says) of sockets it was set for; 0: of none.
    pub receive_buffer: u32,
}

impl Default for FaultTally {
    /// Nothing yet.
    fn default() -> Self {
        FaultTally {
            due: 0,
            touched: 0,
            first_ns: u64::MAX,
            last_ns: 0,
            ended: 0,
            ended_ns: 0,
            taken: 0,
            unread: 0,
            skipped: 0,
            closed: 0,
            receive_buffer: 0,
        }
    }
}

impl FaultTally {
    /// One more connection whose turn it was.
    pub fn one(touched: bool, now_ns: u64) -> Self {
        FaultTally {
            due: 1,
            touched: touched.into(),
            first_ns: now_ns,
            last_ns: now_ns,
            ..FaultTally::default()
        }
    }

    /// Whether its numbers can be of any fault.
    pub(super) fn makes_sense(self) -> bool {
        let began = match self.due {
            0 => self.first_ns == u64::MAX && self.last_ns == 0,
            _ => self.first_ns <= self.last_ns,
        };
        began && (self.ended > 0) == (self.ended_ns > 0)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let smallest = match (self.receive_buffer, other.receive_buffer) {
            (0, one) | (one, 0) => one,
            (a, b) => a.min(b),
        };
        FaultTally {
            due: self.due.saturating_add(other.due),
            touched: self.touched.saturating_add(other.touched),
            first_ns: self.first_ns.min(other.first_ns),
            last_ns: self.last_ns.max(other.last_ns),
            ended: self.ended.saturating_add(other.ended),
            ended_ns: self.ended_ns.max(other.ended_ns),
            taken: self.taken.saturating_add(other.taken),
            unread: self.unread.saturating_add(other.unread),
            skipped: self.skipped.saturating_add(other.skipped),
            closed: self.closed.saturating_add(other.closed),
            receive_buffer: smallest,
        }
    }
}

/// Connections that were open when a deploy began and ended during it, alike in where, when and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainDelta {
    /// Which.
    pub key: DrainKey,
    /// How many.
    pub count: u64,
}

/// Where, when and how connections ended during a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DrainKey {
    /// The deploy's number among the run's faults.
    pub fault: u16,
    /// Index of the endpoint that they were connected to.
    pub endpoint: u16,
    /// Tenths of a second since the deploy's start, rounded down.
    pub tenth: u32,
    /// How they ended.
    pub close: CloseKey,
}

/// Connections that a deploy cut and whose TCP is over, alike in how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartingDelta {
    /// Which.
    pub key: PartingKey,
    /// How many.
    pub count: u64,
}

/// How connections ended that a deploy cut, down to TCP. It has no time and no place, so there are few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartingKey {
    /// The deploy's number among the run's faults.
    pub fault: u16,
    /// How they ended, as in their [`DrainKey`].
    pub close: CloseKey,
    /// How TCP did.
    pub tcp: TcpEnd,
}

/// Who ended a connection's TCP, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TcpEnd {
    /// The other side, by FIN.
    Fin,
    /// The other side, by RST.
    Reset,
    /// We: it was silent for too long or broke a rule, did not end TCP after its Close frame, or HTTP has no more to say.
    Ours,
    /// Neither: TCP gave it up, or whoever could have seen it did not.
    Unknown,
}

/// One timer's values since the last snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerDelta {
    /// Index of the phase.
    pub phase: u8,
    /// Index of the group.
    pub group: u16,
    /// Which.
    pub timer: Timer,
    /// HdrHistogram V2 (not deflated).
    pub histogram: Vec<u8>,
}

/// State of a shard at a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gauges {
    /// Ready connections by group index.
    pub open: Vec<u32>,
    /// Connections being opened.
    pub opening: u32,
    /// Connections waiting to reconnect.
    pub waiting: u32,
    /// Connections with a blocked write.
    pub blocked: u32,
    /// CPU time used by the process so far, nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory, bytes.
    pub rss: u64,
    /// Open descriptors.
    pub descriptors: u32,
    /// Ready connections by index of the target's address; none with one address, or with too many to be followed.
    pub open_by_endpoint: Vec<u32>,
    /// Ready connections by node of the target, in groups that are told theirs; likewise.
    pub open_by_node: Vec<(NodeName, u32)>,
}

/// A text that came from the target: already free of control characters and cut to length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample {
    /// What it was, such as `close 1011` or `status 503`.
    pub kind: String,
    /// The text.
    pub text: String,
}
