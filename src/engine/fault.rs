//! Faults that act on connections: when a victim's turn comes, what was asked for is done to its connection. One
//! file a fault; whose turn it is, and for whom it is over, is found here.
//!
//! While no victim is due a turn pays one comparison. A fault of very many is worked off a few at a time, so that the
//! others' messages are not held up by it. What is done to a connection for a time is kept in `trouble`, and only
//! for as long; who is a victim is a formula, asked again when a connection comes back while its fault lasts.

mod bucket;
mod burst;
mod deploy;
mod drop;
mod network;
mod partition;
mod revoke;
mod slow;
mod stall;
mod trouble;
mod vanished;

pub(super) use vanished::of as vanished_of;

use super::conn::State;
use super::shard::{Shard, Stretch};
use super::stream::Stream;
use crate::metrics::{Counter, FaultTally, Recorder};
use crate::plan::{self, Action, Effect, How, Plan, Purpose, Stall, Victim, Victims};
use crate::transport::socket;
use crate::transport::ws::Opcode;
use burst::Bursts;
use deploy::Deploys;
use mio::net::TcpStream;
use network::Shaped;
use revoke::Revocations;
use stall::{Left, Stalled};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use trouble::Trouble;
use vanished::Vanished;

/// Victims in one turn: each costs a few system calls.
const VICTIMS_PER_TURN: usize = 64;
/// Payload of the ping that stalls where a group sends no messages: the largest there may be (RFC 6455 §5.5).
const PING: usize = 125;

/// A fault of the plan, with the victims of this shard.
struct Running {
    /// Its number in the run.
    number: usize,
    group: usize,
    /// Index of the phase it begins in, to which what the target does about it counts.
    phase: usize,
    effect: Effect,
    victims: Victims,
    start_ns: u64,
    end_ns: u64,
    /// Turns that came.
    due: u64,
    /// Of a fault that lasts: connections it has come to.
    known: HashMap<u32, Known>,
    /// From its end on: those for whom it is not over yet.
    ending: Option<Vec<u32>>,
    /// Sockets of connections that were given up in a partition: the target hears of it when that is over.
    buried: Vec<Stream>,
    over: bool,
}

/// What counts of a connection that a fault has come to: each once, however often it comes back.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    touched: bool,
    /// The target closed it.
    closed: bool,
}

impl Running {
    /// Whether it acts on connections that come to be while it lasts.
    fn acts_at(&self, now: u64) -> bool {
        self.effect.lasts() && self.start_ns <= now && now < self.end_ns && self.ending.is_none()
    }
}

/// A victim whose turn it is.
struct Turn {
    /// Which of the running ones.
    fault: usize,
    victim: Victim,
}

