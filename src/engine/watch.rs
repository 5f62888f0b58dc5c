//! Those beside slow consumers: what the other clients of a group get before, during and after a `slow` fault, and
//! whether publishers are held up by it. Kept apart from the group's own metrics, which hold both.
//!
//! A run without such a fault pays one comparison a message. Who is a victim is known beforehand: a bit a connection.

use super::conn::State;
use super::shard::Shard;
use crate::metrics::{NeighbourTally, Side};
use crate::plan::{Action, Plan, Victims};
use crate::protocol::Stamp;
use crate::transport::socket;

/// How often publishers' sockets are looked at within a fault.
const LOOK_NS: u64 = 100_000_000;
/// So many of a shard's publishers are looked at, each with a system call.
const PUBLISHERS: usize = 1024;

/// A fault under watch.
struct Watching {
    number: usize,
    group: usize,
    before_ns: u64,
    start_ns: u64,
    end_ns: u64,
    /// Local indices of the fault's victims, a bit each.
    victims: Vec<u64>,
}

impl Watching {
    fn is_victim(&self, c: usize) -> bool {
        let word = self.victims.get(c / 64).copied().unwrap_or(0);
        word >> (c % 64) & 1 == 1
    }

    /// The side of a message that was due then; `None`: too early to matter.
    fn side(&self, c: usize, due_ns: u64) -> Option<Side> {
        if self.is_victim(c) {
            return (due_ns >= self.before_ns).then_some(Side::Victims);
        }
        match due_ns {
            due if due < self.before_ns => None,
            due if due < self.start_ns => Some(Side::Before),
            due if due < self.end_ns => Some(Side::During),
            _ => Some(Side::After),
        }
    }

    fn covers(&self, at_ns: u64) -> bool {
        self.start_ns <= at_ns && at_ns < self.end_ns
    }
}

/// A publishing connection, and since when none of its bytes was taken.
struct Publisher {
    conn: u32,
    generation: u32,
    acknowledged: u64,
    since_ns: u64,
}

/// The shard's faults under watch.
#[derive(Default)]
pub(super) struct Watches {
    all: Vec<Watching>,
    publishers: Vec<Publisher>,
    next_ns: Option<u64>,
}

impl Watches {
    /// Of a plan; `local` gives the local index of a connection of a group.
    pub fn new(
        plan: &Plan,
        (shard, shards): (u32, u32),
        conns: usize,
        local: impl Fn(usize, u32) -> usize,
    ) -> Self {
        let mut all = Vec::new();
        for watch in plan.watches() {
            let group = watch.group as usize;
            let fault = plan.faults().nth(watch.fault).map(|fault| &fault.action);
            let (Some(of), Some(Action::Hit(hit))) = (plan.groups().get(group), fault) else {
                continue;
            };
            let mut victims = vec![0u64; conns.div_ceil(64)];
            let when = (watch.start, hit);
            for victim in Victims::new(plan.seed(), watch.fault, when, of, shard, shards) {
                let c = local(group, victim.index);
                if let Some(word) = victims.get_mut(c / 64) {
                    *word |= 1 << (c % 64);
                }
            }
            let ns = |at: std::time::Duration| at.as_nanos() as u64;
            all.push(Watching {
                number: watch.fault,
                group,
                before_ns: ns(watch.before),
                start_ns: ns(watch.start),
                end_ns: ns(watch.end),
                victims,
            });
        }
        let mut watches = Watches {
            all,
            ..Watches::default()
        };
        watches.next_ns = watches.next(0);
        watches
    }

    /// Whether there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// When publishers are to be looked at next.
    pub fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// The first look from then on: each within a fault, and one at its end.
    fn next(&self, from_ns: u64) -> Option<u64> {
        let looks = self.all.iter().filter_map(|watch| {
            // One that had its last look is over.
            let last = from_ns > watch.end_ns;
            (!last).then(|| from_ns.max(watch.start_ns))
        });
        looks.min()
    }

    /// When to look again after a look now: no fault's end is passed over.
    fn after(&self, now: u64) -> Option<u64> {
        let next = self.next(now + LOOK_NS);
        let ends = self.all.iter().map(|watch| watch.end_ns);
        let end = ends.filter(|end| now < *end && *end < now + LOOK_NS).min();
        next.into_iter().chain(end).min()
    }
}

