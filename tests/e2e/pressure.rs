//! Slow consumers against a gateway with a known answer to them: the answer is named, and what it does to the others
//! is measured.

use crate::harness::{Gateway, Lab, Summary};
use serde_json::Value;

/// Twenty subscribers, four of which read nothing for four seconds; so much is sent that no kernel's buffers hold it.
fn scenario(gateway: &str) -> String {
    format!(
        "
name: pressure
seed: 7
target: {{ embedded: {{ send_buffer: 16KiB, {gateway} }} }}
clients:
  subs: {{ count: 20, subscribe: [t] }}
  pubs: {{ count: 2, publish: {{ topic: t, rate: 300/s, size: 1KiB }} }}
phases:
  - {{ name: before, for: 4s }}
  - name: slow
    for: 4s
    faults:
      - slow: {{ clients: subs, count: 4, read: none, receive_buffer: 16KiB }}
  - {{ name: after, for: 2s }}
gates:
  - noisy_neighbour < 5 in slow
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
    )
}

/// The delay is most of the latency, and the queue holds what it delays and almost a second more: a machine that is held
/// up for half a second is not to be taken for a noisy neighbour, nor its lateness for slowness. Waiting in one line
/// would make nine times as much of it.
const DELAY: &str = "queue: 400, misbehave: { delay: 500ms }";

struct Answer {
    summary: Summary,
    stdout: String,
}

impl Answer {
    fn of(gateway: &str, code: i32, more: &[&str]) -> Answer {
        let done = Lab::new(&scenario(gateway)).run(more);
        let done = done.expect(code);
        Answer {
            summary: done.summary(),
            stdout: done.stdout.clone(),
        }
    }

    fn at(&self, key: &str) -> &Value {
        self.summary.at(&format!("/pressure/0/{key}"))
    }

    fn number(&self, key: &str) -> f64 {
        let value = self.at(key);
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {}", self.all()))
    }

    fn all(&self) -> &Value {
        self.summary.at("/pressure")
    }

    /// The policy as told, everywhere that it is told.
    fn is(&self, policy: &str) {
        assert_eq!(self.at("policy"), policy, "{}", self.all());
        assert_eq!(self.at("victims"), 4);
        let told = format!("the target's policy: {policy} (");
        assert!(self.stdout.contains(&told), "{}", self.stdout);
    }

    /// Clients have queues of their own: the others feel nothing, and so the gate holds.
    fn others_feel_nothing(&self) {
        let ratio = self.number("neighbour/ratio");
        assert!(ratio < 3.0, "{ratio}: {}", self.all());
        let low = self.number("neighbour/low");
        assert!(low <= ratio && low > 0.0, "{}", self.all());
        assert_eq!(self.summary.at("/gates/0/value"), ratio);
    }
}

#[test]
fn a_gateway_that_drops_is_known_by_what_is_missing() {
    for policy in ["drop_oldest", "drop_newest"] {
        let answer = Answer::of(&format!("when_full: {policy}, {DELAY}"), 0, &[]);
        answer.is("drop");
        answer.others_feel_nothing();
        // All that was lost, victims lost; but for what a machine that was held up made of somebody else.
        let lost = answer.summary.count("lost") as f64;
        assert!(
            answer.number("skipped") >= 0.9 * lost,
            "{lost}: {}",
            answer.all()
        );
        assert!(
            answer.number("publishers/held_up") < 1.0,
            "{}",
            answer.all()
        );
        assert!(answer.number("memory/most") > 0.0, "{}", answer.all());
    }
}

#[test]
fn a_gateway_that_buffers_is_known_by_what_comes_later() {
    // Two shards see each a part of it.
    let gateway = format!("when_full: buffer, {DELAY}");
    let answer = Answer::of(&gateway, 0, &["--shards", "2"]);
    answer.is("buffer");
    answer.others_feel_nothing();
    assert_eq!(answer.summary.count("lost"), 0);
    // Three hundred messages a second of 1 KiB for four seconds, of which two buffers of 32 KiB took a part.
    let owed = answer.number("owed");
    assert!(owed > 3.0 * 300.0 * 1024.0, "{owed}");
    assert!(answer.number("taken") < 65_536.0, "{}", answer.all());
    // While they did not read their backlog grew, and then it went.
    let seconds = answer.at("seconds").as_array().expect("a list");
    let backlog = |at: f64| {
        let second = seconds.iter().find(|second| second["at"] == at);
        second
            .and_then(|second| second["backlog"].as_f64())
            .unwrap_or_else(|| panic!("{seconds:?}"))
    };
    assert!(backlog(6.0) > 300.0, "{seconds:?}");
    assert!(backlog(8.0) > backlog(6.0), "{seconds:?}");
    assert!(backlog(10.0) < 0.5 * backlog(8.0), "{seconds:?}");
}

#[test]
fn a_gateway_that_disconnects_is_known_by_its_closes() {
    let answer = Answer::of(&format!("when_full: disconnect, {DELAY}"), 0, &[]);
    answer.is("disconnect");
    answer.others_feel_nothing();
    let closed = answer.at("closed").as_array().expect("a list");
    let count: u64 = closed
        .iter()
        .filter_map(|closed| closed["count"].as_u64())
        .sum();
    assert_eq!(count, 4, "{}", answer.all());
}

#[test]
fn a_gateway_that_blocks_is_known_by_its_publishers() {
    let answer = Answer::of("when_full: block, queue: 50", 0, &["--set", "gates=[]"]);
    answer.is("block-the-publisher");
    assert!(
        answer.number("publishers/held_up") >= 1.0,
        "{}",
        answer.all()
    );
    assert_eq!(answer.summary.count("lost"), 0);
}

#[test]
fn one_line_for_all_is_a_noisy_neighbour() {
    let gateway = "when_full: buffer, queue: 400, misbehave: { head_of_line: true }";
    let answer = Answer::of(gateway, 99, &[]);
    let low = answer.number("neighbour/low");
    assert!(low > 5.0, "{}", answer.all());
    // Nobody is held up but those who listen.
    answer.is("buffer");
}

/// Of a target that is not ours, the scenario may say which process it is; how much its kernel holds, nobody does.
#[test]
fn short_evidence_is_unknown() {
    let gateway = Gateway::start();
    let address = gateway.address;
    // One message a second fits into the kernels' buffers.
    let scenario = scenario("queue: 50");
    let start = scenario.find("target:").expect("a target");
    let end = start + scenario[start..].find('\n').expect("a line");
    let target = format!("target: {{ url: 'ws://{address}', pid_file: target.pid }}");
    let scenario = scenario.replacen(&scenario[start..end], &target, 1);
    let lab = Lab::new(&scenario.replace("300/s", "1/s"));
    std::fs::write(lab.path().join("target.pid"), gateway.pid().to_string()).expect("written");
    let summary = lab.run(&[]).expect(107).summary();
    assert_eq!(summary.at("/pressure/0/policy"), "unknown");
    let why = summary.text("/pressure/0/why");
    assert!(
        why.contains("may have held the rest, it holds up to 4.0 MiB"),
        "{why}"
    );
    let none = summary.text("/pressure/0/neighbour/why");
    assert!(none.contains("1000 are needed"), "{none}");
    assert_eq!(summary.text("/gates/0/status"), "no_evidence");
    let memory = summary.at("/pressure/0/memory/most").as_u64();
    assert!(memory > Some(1 << 20), "{memory:?}");
}
