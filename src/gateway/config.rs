//! What a gateway is told: where to listen, its limits, and its knobs to misbehave.
//!
//! The same knobs as `embedded:` in a scenario, in plain units: durations are milliseconds when
//! written as JSON, rates are events per second, sizes are bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::GatewayError;

/// Everything [`serve`](super::serve) needs to know. `Default` is a plain, well-behaved gateway on a
/// loopback port chosen by the system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Which of several nodes this is, from 0: told with every upgrade.
    pub node: u16,
    /// Share the port with other gateways that say so too; the kernel spreads connections over them.
    pub reuse_port: bool,
    /// Connections the kernel may hold before they are accepted; it caps this at `net.core.somaxconn`.
    pub backlog: u32,
    /// Serve TLS with this certificate; `None`: plain.
    pub tls: Option<Certificate>,
    /// Messages queued per client before [`when_full`](Config::when_full) acts. At least 1.
    pub queue: usize,
    /// What a full queue does.
    pub when_full: WhenFull,
    /// Bytes queued for one client before it is closed with 1013, where messages do not count:
    /// [`WhenFull::Buffer`] and [`WhenFull::Block`]. With `head_of_line` the one line holds 16 times as much. At least 1.
    pub buffer_limit: usize,
    /// `SO_SNDBUF` asked for on client connections, in bytes; `None`: the kernel chooses and adapts it.
    pub send_buffer: Option<u32>,
    /// Largest message accepted from a client, in bytes; a larger one closes with 1009.
    pub max_message: usize,
    /// Messages accepted from one client per second (token bucket that holds one second's worth, at
    /// least one message); beyond it the client is closed with 1008. `None`: unlimited.
    pub rate_limit: Option<f64>,
    /// Upgrades accepted per second (token bucket that holds one second's worth, at least one); those beyond it are
    /// refused with 503. Of each node where there are several. `None`: unlimited.
    pub accept_rate: Option<f64>,
    /// Bearer tokens accepted, in `Authorization: Bearer …` or in the query as `token=…`; empty: no
    /// authentication.
    pub tokens: Vec<String>,
    /// JWTs that are accepted beside `tokens`; `None`: none are.
    pub auth: Option<Auth>,
    /// Values of `Origin` accepted; empty: any, and none at all.
    pub origins: Vec<String>,
    /// Server pings; `None`: none.
    pub ping: Option<Ping>,
    /// What is kept of each topic, so that clients that come back can have what they missed; `None`: nothing, and no
    /// epochs are told.
    pub history: Option<History>,
    /// A broker whose messages go to subscribers; `None`: none.
    pub consume: Option<Consume>,
    /// Trouble made on purpose.
    pub misbehave: Misbehave,
    /// From accept to the end of the upgrade (TLS included), at most.
    #[serde(with = "millis")]
    pub handshake_timeout: Duration,
    /// From the gateway's Close frame to the end of the connection, at most; then it is reset.
    #[serde(with = "millis")]
    pub close_timeout: Duration,
    /// Shutdown closes the connections spread evenly over this time.
    #[serde(with = "millis")]
    pub drain_window: Duration,
    /// Shutdown ends after this, whatever is still open.
    #[serde(with = "millis")]
    pub drain_deadline: Duration,
}

/// What is consumed from a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consume {
    /// From a NATS server.
    Nats(ConsumeNats),
    /// From RabbitMQ.
    #[serde(rename = "rabbitmq")]
    RabbitMq(ConsumeRabbitMq),
    /// From Kafka.
    Kafka(ConsumeKafka),
}

/// What is consumed from RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumeRabbitMq {
    /// Its address, with user, password and virtual host where it wants them.
    pub url: String,
    /// Exchange, made if it is not there; `None`: the usual one.
    #[serde(default)]
    pub exchange: Option<String>,
    /// Binding key. What stands before its first wildcard is no part of the topic that a message goes to.
    pub binding: String,
    /// Durable queue, made if it is not there; `None`: one that goes with the connection.
    #[serde(default)]
    pub queue: Option<String>,
}

