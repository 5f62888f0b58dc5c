//! Whose token is good, and until when.
//!
//! Tokens of the configured list are good for ever; JWTs until their `exp`; and each until it is revoked. A token is never told to
//! anybody, nor kept: what was shown is known by its fingerprint.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use super::Config;
use super::client::{Client, Close};
use super::hub::Hub;
use crate::protocol::jwt;

/// What a client has shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// A token that is good; or none is needed.
    Good(Grant),
    /// Nothing: its first message has to.
    Awaited,
}

/// What a good token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    /// Until then; `None`: for ever.
    pub until: Option<Instant>,
    /// Which token it is; `None`: there was none.
    token: Option<Fingerprint>,
}

/// Tells tokens apart: the first bytes of a token's SHA-256.
type Fingerprint = [u8; 8];

fn fingerprint(token: &str) -> Fingerprint {
    let digest = digest(&SHA256, token.as_bytes());
    std::array::from_fn(|at| digest.as_ref().get(at).copied().unwrap_or(0))
}

impl Pass {
    /// For ever.
    pub(super) const FREE: Pass = Pass::Good(Grant {
        until: None,
        token: None,
    });
}

impl Config {
    /// Whether a token is needed at all.
    pub(super) fn asks_for_tokens(&self) -> bool {
        !self.tokens.is_empty() || self.auth.is_some()
    }

    /// Whether this token is good now, and until when; it may be revoked all the same.
    #[expect(
        clippy::disallowed_methods,
        reason = "a token's `exp` is in the time of the wall clock"
    )]
    pub(super) fn accepts(&self, token: &str) -> Option<Pass> {
        let good = |until| {
            let token = Some(fingerprint(token));
            Some(Pass::Good(Grant { until, token }))
        };
        if self.tokens.iter().any(|known| known == token) {
            return good(None);
        }
        let auth = self.auth.as_ref()?;
        let claims = jwt::verified(auth.jwt_secret.as_bytes(), token)?;
        let Some(exp) = jwt::exp(&claims) else {
            return good(None);
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let left = Duration::from_secs(exp).checked_sub(now)?;
        // One that is good for ages is good for ever.
        good(Instant::now().checked_add(left))
    }

    /// When a connection is closed that has shown this, as it has expired.
    pub(super) fn closes_at(&self, pass: Pass) -> Option<Instant> {
        let (Pass::Good(Grant { until, .. }), Some(auth)) = (pass, &self.auth) else {
            return None;
        };
        let until = until.filter(|_| !self.misbehave.keep_expired)?;
        Some(until + auth.grace)
    }

    /// How a connection is closed whose token has expired.
    pub(super) fn expired(&self) -> Close {
        let code = self.auth.as_ref().map(|auth| auth.close_expired);
        Close::now(code.unwrap_or(4401), "token expired")
    }

    /// How a connection is closed whose token is revoked.
    pub(super) fn revoked(&self) -> Close {
        let code = self.auth.as_ref().map(|auth| auth.close_revoked);
        Close::now(code.unwrap_or(4403), "token revoked")
    }
}

impl Hub {
    /// Whether this token is good now, and until when.
    pub(super) fn accepts(&self, token: &str) -> Option<Pass> {
        let pass = self.config.accepts(token)?;
        match pass {
            Pass::Good(Grant { token: Some(t), .. }) if self.passes.state().is_revoked(&t) => None,
            pass => Some(pass),
        }
    }

    /// A client has shown this, instead of whatever it showed before. False when that was revoked meanwhile.
    pub(super) fn shows(&self, client: &Arc<Client>, pass: Pass) -> bool {
        if !self.config.asks_for_tokens() {
            return true;
        }
        let mut state = self.passes.state();
        state.forget(client.id);
        let Pass::Good(Grant { token: Some(t), .. }) = pass else {
            return true;
        };
        if state.is_revoked(&t) {
            return false;
        }
        state.shown.insert(client.id, t);
        let holders = state.holders.entry(t).or_default();
        holders.insert(client.id, Arc::clone(client));
        true
    }

    /// From now on a token is good for nobody. Those who have shown it are closed.
    pub(super) fn revoke(&self, token: &str) {
        let token = fingerprint(token);
        let holders = {
            let mut state = self.passes.state();
            if state.revoked.len() < MOST_REVOKED {
                state.revoked.insert(token);
            }
            let holders = state.holders.get(&token);
            holders.map_or_else(Vec::new, |holders| holders.values().cloned().collect())
        };
        if !self.config.misbehave.keep_revoked {
            for client in holders {
                client.close(self.config.revoked());
            }
        }
    }

    /// The client is gone, and with it what it has shown.
    pub(super) fn shows_no_more(&self, client: &Client) {
        if self.config.asks_for_tokens() {
            self.passes.state().forget(client.id);
        }
    }
}

/// Tokens that are remembered as revoked.
const MOST_REVOKED: usize = 1 << 20;

/// Who has shown which token, and which are revoked.
#[derive(Debug, Default)]
pub(super) struct Passes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    revoked: HashSet<Fingerprint>,
    /// By client, as thousands may share one.
    holders: HashMap<Fingerprint, HashMap<u64, Arc<Client>>>,
    /// By client.
    shown: HashMap<u64, Fingerprint>,
}

impl Passes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_revoked(&self, token: &Fingerprint) -> bool {
        self.revoked.contains(token)
    }

    fn forget(&mut self, client: u64) {
        let Some(token) = self.shown.remove(&client) else {
            return;
        };
        if let Some(holders) = self.holders.get_mut(&token) {
            holders.remove(&client);
            if holders.is_empty() {
                self.holders.remove(&token);
            }
        }
    }
}
