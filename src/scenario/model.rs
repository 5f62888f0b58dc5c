//! What a user may write: the scenario language, format version 1, as plain types.
//!
//! These types are the single source of the language: the JSON Schema is derived from them, the
//! checker walks that schema over the parsed YAML (so that every mistake is found with its place),
//! and only a document that passed is deserialised into them. They carry no positions; later stages
//! name a place by its path (`clients.subscribers.count`), which the source resolves to line and column.

mod auth;
mod compression;
mod fallback;
mod fault;
mod inject;
mod page;
mod preset;
mod protocol;
mod recovery;
mod transport;

pub use auth::{
    Algorithm, Auth, ByMessage, ByReconnect, Claim, GatewayAuth, Jwt, NamedPlace, Never, Renew,
    RenewBy, Renewal, TokenCommand, TokenPlace, TokenRequest, UsualPlace,
};
pub use compression::Compression;
pub use fallback::{Climb, Fallback, StepDown};
pub use fault::{
    Address, Addresses, Burst, Cut, Deploy, Fault, How, Network, Partition, Pauses, Reading,
    Revoke, Roll, SendSignal, Slow, Stall, Stalled, To, Webhook,
};
pub use inject::{
    Consume, ConsumeKafka, ConsumeNats, ConsumeRabbitMq, Inject, Kafka, KafkaAcks, KafkaAll,
    KafkaMechanism, Nats, RabbitMq,
};
pub use page::MetricsPage;
pub use preset::{Backlog, Beat, ClientBeat, Preset, PresetWith, ServicePing};
pub use protocol::{
    Mqtt, MqttVersion, MqttWill, Polling, PollingBy, Protocol, ProtocolName, ProtocolSettings,
    SocketIo, Stomp, StompAck, StompHeartBeat, StompVersion,
};

pub use recovery::{History, Resume, Session};
pub use transport::{Cursor, LongPoll, Messages, Sse, Transport, TransportName, TransportSettings};

use super::units::{ByteSize, Count, Duration, Rate, Share};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

/// A choice between names and names with settings, as one list.
fn name_or_settings(mut names: Schema, settings: &Schema, what: &str) -> Schema {
    let more = settings.get("oneOf").and_then(|all| all.as_array());
    let all = names.get_mut("oneOf").and_then(|all| all.as_array_mut());
    if let (Some(all), Some(more)) = (all, more) {
        all.extend(more.iter().cloned());
    }
    names.insert("description".into(), what.into());
    names
}

/// A named table whose order is the order written.
pub type Table<T> = IndexMap<String, T>;

/// One load test: who connects, what they do, what goes wrong, and what must hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Version of the scenario language; 1 is the only one.
    #[serde(default = "one")]
    pub version: u32,
    /// Name of the run; also the prefix of its report folder. Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What this scenario is for, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Seed of everything random: arrivals, jitter, sizes. Same seed, same plan. Default 1.
    #[serde(default = "one_u64")]
    pub seed: u64,
    /// The service under test.
    pub target: Target,
    /// Client groups by name: connections alike in what they do.
    pub clients: Table<ClientGroup>,
    /// Messages published into the broker behind the target, by name: each entry is a group of its own in reports and gates.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub inject: Table<Inject>,
    /// The run, stretch by stretch, in order.
    pub phases: Vec<Phase>,
    /// Budgets, one per line, such as `latency p99 < 250ms in steady`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// How the generator itself is run and judged.
    #[serde(default)]
    pub generator: Generator,
}

fn one() -> u32 {
    1
}
fn one_u64() -> u64 {
    1
}

/// One value, or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// Several, in order.
    Many(Vec<T>),
}

impl<T: Default> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany::One(T::default())
    }
}

impl<T: Clone> OneOrMany<T> {
    /// The values as a list.
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            OneOrMany::One(v) => vec![v.clone()],
            OneOrMany::Many(v) => v.clone(),
        }
    }
}

