//! So many bytes a second: what may pass now, and when more may.

const SECOND_NS: u128 = 1_000_000_000;

/// A budget that fills evenly. From its start on never more has been spent than the rate allows for the time passed.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Bytes a second, above 0.
    rate: u64,
    /// Unused budget that is kept at most, bytes.
    kept: u64,
    from_ns: u64,
    spent: u64,
}

impl Bucket {
    /// Empty now.
    pub fn new(rate: u64, kept: u64, now: u64) -> Self {
        Bucket {
            rate: rate.max(1),
            kept: kept.max(1),
            from_ns: now,
            spent: 0,
        }
    }

    /// Bytes a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Bytes that may pass now.
    pub fn allowed(&mut self, now: u64) -> u64 {
        let passed = u128::from(now.saturating_sub(self.from_ns));
        let earned = (passed * u128::from(self.rate) / SECOND_NS) as u64;
        let left = earned.saturating_sub(self.spent);
        if left > self.kept {
            // What was not used is gone.
            self.spent = earned - self.kept;
            return self.kept;
        }
        left
    }

    /// So many have passed.
    pub fn spend(&mut self, bytes: u64) {
        self.spent += bytes;
    }

    /// When so many may pass, at most what is kept.
    pub fn ready_ns(&self, bytes: u64) -> u64 {
        let bytes = u128::from(self.spent) + u128::from(bytes.clamp(1, self.kept));
        self.from_ns + (bytes * SECOND_NS).div_ceil(u128::from(self.rate)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_all_of_it_to_who_asks_in_time(
            rate in 1u64..10_000_000,
            start in 0u64..1_000_000_000_000,
            chunk in 1u64..10_000,
            rounds in 1usize..200,
        ) {
            let chunk = chunk.min(rate);
            let mut bucket = Bucket::new(rate, rate, start);
            let mut passed = 0;
            for _ in 0..rounds {
                let at = bucket.ready_ns(chunk);
                // Not before its time …
                if at > start + 1 {
                    prop_assert!(bucket.clone().allowed(at - 1) < chunk);
                }
                // … and then.
                let allowed = bucket.allowed(at);
                prop_assert!(allowed >= chunk);
                bucket.spend(allowed);
                passed += allowed;
                let most = u128::from(at - start) * u128::from(rate) / SECOND_NS;
                prop_assert!(u128::from(passed) <= most);
                prop_assert!(u128::from(passed) + u128::from(chunk) > most);
            }
        }

        #[test]
        fn what_is_not_used_is_not_saved_up(rate in 1u64..1_000_000, idle in 2u64..100) {
            let mut bucket = Bucket::new(rate, rate, 0);
            let now = idle * 1_000_000_000;
            prop_assert_eq!(bucket.allowed(now), rate);
            bucket.spend(rate);
            prop_assert_eq!(bucket.allowed(now), 0);
            prop_assert!(bucket.ready_ns(1) > now);
            prop_assert!(bucket.ready_ns(rate) <= now + 1_000_000_001);
        }
    }
}