/// What is consumed from Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumeKafka {
    /// `host:port` of a broker.
    pub bootstrap: String,
    /// Topic, all of its partitions. A message goes to the topic that its key names, or to this one if it has none.
    pub topic: String,
    /// It is made with so many if it is not there.
    pub partitions: u16,
}

/// What is consumed from a NATS server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumeNats {
    /// Its address, with user and password where it wants them.
    pub url: String,
    /// Subject. What stands before its first wildcard is no part of the topic that a message goes to.
    pub subject: String,
    /// Stream of JetStream, made if it is not there; `None`: core NATS.
    #[serde(default)]
    pub stream: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            node: 0,
            reuse_port: false,
            backlog: 8192,
            tls: None,
            queue: 1024,
            when_full: WhenFull::DropNewest,
            buffer_limit: 64 << 20,
            send_buffer: None,
            max_message: 1 << 20,
            rate_limit: None,
            accept_rate: None,
            tokens: Vec::new(),
            auth: None,
            origins: Vec::new(),
            ping: None,
            history: None,
            consume: None,
            misbehave: Misbehave::default(),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            drain_window: Duration::from_secs(2),
            drain_deadline: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Finds values that make no sense together or at all. [`serve`](super::serve) calls it.
    ///
    /// # Errors
    /// [`GatewayError::Config`] with the first such value in words.
    pub fn check(&self) -> Result<(), GatewayError> {
        let bad = |what: &str| Err(GatewayError::Config(what.to_owned()));
        if self.queue == 0 {
            return bad("queue must hold at least 1 message");
        }
        if self.buffer_limit == 0 {
            return bad("buffer_limit must be at least 1 byte");
        }
        if self.send_buffer == Some(0) {
            return bad("send_buffer must be at least 1 byte");
        }
        if self.max_message == 0 {
            return bad("max_message must be at least 1 byte");
        }
        if self
            .rate_limit
            .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
        {
            return bad("rate_limit must be a positive number of messages per second");
        }
        if self
            .accept_rate
            .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
        {
            return bad("accept_rate must be a positive number of upgrades per second");
        }
        if self
            .ping
            .as_ref()
            .is_some_and(|ping| ping.every.is_zero() || ping.timeout.is_zero())
        {
            return bad("ping.every and ping.timeout must be longer than nothing");
        }
        if let Some(auth) = &self.auth {
            if auth.jwt_secret.is_empty() {
                return bad("auth.jwt_secret must not be empty");
            }
            if !(1000..=4999).contains(&auth.close_expired) {
                return bad("auth.close_expired must be a close code from 1000 to 4999");
            }
            if !(1000..=4999).contains(&auth.close_revoked) {
                return bad("auth.close_revoked must be a close code from 1000 to 4999");
            }
        }
        let knobs = &self.misbehave;
        let every = [
            knobs.drop_every,
            knobs.duplicate_every,
            knobs.reorder_every,
            knobs.refuse_every,
        ];
        if every.contains(&Some(0)) {
            return bad("every 0th of something does not exist: *_every starts at 1");
        }
        if knobs
            .refuse_status
            .is_some_and(|status| !(300..=599).contains(&status))
        {
            return bad("refuse_status must be an HTTP status from 300 to 599");
        }
        if knobs
            .refuse_upgrades
            .is_some_and(|status| !(300..=599).contains(&status))
        {
            return bad("refuse_upgrades must be an HTTP status from 300 to 599");
        }
        if knobs.refuse_upgrades_for.is_some() && knobs.refuse_upgrades.is_none() {
            return bad("refuse_upgrades_for needs refuse_upgrades, which has the status");
        }
        if knobs
            .close_code
            .is_some_and(|code| !(1000..=4999).contains(&code))
        {
            return bad("close_code must be from 1000 to 4999");
        }
        let stored = self.history.as_ref().is_some_and(|h| h.store.is_some());
        if self.consume.is_some() && stored {
            return bad("consume and a history's store exclude each other");
        }
        if let Some(history) = &self.history {
            if history.messages == 0 || history.lasts.is_zero() {
                return bad("history must keep at least 1 message, for longer than nothing");
            }
            if history.messages > self.queue {
                return bad("history.messages must fit a client's queue");
            }
            if let Some(store) = &history.store {
                super::store::check(store).map_err(GatewayError::Config)?;
                if knobs.reset_epoch_after.is_some() {
                    return bad(
                        "reset_epoch_after is no matter of a gateway whose history is in a store",
                    );
                }
            }
        } else if knobs.reset_epoch_after.is_some() {
            return bad("reset_epoch_after needs a history, which has the epoch");
        }
        if knobs.stall_after.is_some() != knobs.stall_for.is_some() {
            return bad("stall_after and stall_for need each other");
        }
        Ok(())
    }
}

