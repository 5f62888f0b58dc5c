//! What a deploy was, did and cost its clients: a part of the outcome, and its words.

use super::number::{count, millis};
use super::outcome::TimerReport;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A deploy, measured from its planned start to the end of its phase. Times are seconds; those after "since" count from
/// the planned start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeployReport {
    /// In words.
    pub label: String,
    /// Name of its phase.
    pub phase: String,
    /// How it was carried out.
    pub result: DeployResult,
    /// The same in words: `failed (exit 3)`.
    pub detail: String,
    /// What was said by what was run: at most the last 8 KiB, free of control characters.
    pub output: String,
    /// Planned start, from the run's.
    pub start: f64,
    /// End of what is measured, from the run's start.
    pub until: f64,
    /// Length of its carrying out, if it was begun.
    pub took: Option<f64>,
    /// Connections open when it began.
    pub old: u64,
    /// Of these, those that ended during it, and not by us.
    pub cut: u64,
    /// Of these, those that are back.
    pub moved: u64,
    /// Connections opened after it began that ended during it, and not by us.
    pub cut_again: u64,
    /// Since: the first old connection's end.
    pub first_cut: Option<f64>,
    /// Since: the last old connection's end. The drain time.
    pub drain: Option<f64>,
    /// Since: the last return of a connection that was cut.
    pub moved_in: Option<f64>,
    /// How the old connections ended, down to TCP.
    pub closes: Vec<DeployClose>,
    /// For how long those that are back were cut off, milliseconds.
    pub cut_off: Option<TimerReport>,
    /// Requests refused in its phase, by whatever HTTP status: upgrades, streams, polls and posts.
    pub refused: u64,
    /// The same by HTTP status.
    #[serde(default)]
    pub refused_by_status: BTreeMap<u16, u64>,
    /// Attempts of its busiest 100 ms, per second.
    pub peak_attempts: u64,
    /// Most openings that the target completed within a second before it.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// Whether more were waiting all through that second; if not, the target may take more.
    #[serde(default)]
    pub capacity_reached: bool,
    /// How evenly its phase's openings were spread: most ÷ mean, over the nodes that the target tells, or else over
    /// its addresses; null with fewer than two.
    #[serde(default)]
    pub spread: Option<f64>,
    /// The same of the connections that were open when what is measured of it ended.
    #[serde(default)]
    pub spread_after: Option<f64>,
    /// Messages lost in its phase.
    pub lost: u64,
    /// Messages that connections it cut missed while away, in whichever phase that was found.
    pub missed: u64,
    /// Messages that they got after all, by resuming.
    #[serde(default)]
    pub recovered: u64,
    /// Messages received twice in its phase.
    pub duplicated: u64,
    /// Messages out of order in its phase.
    pub reordered: u64,
    /// Connections let in by who was leaving already, by the target's own count, as far as it told; null: unknown.
    pub accepted_draining: Option<u64>,
    /// Of a roll of the embedded gateway: its nodes' turns.
    pub nodes: Vec<NodeTurn>,
    /// The stretches in which old connections ended, by endpoint.
    pub drains: Vec<Stretch>,
    /// What is to be said of it, by name.
    pub findings: Vec<Finding>,
    /// All of it in a sentence that can be read aloud.
    pub verdict: String,
}

/// Old connections that ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeployClose {
    /// Close code; 1006 without a Close frame.
    pub code: u16,
    /// Whether the target ended it, or said first that it would; else we gave it up.
    pub by_target: bool,
    /// Whether the close handshake was completed.
    pub clean: bool,
    /// How TCP ended, to the target or whatever stands before it.
    #[serde(default)]
    pub tcp: TcpEnding,
    /// How many.
    pub count: u64,
}

/// How a connection's TCP ended.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TcpEnding {
    /// The other side ended it by FIN.
    Fin,
    /// The other side ended it by RST.
    Reset,
    /// We ended it: the other side was silent for too long, broke a rule, or did not end TCP after its Close frame.
    Ours,
    /// Neither side did, or nobody saw it: it had not ended when the run did.
    #[default]
    Unknown,
}

/// How a deploy was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeployResult {
    /// It did what it was to do.
    Succeeded,
    /// It was begun, and failed.
    Failed,
    /// It was begun, and not done in time.
    TimedOut,
    /// It could not be begun.
    NotBegun,
    /// The run ended before it did.
    Interrupted,
    /// The run ended before its time came.
    NeverStarted,
}

/// A node's turn in a roll. Times are seconds since the deploy began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeTurn {
    /// Its index.
    pub node: u64,
    /// It was asked to end.
    pub draining: f64,
    /// Its process had ended.
    pub ended: Option<f64>,
    /// It listened again.
    pub ready: Option<f64>,
    /// Connections it let in while it drained, by its own count.
    pub opened_draining: Option<u64>,
    /// Connections it cut at its deadline, by its own count.
    pub cut_at_deadline: Option<u64>,
}

