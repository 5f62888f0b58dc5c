//! Ways to the target that are not straight: through a proxy, and to where the target redirects.

use super::conn::{Redirected, Stage};
use super::end::Cause;
use super::outbox::recycle;
use super::shard::Shard;
use super::wheel::Due;
use crate::metrics::Failure;
use crate::transport::proxy::{self, ProxyError};
use crate::transport::{handshake, redirect};

/// Headers that another host gets to see.
const HARMLESS: [&str; 2] = ["origin", "user-agent"];

impl Shard {
    /// The connection to the proxy is there: asks for the way to the target.
    pub(super) fn ask_proxy(&mut self, c: usize) {
        let Some(proxy) = &self.plan.target().proxy else {
            return;
        };
        let request = proxy::request(proxy, self.endpoint(c));
        if let Some(opening) = &mut self.conns[c].opening {
            opening.stage = Stage::Proxy;
        }
        self.queue_bytes(c, &request);
    }

    /// Bytes of the proxy's answer.
    pub(super) fn proxy_bytes(&mut self, c: usize, bytes: &[u8], now: u64) {
        let max = self.plan.target().max_header;
        let Some(opening) = &mut self.conns[c].opening else {
            return;
        };
        opening.response.extend_from_slice(bytes);
        match proxy::answer(&opening.response, max) {
            Ok(false) => {}
            Ok(true) => {
                opening.response = Vec::new();
                self.reached(c, now);
            }
            Err(error) => {
                let said = match &error {
                    ProxyError::Status(code, reason) => format!("{code} {reason}"),
                    ProxyError::Invalid(what) => (*what).to_owned(),
                };
                self.recorder.sample("proxy", said.as_bytes());
                self.lost(c, Cause::Failed(Failure::Proxy), now);
            }
        }
    }

    /// What a failure is called: before the way to the target is free it is the proxy's, if there is one.
    pub(super) fn whose(&mut self, c: usize, failure: Failure) -> Failure {
        let ours = matches!(
            failure,
            Failure::NoPort | Failure::NoDescriptor | Failure::Os | Failure::Proxy
        );
        let stage = self.conns[c].opening.as_ref().map(|opening| opening.stage);
        let before = matches!(stage, Some(Stage::Dns | Stage::Tcp | Stage::Proxy));
        if self.plan.target().proxy.is_none() || ours || !before {
            return failure;
        }
        self.recorder.sample("proxy", failure.name().as_bytes());
        Failure::Proxy
    }

    /// The target says that what is asked for is elsewhere. True when the connection goes there; if not, it is lost.
    pub(super) fn redirected(
        &mut self,
        c: usize,
        status: u16,
        location: Option<&str>,
        now: u64,
    ) -> bool {
        let followed = match location {
            None => Err("it does not say where to"),
            Some(location) => self.follow(c, location, now),
        };
        let Err(why) = followed else { return true };
        self.led_nowhere(c, status, location, why, now);
        false
    }

    /// A redirect is not followed, for this reason if there is one: a refusal, like any other status that is none of success.
    pub(super) fn led_nowhere(
        &mut self,
        c: usize,
        status: u16,
        location: Option<&str>,
        why: &str,
        now: u64,
    ) {
        let g = usize::from(self.conns[c].group);
        self.recorder.status(status, self.phase, g);
        self.refused_by(c, status);
        if self.conns[c].troubled {
            self.faults.refused(c, status);
        }
        let to = location.map_or(String::new(), |location| format!(" to {location}"));
        let said = match why {
            "" => format!("{status}{to}"),
            why => format!("{status}{to}: {why}"),
        };
        self.recorder.sample("redirect", said.as_bytes());
        self.lost(c, Cause::Failed(Failure::Redirect), now);
    }

    fn follow(&mut self, c: usize, location: &str, now: u64) -> Result<(), &'static str> {
        let most = self.plan.target().follow_redirects;
        let conn = &self.conns[c];
        let before = conn.opening.as_ref().and_then(|o| o.redirected.as_deref());
        let hops = before.map_or(0, |before| before.hops);
        if most == 0 {
            return Err("");
        }
        if hops >= most {
            return Err("these are more redirects than are followed");
        }
        let path = before.map_or_else(|| self.first_path(c), |before| before.path.clone());
        let place = redirect::place(location, self.endpoint(c), &path)?;
        let first = &self.plan.target().endpoints[usize::from(conn.endpoint)];
        let same = place.endpoint.host.eq_ignore_ascii_case(&first.host)
            && place.endpoint.port == first.port;
        let foreign = !same || before.is_some_and(|before| before.foreign);
        let group = &self.plan.groups()[usize::from(conn.group)];
        let shown = group.auth.is_some()
            || group.protocol.has_session()
            || place.endpoint.tls && self.plan.target().tls.client.is_some();
        if foreign && shown {
            return Err("another host is not shown who the client is");
        }
        if place.endpoint.tls && self.tls.is_none() {
            return Err("it leads to TLS, and this machine trusts no authority");
        }
        let to = (place.endpoint.host.clone(), place.endpoint.port);
        let lookup = self
            .resolver
            .place(to)
            .ok_or("there are too many places that the target redirects to")?;
        self.faults.another_socket(c);
        let conn = &mut self.conns[c];
        conn.stream = None;
        conn.generation = conn.generation.wrapping_add(1);
        if std::mem::take(&mut conn.blocked) {
            self.blocked -= 1;
        }
        if let Some(mut outbox) = conn.outbox.take() {
            outbox.abandon(|_| {});
            recycle(&mut self.pool, outbox);
        }
        let key = handshake::key(self.masks.nonce());
        let mut until = now;
        if let Some(opening) = &mut conn.opening {
            until = opening.until_ns;
            opening.stage = Stage::Dns;
            opening.since_ns = now;
            opening.key = key;
            opening.response = Vec::new();
            opening.redirected = Some(Box::new(Redirected {
                endpoint: place.endpoint,
                path: place.path,
                lookup,
                foreign,
                hops: hops + 1,
            }));
        }
        let generation = conn.generation;
        self.set_timer(until, c, Due::OpenTimeout);
        if let Some(address) = self.resolver.address(lookup, c as u32, generation) {
            self.connect(c, address, now);
        }
        Ok(())
    }

    /// Where a connection's names are looked up.
    pub(super) fn lookup(&self, c: usize) -> usize {
        let conn = &self.conns[c];
        let redirected = conn.opening.as_ref().and_then(|o| o.redirected.as_ref());
        redirected.map_or(usize::from(conn.endpoint), |redirected| redirected.lookup)
    }

    /// What a request asks for where the target has redirected: the path that it said, and of the headers what another host
    /// may see.
    pub(super) fn turn_aside(
        &self,
        c: usize,
        path: &mut String,
        headers: &mut Vec<(String, String)>,
    ) {
        let opening = self.conns[c].opening.as_ref();
        let Some(redirected) = opening.and_then(|o| o.redirected.as_ref()) else {
            return;
        };
        path.clone_from(&redirected.path);
        if redirected.foreign {
            let harmless = |name: &str| {
                HARMLESS
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name))
            };
            headers.retain(|(name, _)| harmless(name));
        }
    }
}
