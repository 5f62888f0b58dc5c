//! Several transports, each tried when the one before it fails: where a connection of such a group is, what leads it down, and
//! what up again.
//!
//! Sixteen bytes a connection, in a table of the groups that have a ladder (`Group::rungs`). A step down is part of an opening: the next
//! transport is tried at once, whatever the group's `reconnect` says. Going down while connected, or up again, is an absence like any
//! other, and what says how far a topic was heard goes along.

use super::conn::{Conn, Intent, Mark, Stage, State};
use super::end::Cause;
use super::shard::{Group, Shard, Stretch};
use super::wheel::Due;
use crate::metrics::{Counter, Failure, Timer};
use crate::plan::{Climb, Ladder, Resume, StepDown, Transport};
use std::time::Duration;

/// No rung.
const NOWHERE: u8 = u8::MAX;

/// What was seen of an opening, or a stream, that a failure's kind does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It leads down.
    Cause(StepDown),
    /// It is none of the transport's affairs.
    Other,
}

/// Where a connection of a group with a ladder is.
#[derive(Debug, Clone)]
pub(super) struct Rung {
    /// While it opens: since the first attempt. Then: since it was ready. Nanoseconds.
    since_ns: u64,
    /// The transport that it has, or tries.
    at: u8,
    /// The one that it begins with when it comes back.
    home: u8,
    /// The one that it was ready over last.
    was: u8,
    /// Openings in a row that came to nothing over this one.
    tries: u8,
    /// From the first attempt to ready.
    under_way: bool,
    /// On this way it went down.
    stepped: bool,
    /// This one is no WebSocket.
    over_http: bool,
    seen: Option<Seen>,
}

impl Rung {
    /// At the top.
    pub fn top(transport: &Transport) -> Self {
        Rung {
            since_ns: 0,
            at: 0,
            home: 0,
            was: NOWHERE,
            tries: 0,
            under_way: false,
            stepped: false,
            over_http: transport.rungs().first() != Some(&Transport::WebSocket),
            seen: None,
        }
    }
}

impl Group {
    /// Whether a connection is no WebSocket, or not now.
    pub fn over_http(&self, c: usize) -> bool {
        !self.http.is_empty()
            && self
                .rungs
                .get(c - self.base)
                .is_none_or(|rung| rung.over_http)
    }

    fn rung(&mut self, c: usize) -> Option<&mut Rung> {
        self.rungs.get_mut(c - self.base)
    }
}

fn down(cause: StepDown) -> Counter {
    match cause {
        StepDown::Refused => Counter::DownRefused,
        StepDown::Unreachable => Counter::DownUnreachable,
        StepDown::Timeout => Counter::DownTimeout,
        StepDown::Silent => Counter::DownSilent,
    }
}

/// What a failure says of the transport, at this stage of an opening (none: of one that was ready).
fn cause(failure: Failure, stage: Option<Stage>) -> Option<StepDown> {
    let stage = stage?;
    match failure {
        Failure::Handshake
        | Failure::AcceptKey
        | Failure::Subprotocol
        | Failure::Extension
        | Failure::HeaderTooLarge => Some(StepDown::Refused),
        // Through a proxy that does not let through there is no way for any transport.
        Failure::Dns | Failure::Refused | Failure::Unreachable | Failure::Tls | Failure::Proxy => {
            Some(StepDown::Unreachable)
        }
        // Some proxies just hang up, when they are asked or when the first frame comes.
        Failure::Eof | Failure::Reset | Failure::Protocol => Some(match stage.on_the_way() {
            true => StepDown::Unreachable,
            false => StepDown::Refused,
        }),
        Failure::Timeout => Some(match stage.on_the_way() {
            true => StepDown::Unreachable,
            false => StepDown::Timeout,
        }),
        // Statuses and silence are seen where they come; the rest is of this machine, or said by the service.
        _ => None,
    }
}

impl Shard {
    /// The ladder of a connection's group.
    fn ladder(&self, c: usize) -> Option<&Ladder> {
        match &self.plan.groups()[usize::from(self.conns[c].group)].transport {
            Transport::Ladder(ladder) => Some(ladder),
            _ => None,
        }
    }

    fn rung(&self, c: usize) -> Option<&Rung> {
        let group = &self.groups[usize::from(self.conns[c].group)];
        group.rungs.get(c - group.base)
    }

    fn rung_mut(&mut self, c: usize) -> Option<&mut Rung> {
        self.groups[usize::from(self.conns[c].group)].rung(c)
    }

