//! A topic: its numbering, its subscribers, and what is done for each of them.
//!
//! A gateway on its own numbers its topics itself. On a node of several the bus does, and the topic is
//! heard from there as long as anybody is subscribed here. With a history the bus answers each subscription, as only it
//! knows what a client missed; until then nothing is delivered to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::Instant;

use super::bus::wire::Up;
use super::client::Client;
use super::frame::Frame;
use super::history::{Keeper, Log, Since, Standing};
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
    /// The last messages, of a gateway on its own that keeps them.
    log: Option<Box<Log>>,
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
        self.give_with(topic, sequence, None, counters)
    }

    fn give_with(
        self,
        topic: &str,
        sequence: u64,
        standing: Option<Standing>,
        counters: &Counters,
    ) -> Option<Waker> {
        let recovered = standing.and_then(|standing| standing.recovered);
        add(&counters.resumed, u64::from(recovered == Some(true)));
        add(&counters.state_lost, u64::from(recovered == Some(false)));
        let text = dialect::done(self.kind, topic, self.id.as_deref(), sequence, standing);
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
    deliveries: u32,
    /// What the bus is to answer before anything is delivered, the low half of its token; 0: nothing.
    waits: u32,
    /// The delivery that waits to be overtaken by the next, with its number among the deliveries.
    held: Option<Box<(u32, Frame)>>,
}

impl Topic {
    /// A topic without subscribers; `joined`: the bus numbers it.
    pub(super) fn new(name: &str, joined: bool, keeper: Option<&Keeper>) -> Self {
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
                log: keeper.map(|keeper| Box::new(Log::new(keeper))),
            }),
        }
    }

    /// The name as clients wrote it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Subscribes, and gives the acknowledgement before anything more is delivered: no later message is
    /// missed. What one that comes back has missed follows, if it is still there. Called by the client's own task,
    /// which nobody needs to wake.
    pub(super) fn subscribe(self: &Arc<Self>, ack: Ack, since: Option<Since<'_>>, hub: &Arc<Hub>) {
        let mut state = self.state();
        let client = &ack.client;
        let known = state.subscriptions.contains_key(&client.id);
        // Subscribing twice is subscribing once.
        let since = since.filter(|_| !known);
        let id = client.id;
        let subscription = state
            .subscriptions
            .entry(id)
            .or_insert_with(|| Subscription {
                client: Arc::clone(client),
                deliveries: 0,
                waits: 0,
                held: None,
            });
        if let (Some(bus), Some(_)) = (&hub.bus, &hub.config.history) {
            let token = bus.subscribe(self, since, ack);
            if !known {
                subscription.waits = token;
            }
            state.source = Source::Bus;
            return;
        }
        if let Some(keeper) = &hub.keeper {
            return self.answer(state, keeper, ack, since, hub);
        }
        if let (Source::Unheard, Some(bus)) = (&state.source, &hub.bus) {
            bus.send(&Up::Interest { topic: &self.name });
            state.source = Source::Asked(Vec::new());
        }
        self.acknowledge(state, ack, hub);
    }

    /// Acknowledges a subscription out of the topic's own history.
    fn answer(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, TopicState>,
        keeper: &Keeper,
        ack: Ack,
        since: Option<Since<'_>>,
        hub: &Arc<Hub>,
    ) {
        let TopicState {
            sequence,
            subscriptions,
            log: Some(log),
            ..
        } = &mut *state
        else {
            return;
        };
        let subscription = subscriptions.get_mut(&ack.client.id);
        let (standing, missing) = log.answer(since, *sequence, keeper, Instant::now());
        drop(ack.give_with(&self.name, *sequence, Some(standing), &hub.counters));
        if let Some(subscription) = subscription {
            for (sequence, payload) in missing {
                subscription.bring(self, sequence, payload, hub, &mut Vec::new());
            }
        }
    }

    /// The bus has answered a subscription: what comes of the topic from here on is for it too. `None`: there are too
    /// many topics.
    pub(super) fn answered(
        &self,
        token: u64,
        answer: Option<(u64, Standing)>,
        ack: Ack,
        hub: &Hub,
        wakers: &mut Vec<Waker>,
    ) {
        let mut state = self.state();
        let id = ack.client.id;
        let waiting = state.subscriptions.get_mut(&id);
        let waiting = waiting.filter(|subscription| subscription.waits == token as u32);
        match answer {
            Some((sequence, standing)) => {
                if let Some(subscription) = waiting {
                    subscription.waits = 0;
                }
                state.sequence = sequence;
                let standing = Some(standing);
                wakers.extend(ack.give_with(&self.name, sequence, standing, &hub.counters));
            }
            None => {
                if waiting.is_some() {
                    state.subscriptions.swap_remove(&id);
                }
                if state.subscriptions.is_empty() {
                    state.source = Source::Unheard;
                }
                wakers.extend(ack.refuse(&hub.counters));
            }
        }
    }

    /// Delivers to one client what it missed.
    pub(super) fn bring(
        self: &Arc<Self>,
        client: u64,
        sequence: u64,
        payload: &str,
        hub: &Arc<Hub>,
        wakers: &mut Vec<Waker>,
    ) {
        let mut state = self.state();
        let subscription = state.subscriptions.get_mut(&client);
        // One that waits asked again since.
        if let Some(subscription) = subscription.filter(|subscription| subscription.waits == 0) {
            subscription.bring(self, sequence, payload, hub, wakers);
        }
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
        if let (Some(log), Some(keeper)) = (&mut state.log, &hub.keeper) {
            log.keep(payload, keeper, Instant::now());
        }
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
        if state.subscriptions.is_empty() {
            return 0;
        }
        let mut count = 0;
        let knobs = &hub.config.misbehave;
        let due = knobs.delay.map(|delay| Instant::now() + delay);
        let frame = Frame::text(dialect::delivery(&self.head, state.sequence, payload));
        let mut tally = Tally::default();
        for subscription in state.subscriptions.values_mut() {
            if subscription.waits != 0 {
                continue;
            }
            count += 1;
            if subscription.deliver(&frame, due, knobs, hub, &mut tally, wakers) {
                release_later(hub, self, subscription);
            }
        }
        drop(state);
        tally.settle(count as u64, &hub.counters);
        count
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
    /// Delivers a message that was missed.
    fn bring(
        &mut self,
        topic: &Arc<Topic>,
        sequence: u64,
        payload: &str,
        hub: &Arc<Hub>,
        wakers: &mut Vec<Waker>,
    ) {
        let knobs = &hub.config.misbehave;
        let due = knobs.delay.map(|delay| Instant::now() + delay);
        let frame = Frame::text(dialect::delivery(&topic.head, sequence, payload));
        let mut tally = Tally::default();
        if self.deliver(&frame, due, knobs, hub, &mut tally, wakers) {
            release_later(hub, topic, self);
        }
        tally.settle(1, &hub.counters);
        add(&hub.counters.recovered, 1);
    }

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
        self.deliveries = self.deliveries.wrapping_add(1);
        let hits =
            |every: Option<u32>| every.is_some_and(|every| self.deliveries.is_multiple_of(every));
        if hits(knobs.drop_every) {
            tally.dropped += 1;
            return false;
        }
        if hits(knobs.reorder_every) && self.held.is_none() {
            self.held = Some(Box::new((self.deliveries, frame.clone())));
            return true;
        }
        let mut queue = |frame: Frame| {
            wakers.extend(self.client.offer(frame, due, &hub.counters));
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
                subscription.client.offer(held.1, None, &hub.counters)
            })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    });
}
