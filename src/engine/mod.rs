//! One shard: its connections' lives, its schedule, its loop.
//!
//! Plain and TLS connections live in one flat table, driven by an epoll instance of the shard's own that
//! runs as one task of a single-threaded runtime. There are no locks, no channels between threads, no
//! timer per message and no buffer per idle connection; the measurements that led here are in
//! `ARCHITECTURE.md`. The engine sees a [`Plan`], never YAML, files or pipes.

mod answer;
mod aside;
mod auth;
mod clock;
mod conn;
mod converse;
mod deflate;
mod detour;
mod dns;
mod end;
mod fault;
mod fill;
mod inbound;
mod inject;
mod ladder;
mod mask;
mod open;
mod outbox;
mod over_http;
mod places;
mod polling;
mod resume;
mod service;
mod session;
mod shard;
mod share;
mod steps;
mod stream;
mod tail;
mod traffic;
mod watch;
mod wheel;
mod will;

pub use clock::monotonic_ns;

use crate::metrics::{Snapshot, StreamEnd};
use crate::plan::Plan;
use shard::{Shard, Stretch};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Which share of which plan.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The whole plan.
    pub plan: Plan,
    /// The run's tag in stamps: messages of other runs are told apart by it.
    pub run: u32,
    /// This shard, from 0.
    pub shard: u32,
    /// Shards in all.
    pub shards: u32,
}

/// What a shard is told.
#[derive(Debug)]
pub enum Control {
    /// Start the run's clock at this moment of CLOCK_MONOTONIC, nanoseconds.
    Start {
        /// The moment.
        at: u64,
    },
    /// Open and send no more; whatever was due and did not leave is cancelled.
    Stop,
    /// How far every stream of the run came: wait for what is still under way.
    Streams(Vec<StreamEnd>),
    /// Close every connection and end.
    Finish,
}

/// What a shard tells.
#[derive(Debug)]
pub enum Report {
    /// Laid out, and waiting for the start.
    Ready,
    /// What was recorded in the last second.
    Snapshot(Box<Snapshot>),
    /// Everything scheduled has left; how far this shard's streams came.
    Published(Vec<StreamEnd>),
    /// Nothing is under way any more, or it was waited for long enough.
    Settled,
    /// Everything is closed; the last snapshot went before.
    Finished,
}

/// Why a shard cannot go on.
#[derive(Debug)]
pub enum EngineError {
    /// The kernel's event queue or timer failed.
    Poll(io::Error),
    /// TLS cannot be set up.
    Tls(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Poll(e) => write!(f, "the event loop failed: {e}"),
            EngineError::Tls(e) => write!(f, "TLS cannot be set up: {e}"),
        }
    }
}

impl std::error::Error for EngineError {}

/// The shard's epoll instance as seen by the runtime: readable when any of its sockets is.
fn watch(poll: &mio::Poll) -> io::Result<AsyncFd<OwnedFd>> {
    let queue = poll.registry().as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is a duplicate that the `AsyncFd` owns: it stays open, and the same, for as
    // long as that lives.
    unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) }
        .map_err(|e| e.into_parts().1)
}

/// Runs a shard to its end. To be called inside a `tokio::runtime::LocalRuntime` (lookups are local tasks).
/// Ends early, without a word, when the control channel closes: whoever gave the orders is gone.
///
/// # Errors
/// What no connection is to blame for; see [`EngineError`].
pub async fn run(
    spec: Spec,
    control: UnboundedReceiver<Control>,
    report: UnboundedSender<Report>,
) -> Result<(), EngineError> {
    run_shard(Shard::new(spec)?, control, report).await
}

/// The same, and every message goes back as it came: what a conformance suite asks of a client, so that it judges this engine
/// and not a likeness of it. No scenario leads here.
///
/// # Errors
/// As of [`run`].
pub async fn run_echoing(
    spec: Spec,
    control: UnboundedReceiver<Control>,
    report: UnboundedSender<Report>,
) -> Result<(), EngineError> {
    let mut shard = Shard::new(spec)?;
    shard.echoes = true;
    run_shard(shard, control, report).await
}

async fn run_shard(
    mut shard: Shard,
    mut control: UnboundedReceiver<Control>,
    report: UnboundedSender<Report>,
) -> Result<(), EngineError> {
    let brokers = Rc::new(Notify::new());
    shard.prepare_injectors(&brokers);
    shard.prepare_revocations(&brokers);
    let queue = watch(&shard.poll).map_err(EngineError::Poll)?;
    // Whoever listens to the reports also holds the control channel: its end shows there.
    let tell = |what| drop(report.send(what));
    tell(Report::Ready);
    loop {
        let more = shard.turn()?;
        if let Some(snapshot) = shard.snapshot_due() {
            tell(Report::Snapshot(Box::new(snapshot)));
        }
        let now = shard.now();
        if shard.published(now) {
            tell(Report::Published(shard.stream_ends()));
        }
        if shard.settled(now) {
            tell(Report::Settled);
        }
        if shard.stretch == Stretch::Done {
            let snapshot = shard.snapshot(now, true);
            tell(Report::Snapshot(Box::new(snapshot)));
            tell(Report::Finished);
            return Ok(());
        }
        if more {
            // A busy shard still hears: orders first, then lookups, then the other tasks of this thread.
            match control.try_recv() {
                Ok(order) => obey(&mut shard, order)?,
                Err(tokio::sync::mpsc::error::TryRecvError::Empty) => {}
                Err(tokio::sync::mpsc::error::TryRecvError::Disconnected) => return Ok(()),
            }
            if let Some(looked) = shard.resolver.try_next() {
                shard.looked_up(looked);
            }
            tokio::task::yield_now().await;
            continue;
        }
        // Only before sleeping: setting the timer each turn took a seventh of a busy shard's CPU on a virtual machine.
        shard.arm()?;
        tokio::select! {
            biased;
            order = control.recv() => match order {
                Some(order) => obey(&mut shard, order)?,
                None => return Ok(()),
            },
            Some(looked) = shard.resolver.next() => shard.looked_up(looked),
            () = brokers.notified() => {}
            ready = queue.readable() => ready.map_err(EngineError::Poll)?.clear_ready(),
        }
    }
}

fn obey(shard: &mut Shard, order: Control) -> Result<(), EngineError> {
    match order {
        Control::Start { at } => shard.start(at),
        Control::Stop => shard.stop(),
        Control::Streams(ends) => {
            shard.close_streams(ends);
            Ok(())
        }
        Control::Finish => shard.finish(),
    }
}
