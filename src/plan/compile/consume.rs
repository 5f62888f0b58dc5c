//! The broker that the embedded gateway consumes from: settings that could not mean anything.

use super::{Problems, target};
use crate::broker::{KafkaConfig, NatsConfig, RabbitMqConfig};
use crate::scenario::Problem;
use crate::scenario::model::{ConsumeKafka, ConsumeNats, ConsumeRabbitMq, Embedded};

/// What the gateway consumes from.
pub(super) fn compile(embedded: &Embedded, problems: &mut Problems) {
    let Some(consume) = &embedded.consume else {
        return;
    };
    let path = "target.embedded.consume";
    let given = [
        consume.nats.is_some(),
        consume.rabbitmq.is_some(),
        consume.kafka.is_some(),
    ];
    match given.iter().filter(|given| **given).count() {
        0 => {
            let problem = Problem::error(path, "there is no broker to consume from");
            problems.add(
                problem
                    .help(
                        "give its address and what is read there as `nats`, `rabbitmq` or `kafka`",
                    )
                    .on_key(),
            );
            return;
        }
        1 => {}
        _ => problems.add(Problem::error(path, "it consumes from one broker only").on_key()),
    }
    if let Some(of) = &consume.nats {
        nats(of, &format!("{path}.nats"), problems);
    }
    if let Some(of) = &consume.rabbitmq {
        rabbitmq(of, &format!("{path}.rabbitmq"), problems);
    }
    if let Some(of) = &consume.kafka {
        kafka(of, &format!("{path}.kafka"), problems);
    }
    if target::nodes(embedded) > 1 {
        let problem = Problem::error(path, "a gateway of several nodes does not consume");
        problems.add(
            problem
                .help("each node would have all of it; use one node")
                .on_key(),
        );
    }
    if embedded
        .history
        .as_ref()
        .is_some_and(|history| history.store.is_some())
    {
        let message = "a gateway whose history is in a store does not consume";
        problems.add(Problem::error(path, message).on_key());
    }
}

fn nats(nats: &ConsumeNats, path: &str, problems: &mut Problems) {
    if let Err((message, help)) = NatsConfig::address(&nats.url) {
        problems.add(Problem::error(format!("{path}.url"), message).help(help));
    }
    let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace());
    if !plain(&nats.subject) {
        problems.add(Problem::error(
            format!("{path}.subject"),
            "a subject is words joined by `.`, without white space",
        ));
    }
    let named = |name: &String| plain(name) && !name.contains(['.', '*', '>']);
    if !nats.stream.as_ref().is_none_or(named) {
        problems.add(Problem::error(
            format!("{path}.stream"),
            "a stream's name has no `.`, `*`, `>` or white space",
        ));
    }
}

fn rabbitmq(of: &ConsumeRabbitMq, path: &str, problems: &mut Problems) {
    if let Err((message, help)) = RabbitMqConfig::address(&of.url) {
        problems.add(Problem::error(format!("{path}.url"), message).help(help));
    }
    if of.exchange.as_ref().is_some_and(String::is_empty) {
        let problem = Problem::error(format!("{path}.exchange"), "nothing is bound to it");
        problems.add(problem.help("the default exchange has no bindings; name another"));
    }
    let names = [
        ("exchange", of.exchange.as_ref()),
        ("binding", Some(&of.binding)),
        ("queue", of.queue.as_ref()),
    ];
    for (key, name) in names {
        if name.is_some_and(|name| name.len() > 255) {
            let message = "a name has at most 255 bytes";
            problems.add(Problem::error(format!("{path}.{key}"), message));
        }
    }
    if of.queue.as_ref().is_some_and(String::is_empty) {
        let problem = Problem::error(format!("{path}.queue"), "a queue that stays has a name");
        problems.add(problem.help("left out, there is one that goes with the connection"));
    }
}

fn kafka(kafka: &ConsumeKafka, path: &str, problems: &mut Problems) {
    if let Err((message, help)) = KafkaConfig::address(&kafka.bootstrap, false) {
        problems.add(Problem::error(format!("{path}.bootstrap"), message).help(help));
    }
    if !KafkaConfig::is_topic(&kafka.topic) {
        let problem = Problem::error(format!("{path}.topic"), "Kafka takes no such name");
        problems.add(problem.help("letters, digits, `.`, `_` and `-`, 249 at most"));
    }
    if kafka.partitions.is_some_and(|p| !(1..=1000).contains(&p.0)) {
        let message = "a topic is made with 1 to 1,000 partitions";
        problems.add(Problem::error(format!("{path}.partitions"), message));
    }
}
