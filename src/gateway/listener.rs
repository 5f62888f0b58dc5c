//! Accepting connections, and the end of it all.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::connection::Connection;
use super::events::{self, Guest, Wanted};
use super::http::{self, Asked, Upgrade};
use super::hub::Hub;
use super::line;
use super::polling;
use super::socket::Socket;
use super::stats::add;
use super::{BadDrain, Config, GatewayError, Goodbye};
use crate::heap::Tide;

/// Out of descriptors, accepting is tried again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Refusals that are being written when the last client has gone may be finished within this.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Listens.
pub(super) fn listen(config: &Config) -> io::Result<TcpListener> {
    let socket = socket(config.listen, config.reuse_port)?;
    // Small messages must not wait for acknowledgements. Accepted sockets have it from this one,
    // which saves a system call for each.
    socket.set_nodelay(true)?;
    if let Some(bytes) = config.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.listen(config.backlog)
}

fn socket(address: SocketAddr, reuse_port: bool) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    Ok(socket)
}

/// An address kept for nodes that shall share it; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    address: SocketAddr,
    // Bound and not listening, so that no connection ever comes to it.
    _socket: TcpSocket,
}

impl Reserved {
    /// The address, its port chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Keeps an address for nodes with [`Config::reuse_port`]; port 0 lets the system choose.
///
/// # Errors
/// The address cannot be listened on.
pub fn reserve(address: SocketAddr) -> Result<Reserved, GatewayError> {
    let failed = |error| GatewayError::Listen(address, error);
    if address.port() != 0 {
        // Another gateway that shares its ports would share this one too: one that listens there keeps it.
        drop(socket(address, false).map_err(failed)?);
    }
    let socket = socket(address, true).map_err(failed)?;
    Ok(Reserved {
        address: socket.local_addr().map_err(failed)?,
        _socket: socket,
    })
}

/// At the end of a run everybody has said goodbye: what is still open after this is cut.
const HURRY: Duration = Duration::from_secs(1);

/// Serves until `shutdown`, then drains in the way it says.
pub(super) async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    hub: &Arc<Hub>,
    shutdown: impl Future<Output = Goodbye>,
) {
    let mut shutdown = pin!(shutdown);
    let line = tokio::spawn(line::work(Arc::clone(hub)));
    let mut tasks = JoinSet::new();
    let mut tide = Tide::default();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let goodbye = loop {
        tokio::select! {
            biased;
            goodbye = &mut shutdown => break goodbye,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => start(&mut tasks, accepted, tls.as_ref(), hub).await,
            _ = seconds.tick() => drop(tide.stands_at(hub.open())),
        }
    };

    // The port stays open while clients leave, so that newcomers hear 503 and not nothing.
    let (window, deadline, bad) = match goodbye {
        Goodbye::Hurry => (Duration::ZERO, HURRY.min(hub.config.drain_deadline), None),
        Goodbye::Drain => (
            hub.config.drain_window,
            hub.config.drain_deadline,
            hub.config.misbehave.drain,
        ),
    };
    let window = match bad {
        Some(BadDrain::AllAtOnce) => Duration::ZERO,
        _ => window,
    };
    let to_the_deadline = bad == Some(BadDrain::KeepAccepting);
    hub.begin_to_drain(to_the_deadline);
    let deadline = sleep_until(Instant::now() + deadline);
    let mut deadline = pin!(deadline);
    let mut drain = pin!(hub.drain(window));
    let mut closing = bad != Some(BadDrain::Never);
    while closing || to_the_deadline || hub.open() > 0 {
        tokio::select! {
            biased;
            () = &mut deadline => {
                hub.counters.cut(hub.open() as u64);
                break;
            }
            () = &mut drain, if closing => closing = false,
            () = hub.left.notified() => {}
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => start(&mut tasks, accepted, tls.as_ref(), hub).await,
        }
    }
    drop(listener);
    let patience = Instant::now() + LAST_ANSWERS;
    while let Ok(Some(_)) = timeout_at(patience, tasks.join_next()).await {}
    tasks.shutdown().await;
    hub.cut();
    while hub.open() > 0 {
        hub.left.notified().await;
    }
    if let Some(queue) = &hub.line {
        add(&hub.counters.discarded, queue.close());
    }
    // The client that it waits for, if any, is gone.
    let _ = line.await;
}

async fn start(
    tasks: &mut JoinSet<()>,
    accepted: io::Result<(TcpStream, SocketAddr)>,
    tls: Option<&TlsAcceptor>,
    hub: &Arc<Hub>,
) {
    let tcp = match accepted {
        Ok((tcp, _)) => tcp,
        // Either this one connection is lost already, or descriptors have run out.
        Err(_) => return sleep(ACCEPT_AGAIN).await,
    };
    hub.counters.accepted();
    let hub = Arc::clone(hub);
    match tls.cloned() {
        None => drop(tasks.spawn(greet(async { Ok(tcp) }, hub))),
        Some(tls) => drop(tasks.spawn(greet(async move { tls.accept(tcp).await }, hub))),
    }
}