    /// The transport that a connection has now, or tries.
    pub(super) fn transport(&self, c: usize) -> &Transport {
        let transport = &self.plan.groups()[usize::from(self.conns[c].group)].transport;
        let at = self.rung(c).map_or(0, |rung| usize::from(rung.at));
        transport.rungs().get(at).unwrap_or(transport)
    }

    fn is_stream(&self, c: usize) -> bool {
        matches!(self.transport(c), Transport::Http(settings) if settings.poll.is_none())
    }

    /// How long an event stream may be silent; `None`: for ever, or it is none.
    fn may_be_silent(&self, c: usize) -> Option<Duration> {
        let silence = self.ladder(c)?.silence?;
        let group = &self.plan.groups()[usize::from(self.conns[c].group)];
        (self.is_stream(c) && !group.subscribe.is_empty()).then_some(silence)
    }

    /// A connection begins to open that was due then. If it is not on its way yet, it begins where it belongs.
    pub(super) fn takes_rung(&mut self, c: usize, scheduled: u64) {
        let Some(rung) = self.rung_mut(c) else { return };
        rung.seen = None;
        if std::mem::replace(&mut rung.under_way, true) {
            return;
        }
        (rung.since_ns, rung.tries, rung.stepped) = (scheduled, 0, false);
        let (home, was) = (rung.home, rung.was);
        if was != NOWHERE && home < was {
            self.count(c, Counter::Climbs);
        }
        self.move_to(c, home);
    }

    /// How long an opening may take.
    pub(super) fn opening_within(&self, c: usize) -> Duration {
        let most = self.plan.target().connect_timeout;
        let Some(ladder) = self.ladder(c) else {
            return most;
        };
        let last = self
            .rung(c)
            .is_some_and(|rung| usize::from(rung.at) + 1 == ladder.rungs.len());
        let within = ladder.within.filter(|_| !last);
        let times = [within, self.may_be_silent(c)];
        times.into_iter().flatten().fold(most, Duration::min)
    }

    /// An opening was not done in time. `heard`: its stream had begun, and said nothing.
    pub(super) fn opened_late(&mut self, c: usize, heard: bool) {
        let cause = match heard {
            true => StepDown::Silent,
            false => StepDown::Timeout,
        };
        // Of what was not even asked for yet the kind of failure tells more.
        let asked = self.conns[c]
            .opening
            .as_ref()
            .is_some_and(|opening| !opening.stage.on_the_way());
        if let Some(rung) = self.rung_mut(c).filter(|_| asked) {
            rung.seen = Some(Seen::Cause(cause));
        }
    }

    /// The target answers with a status that is none of success.
    pub(super) fn refused_by(&mut self, c: usize, status: u16) {
        if let Some(opening) = &mut self.conns[c].opening {
            opening.crowded |= matches!(status, 429 | 503);
        }
        let Some(ladder) = self.ladder(c) else { return };
        let seen = match ladder.is_refusal(status) {
            true => Seen::Cause(StepDown::Refused),
            false => Seen::Other,
        };
        if let Some(rung) = self.rung_mut(c) {
            rung.seen = Some(seen);
        }
    }

    /// Whether a stream whose head has come is not ready for it: something has to come of it first.
    pub(super) fn waits_for_a_sign(&self, c: usize) -> bool {
        self.may_be_silent(c).is_some()
    }

    /// What the end of a connection, or of an attempt at one, says of its transport.
    pub(super) fn leads_down(&mut self, c: usize, failure: Option<Failure>) -> Option<StepDown> {
        let stage = self.conns[c].opening.as_ref().map(|o| o.stage);
        match self.rung_mut(c)?.seen.take() {
            Some(Seen::Cause(cause)) => Some(cause),
            Some(Seen::Other) => None,
            None => cause(failure?, stage),
        }
    }

    /// Goes on to the next rung, if this leads there. True when it does, and the next opening is to begin at once.
    pub(super) fn steps_down(&mut self, c: usize, cause: Option<StepDown>, now: u64) -> bool {
        let running = self.stretch == Stretch::Running && !self.stopped;
        let Some(ladder) = self.ladder(c) else {
            return false;
        };
        let (rungs, tries) = (ladder.rungs.len(), ladder.tries);
        let Some(cause) = cause.filter(|cause| running && ladder.when.contains(cause)) else {
            return false;
        };
        let Some(rung) = self.rung_mut(c) else {
            return false;
        };
        rung.tries = rung.tries.saturating_add(1);
        // What was ready and fell silent has had its chance.
        if rung.under_way && u32::from(rung.tries) < tries {
            return false;
        }
        rung.tries = 0;
        let (at, home) = (rung.at, rung.home);
        if usize::from(at) + 1 == rungs {
            // Nothing is left: the next attempt, which is `reconnect`'s affair, begins anew.
            self.move_to(c, home);
            return false;
        }
        if !std::mem::replace(&mut rung.under_way, true) {
            rung.since_ns = now;
        }
        rung.stepped = true;
        // An answer that is final over this transport is none over the next.
        self.conns[c].mark(Mark::Refused, false);
        self.count(c, Counter::StepsDown);
        self.count(c, down(cause));
        self.move_to(c, at + 1);
        true
    }

