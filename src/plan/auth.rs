//! How a group's connections show who they are: where their tokens come from, how long those live, and how they are renewed.

use super::{Matcher, Template, Webhook};
use crate::protocol::JwtAlgorithm;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A group's tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Auth {
    /// Where they come from.
    pub source: TokenSource,
    /// How long one lives: of a minted one its `exp`, of another from when it is shown. `None`: a minted one for ever, another
    /// as it says itself, if it is a JWT.
    pub expires: Option<Duration>,
    /// How one is renewed on an open connection.
    pub renew: Option<Renew>,
}

/// Where tokens come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TokenSource {
    /// These, in turn by the connection's index. Never empty.
    Given(Vec<Template>),
    /// Made by the shard.
    Minted(Box<Jwt>),
    /// What the coordinator fetched before the run, in turn by the connection's index; empty until then.
    Fetched(Fetch, Vec<Secret>),
}

/// How tokens are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Jwt {
    /// How they are signed.
    pub algorithm: JwtAlgorithm,
    /// By what: a secret, or a private key in PEM.
    pub key: Secret,
    /// The key's name in the header.
    pub kid: Option<String>,
    /// Claims beside the times: members of a JSON object, with a comma behind each. Values put in are escaped for JSON.
    pub claims: Template,
    /// Each has a `jti` of its own beside them.
    pub named: bool,
}

/// Where the coordinator fetches tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fetch {
    /// How.
    pub how: FetchFrom,
    /// JSON pointer to the token, or to a list of them. `None`: each line is one.
    pub pointer: Option<String>,
    /// How long it may take.
    pub within: Duration,
}

/// How the coordinator fetches tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FetchFrom {
    /// A program with its arguments; what it writes to standard output.
    Run(Vec<String>),
    /// The answer to an HTTP request.
    Http(Webhook),
}

/// How a token is renewed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Renew {
    /// How often; each connection has its own place in the interval.
    pub every: Option<Duration>,
    /// Whenever the target says this.
    pub asked: Option<Matcher>,
    /// How.
    pub by: RenewBy,
}

/// How a new token gets to the target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum RenewBy {
    /// In a message on the open connection.
    Message {
        /// The message.
        message: Template,
        /// The answer that accepts it; `None`: it is taken for accepted.
        accepted: Option<Matcher>,
        /// How long the answer may take.
        within: Duration,
    },
    /// By closing the connection and opening it again.
    Reconnect,
}

/// What must not be shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub Vec<u8>);

// It must not reach a log by way of `{:?}`.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
