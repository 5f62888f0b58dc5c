//! The service's own numbers: what each connection got of each topic as the service counts it, and what it
//! passed over.
//!
//! On topics subscribed by name, and within one life of a connection: whether the service numbers on over an absence,
//! or begins anew, is its own affair. One that resumes by topic keeps them while it is away (`resume.rs`): the service says
//! whether it numbers on. A number that comes late is no gap, and a tail shows none.

use super::shard::Shard;
use crate::metrics::{Counter, Fate};

impl Shard {
    /// A message that the service numbered.
    pub(super) fn numbered(&mut self, c: usize, topic: &str, sequence: u64) {
        if let Some(place) = self.conns[c].topics.place(topic) {
            self.numbered_at(c, place, sequence);
        }
    }

    /// The same by the `{id}` of the subscription: its place, from 1.
    pub(super) fn numbered_by_id(&mut self, c: usize, id: u64, sequence: u64) {
        if let Some(place) = self.place_of(c, id) {
            self.numbered_at(c, place, sequence);
        }
    }

    /// The place of the topic that was subscribed to with this `{id}`.
    pub(super) fn place_of(&self, c: usize, id: u64) -> Option<u32> {
        let place = u32::try_from(id.checked_sub(1)?).ok()?;
        (place < self.conns[c].topics.named()).then_some(place)
    }

    /// The same by the place of the topic in the connection's list.
    pub(super) fn numbered_at(&mut self, c: usize, place: u32, sequence: u64) {
        let (number, phase) = (self.number(c), self.phase);
        let _ = self.service.receive(number, place, sequence, phase, false);
        self.book_gaps();
    }

    /// The connection's life is over, and with it the service's numbering for it, unless it will ask for more of that.
    pub(super) fn forget_numbers(&mut self, c: usize) {
        if self.service.pairs() == 0 || self.keeps_numbers(c) {
            return;
        }
        let number = self.number(c);
        for place in 0..self.conns[c].topics.named() {
            self.service.forget(number, place);
        }
        self.book_gaps();
    }

    /// Counts the gaps that became final.
    pub(super) fn book_gaps(&mut self) {
        for gap in self.service.losses() {
            debug_assert_eq!(gap.fate, Fate::Lost);
            let g = self.plan.group_of(gap.conn);
            self.recorder
                .count(Counter::ServiceGaps, gap.phase, g, gap.count);
        }
    }
}
