//! Numbers what is published, keeps what is to be kept of it, and decides who hears it. Without I/O: messages in, bytes
//! for each node out.

use std::collections::HashMap;

use serde::Serialize;
use tokio::time::Instant;

use super::super::history::{Keeper, Log, Since};
use super::super::hub::MAX_TOPICS;
use super::wire::{Down, Up, encode};

/// What the bus did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Messages numbered.
    pub published: u64,
    /// Messages sent to nodes: one for each node where somebody was subscribed.
    pub delivered: u64,
    /// Messages sent to nodes for a client that had missed them.
    pub recovered: u64,
    /// Messages not numbered because there were too many topics.
    pub refused: u64,
    /// Nodes cut off because they took nothing for too long.
    pub given_up: u64,
}

#[derive(Debug)]
pub(super) struct Sequencer {
    topics: HashMap<Box<str>, Numbered>,
    nodes: Vec<Outbox>,
    keeper: Option<Keeper>,
    pub traffic: Traffic,
    /// Scratch: a delivery is encoded once.
    frame: Vec<u8>,
}

#[derive(Debug, Default)]
struct Numbered {
    sequence: u64,
    /// Nodes with subscribers.
    interested: Vec<usize>,
    log: Option<Box<Log>>,
}

/// What waits for a node.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// Bytes taken to be written that are not written yet.
    writing: usize,
    gone: bool,
}

impl Sequencer {
    pub(super) fn new(nodes: usize, keeper: Option<Keeper>) -> Self {
        let mut all = Vec::new();
        all.resize_with(nodes, Outbox::default);
        Sequencer {
            topics: HashMap::new(),
            nodes: all,
            keeper,
            traffic: Traffic::default(),
            frame: Vec::new(),
        }
    }

    /// Acts on a node's message. `ring` is called with each node that has something to be written now
    /// and had nothing before.
    pub(super) fn take(&mut self, from: usize, message: &Up<'_>, mut ring: impl FnMut(usize)) {
        match *message {
            Up::Interest { topic } => {
                let numbered = self.numbered(topic);
                let sequence = numbered.map(|numbered| {
                    if !numbered.interested.contains(&from) {
                        numbered.interested.push(from);
                    }
                    numbered.sequence
                });
                self.tell(from, &Down::Interested { topic, sequence }, ring);
            }
            Up::Subscribe {
                topic,
                token,
                client,
                since,
            } => self.subscribe(from, topic, token, client, since, ring),
            Up::Disinterest { topic } => {
                if let Some(numbered) = self.topics.get_mut(topic) {
                    numbered.interested.retain(|node| *node != from);
                }
            }
            Up::Publish {
                topic,
                payload,
                token,
            } => {
                let sequence = self.number(topic, payload, &mut ring);
                if let Some(token) = token {
                    self.tell(from, &Down::Published { token, sequence }, ring);
                }
            }
            Up::Listening { .. } | Up::Failed { .. } | Up::Stats(_) => {}
        }
    }

    fn numbered(&mut self, topic: &str) -> Option<&mut Numbered> {
        if !self.topics.contains_key(topic) {
            if self.topics.len() >= MAX_TOPICS {
                return None;
            }
            let log = self
                .keeper
                .as_ref()
                .map(|keeper| Box::new(Log::new(keeper)));
            let numbered = Numbered {
                log,
                ..Numbered::default()
            };
            self.topics.insert(topic.into(), numbered);
        }
        self.topics.get_mut(topic)
    }

