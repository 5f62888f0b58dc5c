//! Every metric that a gate can name, through the real binary: one gate that it passes, one that it fails,
//! and what happens when there is nothing to judge by.
//!
//! A scenario makes known trouble and carries many gates at once, each with what must become of it. Where the
//! trouble is counted (`drop_every`, a connection refused, a forged stamp) the value is exact.

use crate::harness::{Done, Gateway, Lab, Summary, refusing, send};
use nix::sys::signal::Signal::{SIGCONT, SIGINT, SIGSTOP};
use serde_json::Value;
use squall::gate::{Metric, metrics};
use squall::metrics::Failure;
use squall::protocol::{STAMP_LEN, Stamp};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// What must become of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Passed,
    Failed,
    NoEvidence,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Fate::Passed => "passed",
            Fate::Failed => "failed",
            Fate::NoEvidence => "no_evidence",
        }
    }
}

/// A gate, what must become of it, and its value; `None` where it has none (no evidence, not reached).
struct Case {
    gate: String,
    fate: Fate,
    value: Option<RangeInclusive<f64>>,
}

fn pass(gate: &str, value: RangeInclusive<f64>) -> Case {
    Case {
        gate: gate.to_owned(),
        fate: Fate::Passed,
        value: Some(value),
    }
}

fn fail(gate: &str, value: RangeInclusive<f64>) -> Case {
    Case {
        fate: Fate::Failed,
        ..pass(gate, value)
    }
}

/// Fails because too much of it never came.
fn not_reached(gate: &str) -> Case {
    Case {
        gate: gate.to_owned(),
        fate: Fate::Failed,
        value: None,
    }
}

fn no_evidence(gate: &str) -> Case {
    Case {
        fate: Fate::NoEvidence,
        ..not_reached(gate)
    }
}

/// Judged by a name, which is no number.
fn named(fate: Fate, gate: &str) -> Case {
    Case {
        fate,
        ..not_reached(gate)
    }
}

/// Both sides of an exact count: equal to it passes, another bound fails.
fn counts(what: &str, place: &str, count: u32) -> [Case; 2] {
    let value = f64::from(count);
    let other = if count == 0 { "> 0" } else { "== 0" };
    let gate = |rest: &str| format!("{what} {rest} {place}").trim_end().to_owned();
    [
        pass(&gate(&format!("== {count}")), value..=value),
        fail(&gate(other), value..=value),
    ]
}

/// Both sides of a count that is only known to be at least so many.
fn at_least(what: &str, place: &str, least: u32) -> [Case; 2] {
    let range = f64::from(least)..=1e9;
    let gate = |rest: &str| format!("{what} {rest} {place}").trim_end().to_owned();
    [
        pass(&gate(&format!(">= {least}")), range.clone()),
        fail(&gate(&format!("< {least}")), range),
    ]
}

/// Milliseconds that a machine may take for what takes no time.
const SOON: RangeInclusive<f64> = 0.0..=10_000.0;

/// Both sides of a timer of which nothing is known but that it is no more than ten seconds.
fn soon(measure: &str) -> [Case; 2] {
    [
        pass(&format!("{measure} < 10s"), SOON),
        fail(&format!("{measure} > 10s"), SOON),
    ]
}

/// Both sides of a timer that is made to take so long at least.
fn slow(measure: &str, place: &str, least: u32) -> [Case; 2] {
    let range = f64::from(least)..=50_000.0;
    let gate = |rest: &str| format!("{measure} {rest} {place}").trim_end().to_owned();
    [
        pass(&gate(&format!(">= {least}ms")), range.clone()),
        fail(&gate("> 50s"), range),
    ]
}

/// What the run of a table must end like.
struct Table {
    name: &'static str,
    body: &'static str,
    cases: Vec<Case>,
}

/// Those whose gates compare times with one another: they have the machine for themselves.
const ALONE: [&str; 4] = ["slow-consumers", "deliveries", "deploys", "kept"];

impl Table {
    /// A folder with the scenario. No machine is too slow for these: gates are judged here, not the generator.
    fn lab(&self) -> Lab {
        let gates: Vec<&str> = self.cases.iter().map(|c| c.gate.as_str()).collect();
        let gates = serde_json::to_string(&gates).expect("JSON is YAML");
        let lab = match ALONE.contains(&self.name) {
            true => Lab::new,
            false => Lab::untimed,
        };
        lab(&format!(
            "name: {}\n{}\ngenerator: {{ shards: 1, max_lag: 50s, max_cpu: 100%, drain: 3s }}\ngates: {gates}\n",
            self.name,
            self.body.trim()
        ))
    }

    /// Holds what was judged against the table, every difference at once.
    fn check(&self, done: &Done, code: i32) -> Summary {
        let summary = done.expect(code).summary();
        assert_ne!(
            summary.text("/validity/state"),
            "invalid",
            "{}",
            summary.reasons()
        );
        assert_eq!(summary.at("/exit_code"), code);
        // A deploy has a gate that nobody wrote.
        let judged = summary.at("/gates").as_array().expect("a list").iter();
        let own = |gate: &&Value| gate["text"] != "deploy succeeds in deploy";
        let judged: Vec<&Value> = judged.filter(own).collect();
        assert_eq!(judged.len(), self.cases.len());
        let wrong: Vec<String> = self
            .cases
            .iter()
            .zip(judged)
            .filter_map(|(case, judged)| wrong(case, judged))
            .collect();
        assert!(wrong.is_empty(), "{}\n{summary:?}", wrong.join("\n"));
        sums_hold(&summary);
        summary
    }
}

