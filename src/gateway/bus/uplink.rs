//! A node's way to the bus: what it has to say, bounded, and the acknowledgements it owes.
//!
//! The lock is held for a push or a swap. Connections look for [`room`](Uplink::room) before they read, so
//! a bus that is slow slows the publishers and is not drowned by them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::super::history::Since;
use super::super::topic::{Ack, Topic};
use super::wire::{Up, encode};

/// Bytes that may wait before publishers have to; one message of each may come on top.
const ROOM: usize = 256 * 1024;

/// Acknowledgements that may be owed before those who wait for them have to wait with more.
const MAX_OWED: usize = 65_536;

/// Shared by the connections of a node and the two tasks of its bus.
#[derive(Debug, Default)]
pub(in super::super) struct Uplink {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Bytes taken to be written that are not written yet.
    writing: usize,
    /// What the bus answers by token, in order.
    awaited: VecDeque<(u64, Arc<Topic>, Ack)>,
    last_token: u64,
    /// Acknowledgements owed, those of subscriptions included.
    owed: usize,
    /// Clients that wait for room.
    blocked: HashMap<u64, Waker>,
    closed: bool,
}

impl State {
    fn full(&self) -> bool {
        !self.closed && (self.bytes.len() + self.writing >= ROOM || self.owed >= MAX_OWED)
    }

    /// A token for an acknowledgement that is owed from here on.
    fn awaits(&mut self, topic: &Arc<Topic>, ack: Ack) -> u64 {
        self.last_token += 1;
        if self.last_token as u32 == 0 {
            self.last_token += 1;
        }
        self.owed += 1;
        let token = self.last_token;
        self.awaited.push_back((token, Arc::clone(topic), ack));
        token
    }

    fn unblocked(&mut self) -> Vec<Waker> {
        if self.full() {
            return Vec::new();
        }
        self.blocked.drain().map(|(_, waker)| waker).collect()
    }
}

impl Uplink {
    /// Says something.
    pub(in super::super) fn send(&self, message: &Up<'_>) {
        let mut state = self.state();
        self.push(&mut state, message);
    }

    fn push(&self, state: &mut State, message: &Up<'_>) {
        if state.closed {
            return;
        }
        let quiet = state.bytes.is_empty();
        encode(message, &mut state.bytes);
        if quiet {
            self.bell.notify_one();
        }
    }

    /// Publishes; the acknowledgement, if one is wanted, is kept until the number is known.
    pub(in super::super) fn publish(&self, topic: &Arc<Topic>, payload: &str, ack: Option<Ack>) {
        let mut state = self.state();
        let token = ack.map(|ack| state.awaits(topic, ack));
        let topic = topic.name();
        self.push(
            &mut state,
            &Up::Publish {
                topic,
                payload,
                token,
            },
        );
    }

    /// Subscribes; the acknowledgement is kept until the bus answers. Returns the low half of its token, never 0.
    pub(in super::super) fn subscribe(
        &self,
        topic: &Arc<Topic>,
        since: Option<Since<'_>>,
        ack: Ack,
    ) -> u32 {
        let mut state = self.state();
        let client = ack.client.id;
        let token = state.awaits(topic, ack);
        let message = Up::Subscribe {
            topic: topic.name(),
            token,
            client,
            since: since.map(|since| (since.sequence, since.epoch)),
        };
        self.push(&mut state, &message);
        token as u32
    }

    /// The acknowledgement of a token, which is owed no longer. Tokens come back in order.
    pub(in super::super) fn acknowledged(&self, token: u64) -> Option<(Arc<Topic>, Ack)> {
        let (found, wakers) = {
            let mut state = self.state();
            let first = state.awaited.front().is_some_and(|(t, ..)| *t == token);
            let found = if first {
                state.awaited.pop_front()
            } else {
                None
            };
            state.owed -= usize::from(found.is_some());
            (found, state.unblocked())
        };
        wake(wakers);
        found.map(|(_, topic, ack)| (topic, ack))
    }

    /// So many acknowledgements more are owed.
    pub(in super::super) fn owe(&self, count: usize) {
        self.state().owed += count;
    }

    /// So many have been given.
    pub(in super::super) fn paid(&self, count: usize) {
        let wakers = {
            let mut state = self.state();
            state.owed = state.owed.saturating_sub(count);
            state.unblocked()
        };
        wake(wakers);
    }

    /// Whether a client may say more; if not, it is woken when it may.
    pub(in super::super) fn room(&self, client: u64, waker: &Waker) -> bool {
        let mut state = self.state();
        if state.full() {
            state.blocked.insert(client, waker.clone());
            return false;
        }
        true
    }

    /// Nothing more will be said; what was is still written.
    pub(in super::super) fn finish(&self) {
        let wakers = {
            let mut state = self.state();
            state.closed = true;
            state.unblocked()
        };
        self.bell.notify_one();
        wake(wakers);
    }

    /// Writes all that is said, until [`finish`](Uplink::finish) or the stream's end.
    pub(in super::super) async fn write_to(&self, mut stream: impl AsyncWrite + Unpin) {
        let mut batch = Vec::new();
        loop {
            let closed = {
                let mut state = self.state();
                std::mem::swap(&mut state.bytes, &mut batch);
                state.writing = batch.len();
                state.closed
            };
            if batch.is_empty() {
                if closed {
                    break;
                }
                self.bell.notified().await;
                continue;
            }
            if stream.write_all(&batch).await.is_err() {
                break;
            }
            batch.clear();
            batch.shrink_to(ROOM);
            let wakers = {
                let mut state = self.state();
                state.writing = 0;
                state.unblocked()
            };
            wake(wakers);
        }
        self.finish();
        let _ = stream.shutdown().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