    /// A connection is ready.
    pub(super) fn holds_rung(&mut self, c: usize, now: u64) {
        let Some(climb) = self.ladder(c).map(|ladder| ladder.climb) else {
            return;
        };
        let counter = match self.transport(c) {
            Transport::Http(settings) if settings.poll.is_some() => Counter::OverLongPoll,
            Transport::Http(_) => Counter::OverSse,
            _ => Counter::OverWebsocket,
        };
        let Some(rung) = self.rung_mut(c) else { return };
        let (before, was, stepped) = (rung.since_ns, rung.was, rung.stepped);
        rung.was = rung.at;
        rung.home = match climb {
            Climb::Reconnect => 0,
            Climb::Never | Climb::After(_) => rung.at,
        };
        (rung.under_way, rung.stepped, rung.tries) = (false, false, 0);
        (rung.since_ns, rung.seen) = (now, None);
        let climbed = was != NOWHERE && rung.at < was;
        self.count(c, counter);
        if climbed {
            self.count(c, Counter::Climbed);
        }
        if stepped {
            let g = usize::from(self.conns[c].group);
            let took = now as i64 - before as i64;
            self.recorder.time(Timer::Fallback, self.phase, g, took);
        }
        self.look_at_rung(c, now);
    }

    /// When a connection's rung is to be looked at again: its stream may be silent, or it is time to climb.
    fn look_at_rung(&mut self, c: usize, now: u64) {
        let heard = u64::from(self.conns[c].heard_ms) * 1_000_000;
        let silent = self.may_be_silent(c).map(nanos).map(|silence| {
            // One that a fault keeps from reading is looked at once more.
            let at = heard.saturating_add(silence);
            if at > now {
                at
            } else {
                now.saturating_add(silence)
            }
        });
        let next = [silent, self.climbs_at(c)].into_iter().flatten().min();
        if let Some(next) = next {
            self.set_timer(next.max(now + 1), c, Due::Rung);
        }
    }

    fn climbs_at(&self, c: usize) -> Option<u64> {
        let rung = self.rung(c).filter(|rung| rung.at > 0)?;
        match self.ladder(c)?.climb {
            Climb::After(time) => Some(rung.since_ns + nanos(time)),
            Climb::Never | Climb::Reconnect => None,
        }
    }

    /// That time has come.
    pub(super) fn rung_due(&mut self, c: usize, now: u64) {
        if self.conns[c].state != State::Ready {
            return;
        }
        if let Some(silence) = self.may_be_silent(c) {
            // A shard that was held up has not read everything yet: a sign may well be there.
            let silent = |conn: &Conn| {
                now >= u64::from(conn.heard_ms) * 1_000_000 + nanos(silence)
                    && conn.state == State::Ready
            };
            let generation = self.conns[c].generation;
            if silent(&self.conns[c]) && !self.conns[c].troubled {
                self.read(c, now, true);
                if self.conns[c].generation != generation {
                    return;
                }
                if silent(&self.conns[c]) {
                    if let Some(rung) = self.rung_mut(c) {
                        rung.seen = Some(Seen::Cause(StepDown::Silent));
                    }
                    return self.lost(c, Cause::Failed(Failure::Dead), now);
                }
            }
        }
        if self.climbs_at(c).is_some_and(|at| at <= now) && self.stretch == Stretch::Running {
            if let Some(rung) = self.rung_mut(c) {
                rung.home = 0;
            }
            return self.close(c, 1000, Intent::Climb, now);
        }
        self.look_at_rung(c, now);
    }

    /// Another client takes the connection's place: it begins at the top.
    pub(super) fn forget_rung(&mut self, c: usize) {
        let g = usize::from(self.conns[c].group);
        let top = Rung::top(&self.plan.groups()[g].transport);
        if let Some(rung) = self.rung_mut(c) {
            *rung = top;
        }
    }

