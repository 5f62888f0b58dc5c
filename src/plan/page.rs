//! Where the target tells how it is: what the coordinator reads, beside the plan that shards get.

/// A page of metrics in Prometheus' text format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Over TLS.
    pub tls: bool,
    /// Host, as it is looked up: an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Headers beside those of the request itself.
    pub headers: Vec<(String, String)>,
    /// The metric that holds the target's memory, bytes.
    pub memory: String,
}
