//! `revoke`: the token of each victim is revoked by a request, made by a task beside the loop; from its confirmation on it is
//! watched when the target closes the connection.
//!
//! Only victims are kept, and only from the request to what comes of it.

use super::super::clock::monotonic_ns;
use super::super::conn::State;
use super::super::shard::Shard;
use crate::metrics::{Counter, Timer};
use crate::plan::{self, Effect, Elsewhere, Part, Revoke, Template};
use crate::protocol::escape;
use crate::transport::{TlsConfig, exchange, http, tls};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

/// Requests of a shard under way at once.
const AT_ONCE: usize = 64;

/// Tokens being revoked, and those that are.
pub(super) struct Revocations {
    victims: HashMap<u32, Asked>,
    last_id: u64,
    sender: mpsc::UnboundedSender<Said>,
    receiver: mpsc::UnboundedReceiver<Said>,
    /// Requests whose end has not been heard.
    under_way: usize,
    room: Rc<Semaphore>,
    heard: Rc<Notify>,
    /// For others than the target; made when it is first needed, as it reads the system's certificates.
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Default for Revocations {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Revocations {
            victims: HashMap::new(),
            last_id: 0,
            sender,
            receiver,
            under_way: 0,
            room: Rc::new(Semaphore::new(AT_ONCE)),
            heard: Rc::default(),
            tls: None,
        }
    }
}

/// A connection whose token is asked to be revoked.
struct Asked {
    id: u64,
    /// Number of the fault in the run.
    number: usize,
    /// Index of the phase that all of it counts to.
    phase: usize,
    stand: Stand,
}

#[derive(Clone, Copy)]
enum Stand {
    /// Not confirmed yet.
    Asked,
    /// Not confirmed yet, and the target closed it with this code already.
    Closed(u16),
    /// Not confirmed yet, and it has shown another token meanwhile.
    Renewed,
    /// Confirmed then, on the run's clock.
    Confirmed(u64),
}

/// What came of a request.
struct Said {
    c: u32,
    id: u64,
    /// When, of CLOCK_MONOTONIC.
    at: u64,
    result: Result<(), String>,
}

impl Shard {
    /// Has requests wake the loop when they are answered. To be called where local tasks run.
    pub(in super::super) fn prepare_revocations(&mut self, heard: &Rc<Notify>) {
        self.faults.revocations.heard = Rc::clone(heard);
    }

    /// It is a victim's turn: its token is to be revoked, if it is there.
    pub(super) fn revoke(&mut self, fault: usize, c: usize) {
        let running = &self.faults.running[fault];
        let (number, phase) = (running.number, running.phase);
        let Effect::Revoke(revoke) = &running.effect else {
            return;
        };
        let known = self.faults.revocations.victims.contains_key(&(c as u32));
        if self.conns[c].state != State::Ready || known {
            return;
        }
        let revoke = revoke.clone();
        let g = usize::from(self.conns[c].group);
        let made = self
            .revocation(c, &revoke)
            .and_then(|request| Ok((request, self.who_revokes(c, revoke.at.as_ref())?)));
        let (request, (host, port, tls)) = match made {
            Ok(made) => made,
            Err(why) => {
                self.recorder.sample("revoke", why.as_bytes());
                let counter = Counter::RevocationFailed;
                return self.recorder.count(counter, phase, g, 1);
            }
        };
        let revocations = &mut self.faults.revocations;
        revocations.last_id += 1;
        revocations.under_way += 1;
        let id = revocations.last_id;
        let asked = Asked {
            id,
            number,
            phase,
            stand: Stand::Asked,
        };
        revocations.victims.insert(c as u32, asked);
        let room = Rc::clone(&revocations.room);
        let heard = Rc::clone(&revocations.heard);
        let sender = revocations.sender.clone();
        let c = c as u32;
        tokio::task::spawn_local(async move {
            // It is never closed; and if it were, nobody would have to wait.
            let _turn = room.acquire().await;
            let ask = async {
                let mut stream = exchange::dial(&host, port, tls).await?;
                match exchange::status(&mut *stream, &request).await? {
                    200..=299 => Ok(()),
                    status => Err(format!("HTTP {status}")),
                }
            };
            let result = match timeout(revoke.within, ask).await {
                Ok(result) => result,
                Err(_) => Err(format!("not within {:?}", revoke.within)),
            };
            let at = monotonic_ns();
            // The shard may have ended meanwhile; then nobody needs the answer.
            let _ = sender.send(Said { c, id, at, result });
            heard.notify_one();
        });
    }