/// Old connections to one endpoint that ended one after the other, with no second between them in which none did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stretch {
    /// Index of the endpoint.
    pub endpoint: u64,
    /// Its start, seconds since the deploy began, to a tenth.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// Connections that ended in it.
    pub connections: u64,
    /// Of these, those that ended without a Close frame (1006).
    pub unclean: u64,
    /// How they ended.
    pub how: Drained,
    /// Largest distance between their ends' distribution and an even one, as a share (Kolmogorov's distance).
    pub unevenness: f64,
}

/// How connections ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drained {
    /// Spread evenly over their time.
    Evenly,
    /// Over some time, and not evenly.
    Unevenly,
    /// At the same moment.
    AllAtOnce,
    /// Most of them without a Close frame.
    Never,
    /// Too few to say.
    Unknown,
}

/// Something that is to be said of a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its name, stable.
    pub name: String,
    /// In words.
    pub text: String,
    /// Whether it is trouble.
    pub trouble: bool,
}

impl DeployReport {
    /// What has no finding of its own, in lines of a name and a value.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let seconds = |value: Option<f64>| value.map_or("–".to_owned(), |s| format!("{s:.1} s"));
        let mut facts = vec![
            (
                "carried out",
                match self.took {
                    Some(took) => format!("{} after {took:.1} s", self.detail),
                    None => self.detail.clone(),
                },
            ),
            ("open when it began", count(self.old)),
            ("cut", count(self.cut)),
            ("stayed open", count(self.old.saturating_sub(self.cut))),
            ("first cut after", seconds(self.first_cut)),
            ("last cut after (drain time)", seconds(self.drain)),
            (
                "ended with",
                match self.close_mix() {
                    mix if mix.is_empty() => "–".into(),
                    mix => mix.join(", "),
                },
            ),
            ("moved", count(self.moved)),
            ("last one back after", seconds(self.moved_in)),
        ];
        if let Some(off) = &self.cut_off {
            let times = [off.p50, off.p90, off.p99, off.max].map(millis);
            facts.push(("cut off for (p50, p90, p99, max)", times.join(", ")));
        }
        facts.extend([
            ("cut again", count(self.cut_again)),
            (
                "let in while draining",
                self.accepted_draining.map_or("unknown".into(), count),
            ),
            ("upgrades refused", self.refusals()),
            (
                "peak of attempts per second",
                match self.of_capacity() {
                    Some(share) => format!("{}: {share}", count(self.peak_attempts)),
                    None => count(self.peak_attempts),
                },
            ),
            (
                "max ÷ mean, and after it",
                [self.spread, self.spread_after]
                    .map(|ratio| ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")))
                    .join(", "),
            ),
            ("messages lost", count(self.lost)),
            ("messages missed while away", count(self.missed)),
            ("messages recovered by resuming", count(self.recovered)),
            ("messages received twice", count(self.duplicated)),
            ("messages out of order", count(self.reordered)),
        ]);
        facts
    }

    /// `1001 ×19,688 (clean, by the target, FIN)`, of each way in which old connections ended.
    pub(super) fn close_mix(&self) -> Vec<String> {
        let words = |close: &DeployClose| {
            let clean = if close.clean { "clean" } else { "cut" };
            let first = if close.by_target { "the target" } else { "us" };
            let tcp = match close.tcp {
                TcpEnding::Fin => "FIN",
                TcpEnding::Reset => "RST",
                TcpEnding::Ours => "TCP ended by us",
                TcpEnding::Unknown => "TCP's end unknown",
            };
            let (code, n) = (close.code, count(close.count));
            format!("{code} ×{n} ({clean}, by {first}, {tcp})")
        };
        self.closes.iter().map(words).collect()
    }

    /// `315: 503 ×312  429 ×3`
    fn refusals(&self) -> String {
        let each: Vec<String> = (self.refused_by_status.iter())
            .map(|(status, n)| format!("{status} ×{}", count(*n)))
            .collect();
        match each.is_empty() {
            true => count(self.refused),
            false => format!("{}: {}", count(self.refused), each.join("  ")),
        }
    }

    /// The peak as a part of what the target took before: `71 % of capacity`, or of what it was seen to take.
    pub fn of_capacity(&self) -> Option<String> {
        let capacity = self.capacity.filter(|capacity| *capacity > 0)?;
        let share = super::number::percent(self.peak_attempts as f64 / capacity as f64);
        Some(match self.capacity_reached {
            true => format!("{share} of capacity"),
            false => format!("{}/s at most were asked of it before", count(capacity)),
        })
    }

    /// Texts that may hold what the user or the target wrote.
    pub(super) fn texts(&mut self) -> Vec<&mut String> {
        let mut texts = vec![
            &mut self.label,
            &mut self.phase,
            &mut self.detail,
            &mut self.output,
            &mut self.verdict,
        ];
        texts.extend(self.findings.iter_mut().map(|finding| &mut finding.text));
        texts
    }
}
