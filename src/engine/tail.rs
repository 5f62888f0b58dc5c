//! Where streams come from and who is owed them: the topic of a stream, the accounts of losses, and the
//! closing of the tail once every publisher has said how far it came.

use super::EngineError;
use super::conn::State;
use super::end::Cause;
use super::fault::Faults;
use super::resume::Resumes;
use super::shard::{Shard, Stretch};
use super::wheel::TICK_NS;
use crate::metrics::{Absence, Blame, Failure, Fate, Place, StreamEnd};
use crate::plan::Plan;
use crate::protocol::ProtocolConfig;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How often a settling tail is looked at.
const LOOK_NS: u64 = 5 * TICK_NS;
/// Connections whose accounts are looked at in one turn.
const ACCOUNTS_PER_LOOK: usize = 256;

/// What is known of a stream from the plan alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// Hash of its topic; `None` where it cannot be known here (captured variables, no topics).
    pub topic: Option<u64>,
    /// Nothing of it is due before this.
    pub starts_ns: u64,
}

/// What a connection subscribed to.
#[derive(Debug, Clone, Default)]
pub(super) enum Topics {
    /// Nothing.
    #[default]
    None,
    /// One topic: most do.
    One(u64),
    /// Several; behind one thin pointer, so that the others are small.
    Many(Box<Box<[u64]>>),
    /// Whatever comes: raw, or patterns that only the target can tell.
    Any,
    /// A share of what comes to all who subscribed so: the place of the share in the shard's table.
    Shared(u32),
}

impl Topics {
    /// Of these names; which of them are patterns the protocol tells.
    pub fn of(names: &[String], protocol: &ProtocolConfig) -> Self {
        match names {
            [] => Topics::None,
            _ if names.iter().any(|n| protocol.is_pattern(n)) => Topics::Any,
            [one] => Topics::One(topic_hash(one)),
            many => Topics::Many(Box::new(many.iter().map(|n| topic_hash(n)).collect())),
        }
    }

    pub fn takes(&self, origin: &Origin) -> bool {
        match (self, origin.topic) {
            (Topics::None, _) => false,
            (Topics::Any | Topics::Shared(_), _) | (_, None) => true,
            (Topics::One(mine), Some(topic)) => *mine == topic,
            (Topics::Many(mine), Some(topic)) => mine.contains(&topic),
        }
    }

    /// The place of a topic among those that were named.
    pub fn place(&self, topic: &str) -> Option<u32> {
        let hashes = self.hashes();
        if hashes.is_empty() {
            return None;
        }
        let topic = topic_hash(topic);
        hashes
            .iter()
            .position(|mine| *mine == topic)
            .map(|p| p as u32)
    }

    /// The hash of the topic at a place.
    pub fn hash_at(&self, place: u32) -> Option<u64> {
        self.hashes().get(place as usize).copied()
    }

    /// How many were named.
    pub fn named(&self) -> u32 {
        self.hashes().len() as u32
    }

    fn hashes(&self) -> &[u64] {
        match self {
            Topics::One(one) => std::slice::from_ref(one),
            Topics::Many(many) => many,
            Topics::None | Topics::Any | Topics::Shared(_) => &[],
        }
    }
}

fn topic_hash(topic: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    hasher.finish()
}

/// Where a stream comes from, as far as the plan alone tells; computed once a stream.
/// `None` for one that nobody publishes.
pub(super) fn origin(
    origins: &mut HashMap<u32, Origin>,
    plan: &Plan,
    stream: u32,
) -> Option<Origin> {
    if let Some(origin) = origins.get(&stream) {
        return Some(*origin);
    }
    if stream >= plan.streams() {
        return None;
    }
    let publish = plan.publish_of(stream)?;
    let origin = Origin {
        topic: plan.topic_of(stream).map(|topic| topic_hash(&topic)),
        starts_ns: publish
            .profile
            .segments
            .first()
            .map_or(0, |s| s.start.as_nanos() as u64),
    };
    origins.insert(stream, origin);
    Some(origin)
}

/// The fault that a hole which is found now is put down to: the one that cut its connection last, or else the last that acted on it.
pub(super) fn blame(resumes: &Resumes, faults: &Faults, c: usize) -> Option<Blame> {
    let of = |cut| move |fault| u16::try_from(fault).ok().map(|fault| Blame { fault, cut });
    let cut_by = resumes.cut_by(c).and_then(of(true));
    cut_by.or_else(|| faults.touched(c).and_then(of(false)))
}

