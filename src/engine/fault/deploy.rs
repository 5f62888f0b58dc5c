//! `deploy`: the coordinator does it, a shard counts what its connections have of it.
//!
//! Which connections were open when it began is known without a walk over them: each remembers how many deploys
//! had begun when it became ready.

use super::super::conn::Mark;
use super::super::shard::Shard;
use crate::metrics::{CloseKey, Counter, DrainKey, PartingKey, TcpEnd, Timer};
use crate::plan::{Plan, Window};

/// The plan's deploys.
pub(super) struct Deploys {
    windows: Vec<Window>,
    /// So many of them have begun.
    begun: u8,
}

impl Deploys {
    pub fn new(plan: &Plan) -> Self {
        Deploys {
            windows: plan.deploys(),
            begun: 0,
        }
    }

    /// Their numbers among the run's faults, and the phase of each.
    pub fn phases(&self) -> impl Iterator<Item = (usize, usize)> {
        self.windows
            .iter()
            .map(|window| (window.fault, window.phase))
    }

    /// When the next one begins; `u64::MAX` when there is none.
    pub fn next_ns(&self) -> u64 {
        let next = self.windows.get(usize::from(self.begun));
        next.map_or(u64::MAX, |window| window.start_ns)
    }

    /// The latest that has begun.
    fn latest(&self) -> Option<Window> {
        let latest = usize::from(self.begun).checked_sub(1)?;
        self.windows.get(latest).copied()
    }
}

impl Shard {
    /// Begins the deploys whose time has come: whoever is ready now is old.
    pub(in super::super) fn begin_deploys(&mut self, now: u64) {
        // One that an interrupt came before is never begun.
        while !self.stopped && self.faults.deploys.next_ns() <= now {
            self.faults.deploys.begun += 1;
            let Some(window) = self.faults.deploys.latest() else {
                return;
            };
            for (g, group) in self.groups.iter().enumerate() {
                let open = u64::from(group.open);
                self.recorder.count(Counter::Old, window.phase, g, open);
            }
        }
    }

    /// A connection that was established has ended, and not by us.
    pub(in super::super) fn ended_in_deploy(&mut self, c: usize, close: CloseKey, now: u64) {
        let Some(window) = self.faults.deploys.latest() else {
            return;
        };
        let conn = &self.conns[c];
        if now >= window.end_ns || !conn.is(Mark::WasReady) {
            return;
        }
        let g = usize::from(conn.group);
        if conn.deploys >= self.faults.deploys.begun {
            self.recorder.count(Counter::CutAgain, window.phase, g, 1);
            return;
        }
        let since = now.saturating_sub(window.start_ns);
        self.conns[c].mark(Mark::Moving, true);
        // Back or not, it is of this one, however many begin before its end has come.
        self.conns[c].deploys = self.faults.deploys.begun;
        let key = DrainKey {
            fault: window.fault as u16,
            endpoint: self.conns[c].endpoint,
            tenth: (since / 100_000_000) as u32,
            close,
        };
        self.recorder.drain(key);
        self.recorder.fault(window.fault, true, now);
        self.recorder.count(Counter::Severed, window.phase, g, 1);
        self.recorder
            .time(Timer::Drain, window.phase, g, since as i64);
    }

    /// TCP of a connection that was established is over. What a deploy cut by a Close frame has been counted when that came.
    pub(in super::super) fn parted_in_deploy(&mut self, c: usize, close: CloseKey, tcp: TcpEnd) {
        let conn = &self.conns[c];
        // While it comes back it is cut still, but what ends then was not open when the deploy began.
        if !conn.is(Mark::Moving) || !conn.is(Mark::WasReady) {
            return;
        }
        let at = usize::from(conn.deploys).checked_sub(1);
        let Some(window) = at.and_then(|at| self.faults.deploys.windows.get(at)) else {
            return;
        };
        self.recorder.parting(PartingKey {
            fault: window.fault as u16,
            close,
            tcp,
        });
    }

    /// The number of the deploy whose doing it is that a connection is lost now, not by us: it was open when that began,
    /// or came after and that is not over.
    pub(in super::super) fn deploy_that_cut(&self, c: usize, now: u64) -> Option<usize> {
        let (conn, deploys) = (&self.conns[c], &self.faults.deploys);
        let window = match conn.is(Mark::Moving) {
            true => {
                let at = usize::from(conn.deploys).checked_sub(1)?;
                deploys.windows.get(at).copied()
            }
            false => deploys.latest().filter(|window| now < window.end_ns),
        };
        window.map(|window| window.fault)
    }

    /// A connection is ready that was away since `lost_ns` (0: it was not).
    pub(in super::super) fn ready_in_deploy(&mut self, c: usize, lost_ns: u64, now: u64) {
        let begun = self.faults.deploys.begun;
        let conn = &mut self.conns[c];
        let moved = conn.mark(Mark::Moving, false);
        let cut_by = usize::from(std::mem::replace(&mut conn.deploys, begun));
        if !moved {
            return;
        }
        let g = usize::from(conn.group);
        let windows = &self.faults.deploys.windows;
        let Some(window) = cut_by.checked_sub(1).and_then(|at| windows.get(at)) else {
            return;
        };
        self.recorder.moved(window.fault, now);
        self.recorder.count(Counter::Returned, window.phase, g, 1);
        self.recorder
            .time(Timer::CutOff, window.phase, g, now as i64 - lost_ns as i64);
    }
}
