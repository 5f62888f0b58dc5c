//! Holes in a stream that may still fill: which numbers are missing, since which phase, and why.
//!
//! Kept beside the dense table of streams, because holes are rare and streams are many.

use super::fate::Blame;

/// Numbers told apart below the highest received: the bits of an entry's window.
pub(super) const WINDOW: u64 = 64;

/// A run of numbers passed over at one moment; those whose bit is set have come since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// First number.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// Phase of the discovery.
    pub phase: usize,
    /// Whether the connection was away in between.
    pub missed: bool,
    /// The fault that it is put down to.
    pub blame: Option<Blame>,
}

/// How many of `from..to` are unset in the window below `high` (bit i stands for `high − 1 − i`).
/// All of the range must lie in the window.
pub(super) fn unset(high: u64, window: u64, from: u64, to: u64) -> u64 {
    if from >= to {
        return 0;
    }
    let (shift, length) = (high - to, to - from);
    debug_assert!(shift + length <= WINDOW);
    let bits = !window >> shift;
    let mask = if length >= WINDOW {
        u64::MAX
    } else {
        (1 << length) - 1
    };
    u64::from((bits & mask).count_ones())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_bits_are_counted_in_their_range() {
        // high 10: bit 0 is 9, bit 1 is 8 … received are 9, 7 and 0.
        let window = 0b10_0000_0101;
        assert_eq!(unset(10, window, 9, 10), 0);
        assert_eq!(unset(10, window, 8, 9), 1);
        assert_eq!(unset(10, window, 8, 10), 1);
        assert_eq!(unset(10, window, 1, 7), 6);
        assert_eq!(unset(10, window, 0, 10), 7);
        assert_eq!(unset(10, window, 5, 5), 0);
        assert_eq!(unset(10, window, 6, 5), 0);
        assert_eq!(unset(64, 0, 0, 64), 64);
        assert_eq!(unset(100, 1, 36, 100), 63);
        assert_eq!(unset(100, 1 << 63, 36, 37), 0);
        assert_eq!(unset(100, 1 << 63, 36, 100), 63);
    }
}
