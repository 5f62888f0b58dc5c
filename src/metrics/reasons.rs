//! Reasons that a target gives in its protocol's own words: by their code where the protocol has codes, by their text where it
//! has none. Cleaned, of bounded length, and of bounded number.

use super::clean::clean;
use serde::{Deserialize, Serialize};

/// Different (reason, phase, group) that are told apart in one interval of a shard, and in a run. Those with a code are told apart in any case:
/// there are few.
pub(super) const MOST: usize = 1024;

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// The protocol's code, 0 where there is none.
    pub code: u16,
    /// What the code is called; without one what was said. Empty: one beyond those that are told apart.
    pub text: String,
}

impl Reason {
    /// One that was given with this code (0: none) and this text, which is the target's and untrusted.
    pub fn of(code: u16, text: &[u8]) -> Self {
        let text = match clean(text) {
            text if text.is_empty() && code == 0 => "without a word".to_owned(),
            text => text,
        };
        Reason { code, text }
    }

    /// Any of those that are not told apart.
    pub(super) fn beyond() -> Self {
        Reason {
            code: 0,
            text: String::new(),
        }
    }

    /// What it is counted as, where so many are told apart already and it is or is not one of them.
    pub(super) fn counted(self, others: usize, known: bool) -> Self {
        match known || self.code != 0 || others < MOST {
            true => self,
            false => Reason::beyond(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Gauges, Recorder, Totals};

    #[test]
    fn reasons_are_cleaned_and_never_without_a_word() {
        assert_eq!(Reason::of(0, b"no\r\n\x1b[31mway\0").text, "no way");
        assert_eq!(Reason::of(0, b" \x07").text, "without a word");
        assert_eq!(Reason::of(0x97, b"").text, "");
        assert!(Reason::of(0, &[b'x'; 5000]).text.len() < 300);
    }

    /// A target that says something else each time fills neither a shard nor the run; what has a code is told apart all the same.
    #[test]
    fn only_so_many_are_told_apart() {
        let mut totals = Totals::new(1, 1, 1);
        let mut recorder = Recorder::new(0, 1, 1);
        for interval in 0..2 {
            for n in 0..MOST + 10 {
                let text = format!("{interval} {n}");
                recorder.reason(Reason::of(0, text.as_bytes()), 0, 0);
            }
            recorder.reason(Reason::of(0x89, b"server busy"), 0, 0);
            let snapshot = recorder.snapshot(1_000_000_000, Gauges::default(), interval == 1);
            assert_eq!(snapshot.reasons.len(), MOST + 2);
            totals.absorb(snapshot).unwrap();
        }
        let reasons = totals.reasons(None, None);
        assert!(reasons.len() <= MOST + 2);
        assert_eq!(reasons[&Reason::of(0x89, b"server busy")], 2);
        assert!(reasons[&Reason::beyond()] >= MOST as u64 + 20);
        assert_eq!(reasons.values().sum::<u64>(), 2 * (MOST as u64 + 11));
        assert!(totals.reasons(Some(1), None).is_empty());
    }
}
