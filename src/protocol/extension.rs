//! What a JSON mapping may say beyond subscribing and publishing: heartbeats in messages, the service's own pings, refusals,
//! answers by id, several JSON texts in one message, and messages that come inside an acknowledgement.
//!
//! Groups whose mapping says nothing of this have no [`Extension`], and are asked nothing of it.

use super::config::Condition;
use super::pointer::{self, Found};
use super::template::{MessageTemplate, Values};
use serde::{Deserialize, Serialize};

/// More of a mapping. An empty pointer text means "not used".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    /// WebSocket subprotocols that it is spoken under, most wanted first; empty: the target's.
    pub subprotocols: Vec<String>,
    /// How a delivery is known; `None`: by its type.
    pub delivery: Option<Condition>,
    /// How it is known that the service refuses what it was asked for.
    pub refused: Option<Condition>,
    /// Pointer to the `{id}` of the subscription that a message is of or answers.
    pub subscription: String,
    /// The service's own pings.
    pub ping: Option<ServicePing>,
    /// Heartbeats that are messages instead of WebSocket pings.
    pub heartbeat: Option<Beat>,
    /// One message may hold several JSON texts, one a line.
    pub lines: bool,
    /// Deliveries inside the acknowledgement of a subscription that resumes.
    pub backlog: Option<Backlog>,
}

/// A ping that the service sends as a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicePing {
    /// How it is known.
    pub when: Condition,
    /// What it is answered with; `None`: nothing.
    pub answer: Option<String>,
}

/// A heartbeat in messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Beat {
    /// The service pings; that something came within a time is all that is asked.
    Service,
    /// We send this (`{id}` is a number that is never the same), and it is answered.
    Client {
        /// The message.
        send: String,
        /// How the answer is known.
        answered: Condition,
        /// Pointer, in the answer, to the `{id}` that it answers.
        id: String,
    },
}

/// Where deliveries stand in an acknowledgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// Pointer to the list.
    pub at: String,
    /// Pointer, in each of them, to the service's number of it.
    pub sequence: String,
}

/// A message that is between the service and the connection, and nobody's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside<'a> {
    /// The service pings, and is to be answered with this.
    Ping(Option<&'a str>),
    /// The answer to a heartbeat: to the one with this number, where it says so.
    Answer(Option<u64>),
}

/// An [`Extension`] ready to be used.
#[derive(Debug, Clone)]
pub(super) struct Extended {
    pub config: Extension,
    beat: Option<MessageTemplate>,
}

impl Extended {
    /// Compiles what is said; `None` where that is nothing.
    pub fn new(config: &Extension) -> Option<Box<Self>> {
        if *config == Extension::default() {
            return None;
        }
        let beat = match &config.heartbeat {
            Some(Beat::Client { send, .. }) => Some(MessageTemplate::compile(send)),
            _ => None,
        };
        Some(Box::new(Extended {
            config: config.clone(),
            beat,
        }))
    }

    /// What a message is, if it is an aside.
    pub fn aside(&self, message: &[u8]) -> Option<Aside<'_>> {
        if let Some(ping) = &self.config.ping
            && ping.when.matches(message)
        {
            return Some(Aside::Ping(ping.answer.as_deref()));
        }
        let Some(Beat::Client { answered, id, .. }) = &self.config.heartbeat else {
            return None;
        };
        if !answered.matches(message) {
            return None;
        }
        if id.is_empty() {
            return Some(Aside::Answer(None));
        }
        // An answer that names nothing answers nothing.
        pointer::lookup(message, id)?
            .number()
            .map(|number| Aside::Answer(Some(number)))
    }

    /// Appends a heartbeat; `false`, and nothing, where there is none to be sent.
    pub fn beat(&self, id: u64, out: &mut Vec<u8>) -> bool {
        let Some(beat) = &self.beat else { return false };
        let values = Values {
            id,
            ..Values::default()
        };
        beat.render(values, out);
        true
    }

    /// Whether the service refuses something.
    pub fn refuses(&self, message: &[u8]) -> bool {
        self.config
            .refused
            .as_ref()
            .is_some_and(|refused| refused.matches(message))
    }

    /// The `{id}` of the subscription that a message is of.
    pub fn subscription(&self, message: &[u8]) -> Option<u64> {
        let at = &self.config.subscription;
        (!at.is_empty())
            .then(|| pointer::lookup(message, at)?.number())
            .flatten()
    }

    /// The deliveries inside an acknowledgement, with the service's numbers of them.
    pub fn backlog<'a>(
        &'a self,
        message: &'a [u8],
    ) -> impl Iterator<Item = (Found<'a>, Option<u64>)> {
        let found =
            self.config.backlog.as_ref().and_then(|backlog| {
                Some((pointer::lookup(message, &backlog.at)?, &backlog.sequence))
            });
        found.into_iter().flat_map(|(list, sequence)| {
            list.elements().map(move |each| {
                let number = (!sequence.is_empty())
                    .then(|| pointer::lookup(each.raw(), sequence)?.number())
                    .flatten();
                (each, number)
            })
        })
    }
}

/// The JSON texts of a message that may hold several, one a line.
pub(super) fn lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests;
