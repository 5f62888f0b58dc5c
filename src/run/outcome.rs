//! The one value of a run that all reports are rendered from: what was planned, what was measured, and
//! how it is judged.

mod deploy;
mod fault;
mod pressure;
mod storm;
mod streams;

use super::drive::Course;
use super::places;
use super::verdict::exit;
use crate::gate::{self, Gate};
use crate::metrics::{self, Counter, Quantiles, Second, Timer, Totals};
use crate::plan::Plan;
use crate::report::{
    CloseReport, CostReport, CostSample, DeployReport, GateReport, GateStatus, GroupReport,
    Histograms, OUTCOME_VERSION, Outcome, PhaseReport, ReasonReport, SecondHistogram, ShardReport,
    TargetMemory, TimerReport, Validity, ValidityState,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a run beside what it measured.
pub struct Facts<'a> {
    /// What ran.
    pub plan: &'a Plan,
    /// What must hold.
    pub gates: &'a [Gate],
    /// The scenario's description.
    pub description: &'a str,
    /// Wall-clock start, RFC 3339 UTC.
    pub started: String,
    /// The target in words.
    pub target: String,
    /// Reasons against the run that the shards could not see.
    pub against: Vec<String>,
    /// Things worth knowing that are not verdicts.
    pub warnings: Vec<String>,
    /// What the run cost this machine.
    pub cost: Vec<CostSample>,
    /// The target's memory, where it tells it.
    pub memory: Option<TargetMemory>,
    /// Bytes that the target's kernel may hold for a connection; `None`: as Linux has it.
    pub kernel: Option<f64>,
}

/// Puts the outcome of a run together, verdict included.
pub fn assemble(facts: Facts<'_>, course: &Course) -> Outcome {
    let Facts { plan, gates, .. } = facts;
    let totals = &course.totals;
    let phases = phases(plan, course);
    let mut against = facts.against;
    // What a lost shard had under its hands is unfinished for that reason, which is told.
    if course.shards.iter().all(|shard| shard.lost.is_none()) {
        against.extend(fault::unfinished(&phases));
    }
    // Trouble that nobody had proves nothing about how it is borne. Where nothing opened there is a better reason.
    let opened = opened(plan, totals);
    if opened > 0 {
        against.extend(fault::untouched(plan, &phases, totals));
    }
    let deploys = deploy::reports(plan, course);
    against.extend(deploy::against(plan, course, &deploys));
    let validity = validity(plan, course, against);
    let storms = storm::storms(plan, &phases, course);
    let kernel = facts.kernel.unwrap_or(pressure::KERNEL);
    let pressure = pressure::all(plan, course, kernel, (&facts.cost, facts.memory.as_ref()));
    let looked_at = looked_at(&phases, &pressure, &deploys);
    let mut gates: Vec<GateReport> = gates
        .iter()
        .map(|gate| judge(gate, totals, &looked_at, plan, validity.state))
        .collect();
    let believed = validity.state != ValidityState::Invalid;
    gates.extend(deploys.iter().map(|report| deploy::gate(report, believed)));
    let exit = exit(
        opened > 0,
        course.interrupted.is_some(),
        validity.state,
        &gates,
    );
    Outcome {
        version: OUTCOME_VERSION,
        tool: format!("squall {}", env!("CARGO_PKG_VERSION")),
        name: plan.name().to_owned(),
        description: facts.description.to_owned(),
        seed: plan.seed(),
        started: facts.started,
        length: course.length.as_secs_f64(),
        target: facts.target,
        shards: course.shards.len() as u32,
        connections: plan.clients(),
        exit_code: exit.code(),
        verdict: exit.label().to_owned(),
        validity,
        gates,
        phases,
        storms,
        groups: plan
            .groups()
            .iter()
            .map(|g| GroupReport {
                name: g.name.clone(),
                count: g.count.into(),
            })
            .collect(),
        counts: counts(totals, None, None, true),
        counts_by_phase: by_phase(plan, |p| counts(totals, Some(p), None, false)),
        counts_by_group: by_group(plan, |g| counts(totals, None, Some(g), false)),
        failures: named(totals.failures_by_kind(None, None)),
        statuses: totals.statuses(None, None),
        expired_closes: totals.expired_closes(None, None),
        reasons: reasons(totals),
        revoked_closes: totals.revoked_closes(None, None),
        closes: totals
            .closes(None, None)
            .into_iter()
            .map(|(key, count)| CloseReport {
                code: key.code,
                by_target: key.by_target,
                clean: key.clean,
                count,
            })
            .collect(),
        endpoints: places::endpoints(plan, totals),
        nodes: places::nodes(plan, totals),
        open_by_place: places::over_time(plan, totals),
        timers: timers(totals, None, None),
        timers_by_phase: by_phase(plan, |p| timers(totals, Some(p), None)),
        timers_by_group: by_group(plan, |g| timers(totals, None, Some(g))),
        streams: streams::report(plan, course),
        pressure: pressure.into_iter().map(|p| p.report).collect(),
        per_shard: shards(course),
        cost: CostReport {
            telemetry_bytes: course.heard,
            samples: facts.cost,
        },
        warnings: facts
            .warnings
            .into_iter()
            .chain(late_openings(&course.totals))
            .chain(unconfirmed(plan, &course.totals))
            .chain(facts.memory.as_ref().and_then(pressure::unread))
            .collect(),
        memory: facts.memory,
        deploys,
        timeline: totals
            .timeline()
            .iter()
            .map(|second| moment(plan, second))
            .collect(),
        samples: totals
            .samples()
            .map(|(kind, text)| (kind.to_owned(), text.to_owned()))
            .collect(),
    }
}

