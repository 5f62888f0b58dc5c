//! What is spoken over a connection, as it is written: a name, or one with its settings.

use super::super::units::{Count, Duration};
use super::{Mapping, Preset, Table};
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
