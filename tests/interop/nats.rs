//! Debian's `nats-server` as the broker between squall and its gateway: messages are published into it, and counted at the
//! gateway's subscribers; and its own listener for WebSockets, by the preset `nats`.

use crate::fails_only;
use crate::harness::{Done, Lab};
use crate::servers::{self, Ends, certificates};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;

/// A server with these lines in its configuration, on a free port of its own.
fn broker(folder: &Path, lines: &str) -> (Ends, u16) {
    let file = folder.join("nats.conf");
    std::fs::write(&file, lines).unwrap();
    servers::on_free_port(
        "nats-server",
        |command, port| {
            command
                .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
                .arg(&file);
        },
        answers,
    )
}

/// The same server again, on the port that it had.
fn again(folder: &Path, port: u16) -> Ends {
    let mut command = std::process::Command::new("timeout");
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/sbin"))
        .args(["600", "nats-server"]);
    command
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
        .arg(folder.join("nats.conf"));
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    Ends(command.spawn().expect("nats-server"))
}

/// Kills it as a power cut would: with what stands before it, which is in its process group.
pub fn kill_at_once(broker: Ends) {
    let group = Pid::from_raw(-broker.0.id().cast_signed());
    kill(group, Signal::SIGKILL).expect("it is there");
    drop(broker);
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).is_ok() && answer == *b"INFO "
}

/// 30 subscribers and three publishers: a message has the 10 of its room.
fn scenario(consume: &str, inject: &str, length: &str, gates: &str) -> String {
    format!(
        "
name: nats
target: {{ embedded: {{ consume: {{ nats: {{ {consume} }} }} }} }}
clients:
  subscribers:
    count: 30
    vars: {{ room: {{ cycle: [red, green, blue] }} }}
    subscribe: ['orders.{{room}}']
inject:
  orders:
    nats: {{ subject: 'squall.{{topic}}', {inject} }}
    topic: 'orders.{{room}}'
    publishers: 3
    vars: {{ room: {{ cycle: [red, green, blue] }} }}
    rate: 150/s
    size: 200B
    in: steady
phases:
  - {{ name: ramp, for: 1s }}
  - {{ name: steady, for: {length} }}
gates: [{gates}]
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100%, drain: 10s }}
"
    )
}

const EXACT: &str = "opened == 32, failed == 0, sent == 300, lost == 0, duplicated == 0, reordered == 0, received == 3000, 'latency p90 < 20s'";

/// Everything due was sent, dropped or cancelled, and subscribers are owed what was sent and nothing else.
pub fn adds_up(done: &Done) {
    let summary = done.summary();
    let count = |name: &str| summary.count(name);
    assert_eq!(
        count("offered"),
        count("sent") + count("dropped") + count("cancelled")
    );
    assert_eq!(count("expected"), 10 * count("sent"));
    assert_eq!(
        count("unique") + count("lost") + count("missed"),
        count("expected")
    );
}

#[test]
fn what_is_published_into_nats_is_delivered_and_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = broker(folder.path(), "");
    let at = format!("url: 'nats://127.0.0.1:{port}'");
    let consume = format!("{at}, subject: 'squall.>'");
    let done = Lab::new(&scenario(&consume, &at, "2s", EXACT)).run(&[]);
    done.expect(0);
    adds_up(&done);
    // Core NATS acknowledges nothing, and nothing is claimed of it.
    assert_eq!(done.summary().count("acked"), 0);
    assert_eq!(done.summary().number("/timers/latency/count"), 3000.0);
}

/// Each consumes for its own subscribers: between them everybody is reached, and nobody twice.
#[test]
fn several_gateways_fan_out_what_is_published_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = broker(folder.path(), "");
    let server = format!("nats://127.0.0.1:{port}");
    let gateway =
        || servers::gateway(&["--consume-nats", &server, "--consume-subject", "squall.>"]);
    let ((_one, first), (_other, second)) = (gateway(), gateway());
    let at = format!("url: '{server}'");
    let scenario = scenario("", &at, "2s", EXACT);
    let embedded = "{ embedded: { consume: { nats: {  } } } }";
    assert!(scenario.contains(embedded), "{scenario}");
    let both = format!("{{ url: ['ws://{first}/', 'ws://{second}/'] }}");
    let done = Lab::new(&scenario.replace(embedded, &both)).run(&[]);
    done.expect(0);
    adds_up(&done);
    let summary = done.summary();
    let endpoints = summary.at("/endpoints").as_array().expect("a list");
    let opened: Vec<&Value> = endpoints.iter().map(|at| &at["opened"]).collect();
    assert_eq!(opened, [15, 15], "{endpoints:?}");
}

