//! One coarse timer wheel a shard: heartbeats, backoffs, step deadlines, lifetimes, close timeouts.
//!
//! A hashed wheel (Varghese & Lauck 1987): an entry costs 16 bytes and nothing is ever cancelled; who
//! set a timer recognises a stale one by its generation. Ticks are [`TICK_NS`] apart, so a timer fires
//! up to a tick late and never early. Message schedules do not come here: they have the pacer.

/// Distance of two ticks in nanoseconds.
pub const TICK_NS: u64 = 4_000_000;
const SLOTS: usize = 4096;

/// What a timer is for; opaque to the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// A timer: whom to wake and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// Index of the connection in the shard.
    pub conn: u32,
    /// The connection's generation when it was set.
    pub generation: u32,
    /// Why.
    pub due: Due,
}

struct Entry {
    tick: u32,
    conn: u32,
    generation: u32,
    due: Due,
}

/// The wheel. Times are nanoseconds on the clock of whoever drives it.
pub struct Wheel {
    slots: Vec<Vec<Entry>>,
    occupied: [u64; SLOTS / 64],
    /// Every tick up to and including this one has been fired.
    done: u32,
    len: usize,
}

impl Wheel {
    /// An empty wheel whose time starts at 0.
    pub fn new() -> Self {
        Wheel {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; SLOTS / 64],
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
        self.slots[slot].push(Entry {
            tick,
            conn: timer.conn,
            generation: timer.generation,
            due: timer.due,
        });
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

    /// Moves every timer due at `now_ns` into `fired`, oldest tick first unless that is a whole round later.
    pub fn fire(&mut self, now_ns: u64, fired: &mut Vec<Timer>) {
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
            let entries = &mut self.slots[slot];
            let before = entries.len();
            entries.retain(|e| {
                let keep = e.tick > now;
                if !keep {
                    fired.push(Timer {
                        conn: e.conn,
                        generation: e.generation,
                        due: e.due,
                    });
                }
                keep
            });
            self.len -= before - entries.len();
            if entries.is_empty() {
                // A storm's worth of capacity is given back; a heartbeat's is kept.
                if entries.capacity() > 256 {
                    *entries = Vec::new();
                }
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
        self.done = now;
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
                wheel.fire(now, &mut fired);
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
    fn a_pause_longer_than_the_wheel_loses_nothing() {
        let mut wheel = Wheel::new();
        for i in 0..1000u32 {
            wheel.set(u64::from(i) * 50_000_000, timer(i));
        }
        let mut fired = Vec::new();
        // The last one is due in the middle of a tick, and fires at its end.
        wheel.fire(49_950_000_000 + TICK_NS, &mut fired);
        assert_eq!(fired.len(), 1000);
        assert_eq!(wheel.next_ns(), None);
    }
}
