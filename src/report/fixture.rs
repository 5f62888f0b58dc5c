//! A run made up for the tests: rich enough that every part of every report has something to show.

use super::hlog::encode_v2;
use super::*;
use crate::metrics::Timer;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Secrets of the hostile fixture; nothing written may contain them.
pub(super) const CANARIES: [&str; 2] = ["canary-5ecr3t-t0ken", "p@ss w/rd<&>\"é"];

/// What a hostile target and a careless user put into every text.
pub(super) const HOSTILE: &str = "=x<script>alert(1)</script>\x1b[2J\x1b]0;t\x07\u{202e}|`a`](javascript:alert(1))@admin\n# h 'q' \"d\" & ]]>";

/// A little noise, the same every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}

const PHASES: [(&str, f64, f64); 5] = [
    ("ramp", 0.0, 40.0),
    ("steady", 40.0, 100.0),
    ("burst", 100.0, 110.0),
    ("storm", 110.0, 170.0),
    ("deploy", 170.0, 260.0),
];

fn map<V: Copy>(pairs: &[(&str, V)]) -> BTreeMap<String, V> {
    pairs
        .iter()
        .map(|(key, value)| (key.to_string(), *value))
        .collect()
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).unwrap()
}

fn report(histogram: &Histogram<u64>) -> TimerReport {
    let ms = |us: u64| us as f64 / 1e3;
    let q = |q| ms(histogram.value_at_quantile(q));
    TimerReport {
        count: histogram.len(),
        min: ms(histogram.min()),
        mean: histogram.mean() / 1e3,
        p50: q(0.5),
        p90: q(0.9),
        p99: q(0.99),
        p999: q(0.999),
        max: ms(histogram.max()),
    }
}

/// Latency in microseconds as it might be in a phase: a body and a tail.
fn latency(noise: &mut Noise, phase: usize) -> u64 {
    let scale = [1.0, 1.0, 3.5, 1.8, 1.3][phase];
    let body = 1_800.0 + 3_000.0 * noise.next();
    let tail = 1.0 / (1.0 - 0.995 * noise.next());
    (scale * body * tail.powf(0.62)) as u64
}

/// A run with a fault and a failed gate, of 260 seconds.
pub(super) fn bundle() -> Bundle {
    static MADE: OnceLock<Bundle> = OnceLock::new();
    MADE.get_or_init(made).clone()
}

fn made() -> Bundle {
    let mut noise = Noise(42);
    let mut histograms = Histograms::default();
    let mut timeline = Vec::new();
    let bounds = |at: usize| {
        PHASES
            .iter()
            .position(|(_, start, end)| (*start..*end).contains(&(at as f64)))
            .unwrap()
    };
    for at in 0..260 {
        let phase = bounds(at);
        let mut second = empty();
        let mut lag = empty();
        for _ in 0..400 {
            let value = latency(&mut noise, phase);
            second.record(value).unwrap();
            lag.record((60.0 + 500.0 * noise.next().powi(6)) as u64)
                .unwrap();
        }
        if at < 3 {
            second = empty();
        }
        for (timer, histogram) in [(Timer::Latency, &second), (Timer::Lag, &lag)] {
            histograms
                .total
                .entry(timer)
                .or_insert_with(empty)
                .add(histogram)
                .unwrap();
            histograms
                .by_phase
                .entry((phase, timer))
                .or_insert_with(empty)
                .add(histogram)
                .unwrap();
        }
        let mut service = empty();
        for value in second.iter_recorded() {
            let us = (value.value_iterated_to() as f64 * (0.93 + 0.05 * noise.next())) as u64;
            service.record_n(us, value.count_at_value()).unwrap();
        }
        histograms
            .total
            .entry(Timer::Service)
            .or_insert_with(empty)
            .add(&service)
            .unwrap();
        histograms.seconds.push(SecondHistogram {
            start_ms: at as u64 * 1000,
            length_ms: 1000,
            timer: Timer::Latency,
            v2: encode_v2(&second).unwrap(),
        });
        timeline.push(a_second(at, phase, &second, &lag, &mut noise));
    }
    let timers: BTreeMap<String, TimerReport> = histograms
        .total
        .iter()
        .map(|(timer, histogram)| (timer.name().into(), report(histogram)))
        .collect();
    let mut outcome = an_outcome(timers, timeline);
    for ((phase, timer), histogram) in &histograms.by_phase {
        let timers = outcome
            .timers_by_phase
            .entry(PHASES[*phase].0.into())
            .or_default();
        timers.insert(timer.name().into(), report(histogram));
    }
    Bundle {
        outcome,
        histograms,
        scenario_yaml: "name: deploy-rehearsal\nseed: 42\n".into(),
    }
}

