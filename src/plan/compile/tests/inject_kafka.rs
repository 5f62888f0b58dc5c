//! Publishing into Kafka: what a plan holds of it, and what `check` says of what is wrong.

use super::inject::{errors, parsed, with};
use super::*;
use crate::broker::{Acks, Config, Login, Mechanism};

#[test]
fn topics_and_keys_are_known_before_the_run() {
    let entry = "{ kafka: { bootstrap: ['h:1', i], topic: 'x.{n}', key: '{topic}-{n}', acks: 1, linger: 20ms, batch: 4KiB, user: me, password: pw, mechanism: scram_sha_512, tls: {} }, topic: orders, publishers: 5, vars: { n: { cycle: [b, a] } }, rate: 30/s }";
    let plan = compile(&parsed(&with(entry, "")), &files(), &machine());
    let plan = plan.expect("it is right").plan;
    let inject = plan.groups()[1].inject.as_ref().unwrap();
    assert!(inject.key.is_some());
    let Config::Kafka(kafka) = &inject.broker else {
        panic!("it is Kafka");
    };
    assert_eq!(kafka.topics, ["x.a", "x.b"]);
    assert_eq!((kafka.acks, kafka.batch), (Acks::Leader, 4096));
    assert_eq!(kafka.linger, Duration::from_millis(20));
    assert_eq!(kafka.mechanism, Mechanism::Scram512);
    assert_eq!(kafka.login, Login::Password("me".into(), "pw".into()));
    assert!(kafka.endpoints.iter().all(|endpoint| endpoint.tls));
    assert_eq!(kafka.endpoints[1].port, 9092);
    assert!(inject.broker.acknowledges());
    // A plan travels to shards.
    let bytes = postcard::to_stdvec(&plan).unwrap();
    assert!(postcard::from_bytes::<Plan>(&bytes).is_ok());

    let entry = "{ kafka: { bootstrap: h, acks: 0 }, topic: orders, rate: 1/s }";
    let plan = compile(&parsed(&with(entry, "")), &files(), &machine());
    let plan = plan.expect("it is right").plan;
    let inject = plan.groups()[1].inject.as_ref().unwrap();
    assert!(!inject.broker.acknowledges() && inject.key.is_none());
    let Config::Kafka(kafka) = &inject.broker else {
        panic!("it is Kafka");
    };
    assert_eq!(kafka.topics, ["orders"]);
    assert!(!kafka.endpoints[0].tls);
}

#[test]
fn what_is_wrong_has_a_place() {
    let table = [
        ("", "", "inject.bus.kafka", "no address"),
        (
            "bootstrap: 'kafka://h'",
            "",
            "inject.bus.kafka.bootstrap",
            "cannot be read",
        ),
        (
            "bootstrap: [h, 'h:0']",
            "",
            "inject.bus.kafka.bootstrap[1]",
            "cannot be read",
        ),
        (
            "bootstrap: h, topic: 'a b'",
            "",
            "inject.bus.kafka.topic",
            "no name of a topic",
        ),
        (
            "bootstrap: h, key: '{what}'",
            "",
            "inject.bus.kafka.key",
            "what",
        ),
        (
            "bootstrap: h, acks: 2",
            "",
            "inject.bus.kafka.acks",
            "`all`",
        ),
        (
            "bootstrap: h, linger: 2s",
            "",
            "inject.bus.kafka.linger",
            "1s at most",
        ),
        (
            "bootstrap: h, batch: 2MiB",
            "",
            "inject.bus.kafka.batch",
            "1MiB",
        ),
        (
            "bootstrap: h, password: x",
            "",
            "inject.bus.kafka.password",
            "without a `user`",
        ),
        (
            "bootstrap: h, mechanism: scram_sha_256",
            "",
            "inject.bus.kafka.mechanism",
            "without a `user`",
        ),
        (
            "bootstrap: h",
            "consume: { kafka: { bootstrap: 'h:x', topic: a } }",
            "target.embedded.consume.kafka.bootstrap",
            "cannot be read",
        ),
        (
            "bootstrap: h",
            "consume: { kafka: { bootstrap: h, topic: 'a b' } }",
            "target.embedded.consume.kafka.topic",
            "no such name",
        ),
        (
            "bootstrap: h",
            "consume: { kafka: { bootstrap: h, topic: a, partitions: 0 } }",
            "target.embedded.consume.kafka.partitions",
            "1,000",
        ),
        (
            "bootstrap: h",
            "consume: { kafka: { bootstrap: h, topic: a }, nats: { url: 'nats://h', subject: a } }",
            "target.embedded.consume",
            "one broker only",
        ),
    ];
    for (kafka, embedded, path, message) in table {
        let entry = format!("{{ kafka: {{ {kafka} }}, topic: orders, rate: 1/s }}");
        let problems = errors(&with(&entry, embedded));
        let found = problems
            .iter()
            .any(|p| p.path == path && p.message.contains(message));
        assert!(found, "{entry} {embedded}: {problems:#?}");
    }
    let both = "{ kafka: { bootstrap: h }, nats: { url: 'nats://h' }, topic: orders, rate: 1/s }";
    let problems = errors(&with(both, ""));
    assert!(problems.iter().any(|p| p.message.contains("more than one")));
}