/// How a gate's judgement differs from what it must be.
fn wrong(case: &Case, judged: &Value) -> Option<String> {
    let value = judged["value"].as_f64();
    let valued = match (&case.value, value) {
        (Some(range), Some(value)) => range.contains(&value),
        (None, None) => true,
        _ => false,
    };
    let said = match case.fate {
        // Why is said, and a value that is not there is not shown.
        Fate::NoEvidence => judged["actual"] == "–" && judged["note"] != "",
        // A policy is a word, and no number.
        Fate::Failed if case.value.is_none() && !case.gate.starts_with("policy") => {
            judged["actual"] == "not reached"
        }
        _ => judged["actual"] != "–" && judged["actual"] != "",
    };
    let right = judged["text"] == case.gate.as_str()
        && judged["status"] == case.fate.name()
        && valued
        && said;
    (!right).then(|| {
        format!(
            "{} should be {:?} with {:?}, but: {judged}",
            case.gate, case.fate, case.value
        )
    })
}

/// The sums that `docs/metrics.md` promises always to hold.
fn sums_hold(summary: &Summary) {
    let count = |name| summary.count(name);
    for [whole, parts @ ..] in [
        ["offered", "sent", "dropped", "cancelled"],
        [
            "requests_offered",
            "requests",
            "requests_dropped",
            "requests_cancelled",
        ],
        ["expected", "unique", "lost", "missed"],
        ["received", "unique", "duplicated", "indeterminate"],
    ] {
        let sum: u64 = parts.into_iter().map(count).sum();
        assert_eq!(count(whole), sum, "{whole} = {parts:?}");
    }
}

/// A target that does all it should, over TLS.
fn clean() -> Table {
    let zero = [
        "cancelled",
        "churned",
        "closed_by_target",
        "close 1006",
        "cut",
        "dropped",
        "duplicated",
        "errors",
        "failed",
        "failed timeout",
        "indeterminate",
        "lost",
        "missed",
        "misrouted",
        "out_of_range",
        "oversized",
        "reordered",
        "request_timeouts",
        "requests_cancelled",
        "requests_dropped",
        "service_gaps",
        "status 503",
        "unaccounted",
        "unstamped",
    ];
    let mut cases: Vec<Case> = zero
        .iter()
        .map(|what| pass(&format!("{what} == 0"), 0.0..=0.0))
        .collect();
    for measure in [
        "latency p99",
        "service p99",
        "lag p99",
        "rtt p90",
        "rtt_service p90",
        "ping max",
        "tcp max",
        "tls max",
        "upgrade mean",
        "ready min",
        "open max",
        "open_lag max",
    ] {
        cases.push(pass(&format!("{measure} < 10s"), SOON));
    }
    for (gate, value) in [
        ("attempts == 7", 7.0),
        ("opened >= 7", 7.0),
        ("opened share >= 100%", 100.0),
        ("close 1000 == 7", 7.0),
        ("offered == 800", 800.0),
        ("sent == 800 in steady of publishers", 800.0),
        ("sent rate >= 399/s in steady", 400.0),
        ("offered rate < 1/s in open", 0.0),
        ("sent share == 100%", 100.0),
        ("expected == 2400", 2400.0),
        ("received == 2.4k", 2400.0),
        ("unique <= 2400 in steady of subscribers", 2400.0),
        ("received share == 100%", 100.0),
        ("lost share <= 0%", 0.0),
        ("failed share < 1%", 0.0),
        ("status 503 share < 1%", 0.0),
        ("close 1006 share < 1%", 0.0),
        ("requests_offered == 200", 200.0),
        ("requests == 200 of askers", 200.0),
        ("replies share == 100%", 100.0),
    ] {
        cases.push(pass(gate, value..=value));
    }
    cases.push(pass("pings_sent >= 3", 3.0..=1000.0));
    cases.push(pass("pings_answered >= 7", 7.0..=1000.0));
    cases.push(pass("bytes_sent >= 50KiB in steady", 51_200.0..=1e6));
    cases.push(pass(
        "bytes_received rate >= 75KiB/s in steady",
        76_800.0..=1e6,
    ));
    Table {
        name: "clean",
        body: "
target: { embedded: { tls: true, ping: { every: 200ms, timeout: 20s } } }
clients:
  publishers: { count: 2, publish: { topic: t, rate: 400/s, size: 64B, in: steady } }
  subscribers: { count: 3, subscribe: [t], heartbeat: { every: 200ms, timeout: 20s } }
  askers: { count: 2, request: { rate: 100/s, timeout: 20s, in: steady } }
phases:
  - { name: open, for: 1s }
  - { name: steady, for: 2s }
",
        cases,
    }
}

/// Of so many deliveries on a subscription with `drop_every: 10, reorder_every: 8, duplicate_every: 9`, where dropping
/// wins over holding back, and that over doubling.
fn troubled(deliveries: u32) -> [u32; 3] {
    let all = || 1..=deliveries;
    let dropped = all().filter(|n| n % 10 == 0);
    let swapped = all().filter(|n| n % 10 != 0 && n % 8 == 0);
    let doubled = all().filter(|n| n % 10 != 0 && n % 8 != 0 && n % 9 == 0);
    [dropped.count(), swapped.count(), doubled.count()].map(|count| count as u32)
}

