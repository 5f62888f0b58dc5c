//! The ends of connections: losses and their kinds, the close handshake, backoff and reconnect, churn,
//! heartbeats that declare a peer dead, and the end of the run.

use super::conn::{Conn, Intent, Mark, Opening, Stage, State};
use super::outbox::{Written, recycle};
use super::shard::{Shard, Stretch};
use super::traffic::take_pending;
use super::wheel::Due;
use crate::metrics::{CloseKey, Counter, Failure, TcpEnd, Timer};
use crate::plan::{self, CLOSES_PER_SECOND, Comeback, OnClose, Purpose};
use crate::transport::Pick;
use crate::transport::socket::{self, SocketFailure};
use crate::transport::ws::Opcode;
use std::io;
use std::time::Duration;

/// Connections closed in one turn at the end of the run.
const CLOSES_PER_TURN: usize = 256;
/// Close handshakes under way at once at the end of the run, as long as they are answered.
const AT_ONCE: usize = 512;

/// Why a connection ended.
pub(super) enum Cause {
    /// The peer ended TCP (FIN).
    Eof,
    /// The operating system says no.
    Socket(io::Error),
    /// We gave up on it.
    Failed(Failure),
    /// The close handshake was complete, or we stopped waiting for its end.
    Closed,
    /// A fault cut it.
    Cut,
}

fn failure_of(error: &io::Error) -> Failure {
    match socket::classify(error) {
        SocketFailure::Refused => Failure::Refused,
        SocketFailure::Unreachable => Failure::Unreachable,
        SocketFailure::Reset => Failure::Reset,
        SocketFailure::Timeout => Failure::Timeout,
        SocketFailure::NoPort => Failure::NoPort,
        SocketFailure::NoDescriptor => Failure::NoDescriptor,
        SocketFailure::Os => Failure::Os,
    }
}

/// How TCP ended, where a connection did for this reason.
fn tcp_end(cause: &Cause) -> TcpEnd {
    match cause {
        Cause::Eof => TcpEnd::Fin,
        // What is no TLS we hang up on.
        Cause::Socket(e) if e.kind() == io::ErrorKind::InvalidData => TcpEnd::Ours,
        Cause::Socket(e) if failure_of(e) == Failure::Reset => TcpEnd::Reset,
        Cause::Socket(_) => TcpEnd::Unknown,
        Cause::Failed(_) | Cause::Closed | Cause::Cut => TcpEnd::Ours,
    }
}

/// How many close handshakes may begin now, when so many have and so many of those are not over.
fn closes_now(waited_ns: u64, begun: usize, under_way: usize) -> usize {
    let owed = u128::from(waited_ns) * u128::from(CLOSES_PER_SECOND) / 1_000_000_000;
    (AT_ONCE + owed as usize)
        .saturating_sub(begun)
        .max(AT_ONCE.saturating_sub(under_way))
        .min(CLOSES_PER_TURN)
}

impl Shard {
    /// No longer ready: out of the open ones.
    pub(super) fn leave_ready(&mut self, c: usize) {
        self.forget_numbers(c);
        let conn = &self.conns[c];
        let g = usize::from(conn.group);
        match conn.state {
            State::Ready => {
                self.groups[g].open -= 1;
                self.leaves_place(c);
                self.away(c);
            }
            State::Opening => {
                self.opening -= 1;
                let subscribed = |o: &Opening| matches!(o.stage, Stage::Subscribing(_));
                if conn.opening.as_deref().is_some_and(subscribed) {
                    // Of what it had asked for already, messages may have come: what follows comes to another life.
                    self.away(c);
                }
            }
            State::Closing => {
                self.closing -= 1;
                // Messages between the Close frames belong to the time before: from here on it is away.
                self.away(c);
            }
            State::Waiting => self.waiting -= 1,
            State::Idle | State::Over => {}
        }
        self.conns[c].opening = None;
    }

