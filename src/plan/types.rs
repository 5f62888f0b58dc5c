//! What will run: validated, immutable, serialisable.
//!
//! A [`Plan`] is only made by `compile` (and by deserialising one that was), so whoever holds one may
//! rely on: indices in range, rates finite, phases contiguous from 0, templates compiled. All times
//! are counted from the run's start.

use super::auth::{Auth, Fetch, Secret, TokenSource};
use super::fault::{Action, PlannedFault, Window};
use super::ladder::Ladder;
use crate::broker;
use crate::protocol::{Field, ProtocolConfig};
use crate::transport::{Offer, Pick, TargetConfig};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// At the end a shard begins at least so many close handshakes a second, and more as fast as earlier ones are
/// answered: a service that is told goodbye by a million clients at once would be late with most answers.
pub const CLOSES_PER_SECOND: u32 = 512;

/// The whole run, for every shard alike; a shard's share follows from its index alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) target: TargetConfig,
    pub(super) groups: Vec<Group>,
    pub(super) phases: Vec<Phase>,
    pub(super) generator: GeneratorPlan,
    /// Publish streams numbered per connection: the most that any group has.
    pub(super) stride: u32,
}

impl Plan {
    /// The scenario's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Seed of everything random.
    pub fn seed(&self) -> u64 {
        self.seed
    }
    /// Where and how to connect.
    pub fn target(&self) -> &TargetConfig {
        &self.target
    }
    /// Replaces the addresses: the embedded gateway's are known only once it runs.
    pub fn aim(&mut self, target: TargetConfig) {
        self.target = target;
    }
    /// What has to be fetched before the run, with the index of the group that it is for.
    pub fn fetches(&self) -> impl Iterator<Item = (usize, &Fetch)> {
        let sources = self
            .groups
            .iter()
            .map(|g| g.auth.as_ref().map(|a| &a.source));
        sources.enumerate().filter_map(|(g, source)| match source {
            Some(TokenSource::Fetched(fetch, _)) => Some((g, fetch)),
            _ => None,
        })
    }
    /// Gives a group the tokens that were fetched for it.
    pub fn supply(&mut self, group: usize, fetched: Vec<String>) {
        let auth = self.groups.get_mut(group).and_then(|g| g.auth.as_mut());
        if let Some(TokenSource::Fetched(_, tokens)) = auth.map(|auth| &mut auth.source) {
            *tokens = fetched
                .into_iter()
                .map(|t| Secret(t.into_bytes()))
                .collect();
        }
    }
    /// Client groups; the index is the `group` tag of every metric.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
    /// Phases in order, contiguous from 0; the index is the `phase` tag of every metric.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }
    /// How the generator is run and judged.
    pub fn generator(&self) -> &GeneratorPlan {
        &self.generator
    }
    /// The faults of all phases in order; the place of one is its number in the run.
    pub fn faults(&self) -> impl Iterator<Item = &PlannedFault> {
        self.phases.iter().flat_map(|p| &p.faults)
    }
    /// The stretches in which deploys are measured, in order; they never overlap.
    pub fn deploys(&self) -> Vec<Window> {
        let mut windows = Vec::new();
        let mut number = 0;
        for (index, phase) in self.phases.iter().enumerate() {
            for fault in &phase.faults {
                if matches!(fault.action, Action::Deploy(_)) {
                    windows.push(Window {
                        fault: number,
                        phase: index,
                        start_ns: fault.start.as_nanos() as u64,
                        end_ns: phase.end.as_nanos() as u64,
                    });
                }
                number += 1;
            }
        }
        windows
    }
    /// Length of the run without its drain.
    pub fn length(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, |p| p.end)
    }
    /// How long a shard takes at most to begin closing all its connections, when the target answers none.
    pub fn closing(&self) -> Duration {
        let most = self
            .connections()
            .div_ceil(u64::from(self.generator.shards.max(1)));
        Duration::from_secs_f64(most as f64 / f64::from(CLOSES_PER_SECOND))
    }

    /// Connections of all groups together.
    pub fn connections(&self) -> u64 {
        self.groups.iter().map(|g| u64::from(g.count)).sum()
    }
    /// Of these, those that are clients of the target: the others publish into a broker.
    pub fn clients(&self) -> u64 {
        let clients = self.groups.iter().filter(|g| g.inject.is_none());
        clients.map(|g| u64::from(g.count)).sum()
    }
    /// Index of the group that a connection (number in the run) belongs to.
    pub fn group_of(&self, connection: u32) -> usize {
        self.groups
            .partition_point(|g| g.first + g.count <= connection)
            .min(self.groups.len().saturating_sub(1))
    }
    /// The shard that runs a connection, for both the plan's own number of shards and any other.
    pub fn shard_of(connection: u32, shards: u32) -> u32 {
        connection % shards
    }
    /// The upgrade request of a group's connections.
    pub fn upgrade(&self, group: usize) -> &Upgrade {
        &self.groups[group].upgrade
    }
    /// Number of a publish stream in the run: publish number `ordinal` of a connection. Whoever
    /// receives a stamped message finds its origin again by [`Plan::stream_owner`].
    pub fn stream(&self, connection: u32, ordinal: u32) -> u32 {
        connection * self.stride + ordinal
    }
    /// The (connection, publish ordinal) of a stream; anything may be asked, as stamps come from outside.
    pub fn stream_owner(&self, stream: u32) -> (u32, u32) {
        (stream / self.stride, stream % self.stride)
    }
    /// Streams numbered: every stream of the run is below this.
    pub fn streams(&self) -> u32 {
        self.connections() as u32 * self.stride
    }
    /// Index of the address a connection dials first. Where connections are spread: of as many connections in a row as there are addresses, each
    /// address gets one; the order changes from row to row, so that a shard, which has every n-th connection,
    /// meets all of them too.
    pub fn endpoint_of(&self, connection: u32) -> usize {
        if self.target.pick == Pick::Failover {
            return 0;
        }
        let endpoints = self.target.endpoints.len().max(1);
        let (row, place) = (
            connection as usize / endpoints,
            connection as usize % endpoints,
        );
        (place + turned(row as u32) as usize) % endpoints
    }

    /// Index of the address that a connection dials after one that did not take it, or lost it: the next in the list, and
    /// the first after the last.
    pub fn endpoint_after(&self, endpoint: u16) -> u16 {
        let next = usize::from(endpoint) + 1;
        if next < self.target.endpoints.len() {
            next as u16
        } else {
            0
        }
    }

    /// The local address a connection is made from: in turn among those to one endpoint, so that
    /// each source carries as many connections to it as the others. `None`: the kernel chooses,
    /// as it must where no source is of the family of the address that is dialled.
    pub fn source_of(&self, connection: u32, dialled: IpAddr) -> Option<IpAddr> {
        let fits = |source: &&IpAddr| source.is_ipv4() == dialled.is_ipv4();
        let sources = || self.generator.sources.iter().filter(fits);
        let turn = connection as usize / self.target.endpoints.len().max(1);
        sources().nth(turn % sources().count().max(1)).copied()
    }
    /// The phase a moment (nanoseconds from the start) falls into; the last one for anything later.
    pub fn phase_at(&self, ns: u64) -> usize {
        self.phases
            .partition_point(|p| p.end.as_nanos() as u64 <= ns)
            .min(self.phases.len().saturating_sub(1))
    }
}