/// The most frequent first.
fn reasons(totals: &Totals) -> Vec<ReasonReport> {
    let all = totals.reasons(None, None).into_iter();
    let mut all: Vec<ReasonReport> = all
        .map(|(reason, count)| ReasonReport {
            code: reason.code,
            text: reason.text,
            count,
        })
        .collect();
    // In order of code and text among equals.
    all.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    all
}

/// The distributions behind the outcome.
pub fn histograms(plan: &Plan, totals: &Totals) -> Histograms {
    let filled = |timer, phase| {
        Some(totals.histogram(timer, phase, None)).filter(|values| !values.is_empty())
    };
    let mut by_phase = BTreeMap::new();
    for phase in 0..plan.phases().len() {
        for &timer in Timer::ALL {
            if let Some(values) = filled(timer, Some(phase)) {
                by_phase.insert((phase, timer), values);
            }
        }
    }
    Histograms {
        total: Timer::ALL
            .iter()
            .filter_map(|&t| Some((t, filled(t, None)?)))
            .collect(),
        by_phase,
        seconds: totals
            .timeline()
            .iter()
            .flat_map(|second| {
                second.histograms.iter().map(|(timer, v2)| SecondHistogram {
                    start_ms: u64::from(second.index) * 1000,
                    length_ms: 1000,
                    timer: *timer,
                    v2: v2.clone(),
                })
            })
            .collect(),
    }
}

/// The generator's own judgement, and what only the coordinator knows.
fn validity(plan: &Plan, course: &Course, against: Vec<String>) -> Validity {
    let limits = metrics::Limits {
        max_lag: plan.generator().max_lag,
        max_cpu: plan.generator().max_cpu,
    };
    let judged = metrics::judge(&course.totals, limits);
    let mut state = match judged.state {
        metrics::State::Valid => ValidityState::Valid,
        metrics::State::Degraded => ValidityState::Degraded,
        metrics::State::Invalid => ValidityState::Invalid,
    };
    let mut reasons = against;
    for (shard, fate) in course.shards.iter().enumerate() {
        reasons.extend(
            fate.gaps
                .iter()
                .map(|gap| format!("telemetry gap: shard {shard}: {gap}; run again")),
        );
    }
    if !reasons.is_empty() {
        state = ValidityState::Invalid;
    }
    reasons.extend(judged.reasons);
    Validity { state, reasons }
}

/// The phases as gates see them.
fn looked_at(
    phases: &[PhaseReport],
    pressure: &[pressure::Pressure],
    deploys: &[DeployReport],
) -> Vec<gate::Phase> {
    let phases = phases.iter().enumerate();
    phases
        .map(|(index, p)| gate::Phase {
            name: p.name.clone(),
            completed: p.completed,
            start: p.start,
            seconds: p.end - p.start,
            neighbours: pressure
                .iter()
                .filter(|of| of.phase == index)
                .map(|of| (of.group, of.ratio.clone()))
                .collect(),
            slow: pressure
                .iter()
                .filter(|of| of.phase == index)
                .map(pressure::Pressure::judged)
                .collect(),
            deploys: deploys
                .iter()
                .filter(|of| of.phase == p.name)
                .map(|of| gate::Deployed {
                    accepted_draining: of.accepted_draining,
                    spread_after: of.spread_after,
                })
                .collect(),
        })
        .collect()
}

