//! Frame masks and handshake keys: drawn from the operating system's randomness, not from the plan's
//! seed, as RFC 6455 §5.3 wants them unpredictable to whoever writes the payload.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// A source of masks: a cipher seeded once, so that a mask costs no system call.
pub struct Masks {
    rng: StdRng,
    drawn: [u32; 64],
    at: usize,
}

impl Masks {
    /// Seeded from the operating system.
    pub fn new() -> Self {
        let mut seed = [0; 32];
        if rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut seed).is_err() {
            // Without a source the address of a stack variable and the clock must do: masks protect
            // proxies from our payloads, not secrets.
            let salt = super::clock::monotonic_ns() ^ (std::ptr::from_ref(&seed) as u64);
            seed[..8].copy_from_slice(&salt.to_le_bytes());
        }
        Masks {
            rng: StdRng::from_seed(seed),
            drawn: [0; 64],
            at: 64,
        }
    }

    /// The next frame's mask.
    pub fn draw(&mut self) -> [u8; 4] {
        if self.at == self.drawn.len() {
            self.drawn
                .iter_mut()
                .for_each(|mask| *mask = self.rng.next_u32());
            self.at = 0;
        }
        self.at += 1;
        self.drawn[self.at - 1].to_ne_bytes()
    }

    /// A nonce of 16 bytes for Sec-WebSocket-Key.
    pub fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }
}
