//! What the connections of one gateway share: clients, topics, counters, and whether it drains.
//!
//! Locks, outermost first: the table of topics (only to find one), one topic (to number a message
//! and hand it to every subscriber in that order), one client's queue. None is held over an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Config;
use super::auth::Passes;
use super::bus::uplink::Uplink;
use super::client::{Client, Close};
use super::frame::Frame;
use super::history::Keeper;
use super::limits::Bucket;
use super::line::Line;
use super::polling::Polls;
use super::stats::{Counters, Stats, add};
use super::topic::Topic;

/// Topics that may exist. They are never forgotten, as their numbering would begin anew.
pub(super) const MAX_TOPICS: usize = 100_000;

/// Shared by all tasks of one gateway.
#[derive(Debug)]
pub(super) struct Hub {
    pub config: Config,
    pub counters: Counters,
    /// Nothing moves within this span.
    pub stall: Option<(Instant, Instant)>,
    /// Of a node: its way to the others.
    pub bus: Option<Uplink>,
    /// What topics keep, if anything; on a node of several the bus keeps it.
    pub keeper: Option<Keeper>,
    /// Conversations of clients that poll.
    pub polls: Polls,
    /// With `head_of_line`: the one queue of all.
    pub line: Option<Line>,
    /// Tokens shown and revoked.
    pub passes: Passes,
    topics: RwLock<HashMap<Box<str>, Arc<Topic>>>,
    clients: Mutex<Clients>,
    /// Rung for each client that leaves while the gateway drains.
    pub left: Notify,
    upgrades: AtomicU64,
    /// Upgrades are refused up to then, where they are for a time only.
    refuses_until: Option<Instant>,
    /// What is left of the upgrades of this second, where they are limited.
    accepting: Option<Mutex<Bucket>>,
}

#[derive(Debug, Default)]
struct Clients {
    /// By slot: 8 bytes a client, and no table to hash into.
    slots: Vec<Option<Arc<Client>>>,
    free: Vec<u32>,
    last_id: u64,
    draining: bool,
    /// While it drains newcomers are let in all the same: on purpose.
    admitting: bool,
}

/// There are [`MAX_TOPICS`] already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyTopics;

impl Hub {
    /// A hub that began to listen at `now`; with a way to the others if it is one of several.
    pub(super) fn new(config: Config, now: Instant, bus: Option<Uplink>) -> Self {
        let knobs = &config.misbehave;
        let stall = knobs
            .stall_after
            .zip(knobs.stall_for)
            .map(|(after, length)| (now + after, now + after + length));
        let accepting = |rate| Mutex::new(Bucket::new(rate, now));
        let keeper = match bus {
            Some(_) => None,
            None => Keeper::new(&config, now),
        };
        let refuses_until = knobs.refuse_upgrades_for.map(|time| now + time);
        let line = (knobs.head_of_line).then(|| Line::new(config.buffer_limit));
        Hub {
            accepting: config.accept_rate.map(accepting),
            keeper,
            config,
            line,
            polls: Polls::default(),
            counters: Counters::default(),
            stall,
            bus,
            passes: Passes::default(),
            topics: RwLock::default(),
            clients: Mutex::default(),
            left: Notify::new(),
            upgrades: AtomicU64::new(0),
            refuses_until,
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

    /// Whether an upgrade may be accepted now, which then counts.
    pub(super) fn has_room_for_one_more(&self) -> bool {
        let Some(bucket) = &self.accepting else {
            return true;
        };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(Instant::now())
    }

    /// The status by which all upgrades are refused now, on purpose.
    pub(super) fn refuses_upgrades(&self) -> Option<u16> {
        let status = self.config.misbehave.refuse_upgrades?;
        let over = self
            .refuses_until
            .is_some_and(|until| Instant::now() >= until);
        (!over).then_some(status)
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
        if clients.refuse() {
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
        let client = Arc::new(Client::new(id, slot, &self.config));
        if let Some(place) = clients.slots.get_mut(slot as usize) {
            *place = Some(Arc::clone(&client));
        }
        Some(client)
    }

    /// The client is gone.
    pub(super) fn dismiss(&self, client: &Client) {
        self.shows_no_more(client);
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

    /// Queues a message for a client, or for its place in the line; `missed`: it was promised to one that comes back. The
    /// caller wakes the task returned, outside of any lock.
    #[must_use]
    pub(super) fn deliver(
        &self,
        client: &Arc<Client>,
        frame: Frame,
        due: Option<Instant>,
        missed: bool,
    ) -> Option<Waker> {
        match &self.line {
            None if missed => client.bring(frame, due, &self.counters),
            None => client.offer(frame, due, &self.counters),
            Some(line) => {
                line.push(client, frame, due, missed, &self.counters);
                None
            }
        }
    }

    /// Clients connected now.
    pub(super) fn open(&self) -> usize {
        self.clients().open()
    }

    /// Whether shutdown has begun.
    pub(super) fn draining(&self) -> bool {
        self.clients().draining
    }

    /// Whether newcomers are turned away.
    pub(super) fn refuses(&self) -> bool {
        self.clients().refuse()
    }

    /// From here on it drains. Admits nobody any more, unless it misbehaves.
    pub(super) fn begin_to_drain(&self, admitting: bool) {
        let mut clients = self.clients();
        clients.draining = true;
        clients.admitting = admitting;
    }

    /// Closes everyone who is there now with 1001, spread evenly over `window`.
    pub(super) async fn drain(&self, window: Duration) {
        let mut leaving: Vec<Arc<Client>> = {
            let clients = self.clients();
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

    /// The topic of that name, if there is one.
    pub(super) fn known_topic(&self, name: &str) -> Option<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).map(Arc::clone)
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
        let joined = self.bus.is_some();
        let topic = topics
            .entry(name.into())
            .or_insert_with(|| Arc::new(Topic::new(name, joined, self.keeper.as_ref())));
        Ok(Arc::clone(topic))
    }
}

impl Clients {
    fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn refuse(&self) -> bool {
        self.draining && !self.admitting
    }
}

impl Hub {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
