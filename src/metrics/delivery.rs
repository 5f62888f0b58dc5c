//! Sequence accounting: what each subscriber connection got of each stream, and what it did not.
//!
//! A stream is one publisher's messages of one kind, numbered 0, 1, 2 …; a connection that subscribed is
//! owed all of them from the first one it can be known to have been there for. Per (connection, stream)
//! the table keeps the next expected number and a window of the 64 numbers below it. What leaves the
//! window without having come is lost for good (or missed, when the connection was away in between), so
//! that nothing is counted twice: a number still later than that is *indeterminate*.
//!
//! Two sums hold once the tail is closed, in every shard and in total, and per phase:
//!
//! - `received = unique + duplicated + indeterminate`
//! - `expected = unique + lost + missed`
//!
//! `unaccounted` stands beside them: published while a subscriber that got nothing was still joining.
//! What was published before a late joiner's first message is not counted at all.
//!
//! The caller checks that a stream's number is one of the plan's before it comes here: the table holds
//! whatever it is told.

use super::fate::{Arrival, Blame, Fate, Loss, StreamEnd};
use super::gaps::{Gap, WINDOW, unset};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU16;

/// A number this far beyond the expected one is not believed (a run cannot have published that many).
const FURTHEST: u64 = 1 << 32;

/// The accounts of one shard's subscriber connections; see the module.
#[derive(Default)]
pub struct Delivery {
    streams: HashMap<u64, Entry, BuildHasherDefault<Mix>>,
    gaps: HashMap<u64, Vec<Gap>, BuildHasherDefault<Mix>>,
    /// By connection: how often it went away. Only as long as the highest that ever did.
    epochs: Epochs,
    losses: Vec<Loss>,
}

/// Of one (connection, stream): 24 bytes, 32 with the key.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The next number expected.
    high: u64,
    /// Received below it: bit i stands for `high − 1 − i`.
    window: u64,
    /// The connection's epoch when `high` was last moved by a message that was not recovered.
    epoch: u32,
    /// Which numbering it is by, when that was told; see [`Delivery::mark`].
    tag: Option<NonZeroU16>,
    /// Whether `gaps` has holes of it.
    gapped: bool,
    /// Whether the tail is closed: every number's fate is counted.
    closed: bool,
}

impl Entry {
    /// Of a stream whose numbers begin here: nothing of it has come.
    fn from(high: u64, epoch: u32) -> Self {
        Entry {
            high,
            window: 0,
            epoch,
            tag: None,
            gapped: false,
            closed: false,
        }
    }
}

impl Delivery {
    /// Empty accounts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty accounts of connections whose numbers are so far apart, as a shard's own are: what is kept for each is
    /// then not kept for those in between.
    pub fn spaced(apart: u32) -> Self {
        Delivery {
            epochs: Epochs {
                apart: apart.max(1),
                counts: Vec::new(),
            },
            ..Self::default()
        }
    }

    /// Makes room for so many (connection, stream) pairs at once.
    pub fn reserve(&mut self, pairs: usize) {
        self.streams.reserve(pairs);
    }

    /// Accounts for a message, for callers that know all beforehand; see [`Delivery::receive_if`].
    pub fn receive(
        &mut self,
        conn: u32,
        stream: u32,
        seq: u64,
        phase: usize,
        from_start: bool,
    ) -> Arrival {
        let admitted = self.receive_if(
            conn,
            stream,
            seq,
            phase,
            false,
            || Some(from_start),
            || None,
        );
        admitted.unwrap_or(Arrival::Indeterminate)
    }