/// 6,063 that were cut at 115 s and came back over 40 s, hard at first.
fn a_storm() -> StormReport {
    let curve = (0..400).map(|i| {
        let back = 6_063.0 * ((-f64::from(i) / 40.0).exp() - (-f64::from(i + 1) / 40.0).exp());
        StormStep {
            at: 115.0 + f64::from(i + 1) / 10.0,
            attempts: (back * 1.1) as u64,
            lost: if i == 0 { 6_063 } else { 0 },
            back: back as u64,
            failed: (back * 0.1) as u64,
        }
    });
    StormReport {
        cause: "30% of subscribers reset".into(),
        phase: "storm".into(),
        start: 115.0,
        end: 155.0,
        overtaken: false,
        lost: 6_063,
        back: 6_063,
        attempts: 6_670,
        peak: 2_100,
        peak_at: Some(115.1),
        capacity: Some(2_958),
        capacity_reached: true,
        amplification: Some(1.1),
        restored_50: Some(1.9),
        restored_90: Some(6.2),
        restored_99: Some(17.8),
        restored_100: Some(39.5),
        spread: Some(1.26),
        failures: map(&[("timeout", 48)]),
        openings: map(&[(
            "open",
            TimerReport {
                count: 6_063,
                min: 0.2,
                mean: 96.0,
                p50: 80.0,
                p90: 402.0,
                p99: 911.0,
                p999: 1_300.0,
                max: 1_400.0,
            },
        )]),
        curve: curve.collect(),
    }
}

fn a_second(
    at: usize,
    phase: usize,
    latency: &Histogram<u64>,
    lag: &Histogram<u64>,
    noise: &mut Noise,
) -> Second {
    let t = at as f64;
    let open = match phase {
        0 => 20_050.0 * (t + 1.0) / 40.0,
        3 => 20_050.0 - 6_063.0 * (-(t - 110.0) / 6.0).exp(),
        4 => 20_050.0 - 312.0 * f64::from(u8::from((200..204).contains(&at))),
        _ => 20_050.0,
    } as u64;
    let opened = match phase {
        0 => 501,
        3 => (6_063.0 / 6.0 * (-(t - 110.0) / 6.0).exp()) as u64,
        4 if at > 203 && at < 208 => 78,
        _ => 0,
    };
    let offered = if phase == 2 { 20_000 } else { 2_000 } + (60.0 * noise.next()) as u64;
    let held_back = if phase == 2 && at > 104 {
        offered / 50
    } else {
        0
    };
    let mut failures = BTreeMap::new();
    if phase == 3 && at < 125 {
        failures.insert("timeout".into(), (8.0 * noise.next()) as u64);
        failures.insert("refused".into(), (5.0 * noise.next()) as u64);
    }
    if phase == 3 && at == 110 {
        failures.insert("reset".into(), 24);
    }
    if phase == 4 && at.is_multiple_of(9) {
        failures.insert("tls".into(), 2);
    }
    let quantile = |q| (!latency.is_empty()).then(|| latency.value_at_quantile(q) as f64 / 1e3);
    Second {
        at: t + 1.0,
        phase,
        open,
        opening: opened / 3,
        opened,
        attempts: opened + failures.values().sum::<u64>(),
        failures,
        closed: if at == 200 { 312 } else { 0 },
        offered,
        sent: offered - held_back,
        dropped: held_back,
        received: (offered - held_back) * 10,
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        max: quantile(1.0),
        lag_p99: Some(lag.value_at_quantile(0.99) as f64 / 1e3),
        lag_max: Some(lag.max() as f64 / 1e3 * if phase == 2 { 12.0 } else { 1.0 }),
        cpu: if phase == 2 {
            0.68
        } else {
            0.3 + 0.08 * noise.next()
        },
        rss: 48 << 20,
    }
}