/// Where to connect. Exactly one of `url` and `embedded` is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `ws://` or `wss://` address, or a list that connections are spread over in turn. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<OneOrMany<String>>,
    /// Start squall's own reference gateway and aim at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<Embedded>,
    /// Extra request headers of the upgrade. Values are templated.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub headers: Table<String>,
    /// Query parameters added to the address. Values are templated.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub query: Table<String>,
    /// Cookies sent with the upgrade. Values are templated.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub cookies: Table<String>,
    /// Which of several addresses a connection dials. Default spread.
    #[serde(default)]
    pub pick: Pick,
    /// HTTP proxy that all connections go through, by CONNECT: `http://host:port`, or `http://user:password@host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Redirects in a row that an opening follows, up to 20. Default 0: a redirect is a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_redirects: Option<u8>,
    /// WebSocket subprotocols offered, most wanted first; the target must pick one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subprotocols: Vec<String>,
    /// How `wss://` is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// From the first step of opening to ready, at most. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// From our Close frame to the end of the connection, at most. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_timeout: Option<Duration>,
    /// Largest message accepted from the target; a larger one closes with 1009 and is counted. Default 1MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message: Option<ByteSize>,
    /// Largest upgrade response accepted. Default 16KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_header: Option<ByteSize>,
    /// Bytes queued for one connection before further sends on it are dropped. Default 1MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queue: Option<ByteSize>,
    /// Number of the target's process on this machine; its memory and CPU are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// File with that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<String>,
    /// Where the target tells its memory, in Prometheus' text format; read every second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsPage>,
}

/// Which of the target's addresses a connection dials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// Each its own, in turn; it comes back to the same one.
    #[default]
    Spread,
    /// All the first one, and the next after each failed opening or loss; after the last the first again.
    Failover,
}

/// TLS settings for `wss://`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate authorities to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// PEM file of the client certificate chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// PEM file of the client certificate's private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name to verify and to send as SNI instead of the address's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Accept any certificate. Only for tests; the report says so.
    #[serde(default)]
    pub insecure: bool,
}

/// The reference gateway as target, with its limits and its knobs to misbehave.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// Processes that serve, joined to one gateway; each has a port of its own, and connections go to them in turn. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u16>,
    /// All nodes on one port; the kernel spreads connections over them.
    #[serde(default)]
    pub one_port: bool,
    /// Serve `wss://` with a certificate made for this run.
    #[serde(default)]
    pub tls: bool,
    /// Messages queued per client before the drop policy acts. Default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// What happens when a client's queue is full. Default drop_newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_full: Option<WhenFull>,
    /// With `buffer` and `block`: bytes queued for one client before it is closed with 1013. Default 64MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_limit: Option<ByteSize>,
    /// Send buffer of the gateway's side of connections (`SO_SNDBUF`); a small one fills quickly. Default: the kernel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_buffer: Option<ByteSize>,
    /// Largest message accepted from a client; larger ones close with 1009. Default 1MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message: Option<ByteSize>,
    /// Messages accepted from one client per second; beyond it the client is closed with 1008.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Rate>,
    /// Upgrades that each node accepts per second; those beyond it are refused with 503. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_rate: Option<Rate>,
    /// Bearer tokens accepted (header `Authorization` or query `token`); none given: no auth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// JWTs that are accepted, and what happens when they expire. Default: none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<GatewayAuth>,
    /// Values of `Origin` accepted; none given: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Server pings: how often, and how long until a silent client is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<Heartbeat>,
    /// What is kept of each topic for clients that come back. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Asked to end (a roll, SIGTERM) it closes its connections spread evenly over this time. Default 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_window: Option<Duration>,
    /// Asked to end it ends after this, whatever is still open. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_deadline: Option<Duration>,
    /// Broker to consume from: what is published there goes to subscribers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consume: Option<Consume>,
    /// Trouble the gateway makes on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misbehave: Option<Misbehave>,
}

/// What a full client queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The message that does not fit is dropped.
    DropNewest,
    /// The oldest queued message makes room.
    DropOldest,
    /// The client is closed with 1013.
    Disconnect,
    /// The queue grows, up to `buffer_limit`; then the client is closed with 1013.
    Buffer,
    /// Publishers are not read any further until there is room again.
    Block,
}