/// A target that loses, doubles, swaps and delays, sends what was not asked for, and never pongs; and clients
/// that come too late.
fn deliveries() -> Table {
    let [lost, swapped, doubled] = troubled(400).map(|of_each| of_each * 3);
    let [far_lost, _, far_doubled] = troubled(100);
    let expected = 3 * 400;
    let mut cases: Vec<Case> = [
        counts("lost", "", lost),
        counts("duplicated", "", doubled),
        counts("reordered", "", swapped),
        counts("expected", "of hearers", expected),
        counts("unique", "of hearers", expected - lost),
        counts("received", "of hearers", expected - lost + doubled),
        // What is lost at the very end leaves no gap behind it: the last of all.
        counts("service_gaps", "of hearers", lost - 3),
        counts("misrouted", "", 2 * (100 - far_lost + far_doubled)),
        counts("unaccounted", "", 2 * 100),
        counts("unstamped", "", 2 * 4),
        counts("errors", "", 4),
        // They left with the first of twenty messages, which was too large for them.
        counts("oversized", "", 2),
        counts("failed too_large", "of frail", 2),
        counts("missed", "of frail", 2 * 20),
        counts("close 1006", "of frail", 2),
        counts("pings_sent", "", 2),
        counts("failed dead", "", 2),
        counts("failed", "", 4),
        counts("attempts", "", 22),
        counts("opened", "", 22),
        counts("offered", "", 720),
        counts("sent", "", 520),
        counts("dropped", "of tardy", 200),
        counts("requests_offered", "", 200),
        counts("requests", "", 100),
        counts("requests_dropped", "", 100),
        counts("replies", "", 100),
        counts("request_timeouts", "", 0),
        slow("latency p99", "in steady", 29),
        slow("service min", "", 29),
        slow("rtt p50", "in steady of askers", 29),
        slow("rtt_service mean", "", 29),
        slow("detect min", "", 190),
        soon("tcp max"),
        soon("upgrade max"),
        soon("ready max"),
        soon("open mean"),
        soon("open_lag max"),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        not_reached("ping max < 10s"),
        fail("latency p80 < 29ms in steady", 29.0..=50_000.0),
        fail("lost share < 10% of hearers", 10.0..=10.0),
        pass("lost share <= 10% of hearers", 10.0..=10.0),
        fail("received share > 90% of hearers", 90.0..=90.0),
        fail("dropped share < 1% of tardy", 100.0..=100.0),
        fail("sent rate >= 201/s in steady of publisher", 200.0..=200.0),
        fail("failed dead share <= 5%", 9.09..=9.10),
        // A tenth never came: it is slower than everything that did.
        not_reached("latency p95 < 50s of hearers"),
        pass("latency p80 < 50s of hearers", 29.0..=50_000.0),
    ]);
    Table {
        name: "deliveries",
        body: r#"
target:
  embedded: { misbehave: { drop_every: 10, duplicate_every: 9, reorder_every: 8, delay: 30ms, pong: none } }
  max_message: 1KiB
clients:
  publisher: { count: 1, publish: { topic: t, rate: 200/s, in: steady } }
  hearers: { count: 3, subscribe: [t] }
  far: { count: 1, publish: { topic: far, rate: 50/s, in: steady } }
  # Subscribe behind squall's back.
  eavesdroppers:
    count: 2
    on_open:
      - send: '{"type":"subscribe","topic":"far","id":1}'
      - expect: { pointer: /type, equals: subscribed, within: 20s }
  latecomers: { count: 2, subscribe: [far] }
  listeners: { count: 2, subscribe: [notes] }
  noise:
    count: 4
    on_open:
      - send: '{"type":"fly"}'
      - send: '{"type":"publish","topic":"notes","payload":"plain"}'
  shouter: { count: 1, publish: { topic: big, rate: 10/s, size: 2KiB, in: steady } }
  frail: { count: 2, subscribe: [big] }
  beaters: { count: 2, heartbeat: { every: 100ms, timeout: 200ms } }
  askers: { count: 1, request: { rate: 50/s, timeout: 20s, in: steady } }
  tardy:
    count: 1
    publish: { topic: nobody, rate: 100/s, in: steady }
    request: { rate: 50/s, in: steady }
phases:
  - { name: open, for: 1s }
  - { name: steady, for: 2s }
  - { name: rest, for: 300ms }
  - { name: after, for: 700ms, open: { latecomers: all_at_once, noise: all_at_once, tardy: all_at_once } }
"#,
        cases,
    }
}

/// A target that ends connections, which come back or do not, and connections that are cut from our side.
fn comings() -> Table {
    let mut cases: Vec<Case> = [
        at_least("reconnected", "of subscribers", 3),
        at_least("missed", "of subscribers", 1),
        at_least("dropped", "of publisher", 1),
        at_least("churned", "of fickle", 4),
        counts("churned", "of quitters", 0),
        counts("gave_up", "of quitters", 2),
        counts("stopped", "of stoppers", 2),
        counts("stopped", "of quitters", 0),
        counts("moved", "of subscribers", 0),
        at_least("stayed", "of subscribers", 3),
        counts("cut", "of cutters", 3),
        counts("cut", "of quitters", 0),
        counts("closed_by_target", "of cutters", 1),
        counts("close 1012", "of quitters", 2),
        counts("closed_by_target", "of quitters", 2),
        counts("opened", "of quitters", 2),
        counts("failed", "", 0),
        slow("reconnect min", "of subscribers", 290),
        counts("closed_by_target", "of sleepers", 2),
        soon("evicted max"),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        fail("gave_up share < 1% of quitters", 100.0..=100.0),
        pass("close 1012 share >= 100% of quitters", 100.0..=100.0),
        pass("churned rate >= 1/s of fickle", 1.0..=20.0),
        // What never came back is slower than everything that did.
        not_reached("reconnect max < 50s of quitters"),
        not_reached("reconnect max < 50s of stoppers"),
        // Nobody is told where these are.
        no_evidence("moved == 0 of publisher"),
        no_evidence("reconnect max < 50s of fickle"),
        no_evidence("gave_up == 0 of fickle"),
    ]);
    Table {
        name: "comings",
        body: "
target: { embedded: { misbehave: { close_after: 600ms, close_code: 1012 } } }
clients:
  publisher:
    count: 1
    publish: { topic: t, rate: 200/s }
    reconnect: { backoff: no_jitter, base: 50ms, cap: 50ms, codes: { 1012: back_off } }
  subscribers:
    count: 3
    subscribe: [t]
    node: { header: X-Squall-Node }
    reconnect: { backoff: no_jitter, base: 300ms, cap: 300ms, codes: { 1012: back_off } }
  quitters: { count: 2, reconnect: { backoff: no_jitter, base: 1h, cap: 1h, codes: { 1012: back_off } } }
  stoppers: { count: 2, reconnect: { backoff: none, codes: { 1012: stop } } }
  fickle: { count: 2, lifetime: { fixed: 200ms } }
  cutters: { count: 4 }
  sleepers: { count: 2 }
phases:
  - name: whole
    for: 2200ms
    faults:
      - drop: { clients: cutters, count: 3, how: reset, after: 300ms }
      - slow: { clients: sleepers, share: 100%, pong: 100ms }
",
        cases,
    }
}