fn an_outcome(mut timers: BTreeMap<String, TimerReport>, timeline: Vec<Second>) -> Outcome {
    let steps = [
        ("dns", 0.1),
        ("tcp", 0.4),
        ("tls", 2.9),
        ("upgrade", 1.2),
        ("ready", 0.8),
        ("open", 5.6),
        ("reconnect", 1_900.0),
    ];
    for (name, p50) in steps {
        let t = TimerReport {
            count: 26_113,
            min: p50 / 3.0,
            mean: p50 * 1.4,
            p50,
            p90: p50 * 3.3,
            p99: p50 * 6.8,
            p999: p50 * 9.0,
            max: p50 * 14.0,
        };
        timers.insert(name.into(), t);
    }
    let phases = PHASES.map(|(name, start, end)| PhaseReport {
        name: name.into(),
        start,
        end,
        completed: true,
        faults: faults(name),
    });
    let gate = |text: &str, status, actual: &str, value, note: &str| GateReport {
        text: text.into(),
        status,
        actual: actual.into(),
        value,
        note: note.into(),
    };
    let counts = [
        ("attempts", 26_164),
        ("opened", 26_113),
        ("reconnected", 6_063),
        ("offered", 700_451),
        ("sent", 700_051),
        ("dropped", 400),
        ("expected", 1_204_332),
        ("received", 1_204_332),
        ("lost", 0),
        ("missed", 8_114),
        ("duplicated", 0),
        ("reordered", 0),
        ("bytes_sent", 210_000_000),
        ("bytes_received", 481_000_000),
        ("pings_sent", 54_000),
    ];
    let mut by_phase: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (i, (name, _, _)) in PHASES.iter().enumerate() {
        let n = i as u64 + 1;
        by_phase.insert(
            name.to_string(),
            map(&[
                ("attempts", 26_164 / n),
                ("opened", 26_113 / n),
                ("offered", 120_000 * n),
                ("sent", 120_000 * n),
                ("received", 240_866),
            ]),
        );
    }
    by_phase
        .get_mut("storm")
        .unwrap()
        .insert("reconnected".into(), 6_063);
    let mut timers_by_phase: BTreeMap<String, BTreeMap<String, TimerReport>> = BTreeMap::new();
    let back = TimerReport {
        count: 6_063,
        min: 510.0,
        mean: 2_900.0,
        p50: 1_900.0,
        p90: 6_200.0,
        p99: 17_800.0,
        p999: 21_000.0,
        max: 24_000.0,
    };
    let storm = [
        ("reconnect", back),
        (
            "open",
            TimerReport {
                count: 6_063,
                p50: 80.0,
                p99: 912.0,
                max: 1_400.0,
                ..back
            },
        ),
    ];
    timers_by_phase.insert("storm".into(), map(&storm));
    let shard = |shard| ShardReport {
        shard,
        offered: 175_112 + u64::from(shard),
        sent: 175_012 + u64::from(shard),
        dropped: 100,
        cancelled: 0,
        cpu_max: 0.61 + 0.02 * f64::from(shard),
        lag_p99_max: 0.6,
        rss_max: 12 << 20,
        snapshots: 261,
        state: "finished".into(),
    };
    Outcome {
        version: OUTCOME_VERSION,
        tool: "squall 0.1.0".into(),
        name: "deploy-rehearsal".into(),
        description:
            "Restart the gateways under load: who is cut off, for how long, and what is lost?"
                .into(),
        seed: 42,
        started: "2026-11-22T10:15:00Z".into(),
        length: 260.0,
        target: "wss://rt.example.com/ws".into(),
        shards: 4,
        connections: 20_050,
        exit_code: 99,
        verdict: "FAILED".into(),
        validity: Validity {
            state: ValidityState::Valid,
            reasons: vec![],
        },
        gates: vec![
            gate(
                "latency p99 < 250ms in steady",
                GateStatus::Passed,
                "41.2 ms",
                Some(41.2),
                "",
            ),
            gate(
                "close 1006 == 0 in deploy",
                GateStatus::Failed,
                "312",
                Some(312.0),
                "nodes 2 and 3 killed at their deadline",
            ),
            gate(
                "lost == 0",
                GateStatus::Passed,
                "0 of 1,204,332",
                Some(0.0),
                "",
            ),
            gate(
                "rtt p99.9 < 1s",
                GateStatus::NoEvidence,
                "–",
                None,
                "nothing was requested",
            ),
        ],
        phases: phases.to_vec(),
        storms: vec![a_storm()],
        groups: vec![
            GroupReport {
                name: "subscribers".into(),
                count: 20_000,
            },
            GroupReport {
                name: "publishers".into(),
                count: 50,
            },
        ],
        endpoints: vec![PlaceReport {
            name: "wss://rt.example.com:443".into(),
            opened: 26_063,
            opened_by_phase: map(&[("ramp", 20_000), ("storm", 6_063)]),
        }],
        nodes: NodesReport {
            told: [
                ("gw-1", 9_210, 2_543),
                ("gw-2", 8_830, 2_163),
                ("gw-3", 8_020, 1_354),
            ]
            .map(|(name, opened, storm)| PlaceReport {
                name: name.into(),
                opened,
                opened_by_phase: map(&[("ramp", opened - storm), ("storm", storm)]),
            })
            .into(),
            untold: 3,
            beyond: 0,
        },
        open_by_place: ["gw-1", "gw-2", "gw-3"]
            .iter()
            .enumerate()
            .map(|(i, name)| PlaceOverTime {
                name: (*name).into(),
                open: (timeline.iter().enumerate())
                    // Each is away for ten seconds of its own.
                    .map(|(at, s)| match (at, 180 + 12 * i) {
                        (at, from) if at >= from && at < from + 10 => 0,
                        _ => s.open / 3,
                    })
                    .collect(),
            })
            .collect(),
        counts: map(&counts),
        counts_by_phase: by_phase,
        counts_by_group: BTreeMap::from([
            (
                "subscribers".to_string(),
                map(&[
                    ("attempts", 26_063),
                    ("opened", 26_063),
                    ("received", 1_204_332),
                ]),
            ),
            (
                "publishers".to_string(),
                map(&[
                    ("attempts", 50),
                    ("opened", 50),
                    ("offered", 700_451),
                    ("sent", 700_051),
                    ("dropped", 400),
                ]),
            ),
        ]),
        failures: map(&[("tls", 3), ("timeout", 48), ("reset", 0)]),
        statuses: BTreeMap::from([(503, 12), (429, 3)]),
        expired_closes: BTreeMap::new(),
        reasons: Vec::new(),
        revoked_closes: BTreeMap::new(),
        closes: vec![
            CloseReport {
                code: 1001,
                by_target: true,
                clean: true,
                count: 19_688,
            },
            CloseReport {
                code: 1006,
                by_target: true,
                clean: false,
                count: 312,
            },
        ],
        timers,
        timers_by_phase,
        timers_by_group: BTreeMap::from([("subscribers".to_string(), map(&[("reconnect", back)]))]),
        streams: Some(streams()),
        pressure: vec![slow_consumers()],
        per_shard: (0..4).map(shard).collect(),
        cost: CostReport {
            telemetry_bytes: 1_234_567,
            samples: vec![
                CostSample::default(),
                CostSample {
                    at: 130.0,
                    open: 20_050,
                    shards_memory: 22_585_344,
                    gateway_memory: 0,
                    coordinator_memory: 30 << 20,
                    kernel_memory: 20_050 * 3_200,
                    shards_cpu: 41.5,
                    gateway_cpu: 0.0,
                    coordinator_cpu: 1.25,
                },
            ],
        },
        memory: Some(TargetMemory {
            page: "http://rt.example.com:9100".into(),
            metric: "process_resident_memory_bytes".into(),
            samples: vec![MemorySample {
                at: 130.0,
                bytes: 96 << 20,
            }],
            failed: 2,
            why: "no answer within 2 s".into(),
        }),
        deploys: vec![deploy()],
        timeline,
        samples: vec![
            ("close 1001".into(), "going away: draining node gw-2".into()),
            (
                "status 503".into(),
                "{\"error\":\"no backend available, try again in 3 seconds\"}".into(),
            ),
        ],
        warnings: vec!["2 publishes were larger than one TCP segment".into()],
    }
}