/// The shard's share of the plan's faults.
pub(super) struct Faults {
    running: Vec<Running>,
    bursts: Bursts,
    deploys: Deploys,
    revocations: Revocations,
    next_ns: u64,
    /// When the next of those that last is over.
    ends_ns: u64,
    vanished: Vanished,
    /// Connections that faults act on now, by their place in the shard.
    troubles: HashMap<u32, Box<Trouble>>,
    /// When to look at which of them: times that are not the connection's own any more are passed over.
    wakes: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Faults {
    /// Those of one of so many shards, which has connections of the groups that `own` says.
    pub fn new(plan: &Plan, (shard, shards): (u32, u32), own: impl Fn(usize) -> bool) -> Self {
        let running = |(number, fault): (usize, &crate::plan::PlannedFault)| {
            let Action::Hit(hit) = &fault.action else {
                return None;
            };
            let group = hit.group as usize;
            let of = plan.groups().get(group)?;
            let when = (fault.start, hit);
            Some(Running {
                number,
                group,
                phase: plan.phase_at(fault.start.as_nanos() as u64),
                effect: hit.effect.clone(),
                victims: Victims::new(plan.seed(), number, when, of, shard, shards),
                start_ns: fault.start.as_nanos() as u64,
                end_ns: fault.end.as_nanos() as u64,
                due: 0,
                known: HashMap::new(),
                ending: None,
                buried: Vec::new(),
                over: !hit.effect.lasts(),
            })
        };
        let mut faults = Faults {
            running: plan.faults().enumerate().filter_map(running).collect(),
            bursts: Bursts::new(plan, own),
            deploys: Deploys::new(plan),
            revocations: Revocations::default(),
            next_ns: u64::MAX,
            ends_ns: u64::MAX,
            vanished: Vanished::default(),
            troubles: HashMap::new(),
            wakes: BinaryHeap::new(),
        };
        faults.look();
        faults
    }

    /// When the next victim is due; `u64::MAX` when there is none.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Sockets kept open that belong to no connection any more.
    pub fn held(&self) -> u32 {
        let buried = self.running.iter().map(|fault| fault.buried.len());
        (self.vanished.len() + buried.sum::<usize>()) as u32
    }

    /// Whether one that lasts has begun and is not over.
    pub fn lasting(&self) -> bool {
        let begun = |f: &Running| !f.over && (f.due > 0 || !f.known.is_empty());
        self.running.iter().any(begun)
    }

    /// A connection lost messages while it was there: it is the doing of each fault that touched it.
    pub fn skipped(&self, c: usize, count: u64, recorder: &mut Recorder) {
        let touched = |f: &&Running| f.known.get(&(c as u32)).is_some_and(|known| known.touched);
        for fault in self.running.iter().filter(touched) {
            let more = FaultTally {
                skipped: count,
                ..FaultTally::default()
            };
            recorder.fault_did(fault.number, more);
        }
    }

    /// The number of the last fault that touched a connection, of those that last; it stays that when the fault is over.
    pub fn touched(&self, c: usize) -> Option<usize> {
        let touched = |f: &&Running| f.known.get(&(c as u32)).is_some_and(|known| known.touched);
        let last = self.running.iter().rev().find(touched)?;
        Some(last.number)
    }

    /// Whether the run's fault with this number begins in this phase or before it.
    pub fn began_by(&self, number: usize, phase: usize) -> bool {
        let hits = self.running.iter().map(|fault| (fault.number, fault.phase));
        let deploys = self.deploys.phases();
        let mut all = hits.chain(deploys);
        all.any(|(fault, began)| fault == number && began <= phase)
    }

    /// The target closed a connection under the fault with this number.
    fn closed(&mut self, number: usize, c: usize, recorder: &mut Recorder) {
        let fault = self.running.iter_mut().find(|f| f.number == number);
        let Some(known) = fault.and_then(|fault| fault.known.get_mut(&(c as u32))) else {
            return;
        };
        if known.touched && !std::mem::replace(&mut known.closed, true) {
            let one = FaultTally {
                closed: 1,
                ..FaultTally::default()
            };
            recorder.fault_did(number, one);
        }
    }

    fn look(&mut self) {
        let due = self.running.iter().filter_map(|fault| fault.victims.peek());
        let next = due.min().unwrap_or(u64::MAX);
        self.next_ns = (next.min(self.deploys.next_ns())).min(self.bursts.next_ns());
        let ends = self.running.iter().filter(|fault| !fault.over);
        let ends = ends.map(|fault| fault.end_ns).min().unwrap_or(u64::MAX);
        self.ends_ns = ends.min(self.bursts.ends_ns());
    }

    /// The next victim that is due.
    fn due(&mut self, now: u64) -> Option<Turn> {
        let is_due = |fault: &Running| fault.victims.peek().is_some_and(|at| at <= now);
        let fault = self.running.iter().position(is_due)?;
        let victim = self.running[fault].victims.next()?;
        self.running[fault].due += 1;
        Some(Turn { fault, victim })
    }
}

impl Shard {
    /// Hits whoever is due. True while there are more.
    pub(super) fn faults_due(&mut self, now: u64) -> bool {
        if now < self.faults.next_ns {
            return false;
        }
        self.begin_deploys(now);
        self.begin_bursts(now);
        for _ in 0..VICTIMS_PER_TURN {
            let Some(Turn { fault, victim }) = self.faults.due(now) else {
                break;
            };
            let running = &self.faults.running[fault];
            let (number, group) = (running.number, running.group);
            let c = self.local(group, victim.index);
            // The moment it happens, however many went before it in this turn.
            let now = self.now();
            let Effect::Cut(how) = running.effect else {
                let revokes = matches!(running.effect, Effect::Revoke(_));
                self.recorder.fault(number, false, now);
                match revokes {
                    true => self.revoke(fault, c),
                    false => self.turn_of_lasting(fault, c, now),
                }
                continue;
            };
            let touched = self.cut(c, how, number, now);
            self.recorder.fault(number, touched, now);
            if touched {
                // Of the phase it was planned for, however late it was.
                let phase = self.plan.phase_at(victim.at_ns);
                self.recorder.count(Counter::Cut, phase, group, 1);
            }
        }
        self.faults.look();
        self.faults.next_ns <= now
    }