/// A target that refuses upgrades and answers no request.
fn refusals() -> Table {
    let mut cases: Vec<Case> = [
        counts("attempts", "", 9),
        counts("opened", "", 6),
        counts("status 429", "", 3),
        counts("status 503", "", 0),
        counts("failed status", "", 3),
        counts("failed", "", 3),
        counts("requests", "", 50),
        counts("replies", "", 0),
        counts("request_timeouts", "", 50),
        at_least("pings_answered", "", 6),
        at_least("bytes_sent", "in steady", 50 * 64),
        at_least("bytes_received", "in open", 2 * 100),
        soon("tls max"),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        pass("failed status share >= 33%", 33.3..=33.4),
        fail("status 429 share < 1%", 33.3..=33.4),
        fail("opened share >= 100%", 66.6..=66.7),
        fail("replies share > 0%", 0.0..=0.0),
        not_reached("rtt p50 < 50s"),
        not_reached("rtt_service max < 50s"),
        not_reached("open max < 50s"),
        no_evidence("rtt p50 > 1ms"),
    ]);
    Table {
        name: "refusals",
        body: "
target:
  embedded:
    tls: true
    ping: { every: 100ms, timeout: 20s }
    misbehave: { mute: true, refuse_every: 3, refuse_status: 429 }
clients:
  askers: { count: 2, request: { rate: 50/s, timeout: 300ms, in: steady } }
  crowd: { count: 7 }
phases:
  - { name: open, for: 700ms }
  - { name: crowd, for: 500ms, open: { crowd: all_at_once } }
  - { name: steady, for: 1s }
",
        cases,
    }
}

/// A third of the connections each: welcome, refused, and never answered.
fn dead_ends() -> Table {
    let mut cases: Vec<Case> = [
        counts("attempts", "", 9),
        counts("opened", "", 3),
        counts("failed", "", 6),
        counts("failed timeout", "", 3),
        counts("failed refused", "", 3),
        counts("failed dns", "", 0),
        counts("close 1000", "", 3),
        counts("close 1006", "", 0),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        fail("failed share < 50%", 66.6..=66.7),
        pass("failed timeout share < 50%", 33.3..=33.4),
        not_reached("open max < 50s"),
    ]);
    Table {
        name: "dead-ends",
        body: "
target: { url: ['${env:GOOD}', '${env:REFUSING}', '${env:SILENT}'], connect_timeout: 1s }
clients:
  all: { count: 9 }
phases:
  - { name: only, for: 1500ms }
",
        cases,
    }
}

/// What a publisher sends goes through the hands of somebody who forges some of it.
fn forgeries() -> Table {
    let mut cases: Vec<Case> = [
        counts("sent", "", FORGED),
        counts("expected", "", 2 * FORGED),
        counts("unique", "", 2 * FORGED),
        counts("indeterminate", "", 2),
        counts("misrouted", "", 2),
        counts("received", "", 2 * (FORGED + 1)),
        counts("lost", "", 0),
        counts("out_of_range", "", 2 * 2 * FORGED / 10),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        pass("dns min > 0ms", SOON),
        fail("dns min > 10s", SOON),
        // The forged ones are as if they had never come.
        not_reached("latency max < 50s"),
        pass("latency p80 < 50s", 0.0..=50_000.0),
    ]);
    Table {
        name: "forgeries",
        body: r#"
target: { url: '${env:GOOD}' }
clients:
  publisher:
    count: 1
    protocol: { json_mapping: { publish: '{"type":"publish","topic":"hidden","payload":"{payload}"}' } }
    publish: { topic: t, rate: 200/s, in: steady }
    reconnect: { base: 10ms, cap: 10ms }
  hearers: { count: 2, subscribe: [t], reconnect: { base: 10ms, cap: 10ms } }
phases:
  - { name: open, for: 1s }
  - { name: steady, for: 1s }
  - { name: rest, for: 200ms }
"#,
        cases,
    }
}

