//! What a connection speaks where it is not the [JSON dialect](super::dialect), and how another tongue is added.
//!
//! The hub knows asks and JSON only, so that plain connections stay as fast as they are. A connection that speaks something
//! else has a [`Tongue`], which turns its client's messages into [`Ask`]s, and what the hub has for the client, read once more
//! as [`Told`](told::Told), into its own messages. This is a reference target, not a broker: the second reading costs what it costs.
//!
//! **Another one** is a file in `tongue/`, a variant here with an arm in each method, a line in [`Tongue::choose`], and its tests
//! in `gateway/tests/`:
//!
//! - [`greet`](Tongue::greet) is for those who speak first.
//! - [`next`](Tongue::next) takes one WebSocket message in steps. What the client asks for is returned and done; `id`s (JSON text,
//!   see [`told::quote`]) come back with the answer, which is how a receipt finds its way. What is answered at once, greetings and
//!   the like, is appended to `out`, in order with the answers that the hub gives.
//! - [`tell`](Tongue::tell) takes what the hub has for the client: deliveries, answers by their `id`, errors.
//! - [`rhythm`](Tongue::rhythm) says how often [`beat`](Tongue::beat) is called, and how long the client may be silent before
//!   [`silent`](Tongue::silent) has the last word and it is closed with 1011. The upgrade's own patience is up to it too: a tongue
//!   that is to be greeted is not in a hurry for ever.
//! - Tokens: a client that shows a right one with its upgrade is let in as any other. One that shows none is, if its tongue
//!   [has a login](Tongue::logs_in) of its own, which then has to check it (`trusted` says whether that is done).
//! - [`last_will`](Tongue::last_will) is what a client that is gone left to be published.
//! - A payload that is not UTF-8 is `{"base64":"…"}` on the hub; [`told::payload`] and [`told::Payload`] see to that.

mod mqtt;
pub(super) mod socket_io;
mod stomp;
pub(super) mod told;

use super::Config;
use super::auth::Pass;
use super::client::Close;
use super::dialect::Ask;
use super::frame::Frame;
use crate::protocol::{Form, Outgoing, Rhythm};

/// A connection's own language, and where its conversation stands. One that speaks JSON has none.
#[derive(Debug)]
pub(super) enum Tongue {
    /// STOMP 1.0 to 1.2.
    Stomp(stomp::Stomp),
    /// MQTT 5 and 3.1.1.
    Mqtt(Box<mqtt::Mqtt>),
    /// Socket.IO over Engine.IO.
    SocketIo(socket_io::SocketIo),
}

/// What a client has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// It asks the gateway for something.
    Ask(Ask<'a>),
    /// What it wanted is answered, or wants no answer.
    Other,
    /// It has shown who it is, and is welcomed by what is appended.
    Shown(Pass),
    /// It is to be closed once it was told everything.
    Leave(Close),
}

impl Tongue {
    /// What an upgrade at this path with these subprotocols on offer will speak, and the subprotocol that is taken. The first
    /// that names a tongue decides; without any it is JSON, which has no name: then whatever the client likes best is right.
    pub(super) fn choose<'h>(
        path: &str,
        offered: impl Iterator<Item = &'h str>,
    ) -> (Option<Self>, Option<&'h str>) {
        if socket_io::PATHS.contains(&path) {
            return (Some(Tongue::SocketIo(Default::default())), None);
        }
        let mut first = None;
        for name in offered {
            if stomp::speaks(name) {
                return (Some(Tongue::Stomp(stomp::Stomp::default())), Some(name));
            }
            if name == mqtt::SUBPROTOCOL {
                return (Some(Tongue::Mqtt(Box::default())), Some(name));
            }
            first = first.or(Some(name));
        }
        (None, first)
    }

    /// Whether its clients show who they are in their own words, and need not with the upgrade.
    pub(super) fn logs_in(&self) -> bool {
        match self {
            Tongue::Stomp(_) | Tongue::Mqtt(_) | Tongue::SocketIo(_) => true,
        }
    }

    /// The client has shown a right token with its upgrade.
    pub(super) fn trust(&mut self) {
        match self {
            Tongue::Stomp(stomp) => stomp.trusted = true,
            Tongue::Mqtt(mqtt) => mqtt.trusted = true,
            Tongue::SocketIo(socket_io) => socket_io.trusted = true,
        }
    }

    /// The upgrade is done: appends what the gateway says first, if it does.
    pub(super) fn greet(&mut self, client: u64, config: &Config, out: &mut Outgoing) {
        match self {
            Tongue::Stomp(_) | Tongue::Mqtt(_) => {}
            Tongue::SocketIo(socket_io) => socket_io.greet(client, config, out),
        }
    }

    /// The next thing in these bytes, which are those of one message and are cut off by what was read; `None`: all is read.
    /// Answers that need nobody else are appended, and go out before those to what is returned.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        form: Form,
        config: &Config,
        out: &mut Outgoing,
    ) -> Option<Heard<'a>> {
        match self {
            Tongue::Stomp(stomp) => stomp.next(bytes, form, config, out),
            Tongue::Mqtt(mqtt) => mqtt.next(bytes, form, config, out),
            Tongue::SocketIo(socket_io) => socket_io.next(bytes, form, config, out),
        }
    }

    /// Appends what the hub has for the client in its own words: any number of messages. A close is done after everything
    /// that is queued.
    pub(super) fn tell(&mut self, frame: &Frame, out: &mut Outgoing) -> Option<Close> {
        let told = told::read(frame.payload());
        match self {
            Tongue::Stomp(stomp) => stomp.tell(told, out),
            Tongue::Mqtt(mqtt) => mqtt.tell(told, out),
            Tongue::SocketIo(socket_io) => {
                socket_io.tell(told, frame.payload(), out);
                None
            }
        }
    }

    /// What was agreed on about being silent. It is asked for anew after everything that is heard.
    pub(super) fn rhythm(&self, config: &Config) -> Rhythm {
        match self {
            Tongue::Stomp(stomp) => stomp.rhythm(config),
            Tongue::Mqtt(mqtt) => mqtt.rhythm(config),
            Tongue::SocketIo(socket_io) => socket_io.rhythm(config),
        }
    }

    /// Appends a sign of life.
    pub(super) fn beat(&mut self, out: &mut Outgoing) {
        match self {
            Tongue::Stomp(_) => stomp::beat(out),
            // Only clients give them.
            Tongue::Mqtt(_) => {}
            Tongue::SocketIo(_) => socket_io::beat(out),
        }
    }

    /// The client is gone: topic and payload of what it left to be published.
    pub(super) fn last_will(&mut self) -> Option<(Box<str>, Box<[u8]>)> {
        match self {
            Tongue::Stomp(_) | Tongue::SocketIo(_) => None,
            Tongue::Mqtt(mqtt) => mqtt.last_will(),
        }
    }

    /// The client was silent for too long: appends the last words, if there are any.
    pub(super) fn silent(&mut self, out: &mut Outgoing) {
        match self {
            Tongue::Stomp(stomp) => stomp.silent(out),
            Tongue::Mqtt(mqtt) => mqtt.silent(out),
            Tongue::SocketIo(_) => {}
        }
    }

    /// The gateway closes the connection with this code of its own accord: appends what is said before the Close frame.
    pub(super) fn farewell(&mut self, code: u16, out: &mut Outgoing) {
        match self {
            Tongue::Stomp(_) | Tongue::SocketIo(_) => {}
            Tongue::Mqtt(mqtt) => mqtt.farewell(code, out),
        }
    }
}
