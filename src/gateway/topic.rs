//! A topic: its numbering, its subscribers, and what is done for each of them.
//!
//! A gateway on its own numbers its topics itself. On a node of several the bus does, and the topic is
//! heard from there as long as anybody is subscribed here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::Instant;

use super::bus::wire::Up;
use super::client::Client;
use super::frame::Frame;
use super::hub::Hub;
use super::stats::{Counters, add};
use super::{Misbehave, dialect};

/// A delivery held for swapping goes out by itself if none follows for this long.
const HOLD: Duration = Duration::from_secs(2);

/// A topic: its numbering and its subscribers.
#[derive(Debug)]
pub(super) struct Topic {
    name: Box<str>,
    head: String,
    state: Mutex<TopicState>,
}

#[derive(Debug)]
struct TopicState {
    /// Of the last message; on a node, of the last one that was heard of.
    sequence: u64,
    subscriptions: IndexMap<u64, Subscription>,
    source: Source,
}

/// Where a topic's messages come from.
#[derive(Debug)]
enum Source {
    /// Published here.
    Here,
    /// From the bus, were anybody subscribed.
    Unheard,
    /// From the bus, which has been asked; these are answered when it has answered.
    Asked(Vec<Ack>),
    /// From the bus.
    Bus,
}

/// An acknowledgement that is owed.
#[derive(Debug)]
pub(super) struct Ack {
    pub client: Arc<Client>,
    /// `subscribed`, `unsubscribed` or `published`.
    pub kind: &'static str,
    pub id: Option<Box<str>>,
}

impl Ack {
    /// Gives it. Whoever is not the client's task wakes the one returned.
    pub(super) fn give(self, topic: &str, sequence: u64, counters: &Counters) -> Option<Waker> {
        let text = dialect::done(self.kind, topic, self.id.as_deref(), sequence);
        add(&counters.replies, 1);
        self.client.reply(Frame::text(text), counters)
    }

    /// There are too many topics.
    pub(super) fn refuse(self, counters: &Counters) -> Option<Waker> {
        add(&counters.replies, 1);
        let text = dialect::too_many_topics(self.id.as_deref());
        self.client.reply(Frame::text(text), counters)
    }
}

#[derive(Debug)]
pub(super) struct Subscription {
    client: Arc<Client>,
    /// Deliveries owed so far, which `*_every` count.
    deliveries: u64,
    /// The delivery that waits to be overtaken by the next, with its number among the deliveries.
    held: Option<Box<(u64, Frame)>>,
}

impl Topic {
    /// A topic without subscribers; `joined`: the bus numbers it.
    pub(super) fn new(name: &str, joined: bool) -> Self {
        let source = if joined {
            Source::Unheard
        } else {
            Source::Here
        };
        Topic {
            name: name.into(),
            head: dialect::delivery_head(name),
            state: Mutex::new(TopicState {
                sequence: 0,
                subscriptions: IndexMap::new(),
                source,
            }),
        }
    }

    /// The name as clients wrote it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Subscribes, and gives the acknowledgement before anything more is delivered: no later message is
    /// missed. Called by the client's own task, which nobody needs to wake.
    pub(super) fn subscribe(&self, ack: Ack, hub: &Hub) {
        let mut state = self.state();
        let client = &ack.client;
        state
            .subscriptions
            .entry(client.id)
            .or_insert_with(|| Subscription {
                client: Arc::clone(client),
                deliveries: 0,
                held: None,
            });
        if let (Source::Unheard, Some(bus)) = (&state.source, &hub.bus) {
            bus.send(&Up::Interest { topic: &self.name });
            state.source = Source::Asked(Vec::new());
        }
        self.acknowledge(state, ack, hub);
    }

    /// Unsubscribes, if subscribed, and gives the acknowledgement, if one is wanted.
    pub(super) fn unsubscribe(&self, client: &Client, ack: Option<Ack>, hub: &Hub) {
        let mut state = self.state();
        if let Some(gone) = state.subscriptions.swap_remove(&client.id) {
            add(&hub.counters.discarded, u64::from(gone.held.is_some()));
            self.hear_no_more(&mut state, hub);
        }
        if let Some(ack) = ack {
            self.acknowledge(state, ack, hub);
        }
    }

    fn acknowledge(&self, mut state: MutexGuard<'_, TopicState>, ack: Ack, hub: &Hub) {
        match (&mut state.source, &hub.bus) {
            (Source::Asked(owed), Some(bus)) => {
                bus.owe(1);
                owed.push(ack);
            }
            _ => drop(ack.give(&self.name, state.sequence, &hub.counters)),
        }
    }

    fn hear_no_more(&self, state: &mut TopicState, hub: &Hub) {
        if let (Source::Bus, Some(bus), true) =
            (&state.source, &hub.bus, state.subscriptions.is_empty())
        {
            bus.send(&Up::Disinterest { topic: &self.name });
            state.source = Source::Unheard;
        }
    }

