//! How tokens are revoked, as planned: a request for each.

use super::super::types::Template;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The request that revokes a connection's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// Who is asked; `None`: the target, where the connection is.
    pub at: Option<Elsewhere>,
    /// Method.
    pub method: String,
    /// Path and query; what is put in is percent-encoded.
    pub path: Template,
    /// Headers beside those of the request itself.
    pub headers: Vec<(String, Template)>,
    /// Body.
    pub body: Template,
    /// The body is JSON: what is put in is escaped for its strings.
    pub json: bool,
    /// How long the answer may take.
    pub within: Duration,
}

/// Who else is asked than the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Over TLS, by the system's certificates.
    pub tls: bool,
    /// Host, as it is looked up: an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}
