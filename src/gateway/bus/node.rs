//! One node of several: a gateway that has its configuration, its topics' numbers and the others' messages
//! from a stream.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, duplex, split};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::super::history::Standing;
use super::super::hub::Hub;
use super::super::stats::Stats;
use super::super::store::Store;
use super::super::{Config, GatewayError, Goodbye, begin, listener};
use super::uplink::Uplink;
use super::wire::{BusError, Down, Inbox, Up};

/// Deliveries made before others on the thread have a turn.
const DELIVERIES: usize = 4096;

/// Bytes on the way between a gateway and its store, each way.
const LINK: usize = 256 * 1024;

/// For the last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves as one node until `shutdown`, or until the supervisor says so or is gone, then drains as
/// [`serve`](super::super::serve) does. The streams lead to
/// [`supervise`](super::supervisor::supervise).
///
/// # Errors
/// There was no configuration, or no serving with it; the supervisor is told too.
pub async fn serve_node<R, W>(
    mut reader: R,
    writer: W,
    shutdown: impl Future<Output: Into<Goodbye>>,
) -> Result<Stats, GatewayError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut inbox = Inbox::default();
    let config = order(&mut inbox, &mut reader)
        .await
        .map_err(GatewayError::Bus)?;
    let uplink = Uplink::default();
    let begun = begin(&config);
    let text = begun.as_ref().err().map(ToString::to_string);
    match (&begun, &text) {
        (Ok((_, address, _)), _) => uplink.send(&Up::Listening { address: *address }),
        (Err(_), text) => {
            let text = text.as_deref().unwrap_or_default();
            uplink.send(&Up::Failed { text });
            uplink.finish();
            let _ = timeout(LAST_WORDS, uplink.write_to(writer)).await;
            return begun.map(|_| Stats::default());
        }
    }
    let (listener, _, tls) = begun?;
    let hub = Arc::new(Hub::new(config, Instant::now(), Some(uplink)));
    let (drain, drained) = oneshot::channel();
    let listening = tokio::spawn(listen(Arc::clone(&hub), inbox, reader, drain));
    let speaking = {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move {
            if let Some(bus) = &hub.bus {
                bus.write_to(writer).await;
            }
        })
    };
    let shutdown = async {
        tokio::select! {
            goodbye = shutdown => goodbye.into(),
            goodbye = drained => goodbye.unwrap_or(Goodbye::Drain),
        }
    };
    listener::run(listener, tls, &hub, shutdown).await;
    let stats = hub.stats();
    if let Some(bus) = &hub.bus {
        bus.send(&Up::Stats(Box::new(stats.clone())));
        bus.finish();
    }
    let _ = timeout(LAST_WORDS, speaking).await;
    listening.abort();
    Ok(stats)
}

/// Serves as a gateway whose bus is a store that others share. Ends with the store.
pub(in super::super) async fn serve_with(
    store: Store,
    config: Config,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shutdown: impl Future<Output: Into<Goodbye>>,
) -> Result<Stats, GatewayError> {
    let hub = Arc::new(Hub::new(config, Instant::now(), Some(Uplink::default())));
    let (ours, theirs) = duplex(LINK);
    let (reader, writer) = split(ours);
    // Nobody says when to end but the caller.
    let (drain, _drained) = oneshot::channel();
    let listening = tokio::spawn(listen(Arc::clone(&hub), Inbox::default(), reader, drain));
    let speaking = {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move {
            if let Some(bus) = &hub.bus {
                bus.write_to(writer).await;
            }
        })
    };
    let (from, to) = split(theirs);
    let mut carrying = tokio::spawn(store.carry(from, to));
    let mut lost = None;
    let until = async {
        tokio::select! {
            goodbye = shutdown => goodbye.into(),
            carried = &mut carrying => {
                lost = Some(carried);
                Goodbye::Drain
            }
        }
    };
    listener::run(listener, tls, &hub, until).await;
    if let Some(bus) = &hub.bus {
        bus.finish();
    }
    let _ = timeout(LAST_WORDS, speaking).await;
    if lost.is_none() {
        // It ends by itself once the store has all that was said. A task that has ended is not asked twice.
        let _ = timeout(LAST_WORDS, &mut carrying).await;
    }
    carrying.abort();
    listening.abort();
    match lost {
        None => Ok(hub.stats()),
        Some(Ok(Err(error))) => Err(GatewayError::Store(error.to_string())),
        Some(_) => Err(GatewayError::Store("it ended".into())),
    }
}

