//! A reconnect storm read off the run's steps: how hard the target was knocked at, and how soon everybody was back.
//!
//! All of it is arithmetic on counts of 100 ms; the definitions stand at the fields and in `docs/metrics.md`.

use super::moments::{SECOND, STEP_NS, Step, Steps};

/// Of a second's completed openings so many, as a divisor, must have been waiting all through it, or have been turned away in it,
/// for the target, not the demand, to have been the limit.
const WAITING: u64 = 20;

/// Nothing is lost for so many steps after everybody is back: what is lost then is of another storm.
const QUIET: u32 = 10;

/// A storm; see the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Storm {
    /// Index of its first step, in which the first connection was lost.
    pub first: u32,
    /// One past its last step, in which something was still going on.
    pub end: u32,
    /// Connections lost in it that are to come back.
    pub lost: u64,
    /// Of these, back by its end.
    pub back: u64,
    /// Connections started in it, those included that a fault of ours kept from the target.
    pub attempts: u64,
    /// Most attempts of one step, and its index; the first where there are several. `None`: there were none.
    pub peak: Option<(u32, u32)>,
    /// What the target was seen to take before: the most openings completed within one second that ended before the
    /// storm; `None` where nothing opened before.
    pub capacity: Option<Capacity>,
}

/// How many openings the target completed in its best second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Openings completed in that second.
    pub per_second: u64,
    /// Whether more were waiting all through it, or were turned away in it for want of room, at least a twentieth of it: else
    /// it was the demand that ended there, and the target may take more.
    pub reached: bool,
}

impl Capacity {
    /// Before a moment, nanoseconds from the run's start; `None` where nothing opened before it.
    pub fn before(steps: &Steps, until_ns: u64) -> Option<Capacity> {
        capacity(steps.between(0, until_ns))
    }
}

impl Storm {
    /// The storm that begins with the first loss at or after `from_ns`, up to `to_ns` at most; `None` where nothing was
    /// lost. Times are nanoseconds from the run's start.
    pub fn read(steps: &Steps, from_ns: u64, to_ns: u64) -> Option<Storm> {
        let within = steps.between(from_ns, to_ns);
        let first = within.iter().position(|step| step.lost > 0)?;
        let within = &within[first..];
        let first = within.first()?.index;
        // Of at most a million steps (`Steps::full`), each of at most 2³²: no sum of them overflows.
        let sum = |of: fn(&Step) -> u32| within.iter().map(|step| u64::from(of(step))).sum();
        let lost: u64 = sum(|step| step.lost);
        let busy =
            |step: &&Step| step.attempts | step.lost | step.back | step.failed | step.vain > 0;
        let end = within.iter().rfind(busy)?.index.saturating_add(1);
        let peak = within.iter().filter(|step| step.attempts > 0);
        let peak = peak.max_by_key(|step| (step.attempts, std::cmp::Reverse(step.index)));
        Some(Storm {
            first,
            end,
            lost,
            back: sum(|step| step.back).min(lost),
            attempts: sum(|step| step.attempts) + sum(|step| step.vain),
            peak: peak.map(|step| (step.attempts, step.index)),
            capacity: Capacity::before(steps, u64::from(first) * STEP_NS),
        })
    }

    /// When the storm that begins with the first loss at or after `from_ns` is over: everybody who was lost in it is back, no one is
    /// lost for a second, and it is `least_ns`, before which what brought it was not over. `to_ns` at most.
    /// So many are `away` from before it: their returns are not told from others'.
    pub fn settled(steps: &Steps, from_ns: u64, to_ns: u64, least_ns: u64, away: u64) -> u64 {
        let within = steps.between(from_ns, to_ns);
        let first = within.iter().position(|step| step.lost > 0);
        let within = first.map_or(&[][..], |first| &within[first..]);
        let (mut lost, mut back) = (away, 0_u64);
        let least = u32::try_from(least_ns.div_ceil(STEP_NS)).unwrap_or(u32::MAX);
        let (mut over, mut last): (Option<u32>, Option<u32>) = (None, None);
        // Steps in which nothing happened are not there: it may have been over in one of them.
        let meanwhile = |last: Option<u32>, lost: u64, back: u64| {
            let last = last.filter(|_| back >= lost)?;
            Some(last.max(least.saturating_sub(1)))
        };
        for step in within {
            if over.is_none() {
                over = meanwhile(last, lost, back).filter(|at| *at < step.index);
            }
            if step.lost > 0 {
                match over {
                    Some(at) if step.index - at > QUIET => break,
                    _ => over = None,
                }
            }
            lost += u64::from(step.lost);
            back += u64::from(step.back);
            last = Some(step.index);
            if over.is_none() && back >= lost && step.index.saturating_add(1) >= least {
                over = Some(step.index);
            }
        }
        let over = over.or_else(|| meanwhile(last, lost, back));
        let over = over.filter(|at| (u64::from(*at) + 1) * STEP_NS <= to_ns);
        over.map_or(to_ns, |at| (u64::from(at) + 1) * STEP_NS)
    }

