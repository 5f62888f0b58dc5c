//! Wills: what the target publishes for a connection that is lost without a goodbye.
//!
//! A will carries a stamp of a stream that nobody publishes, with the connection's number and the moment it was said: by that it is known
//! wherever it is heard, and not taken for a message. How long it took is known to the shard that lost the connection; a will that another
//! shard's subscriber hears is counted, and not timed.

use super::shard::Shard;
use crate::metrics::{Counter, Timer};
use crate::plan;
use crate::protocol::{Field, Stamp};

/// The stream of wills. Requests' numbers begin above it, and a plan's streams, which begin at 0, are not that many.
pub(super) const WILL: u32 = u32::MAX - 512;

/// The last will that a connection told the target of, and when the connection was lost with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Will {
    said_ns: u64,
    lost_ns: Option<u64>,
    /// The same two of the one before, once its connection was lost: a target may notice when the client has long been back.
    before: Option<(u64, u64)>,
}

impl Shard {
    /// A connection is about to say who it is: the stamp of its will, where its group has one.
    pub(super) fn write_will(&mut self, c: usize, now: u64) -> Option<Stamp> {
        let group = &self.plan.groups()[usize::from(self.conns[c].group)];
        let mut fields = group.introduction.iter();
        if !fields.any(|(field, _)| *field == Field::WillTopic) {
            return None;
        }
        let number = self.number(c);
        let before = self.wills.get(&number);
        let before = before.and_then(|will| Some((will.said_ns, will.lost_ns?)));
        let will = Will {
            said_ns: now,
            lost_ns: None,
            before,
        };
        self.wills.insert(number, will);
        Some(Stamp {
            run: self.run,
            stream: WILL,
            seq: number.into(),
            intended_ns: now,
            sent_ns: now,
        })
    }

    /// A will's payload, filled in for a connection.
    pub(super) fn fill_will(&self, c: usize, template: &plan::Template, stamp: &Stamp) -> String {
        let text = stamp.text();
        plan::render(template, |part| match part {
            plan::Part::Builtin(plan::Builtin::Payload) => String::from_utf8_lossy(&text),
            part => self.value(c, part).into(),
        })
    }

    /// A connection is gone, and the target was told what to publish then.
    pub(super) fn will_owed(&mut self, c: usize, now: u64) {
        self.count(c, Counter::WillsOwed);
        let number = self.number(c);
        if let Some(will) = self.wills.get_mut(&number) {
            will.lost_ns = Some(now);
        }
    }

    /// A subscriber hears one.
    pub(super) fn will_heard(&mut self, c: usize, stamp: &Stamp, now: u64) {
        self.count(c, Counter::Wills);
        let number = u32::try_from(stamp.seq).ok();
        let will = number.and_then(|number| self.wills.get(&number));
        // One before the last two is not timed: when it was lost is not known any more.
        let lost = will.and_then(|will| match stamp.intended_ns {
            said if said == will.said_ns => will.lost_ns,
            said => will
                .before
                .filter(|(before, _)| *before == said)
                .map(|(_, lost)| lost),
        });
        if let Some(lost) = lost {
            let g = usize::from(self.conns[c].group);
            let late = now as i64 - lost as i64;
            self.recorder.time(Timer::Will, self.phase, g, late);
        }
    }
}