/// The closing of the tail.
pub(super) struct Tail {
    by_topic: HashMap<u64, Vec<StreamEnd>>,
    all: Vec<StreamEnd>,
    phase_starts: Vec<u64>,
    /// Connections that are still owed something.
    owed: Vec<u32>,
    deadline_ns: u64,
    look_ns: u64,
}

impl Shard {
    /// Counts the losses that became final.
    pub(super) fn book_losses(&mut self) {
        let Shard {
            delivery,
            recorder,
            groups,
            plan,
            faults,
            shards,
            ..
        } = self;
        for loss in delivery.losses() {
            let g = plan.group_of(loss.conn);
            debug_assert!(g < groups.len());
            let c = groups[g].local(loss.conn - plan.groups()[g].first, *shards);
            // What was published in a phase before the fault's is none of its doing, though that it never came was found after.
            let blame = (loss.blame).filter(|of| faults.began_by(of.fault.into(), loss.phase));
            let cut_by = blame.filter(|of| of.cut).map(|of| usize::from(of.fault));
            if let Some(fault) = cut_by {
                recorder.absence(fault, Absence::of(&loss));
            }
            for counter in loss.counters() {
                recorder.count(*counter, loss.phase, g, loss.count);
            }
            // Whoever was away was taken away by something else, where no fault did it.
            let acted = blame.filter(|of| of.cut || loss.fate == Fate::Lost);
            let fault = acted.map(|of| usize::from(of.fault));
            recorder.never_came(&loss, Place::new(loss.phase, g, fault));
            if loss.fate == Fate::Lost {
                faults.skipped(c, loss.count, recorder);
            }
        }
    }

    /// Whether everything scheduled has left (or its time is over): then the streams' ends are known.
    pub(super) fn published(&mut self, now: u64) -> bool {
        if self.stretch != Stretch::Draining || self.told_published {
            return false;
        }
        // What a fault held back is let go first: it may be a publish.
        if self.faults.lasting() {
            self.look_at(now + LOOK_NS);
            return false;
        }
        let drain = self.plan.generator().drain.as_nanos() as u64;
        if self.blocked > 0 || self.injecting() {
            let deadline = *self.drained_by.get_or_insert(now + drain);
            if now < deadline {
                self.look_at(now + LOOK_NS);
                return false;
            }
            // Sockets that took nothing for the whole drain will not: what they hold is dropped, not lost.
            for c in 0..self.conns.len() {
                if self.conns[c].blocked {
                    self.lost(c, Cause::Failed(Failure::Timeout), now);
                }
            }
        }
        self.end_injecting();
        self.told_published = true;
        true
    }

    /// How far each stream of this shard came.
    pub(super) fn stream_ends(&self) -> Vec<StreamEnd> {
        let works = self.conns.iter().filter_map(|conn| conn.work.as_ref());
        works
            .flat_map(|work| &work.publishes)
            .filter(|p| p.seq > 0)
            .map(|p| StreamEnd {
                stream: p.stream,
                first_ns: p.first_ns,
                published: p.by_phase.clone(),
            })
            .collect()
    }

    /// Every publisher's ends are known: from now on it is only a question of waiting.
    pub(super) fn close_streams(&mut self, ends: Vec<StreamEnd>) {
        let now = self.now();
        let mut by_topic: HashMap<u64, Vec<StreamEnd>> = HashMap::new();
        for end in &ends {
            let origin = origin(&mut self.origins, &self.plan, end.stream);
            if let Some(topic) = origin.and_then(|o| o.topic) {
                by_topic.entry(topic).or_default().push(end.clone());
            }
        }
        let owed = (0..self.conns.len())
            .filter(|c| !matches!(self.conns[*c].topics, Topics::None))
            .map(|c| c as u32);
        self.tail = Some(Tail {
            owed: owed.collect(),
            by_topic,
            all: ends,
            phase_starts: self
                .plan
                .phases()
                .iter()
                .map(|p| p.start.as_nanos() as u64)
                .collect(),
            deadline_ns: now + self.plan.generator().drain.as_nanos() as u64,
            look_ns: 0,
        });
    }