/// A gate's outcome; never passed when the run cannot be believed.
fn judge(
    gate: &Gate,
    totals: &Totals,
    phases: &[gate::Phase],
    plan: &Plan,
    validity: ValidityState,
) -> GateReport {
    let groups: Vec<String> = plan.groups().iter().map(|g| g.name.clone()).collect();
    let judgement = gate::evaluate(gate, totals, phases, &groups);
    let mut report = GateReport {
        text: gate.to_string(),
        status: match judgement.status {
            gate::Status::Passed => GateStatus::Passed,
            gate::Status::Failed => GateStatus::Failed,
            gate::Status::NoEvidence => GateStatus::NoEvidence,
        },
        actual: judgement.actual,
        value: judgement.value,
        note: judgement.note,
    };
    if validity == ValidityState::Invalid && report.status == GateStatus::Passed {
        report.status = GateStatus::NoEvidence;
        report.note = "the run is invalid".into();
    }
    report
}

fn phases(plan: &Plan, course: &Course) -> Vec<PhaseReport> {
    let mut numbers = 0..;
    plan.phases()
        .iter()
        .map(|phase| PhaseReport {
            name: phase.name.clone(),
            start: phase.start.as_secs_f64(),
            end: phase.end.as_secs_f64(),
            completed: phase.end <= course.reached,
            faults: phase
                .faults
                .iter()
                .zip(numbers.by_ref())
                .map(|(fault, number)| fault::report(fault, number, course))
                .collect(),
        })
        .collect()
}

/// Seconds that openings may be late without a word about it.
const LATE_OPENING: f64 = 1.0;

/// Groups that publish into a broker which confirmed nothing of it: whatever arrived was not known to be sent.
fn unconfirmed(plan: &Plan, totals: &Totals) -> Vec<String> {
    let injects = plan.groups().iter().enumerate();
    let injects = injects.filter(|(_, group)| group.inject.is_some());
    let count = |counter, g| totals.count(counter, None, Some(g));
    injects
        .filter(|(g, _)| count(Counter::Offered, *g) > 0 && count(Counter::Sent, *g) == 0)
        .map(|(g, group)| {
            format!(
                "the broker of `{}` confirmed none of {} messages: see what it said (`heard`), its address, login and streams",
                group.name,
                count(Counter::Offered, g)
            )
        })
        .collect()
}

/// Openings of which many began late, on which no other judgement is passed: who opens everything at once means to.
fn late_openings(totals: &Totals) -> Option<String> {
    let lag = totals.quantiles(Timer::OpenLag, None, None)?;
    let late = lag.p99 as f64 / 1e6;
    (late > LATE_OPENING).then(|| {
        format!(
            "openings began late, p99 {late:.1} s after they were due: more were due at once than this machine opens; \
             `open` counts from when they were due, `tcp`, `tls` and `upgrade` from when the step began"
        )
    })
}

fn counts(
    totals: &Totals,
    phase: Option<usize>,
    group: Option<usize>,
    zeros: bool,
) -> BTreeMap<String, u64> {
    let all = Counter::ALL
        .iter()
        .map(|&c| (c.name().to_owned(), totals.count(c, phase, group)));
    all.filter(|(_, count)| zeros || *count > 0).collect()
}

fn timers(
    totals: &Totals,
    phase: Option<usize>,
    group: Option<usize>,
) -> BTreeMap<String, TimerReport> {
    let all = Timer::ALL
        .iter()
        .filter_map(|&t| Some((t, totals.quantiles(t, phase, group)?)));
    all.map(|(timer, quantiles)| (timer.name().to_owned(), millis(&quantiles)))
        .collect()
}

/// Connections to the target that opened: what is connected to a broker behind it is none.
fn opened(plan: &Plan, totals: &Totals) -> u64 {
    let clients = plan
        .groups()
        .iter()
        .enumerate()
        .filter(|(_, group)| group.inject.is_none());
    clients
        .map(|(g, _)| totals.count(Counter::Opened, None, Some(g)))
        .sum()
}

