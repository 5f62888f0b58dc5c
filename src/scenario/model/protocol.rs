//! What is spoken over a connection, as it is written: a name, or one with its settings.

use super::super::units::{Count, Duration, Share};
use super::{Mapping, Match, Preset, Scalar, Table};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What is spoken over a connection: a protocol's name, or its name with settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Protocol {
    /// As it is where nothing is said.
    Named(ProtocolName),
    /// With settings.
    Set(ProtocolSettings),
}

impl Default for Protocol {
    fn default() -> Self {
        Protocol::Named(ProtocolName::Json)
    }
}

/// A protocol as it is where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolName {
    /// Payloads as they are: no topics, no acknowledgements.
    Raw,
    /// JSON messages in the default mapping, which the embedded gateway speaks.
    Json,
    /// STOMP 1.2, or an older version where the target speaks none newer. Topics are destinations.
    Stomp,
    /// MQTT 5 with QoS 1.
    Mqtt,
    /// Socket.IO 3 and 4 (protocol 5 over Engine.IO 4), over WebSocket from the start.
    SocketIo,
    /// The preset of Phoenix channels.
    Phoenix,
    /// The preset of Centrifugo's JSON protocol.
    Centrifugo,
    /// The preset of the Pusher protocol.
    Pusher,
    /// The preset of GraphQL over WebSocket, graphql-transport-ws.
    GraphqlTransportWs,
    /// The preset of Action Cable.
    ActionCable,
    /// The preset of JSON-RPC 2.0.
    JsonRpc,
    /// The preset of NATS over WebSocket.
    Nats,
}

/// A protocol with its settings.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProtocolSettings {
    /// JSON messages in a mapping of your own.
    #[serde(rename = "json_mapping")]
    Mapping(Box<Mapping>),
    /// STOMP, with what is said of it.
    Stomp(Box<Stomp>),
    /// MQTT, with what is said of it.
    Mqtt(Box<Mqtt>),
    /// Socket.IO, with what is said of it.
    SocketIo(Box<SocketIo>),
    /// A preset: a protocol that comes as a file.
    Preset(Preset),
}

/// One list of alternatives, so that a mistake is told of the one that was meant.
impl JsonSchema for Protocol {
    fn schema_name() -> Cow<'static, str> {
        "Protocol".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        super::name_or_settings(
            ProtocolName::json_schema(generator),
            &ProtocolSettings::json_schema(generator),
            "What is spoken over a connection: a protocol's name, or its name with settings.",
        )
    }
}

/// STOMP. Keys left out have their default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stomp {
    /// The virtual host. Default "/". Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// User name. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Password. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passcode: Option<String>,
    /// Versions offered, most wanted first. Default all: "1.2", "1.1", "1.0".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<StompVersion>>,
    /// Heart-beats offered. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heart_beat: Option<StompHeartBeat>,
    /// How deliveries are acknowledged. Default auto.
    #[serde(default)]
    pub ack: StompAck,
    /// After how many deliveries `client` acknowledges them all. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_every: Option<Count>,
    /// A share of the deliveries that each connection refuses by NACK, evenly among them; those that the target sends again it takes.
    /// Not with `auto`. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nack: Option<Share>,
    /// Whether receipts are asked for, of each SUBSCRIBE (before it comes, the connection is not ready) and of each SEND (its
    /// latency is `ack`). Default true.
    #[serde(default = "yes")]
    pub receipts: bool,
    /// Put before each topic to make a destination of it. Default nothing: topics are destinations.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Put behind it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// Further headers of each SUBSCRIBE, such as `prefetch-count`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub subscribe_headers: Table<String>,
    /// Further headers of each SEND, such as `content-type`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub send_headers: Table<String>,
}

impl Default for Stomp {
    fn default() -> Self {
        Stomp {
            host: None,
            login: None,
            passcode: None,
            versions: None,
            heart_beat: None,
            ack: StompAck::Auto,
            ack_every: None,
            nack: None,
            receipts: true,
            prefix: String::new(),
            suffix: String::new(),
            subscribe_headers: Table::new(),
            send_headers: Table::new(),
        }
    }
}

fn yes() -> bool {
    true
}

/// A version of STOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StompVersion {
    /// 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// 1.1.
    #[serde(rename = "1.1")]
    V11,
    /// 1.0.
    #[serde(rename = "1.0")]
    V10,
}

/// Heart-beats offered to a STOMP server; what is agreed on is the larger of what both sides can and want.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StompHeartBeat {
    /// How often squall can send one. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Duration>,
    /// How often squall wants one. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want: Option<Duration>,
}

/// How deliveries are acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StompAck {
    /// Not at all: what was sent counts as received.
    #[default]
    Auto,
    /// Each ACK is for all deliveries of the subscription up to its own.
    Client,
    /// Each ACK is for one delivery.
    ClientIndividual,
}