/// A connection's beginning. One that becomes a WebSocket is handed on to a task of its own, which
/// holds nothing that only the handshake needs.
async fn greet<S: Socket>(secured: impl Future<Output = io::Result<S>>, hub: Arc<Hub>) {
    let patience = hub.config.handshake_timeout;
    match timeout(patience, open(secured, &hub)).await {
        Ok(Ok(Some(Opened::WebSocket(connection)))) => {
            let client = connection.client();
            client.served_by(tokio::spawn(serve(*connection)).abort_handle());
        }
        Ok(Ok(Some(Opened::Events(socket, guest, wanted)))) => {
            let client = guest.client();
            client.served_by(tokio::spawn(events::stream(socket, guest, wanted)).abort_handle());
        }
        Ok(Ok(Some(Opened::Posts(socket, guest, bytes)))) => {
            let client = guest.client();
            client.served_by(tokio::spawn(events::posts(socket, guest, bytes)).abort_handle());
        }
        Ok(Ok(Some(Opened::EngineIo(socket, bytes)))) => {
            drop(tokio::spawn(polling::requests(socket, hub, bytes)));
        }
        Ok(Ok(Some(Opened::Polls(socket, guest, bytes)))) => {
            let client = guest.client();
            client.served_by(tokio::spawn(events::polls(socket, guest, bytes)).abort_handle());
        }
        Ok(Ok(None)) => {}
        Ok(Err(_)) | Err(_) => hub.counters.handshake_failed(),
    }
}

/// A connection whose request may be granted, or is.
enum Opened<S> {
    /// It is a WebSocket.
    WebSocket(Box<Connection<S>>),
    /// It is to be an event stream.
    Events(S, Guest, Wanted),
    /// It posts; what has come of that.
    Posts(S, Guest, Vec<u8>),
    /// It polls, likewise.
    Polls(S, Guest, Vec<u8>),
    /// It brings requests of Engine.IO's, likewise.
    EngineIo(S, Vec<u8>),
}

/// A WebSocket connection to its end. There are as many of these futures as connections, and a test
/// holds their size: made by hand, as an `async fn` would hold its argument twice.
pub(super) fn serve<S: Socket>(
    mut connection: Connection<S>,
) -> impl Future<Output = ()> + Send + 'static {
    poll_fn(move |context| connection.poll(context))
}

/// The connection's opening; `None`: it was answered and is over.
async fn open<S: Socket>(
    secured: impl Future<Output = io::Result<S>>,
    hub: &Arc<Hub>,
) -> io::Result<Option<Opened<S>>> {
    hub.outlast_stall().await;
    let mut socket = secured.await?;
    let Some(asked) = http::negotiate(&mut socket, hub).await? else {
        return Ok(None);
    };
    // Whose request it is, and whether there is a place for it, each of them says.
    let asked = match asked {
        Asked::EngineIo(bytes) => return Ok(Some(Opened::EngineIo(socket, bytes))),
        other => other,
    };
    let Some(client) = hub.admit() else {
        http::refuse_draining(&mut socket, hub).await?;
        return Ok(None);
    };
    // From here on the drop of what is made gives the place back.
    let opened = match asked {
        Asked::WebSocket(upgrade, rest) => {
            let Upgrade {
                head,
                tongue,
                compression,
                pass,
            } = upgrade;
            let mut connection = Connection::new(socket, tongue, Arc::clone(hub), client);
            connection.begins_with(rest, compression);
            connection.shows(pass);
            connection.socket().write_all(head.as_bytes()).await?;
            connection.socket().flush().await?;
            connection.greet();
            Opened::WebSocket(Box::new(connection))
        }
        Asked::Events(wanted) => {
            let guest = Guest::new(Arc::clone(hub), client).shows(wanted.pass);
            Opened::Events(socket, guest, wanted)
        }
        Asked::Posts(bytes, pass) => {
            let guest = Guest::new(Arc::clone(hub), client).shows(pass);
            Opened::Posts(socket, guest, bytes)
        }
        Asked::Polls(bytes, pass) => {
            let guest = Guest::new(Arc::clone(hub), client).shows(pass);
            Opened::Polls(socket, guest, bytes)
        }
        Asked::EngineIo(bytes) => Opened::EngineIo(socket, bytes),
    };
    hub.counters.opened();
    if hub.draining() {
        hub.counters.opened_draining();
    }
    Ok(Some(opened))
}