fn by_phase<T>(plan: &Plan, of: impl Fn(usize) -> T) -> BTreeMap<String, T> {
    plan.phases()
        .iter()
        .enumerate()
        .map(|(i, p)| (p.name.clone(), of(i)))
        .collect()
}

fn by_group<T>(plan: &Plan, of: impl Fn(usize) -> T) -> BTreeMap<String, T> {
    plan.groups()
        .iter()
        .enumerate()
        .map(|(i, g)| (g.name.clone(), of(i)))
        .collect()
}

fn named(failures: BTreeMap<metrics::Failure, u64>) -> BTreeMap<String, u64> {
    failures
        .into_iter()
        .map(|(kind, count)| (kind.name().to_owned(), count))
        .collect()
}

/// Nanoseconds to seconds.
fn seconds_of(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

/// Microseconds to milliseconds.
fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

fn millis(q: &Quantiles) -> TimerReport {
    TimerReport {
        count: q.count,
        min: ms(q.min),
        mean: q.mean / 1e3,
        p50: ms(q.p50),
        p90: ms(q.p90),
        p99: ms(q.p99),
        p999: ms(q.p999),
        max: ms(q.max),
    }
}

fn shards(course: &Course) -> Vec<ShardReport> {
    let both = course.totals.shards().iter().zip(&course.shards);
    both.enumerate()
        .map(|(index, (totals, fate))| ShardReport {
            shard: index as u32,
            offered: totals.count(Counter::Offered) + totals.count(Counter::RequestsOffered),
            sent: totals.count(Counter::Sent) + totals.count(Counter::Requests),
            dropped: totals.count(Counter::Dropped) + totals.count(Counter::RequestsDropped),
            cancelled: totals.count(Counter::Cancelled) + totals.count(Counter::RequestsCancelled),
            cpu_max: totals.cpu_max(),
            lag_p99_max: ms(totals.lag_p99_max_us()),
            rss_max: totals.rss_max,
            snapshots: totals.snapshots,
            state: match &fate.lost {
                None => "finished".into(),
                Some(why) => format!("lost: it {why}"),
            },
        })
        .collect()
}

fn moment(plan: &Plan, second: &Second) -> crate::report::Second {
    let both = |a, b| second.count(a) + second.count(b);
    let response = second.response();
    let lag = second.timers.get(&Timer::Lag);
    crate::report::Second {
        at: f64::from(second.index) + 1.0,
        phase: plan.phase_at(u64::from(second.index) * 1_000_000_000),
        open: second.open.iter().sum(),
        opening: second.opening,
        opened: second.count(Counter::Opened),
        attempts: second.count(Counter::Attempts),
        failures: named(second.failures.clone()),
        closed: second.closed_by_target,
        offered: both(Counter::Offered, Counter::RequestsOffered),
        sent: both(Counter::Sent, Counter::Requests),
        dropped: both(Counter::Dropped, Counter::RequestsDropped),
        received: both(Counter::Received, Counter::Replies),
        p50: response.map(|q| ms(q.p50)),
        p90: response.map(|q| ms(q.p90)),
        p99: response.map(|q| ms(q.p99)),
        max: response.map(|q| ms(q.max)),
        lag_p99: lag.map(|q| ms(q.p99)),
        lag_max: lag.map(|q| ms(q.max)),
        cpu: second.cpu,
        rss: second.rss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Gauges, Recorder};

    #[test]
    fn openings_that_began_late_are_told() {
        let late = |micros: i64| {
            let mut recorder = Recorder::new(0, 1, 1);
            for _ in 0..100 {
                recorder.time(Timer::OpenLag, 0, 0, micros * 1_000);
            }
            let gauges = Gauges {
                open: vec![0],
                ..Gauges::default()
            };
            let mut totals = Totals::new(1, 1, 1);
            let snapshot = recorder.snapshot(1_000_000_000, gauges, true);
            totals.absorb(snapshot).expect("the first");
            totals.finish();
            late_openings(&totals)
        };
        assert_eq!(late(990_000), None);
        let told = late(2_500_000).expect("late");
        assert!(told.contains("p99 2.5 s"), "{told}");
    }
}
