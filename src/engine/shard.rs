//! One shard: its connections, its clock and its loop's turns. The parts of a connection's life stand in
//! files of their own (`open`, `inbound`, `traffic`, `end`, `tail`), all as methods of [`Shard`].

use super::answer::Kept;
use super::auth::{self, Held};
use super::clock::{self, Alarm};
use super::conn::{Conn, Mark};
use super::deflate::{Press, Shared};
use super::dns::Resolver;
use super::fault::{self, Faults};
use super::inject::Injector;
use super::ladder::Rung;
use super::mask::Masks;
use super::outbox::Outbox;
use super::over_http::Http;
use super::places::Places;
use super::polling::{Poller, beside};
use super::resume::Resumes;
use super::session::Wire;
use super::share::Share;
use super::tail::{Origin, Tail};
use super::watch::Watches;
use super::wheel::{Due, Timer, Wheel};
use super::will::Will;
use super::{EngineError, Spec};
use crate::heap::Tide;
use crate::metrics::{Counter, Delivery, Failure, Gauges, Node, Recorder, Snapshot};
use crate::plan::{Openings, Plan, Schedule, Transport};
use crate::protocol::{Codec, JwtSigner, Outgoing, Session};
use crate::transport::Offer;
use mio::{Events, Poll, Token};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Events taken from the kernel in one turn. A larger batch delays timers by as much as it takes:
/// with 1,000 busy connections 1,024 events cost 25–40 ms at p99, 32 cost 2 ms, at the same throughput.
pub(super) const EVENTS_PER_TURN: usize = 32;
/// Sends in one turn, for the same reason; they cost less than an event each.
const SENDS_PER_TURN: usize = 256;
/// Timers in one turn; one that opens a connection counts for several.
const TIMERS_PER_TURN: usize = 64;
/// Openings in one turn.
const OPENINGS_PER_TURN: usize = 16;
/// Timers of one moment that there is room for without allocating.
const FIRED_KEPT: usize = 4096;
/// One buffer for all reads of a shard.
const SCRATCH: usize = 64 * 1024;
/// Seconds between snapshots.
const SNAPSHOT_NS: u64 = 1_000_000_000;
/// How long overdue sends may still leave after the schedule's end before they count as cancelled.
const OVERTIME_NS: u64 = 1_000_000_000;

pub(super) const ALARM: Token = Token(usize::MAX);

/// What a group's connections of this shard share.
pub(super) struct Group {
    pub codec: Codec,
    /// Index of the group's first own connection in `Shard::conns`.
    pub base: usize,
    /// Index in the group of that connection.
    pub first: u32,
    pub openings: Openings,
    pub publishes: Vec<Schedule>,
    pub requests: Vec<Schedule>,
    /// Requests by deadline, oldest first: (deadline, connection, generation, id). One queue for each
    /// of the group's requests, as each has one timeout.
    pub deadlines: Vec<VecDeque<(u64, u32, u32, u64)>>,
    /// Ready connections.
    pub open: u32,
    /// Where each of its connections was ready last; empty where the target does not tell.
    pub nodes: Vec<Node>,
    /// Cookies of each of its connections; empty where none are kept.
    pub cookies: Vec<Option<Box<Kept>>>,
    /// When each of its connections was ready again, 0 for never; empty where none resumes.
    pub back_ns: Vec<u64>,
    /// The session of each of its connections, once it opened; empty where the protocol has none.
    pub sessions: Vec<Option<Box<Session>>>,
    /// What each of its connections reads by, once it opened; empty where it is a WebSocket.
    pub http: Vec<Option<Box<Http>>>,
    /// What each of its connections agreed on to make messages smaller; empty where that is not offered.
    pub presses: Vec<Option<Box<Press>>>,
    /// What is offered for that.
    pub compression: Option<Offer>,
    /// What each of its connections polls by, while it does; empty where none goes on by polling.
    pub polls: Vec<Option<Box<Poller>>>,
    /// Where each of its connections is on its ladder; empty where there is one transport.
    pub rungs: Vec<Rung>,
    /// What each of its connections' tokens is made of; empty where they have none.
    pub held: Vec<Held>,
    /// What signs tokens that are made.
    pub signer: Option<JwtSigner>,
    /// WebSocket subprotocols that are offered.
    pub subprotocols: Vec<String>,
    /// Which of the shard's injectors its messages go to; none: its connections.
    pub injector: Option<usize>,
}

