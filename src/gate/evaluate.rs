//! Judging a gate on what was measured. Every doubt is decided against passing.

mod slow;
mod storm;

pub use slow::SlowFault;

use super::grammar::{Gate, Measure, Name, Op, Stat};
use super::metric::{Count, Exercise, names, opening};
use super::value::{Unit, thousands};
use crate::metrics::{Counter, Failure, NoRatio, Ratio, Timer, Totals, uneven, value_at_rank};

/// A quantile q needs 10/(1 − q) samples; in millionths that is this over what is left.
const NEEDED: u64 = 10 * MILLION;
const MILLION: u64 = 1_000_000;

/// What became of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Held, on enough evidence.
    Passed,
    /// Did not hold.
    Failed,
    /// Could not be judged; counts as not passed.
    NoEvidence,
}

/// A gate's judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What became of it.
    pub status: Status,
    /// The actual value in words (`41.2 ms`, `0 of 1,204,332`), `not reached`, or `–` without evidence.
    pub actual: String,
    /// The actual value in the gate's own unit: milliseconds, a number, per second, percent.
    pub value: Option<f64>,
    /// Why there is no evidence, or what the value does not say.
    pub note: String,
}

/// A phase as it went.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Whether the run reached its end.
    pub completed: bool,
    /// When it began, seconds from the run's start.
    pub start: f64,
    /// How long it lasted.
    pub seconds: f64,
    /// Its `slow` faults, by index of their group: the noisy-neighbour ratio, or why there is none.
    pub neighbours: Vec<(usize, Result<Ratio, NoRatio>)>,
    /// What else is known of these.
    pub slow: Vec<SlowFault>,
    /// What gates ask of its deploys.
    pub deploys: Vec<Deployed>,
}

/// What became of a deploy, as far as gates ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deployed {
    /// Connections let in by who was leaving already; `None`: nobody told.
    pub accepted_draining: Option<u64>,
    /// Most ÷ mean of those open at its end, over the nodes or addresses; `None`: there are no two.
    pub spread_after: Option<f64>,
}

/// Where a gate looks.
#[derive(Clone, Copy)]
struct Scope {
    phase: Option<usize>,
    group: Option<usize>,
    phases: usize,
}

impl Scope {
    fn count(self, totals: &Totals, counter: Counter) -> u64 {
        totals.count(counter, self.phase, self.group)
    }

    fn any(self, totals: &Totals, counters: &[Counter]) -> u64 {
        counters.iter().map(|c| self.count(totals, *c)).sum()
    }

    /// The same over the phases up to this one.
    fn any_so_far(self, totals: &Totals, counters: &[Counter]) -> u64 {
        match self.phase {
            None => self.any(totals, counters),
            Some(last) => (0..=last)
                .map(|phase| self.at(phase).any(totals, counters))
                .sum(),
        }
    }

    /// The same over the phases from this one on.
    fn count_from_here(self, totals: &Totals, counter: Counter) -> u64 {
        match self.phase {
            None => self.count(totals, counter),
            Some(first) => (first..self.phases)
                .map(|phase| self.at(phase).count(totals, counter))
                .sum(),
        }
    }

    fn at(self, phase: usize) -> Scope {
        Scope {
            phase: Some(phase),
            ..self
        }
    }
}

