//! Where and how to connect: the transport's part of the plan.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The target as every connection sees it. Texts may hold `{placeholders}`, which the engine fills
/// per connection before it dials; `url`s here are already split.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetConfig {
    /// Addresses. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// Which of them a connection dials.
    pub pick: Pick,
    /// The proxy that all connections go through.
    pub proxy: Option<Proxy>,
    /// Redirects in a row that an opening follows.
    pub follow_redirects: u8,
    /// WebSocket subprotocols offered.
    pub subprotocols: Vec<String>,
    /// For `wss`.
    pub tls: TlsConfig,
    /// From the first step of opening to ready.
    pub connect_timeout: Duration,
    /// From our Close frame to the end of the connection.
    pub close_timeout: Duration,
    /// Largest message accepted, bytes.
    pub max_message: usize,
    /// Largest upgrade response accepted, bytes.
    pub max_header: usize,
    /// Bytes queued for a connection before sends on it are dropped.
    pub max_queue: usize,
}

/// Which of the target's addresses a connection dials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pick {
    /// Its own, in turn by connection number.
    #[default]
    Spread,
    /// The first, and the next one after each failed opening or loss.
    Failover,
}

/// One address of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `wss`.
    pub tls: bool,
    /// Host name or literal address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// As a URL without path and query, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// An HTTP proxy, asked by CONNECT.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Host name or literal address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `Basic …`, if it asks who wants through.
    pub authorization: Option<String>,
}

// The credentials must not reach a log by way of `{:?}`.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Display for Proxy {
    /// As a URL without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port),
            false => write!(f, "http://{}:{}", self.host, self.port),
        }
    }
}

/// TLS settings; file contents, not paths, so that a plan needs no files. PEM.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TlsConfig {
    /// Trusted instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// Client certificate chain and key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// Name to verify and send as SNI instead of the host.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub insecure: bool,
}