impl Group {
    /// Whether publishes are more than a frame around the payload: a protocol's session makes them, or they are posted.
    pub fn apart(&self, c: usize) -> bool {
        !self.sessions.is_empty() || self.over_http(c)
    }

    /// Local index of one of its connections of this shard. Own ones are `shards` apart.
    pub fn local(&self, index: u32, shards: u32) -> usize {
        self.base + ((index - self.first) / shards) as usize
    }
}

/// How far the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stretch {
    /// Before the start.
    Waiting,
    /// Opening and sending by schedule.
    Running,
    /// Schedules are over; messages are still under way.
    Draining,
    /// Closing what is open.
    Finishing,
    /// Nothing is left.
    Done,
}

/// One shard's whole state.
pub struct Shard {
    pub(super) plan: Plan,
    pub(super) run: u32,
    pub(super) shards: u32,
    pub(super) groups: Vec<Group>,
    pub(super) injectors: Vec<Injector>,
    pub(super) conns: Vec<Conn>,
    pub(super) poll: Poll,
    events: Events,
    pub(super) alarm: Alarm,
    pub(super) wheel: Wheel,
    /// Timers that are due, with the moment they became so: a storm's worth of them is worked off a few a turn.
    fired: VecDeque<(Timer, u64)>,
    pub(super) recorder: Recorder,
    pub(super) delivery: Delivery,
    /// The same by the service's own numbers; a stream is the place of a topic in its connection's list.
    pub(super) service: Delivery,
    pub(super) resumes: Resumes,
    /// By the connection's number in the run: of groups whose connections have wills.
    pub(super) wills: HashMap<u32, Will>,
    pub(super) resolver: Resolver,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// For the records of all TLS sessions.
    pub(super) wire: Wire,
    pub(super) scratch: Vec<u8>,
    pub(super) compose: Vec<u8>,
    /// What sessions say, on its way to the queue.
    pub(super) said: Outgoing,
    pub(super) masks: Masks,
    /// For messages that are made smaller, or larger again.
    pub(super) shared: Shared,
    #[expect(
        clippy::vec_box,
        reason = "boxes move to a connection and back, without an allocation"
    )]
    pub(super) pool: Vec<Box<Outbox>>,
    /// Connections with frames queued in this turn.
    pub(super) dirty: Vec<u32>,
    /// Whether every message goes back as it came.
    pub(super) echoes: bool,
    /// Connections with packets to post in this turn.
    pub(super) to_post: Vec<u32>,
    /// Connections (index, generation) whose socket may still hold bytes: an edge is reported once.
    pub(super) again: VecDeque<(u32, u32)>,
    pub(super) origins: HashMap<u32, Origin>,
    pub(super) shares: Vec<Share>,
    pub(super) tail: Option<Tail>,
    pub(super) told_published: bool,
    pub(super) drained_by: Option<u64>,
    look_ns: u64,
    pub(super) faults: Faults,
    pub(super) watches: Watches,
    pub(super) stretch: Stretch,
    /// Connections before this one are closing or closed.
    pub(super) finish_from: usize,
    /// When closing began.
    pub(super) finish_since: u64,
    started_at: u64,
    /// The wall clock at the start, milliseconds since 1970.
    pub(super) wall_ms: u64,
    pub(super) length_ns: u64,
    pub(super) stopped: bool,
    snapshots: u64,
    reported: bool,
    tide: Tide,
    pub(super) blocked: u32,
    pub(super) opening: u32,
    pub(super) waiting: u32,
    pub(super) closing: u32,
    pub(super) places: Places,
    pub(super) phase: usize,
}