/// Judges a gate. `phases` and `groups` are in the order of the run's indices.
pub fn evaluate(gate: &Gate, totals: &Totals, phases: &[Phase], groups: &[String]) -> Judgement {
    let index = |name: &Option<Name>, find: &dyn Fn(&str) -> Option<usize>| match name {
        None => Ok(None),
        Some(name) => find(&name.name).map(Some).ok_or_else(|| name.name.clone()),
    };
    let phase = index(&gate.phase, &|name| {
        phases.iter().position(|p| p.name == name)
    });
    let group = index(&gate.group, &|name| groups.iter().position(|g| g == name));
    let (phase, group) = match (phase, group) {
        (Ok(phase), Ok(group)) => (phase, group),
        (Err(name), _) => return none(format!("there was no phase `{name}`")),
        (_, Err(name)) => return none(format!("there was no client group `{name}`")),
    };
    let looked_at = match phase {
        Some(phase) => phases.get(phase..=phase).unwrap_or(&[]),
        None => phases,
    };
    if looked_at.is_empty() {
        return none("there was no phase".to_owned());
    }
    if let Some(cut) = looked_at.iter().find(|phase| !phase.completed) {
        return none(format!("phase `{}` was not completed", cut.name));
    }
    let scope = Scope {
        phase,
        group,
        phases: phases.len(),
    };
    match gate.measure {
        Measure::Timer(timer, stat) => time(gate, totals, scope, timer, stat),
        Measure::Count(count) => counted(gate, totals, scope, count),
        Measure::Rate(count) => {
            let seconds = looked_at.iter().map(|phase| phase.seconds).sum();
            rate(gate, totals, scope, count, seconds)
        }
        Measure::Share(count) => share(gate, totals, scope, count),
        Measure::Peak(of) => storm::peak(gate, totals, looked_at, of),
        Measure::PeakShare => storm::peak_share(gate, totals, looked_at),
        Measure::PeakAfter => storm::peak_after(gate, totals, looked_at),
        Measure::Spread => spread(gate, totals, scope),
        Measure::Restored(part) => storm::restored(gate, totals, looked_at, part),
        Measure::Amplification => storm::amplification(gate, totals, scope, looked_at),
        Measure::Slow(of) => slow::slow(gate, looked_at, group, of),
        Measure::NoisyNeighbour => noisy_neighbour(gate, looked_at, group),
        Measure::Policy => slow::policy(gate, looked_at, group),
        Measure::AcceptedDraining => accepted_draining(gate, looked_at),
        Measure::SpreadAfter => spread_after(gate, looked_at),
    }
}

fn none(note: String) -> Judgement {
    Judgement {
        status: Status::NoEvidence,
        actual: "–".to_owned(),
        value: None,
        note,
    }
}

/// The value lies among what never came.
fn not_reached(note: String) -> Judgement {
    Judgement {
        status: Status::Failed,
        actual: "not reached".to_owned(),
        value: None,
        note,
    }
}

fn judged(gate: &Gate, value: f64, actual: String, note: String) -> Judgement {
    if !value.is_finite() {
        return none("the value is not a number".to_owned());
    }
    let status = if gate.op.holds(value, gate.limit) {
        Status::Passed
    } else {
        Status::Failed
    };
    Judgement {
        status,
        actual,
        value: Some(value),
        note,
    }
}

fn time(gate: &Gate, totals: &Totals, scope: Scope, timer: Timer, stat: Stat) -> Judgement {
    let histogram = totals.histogram(timer, scope.phase, scope.group);
    // What never came, or came too late to be recorded, is slower than everything that was.
    let never = if gate.op.is_upper() {
        censored(totals, scope, timer)
    } else {
        0
    };
    let recorded = histogram.len();
    let all = recorded.saturating_add(never);
    if all == 0 {
        return none(format!("no {} was recorded", timer.name()));
    }
    let value = match stat {
        Stat::Quantile(millionths) => {
            let left = MILLION.saturating_sub(u64::from(millionths)).max(1);
            let needed = NEEDED.div_ceil(left);
            if all < needed {
                return none(format!(
                    "too few samples: {} of {}",
                    thousands(all as f64),
                    thousands(needed as f64)
                ));
            }
            let rank = (u128::from(all) * u128::from(millionths)).div_ceil(u128::from(MILLION));
            u64::try_from(rank)
                .ok()
                .and_then(|rank| value_at_rank(&histogram, rank))
                .map(|us| us as f64)
        }
        Stat::Min => (recorded > 0).then(|| histogram.min() as f64),
        Stat::Mean => (never == 0).then(|| histogram.mean()),
        Stat::Max => (never == 0).then(|| histogram.max() as f64),
    };
    let mut note = String::new();
    if never > 0 {
        let what = match timer {
            Timer::Evicted | Timer::Drain => "not seen to be ended meanwhile",
            Timer::Expired | Timer::Revoked => "not closed for it",
            Timer::Open | Timer::Switch => "never got there",
            Timer::Rtt | Timer::RttService | Timer::Ack | Timer::AckService => "never answered",
            Timer::Latency | Timer::Service | Timer::Recovery => "never came",
            _ => "never came back",
        };
        note = format!(
            "{} of {} {what}, or after 60 s",
            thousands(never as f64),
            thousands(all as f64)
        );
    }
    let Some(us) = value else {
        return not_reached(note);
    };
    // A recorded value is known to three digits only: take the end of its bucket that makes passing harder.
    let us = match stat {
        Stat::Mean => us,
        _ if gate.op.is_upper() => histogram.highest_equivalent(us as u64) as f64,
        _ => histogram.lowest_equivalent(us as u64) as f64,
    };
    let ms = us / 1e3;
    judged(gate, ms, Unit::Time.write(ms), note)
}

