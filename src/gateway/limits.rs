//! How much one client may send, and how many may be let in.

use tokio::time::Instant;

/// A token bucket that holds one second's worth, and at least one message.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        Bucket {
            per_second,
            tokens: per_second.max(1.0),
            filled: now,
        }
    }

    /// Takes a token for one message or upgrade, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let gained = now.duration_since(self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.per_second.max(1.0));
        self.filled = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn holds_one_second_and_refills_at_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(5.0, start);
        let taken = |bucket: &mut Bucket, at| (0..100).take_while(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(199)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(600)), 3);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 5);
    }

    #[test]
    fn a_rate_below_one_a_second_still_lets_one_through() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0.5, start);
        assert!(bucket.take(start));
        assert!(!bucket.take(start + Duration::from_secs(1)));
        assert!(bucket.take(start + Duration::from_secs(3)));
    }
}
