//! The gate's grammar and its parser.
//!
//! ```text
//! gate     = measure op value { "in" phase | "of" group }        each of them at most once
//! measure  = timer stat | count [ "rate" | "share" | "peak" ] | "attempts" "peak" ( "share" | "after" ) | "restored" stat | ratio
//! ratio    = "amplification" | "spread" | "noisy_neighbour" | "caught_up" | "held_up" | "taken" | "skipped" | "memory_slope"
//!          | "policy" | "accepted_draining" | "spread_after"
//! stat     = "p" percent | "min" | "mean" | "max"                percent: 0 < p < 100, up to four decimals
//! count    = counter | "failed" [ kind ] | ( "status" | "close" | "expired_close" | "revoked_close" | "reason" ) code
//! code     = number                                              of "reason" also hexadecimal, as 0x97
//! op       = "<" | "<=" | ">" | ">=" | "=="                      "==" for counts and shares only; "policy" has no other
//!                                                               "peak" of attempts, opened and reconnected; "restored" with p only
//! value    = time | number | bytes | number "/s" | number "%" | "buffer" | "drop" | "disconnect" | "block-the-publisher"
//!                                                               by the measure
//! phase    = name                                                letters, digits, "-", "_", "."
//! group    = name
//! ```
//!
//! Words are separated by white space; around `op` it may be left out. Timers, counters and kinds are those of
//! [`super::metrics`].

use super::metric::{ACCEPTED_DRAINING, Count, NOISY_NEIGHBOUR, POLICY, SPREAD, SPREAD_AFTER};
use super::need::{self, Need};
use super::value::Unit;
use super::words::Words;
use crate::metrics::{Counter, Failure, Policy, Timer};
use std::fmt;

/// A parsed budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    pub(super) text: String,
    pub(super) measure: Measure,
    pub(super) op: Op,
    /// In the base of the measure's unit.
    pub(super) limit: f64,
    pub(super) phase: Option<Name>,
    pub(super) group: Option<Name>,
}

/// A name in a gate and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub name: String,
    pub column: usize,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Timer(Timer, Stat),
    Count(Count),
    Rate(Count),
    Share(Count),
    /// The most per second, in a step of 100 ms.
    Peak(Peak),
    /// The most attempts per second as a part of what the target took before.
    PeakShare,
    /// From the first loss to the step with the most attempts.
    PeakAfter,
    /// From the first loss to so many millionths of the lost connections being back.
    Restored(u32),
    /// Attempts for each connection that came back.
    Amplification,
    /// Openings at the busiest node, or address, ÷ the mean of all.
    Spread,
    /// What a `slow` fault did; the worst fault's.
    Slow(Slow),
    /// Fast clients' p99 within a `slow` fault ÷ before it; the worst fault's.
    NoisyNeighbour,
    /// What the target does with the victims of a `slow` fault; of every fault.
    Policy,
    /// Connections let in by who was leaving already, in a deploy; of all deploys.
    AcceptedDraining,
    /// Connections at the busiest node, or address, ÷ the mean of all when a deploy was over; the worst one's.
    SpreadAfter,
}

/// What is known of a `slow` fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slow {
    /// From its end until all was as before.
    CaughtUp,
    /// The longest time for which the target took nothing of what a publisher had written.
    HeldUp,
    /// Bytes that each victim took before it stalled.
    Taken,
    /// Messages that its victims lost while connected.
    Skipped,
    /// The growth of the target's memory within it.
    MemorySlope,
}

impl Slow {
    pub const ALL: [Slow; 5] = [
        Slow::CaughtUp,
        Slow::HeldUp,
        Slow::Taken,
        Slow::Skipped,
        Slow::MemorySlope,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Slow::CaughtUp => "caught_up",
            Slow::HeldUp => "held_up",
            Slow::Taken => "taken",
            Slow::Skipped => "skipped",
            Slow::MemorySlope => "memory_slope",
        }
    }

    /// The unit of its limit.
    pub fn unit(self) -> Unit {
        match self {
            Slow::CaughtUp | Slow::HeldUp => Unit::Time,
            Slow::Taken => Unit::Bytes,
            Slow::Skipped => Unit::Number,
            Slow::MemorySlope => Unit::ByteRate,
        }
    }
}

/// What has a peak: what is counted in steps of 100 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peak {
    Attempts,
    Opened,
    Reconnected,
}

impl Peak {
    pub fn name(self) -> &'static str {
        match self {
            Peak::Attempts => "attempts",
            Peak::Opened => "opened",
            Peak::Reconnected => "reconnected",
        }
    }

    fn of(count: Count) -> Option<Peak> {
        match count {
            Count::Counter(Counter::Attempts) => Some(Peak::Attempts),
            Count::Counter(Counter::Opened) => Some(Peak::Opened),
            Count::Counter(Counter::Reconnected) => Some(Peak::Reconnected),
            _ => None,
        }
    }
}