/// How unevenly openings went to the target's nodes, or where none is told to its addresses.
fn spread(gate: &Gate, totals: &Totals, scope: Scope) -> Judgement {
    let places = totals.places(scope.phase, scope.group);
    let sum: u64 = places.iter().sum();
    if sum == 0 {
        return none("not exercised: opened was 0".to_owned());
    }
    let Some(value) = uneven(&places) else {
        return none("there was one place only: no node and no other address was told".to_owned());
    };
    let most = places.iter().max().copied().unwrap_or(0) as f64;
    let note = format!(
        "{} of {} at one of {} places",
        thousands(most),
        thousands(sum as f64),
        places.len()
    );
    judged(gate, value, format!("{value:.2}"), note)
}

/// How unevenly connections were spread when a deploy was over; of several the worst.
fn spread_after(gate: &Gate, phases: &[Phase]) -> Judgement {
    let deploys = phases.iter().flat_map(|phase| &phase.deploys);
    let mut worst: Option<f64> = None;
    for deploy in deploys {
        let Some(spread) = deploy.spread_after else {
            return none(
                "there was one place only: no node and no other address was told".to_owned(),
            );
        };
        worst = Some(worst.map_or(spread, |worst| gate.op.worse(worst, spread)));
    }
    match worst {
        Some(worst) => judged(gate, worst, format!("{worst:.2}"), String::new()),
        None => none("not exercised: there was no deploy".to_owned()),
    }
}

/// All who were let in by nodes that were leaving, in all deploys looked at.
fn accepted_draining(gate: &Gate, phases: &[Phase]) -> Judgement {
    let deploys = phases.iter().flat_map(|phase| &phase.deploys);
    let (mut sum, mut all, mut told) = (0, 0, 0);
    for accepted in deploys.map(|deploy| deploy.accepted_draining) {
        all += 1;
        told += u64::from(accepted.is_some());
        sum += accepted.unwrap_or(0);
    }
    let sum = sum as f64;
    // Too many are too many, whatever the others let in.
    let beyond = match gate.op {
        Op::Less => sum >= gate.limit,
        Op::LessEqual | Op::Equal => sum > gate.limit,
        Op::Greater | Op::GreaterEqual => false,
    };
    if all == 0 {
        return none("not exercised: there was no deploy".to_owned());
    }
    if told < all && !beyond {
        return none("the target does not tell whom its leaving nodes let in".to_owned());
    }
    judged(gate, sum, thousands(sum), String::new())
}

/// The worst of the faults looked at; without evidence if there is none of one of them.
fn noisy_neighbour(gate: &Gate, phases: &[Phase], group: Option<usize>) -> Judgement {
    let faults = phases.iter().flat_map(|phase| &phase.neighbours);
    let faults = faults.filter(|(of, _)| group.is_none_or(|group| group == *of));
    let mut worst: Option<&Ratio> = None;
    let mut beyond = false;
    for (_, ratio) in faults {
        match ratio {
            Err(NoRatio::NotReached) if gate.op.is_upper() => beyond = true,
            Ok(ratio) if worst.is_none_or(|worst| worst.value < ratio.value) => worst = Some(ratio),
            Ok(_) => {}
            Err(why) => return none(why.to_string()),
        }
    }
    if beyond {
        return not_reached(NoRatio::NotReached.to_string());
    }
    let Some(worst) = worst else {
        return none("not exercised: there was no `slow` fault".to_owned());
    };
    let low = worst.low;
    let note = match worst.high {
        Some(high) => format!("95 % interval {low:.2} to {high:.2}"),
        None => format!("95 % interval {low:.2} or more: too few messages to say how much more"),
    };
    judged(gate, worst.value, format!("{:.2}", worst.value), note)
}

/// Those whose end by the target the timer times, or that never came.
fn ended_of(timer: Timer) -> Counter {
    match timer {
        Timer::Drain => Counter::Old,
        _ => Counter::Afflicted,
    }
}