/// Knobs of the embedded gateway for tests and demonstrations: known faults to be found.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Misbehave {
    /// Every nth delivery to a subscriber is silently dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_every: Option<u32>,
    /// Every nth delivery to a subscriber is sent twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_every: Option<u32>,
    /// Every nth delivery to a subscriber is swapped with the one after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder_every: Option<u32>,
    /// Every nth upgrade is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse_every: Option<u32>,
    /// HTTP status of a refusal. Default 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse_status: Option<u16>,
    /// Upgrades are refused with this HTTP status, as by a proxy that does not let them through…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse_upgrades: Option<u16>,
    /// …for so long after start. Default: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse_upgrades_for: Option<Duration>,
    /// Event streams are held back until so many bytes have gathered, as by a proxy that buffers responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_streams: Option<ByteSize>,
    /// Added before every delivery is handed to its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Once, this long after start, everything stops for `stall_for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after: Option<Duration>,
    /// Length of that stall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_for: Option<Duration>,
    /// Pings are answered never (`none`) or with a payload that was not sent (`wrong`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pong: Option<PongLie>,
    /// Connections are closed this long after they opened…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_after: Option<Duration>,
    /// …with this code (default 1011); 1006 resets the TCP connection without a Close frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_code: Option<u16>,
    /// Requests (`echo`) are never answered.
    #[serde(default)]
    pub mute: bool,
    /// Connections whose token has expired are never closed.
    #[serde(default)]
    pub keep_expired: bool,
    /// Connections whose token is revoked are not closed for it.
    #[serde(default)]
    pub keep_revoked: bool,
    /// Once, this long after start, the history is forgotten and another epoch begins: whoever resumes has lost its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_epoch_after: Option<Duration>,
    /// Deliveries to all clients go through one queue: a slow one holds up everybody.
    #[serde(default)]
    pub head_of_line: bool,
    /// How a node that is asked to end breaks the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<BadDrain>,
    /// How an upgrade of Socket.IO from polling comes to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<BadUpgrade>,
}

/// How an upgrade from polling comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadUpgrade {
    /// None is offered.
    NotOffered,
    /// It is answered with 400.
    Refuse,
    /// Its probe is not answered.
    Mute,
    /// Its TCP connection is reset when the probe comes.
    Cut,
}

/// How the gateway drains badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadDrain {
    /// It goes on accepting connections until its deadline, and cuts them then.
    KeepAccepting,
    /// It closes nobody, and is gone at its deadline.
    Never,
    /// It closes everybody at the same moment.
    AllAtOnce,
}

/// How the gateway lies about pongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PongLie {
    /// No pong is ever sent.
    None,
    /// The pong carries another payload than the ping.
    Wrong,
}

/// Connections alike in what they do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientGroup {
    /// How many connections.
    pub count: Count,
    /// Values of each connection, usable as `{name}` in templated strings.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub vars: Table<Var>,
    /// Headers added to the target's for this group. Values are templated.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub headers: Table<String>,
    /// Tokens, and how they are renewed. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// How bytes get to the target: a transport, or a list of them, of which each is tried when the one before it fails. Default
    /// websocket.
    #[serde(default)]
    pub transport: OneOrMany<Transport>,
    /// When a connection goes on to the next of several transports, and when it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// What is spoken over the connection. Default json.
    #[serde(default)]
    pub protocol: Protocol,
    /// Variables to set from headers of the upgrade's answer; an opening whose answer lacks one fails.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub capture_headers: Table<String>,
    /// Cookies that the upgrade's answer sets are sent when the connection comes back, as a browser does it.
    #[serde(default)]
    pub keep_cookies: bool,
    /// permessage-deflate: what is offered. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How the target tells which of its nodes serves a connection. Default: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeSource>,
    /// Done in order on each new connection, before it subscribes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_open: Vec<Step>,
    /// Topics each connection subscribes to. Templated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// What the group publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<OneOrMany<Publish>>,
    /// What the group asks and waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<OneOrMany<Request>>,
    /// Own pings, and when a silent peer is declared dead. Default: none; pings are always answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// What happens when a connection is lost. Default: it stays closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Reconnect>,
    /// How long a connection stays before it is closed and replaced by a new one (churn). Default forever.
    #[serde(default)]
    pub lifetime: Lifetime,
}

/// How a target tells which of its nodes serves a connection. Either `header` or `var` is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSource {
    /// Header of the upgrade's answer that names the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Variable, captured before, that names the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub var: Option<String>,
    /// Whether a connection may come back on another node; `forbidden` adds the gate `moved == 0` of the group. Default allowed.
    #[serde(default)]
    pub moves: Moves,
}

/// Whether a connection may come back on another node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moves {
    /// It may; moves are counted.
    #[default]
    Allowed,
    /// It must not (sticky routing): the run fails if one did.
    Forbidden,
}

/// Where a variable's values come from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Var {
    /// The values in turn, over and over, by connection number.
    Cycle(Vec<Scalar>),
    /// Whole numbers from here on, one per connection.
    Sequence(i64),
    /// Drawn from the seed, per connection.
    Random(RandomVar),
    /// A column of a CSV file with a header line, row by connection number, over and over.
    Csv(CsvVar),
}