impl Measure {
    /// The unit of its limit.
    pub fn unit(self) -> Unit {
        match self {
            Measure::Timer(..) | Measure::Restored(_) | Measure::PeakAfter => Unit::Time,
            Measure::Count(count) if count.bytes() => Unit::Bytes,
            Measure::Count(_)
            | Measure::Amplification
            | Measure::Spread
            | Measure::NoisyNeighbour
            | Measure::AcceptedDraining
            | Measure::SpreadAfter => Unit::Number,
            Measure::Slow(slow) => slow.unit(),
            Measure::Policy => Unit::Policy,
            Measure::Rate(count) if count.bytes() => Unit::ByteRate,
            Measure::Rate(_) | Measure::Peak(_) => Unit::Rate,
            Measure::Share(_) => Unit::Share,
            Measure::PeakShare => Unit::Ratio,
        }
    }
}

/// What is taken of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stat {
    /// A quantile in millionths, 0 and 1,000,000 excluded.
    Quantile(u32),
    Min,
    Mean,
    Max,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
}

impl Op {
    /// Whether it holds.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Op::Less => value < limit,
            Op::LessEqual => value <= limit,
            Op::Greater => value > limit,
            Op::GreaterEqual => value >= limit,
            Op::Equal => value == limit,
        }
    }

    /// Of two values the one that makes passing harder.
    pub fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Op::Greater | Op::GreaterEqual => a.min(b),
            Op::Less | Op::LessEqual | Op::Equal => a.max(b),
        }
    }

    /// Whether it asks for at most something.
    pub fn is_upper(self) -> bool {
        matches!(self, Op::Less | Op::LessEqual)
    }

    fn parse(text: &str) -> Option<Op> {
        Some(match text {
            "<" => Op::Less,
            "<=" => Op::LessEqual,
            ">" => Op::Greater,
            ">=" => Op::GreaterEqual,
            "==" => Op::Equal,
            _ => return None,
        })
    }
}

/// What is wrong with a gate, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateError {
    /// In characters, from 1; one past the end for something missing.
    pub column: usize,
    /// In a sentence.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for GateError {}

impl Gate {
    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The phase it is about; `None`: the whole run.
    pub fn phase(&self) -> Option<&str> {
        self.phase.as_ref().map(|name| name.name.as_str())
    }

    /// The group it is about; `None`: all.
    pub fn group(&self) -> Option<&str> {
        self.group.as_ref().map(|name| name.name.as_str())
    }

