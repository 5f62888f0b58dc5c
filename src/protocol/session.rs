//! The conversation of one connection, in a protocol that has one: what it says of its own accord, and what it makes of
//! what it hears. A state machine without I/O and without a clock: the caller brings messages and moments.
//!
//! `raw` and `json` need none. A session outlives its connection: what a protocol keeps for whoever comes back (a session
//! to be taken up, messages not acknowledged yet) is kept in it.

use super::config::ProtocolConfig;
use super::{mqtt, socket_io, stomp};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// In which form a WebSocket message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// Messages that are to be sent, in order. One for all connections of a shard: nothing is allocated once it is long enough.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    messages: Vec<(usize, Form)>,
}

impl Outgoing {
    /// Where a message is appended; [`Outgoing::seal`] ends it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Everything appended since the last seal is one message.
    pub fn seal(&mut self, form: Form) {
        self.messages.push((self.bytes.len(), form));
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The messages in order.
    pub fn messages(&self) -> impl Iterator<Item = (Form, &[u8])> {
        let starts = std::iter::once(0).chain(self.messages.iter().map(|(end, _)| *end));
        let ends = self.messages.iter();
        starts
            .zip(ends)
            .map(|(start, (end, form))| (*form, &self.bytes[start..*end]))
    }

    /// Empties it, and keeps its room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }
}

/// Who a connection says it is, as the scenario has it; the values are filled in for each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    fields: Vec<(Field, String)>,
}

/// What a connection says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Field {
    /// STOMP's `host`.
    Host,
    /// User name.
    Login,
    /// Password.
    Passcode,
    /// MQTT's client identifier.
    ClientId,
    /// JSON text that Socket.IO sends with its CONNECT packet.
    Auth,
    /// Topic of MQTT's will.
    WillTopic,
    /// Payload of MQTT's will.
    WillPayload,
}

impl Introduction {
    /// Of these fields.
    pub fn new(fields: Vec<(Field, String)>) -> Self {
        Introduction { fields }
    }

    /// A field's value, if there is one.
    pub fn get(&self, field: Field) -> Option<&str> {
        let found = self.fields.iter().find(|(f, _)| *f == field);
        found.map(|(_, value)| value.as_str())
    }
}

/// What the other side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// It takes the connection (CONNECTED, CONNACK, a namespace joined): business may begin.
    Connected {
        /// It has kept the session of before: subscriptions are in place, and what was missed follows.
        resumed: bool,
    },
    /// It does not take the connection.
    Refused {
        /// The protocol's reason code, 0 where there is none.
        code: u16,
        /// What it says, untrusted.
        text: &'a [u8],
    },
    /// A subscription is in place.
    Subscribed {
        /// Which: the number given to [`Session::subscribe`].
        place: u32,
    },
    /// A subscription was refused.
    NotSubscribed {
        /// Which.
        place: u32,
        /// The protocol's reason code, 0 where there is none.
        code: u16,
        /// What it says, untrusted.
        text: &'a [u8],
    },
    /// A delivery. It is acknowledged by the session, where the protocol wants that.
    Message {
        /// Its topic, where the protocol tells.
        topic: Option<Cow<'a, str>>,
        /// Its payload; a stamp in it is as it was sent.
        payload: &'a [u8],
        /// The other side says that it sends it again.
        again: bool,
        /// The session has refused it, as it was told to do now and then.
        refused: bool,
    },
    /// A message that the other side had kept from before the subscription: old by design, and no delivery of now.
    Retained,
    /// A publish is acknowledged.
    Acknowledged {
        /// Which: the number that [`Session::publish`] returned.
        id: u64,
    },
    /// A publish was refused.
    Rejected {
        /// Which.
        id: u64,
        /// The protocol's reason code, 0 where there is none.
        code: u16,
        /// What it says, untrusted.
        text: &'a [u8],
    },
    /// It complains, and may end the connection over it.
    Error {
        /// The protocol's reason code, 0 where there is none.
        code: u16,
        /// What it says, untrusted.
        text: &'a [u8],
    },
    /// The answer to [`Session::goodbye`].
    Gone,
    /// What began by polling goes on over this WebSocket.
    Upgraded,
    /// A sign of life, or anything else that asks for nothing.
    Other,
}

/// The other side broke the protocol; the text says how, in our words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation(pub &'static str);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Violation {}

/// What both sides agreed on about being silent, known once connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rhythm {
    /// [`Session::beat`] is to be called at least so often.
    pub send: Option<Duration>,
    /// When nothing at all was heard for so long, the other side is dead.
    pub hear: Option<Duration>,
}

/// What came of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// The message is in the outgoing ones, and nobody will acknowledge it.
    Sent,
    /// The same, and it will be acknowledged under this number.
    Awaiting(u64),
    /// As many as the other side allows wait for their acknowledgement: it may not be sent now.
    Full,
}

