//! Tokens: shown when a connection opens, renewed while it is open, and what the target does about one that has expired.
//!
//! A token is made when it is written somewhere, and kept nowhere: what it was made of is (16 bytes a connection, in a table of
//! the groups that have tokens). Their times are those of the wall clock as it stood at the run's start, and go on from there
//! by the run's own clock.

use super::conn::{Intent, State};
use super::shard::{Shard, Stretch};
use super::wheel::Due;
use crate::metrics::{Counter, Timer};
use crate::plan::{self, Purpose, Renew, RenewBy, TokenSource};
use crate::protocol::{JwtSigner, escape, jwt};
use crate::transport::ws::Opcode;

/// Nobody knows when the token expires.
const NEVER: u32 = u32::MAX;
/// So much before a token's expiry a close by the target, with a code of the service's own, is taken to be for it.
const EARLY_MS: u32 = 250;

/// What a connection's token was made of, and how far its renewal is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// When the token that it shows was made, seconds since 1970.
    made: u32,
    /// When the token that the target has accepted expires, milliseconds from the run's start.
    expires_ms: u32,
    /// Until when the answer to a renewal is awaited, milliseconds from the run's start; 0: none is.
    awaits_ms: u32,
    /// Renewals so far.
    number: u16,
    /// It expired, and the connection is still open.
    expired: bool,
    /// The connection was closed to come back with another.
    renewing: bool,
}

impl Held {
    /// None yet.
    pub const NONE: Held = Held {
        made: 0,
        expires_ms: NEVER,
        awaits_ms: 0,
        number: 0,
        expired: false,
        renewing: false,
    };
}

/// What signs a group's tokens. The plan was compiled with this key, so it can.
pub(super) fn signer(group: &plan::Group) -> Option<JwtSigner> {
    match &group.auth.as_ref()?.source {
        TokenSource::Minted(minted) => {
            JwtSigner::new(minted.algorithm, &minted.key.0, minted.kid.as_deref()).ok()
        }
        _ => None,
    }
}

fn ms(ns: u64) -> u32 {
    u32::try_from(ns / 1_000_000).unwrap_or(NEVER - 1)
}

/// Which of a list's tokens: in turn by the connection's index, and each renewal takes those of the next round.
fn turn<T>(list: &[T], index: u32, number: u16, count: u32) -> Option<&T> {
    let place = u64::from(index) + u64::from(number) * u64::from(count);
    list.get((place % (list.len().max(1) as u64)) as usize)
}

impl Shard {
    fn held(&mut self, c: usize) -> Option<&mut Held> {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        group.held.get_mut(c - group.base)
    }

    fn holds(&self, c: usize) -> Option<Held> {
        let group = &self.groups[usize::from(self.conns[c].group)];
        group.held.get(c - group.base).copied()
    }

    fn auth(&self, c: usize) -> Option<&plan::Auth> {
        self.plan.groups()[usize::from(self.conns[c].group)]
            .auth
            .as_ref()
    }

    /// The wall clock at a moment of the run, seconds since 1970.
    fn wall_s(&self, now: u64) -> u32 {
        u32::try_from((self.wall_ms + now / 1_000_000) / 1000).unwrap_or(u32::MAX)
    }

    /// The token that a connection shows.
    pub(super) fn token(&self, c: usize) -> String {
        let (Some(auth), Some(held)) = (self.auth(c), self.holds(c)) else {
            return String::new();
        };
        let conn = &self.conns[c];
        let g = usize::from(conn.group);
        let count = self.plan.groups()[g].count;
        match &auth.source {
            TokenSource::Given(tokens) => turn(tokens, conn.index, held.number, count)
                .map_or_else(String::new, |token| self.fill(c, token)),
            TokenSource::Fetched(_, tokens) => turn(tokens, conn.index, held.number, count)
                .map_or_else(String::new, |t| String::from_utf8_lossy(&t.0).into_owned()),
            TokenSource::Minted(minted) => {
                let Some(signer) = &self.groups[g].signer else {
                    return String::new();
                };
                let mut claims = b"{".to_vec();
                for part in &minted.claims.parts {
                    match part {
                        plan::Part::Text(text) => claims.extend_from_slice(text.as_bytes()),
                        other => escape(&self.value(c, other), &mut claims),
                    }
                }
                let mut claims = String::from_utf8_lossy(&claims).into_owned();
                if minted.named {
                    let (run, connection, number) = (self.run, self.number(c), held.number);
                    claims.push_str(&format!("\"jti\":\"{run:08x}-{connection}-{number}\","));
                }
                claims.push_str(&format!("\"iat\":{}", held.made));
                if let Some(life) = auth.expires {
                    let exp = u64::from(held.made) + life.as_secs();
                    claims.push_str(&format!(",\"exp\":{exp}"));
                }
                claims.push('}');
                signer.sign(&claims)
            }
        }
    }