    /// The bus has answered: its messages after `sequence` come from now on. `None`: there are too many
    /// topics.
    pub(super) fn heard(&self, sequence: Option<u64>, hub: &Hub, wakers: &mut Vec<Waker>) {
        let mut state = self.state();
        let Source::Asked(owed) = std::mem::replace(&mut state.source, Source::Unheard) else {
            return;
        };
        if let Some(bus) = &hub.bus {
            bus.paid(owed.len());
        }
        match sequence {
            Some(sequence) => {
                state.sequence = sequence;
                state.source = Source::Bus;
                for ack in owed {
                    wakers.extend(ack.give(&self.name, sequence, &hub.counters));
                }
                self.hear_no_more(&mut state, hub);
            }
            None => {
                state.subscriptions.clear();
                for ack in owed {
                    wakers.extend(ack.refuse(&hub.counters));
                }
            }
        }
    }

    /// Publishes: numbers the message and delivers it, or has the bus do so. Those to be woken are added
    /// to `wakers`. Returns the number of deliveries made here and now.
    pub(super) fn publish(
        self: &Arc<Self>,
        payload: &str,
        ack: Option<Ack>,
        hub: &Arc<Hub>,
        wakers: &mut Vec<Waker>,
    ) -> usize {
        add(&hub.counters.published, 1);
        if let Some(bus) = &hub.bus {
            bus.publish(self, payload, ack);
            return 0;
        }
        let mut state = self.state();
        state.sequence += 1;
        let sequence = state.sequence;
        let count = self.fan_out(state, payload, hub, wakers);
        if let Some(ack) = ack {
            drop(ack.give(&self.name, sequence, &hub.counters));
        }
        count
    }

    /// Delivers what the bus has numbered. Returns the number of deliveries.
    pub(super) fn deliver(
        self: &Arc<Self>,
        sequence: u64,
        payload: &str,
        hub: &Arc<Hub>,
        wakers: &mut Vec<Waker>,
    ) -> usize {
        let mut state = self.state();
        // What was on its way when the last subscriber left is nobody's; whoever has come since is
        // answered with a later number.
        if !matches!(state.source, Source::Bus) {
            return 0;
        }
        state.sequence = sequence;
        self.fan_out(state, payload, hub, wakers)
    }

    /// Queues the message of the current number for every subscriber; it is written once.
    fn fan_out(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, TopicState>,
        payload: &str,
        hub: &Arc<Hub>,
        wakers: &mut Vec<Waker>,
    ) -> usize {
        let count = state.subscriptions.len();
        if count == 0 {
            return 0;
        }
        let knobs = &hub.config.misbehave;
        let due = knobs.delay.map(|delay| Instant::now() + delay);
        let frame = Frame::text(dialect::delivery(&self.head, state.sequence, payload));
        let mut tally = Tally::default();
        for subscription in state.subscriptions.values_mut() {
            if subscription.deliver(&frame, due, knobs, hub, &mut tally, wakers) {
                release_later(hub, self, subscription);
            }
        }
        drop(state);
        tally.settle(count as u64, &hub.counters);
        count
    }

    /// Adds the subscribers whose queue is full.
    pub(super) fn full(&self, to: &mut Vec<Arc<Client>>) {
        let state = self.state();
        let all = state.subscriptions.values().map(|of| &of.client);
        to.extend(all.filter(|client| client.full()).map(Arc::clone));
    }

    fn state(&self) -> MutexGuard<'_, TopicState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of one publish, added to the shared counters once.
#[derive(Default)]
struct Tally {
    dropped: u64,
    duplicated: u64,
    reordered: u64,
}

impl Tally {
    fn settle(self, deliveries: u64, counters: &Counters) {
        add(&counters.deliveries, deliveries + self.duplicated);
        add(&counters.dropped_on_purpose, self.dropped);
        add(&counters.duplicated, self.duplicated);
        add(&counters.reordered, self.reordered);
    }
}

impl Subscription {
    /// Queues a delivery, or does with it what the knobs say. True when it is held back now.
    fn deliver(
        &mut self,
        frame: &Frame,
        due: Option<Instant>,
        knobs: &Misbehave,
        hub: &Hub,
        tally: &mut Tally,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        self.deliveries += 1;
        let hits = |every: Option<u32>| {
            every.is_some_and(|every| self.deliveries.is_multiple_of(u64::from(every)))
        };
        if hits(knobs.drop_every) {
            tally.dropped += 1;
            return false;
        }
        if hits(knobs.reorder_every) && self.held.is_none() {
            self.held = Some(Box::new((self.deliveries, frame.clone())));
            return true;
        }
        let mut queue = |frame: Frame| {
            wakers.extend(hub.deliver(&self.client, frame, due));
        };
        queue(frame.clone());
        if hits(knobs.duplicate_every) {
            tally.duplicated += 1;
            queue(frame.clone());
        }
        if let Some(held) = self.held.take() {
            let (_, overtaken) = *held;
            tally.reordered += 1;
            queue(overtaken);
        }
        false
    }
}

/// Sees to it that a held delivery is not held for ever.
fn release_later(hub: &Arc<Hub>, topic: &Arc<Topic>, subscription: &Subscription) {
    let (hub, topic) = (Arc::clone(hub), Arc::clone(topic));
    let (id, number) = (subscription.client.id, subscription.deliveries);
    tokio::spawn(async move {
        tokio::time::sleep(HOLD).await;
        let waker = {
            let mut state = topic.state();
            state.subscriptions.get_mut(&id).and_then(|subscription| {
                let held = subscription.held.take_if(|held| held.0 == number)?;
                hub.deliver(&subscription.client, held.1, None)
            })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    });
}
