//! Which cluster, how to be let in, and how is written there.

use crate::broker::{Endpoint, Login};
use crate::transport::TlsConfig;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How Kafka is reached and written to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KafkaConfig {
    /// Brokers that are asked, in turn, which of them leads what.
    pub endpoints: Vec<Endpoint>,
    /// Who we are: nobody, or a user with a password.
    pub login: Login,
    /// How the password is shown.
    pub mechanism: Mechanism,
    /// How brokers are verified, where they speak TLS.
    pub tls: TlsConfig,
    /// All topics that are written to, in the order of their bytes.
    pub topics: Vec<String>,
    /// Who must have a batch before it is acknowledged.
    pub acks: Acks,
    /// A batch waits so long for more.
    pub linger: Duration,
    /// Bytes at which a batch waits no longer.
    pub batch: usize,
}

impl KafkaConfig {
    /// Takes an address apart: `host:port`; without a port it is 9092.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub fn address(text: &str, tls: bool) -> Result<Endpoint, (&'static str, &'static str)> {
        let endpoint = Endpoint::of(text, 9092, tls);
        endpoint.ok_or((
            "host or port of the address cannot be read",
            "write it as host:port",
        ))
    }

    /// Whether Kafka takes this for a topic's name.
    pub fn is_topic(name: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        (1..=249).contains(&name.len()) && name.chars().all(plain) && name != "." && name != ".."
    }
}

/// Who must have a batch before it is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acks {
    /// Nobody: nothing is acknowledged.
    None,
    /// The partition's leader.
    Leader,
    /// All of its replicas that are in step.
    #[default]
    All,
}

impl Acks {
    /// As it is written to the broker.
    pub fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// How a password is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// As it is.
    #[default]
    Plain,
    /// SCRAM-SHA-256: by what can only be computed of it.
    Scram256,
    /// SCRAM-SHA-512.
    Scram512,
}

impl Mechanism {
    /// Its name at the broker.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram256 => "SCRAM-SHA-256",
            Mechanism::Scram512 => "SCRAM-SHA-512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, host, port) in [
            ("broker", "broker", 9092),
            ("broker:1", "broker", 1),
            ("[::1]:4000", "::1", 4000),
        ] {
            let endpoint = KafkaConfig::address(text, true).unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
            assert!(endpoint.tls);
        }
        for wrong in [
            "",
            "kafka://h:1",
            "u:p@h:1",
            "h:0",
            "h:x",
            "a:1,b:1",
            "h:70000",
        ] {
            assert!(KafkaConfig::address(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_topics_are_kafkas() {
        for (name, right) in [
            ("orders", true),
            ("a.b_c-D9", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a b", false),
            ("a/b", false),
            ("é", false),
        ] {
            assert_eq!(KafkaConfig::is_topic(name), right, "{name}");
        }
        assert!(!KafkaConfig::is_topic(&"a".repeat(250)));
    }
}
