//! tansu, which speaks Kafka's protocol, as the broker between squall and its gateway: messages are written into a topic of it,
//! and counted at the gateway's subscribers.

use crate::harness::Lab;
use crate::nats::{adds_up, kill_at_once};
use crate::servers::{self, Ends, certificates};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// `ci/test` installs it.
const PROGRAM: &str = "tansu";

fn configured(command: &mut Command, port: u16, advertised: u16) {
    command
        .args([
            "broker",
            "--listener-url",
            &format!("tcp://127.0.0.1:{port}"),
        ])
        .args([
            "--advertised-listener-url",
            &format!("tcp://127.0.0.1:{advertised}"),
        ])
        .args(["--storage-engine", "memory://tansu/"]);
}

/// A broker on a free port of its own.
fn broker() -> (Ends, u16) {
    servers::on_free_port(
        PROGRAM,
        |command, port| configured(command, port, port),
        answers,
    )
}

/// Whether it says what it speaks.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    // ApiVersions, version 0, request 1, of nobody.
    let ask = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let mut answer = [0; 8];
    stream.write_all(&ask).is_ok() && stream.read_exact(&mut answer).is_ok()
}

/// 30 subscribers and three publishers: a message has the 10 of its room.
fn scenario(consume: &str, inject: &str, length: &str, gates: &str) -> String {
    format!(
        "
name: kafka
target: {{ embedded: {{ {consume} }} }}
clients:
  subscribers:
    count: 30
    vars: {{ room: {{ cycle: [red, green, blue] }} }}
    subscribe: ['orders.{{room}}']
inject:
  orders:
    kafka: {{ {inject} }}
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

#[test]
fn what_is_written_into_kafka_is_delivered_and_counted_exactly() {
    let (_broker, port) = broker();
    let at = format!("bootstrap: '127.0.0.1:{port}'");
    let consume = format!("consume: {{ kafka: {{ {at}, topic: orders }} }}");
    let keyed = format!("{at}, topic: orders, key: '{{topic}}'");
    let gates = format!("{EXACT}, acked == 300, unacked == 0, rejected == 0, resent == 0");
    let all = format!("{gates}, 'ack p90 < 20s'");
    let done = Lab::new(&scenario(&consume, &keyed, "2s", &all)).run(&[]);
    done.expect(0);
    adds_up(&done);
    assert_eq!(done.summary().number("/timers/ack/count"), 300.0);
    assert_eq!(done.summary().number("/timers/latency/count"), 3000.0);

    // The leader alone, and a budget that nobody keeps. What is there from before stays where it is.
    let inject = format!("{keyed}, acks: 1");
    let none = format!("{gates}, 'ack p50 < 1us'");
    let done = Lab::new(&scenario(&consume, &inject, "2s", &none)).run(&[]);
    done.expect(99);
    adds_up(&done);
    assert_eq!(done.summary().count("received"), 3000);
    assert_eq!(done.summary().count("acked"), 300);

    // Nobody acknowledges anything, and nothing is claimed of it.
    let inject = format!("{keyed}, acks: 0, linger: 50ms");
    let done = Lab::new(&scenario(&consume, &inject, "2s", EXACT)).run(&[]);
    done.expect(0);
    adds_up(&done);
    assert_eq!(done.summary().count("acked"), 0);
}

#[test]
fn after_a_broker_was_killed_what_it_never_took_is_dropped_and_the_rest_comes() {
    let (broker, port) = broker();
    let at = format!("bootstrap: '127.0.0.1:{port}'");
    let consume = format!("consume: {{ kafka: {{ {at}, topic: orders }} }}");
    let inject = format!("{at}, topic: orders, key: '{{topic}}'");
    let gates = "dropped > 0, reordered == 0, reconnected >= 2 of orders, unacked == 0";
    let lab = Lab::new(&scenario(&consume, &inject, "6s", gates));
    let run = lab.start(&[]);
    run.wait_for("messages", |line| {
        line.contains("steady") && !line.contains(" sent      0/s")
    });
    kill_at_once(broker);
    // Time for something to be due meanwhile: the rate is 150/s.
    std::thread::sleep(Duration::from_millis(700));
    let mut command = Command::new("timeout");
    command.args(["600", PROGRAM]);
    configured(&mut command, port, port);
    let quiet = std::process::Stdio::null;
    command.stdout(quiet()).stderr(quiet());
    let _again = Ends(command.spawn().unwrap());
    let done = run.wait();
    done.expect(0);
    adds_up(&done);
    // Each shard came back; and once more where the new broker did not know the name that the old one gave.
    let summary = done.summary();
    let count = |name: &str| summary.count(name);
    assert_eq!(count("acked"), count("sent"));
    // It kept everything in its memory: what it had acknowledged and nobody had read is lost, and is said to be; what it had
    // taken and had not said so was written again. So neither is 0 for sure; but all that came after is there.
    assert!(count("duplicated") <= 10 * count("resent"));
    assert!(2 * count("unique") > count("expected"));
}

/// A broker that asks who one is knows nobody here (tansu makes users only where nobody is asked, and does not keep them): what it says of
/// that is told, each time that it is tried.
#[test]
fn who_is_not_known_to_the_broker_is_told_so() {
    let (_broker, port) = servers::on_free_port(
        PROGRAM,
        |command, port| {
            configured(command, port, port);
            command.arg("--authentication");
        },
        answers,
    );
    let at = format!("bootstrap: '127.0.0.1:{port}', topic: orders");
    let login = format!("{at}, user: bench, password: hidden-7f3a, mechanism: scram_sha_256");
    let done = Lab::new(&scenario("", &login, "1s", "dropped == 150, sent == 0")).run(&[]);
    done.expect(0);
    let told = "the login failed: unknown-user";
    assert!(done.stdout.contains(told), "{}", done.stdout);
    assert!(!done.stdout.contains("hidden-7f3a"), "{}", done.stdout);
    // Who says nothing of itself is sent away.
    let done = Lab::new(&scenario("", &at, "1s", "dropped == 150, sent == 0")).run(&[]);
    done.expect(0);
    assert_eq!(done.summary().count("acked"), 0);
}

#[test]
fn brokers_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    // HAProxy speaks TLS for the broker, which says that it is to be found there.
    let front = servers::free_port();
    let (_broker, behind) = servers::on_free_port(
        PROGRAM,
        |command, port| configured(command, port, front),
        answers,
    );
    let pem = ["cert.pem", "key.pem"].map(|name| std::fs::read_to_string(file(name)).unwrap());
    std::fs::write(file("both.pem"), pem.concat()).unwrap();
    let lines = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\nlisten kafka\n bind 127.0.0.1:{front} ssl crt {}\n server tansu 127.0.0.1:{behind}\n",
        file("both.pem").display()
    );
    std::fs::write(file("haproxy.cfg"), lines).unwrap();
    let mut command = Command::new("timeout");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command
        .args(["600", "haproxy", "-db", "-f"])
        .arg(file("haproxy.cfg"));
    let _front = Ends(command.spawn().unwrap());
    let mut make = Command::new(PROGRAM);
    make.args([
        "topic",
        "create",
        "orders",
        "--broker",
        &format!("tcp://127.0.0.1:{behind}"),
    ]);
    assert!(make.output().unwrap().status.success());

    let at = format!("bootstrap: '127.0.0.1:{front}', topic: orders");
    let run = |tls: &str, gates: &str| {
        let inject = format!("{at}, tls: {{ {tls} }}");
        let lab = Lab::new(&scenario("", &inject, "2s", gates));
        for name in ["ca.pem", "other.pem"] {
            std::fs::copy(file(name), lab.path().join(name)).unwrap();
        }
        lab.run(&[])
    };
    // The gateway consumes from nothing: what the broker has acknowledged is what is shown here.
    let done = run(
        "ca: ca.pem",
        "sent == 300, acked == 300 of orders, failed == 0",
    );
    done.expect(0);
    let done = run("ca: other.pem", "sent == 300");
    done.expect(99);
    assert_eq!(done.summary().count("dropped"), 300);
    assert!(done.summary().number("/failures/tls") > 0.0);
}
