//! What is reported of streams: what became of each (topic, publisher)'s messages, the worst ones told apart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of each publisher's messages of each topic, over all subscribers, of shards that came to their end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamsReport {
    /// Whether what was expected and received is known of each. In a run that numbers more than 65,536 streams only what
    /// went wrong is, of some thousands of each shard.
    pub told_apart: bool,
    /// At most 20: the most lost and missed first, then the most duplicated, reordered and indeterminate, then the most
    /// recovered, then in order.
    pub worst: Vec<StreamReport>,
    /// How many others there are.
    pub others: u64,
    /// The sum of these.
    pub rest: StreamMessages,
}

/// One publisher's messages of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamReport {
    /// The publisher's client group.
    pub group: String,
    /// The publisher's index in it, from 0.
    pub publisher: u64,
    /// Which of the group's `publish`, from 0.
    pub publish: u64,
    /// Its topic; absent where there is none, or a captured variable is in it.
    pub topic: Option<String>,
    /// What became of them.
    #[serde(flatten)]
    pub messages: StreamMessages,
    /// What went wrong of that by phase, subscribers' group and fault: all of it, each message in one part. At most 12,
    /// the worst first; the last one then names none of the three, and is what remains.
    #[serde(default)]
    pub parts: Vec<StreamPart>,
}

/// What went wrong in one phase, for one group, by one fault's doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamPart {
    /// The phase, as the counts by phase have it; absent: of all parts that are not told apart.
    pub phase: Option<String>,
    /// The subscribers' client group; absent as `phase` is.
    pub group: Option<String>,
    /// The fault that cut the subscriber's connection last, or else the last one that came to it; absent: of connections
    /// that no fault had touched.
    pub fault: Option<String>,
    /// What went wrong.
    #[serde(flatten)]
    pub wrong: WrongMessages,
}

/// Messages of streams. `expected` = distinct ones received + `lost` + `missed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamMessages {
    /// Messages that the publisher sent; absent where its shard did not say.
    pub published: Option<u64>,
    /// What subscribers were owed of them, each for itself; absent: see `told_apart`.
    pub expected: Option<u64>,
    /// What they received, duplicates included; absent as `expected` is.
    pub received: Option<u64>,
    /// What there is to be said of it but that it came.
    #[serde(flatten)]
    pub wrong: WrongMessages,
}

/// Messages of which more is to be said than that they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WrongMessages {
    /// Never came, while connected.
    pub lost: u64,
    /// Never came, as the subscriber was away.
    pub missed: u64,
    /// Brought by resuming.
    pub recovered: u64,
    /// Came again.
    pub duplicated: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Came too late or too early to tell whether new or again.
    pub indeterminate: u64,
    /// Published while a subscriber was joining, and did not come.
    pub unaccounted: u64,
}

impl WrongMessages {
    /// Names and counts, in the order in which they are shown.
    pub(super) fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("lost", self.lost),
            ("missed", self.missed),
            ("recovered", self.recovered),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("indeterminate", self.indeterminate),
            ("unaccounted", self.unaccounted),
        ]
    }

    /// The same of what a reader should hear of: all that is not as it should be.
    pub(super) fn bad(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let fine = ["recovered", "unaccounted"];
        let all = self.named().into_iter();
        all.filter(move |(name, n)| *n > 0 && !fine.contains(name))
    }
}
