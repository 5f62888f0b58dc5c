//! The story in lines, told in the same order on the terminal and at the head of the HTML and Markdown reports.
//! Texts here are as they came: whoever shows them escapes them.

mod ladder;
mod trouble;

pub(super) use trouble::{absence, storm};

use super::number::{self, count, millis, millis_row, percent};
use super::{
    DeployReport, GateStatus, MemoryReport, NeighbourReport, Outcome, PlaceReport, PressureReport,
    StreamReport, TimerReport, ValidityState,
};
use std::collections::BTreeMap;

/// With fewer connections a process's own memory is most of what a connection would seem to take.
const ENOUGH: u64 = 10_000;

/// What the line about the generator itself is called.
pub(super) const GENERATOR: &str = "generator";

/// Times that are further apart each have a unit of their own.
const WIDE: f64 = 1_000.0;

/// So many addresses or nodes are named in a line.
const PLACES: usize = 6;

/// So many reasons are named in a line.
const REASONS: usize = 6;

/// A line: what it is about, and its parts, each a thought of its own.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// One word.
    pub(super) label: String,
    /// Joined by ` · ` where there is room.
    pub(super) parts: Vec<String>,
    /// Of one phase, of which there may be many.
    pub(super) of_phase: bool,
}

/// What the run was: seed, length, clients, shards.
pub(super) fn what(outcome: &Outcome) -> String {
    format!(
        "seed {} · {} · {} on {}",
        outcome.seed,
        number::span(outcome.length),
        many(outcome.connections, "client"),
        many(outcome.shards.into(), "shard")
    )
}

/// `1 shard`, `4 shards`.
pub(super) fn many(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `run valid`, `run degraded`, `run invalid`.
pub(super) fn validity(outcome: &Outcome) -> &'static str {
    match outcome.validity.state {
        ValidityState::Valid => "run valid",
        ValidityState::Degraded => "run degraded",
        ValidityState::Invalid => "run invalid",
    }
}

/// The sign of a gate.
pub(super) fn sign(status: GateStatus) -> &'static str {
    match status {
        GateStatus::Passed => "✓",
        GateStatus::Failed => "✗",
        GateStatus::NoEvidence => "?",
    }
}

/// Everything after the gates.
pub(super) fn lines(outcome: &Outcome) -> Vec<Line> {
    let mut lines = vec![connections(outcome)];
    lines.extend(heard(outcome));
    lines.extend(handshake(outcome));
    lines.extend(polling(outcome));
    lines.extend(spread(outcome));
    lines.extend(ladder::line(outcome));
    lines.extend(latency(outcome, "latency", "service"));
    lines.extend(latency(outcome, "rtt", "rtt_service"));
    lines.extend(latency(outcome, "ack", "ack_service"));
    lines.extend(acknowledged(outcome));
    lines.extend(reasons(outcome));
    lines.extend(tokens(outcome));
    lines.extend(delivery(outcome));
    lines.extend(requests(outcome));
    lines.extend(compressed(outcome));
    // Before the other phases: where there is no room for all, what was rehearsed is what is shown.
    lines.extend(outcome.deploys.iter().map(deploy));
    lines.extend(trouble::lines(outcome));
    lines.extend(outcome.pressure.iter().map(|of| pressure(of, outcome)));
    lines.push(generator(outcome));
    lines.extend(memory(outcome));
    lines
}

fn line(label: &str, parts: impl IntoIterator<Item = String>) -> Line {
    Line {
        label: label.into(),
        parts: parts.into_iter().collect(),
        of_phase: false,
    }
}

/// The count of a metric over the whole run.
pub(super) fn total(outcome: &Outcome, name: &str) -> u64 {
    outcome.counts.get(name).copied().unwrap_or(0)
}

/// The most connections ready at the end of any second.
pub(super) fn peak(outcome: &Outcome) -> u64 {
    outcome
        .timeline
        .iter()
        .map(|second| second.open)
        .max()
        .unwrap_or(0)
}

