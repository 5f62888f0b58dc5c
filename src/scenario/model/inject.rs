//! Publishing behind the target: into the broker that it consumes from.

use super::{Arrivals, OneOrMany, RateSpec, SizeSpec, Table, Tls, Var};
use crate::scenario::units::{ByteSize, Count, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Messages published into a broker, which the target passes on to subscribers of a topic. Exactly one broker is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inject {
    /// NATS, core or JetStream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
    /// RabbitMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<RabbitMq>,
    /// Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
    /// Under which topic subscribers get the messages, for the accounts. Templated by `vars`.
    pub topic: String,
    /// Publishers, each with values and a numbering of its own; they share the shards' connections to the broker. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishers: Option<Count>,
    /// Values of each publisher, usable as `{name}` in templated strings.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub vars: Table<Var>,
    /// Messages per second of all publishers together, or `{ per_connection: … }` for each.
    pub rate: RateSpec,
    /// Evenly spaced, or Poisson. Default constant.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Payload size, stamp included; at least 48B. Default 128B. Not together with `payload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeSpec>,
    /// Payload text (templated), to which the stamp is appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// File with the payload text, inside the scenario's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_file: Option<String>,
    /// Phases in which it is active. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#in: Option<OneOrMany<String>>,
}

/// How NATS is reached, and where messages go there.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// `nats://` or `tls://` address, or a list that is tried in turn.
    pub url: Option<OneOrMany<String>>,
    /// Subject of a message; `{topic}` is its topic. Templated. Default `{topic}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Publish into JetStream: each message is acknowledged once it is stored. A stream must take the subject.
    #[serde(default)]
    pub jetstream: bool,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Token, instead of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// File with a user's JWT and key (`.creds`), instead of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// How `tls://` is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How RabbitMQ is reached (by AMQP 0-9-1), and where messages go there. The broker confirms each.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RabbitMq {
    /// `amqp://` or `amqps://` address, or a list that is tried in turn.
    pub url: Option<OneOrMany<String>>,
    /// Exchange, which must be there. Default `amq.topic`; empty is the default exchange, where the routing key is a queue's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// Routing key of a message; `{topic}` is its topic. Templated. Default `{topic}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    /// Messages are kept on disk in durable queues, and confirmed once they are there. Default false.
    #[serde(default)]
    pub persistent: bool,
    /// A message that no queue takes is returned, and counted as `unroutable`. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandatory: Option<bool>,
    /// Virtual host. Default that of the address, or `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vhost: Option<String>,
    /// User. Default that of the address, or `guest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// How `amqps://` is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How Kafka is reached, where messages go there, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port` of a broker, or a list that is tried in turn; they say which others there are.
    pub bootstrap: Option<OneOrMany<String>>,
    /// Topic of a message in Kafka; `{topic}` is that of its subscribers. Templated. Default `{topic}`. It must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Key of a message, by which its partition is chosen (murmur2, as Kafka's own producers do); `{topic}` is its topic. Templated.
    /// Default: none; then each publisher's messages go to one partition, the next publisher's to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who must have a message before it is acknowledged: nobody (`0`), the partition's leader (`1`), or all replicas in step (`all`).
    /// Default `all`.
    #[serde(default)]
    pub acks: KafkaAcks,
    /// A partition's batch waits so long for more; at most 1s. Default 5ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger: Option<Duration>,
    /// Bytes at which a batch waits no longer. Default 16KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<ByteSize>,
    /// User, for SASL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// How the password is shown. Default `plain`.
    #[serde(default)]
    pub mechanism: KafkaMechanism,
    /// Brokers are spoken to by TLS, and verified so; `{}`: by the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Who must have a message before Kafka acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KafkaAcks {
    /// 1: the partition's leader. 0: nobody, so nothing is acknowledged.
    Number(u8),
    /// All replicas that are in step.
    All(KafkaAll),
}

impl Default for KafkaAcks {
    fn default() -> Self {
        KafkaAcks::All(KafkaAll::All)
    }
}

/// All replicas that are in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaAll {
    /// All of them.
    All,
}

/// How a password is shown to Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KafkaMechanism {
    /// As it is: over TLS only, if anybody else listens.
    #[default]
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram_sha_256")]
    Scram256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram_sha_512")]
    Scram512,
}

/// Brokers that the embedded gateway consumes from. Exactly one is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consume {
    /// NATS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<ConsumeNats>,
    /// RabbitMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<ConsumeRabbitMq>,
    /// Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<ConsumeKafka>,
}

/// What the embedded gateway consumes from Kafka.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumeKafka {
    /// `host:port` of a broker.
    pub bootstrap: String,
    /// Topic, all of its partitions, from their ends on. A message goes to the topic that its key names, or to this one if it has none.
    pub topic: String,
    /// It is made with so many partitions if it is not there. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Count>,
}

/// What the embedded gateway consumes from NATS.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumeNats {
    /// `nats://` address, with user and password where it wants them.
    pub url: String,
    /// Subject, most often with wildcards; without its fixed beginning a message's subject is the topic it goes to
    /// (`squall.>`: `squall.orders` goes to `orders`).
    pub subject: String,
    /// Consume from this stream of JetStream, which is made if it is not there: nothing that it stored is passed over when the
    /// connection is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// What the embedded gateway consumes from RabbitMQ.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumeRabbitMq {
    /// `amqp://` address, with user, password and virtual host where it wants them.
    pub url: String,
    /// Exchange, made if it is not there (of type `topic`, durable). Default `amq.topic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// Binding key, most often with wildcards; without its fixed beginning a message's routing key is the topic it goes to
    /// (`squall.#`: `squall.orders` goes to `orders`).
    pub binding: String,
    /// Consume from this durable queue, which is made if it is not there: what it takes while the connection is lost is not passed
    /// over. Default: a queue that goes with the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
}
