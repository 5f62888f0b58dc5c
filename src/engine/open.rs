//! Opening: name, TCP, TLS and upgrade; `steps.rs` goes on from there. Each part is timed; each way
//! it can fail has a kind of its own.

use super::answer::Heard;
use super::conn::{Asked, Mark, Opening, Stage, State};
use super::dns::Looked;
use super::end::Cause;
use super::polling::add_query;
use super::session::Session;
use super::shard::Shard;
use super::stream::Stream;
use super::wheel::Due;
use crate::metrics::{Counter, Failure, Node, Timer};
use crate::plan::{self, Part};
use crate::transport::handshake::{self, HandshakeError};
use crate::transport::redirect::is_redirect;
use crate::transport::socket::{self, SocketFailure};
use crate::transport::{Endpoint, TlsConfig, tls};
use mio::Interest;
use std::io;
use std::net::SocketAddr;

impl Shard {
    /// Begins to open a connection that was due at `scheduled`.
    pub(super) fn open(&mut self, c: usize, scheduled: u64, now: u64) {
        let phase = self.phase;
        let conn = &mut self.conns[c];
        let g = usize::from(conn.group);
        conn.state = State::Opening;
        conn.generation = conn.generation.wrapping_add(1);
        conn.peer_code = 0;
        conn.intent = super::conn::Intent::None;
        conn.inbound = Default::default();
        let generation = conn.generation;
        conn.opening = Some(Box::new(Opening {
            scheduled_ns: scheduled,
            since_ns: now,
            stage: Stage::Dns,
            step_until_ns: 0,
            asked: Asked::Nothing,
            offered: Vec::new(),
            key: handshake::key(self.masks.nonce()),
            address: None,
            response: Vec::new(),
            node: Node::UNTOLD,
            polled_ns: 0,
            reaches: false,
            crowded: false,
            until_ns: 0,
            redirected: None,
        }));
        self.opening += 1;
        self.takes_rung(c, scheduled);
        self.recorder.count(Counter::Attempts, phase, g, 1);
        self.recorder
            .time(Timer::OpenLag, phase, g, now as i64 - scheduled as i64);
        self.take_token(c, now);
        let until = now + self.opening_within(c).as_nanos() as u64;
        if let Some(opening) = &mut self.conns[c].opening {
            opening.until_ns = until;
        }
        self.set_timer(until, c, Due::OpenTimeout);
        self.afflict(c, now);
        if !self.is_silent(c) {
            self.reaches_out(c, now);
        }
        let endpoint = usize::from(self.conns[c].endpoint);
        if let Some(address) = self.resolver.address(endpoint, c as u32, generation) {
            self.connect(c, address, now);
        }
    }

    /// From now on the target hears of an attempt: what its capacity is measured by.
    fn reaches_out(&mut self, c: usize, now: u64) {
        if let Some(opening) = &mut self.conns[c].opening
            && !std::mem::replace(&mut opening.reaches, true)
        {
            self.recorder.step(now).attempts += 1;
        }
    }

    /// An opening is over, and did not lead to a connection: it failed, or was called off.
    pub(super) fn opened_in_vain(&mut self, c: usize, failure: Option<Failure>, now: u64) {
        let Some(opening) = &self.conns[c].opening else {
            return;
        };
        let step = self.recorder.step(now);
        let failed = failure.is_some() && opening.reaches;
        let no_room = matches!(
            failure,
            Some(Failure::Refused | Failure::Reset | Failure::Timeout)
        );
        step.failed += u32::from(failed);
        step.crowded += u32::from(failed && (opening.crowded || no_room));
        step.vain += u32::from(!opening.reaches);
    }

