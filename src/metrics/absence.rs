//! What came of the messages of connections that a fault cut off, or kept away until they were given up: each counts to the last fault that cut its connection,
//! so that nothing is counted twice.

use super::fate::{Arrival, Fate, Loss};
use serde::{Deserialize, Serialize};

/// Messages of connections that a fault cut, from the cut on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// Brought by resuming.
    pub recovered: u64,
    /// Missed while away, and not brought.
    pub missed: u64,
    /// Lost while connected again.
    pub lost: u64,
    /// Came again.
    pub duplicated: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Came too late or too early to tell whether new or again.
    pub indeterminate: u64,
}

impl Absence {
    /// What a message that came is of it.
    pub fn came(arrival: Arrival, recovered: bool) -> Self {
        Absence {
            recovered: (arrival.first() && recovered).into(),
            duplicated: (arrival == Arrival::Duplicated).into(),
            reordered: (arrival == Arrival::Reordered).into(),
            indeterminate: (arrival == Arrival::Indeterminate).into(),
            ..Absence::default()
        }
    }

    /// What a loss is of it.
    pub fn of(loss: &Loss) -> Self {
        let mut absence = Absence::default();
        match loss.fate {
            Fate::Lost => absence.lost = loss.count,
            Fate::Missed => absence.missed = loss.count,
            Fate::Unaccounted => {}
        }
        absence
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Absence {
            recovered: self.recovered.saturating_add(other.recovered),
            missed: self.missed.saturating_add(other.missed),
            lost: self.lost.saturating_add(other.lost),
            duplicated: self.duplicated.saturating_add(other.duplicated),
            reordered: self.reordered.saturating_add(other.reordered),
            indeterminate: self.indeterminate.saturating_add(other.indeterminate),
        }
    }
}

/// The same of a fault since the last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsenceDelta {
    /// The fault's number in the run.
    pub fault: u16,
    /// The messages.
    pub messages: Absence,
}
