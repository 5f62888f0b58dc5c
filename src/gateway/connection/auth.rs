//! What a client shows of itself, and for how long that is good.

use tokio::time::Instant;

use super::super::auth::{Grant, Pass};
use super::super::client::Close;
use super::super::dialect;
use super::super::socket::Socket;
use super::Connection;

impl<S: Socket> Connection<S> {
    /// What the client has shown with its upgrade, or in a message.
    pub(in super::super) fn shows(&mut self, pass: Pass) {
        if !self.hub.shows(&self.client, pass) {
            return self.leave(self.hub.config.revoked());
        }
        let config = &self.hub.config;
        let speaks_json = self.rare.as_ref().is_none_or(|rare| rare.tongue.is_none());
        let (expired, ask) = match (pass, &config.auth) {
            (Pass::Good(Grant { until, .. }), Some(auth)) => {
                let before = until.zip(auth.ask_before).filter(|_| speaks_json);
                let ask = before.map(|(until, before)| {
                    let now = Instant::now();
                    until.checked_sub(before).map_or(now, |ask| ask.max(now))
                });
                (config.closes_at(pass), ask)
            }
            (Pass::Good(_), _) | (Pass::Awaited, None) => (None, None),
            (Pass::Awaited, Some(_)) => (Some(Instant::now() + config.handshake_timeout), None),
        };
        if let Some(rare) = &mut self.rare {
            rare.awaited = false;
        }
        if pass == Pass::Awaited {
            self.rare.get_or_insert_default().awaited = true;
        }
        if expired.is_none() && ask.is_none() && self.timer.set().is_none() {
            return;
        }
        let times = self.timer.times();
        (times.expired, times.ask) = (expired, ask);
    }

    /// Whether its first message has to show a token.
    pub(super) fn is_awaited(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.awaited)
    }

    /// A token in a message.
    pub(super) fn shows_anew(&mut self, id: Option<&str>, token: &str) {
        if !self.hub.config.asks_for_tokens() {
            let text = "this gateway asks for no tokens";
            return self.reply(dialect::error(id, "no_auth", text));
        }
        match self.hub.accepts(token) {
            Some(pass) => {
                self.shows(pass);
                self.reply(dialect::authenticated(id));
            }
            None => self.refuse(id, "bad_token", "this token is not accepted"),
        }
    }

    /// An error; and the end for whoever has shown nothing yet.
    pub(super) fn refuse(&mut self, id: Option<&str>, code: &str, message: &str) {
        self.reply(dialect::error(id, code, message));
        if self.is_awaited() {
            let auth = self.hub.config.auth.as_ref();
            let code = auth.map_or(4401, |auth| auth.close_expired);
            self.leave(Close::after_queue(code, "no token"));
        }
    }

    /// The token is about to expire.
    pub(super) fn ask_for_a_token(&mut self) {
        self.reply(dialect::TOKEN_EXPIRES.to_owned());
    }
}
