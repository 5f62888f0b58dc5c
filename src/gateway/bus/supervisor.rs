//! The supervisor's end of the bus: carries messages between the nodes, and keeps their books together.
//!
//! What waits for a node is bounded: when too much does, nothing more is read from any node, so that
//! publishers wait instead of messages being lost. A node that takes nothing for [`PATIENCE`] is given up, as
//! the others would wait for ever.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::super::history::Keeper;
use super::super::{Config, GatewayError, Goodbye, Stats};
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

/// A node that is to take the place of one that is about to end, or has ended.
pub struct Rejoin<R, W> {
    /// Its index.
    pub node: usize,
    /// What it is told.
    pub config: Config,
    /// Leads to its [`serve_node`](super::node::serve_node), once the earlier one has ended; dropped: there will be none.
    pub link: oneshot::Receiver<(R, W)>,
    /// Told where it listens, or why it does not; dropped when it ended before either.
    pub listening: oneshot::Sender<Result<SocketAddr, String>>,
    /// Told what the earlier one counted, if that says so.
    pub farewell: oneshot::Sender<Stats>,
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
    /// All are told to end: so is one that joins later.
    ending: AtomicBool,
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
/// [`serve_node`](super::node::serve_node). A node whose stream ends leaves the others serving; another takes its
/// place by way of `rejoins`, and topics are numbered on.
///
/// # Errors
/// A node could not serve.
pub async fn supervise<R, W>(
    links: Vec<(R, W)>,
    orders: &[Config],
    rejoins: mpsc::UnboundedReceiver<Rejoin<R, W>>,
    shutdown: impl Future<Output: Into<Goodbye>>,
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
    supervise_within(bounds, links, orders, rejoins, shutdown, ready).await
}

pub(in super::super) async fn supervise_within<R, W>(
    bounds: Bounds,
    links: Vec<(R, W)>,
    orders: &[Config],
    mut rejoins: mpsc::UnboundedReceiver<Rejoin<R, W>>,
    shutdown: impl Future<Output: Into<Goodbye>>,
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
        ending: AtomicBool::new(false),
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
        shared.order(node, config)?;
    }
    let (events, mut heard) = mpsc::unbounded_channel();
    let mut carriers = JoinSet::new();
    // Each ends when what is carried for its node does.
    let mut carried = Vec::new();
    for (node, (reader, writer)) in links.into_iter().enumerate() {
        let (carrying, over) = mpsc::channel(1);
        carried.push(over);
        let one = (carrying.clone(), Arc::clone(&shared));
        carriers.spawn(async move { write(&one.1, node, writer).await });
        let (other, events) = ((carrying, Arc::clone(&shared)), events.clone());
        carriers.spawn(async move { read(&other.1, node, reader, events, None).await });
    }
    // While nodes may join, there are more events to come.
    let mut events = Some(events);

    let mut shutdown = pin!(shutdown);
    let addresses = tokio::select! {
        biased;
        _ = &mut shutdown => return Ok(Summary::default()),
        all = timeout(START + START_OF_EACH * count as u32, listening(count, &mut heard)) => match all {
            Ok(all) => all?,
            Err(_) => return Err(GatewayError::Node(0, "not all nodes listen in time".into())),
        },
    };
    ready(&addresses);