/// How far a row is turned: the multiplicative hash of Knuth (TAOCP 6.4), whose upper half is even whatever the
/// distance of the rows that one asks for. Row 0 is not.
fn turned(row: u32) -> u32 {
    row.wrapping_mul(0x9e37_79b1) >> 16
}

/// A named stretch of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Name, unique.
    pub name: String,
    /// Start, from the run's start.
    pub start: Duration,
    /// End; the next phase's start.
    pub end: Duration,
    /// Faults in it, for the report's timeline.
    pub faults: Vec<PlannedFault>,
}

/// Connections alike in what they do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Name, unique.
    pub name: String,
    /// Connections.
    pub count: u32,
    /// Number of the group's first connection among all of the run's connections.
    pub first: u32,
    /// When each connection opens.
    pub opening: Opening,
    /// Variables by slot; [`Part::Var`] points into this.
    pub vars: Vec<Var>,
    /// The upgrade request, the target's part included.
    pub upgrade: Upgrade,
    /// How bytes get to the target.
    pub transport: Transport,
    /// Its tokens.
    pub auth: Option<Auth>,
    /// What is spoken.
    pub protocol: ProtocolConfig,
    /// What a connection introduces itself with, in protocols that have a session.
    pub introduction: Vec<(Field, Template)>,
    /// (header of the upgrade's answer in lower case, slot of the variable that gets its value).
    pub capture_headers: Vec<(String, u32)>,
    /// Whether the cookies that answers to upgrades set are sent when a connection comes back.
    pub keep_cookies: bool,
    /// permessage-deflate, if it is offered.
    pub compression: Option<Offer>,
    /// What tells the node that serves a connection.
    pub node: Option<NodeSource>,
    /// Done on each new connection before it subscribes.
    pub on_open: Vec<Step>,
    /// Topics each connection subscribes to.
    pub subscribe: Vec<Template>,
    /// What is published.
    pub publish: Vec<Publish>,
    /// What is asked.
    pub request: Vec<Request>,
    /// Own pings.
    pub heartbeat: Option<Heartbeat>,
    /// What a lost connection does.
    pub reconnect: Option<Reconnect>,
    /// How a connection that comes back asks for what it missed; `None`: it begins anew.
    pub resume: Option<Resume>,
    /// How long a connection stays.
    pub lifetime: Lifetime,
    /// Where its publish goes, if not to the target but into a broker behind it: then its connections, which are publishers, never open.
    pub inject: Option<Inject>,
}

