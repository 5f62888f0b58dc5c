//! One coarse timer wheel a shard: heartbeats, backoffs, step deadlines, lifetimes, close timeouts.
//!
//! A hashed wheel (Varghese & Lauck 1987) whose slots are lists through one table: an entry costs 16 bytes
//! wherever it lies, and nothing is ever cancelled; who set a timer recognises a stale one by its generation.
//! Ticks are [`TICK_NS`] apart, so a timer fires up to a tick late and never early. Message schedules do not
//! come here: they have the pacer.

/// Distance of two ticks in nanoseconds.
pub const TICK_NS: u64 = 4_000_000;
const SLOTS: usize = 4096;
/// Entries allocated at once: little enough that the last, half-empty block does not matter.
const BLOCK: usize = 1024;
/// Blocks kept though empty, so that a few heartbeats do not allocate.
const KEPT: usize = 4;
/// No entry.
const NONE: u32 = u32::MAX;
/// Bits of an entry's connection; what it is for stands above them.
const CONN_BITS: u32 = 28;

/// What a timer is for; opaque to the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Due {
    /// Opening took too long.
    OpenTimeout,
    /// An `on_open` pause is over, or an expectation's deadline reached.
    Step,
    /// Time to ping.
    Ping,
    /// Time to have seen the pong.
    PongCheck,
    /// Backoff is over.
    Reconnect,
    /// The connection has lived its time.
    Lifetime,
    /// The close handshake took too long.
    CloseTimeout,
    /// Time for the protocol's sign of life.
    Beat,
    /// Time to have heard the peer's.
    Silence,
    /// The connection's token expires.
    Expiry,
    /// Time to renew the token.
    Renewal,
    /// Time to have heard that the new token is accepted.
    RenewalCheck,
    /// Time for the probe of an upgrade beside polling to have been answered.
    Probe,
    /// Time to look whether the connection's stream is silent, or to try a better transport.
    Rung,
    /// Time to have heard the answer to a poll.
    PollCheck,
}

impl Due {
    const ALL: [Due; 15] = [
        Due::OpenTimeout,
        Due::Step,
        Due::Ping,
        Due::PongCheck,
        Due::Reconnect,
        Due::Lifetime,
        Due::CloseTimeout,
        Due::Beat,
        Due::Silence,
        Due::Expiry,
        Due::Renewal,
        Due::RenewalCheck,
        Due::Probe,
        Due::Rung,
        Due::PollCheck,
    ];
}

/// A timer: whom to wake and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// Index of the connection in the shard, below 2^28.
    pub conn: u32,
    /// The connection's generation when it was set.
    pub generation: u32,
    /// Why.
    pub due: Due,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tick: u32,
    /// Connection and reason.
    what: u32,
    generation: u32,
    /// The next one of the slot, or of the free ones.
    next: u32,
}

impl Entry {
    const EMPTY: Entry = Entry {
        tick: 0,
        what: 0,
        generation: 0,
        next: NONE,
    };

    fn timer(&self) -> Timer {
        Timer {
            conn: self.what & ((1 << CONN_BITS) - 1),
            generation: self.generation,
            due: Due::ALL[(self.what >> CONN_BITS) as usize],
        }
    }
}

/// First and last entry of a list; both [`NONE`] when it is empty.
#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List {
    first: NONE,
    last: NONE,
};

/// All entries, in blocks so that growing moves nothing and wastes at most one.
#[derive(Default)]
struct Table {
    blocks: Vec<Box<[Entry; BLOCK]>>,
    /// The first free entry.
    free: u32,
}

impl Table {
    fn at(&mut self, entry: u32) -> &mut Entry {
        &mut self.blocks[entry as usize / BLOCK][entry as usize % BLOCK]
    }

    fn take(&mut self, tick: u32, timer: Timer) -> u32 {
        if self.blocks.is_empty() || self.free == NONE {
            let base = (self.blocks.len() * BLOCK) as u32;
            let mut block = Box::new([Entry::EMPTY; BLOCK]);
            for (place, entry) in (1u32..).zip(block.iter_mut()) {
                entry.next = base + place;
            }
            block[BLOCK - 1].next = NONE;
            self.blocks.push(block);
            self.free = base;
        }
        let taken = self.free;
        debug_assert!(timer.conn < 1 << CONN_BITS);
        let entry = self.at(taken);
        let free = entry.next;
        *entry = Entry {
            tick,
            what: timer.conn | u32::from(timer.due as u8) << CONN_BITS,
            generation: timer.generation,
            next: NONE,
        };
        self.free = free;
        taken
    }

    fn give_back(&mut self, entry: u32) {
        let free = self.free;
        self.at(entry).next = free;
        self.free = entry;
    }

    fn append(&mut self, list: &mut List, entry: u32) {
        match list.last {
            NONE => list.first = entry,
            last => self.at(last).next = entry,
        }
        list.last = entry;
    }
}

/// The wheel. Times are nanoseconds on the clock of whoever drives it.
pub struct Wheel {
    slots: Box<[List; SLOTS]>,
    occupied: [u64; SLOTS / 64],
    table: Table,
    /// Every tick up to and including this one has been fired.
    done: u32,
    len: usize,
}

impl Wheel {
    /// An empty wheel whose time starts at 0.
    pub fn new() -> Self {
        Wheel {
            slots: Box::new([EMPTY; SLOTS]),
            occupied: [0; SLOTS / 64],
            table: Table::default(),
            done: 0,
            len: 0,
        }
    }

    /// Sets a timer for `at_ns`, rounded up to the next tick (and at least the one after the last fired).
    pub fn set(&mut self, at_ns: u64, timer: Timer) {
        // What is beyond the last tick (198 days) is due there, not at once.
        let tick = at_ns.div_ceil(TICK_NS).min(u64::from(u32::MAX)) as u32;
        let tick = tick.max(self.done + 1);
        let slot = tick as usize % SLOTS;
        let entry = self.table.take(tick, timer);
        self.table.append(&mut self.slots[slot], entry);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.len += 1;
    }