    /// A node's client subscribes: the node is interested, and the client brought what it missed, if that is kept.
    fn subscribe(
        &mut self,
        from: usize,
        topic: &str,
        token: u64,
        client: u64,
        since: Option<(u64, Option<&str>)>,
        mut ring: impl FnMut(usize),
    ) {
        let known = self.numbered(topic).is_some();
        let Some((numbered, keeper)) = self.topics.get_mut(topic).zip(self.keeper.as_ref()) else {
            debug_assert!(!known, "nodes subscribe so where there is a history");
            return self.tell(
                from,
                &Down::Subscribed {
                    token,
                    answer: None,
                },
                ring,
            );
        };
        if !numbered.interested.contains(&from) {
            numbered.interested.push(from);
        }
        let sequence = numbered.sequence;
        let since = since.map(|(sequence, epoch)| Since { sequence, epoch });
        let log = numbered
            .log
            .get_or_insert_with(|| Box::new(Log::new(keeper)));
        let (standing, missing) = log.answer(since, sequence, keeper, Instant::now());
        let answer = Some((sequence, standing.epoch, standing.recovered));
        let mut frames = std::mem::take(&mut self.frame);
        frames.clear();
        encode(&Down::Subscribed { token, answer }, &mut frames);
        for (sequence, payload) in missing {
            let message = Down::Missed {
                topic,
                client,
                sequence,
                payload,
            };
            encode(&message, &mut frames);
            self.traffic.recovered += 1;
        }
        self.queue(from, &frames, &mut ring);
        frames.shrink_to(64 * 1024);
        self.frame = frames;
    }

    fn number(&mut self, topic: &str, payload: &str, ring: impl FnMut(usize)) -> Option<u64> {
        if self.numbered(topic).is_none() {
            self.traffic.refused += 1;
            return None;
        }
        let numbered = self.topics.get_mut(topic)?;
        numbered.sequence += 1;
        let sequence = numbered.sequence;
        if let (Some(log), Some(keeper)) = (&mut numbered.log, &self.keeper) {
            log.keep(payload, keeper, Instant::now());
        }
        let interested = std::mem::take(&mut numbered.interested);
        self.traffic.published += 1;
        self.traffic.delivered += interested.len() as u64;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        encode(
            &Down::Deliver {
                topic,
                sequence,
                payload,
            },
            &mut frame,
        );
        let mut ring = ring;
        for node in &interested {
            self.queue(*node, &frame, &mut ring);
        }
        frame.shrink_to(64 * 1024);
        self.frame = frame;
        if let Some(numbered) = self.topics.get_mut(topic) {
            numbered.interested = interested;
        }
        Some(sequence)
    }

    /// Says something to one node.
    pub(super) fn tell(&mut self, node: usize, message: &Down<'_>, mut ring: impl FnMut(usize)) {
        let mut frame = Vec::new();
        encode(message, &mut frame);
        self.queue(node, &frame, &mut ring);
    }

    fn queue(&mut self, node: usize, frame: &[u8], ring: &mut impl FnMut(usize)) {
        if let Some(outbox) = self.nodes.get_mut(node)
            && !outbox.gone
        {
            if outbox.bytes.is_empty() {
                ring(node);
            }
            outbox.bytes.extend_from_slice(frame);
        }
    }

    /// Takes what waits for a node, to be written; what was taken before has been. `None`: it is gone.
    pub(super) fn batch(&mut self, node: usize, written: &mut Vec<u8>) -> Option<()> {
        let outbox = self.nodes.get_mut(node).filter(|outbox| !outbox.gone)?;
        written.clear();
        std::mem::swap(&mut outbox.bytes, written);
        outbox.writing = written.len();
        Some(())
    }

    /// Whether so many bytes wait for any node.
    pub(super) fn any_waiting(&self, bytes: usize) -> bool {
        self.nodes
            .iter()
            .any(|outbox| outbox.bytes.len() + outbox.writing >= bytes)
    }

    /// A node is there anew in the place of one that is gone.
    pub(super) fn rejoin(&mut self, node: usize) {
        if let Some(outbox) = self.nodes.get_mut(node) {
            *outbox = Outbox::default();
        }
    }