    /// Accounts for a message. The first one of a stream on a connection asks `admit`, so that what only that one needs
    /// is not looked up for each: `None` turns the stream away (and asks again next time); otherwise whether the
    /// connection was ready before the stream's first message. If not, numbers before this one are not expected.
    /// `recovered` is one that was sent before the connection was ready again: a hole beside such ones came of being away.
    /// `blame` is asked only where the message leaves a hole: it is put down to what it says now, however late it becomes final.
    /// Losses this makes final wait in [`Delivery::losses`].
    #[expect(
        clippy::too_many_arguments,
        reason = "what is known of one message; two of them are asked for only when they matter"
    )]
    pub fn receive_if(
        &mut self,
        conn: u32,
        stream: u32,
        seq: u64,
        phase: usize,
        recovered: bool,
        admit: impl FnOnce() -> Option<bool>,
        blame: impl FnOnce() -> Option<Blame>,
    ) -> Option<Arrival> {
        let key = key(conn, stream);
        let epoch = self.epochs.of(conn);
        let entry = match self.streams.entry(key) {
            Slot::Occupied(slot) => {
                let entry = slot.into_mut();
                // Of one that is only marked nothing was known but its numbering: its numbers begin here.
                if entry.high == 0 && entry.tag.is_some() {
                    (entry.high, entry.epoch) = (seq, epoch);
                }
                entry
            }
            Slot::Vacant(slot) => {
                let (high, epoch) = if admit()? { (0, 0) } else { (seq, epoch) };
                if seq - high > FURTHEST || seq == u64::MAX {
                    return Some(Arrival::Indeterminate);
                }
                slot.insert(Entry::from(high, epoch))
            }
        };
        if let Some(back) = entry
            .high
            .checked_sub(1)
            .and_then(|last| last.checked_sub(seq))
        {
            if back >= WINDOW {
                return Some(Arrival::Indeterminate);
            }
            let bit = 1 << back;
            if entry.window & bit != 0 {
                return Some(Arrival::Duplicated);
            }
            if entry.closed {
                return Some(Arrival::Indeterminate);
            }
            entry.window |= bit;
            return Some(Arrival::Reordered);
        }
        if entry.closed || seq - entry.high > FURTHEST || seq == u64::MAX {
            return Some(Arrival::Indeterminate);
        }
        let missed = entry.epoch != epoch;
        if !recovered {
            entry.epoch = epoch;
        }
        if seq == entry.high && !entry.gapped {
            // The common case: in order, nothing open.
            entry.high += 1;
            entry.window = entry.window << 1 | 1;
            return Some(Arrival::New);
        }
        let (old, low) = (*entry, (seq + 1).saturating_sub(WINDOW));
        entry.window = shifted(old.window, seq + 1 - old.high) | 1;
        entry.high = seq + 1;
        let gaps = self.gaps.entry(key).or_default();
        settle(gaps, &old, low, (conn, stream), &mut self.losses);
        if seq > old.high {
            let from = old.high.max(low);
            let fate = if missed { Fate::Missed } else { Fate::Lost };
            let beyond = from.min(seq) - old.high;
            let blame = blame();
            lose(
                &mut self.losses,
                Loss {
                    conn,
                    stream,
                    phase,
                    fate,
                    count: beyond,
                    blame,
                },
            );
            if from < seq {
                gaps.push(Gap {
                    from,
                    to: seq,
                    phase,
                    missed,
                    blame,
                });
            }
        }
        entry.gapped = !gaps.is_empty();
        if gaps.is_empty() {
            self.gaps.remove(&key);
        }
        Some(Arrival::New)
    }

    /// Makes a connection's holes in a stream final and forgets that there was one: what comes next begins anew.
    pub fn forget(&mut self, conn: u32, stream: u32) {
        let key = key(conn, stream);
        if let Some(entry) = self.streams.remove(&key)
            && let Some(mut gaps) = self.gaps.remove(&key)
        {
            settle(
                &mut gaps,
                &entry,
                u64::MAX,
                (conn, stream),
                &mut self.losses,
            );
        }
    }

    /// Notes which numbering a connection's stream is by, in the caller's own terms, and the last number before what
    /// is to come, where nothing has come yet and it is known.
    pub fn mark(&mut self, conn: u32, stream: u32, tag: NonZeroU16, last: Option<u64>) {
        let epoch = self.epochs.of(conn);
        let entry = self.streams.entry(key(conn, stream)).or_insert_with(|| {
            let high = last.map_or(0, |last| last.saturating_add(1));
            Entry::from(high, epoch)
        });
        entry.tag = Some(tag);
    }

    /// How far a connection heard a stream, and by which numbering; `None` when one of them is not known.
    pub fn marked(&self, conn: u32, stream: u32) -> Option<(u64, NonZeroU16)> {
        let entry = self.streams.get(&key(conn, stream))?;
        Some((entry.high.checked_sub(1)?, entry.tag?))
    }

    /// The connection, which was ready, is gone: a hole up to its next new message is missed, not lost.
    pub fn away(&mut self, conn: u32) {
        self.epochs.next(conn);
    }

    /// Closes a connection's account of the streams it subscribed to: whatever was published and has not come by now
    /// never came. `ready_ns` is when it was first ready (`None`: never, nothing was owed to it), `phase_starts_ns`
    /// the start of each phase. What never came waits in [`Delivery::losses`], put down to `blame`; closing again adds nothing.
    pub fn close_tail<'a>(
        &mut self,
        conn: u32,
        ready_ns: Option<u64>,
        ends: impl IntoIterator<Item = &'a StreamEnd>,
        phase_starts_ns: &[u64],
        blame: Option<Blame>,
    ) {
        let Some(ready_ns) = ready_ns else { return };
        let epoch = self.epochs.of(conn);
        for end in ends {
            let (key, total) = (key(conn, end.stream), end.total());
            let seen = self.streams.get(&key).copied();
            if seen.is_some_and(|entry| entry.closed) {
                continue;
            }
            if let Some(mut gaps) = self.gaps.remove(&key)
                && let Some(entry) = &seen
            {
                settle(
                    &mut gaps,
                    entry,
                    u64::MAX,
                    (conn, end.stream),
                    &mut self.losses,
                );
            }
            let here = seen.map_or(0, |entry| entry.epoch);
            let fate = if here == epoch {
                Fate::Lost
            } else {
                Fate::Missed
            };
            for owed in owed(seen.as_ref(), ready_ns, end, phase_starts_ns) {
                let fate = if owed.certain {
                    fate
                } else {
                    Fate::Unaccounted
                };
                let loss = Loss {
                    conn,
                    stream: end.stream,
                    phase: owed.phase,
                    fate,
                    count: owed.count,
                    blame,
                };
                lose(&mut self.losses, loss);
            }
            let (high, window) = match &seen {
                Some(entry) => (
                    entry.high.max(total),
                    shifted(entry.window, total.saturating_sub(entry.high)),
                ),
                None => (total, 0),
            };
            let closed = Entry {
                window,
                closed: true,
                ..Entry::from(high, epoch)
            };
            self.streams.insert(key, closed);
        }
    }

    /// Makes every open hole final, for streams whose end nobody told (their shard was lost).
    pub fn close_gaps(&mut self) {
        for (key, mut gaps) in self.gaps.drain() {
            if let Some(entry) = self.streams.get_mut(&key) {
                settle(
                    &mut gaps,
                    entry,
                    u64::MAX,
                    ((key >> 32) as u32, key as u32),
                    &mut self.losses,
                );
                entry.gapped = false;
                entry.closed = true;
            }
        }
    }

    /// How many messages the connection is certainly owed and may still get: the tails, and holes that did not come of
    /// being away. 0 once everything has arrived; it costs a look-up per stream, so ask at intervals, and only
    /// for connections that were not at 0 before.
    pub fn outstanding<'a>(
        &self,
        conn: u32,
        ready_ns: Option<u64>,
        ends: impl IntoIterator<Item = &'a StreamEnd>,
        phase_starts_ns: &[u64],
    ) -> u64 {
        let Some(ready_ns) = ready_ns else { return 0 };
        let mut sum = 0;
        for end in ends {
            let key = key(conn, end.stream);
            let seen = self.streams.get(&key);
            if seen.is_some_and(|entry| entry.closed) {
                continue;
            }
            if let Some(entry) = seen.filter(|entry| entry.gapped) {
                let gaps = self.gaps.get(&key).into_iter().flatten();
                sum += gaps
                    .filter(|gap| !gap.missed)
                    .map(|gap| unset(entry.high, entry.window, gap.from, gap.to))
                    .sum::<u64>();
            }
            sum += owed(seen, ready_ns, end, phase_starts_ns)
                .filter(|owed| owed.certain)
                .map(|owed| owed.count)
                .sum::<u64>();
        }
        sum
    }

    /// Takes the losses that became final since the last call. Cheap when there are none.
    pub fn losses(&mut self) -> std::vec::Drain<'_, Loss> {
        self.losses.drain(..)
    }

    /// Whether anything of this stream has come to this connection.
    pub fn knows(&self, conn: u32, stream: u32) -> bool {
        self.streams.contains_key(&key(conn, stream))
    }

    /// The (connection, stream) pairs in the table.
    pub fn pairs(&self) -> usize {
        self.streams.len()
    }
}

