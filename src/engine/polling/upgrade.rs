//! From polling to a WebSocket, as clients in browsers do it: polling goes on while a WebSocket on a TCP connection of its own is
//! asked for and probed. Once that is answered nothing new is polled or posted; when the GET that is held and the POST that is
//! under way are answered, the WebSocket takes over, and says what was not posted. So nothing is lost, and nothing is said twice.
//!
//! Where it does not come to that, polling goes on, and why is counted.

use super::super::conn::Mark;
use super::super::end::Cause;
use super::super::outbox::{Written, recycle};
use super::super::shard::Shard;
use super::super::wheel::Due;
use super::add_query;
use super::beside::{Beside, Which};
use crate::metrics::Counter;
use crate::protocol::settings::socket_io::Polling;
use crate::protocol::socket_io::{Polled, engine_io};
use crate::transport::handshake::{self, HandshakeError};
use crate::transport::ws::{self, Event, Opcode};
use mio::Interest;

/// Whether, and how far, it is on the way to a WebSocket.
#[derive(Default)]
pub(super) enum Climb {
    /// It is not.
    #[default]
    No,
    /// The answer to the upgrade, or to the probe, is waited for.
    Probing(Box<Probe>),
    /// The WebSocket works: what is under way by polling is waited for.
    Ready(Box<Probe>),
}

impl Climb {
    pub(super) fn is_ready(&self) -> bool {
        matches!(self, Climb::Ready(_))
    }

    pub(super) fn probe(&mut self) -> Option<&mut Probe> {
        match self {
            Climb::No => None,
            Climb::Probing(probe) | Climb::Ready(probe) => Some(probe),
        }
    }

    pub(super) fn into_probe(self) -> Option<Box<Probe>> {
        match self {
            Climb::No => None,
            Climb::Probing(probe) | Climb::Ready(probe) => Some(probe),
        }
    }
}

/// A WebSocket that is to take over.
pub(super) struct Probe {
    pub(super) beside: Beside,
    key: String,
    offered: Vec<String>,
    /// The answer to the upgrade as far as it came; `None` once it was granted.
    response: Option<Vec<u8>>,
    inbound: ws::Inbound,
}

/// What the query of an upgrade asks for.
pub(super) fn query(sid: &str) -> String {
    format!("transport=websocket&sid={sid}")
}

/// What was heard over the WebSocket that is to take over.
enum Told {
    Part,
    Granted,
    Probed,
    /// Why it will not.
    Not(String),
}

impl Shard {
    /// Asks for the WebSocket beside polling, where it is wanted and offered.
    pub(super) fn begin_upgrade(&mut self, c: usize, polled: &Polled, now: u64) {
        let g = usize::from(self.conns[c].group);
        if self.plan.groups()[g].protocol.polling() != Polling::Upgrade {
            return;
        }
        if !polled.upgrades {
            self.recorder
                .sample("upgrade", b"the target offers no WebSocket");
            return self.count(c, Counter::StuckUnoffered);
        }
        let (mut path, headers) = self.upgrade_request(c);
        add_query(&mut path, &query(&polled.sid));
        let mut offered = self.groups[g].subprotocols.clone();
        let shown = self.plan.upgrade(g).subprotocol.as_ref();
        let shown: Vec<String> = shown.map(|shown| self.fill(c, shown)).into_iter().collect();
        offered.extend_from_slice(&shown);
        let key = handshake::key(self.masks.nonce());
        let endpoint = self.endpoint(c);
        let mut request = Vec::with_capacity(512);
        let made = handshake::request(
            &handshake::Request {
                host: &endpoint.host,
                port: endpoint.port,
                tls: endpoint.tls,
                path: &path,
                headers: &headers,
                subprotocols: &offered,
                compression: None,
                key: &key,
            },
            &mut request,
        );
        let dialled = match made {
            Ok(()) => self.dial_beside(c, Which::Probe),
            Err(e) => Err(std::io::Error::other(e)),
        };
        let mut beside = match dialled {
            Ok(beside) => beside,
            Err(e) => {
                self.recorder.sample("upgrade", e.to_string().as_bytes());
                return self.count(c, Counter::StuckFailed);
            }
        };
        beside.outbox.buffer().extend_from_slice(&request);
        beside.outbox.seal(Written::Control);
        let Some(poller) = self.poller(c) else {
            return;
        };
        poller.climb = Climb::Probing(Box::new(Probe {
            beside,
            key,
            offered: shown,
            response: Some(Vec::new()),
            inbound: ws::Inbound::default(),
        }));
        let timeout = self.plan.target().connect_timeout.as_nanos() as u64;
        self.set_timer(now + timeout, c, Due::Probe);
        self.flush_beside(c, Which::Probe, now);
    }