    /// The node is gone: nothing waits for it any more.
    pub(super) fn leave(&mut self, node: usize) {
        if let Some(outbox) = self.nodes.get_mut(node)
            && !outbox.gone
        {
            *outbox = Outbox {
                gone: true,
                ..Outbox::default()
            };
            for numbered in self.topics.values_mut() {
                numbered.interested.retain(|other| *other != node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Inbox;
    use super::*;

    /// What a node is told.
    async fn told(sequencer: &mut Sequencer, node: usize) -> Vec<String> {
        let mut bytes = Vec::new();
        sequencer.batch(node, &mut bytes).unwrap();
        let mut inbox = Inbox::default();
        let mut all = Vec::new();
        let mut rest = &bytes[..];
        while inbox.fill(&mut rest).await.unwrap() {
            while let Some(message) = inbox.next::<Down<'_>>().unwrap() {
                all.push(match message {
                    Down::Deliver {
                        topic,
                        sequence,
                        payload,
                    } => format!("{topic}{sequence}={payload}"),
                    Down::Interested { topic, sequence } => format!("{topic}?{sequence:?}"),
                    Down::Published { token, sequence } => format!("#{token}:{sequence:?}"),
                    other => format!("{other:?}"),
                });
            }
        }
        all
    }

    fn publish<'a>(topic: &'a str, payload: &'a str, token: Option<u64>) -> Up<'a> {
        Up::Publish {
            topic,
            payload,
            token,
        }
    }

    #[tokio::test]
    async fn numbers_once_for_all_and_tells_those_who_want_to_hear() {
        let mut bus = Sequencer::new(3, None);
        let mut rung = Vec::new();
        let mut take = |bus: &mut Sequencer, from, message: Up<'_>| {
            bus.take(from, &message, |node| rung.push(node));
        };
        take(&mut bus, 0, publish("a", "x", Some(1)));
        take(&mut bus, 1, Up::Interest { topic: "a" });
        take(&mut bus, 0, publish("a", "y", None));
        take(&mut bus, 2, publish("b", "z", Some(1)));
        take(&mut bus, 2, Up::Interest { topic: "a" });
        take(&mut bus, 1, publish("a", "w", Some(1)));
        take(&mut bus, 1, Up::Disinterest { topic: "a" });
        take(&mut bus, 0, publish("a", "v", None));
        assert_eq!(told(&mut bus, 0).await, ["#1:Some(1)"]);
        assert_eq!(
            told(&mut bus, 1).await,
            ["a?Some(1)", "a2=y", "a3=w", "#1:Some(3)"]
        );
        assert_eq!(
            told(&mut bus, 2).await,
            ["#1:Some(1)", "a?Some(2)", "a3=w", "a4=v"]
        );
        assert_eq!(rung, [0, 1, 2], "once until it is taken");
        let Traffic {
            published,
            delivered,
            ..
        } = bus.traffic;
        assert_eq!((published, delivered), (5, 4));
    }

    #[tokio::test]
    async fn counts_what_waits_until_it_is_written() {
        let mut bus = Sequencer::new(2, None);
        bus.take(1, &Up::Interest { topic: "a" }, |_| {});
        bus.take(0, &publish("a", "0123456789", None), |_| {});
        let mut bytes = Vec::new();
        assert!(bus.any_waiting(20));
        bus.batch(1, &mut bytes).unwrap();
        assert!(bus.any_waiting(20), "taken, not written");
        bus.batch(1, &mut bytes).unwrap();
        assert!(!bus.any_waiting(1));
        bus.take(0, &publish("a", "0123456789", None), |_| {});
        bus.leave(1);
        assert!(!bus.any_waiting(1));
        bus.take(0, &publish("a", "0123456789", None), |_| {});
        assert!(!bus.any_waiting(1), "nothing is kept for who is gone");
        assert!(bus.batch(1, &mut bytes).is_none());
        assert_eq!(bus.traffic.delivered, 2);
    }

    #[tokio::test]
    async fn one_topic_too_many_is_refused() {
        let mut bus = Sequencer::new(1, None);
        for n in 0..MAX_TOPICS {
            bus.take(0, &publish(&n.to_string(), "1", None), |_| {});
        }
        bus.take(0, &publish("new", "1", Some(5)), |_| {});
        bus.take(0, &Up::Interest { topic: "newer" }, |_| {});
        bus.take(0, &publish("0", "1", Some(6)), |_| {});
        assert_eq!(
            told(&mut bus, 0).await,
            ["#5:None", "newer?None", "#6:Some(2)"]
        );
        assert_eq!(bus.traffic.refused, 1);
    }
}
