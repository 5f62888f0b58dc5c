//! What the connections of one gateway share: clients, topics, counters, and whether it drains.
//!
//! Locks, outermost first: the table of topics (only to find one), one topic (to number a message
//! and hand it to every subscriber in that order), one client's queue. None is held over an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Waker;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::{Client, Close};
use super::frame::Frame;
use super::stats::{Counters, Stats, add};
use super::{Config, Misbehave, dialect};

/// Topics that may exist. They are never forgotten, as their numbering would begin anew.
const MAX_TOPICS: usize = 100_000;

/// A delivery held for swapping goes out by itself if none follows for this long.
const HOLD: Duration = Duration::from_secs(2);

/// Shared by all tasks of one gateway.
#[derive(Debug)]
pub(super) struct Hub {
    pub config: Config,
    pub counters: Counters,
    /// Nothing moves within this span.
    pub stall: Option<(Instant, Instant)>,
    topics: RwLock<HashMap<Box<str>, Arc<Topic>>>,
    clients: Mutex<Clients>,
    /// Rung for each client that leaves while the gateway drains.
    pub left: Notify,
    upgrades: AtomicU64,
}

#[derive(Debug, Default)]
struct Clients {
    /// By slot: 8 bytes a client, and no table to hash into.
    slots: Vec<Option<Arc<Client>>>,
    free: Vec<u32>,
    last_id: u64,
    draining: bool,
}

/// A topic: its numbering and its subscribers.
#[derive(Debug)]
pub(super) struct Topic {
    name: Box<str>,
    head: String,
    state: Mutex<TopicState>,
}

#[derive(Debug, Default)]
struct TopicState {
    sequence: u64,
    subscriptions: IndexMap<u64, Subscription>,
}

#[derive(Debug)]
pub(super) struct Subscription {
    client: Arc<Client>,
    /// Deliveries owed so far, which `*_every` count.
    deliveries: u64,
    /// The delivery that waits to be overtaken by the next, with its number among the deliveries.
    held: Option<Box<(u64, Frame)>>,
}

/// There are [`MAX_TOPICS`] already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyTopics;

impl Hub {
    /// A hub that began to listen at `now`.
    pub(super) fn new(config: Config, now: Instant) -> Self {
        let knobs = &config.misbehave;
        let stall = knobs
            .stall_after
            .zip(knobs.stall_for)
            .map(|(after, length)| (now + after, now + after + length));
        Hub {
            config,
            counters: Counters::default(),
            stall,
            topics: RwLock::default(),
            clients: Mutex::default(),
            left: Notify::new(),
            upgrades: AtomicU64::new(0),
        }
    }

    /// The end of the stall, while it lasts.
    pub(super) fn stalled(&self) -> Option<Instant> {
        let (from, to) = self.stall?;
        let now = Instant::now();
        (from <= now && now < to).then_some(to)
    }

    /// Waits for the end of the stall, while it lasts.
    pub(super) async fn outlast_stall(&self) {
        if let Some(until) = self.stalled() {
            tokio::time::sleep_until(until).await;
        }
    }

    /// The counters as they stand.
    pub(super) fn stats(&self) -> Stats {
        let (open, draining) = {
            let clients = self.clients();
            (clients.open() as u64, clients.draining)
        };
        self.counters.stats(open, draining)
    }

    /// Whether the next upgrade is one of those refused on purpose.
    pub(super) fn refuses_on_purpose(&self) -> bool {
        let Some(every) = self.config.misbehave.refuse_every else {
            return false;
        };
        let upgrade = self.upgrades.fetch_add(1, Ordering::Relaxed) + 1;
        upgrade.is_multiple_of(u64::from(every))
    }

