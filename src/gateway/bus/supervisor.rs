//! The supervisor's end of the bus: carries messages between the nodes, and keeps their books together.
//!
//! What waits for a node is bounded: when too much does, nothing more is read from any node, so that
//! publishers wait instead of messages being lost. A node that takes nothing for [`PATIENCE`] is given up, as
//! the others would wait for ever.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::super::history::Keeper;
use super::super::{Config, GatewayError, Stats};
use super::sequencer::{Sequencer, Traffic};
use super::wire::{BusError, Down, Inbox, MAX_FRAME, Up};

/// Bytes that may wait for one node before all publishers have to.
const ROOM: usize = 8 << 20;

/// A node that takes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// For the nodes to end, beyond their own drain.
const END: Duration = Duration::from_secs(5);

/// For all nodes to listen, and what each adds to it: on a busy machine they start one after another.
const START: Duration = Duration::from_secs(15);
const START_OF_EACH: Duration = Duration::from_millis(50);

/// What all nodes counted.
#[derive(Debug, Default)]
pub struct Summary {
    /// By node; `None`: it ended without a word.
    pub nodes: Vec<Option<Stats>>,
    /// What went over the bus.
    pub bus: Traffic,
}

impl Summary {
    /// The sum of those who told.
    pub fn total(&self) -> Stats {
        let mut total = Stats::default();
        for stats in self.nodes.iter().flatten() {
            total.absorb(stats);
        }
        total
    }
}

/// What the main task hears of a node.
enum Event {
    Listening(usize, SocketAddr),
    Failed(usize, String),
    Stats(usize, Box<Stats>),
    Gone,
}

struct Shared {
    state: Mutex<Sequencer>,
    bells: Vec<Notify>,
    /// Rung when a node has left.
    gone: Vec<Notify>,
    /// Rung when less waits than before.
    room: Notify,
    bounds: Bounds,
}

/// Bounds that tests shrink.
#[derive(Clone, Copy)]
pub(in super::super) struct Bounds {
    pub room: usize,
    pub patience: Duration,
}

/// Joins nodes to one gateway until all of them have ended: sends each its configuration, calls `ready` with
/// all addresses once all listen, carries messages, and has all nodes drain on `shutdown`. `links` lead to
/// [`serve_node`](super::node::serve_node). A node whose stream ends leaves the others serving.
///
/// # Errors
/// A node could not serve.
pub async fn supervise<R, W>(
    links: Vec<(R, W)>,
    orders: &[Config],
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<Summary, GatewayError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let bounds = Bounds {
        room: ROOM,
        patience: PATIENCE,
    };
    supervise_within(bounds, links, orders, shutdown, ready).await
}

pub(in super::super) async fn supervise_within<R, W>(
    bounds: Bounds,
    links: Vec<(R, W)>,
    orders: &[Config],
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<Summary, GatewayError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let count = links.len();
    let keeper = orders
        .first()
        .and_then(|config| Keeper::new(config, Instant::now()));
    let shared = Arc::new(Shared {
        state: Mutex::new(Sequencer::new(count, keeper)),
        bells: std::iter::repeat_with(Notify::new).take(count).collect(),
        gone: std::iter::repeat_with(Notify::new).take(count).collect(),
        room: Notify::new(),
        bounds,
    });
    let mut end = END;
    for (node, config) in orders.iter().enumerate() {
        config.check()?;
        if config.history.as_ref().is_some_and(|h| h.store.is_some()) {
            let what =
                "history.store is for gateways of their own that share it, not for nodes of one";
            return Err(GatewayError::Config(what.to_owned()));
        }
        if config.max_message > MAX_FRAME / 2 {
            let most = MAX_FRAME / 2;
            let what = format!("with several nodes max_message must be at most {most} bytes");
            return Err(GatewayError::Config(what));
        }
        end = end.max(config.drain_deadline + END);
        let config = serde_json::to_string(config)
            .map_err(|error| GatewayError::Config(error.to_string()))?;
        shared.tell(node, &Down::Order { config: &config });
    }
    let (events, mut heard) = mpsc::unbounded_channel();
    let mut carriers = JoinSet::new();
    for (node, (reader, writer)) in links.into_iter().enumerate() {
        carriers.spawn(write(Arc::clone(&shared), node, writer));
        carriers.spawn(read(Arc::clone(&shared), node, reader, events.clone()));
    }
    drop(events);

    let mut shutdown = pin!(shutdown);
    let addresses = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(Summary::default()),
        all = timeout(START + START_OF_EACH * count as u32, listening(count, &mut heard)) => match all {
            Ok(all) => all?,
            Err(_) => return Err(GatewayError::Node(0, "not all nodes listen in time".into())),
        },
    };
    ready(&addresses);

    let mut nodes = vec![None; count];
    let mut open = count;
    let mut note = |event, open: &mut usize| match event {
        Event::Stats(node, stats) => {
            if let Some(place) = nodes.get_mut(node) {
                *place = Some(*stats);
            }
        }
        Event::Gone => *open -= 1,
        Event::Listening(..) | Event::Failed(..) => {}
    };
    while open > 0 {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            event = heard.recv() => match event {
                Some(event) => note(event, &mut open),
                None => break,
            },
        }
    }
    for node in 0..count {
        shared.tell(node, &Down::Drain);
    }
    let ending = async {
        while open > 0
            && let Some(event) = heard.recv().await
        {
            note(event, &mut open);
        }
    };
    // Who has not ended by then is ended by whoever made the streams.
    let _ = timeout(end, ending).await;
    let bus = shared.state().traffic;
    Ok(Summary { nodes, bus })
}

