//! How NATS is reached.

use crate::broker::config::{Endpoint, Login, decoded};
use crate::transport::TlsConfig;
use serde::{Deserialize, Serialize};

/// How NATS is reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NatsConfig {
    /// Servers, tried in turn.
    pub endpoints: Vec<Endpoint>,
    /// Who we are.
    pub login: Login,
    /// How servers are verified.
    pub tls: TlsConfig,
    /// Each message is stored, and acknowledged.
    pub jetstream: bool,
}

impl NatsConfig {
    /// Takes an address apart: `nats://host:port` or `tls://host:port`, with `user:password@` or `token@` before the host.
    ///
    /// # Errors
    /// What is wrong and what to do; never the address itself, which may hold a secret.
    pub fn address(text: &str) -> Result<(Endpoint, Option<Login>), (&'static str, &'static str)> {
        const HOW: &str = "write it as nats://host:port, or tls://host:port";
        let wrong = |what| (what, HOW);
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(wrong("the address has no scheme"))?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(wrong("the scheme is neither `nats` nor `tls`")),
        };
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let endpoint = Endpoint::of(host, 4222, tls);
        let endpoint = endpoint.ok_or(wrong("host or port of the address cannot be read"))?;
        let login = user.map(|user| match user.split_once(':') {
            Some((user, password)) => Login::Password(decoded(user), decoded(password)),
            None => Login::Token(decoded(user)),
        });
        Ok((endpoint, login))
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
        for (text, expected, login) in [
            ("nats://broker", at(false, "broker", 4222), None),
            ("tls://broker:80", at(true, "broker", 80), None),
            ("nats://[::1]:4000", at(false, "::1", 4000), None),
            (
                "nats://me:p%40ss%zz@h:1",
                at(false, "h", 1),
                user("me", "p@ss%zz"),
            ),
            (
                "nats://s3cret@h",
                at(false, "h", 4222),
                Some(Login::Token("s3cret".into())),
            ),
        ] {
            assert_eq!(NatsConfig::address(text), Ok((expected, login)), "{text}");
        }
        for wrong in [
            "broker:4222",
            "ws://broker",
            "nats://",
            "nats://h:0",
            "nats://h/x",
            "nats://h:x",
        ] {
            assert!(NatsConfig::address(wrong).is_err(), "{wrong}");
        }
        let shown = format!("{:?}", NatsConfig::address("nats://me:s3cret@h"));
        assert!(!shown.contains("s3cret"));
    }
}