    /// A connection, or the attempt at one, is over. Counts it, frees it, and decides what is next.
    pub(super) fn lost(&mut self, c: usize, cause: Cause, now: u64) {
        let phase = self.phase;
        // A deploy that is due begins before what it does to this one.
        self.begin_deploys(now);
        let conn = &self.conns[c];
        let (g, state, intent, peer_code) = (
            usize::from(conn.group),
            conn.state,
            conn.intent,
            conn.peer_code,
        );
        let established = matches!(state, State::Ready | State::Closing);
        // After both Close frames any end of TCP will do.
        let shaken = state == State::Closing && peer_code != 0;
        let failure = match &cause {
            // Told to go before it was ready: an opening that failed, whatever the code.
            _ if shaken && !conn.is(Mark::WasReady) => Some(Failure::Step),
            _ if shaken => None,
            // Whoever was told goodbye in the protocol's own words may go.
            Cause::Eof if conn.is(Mark::SaidGoodbye) => None,
            Cause::Eof => Some(Failure::Eof),
            Cause::Socket(e) if e.kind() == io::ErrorKind::InvalidData => Some(Failure::Tls),
            Cause::Socket(e) => Some(failure_of(e)),
            Cause::Failed(failure) => Some(*failure),
            Cause::Closed | Cause::Cut => None,
        };
        let leads_down = self.leads_down(c, failure);
        let failure = failure.map(|failure| self.whose(c, failure));
        // Connections that an interrupt cuts off while they open are neither opened nor failed.
        let cut_off = intent == Intent::Finish && !established;
        if let Some(failure) = failure
            && !cut_off
        {
            self.recorder.fail(failure, phase, g);
            if let (Failure::Os, Cause::Socket(e)) = (failure, &cause) {
                self.recorder.sample("os", e.to_string().as_bytes());
            }
        }
        if state == State::Opening {
            self.opened_in_vain(c, failure.filter(|_| !cut_off), now);
        } else if failure.is_some() && !self.conns[c].is(Mark::WasReady) {
            // Told to go before it was ready: the target had heard of it.
            self.recorder.step(now).failed += 1;
        }
        let mut ended_with = None;
        // What the close says, if it is one that the rules are for: our own codes are no word of the target's.
        let mut told = None;
        if established {
            let by_target = match intent {
                Intent::None => !matches!(
                    failure,
                    Some(
                        Failure::Dead
                            | Failure::Protocol
                            | Failure::TooLarge
                            | Failure::Bomb
                            | Failure::Deflate
                    )
                ),
                Intent::Churn | Intent::Renew | Intent::Climb | Intent::Cut | Intent::Finish => {
                    false
                }
            };
            let code = if shaken { peer_code } else { 1006 };
            ended_with = by_target.then_some(code);
            told = (intent == Intent::None).then_some(code);
            let close = CloseKey {
                code,
                by_target,
                clean: shaken,
            };
            self.recorder.close(close, phase, g);
            // Of one that said goodbye first this was counted when it did.
            if intent == Intent::None && !shaken {
                self.ended_in_deploy(c, close, now);
            }
            let said = CloseKey {
                // Whoever was told to go was told by the target, whatever cut it then.
                by_target: by_target || shaken,
                ..close
            };
            self.parted_in_deploy(c, said, tcp_end(&cause));
        }
        if established {
            self.ended_with_token(c, ended_with, now);
        } else if !cut_off {
            self.not_let_in(c);
        }
        if !established && matches!(failure, Some(Failure::Eof | Failure::Reset)) {
            ended_with = Some(1006);
        }
        let (parted, acted) = match self.conns[c].troubled {
            true => self.trouble_lost(c, ended_with, now),
            false => (None, None),
        };
        self.leave_ready(c);
        self.abandon(c, now);
        let conn = &mut self.conns[c];
        self.groups[g].forget_press(c);
        conn.stream = None;
        conn.generation = conn.generation.wrapping_add(1);
        conn.inbound = Default::default();
        conn.mark(Mark::Unread, false);
        conn.mark(Mark::SaidGoodbye, false);
        conn.ping_ns = 0;
        if conn.blocked {
            conn.blocked = false;
            self.blocked -= 1;
        }
        let was_ready = conn.mark(Mark::WasReady, false);
        conn.state = State::Over;
        if intent == Intent::Churn && self.stretch == Stretch::Running && !self.stopped {
            conn.life = conn.life.saturating_add(1);
            conn.begin_anew();
            self.recorder.count(Counter::Churned, phase, g, 1);
            self.forget_answer(c);
            self.forget_rung(c);
            self.resumes.uncut(c);
            let group = &mut self.groups[g];
            if let Some(back) = group.back_ns.get_mut(c - group.base) {
                *back = 0;
            }
            return self.open(c, now, now);
        }
        if matches!(intent, Intent::Renew | Intent::Climb)
            && self.stretch == Stretch::Running
            && !self.stopped
        {
            // Away for a moment, and not by the target's doing: no policy has it wait.
            self.resumes.uncut(c);
            let conn = &mut self.conns[c];
            conn.lost_ns = now.max(1);
            conn.mark(Mark::Planned, true);
            return self.open(c, now, now);
        }
        // What we closed ourselves was not lost, even when the run ended before another took its place.
        if !matches!(intent, Intent::None | Intent::Cut) {
            return;
        }
        let gone = was_ready && conn.lost_ns == 0;
        if gone && self.stretch < Stretch::Finishing && !self.stopped {
            // What a fault's cut had come of it is behind: this loss is another's, if it is any fault's.
            let deployed = || told.and_then(|_| self.deploy_that_cut(c, now));
            match parted.or_else(deployed).or(acted) {
                Some(fault) => self.resumes.cut(c, fault),
                None => self.resumes.uncut(c),
            }
        }
        // Nothing opens once the schedules are over: whoever is lost then could not have come back, and did not give up either.
        if self.stretch >= Stretch::Draining || self.stopped {
            self.never_back(c);
            return;
        }
        if gone {
            self.goes_away(c, now);
        }
        if self.steps_down(c, leads_down, now) {
            return self.open(c, now, now);
        }
        // It was not let in again at once.
        if self.conns[c].mark(Mark::Planned, false) {
            self.joins_storm(c, now);
        }
        self.come_back(c, told, was_ready, now);
    }

