//! Faults that act on connections: when a victim's turn comes, its connection is cut in the way that was asked for.
//!
//! Nothing is kept per connection, and while no victim is due a turn pays one comparison. A drop of very many is
//! worked off a few at a time, so that the others' messages are not held up by it.

use super::conn::{Intent, State};
use super::end::Cause;
use super::shard::Shard;
use super::stream::Stream;
use crate::metrics::Counter;
use crate::plan::{Action, How, Plan, Victim, Victims};
use crate::transport::socket;
use std::net::Shutdown;

/// Victims in one turn: each costs a few system calls.
const VICTIMS_PER_TURN: usize = 64;

/// A fault of the plan that cuts connections of this shard.
struct Cutting {
    /// Its number in the run.
    number: usize,
    group: usize,
    how: How,
    victims: Victims,
}

/// A victim whose turn it is.
struct Turn {
    number: usize,
    how: How,
    group: usize,
    victim: Victim,
}

/// The shard's share of the plan's faults.
pub(super) struct Faults {
    cuts: Vec<Cutting>,
    next_ns: u64,
    /// Sockets of connections that vanished: silent, and open to the end of the run.
    vanished: Vec<Stream>,
}

impl Faults {
    pub fn new(plan: &Plan, shard: u32, shards: u32) -> Self {
        let cut = |(number, fault): (usize, &crate::plan::PlannedFault)| {
            let Action::Cut(cut) = fault.action else {
                return None;
            };
            let group = fault.group as usize;
            let hit = plan.groups().get(group)?;
            Some(Cutting {
                number,
                group,
                how: cut.how,
                victims: Victims::new(plan.seed(), number, fault, hit, shard, shards)?,
            })
        };
        let mut faults = Faults {
            cuts: plan.faults().enumerate().filter_map(cut).collect(),
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
        let due = self.cuts.iter().filter_map(|cut| cut.victims.peek());
        self.next_ns = due.min().unwrap_or(u64::MAX);
    }

    /// The next victim that is due.
    fn due(&mut self, now: u64) -> Option<Turn> {
        let cut = self
            .cuts
            .iter_mut()
            .find(|cut| cut.victims.peek().is_some_and(|at| at <= now))?;
        let victim = cut.victims.next()?;
        Some(Turn {
            number: cut.number,
            how: cut.how,
            group: cut.group,
            victim,
        })
    }
}

impl Shard {
    /// Cuts whoever is due. True while there are more.
    pub(super) fn faults_due(&mut self, now: u64) -> bool {
        if now < self.faults.next_ns {
            return false;
        }
        for _ in 0..VICTIMS_PER_TURN {
            let Some(turn) = self.faults.due(now) else {
                break;
            };
            let c = self.local(turn.group, turn.victim.index);
            // The moment it happens, however many went before it in this turn.
            let now = self.now();
            let touched = self.cut(c, turn.how, now);
            self.recorder.fault(turn.number, touched, now);
            if touched {
                self.resumes.cut(c, turn.number);
                // Of the phase it was planned for, however late it was.
                let phase = self.plan.phase_at(turn.victim.at_ns);
                self.recorder.count(Counter::Cut, phase, turn.group, 1);
            }
        }
        self.faults.look();
        self.faults.next_ns <= now
    }

    /// Cuts a connection as if its network or its user had. False when it is not there to be cut.
    fn cut(&mut self, c: usize, how: How, now: u64) -> bool {
        if self.conns[c].state != State::Ready {
            return false;
        }
        // What has come by now came before the cut: it may be the peer's own goodbye. And a socket that is closed
        // with bytes unread ends in a reset, whatever was wanted.
        let generation = self.conns[c].generation;
        self.read(c, now, true);
        let conn = &mut self.conns[c];
        if conn.generation != generation || conn.state != State::Ready {
            return false;
        }
        // Away from here on, also while a close handshake is still under way.
        conn.lost_ns = now.max(1);
        conn.intent = Intent::Cut;
        if let How::Close(code) = how {
            self.close(c, code, Intent::Cut, now);
            return true;
        }
        if let Some(mut stream) = self.conns[c].stream.take() {
            // A socket that is broken already is gone all the same: nothing here can fail in a way that matters.
            match how {
                How::Reset => drop(socket::set_linger_zero(&stream.socket)),
                How::Vanish => {
                    let _ = self.poll.registry().deregister(&mut stream.socket);
                    self.faults.vanished.push(stream);
                }
                How::Fin | How::Close(_) => drop(stream.socket.shutdown(Shutdown::Write)),
            }
        }
        self.lost(c, Cause::Cut, now);
        true
    }
}