    /// When the token that a connection shows from now on expires, milliseconds from the run's start.
    fn expiry(&self, c: usize, now: u64) -> u32 {
        let (Some(auth), Some(held)) = (self.auth(c), self.holds(c)) else {
            return NEVER;
        };
        let minted = matches!(auth.source, TokenSource::Minted(_));
        let at = match auth.expires {
            Some(life) if minted => Some(u64::from(held.made) + life.as_secs()),
            Some(life) => return ms(now + life.as_nanos() as u64),
            None if minted => None,
            None => jwt::expiry(&self.token(c)),
        };
        let Some(at) = at else { return NEVER };
        let ms = (at.saturating_mul(1000)).saturating_sub(self.wall_ms);
        u32::try_from(ms).unwrap_or(NEVER)
    }

    /// A connection opens: it will show another token than before, if they are made.
    pub(super) fn take_token(&mut self, c: usize, now: u64) {
        let made = self.wall_s(now);
        let Some(held) = self.held(c) else { return };
        held.made = made;
        (held.awaits_ms, held.expired) = (0, false);
        let expires_ms = self.expiry(c, now);
        if let Some(held) = self.held(c) {
            held.expires_ms = expires_ms;
        }
    }

    /// A connection is ready: its token was accepted.
    pub(super) fn token_accepted(&mut self, c: usize, now: u64) {
        let Some(held) = self.held(c) else { return };
        if std::mem::take(&mut held.renewing) {
            self.count(c, Counter::Renewed);
        }
        self.watch_expiry(c);
        let every = self.renewal(c).and_then(|renew| renew.every);
        if let Some(every) = every {
            let number = self.number(c);
            let first = self.holds(c).is_some_and(|held| held.number == 0);
            let mut place = plan::rng(self.plan.seed(), Purpose::Renewal, &[u64::from(number)]);
            // Those that opened together renew apart.
            let share = if first { place.unit() } else { 1.0 };
            let wait = (every.as_nanos() as f64 * share) as u64;
            self.set_timer(now + wait, c, Due::Renewal);
        }
    }

    fn renewal(&self, c: usize) -> Option<&Renew> {
        self.auth(c)?.renew.as_ref()
    }

    fn watch_expiry(&mut self, c: usize) {
        let Some(held) = self.holds(c).filter(|held| held.expires_ms != NEVER) else {
            return;
        };
        self.set_timer(u64::from(held.expires_ms) * 1_000_000, c, Due::Expiry);
    }

    /// The token of an open connection may have expired.
    pub(super) fn expiry_due(&mut self, c: usize, now: u64) {
        let Some(held) = self.holds(c) else { return };
        if self.conns[c].state != State::Ready || self.stretch != Stretch::Running || held.expired {
            return;
        }
        if held.expires_ms > ms(now) {
            // Renewed meanwhile.
            return self.watch_expiry(c);
        }
        self.expires(c);
    }

    /// It has; the phase in which it did, for all that comes of it.
    fn expires(&mut self, c: usize) {
        let Some(held) = self.held(c) else { return };
        held.expired = true;
        let phase = self.phase_of_expiry(c);
        let g = usize::from(self.conns[c].group);
        self.recorder.count(Counter::Expiries, phase, g, 1);
    }

    fn phase_of_expiry(&self, c: usize) -> usize {
        let held = self.holds(c).unwrap_or(Held::NONE);
        self.plan.phase_at(u64::from(held.expires_ms) * 1_000_000)
    }

    /// A connection that was ready ends: by the target, with this code, or otherwise.
    pub(super) fn ended_with_token(&mut self, c: usize, by_target: Option<u16>, now: u64) {
        let Some(held) = self.holds(c) else { return };
        if self.ended_with_revoked(c, by_target, now)
            && let Some(held) = self.held(c)
            && !held.renewing
            && held.awaits_ms == 0
        {
            // It comes back with another, as those do already that were about to renew theirs.
            held.number = held.number.saturating_add(1);
        }
        if held.awaits_ms > 0 {
            if self.stretch == Stretch::Running && !self.stopped {
                self.count(c, Counter::RenewalFailed);
            }
            if let Some(held) = self.held(c) {
                held.awaits_ms = 0;
            }
        }
        // Its clock and ours may differ a little: a close in words of its own right before is for the same.
        let own = by_target.is_some_and(|code| code == 1008 || code >= 3000);
        let early = if own { EARLY_MS } else { 0 };
        let over = held.expires_ms != NEVER && held.expires_ms <= ms(now).saturating_add(early);
        if !held.expired {
            // The target was faster than the timer.
            if by_target.is_none() || !over || self.stretch != Stretch::Running {
                return;
            }
            self.expires(c);
        }
        let (phase, g) = (self.phase_of_expiry(c), usize::from(self.conns[c].group));
        match by_target {
            Some(code) => {
                let late = now as i64 - i64::from(held.expires_ms) * 1_000_000;
                self.recorder.time(Timer::Expired, phase, g, late.max(0));
                self.recorder.expired_close(code, phase, g);
            }
            None => self.recorder.count(Counter::Outlived, phase, g, 1),
        }
        if let Some(held) = self.held(c) {
            held.expired = false;
            held.expires_ms = NEVER;
        }
    }