fn streams() -> StreamsReport {
    let messages = |published, lost, missed| StreamMessages {
        published: Some(published),
        expected: Some(10 * published),
        received: Some(10 * published - lost - missed),
        wrong: WrongMessages {
            lost,
            missed,
            ..WrongMessages::default()
        },
    };
    let worst = |publisher, topic: &str, messages| StreamReport {
        group: "publishers".into(),
        publisher,
        publish: 0,
        topic: (!topic.is_empty()).then(|| topic.into()),
        messages,
        parts: Vec::new(),
    };
    let part = |phase: &str, fault: &str, wrong| StreamPart {
        phase: Some(phase.into()),
        group: Some("subscribers".into()),
        fault: (!fault.is_empty()).then(|| fault.into()),
        wrong,
    };
    let missed = |missed| WrongMessages {
        missed,
        ..WrongMessages::default()
    };
    let mut first = worst(7, "acme/orders", messages(14_001, 0, 4_114));
    first.parts = vec![
        part("storm", "30% of subscribers reset", missed(4_014)),
        part("deploy", "", missed(100)),
    ];
    StreamsReport {
        told_apart: true,
        worst: vec![
            first,
            worst(31, "globex/orders", messages(14_002, 0, 4_000)),
            worst(2, "", messages(13_999, 0, 0)),
        ],
        others: 47,
        rest: messages(658_049, 0, 0),
    }
}