/// A certificate chain and its private key, both as PEM text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain, the server's own certificate first.
    pub cert: String,
    /// The private key of the first certificate.
    pub key: String,
}

// The key must not reach a log by way of `{:?}`.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// JWTs that are accepted, and what happens when they expire.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The secret that signed them, with HS256.
    pub jwt_secret: String,
    /// Code of the close when the token of an open connection has expired, or its first message showed none.
    pub close_expired: u16,
    /// Code of the close when the token of an open connection is revoked.
    pub close_revoked: u16,
    /// How long an expired token is still good for an open connection.
    #[serde(with = "millis")]
    pub grace: Duration,
    /// So long before a token expires its client is asked for another; `None`: it is not.
    #[serde(with = "option_millis")]
    pub ask_before: Option<Duration>,
    /// The token may come in the first message.
    pub by_message: bool,
}

// The secret must not reach a log by way of `{:?}`.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("close_expired", &self.close_expired)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            jwt_secret: String::new(),
            close_expired: 4401,
            close_revoked: 4403,
            grace: Duration::ZERO,
            ask_before: None,
            by_message: false,
        }
    }
}

/// What a full client queue does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The message that does not fit is dropped.
    #[default]
    DropNewest,
    /// The oldest queued message makes room.
    DropOldest,
    /// The client is closed with 1013 and loses what was queued.
    Disconnect,
    /// Nothing: the queue grows, up to [`Config::buffer_limit`]; then as `Disconnect`.
    Buffer,
    /// Whoever published is not read any further until there is room again: backpressure to the publisher.
    /// One message of each publisher may come on top.
    Block,
}

impl WhenFull {
    /// Whether a queue may be longer than [`Config::queue`], and is bounded by bytes.
    pub(super) fn grows(self) -> bool {
        matches!(self, WhenFull::Buffer | WhenFull::Block)
    }
}

/// What is kept of each topic.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Messages, at most; no more than [`queue`](Config::queue), which they have to go through.
    pub messages: usize,
    /// How long each is kept.
    #[serde(rename = "for", with = "millis")]
    pub lasts: Duration,
    /// A Redis server that keeps them, numbers what is published and carries it between all gateways that share it:
    /// `redis://host:port/number`. `None`: this gateway does.
    pub store: Option<String>,
}

// The store's password must not reach a log by way of `{:?}`.
impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("messages", &self.messages)
            .field("lasts", &self.lasts)
            .finish_non_exhaustive()
    }
}

impl Default for History {
    fn default() -> Self {
        History {
            messages: 1000,
            lasts: Duration::from_secs(60),
            store: None,
        }
    }
}

/// The gateway's own heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// Time between pings; each connection has its own phase within it.
    #[serde(with = "millis")]
    pub every: Duration,
    /// A client from which nothing at all arrives for this long after a ping is closed with 1011.
    #[serde(with = "millis")]
    pub timeout: Duration,
}