/// A plain YAML value.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// true or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scalar::Bool(v) => write!(f, "{v}"),
            Scalar::Int(v) => write!(f, "{v}"),
            Scalar::Float(v) => write!(f, "{v}"),
            Scalar::Text(v) => f.write_str(v),
        }
    }
}

/// How a random variable is drawn. Exactly one is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RandomVar {
    /// One of these.
    Choice(Vec<Scalar>),
    /// A whole number from the first to the second, both included.
    Int([i64; 2]),
    /// That many random hexadecimal digits.
    Hex(u32),
}

/// A CSV column as variable.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvVar {
    /// The file, inside the scenario's folder.
    pub file: String,
    /// The column's name in the header line.
    pub column: String,
}

/// How messages of a JSON service are written and read. Keys left out have the default mapping's value.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Template of a subscribe message; `{topic}` and `{id}` are filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<String>,
    /// The acknowledgement of a subscribe message; `none` when the service sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribed: Option<Ack>,
    /// Template of a publish message; `{topic}`, `{payload}` and `{id}` are filled in, and `{length}`, how many bytes the payload behind it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// JSON pointer to the message's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Value of the type that marks a delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Value of the type that marks an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// JSON pointer to a delivery's topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// JSON pointer to a delivery's sequence number as the service counts, per topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// JSON pointer to a delivery's payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Template of the subscribe message of a connection that resumes; `{topic}`, `{id}`, `{seq}` (the last number that
    /// came) and `{epoch}` (as the last acknowledgement told it) are filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resubscribe: Option<String>,
    /// JSON pointer, in an acknowledgement, to whether all that was missed follows: true, or the state is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<String>,
    /// JSON pointer, in an acknowledgement, to the epoch: the name of the topic's numbering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// JSON pointer, in an acknowledgement, to the topic's last sequence number so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// How a delivery is known, where no value of the type says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Match>,
    /// How it is known that the service refuses what it was asked for: the opening fails (`denied`), later it counts in `errors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Match>,
    /// JSON pointer to the `{id}` of the subscription that an acknowledgement answers, or a delivery without a topic is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Pings that the service sends as messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ping: Option<ServicePing>,
    /// Heartbeats in messages instead of WebSocket pings. The group's `heartbeat` says how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<Beat>,
    /// Whether one message may hold several JSON texts, one a line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lines: bool,
    /// Messages that come inside the acknowledgement of a subscription that resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// WebSocket subprotocols offered instead of the target's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subprotocols: Vec<String>,
}

/// Whether and how subscribe messages are acknowledged.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ack {
    /// Never: a connection is ready as soon as it has sent them.
    None,
    /// By a message that matches.
    When(Match),
}

/// A test of a message. All given parts must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Text that must occur in the message. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// JSON pointer to a value that must exist…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// …and be this, when given. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Scalar>,
}

/// One thing a new connection does. Exactly one key is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Send this text message. Templated.
    Send(String),
    /// Wait for a message that matches.
    Expect(Expect),
    /// Do nothing for a while.
    Pause(Duration),
}

/// A message waited for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Text that must occur in the message. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// JSON pointer to a value that must exist…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// …and be this, when given. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Scalar>,
    /// How long to wait before the connection counts as failed. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// Variables to set from the message, by JSON pointer.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub capture: Table<String>,
}

/// A stream of messages to a topic on an open-model schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Topic, templated by the connection's variables. Not used by `raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Messages per second of the whole group, or `{ per_connection: … }`.
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

/// A question with an answer, on an open-model schedule; measured as RTT.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Name in reports. Default `request`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The message; `{id}` is a number unique on the connection, `{payload}` a stamped payload. Default: the embedded gateway's `echo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Requests per second of the whole group, or `{ per_connection: … }`.
    pub rate: RateSpec,
    /// Evenly spaced, or Poisson. Default constant.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Payload size, stamp included. Default 64B.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeSpec>,
    /// How the answer is known. Default `{ id: /id }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// After this the request counts as timed out. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Phases in which it is active. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#in: Option<OneOrMany<String>>,
}

/// How an answer is matched to its request. Exactly one key is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// JSON pointer to the request's `{id}`, as number or text.
    Id(String),
    /// The answer carries the payload (an echo): the stamp in it tells the request.
    Stamp,
    /// Text that must occur; answers are taken in the order of the requests.
    Contains(String),
}