    /// A lookup ended: everyone who waited goes on, or fails.
    pub(super) fn looked_up(&mut self, looked: Looked) {
        let now = self.now();
        self.enter_phase(now);
        let answer = self.resolver.keep(looked);
        for (i, (c, generation)) in answer.waiting.into_iter().enumerate() {
            let c = c as usize;
            if self.conns[c].generation != generation {
                continue;
            }
            if i == 0 {
                let g = usize::from(self.conns[c].group);
                self.recorder
                    .time(Timer::Dns, self.phase, g, answer.took_ns as i64);
            }
            if let Some(error) = &answer.error {
                self.recorder.sample("dns", error.to_string().as_bytes());
                self.lost(c, Cause::Failed(Failure::Dns), now);
                continue;
            }
            let lookup = self.lookup(c);
            match self.resolver.address(lookup, c as u32, generation) {
                Some(address) => self.connect(c, address, now),
                None => continue,
            }
        }
    }

    pub(super) fn endpoint(&self, c: usize) -> &Endpoint {
        let conn = &self.conns[c];
        let redirected = conn.opening.as_ref().and_then(|o| o.redirected.as_ref());
        match redirected {
            Some(redirected) => &redirected.endpoint,
            None => &self.plan.target().endpoints[usize::from(conn.endpoint)],
        }
    }

    pub(super) fn connect(&mut self, c: usize, address: SocketAddr, now: u64) {
        if self.is_silent(c) {
            if let Some(opening) = &mut self.conns[c].opening {
                opening.address = Some(address.ip());
                opening.stage = Stage::Tcp;
                opening.since_ns = now;
            }
            return self.faults.dial_in_vain(c, address, now);
        }
        self.reaches_out(c, now);
        let source = self.plan.source_of(self.number(c), address.ip());
        if let Some(opening) = &mut self.conns[c].opening {
            opening.address = Some(address.ip());
        }
        let tls = self.endpoint(c).tls;
        let began = self.now();
        let buffer = self.receive_buffer(c, now);
        let dialled = socket::connect_with(address, source, buffer.map(|(_, bytes)| bytes))
            .and_then(|mut socket| {
                // On the machine itself a connection is there as soon as it is asked for: no need to wait for word of it.
                let there = address.ip().is_loopback() && socket::connected(&socket)?;
                // Nor to be told that it takes bytes, before it does not. (A handshake of TLS writes on its own.)
                let watched = tls || !there;
                let interest = match watched {
                    true => Interest::READABLE | Interest::WRITABLE,
                    false => Interest::READABLE,
                };
                let token = self.conns[c].token(c);
                self.poll
                    .registry()
                    .register(&mut socket, token, interest)?;
                Ok((socket, there, watched))
            });
        let (socket, there, watched) = match dialled {
            Ok(dialled) => dialled,
            Err(e) => return self.connect_failed(c, e, now),
        };
        if let Some((fault, _)) = buffer {
            self.note_receive_buffer(fault, &socket);
        }
        let conn = &mut self.conns[c];
        conn.stream = Some(Stream { socket, tls: None });
        conn.mark(Mark::Watched, watched);
        if let Some(opening) = &mut conn.opening {
            opening.stage = Stage::Tcp;
            opening.since_ns = began;
        }
        if there {
            self.connected(c, self.now());
        }
    }

    /// The address did not take the connection: another family's does, where there is one, as browsers do it.
    fn connect_failed(&mut self, c: usize, error: io::Error, now: u64) {
        let nobody = matches!(
            socket::classify(&error),
            SocketFailure::Refused | SocketFailure::Unreachable
        );
        let lookup = self.lookup(c);
        let conn = &mut self.conns[c];
        let tried = conn.opening.as_ref().and_then(|opening| opening.address);
        if let Some(ip) = tried.filter(|_| nobody)
            && self.resolver.unreachable(lookup, ip)
        {
            conn.stream = None;
            let generation = conn.generation;
            if let Some(address) = self.resolver.address(lookup, c as u32, generation) {
                self.connect(c, address, now);
            }
            return;
        }
        self.lost(c, Cause::Socket(error), now);
    }