    /// A ready connection is gone from here on; whoever has a policy is to come back.
    pub(super) fn goes_away(&mut self, c: usize, now: u64) {
        self.conns[c].lost_ns = now.max(1);
        self.joins_storm(c, now);
    }

    /// One that is to come back is away, and not because we had it so.
    fn joins_storm(&mut self, c: usize, now: u64) {
        let group = &self.plan.groups()[usize::from(self.conns[c].group)];
        if group.reconnect.is_some() {
            self.recorder.step(now).lost += 1;
        }
    }

    /// Has a connection come back that was lost, or did not open, as its group has it and its close code says.
    fn come_back(&mut self, c: usize, told: Option<u16>, was_ready: bool, now: u64) {
        let number = self.number(c);
        let seed = self.plan.seed();
        let told_to_wait = self.told_to_wait(c);
        let conn = &mut self.conns[c];
        let g = usize::from(conn.group);
        let refused = conn.mark(Mark::Refused, false);
        let Some(reconnect) = &self.plan.groups()[g].reconnect else {
            return;
        };
        if refused {
            self.recorder.count(Counter::Stopped, self.phase, g, 1);
            return;
        }
        let rule = told.map(|code| plan::on_close(&reconnect.codes, code));
        // Whoever is sent on from one address to the next does not begin anew at each of them: once around, and
        // it waits.
        let sent_on = rule == Some(OnClose::Elsewhere);
        if was_ready && !sent_on {
            conn.attempt = 0;
            conn.backoff_ms = 0;
        }
        conn.mark(Mark::SentOn, sent_on);
        let attempt = u32::from(conn.attempt);
        if !was_ready && reconnect.attempts.is_some_and(|most| attempt >= most) {
            self.recorder.count(Counter::GaveUp, self.phase, g, 1);
            return;
        }
        let key = [
            u64::from(number),
            u64::from(conn.generation),
            u64::from(conn.attempt),
        ];
        let mut rng = plan::rng(seed, Purpose::Backoff, &key);
        let previous = Duration::from_millis(u64::from(conn.backoff_ms));
        let target = self.plan.target();
        let others = attempt + 1 < target.endpoints.len() as u32;
        let rule = rule.unwrap_or(OnClose::BackOff);
        let comeback = plan::comeback(reconnect, rule, attempt, previous, others, &mut rng);
        let Comeback::After { wait, elsewhere } = comeback else {
            self.recorder.count(Counter::Stopped, self.phase, g, 1);
            return;
        };
        if elsewhere || target.pick == Pick::Failover {
            conn.endpoint = self.plan.endpoint_after(conn.endpoint);
        }
        let wait = wait.max(Duration::from_nanos(told_to_wait));
        conn.attempt = conn.attempt.saturating_add(1);
        conn.backoff_ms = wait.as_millis() as u32;
        conn.state = State::Waiting;
        self.waiting += 1;
        self.set_timer(now + wait.as_nanos() as u64, c, Due::Reconnect);
    }

    /// The backoff is over. After the schedules nothing opens any more: what is under way then is waited for.
    pub(super) fn backoff_over(&mut self, c: usize, due: u64, now: u64) {
        if self.conns[c].state != State::Waiting {
            return;
        }
        if self.stretch == Stretch::Running && !self.stopped {
            self.waiting -= 1;
            self.open(c, due, now);
        } else {
            self.give_up_waiting(c);
        }
    }

    /// The run ends before its backoff does.
    pub(super) fn give_up_waiting(&mut self, c: usize) {
        self.waiting -= 1;
        self.conns[c].state = State::Over;
        if self.never_back(c) {
            // Whoever reads "never came back" is to know that it had no time to try.
            let said =
                "still waited, by backoff or the rule for its close code, when the run was over";
            self.recorder.sample("reconnect", said.as_bytes());
        }
    }