#[test]
fn jetstream_acknowledges_and_its_latency_has_gates() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("js");
    let lines = format!("jetstream {{ store_dir: '{}' }}", store.display());
    let (_broker, port) = broker(folder.path(), &lines);
    let at = format!("url: 'nats://127.0.0.1:{port}'");
    let consume = format!("{at}, subject: 'squall.>', stream: SQUALL");
    let inject = format!("{at}, jetstream: true");
    let gates = format!("{EXACT}, acked == 300, unacked == 0, rejected == 0, 'ack p90 < 20s'");
    let done = Lab::new(&scenario(&consume, &inject, "2s", &gates)).run(&[]);
    done.expect(0);
    adds_up(&done);
    assert_eq!(done.summary().number("/timers/ack/count"), 300.0);

    // The same with a budget that nobody keeps.
    let gates = format!("{EXACT}, 'ack p50 < 1us'");
    let done = Lab::new(&scenario(&consume, &inject, "2s", &gates)).run(&[]);
    done.expect(99);
    adds_up(&done);
}

#[test]
fn what_a_lost_broker_never_took_is_dropped_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("js");
    let lines = format!("jetstream {{ store_dir: '{}' }}", store.display());
    let (broker, port) = broker(folder.path(), &lines);
    let at = format!("url: 'nats://127.0.0.1:{port}'");
    let consume = format!("{at}, subject: 'squall.>', stream: SQUALL");
    let inject = format!("{at}, jetstream: true");
    let gates = "dropped > 0, lost == 0, duplicated == 0, reordered == 0, reconnected == 2 of orders, unacked == 0";
    let lab = Lab::new(&scenario(&consume, &inject, "6s", gates));
    let run = lab.start(&[]);
    run.wait_for("messages", |line| {
        line.contains("steady") && !line.contains(" sent      0/s")
    });
    kill_at_once(broker);
    // Time for something to be due meanwhile: the rate is 150/s.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let _again = again(folder.path(), port);
    let done = run.wait();
    done.expect(0);
    adds_up(&done);
    let summary = done.summary();
    assert_eq!(summary.count("acked"), summary.count("sent"));
    assert_eq!(summary.at("/groups/1/name"), "orders");
}

#[test]
fn a_broker_that_is_gone_for_good_is_no_loss_of_the_services() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, port) = broker(folder.path(), "");
    let at = format!("url: 'nats://127.0.0.1:{port}'");
    let consume = format!("{at}, subject: 'squall.>'");
    let gates = "dropped > 0, lost == 0, sent > 0, gave_up == 2 of orders, resent == 0";
    let lab = Lab::new(&scenario(&consume, &at, "4s", gates));
    let run = lab.start(&[]);
    run.wait_for("messages", |line| {
        line.contains("steady") && !line.contains(" sent      0/s")
    });
    // Asked to end it hands out what it has.
    broker.end(Signal::SIGTERM);
    let done = run.wait();
    done.expect(0);
    adds_up(&done);
}

