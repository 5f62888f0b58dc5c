//! RabbitMQ as the broker between squall and its gateway: messages are published into it, and counted at the gateway's subscribers.
//!
//! It takes some seconds to start, so one is asked all questions.

use crate::harness::{Done, Lab};
use crate::rabbitmq::RabbitMq;
use crate::servers::{self, certificates};
use nix::sys::signal::Signal;
use std::path::Path;

/// Those of its lines that are the same whatever is asked: subscribers in three rooms, 10 each.
fn scenario(consume: &str, inject: &str, length: &str, gates: &str) -> String {
    format!(
        "
name: rabbitmq
target: {{ embedded: {{ consume: {{ rabbitmq: {{ {consume} }} }} }} }}
clients:
  subscribers:
    count: 30
    vars: {{ room: {{ cycle: [red, green, blue] }} }}
    subscribe: ['orders.{{room}}']
inject:
{inject}
phases:
  - {{ name: ramp, for: 1s }}
  - {{ name: steady, for: {length} }}
gates: [{gates}]
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100%, drain: 20s }}
"
    )
}

/// An entry with three publishers: a message has the 10 subscribers of its room.
fn entry(name: &str, rabbitmq: &str, rate: &str) -> String {
    format!(
        "  {name}: {{ rabbitmq: {{ {rabbitmq} }}, topic: 'orders.{{room}}', publishers: 3, vars: {{ room: {{ cycle: [red, green, blue] }} }}, rate: {rate}, size: 200B, in: steady }}"
    )
}

/// Everything due was sent, dropped or cancelled, each that was sent was confirmed, and subscribers are owed these and nothing else.
fn adds_up(done: &Done) {
    let summary = done.summary();
    let count = |name: &str| summary.count(name);
    assert_eq!(
        count("offered"),
        count("sent") + count("dropped") + count("cancelled")
    );
    assert_eq!(count("acked"), count("sent"));
    assert_eq!(count("expected"), 10 * count("sent"));
    assert_eq!(
        count("unique") + count("lost") + count("missed"),
        count("expected")
    );
}

#[test]
fn what_rabbitmq_confirms_is_delivered_and_counted_exactly_and_what_it_never_took_is_dropped() {
    let secure = servers::free_port();
    let mut rabbitmq = RabbitMq::with("", |port, _, folder| {
        certificates(folder);
        let file = |name: &str| folder.join(name).display().to_string();
        let lines = [
            format!("listeners.tcp.local = 127.0.0.1:{port}"),
            format!("listeners.ssl.local = 127.0.0.1:{secure}"),
            format!("ssl_options.cacertfile = {}", file("ca.pem")),
            format!("ssl_options.certfile = {}", file("cert.pem")),
            format!("ssl_options.keyfile = {}", file("key.pem")),
            "default_user = me".into(),
            "default_pass = p@ss".into(),
            "default_vhost = live".into(),
            String::new(),
        ];
        lines.join("\n")
    });
    let at = format!("amqp://me:p%40ss@127.0.0.1:{}/live", rabbitmq.port);
    let durable = format!("url: '{at}', exchange: orders, binding: 'squall.#', queue: squall");
    let key = "exchange: orders, routing_key: 'squall.{topic}', persistent: true";
    let tls = format!(
        "url: 'amqps://127.0.0.1:{secure}', user: me, password: 'p@ss', vhost: live, tls: {{ ca: ca.pem }}"
    );

    by_tls_with_a_login(&rabbitmq, &durable, &format!("{tls}, {key}"));
    with_a_wrong_password_or_exchange(&durable, &at);
    with_a_key_that_nothing_is_bound_to(&at);
    killed_under_load(&mut rabbitmq, &durable, &format!("url: '{at}', {key}"));
}

