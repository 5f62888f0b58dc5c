//! Publishing into a broker: what `check` says of what is missing or misplaced, and where.

use super::*;

/// A scenario with this entry, beside an embedded gateway with these settings.
pub(super) fn with(entry: &str, embedded: &str) -> String {
    format!(
        "name: t\ntarget: {{ embedded: {{ {embedded} }} }}\nclients:\n  subs: {{ count: 2, subscribe: [orders, a b] }}\ninject:\n  bus: {entry}\nphases: [ {{ name: a, for: 2s }}, {{ name: b, for: 3s }} ]\ngates: [ 'sent == 1 of bus' ]\n"
    )
}

pub(super) fn parsed(text: &str) -> Scenario {
    let value: Value = serde_yaml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    serde_json::from_value(value).unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub(super) fn errors(text: &str) -> Vec<Problem> {
    compile(&parsed(text), &files(), &machine())
        .err()
        .unwrap_or_default()
}

#[test]
fn an_entry_is_a_group_behind_the_clients() {
    let text = with(
        "{ nats: { url: ['nats://me:pw@h:1', 'nats://me:pw@i'], subject: 'x.{topic}.{n}', jetstream: true }, topic: orders, publishers: 3, vars: { n: { sequence: 7 } }, rate: 30/s, in: b }",
        "",
    );
    let plan = compile(&parsed(&text), &files(), &machine())
        .expect("it is right")
        .plan;
    let group = &plan.groups()[1];
    assert_eq!(
        (group.name.as_str(), group.first, group.count),
        ("bus", 2, 3)
    );
    assert!(group.opening.knots.is_empty());
    assert_eq!((plan.clients(), plan.connections()), (2, 5));
    assert_eq!(
        group.publish[0].profile.segments[0].start,
        Duration::from_secs(2)
    );
    let inject = group.inject.as_ref().unwrap();
    let crate::broker::Config::Nats(nats) = &inject.broker else {
        panic!("it is NATS");
    };
    assert_eq!((nats.endpoints.len(), nats.jetstream), (2, true));
    assert_eq!(nats.endpoints[1].port, 4222);
    assert_eq!(
        nats.login,
        crate::broker::Login::Password("me".into(), "pw".into())
    );
    // A plan travels to shards.
    let bytes = postcard::to_stdvec(&plan).unwrap();
    let again: Plan = postcard::from_bytes(&bytes).unwrap();
    assert!(again.groups()[1].inject.is_some());
}

#[test]
fn rabbitmq_is_reached_as_it_is_written() {
    let broker = |rabbitmq: &str| {
        let text = with(
            &format!("{{ rabbitmq: {{ {rabbitmq} }}, topic: orders, rate: 1/s }}"),
            "consume: { rabbitmq: { url: 'amqp://h', binding: 'a.#' } }",
        );
        let plan = compile(&parsed(&text), &files(), &machine());
        let plan = plan.unwrap_or_else(|e| panic!("{rabbitmq}: {e:#?}")).plan;
        let inject = plan.groups()[1].inject.clone().unwrap();
        let crate::broker::Config::RabbitMq(config) = inject.broker else {
            panic!("it is RabbitMQ");
        };
        *config
    };
    let plain = broker("url: 'amqp://h'");
    assert_eq!(
        (plain.exchange.as_str(), plain.vhost.as_str()),
        ("amq.topic", "/")
    );
    assert_eq!((plain.mandatory, plain.persistent), (true, false));
    assert_eq!(plain.login, crate::broker::Login::Nobody);
    let all = broker(
        "url: ['amqp://me:pw@h/live', 'amqps://i'], exchange: '', vhost: live, routing_key: 'x.{topic}', mandatory: false, persistent: true",
    );
    let ports: Vec<u16> = all.endpoints.iter().map(|e| e.port).collect();
    assert_eq!(ports, [5672, 5671]);
    assert_eq!((all.exchange.as_str(), all.vhost.as_str()), ("", "live"));
    assert_eq!((all.mandatory, all.persistent), (false, true));
    let login = crate::broker::Login::Password("me".into(), "pw".into());
    assert_eq!(all.login, login);
}

#[test]
fn what_is_wrong_has_a_place() {
    let ok = "topic: orders, rate: 1/s";
    let table = [
        (
            "{ topic: orders, rate: 1/s }",
            "",
            "inject.bus",
            "no broker",
        ),
        (
            &format!("{{ nats: {{}}, {ok} }}")[..],
            "",
            "inject.bus.nats",
            "no address",
        ),
        (
            &format!("{{ nats: {{ url: 'http://h' }}, {ok} }}")[..],
            "",
            "inject.bus.nats.url",
            "neither `nats` nor `tls`",
        ),
        (
            &format!("{{ nats: {{ url: ['nats://h', h] }}, {ok} }}")[..],
            "",
            "inject.bus.nats.url[1]",
            "no scheme",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h' }}, rabbitmq: {{ url: 'amqp://h' }}, {ok} }}")[..],
            "",
            "inject.bus",
            "more than one broker",
        ),
        (
            &format!("{{ rabbitmq: {{ url: 'nats://h' }}, {ok} }}")[..],
            "",
            "inject.bus.rabbitmq.url",
            "neither `amqp` nor `amqps`",
        ),
        (
            &format!("{{ rabbitmq: {{ url: 'amqp://a:b@h', user: x }}, {ok} }}")[..],
            "",
            "inject.bus.rabbitmq",
            "exclude each other",
        ),
        (
            &format!("{{ rabbitmq: {{ url: 'amqp://h/a', vhost: b }}, {ok} }}")[..],
            "",
            "inject.bus.rabbitmq",
            "differ",
        ),
        (
            &format!(
                "{{ rabbitmq: {{ url: 'amqp://h', routing_key: {} }}, {ok} }}",
                "k".repeat(256)
            )[..],
            "",
            "inject.bus.rabbitmq.routing_key",
            "256 bytes",
        ),
        (
            &format!("{{ rabbitmq: {{ url: 'amqp://h' }}, {ok} }}")[..],
            "consume: { rabbitmq: { url: 'amqp://h', exchange: '', binding: 'a.#' } }",
            "target.embedded.consume.rabbitmq.exchange",
            "nothing is bound",
        ),
        (
            &format!("{{ rabbitmq: {{ url: 'amqp://h' }}, {ok} }}")[..],
            "consume: { nats: { url: 'nats://h', subject: a }, rabbitmq: { url: 'amqp://h', binding: a } }",
            "target.embedded.consume",
            "one broker only",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h', password: x }}, {ok} }}")[..],
            "",
            "inject.bus.nats.password",
            "without a `user`",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://a:b@h', token: x }}, {ok} }}")[..],
            "",
            "inject.bus.nats",
            "exclude each other",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h', subject: 'a.>' }}, {ok} }}")[..],
            "",
            "inject.bus.nats.subject",
            "no subject",
        ),
        (
            "{ nats: { url: 'nats://h' }, topic: a b, rate: 1/s }",
            "",
            "inject.bus.topic",
            "no subject",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h', subject: '{{what}}' }}, {ok} }}")[..],
            "",
            "inject.bus.nats.subject",
            "what",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h' }}, publishers: 0, {ok} }}")[..],
            "",
            "inject.bus.publishers",
            "more than 0",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h' }}, in: c, {ok} }}")[..],
            "",
            "inject.bus.in",
            "phase",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h' }}, {ok} }}")[..],
            "consume: {}",
            "target.embedded.consume",
            "no broker",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h' }}, {ok} }}")[..],
            "nodes: 2, consume: { nats: { url: 'nats://h', subject: 'a.>' } }",
            "target.embedded.consume",
            "several nodes",
        ),
        (
            &format!("{{ nats: {{ url: 'nats://h' }}, {ok} }}")[..],
            "consume: { nats: { url: h, subject: 'a.>' } }",
            "target.embedded.consume.nats.url",
            "no scheme",
        ),
    ];
    for (entry, embedded, path, message) in table {
        let problems = errors(&with(entry, embedded));
        let found = problems
            .iter()
            .any(|p| p.path == path && p.message.contains(message));
        assert!(found, "{entry} {embedded}: {problems:#?}");
    }
    let twice =
        with(&format!("{{ nats: {{ url: 'nats://h' }}, {ok} }}"), "").replace("  bus:", "  subs:");
    let problems = errors(&twice);
    assert!(
        problems.iter().any(|p| p.path == "inject.subs"),
        "{problems:#?}"
    );
}