/// A conversation. A closed set: a protocol is a folder, a variant here, and its tests.
#[derive(Debug)]
pub enum Session {
    /// STOMP 1.0 to 1.2.
    Stomp(stomp::Session),
    /// MQTT 5 and 3.1.1.
    Mqtt(mqtt::Session),
    /// Socket.IO over Engine.IO.
    SocketIo(socket_io::Session),
}

/// The same call on whichever it is.
macro_rules! each {
    ($self:ident, $session:ident => $call:expr) => {
        match $self {
            Session::Stomp($session) => $call,
            Session::Mqtt($session) => $call,
            Session::SocketIo($session) => $call,
        }
    };
}

impl Session {
    /// One that has not begun; `None` for protocols that need none.
    pub fn new(config: &ProtocolConfig) -> Option<Self> {
        match config {
            ProtocolConfig::Raw | ProtocolConfig::Json(_) => None,
            ProtocolConfig::Stomp(config) => Some(Session::Stomp(stomp::Session::new(config))),
            ProtocolConfig::Mqtt(config) => Some(Session::Mqtt(mqtt::Session::new(config))),
            ProtocolConfig::SocketIo(config) => {
                Some(Session::SocketIo(socket_io::Session::new(config)))
            }
        }
    }

    /// A connection is there, the first or another one: what was of the last one only is forgotten, and the greeting, if it
    /// is ours to give, is appended.
    pub fn begin(&mut self, who: &Introduction, out: &mut Outgoing) {
        each!(self, session => session.begin(who, out));
    }

    /// The answer to the handshake by polling that this protocol begins with.
    ///
    /// # Errors
    /// When it is no such answer.
    pub fn polled(&mut self, answer: &[u8]) -> Result<socket_io::Polled, Violation> {
        match self {
            Session::SocketIo(session) => session.polled(answer),
            _ => Err(Violation("this protocol is not polled for")),
        }
    }

    /// The next event in these bytes, which are those of one WebSocket message and are cut off by what was read; `None`
    /// when there is nothing more in them. What is incomplete is kept, up to `max` bytes. Answers that the protocol asks for
    /// are appended.
    ///
    /// # Errors
    /// When the other side breaks the protocol: nothing can be read from it any more.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        form: Form,
        max: usize,
        out: &mut Outgoing,
    ) -> Result<Option<Event<'a>>, Violation> {
        each!(self, session => session.next(bytes, form, max, out))
    }

    /// Appends the request to subscribe to a topic, the `place`-th of the connection. True if it will be answered.
    pub fn subscribe(&mut self, place: u32, topic: &str, out: &mut Outgoing) -> bool {
        each!(self, session => session.subscribe(place, topic, out))
    }

    /// Appends a message with this payload, or says why not.
    pub fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outgoing) -> Publish {
        each!(self, session => session.publish(topic, payload, out))
    }

    /// What was agreed on about being silent.
    pub fn rhythm(&self) -> Rhythm {
        each!(self, session => session.rhythm())
    }

    /// Appends a sign of life.
    pub fn beat(&mut self, out: &mut Outgoing) {
        each!(self, session => session.beat(out));
    }

    /// Appends the goodbye, if there is one. True if it will be answered.
    pub fn goodbye(&mut self, out: &mut Outgoing) -> bool {
        each!(self, session => session.goodbye(out))
    }

    /// Whether the other side owes others a will should the connection be gone now.
    pub fn owes_will(&self) -> bool {
        match self {
            Session::Mqtt(session) => session.owes_will(),
            Session::Stomp(_) | Session::SocketIo(_) => false,
        }
    }

    /// The connection is gone, and of its publishes the last `unsent` have not left: they are forgotten. True if the others
    /// that wait for their acknowledgement are kept, to be sent again to a peer that has kept the session.
    pub fn lost(&mut self, unsent: usize) -> bool {
        each!(self, session => session.lost(unsent))
    }

    /// Whether the connection has a session that the other side may have kept: then [`Event::Connected`] tells.
    pub fn asks_to_resume(&self) -> bool {
        each!(self, session => session.asks_to_resume())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outgoing_messages_are_apart() {
        let mut out = Outgoing::default();
        assert!(out.is_empty());
        out.buffer().extend_from_slice(b"one");
        out.seal(Form::Text);
        out.seal(Form::Text);
        out.buffer().extend_from_slice(b"three");
        out.seal(Form::Binary);
        let messages: Vec<_> = out.messages().collect();
        let expected: [(Form, &[u8]); 3] = [
            (Form::Text, b"one"),
            (Form::Text, b""),
            (Form::Binary, b"three"),
        ];
        assert_eq!(messages, expected);
        out.clear();
        assert!(out.is_empty() && out.buffer().is_empty());
    }
}