#[test]
fn tls_and_credentials_open_it_and_wrong_ones_do_not() {
    let lab = Lab::new("");
    certificates(lab.path());
    let file = |name: &str| lab.path().join(name).display().to_string();
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let lines = format!(
        "tls {{ cert_file: '{}', key_file: '{}' }}\nallow_non_tls: true\nauthorization {{ users: [ {{ user: me, password: 'p@ss' }}, {{ nkey: {public} }} ] }}",
        file("cert.pem"),
        file("key.pem"),
    );
    let (_broker, port) = broker(lab.path(), &lines);
    let creds = format!("-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n");
    let consume = format!("url: 'nats://me:p%40ss@127.0.0.1:{port}', subject: 'squall.>'");
    let tls = format!("url: 'tls://127.0.0.1:{port}', tls: {{ ca: ca.pem }}");
    let secret = format!("{tls}, user: me, password: 'p@ss'");
    let key = format!("{tls}, credentials: me.creds");
    for inject in [secret.as_str(), &key] {
        let lab = Lab::new(&scenario(&consume, inject, "2s", EXACT));
        std::fs::copy(file("ca.pem"), lab.path().join("ca.pem")).unwrap();
        std::fs::write(lab.path().join("me.creds"), &creds).unwrap();
        let done = lab.run(&[]);
        done.expect(0);
        adds_up(&done);
    }
    for (inject, failure) in [
        (secret.replace("p@ss", "wrong"), "step"),
        (secret.replace("ca.pem", "other.pem"), "tls"),
    ] {
        let lab = Lab::new(&scenario(&consume, &inject, "2s", "sent == 300"));
        for name in ["ca.pem", "other.pem"] {
            std::fs::copy(file(name), lab.path().join(name)).unwrap();
        }
        let done = lab.run(&[]);
        done.expect(99);
        let summary = done.summary();
        assert_eq!(summary.count("dropped"), 300);
        assert!(summary.number(&format!("/failures/{failure}")) > 0.0);
    }
}

/// 20 subscribers in two rooms, and 2 publishers: a message has the 10 of its room, and the one who hears all. The server pings each second. Core
/// NATS keeps nothing for those who are away.
const SOCKETS: &str = "
name: nats-ws
target: { url: 'ws://127.0.0.1:PORT/' }
clients:
  subs:
    count: 20
    protocol: nats
    vars: &rooms { room: { cycle: [red, blue] } }
    subscribe: ['news.{room}', idle]
    heartbeat: { every: 1s, timeout: 20s }
    reconnect: { backoff: constant, base: 300ms }
  all: { count: 1, protocol: nats, subscribe: ['news.>'] }
  pubs:
    count: 2
    protocol: nats
    vars: *rooms
    publish: { topic: 'news.{room}', rate: 200/s, size: { uniform: [48B, 3KiB] }, in: [steady, cut] }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 1s }
  - { name: cut, for: 2s, faults: [ { drop: { clients: subs, share: 50%, how: reset } } ] }
  - { name: rest, for: 1s }
gates:
  - opened == 33
  - sent == 600
  - expected == 6600
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - unstamped == 0
  - received == 2200 in steady
  - received == 600 of all
  - missed > 0 of subs
  - reconnected == 10
  - failed == 0
  - errors == 0
  - pings_answered > 20
  - missed == 0
generator: { shards: 2, max_lag: 50s, max_cpu: 100% }
";

#[test]
fn the_preset_speaks_nats_over_websocket() {
    let folder = tempfile::tempdir().unwrap();
    let port = servers::free_port();
    let lines = format!(
        "ping_interval: 1s\nwebsocket {{ listen: '127.0.0.1:{port}', no_tls: true }}\nauthorization {{ users: [ {{ user: u, password: p, permissions: {{ subscribe: {{ deny: forbidden }} }} }} ] }}\nno_auth_user: u"
    );
    let (_broker, _) = broker(folder.path(), &lines);
    let sockets = SOCKETS.replace("PORT", &port.to_string());
    let done = Lab::new(&sockets).run(&[]);
    let summary = fails_only(&done, "missed == 0");
    let count = |name: &str| summary.count(name);
    assert_eq!(count("unique") + count("missed"), 6600);

    // What may not be subscribed to is refused, and said so.
    let forbidden = sockets
        .replace("idle]", "forbidden]")
        .replace("    reconnect: { backoff: constant, base: 300ms }\n", "");
    let gates = r#"gates=["failed denied == 20", "opened == 3"]"#;
    let phases = r#"phases=[{ name: steady, for: 1s }]"#;
    let forbidden = forbidden.replace("[steady, cut]", "steady");
    let done = Lab::new(&forbidden).run(&["--set", gates, "--set", phases]);
    let summary = done.expect(0).summary();
    let samples = summary.at("/samples").to_string();
    assert!(samples.contains("Permissions Violation"), "{samples}");
}
