//! The real binary against servers nobody here wrote: npm `ws` and Python `websockets`, `ws://` and `wss://`, both
//! restarted under load, gateways that share a Redis server, one behind nginx, event streams of nchan, brokers, and what speaks
//! the protocols of the presets, a service that checks tokens by itself. And the engine's client against Autobahn's cases.
//!
//! `ci/test` installs them; without them these tests fail and say so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // the harness polls

mod amqp;
mod autobahn;
mod fallback;
#[allow(dead_code)] // shared with the end-to-end tests, which use all of it
#[path = "../e2e/harness.rs"]
mod harness;
mod kafka;
mod mosquitto;
mod nats;
mod nginx;
mod presets;
mod rabbitmq;
mod rehearsal;
mod restarts;
mod servers;
mod socket_io;
mod store;
mod streams;
mod tokens;

use harness::{Done, Lab, Summary};
use servers::{Kind, Server, certificates};

/// 20 subscribers and 2 publishers in two rooms, and 2 who ask: each publish reaches 10, 300 publishes and 150 requests in all.
const JSON: &str = r#"
name: interop
target: { url: TARGET }
clients:
  subscribers:
    count: 20
    vars: { room: { cycle: [red, blue] } }
    subscribe: ["{room}/news"]
    heartbeat: { every: 500ms, timeout: 5s }
  publishers:
    count: 2
    vars: { room: { cycle: [red, blue] } }
    publish: { topic: "{room}/news", rate: 150/s, in: steady }
  askers:
    count: 2
    request: { rate: 75/s, in: steady }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
gates:
  - opened == 24
  - failed == 0
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - received == 3000
  - replies == 150
  - service_gaps == 0
generator: { shards: 2, max_lag: 2s }
"#;

/// Payloads as they are: with 6 connections that all hear all, 200 publishes are 1,200 deliveries.
const RAW: &str = r#"
name: interop-raw
target: { url: TARGET }
clients:
  peers:
    count: 6
    protocol: raw
    publish: { rate: 100/s, size: 200B, in: steady }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
gates:
  - opened == 6
  - failed == 0
  - lost == 0
  - received == 1200
generator: { shards: 2, max_lag: 2s }
"#;

/// An echo, told by the stamp: 150 requests.
const ECHO: &str = r#"
name: interop-echo
target: { url: TARGET }
clients:
  askers:
    count: 3
    protocol: raw
    request: { rate: 75/s, size: { uniform: [64B, 70KiB] }, in: steady }
phases:
  - { name: ramp, for: 500ms }
  - { name: steady, for: 2s }
gates:
  - opened == 3
  - failed == 0
  - replies == 150
  - request_timeouts == 0
generator: { shards: 1, max_lag: 2s }
"#;

/// A scenario against a server, in a folder with certificates.
fn lab(scenario: &str, server: &Server, target: &str) -> Lab {
    lab_at(scenario, server.port, target)
}

fn lab_at(scenario: &str, port: u16, target: &str) -> Lab {
    let lab = Lab::new(&scenario.replace("TARGET", &target.replace("PORT", &port.to_string())));
    certificates(lab.path());
    lab
}

const PLAIN: &str = "ws://127.0.0.1:PORT/";
const TLS: &str = "wss://127.0.0.1:PORT/, tls: { ca: ca.pem }";

/// Every gate held but this one, which did not.
fn fails_only(done: &Done, gate: &str) -> Summary {
    let summary = done.expect(99).summary();
    let gates = summary.at("/gates").as_array().unwrap();
    let expected = |judged: &serde_json::Value| match judged["text"] == gate {
        true => "failed",
        false => "passed",
    };
    let wrong: Vec<_> = gates
        .iter()
        .filter(|judged| judged["status"] != expected(judged))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{summary:?}");
    assert!(gates.iter().any(|judged| judged["text"] == gate));
    summary
}

/// Runs a scenario against each server, plain and over TLS.
fn everywhere(scenario: &str, arguments: &[&str], check: impl Fn(&Done, &Summary)) {
    for kind in Kind::ALL {
        let server = Server::start(kind, arguments);
        let plain = lab(scenario, &server, PLAIN);
        let done = plain.run(&[]);
        done.expect(0);
        check(&done, &done.summary());

        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let secure = Server::start(
            kind,
            &[arguments, &["--cert", &cert, "--key", &key]].concat(),
        );
        let lab = lab(scenario, &secure, TLS);
        std::fs::copy(file("ca.pem"), lab.path().join("ca.pem")).unwrap();
        let done = lab.run(&[]);
        done.expect(0);
        let summary = done.summary();
        assert!(summary.number("/timers/tls/count") > 0.0);
        check(&done, &summary);
    }
}

#[test]
fn json_is_delivered_and_counted_exactly() {
    everywhere(JSON, &[], |_, summary| {
        for (counter, expected) in [
            ("offered", 300),
            ("sent", 300),
            ("dropped", 0),
            ("cancelled", 0),
            ("expected", 3000),
            ("received", 3000),
            ("unique", 3000),
            ("missed", 0),
            ("unstamped", 0),
            ("misrouted", 0),
            ("requests_offered", 150),
            ("requests", 150),
            ("replies", 150),
            ("errors", 0),
        ] {
            assert_eq!(summary.count(counter), expected, "{counter}");
        }
        // Own pings were answered by them.
        assert!(summary.number("/timers/ping/count") >= 20.0);
        assert_eq!(summary.number("/timers/latency/count"), 3000.0);
        assert_eq!(summary.number("/timers/rtt/count"), 150.0);
    });
}

