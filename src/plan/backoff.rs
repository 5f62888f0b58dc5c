//! What a connection does once it is lost: the policies of waiting, and what the close code has to say.
//!
//! Pure: a wait follows from the policy, the attempt and a seeded draw that is keyed by the connection, so it is the
//! same on any number of shards. Knows no clock, and nothing of how a connection was lost but its code.

use super::seeded::{Stream, between};
use super::types::{Backoff, CodeRule, OnClose, Reconnect};
use std::time::Duration;

/// phoenix.js: the wait before each attempt, milliseconds.
const PHOENIX: [u64; 9] = [10, 50, 100, 150, 200, 250, 500, 1000, 2000];
/// And before each one after those.
const PHOENIX_REST: u64 = 5000;

/// An attempt so late that every policy waits as long as it ever does.
const LATE: u32 = u32::MAX;

/// What IANA's WebSocket close code registry says of codes that ask for something: after a restart of the service (1012)
/// clients come back after a random delay of 5 to 30 s; an overloaded one (1013) is left for another address of the target.
pub(super) const REGISTERED: [CodeRule; 2] = [
    CodeRule {
        from: 1012,
        to: 1012,
        then: OnClose::Within(Duration::from_secs(5), Duration::from_secs(30)),
    },
    CodeRule {
        from: 1013,
        to: 1013,
        then: OnClose::Elsewhere,
    },
];

impl Backoff {
    /// First and largest backoff where the scenario gives none. (Of no meaning where the policy uses none.)
    pub(super) fn usual(self) -> (Duration, Duration) {
        let millis = |base, cap| (Duration::from_millis(base), Duration::from_millis(cap));
        match self {
            Backoff::Rfc6455 => millis(5_000, 30_000),
            Backoff::SocketIo => millis(1_000, 5_000),
            Backoff::Centrifuge => millis(500, 20_000),
            Backoff::None
            | Backoff::Constant
            | Backoff::NoJitter
            | Backoff::FullJitter
            | Backoff::EqualJitter
            | Backoff::Decorrelated
            | Backoff::Phoenix => millis(500, 30_000),
        }
    }

    /// Whether it has a first backoff, and a largest one, to be set.
    pub(super) fn uses(self) -> (bool, bool) {
        match self {
            Backoff::None | Backoff::Phoenix => (false, false),
            Backoff::Constant => (true, false),
            Backoff::NoJitter
            | Backoff::FullJitter
            | Backoff::EqualJitter
            | Backoff::Decorrelated
            | Backoff::Rfc6455
            | Backoff::SocketIo
            | Backoff::Centrifuge => (true, true),
        }
    }
}

/// How a lost connection comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comeback {
    /// It does not: a rule stops it.
    Stopped,
    /// After this wait.
    After {
        /// How long.
        wait: Duration,
        /// To another address than the one it was at.
        elsewhere: bool,
    },
}

/// How a connection comes back whose attempt `attempt` (from 0) is next, given the wait before the attempt that failed
/// (zero at first). `rule` is what its close code leads to, `others` whether it has another address to go to.
pub fn comeback(
    reconnect: &Reconnect,
    rule: OnClose,
    attempt: u32,
    previous: Duration,
    others: bool,
    rng: &mut Stream,
) -> Comeback {
    let (wait, elsewhere) = match rule {
        OnClose::Stop => return Comeback::Stopped,
        OnClose::Now => (Duration::ZERO, false),
        OnClose::BackOff => (wait(reconnect, attempt, previous, rng), false),
        OnClose::Within(low, high) => (between(low, high, rng), false),
        OnClose::Elsewhere if others => (Duration::ZERO, true),
        OnClose::Elsewhere => (wait(reconnect, LATE, reconnect.cap, rng), false),
    };
    Comeback::After { wait, elsewhere }
}

/// What a close code leads to: the first rule that has it decides, and without one it is the policy.
pub fn on_close(rules: &[CodeRule], code: u16) -> OnClose {
    rules
        .iter()
        .find(|rule| (rule.from..=rule.to).contains(&code))
        .map_or(OnClose::BackOff, |rule| rule.then)
}

/// Wait before reconnect attempt `attempt` (from 0). Formulas at [`Backoff`].
fn wait(reconnect: &Reconnect, attempt: u32, previous: Duration, rng: &mut Stream) -> Duration {
    let Reconnect { base, cap, .. } = *reconnect;
    let doubled = 2u32.checked_pow(attempt).and_then(|n| base.checked_mul(n));
    let b = doubled.map_or(cap, |b| b.min(cap));
    match reconnect.backoff {
        Backoff::None => Duration::ZERO,
        Backoff::Constant => base,
        Backoff::NoJitter => b,
        Backoff::FullJitter | Backoff::Rfc6455 => between(Duration::ZERO, b, rng),
        Backoff::EqualJitter => b / 2 + between(Duration::ZERO, b / 2, rng),
        Backoff::Decorrelated => {
            let high = previous.max(base).saturating_mul(3);
            between(base, high, rng).min(cap)
        }
        Backoff::Phoenix => {
            let step = PHOENIX.get(attempt as usize);
            Duration::from_millis(*step.unwrap_or(&PHOENIX_REST))
        }
        Backoff::SocketIo => {
            let r = rng.unit();
            let factor = match (r * 10.0) as u32 % 2 {
                0 => 1.0 - r / 2.0,
                _ => 1.0 + r / 2.0,
            };
            // From twice the cap on even half of it is more than the cap.
            match doubled.filter(|d| *d < cap.saturating_mul(2)) {
                Some(doubled) => doubled.mul_f64(factor).min(cap),
                None => cap,
            }
        }
        Backoff::Centrifuge => (base + between(Duration::ZERO, b, rng)).min(cap),
    }
}

#[cfg(test)]
mod tests;
