//! Whose token is good, and until when.
//!
//! Tokens of the configured list are good for ever; JWTs until their `exp`. A token is never told to anybody.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::Config;
use crate::protocol::jwt;

/// What a client has shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// A token that is good until then, or for ever; or none is needed.
    Good(Option<Instant>),
    /// Nothing: its first message has to.
    Awaited,
}

impl Pass {
    /// For ever.
    pub(super) const FREE: Pass = Pass::Good(None);
}

impl Config {
    /// Whether a token is needed at all.
    pub(super) fn asks_for_tokens(&self) -> bool {
        !self.tokens.is_empty() || self.auth.is_some()
    }

    /// Whether this token is good now, and until when.
    #[expect(
        clippy::disallowed_methods,
        reason = "a token's `exp` is in the time of the wall clock"
    )]
    pub(super) fn accepts(&self, token: &str) -> Option<Pass> {
        if self.tokens.iter().any(|known| known == token) {
            return Some(Pass::FREE);
        }
        let auth = self.auth.as_ref()?;
        let claims = jwt::verified(auth.jwt_secret.as_bytes(), token)?;
        let Some(exp) = jwt::exp(&claims) else {
            return Some(Pass::FREE);
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let left = Duration::from_secs(exp).checked_sub(now)?;
        // One that is good for ages is good for ever.
        Some(Pass::Good(Instant::now().checked_add(left)))
    }
}
