//! Faults that act on connections: when a victim's turn comes, what was asked for is done to its connection. One
//! file a fault; whose turn it is, is found here.
//!
//! Nothing is kept per connection, and while no victim is due a turn pays one comparison. A fault of very many is
//! worked off a few at a time, so that the others' messages are not held up by it.

mod deploy;
mod drop;

use super::shard::Shard;
use super::stream::Stream;
use crate::metrics::Counter;
use crate::plan::{Action, Effect, Plan, Victim, Victims};
use deploy::Deploys;

/// Victims in one turn: each costs a few system calls.
const VICTIMS_PER_TURN: usize = 64;

/// A fault of the plan, with the victims of this shard.
struct Running {
    /// Its number in the run.
    number: usize,
    group: usize,
    effect: Effect,
    victims: Victims,
}

/// A victim whose turn it is.
struct Turn {
    number: usize,
    group: usize,
    effect: Effect,
    victim: Victim,
}

/// The shard's share of the plan's faults.
pub(super) struct Faults {
    running: Vec<Running>,
    deploys: Deploys,
    next_ns: u64,
    /// Sockets of connections that vanished: silent, and open to the end of the run.
    vanished: Vec<Stream>,
}

impl Faults {
    pub fn new(plan: &Plan, shard: u32, shards: u32) -> Self {
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
                effect: hit.effect,
                victims: Victims::new(plan.seed(), number, when, of, shard, shards),
            })
        };
        let mut faults = Faults {
            running: plan.faults().enumerate().filter_map(running).collect(),
            deploys: Deploys::new(plan),
            next_ns: u64::MAX,
            vanished: Vec::new(),
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
        self.vanished.len() as u32
    }

    fn look(&mut self) {
        let due = self.running.iter().filter_map(|fault| fault.victims.peek());
        let next = due.min().unwrap_or(u64::MAX);
        self.next_ns = next.min(self.deploys.next_ns());
    }

    /// The next victim that is due.
    fn due(&mut self, now: u64) -> Option<Turn> {
        let fault = self
            .running
            .iter_mut()
            .find(|fault| fault.victims.peek().is_some_and(|at| at <= now))?;
        let victim = fault.victims.next()?;
        Some(Turn {
            number: fault.number,
            group: fault.group,
            effect: fault.effect,
            victim,
        })
    }
}

impl Shard {
    /// Hits whoever is due. True while there are more.
    pub(super) fn faults_due(&mut self, now: u64) -> bool {
        if now < self.faults.next_ns {
            return false;
        }
        self.begin_deploys(now);
        for _ in 0..VICTIMS_PER_TURN {
            let Some(turn) = self.faults.due(now) else {
                break;
            };
            let c = self.local(turn.group, turn.victim.index);
            // The moment it happens, however many went before it in this turn.
            let now = self.now();
            let touched = match turn.effect {
                Effect::Cut(how) => self.cut(c, how, now),
            };
            self.recorder.fault(turn.number, touched, now);
            if touched {
                // Of the phase it was planned for, however late it was.
                let phase = self.plan.phase_at(turn.victim.at_ns);
                self.recorder.count(Counter::Cut, phase, turn.group, 1);
            }
        }
        self.faults.look();
        self.faults.next_ns <= now
    }
}