impl Shard {
    /// Lays out the shard's share of the plan. Allocates everything that steady state needs.
    pub fn new(spec: Spec) -> Result<Self, EngineError> {
        let Spec {
            plan,
            run,
            shard,
            shards,
        } = spec;
        let tls = if plan.target().endpoints.iter().any(|e| e.tls) {
            Some(
                crate::transport::tls::client_config(&plan.target().tls)
                    .map_err(|e| EngineError::Tls(e.to_string()))?,
            )
        } else if plan.target().follow_redirects > 0 {
            // For where it may be redirected to; without authorities nobody goes there.
            crate::transport::tls::client_config(&plan.target().tls).ok()
        } else {
            None
        };
        let poll = Poll::new().map_err(EngineError::Poll)?;
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(EngineError::Poll)?;
        let mut conns = Vec::new();
        let mut groups = Vec::new();
        for (g, group) in plan.groups().iter().enumerate() {
            let own = (0..group.count).filter(|i| Plan::shard_of(group.first + i, shards) == shard);
            let base = conns.len();
            conns.extend(own.map(|index| {
                let endpoint = plan.endpoint_of(group.first + index) as u16;
                Conn::idle(g as u16, index, endpoint)
            }));
            // What only groups have that ask for it.
            let each = |wanted: bool| if wanted { conns.len() - base } else { 0 };
            let nodes = vec![Node::UNTOLD; each(group.node.is_some())];
            let mut cookies = Vec::new();
            cookies.resize_with(each(group.keep_cookies), || None);
            let back_ns = vec![0; each(group.resume.is_some())];
            let held = vec![Held::NONE; each(group.auth.is_some())];
            let mut sessions = Vec::new();
            sessions.resize_with(each(group.protocol.has_session()), || None);
            let mut http = Vec::new();
            http.resize_with(each(group.transport.has_http()), || None);
            let mut presses = Vec::new();
            presses.resize_with(each(group.compression.is_some()), || None);
            let mut polls = Vec::new();
            polls.resize_with(each(group.protocol.polling().goes_on()), || None);
            let ladder = matches!(group.transport, Transport::Ladder(_));
            let rungs = vec![Rung::top(&group.transport); each(ladder)];
            let mut subprotocols = group.protocol.subprotocols();
            if subprotocols.is_empty() {
                subprotocols.clone_from(&plan.target().subprotocols);
            }
            let first = conns.get(base).map_or(0, |c: &Conn| c.index);
            let schedule = |profile, which: usize| {
                Schedule::new(profile, group, which as u32, plan.seed(), shard, shards)
            };
            let publishes: Vec<_> = group
                .publish
                .iter()
                .enumerate()
                .map(|(i, p)| schedule(&p.profile, i))
                .collect();
            let asked = group.publish.len();
            groups.push(Group {
                codec: Codec::new(&group.protocol),
                base,
                first,
                openings: Openings::new(group, shard, shards),
                publishes,
                requests: group
                    .request
                    .iter()
                    .enumerate()
                    .map(|(i, r)| schedule(&r.profile, asked + i))
                    .collect(),
                deadlines: group.request.iter().map(|_| VecDeque::new()).collect(),
                open: 0,
                nodes,
                cookies,
                back_ns,
                sessions,
                presses,
                compression: group.compression,
                held,
                signer: auth::signer(group),
                http,
                polls,
                rungs,
                subprotocols,
                injector: None,
            });
        }
        conns.shrink_to_fit();
        let watches = Watches::new(&plan, (shard, shards), conns.len(), |g, index| {
            groups.get(g).map_or(0, |group| group.local(index, shards))
        });
        // One group's connections are behind the other's.
        let own = |g: usize| {
            let next = groups.get(g + 1).map_or(conns.len(), |next| next.base);
            groups.get(g).is_some_and(|group| group.base < next)
        };
        let faults = Faults::new(&plan, (shard, shards), own);
        Ok(Shard {
            length_ns: plan.length().as_nanos() as u64,
            recorder: Recorder::new(shard, plan.phases().len(), plan.groups().len())
                .with_streams(plan.numbered_streams()),
            delivery: Delivery::spaced(shards),
            service: Delivery::spaced(shards),
            resumes: Resumes::default(),
            wills: HashMap::new(),
            resolver: Resolver::new(plan.target()),
            run,
            shards,
            groups,
            injectors: Vec::new(),
            conns,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            alarm,
            wheel: Wheel::new(),
            fired: VecDeque::new(),
            tls,
            wire: Wire::new(),
            scratch: vec![0; SCRATCH],
            compose: Vec::new(),
            said: Outgoing::default(),
            masks: Masks::new(),
            shared: Shared::default(),
            pool: Vec::new(),
            dirty: Vec::new(),
            echoes: false,
            to_post: Vec::new(),
            again: VecDeque::new(),
            origins: HashMap::new(),
            shares: Vec::new(),
            tail: None,
            told_published: false,
            drained_by: None,
            look_ns: u64::MAX,
            faults,
            watches,
            stretch: Stretch::Waiting,
            finish_from: 0,
            finish_since: 0,
            started_at: 0,
            wall_ms: 0,
            stopped: false,
            snapshots: 0,
            reported: false,
            tide: Tide::default(),
            blocked: 0,
            opening: 0,
            waiting: 0,
            closing: 0,
            places: Places::default(),
            phase: 0,
            plan,
        })
    }