    /// The request for a connection's token.
    fn revocation(&self, c: usize, revoke: &Revoke) -> Result<Vec<u8>, String> {
        let encoded = |template: &Template| {
            plan::render(template, |part| match part {
                Part::Text(text) => text.clone().into(),
                other => plan::percent_encode(&self.value(c, other)).into(),
            })
        };
        let headers = revoke.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.clone(), self.fill(c, value)))
            .collect();
        let body = match revoke.json {
            false => self.fill(c, &revoke.body).into_bytes(),
            true => {
                let mut body = Vec::new();
                for part in &revoke.body.parts {
                    match part {
                        Part::Text(text) => body.extend_from_slice(text.as_bytes()),
                        other => escape(&self.value(c, other), &mut body),
                    }
                }
                body
            }
        };
        let target = &self.plan.target().endpoints[usize::from(self.conns[c].endpoint)];
        let (host, port, tls) = match &revoke.at {
            None => (&target.host, target.port, target.tls),
            Some(at) => (&at.host, at.port, at.tls),
        };
        let path = encoded(&revoke.path);
        let request = http::Request {
            method: &revoke.method,
            host,
            port,
            tls,
            path: &path,
            own: &[],
            headers: &headers,
        };
        let mut out = Vec::new();
        http::head(&request, &mut out).map_err(|error| error.to_string())?;
        out.extend_from_slice(b"Connection: close\r\n");
        http::end(Some(&body), &mut out);
        Ok(out)
    }

    /// Whom the request goes to.
    fn who_revokes(
        &mut self,
        c: usize,
        at: Option<&Elsewhere>,
    ) -> Result<(String, u16, Option<exchange::Tls>), String> {
        let failed = |error: tls::TlsError| error.to_string();
        let Some(at) = at else {
            let target = self.plan.target();
            let endpoint = &target.endpoints[usize::from(self.conns[c].endpoint)];
            let speaks = match (endpoint.tls, &self.tls) {
                (true, Some(config)) => {
                    let name = tls::server_name(&target.tls, &endpoint.host).map_err(failed)?;
                    Some((Arc::clone(config), name))
                }
                _ => None,
            };
            return Ok((endpoint.host.clone(), endpoint.port, speaks));
        };
        if !at.tls {
            return Ok((at.host.clone(), at.port, None));
        }
        let usual = TlsConfig::default();
        let name = tls::server_name(&usual, &at.host).map_err(failed)?;
        let config = match &self.faults.revocations.tls {
            Some(config) => Arc::clone(config),
            None => {
                let config = tls::client_config(&usual).map_err(failed)?;
                self.faults.revocations.tls = Some(Arc::clone(&config));
                config
            }
        };
        Ok((at.host.clone(), at.port, Some((config, name))))
    }

    /// What requests have come to since.
    pub(in super::super) fn hear_revocations(&mut self) {
        while self.faults.revocations.under_way > 0
            && let Ok(said) = self.faults.revocations.receiver.try_recv()
        {
            self.faults.revocations.under_way -= 1;
            self.revocation_said(said);
        }
    }

    fn revocation_said(&mut self, said: Said) {
        let victims = &mut self.faults.revocations.victims;
        let Some(asked) = victims.get_mut(&said.c).filter(|asked| asked.id == said.id) else {
            return;
        };
        let (number, phase, stand) = (asked.number, asked.phase, asked.stand);
        let at = said.at.saturating_sub(self.started_at());
        let c = said.c as usize;
        let g = usize::from(self.conns[c].group);
        let victims = &mut self.faults.revocations.victims;
        if let (Stand::Asked, Ok(()), Some(asked)) = (stand, &said.result, victims.get_mut(&said.c))
        {
            asked.stand = Stand::Confirmed(at);
        } else {
            victims.remove(&said.c);
        }
        if let Err(why) = &said.result {
            self.recorder.sample("revoke", why.as_bytes());
            let counter = Counter::RevocationFailed;
            return self.recorder.count(counter, phase, g, 1);
        }
        self.recorder.count(Counter::Revocations, phase, g, 1);
        self.touch_by(number, c);
        if let Stand::Closed(code) = stand {
            // It was no good any more before that was confirmed.
            self.recorder.time(Timer::Revoked, phase, g, 0);
            self.recorder.revoked_close(code, phase, g);
        }
    }

    /// A connection that was ready ends: by the target, with this code, or otherwise. True when its token is revoked, or is
    /// being: whyever it ended, it cannot come back with that.
    pub(in super::super) fn ended_with_revoked(
        &mut self,
        c: usize,
        by_target: Option<u16>,
        now: u64,
    ) -> bool {
        let g = usize::from(self.conns[c].group);
        let victims = &mut self.faults.revocations.victims;
        let Some(asked) = victims.get_mut(&(c as u32)) else {
            return false;
        };
        let phase = asked.phase;
        match (asked.stand, by_target) {
            (Stand::Closed(_) | Stand::Renewed, _) => return false,
            (Stand::Asked, Some(code)) => {
                asked.stand = Stand::Closed(code);
                return true;
            }
            (Stand::Asked, None) => {
                let counter = Counter::RevocationFailed;
                self.recorder.count(counter, phase, g, 1);
            }
            (Stand::Confirmed(at), Some(code)) => {
                let took = now.saturating_sub(at);
                self.recorder.time(Timer::Revoked, phase, g, took as i64);
                self.recorder.revoked_close(code, phase, g);
            }
            (Stand::Confirmed(_), None) => self.recorder.count(Counter::Unrevoked, phase, g, 1),
        }
        self.faults.revocations.victims.remove(&(c as u32));
        true
    }

    /// The target has accepted another token on the open connection.
    pub(in super::super) fn another_than_revoked(&mut self, c: usize) {
        let victims = &mut self.faults.revocations.victims;
        match victims.get_mut(&(c as u32)) {
            Some(asked) if matches!(asked.stand, Stand::Asked) => asked.stand = Stand::Renewed,
            Some(asked) if matches!(asked.stand, Stand::Confirmed(_)) => {
                victims.remove(&(c as u32));
            }
            _ => {}
        }
    }

    /// The run is over: what has not been confirmed by now never is.
    pub(in super::super) fn end_revocations(&mut self) {
        self.hear_revocations();
        for (c, asked) in std::mem::take(&mut self.faults.revocations.victims) {
            let g = usize::from(self.conns[c as usize].group);
            let counter = match asked.stand {
                Stand::Confirmed(_) => Counter::Unrevoked,
                Stand::Asked | Stand::Closed(_) | Stand::Renewed => Counter::RevocationFailed,
            };
            self.recorder.count(counter, asked.phase, g, 1);
        }
    }
}
