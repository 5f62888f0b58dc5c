//! Into Kafka.

use super::{Place, Way, password};
use crate::broker::{Acks, Config, KafkaConfig, Mechanism};
use crate::plan::compile::{Problems, each, target, text};
use crate::scenario::model::{self, KafkaAcks, KafkaMechanism, OneOrMany};
use crate::scenario::{Problem, units};
use std::time::Duration;

/// A batch waits no longer: by far longer than anybody's, and than we wait for a broker that is silent.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) fn compile(kafka: &model::Kafka, place: &Place<'_>, problems: &mut Problems) -> Way {
    let at = format!("{}.kafka", place.inject);
    let topic_at = format!("{at}.topic");
    let (address, address_at) = place.address(kafka.topic.as_ref(), topic_at, problems);
    let key_at = format!("{at}.key");
    let key = kafka.key.as_ref();
    Way {
        broker: Config::Kafka(Box::new(config(kafka, &at, place, problems))),
        address,
        key: key.map(|key| text::template(key, &key_at, place.scope, problems)),
        address_at,
        wrong: topic,
    }
}

fn config(
    kafka: &model::Kafka,
    path: &str,
    place: &Place<'_>,
    problems: &mut Problems,
) -> KafkaConfig {
    let secure = kafka.tls.is_some();
    let none = OneOrMany::Many(Vec::new());
    let written = kafka.bootstrap.as_ref().unwrap_or(&none);
    let written = each(written, &format!("{path}.bootstrap"));
    if written.is_empty() {
        let problem = Problem::error(path, "there is no address");
        problems.add(problem.help("give it as `bootstrap: host:9092`").on_key());
    }
    let mut endpoints = Vec::new();
    for (path, address) in written {
        match KafkaConfig::address(address, secure) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err((message, help)) => problems.add(Problem::error(path, message).help(help)),
        }
    }
    let acks = match kafka.acks {
        KafkaAcks::All(_) => Acks::All,
        KafkaAcks::Number(1) => Acks::Leader,
        KafkaAcks::Number(0) => Acks::None,
        KafkaAcks::Number(_) => {
            let message = "acknowledged is by nobody (0), the leader (1) or `all`";
            problems.add(Problem::error(format!("{path}.acks"), message));
            Acks::All
        }
    };
    let linger = kafka.linger.map_or(Duration::from_millis(5), |l| l.0);
    if linger > LONGEST {
        let message = "a batch waits for 1s at most";
        problems.add(Problem::error(format!("{path}.linger"), message));
    }
    let batch = kafka.batch.map_or(16 << 10, |units::ByteSize(bytes)| bytes);
    if !(1..=1 << 20).contains(&batch) {
        let message = "a batch is of 1B to 1MiB";
        problems.add(Problem::error(format!("{path}.batch"), message));
    }
    let mechanism = match kafka.mechanism {
        KafkaMechanism::Plain => Mechanism::Plain,
        KafkaMechanism::Scram256 => Mechanism::Scram256,
        KafkaMechanism::Scram512 => Mechanism::Scram512,
    };
    if mechanism != Mechanism::Plain && kafka.user.is_none() {
        let path = format!("{path}.mechanism");
        problems.add(Problem::error(path, "a mechanism without a `user`"));
    }
    let (user, secret) = (kafka.user.as_ref(), kafka.password.as_ref());
    let login = password(user, secret, path, problems).unwrap_or_default();
    if user.is_some() && !secure && mechanism == Mechanism::Plain {
        let path = format!("{path}.user");
        let problem = Problem::warning(path, "without `tls` the password can be read on its way");
        problems.add(problem.help("`tls: {}`, or `mechanism: scram_sha_256`"));
    }
    KafkaConfig {
        tls: target::tls(path, "", kafka.tls.as_ref(), true, place.files, problems),
        endpoints,
        login,
        mechanism,
        topics: Vec::new(),
        acks,
        linger,
        batch: batch as usize,
    }
}

/// What is wrong with a topic.
fn topic(name: &str) -> Option<(String, &'static str)> {
    (!KafkaConfig::is_topic(name)).then(|| {
        (
            format!("`{name}` is no name of a topic in Kafka"),
            "letters, digits, `.`, `_` and `-`, 249 at most",
        )
    })
}