    /// What a scenario must have for it to have a value.
    pub fn needs(&self) -> &'static [Need] {
        need::needs(self.measure)
    }

    /// Checks that the phase and the group it names exist.
    pub fn check_names(&self, phases: &[&str], groups: &[&str]) -> Result<(), GateError> {
        for (what, name, known) in [
            ("phase", &self.phase, phases),
            ("client group", &self.group, groups),
        ] {
            if let Some(Name { name, column }) = name
                && !known.contains(&name.as_str())
            {
                return Err(GateError {
                    column: *column,
                    message: format!("there is no {what} `{name}`"),
                    suggestion: nearest(name, known.iter().copied()),
                });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses a gate; see the module for the grammar. Names of phases and groups are checked later, by [`Gate::check_names`].
pub fn parse(text: &str) -> Result<Gate, GateError> {
    let mut words = Words::of(text);
    let measure = measure(&mut words)?;
    let op = operator(&mut words, measure)?;
    let limit = limit(&mut words, measure, op)?;
    let (mut phase, mut group) = (None, None);
    while let Some(word) = words.take() {
        let (place, what) = match word.text {
            "in" => (&mut phase, "phase"),
            "of" => (&mut group, "client group"),
            other => {
                return Err(word.error(
                    format!("expected `in PHASE`, `of GROUP` or the end, not `{other}`"),
                    nearest(other, ["in", "of"]),
                ));
            }
        };
        let Some(name) = words.take() else {
            return Err(words.missing(format!("the name of a {what}")));
        };
        if place.is_some() {
            return Err(word.error(format!("a second {what}"), None));
        }
        if !name
            .text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        {
            return Err(name.error(
                format!("`{}` cannot be the name of a {what}", name.text),
                None,
            ));
        }
        *place = Some(Name {
            name: name.text.to_owned(),
            column: name.column,
        });
    }
    if let (
        Measure::Peak(_) | Measure::PeakShare | Measure::PeakAfter | Measure::Restored(_),
        Some(group),
    ) = (measure, &group)
    {
        return Err(GateError {
            column: group.column,
            message: "steps of 100 ms are counted of all client groups together".to_owned(),
            suggestion: None,
        });
    }
    if let (Measure::AcceptedDraining | Measure::SpreadAfter, Some(group)) = (measure, &group) {
        return Err(GateError {
            column: group.column,
            message: "a deploy is judged over all client groups together".to_owned(),
            suggestion: None,
        });
    }
    Ok(Gate {
        text: text.trim().to_owned(),
        measure,
        op,
        limit,
        phase,
        group,
    })
}

fn measure(words: &mut Words<'_>) -> Result<Measure, GateError> {
    let Some(word) = words.take() else {
        return Err(words.missing("a metric, such as `latency p99` or `lost`".to_owned()));
    };
    if let Some(timer) = Timer::parse(word.text) {
        return Ok(Measure::Timer(timer, stat(words, timer)?));
    }
    if let Some(slow) = Slow::ALL.iter().find(|slow| slow.name() == word.text) {
        return Ok(Measure::Slow(*slow));
    }
    let count = match word.text {
        "amplification" => return Ok(Measure::Amplification),
        SPREAD => return Ok(Measure::Spread),
        "restored" => return restored(words),
        NOISY_NEIGHBOUR => return Ok(Measure::NoisyNeighbour),
        POLICY => return Ok(Measure::Policy),
        ACCEPTED_DRAINING => return Ok(Measure::AcceptedDraining),
        SPREAD_AFTER => return Ok(Measure::SpreadAfter),
        "failed" => Count::Failed(failure(words)?),
        "status" => Count::Status(code(words, "an HTTP status", 100..=599)?),
        "close" => Count::Close(code(words, "a close code", 1000..=4999)?),
        "expired_close" => Count::ExpiredClose(code(words, "a close code", 1000..=4999)?),
        "reason" => Count::Reason(code(words, "a reason code", 1..=255)?),
        "revoked_close" => Count::RevokedClose(code(words, "a close code", 1000..=4999)?),
        "closed_by_target" => Count::ClosedByTarget,
        name => match Counter::parse(name) {
            Some(counter) => Count::Counter(counter),
            None => {
                let known = Timer::ALL.iter().map(|t| t.name());
                let known = known.chain(Counter::ALL.iter().map(|c| c.name()));
                let known = known.chain(Slow::ALL.iter().map(|slow| slow.name()));
                let known = known.chain([
                    "failed",
                    "status",
                    "close",
                    "expired_close",
                    "reason",
                    "revoked_close",
                    "closed_by_target",
                    "restored",
                    "amplification",
                    SPREAD,
                    NOISY_NEIGHBOUR,
                    POLICY,
                    ACCEPTED_DRAINING,
                    SPREAD_AFTER,
                ]);
                return Err(
                    word.error(format!("there is no metric `{name}`"), nearest(name, known))
                );
            }
        },
    };
    let Some(form) = words
        .peek()
        .filter(|word| matches!(word.text, "rate" | "share" | "peak"))
    else {
        return Ok(Measure::Count(count));
    };
    words.take();
    if form.text == "rate" {
        return Ok(Measure::Rate(count));
    }
    if form.text == "peak" {
        return match (Peak::of(count), words.peek().map(|word| word.text)) {
            (Some(Peak::Attempts), Some("share")) => {
                words.take();
                Ok(Measure::PeakShare)
            }
            (Some(Peak::Attempts), Some("after")) => {
                words.take();
                Ok(Measure::PeakAfter)
            }
            (Some(peak), _) => Ok(Measure::Peak(peak)),
            (None, _) => Err(form.error(
                format!(
                    "`{}` has no peak; attempts, opened and reconnected have",
                    count.name()
                ),
                None,
            )),
        };
    }
    if count.whole().is_empty() {
        return Err(form.error(
            format!("`{}` is not a share of anything", count.name()),
            None,
        ));
    }
    Ok(Measure::Share(count))
}

fn stat(words: &mut Words<'_>, timer: Timer) -> Result<Stat, GateError> {
    let expected = format!(
        "p50, p99, p99.9 …, min, mean or max after `{}`",
        timer.name()
    );
    let Some(word) = words.take_word() else {
        return Err(words.missing(expected));
    };
    match word.text {
        "min" => return Ok(Stat::Min),
        "mean" => return Ok(Stat::Mean),
        "max" => return Ok(Stat::Max),
        _ => {}
    }
    match word.text.strip_prefix('p').and_then(millionths) {
        Some(quantile) => Ok(Stat::Quantile(quantile)),
        None => Err(word.error(
            format!("expected {expected}, not `{}`", word.text),
            nearest(word.text, ["min", "mean", "max"]),
        )),
    }
}

fn restored(words: &mut Words<'_>) -> Result<Measure, GateError> {
    let expected = "p50, p99 … after `restored`";
    let Some(word) = words.take_word() else {
        return Err(words.missing(expected.to_owned()));
    };
    match word.text.strip_prefix('p').and_then(part) {
        Some(part) => Ok(Measure::Restored(part)),
        None => Err(word.error(format!("expected {expected}, not `{}`", word.text), None)),
    }
}

/// Like [`millionths`], with 100 too: everybody is back.
fn part(percent: &str) -> Option<u32> {
    match percent {
        "100" => Some(1_000_000),
        _ => millionths(percent),
    }
}

/// A percent with up to four decimals as millionths; `None` unless between 0 and 100, both excluded.
fn millionths(percent: &str) -> Option<u32> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(whole, 2) || !digits(decimals, 4) {
        return None;
    }
    let quantile =
        whole.parse::<u32>().ok()? * 10_000 + format!("{decimals:0<4}").parse::<u32>().ok()?;
    (quantile > 0).then_some(quantile)
}

fn failure(words: &mut Words<'_>) -> Result<Option<Failure>, GateError> {
    let Some(word) = words
        .peek()
        .filter(|w| !w.is_operator() && !matches!(w.text, "rate" | "share" | "peak"))
    else {
        return Ok(None);
    };
    words.take();
    match Failure::parse(word.text) {
        Some(kind) => Ok(Some(kind)),
        None => Err(word.error(
            format!("there is no kind of failure `{}`", word.text),
            nearest(word.text, Failure::ALL.iter().map(|kind| kind.name())),
        )),
    }
}

fn code(
    words: &mut Words<'_>,
    what: &str,
    range: std::ops::RangeInclusive<u16>,
) -> Result<u16, GateError> {
    let expected = format!("{what} ({} to {})", range.start(), range.end());
    let Some(word) = words.take_word() else {
        return Err(words.missing(expected));
    };
    let number = match word.text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => word.text.parse(),
    };
    match number.ok().filter(|code| range.contains(code)) {
        Some(code) => Ok(code),
        None => Err(word.error(format!("expected {expected}, not `{}`", word.text), None)),
    }
}

fn operator(words: &mut Words<'_>, measure: Measure) -> Result<Op, GateError> {
    let comparison = "a comparison: <, <=, >, >= or ==";
    let Some(word) = words.take() else {
        return Err(words.missing(comparison.to_owned()));
    };
    let Some(op) = Op::parse(word.text) else {
        let suggestion = match word.text {
            "=" | "===" => Some("=="),
            "=<" => Some("<="),
            "=>" => Some(">="),
            _ => None,
        };
        return Err(word.error(
            format!("expected {comparison}, not `{}`", word.text),
            suggestion.map(str::to_owned),
        ));
    };
    if measure == Measure::Policy {
        if op != Op::Equal {
            return Err(word.error(
                "a policy is one or another, never more or less".to_owned(),
                Some("==".to_owned()),
            ));
        }
        return Ok(op);
    }
    let whole = matches!(
        measure,
        Measure::Count(_)
            | Measure::Share(_)
            | Measure::AcceptedDraining
            | Measure::Slow(Slow::Skipped)
    );
    if op == Op::Equal && !whole {
        return Err(word.error(
            "a time, a rate or a ratio is never exactly equal to a limit".to_owned(),
            Some("<=".to_owned()),
        ));
    }
    Ok(op)
}

fn limit(words: &mut Words<'_>, measure: Measure, op: Op) -> Result<f64, GateError> {
    let unit = measure.unit();
    let Some(word) = words.take_word() else {
        return Err(words.missing(unit.example().to_owned()));
    };
    let Some(limit) = unit.read(word.text) else {
        return Err(word.error(
            format!("expected {}, not `{}`", unit.example(), word.text),
            (unit == Unit::Policy)
                .then(|| nearest(word.text, Unit::policies().map(Policy::name)))
                .flatten(),
        ));
    };
    if (op == Op::Less && limit == 0.0)
        || (op == Op::Greater && unit == Unit::Share && limit >= 100.0)
    {
        return Err(word.error("this can never hold".to_owned(), None));
    }
    Ok(limit)
}

/// The known word nearest to a wrong one, if any is near.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), k));
    let (distance, best) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= (best.len().max(word.len()) / 3).max(1)).then(|| best.to_owned())
}

#[cfg(test)]
mod tests;