fn connections(outcome: &Outcome) -> Line {
    let mut parts = vec![
        format!("{} opened", count(total(outcome, "opened"))),
        many(total(outcome, "attempts"), "attempt"),
        format!("peak {}", count(peak(outcome))),
    ];
    for (who, by_target) in [("the target", true), ("us", false)] {
        let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
        for close in outcome.closes.iter().filter(|c| c.by_target == by_target) {
            *codes.entry(close.code).or_default() += close.count;
        }
        let codes: Vec<String> = codes
            .iter()
            .map(|(code, n)| format!("{code} ×{}", count(*n)))
            .collect();
        if !codes.is_empty() {
            parts.push(format!("closed by {who} {}", codes.join("  ")));
        }
    }
    parts.push(failed(outcome));
    parts.extend(unopened(outcome));
    line("connections", parts)
}

/// Groups of which nothing ever opened, where others did.
fn unopened(outcome: &Outcome) -> Option<String> {
    let of = |group: &str, name: &str| {
        let counts = outcome.counts_by_group.get(group);
        counts.and_then(|counts| counts.get(name)).copied()
    };
    let groups = outcome.groups.iter().map(|group| group.name.as_str());
    let none = groups.filter(|group| {
        of(group, "attempts").unwrap_or(0) > 0 && of(group, "opened").unwrap_or(0) == 0
    });
    let none: Vec<&str> = none.take(PLACES).collect();
    (total(outcome, "opened") > 0 && !none.is_empty())
        .then(|| format!("nothing of {} ever opened", none.join(", ")))
}

/// Where something failed, what was heard: it nearly always names the reason.
fn heard(outcome: &Outcome) -> Option<Line> {
    let n = |name| total(outcome, name);
    let failed = outcome.failures.values().any(|n| *n > 0);
    let trouble = failed || n("opened") == 0 || n("rejected") + n("unacked") > 0;
    if !trouble || outcome.samples.is_empty() {
        return None;
    }
    // What connections that were open were closed with says least of why others failed.
    let closing = |kind: &str| kind.starts_with("close ");
    let (last, first): (Vec<_>, Vec<_>) =
        outcome.samples.iter().partition(|(kind, _)| closing(kind));
    let heard = first.into_iter().chain(last).take(2);
    let heard: Vec<String> = heard
        .map(|(kind, text)| format!("{kind}: {text}"))
        .collect();
    Some(line("heard", heard))
}

/// `failed 57 (status 401 ×6, tls 3, timeout 48)`.
fn failed(outcome: &Outcome) -> String {
    let mut kinds: Vec<(&String, &u64)> =
        outcome.failures.iter().filter(|(_, n)| **n > 0).collect();
    kinds.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let sum = kinds.iter().map(|(_, n)| **n).sum();
    if kinds.is_empty() {
        return "failed 0".into();
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| match kind.as_str() {
            // By the numbers that the target answered with, which say more than how many there were.
            "status" if !outcome.statuses.is_empty() => {
                let codes = outcome.statuses.iter();
                let codes: Vec<String> = codes
                    .map(|(code, n)| format!("{code} ×{}", count(*n)))
                    .collect();
                format!("status {}", codes.join("  "))
            }
            kind => format!("{} {}", words(kind), count(**n)),
        })
        .collect();
    format!("failed {} ({})", count(sum), kinds.join(", "))
}

