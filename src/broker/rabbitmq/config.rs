//! How RabbitMQ is reached, and how it is published to.

use crate::broker::config::{Endpoint, Login, decoded};
use crate::transport::TlsConfig;
use serde::{Deserialize, Serialize};

/// RabbitMQ, or whatever else speaks AMQP 0-9-1 and confirms publishes as it does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RabbitMqConfig {
    /// Servers, tried in turn.
    pub endpoints: Vec<Endpoint>,
    /// User and password; nobody is `guest`.
    pub login: Login,
    /// Virtual host.
    pub vhost: String,
    /// How servers are verified.
    pub tls: TlsConfig,
    /// Exchange that is published to, which must be there; empty: the default exchange.
    pub exchange: String,
    /// Messages that no queue takes are returned, and so counted.
    pub mandatory: bool,
    /// Messages survive a restart of the broker, in queues that do.
    pub persistent: bool,
}

/// An address taken apart: where, who, and in which virtual host.
pub type Address = (Endpoint, Option<Login>, Option<String>);

impl RabbitMqConfig {
    /// The exchange where nothing else is said: it is in every virtual host, and of type `topic`.
    pub const EXCHANGE: &str = "amq.topic";
    /// The virtual host where nothing else is said.
    pub const VHOST: &str = "/";

    /// Takes an address apart: `amqp://user:password@host:port/vhost`, or `amqps://` for TLS. All but the host may be left out.
    ///
    /// # Errors
    /// What is wrong and what to do; never the address itself, which may hold a secret.
    pub fn address(text: &str) -> Result<Address, (&'static str, &'static str)> {
        const HOW: &str = "write it as amqp://host:port/vhost, or amqps://host:port/vhost";
        let wrong = |what| (what, HOW);
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(wrong("the address has no scheme"))?;
        let (tls, port) = match scheme {
            "amqp" => (false, 5672),
            "amqps" => (true, 5671),
            _ => return Err(wrong("the scheme is neither `amqp` nor `amqps`")),
        };
        let (rest, vhost) = match rest.split_once('/') {
            Some((rest, vhost)) => (rest, Some(vhost)),
            None => (rest, None),
        };
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let endpoint = Endpoint::of(host, port, tls);
        let endpoint = endpoint.ok_or(wrong("host or port of the address cannot be read"))?;
        let vhost = vhost.filter(|vhost| !vhost.is_empty());
        if vhost.is_some_and(|vhost| vhost.contains(['/', '?', '#'])) {
            return Err((
                "the address goes on behind its virtual host",
                "a `/` in a virtual host's name is written as %2f, and nothing follows it",
            ));
        }
        let login = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            Login::Password(decoded(user), decoded(password))
        });
        Ok((endpoint, login, vhost.map(decoded)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let at = |tls, host: &str, port| Endpoint {
            tls,
            host: host.into(),
            port,
        };
        let user = |user: &str, password: &str| Some(Login::Password(user.into(), password.into()));
        let vhost = |name: &str| Some(name.to_owned());
        for (text, endpoint, login, host) in [
            ("amqp://broker", at(false, "broker", 5672), None, None),
            ("amqps://broker/", at(true, "broker", 5671), None, None),
            (
                "amqp://[::1]:80/%2fa",
                at(false, "::1", 80),
                None,
                vhost("/a"),
            ),
            (
                "amqp://me:p%40ss@h:1/live",
                at(false, "h", 1),
                user("me", "p@ss"),
                vhost("live"),
            ),
            ("amqp://me@h", at(false, "h", 5672), user("me", ""), None),
        ] {
            let read = RabbitMqConfig::address(text);
            assert_eq!(read, Ok((endpoint, login, host)), "{text}");
        }
        for wrong in [
            "broker:5672",
            "http://broker",
            "amqp://",
            "amqp://h:0",
            "amqp://h:x",
            "amqp://h/a/b",
            "amqp://h/a?heartbeat=1",
        ] {
            assert!(RabbitMqConfig::address(wrong).is_err(), "{wrong}");
        }
        let shown = format!("{:?}", RabbitMqConfig::address("amqp://me:s3cret@h"));
        assert!(!shown.contains("s3cret"));
    }
}