    /// Ends the faults whose time is over, and looks at connections in trouble whose time has come. True while there
    /// is more to do.
    pub(super) fn troubles_due(&mut self, now: u64) -> bool {
        let stopping = self.stretch > Stretch::Running || self.stopped;
        let mut more = false;
        if now >= self.faults.ends_ns || stopping && self.faults.ends_ns != u64::MAX {
            more |= self.end_faults(now, stopping);
        }
        more | (now >= self.faults.wake_ns() && self.look_at_troubled(now))
    }

    /// A few for whom a fault is over, as it is for all when the run is.
    fn end_faults(&mut self, now: u64, stopping: bool) -> bool {
        self.end_bursts(now, stopping);
        let mut left = VICTIMS_PER_TURN;
        for fault in 0..self.faults.running.len() {
            let running = &mut self.faults.running[fault];
            if running.over || now < running.end_ns && !stopping {
                continue;
            }
            let known = &running.known;
            let ending = running
                .ending
                .get_or_insert_with(|| known.keys().copied().collect());
            let split = ending.len().saturating_sub(left);
            let these = ending.split_off(split);
            left -= these.len();
            let still = running.buried.len().saturating_sub(left);
            left -= running.buried.len() - still;
            running.buried.truncate(still);
            let number = running.number;
            for c in these {
                self.release(fault, c as usize);
            }
            let running = &mut self.faults.running[fault];
            // Turns that this machine was too slow for still count as such before the end does.
            let all_due = stopping || running.victims.peek().is_none();
            let ended = running.ending.as_ref().is_some_and(Vec::is_empty);
            if all_due && ended && running.buried.is_empty() {
                running.over = true;
                if running.due > 0 {
                    let ended = FaultTally {
                        ended: running.due,
                        ended_ns: self.now(),
                        ..FaultTally::default()
                    };
                    self.recorder.fault_did(number, ended);
                }
            }
            if left == 0 {
                break;
            }
        }
        self.faults.look();
        left == 0
    }

    /// A connection opens, or became ready: the faults that last and have it for a victim act on it, however often it was lost
    /// meanwhile.
    pub(super) fn afflict(&mut self, c: usize, now: u64) {
        if self.stretch != Stretch::Running {
            return;
        }
        let (group, index) = (usize::from(self.conns[c].group), self.conns[c].index);
        for fault in 0..self.faults.running.len() {
            let running = &self.faults.running[fault];
            if running.group == group
                && running.acts_at(now)
                && running.victims.turn_of(index).is_some_and(|at| at <= now)
            {
                self.begin(fault, c, now);
            }
        }
    }