/// A shard that is stopped before the end of its schedule and goes on when it is too late.
fn too_late() -> Table {
    let mut cases: Vec<Case> = [
        at_least("cancelled", "", 1000),
        at_least("requests_cancelled", "", 10),
        at_least("sent", "", 256),
        counts("offered", "", 6000),
        counts("requests_offered", "", 300),
        slow("lag max", "in steady", 1000),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.push(fail("cancelled share < 10%", 16.6..=100.0));
    Table {
        name: "too-late",
        body: "
target: { embedded: {} }
clients:
  all:
    count: 1
    publish: { topic: t, rate: 2k/s, size: 48B }
    request: { rate: 100/s, timeout: 20s }
phases:
  - { name: steady, for: 3s }
",
        cases,
    }
}

/// Two nodes that are rolled, each of which lets everybody in again while it drains, and cuts them at its deadline.
fn deploys() -> Table {
    let cases = [
        counts("old", "in deploy", 20),
        counts("severed", "in deploy", 20),
        counts("returned", "in deploy", 20),
        counts("cut_again", "in deploy", 20),
        counts("cut_again", "in open", 0).map(|case| no_evidence(&case.gate)),
        soon("drain max"),
        at_least("accepted_draining", "in deploy", 20),
        [
            pass("spread_after <= 1.5 in deploy", 1.0..=1.5),
            fail("spread_after > 1.5", 1.0..=1.5),
        ],
        // Each comes back to its own address.
        [
            pass("spread <= 1.5 in deploy", 1.0..=1.5),
            fail("spread > 1.5 in deploy", 1.0..=1.5),
        ],
        // The backoff, at the least.
        slow("cut_off min", "in deploy", 50),
    ];
    Table {
        name: "deploys",
        body: "
target: { embedded: { nodes: 2, drain_window: 300ms, drain_deadline: 2s, misbehave: { drain: keep_accepting } } }
clients: { all: { count: 20, subscribe: [t], reconnect: { backoff: no_jitter, base: 50ms, cap: 50ms } } }
phases:
  - { name: open, for: 1s }
  - { name: deploy, for: 9s, faults: [ { deploy: { roll: { pause: 100ms } } } ] }
",
        cases: cases.into_iter().flatten().collect(),
    }
}

/// A target that closes slow consumers, and resets them when they do not read that either.
fn slow_consumers() -> Table {
    let ratio = 0.0..=1e6;
    Table {
        name: "slow-consumers",
        body: "
target: { embedded: { queue: 200, when_full: disconnect, send_buffer: 16KiB } }
clients:
  publisher: { count: 1, publish: { topic: t, rate: 300/s, size: 1KiB } }
  hearers: { count: 8, subscribe: [t] }
phases:
  - { name: steady, for: 4s }
  - name: slow
    for: 9s
    faults: [ { slow: { clients: hearers, count: 2, read: none, receive_buffer: 16KiB } } ]
  - { name: after, for: 3s }
",
        cases: vec![
            pass("evicted max < 20s in slow of hearers", 100.0..=9_100.0),
            fail("evicted min > 20s", 100.0..=9_100.0),
            pass("noisy_neighbour < 1M in slow of hearers", ratio.clone()),
            fail("noisy_neighbour > 1M", ratio),
            no_evidence("noisy_neighbour < 1M in steady"),
            pass("held_up < 1h in slow", 0.0..=3.6e6),
            fail("held_up > 1h", 0.0..=3.6e6),
            pass("taken < 1GiB in slow", 1.0..=1e9),
            fail("taken > 1GiB", 1.0..=1e9),
            // They are closed before they can miss anything while connected.
            pass("skipped == 0 in slow", 0.0..=0.0),
            fail("skipped > 0 in slow of hearers", 0.0..=0.0),
            named(Fate::Passed, "policy == disconnect in slow of hearers"),
            named(Fate::Failed, "policy == buffer"),
            pass("memory_slope < 1GiB/s in slow", -1e9..=1e9),
            fail("memory_slope > 1GiB/s", -1e9..=1e9),
            pass("caught_up < 1h in slow", 0.0..=3.6e6),
            fail("caught_up > 1h", 0.0..=3.6e6),
        ],
    }
}

/// A target that ends nobody, whoever is slow or vanishes, and a deploy that no connection feels.
fn kept() -> Table {
    let mut cases: Vec<Case> = [
        counts("afflicted", "in slow", 1),
        counts("afflicted", "in vanish", 2),
        counts("old", "in deploy", 9),
        counts("severed", "in deploy", 0),
        counts("compressed", "of publisher", 1),
        counts("compressed", "of stayers", 0),
        at_least("deflated_sent", "", 1_000),
        at_least("inflated_sent", "", 20_000),
        at_least("deflated_received", "of leavers", 1_000),
        at_least("inflated_received", "of leavers", 20_000),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        // Nobody was ended, so that even the first is not reached.
        not_reached("evicted min < 20s in slow"),
        not_reached("evicted max < 20s in vanish of leavers"),
        not_reached("drain max < 20s in deploy"),
        no_evidence("evicted max < 20s in open"),
        no_evidence("deflated_received share < 90% of stayers"),
        pass("deflated_received share < 90% of leavers", 1.0..=90.0),
        fail("deflated_sent share > 95%", 1.0..=90.0),
    ]);
    Table {
        name: "kept",
        body: "
target: { embedded: {} }
clients:
  stayers: { count: 4, subscribe: [t] }
  leavers: { count: 4, subscribe: [t], compression: {}, reconnect: { base: 100ms } }
  publisher: { count: 1, compression: {}, publish: { topic: t, rate: 50/s, in: [open, slow, vanish] } }
phases:
  - { name: open, for: 1s }
  - { name: slow, for: 2s, faults: [ { slow: { clients: stayers, count: 1, read: none, for: 1s } } ] }
  - { name: vanish, for: 2s, faults: [ { drop: { clients: leavers, count: 2, how: vanish } } ] }
  - { name: deploy, for: 2s, faults: [ { deploy: { run: ['true'], hitless: true } } ] }
",
        cases,
    }
}

/// What is told over HTTP, and acknowledged there. So much is posted at once that several events come together.
fn answers() -> Table {
    let mut cases: Vec<Case> = [
        at_least("acked", "", 500),
        counts("rejected", "", 0),
        counts("unacked", "", 0),
        counts("unroutable", "", 0),
        counts("redelivered", "", 0),
        counts("resent", "", 0),
        counts("lost", "", 0),
        counts("polled", "", 5),
        counts("upgraded", "", 3),
        counts("stuck_unoffered", "", 0),
        counts("stuck_refused", "", 0),
        counts("stuck_timeout", "", 0),
        counts("stuck_failed", "", 0),
        counts("unknown_session", "", 0),
    ]
    .into_iter()
    .flatten()
    .collect();
    for measure in [
        "ack p50",
        "ack_service p50",
        "bunch max",
        "gap max",
        "switch max",
    ] {
        cases.extend(soon(measure));
    }
    Table {
        name: "answers",
        body: "
target: { embedded: {} }
clients:
  streams: { count: 2, transport: sse, subscribe: [t] }
  polls: { count: 2, transport: long_poll, subscribe: [t] }
  posts: { count: 1, transport: sse, publish: { topic: t, rate: 50/s, in: told } }
  upgraded: { count: 3, protocol: { socket_io: { polling: true } }, subscribe: [t] }
  polling: { count: 2, protocol: { socket_io: { polling: only } }, subscribe: [t] }
phases:
  - { name: open, for: 1s }
  - { name: told, for: 1s, faults: [ { burst: { clients: posts, messages: 500 } } ] }
",
        cases,
    }
}

