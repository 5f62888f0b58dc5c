//! What a gateway counted: the truth that a run's own numbers can be held against.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Counters of one gateway since it began to listen. All are numbers of events.
///
/// Every message ends in exactly one place. Once all connections are gone:
/// `deliveries + echoes + replies = messages_out + dropped_full + discarded + dropped_on_purpose`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// TCP connections accepted.
    pub accepted: u64,
    /// Upgrades to WebSocket that succeeded.
    pub opened: u64,
    /// WebSocket connections open now.
    pub open: u64,
    /// Requests answered with anything but 101 and 200, all together…
    pub refused: u64,
    /// …and by HTTP status.
    pub refused_by_status: BTreeMap<u16, u64>,
    /// Handshakes that ended without an answer: TLS failure, timeout, connection lost.
    pub handshake_failed: u64,
    /// Data messages read from clients.
    pub messages_in: u64,
    /// Data messages written towards clients (acknowledgements and errors included).
    pub messages_out: u64,
    /// Messages published, whether or not anyone was subscribed.
    pub published: u64,
    /// Deliveries owed: one for each subscriber of each published message, duplicates made on purpose included.
    pub deliveries: u64,
    /// Echoes owed, raw ones included.
    pub echoes: u64,
    /// Acknowledgements and errors owed.
    pub replies: u64,
    /// Messages dropped because a client's queue was full, by any policy.
    pub dropped_full: u64,
    /// Clients closed with 1013 because their queue was full.
    pub disconnected_full: u64,
    /// Times that reading from a client stopped because a queue was full that it had published into (`block`).
    pub blocked: u64,
    /// Messages that were queued or held when their connection ended, and so never written.
    pub discarded: u64,
    /// Deliveries dropped by `drop_every`.
    pub dropped_on_purpose: u64,
    /// Deliveries sent once more by `duplicate_every`.
    pub duplicated: u64,
    /// Pairs of deliveries swapped by `reorder_every`.
    pub reordered: u64,
    /// Subscriptions of clients that came back and are brought all they missed.
    pub resumed: u64,
    /// Subscriptions of clients that came back and were told that what they missed is gone.
    pub state_lost: u64,
    /// Of the deliveries: those of messages that a client had missed.
    pub recovered: u64,
    /// Pings received from clients.
    pub pings_in: u64,
    /// Connections the gateway decided to close, by close code (1006: reset).
    pub closed_by_code: BTreeMap<u16, u64>,
    /// Connections still open at the drain deadline, then cut.
    pub cut_at_deadline: u64,
    /// Upgrades that succeeded after shutdown had begun: only `misbehave.drain: keep_accepting` lets any.
    pub opened_draining: u64,
    /// True once shutdown has begun.
    pub draining: bool,
}

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        /// The same while counting. Relaxed: each counter is exact by itself.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)+
            refused_by_status: Mutex<BTreeMap<u16, u64>>,
            closed_by_code: Mutex<BTreeMap<u16, u64>>,
        }

        impl Counters {
            /// The counters as they stand.
            pub(super) fn stats(&self, open: u64, draining: bool) -> Stats {
                let refused_by_status = copy(&self.refused_by_status);
                Stats {
                    $($name: self.$name.load(Relaxed),)+
                    open,
                    refused: refused_by_status.values().sum(),
                    refused_by_status,
                    closed_by_code: copy(&self.closed_by_code),
                    draining,
                }
            }
        }

        impl Stats {
            /// Adds what another gateway counted.
            pub fn absorb(&mut self, other: &Stats) {
                $(self.$name += other.$name;)+
                self.open += other.open;
                self.refused += other.refused;
                for (all, of) in [
                    (&mut self.refused_by_status, &other.refused_by_status),
                    (&mut self.closed_by_code, &other.closed_by_code),
                ] {
                    for (key, count) in of {
                        *all.entry(*key).or_default() += count;
                    }
                }
                self.draining |= other.draining;
            }
        }
    };
}

counters!(
    accepted,
    opened,
    handshake_failed,
    messages_in,
    messages_out,
    published,
    deliveries,
    echoes,
    replies,
    dropped_full,
    disconnected_full,
    blocked,
    discarded,
    dropped_on_purpose,
    duplicated,
    reordered,
    resumed,
    state_lost,
    recovered,
    pings_in,
    cut_at_deadline,
    opened_draining,
);

impl Counters {
    pub(super) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(super) fn opened(&self) {
        add(&self.opened, 1);
    }

    pub(super) fn opened_draining(&self) {
        add(&self.opened_draining, 1);
    }

    pub(super) fn handshake_failed(&self) {
        add(&self.handshake_failed, 1);
    }

    pub(super) fn cut(&self, connections: u64) {
        add(&self.cut_at_deadline, connections);
    }

    pub(super) fn refused(&self, status: u16) {
        increment(&self.refused_by_status, status);
    }

    pub(super) fn closed(&self, code: u16) {
        increment(&self.closed_by_code, code);
    }
}

/// Adds to a counter; nothing when there is nothing to add, which saves the shared cache line.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Relaxed);
    }
}

fn increment(map: &Mutex<BTreeMap<u16, u64>>, key: u16) {
    *map.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(key)
        .or_default() += 1;
}

fn copy(map: &Mutex<BTreeMap<u16, u64>>) -> BTreeMap<u16, u64> {
    map.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