    /// A victim of a fault that lasts has its turn. Handshakes stall of those that open: whoever is there leaves for it,
    /// if it may come back.
    fn turn_of_lasting(&mut self, fault: usize, c: usize, now: u64) {
        let running = &self.faults.running[fault];
        let group = running.group;
        if matches!(running.effect, Effect::Stall(Stall::Handshake { .. }))
            && running.acts_at(now)
            && self.plan.groups()[group].reconnect.is_some()
            && self.cut(c, How::Fin, running.number, now)
        {
            self.recorder.count(Counter::Cut, self.phase, group, 1);
        }
        self.begin(fault, c, now);
    }

    /// A fault that lasts comes to a connection, if that is there.
    fn begin(&mut self, fault: usize, c: usize, now: u64) {
        let running = &self.faults.running[fault];
        if !running.acts_at(now) || !self.is_there(fault, c) {
            return;
        }
        let running = &mut self.faults.running[fault];
        let number = running.number;
        running.known.entry(c as u32).or_default();
        let effect = running.effect.clone();
        if !self.make_way(c, &effect, number, now) {
            return;
        }
        match effect {
            Effect::Cut(_) | Effect::Revoke(_) => return,
            Effect::Slow(slow) => {
                let part = &mut self.faults.trouble(c).slow;
                if part.is_none() {
                    *part = Some(slow::Slowed::new(number, &slow, now));
                    self.afflicted(number, c);
                }
            }
            Effect::Stall(stall) => {
                let group = &self.plan.groups()[usize::from(self.conns[c].group)];
                let silent = group.publish.is_empty() && group.request.is_empty();
                let new = || Stalled::new(number, stall, silent, now);
                self.faults.trouble(c).stall.get_or_insert_with(new);
                self.conns[c].troubled = true;
                if silent && matches!(stall, Stall::Message { .. }) {
                    // A ping means the same to every service, should it be finished.
                    self.queue_control(c, Opcode::Ping, &[b'.'; PING]);
                }
                // Touched once it stalls.
                return self.look_again(c);
            }
            Effect::Network(network) => {
                let key = [
                    number as u64,
                    u64::from(self.number(c)),
                    u64::from(self.conns[c].generation),
                ];
                let draws = plan::rng(self.plan.seed(), Purpose::Network, &key);
                let most = self.plan.target().max_queue;
                let new = || Shaped::new(number, &network, draws, most, now);
                let part = &mut self.faults.trouble(c).network;
                match part {
                    Some(there) if there.number == number => {}
                    // What is on its way through the one before stays in front.
                    Some(there) => there.give_way(new()),
                    None => *part = Some(Box::new(new())),
                }
            }
            Effect::Partition(_) => {
                // From another's hands at once: there is no moment in between.
                self.faults.trouble(c).partition = Some(number);
            }
        }
        self.touch(fault, c);
        self.faults.trouble(c).unread = true;
        self.conns[c].troubled = true;
        // The next look does what may be done: this may be the middle of a read.
        self.look_again(c);
    }

    /// Ends what a fault before this one, of the same kind, still does to a connection: its time is over, and only its turn
    /// to be released has not come. Nothing is read here: this may be the middle of a read. False when the connection left
    /// with it. (Networks and partitions are taken over where they are.)
    fn make_way(&mut self, c: usize, effect: &Effect, number: usize, now: u64) -> bool {
        let Some(trouble) = self.faults.troubles.get(&(c as u32)) else {
            return true;
        };
        let slow = trouble.slow.as_ref().map(|slow| slow.number);
        let stall = trouble.stall.as_ref().map(|stall| stall.number);
        let other = |part: Option<usize>| part.filter(|there| *there != number);
        match effect {
            Effect::Slow(_) => {
                if let Some(before) = other(slow) {
                    self.leave_slow(c, before, now);
                }
                true
            }
            Effect::Stall(_) => match other(stall) {
                Some(before) => self.leave_stall(c, before, now) != Left::Gone,
                None => true,
            },
            Effect::Cut(_) | Effect::Network(_) | Effect::Partition(_) | Effect::Revoke(_) => true,
        }
    }

