//! Slow consumers against a gateway with a known answer to them: the answer is named, and what it does to the others
//! is measured.

use crate::harness::{Gateway, Lab, Summary};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio_tungstenite::tungstenite::accept_hdr;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

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
        Answer::to(&scenario(gateway), code, more)
    }

    fn to(scenario: &str, code: i32, more: &[&str]) -> Answer {
        let done = Lab::new(scenario).run(more);
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
    let scenario = scenario(&format!("when_full: buffer, {DELAY}"));
    let scenario = scenario.replace("after, for: 2s", "after, for: 4s");
    let answer = Answer::to(&scenario, 0, &["--shards", "2"]);
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
    // Before it they read as all others did.
    let before = seconds
        .iter()
        .filter(|second| (2.5..4.5).contains(&second["at"].as_f64().unwrap_or(0.0)));
    let rates: Vec<_> = before
        .map(|second| (second["others"].as_f64(), second["victims"].as_f64()))
        .collect();
    assert!(
        rates.len() == 2
            && rates
                .iter()
                .all(|(others, victims)| *others > Some(200.0) && *victims > Some(200.0)),
        "{seconds:?}"
    );
    // Of the four seconds after it none is needed but the first two; whoever is never as before has no such time.
    let recovery = answer.number("recovery");
    assert!((1.0..=4.0).contains(&recovery), "{}", answer.all());
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

/// The scenario against a gateway that is not the run's own, one message a second: that fits into the kernels' buffers.
fn elsewhere(gateway: &Gateway, told: &str) -> Lab {
    let address = gateway.address;
    let scenario = scenario("queue: 50");
    let start = scenario.find("target:").expect("a target");
    let end = start + scenario[start..].find('\n').expect("a line");
    let target = format!("target: {{ url: 'ws://{address}', {told} }}");
    let scenario = scenario.replacen(&scenario[start..end], &target, 1);
    Lab::new(&scenario.replace("300/s", "1/s"))
}

/// Of a target that is not ours, the scenario may say which process it is; how much its kernel holds, nobody does.
#[test]
fn short_evidence_is_unknown() {
    let gateway = Gateway::start();
    let lab = elsewhere(&gateway, "pid_file: target.pid");
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
    let slope = summary.at("/pressure/0/memory/slope").as_f64();
    assert!(slope.is_some_and(f64::is_finite), "{slope:?}");
}

/// A page whose metric grows by a MiB with each time that it is read, or that is never answered.
fn page(answers: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        for (read, stream) in listener.incoming().flatten().enumerate() {
            if !answers {
                unanswered.push(stream);
                continue;
            }
            let mut request = BufReader::new(&stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert!(request.read_line(&mut line).expect("a request") > 0);
            }
            let bytes = (read + 9) << 20;
            let body = format!("# TYPE resident gauge\nresident{{job=\"a b\"}} {bytes}\n");
            let _ = write!(&stream, "HTTP/1.1 200 OK\r\n\r\n{body}");
        }
    });
    address
}

/// A target may tell its memory itself; one that does not answer leaves it unknown, with the reason.
#[test]
fn the_memory_that_a_target_tells_has_a_slope() {
    let gateway = Gateway::start();
    let at = |address| format!("metrics: {{ url: 'http://{address}/metrics', memory: resident }}");
    let summary = elsewhere(&gateway, &at(page(true)))
        .run(&[])
        .expect(107)
        .summary();
    let samples = summary.at("/memory/samples").as_array().expect("a list");
    assert!(samples.len() >= 8, "{samples:?}");
    assert_eq!(samples[0]["bytes"], 9 << 20);
    // It grows with every read.
    let slope = summary.number("/pressure/0/memory/slope");
    assert!(slope > 0.0, "{slope}: {samples:?}");
    assert_eq!(summary.text("/pressure/0/memory_unknown"), "");
    assert_eq!(summary.number("/memory/failed"), 0.0);

    let silent = page(false);
    let done = elsewhere(&gateway, &at(silent)).run(&[]);
    let summary = done.expect(107).summary();
    assert_eq!(summary.at("/pressure/0/memory"), &Value::Null);
    let why = summary.text("/pressure/0/memory_unknown");
    let words =
        format!("reads of the target's memory at http://{silent} failed: no answer within 2 s");
    assert!(why.contains(&words), "{why}");
    let warned = |w: &Value| w.as_str().is_some_and(|w| w.contains(&words));
    let warnings = summary.at("/warnings").as_array().expect("a list");
    assert!(warnings.iter().any(warned), "{warnings:?}");
    assert!(
        done.stdout.contains("the target's memory: unknown"),
        "{}",
        done.stdout
    );
}

/// A target that ends the first client again and again, and never the second.
fn unfair() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut who = String::new();
                #[expect(clippy::result_large_err, reason = "the library's own signature")]
                let name = |request: &Request, response: Response| {
                    who = request.uri().query().unwrap_or_default().to_owned();
                    Ok(response)
                };
                let mut socket = accept_hdr(stream, name).expect("an upgrade");
                match who.as_str() {
                    "0" => std::thread::sleep(Duration::from_millis(300)),
                    _ => while socket.read().is_ok() {},
                }
            });
        }
    });
    address
}

/// One that is ended three times is one, and not as good as three.
#[test]
fn a_victim_that_is_ended_again_and_again_counts_once() {
    let address = unfair();
    let scenario = format!(
        "
name: unfair
target: {{ url: 'ws://{address}/?{{connection}}' }}
clients: {{ two: {{ count: 2, protocol: raw, reconnect: {{ backoff: no_jitter, base: 50ms }} }} }}
phases:
  - {{ name: before, for: 1s }}
  - {{ name: slow, for: 3s, faults: [ {{ slow: {{ clients: two, share: 100%, read: none }} }} ] }}
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
    );
    let summary = Lab::new(&scenario).run(&[]).expect(0).summary();
    let closes: u64 = (summary.at("/pressure/0/closed").as_array().expect("a list"))
        .iter()
        .map(|of| of["count"].as_u64().expect("a count"))
        .sum();
    assert!(closes >= 2, "{}", summary.at("/pressure"));
    assert_eq!(summary.number("/pressure/0/victims_closed"), 1.0);
    assert_eq!(summary.text("/pressure/0/policy"), "unknown");
    assert_eq!(
        summary.text("/pressure/0/why"),
        "1 were closed and 1 were not"
    );
}