    /// Whether the tail is closed: all arrived, or waited for long enough. True once.
    pub(super) fn settled(&mut self, now: u64) -> bool {
        let Some(mut tail) = self.tail.take() else {
            return false;
        };
        if now < tail.look_ns {
            self.look_at(tail.look_ns);
            self.tail = Some(tail);
            return false;
        }
        // A few at a time, and no further than the first that still waits: messages are still arriving,
        // and the time this takes would be in their latencies.
        let mut waits = false;
        for _ in 0..ACCOUNTS_PER_LOOK {
            let Some(c) = tail.owed.last() else { break };
            let (number, ready, ends) = self.account(*c as usize, &tail);
            let outstanding = self
                .delivery
                .outstanding(number, ready, ends, &tail.phase_starts);
            if outstanding > 0 {
                waits = true;
                break;
            }
            tail.owed.pop();
        }
        let owed = !tail.owed.is_empty() && now < tail.deadline_ns;
        // A request has the whole of its own timeout, however short the drain, unless the run was stopped.
        let asked = !owed
            && (now < tail.deadline_ns || !self.stopped)
            && self
                .conns
                .iter()
                .filter_map(|conn| conn.work.as_deref())
                .any(|work| !work.pending.is_empty());
        // So has an opening: none begins any more, and one that is under way becomes ready or fails.
        let opening = self.opening > 0 && !self.stopped;
        if owed || asked || opening {
            let waits = waits || asked || opening;
            tail.look_ns = if waits { now + LOOK_NS } else { now };
            self.look_at(tail.look_ns);
            self.tail = Some(tail);
            return false;
        }
        for c in 0..self.conns.len() {
            if matches!(self.conns[c].topics, Topics::None) {
                continue;
            }
            let (number, ready, ends) = self.account(c, &tail);
            let blame = blame(&self.resumes, &self.faults, c);
            self.delivery
                .close_tail(number, ready, ends, &tail.phase_starts, blame);
        }
        // Of streams whose shard is gone only the holes are known.
        self.delivery.close_gaps();
        self.book_losses();
        self.service.close_gaps();
        self.book_gaps();
        self.time_out_pending();
        self.tell_shares();
        true
    }

    /// A connection's number, when it was first ready, and the ends of the streams it is owed.
    fn account<'a>(&self, c: usize, tail: &'a Tail) -> (u32, Option<u64>, Vec<&'a StreamEnd>) {
        let conn = &self.conns[c];
        let number = self.account_of(c);
        let ready = (conn.first_ready_ns != u64::MAX).then_some(conn.first_ready_ns);
        let ends = match &conn.topics {
            // One of them stands for all.
            Topics::Shared(_) if number != self.number(c) => Vec::new(),
            // Which streams a pattern takes only the target knows: those that have come at all.
            Topics::Any | Topics::Shared(_) => tail
                .all
                .iter()
                .filter(|end| self.delivery.knows(number, end.stream))
                .collect(),
            topics => topics
                .hashes()
                .iter()
                .filter_map(|t| tail.by_topic.get(t))
                .flatten()
                .collect(),
        };
        (number, ready, ends)
    }

    /// Requests that are still without an answer: those of a run that was stopped.
    fn time_out_pending(&mut self) {
        let Shard {
            conns,
            recorder,
            plan,
            ..
        } = self;
        for conn in conns {
            let g = usize::from(conn.group);
            if let Some(work) = &mut conn.work {
                for pending in work.pending.drain(..) {
                    recorder.count(
                        crate::metrics::Counter::RequestTimeouts,
                        plan.phase_at(pending.intended_ns),
                        g,
                        1,
                    );
                }
            }
        }
    }

    /// Begins to close everything.
    pub(super) fn finish(&mut self) -> Result<(), EngineError> {
        let now = self.now();
        if self.stretch < Stretch::Finishing {
            self.stretch = Stretch::Finishing;
            self.finish_from = 0;
            self.finish_since = now;
        }
        self.wake_by(now)
    }

    /// Stops opening and sending; what is open stays so until it is told to finish.
    pub(super) fn stop(&mut self) -> Result<(), EngineError> {
        self.stopped = true;
        if self.stretch == Stretch::Waiting {
            // Nothing ran, so nothing is under way.
            self.start(super::clock::monotonic_ns())?;
        }
        for c in 0..self.conns.len() {
            if self.conns[c].state == State::Waiting {
                self.give_up_waiting(c);
            }
        }
        let now = self.now();
        self.wake_by(now)
    }
}