    /// If it was lost and was to come back, it never did, which must not be forgotten. Whether it was.
    fn never_back(&mut self, c: usize) -> bool {
        let conn = &mut self.conns[c];
        let group = &self.plan.groups()[usize::from(conn.group)];
        // Who went by plan was not lost; and once, however its end goes on.
        let planned = conn.mark(Mark::Planned, false);
        let was = std::mem::take(&mut conn.lost_ns) > 0 && group.reconnect.is_some() && !planned;
        if was {
            self.count(c, Counter::GaveUp);
        }
        was
    }

    /// What was queued and never left: publishes were dropped, and their numbers are free again.
    fn abandon(&mut self, c: usize, now: u64) {
        let poller = self.take_poller(c);
        let Shard {
            conns,
            recorder,
            pool,
            plan,
            ..
        } = self;
        let conn = &mut conns[c];
        let g = usize::from(conn.group);
        let mut unsent = 0;
        let work = &mut conn.work;
        let mut kept = |what| match what {
            Written::Publish { ordinal, phase } => {
                unsent += 1;
                recorder.count(Counter::Dropped, usize::from(phase), g, 1);
                if let Some(publishing) = work
                    .as_mut()
                    .and_then(|w| w.publishes.get_mut(usize::from(ordinal)))
                {
                    publishing.seq -= 1;
                    publishing.by_phase[usize::from(phase)] -= 1;
                }
            }
            Written::Request { id, phase } => {
                // One that waited here until it timed out has been judged: it was asked, in vain.
                let open = work.as_mut().and_then(|w| take_pending(w, |p| p.id == id));
                let counter = match open {
                    Some(_) => Counter::RequestsDropped,
                    None => Counter::Requests,
                };
                recorder.count(counter, usize::from(phase), g, 1);
            }
            Written::Control => {}
        };
        if let Some(mut outbox) = conn.outbox.take() {
            outbox.abandon(&mut kept);
            recycle(pool, outbox);
        }
        if let Some(poller) = poller {
            poller.abandon(&mut kept);
        }
        if let Some(work) = &mut conn.work {
            for pending in work.pending.drain(..) {
                recorder.count(
                    Counter::RequestTimeouts,
                    plan.phase_at(pending.intended_ns),
                    g,
                    1,
                );
            }
        }
        self.conversation_lost(c, unsent, now);
    }

    /// Begins to close from our side.
    pub(super) fn close(&mut self, c: usize, code: u16, intent: Intent, now: u64) {
        self.leave_ready(c);
        let over_http = self.is_over_http(c);
        let conn = &mut self.conns[c];
        conn.state = State::Closing;
        conn.intent = intent;
        self.closing += 1;
        if over_http {
            // Nothing is said: whoever has heard enough ends the connection.
            conn.peer_code = 1000;
            return self.lost(c, Cause::Closed, now);
        }
        if self.polls(c) {
            return self.leave_polling(c, intent, now);
        }
        let says = matches!(intent, Intent::Churn | Intent::Finish) && self.converses(c);
        // The Close frame follows the answer to the goodbye, where there is one.
        if !says || !self.say_goodbye(c) {
            self.queue_control(c, Opcode::Close, &code.to_be_bytes());
        }
        let timeout = self.plan.target().close_timeout.as_nanos() as u64;
        self.set_timer(now + timeout, c, Due::CloseTimeout);
    }

    /// The close handshake, or the end of TCP after it, took too long.
    pub(super) fn close_timeout(&mut self, c: usize, now: u64) {
        if self.conns[c].state == State::Closing {
            let cause = if self.conns[c].peer_code != 0 {
                Cause::Closed
            } else {
                Cause::Failed(Failure::CloseTimeout)
            };
            self.lost(c, cause, now);
        }
    }

    /// The connection has lived its time.
    pub(super) fn lifetime_over(&mut self, c: usize, now: u64) {
        if self.conns[c].state == State::Ready && self.stretch == Stretch::Running {
            self.close(c, 1000, Intent::Churn, now);
        }
    }

