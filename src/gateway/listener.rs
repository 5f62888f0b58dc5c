//! Accepting connections, and the end of it all.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, End};
use super::http;
use super::hub::Hub;
use super::socket::Socket;

/// Out of descriptors, accepting is tried again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// For the last bytes of a connection that is over: TLS's goodbye and the FIN.
const GOODBYE: Duration = Duration::from_secs(1);

/// Refusals that are being written when the last client has gone may be finished within this.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Listens.
pub(super) fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Serves until `shutdown`, then drains.
pub(super) async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    hub: &Arc<Hub>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => start(&mut tasks, accepted, tls.as_ref(), hub).await,
        }
    }

    // The port stays open while clients leave, so that newcomers hear 503 and not nothing.
    let deadline = sleep_until(Instant::now() + hub.config.drain_deadline);
    let mut deadline = pin!(deadline);
    let mut drain = pin!(hub.drain(hub.config.drain_window));
    let mut closing = true;
    while closing || hub.open() > 0 {
        tokio::select! {
            biased;
            () = &mut deadline => {
                hub.counters.cut(hub.open() as u64);
                break;
            }
            () = &mut drain, if closing => closing = false,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => start(&mut tasks, accepted, tls.as_ref(), hub).await,
        }
    }
    drop(listener);
    let patience = Instant::now() + LAST_ANSWERS;
    while let Ok(Some(_)) = timeout_at(patience, tasks.join_next()).await {}
    tasks.shutdown().await;
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
    // Small messages must not wait for acknowledgements; without it the service is only slower.
    let _ = tcp.set_nodelay(true);
    let hub = Arc::clone(hub);
    match tls.cloned() {
        None => drop(tasks.spawn(serve(async { Ok(tcp) }, hub))),
        Some(tls) => drop(tasks.spawn(serve(async move { tls.accept(tcp).await }, hub))),
    }
}

/// One connection, whole.
async fn serve<S: Socket>(secured: impl Future<Output = io::Result<S>>, hub: Arc<Hub>) {
    let patience = hub.config.handshake_timeout;
    // Boxed: what the handshake needs is given back, not kept for as long as the connection lives.
    let opened = timeout(patience, Box::pin(open(secured, &hub))).await;
    let mut connection = match opened {
        Ok(Ok(Some(connection))) => connection,
        Ok(Ok(None)) => return,
        Ok(Err(_)) | Err(_) => return hub.counters.handshake_failed(),
    };
    match connection.run().await {
        End::Done => {
            // Whether the other side still listens is its own affair.
            let _ = timeout(GOODBYE, connection.socket().shutdown()).await;
        }
        End::Reset => connection.socket().reset_on_drop(),
    }
}

/// The connection's opening; `None`: it was answered and is over.
async fn open<S: Socket>(
    secured: impl Future<Output = io::Result<S>>,
    hub: &Arc<Hub>,
) -> io::Result<Option<Connection<S>>> {
    hub.outlast_stall().await;
    let mut socket = secured.await?;
    let Some((head, rest)) = http::negotiate(&mut socket, hub).await? else {
        return Ok(None);
    };
    let Some(client) = hub.admit() else {
        http::refuse_draining(&mut socket, hub).await?;
        return Ok(None);
    };
    // From here on the connection's drop gives the place back.
    let mut connection = Connection::new(socket, rest, Arc::clone(hub), client);
    connection.socket().write_all(head.as_bytes()).await?;
    connection.socket().flush().await?;
    hub.counters.opened();
    Ok(Some(connection))
}
