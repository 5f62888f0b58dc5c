//! What the allocator keeps of memory that is free again.

/// Fewer things than this are not worth the look.
const MANY: usize = 1_000;

/// Follows how many things there are that hold memory, and gives their memory back when most are gone.
///
/// An allocator keeps what was freed between pieces that were not, for the next time. After a storm, or when the
/// clients of a phase have left, there is none, and others on this machine could use it.
#[derive(Debug, Default)]
pub struct Tide {
    high: usize,
}

impl Tide {
    /// There are so many now. True when memory was given back: they are half of what they were, or fewer. That walks
    /// all that is free, about 10 ms for 100 MiB in small pieces, so it does not happen for every few that leave.
    pub fn stands_at(&mut self, now: usize) -> bool {
        let ebb = self.high >= MANY && now <= self.high / 2;
        if ebb {
            give_back();
        }
        self.high = if ebb { now } else { self.high.max(now) };
        ebb
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: takes no pointers, and may be called at any time from any thread (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries' allocators decide by themselves.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_when_half_are_gone() {
        let mut tide = Tide::default();
        let told = [
            (0, false),
            (999, false),
            (0, false),
            (2_000, false),
            (1_001, false),
            (1_000, true),
            // Once, not again and again.
            (1_000, false),
            (900, false),
            (500, true),
            (100, false),
            (3_000, false),
            (1_600, false),
            (0, true),
        ];
        for (step, (now, ebb)) in told.into_iter().enumerate() {
            assert_eq!(tide.stands_at(now), ebb, "step {step}");
        }
    }
}