/// What only a protocol says: wills, reason codes, refused deliveries.
fn words() -> Table {
    let mut cases: Vec<Case> = [
        counts("wills_owed", "", 4),
        counts("wills", "of watching", 8),
        // All speak in the same topics.
        counts("wills", "of plain", 4),
        counts("retained", "", 0),
        // There are no wildcards.
        counts("reason 0xa2", "of odd", 2),
        counts("reason 151", "", 0),
        at_least("nacked", "of refusing", 10),
        counts("unstamped", "", 0),
        counts("misrouted", "", 0),
        counts("lost", "", 0),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend(soon("will max"));
    cases.push(pass("nacked share >= 30% of refusing", 30.0..=50.0));
    Table {
        name: "words",
        body: "
target: { embedded: {} }
clients:
  dying: { count: 4, protocol: { mqtt: { will: { topic: gone } } } }
  watching: { count: 2, protocol: mqtt, subscribe: [gone] }
  plain: { count: 1, subscribe: [gone] }
  odd: { count: 2, protocol: mqtt, subscribe: ['gone/+'] }
  refusing: { count: 1, protocol: { stomp: { ack: client_individual, nack: 50% } }, subscribe: [t] }
  pubs: { count: 1, publish: { topic: t, rate: 50/s, in: cut } }
phases:
  - { name: open, for: 1s }
  - { name: cut, for: 1s, faults: [ { drop: { clients: dying, share: 100%, how: reset } } ] }
",
        cases,
    }
}

/// Upgrades are refused and streams held back: who minds that polls, and tries it all again when it is cut.
fn ladders() -> Table {
    let mut cases: Vec<Case> = [
        counts("steps_down", "", 15),
        counts("down_refused", "", 9),
        counts("down_silent", "", 6),
        counts("down_unreachable", "", 0),
        counts("down_timeout", "", 0),
        counts("climbs", "of low", 3),
        counts("climbed", "of low", 0),
        counts("over_websocket", "", 0),
        counts("over_sse", "", 3),
        counts("over_long_poll", "of low", 6),
        counts("ended_websocket", "", 0),
        counts("ended_sse", "", 3),
        counts("ended_long_poll", "", 3),
        counts("ended_nowhere", "", 0),
        counts("status 403", "", 9),
        slow("fallback min", "of low", 290),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        pass("ended_long_poll share == 50%", 50.0..=50.0),
        pass("down_refused share == 60%", 60.0..=60.0),
        no_evidence("climbed == 0 of mid"),
    ]);
    Table {
        name: "ladders",
        body: "
target: { embedded: { misbehave: { refuse_upgrades: 403, buffer_streams: 64KiB } } }
clients:
  low:
    count: 3
    transport: [websocket, sse, long_poll]
    fallback: { silence: 300ms }
    subscribe: [t]
    reconnect: { backoff: none }
  mid: { count: 2, transport: [websocket, sse], subscribe: [t] }
  posts: { count: 1, transport: [websocket, sse], publish: { topic: t, rate: 20/s } }
phases:
  - { name: open, for: 2s }
  - { name: cut, for: 2500ms, faults: [ { drop: { clients: low, share: 100%, how: reset } } ] }
",
        cases,
    }
}

