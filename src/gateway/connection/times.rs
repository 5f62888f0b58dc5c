//! When something has to happen to a connection without anybody's doing. A plain, quiet connection has
//! no timer at all.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::super::Ping;
use crate::protocol::Rhythm;

/// What is due, and when.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The next ping of ours.
    pub ping: Option<Instant>,
    /// The client is dead if nothing is heard before.
    pub dead: Option<Instant>,
    /// The next sign of life in the client's own words.
    pub beat: Option<Instant>,
    /// The client is dead if nothing is heard before, as its protocol has it.
    pub silent: Option<Instant>,
    /// The client's token is no longer good.
    pub expired: Option<Instant>,
    /// The client is asked for another token.
    pub ask: Option<Instant>,
    /// `close_after`.
    pub close: Option<Instant>,
    /// The close handshake has taken too long.
    pub end: Option<Instant>,
    /// The first message of the queue is due.
    pub message: Option<Instant>,
}

impl Times {
    /// The first of them.
    pub(super) fn next(&self) -> Option<Instant> {
        let all = [
            self.ping,
            self.dead,
            self.beat,
            self.silent,
            self.expired,
            self.ask,
            self.close,
            self.end,
            self.message,
        ];
        all.into_iter().flatten().min()
    }

    /// Something was heard of a client with this rhythm.
    pub(super) fn heard(&mut self, rhythm: Rhythm, now: Instant) {
        self.silent = rhythm.hear.map(|within| now + within);
        self.beat = rhythm.send.map(|every| self.beat.unwrap_or(now + every));
    }
}

/// The times, and what wakes the task for them; nothing while nothing is due.
#[derive(Debug)]
pub(super) struct Timer(Option<Box<Armed>>);

#[derive(Debug, Default)]
struct Armed {
    times: Times,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn new(times: Times) -> Self {
        let due = times.next().is_some();
        Timer(due.then(|| Box::new(Armed { times, sleep: None })))
    }

    /// The times, to set one.
    pub(super) fn times(&mut self) -> &mut Times {
        &mut self.0.get_or_insert_default().times
    }

    /// The times, if any was set.
    pub(super) fn set(&mut self) -> Option<&mut Times> {
        self.0.as_mut().map(|armed| &mut armed.times)
    }

    /// Nothing counts any more but that the connection ends by then.
    pub(super) fn only_end(&mut self, at: Instant) {
        *self.times() = Times {
            end: Some(at),
            ..Times::default()
        };
    }

    /// Sees to it that the task is polled again when the next thing is due.
    pub(super) fn arm(&mut self, context: &mut Context<'_>) {
        match self.set().map(|times| times.next()) {
            Some(Some(next)) => self.sleep(context, next),
            Some(None) => self.0 = None,
            None => {}
        }
    }

    /// Sees to it that the task is polled again at `until`, whatever else is due.
    pub(super) fn sleep(&mut self, context: &mut Context<'_>, until: Instant) {
        let sleep = self
            .0
            .get_or_insert_default()
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        if sleep.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }
}

/// Each connection's first ping comes at its own place within the interval: the golden ratio's
/// multiples modulo 1 spread evenly whatever their number.
pub(super) fn phase(ping: &Ping, id: u64) -> Duration {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let place = (id.wrapping_mul(GOLDEN) >> 11) as f64 / (1u64 << 53) as f64;
    ping.every.mul_f64(place)
}
