//! `head_of_line`: one queue for all clients, worked off in order by one task. Whoever is first and takes
//! nothing holds up everybody behind, as a gateway does that writes to its clients in a loop.
//!
//! A client's own queue holds one message then, beside replies, so its policy never acts; what is published while the
//! line is full is dropped, and what is brought to a client that comes back is not. A client that is to leave gets first
//! what stands in the line for it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::Client;
use super::frame::Frame;
use super::hub::Hub;
use super::stats::{Counters, add};

/// It holds as much as so many queues. A message counts once for each that gets it, but is in memory once.
const QUEUES: usize = 16;

/// What the line is to a client that it waits for: no client has this number.
const LINE: u64 = 0;

/// The queue.
#[derive(Debug)]
pub(super) struct Line {
    limit: usize,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Place>,
    bytes: usize,
    closed: bool,
}

#[derive(Debug)]
struct Place {
    client: Arc<Client>,
    frame: Frame,
    /// Not to be written before.
    due: Option<Instant>,
}

impl Line {
    /// The line of clients whose own queue would hold so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Line {
            limit: limit.saturating_mul(QUEUES),
            state: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// Queues a message for a client, behind all that is queued for anybody. One that was `missed` finds room always.
    pub(super) fn push(
        &self,
        client: &Arc<Client>,
        frame: Frame,
        due: Option<Instant>,
        missed: bool,
        counters: &Counters,
    ) {
        let mut state = self.state();
        let bytes = state.bytes + frame.bytes().len();
        if state.closed {
            return add(&counters.discarded, 1);
        }
        if bytes > self.limit && !missed {
            return add(&counters.dropped_full, 1);
        }
        if !client.enter_line() {
            return add(&counters.discarded, 1);
        }
        state.bytes = bytes;
        state.queue.push_back(Place {
            client: Arc::clone(client),
            frame,
            due,
        });
        drop(state);
        self.bell.notify_one();
    }

    /// Takes nothing more and forgets what is queued. Returns how many messages were forgotten.
    pub(super) fn close(&self) -> u64 {
        let mut state = self.state();
        state.closed = true;
        state.bytes = 0;
        self.bell.notify_one();
        std::mem::take(&mut state.queue).len() as u64
    }

    fn pop(&self) -> Option<Place> {
        let mut state = self.state();
        let place = state.queue.pop_front()?;
        state.bytes -= place.frame.bytes().len();
        Some(place)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works off the hub's line, if it has one, until it is closed.
pub(super) async fn work(hub: Arc<Hub>) {
    let Some(line) = &hub.line else {
        return;
    };
    loop {
        while let Some(Place { client, frame, due }) = line.pop() {
            let room = poll_fn(|context| match client.room(LINE, context.waker()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            room.await;
            if let Some(waker) = client.leave_line(frame, due, &hub.counters) {
                waker.wake();
            }
        }
        if line.state().closed {
            break;
        }
        line.bell.notified().await;
    }
}