/// A stable name as words: `close_timeout` → `close timeout`.
pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn handshake(outcome: &Outcome) -> Option<Line> {
    let steps: Vec<(&str, &TimerReport)> = ["dns", "tcp", "tls", "upgrade", "ready"]
        .into_iter()
        .filter_map(|name| {
            outcome
                .timers
                .get(name)
                .filter(|t| t.count > 0)
                .map(|t| (name, t))
        })
        .collect();
    let medians: Vec<f64> = steps.iter().map(|(_, timer)| timer.p50).collect();
    let (values, unit) = millis_row(&medians);
    let mut parts = Vec::new();
    if !steps.is_empty() {
        let steps: Vec<String> = steps
            .iter()
            .zip(&values)
            .map(|((name, _), v)| format!("{name} {v}"))
            .collect();
        parts.push(format!("{} {unit} (p50)", steps.join("  ")));
    }
    if let Some(open) = outcome.timers.get("open").filter(|timer| timer.count > 0) {
        parts.push(format!("total p99 {}", millis(open.p99)));
        // Said only where one phase was clearly worse than the whole, on values enough for a p99.
        let phases = outcome
            .timers_by_phase
            .iter()
            .filter_map(|(name, timers)| Some((name, timers.get("open")?)))
            .filter(|(_, timer)| timer.count >= 1000);
        let worst = phases.max_by(|a, b| a.1.p99.total_cmp(&b.1.p99));
        if let Some((name, timer)) = worst.filter(|(_, timer)| timer.p99 > 1.5 * open.p99) {
            parts.push(format!("in {name} p99 {}", millis(timer.p99)));
        }
    }
    (!parts.is_empty()).then(|| line("handshake", parts))
}

/// Over which addresses and nodes connections are spread, where there are several or nodes are told.
fn spread(outcome: &Outcome) -> Option<Line> {
    let mut parts = Vec::new();
    if outcome.endpoints.len() > 1 {
        parts.push(places(&outcome.endpoints, "address", "addresses"));
    }
    let nodes = &outcome.nodes;
    if !nodes.told.is_empty() {
        parts.push(places(&nodes.told, "node", "nodes"));
    }
    if nodes.beyond > 0 {
        parts.push(format!("{} at still other nodes", count(nodes.beyond)));
    }
    if nodes.untold > 0 {
        parts.push(format!("node not told {}", count(nodes.untold)));
    }
    let (moved, stayed) = (total(outcome, "moved"), total(outcome, "stayed"));
    if moved + stayed > 0 {
        let back = count(moved + stayed);
        parts.push(format!(
            "{} of {back} came back on another node",
            count(moved)
        ));
    }
    (!parts.is_empty()).then(|| line("spread", parts))
}

/// `3 nodes: a ×10  b ×10  c ×7, max ÷ mean 1.11`; without their names where there are many.
fn places(places: &[PlaceReport], one: &str, several: &str) -> String {
    let all: u64 = places.iter().map(|place| place.opened).sum();
    let most = places.iter().map(|place| place.opened).max().unwrap_or(0);
    let n = places.len();
    let mut text = format!("{n} {}", if n == 1 { one } else { several });
    if n <= PLACES {
        let named: Vec<String> = places
            .iter()
            .map(|place| format!("{} ×{}", place.name, count(place.opened)))
            .collect();
        text = format!("{text}: {}", named.join("  "));
    }
    if n > 1 && all > 0 {
        let ratio = most as f64 * n as f64 / all as f64;
        text = format!("{text}, max ÷ mean {ratio:.2}");
    }
    text
}

fn latency(outcome: &Outcome, name: &str, service: &str) -> Option<Line> {
    let timer = outcome.timers.get(name).filter(|timer| timer.count > 0)?;
    let times = [timer.p50, timer.p90, timer.p99, timer.p999, timer.max];
    let (mut values, mut unit) = millis_row(&times);
    if timer.max > WIDE * timer.p50 {
        // In one unit the small ones would say nothing.
        (values, unit) = (times.map(millis).to_vec(), "");
    }
    let names = ["p50", "p90", "p99", "p99.9", "max"];
    let row: Vec<String> = names
        .iter()
        .zip(&values)
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let mut parts = vec![format!("{} {unit}", row.join("  ")).trim_end().to_owned()];
    if let Some(service) = outcome.timers.get(service).filter(|timer| timer.count > 0) {
        parts.push(format!("from actual send: p99 {}", millis(service.p99)));
    }
    Some(line(name, parts))
}