/// MQTT. Keys left out have their default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// The version. Default v5.
    #[serde(default)]
    pub version: MqttVersion,
    /// Client identifier. Default: the server finds one. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// User name. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The longest silence that is promised, in whole seconds; 0s: none. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Duration>,
    /// Whether the first connection wants no session of before. In 3.1.1 it also says that the server is to keep none. Default true.
    #[serde(default = "yes")]
    pub clean_start: bool,
    /// How long the server is to keep the session of a connection that is lost, in whole seconds. Only v5. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_expiry: Option<Duration>,
    /// QoS of subscriptions: 0, 1 or 2. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2))]
    pub subscribe_qos: Option<u8>,
    /// QoS of publishes: 0, 1 or 2. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2))]
    pub publish_qos: Option<u8>,
    /// Whether the server is to keep each publish for those who subscribe later. Default false.
    #[serde(default, skip_serializing_if = "no")]
    pub retain: bool,
    /// How many deliveries the server may have under way to a connection, 1 to 65,535. Only v5. Default: as many as there can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_maximum: Option<Count>,
    /// How many topic aliases the server may use, up to 65,535. Only v5. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_alias_maximum: Option<Count>,
    /// Whether publishes use topic aliases, as many as the server allows. Only v5. Default false.
    #[serde(default, skip_serializing_if = "no")]
    pub topic_aliases: bool,
    /// What the server publishes when the connection is lost. Default nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub will: Option<MqttWill>,
}

impl Default for Mqtt {
    fn default() -> Self {
        Mqtt {
            version: MqttVersion::V5,
            client_id: None,
            username: None,
            password: None,
            keep_alive: None,
            clean_start: true,
            session_expiry: None,
            subscribe_qos: None,
            publish_qos: None,
            retain: false,
            receive_maximum: None,
            topic_alias_maximum: None,
            topic_aliases: false,
            will: None,
        }
    }
}

fn no(value: &bool) -> bool {
    !value
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MqttVersion {
    /// 5.
    #[default]
    #[serde(rename = "v5")]
    V5,
    /// 3.1.1.
    #[serde(rename = "v3.1.1")]
    V311,
}

/// What an MQTT server publishes when a connection is lost without a goodbye.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttWill {
    /// Where. Templated.
    pub topic: String,
    /// What. Templated; `{payload}` is a stamp, by which squall knows the will where it is heard. Default `{payload}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// 0, 1 or 2. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2))]
    pub qos: Option<u8>,
    /// Whether the server is to keep it. Default false.
    #[serde(default, skip_serializing_if = "no")]
    pub retain: bool,
}

/// Socket.IO. Keys left out have their default. Events are JSON arrays as they are on the wire: the event's name, then its
/// arguments.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SocketIo {
    /// Path of the server, in place of the address's own. Default: the address's own, or `/socket.io/` where it has none.
    /// Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What goes by polling; true is `upgrade`, as clients do it unless told otherwise. Default false: nothing, it is a WebSocket
    /// from the start.
    #[serde(default)]
    pub polling: Polling,
    /// The namespace. Default "/".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What a connection says of itself when it asks for the namespace: an object of these members. Texts are templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Table<Scalar>>,
    /// The event that subscribes, with `{topic}`; `""`: there is none. Default `["subscribe","{topic}"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<String>,
    /// Whether it asks for an acknowledgement; before that comes the connection is not ready. Default true.
    #[serde(default = "yes")]
    pub subscribe_ack: bool,
    /// The event that publishes, with `{topic}` and `{payload}`. Default `["publish","{topic}","{payload}"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Whether it asks for an acknowledgement, whose latency is `ack`. Default true.
    #[serde(default = "yes")]
    pub publish_ack: bool,
    /// Whether payloads are binary attachments instead of text. Default false.
    #[serde(default)]
    pub binary: bool,
    /// Name of the event that delivers. Default "message".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// JSON pointer to the topic in that event; `""`: it does not tell. Default "/1", its first argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// JSON pointer to the payload in that event. Default "/2", its second argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// What makes a refusal of an acknowledgement, whose arguments are a JSON array. Default: its first argument has an
    /// `error` that is neither null nor false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Match>,
}

/// What of a Socket.IO conversation goes by polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Polling {
    /// Whether it begins so, and is upgraded.
    Is(bool),
    /// How much of it.
    By(PollingBy),
}

impl Default for Polling {
    fn default() -> Self {
        Polling::Is(false)
    }
}

/// How much of a Socket.IO conversation goes by polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PollingBy {
    /// All of it until a WebSocket, on a TCP connection of its own, has answered a probe; and to its end where none does.
    Upgrade,
    /// The handshake, one GET. Its TCP connection becomes the WebSocket, or the opening has failed.
    Handshake,
    /// All of it, to its end.
    Only,
}

impl Default for SocketIo {
    fn default() -> Self {
        SocketIo {
            path: None,
            polling: Polling::default(),
            namespace: None,
            auth: None,
            subscribe: None,
            subscribe_ack: true,
            publish: None,
            publish_ack: true,
            binary: false,
            message: None,
            topic: None,
            payload: None,
            refused: None,
        }
    }
}