    /// Starts the run's clock at a moment of CLOCK_MONOTONIC, which may be still to come.
    pub fn start(&mut self, at: u64) -> Result<(), EngineError> {
        self.started_at = at;
        // The start may be still to come, or past.
        self.wall_ms = clock::wall_ms_at(at);
        self.stretch = Stretch::Running;
        self.alarm.arm(at).map_err(EngineError::Poll)
    }

    /// Nanoseconds since the start; 0 before it.
    pub(super) fn now(&self) -> u64 {
        clock::monotonic_ns().saturating_sub(self.started_at)
    }

    /// The run's start, of CLOCK_MONOTONIC.
    pub(super) fn started_at(&self) -> u64 {
        self.started_at
    }

    /// Counts from here on to the phase of this moment.
    pub(super) fn enter_phase(&mut self, now: u64) {
        self.phase = self.plan.phase_at(now);
    }

    /// Number of a connection among all of the run's.
    pub(super) fn number(&self, c: usize) -> u32 {
        let conn = &self.conns[c];
        self.plan.groups()[usize::from(conn.group)].first + conn.index
    }

    /// Local index of a group's connection of this shard.
    pub(super) fn local(&self, g: usize, index: u32) -> usize {
        self.groups[g].local(index, self.shards)
    }

    pub(super) fn set_timer(&mut self, at_ns: u64, c: usize, due: Due) {
        let generation = self.conns[c].generation;
        self.wheel.set(
            at_ns,
            Timer {
                conn: c as u32,
                generation,
                due,
            },
        );
    }

    /// One turn: what the kernel has, what is due, what is queued. True when there is more to do at once.
    pub fn turn(&mut self) -> Result<bool, EngineError> {
        let started = self.stretch != Stretch::Waiting && clock::monotonic_ns() >= self.started_at;
        // What the events bring belongs to the phase of now, not to that of the turn before.
        if started {
            self.enter_phase(self.now());
        }
        let mut more = self.take_events()?;
        if !started {
            return Ok(more);
        }
        let now = self.now();
        self.enter_phase(now);
        if self.look_ns <= now {
            self.look_ns = u64::MAX;
        }
        if !self.injectors.is_empty() {
            self.hear_brokers();
        }
        self.hear_revocations();
        more |= self.read_again(now);
        more |= self.fire_timers(now);
        self.expire_requests(now);
        more |= self.troubles_due(now);
        if self.stretch == Stretch::Running {
            if !self.stopped {
                more |= self.open_due(now);
                more |= self.faults_due(now);
                self.watch_publishers(now);
                more |= self.send_due(now)?;
            }
            if now >= self.length_ns && !more || now >= self.length_ns + OVERTIME_NS || self.stopped
            {
                self.end_schedules(now);
                self.stretch = Stretch::Draining;
            }
        }
        if self.stretch == Stretch::Finishing {
            more |= self.finish_some(now);
        }
        self.flush_dirty();
        Ok(more || !self.again.is_empty())
    }

