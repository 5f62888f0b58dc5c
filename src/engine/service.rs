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
        let Some(place) = self.conns[c].topics.place(topic) else {
            return;
        };
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