    /// Bytes of the WebSocket that is to take over.
    pub(super) fn probe_bytes(&mut self, c: usize, mut bytes: &[u8], now: u64) {
        loop {
            let Some(mut poller) = self.take_poller(c) else {
                return;
            };
            let Some(probe) = poller.climb.probe() else {
                return self.put_poller(c, poller);
            };
            let told = match probe.response.is_some() {
                true => self.answer_to_upgrade(c, probe, &mut bytes),
                false => hear(probe, &mut bytes, self.plan.target().max_message),
            };
            match told {
                Told::Part => return self.put_poller(c, poller),
                Told::Granted => {
                    let out = probe.beside.outbox.buffer();
                    let mask = self.masks.draw();
                    ws::push_frame(Opcode::Text, &[engine_io::PROBE], mask, out);
                    probe.beside.outbox.seal(Written::Control);
                    self.put_poller(c, poller);
                    self.flush_beside(c, Which::Probe, now);
                }
                Told::Probed => {
                    poller.climb = match std::mem::take(&mut poller.climb) {
                        Climb::Probing(probe) => Climb::Ready(probe),
                        other => other,
                    };
                    self.put_poller(c, poller);
                    return self.switch(c, now);
                }
                Told::Not(why) => {
                    self.put_poller(c, poller);
                    return self.stuck(c, Counter::StuckRefused, why.as_bytes(), now);
                }
            }
        }
    }

    /// Reads on in the answer to the upgrade.
    fn answer_to_upgrade(&mut self, c: usize, probe: &mut Probe, bytes: &mut &[u8]) -> Told {
        let g = usize::from(self.conns[c].group);
        let expected = handshake::Expected {
            key: &probe.key,
            subprotocols: &self.groups[g].subprotocols,
            also: &probe.offered,
            compression: None,
            max_header: self.plan.target().max_header,
        };
        let Some(response) = &mut probe.response else {
            return Told::Part;
        };
        let before = response.len();
        response.extend_from_slice(bytes);
        match handshake::response(response, &expected) {
            Ok(None) => {
                *bytes = &[];
                Told::Part
            }
            Ok(Some(accepted)) => {
                *bytes = bytes
                    .get(accepted.used.saturating_sub(before)..)
                    .unwrap_or_default();
                probe.response = None;
                Told::Granted
            }
            Err(HandshakeError::Status {
                code, reason, body, ..
            }) => {
                let said = match body.is_empty() {
                    true => reason.into_bytes(),
                    false => body,
                };
                let said = String::from_utf8_lossy(&said).into_owned();
                // Its opening has not failed over it: no kind of failure, but the number and what was said count.
                self.recorder.status(code, self.phase, g);
                self.count_unknown_session(c, code, said.as_bytes());
                Told::Not(format!("status {code}: {said}"))
            }
            Err(other) => Told::Not(other.to_string()),
        }
    }

    /// The WebSocket takes over, unless something is still under way by polling.
    pub(super) fn switch(&mut self, c: usize, now: u64) {
        let Some(mut poller) = self.take_poller(c) else {
            return;
        };
        if !poller.is_quiet() || !poller.climb.is_ready() {
            return self.put_poller(c, poller);
        }
        let Some(probe) = std::mem::take(&mut poller.climb).into_probe() else {
            return self.put_poller(c, poller);
        };
        let Probe {
            beside, inbound, ..
        } = *probe;
        let mut stream = beside.stream;
        let token = self.conns[c].token(c);
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let watched = registry.reregister(&mut stream.socket, token, both);
        let Shard {
            conns,
            pool,
            blocked,
            ..
        } = self;
        let conn = &mut conns[c];
        if std::mem::take(&mut conn.blocked) {
            *blocked -= 1;
        }
        if let Some(mut outbox) = conn.outbox.take() {
            outbox.abandon(|_| ());
            recycle(pool, outbox);
        }
        // The kernel tells of what came meanwhile, as it is watched anew.
        conn.stream = Some(stream);
        conn.inbound = inbound;
        conn.mark(Mark::Watched, true);
        self.queue_control(c, Opcode::Text, engine_io::UPGRADE);
        self.say_unposted(c, &mut poller);
        self.upgraded(c, poller.begun_ns, now);
        if let Err(e) = watched {
            self.lost(c, Cause::Socket(e), now);
        }
    }

    /// It stays on polling, for this reason.
    pub(super) fn stuck(&mut self, c: usize, why: Counter, said: &[u8], now: u64) {
        let Some(poller) = self.poller(c) else {
            return;
        };
        if std::mem::take(&mut poller.climb).into_probe().is_none() {
            return;
        }
        self.count(c, why);
        self.recorder.sample("upgrade", said);
        // What had been held back for it goes on.
        self.to_post.push(c as u32);
        self.go_on(c, now);
    }

    /// The WebSocket should have proved to work by now.
    pub(in super::super) fn probe_timeout(&mut self, c: usize, now: u64) {
        let probing = |poller: &mut super::Poller| matches!(poller.climb, Climb::Probing(_));
        if self.poller(c).is_some_and(probing) {
            let said = b"the upgrade, or its probe, was not answered in time";
            self.stuck(c, Counter::StuckTimeout, said, now);
        }
    }
}

/// Reads on over the WebSocket.
fn hear(probe: &mut Probe, bytes: &mut &[u8], max: usize) -> Told {
    loop {
        match probe.inbound.next(bytes, max) {
            Ok(None) => return Told::Part,
            Ok(Some(Event::Text(text))) if text.as_bytes() == engine_io::PROBED => {
                return Told::Probed;
            }
            Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
            Ok(Some(Event::Close(close))) => {
                return Told::Not(match close.code {
                    Some(code) => format!("the probe was answered with a close, {code}"),
                    None => "the probe was answered with a close".to_owned(),
                });
            }
            Ok(Some(Event::Text(_) | Event::Binary(_) | Event::Deflated { .. })) => {
                return Told::Not("the probe was answered with something else".to_owned());
            }
            Err(violation) => return Told::Not(violation.to_string()),
        }
    }
}
