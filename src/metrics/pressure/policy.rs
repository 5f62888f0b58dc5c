//! What a target does with a consumer that does not read: the rules by which it is told from outside.

use std::fmt;

/// Of the victims, so large a part closed is all but all.
const ALL_BUT_ALL: f64 = 0.9;
/// A publisher held up for so large a part of the fault was held up by it.
const HELD_UP: f64 = 0.1;
/// And for so many seconds, whatever the part: acknowledgements may be late for other reasons.
const HELD_UP_SECONDS: f64 = 1.0;
/// So large a part of the sends dropped on our side says the same.
const SENDS_DROPPED: f64 = 0.01;
/// Fewer lost messages than this are no policy.
const FEW: u64 = 10;
/// A victim must lose so many times what a fast client loses.
const TIMES: f64 = 10.0;

/// What a target does with a consumer that does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Keeps everything for it.
    Buffer,
    /// Leaves messages out.
    Drop,
    /// Closes it.
    Disconnect,
    /// Holds up those who publish.
    Block,
    /// The evidence is short, or contradicts itself.
    Unknown,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 5] = [
        Policy::Buffer,
        Policy::Drop,
        Policy::Disconnect,
        Policy::Block,
        Policy::Unknown,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Buffer => "buffer",
            Policy::Drop => "drop",
            Policy::Disconnect => "disconnect",
            Policy::Block => "block-the-publisher",
            Policy::Unknown => "unknown",
        }
    }
}

/// What was counted of one `slow` fault. "Each" is a victim's mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Whether reading was slow at all: answering pings late is another matter.
    pub reading: bool,
    /// Whether the fault ran to its end.
    pub over: bool,
    /// Its length, seconds.
    pub seconds: f64,
    /// Connections it touched.
    pub victims: u64,
    /// Bytes that each was owed meanwhile, as a fast client of the group got them; `None`: there was none.
    pub owed: Option<f64>,
    /// Bytes that each took: read meanwhile, or in its own kernel at the end.
    pub taken: f64,
    /// Bytes that the target's kernel may have held for each.
    pub kernel: f64,
    /// Victims that the target closed, each once, whenever it was seen.
    pub closed: u64,
    /// Messages that victims lost while connected.
    pub skipped: u64,
    /// Fast clients of the group.
    pub fast: u64,
    /// Messages that they lost while connected.
    pub fast_lost: u64,
    /// The longest time that a publishing connection could not write, within the fault, seconds.
    pub held_up: f64,
    /// Publishes due within the fault…
    pub offered: u64,
    /// …and those of them that found their connection's queue full on our side.
    pub dropped: u64,
}

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The policy.
    pub policy: Policy,
    /// What of the evidence decided.
    pub why: String,
}

impl Evidence {
    /// The first rule that applies; see `docs/metrics.md`.
    pub fn verdict(&self) -> Verdict {
        let (policy, why) = self.rule();
        Verdict { policy, why }
    }

    fn rule(&self) -> (Policy, String) {
        if !self.reading {
            return unknown("they read as ever");
        }
        if !self.over {
            return unknown("the fault did not come to its end");
        }
        if self.victims == 0 {
            return unknown("nobody was slow");
        }
        let victims = self.victims;
        if self.closed > 0 {
            let closed = self.closed.min(victims);
            return if closed as f64 >= ALL_BUT_ALL * victims as f64 {
                (
                    Policy::Disconnect,
                    format!("{closed} of {victims} were closed"),
                )
            } else {
                let kept = victims - closed;
                unknown(format!("{closed} were closed and {kept} were not"))
            };
        }
        let held_up = self.held_up();
        match (held_up, self.skipped) {
            (Some(how), 0) => (Policy::Block, how),
            (Some(how), skipped) => unknown(format!("{how}, and yet {skipped} messages were lost")),
            (None, 0) => self.kept(),
            (None, _) => self.left_out(),
        }
    }

    /// How publishers were held up, if they were.
    fn held_up(&self) -> Option<String> {
        if self.held_up >= (HELD_UP * self.seconds).max(HELD_UP_SECONDS) {
            let (held_up, seconds) = (self.held_up, self.seconds);
            return Some(format!(
                "a publisher could not write for {held_up:.1} of {seconds:.1} s"
            ));
        }
        let (dropped, offered) = (self.dropped, self.offered);
        (offered > 0 && dropped as f64 >= SENDS_DROPPED * offered as f64)
            .then(|| format!("{dropped} of {offered} sends found their queue full"))
    }

    /// Nothing was lost, nobody closed, nobody held up.
    fn kept(&self) -> (Policy, String) {
        let Some(owed) = self.owed else {
            return unknown("no fast client shows what they were owed");
        };
        let (taken, kernel) = (self.taken, self.kernel);
        let held = owed - taken;
        let what = format!("of {} each was owed, it took {}", Bytes(owed), Bytes(taken));
        if held > kernel {
            (Policy::Buffer, format!("{what}; the rest came later"))
        } else {
            unknown(format!(
                "{what}; the target's kernel may have held the rest, it holds up to {}",
                Bytes(kernel)
            ))
        }
    }