impl Group {
    /// Whether its connections poll.
    pub fn polls(&self) -> bool {
        let polls = matches!(&self.transport, Transport::Http(http) if http.poll.is_some());
        polls && !self.subscribe.is_empty()
    }
}

/// Publishing into a broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inject {
    /// Which.
    pub broker: broker::Config,
    /// Subject, topic there.
    pub address: Template,
    /// What its partition is chosen by, where it has such.
    pub key: Option<Template>,
}

/// How bytes get to the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// WebSocket.
    WebSocket,
    /// Server-sent events or long polls to subscribers, HTTP POST from publishers. A group is one or the other.
    Http(Box<OverHttp>),
    /// Several, each tried when the one before it fails.
    Ladder(Box<Ladder>),
}

/// How subscribers are told over HTTP, and what publishers post. Paths' values are [percent-encoded](super::percent_encode).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverHttp {
    /// Subscribers ask again and again; `None`: they have a stream of events.
    pub poll: Option<Poll>,
    /// Path and query that subscribers ask for; [`Builtin::Topic`] is all topics subscribed to, with commas between.
    pub path: Template,
    /// Path and query that a publish is posted to.
    pub publish: Template,
    /// Content-Type of what is posted.
    pub content_type: String,
    /// Whether an answer that is no stream leads to another attempt.
    pub keep_trying: bool,
}

/// Long polls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// What of an answer the next poll says again.
    pub cursors: Vec<Cursor>,
    /// Each line of an answer is a message; else the answer is.
    pub lines: bool,
    /// A poll without an answer for so long means that the target is dead.
    pub timeout: Duration,
}

/// A part of the cursor: how far a poll has heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Header of the answer that tells it, in lower case.
    pub from: String,
    /// Where the next poll says it.
    pub to: CursorTo,
}

/// Where a poll says its cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CursorTo {
    /// In this header.
    Header(String),
    /// In this parameter of the query.
    Query(String),
}

/// The upgrade request of a group's connections. Templates hold variables of that group, which is why
/// each group has its own, whole: the target's headers with the group's over them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Path and query by endpoint, as far as known; see [`Upgrade::path`]. Values are put in
    /// [percent-encoded](super::percent_encode).
    pub paths: Vec<Template>,
    /// Headers beside those of the upgrade itself: `Cookie`, `Origin`, `Authorization` and the like.
    pub headers: Vec<(String, Template)>,
    /// A subprotocol offered beside the others, as services have tokens in it that know no better place.
    pub subprotocol: Option<Template>,
}

impl Upgrade {
    /// Path and query for an endpoint. The last one stands for all that follow: the embedded gateway's
    /// addresses are known only later, and all have one path.
    pub fn path(&self, endpoint: usize) -> &Template {
        static ROOT: Template = Template { parts: Vec::new() };
        self.paths
            .get(endpoint)
            .or(self.paths.last())
            .unwrap_or(&ROOT)
    }
}