    fn take_events(&mut self) -> Result<bool, EngineError> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(Duration::ZERO));
        match polled {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(EngineError::Poll(e)),
        }
        let mut taken = 0;
        for event in &events {
            taken += 1;
            if event.token() == ALARM {
                self.alarm.fired();
                continue;
            }
            if let Some(vanished) = fault::vanished_of(event.token()) {
                if event.is_read_closed() || event.is_error() {
                    self.vanished_ended(vanished);
                }
                continue;
            }
            if let Some((c, generation, which)) = beside::of(event.token()) {
                if self
                    .conns
                    .get(c)
                    .is_some_and(|conn| conn.generation == generation)
                {
                    self.beside_event(c, which);
                }
                continue;
            }
            let c = event.token().0 & 0xffff_ffff;
            // The socket this event was for may be gone, and its slot in use again.
            let current = self
                .conns
                .get(c)
                .is_some_and(|conn| conn.generation == (event.token().0 >> 32) as u32);
            if current {
                self.socket_event(
                    c,
                    event.is_readable(),
                    event.is_read_closed() || event.is_error(),
                    event.is_writable(),
                );
            }
        }
        self.events = events;
        Ok(taken == EVENTS_PER_TURN)
    }

    fn read_again(&mut self, now: u64) -> bool {
        for _ in 0..EVENTS_PER_TURN.min(self.again.len()) {
            let Some((c, generation)) = self.again.pop_front() else {
                break;
            };
            let conn = &mut self.conns[c as usize];
            if conn.generation == generation {
                conn.mark(Mark::Unread, false);
                self.read(c as usize, now, true);
            }
        }
        !self.again.is_empty()
    }

    /// Does what timers are due for, oldest first. True when there are more.
    fn fire_timers(&mut self, now: u64) -> bool {
        self.wheel
            .fire(now, |timer| self.fired.push_back((timer, now)));
        let mut left = TIMERS_PER_TURN;
        while left > 0 {
            let Some((timer, since)) = self.fired.pop_front() else {
                // After a storm's worth of timers at one moment only a usual one's room is kept.
                self.fired.shrink_to(FIRED_KEPT);
                return false;
            };
            let c = timer.conn as usize;
            if self.conns[c].generation != timer.generation {
                continue;
            }
            left = left.saturating_sub(match timer.due {
                Due::Reconnect => TIMERS_PER_TURN / OPENINGS_PER_TURN,
                _ => 1,
            });
            self.timer(c, timer.due, since, now);
        }
        true
    }

    fn timer(&mut self, c: usize, due: Due, since: u64, now: u64) {
        match due {
            Due::OpenTimeout => self.open_timeout(c, now),
            Due::Step => self.step_timer(c, now),
            Due::Ping => self.ping(c, now),
            Due::PongCheck => self.pong_check(c, now),
            Due::Reconnect => self.backoff_over(c, since, self.now()),
            Due::Lifetime => self.lifetime_over(c, now),
            Due::CloseTimeout => self.close_timeout(c, now),
            Due::Beat => self.beat(c, now),
            Due::Silence => self.silence(c, now),
            Due::Expiry => self.expiry_due(c, now),
            Due::Renewal => self.renewal_due(c, now),
            Due::RenewalCheck => self.renewal_check(c, now),
            Due::Probe => self.probe_timeout(c, now),
            Due::Rung => self.rung_due(c, now),
            Due::PollCheck => self.poll_check(c, now),
        }
    }

    fn open_due(&mut self, now: u64) -> bool {
        let mut left = OPENINGS_PER_TURN;
        for g in 0..self.groups.len() {
            while self.groups[g].openings.peek().is_some_and(|at| at <= now) {
                if left == 0 {
                    return true;
                }
                left -= 1;
                if let Some(due) = self.groups[g].openings.next() {
                    let c = self.local(g, due.index);
                    self.open(c, due.at_ns, now);
                }
            }
        }
        false
    }

    fn send_due(&mut self, now: u64) -> Result<bool, EngineError> {
        let mut left = SENDS_PER_TURN;
        for g in 0..self.groups.len() {
            for ordinal in 0..self.groups[g].publishes.len() {
                while self.groups[g].publishes[ordinal]
                    .peek()
                    .is_some_and(|at| at <= now)
                {
                    if left == 0 {
                        return Ok(true);
                    }
                    left -= 1;
                    if let Some(due) = self.groups[g].publishes[ordinal].next() {
                        let c = self.local(g, due.index);
                        match self.groups[g].injector {
                            None => self.publish(g, c, ordinal, due.at_ns),
                            Some(injector) => self.inject(injector, c, due.at_ns),
                        }
                    }
                }
            }
            for ordinal in 0..self.groups[g].requests.len() {
                while self.groups[g].requests[ordinal]
                    .peek()
                    .is_some_and(|at| at <= now)
                {
                    if left == 0 {
                        return Ok(true);
                    }
                    left -= 1;
                    if let Some(due) = self.groups[g].requests[ordinal].next() {
                        let c = self.local(g, due.index);
                        self.request(g, c, ordinal, due.at_ns);
                    }
                }
            }
        }
        Ok(false)
    }

    /// What was due and could not be handled any more is cancelled: nothing scheduled disappears.
    fn end_schedules(&mut self, now: u64) {
        for g in 0..self.groups.len() {
            let Shard {
                groups,
                recorder,
                plan,
                stopped,
                ..
            } = self;
            let group = &mut groups[g];
            // Openings that a shard which was late did not get to: attempts that came to nothing.
            while !*stopped && group.openings.peek().is_some_and(|at| at <= now) {
                if let Some(due) = group.openings.next() {
                    let phase = plan.phase_at(due.at_ns);
                    recorder.count(Counter::Attempts, phase, g, 1);
                    recorder.fail(Failure::Timeout, phase, g);
                    let step = recorder.step(now);
                    step.attempts += 1;
                    step.failed += 1;
                    let why =
                        b"due, and not begun when the run was over: this machine was too slow";
                    recorder.sample("timeout", why);
                }
            }
            for (schedules, offered, cancelled) in [
                (&mut group.publishes, Counter::Offered, Counter::Cancelled),
                (
                    &mut group.requests,
                    Counter::RequestsOffered,
                    Counter::RequestsCancelled,
                ),
            ] {
                for schedule in schedules {
                    while schedule.peek().is_some_and(|at| at <= now) {
                        if let Some(due) = schedule.next() {
                            let phase = plan.phase_at(due.at_ns);
                            recorder.count(offered, phase, g, 1);
                            recorder.count(cancelled, phase, g, 1);
                        }
                    }
                }
            }
        }
    }

    /// The next moment anything is due, on the run's clock.
    fn next_due(&self) -> u64 {
        let mut next = (self.snapshots + 1) * SNAPSHOT_NS;
        let mut at = |due: Option<u64>| next = due.map_or(next, |d| d.min(next));
        at(Some(self.look_ns));
        at(self.wheel.next_ns());
        for group in &self.groups {
            for queue in &group.deadlines {
                at(queue.front().map(|(deadline, ..)| *deadline));
            }
            if self.stretch == Stretch::Running {
                at(group.openings.peek());
                group
                    .publishes
                    .iter()
                    .chain(&group.requests)
                    .for_each(|s| at(s.peek()));
            }
        }
        if self.stretch == Stretch::Running {
            at(Some(self.length_ns));
            at(Some(self.faults.next_ns()));
            at(self.watches.next_ns());
        }
        at(Some(self.faults.wake_ns()));
        next
    }

    /// Sets the alarm for whatever is due next.
    pub fn arm(&mut self) -> Result<(), EngineError> {
        match self.stretch {
            Stretch::Waiting => Ok(()),
            _ => {
                let next = self.next_due();
                self.wake_by(next)
            }
        }
    }

    /// Makes the loop come round at this moment, beside whatever else is due.
    pub(super) fn look_at(&mut self, at_ns: u64) {
        self.look_ns = self.look_ns.min(at_ns);
    }

    /// Sets the alarm for a moment on the run's clock.
    pub(super) fn wake_by(&mut self, at_ns: u64) -> Result<(), EngineError> {
        let at = self.started_at + at_ns;
        self.alarm.arm(at).map_err(EngineError::Poll)
    }

    /// A snapshot, when its second is over.
    pub fn snapshot_due(&mut self) -> Option<Snapshot> {
        if self.stretch == Stretch::Waiting {
            return None;
        }
        let now = self.now();
        // The first one, at the start, is what the first second's CPU time is counted from.
        let first = !std::mem::replace(&mut self.reported, true);
        (first || now >= (self.snapshots + 1) * SNAPSHOT_NS).then(|| {
            // After a long stop the missed seconds come as one interval, not as a row of empty ones.
            self.snapshots = now / SNAPSHOT_NS;
            self.snapshot(now, false)
        })
    }

    /// A snapshot now.
    pub fn snapshot(&mut self, now: u64, last: bool) -> Snapshot {
        if last {
            self.end_revocations();
            self.end_vanished();
        }
        let open: u32 = self.groups.iter().map(|g| g.open).sum();
        let alive = open + self.opening + self.closing;
        // Whoever waits to come back needs the memory again: a storm is not the time to give it away.
        self.tide.stands_at((alive + self.waiting) as usize);
        let gauges = Gauges {
            open: self.groups.iter().map(|g| g.open).collect(),
            opening: self.opening,
            waiting: self.waiting,
            blocked: self.blocked,
            cpu_ns: clock::cpu_ns(),
            rss: resident_bytes(),
            descriptors: alive + self.besides() + self.faults.held() + 8,
            open_by_endpoint: self.open_by_endpoint(),
            open_by_node: self.open_by_node(),
        };
        self.recorder.snapshot(now as i64, gauges, last)
    }
}

/// Resident memory of this process in bytes, 0 where it cannot be read.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
