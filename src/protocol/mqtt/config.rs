//! What is settled of an MQTT conversation before it begins: the protocol's part of the plan.

use serde::{Deserialize, Serialize};

/// How MQTT is spoken. Who a connection is (client identifier, user name, password, its will) is filled in for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The version; there is no negotiation, a server refuses one that it does not know.
    pub version: Version,
    /// The first connection wants no session of before. In 3.1.1 it also means that the server keeps none.
    pub clean_start: bool,
    /// How long the server is to keep the session of a lost connection, in seconds; 0: not at all. Of version 5.
    pub session_expiry_s: u32,
    /// The longest silence of ours, in seconds; 0: none is promised. A server of version 5 may set another.
    pub keep_alive_s: u16,
    /// The most that is asked for of deliveries.
    pub subscribe_qos: Qos,
    /// Of publishes; less where a server of version 5 says that it takes less.
    pub publish_qos: Qos,
    /// Publishes are kept by the server for those who subscribe later.
    pub retain: bool,
    /// How many deliveries with a QoS above 0 the server may have under way to us, at least 1. Of version 5.
    pub receive_maximum: u16,
    /// How many topic aliases the server may use; 0: none. Of version 5.
    pub topic_alias_maximum: u16,
    /// Publishes use topic aliases, as many as the server allows. Of version 5.
    pub topic_aliases: bool,
    /// QoS of the will, of connections that have one.
    pub will_qos: Qos,
    /// The will is kept by the server.
    pub will_retain: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            version: Version::V5,
            clean_start: true,
            session_expiry_s: 0,
            keep_alive_s: 60,
            subscribe_qos: Qos::AtLeastOnce,
            publish_qos: Qos::AtLeastOnce,
            retain: false,
            receive_maximum: u16::MAX,
            topic_alias_maximum: 0,
            topic_aliases: false,
            will_qos: Qos::AtMostOnce,
            will_retain: false,
        }
    }
}

impl Config {
    /// The WebSocket subprotocol.
    pub fn subprotocols(&self) -> Vec<String> {
        vec!["mqtt".to_owned()]
    }

    /// Whether the server is asked to keep the session of a connection that is lost.
    pub fn resumes(&self) -> bool {
        match self.version {
            Version::V5 => self.session_expiry_s > 0,
            Version::V3_1_1 => !self.clean_start,
        }
    }
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// Of 2014.
    #[serde(rename = "3.1.1")]
    V3_1_1,
    /// Of 2019: reason codes, properties.
    #[serde(rename = "5")]
    V5,
}

impl Version {
    /// As it stands in CONNECT.
    pub fn level(self) -> u8 {
        match self {
            Version::V3_1_1 => 4,
            Version::V5 => 5,
        }
    }

    /// The one of this level.
    pub fn of_level(level: u8) -> Option<Self> {
        [Version::V3_1_1, Version::V5]
            .into_iter()
            .find(|version| version.level() == level)
    }
}

/// Quality of service: how often a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Qos {
    /// 0: at most once, not acknowledged.
    AtMostOnce,
    /// 1: at least once, by PUBACK.
    AtLeastOnce,
    /// 2: exactly once, by PUBREC, PUBREL and PUBCOMP.
    ExactlyOnce,
}

impl Qos {
    /// As a number.
    pub fn level(self) -> u8 {
        match self {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        }
    }

    /// Of a number; there is none above 2.
    pub fn of_level(level: u8) -> Option<Self> {
        [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]
            .into_iter()
            .find(|qos| qos.level() == level)
    }
}