    /// Steps from its first to the one at whose end so many millionths of those lost were back; `None`: never.
    pub fn restored(&self, steps: &Steps, millionths: u32) -> Option<u32> {
        let wanted = (u128::from(self.lost) * u128::from(millionths)).div_ceil(1_000_000) as u64;
        let mut back = 0;
        for step in self.steps(steps) {
            back += u64::from(step.back);
            if back >= wanted {
                return Some((step.index - self.first).saturating_add(1));
            }
        }
        None
    }

    /// Attempts for each connection that came back, where any did.
    pub fn amplification(&self) -> Option<f64> {
        (self.back > 0).then(|| self.attempts as f64 / self.back as f64)
    }

    /// Its steps; those in which nothing happened are not there.
    pub fn steps<'a>(&self, steps: &'a Steps) -> &'a [Step] {
        let ns = |index: u32| u64::from(index) * STEP_NS;
        steps.between(ns(self.first), ns(self.end))
    }
}

/// The best second of these steps, wherever it begins.
fn capacity(steps: &[Step]) -> Option<Capacity> {
    let mut best: Option<Capacity> = None;
    // Openings under way at the beginning of each step.
    let mut waiting = Vec::with_capacity(steps.len());
    let mut now = 0u64;
    for step in steps {
        waiting.push(now);
        now = (now + u64::from(step.attempts))
            .saturating_sub(u64::from(step.opened) + u64::from(step.failed));
    }
    waiting.push(now);
    let mut from = 0;
    let (mut opened, mut crowded) = (0u64, 0u64);
    for (to, step) in steps.iter().enumerate() {
        opened += u64::from(step.opened);
        crowded += u64::from(step.crowded);
        while u64::from(step.index - steps[from].index) >= SECOND {
            opened -= u64::from(steps[from].opened);
            crowded -= u64::from(steps[from].crowded);
            from += 1;
        }
        let least = waiting[from + 1..=to + 1]
            .iter()
            .copied()
            .min()
            .unwrap_or(0);
        // A second has ten steps; one in which something is missing was not full.
        let full = u64::from(step.index - steps[from].index) + 1 == SECOND
            && (to - from + 1) as u64 == SECOND;
        let found = Capacity {
            per_second: opened,
            reached: full && least.max(crowded) > 0 && least.max(crowded) >= opened / WAITING,
        };
        if opened > best.map_or(0, |best| best.per_second) {
            best = Some(found);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (index, attempts, opened, back, failed, lost)
    fn steps(table: &[(u32, u32, u32, u32, u32, u32)]) -> Steps {
        let step =
            |(index, attempts, opened, back, failed, lost): &(u32, u32, u32, u32, u32, u32)| Step {
                index: *index,
                attempts: *attempts,
                opened: *opened,
                back: *back,
                failed: *failed,
                lost: *lost,
                crowded: 0,
                vain: 0,
            };
        Steps::from(table.iter().map(step).collect::<Vec<_>>())
    }

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_storm_is_read_off_the_counts() {
        let all = steps(&[
            (0, 50, 40, 0, 0, 0),
            (1, 50, 60, 0, 0, 0),
            // Before the fault: not a part of it.
            (20, 0, 0, 0, 0, 1),
            (30, 0, 0, 0, 0, 100),
            (31, 60, 20, 20, 10, 0),
            (33, 60, 30, 30, 0, 0),
            (40, 15, 49, 49, 0, 0),
            // After it.
            (60, 9, 9, 9, 0, 9),
        ]);
        let storm = Storm::read(&all, 25 * S / 10, 5 * S).expect("there was one");
        assert_eq!((storm.first, storm.end), (30, 41));
        assert_eq!((storm.lost, storm.back, storm.attempts), (100, 99, 135));
        assert_eq!(storm.peak, Some((60, 31)));
        let restored =
            [500_000, 900_000, 990_000, 1_000_000].map(|part| storm.restored(&all, part));
        assert_eq!(restored, [Some(4), Some(11), Some(11), None]);
        let amplification = storm.amplification().expect("some came back");
        assert!((amplification - 135.0 / 99.0).abs() < 1e-12);
        assert_eq!(
            storm.capacity,
            Some(Capacity {
                per_second: 100,
                reached: false
            })
        );
        assert_eq!(Storm::read(&all, 35 * S / 10, 5 * S), None);
    }

    #[test]
    fn a_storm_is_over_when_all_are_back_and_nobody_is_lost_for_a_second() {
        let all = steps(&[
            (10, 0, 0, 0, 0, 3),
            (11, 3, 3, 3, 0, 0),
            // Within a second of it: the same storm.
            (21, 0, 0, 0, 0, 1),
            (22, 1, 1, 1, 0, 0),
            // Later than that.
            (33, 0, 0, 0, 0, 2),
            (40, 1, 1, 1, 0, 0),
            (90, 0, 0, 0, 0, 5),
        ]);
        let settled = |from, least, away| {
            Storm::settled(&all, from * S / 10, 20 * S, least * S / 10, away) * 10 / S
        };
        for (from, least, away, over) in [
            (0, 0, 0, 23),
            (12, 0, 0, 23),
            // One never comes back.
            (23, 0, 0, 200),
            (0, 30, 0, 200),
            (0, 23, 0, 23),
            // A loss right after it may be over is of it.
            (0, 24, 0, 200),
            // The first three that come back are of before.
            (0, 0, 3, 200),
        ] {
            assert_eq!(settled(from, least, away), over, "{from} {least} {away}");
        }
        let one = Storm::read(&all, 0, 23 * S / 10).expect("there was one");
        assert_eq!((one.lost, one.back, one.end), (4, 4, 23));
        assert_eq!(settled(95, 0, 0), 200, "nobody was lost");
        // Nothing happens when it may be over.
        let mut quiet = vec![(10, 0, 0, 0, 0, 1), (12, 1, 1, 1, 0, 0)];
        let over = |quiet: &[_]| Storm::settled(&steps(quiet), 0, 9 * S, 3 * S, 0);
        assert_eq!(over(&quiet), 3 * S);
        quiet.push((60, 0, 0, 0, 0, 5));
        assert_eq!(over(&quiet), 3 * S);
    }

    #[test]
    fn nobody_back_is_never_restored_and_has_no_amplification() {
        let all = steps(&[(3, 0, 0, 0, 0, 5), (4, 5, 0, 0, 5, 0), (5, 0, 0, 0, 0, 0)]);
        let storm = Storm::read(&all, 0, S).expect("there was one");
        assert_eq!((storm.end, storm.back), (5, 0));
        assert_eq!(storm.restored(&all, 500_000), None);
        assert_eq!(storm.amplification(), None);
        assert_eq!(storm.capacity, None, "nothing opened before");
    }

    #[test]
    fn capacity_was_reached_where_more_waited_all_the_time() {
        let second = |attempts_first: u32, each: u32| {
            let mut table: Vec<_> = (0..10).map(|i| (i, 0, each, 0, 0, 0)).collect();
            table[0].1 = attempts_first;
            table.push((20, 0, 0, 0, 0, 1));
            steps(&table)
        };
        let capacity = |all: &Steps| {
            let storm = Storm::read(all, 0, 10 * S).expect("a loss");
            storm.capacity.map(|c| (c.per_second, c.reached))
        };
        // 2,000 were asked for at once and 100 a step came through: the target was the limit.
        assert_eq!(capacity(&second(2_000, 100)), Some((1_000, true)));
        // 1,000 were asked for, and all were there at the second's end: it may take more.
        assert_eq!(capacity(&second(1_000, 100)), Some((1_000, false)));
        // As many as a twentieth waited, and one fewer.
        assert_eq!(capacity(&second(1_050, 100)), Some((1_000, true)));
        assert_eq!(capacity(&second(1_049, 100)), Some((1_000, false)));
        // All asked again and again, and most were told that there was no room: nobody waited, and it was the limit all the same.
        let turned_away = |crowded: u32| {
            let step = |index: u32| Step {
                index,
                attempts: 100 + crowded,
                opened: 100,
                failed: crowded,
                crowded,
                ..Step::default()
            };
            let loss = Step {
                index: 20,
                lost: 1,
                ..Step::default()
            };
            Steps::from((0..10).map(step).chain([loss]).collect::<Vec<_>>())
        };
        assert_eq!(capacity(&turned_away(5)), Some((1_000, true)));
        assert_eq!(capacity(&turned_away(4)), Some((1_000, false)));
        // The best second lies anywhere.
        let mut table: Vec<_> = (0..30u32)
            .map(|i| (i, 30, 10 + 10 * u32::from((7..17).contains(&i)), 0, 0, 0))
            .collect();
        table.push((40, 0, 0, 0, 0, 1));
        assert_eq!(capacity(&steps(&table)), Some((200, true)));
    }
}