/// When the connections of a group open: cumulative count over time, linear between the knots.
///
/// Connection j (from 0) opens when the curve passes j (for a jump: at the jump), so that the first of a
/// ramp opens at its start and the last one gap before its end. Knots are sorted by time, counts never
/// fall; connections beyond the last count never open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// (time from the run's start, connections opened by then).
    pub knots: Vec<(Duration, u32)>,
}

/// A template compiled to parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Template {
    /// In order.
    pub parts: Vec<Part>,
}

/// One part of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// As it is.
    Text(String),
    /// The group's variable in this slot.
    Var(u32),
    /// A built-in.
    Builtin(Builtin),
}

/// What every template may use beside the group's variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Builtin {
    /// `{connection}`: the connection's number in the run, from 0.
    Connection,
    /// `{index}`: the connection's number in its group, from 0.
    Index,
    /// `{group}`: the group's name.
    Group,
    /// `{topic}`: of the message.
    Topic,
    /// `{id}`: a number unique on the connection.
    Id,
    /// `{payload}`: the stamped payload.
    Payload,
    /// `{token}`: the token that the connection shows.
    Token,
    /// `{last}`: the last value found at the pointer that the group's session is resumed by.
    Last,
}

/// A variable of a connection; the value is a pure function of (seed, connection).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Var {
    /// Name in templates.
    pub name: String,
    /// Where its values come from.
    pub source: VarSource,
}

/// Where a variable's values come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum VarSource {
    /// By index in the group, over and over. Never empty.
    Cycle(Vec<String>),
    /// This plus the index in the group.
    Sequence(i64),
    /// One of these, seeded. Never empty.
    Choice(Vec<String>),
    /// From the first to the second, seeded.
    Int(i64, i64),
    /// That many random hexadecimal digits, seeded.
    Hex(u32),
    /// Set by a header of the upgrade's answer or an `expect` step's capture; empty before.
    Captured,
}

/// What tells the node of the target that serves a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeSource {
    /// A header of the upgrade's answer, in lower case.
    Header(String),
    /// The captured variable in this slot.
    Var(u32),
}

/// One thing a new connection does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    /// Send a text message.
    Send(Template),
    /// Wait for a message.
    Expect(Expect),
    /// Do nothing for a while.
    Pause(Duration),
}

/// A message waited for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Expect {
    /// What it must be.
    pub matching: Matcher,
    /// For how long.
    pub within: Duration,
    /// (variable slot, JSON pointer).
    pub capture: Vec<(u32, String)>,
}

/// A test of a message; all given parts must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Matcher {
    /// Text that must occur.
    pub contains: Option<Template>,
    /// JSON pointer that must exist.
    pub pointer: Option<String>,
    /// The value there, as text.
    pub equals: Option<Template>,
}

/// How often something is due, over the run: piecewise constant, for the whole group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Sorted, not overlapping; outside of them nothing is due.
    pub segments: Vec<Segment>,
    /// How arrivals are spaced.
    pub arrivals: Arrivals,
}

/// A stretch of one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// From the run's start.
    pub start: Duration,
    /// Exclusive.
    pub end: Duration,
    /// Events per second of the whole group; finite, above 0.
    pub rate: f64,
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrivals {
    /// Evenly; event i goes to the group's connection i mod count.
    Constant,
    /// Every connection an independent seeded Poisson process of rate/count.
    Poisson,
}

/// A stream of messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publish {
    /// Topic; empty for raw.
    pub topic: Template,
    /// When.
    pub profile: Profile,
    /// Payload size in bytes, stamp included.
    pub size: Size,
    /// Payload before the stamp; filler when empty.
    pub payload: Template,
}

/// A question with an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Name in reports.
    pub name: String,
    /// The message.
    pub send: Template,
    /// When.
    pub profile: Profile,
    /// Payload size in bytes, stamp included.
    pub size: Size,
    /// How the answer is known.
    pub reply: Reply,
    /// After this it counts as timed out.
    pub timeout: Duration,
}

/// How an answer is matched to its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// JSON pointer to the `{id}`, as number or text.
    Id(String),
    /// By the stamp in it.
    Stamp,
    /// Text that must occur; oldest request first.
    Contains(String),
}