    /// When the wheel wants to be looked at next: the next occupied slot's time, which may hold
    /// only entries of a later round. `None` when it is empty.
    pub fn next_ns(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let start = (self.done as usize + 1) % SLOTS;
        let mut word = start / 64;
        let mut bits = self.occupied[word] & (!0 << (start % 64));
        for step in 0..=SLOTS / 64 {
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let distance = (slot + SLOTS - start) % SLOTS;
                return Some((u64::from(self.done) + 1 + distance as u64) * TICK_NS);
            }
            let _ = step;
            word = (word + 1) % (SLOTS / 64);
            bits = self.occupied[word];
        }
        None
    }

    /// Takes out every timer due at `now_ns` and hands it to `fired`, oldest tick first unless that is a whole round later.
    pub fn fire(&mut self, now_ns: u64, mut fired: impl FnMut(Timer)) {
        let now = (now_ns / TICK_NS) as u32;
        if now <= self.done {
            return;
        }
        // After a long pause one round over all slots sees everything.
        let from = self.done + 1;
        let to = if now - self.done > SLOTS as u32 {
            from + SLOTS as u32 - 1
        } else {
            now
        };
        for tick in from..=to {
            let slot = tick as usize % SLOTS;
            if self.occupied[slot / 64] & (1 << (slot % 64)) == 0 {
                continue;
            }
            let mut entry = std::mem::replace(&mut self.slots[slot], EMPTY).first;
            let mut kept = EMPTY;
            while entry != NONE {
                let found = *self.table.at(entry);
                if found.tick > now {
                    // Of a later round.
                    self.table.at(entry).next = NONE;
                    self.table.append(&mut kept, entry);
                } else {
                    fired(found.timer());
                    self.table.give_back(entry);
                    self.len -= 1;
                }
                entry = found.next;
            }
            self.slots[slot] = kept;
            if kept.first == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
        self.done = now;
        if self.len == 0 && self.table.blocks.len() > KEPT {
            // Nobody is left: what a storm took is given back.
            self.table = Table::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timer(conn: u32) -> Timer {
        Timer {
            conn,
            generation: 0,
            due: Due::Ping,
        }
    }

    proptest! {
        #[test]
        fn fires_each_once_never_early_and_at_most_a_tick_late(
            times in prop::collection::vec(0u64..60_000_000_000, 1..200),
            step in 1u64..50_000_000,
        ) {
            let mut wheel = Wheel::new();
            for (i, at) in times.iter().enumerate() {
                wheel.set(*at, timer(i as u32));
            }
            let mut fired_at = vec![None; times.len()];
            let mut now = 0;
            let mut fired = Vec::new();
            while let Some(next) = wheel.next_ns() {
                now = next.max(now + step.min(TICK_NS));
                wheel.fire(now, |timer| fired.push(timer));
                for t in fired.drain(..) {
                    prop_assert!(fired_at[t.conn as usize].replace(now).is_none());
                }
            }
            for (at, fired) in times.iter().zip(fired_at) {
                let fired = fired.expect("every timer fires");
                prop_assert!(fired >= *at);
                prop_assert!(fired <= at + 2 * TICK_NS, "{at} fired at {fired}");
            }
        }
    }

    #[test]
    fn an_entry_is_small_and_says_what_it_was_told() {
        assert_eq!(size_of::<Entry>(), 16);
        let mut wheel = Wheel::new();
        let told: Vec<Timer> = Due::ALL
            .iter()
            .enumerate()
            .map(|(i, due)| Timer {
                conn: (1 << CONN_BITS) - 1 - i as u32,
                generation: u32::MAX - i as u32,
                due: *due,
            })
            .collect();
        told.iter().for_each(|timer| wheel.set(1, *timer));
        let mut fired = Vec::new();
        wheel.fire(TICK_NS, |timer| fired.push(timer));
        assert_eq!(fired, told, "in the order in which they were set");
    }

    #[test]
    fn entries_are_used_again_and_a_storms_are_given_back() {
        let mut wheel = Wheel::new();
        let mut fired = Vec::new();
        for (round, blocks) in [2, 2, 2, KEPT + 3, KEPT + 3].into_iter().enumerate() {
            let start = round as u64 * 100;
            for i in 0..(blocks * BLOCK) as u32 - 1 {
                wheel.set((start + 50) * TICK_NS, timer(i));
            }
            // The last one stays through this round's firing.
            wheel.set((start + 70) * TICK_NS, timer(0));
            assert_eq!(wheel.table.blocks.len(), blocks);
            wheel.fire((start + 60) * TICK_NS, |timer| fired.push(timer));
            assert_eq!(wheel.table.blocks.len(), blocks);
            wheel.fire((start + 80) * TICK_NS, |timer| fired.push(timer));
            assert_eq!(fired.len(), blocks * BLOCK);
            fired.clear();
            let left = if blocks > KEPT { 0 } else { blocks };
            assert_eq!(wheel.table.blocks.len(), left);
        }
    }

    #[test]
    fn a_pause_longer_than_the_wheel_loses_nothing() {
        let mut wheel = Wheel::new();
        for i in 0..1000u32 {
            wheel.set(u64::from(i) * 50_000_000, timer(i));
        }
        let mut fired = Vec::new();
        // The last one is due in the middle of a tick, and fires at its end.
        wheel.fire(49_950_000_000 + TICK_NS, |timer| fired.push(timer));
        assert_eq!(fired.len(), 1000);
        assert_eq!(wheel.next_ns(), None);
    }
}