    /// An event for a connection that is opening; `writable` if it says so and nothing bad beside. True when it is
    /// used up.
    pub(super) fn dial_event(&mut self, c: usize, now: u64, writable: bool) -> bool {
        let Some(opening) = &self.conns[c].opening else {
            return false;
        };
        match opening.stage {
            Stage::Dns => true,
            Stage::Tcp => {
                self.tcp_event(c, now, writable);
                // What the event says beside the connect is read below once the upgrade is on its way.
                !matches!(
                    self.conns[c].opening.as_ref().map(|o| o.stage),
                    Some(Stage::Proxy | Stage::Polling | Stage::Upgrade)
                )
            }
            Stage::Tls => {
                self.tls_event(c, now);
                !matches!(
                    self.conns[c].opening.as_ref().map(|o| o.stage),
                    Some(Stage::Proxy | Stage::Polling | Stage::Upgrade)
                )
            }
            Stage::Proxy
            | Stage::Polling
            | Stage::Upgrade
            | Stage::Resuming
            | Stage::Greeting
            | Stage::Steps(_)
            | Stage::Subscribing(_) => false,
        }
    }

    fn tcp_event(&mut self, c: usize, now: u64, writable: bool) {
        let Some(stream) = &self.conns[c].stream else {
            return;
        };
        // Writable without error or hang-up is connected; else the socket is asked, which costs two system calls.
        if !writable {
            match socket::connected(&stream.socket) {
                Ok(true) => {}
                // Still connecting: the event was for something else.
                Ok(false) => return,
                Err(e) => return self.connect_failed(c, e, now),
            }
        }
        self.connected(c, now);
    }

    /// There is a connection, to the target or to the proxy before it.
    fn connected(&mut self, c: usize, now: u64) {
        match self.plan.target().proxy {
            Some(_) => self.ask_proxy(c),
            None => self.reached(c, now),
        }
    }

    /// TCP's part is done; TLS or the upgrade is next.
    pub(super) fn reached(&mut self, c: usize, now: u64) {
        self.step_done(c, Timer::Tcp, now);
        let endpoint = self.endpoint(c);
        if !endpoint.tls {
            return self.secured(c, now);
        }
        match self.tls_session(c) {
            Ok(session) => {
                let conn = &mut self.conns[c];
                if let (Some(stream), Some(opening)) = (&mut conn.stream, &mut conn.opening) {
                    stream.tls = Some(Box::new(session));
                    opening.stage = Stage::Tls;
                }
                self.tls_event(c, now);
            }
            Err(e) => {
                self.recorder.sample("tls", e.to_string().as_bytes());
                self.lost(c, Cause::Failed(Failure::Tls), now);
            }
        }
    }

    /// A TLS session for a connection to this one's address.
    pub(super) fn tls_session(&self, c: usize) -> io::Result<Session> {
        let config = self.tls.clone();
        let config = config.ok_or_else(|| io::Error::other("no TLS settings"))?;
        let host = &self.endpoint(c).host;
        let usual = TlsConfig::default();
        // The name that is written is the target's, and not that of whom it sends elsewhere.
        let written = &self.plan.target().endpoints[usize::from(self.conns[c].endpoint)].host;
        let settings = match host.eq_ignore_ascii_case(written) {
            true => &self.plan.target().tls,
            false => &usual,
        };
        let name = tls::server_name(settings, host).map_err(io::Error::other)?;
        Session::new(config, name, self.wire.clone()).map_err(io::Error::other)
    }

    fn tls_event(&mut self, c: usize, now: u64) {
        let Some(stream) = &mut self.conns[c].stream else {
            return;
        };
        match stream.handshake() {
            Ok(false) => {}
            Ok(true) => {
                self.step_done(c, Timer::Tls, now);
                self.secured(c, now);
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                self.recorder.sample("tls", e.to_string().as_bytes());
                self.lost(c, Cause::Failed(Failure::Tls), now);
            }
            Err(e) => self.lost(c, Cause::Socket(e), now),
        }
    }

    /// Records a step of opening and starts the clock of the next.
    pub(super) fn step_done(&mut self, c: usize, timer: Timer, now: u64) {
        let conn = &mut self.conns[c];
        if let Some(opening) = &mut conn.opening {
            self.recorder.time(
                timer,
                self.phase,
                usize::from(conn.group),
                now as i64 - opening.since_ns as i64,
            );
            opening.since_ns = now;
        }
    }