fn faults(phase: &str) -> Vec<FaultReport> {
    let fault = |label: &str, start: f64, end: f64, touched| FaultReport {
        label: label.into(),
        start,
        end,
        actual_start: Some(start + 0.002),
        actual_end: Some(end + 0.011),
        touched,
        effects: FaultEffects::default(),
        absence: None,
    };
    let cut = |fault| FaultReport {
        absence: Some(AbsenceReport {
            recovered: 0,
            missed: 8_114,
            ..AbsenceReport::default()
        }),
        ..fault
    };
    match phase {
        "burst" => vec![fault("publishers at 10x", 100.0, 110.0, 50)],
        "storm" => vec![cut(fault("30% of subscribers reset", 110.0, 110.0, 6_000))],
        _ => vec![],
    }
}

fn deploy() -> DeployReport {
    let stretch = |endpoint: u64, connections, unclean, how| Stretch {
        endpoint,
        from: 0.4 + 12.0 * endpoint as f64,
        to: 4.4 + 12.0 * endpoint as f64,
        connections,
        unclean,
        how,
        unevenness: 0.07,
    };
    let finding = |name: &str, text: &str, trouble| Finding {
        name: name.into(),
        text: text.into(),
        trouble,
    };
    DeployReport {
        label: "deploy: run kubectl rollout restart deployment/gateway".into(),
        phase: "deploy".into(),
        result: DeployResult::Succeeded,
        detail: "succeeded".into(),
        output: "deployment.apps/gateway restarted\n3 of 3 pods are ready".into(),
        start: 180.0,
        until: 260.0,
        took: Some(31.2),
        old: 20_050,
        cut: 20_000,
        moved: 19_998,
        cut_again: 57,
        first_cut: Some(0.4),
        drain: Some(28.4),
        moved_in: Some(30.1),
        closes: vec![
            DeployClose {
                code: 1001,
                by_target: true,
                clean: true,
                tcp: TcpEnding::Fin,
                count: 19_688,
            },
            DeployClose {
                code: 1006,
                by_target: true,
                clean: false,
                tcp: TcpEnding::Reset,
                count: 309,
            },
            DeployClose {
                code: 1006,
                by_target: false,
                clean: false,
                tcp: TcpEnding::Ours,
                count: 3,
            },
        ],
        cut_off: slow_consumers().evicted,
        refused: 15,
        refused_by_status: BTreeMap::from([(503, 12), (429, 3)]),
        peak_attempts: 2_100,
        capacity: Some(2_958),
        capacity_reached: true,
        spread: Some(1.06),
        spread_after: Some(1.21),
        lost: 0,
        missed: 8_114,
        recovered: 1_207,
        duplicated: 4,
        reordered: 5,
        accepted_draining: Some(57),
        nodes: (0..2)
            .map(|node| NodeTurn {
                node,
                draining: 12.0 * node as f64,
                ended: Some(5.0 + 12.0 * node as f64),
                ready: (node == 0).then_some(6.1),
                opened_draining: Some(57 * node),
                cut_at_deadline: None,
            })
            .collect(),
        drains: vec![
            stretch(0, 9_840, 2, Drained::Evenly),
            stretch(1, 9_850, 0, Drained::AllAtOnce),
            stretch(2, 310, 310, Drained::Never),
        ],
        findings: vec![
            finding("drains_evenly", "drains: evenly over 4.0 s", false),
            finding("missed", "8,114 messages missed while away", true),
        ],
        verdict: "19,998 connections moved in 30.1 s, 2 never came back, 0 messages lost, 8,114 missed while away, 1,207 recovered, \
                  peak 2,100 handshakes/s (71 % of capacity)"
            .into(),
    }
}

