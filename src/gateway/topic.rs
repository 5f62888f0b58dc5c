//! A topic: its numbering, its subscribers, and what is done for each of them.
//!
//! A gateway on its own numbers its topics itself. On a node of several the bus does, and the topic is
//! heard from there as long as anybody is subscribed here. With a history the bus answers each subscription, as only it
//! knows what a client missed; until then nothing is delivered to it.

mod subscription;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use indexmap::IndexMap;
use tokio::time::Instant;

use super::bus::wire::Up;
use super::client::Client;
use super::dialect;
use super::frame::Frame;
use super::history::{Keeper, Log, Since, Standing};
use super::hub::Hub;
use super::stats::{Counters, add};
use subscription::{Tally, release_later};

pub(super) use subscription::Subscription;

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
            if subscription.deliver(&frame, due, false, hub, &mut tally, wakers) {
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