/// Tokens that are renewed, and some that expire: the gateway closes whose.
fn tokens() -> Table {
    let mut cases: Vec<Case> = [
        at_least("renewed", "of renewing", 4),
        counts("renewal_failed", "of renewing", 0),
        counts("expiries", "of forgetful", 3),
        counts("outlived", "of forgetful", 0),
        counts("expired_close 4401", "of forgetful", 3),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend(
        [
            counts("revocations", "of revoked", 2),
            counts("revocation_failed", "of revoked", 0),
            counts("unrevoked", "of revoked", 0),
            counts("revoked_close 4403", "of revoked", 2),
        ]
        .into_iter()
        .flatten(),
    );
    cases.extend(soon("expired max"));
    cases.extend(soon("revoked max"));
    Table {
        name: "tokens",
        body: "
target: { embedded: { auth: { jwt_secret: of-this-test, close_expired: 4401 } } }
clients:
  renewing:
    count: 2
    auth:
      jwt: { secret: of-this-test }
      expires: 60s
      renew:
        every: 1s
        by:
          message: '{\"type\":\"auth\",\"token\":\"{token}\"}'
          accepted: { pointer: /type, equals: authenticated }
          within: 20s
    subscribe: [t]
  forgetful:
    count: 3
    auth: { jwt: { secret: of-this-test }, expires: 2s }
    subscribe: [t]
  revoked:
    count: 2
    auth: { jwt: { secret: of-this-test } }
    subscribe: [t]
phases:
  - { name: open, for: 2s }
  - { name: later, for: 3s, faults: [ { revoke: { clients: revoked, share: 100% } } ] }
",
        cases,
    }
}

fn tables() -> [Table; 15] {
    [
        words(),
        answers(),
        ladders(),
        tokens(),
        kept(),
        deploys(),
        clean(),
        deliveries(),
        comings(),
        returns(),
        refusals(),
        dead_ends(),
        forgeries(),
        too_late(),
        slow_consumers(),
    ]
}

/// Connections that come back for what they missed: of a slow topic all of it is kept, of a fast one it is not.
fn returns() -> Table {
    let mut cases: Vec<Case> = [
        counts("resumed", "of near", 3),
        counts("state_lost", "of near", 0),
        counts("resumed", "of behind", 0),
        counts("state_lost", "of behind", 2),
        at_least("recovered", "of near", 3),
        counts("missed", "of near", 0),
        at_least("missed", "of behind", 2 * 50),
        counts("lost", "", 0),
        counts("duplicated", "", 0),
        counts("service_gaps", "", 0),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.extend([
        pass("recovery max < 10s of near", SOON),
        fail("recovery max > 10s of near", SOON),
        pass("state_lost share >= 40%", 40.0..=40.0),
        // All wait for 400 ms, less what is cut off a step at each end.
        pass("attempts peak after >= 300ms in cut", 300.0..=50_000.0),
        fail("attempts peak after > 50s in cut", 300.0..=50_000.0),
        no_evidence("state_lost == 0 of pubs"),
    ]);
    Table {
        name: "returns",
        body: "
target: { embedded: { history: { messages: 50, for: 1m } } }
clients:
  near: { count: 3, subscribe: [slow], reconnect: { backoff: no_jitter, base: 400ms, resume: true } }
  behind: { count: 2, subscribe: [fast], reconnect: { backoff: no_jitter, base: 400ms, resume: true } }
  pubs:
    count: 1
    publish: [ { topic: slow, rate: 20/s }, { topic: fast, rate: 400/s } ]
phases:
  - { name: open, for: 1s }
  - name: cut
    for: 2s
    faults:
      - drop: { clients: near, share: 100%, how: reset }
      - drop: { clients: behind, share: 100%, how: fin }
",
        cases,
    }
}

/// What `gate::metrics` calls the metric of a gate.
fn metric_of(gate: &str) -> String {
    let mut words = gate.split_whitespace();
    let (first, second) = (words.next().expect("a metric"), words.next());
    match first {
        "failed" if second.is_some_and(|kind| Failure::parse(kind).is_some()) => {
            "failed KIND".to_owned()
        }
        "status" | "close" | "expired_close" | "revoked_close" | "reason" => {
            format!("{first} N")
        }
        other => other.to_owned(),
    }
}

/// The tables below leave no metric out, so that the next one added does not go without a case.
#[test]
fn every_metric_has_a_gate_that_passes_and_one_that_fails() {
    let tables = tables();
    let cases = tables.iter().flat_map(|table| &table.cases);
    let found: BTreeSet<(String, Fate)> = cases
        .map(|case| (metric_of(&case.gate), case.fate))
        .collect();
    let missing: Vec<_> = metrics()
        .into_iter()
        .flat_map(|metric| [Fate::Passed, Fate::Failed].map(|fate| (metric.name.clone(), fate)))
        .filter(|case| !found.contains(case))
        .collect();
    assert!(missing.is_empty(), "without a case: {missing:?}");
}

#[test]
fn a_target_that_does_all_it_should_passes() {
    let table = clean();
    let done = table.lab().run(&["--quiet"]);
    let summary = table.check(&done, 0);
    assert_eq!(summary.text("/verdict"), "PASSED");
}

#[test]
fn what_is_told_and_posted_over_http_is_judged() {
    let table = answers();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn what_only_a_protocol_says_is_judged() {
    let table = words();
    let done = table.lab().run(&["--quiet"]);
    let summary = table.check(&done, 99);
    let reasons = summary.at("/reasons").to_string();
    let said = r#"[{"code":162,"text":"wildcard subscriptions not supported","count":2}]"#;
    assert_eq!(reasons, said);
}

#[test]
fn who_goes_on_over_another_transport_is_judged() {
    let table = ladders();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn tokens_that_are_renewed_or_expire_are_judged() {
    let table = tokens();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn who_is_not_ended_is_not_forgotten() {
    let table = kept();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn losses_and_late_clients_fail() {
    let table = deliveries();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn connections_that_end_fail() {
    let table = comings();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn connections_that_resume_or_cannot_are_judged() {
    let table = returns();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn refusals_and_silence_fail() {
    let table = refusals();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn a_deploy_that_cuts_twice_fails() {
    let table = deploys();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn endpoints_that_lead_nowhere_fail() {
    let table = dead_ends();
    let gateway = Gateway::start();
    // Connections are accepted by the kernel, and nobody ever reads what they say.
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (_refusing, refusing_at) = refusing();
    let silent_at = silent.local_addr().expect("an address");
    let lab = table.lab();
    let mut command = lab.command(&["--quiet"]);
    command
        .env("GOOD", format!("ws://{}/ws", gateway.address))
        .env("REFUSING", format!("ws://{refusing_at}/"))
        .env("SILENT", format!("ws://{silent_at}/"));
    let done = lab.start_command(command).wait();
    table.check(&done, 99);
}

#[test]
fn forged_and_repeated_stamps_fail() {
    let table = forgeries();
    let gateway = Gateway::start();
    let forger = forger(gateway.address);
    let lab = table.lab();
    let mut command = lab.command(&["--quiet"]);
    // By name, so that there is something to look up.
    let port = gateway.address.port();
    command.env("GOOD", format!("ws://localhost:{port}/ws"));
    let done = lab.start_command(command).wait();
    table.check(&done, 99);
    assert_eq!(forger.join().expect("a forger"), FORGED);
}

#[test]
fn slow_consumers_fail() {
    let table = slow_consumers();
    let done = table.lab().run(&["--quiet"]);
    table.check(&done, 99);
}

#[test]
fn what_the_end_of_the_run_cuts_off_fails() {
    let table = too_late();
    let mut run = table.lab().start(&[]);
    run.wait_for_phase("steady");
    let shard = run.shard(0);
    // The first second is over: this is beyond the end of the schedule and the second that sends may be late.
    send(shard, SIGSTOP);
    sleep(Duration::from_millis(3300));
    send(shard, SIGCONT);
    let done = run.wait();
    table.check(&done, 99);
}

/// Before anything opens nothing has evidence but what counts its own exercise, whatever the metric.
#[test]
fn nothing_measured_is_no_evidence() {
    // These count what squall itself began: none is known to be none.
    let own = ["attempts", "offered", "requests_offered", "bytes_sent"];
    let mut cases = Vec::new();
    for Metric {
        name,
        unit,
        share_of,
        ..
    } in metrics()
    {
        let name = name.replace("KIND", "timeout");
        if unit == "time" {
            for (measure, bound) in [("p50", "< 10s"), ("max", "< 10s"), ("min", "> 0s")] {
                cases.push(no_evidence(&format!("{name} {measure} {bound} in before")));
            }
            continue;
        }
        let bound = match (unit, name.as_str()) {
            ("ratio", _) => Some("< 2"),
            ("duration", _) => Some("< 10s"),
            ("bytes per second", _) => Some("< 1MiB/s"),
            ("policy", _) => Some("== drop"),
            (_, "taken") => Some("< 1MiB"),
            (_, "skipped") => Some("== 0"),
            (_, "accepted_draining") => Some("== 0"),
            _ => None,
        };
        if let Some(bound) = bound {
            cases.push(no_evidence(&format!("{name} {bound} in before")));
            continue;
        }
        // Reason codes are of MQTT alone: where nobody speaks it, the scenario is refused.
        if name == "reason N" {
            continue;
        }
        let name = name
            .replace('N', "1006")
            .replace("status 1006", "status 503");
        for gate in [
            format!("{name} == 0 in before"),
            format!("{name} rate < 1/s in before"),
        ] {
            cases.push(if own.contains(&name.as_str()) {
                pass(&gate, 0.0..=0.0)
            } else {
                no_evidence(&gate)
            });
        }
        if share_of.is_some() {
            cases.push(no_evidence(&format!("{name} share < 50% in before")));
        }
    }
    // And what there is, is not enough.
    cases.extend([
        no_evidence("open p99 < 10s"),
        no_evidence("latency p99.9 < 10s"),
        no_evidence("latency p99.9 > 0s of all"),
        pass("latency p90 < 10s", SOON),
        pass("lost == 0", 0.0..=0.0),
    ]);
    let table = Table {
        name: "nothing",
        body: "
target: { embedded: {} }
clients:
  all: { count: 3, subscribe: [t], publish: { topic: t, rate: 100/s, in: steady } }
phases:
  - { name: before, for: 200ms }
  - { name: open, for: 700ms, open: { all: all_at_once } }
  - { name: steady, for: 1s }
",
        cases,
    };
    let done = table.lab().run(&["--quiet"]);
    let summary = table.check(&done, 107);
    let note = |gate: &str| {
        let gates = summary.at("/gates").as_array().expect("a list");
        let found = gates.iter().find(|g| g["text"] == gate);
        found.expect("the gate")["note"].as_str().map(str::to_owned)
    };
    let note = |gate| note(gate).expect("a text");
    assert_eq!(note("open p99 < 10s"), "too few samples: 3 of 1,000");
    assert_eq!(
        note("latency p99.9 < 10s"),
        "too few samples: 300 of 10,000"
    );
    assert_eq!(note("rtt max < 10s in before"), "no rtt was recorded");
    assert_eq!(
        note("close 1006 == 0 in before"),
        "not exercised: opened was 0"
    );
}

/// A gate on a phase that was not reached, or not whole, is not judged by what there was of it.
#[test]
fn a_phase_that_was_cut_short_is_no_evidence() {
    let phases =
        |gate: &str| ["second", "third"].map(|phase| no_evidence(&format!("{gate} in {phase}")));
    let mut cases = vec![
        pass("sent == 100 in first", 100.0..=100.0),
        no_evidence("sent > 0"),
        no_evidence("lost == 0"),
    ];
    for gate in [
        "sent > 0",
        "sent rate > 1/s",
        "sent share > 1%",
        "latency max < 10s",
        "close 1006 == 0",
    ] {
        cases.extend(phases(gate));
    }
    let table = Table {
        name: "cut-short",
        body: "
target: { embedded: {} }
clients:
  all: { count: 1, subscribe: [t] }
  publisher: { count: 1, publish: { topic: t, rate: 100/s, in: [first, second, third] } }
phases:
  - { name: open, for: 500ms }
  - { name: first, for: 1s }
  - { name: second, for: 1m }
  - { name: third, for: 1s }
",
        cases,
    };
    let mut run = table.lab().start(&[]);
    run.wait_for_phase("second");
    run.signal(SIGINT);
    let done = run.wait();
    let summary = table.check(&done, 105);
    let notes = summary.at("/gates").as_array().expect("a list");
    for gate in &notes[1..] {
        let note = gate["note"].as_str().expect("a text");
        assert!(note.ends_with("was not completed"), "{gate}");
    }
}

/// Messages that go through the forger's hands.
const FORGED: u32 = 200;

/// Passes on what is published to `hidden`, in order and whole, as `t`. Every tenth was sent an hour from now, one comes
/// again when it is long forgotten, and one is of a stream that the run does not have.
fn forger(gateway: SocketAddr) -> JoinHandle<u32> {
    let stream = TcpStream::connect(gateway).expect("connected");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a timeout");
    let (mut socket, _) = client(format!("ws://{gateway}/ws"), stream).expect("upgraded");
    let subscribe = r#"{"type":"subscribe","topic":"hidden","id":1}"#;
    socket.send(Message::text(subscribe)).expect("sent");
    socket.read().expect("acknowledged");
    std::thread::spawn(move || {
        let mut first = None;
        for n in 0..FORGED {
            let message = socket.read().expect("a message").into_data();
            let (_, stamp) = Stamp::locate(&message).expect("stamped");
            let original = *first.get_or_insert(stamp);
            let hour = 3_600_000_000_000;
            pass_on(
                &mut socket,
                if n % 10 == 9 {
                    Stamp {
                        intended_ns: stamp.intended_ns + hour,
                        sent_ns: stamp.sent_ns + hour,
                        ..stamp
                    }
                } else {
                    stamp
                },
            );
            if n == 150 {
                pass_on(&mut socket, original);
                let stream = stamp.stream + 1000;
                pass_on(&mut socket, Stamp { stream, ..stamp });
            }
        }
        FORGED
    })
}

fn pass_on(socket: &mut WebSocket<TcpStream>, stamp: Stamp) {
    let text: [u8; STAMP_LEN] = stamp.text();
    let text = String::from_utf8_lossy(&text);
    let message = format!(r#"{{"type":"publish","topic":"t","payload":"{text}...."}}"#);
    socket.send(Message::text(message)).expect("sent");
}
