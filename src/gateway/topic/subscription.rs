//! A subscription: one client's deliveries of one topic, and what the knobs do with each.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::super::client::Client;
use super::super::dialect;
use super::super::frame::Frame;
use super::super::hub::Hub;
use super::super::stats::{Counters, add};
use super::Topic;

/// A delivery held for swapping goes out by itself if none follows for this long.
const HOLD: Duration = Duration::from_secs(2);

/// Of one client to one topic.
#[derive(Debug)]
pub(in super::super) struct Subscription {
    pub(super) client: Arc<Client>,
    /// Deliveries owed so far, which `*_every` count.
    pub(super) deliveries: u32,
    /// What the bus is to answer before anything is delivered, the low half of its token; 0: nothing.
    pub(super) waits: u32,
    /// The delivery that waits to be overtaken by the next.
    pub(super) held: Option<Box<Held>>,
}

#[derive(Debug)]
pub(super) struct Held {
    /// Its number among the deliveries.
    number: u32,
    frame: Frame,
    missed: bool,
}

/// Counts of one publish, added to the shared counters once.
#[derive(Default)]
pub(super) struct Tally {
    dropped: u64,
    duplicated: u64,
    reordered: u64,
}

impl Tally {
    pub(super) fn settle(self, deliveries: u64, counters: &Counters) {
        add(&counters.deliveries, deliveries + self.duplicated);
        add(&counters.dropped_on_purpose, self.dropped);
        add(&counters.duplicated, self.duplicated);
        add(&counters.reordered, self.reordered);
    }
}

impl Subscription {
    /// Delivers a message that was missed.
    pub(super) fn bring(
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
        if self.deliver(&frame, due, true, hub, &mut tally, wakers) {
            release_later(hub, topic, self);
        }
        tally.settle(1, &hub.counters);
        add(&hub.counters.recovered, 1);
    }

    /// Queues a delivery, or does with it what the knobs say; `missed`: the client was told that it would get it. True
    /// when it is held back now.
    pub(super) fn deliver(
        &mut self,
        frame: &Frame,
        due: Option<Instant>,
        missed: bool,
        hub: &Hub,
        tally: &mut Tally,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let knobs = &hub.config.misbehave;
        self.deliveries = self.deliveries.wrapping_add(1);
        let hits =
            |every: Option<u32>| every.is_some_and(|every| self.deliveries.is_multiple_of(every));
        if hits(knobs.drop_every) {
            tally.dropped += 1;
            return false;
        }
        if hits(knobs.reorder_every) && self.held.is_none() {
            self.held = Some(Box::new(Held {
                number: self.deliveries,
                frame: frame.clone(),
                missed,
            }));
            return true;
        }
        let mut queue = |frame: Frame, missed| {
            wakers.extend(hub.deliver(&self.client, frame, due, missed));
        };
        queue(frame.clone(), missed);
        if hits(knobs.duplicate_every) {
            tally.duplicated += 1;
            queue(frame.clone(), missed);
        }
        if let Some(held) = self.held.take() {
            tally.reordered += 1;
            queue(held.frame, held.missed);
        }
        false
    }
}

/// Sees to it that a held delivery is not held for ever.
pub(super) fn release_later(hub: &Arc<Hub>, topic: &Arc<Topic>, subscription: &Subscription) {
    let (hub, topic) = (Arc::clone(hub), Arc::clone(topic));
    let (id, number) = (subscription.client.id, subscription.deliveries);
    tokio::spawn(async move {
        tokio::time::sleep(HOLD).await;
        let waker = {
            let mut state = topic.state();
            state.subscriptions.get_mut(&id).and_then(|subscription| {
                let held = subscription.held.take_if(|held| held.number == number)?;
                hub.deliver(&subscription.client, held.frame, None, held.missed)
            })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    });
}