/// A part of a stream that has not come.
struct Owed {
    phase: usize,
    count: u64,
    certain: bool,
}

/// By phase of publishing, what a stream published beyond what was seen of it.
fn owed<'a>(
    seen: Option<&Entry>,
    ready_ns: u64,
    end: &'a StreamEnd,
    phase_starts_ns: &'a [u64],
) -> impl Iterator<Item = Owed> + 'a {
    let high = seen.map_or(0, |entry| entry.high);
    let whole = seen.is_some() || end.heard_whole_by(ready_ns);
    let mut first = 0u64;
    end.published
        .iter()
        .enumerate()
        .filter_map(move |(phase, &published)| {
            let next = first + published;
            let count = next.saturating_sub(high.max(first));
            first = next;
            let certain = whole
                || phase_starts_ns
                    .get(phase)
                    .is_some_and(|&start| start >= ready_ns);
            (count > 0).then_some(Owed {
                phase,
                count,
                certain,
            })
        })
}

/// Makes final what is missing below `low` and drops the holes that are over. `entry` is as it was before `high` moved.
fn settle(
    gaps: &mut Vec<Gap>,
    entry: &Entry,
    low: u64,
    (conn, stream): (u32, u32),
    losses: &mut Vec<Loss>,
) {
    gaps.retain_mut(|gap| {
        let to = gap.to.min(low);
        if to > gap.from {
            let count = unset(entry.high, entry.window, gap.from, to);
            let fate = if gap.missed { Fate::Missed } else { Fate::Lost };
            lose(
                losses,
                Loss {
                    conn,
                    stream,
                    phase: gap.phase,
                    fate,
                    count,
                    blame: gap.blame,
                },
            );
            gap.from = to;
        }
        gap.from < gap.to
    });
}

