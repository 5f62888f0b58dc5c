//! The properties of version 5: which there are, of what kind, and in which packets they may stand.

use super::wire::{Broken, Reader, malformed, protocol_error, put_binary, put_text, put_variable};

/// A property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // The specification's names.
pub enum Name {
    PayloadFormat = 0x01,
    MessageExpiry = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiry = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelay = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQos = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardsAvailable = 0x28,
    SubscriptionIdentifiersAvailable = 0x29,
    SharedAvailable = 0x2A,
}

/// What a property's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One byte, 0 or 1.
    Flag,
    Two,
    /// Two bytes, not 0.
    TwoPositive,
    Four,
    /// Four bytes, not 0.
    FourPositive,
    Variable,
    Text,
    Binary,
    Pair,
}

/// A property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of one byte.
    Byte(u8),
    /// Of two.
    Two(u16),
    /// Of four.
    Four(u32),
    /// Of one to four.
    Variable(u32),
    /// A string.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// A name and a value of somebody's own.
    Pair(&'a str, &'a str),
}

/// Where a property may stand: the packet's type, 0 for a will.
pub(super) const WILL: u8 = 0;

const CONNECT: u16 = 1 << 1;
const CONNACK: u16 = 1 << 2;
const PUBLISH: u16 = 1 << 3;
const ACKS: u16 = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7;
const SUBSCRIBE: u16 = 1 << 8;
const SUBACK: u16 = 1 << 9;
const UNSUBACK: u16 = 1 << 11;
const DISCONNECT: u16 = 1 << 14;
const AUTH: u16 = 1 << 15;
const MESSAGE: u16 = PUBLISH | 1 << WILL;

/// Name, kind, and the packets it may stand in. Table 2-4 of the specification.
const TABLE: [(Name, Kind, u16); 27] = [
    (Name::PayloadFormat, Kind::Flag, MESSAGE),
    (Name::MessageExpiry, Kind::Four, MESSAGE),
    (Name::ContentType, Kind::Text, MESSAGE),
    (Name::ResponseTopic, Kind::Text, MESSAGE),
    (Name::CorrelationData, Kind::Binary, MESSAGE),
    (
        Name::SubscriptionIdentifier,
        Kind::Variable,
        PUBLISH | SUBSCRIBE,
    ),
    (
        Name::SessionExpiry,
        Kind::Four,
        CONNECT | CONNACK | DISCONNECT,
    ),
    (Name::AssignedClientIdentifier, Kind::Text, CONNACK),
    (Name::ServerKeepAlive, Kind::Two, CONNACK),
    (
        Name::AuthenticationMethod,
        Kind::Text,
        CONNECT | CONNACK | AUTH,
    ),
    (
        Name::AuthenticationData,
        Kind::Binary,
        CONNECT | CONNACK | AUTH,
    ),
    (Name::RequestProblemInformation, Kind::Flag, CONNECT),
    (Name::WillDelay, Kind::Four, 1 << WILL),
    (Name::RequestResponseInformation, Kind::Flag, CONNECT),
    (Name::ResponseInformation, Kind::Text, CONNACK),
    (Name::ServerReference, Kind::Text, CONNACK | DISCONNECT),
    (
        Name::ReasonString,
        Kind::Text,
        CONNACK | ACKS | SUBACK | UNSUBACK | DISCONNECT | AUTH,
    ),
    (Name::ReceiveMaximum, Kind::TwoPositive, CONNECT | CONNACK),
    (Name::TopicAliasMaximum, Kind::Two, CONNECT | CONNACK),
    (Name::TopicAlias, Kind::Two, PUBLISH),
    (Name::MaximumQos, Kind::Flag, CONNACK),
    (Name::RetainAvailable, Kind::Flag, CONNACK),
    // In all that have properties.
    (Name::UserProperty, Kind::Pair, u16::MAX),
    (
        Name::MaximumPacketSize,
        Kind::FourPositive,
        CONNECT | CONNACK,
    ),
    (Name::WildcardsAvailable, Kind::Flag, CONNACK),
    (Name::SubscriptionIdentifiersAvailable, Kind::Flag, CONNACK),
    (Name::SharedAvailable, Kind::Flag, CONNACK),
];

