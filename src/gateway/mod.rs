//! The embedded reference target: a small, honest WebSocket gateway with topics, limits and knobs
//! to misbehave.
//!
//! It speaks the default JSON mapping of [`crate::protocol`], other protocols by their tongues, and knows nothing else of squall: no
//! scenario, no plan, and above all nothing of the engine that it is measured with. `docs/gateway.md`
//! describes its dialect for people.

mod auth;
mod bench;
mod bus;
mod client;
mod config;
mod connection;
mod consume;
mod deflate;
mod dialect;
mod events;
mod frame;
mod history;
mod http;
mod hub;
mod limits;
mod line;
mod listener;
mod polling;
mod shutdown;
mod socket;
mod stats;
mod store;
mod tls;
mod tongue;
mod topic;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use hub::Hub;
use store::Store;

pub use bus::node::serve_node;
pub use bus::supervisor::{Rejoin, Summary, supervise};
pub use bus::wire::BusError;
pub use config::{
    Auth, BadDrain, BadUpgrade, Certificate, Config, Consume, ConsumeKafka, ConsumeNats,
    ConsumeRabbitMq, History, Misbehave, Ping, PongLie, WhenFull,
};
pub use listener::{Reserved, reserve};
pub use shutdown::{Goodbye, shutdown_signal};
pub use stats::Stats;
pub use tls::self_signed;

/// Why a gateway could not serve.
#[derive(Debug)]
pub enum GatewayError {
    /// A value of the configuration makes no sense.
    Config(String),
    /// The address could not be listened on.
    Listen(SocketAddr, std::io::Error),
    /// The certificate or its key cannot be used.
    Tls(String),
    /// A node and its supervisor cannot speak.
    Bus(BusError),
    /// The store that keeps the history cannot be used, or is gone.
    Store(String),
    /// The broker that is consumed from cannot be used.
    Broker(String),
    /// A node, by index, could not serve.
    Node(usize, String),
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayError::Config(what) => f.write_str(what),
            GatewayError::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}")
            }
            GatewayError::Tls(what) => f.write_str(what),
            GatewayError::Store(what) => write!(f, "the store failed: {what}"),
            GatewayError::Broker(what) => write!(f, "the broker failed: {what}"),
            GatewayError::Bus(error) => error.fmt(f),
            GatewayError::Node(node, why) => write!(f, "node {node}: {why}"),
        }
    }
}

impl std::error::Error for GatewayError {}

/// Serves until `shutdown` completes, then drains: new upgrades and `/healthz` get 503, every
/// connection is closed with 1001 spread over the drain window, and what is still open at the
/// deadline is cut. Runs on the caller's Tokio runtime, one task per connection.
///
/// `on_ready` is called once, with the address that is listened on.
///
/// # Errors
/// Before anything is served: a configuration that makes no sense, a certificate that cannot be
/// used, an address that cannot be listened on, a store that is not there. Later: a store that is gone.
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output: Into<Goodbye>>,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<Stats, GatewayError> {
    let (listener, address, tls) = begin(&config)?;
    if let Some(history) = &config.history
        && let Some(address_of_store) = &history.store
    {
        let store = Store::connect(address_of_store, history.clone()).await?;
        on_ready(address);
        return bus::node::serve_with(store, config, listener, tls, shutdown).await;
    }
    let hub = Arc::new(Hub::new(config, Instant::now(), None));
    let _consuming = match &hub.config.consume {
        Some(from) => Some(consume::start(from, &hub).await?),
        None => None,
    };
    on_ready(address);
    listener::run(listener, tls, &hub, async { shutdown.await.into() }).await;
    Ok(hub.stats())
}

/// Listens, if the configuration makes sense.
fn begin(config: &Config) -> Result<(TcpListener, SocketAddr, Option<TlsAcceptor>), GatewayError> {
    config.check()?;
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let failed = |error| GatewayError::Listen(config.listen, error);
    let listener = listener::listen(config).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address, tls))
}

#[cfg(test)]
mod tests;