    /// The run ends: counts which transport a connection ended on.
    pub(super) fn ended_on(&mut self, c: usize) {
        let Some(rung) = self.rung(c) else { return };
        let lost = rung.under_way && rung.stepped;
        let counter = match (rung.was, lost) {
            (NOWHERE, _) if !rung.under_way => return,
            (NOWHERE, _) | (_, true) => Counter::EndedNowhere,
            (was, false) => {
                let g = usize::from(self.conns[c].group);
                match self.plan.groups()[g]
                    .transport
                    .rungs()
                    .get(usize::from(was))
                {
                    Some(Transport::Http(settings)) if settings.poll.is_some() => {
                        Counter::EndedLongPoll
                    }
                    Some(Transport::Http(_)) => Counter::EndedSse,
                    _ => Counter::EndedWebsocket,
                }
            }
        };
        self.count(c, counter);
    }

    /// Moves to a rung, with what is known of how far a topic was heard.
    fn move_to(&mut self, c: usize, to: u8) {
        let from = self.rung(c).map_or(to, |rung| rung.at);
        if from == to {
            return;
        }
        let resumes = self.plan.groups()[usize::from(self.conns[c].group)]
            .resume
            .is_some();
        let heard = resumes.then(|| self.heard_as_text(c)).flatten();
        if let Some(rung) = self.rung_mut(c) {
            rung.at = to;
        }
        let over_http = *self.transport(c) != Transport::WebSocket;
        if let Some(rung) = self.rung_mut(c) {
            rung.over_http = over_http;
        }
        match over_http {
            true => self.begin_from(c, heard.as_deref().unwrap_or_default()),
            false => self.number_from(c, heard.as_deref()),
        }
    }

    /// How far a connection heard its one topic, as a stream would say it.
    fn heard_as_text(&self, c: usize) -> Option<String> {
        match self.transport(c) {
            Transport::Http(settings) => self.heard_over_http(c, settings.poll.is_some()),
            _ => {
                let of_topic = self.conns[c].topics.named() == 1;
                let (seq, epoch) = of_topic
                    .then(|| self.service.marked(self.number(c), 0))
                    .flatten()?;
                let position = &self.ladder(c)?.position;
                Some(position.write(seq, self.resumes.epoch(epoch)))
            }
        }
    }

    /// What a stream said last is what a WebSocket is asked to go on from.
    fn number_from(&mut self, c: usize, heard: Option<&str>) {
        let g = usize::from(self.conns[c].group);
        let by_topic = matches!(self.plan.groups()[g].resume, Some(Resume::Topics));
        if !by_topic || self.conns[c].topics.named() != 1 {
            return;
        }
        let read = heard.and_then(|text| self.ladder(c)?.position.read(text));
        let Some((seq, epoch)) = read else { return };
        if let Some(epoch) = self.resumes.epoch_number(epoch) {
            let number = self.number(c);
            self.service.mark(number, 0, epoch, Some(seq));
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_connection_is_takes_sixteen_bytes() {
        assert_eq!(size_of::<Rung>(), 16);
    }

    #[test]
    fn what_says_something_of_the_transport() {
        use Failure as F;
        let asked = Some(Stage::Upgrade);
        let table = [
            (F::Handshake, asked, Some(StepDown::Refused)),
            (F::AcceptKey, asked, Some(StepDown::Refused)),
            (F::Eof, asked, Some(StepDown::Refused)),
            (F::Reset, Some(Stage::Tls), Some(StepDown::Unreachable)),
            (F::Refused, Some(Stage::Tcp), Some(StepDown::Unreachable)),
            (F::Timeout, Some(Stage::Tcp), Some(StepDown::Unreachable)),
            (F::Timeout, Some(Stage::Proxy), Some(StepDown::Unreachable)),
            (F::Eof, Some(Stage::Proxy), Some(StepDown::Unreachable)),
            (F::Proxy, Some(Stage::Proxy), Some(StepDown::Unreachable)),
            (F::Extension, asked, Some(StepDown::Refused)),
            (F::Timeout, asked, Some(StepDown::Timeout)),
            // This machine's own, or the service's word.
            (F::NoPort, asked, None),
            (F::NoDescriptor, asked, None),
            (F::Denied, Some(Stage::Subscribing(1)), None),
            (F::Step, Some(Stage::Steps(0)), None),
            // It was ready: what ended it is no matter of how it got there.
            (F::Eof, None, None),
            (F::Reset, None, None),
        ];
        for (failure, stage, expected) in table {
            assert_eq!(cause(failure, stage), expected, "{failure:?} {stage:?}");
        }
    }
}
