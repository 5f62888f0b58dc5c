//! Faults that act on connections: exactly those that were planned, whatever the number of shards.

use crate::harness::{Lab, Summary};
use nix::sys::signal::Signal::SIGINT;
use serde_json::Value;

const STORM: &str = "
name: storm
seed: 7
target: { embedded: {} }
clients:
  subs: { count: 31, subscribe: [t], reconnect: { base: 100ms } }
  pubs: { count: 2, publish: { topic: t, rate: 100/s } }
phases:
  - { name: open, for: 1s }
  - name: storm
    for: 3s
    faults:
      - drop: { clients: subs, share: 40%, how: reset, after: 200ms }
      - drop: { clients: subs, count: 5, how: close, code: 4000, after: 1s, over: 500ms }
      - drop: { clients: subs, count: 2, how: vanish, after: 2s }
      - drop: { clients: subs, count: 3, how: fin, after: 2500ms }
  - { name: calm, for: 1s }
gates:
  - cut == 22 in storm of subs
  - reconnected == 22
  - lost == 0
  - failed == 0
  - gave_up == 0
  - closed_by_target == 0
generator: { max_lag: 50s, max_cpu: 100% }
";

fn faults(summary: &Summary, phase: usize) -> Vec<Value> {
    let faults = summary.at(&format!("/phases/{phase}/faults")).as_array();
    faults.expect("a list").clone()
}

#[test]
fn as_many_as_planned_are_cut_and_come_back_on_any_number_of_shards() {
    for shards in ["1", "3"] {
        let done = Lab::new(STORM).run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        assert_eq!(summary.count("cut"), 22);
        assert_eq!(summary.at("/counts_by_phase/storm/cut"), 22);
        assert_eq!(summary.at("/counts_by_group/subs/cut"), 22);
        assert_eq!(summary.count("reconnected"), 22);
        assert_eq!(summary.at("/timers/reconnect/count"), 22);
        assert!(
            summary
                .at("/failures")
                .as_object()
                .is_some_and(|f| f.is_empty())
        );
        let told: Vec<(Value, Value)> = faults(&summary, 1)
            .iter()
            .map(|f| (f["label"].clone(), f["touched"].clone()))
            .collect();
        let expected = [
            // Twelve are 40 % of 31, rounded.
            ("40% of subs reset", 12),
            ("5 of subs closed with 4000 over 500ms", 5),
            ("2 of subs vanished", 2),
            ("3 of subs ended by FIN", 3),
        ];
        assert_eq!(told, expected.map(|(label, n)| (label.into(), n.into())));
        for fault in faults(&summary, 1) {
            let time = |key: &str| fault[key].as_f64().unwrap_or_else(|| panic!("{fault}"));
            assert!(time("actual_start") >= time("start"), "{fault}");
            // The last of five spread over a time has its turn a fifth before its end.
            let last = time("end") - (time("end") - time("start")) / 5.0;
            assert!(time("actual_end") >= last - 1e-6, "{fault}");
        }
        // Who reset, vanished or sent FIN; the close handshakes; and everybody at the end.
        let mut closes: Vec<(u64, u64)> = Vec::new();
        for close in summary.at("/closes").as_array().expect("a list") {
            assert_eq!(close["by_target"], false, "{close}");
            let number = |key: &str| close[key].as_u64().expect("a number");
            closes.push((number("code"), number("count")));
        }
        closes.sort_unstable();
        assert_eq!(closes, [(1000, 33), (1006, 17), (4000, 5)]);
        assert!(
            done.stdout.contains("40% of subs reset: touched 12"),
            "{}",
            done.stdout
        );
        assert!(done.stdout.contains("attempts/s"), "{}", done.stdout);
    }
}

#[test]
fn a_drop_that_touched_nobody_makes_the_run_invalid() {
    let scenario = "
name: nobody
target: { embedded: {} }
clients: { subs: { count: 3, subscribe: [a], reconnect: {} } }
phases:
  - { name: one, for: 1s, faults: [ { drop: { clients: subs, share: 100%, how: fin } } ] }
  - { name: two, for: 1s, open: { subs: all_at_once } }
gates: ['failed == 0']
";
    let summary = Lab::untimed(scenario).run(&[]).expect(106).summary();
    let fault = &faults(&summary, 0)[0];
    assert_eq!(fault["touched"], 0);
    assert!(fault["actual_start"].is_number(), "its time came: {fault}");
    assert!(
        summary.reasons().contains("touched no connection"),
        "{}",
        summary.reasons()
    );
    assert_ne!(summary.text("/gates/0/status"), "passed");
    assert_eq!(summary.count("cut"), 0);
}