    /// An opening failed: with it the renewal that it was to be.
    pub(super) fn not_let_in(&mut self, c: usize) {
        let Some(held) = self.held(c) else { return };
        if std::mem::take(&mut held.renewing) {
            self.count(c, Counter::RenewalFailed);
        }
    }

    /// Time to renew the token.
    pub(super) fn renewal_due(&mut self, c: usize, now: u64) {
        let Some(every) = self.renewal(c).and_then(|renew| renew.every) else {
            return;
        };
        if self.conns[c].state != State::Ready {
            return;
        }
        self.set_timer(now + every.as_nanos() as u64, c, Due::Renewal);
        self.renew(c, now);
    }

    fn renew(&mut self, c: usize, now: u64) {
        let made = self.wall_s(now);
        let Some(renew) = self.renewal(c) else { return };
        // After the schedules nothing opens any more, and nothing is asked for once all is closed.
        let last = match renew.by {
            RenewBy::Reconnect => Stretch::Running,
            RenewBy::Message { .. } => Stretch::Draining,
        };
        if self.stretch > last {
            return;
        }
        let within = match &renew.by {
            RenewBy::Reconnect => None,
            RenewBy::Message {
                accepted, within, ..
            } => Some(accepted.as_ref().map(|_| *within)),
        };
        let Some(held) = self.held(c) else { return };
        if held.awaits_ms > 0 {
            // One at a time.
            return;
        }
        held.number = held.number.saturating_add(1);
        let Some(within) = within else {
            held.renewing = true;
            return self.close(c, 1000, Intent::Renew, now);
        };
        held.made = made;
        let message = match self.renewal(c).map(|renew| &renew.by) {
            Some(RenewBy::Message { message, .. }) => self.fill_message(c, message),
            _ => return,
        };
        self.queue_control(c, Opcode::Text, &message);
        let Some(within) = within else {
            return self.renewed(c, now);
        };
        let until = now + within.as_nanos() as u64;
        if let Some(held) = self.held(c) {
            held.awaits_ms = ms(until).max(1);
        }
        self.set_timer(until, c, Due::RenewalCheck);
    }

    fn renewed(&mut self, c: usize, now: u64) {
        self.count(c, Counter::Renewed);
        self.another_than_revoked(c);
        let expires_ms = self.expiry(c, now);
        let Some(held) = self.held(c) else { return };
        held.awaits_ms = 0;
        let watched = held.expires_ms != NEVER && !held.expired;
        held.expires_ms = expires_ms;
        held.expired = false;
        if !watched {
            self.watch_expiry(c);
        }
    }

    /// Time to have heard that the new token is accepted.
    pub(super) fn renewal_check(&mut self, c: usize, now: u64) {
        let Some(held) = self.held(c) else { return };
        if held.awaits_ms > 0 && held.awaits_ms <= ms(now) {
            held.awaits_ms = 0;
            if self.conns[c].state == State::Ready {
                self.count(c, Counter::RenewalFailed);
            }
        }
    }

    /// A message without a stamp on an open connection. True when it is about the token.
    pub(super) fn token_message(&mut self, c: usize, message: &[u8], now: u64) -> bool {
        let Some(held) = self.holds(c) else {
            return false;
        };
        if self.conns[c].state != State::Ready {
            return false;
        }
        let Some(renew) = self.renewal(c) else {
            return false;
        };
        let accepted = match &renew.by {
            RenewBy::Message { accepted, .. } if held.awaits_ms > 0 => accepted.as_ref(),
            _ => None,
        };
        if accepted.is_some_and(|accepted| self.matches(c, accepted, message)) {
            self.renewed(c, now);
            return true;
        }
        let asked = renew.asked.as_ref();
        if asked.is_some_and(|asked| self.matches(c, asked, message)) {
            self.renew(c, now);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_in_turn_and_renewals_take_the_next_round() {
        let list = ["a", "b", "c", "d", "e"];
        let taken: Vec<_> = (0..2)
            .flat_map(|number| (0..3).map(move |index| (index, number)))
            .map(|(index, number)| *turn(&list, index, number, 3).unwrap())
            .collect();
        assert_eq!(taken, ["a", "b", "c", "d", "e", "a"]);
        assert_eq!(turn::<u8>(&[], 0, 0, 1), None);
    }

    #[test]
    fn what_is_kept_of_a_token_is_small() {
        assert_eq!(size_of::<Held>(), 16);
    }
}