impl Shard {
    /// A message came for the first time, so many bytes of it: now, or (`None`) as one of those that resuming brings. Of
    /// these the time is that of being away, and not what a slow neighbour costs.
    pub(super) fn beside(
        &mut self,
        c: usize,
        g: usize,
        stamp: &Stamp,
        bytes: usize,
        now: Option<u64>,
    ) {
        let recorder = &mut self.recorder;
        let here = self.watches.all.iter().filter(|watch| watch.group == g);
        for watch in here {
            let Some(side) = watch.side(c, stamp.intended_ns) else {
                continue;
            };
            let recording = recorder.beside(watch.number);
            if let Some(now) = now {
                recording.time(side, now as i64 - stamp.intended_ns as i64);
            }
            if side == Side::During {
                let tally = NeighbourTally {
                    bytes: bytes as u64,
                    ..NeighbourTally::default()
                };
                recording.add(tally);
            }
        }
    }

    /// A publish was due, and its connection took it or not.
    pub(super) fn publish_beside(&mut self, due_ns: u64, dropped: bool) {
        for watch in self.watches.all.iter().filter(|watch| watch.covers(due_ns)) {
            let tally = NeighbourTally {
                offered: 1,
                dropped: dropped.into(),
                ..NeighbourTally::default()
            };
            self.recorder.beside(watch.number).add(tally);
        }
    }

    /// Looks at the publishers, if it is time.
    pub(super) fn watch_publishers(&mut self, now: u64) {
        if self.watches.next_ns.is_none_or(|next| now < next) {
            return;
        }
        if self.watches.publishers.is_empty() {
            self.watches.publishers = self.publishers();
        }
        let Shard {
            watches,
            conns,
            recorder,
            ..
        } = self;
        let mut held_up_since = u64::MAX;
        for publisher in &mut watches.publishers {
            let conn = &conns[publisher.conn as usize];
            let stream = conn.stream.as_ref().filter(|_| conn.state == State::Ready);
            let Some(out) = stream.and_then(|stream| socket::outgoing(&stream.socket)) else {
                publisher.since_ns = now;
                continue;
            };
            let moved = publisher.generation != conn.generation
                || publisher.acknowledged != out.acknowledged
                || !out.waiting;
            publisher.generation = conn.generation;
            publisher.acknowledged = out.acknowledged;
            if moved {
                publisher.since_ns = now;
            } else {
                held_up_since = held_up_since.min(publisher.since_ns);
            }
        }
        for watch in &watches.all {
            let until = now.min(watch.end_ns);
            let held_up_ns = until.saturating_sub(held_up_since.max(watch.start_ns));
            if held_up_ns > 0 {
                let tally = NeighbourTally {
                    held_up_ns,
                    ..NeighbourTally::default()
                };
                recorder.beside(watch.number).add(tally);
            }
        }
        watches.next_ns = watches.after(now);
    }

    fn publishers(&self) -> Vec<Publisher> {
        let all = self.conns.iter().enumerate();
        let publishing = all.filter(|(_, conn)| {
            let group = usize::from(conn.group);
            !self.plan.groups()[group].publish.is_empty()
        });
        publishing
            .take(PUBLISHERS)
            .map(|(c, conn)| Publisher {
                conn: c as u32,
                generation: conn.generation,
                acknowledged: 0,
                since_ns: 0,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at publishers from the first one on, each at its time.
    fn looks(spans: &[(u64, u64)]) -> Vec<u64> {
        let watching = |(start_ns, end_ns): &(u64, u64)| Watching {
            number: 0,
            group: 0,
            before_ns: 0,
            start_ns: *start_ns,
            end_ns: *end_ns,
            victims: Vec::new(),
        };
        let watches = Watches {
            all: spans.iter().map(watching).collect(),
            ..Watches::default()
        };
        let next = |now: &u64| watches.after(*now);
        std::iter::successors(watches.next(0), next).collect()
    }

    #[test]
    fn publishers_are_looked_at_within_a_fault_and_at_its_end() {
        const MS: u64 = 1_000_000;
        let ms = |spans: &[(u64, u64)]| {
            let spans: Vec<_> = spans.iter().map(|(a, b)| (a * MS, b * MS)).collect();
            let looks = looks(&spans);
            looks.into_iter().map(|at| at / MS).collect::<Vec<_>>()
        };
        assert_eq!(ms(&[(50, 330)]), [50, 150, 250, 330]);
        assert_eq!(ms(&[(50, 250)]), [50, 150, 250]);
        assert_eq!(ms(&[(0, 120), (400, 450)]), [0, 100, 120, 400, 450]);
        assert_eq!(ms(&[(0, 120), (100, 250)]), [0, 100, 120, 220, 250]);
        assert_eq!(ms(&[]), [0; 0]);
    }
}