    /// Whether a connection is what a fault acts on: one that is ready, or already one that opens.
    fn is_there(&self, fault: usize, c: usize) -> bool {
        let state = self.conns[c].state;
        let alive = matches!(state, State::Opening | State::Ready | State::Closing);
        match &self.faults.running[fault].effect {
            Effect::Cut(_)
            | Effect::Slow(_)
            | Effect::Stall(Stall::Message { .. })
            | Effect::Revoke(_) => state == State::Ready,
            Effect::Stall(Stall::Handshake { .. }) => state == State::Opening,
            Effect::Network(_) => alive,
            Effect::Partition(partition) => {
                let endpoint = u32::from(self.conns[c].endpoint);
                let from = partition.from.as_ref();
                alive && from.is_none_or(|from| from.contains(&endpoint))
            }
        }
    }

    /// Counts a connection as touched, once.
    fn touch(&mut self, fault: usize, c: usize) {
        let running = &mut self.faults.running[fault];
        let known = running.known.entry(c as u32).or_default();
        if !std::mem::replace(&mut known.touched, true) {
            let one = FaultTally {
                touched: 1,
                ..FaultTally::default()
            };
            self.recorder.fault_did(running.number, one);
        }
    }

    /// From now on it is the target's turn to end the connection, or not.
    fn afflicted(&mut self, number: usize, c: usize) {
        let (phase, group) = (self.phase_of(number), usize::from(self.conns[c].group));
        self.recorder.count(Counter::Afflicted, phase, group, 1);
    }

    /// The phase that a fault of the run counts to.
    fn phase_of(&self, number: usize) -> usize {
        let fault = self.faults.running.iter().find(|f| f.number == number);
        fault.map_or(self.phase, |fault| fault.phase)
    }

    /// The same by the fault's number in the run.
    fn touch_by(&mut self, number: usize, c: usize) {
        let fault = self.faults.running.iter().position(|f| f.number == number);
        if let Some(fault) = fault {
            self.touch(fault, c);
        }
    }

    /// A fault is over for a connection.
    fn release(&mut self, fault: usize, c: usize) {
        let running = &self.faults.running[fault];
        let (number, now) = (running.number, self.now());
        match running.effect {
            Effect::Cut(_) | Effect::Revoke(_) => {}
            Effect::Slow(_) => self.end_slow(c, number, now),
            Effect::Stall(_) => self.end_stall(c, number, now),
            Effect::Network(_) => self.end_network(c, number),
            Effect::Partition(_) => self.end_partition(c, number, now),
        }
    }

    /// The receive buffer that a connection's socket is to have, and the running fault that wants it: of victims it is
    /// small from the first byte on, long before the fault begins.
    pub(super) fn receive_buffer(&self, c: usize, now: u64) -> Option<(usize, u32)> {
        let (group, index) = (usize::from(self.conns[c].group), self.conns[c].index);
        let buffers = self.faults.running.iter().filter_map(|running| {
            let Effect::Slow(slow) = &running.effect else {
                return None;
            };
            let bytes = slow.receive_buffer?;
            let victim = running.group == group
                && now < running.end_ns
                && running.victims.turn_of(index).is_some();
            victim.then_some((running.number, bytes))
        });
        buffers.min_by_key(|(_, bytes)| *bytes)
    }

    /// What came of it.
    pub(super) fn note_receive_buffer(&mut self, number: usize, socket: &TcpStream) {
        if let Ok(bytes) = socket::receive_buffer(socket) {
            let effective = FaultTally {
                receive_buffer: bytes.min(u32::MAX as usize) as u32,
                ..FaultTally::default()
            };
            self.recorder.fault_did(number, effective);
        }
    }
}