    /// Time to ping.
    pub(super) fn ping(&mut self, c: usize, now: u64) {
        let conn = &mut self.conns[c];
        let g = usize::from(conn.group);
        let Some(heartbeat) = self.plan.groups()[g].heartbeat else {
            return;
        };
        if conn.state != State::Ready {
            return;
        }
        if self.polls(c) {
            // Pings are the WebSocket's, once it is one.
            return self.set_timer(now + heartbeat.every.as_nanos() as u64, c, Due::Ping);
        }
        let conn = &mut self.conns[c];
        // With a timeout longer than the interval a ping may still wait: it keeps its own deadline.
        if conn.ping_ns == 0 {
            conn.ping_ns = now.max(1);
            self.queue_ping(c, now.max(1));
            self.count(c, Counter::PingsSent);
            self.set_timer(now + heartbeat.timeout.as_nanos() as u64, c, Due::PongCheck);
        }
        self.set_timer(now + heartbeat.every.as_nanos() as u64, c, Due::Ping);
    }

    /// A pong counts only with the payload of the ping that waits.
    pub(super) fn pong(&mut self, c: usize, payload: &[u8], now: u64) {
        let conn = &mut self.conns[c];
        if conn.ping_ns != 0 && payload == conn.ping_ns.to_be_bytes() {
            let sent = conn.ping_ns;
            conn.ping_ns = 0;
            self.recorder.time(
                Timer::Ping,
                self.phase,
                usize::from(conn.group),
                now as i64 - sent as i64,
            );
        }
    }

    /// Time to have seen the pong.
    pub(super) fn pong_check(&mut self, c: usize, now: u64) {
        let g = usize::from(self.conns[c].group);
        let Some(heartbeat) = self.plan.groups()[g].heartbeat else {
            return;
        };
        let timeout = heartbeat.timeout.as_nanos() as u64;
        let generation = self.conns[c].generation;
        let overdue = |conn: &Conn| {
            conn.generation == generation
                && conn.state == State::Ready
                && conn.ping_ns != 0
                && now >= conn.ping_ns + timeout
        };
        if !overdue(&self.conns[c]) {
            return;
        }
        // Whoever does not read on purpose does not blame the peer for it.
        if self.conns[c].troubled && self.faults.is_patient(c) {
            return self.set_timer(now + timeout, c, Due::PongCheck);
        }
        // A shard that was held up has not read everything yet: the pong may well be there.
        self.read(c, now, true);
        let conn = &self.conns[c];
        if !overdue(conn) {
            return;
        }
        let silent = now.saturating_sub(u64::from(conn.heard_ms) * 1_000_000);
        self.recorder
            .time(Timer::Detect, self.phase, g, silent as i64);
        self.lost(c, Cause::Failed(Failure::Dead), now);
    }

    /// Ends everything that is open or opening, a few at a time: as many close handshakes as were answered, and
    /// at least [`CLOSES_PER_SECOND`]. True while there is more to begin at once.
    pub(super) fn finish_some(&mut self, now: u64) -> bool {
        let waited = now.saturating_sub(self.finish_since);
        let room = closes_now(waited, self.finish_from, self.closing as usize);
        let to = (self.finish_from + room).min(self.conns.len());
        for c in self.finish_from..to {
            self.ended_on(c);
            match self.conns[c].state {
                State::Ready => self.close(c, 1000, Intent::Finish, now),
                State::Opening => {
                    self.never_back(c);
                    self.conns[c].intent = Intent::Finish;
                    self.lost(c, Cause::Closed, now);
                }
                State::Waiting => self.give_up_waiting(c),
                State::Closing => {
                    self.never_back(c);
                    self.conns[c].intent = if self.conns[c].intent == Intent::None {
                        Intent::None
                    } else {
                        Intent::Finish
                    }
                }
                State::Idle | State::Over => {}
            }
        }
        self.finish_from = to;
        if to == self.conns.len() && self.closing == 0 && self.opening == 0 {
            self.stretch = Stretch::Done;
        }
        if room == 0 {
            // The next answer wakes the loop; without one, time does.
            self.look_at(now + 1_000_000_000 / u64::from(CLOSES_PER_SECOND));
        }
        room > 0 && to < self.conns.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_goes_as_fast_as_it_is_answered_and_never_stops() {
        // At first, half-way through the first lot, when it is all under way, as answers come, after a silent second.
        let table = [
            ((0, 0, 0), CLOSES_PER_TURN),
            ((0, AT_ONCE - 10, AT_ONCE - 10), 10),
            ((0, AT_ONCE, AT_ONCE), 0),
            ((0, AT_ONCE, AT_ONCE - 7), 7),
            ((0, 100_000, 0), CLOSES_PER_TURN),
            ((1_000_000_000, AT_ONCE + 500, AT_ONCE), 12),
            ((1_000_000_000, AT_ONCE + 512, AT_ONCE + 512), 0),
        ];
        for ((waited, begun, under_way), expected) in table {
            let got = closes_now(waited, begun, under_way);
            assert_eq!(got, expected, "{waited} {begun} {under_way}");
        }
    }
}