/// Knobs to misbehave: known faults, for tests and demonstrations. `Default` is none of them.
///
/// Deliveries are counted per subscription (one client, one topic) from 1, so every count below is
/// exact and does not depend on how clients interleave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Misbehave {
    /// Every nth delivery is silently dropped.
    pub drop_every: Option<u32>,
    /// Every nth delivery is sent twice.
    pub duplicate_every: Option<u32>,
    /// Every nth delivery is swapped with the one after it in the same subscription.
    pub reorder_every: Option<u32>,
    /// Every nth upgrade that would have succeeded is refused, counted over all clients.
    pub refuse_every: Option<u32>,
    /// HTTP status of such a refusal; `None`: 503.
    pub refuse_status: Option<u16>,
    /// Every upgrade is refused with this HTTP status before anything else is looked at, as a proxy does that lets none through…
    pub refuse_upgrades: Option<u16>,
    /// …for so long after the gateway began to listen; `None`: to the end.
    #[serde(with = "option_millis")]
    pub refuse_upgrades_for: Option<Duration>,
    /// Event streams are held back, all but their heads, until so many bytes have gathered, as by a proxy that buffers.
    pub buffer_streams: Option<usize>,
    /// Added before every delivery and every echo is written to its client.
    #[serde(with = "option_millis")]
    pub delay: Option<Duration>,
    /// Once, this long after the gateway began to listen, everything stops for `stall_for`.
    #[serde(with = "option_millis")]
    pub stall_after: Option<Duration>,
    /// Length of that stall.
    #[serde(with = "option_millis")]
    pub stall_for: Option<Duration>,
    /// Lies about pongs.
    pub pong: Option<PongLie>,
    /// Connections are closed this long after their upgrade…
    #[serde(with = "option_millis")]
    pub close_after: Option<Duration>,
    /// …with this code; `None`: 1011. 1005 closes without a code, 1006 resets the TCP connection.
    pub close_code: Option<u16>,
    /// Connections whose token has expired are never closed.
    pub keep_expired: bool,
    /// Connections whose token is revoked are not closed for it.
    pub keep_revoked: bool,
    /// `echo` and raw messages are never answered.
    pub mute: bool,
    /// Once, this long after the gateway began to listen, the history is forgotten and another epoch begins. Numbers go on.
    #[serde(with = "option_millis")]
    pub reset_epoch_after: Option<Duration>,
    /// Deliveries to all clients of the gateway (of a node) go through one queue, in turn: a client
    /// that does not take its own holds up everybody behind it. No policy acts; see `line.rs`.
    pub head_of_line: bool,
    /// How it breaks the rules when it is asked to end; `None`: it does not.
    pub drain: Option<BadDrain>,
    /// How Socket.IO's upgrade from polling comes to nothing; `None`: it does not.
    pub upgrade: Option<BadUpgrade>,
}

/// How a gateway drains badly. At the end of a run, when it is told to hurry, none of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadDrain {
    /// Goes on accepting connections until the deadline, and cuts those that are there then.
    KeepAccepting,
    /// Closes nobody, and is gone at the deadline.
    Never,
    /// Closes everybody at the same moment.
    AllAtOnce,
}

/// How an upgrade from polling comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadUpgrade {
    /// None is offered when a client opens by polling.
    NotOffered,
    /// It is offered, and answered with 400.
    Refuse,
    /// It is granted, and its probe is not answered.
    Mute,
    /// It is granted, and its TCP connection is reset when the probe comes.
    Cut,
}

/// How the gateway lies about pongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PongLie {
    /// No pong is ever sent.
    None,
    /// The pong carries another payload than the ping.
    Wrong,
}

/// Durations as a number of milliseconds.
mod millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(value.as_secs_f64() * 1e3)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)? / 1e3).map_err(D::Error::custom)
    }
}