fn slow_consumers() -> PressureReport {
    let second = |at: u32| {
        let slow = (120..150).contains(&at);
        PressureSecond {
            at: f64::from(at) + 1.0,
            others: 100.0,
            victims: if slow { 2.0 } else { 100.0 },
            backlog: if slow {
                98.0 * f64::from(at - 119)
            } else {
                0.0
            },
            others_p99: Some(41.0),
            victims_p99: slow.then_some(9_000.0),
        }
    };
    PressureReport {
        fault: "5% of subscribers read 1KiB/s".into(),
        phase: "storm".into(),
        group: "subscribers".into(),
        start: 120.0,
        end: 150.0,
        victims: 1_000,
        policy: "disconnect".into(),
        why: "1000 of 1000 were closed".into(),
        owed: Some(2_400_000.0),
        taken: 81_920.0,
        skipped: 12,
        victims_closed: 0,
        closed: vec![EvictionReport {
            code: 1013,
            after: false,
            count: 1_000,
        }],
        evicted: Some(TimerReport {
            count: 1_000,
            min: 1_900.0,
            mean: 2_400.0,
            p50: 2_300.0,
            p90: 2_900.0,
            p99: 3_100.0,
            p999: 3_400.0,
            max: 3_500.0,
        }),
        neighbour: NeighbourReport {
            ratio: Some(1.1),
            low: Some(0.91),
            high: Some(1.34),
            before: Some(37.4),
            during: Some(41.2),
            why: String::new(),
        },
        publishers: PublisherReport {
            held_up: 0.2,
            offered: 60_000,
            dropped: 7,
        },
        recovery: Some(2.0),
        memory_unknown: String::new(),
        memory: Some(MemoryReport {
            before: 64 << 20,
            most: 96 << 20,
            slope: Some(1_048_576.0),
        }),
        seconds: (40..260).map(second).collect(),
    }
}