/// The first message.
async fn order<R: AsyncRead + Unpin>(
    inbox: &mut Inbox,
    reader: &mut R,
) -> Result<Config, BusError> {
    while inbox.fill(reader).await? {
        match inbox.next()? {
            Some(Down::Order { config }) => {
                return serde_json::from_str(config).map_err(|_| BusError::Malformed);
            }
            Some(_) => return Err(BusError::Malformed),
            None => {}
        }
    }
    Err(BusError::Io(std::io::ErrorKind::UnexpectedEof.into()))
}

/// Hears the bus to its end. `drain` is used, or dropped, when it is time to end.
async fn listen<R: AsyncRead + Unpin>(
    hub: Arc<Hub>,
    mut inbox: Inbox,
    mut reader: R,
    drain: oneshot::Sender<Goodbye>,
) {
    let mut drain = Some(drain);
    let mut wakers = Vec::new();
    let mut delivered = 0;
    // What came with the order is there already.
    loop {
        loop {
            match inbox.next() {
                Ok(Some(Down::Drain { goodbye })) => {
                    if let Some(drain) = drain.take() {
                        let _ = drain.send(goodbye);
                    }
                }
                Ok(Some(message)) => delivered += take(&hub, message, &mut wakers),
                Ok(None) => break,
                // Nothing after it could be trusted.
                Err(_) => return gone(&hub),
            }
            for waker in wakers.drain(..) {
                Waker::wake(waker);
            }
            if delivered >= DELIVERIES {
                delivered = 0;
                tokio::task::yield_now().await;
            }
        }
        if !matches!(inbox.fill(&mut reader).await, Ok(true)) {
            return gone(&hub);
        }
    }
}

/// Without its supervisor a node is nothing: publishers must not wait for it.
fn gone(hub: &Hub) {
    if let Some(bus) = &hub.bus {
        bus.finish();
    }
}

/// Acts on one message. Returns the number of deliveries.
fn take(hub: &Arc<Hub>, message: Down<'_>, wakers: &mut Vec<Waker>) -> usize {
    match message {
        Down::Deliver {
            topic,
            sequence,
            payload,
        } => hub
            .known_topic(topic)
            .map_or(0, |topic| topic.deliver(sequence, payload, hub, wakers)),
        Down::Interested { topic, sequence } => {
            if let Some(topic) = hub.known_topic(topic) {
                topic.heard(sequence, hub, wakers);
            }
            0
        }
        Down::Published { token, sequence } => {
            let owed = hub.bus.as_ref().and_then(|bus| bus.acknowledged(token));
            if let Some((topic, ack)) = owed {
                wakers.extend(match sequence {
                    Some(sequence) => ack.give(topic.name(), sequence, &hub.counters),
                    None => ack.refuse(&hub.counters),
                });
            }
            0
        }
        Down::Subscribed { token, answer } => {
            let owed = hub.bus.as_ref().and_then(|bus| bus.acknowledged(token));
            if let Some((topic, ack)) = owed {
                let answer = answer
                    .map(|(sequence, epoch, recovered)| (sequence, Standing { epoch, recovered }));
                topic.answered(token, answer, ack, hub, wakers);
            }
            0
        }
        Down::Missed {
            topic,
            client,
            sequence,
            payload,
        } => {
            if let Some(topic) = hub.known_topic(topic) {
                topic.bring(client, sequence, payload, hub, wakers);
            }
            1
        }
        Down::Order { .. } | Down::Drain { .. } => 0,
    }
}