fn delivery(outcome: &Outcome) -> Option<Line> {
    let n = |name| total(outcome, name);
    if n("offered") + n("received") == 0 {
        return None;
    }
    let mut parts = vec![format!(
        "sent {} → expected {}",
        count(n("sent")),
        count(n("expected"))
    )];
    parts.push(format!("received {}", count(n("received"))));
    for name in ["lost", "duplicated", "reordered"] {
        parts.push(format!("{name} {}", count(n(name))));
    }
    for name in [
        "recovered",
        "missed",
        "indeterminate",
        "misrouted",
        "redelivered",
        "nacked",
        "retained",
        "wills_owed",
        "wills",
        "unstamped",
        "errors",
        "service_gaps",
        "oversized",
    ] {
        if n(name) > 0 {
            parts.push(format!("{} {}", words(name), count(n(name))));
        }
    }
    parts.extend(worst(outcome));
    Some(line("delivery", parts))
}

/// The stream that fared worst, where there are several and something is wrong.
fn worst(outcome: &Outcome) -> Option<String> {
    let streams = outcome.streams.as_ref()?;
    let several = streams.worst.len() > 1 || streams.others > 0;
    let stream = streams.worst.first().filter(|_| several)?;
    let words: Vec<String> = (stream.messages.wrong.bad())
        .map(|(name, n)| format!("{name} {}", count(n)))
        .collect();
    (!words.is_empty()).then(|| {
        format!(
            "worst stream {} ({}{})",
            stream_name(stream),
            words.join(", "),
            where_worst(stream).unwrap_or_default()
        )
    })
}

/// Where it fared worst: in which phase, and by which fault's doing.
fn where_worst(stream: &StreamReport) -> Option<String> {
    let part = stream.parts.first()?;
    let phase = part.phase.as_ref()?;
    let all = stream.parts.iter().all(|other| {
        (&other.phase, &other.fault) == (&part.phase, &part.fault)
            || other.wrong.bad().next().is_none()
    });
    let most = if all { "" } else { "worst " };
    let fault = part.fault.as_ref();
    let by = fault.map_or(String::new(), |fault| format!(", by `{fault}`"));
    Some(format!("; {most}in {phase}{by}"))
}

/// `orders of publishers 3`
pub(super) fn stream_name(stream: &StreamReport) -> String {
    let topic = match &stream.topic {
        Some(topic) => topic.clone(),
        None => format!("publish {}", stream.publish),
    };
    format!("{topic} of {} {}", stream.group, stream.publisher)
}

fn requests(outcome: &Outcome) -> Option<Line> {
    let n = |name| total(outcome, name);
    (n("requests_offered") > 0).then(|| {
        let sent = format!(
            "sent {} → replies {}",
            count(n("requests")),
            count(n("replies"))
        );
        line(
            "requests",
            [sent, format!("timed out {}", count(n("request_timeouts")))],
        )
    })
}

/// What became of publishes that the target or a broker was to acknowledge, and of those that a broker had to get again.
fn acknowledged(outcome: &Outcome) -> Option<Line> {
    let n = |name| total(outcome, name);
    let (acked, rejected, unacked) = (n("acked"), n("rejected"), n("unacked"));
    let (resent, unroutable) = (n("resent"), n("unroutable"));
    (acked + rejected + unacked + resent > 0).then(|| {
        let mut parts = vec![format!("acknowledged {}", count(acked))];
        let rest = [
            ("rejected", rejected),
            ("never acknowledged", unacked),
            ("sent again", resent),
            ("taken by no queue", unroutable),
        ];
        for (name, n) in rest {
            if n > 0 {
                parts.push(format!("{name} {}", count(n)));
            }
        }
        line("publishes", parts)
    })
}

/// `on 20 of 20 connections · received 1.2 MiB as 84 KiB (7 %) · sent …`: what permessage-deflate made of messages.
fn compressed(outcome: &Outcome) -> Option<Line> {
    let n = |name: &str| total(outcome, name);
    let made = |verb: &str, small: &'static str, large: &'static str| {
        let (small, large) = (n(small), n(large));
        (large > 0).then(|| {
            let share = small as f64 * 100.0 / large as f64;
            let [small, large] = [small, large].map(|n| number::bytes(n as f64));
            format!("{verb} {large} as {small} ({share:.0} %)")
        })
    };
    let sides = [
        made("received", "deflated_received", "inflated_received"),
        made("sent", "deflated_sent", "inflated_sent"),
    ];
    (n("compressed") > 0).then(|| {
        let mut parts = vec![format!(
            "on {} of {} connections",
            count(n("compressed")),
            count(n("opened"))
        )];
        parts.extend(sides.into_iter().flatten());
        line("compressed", parts)
    })
}