/// The same with [`HOSTILE`] and a canary in every text, and every state that a report can show.
pub(super) fn hostile() -> Bundle {
    let mut bundle = bundle();
    let evil = format!("{HOSTILE} {} {}", CANARIES[0], CANARIES[1]);
    let outcome = &mut bundle.outcome;
    for text in [
        &mut outcome.name,
        &mut outcome.description,
        &mut outcome.target,
    ] {
        text.push_str(&evil);
    }
    outcome.validity = Validity {
        state: ValidityState::Invalid,
        reasons: vec![evil.clone(), "shard 2 was lost".into()],
    };
    for gate in &mut outcome.gates {
        gate.text.push_str(&evil);
        gate.actual.push_str(&evil);
        gate.note.push_str(&evil);
    }
    let rename = |name: &str| format!("{name} {evil}");
    for phase in &mut outcome.phases {
        phase.name = rename(&phase.name);
        for fault in &mut phase.faults {
            fault.label.push_str(&evil);
        }
    }
    for storm in &mut outcome.storms {
        storm.cause.push_str(&evil);
        storm.phase = rename(&storm.phase);
        // A peak of a step that lies nowhere, and more back than were lost.
        (storm.peak_at, storm.end, storm.back) = (Some(-1e300), 1e300, u64::MAX);
        storm.failures.insert(HOSTILE.into(), 7);
    }
    fn keys<V: Clone>(map: &mut BTreeMap<String, V>, rename: impl Fn(&str) -> String) {
        *map = map
            .iter()
            .map(|(key, value)| (rename(key), value.clone()))
            .collect();
    }
    keys(&mut outcome.counts_by_phase, rename);
    keys(&mut outcome.timers_by_phase, rename);
    keys(&mut outcome.counts_by_group, rename);
    keys(&mut outcome.timers_by_group, rename);
    for group in &mut outcome.groups {
        group.name = rename(&group.name);
    }
    if let Some(of) = &mut outcome.memory {
        for text in [&mut of.page, &mut of.metric, &mut of.why] {
            text.push_str(&evil);
        }
    }
    for stream in outcome.streams.iter_mut().flat_map(|of| &mut of.worst) {
        stream.group = rename(&stream.group);
        stream.topic.get_or_insert_default().push_str(&evil);
        stream.messages.wrong.lost = u64::MAX;
        stream.messages.wrong.missed = u64::MAX;
        for part in &mut stream.parts {
            let texts = [&mut part.phase, &mut part.group, &mut part.fault];
            for text in texts {
                text.get_or_insert_default().push_str(&evil);
            }
        }
    }
    for of in &mut outcome.pressure {
        for text in [&mut of.fault, &mut of.phase, &mut of.group, &mut of.policy] {
            text.push_str(&evil);
        }
        of.why.push_str(&evil);
        of.memory_unknown.push_str(&evil);
        of.neighbour.ratio = None;
        of.neighbour.why.push_str(&evil);
    }
    for of in &mut outcome.deploys {
        for text in [
            &mut of.label,
            &mut of.phase,
            &mut of.detail,
            &mut of.verdict,
        ] {
            text.push_str(&evil);
        }
        of.output = format!("{evil}\n    {evil}\r\n</pre>{evil}\n- {evil}");
        for finding in &mut of.findings {
            finding.name.push_str(HOSTILE);
            finding.text.push_str(&evil);
        }
        (of.start, of.until, of.drain) = (-1e300, 1e300, Some(1e300));
        (of.cut, of.spread, of.capacity) = (u64::MAX, Some(-1e300), Some(0));
        of.nodes[0].ended = Some(1e300);
        of.drains[0].from = -1e300;
    }
    for shard in &mut outcome.per_shard {
        shard.state = evil.clone();
    }
    outcome.reasons.push(ReasonReport {
        code: 0,
        text: evil.clone(),
        count: u64::MAX,
    });
    for (kind, text) in &mut outcome.samples {
        kind.push_str(&evil);
        text.push_str(&evil);
    }
    outcome.warnings.push(evil.clone());
    // Not only texts: a summary may be read back from a file that somebody edited.
    for text in [
        &mut outcome.tool,
        &mut outcome.started,
        &mut outcome.verdict,
    ] {
        text.push_str(HOSTILE);
    }
    for place in &mut outcome.open_by_place {
        place.name.push_str(&evil);
    }
    for place in outcome.endpoints.iter_mut().chain(&mut outcome.nodes.told) {
        place.name.push_str(&evil);
        keys(&mut place.opened_by_phase, rename);
    }
    outcome.failures.insert(HOSTILE.into(), 7);
    outcome.counts.insert(HOSTILE.into(), 7);
    outcome.timeline[120].failures.insert(HOSTILE.into(), 7);
    bundle
        .scenario_yaml
        .push_str(&format!("# {}\n", CANARIES.join(" ")));
    bundle
}
