//! What is kept of a topic for clients that come back: its last messages, for a while, and the epoch that their
//! numbers are of. It lives where messages are numbered: in a gateway's topics, or with the nodes' supervisor.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};

use tokio::time::Instant;

use super::{Config, History};

/// What all topics have in common.
#[derive(Debug)]
pub(super) struct Keeper {
    limits: History,
    epoch: u64,
    /// `reset_epoch_after`.
    reset_at: Option<Instant>,
}

/// The last messages of a topic, oldest first, without holes up to its last one.
#[derive(Debug)]
pub(super) struct Log {
    epoch: u64,
    kept: VecDeque<(Instant, Box<str>)>,
}

/// How far a client heard a topic that it subscribes to again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since<'a> {
    /// The last number that came.
    pub sequence: u64,
    /// The epoch it is of; `None`: the client does not say.
    pub epoch: Option<&'a str>,
}

/// What a subscriber is told beside the topic's last number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// The epoch of the topic's numbers.
    pub epoch: u64,
    /// Whether all that was missed follows; `None`: it did not ask.
    pub recovered: Option<bool>,
}

impl Keeper {
    /// One of a gateway that begins now, in an epoch of its own; `None`: it keeps nothing.
    pub(super) fn new(config: &Config, now: Instant) -> Option<Self> {
        Some(Keeper {
            limits: config.history.clone()?,
            // The keys that the standard library seeds its tables with are random.
            epoch: RandomState::new().build_hasher().finish(),
            reset_at: config.misbehave.reset_epoch_after.map(|after| now + after),
        })
    }

    fn epoch_at(&self, now: Instant) -> u64 {
        let reset = self.reset_at.is_some_and(|at| at <= now);
        self.epoch.wrapping_add(u64::from(reset))
    }
}

impl Log {
    /// That of a topic without messages.
    pub(super) fn new(keeper: &Keeper) -> Self {
        Log {
            epoch: keeper.epoch,
            kept: VecDeque::new(),
        }
    }

    /// Drops what is too old, or of an epoch that is over.
    fn age(&mut self, keeper: &Keeper, now: Instant) {
        let epoch = keeper.epoch_at(now);
        if epoch != self.epoch {
            *self = Log {
                epoch,
                kept: VecDeque::new(),
            };
        }
        let old = |(at, _): &(Instant, Box<str>)| now.duration_since(*at) >= keeper.limits.lasts;
        while self.kept.front().is_some_and(old) {
            self.kept.pop_front();
        }
    }

    /// Keeps a message, the next of the topic.
    pub(super) fn keep(&mut self, payload: &str, keeper: &Keeper, now: Instant) {
        self.age(keeper, now);
        if self.kept.len() >= keeper.limits.messages {
            self.kept.pop_front();
        }
        self.kept.push_back((now, payload.into()));
    }

    /// What a subscriber is told when `last` is the topic's last number, and the messages after the one it heard last,
    /// with their numbers: all of them, or none.
    pub(super) fn answer(
        &mut self,
        since: Option<Since<'_>>,
        last: u64,
        keeper: &Keeper,
        now: Instant,
    ) -> (Standing, impl Iterator<Item = (u64, &str)>) {
        self.age(keeper, now);
        let kept = self.kept.len() as u64;
        let missing = since.and_then(|since| {
            let same = since.epoch.is_none_or(|epoch| epoch == text(self.epoch));
            let missing = last.checked_sub(since.sequence)?;
            (same && missing <= kept).then_some(missing)
        });
        let standing = Standing {
            epoch: self.epoch,
            recovered: since.map(|_| missing.is_some()),
        };
        let missing = missing.unwrap_or(0);
        let rest = self.kept.iter().skip((kept - missing) as usize);
        let numbers = last - missing + 1..;
        (
            standing,
            numbers.zip(rest.map(|(_, payload)| payload.as_ref())),
        )
    }
}

