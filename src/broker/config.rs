//! Which broker, and how to be let in: plain values, so that a plan can carry them.

use super::kafka::{Acks, KafkaConfig};
use super::nats::NatsConfig;
use super::rabbitmq::RabbitMqConfig;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Config {
    /// NATS, core or JetStream.
    Nats(Box<NatsConfig>),
    /// RabbitMQ.
    RabbitMq(Box<RabbitMqConfig>),
    /// Kafka.
    Kafka(Box<KafkaConfig>),
}

impl Config {
    /// Whether it acknowledges each message.
    pub fn acknowledges(&self) -> bool {
        match self {
            Config::Nats(nats) => nats.jetstream,
            Config::RabbitMq(_) => true,
            Config::Kafka(kafka) => kafka.acks != Acks::None,
        }
    }

    /// Its name for people.
    pub fn name(&self) -> &'static str {
        match self {
            Config::Nats(nats) if nats.jetstream => "NATS JetStream",
            Config::Nats(_) => "NATS",
            Config::RabbitMq(_) => "RabbitMQ",
            Config::Kafka(_) => "Kafka",
        }
    }
}

/// What stands percent-encoded in an address.
pub(super) fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                out.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => out.extend_from_slice(format!("%{part}").as_bytes()),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A broker's address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// TLS from the first byte that is ours.
    pub tls: bool,
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// Of the part of an address that says where: `host`, `host:port`, `[::1]:port`. `None`: it names no host, or no port.
    pub(super) fn of(host: &str, default_port: u16, tls: bool) -> Option<Endpoint> {
        if host.contains(['/', '?', '#', '@']) {
            return None;
        }
        // The host rules of the `ws` schemes, which the crate knows.
        let url = url::Url::parse(&format!("ws://{host}/")).ok()?;
        // The port is asked of what was written: the crate leaves 80 out, as it is that scheme's.
        let port = match host.ends_with(":80") {
            true => 80,
            false => url.port().unwrap_or(default_port),
        };
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.to_owned();
        (!host.is_empty() && port > 0).then_some(Endpoint { tls, host, port })
    }
}

/// What a client says who it is.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Login {
    /// Nothing.
    #[default]
    Nobody,
    /// A token.
    Token(String),
    /// User and password.
    Password(String, String),
    /// A JWT (may be empty: then the key alone says it) and the seed of the key that signs the server's nonce.
    Key {
        /// The user's JWT.
        jwt: String,
        /// The seed, as NATS writes it: `SU…`.
        seed: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials are shown nowhere.
        f.write_str(match self {
            Login::Nobody => "Nobody",
            Login::Token(_) => "Token(***)",
            Login::Password(..) => "Password(***)",
            Login::Key { .. } => "Key(***)",
        })
    }
}

impl Login {
    /// Of a file as NATS' tools write it (`.creds`): the JWT, and the seed of the user's key.
    pub fn of_file(text: &str) -> Option<Login> {
        let block = |label: &str| {
            let (_, rest) = text.split_once(&format!("BEGIN {label}"))?;
            let (_, rest) = rest.split_once('\n')?;
            let line = rest.lines().map(str::trim).find(|line| !line.is_empty())?;
            (!line.starts_with('-')).then(|| line.to_owned())
        };
        let seed = block("USER NKEY SEED")?;
        super::nats::key(&seed)?;
        Some(Login::Key {
            jwt: block("NATS USER JWT").unwrap_or_default(),
            seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_of_their_file() {
        let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.e30.x\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let read = Login::of_file(&file);
        let expected = Login::Key {
            jwt: "eyJ0.e30.x".into(),
            seed: seed.into(),
        };
        assert!(read == Some(expected));
        assert!(Login::of_file(&file.replace("SUAC", "SUAD")).is_none());
        assert!(Login::of_file("nothing").is_none());
    }
}