/// The properties of a packet, as they came. They were looked through once: whatever is in here can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// No properties.
    pub const NONE: Properties<'static> = Properties(&[]);

    /// Of a packet of this type, behind their length.
    pub(super) fn read(reader: &mut Reader<'a>, packet: u8) -> Result<Self, Broken> {
        let length = reader.variable()?;
        let bytes = reader.take(length as usize)?;
        let mut inner = Reader::new(bytes);
        let mut seen = 0u64;
        while !inner.is_empty() {
            let (name, value, packets) = one(&mut inner)?;
            if packets & 1 << packet == 0 {
                return Err(protocol_error("a property stands where it may not"));
            }
            let bit = 1 << name as u8;
            let repeats = name == Name::UserProperty
                || name == Name::SubscriptionIdentifier && 1 << packet == PUBLISH;
            if seen & bit != 0 && !repeats {
                return Err(protocol_error("a property stands twice"));
            }
            seen |= bit;
            if name == Name::SubscriptionIdentifier && value == Value::Variable(0) {
                return Err(protocol_error("a subscription identifier is 0"));
            }
        }
        Ok(Properties(bytes))
    }

    /// Appends their length and them.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        put_variable(self.0.len(), out);
        out.extend_from_slice(self.0);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Value<'a>)> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || {
            let (name, value, _) = one(&mut reader).ok()?;
            Some((name, value))
        })
    }

    fn find(&self, name: Name) -> Option<Value<'a>> {
        if self.is_empty() {
            return None;
        }
        self.iter()
            .find(|(of, _)| *of == name)
            .map(|(_, value)| value)
    }

    /// A property that is a number.
    pub fn number(&self, name: Name) -> Option<u32> {
        match self.find(name)? {
            Value::Byte(value) => Some(value.into()),
            Value::Two(value) => Some(value.into()),
            Value::Four(value) | Value::Variable(value) => Some(value),
            Value::Text(_) | Value::Binary(_) | Value::Pair(..) => None,
        }
    }

    /// A property that is a number of one or two bytes.
    pub fn small(&self, name: Name) -> Option<u16> {
        self.number(name)
            .and_then(|number| u16::try_from(number).ok())
    }

    /// A property that is a string.
    pub fn text(&self, name: Name) -> Option<&'a str> {
        match self.find(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The next property, and where it may stand.
fn one<'a>(reader: &mut Reader<'a>) -> Result<(Name, Value<'a>, u16), Broken> {
    let id = reader.byte()?;
    let found = TABLE.iter().find(|(name, ..)| *name as u8 == id);
    let (name, kind, packets) = *found.ok_or(malformed("a property that there is not"))?;
    let value = match kind {
        Kind::Flag => match reader.byte()? {
            flag @ 0..=1 => Value::Byte(flag),
            _ => return Err(protocol_error("a property is neither 0 nor 1")),
        },
        Kind::Two => Value::Two(reader.two()?),
        Kind::TwoPositive => match reader.two()? {
            0 => return Err(protocol_error("a property is 0 that may not be")),
            value => Value::Two(value),
        },
        Kind::Four => Value::Four(reader.four()?),
        Kind::FourPositive => match reader.four()? {
            0 => return Err(protocol_error("a property is 0 that may not be")),
            value => Value::Four(value),
        },
        Kind::Variable => Value::Variable(reader.variable()?),
        Kind::Text => Value::Text(reader.text()?),
        Kind::Binary => Value::Binary(reader.binary()?),
        Kind::Pair => Value::Pair(reader.text()?, reader.text()?),
    };
    Ok((name, value, packets))
}

/// Properties to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List(Vec<u8>);

impl List {
    /// Appends one.
    pub fn put(&mut self, name: Name, value: Value<'_>) -> &mut Self {
        let out = &mut self.0;
        out.push(name as u8);
        match value {
            Value::Byte(value) => out.push(value),
            Value::Two(value) => out.extend_from_slice(&value.to_be_bytes()),
            Value::Four(value) => out.extend_from_slice(&value.to_be_bytes()),
            Value::Variable(value) => put_variable(value as usize, out),
            Value::Text(text) => put_text(text, out),
            Value::Binary(bytes) => put_binary(bytes, out),
            Value::Pair(name, value) => {
                put_text(name, out);
                put_text(value, out);
            }
        }
        self
    }

    /// As they stand in a packet.
    pub fn properties(&self) -> Properties<'_> {
        Properties(&self.0)
    }
}

/// The bytes of a topic alias, for [`alias`].
pub(super) fn alias_bytes(alias: u16) -> [u8; 3] {
    let [high, low] = alias.to_be_bytes();
    [Name::TopicAlias as u8, high, low]
}

/// Of a topic alias alone, which many publishes have: no list on the heap.
pub(super) fn alias(bytes: &[u8; 3]) -> Properties<'_> {
    Properties(bytes)
}