/// `0x97 quota exceeded ×312 · Bad CONNECT ×22`: what the target said in its protocol's own words.
fn reasons(outcome: &Outcome) -> Option<Line> {
    let reasons = &outcome.reasons;
    let (named, others) = reasons.split_at(reasons.len().min(REASONS));
    let mut parts: Vec<String> = named
        .iter()
        .map(|reason| {
            let name = match (reason.code, reason.text.as_str()) {
                (0, "") => "beyond those told apart".to_owned(),
                (0, text) => text.to_owned(),
                (code, text) => format!("{code:#04x} {text}"),
            };
            format!("{name} ×{}", count(reason.count))
        })
        .collect();
    if !others.is_empty() {
        let sum = others.iter().map(|reason| reason.count).sum();
        parts.push(format!("{} others ×{}", others.len(), count(sum)));
    }
    (!parts.is_empty()).then(|| line("reasons", parts))
}

/// `708 renewed · 0 failed · 40 expired, closed after 4.1 ms (p50), 8.9 ms at most · by 4401 ×40`; and the same of those revoked.
fn tokens(outcome: &Outcome) -> Option<Line> {
    let n = |name| total(outcome, name);
    let (renewed, failed) = (n("renewed"), n("renewal_failed"));
    let mut parts = Vec::new();
    if renewed + failed > 0 {
        parts.push(format!("{} renewed", count(renewed)));
        parts.push(format!("{} failed", count(failed)));
    }
    let mut ended = |what: &str, all: u64, closes: &BTreeMap<u16, u64>, never: u64| {
        if all == 0 {
            return;
        }
        let closed = outcome.timers.get(what).map(|t| {
            let (p50, max) = (millis(t.p50), millis(t.max));
            format!(", closed after {p50} (p50), {max} at most")
        });
        let closed = closed.unwrap_or_default();
        parts.push(format!("{} {what}{closed}", count(all)));
        let codes: Vec<String> = closes
            .iter()
            .map(|(code, n)| format!("{code} ×{}", count(*n)))
            .collect();
        if !codes.is_empty() {
            parts.push(format!("by {}", codes.join("  ")));
        }
        if never > 0 {
            parts.push(format!("never closed {}", count(never)));
        }
    };
    ended(
        "expired",
        n("expiries"),
        &outcome.expired_closes,
        n("outlived"),
    );
    ended(
        "revoked",
        n("revocations"),
        &outcome.revoked_closes,
        n("unrevoked"),
    );
    if n("revocation_failed") > 0 {
        let failed = count(n("revocation_failed"));
        parts.push(format!("{failed} not confirmed to be revoked"));
    }
    (!parts.is_empty()).then(|| line("tokens", parts))
}

/// How many of those that opened by polling went on over a WebSocket, and why the others did not.
fn polling(outcome: &Outcome) -> Option<Line> {
    let n = |name: &str| total(outcome, name);
    let (polled, upgraded) = (n("polled"), n("upgraded"));
    (polled > 0).then(|| {
        let mut parts = vec![format!("{} opened by it", count(polled))];
        let causes = [
            ("stuck_unoffered", "not offered"),
            ("stuck_refused", "refused"),
            ("stuck_timeout", "not answered"),
            ("stuck_failed", "failed"),
        ];
        let causes = causes.map(|(name, words)| (n(name), words));
        let stuck: u64 = causes.iter().map(|(n, _)| n).sum();
        if upgraded + stuck > 0 {
            let took = outcome.timers.get("switch").filter(|t| t.count > 0).map(|t| {
                let (p50, max) = (millis(t.p50), millis(t.max));
                format!(" after {p50} (p50), {max} at most")
            });
            let ratio = percent(upgraded as f64 / polled as f64);
            let took = took.unwrap_or_default();
            parts.push(format!("{} upgraded ({ratio}){took}", count(upgraded)));
        }
        if stuck > 0 {
            let causes = causes.iter().filter(|(n, _)| *n > 0);
            let causes: Vec<String> = causes
                .map(|(n, words)| format!("{words} {}", count(*n)))
                .collect();
            parts.push(format!("stuck on it {} ({})", count(stuck), causes.join(", ")));
        }
        if n("unknown_session") > 0 {
            parts.push(format!(
                "{} answered with Session ID unknown: not every request comes to the node of its handshake",
                count(n("unknown_session"))
            ));
        }
        line("polling", parts)
    })
}