    let mut nodes: Vec<Option<Stats>> = vec![None; count];
    let mut farewells: Vec<Option<oneshot::Sender<Stats>>> = Vec::new();
    farewells.resize_with(count, || None);
    let mut open = count;
    let mut note =
        |event, open: &mut usize, farewells: &mut [Option<oneshot::Sender<Stats>>]| match event {
            Event::Stats(node, stats) => {
                if let Some(farewell) = farewells.get_mut(node).and_then(Option::take) {
                    let _ = farewell.send((*stats).clone());
                }
                if let Some(place) = nodes.get_mut(node) {
                    place.get_or_insert_default().absorb(&stats);
                }
            }
            Event::Gone => *open -= 1,
            Event::Listening(..) | Event::Failed(..) => {}
        };
    let mut goodbye = Goodbye::Hurry;
    while open > 0 {
        tokio::select! {
            biased;
            how = &mut shutdown => {
                goodbye = how.into();
                break;
            }
            Some(rejoin) = rejoins.recv() => {
                let place = carried.get_mut(rejoin.node).zip(farewells.get_mut(rejoin.node));
                if let Some((over, farewell)) = place
                    && let Some(events) = &events
                {
                    open += 1;
                    let (carrying, next) = mpsc::channel(1);
                    let before = std::mem::replace(over, next);
                    let Rejoin { node, config, link, listening, farewell: told } = rejoin;
                    *farewell = Some(told);
                    let (shared, events) = (Arc::clone(&shared), events.clone());
                    carriers.spawn(async move {
                        let _carrying = carrying;
                        rejoined(&shared, node, &config, before, link, listening, events).await;
                    });
                }
            }
            event = heard.recv() => match event {
                Some(event) => note(event, &mut open, &mut farewells),
                None => break,
            },
        }
    }
    drop(events.take());
    shared.ending.store(true, Ordering::SeqCst);
    for node in 0..count {
        shared.tell(node, &Down::Drain { goodbye });
    }
    let ending = async {
        while open > 0
            && let Some(event) = heard.recv().await
        {
            note(event, &mut open, &mut farewells);
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

/// Carries for a node in the place of another, once what was carried for that is over.
async fn rejoined<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    shared: &Shared,
    node: usize,
    config: &Config,
    mut before: mpsc::Receiver<()>,
    link: oneshot::Receiver<(R, W)>,
    listening: oneshot::Sender<Result<SocketAddr, String>>,
    events: mpsc::UnboundedSender<Event>,
) {
    while before.recv().await.is_some() {}
    let Ok((reader, writer)) = link.await else {
        let _ = events.send(Event::Gone);
        return;
    };
    shared.rejoin(node, config);
    tokio::join!(
        write(shared, node, writer),
        read(shared, node, reader, events, Some(listening)),
    );
}

/// Who waits to hear where a node listens.
type Awaited = Option<oneshot::Sender<Result<SocketAddr, String>>>;

/// Hears a node to its end.
async fn read<R: AsyncRead + Unpin>(
    shared: &Shared,
    node: usize,
    mut stream: R,
    events: mpsc::UnboundedSender<Event>,
    awaited: Awaited,
) {
    // Nonsense ends it as its own end does: nothing after it could be trusted.
    let _ = hear(shared, node, &mut stream, &events, awaited).await;
    shared.leave(node);
    let _ = events.send(Event::Gone);
}

async fn hear<R: AsyncRead + Unpin>(
    shared: &Shared,
    node: usize,
    stream: &mut R,
    events: &mpsc::UnboundedSender<Event>,
    mut awaited: Awaited,
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
                Some(Up::Listening { address }) => match awaited.take() {
                    Some(awaited) => drop(awaited.send(Ok(address))),
                    None => drop(events.send(Event::Listening(node, address))),
                },
                Some(Up::Failed { text }) => match awaited.take() {
                    Some(awaited) => drop(awaited.send(Err(text.to_owned()))),
                    None => drop(events.send(Event::Failed(node, text.to_owned()))),
                },
                Some(Up::Stats(stats)) => {
                    let _ = events.send(Event::Stats(node, stats));
                }
                Some(message) => shared.take(node, &message),
            }
        }
    }
}

/// Writes what there is for a node, until it is gone.
async fn write<W: AsyncWrite + Unpin>(shared: &Shared, node: usize, mut stream: W) {
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

    /// Tells a node what to be. The first message.
    fn order(&self, node: usize, config: &Config) -> Result<(), GatewayError> {
        let config = serde_json::to_string(config)
            .map_err(|error| GatewayError::Config(error.to_string()))?;
        self.tell(node, &Down::Order { config: &config });
        Ok(())
    }

    /// Makes the place of a node that is gone another's.
    fn rejoin(&self, node: usize, config: &Config) {
        if let Some(gone) = self.gone.get(node) {
            // What was rung for the earlier one is not for this one.
            pin!(gone.notified()).as_mut().enable();
        }
        self.state().rejoin(node);
        // It was a configuration before: there is nothing in it that could not be written.
        let _ = self.order(node, config);
        if self.ending.load(Ordering::SeqCst) {
            let goodbye = Goodbye::Hurry;
            self.tell(node, &Down::Drain { goodbye });
        }
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
