//! The clocks and the one random number of a run, read in one place.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// `CLOCK_MONOTONIC` in nanoseconds: the clock that all processes of a host share.
pub fn monotonic() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(time) => time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs(),
        // Cannot fail on Linux.
        Err(_) => 0,
    }
}

/// A tag for a run's messages, never 0. Not from the seed: two runs of one scenario must differ.
pub fn run_tag() -> u32 {
    let number = RandomState::new().build_hasher().finish();
    (number as u32).max(1)
}

/// The wall clock, RFC 3339 in UTC: for people to find a run by, never to measure with.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the wall clock comes in"
)]
pub fn wall() -> String {
    rfc3339(SystemTime::now())
}

/// A moment as RFC 3339 in UTC, to the second.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a civil date, by Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", for
    // dates after 1970: years begin in March, eras last 400 years.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_monotonic_clock_goes_forward() {
        let before = monotonic();
        assert!(before > 0 && monotonic() >= before);
    }

    #[test]
    fn tags_differ() {
        let tags: std::collections::BTreeSet<u32> = (0..100).map(|_| run_tag()).collect();
        assert!(tags.len() > 90 && !tags.contains(&0));
    }
}