/// A deploy: what is to be said of it aloud, what was found, and how its connections ended.
fn deploy(deploy: &DeployReport) -> Line {
    let findings = deploy.findings.iter().map(|finding| finding.text.clone());
    let mix = deploy.close_mix();
    let ended = (!mix.is_empty()).then(|| format!("ended with {}", mix.join(", ")));
    Line {
        of_phase: true,
        ..line(
            "deploy",
            std::iter::once(deploy.verdict.clone())
                .chain(findings)
                .chain(ended),
        )
    }
}

/// A line for each fault that made consumers slow.
fn pressure(of: &PressureReport, outcome: &Outcome) -> Line {
    let of_phase = outcome
        .pressure
        .iter()
        .filter(|other| other.phase == of.phase);
    let which = match of_phase.count() {
        1 => String::new(),
        _ => format!("{}: ", of.fault),
    };
    let mut parts = vec![format!(
        "{which}the target's policy: {} ({})",
        of.policy, of.why
    )];
    for closed in &of.closed {
        let when = if closed.after { ", seen after it" } else { "" };
        parts.push(format!(
            "closed {} ×{}{when}",
            closed.code,
            count(closed.count)
        ));
    }
    if let Some(evicted) = &of.evicted {
        parts.push(format!("closed after {} (p50)", millis(evicted.p50)));
    }
    if of.skipped > 0 {
        parts.push(format!("{} messages skipped", count(of.skipped)));
    }
    parts.push(noisy(&of.neighbour));
    let publishers = &of.publishers;
    if publishers.held_up > 0.0 {
        parts.push(format!("publishers held up {:.1} s", publishers.held_up));
    }
    if publishers.dropped > 0 {
        let (dropped, offered) = (count(publishers.dropped), count(publishers.offered));
        parts.push(format!("{dropped} of {offered} sends dropped"));
    }
    parts.push(recovery(of));
    parts.extend(of.memory.as_ref().and_then(grown));
    if of.memory.is_none() && !of.memory_unknown.is_empty() {
        parts.push("the target's memory: unknown (see the report)".into());
    }
    Line {
        of_phase: true,
        ..line(&of.phase, parts)
    }
}

/// `noisy neighbour 1.10 (0.91 to 1.34), p99 2.0 → 2.2 ms`.
pub(super) fn noisy(of: &NeighbourReport) -> String {
    let Some(ratio) = of.ratio else {
        return format!("noisy neighbour unknown ({})", of.why);
    };
    let low = of.low.unwrap_or(0.0);
    let interval = match of.high {
        Some(high) => format!("{low:.2} to {high:.2}"),
        None => format!("{low:.2} or more"),
    };
    let p99 = match (of.before, of.during) {
        (Some(before), Some(during)) => {
            let (values, unit) = millis_row(&[before, during]);
            format!(", p99 {} {unit}", values.join(" → "))
        }
        _ => String::new(),
    };
    format!("noisy neighbour {ratio:.2} ({interval}){p99}")
}

/// `all as before 2.0 s after it`.
pub(super) fn recovery(of: &PressureReport) -> String {
    match of.recovery {
        Some(seconds) => format!("all as before within {seconds:.1} s"),
        None => "not as before by the end".into(),
    }
}

/// `the target's memory +1.2 MiB/s`; nothing without a slope.
pub(super) fn grown(of: &MemoryReport) -> Option<String> {
    let slope = of.slope?;
    let sign = if slope < 0.0 { '-' } else { '+' };
    let bytes = number::bytes(slope.abs());
    Some(format!("the target's memory {sign}{bytes}/s"))
}