/// An epoch as clients see it.
pub(super) fn text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn keeper(messages: usize, reset_after: Option<Duration>, now: Instant) -> Keeper {
        let mut config = Config {
            history: Some(History {
                messages,
                lasts: 10 * SECOND,
                store: None,
            }),
            ..Config::default()
        };
        config.misbehave.reset_epoch_after = reset_after;
        Keeper::new(&config, now).unwrap()
    }

    fn ask(
        log: &mut Log,
        since: Option<(u64, &str)>,
        last: u64,
        keeper: &Keeper,
        now: Instant,
    ) -> (Option<bool>, Vec<(u64, String)>) {
        let since = since.map(|(sequence, epoch)| Since {
            sequence,
            epoch: Some(epoch),
        });
        let (standing, missing) = log.answer(since, last, keeper, now);
        let missing = missing.map(|(n, payload)| (n, payload.to_owned()));
        (standing.recovered, missing.collect())
    }

    #[test]
    fn recovers_all_or_nothing() {
        let now = Instant::now();
        let keeper = keeper(3, None, now);
        let mut log = Log::new(&keeper);
        let epoch = text(log.epoch);
        for n in 1..=5 {
            log.keep(&format!("m{n}"), &keeper, now);
        }
        let some = |from: u64| (from..=5).map(|n| (n, format!("m{n}"))).collect::<Vec<_>>();
        let table = [
            (None, None, vec![]),
            (Some((5, epoch.as_str())), Some(true), vec![]),
            (Some((4, &epoch)), Some(true), some(5)),
            (Some((2, &epoch)), Some(true), some(3)),
            // One of them is gone.
            (Some((1, &epoch)), Some(false), vec![]),
            // A number that was never given, another epoch.
            (Some((6, &epoch)), Some(false), vec![]),
            (Some((5, "other")), Some(false), vec![]),
        ];
        for (since, recovered, missing) in table {
            assert_eq!(
                ask(&mut log, since, 5, &keeper, now),
                (recovered, missing),
                "{since:?}"
            );
        }
        let quiet = Some(Since {
            sequence: 4,
            epoch: None,
        });
        assert_eq!(
            log.answer(quiet, 5, &keeper, now).1.count(),
            1,
            "by the number alone"
        );
    }

    #[test]
    fn forgets_what_is_old() {
        let now = Instant::now();
        let keeper = keeper(100, None, now);
        let mut log = Log::new(&keeper);
        let epoch = text(log.epoch);
        log.keep("a", &keeper, now);
        log.keep("b", &keeper, now + 5 * SECOND);
        let at = |log: &mut Log, since, seconds| {
            ask(
                log,
                Some((since, &epoch)),
                2,
                &keeper,
                now + seconds * SECOND,
            )
            .0
        };
        assert_eq!(at(&mut log, 0, 9), Some(true));
        assert_eq!(at(&mut log, 0, 10), Some(false));
        assert_eq!(at(&mut log, 1, 14), Some(true));
        assert_eq!(at(&mut log, 1, 15), Some(false));
        assert_eq!(at(&mut log, 2, 99), Some(true), "nothing is missing");
    }

    #[test]
    fn an_epoch_ends_once() {
        let now = Instant::now();
        let keeper = keeper(100, Some(SECOND), now);
        let mut log = Log::new(&keeper);
        let first = text(log.epoch);
        log.keep("a", &keeper, now);
        let later = now + SECOND;
        assert_eq!(
            ask(&mut log, Some((1, &first)), 1, &keeper, later).0,
            Some(false)
        );
        let second = text(log.epoch);
        assert_ne!(first, second);
        log.keep("b", &keeper, later);
        let (recovered, missing) = ask(&mut log, Some((1, &second)), 2, &keeper, later + SECOND);
        assert_eq!((recovered, missing.len()), (Some(true), 1));
        let other = super::tests::keeper(100, None, now);
        assert_ne!(
            keeper.epoch, other.epoch,
            "each gateway begins one of its own"
        );
    }
}