/// The same for durations that may be absent (`null`).
mod option_millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::millis::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(from)?
            .map(|millis| Duration::try_from_secs_f64(millis / 1e3).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_in_what_a_debugger_is_shown() {
        let config = Config {
            tls: Some(Certificate {
                cert: "canary-chain".into(),
                key: "canary-key".into(),
            }),
            history: Some(History {
                messages: 1234,
                store: Some("redis://user:canary-password@127.0.0.1:1/0".into()),
                ..History::default()
            }),
            auth: Some(Auth {
                jwt_secret: "canary-secret".into(),
                ..Auth::default()
            }),
            ..Config::default()
        };
        let shown = format!("{config:?}");
        assert!(
            shown.contains("1234") && !shown.contains("canary"),
            "{shown}"
        );
    }

    #[test]
    fn survives_json_in_milliseconds() {
        let config = Config {
            ping: Some(Ping {
                every: Duration::from_millis(250),
                timeout: Duration::from_secs(5),
            }),
            misbehave: Misbehave {
                delay: Some(Duration::from_micros(1500)),
                ..Misbehave::default()
            },
            ..Config::default()
        };
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["ping"]["every"], 250.0);
        assert_eq!(json["misbehave"]["delay"], 1.5);
        assert_eq!(serde_json::from_value::<Config>(json).unwrap(), config);
    }

    #[test]
    fn defaults_fill_what_is_left_out_and_unknown_keys_are_errors() {
        assert_eq!(
            serde_json::from_str::<Config>("{}").unwrap(),
            Config::default()
        );
        assert!(serde_json::from_str::<Config>(r#"{"que":1}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"drain_window":-1}"#).is_err());
    }

    #[test]
    fn finds_values_that_make_no_sense() {
        assert!(Config::default().check().is_ok());
        type Spoil = fn(&mut Config);
        let table: [(Spoil, &str); 19] = [
            (|c| c.auth = Some(Auth::default()), "jwt_secret"),
            (
                |c| {
                    c.auth = Some(Auth {
                        jwt_secret: "s".into(),
                        close_expired: 999,
                        ..Auth::default()
                    });
                },
                "close_expired",
            ),
            (|c| c.queue = 0, "queue"),
            (|c| c.buffer_limit = 0, "buffer_limit"),
            (|c| c.send_buffer = Some(0), "send_buffer"),
            (|c| c.max_message = 0, "max_message"),
            (|c| c.rate_limit = Some(f64::NAN), "rate_limit"),
            (|c| c.rate_limit = Some(0.0), "rate_limit"),
            (|c| c.accept_rate = Some(f64::INFINITY), "accept_rate"),
            (
                |c| {
                    c.history = Some(History {
                        messages: 0,
                        ..History::default()
                    });
                },
                "history",
            ),
            (
                |c| {
                    c.history = Some(History::default());
                    c.queue = 999;
                },
                "queue",
            ),
            (
                |c| c.misbehave.reset_epoch_after = Some(Duration::ZERO),
                "history",
            ),
            (|c| c.misbehave.drop_every = Some(0), "every"),
            (|c| c.misbehave.refuse_status = Some(101), "refuse_status"),
            (
                |c| c.misbehave.refuse_upgrades = Some(200),
                "refuse_upgrades",
            ),
            (
                |c| c.misbehave.refuse_upgrades_for = Some(Duration::ZERO),
                "refuse_upgrades",
            ),
            (|c| c.misbehave.close_code = Some(999), "close_code"),
            (
                |c| c.misbehave.stall_after = Some(Duration::ZERO),
                "stall_for",
            ),
            (
                |c| {
                    c.ping = Some(Ping {
                        every: Duration::ZERO,
                        timeout: Duration::from_secs(1),
                    });
                },
                "ping",
            ),
        ];
        for (spoil, word) in table {
            let mut config = Config::default();
            spoil(&mut config);
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn debug_keeps_the_key_to_itself() {
        let certificate = Certificate {
            cert: "chain".into(),
            key: "canary".into(),
        };
        assert!(!format!("{certificate:?}").contains("canary"));
    }
}