fn lose(losses: &mut Vec<Loss>, loss: Loss) {
    if loss.count > 0 {
        losses.push(loss);
    }
}

/// The window after `high` moved up.
fn shifted(window: u64, by: u64) -> u64 {
    if by >= WINDOW { 0 } else { window << by }
}

fn key(conn: u32, stream: u32) -> u64 {
    u64::from(conn) << 32 | u64::from(stream)
}

/// How often each connection went away.
struct Epochs {
    /// Distance of the connections' numbers.
    apart: u32,
    counts: Vec<u32>,
}

impl Default for Epochs {
    fn default() -> Self {
        Epochs {
            apart: 1,
            counts: Vec::new(),
        }
    }
}

impl Epochs {
    fn of(&self, conn: u32) -> u32 {
        let index = (conn / self.apart) as usize;
        self.counts.get(index).copied().unwrap_or(0)
    }

    fn next(&mut self, conn: u32) {
        let index = (conn / self.apart) as usize;
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        if let Some(epoch) = self.counts.get_mut(index) {
            *epoch = epoch.wrapping_add(1);
        }
    }
}

/// Hash of one `u64` key: the finaliser of SplitMix64 (Steele, Lea, Flood, 2014). The keys are our own numbers,
/// which a target cannot choose, so no keyed hash is needed.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        let mut x = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = x ^ x >> 31;
    }
}

#[cfg(test)]
mod tests;