/// How many of what the timer times never ended, or ended beyond the histogram's range.
fn censored(totals: &Totals, scope: Scope, timer: Timer) -> u64 {
    let failures = |kind: Failure| totals.failures(Some(kind), scope.phase, scope.group);
    let never = match timer {
        Timer::Latency | Timer::Service => scope.count(totals, Counter::Lost),
        // What was published while away, and is still away.
        Timer::Recovery => scope.count(totals, Counter::Missed),
        Timer::Rtt | Timer::RttService => scope.count(totals, Counter::RequestTimeouts),
        Timer::Ack | Timer::AckService => {
            scope.count(totals, Counter::Unacked) + scope.count(totals, Counter::Rejected)
        }
        // Who was lost in a phase gives up in it or later. Who was told to stop is away all the same.
        Timer::Reconnect => {
            scope.count_from_here(totals, Counter::GaveUp)
                + scope.count_from_here(totals, Counter::Stopped)
        }
        Timer::Open => Failure::ALL
            .iter()
            .filter(|kind| opening(**kind))
            .map(|kind| failures(*kind))
            .sum(),
        Timer::Ping => failures(Failure::Dead),
        // Who went down in a phase and was ready over nothing since counts when the run ends.
        Timer::Fallback => scope.count_from_here(totals, Counter::EndedNowhere),
        // Both are counted in the phase of the expiry.
        Timer::Expired => scope.count(totals, Counter::Outlived),
        // Whoever stays on polling is slower than everybody who does not.
        Timer::Switch => [
            Counter::StuckUnoffered,
            Counter::StuckRefused,
            Counter::StuckTimeout,
            Counter::StuckFailed,
        ]
        .iter()
        .map(|cause| scope.count(totals, *cause))
        .sum(),
        // And here in the phase of the fault.
        Timer::Revoked => scope.count(totals, Counter::Unrevoked),
        Timer::Lag
        | Timer::Bunch
        // How many were to hear it, nobody knows: gates on `wills` do.
        | Timer::Will
        | Timer::Gap
        | Timer::Detect
        | Timer::Dns
        | Timer::Tcp
        | Timer::Tls
        | Timer::Upgrade
        | Timer::Ready
        | Timer::OpenLag => 0,
        // Who was not ended is slower than everybody who was. So is who was ended beyond the histogram's range, or was seen
        // to be only when what had been held back was read.
        Timer::Evicted | Timer::Drain => {
            let all = scope.count(totals, ended_of(timer));
            let ended = totals.histogram(timer, scope.phase, scope.group).len();
            return all.saturating_sub(ended);
        }
        // Who was cut in a phase is back in it or later, and counts there.
        Timer::CutOff => {
            let cut = scope.count(totals, Counter::Severed);
            cut.saturating_sub(scope.count(totals, Counter::Returned))
        }
    };
    never + scope.count(totals, Counter::OutOfRange)
}

/// Why the count says nothing, if so.
fn unexercised(totals: &Totals, scope: Scope, count: Count) -> Option<String> {
    let (sum, of) = match count.exercise() {
        Exercise::Always => return None,
        Exercise::Here(of) => (scope.any(totals, of), of),
        Exercise::SoFar(of) => (scope.any_so_far(totals, of), of),
    };
    // What happened was evidently exercised.
    let idle = sum == 0 && count.read(totals, scope.phase, scope.group) == 0;
    idle.then(|| format!("not exercised: {} was 0", names(of)))
}

fn counted(gate: &Gate, totals: &Totals, scope: Scope, count: Count) -> Judgement {
    if let Some(why) = unexercised(totals, scope, count) {
        return none(why);
    }
    let value = count.read(totals, scope.phase, scope.group) as f64;
    let whole = scope.any(totals, count.whole());
    let mut actual = thousands(value);
    if whole > 0 && count.part() == count {
        actual = format!("{actual} of {}", thousands(whole as f64));
    }
    judged(gate, value, actual, String::new())
}

fn rate(gate: &Gate, totals: &Totals, scope: Scope, count: Count, seconds: f64) -> Judgement {
    if let Some(why) = unexercised(totals, scope, count) {
        return none(why);
    }
    if seconds.is_nan() || seconds <= 0.0 {
        return none("the phase had no length".to_owned());
    }
    let value = count.read(totals, scope.phase, scope.group) as f64 / seconds;
    judged(gate, value, gate.measure.unit().write(value), String::new())
}

fn share(gate: &Gate, totals: &Totals, scope: Scope, count: Count) -> Judgement {
    let whole = scope.any(totals, count.whole());
    if whole == 0 {
        return none(format!("not exercised: {} was 0", names(count.whole())));
    }
    let part = count.part().read(totals, scope.phase, scope.group);
    let value = part as f64 / whole as f64 * 100.0;
    let actual = format!(
        "{} ({} of {})",
        Unit::Share.write(value),
        thousands(part as f64),
        thousands(whole as f64)
    );
    judged(gate, value, actual, String::new())
}

#[cfg(test)]
mod tests;
