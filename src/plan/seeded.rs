//! Everything random, derived from the plan's seed: the same seed gives the same plan on any number
//! of shards, because each draw is keyed by what it is for and never by who makes it.

use super::types::{Group, Lifetime, Size, VarSource};
use crate::protocol::MIN_PAYLOAD;
use rand::{Rng, RngExt, TryRng};
use std::convert::Infallible;
use std::time::Duration;

/// What a random stream is for: the first part of its key, so that no two uses share draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Values of variables.
    Variable = 1,
    /// Poisson arrivals of publishes and requests.
    Arrivals = 2,
    /// Lifetimes of connections.
    Lifetime = 3,
    /// Jitter of backoffs.
    Backoff = 4,
    /// Sizes of payloads.
    Size = 5,
    /// A connection's place within the heartbeat's interval.
    Heartbeat = 6,
    /// Which connections a fault takes, and in which order.
    Fault = 7,
    /// A connection's place within the interval between renewals of its token.
    Renewal = 8,
    /// A bad network's jitter.
    Network = 20,
}

/// A small random stream: SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014), eight bytes a stream, as every connection may hold several.
/// Not for secrets: WebSocket masks and keys come from the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser (Stafford's variant 13): a bijection in which every input bit reaches every output bit.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Stream {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Exponential with mean 1, by inversion: −ln(1 − U). At most 36.7.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

impl TryRng for Stream {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.draw() >> 32) as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw())
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// The one way to a random stream: keyed by the plan's seed, what it is for, and whatever tells one
/// use from the next (group's first connection, connection, generation, ordinal).
pub fn rng(seed: u64, purpose: Purpose, parts: &[u64]) -> Stream {
    let mut key = mix(seed ^ mix(purpose as u64 + GAMMA));
    for part in parts {
        key = mix(key.wrapping_add(GAMMA) ^ mix(part.wrapping_add(GAMMA)));
    }
    Stream(key)
}

/// Value of a group's variable for the connection at `index` in the group. Empty for captured ones,
/// which the connection itself fills, and for a slot that does not exist.
pub fn var_value(seed: u64, group: &Group, slot: u32, index: u32) -> String {
    let Some(var) = group.vars.get(slot as usize) else {
        return String::new();
    };
    let mut rng = rng(
        seed,
        Purpose::Variable,
        &[u64::from(group.first), u64::from(slot), u64::from(index)],
    );
    match &var.source {
        VarSource::Cycle(values) => values
            .get(index as usize % values.len().max(1))
            .cloned()
            .unwrap_or_default(),
        VarSource::Sequence(from) => from.saturating_add(i64::from(index)).to_string(),
        VarSource::Choice(values) if values.is_empty() => String::new(),
        VarSource::Choice(values) => values[rng.random_range(0..values.len())].clone(),
        VarSource::Int(low, high) => rng.random_range(*low..=*high.max(low)).to_string(),
        VarSource::Hex(digits) => (0..*digits).map(|_| hex_digit(rng.draw())).collect(),
        VarSource::Captured => String::new(),
    }
}

fn hex_digit(draw: u64) -> char {
    char::from_digit((draw >> 60) as u32, 16).unwrap_or('0')
}

/// How long the connection at `index` in the group stays, the `generation`-th time (from 0: the first is
/// replaced by the second). `None`: to the end of the run.
pub fn lifetime(seed: u64, group: &Group, index: u32, generation: u32) -> Option<Duration> {
    let key = [
        u64::from(group.first),
        u64::from(index),
        u64::from(generation),
    ];
    let mut rng = rng(seed, Purpose::Lifetime, &key);
    match group.lifetime {
        Lifetime::Forever => None,
        Lifetime::Fixed(always) => Some(always),
        Lifetime::Uniform(low, high) => Some(between(low, high, &mut rng)),
        Lifetime::Exponential(mean) => Some(mean.mul_f64(rng.exponential())),
    }
}

/// A payload size in bytes, never below the smallest that carries a stamp when the plan was compiled.
pub fn payload_size(size: Size, rng: &mut Stream) -> usize {
    (match size {
        Size::Fixed(bytes) => bytes,
        Size::Uniform(low, high) => rng.random_range(low..=high.max(low)),
        Size::Exponential { mean, max } => (mean * rng.exponential())
            .min(f64::from(max))
            .max(f64::from(max.min(MIN_PAYLOAD as u32)))
            as u32,
    }) as usize
}

/// Uniform in [low, high), whichever way round they come.
pub(super) fn between(low: Duration, high: Duration, rng: &mut impl Rng) -> Duration {
    let (low, high) = (low.as_nanos() as u64, high.as_nanos() as u64);
    if high <= low {
        Duration::from_nanos(low)
    } else {
        Duration::from_nanos(rng.random_range(low..=high))
    }
}

#[cfg(test)]
mod tests;