    /// The way to the target is open: what is asked of it depends on the transport.
    fn secured(&mut self, c: usize, now: u64) {
        if self.is_over_http(c) {
            return self.send_request(c, now);
        }
        match self.polls_first(c) {
            Some(query) => self.send_poll(c, query, now),
            None => self.send_upgrade(c, None),
        }
    }

    /// Path and headers of a connection's upgrade.
    pub(super) fn upgrade_request(&self, c: usize) -> (String, Vec<(String, String)>) {
        let endpoint_index = usize::from(self.conns[c].endpoint);
        let g = usize::from(self.conns[c].group);
        let upgrade = self.plan.upgrade(g);
        let mut path = plan::render(upgrade.path(endpoint_index), |part| match part {
            Part::Text(text) => text.clone().into(),
            other => plan::percent_encode(&self.value(c, other)).into(),
        });
        let mut headers: Vec<(String, String)> = upgrade
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), self.fill(c, value)))
            .collect();
        self.send_cookies(c, &mut headers);
        self.name_session(c, &mut path, &mut headers);
        self.turn_aside(c, &mut path, &mut headers);
        (path, headers)
    }

    /// What a connection asks for before any redirect: a redirect may lead from there.
    pub(super) fn first_path(&self, c: usize) -> String {
        match self.is_over_http(c) {
            true => self.asked_path(c),
            false => self.upgrade_request(c).0,
        }
    }

    /// Asks for the upgrade, of what was agreed on by polling if something was.
    pub(super) fn send_upgrade(&mut self, c: usize, polled: Option<&str>) {
        let (mut path, headers) = self.upgrade_request(c);
        if let Some(query) = polled {
            add_query(&mut path, query);
        }
        let g = usize::from(self.conns[c].group);
        let mut offered = self.groups[g].subprotocols.clone();
        let shown = self.plan.upgrade(g).subprotocol.as_ref();
        let shown: Vec<String> = shown.map(|shown| self.fill(c, shown)).into_iter().collect();
        offered.extend_from_slice(&shown);
        let endpoint = self.endpoint(c).clone();
        let Some(opening) = &mut self.conns[c].opening else {
            return;
        };
        opening.stage = Stage::Upgrade;
        opening.offered = shown;
        let mut request = Vec::with_capacity(512);
        let made = handshake::request(
            &handshake::Request {
                host: &endpoint.host,
                port: endpoint.port,
                tls: endpoint.tls,
                path: &path,
                headers: &headers,
                subprotocols: &offered,
                compression: self.groups[g].compression.as_ref(),
                key: &opening.key,
            },
            &mut request,
        );
        if let Err(e) = made {
            // A captured value or a CSV cell that cannot stand in a header.
            self.recorder.sample("handshake", e.to_string().as_bytes());
            let now = self.now();
            return self.lost(c, Cause::Failed(Failure::Handshake), now);
        }
        self.queue_bytes(c, &request);
    }

    /// Bytes of the answer to the upgrade, perhaps with the first frames behind it.
    pub(super) fn upgrade_bytes(&mut self, c: usize, bytes: &[u8], now: u64) {
        let Some(mut opening) = self.conns[c].opening.take() else {
            return;
        };
        opening.response.extend_from_slice(bytes);
        let target = self.plan.target();
        let expected = handshake::Expected {
            key: &opening.key,
            subprotocols: &self.groups[usize::from(self.conns[c].group)].subprotocols,
            also: &opening.offered,
            compression: self.groups[usize::from(self.conns[c].group)]
                .compression
                .as_ref(),
            max_header: target.max_header,
        };
        let group = &self.plan.groups()[usize::from(self.conns[c].group)];
        let mut heard = Heard::default();
        let parsed = handshake::response_heard(&opening.response, &expected, |name, value| {
            heard.take(group, name, value);
        });
        let response = std::mem::take(&mut opening.response);
        self.conns[c].opening = Some(opening);
        match parsed {
            Ok(None) => {
                if let Some(opening) = &mut self.conns[c].opening {
                    opening.response = response;
                }
            }
            Ok(Some(accepted)) => {
                self.step_done(c, Timer::Upgrade, now);
                let generation = self.conns[c].generation;
                if !self.keep_heard(c, heard, now) {
                    return;
                }
                if let Some(agreed) = accepted.compression {
                    self.agree(c, agreed);
                }
                self.after_upgrade(c, now);
                let behind = &response[accepted.used..];
                if !behind.is_empty() && self.conns[c].generation == generation {
                    self.frames(c, behind, now);
                }
            }
            Err(error) => {
                let failure = match &error {
                    HandshakeError::Status { code, location, .. } if is_redirect(*code) => {
                        self.redirected(c, *code, location.as_deref(), now);
                        return;
                    }
                    HandshakeError::Status {
                        code, reason, body, ..
                    } => {
                        let text = if body.is_empty() {
                            reason.as_bytes()
                        } else {
                            body.as_slice()
                        };
                        self.answered_otherwise(c, *code, text)
                    }
                    HandshakeError::AcceptKey => Failure::AcceptKey,
                    HandshakeError::Subprotocol(_) => {
                        let said = error.to_string();
                        self.recorder.sample("subprotocol", said.as_bytes());
                        Failure::Subprotocol
                    }
                    HandshakeError::HeaderTooLarge => Failure::HeaderTooLarge,
                    HandshakeError::Extension(what) => {
                        self.recorder.sample("extension", what.as_bytes());
                        Failure::Extension
                    }
                    other => {
                        self.recorder
                            .sample("handshake", other.to_string().as_bytes());
                        Failure::Handshake
                    }
                };
                self.lost(c, Cause::Failed(failure), now);
            }
        }
    }

    /// The target answers with a status that is none of success.
    pub(super) fn answered_otherwise(&mut self, c: usize, code: u16, text: &[u8]) -> Failure {
        let g = usize::from(self.conns[c].group);
        self.recorder.status(code, self.phase, g);
        self.refused_by(c, code);
        if self.conns[c].troubled {
            self.faults.refused(c, code);
        }
        self.count_unknown_session(c, code, text);
        // Who names a session in its upgrade may be turned away for it; 429 is for coming too often.
        if (400..500).contains(&code) && code != 429 {
            self.session_refused(c);
        }
        self.recorder.sample(&format!("status {code}"), text);
        Failure::Status
    }

    /// The whole opening took too long.
    pub(super) fn open_timeout(&mut self, c: usize, now: u64) {
        let Some(opening) = &self.conns[c].opening else {
            return;
        };
        // Whoever is slow on purpose does not give up for it: how long the target bears it is what is asked. The
        // other stages are the target's to hold up, as ever.
        if matches!(opening.stage, Stage::Polling | Stage::Upgrade)
            && self.conns[c].troubled
            && self.faults.trickles(c)
        {
            let timeout = self.plan.target().connect_timeout.as_nanos() as u64;
            return self.set_timer(now + timeout, c, Due::OpenTimeout);
        }
        let failure = match opening.stage {
            Stage::Resuming | Stage::Greeting | Stage::Steps(_) | Stage::Subscribing(_) => {
                Failure::Step
            }
            _ => Failure::Timeout,
        };
        let stage = match opening.stage {
            Stage::Dns => "looking up the name",
            Stage::Tcp => "connecting",
            Stage::Proxy => "waiting for the proxy's answer",
            Stage::Tls => "in the TLS handshake",
            Stage::Polling => "waiting for the answer to the handshake by polling",
            Stage::Upgrade => "waiting for the answer to the upgrade",
            Stage::Resuming => "waiting for the answer to a resume",
            Stage::Greeting => "waiting for the protocol's answer to its greeting",
            Stage::Steps(_) => "in an on_open step",
            Stage::Subscribing(_) => "waiting for a subscription to be acknowledged",
        };
        if matches!(opening.stage, Stage::Resuming | Stage::Subscribing(_)) {
            self.resume_refused(c);
        }
        self.opened_late(c, self.has_begun(c));
        self.recorder.sample("timeout", stage.as_bytes());
        self.lost(c, Cause::Failed(failure), now);
    }
}