fn generator(outcome: &Outcome) -> Line {
    let mut parts = Vec::new();
    if let Some(lag) = outcome.timers.get("lag").filter(|timer| timer.count > 0) {
        parts.push(format!(
            "lag p99 {} max {}",
            millis(lag.p99),
            millis(lag.max)
        ));
    }
    let busiest = outcome
        .per_shard
        .iter()
        .map(|shard| shard.cpu_max)
        .fold(0.0, f64::max);
    let last = outcome.cost.samples.last();
    let used = last.map_or(0.0, |sample| sample.shards_cpu);
    let in_all = match used > 0.0 {
        true => format!(", {used:.1} CPU-s in all"),
        false => String::new(),
    };
    parts.push(format!(
        "cpu {} of a core at most{in_all}",
        percent(busiest)
    ));
    parts.push(format!(
        "dropped {}",
        count(total(outcome, "dropped") + total(outcome, "requests_dropped"))
    ));
    let cancelled = total(outcome, "cancelled") + total(outcome, "requests_cancelled");
    if cancelled > 0 {
        parts.push(format!("cancelled {}", count(cancelled)));
    }
    line(GENERATOR, parts)
}

/// What connections at rest cost in memory, where there are enough of them to say so, and the most at any time: of all
/// together, which the kernel's growth may be nearly the whole of, and of the target where it is known.
fn memory(outcome: &Outcome) -> Option<Line> {
    let (peak, rest) = (outcome.cost.peak()?, outcome.cost.at_rest()?);
    let own = peak.shards_memory + peak.gateway_memory + peak.coordinator_memory;
    if own == 0 {
        return None;
    }
    let mut parts = Vec::new();
    if rest.open >= ENOUGH {
        let shares = [
            ("generator", rest.shards_memory),
            ("gateway", rest.gateway_memory),
            ("kernel", rest.kernel_memory),
        ];
        let shares = shares.iter().filter(|(_, memory)| *memory > 0);
        let shares: Vec<String> = shares
            .map(|(who, memory)| {
                let each = *memory as f64 / rest.open as f64;
                format!("{who} {}", number::bytes(each))
            })
            .collect();
        parts.push(format!("a connection at rest: {}", shares.join("  ")));
    }
    let kernel = match peak.kernel_memory {
        0 => String::new(),
        // It is the whole machine's, and grows by what others do as well.
        bytes => format!(
            " ({} of it the whole machine's kernel)",
            number::bytes(bytes as f64)
        ),
    };
    let all = number::bytes(peak.memory() as f64);
    parts.push(format!("at most {all} in all{kernel}"));
    parts.extend(target_peak(outcome).map(|bytes| {
        let bytes = number::bytes(bytes as f64);
        format!("the target at most {bytes}")
    }));
    Some(line("memory", parts))
}

/// The most memory that the target took: as its page tells it, or else as its processes were seen.
fn target_peak(outcome: &Outcome) -> Option<u64> {
    let told = outcome.memory.iter().flat_map(|page| &page.samples);
    let seen = outcome.cost.samples.iter();
    let seen = seen.map(|sample| sample.gateway_memory).max();
    told.map(|sample| sample.bytes)
        .max()
        .or(seen)
        .filter(|bytes| *bytes > 0)
}

/// The text that says at a glance how many gates held.
pub(super) fn tally(outcome: &Outcome) -> String {
    let of = |status| {
        outcome
            .gates
            .iter()
            .filter(|gate| gate.status == status)
            .count() as u64
    };
    let (passed, failed, unjudged) = (
        of(GateStatus::Passed),
        of(GateStatus::Failed),
        of(GateStatus::NoEvidence),
    );
    let mut parts = vec![format!(
        "{} of {} passed",
        passed,
        many(outcome.gates.len() as u64, "gate")
    )];
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if unjudged > 0 {
        parts.push(format!("{unjudged} without evidence"));
    }
    parts.join(" · ")
}
