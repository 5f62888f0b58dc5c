//! What can go wrong with a broker.

use std::fmt;
use std::io;

/// Why a broker was not reached, or was lost.
#[derive(Debug)]
pub enum BrokerError {
    /// The network.
    Io(io::Error),
    /// TLS cannot be set up or was refused.
    Tls(String),
    /// It takes no answer for one: nothing was heard for too long.
    Timeout,
    /// It said no: credentials, permissions.
    Refused(String),
    /// It ended a connection that it had let in; its words.
    Closed(String),
    /// It broke its protocol.
    Protocol(String),
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokerError::Io(error) => error.fmt(f),
            BrokerError::Tls(what) => write!(f, "TLS: {what}"),
            BrokerError::Timeout => f.write_str("the broker does not answer"),
            BrokerError::Refused(what) => write!(f, "the broker refused: {what}"),
            BrokerError::Closed(what) => write!(f, "the broker closed the connection: {what}"),
            BrokerError::Protocol(what) => write!(f, "the broker broke its protocol: {what}"),
        }
    }
}

impl std::error::Error for BrokerError {}

impl From<io::Error> for BrokerError {
    fn from(error: io::Error) -> Self {
        BrokerError::Io(error)
    }
}