    /// Messages were lost, nobody closed, nobody held up.
    fn left_out(&self) -> (Policy, String) {
        let skipped = self.skipped;
        if skipped < FEW {
            return unknown(format!("only {skipped} messages were lost"));
        }
        let each = skipped as f64 / self.victims as f64;
        let others = self.fast_lost as f64 / self.fast.max(1) as f64;
        if each < TIMES * others {
            return unknown(format!(
                "{each:.1} messages were lost by each, but {others:.1} by each fast client too"
            ));
        }
        (Policy::Drop, format!("{skipped} messages were left out"))
    }
}

fn unknown(why: impl Into<String>) -> (Policy, String) {
    (Policy::Unknown, why.into())
}

/// A number of bytes for people.
struct Bytes(f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STEPS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
        let (mut value, mut step) = (self.0.max(0.0), 0);
        while value >= 1024.0 && step + 1 < STEPS.len() {
            value /= 1024.0;
            step += 1;
        }
        let digits = usize::from(step > 0);
        write!(f, "{value:.digits$} {}", STEPS[step])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// Ten victims, owed far more than they took, to whom nothing happened.
    fn quiet() -> Evidence {
        Evidence {
            reading: true,
            over: true,
            seconds: 10.0,
            victims: 10,
            owed: Some(20.0 * MIB),
            taken: MIB,
            kernel: 4.0 * MIB,
            closed: 0,
            skipped: 0,
            fast: 90,
            fast_lost: 0,
            held_up: 0.0,
            offered: 1000,
            dropped: 0,
        }
    }

    #[test]
    fn each_rule_and_each_of_its_edges() {
        type Change = fn(&mut Evidence);
        let table: &[(&str, Change, Policy, &str)] = &[
            (
                "all is kept",
                |_| {},
                Policy::Buffer,
                "of 20.0 MiB each was owed, it took 1.0 MiB",
            ),
            (
                "only pongs are late",
                |e| e.reading = false,
                Policy::Unknown,
                "as ever",
            ),
            ("cut short", |e| e.over = false, Policy::Unknown, "its end"),
            ("nobody", |e| e.victims = 0, Policy::Unknown, "nobody"),
            (
                "all closed",
                |e| e.closed = 10,
                Policy::Disconnect,
                "10 of 10",
            ),
            (
                "more than there were",
                |e| e.closed = 30,
                Policy::Disconnect,
                "10 of 10",
            ),
            (
                "nine closed",
                |e| e.closed = 9,
                Policy::Disconnect,
                "9 of 10",
            ),
            (
                "eight closed",
                |e| e.closed = 8,
                Policy::Unknown,
                "8 were closed and 2 were not",
            ),
            (
                "closed, and lost something first",
                |e| {
                    e.closed = 10;
                    e.skipped = 99;
                },
                Policy::Disconnect,
                "10 of 10",
            ),
            (
                "a tenth of the time",
                |e| e.held_up = 1.0,
                Policy::Block,
                "1.0 of 10.0 s",
            ),
            ("less", |e| e.held_up = 0.99, Policy::Buffer, ""),
            (
                "sends dropped",
                |e| e.dropped = 10,
                Policy::Block,
                "10 of 1000 sends",
            ),
            ("hardly any dropped", |e| e.dropped = 9, Policy::Buffer, ""),
            (
                "nothing published",
                |e| {
                    e.offered = 0;
                },
                Policy::Buffer,
                "",
            ),
            (
                "held up and lost",
                |e| {
                    e.held_up = 5.0;
                    e.skipped = 3;
                },
                Policy::Unknown,
                "and yet 3 messages",
            ),
            ("lost", |e| e.skipped = 10, Policy::Drop, "10 messages"),
            ("few lost", |e| e.skipped = 9, Policy::Unknown, "only 9"),
            (
                "all lost",
                |e| {
                    e.skipped = 100;
                    e.fast_lost = 900;
                },
                Policy::Unknown,
                "10.0 by each fast client",
            ),
            (
                "the fast lost a tenth",
                |e| {
                    e.skipped = 100;
                    e.fast_lost = 90;
                },
                Policy::Drop,
                "",
            ),
            (
                "the fast lost more than a tenth",
                |e| {
                    e.skipped = 100;
                    e.fast_lost = 91;
                },
                Policy::Unknown,
                "fast client too",
            ),
            (
                "nobody else",
                |e| e.owed = None,
                Policy::Unknown,
                "no fast client",
            ),
            (
                "nobody else, but lost",
                |e| {
                    e.owed = None;
                    e.fast = 0;
                    e.skipped = 10;
                },
                Policy::Drop,
                "",
            ),
            (
                "as much as the kernel holds",
                |e| e.owed = Some(5.0 * MIB),
                Policy::Unknown,
                "holds up to 4.0 MiB",
            ),
            (
                "a byte more",
                |e| e.owed = Some(5.0 * MIB + 1.0),
                Policy::Buffer,
                "",
            ),
        ];
        for (name, change, policy, why) in table {
            let mut evidence = quiet();
            change(&mut evidence);
            let verdict = evidence.verdict();
            assert_eq!(verdict.policy, *policy, "{name}: {}", verdict.why);
            assert!(verdict.why.contains(why), "{name}: {}", verdict.why);
        }
    }

    #[test]
    fn bytes_are_for_people() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.5 KiB"),
            (3.0 * MIB, "3.0 MiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