fn by_tls_with_a_login(rabbitmq: &RabbitMq, consume: &str, inject: &str) {
    let gates = "opened == 32, failed == 0, sent == 300, acked == 300, rejected == 0, unroutable == 0, lost == 0, duplicated == 0, reordered == 0, received == 3000, 'latency p90 < 20s', 'ack p90 < 20s'";
    let lab = Lab::new(&scenario(
        consume,
        &entry("orders", inject, "150/s"),
        "2s",
        gates,
    ));
    copy(&rabbitmq.folder().join("ca.pem"), &lab);
    let done = lab.run(&[]);
    done.expect(0);
    adds_up(&done);
    let summary = done.summary();
    assert_eq!(summary.number("/timers/ack/count"), 300.0);
    assert_eq!(summary.number("/timers/latency/count"), 3000.0);
}

fn copy(file: &Path, lab: &Lab) {
    let name = file.file_name().unwrap();
    std::fs::copy(file, lab.path().join(name)).unwrap();
}

/// A gate that does not hold is one of them.
fn with_a_wrong_password_or_exchange(consume: &str, at: &str) {
    let entries = [
        entry(
            "orders",
            &format!("url: '{}'", at.replace("p%40ss", "wrong")),
            "100/s",
        ),
        entry(
            "others",
            &format!("url: '{at}', exchange: nonsense"),
            "100/s",
        ),
    ];
    let lab = Lab::new(&scenario(consume, &entries.join("\n"), "1s", "sent == 200"));
    let done = lab.run(&[]);
    done.expect(99);
    let summary = done.summary();
    assert_eq!(summary.count("dropped"), 200);
    assert_eq!(summary.count("expected"), 0);
    assert!(summary.number("/failures/step") > 0.0);
    let samples = summary.at("/samples").to_string();
    for why in [
        "403 ACCESS_REFUSED",
        "404 NOT_FOUND - no exchange 'nonsense'",
    ] {
        assert!(samples.contains(why), "{samples}");
    }
}

/// Beside one that something is bound to, by a queue that goes with its connection. Nothing is kept on disk.
fn with_a_key_that_nothing_is_bound_to(at: &str) {
    let consume = format!("url: '{at}', binding: 'squall.*.*'");
    let inject = |key: &str| format!("url: '{at}', routing_key: '{key}.{{topic}}'");
    let entries = [
        entry("orders", &inject("squall"), "150/s"),
        entry("nowhere", &inject("nowhere"), "30/s"),
    ];
    let gates = "sent == 360, acked == 360, unroutable == 60 of nowhere, unroutable == 0 of orders, unique == 3000, lost == 600, duplicated == 0";
    let lab = Lab::new(&scenario(&consume, &entries.join("\n"), "2s", gates));
    let done = lab.run(&[]);
    done.expect(0);
    adds_up(&done);
    let samples = done.summary().at("/samples").to_string();
    assert!(samples.contains("`nowhere.orders."), "{samples}");
}

fn killed_under_load(rabbitmq: &mut RabbitMq, consume: &str, inject: &str) {
    let lab = Lab::new(&scenario(
        consume,
        &entry("orders", inject, "150/s"),
        "170s",
        "dropped > 0, lost == 0, unroutable == 0, reconnected == 2 of orders",
    ));
    let mut run = lab.start(&[]);
    let flows = |line: &str| line.contains("steady") && !line.contains(" sent      0/s");
    run.wait_for("messages", flows);
    rabbitmq.kill();
    // Something is due meanwhile: the rate is 150/s.
    run.wait_for("silence", |line| line.contains(" sent      0/s"));
    rabbitmq.again();
    run.wait_for("messages again", flows);
    run.wait_for("a second more", flows);
    run.signal(Signal::SIGINT);
    let done = run.wait();
    adds_up(&done);
    let summary = done.summary();
    let count = |name: &str| summary.count(name);
    assert!(count("dropped") > 0);
    assert_eq!((count("lost"), count("unacked")), (0, 0));
    assert_eq!(count("reconnected"), 2, "each shard came back");
    // What came twice was written twice, or had come and was not acknowledged when the broker died.
    assert!(
        count("duplicated") <= 10 * (count("resent") + 1000),
        "{summary:?}"
    );
}