#[test]
fn raw_is_delivered_and_counted_exactly() {
    everywhere(RAW, &["--raw", "broadcast"], |_, summary| {
        for (counter, expected) in [
            ("offered", 200),
            ("sent", 200),
            ("expected", 1200),
            ("received", 1200),
            ("unique", 1200),
            ("duplicated", 0),
            ("reordered", 0),
        ] {
            assert_eq!(summary.count(counter), expected, "{counter}");
        }
    });
}

#[test]
fn echoes_of_all_frame_lengths_come_back() {
    everywhere(ECHO, &["--raw", "echo"], |_, summary| {
        assert_eq!(summary.count("requests"), 150);
        assert_eq!(summary.number("/timers/rtt/count"), 150.0);
    });
}

#[test]
fn a_gate_that_does_not_hold_fails_the_run() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[]);
        let scenario = JSON.replace("received == 3000", "received == 2999");
        let lab = lab(&scenario, &server, PLAIN);
        let done = lab.run(&[]);
        done.expect(99);
        assert_eq!(done.summary().count("received"), 3000);
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    for kind in Kind::ALL {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let server = Server::start(kind, &["--raw", "echo", "--cert", &cert, "--key", &key]);
        // This lab's authority is its own, not the one that signed the server's certificate.
        let stranger = lab(ECHO, &server, TLS);
        let done = stranger.run(&[]);
        done.expect(109);
        let summary = done.summary();
        assert_eq!(summary.count("opened"), 0);
        assert_eq!(
            summary.at("/failures/tls"),
            3,
            "{:#}",
            summary.at("/failures")
        );
        // Unless one does not care, and says so.
        let careless = lab(
            ECHO,
            &server,
            "wss://127.0.0.1:PORT/, tls: { insecure: true }",
        );
        careless.run(&[]).expect(0);
    }
}

/// Each group offers something else, and all hear each other.
#[test]
fn messages_are_made_smaller_as_it_was_agreed() {
    let offers = [
        ("subscribers", "{}"),
        (
            "publishers",
            "{ client_max_window_bits: 10, server_max_window_bits: 12, level: 9 }",
        ),
        (
            "askers",
            "{ client_no_context_takeover: true, server_no_context_takeover: true }",
        ),
    ];
    let mut scenario = JSON.replace(
        "  - opened == 24\n",
        "  - opened == 24\n  - compressed == 24\n",
    );
    for (group, offer) in offers {
        let begin = format!("  {group}:\n");
        let with = format!("{begin}    compression: {offer}\n");
        scenario = scenario.replace(&begin, &with);
    }
    for kind in Kind::ALL {
        let server = Server::start(kind, &["--deflate"]);
        let deflating = lab(&scenario, &server, PLAIN);
        let done = deflating.run(&[]);
        done.expect(0);
        let summary = done.summary();
        for side in ["sent", "received"] {
            let [small, large] =
                ["deflated", "inflated"].map(|how| summary.count(&format!("{how}_{side}")));
            // Where the window is kept, little but the stamp differs from one message to the next.
            assert!(
                small > 0 && small * 2 < large,
                "{kind:?}: {side} {small} of {large}"
            );
            // The deflated bytes are what went over the wire, with frames, handshakes and pings around them.
            let wire = summary.count(&format!("bytes_{side}"));
            assert!(
                wire > small && wire < large,
                "{kind:?}: {side} {wire}, {small} of {large}"
            );
        }
        assert!(
            done.stdout.contains("on 24 of 24 connections"),
            "{}",
            done.stdout
        );
        // One that was not asked to does not accept it, and all goes on as it is.
        let plain = Server::start(kind, &[]);
        let scenario = scenario.replace("compressed == 24", "compressed == 0");
        let done = lab(&scenario, &plain, PLAIN).run(&[]);
        done.expect(0);
        assert_eq!(done.summary().count("inflated_received"), 0);
    }
}

#[test]
fn a_subprotocol_is_negotiated() {
    for kind in Kind::ALL {
        let offer = |names: &str| format!("ws://127.0.0.1:PORT/, subprotocols: [{names}]");
        let server = Server::start(kind, &["--raw", "echo", "--subprotocol", "feed.v1"]);
        lab(ECHO, &server, &offer("feed.v2, feed.v1"))
            .run(&[])
            .expect(0);

        // Nothing in common.
        let lab = lab(ECHO, &server, &offer("feed.v3"));
        let done = lab.run(&[]);
        done.expect(109);
        assert_eq!(done.summary().count("opened"), 0);
    }
}

#[test]
fn clients_come_back_after_the_server_was_killed() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[]);
        let scenario = JSON
            .replace(
                "heartbeat: {",
                "reconnect: { base: 100ms, cap: 400ms }\n    heartbeat: {",
            )
            .replace("steady, for: 2s", "steady, for: 6s");
        let gates = scenario.find("gates:").unwrap()..scenario.find("generator:").unwrap();
        let mut scenario = scenario.clone();
        scenario.replace_range(
            gates,
            "gates:\n  - close 1006 == 24\n  - reconnected == 20\n  - reconnect max < 5s\n  - lost == 0\n",
        );
        let lab = lab(&scenario, &server, PLAIN);
        let run = lab.start(&[]);
        run.wait_for_phase("steady");
        let port = server.kill();
        let _again = Server::start(kind, &["--port", &port.to_string()]);
        let done = run.wait();
        done.expect(0);
        let summary = done.summary();
        // The publishers and those who ask do not come back: what they were to send is dropped, not forgotten.
        assert!(summary.count("dropped") > 0);
        assert_eq!(
            summary.count("offered"),
            summary.count("sent") + summary.count("dropped") + summary.count("cancelled")
        );
    }
}