/// All of them in one run: each is a reason of its own.
#[test]
fn any_fault_that_touched_nobody_makes_the_run_invalid() {
    let faults = [
        "drop: { clients: late, share: 100%, how: reset }",
        "slow: { clients: late, share: 100%, read: none, for: 200ms }",
        "stall: { clients: late, share: 100%, what: message, for: 200ms }",
        "network: { clients: late, share: 100%, latency: 9ms, for: 200ms }",
        "partition: { clients: late, share: 100%, for: 200ms }",
        "burst: { clients: late, rate: 3x, for: 200ms }",
    ];
    let all = faults.map(|fault| format!("{{ {fault} }}")).join(", ");
    let scenario = format!(
        "name: nobody\ntarget: {{ embedded: {{}} }}\nclients:\n  subs: {{ count: 1, subscribe: [a] }}\n  \
         late: {{ count: 3, publish: {{ topic: a, rate: 9/s, in: [one, two] }}, reconnect: {{}} }}\nphases:\n  \
         - {{ name: one, for: 1200ms, open: {{ subs: all_at_once }}, faults: [ {all} ] }}\n  \
         - {{ name: two, for: 600ms, open: {{ late: all_at_once }} }}\n"
    );
    let summary = Lab::untimed(&scenario).run(&[]).expect(106).summary();
    let reasons = summary.reasons();
    let told = reasons.matches("touched no connection").count();
    assert_eq!(told, faults.len(), "{reasons}");
}

#[test]
fn an_interrupted_drop_did_not_end() {
    let scenario = "
name: cut-short
target: { embedded: {} }
clients: { subs: { count: 100, subscribe: [a], reconnect: {} } }
phases:
  - { name: open, for: 1s }
  - { name: storm, for: 40s, faults: [ { drop: { clients: subs, share: 100%, how: fin, over: 40s } } ] }
gates: ['failed == 0']
";
    let mut run = Lab::untimed(scenario).start(&[]);
    run.wait_for_phase("storm");
    run.signal(SIGINT);
    let summary = run.wait().expect(105).summary();
    let fault = &faults(&summary, 1)[0];
    let touched = fault["touched"].as_u64().expect("a count");
    assert!((1..100).contains(&touched), "{fault}");
    assert_eq!(touched, summary.count("cut"));
    assert!(fault["actual_start"].is_number() && fault["actual_end"].is_null());
}

/// Takes nine seconds, as connections have to open, rest and go, and memory is looked at once a second.
#[test]
fn memory_is_given_back_when_connections_go() {
    let scenario = "
name: ebb
target: { embedded: { tls: true } }
clients: { subs: { count: 1500, subscribe: [t] } }
phases:
  - { name: before, for: 2s }
  - { name: open, for: 4s, open: { subs: { stages: [{ to: 1500, over: 2s }] } } }
  - name: gone
    for: 3s
    faults: [{ drop: { clients: subs, share: 100%, how: close } }]
gates: [cut == 1500]
generator: { shards: 1, max_lag: 50s, max_cpu: 100% }
";
    let done = Lab::new(scenario).run(&[]);
    let summary = done.expect(0).summary();
    let samples = summary.at("/cost/samples").as_array().expect("a list");
    let open = |sample: &&Value| sample["open"].as_u64();
    let before = samples.iter().find(|s| open(s) == Some(0));
    // A look may be missing where the machine is busy: any with most of them open, and any with none will do.
    let rest = samples.iter().rfind(|s| open(s) > Some(1200));
    let memory = |s: &&Value| s["shards_memory"].as_u64() > Some(0);
    let after = samples.iter().rfind(|s| open(s) == Some(0) && memory(s));
    let (Some(before), Some(rest), Some(after)) = (before, rest, after) else {
        panic!("{samples:?}");
    };
    assert!(after["at"].as_f64() > rest["at"].as_f64(), "{samples:?}");
    for whose in ["shards_memory", "gateway_memory"] {
        let bytes = |sample: &Value| sample[whose].as_i64().expect("bytes");
        let held = bytes(rest) - bytes(before);
        let left = bytes(after) - bytes(before);
        assert!(held > 1200 * 4096, "{whose}: {held} for 1,500 TLS sessions");
        assert!(left < held / 2, "{whose}: {left} of {held} are left");
    }
}
