//! Shared subscriptions: each message goes to one of those who have it, so that they have one account together.
//!
//! It is that of the first of them. All are of one shard (`plan/compile/generator.rs` sees to that), or nobody could tell a message
//! that another one got from one that nobody did.

use super::shard::Shard;
use super::tail::Topics;
use std::collections::HashMap;

/// A shared subscription.
#[derive(Debug)]
pub(super) struct Share {
    filter: String,
    /// The number of the connection whose account it is.
    account: u32,
    /// Messages that came to each member.
    members: HashMap<u32, u64>,
}

impl Shard {
    /// A connection subscribes so.
    pub(super) fn join_share(&mut self, c: usize, filter: &str) -> Topics {
        let number = self.number(c);
        let known = self.shares.iter().position(|share| share.filter == filter);
        let place = known.unwrap_or_else(|| {
            self.shares.push(Share {
                filter: filter.to_owned(),
                account: number,
                members: HashMap::new(),
            });
            self.shares.len() - 1
        });
        self.shares[place].members.entry(c as u32).or_default();
        Topics::Shared(place as u32)
    }

    fn share(&self, c: usize) -> Option<&Share> {
        match self.conns[c].topics {
            Topics::Shared(place) => self.shares.get(place as usize),
            _ => None,
        }
    }

    /// The number that a connection's deliveries are accounted under.
    pub(super) fn account_of(&self, c: usize) -> u32 {
        let shared = self.share(c).map(|share| share.account);
        shared.unwrap_or_else(|| self.number(c))
    }

    /// A connection that was ready, or about to be, is gone. The account of a share goes on: others are there for what comes.
    pub(super) fn away(&mut self, c: usize) {
        if self.share(c).is_none() {
            let number = self.number(c);
            self.delivery.away(number);
        }
    }

    /// A message came.
    pub(super) fn one_more_shared(&mut self, c: usize) {
        if let Topics::Shared(place) = self.conns[c].topics
            && let Some(share) = self.shares.get_mut(place as usize)
        {
            *share.members.entry(c as u32).or_default() += 1;
        }
    }

    /// Says how evenly messages were shared.
    pub(super) fn tell_shares(&mut self) {
        for share in &self.shares {
            self.recorder.sample("shared", share.tells().as_bytes());
        }
    }
}

impl Share {
    fn tells(&self) -> String {
        let counts = || self.members.values().copied();
        let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        let mean = counts().sum::<u64>() as f64 / self.members.len().max(1) as f64;
        let times = if mean > 0.0 { most as f64 / mean } else { 1.0 };
        format!(
            "{}: {} members, {least} to {most} messages each, {times:.2} times the mean at most",
            self.filter,
            self.members.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imbalance_is_told() {
        let mut share = Share {
            filter: "$share/g/t".to_owned(),
            account: 0,
            members: [(1, 30), (2, 10), (3, 20)].into(),
        };
        assert_eq!(
            share.tells(),
            "$share/g/t: 3 members, 10 to 30 messages each, 1.50 times the mean at most"
        );
        share.members = [(1, 0)].into();
        assert!(
            share
                .tells()
                .ends_with("0 to 0 messages each, 1.00 times the mean at most")
        );
    }
}
