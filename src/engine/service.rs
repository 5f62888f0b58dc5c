//! The service's own numbers: what each connection got of each topic as the service counts it, and what it
//! passed over.
//!
//! Within one life of a connection and on topics subscribed by name: whether the service numbers on over an
//! absence, or begins anew, is its own affair. A number that comes late is no gap, and a tail shows none.

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
        self.book_gaps(c);
    }

    /// The connection's life is over, and with it the service's numbering for it.
    pub(super) fn forget_numbers(&mut self, c: usize) {
        if self.service.pairs() == 0 {
            return;
        }
        let number = self.number(c);
        for place in 0..self.conns[c].topics.named() {
            self.service.forget(number, place);
        }
        self.book_gaps(c);
    }

    fn book_gaps(&mut self, c: usize) {
        let g = usize::from(self.conns[c].group);
        for gap in self.service.losses() {
            debug_assert_eq!(gap.fate, Fate::Lost);
            self.recorder
                .count(Counter::ServiceGaps, gap.phase, g, gap.count);
        }
    }
}