/// A payload size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Size {
    /// Always this.
    Fixed(u32),
    /// Evenly between, both included.
    Uniform(u32, u32),
    /// Exponential with the mean, cut at the maximum.
    Exponential {
        /// Before the cut.
        mean: f64,
        /// Largest.
        max: u32,
    },
}

/// Pings and their deadline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Between pings.
    pub every: Duration,
    /// Without a pong for this long, the peer is dead.
    pub timeout: Duration,
}

/// What a lost connection does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reconnect {
    /// How long it waits.
    pub backoff: Backoff,
    /// First backoff.
    pub base: Duration,
    /// Largest backoff.
    pub cap: Duration,
    /// In a row before giving up; `None`: no limit.
    pub attempts: Option<u32>,
    /// What close codes lead to; the first that has the code decides, see [`on_close`](super::on_close).
    pub codes: Vec<CodeRule>,
}

/// The wait before reconnect attempt n (from 0), with b = min(cap, base·2ⁿ).
///
/// Jitter: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The clients' policies are those of
/// their sources, without their rounding to whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// 0
    None,
    /// base
    Constant,
    /// b
    NoJitter,
    /// uniform [0, b]
    FullJitter,
    /// b/2 + uniform [0, b/2]
    EqualJitter,
    /// min(cap, uniform [base, 3·previous])
    Decorrelated,
    /// uniform [0, b]. RFC 6455, section 7.2.3: a random first delay, for which it calls 0 to 5 s reasonable, then
    /// truncated binary exponential backoff, whose draw in IEEE 802.3 is uniform from 0 to the doubled range.
    Rfc6455,
    /// A table of steps, the same for everyone: `reconnectAfterMs` in phoenixframework/phoenix,
    /// `assets/js/phoenix/socket.js`.
    Phoenix,
    /// min(cap, base·2ⁿ·(1 ± r/2)), where r is uniform [0, 1) and its first decimal says which: minus if it is even.
    /// `duration` in socketio/socket.io, `packages/socket.io-client/lib/contrib/backo2.ts`, with `manager.ts`'s defaults.
    SocketIo,
    /// min(cap, base + uniform [0, b]): `backoff` in centrifugal/centrifuge-js, `src/utils.ts`.
    Centrifuge,
}

/// What the close codes from one to another lead to, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRule {
    /// First code.
    pub from: u16,
    /// Last code.
    pub to: u16,
    /// What they lead to.
    pub then: OnClose,
}

/// What a close code leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnClose {
    /// The connection does not come back.
    Stop,
    /// It comes back at once.
    Now,
    /// It comes back after the policy's wait.
    BackOff,
    /// It comes back after a wait evenly drawn between the two.
    Within(Duration, Duration),
    /// It goes to another address at once; where there is none, it waits as the policy does after many attempts.
    Elsewhere,
}

/// How a connection that comes back asks for what it missed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Resume {
    /// Each topic from the service's own number on. The protocol has a resubscribe message, and subscriptions are by name.
    Topics,
    /// As a session.
    Session(Box<Session>),
    /// As the protocol does it, if the target has kept what there was.
    Protocol,
}

/// How a session is taken up again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Added to the address: `a=1&b=2`, values to be [percent-encoded](super::percent_encode); may be empty.
    pub query: Template,
    /// Added to the upgrade.
    pub headers: Vec<(String, Template)>,
    /// Sent first.
    pub first: Option<Template>,
    /// JSON pointer to what `{last}` is.
    pub last: Option<String>,
    /// Nothing is missing.
    pub recovered: Matcher,
    /// The state is lost.
    pub lost: Option<Matcher>,
    /// How long to wait for either.
    pub within: Duration,
}

/// How long a connection stays before it is closed and replaced.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Lifetime {
    /// To the end.
    Forever,
    /// Always this.
    Fixed(Duration),
    /// Evenly between.
    Uniform(Duration, Duration),
    /// With this mean.
    Exponential(Duration),
}

/// How the generator is run and judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GeneratorPlan {
    /// Worker processes.
    pub shards: u32,
    /// Local addresses, used in turn; empty: the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// A second whose p99 lag is over this makes the run invalid.
    pub max_lag: Duration,
    /// CPU share of one core that makes a second count as saturated.
    pub max_cpu: f64,
    /// How long the end waits for messages under way.
    pub drain: Duration,
}