/// Waits until all listen.
async fn listening(
    count: usize,
    heard: &mut mpsc::UnboundedReceiver<Event>,
) -> Result<Vec<SocketAddr>, GatewayError> {
    let mut addresses = vec![None; count];
    while addresses.contains(&None) {
        match heard.recv().await {
            Some(Event::Listening(node, address)) => {
                if let Some(place) = addresses.get_mut(node) {
                    *place = Some(address);
                }
            }
            Some(Event::Failed(node, why)) => return Err(GatewayError::Node(node, why)),
            Some(Event::Stats(..)) => {}
            Some(Event::Gone) | None => {
                let silent = addresses.iter().position(Option::is_none).unwrap_or(0);
                return Err(GatewayError::Node(
                    silent,
                    "ended before it listened".into(),
                ));
            }
        }
    }
    Ok(addresses.into_iter().flatten().collect())
}

/// Hears a node to its end.
async fn read<R: AsyncRead + Unpin>(
    shared: Arc<Shared>,
    node: usize,
    mut stream: R,
    events: mpsc::UnboundedSender<Event>,
) {
    // Nonsense ends it as its own end does: nothing after it could be trusted.
    let _ = hear(&shared, node, &mut stream, &events).await;
    shared.leave(node);
    let _ = events.send(Event::Gone);
}

async fn hear<R: AsyncRead + Unpin>(
    shared: &Shared,
    node: usize,
    stream: &mut R,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<(), BusError> {
    let mut inbox = Inbox::default();
    loop {
        let more = tokio::select! {
            more = inbox.fill(stream) => more?,
            // Given up.
            () = ringing(shared.gone.get(node)) => false,
        };
        if !more {
            return Ok(());
        }
        loop {
            shared.wait_for_room().await;
            match inbox.next()? {
                None => break,
                Some(Up::Listening { address }) => {
                    let _ = events.send(Event::Listening(node, address));
                }
                Some(Up::Failed { text }) => {
                    let _ = events.send(Event::Failed(node, text.to_owned()));
                }
                Some(Up::Stats(stats)) => {
                    let _ = events.send(Event::Stats(node, stats));
                }
                Some(message) => shared.take(node, &message),
            }
        }
    }
}

/// Writes what there is for a node, until it is gone.
async fn write<W: AsyncWrite + Unpin>(shared: Arc<Shared>, node: usize, mut stream: W) {
    let mut batch = Vec::new();
    loop {
        // What was taken before is written by now.
        if shared.state().batch(node, &mut batch).is_none() {
            break;
        }
        shared.room.notify_waiters();
        if batch.is_empty() {
            ringing(shared.bells.get(node)).await;
            continue;
        }
        let mut rest = &batch[..];
        while !rest.is_empty() {
            match timeout(shared.bounds.patience, stream.write(rest)).await {
                Ok(Ok(count)) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                Ok(_) => return shared.leave(node),
                Err(_) => {
                    shared.state().traffic.given_up += 1;
                    return shared.leave(node);
                }
            }
        }
        batch.shrink_to(shared.bounds.room.min(1 << 20));
    }
    let _ = stream.shutdown().await;
}

async fn ringing(bell: Option<&Notify>) {
    match bell {
        Some(bell) => bell.notified().await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn take(&self, node: usize, message: &Up<'_>) {
        self.state().take(node, message, |node| self.ring(node));
    }

    fn tell(&self, node: usize, message: &Down<'_>) {
        self.state().tell(node, message, |node| self.ring(node));
    }

    fn ring(&self, node: usize) {
        if let Some(bell) = self.bells.get(node) {
            bell.notify_one();
        }
    }

    async fn wait_for_room(&self) {
        loop {
            if !self.state().any_waiting(self.bounds.room) {
                return;
            }
            let mut notified = pin!(self.room.notified());
            notified.as_mut().enable();
            if !self.state().any_waiting(self.bounds.room) {
                return;
            }
            notified.await;
        }
    }

    fn leave(&self, node: usize) {
        self.state().leave(node);
        self.ring(node);
        if let Some(gone) = self.gone.get(node) {
            gone.notify_one();
        }
        self.room.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, Sequencer> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