/// A rate of the group or of each connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RateSpec {
    /// Of the whole group.
    Group(Rate),
    /// Of each connection.
    Each(PerConnection),
}

/// A rate of each connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerConnection {
    /// Messages per second of one connection.
    pub per_connection: Rate,
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// With exponential gaps, seeded.
    Poisson,
}

/// A size, or a distribution of sizes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SizeSpec {
    /// Always this.
    Fixed(ByteSize),
    /// Drawn anew for each message.
    Drawn(SizeDistribution),
}

/// A distribution of sizes. Exactly one key is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SizeDistribution {
    /// Evenly between the two, both included.
    Uniform([ByteSize; 2]),
    /// Exponential with the given mean, cut at the maximum.
    Exponential {
        /// Mean before the cut.
        mean: ByteSize,
        /// Largest size.
        max: ByteSize,
    },
}

/// How long a connection lives.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Lifetime {
    /// To the end of the run.
    #[default]
    Forever,
    /// Always this long.
    Fixed(Duration),
    /// Evenly between the two.
    Uniform([Duration; 2]),
    /// Exponential with this mean.
    Exponential(Duration),
}

/// Pings and their deadline.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Time between pings; each connection has its own phase within it.
    pub every: Duration,
    /// Without a pong for this long, the peer is declared dead.
    pub timeout: Duration,
}

/// What a lost connection does.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reconnect {
    /// How long it waits before each attempt. Default full_jitter.
    #[serde(default)]
    pub backoff: Backoff,
    /// First backoff. Default 500ms, or what the policy is known for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Duration>,
    /// Largest backoff. Default 30s, or what the policy is known for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Duration>,
    /// Attempts in a row before giving up. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What a loss with this close code, or one of a range such as `4000-4499`, leads to. Default: 1012 and 1013 as registered, back_off for every other.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub codes: Table<OnClose>,
    /// Whether and how it asks for what it missed. Default false: it subscribes anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// Wait before attempt n (from 0), with b = min(cap, base·2ⁿ).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Nothing: at once, every time.
    None,
    /// Always base.
    Constant,
    /// Exactly b.
    NoJitter,
    /// Uniform in [0, b].
    #[default]
    FullJitter,
    /// b/2 plus uniform in [0, b/2].
    EqualJitter,
    /// min(cap, uniform in [base, 3·previous]).
    Decorrelated,
    /// RFC 6455, section 7.2.3: uniform in [0, b] with a base of 5 s.
    Rfc6455,
    /// phoenix.js: 10, 50, 100, 150, 200, 250, 500, 1000, 2000 ms, then 5 s each.
    Phoenix,
    /// socket.io-client: base·2ⁿ give or take up to half of it, at most cap; 1 s and 5 s.
    SocketIo,
    /// centrifuge-js: base plus uniform in [0, b], at most cap; 500 ms and 20 s.
    Centrifuge,
}

/// What a close code leads to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnClose {
    /// It does not come back.
    Stop,
    /// It comes back at once.
    Now,
    /// It comes back after the policy's wait.
    BackOff,
    /// It comes back after a wait evenly drawn between the two.
    Within([Duration; 2]),
    /// It goes to another address of the target at once; where there is none, it waits as after many attempts.
    Elsewhere,
}

/// A named stretch of the run; every metric is tagged with it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name, unique in the scenario.
    pub name: String,
    /// How long it lasts.
    pub r#for: Duration,
    /// Groups that open in this phase, and how. A group named in no phase opens at once at the start.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub open: Table<Open>,
    /// Trouble on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// How a group's connections open in a phase.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Open {
    /// All at the start of the phase.
    AllAtOnce,
    /// Evenly over the whole phase.
    Linear,
    /// At this rate from the start of the phase.
    Rate(Rate),
    /// In stages: up to `to` connections by the end of each stage.
    Stages(Vec<Stage>),
}

/// One stage of opening.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Connections of the group opened when the stage ends; never fewer than before.
    pub to: Count,
    /// Length of the stage.
    pub over: Duration,
}

/// How the generator is run, and when it is too loaded to be believed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Worker processes. Default: what the machine's cores and limits ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// Local addresses connections are made from, in turn. Default: on loopback as many 127.0.0.0/8 addresses as needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// A second whose p99 schedule lag is over this makes the run invalid (generator-limited). Default 100ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<Duration>,
    /// CPU share of one core that makes a shard's second count as saturated. Default 95%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cpu: Option<Share>,
    /// How long the end of the run waits for deliveries still under way; requests have their own timeout. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Duration>,
}