    /// A place for a new client; none any more once the gateway drains.
    pub(super) fn admit(&self) -> Option<Arc<Client>> {
        let mut clients = self.clients();
        if clients.draining {
            return None;
        }
        clients.last_id += 1;
        let id = clients.last_id;
        let slot = match clients.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(clients.slots.len()).ok()?;
                clients.slots.push(None);
                slot
            }
        };
        let config = &self.config;
        let client = Arc::new(Client::new(id, slot, config.queue, config.when_full));
        if let Some(place) = clients.slots.get_mut(slot as usize) {
            *place = Some(Arc::clone(&client));
        }
        Some(client)
    }

    /// The client is gone.
    pub(super) fn dismiss(&self, client: &Client) {
        let mut clients = self.clients();
        let place = clients.slots.get_mut(client.slot as usize);
        if place.is_some_and(|place| place.take().is_some()) {
            clients.free.push(client.slot);
        }
        let draining = clients.draining;
        drop(clients);
        if draining {
            self.left.notify_one();
        }
        add(&self.counters.discarded, client.stop());
    }

    /// Clients connected now.
    pub(super) fn open(&self) -> usize {
        self.clients().open()
    }

    /// Whether shutdown has begun.
    pub(super) fn draining(&self) -> bool {
        self.clients().draining
    }

    /// Admits nobody from here on and closes everyone with 1001, spread evenly over `window`.
    pub(super) async fn drain(&self, window: Duration) {
        let mut leaving: Vec<Arc<Client>> = {
            let mut clients = self.clients();
            clients.draining = true;
            clients.slots.iter().flatten().map(Arc::clone).collect()
        };
        leaving.sort_unstable_by_key(|client| client.id);
        let begin = Instant::now();
        let count = leaving.len().max(1) as u32;
        for (place, client) in (0u32..).zip(leaving) {
            let at = begin + window.mul_f64(f64::from(place) / f64::from(count));
            // One sleep serves all that are due within a millisecond.
            if at > Instant::now() + Duration::from_millis(1) {
                tokio::time::sleep_until(at).await;
            }
            client.close(Close::after_queue(1001, "going away"));
        }
    }

    /// Ends the tasks of all who are still connected, wherever they are.
    pub(super) fn cut(&self) {
        let all: Vec<Arc<Client>> = self.clients().slots.iter().flatten().cloned().collect();
        for client in all {
            client.cut();
        }
    }

    /// The topic of that name, made if it is new.
    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, TooManyTopics> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = known.get(name) {
            return Ok(Arc::clone(topic));
        }
        drop(known);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if !topics.contains_key(name) && topics.len() >= MAX_TOPICS {
            return Err(TooManyTopics);
        }
        let topic = topics.entry(name.into()).or_insert_with(|| {
            Arc::new(Topic {
                name: name.into(),
                head: dialect::delivery_head(name),
                state: Mutex::default(),
            })
        });
        Ok(Arc::clone(topic))
    }

    /// Publishes: numbers the message, writes it once, and queues it for every subscriber. Those to
    /// be woken are added to `wakers`. Returns the sequence number and the number of deliveries.
    pub(super) fn publish(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        payload: &str,
        wakers: &mut Vec<Waker>,
    ) -> (u64, usize) {
        let knobs = &self.config.misbehave;
        let due = knobs.delay.map(|delay| Instant::now() + delay);
        let mut state = topic.state();
        state.sequence += 1;
        let sequence = state.sequence;
        let count = state.subscriptions.len();
        if count > 0 {
            let frame = Frame::text(dialect::delivery(&topic.head, sequence, payload));
            let mut tally = Tally::default();
            for subscription in state.subscriptions.values_mut() {
                if subscription.deliver(&frame, due, knobs, self, &mut tally, wakers) {
                    release_later(self, topic, subscription);
                }
            }
            drop(state);
            tally.settle(count as u64, &self.counters);
        }
        add(&self.counters.published, 1);
        (sequence, count)
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

impl Topic {
    /// The name as clients wrote it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Subscribes and calls `then` with the last sequence number, before anything more is published:
    /// what `then` queues comes before the first delivery, and no later message is missed.
    pub(super) fn subscribe(&self, client: &Arc<Client>, then: impl FnOnce(u64)) {
        let mut state = self.state();
        state
            .subscriptions
            .entry(client.id)
            .or_insert_with(|| Subscription {
                client: Arc::clone(client),
                deliveries: 0,
                held: None,
            });
        then(state.sequence);
    }

    /// Unsubscribes, if subscribed. Returns the last sequence number.
    pub(super) fn unsubscribe(&self, client: &Client, counters: &Counters) -> u64 {
        let mut state = self.state();
        if let Some(gone) = state.subscriptions.swap_remove(&client.id) {
            add(&counters.discarded, u64::from(gone.held.is_some()));
        }
        state.sequence
    }

    fn state(&self) -> MutexGuard<'_, TopicState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Hub {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
