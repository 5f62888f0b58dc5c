//! What a plan takes, and what the machine is short of.
//!
//! Pure arithmetic: whoever calls reads the machine's limits. A limit of 0 is one that could not be read,
//! and is not held against the plan.

mod compare;
mod describe;
mod gateway;

pub use compare::Shortage;
pub use describe::describe;
pub(super) use gateway::GatewayShape;

use super::fault::{Action, Effect, How};
use super::types::{Group, Opening, Plan};
use crate::protocol::settings::socket_io::Polling;
use crate::transport::Pick;
use std::net::{IpAddr, Ipv4Addr};

/// The machine, as far as it limits a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// Cores the generator may use.
    pub cores: u32,
    /// Descriptors a process may have (the hard limit).
    pub descriptors: u64,
    /// Descriptors of all processes (`fs.file-max`).
    pub file_max: u64,
    /// Local ports the kernel chooses from, both included (`net.ipv4.ip_local_port_range`).
    pub port_range: (u16, u16),
    /// Bytes of memory that can be had without swapping, within the control groups.
    pub memory_available: u64,
    /// Connections that wait to be accepted (`net.core.somaxconn`).
    pub somaxconn: u32,
    /// Processes and threads that may still be started (`ulimit -u`, `pids.max` of the control groups).
    pub processes: u64,
    /// Descriptors that epoll may watch for one user (`fs.epoll.max_user_watches`).
    pub watches: u64,
    /// Connections that the firewall keeps track of, where it does (`net.netfilter.nf_conntrack_max`).
    pub tracked: u64,
    /// Whether this user may raise limits.
    pub root: bool,
}

/// What a plan takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// Connections of all groups.
    pub connections: u64,
    /// Connections by group.
    pub groups: Vec<(String, u64)>,
    /// The phases' traffic.
    pub phases: Vec<PhaseNeeds>,
    /// Publishes, requests and deliveries of the whole run; deliveries as far as they can be foreseen.
    pub publishes: f64,
    /// Requests of the whole run.
    pub requests: f64,
    /// Deliveries to subscribers of the whole run, as far as topics are known before.
    pub deliveries: f64,
    /// Most publishes and requests per second.
    pub peak_sent: f64,
    /// Most messages per second, in both directions.
    pub peak: f64,
    /// Worker processes.
    pub shards: u32,
    /// Connections of the largest shard.
    pub connections_per_shard: u64,
    /// Descriptors of the largest shard.
    pub descriptors_per_shard: u64,
    /// Source addresses named by the plan; 0: the kernel chooses one.
    pub sources: u32,
    /// Local ports of one source to one address of the target.
    pub ports_per_source: u64,
    /// Bytes, of all shards with the kernel's part (and of the embedded gateway).
    pub memory: u64,
    /// Cores there are.
    pub cores: u32,
    /// The machine it was compared with.
    pub machine: Machine,
    /// What there is too little of.
    pub shortages: Vec<Shortage>,
}

/// A phase's traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseNeeds {
    /// Name.
    pub name: String,
    /// Seconds.
    pub length: f64,
    /// Connections that open in it.
    pub opens: u64,
    /// Publishes per second, on the average.
    pub publishes: f64,
    /// Requests per second, on the average.
    pub requests: f64,
    /// Deliveries per second, on the average.
    pub deliveries: f64,
}

/// Messages, as foreseen.
#[derive(Debug, Clone, Default)]
pub(super) struct Volume {
    pub publishes: f64,
    pub requests: f64,
    pub deliveries: f64,
    /// By phase, the same three.
    pub phases: Vec<[f64; 3]>,
    pub peak_sent: f64,
    pub peak: f64,
}

/// Descriptors of a shard beside its connections: pipes, epoll, libraries, name lookups, headroom.
const SPARE_DESCRIPTORS: u64 = 200;
/// Connections to one address from one source, past which the kernel's search for a port gets slow: half of its own
/// range of 28,232 ports, as measured (0.66 CPU-seconds per 10,000 before, 3.6 and more after). From Linux 6.3 on each
/// socket has a larger range, and there is no such edge.
const PER_SOURCE: u64 = 14_000;
/// Ports that any user may be given.
const ALL_PORTS: u64 = 65_535 - 1_024 + 1;
/// Connections that one shard has before a further core is used.
const PER_SHARD: u64 = 5_000;
/// Messages per second that one shard moves before a further core is used.
const RATE_PER_SHARD: f64 = 25_000.0;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

/// Shards for that many connections and messages per second: per the cores, but two at least from 1,000
/// connections on, as many as descriptors ask for, and never more than connections.
pub(super) fn shards(connections: u64, peak: f64, machine: &Machine) -> u32 {
    let by_load = connections
        .div_ceil(PER_SHARD)
        .max((peak / RATE_PER_SHARD).ceil() as u64);
    let by_cores = by_load.min(u64::from(machine.cores.max(1)));
    let least = if connections >= 1_000 { 2 } else { 1 };
    let usable = machine.descriptors.saturating_sub(SPARE_DESCRIPTORS);
    let by_descriptors = if machine.descriptors == 0 {
        1
    } else {
        connections.div_ceil(usable.max(1))
    };
    // Descriptors so few that thousands of processes were needed are a shortage, not a plan.
    by_cores
        .max(least)
        .max(by_descriptors.min(256))
        .min(connections)
        .max(1) as u32
}

/// Loopback addresses to connect from, when one is not enough and the target is on this machine.
pub(super) fn aliases(plan: &Plan) -> Vec<IpAddr> {
    let loopback = |host: &str| {
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    };
    let needed = per_endpoint(plan).div_ceil(PER_SOURCE);
    let target = plan.target();
    let here = match &target.proxy {
        Some(proxy) => loopback(&proxy.host),
        None => target.endpoints.iter().all(|e| loopback(&e.host)),
    };
    if needed < 2 || !here {
        return Vec::new();
    }
    // 127.0.1.1, 127.0.1.2, … with 250 to a block, of which there are more than connections could need.
    (0..needed.min(250 * 254))
        .map(|i| {
            IpAddr::V4(Ipv4Addr::new(
                127,
                0,
                1 + (i / 250) as u8,
                1 + (i % 250) as u8,
            ))
        })
        .collect()
}

/// Sockets that vanished connections leave open, beside those that take their place: the most that one of so many
/// shards may have, as the seed may choose all victims among its connections.
fn vanished(plan: &Plan, shards: u64) -> u64 {
    let cuts = plan.faults().filter_map(|fault| match &fault.action {
        Action::Hit(hit) if hit.effect == Effect::Cut(How::Vanish) => {
            let own = u64::from(plan.groups()[hit.group as usize].count).div_ceil(shards);
            Some(own.min(hit.victims.into()))
        }
        _ => None,
    });
    cuts.sum()
}

/// Connections to the address that has the most.
fn per_endpoint(plan: &Plan) -> u64 {
    let addresses = match plan.target().pick {
        // Whatever is asked for, one address is dialled.
        _ if plan.target().proxy.is_some() => 1,
        Pick::Spread => plan.target().endpoints.len().max(1) as u64,
        // All at the first one, or all at the one that has taken over.
        Pick::Failover => 1,
    };
    (plan.connections() + vanished(plan, 1) + beside(plan)).div_ceil(addresses)
}

/// Most connections per second that a group's curve opens, jumps left out.
pub(super) fn steepest(group: &Group) -> f64 {
    let slope = |pair: &[(std::time::Duration, u32)]| {
        let time = (pair[1].0 - pair[0].0).as_secs_f64();
        if time > 0.0 {
            f64::from(pair[1].1 - pair[0].1) / time
        } else {
            0.0
        }
    };
    group
        .opening
        .knots
        .windows(2)
        .map(slope)
        .fold(0.0, f64::max)
}

/// Connections of a curve that are open by a moment.
fn opened_by(opening: &Opening, at: std::time::Duration) -> u64 {
    let behind = opening.knots.partition_point(|(time, _)| *time <= at);
    let (Some(before), after) = (
        behind.checked_sub(1).map(|i| opening.knots[i]),
        opening.knots.get(behind),
    ) else {
        return 0;
    };
    let Some(after) = after else {
        return u64::from(before.1);
    };
    let part = (at - before.0).as_secs_f64() / (after.0 - before.0).as_secs_f64();
    u64::from(before.1) + (f64::from(after.1 - before.1) * part).round() as u64
}

/// What a group's connections keep between messages that are made smaller, bytes, if the target accepts what is offered. Measured:
/// an inflater is 46.4 KiB whatever its window, a deflater of 2 to the power of n is 243.1 KiB and four times that.
fn pressed(group: &Group) -> u64 {
    let Some(offer) = group.compression else {
        return 0;
    };
    let sends = !group.publish.is_empty() || !group.request.is_empty();
    let reader = match offer.server_anew {
        true => 0,
        false => 47 * KIB,
    };
    let writer = match offer.client_anew || !sends {
        true => 0,
        false => (4 << offer.client_bits.unwrap_or(15)) + 244 * KIB,
    };
    u64::from(group.count) * (reader + writer)
}

/// The same of the embedded gateway, which keeps both directions of each connection, whatever was agreed on.
fn pressed_there(group: &Group) -> u64 {
    let Some(offer) = group.compression else {
        return 0;
    };
    let writer = (4 << offer.server_bits.unwrap_or(15)) + 244 * KIB;
    u64::from(group.count) * (47 * KIB + writer)
}

/// TCP connections that polling takes beside each connection's own: one for its posts, and one for the probe of its upgrade.
fn beside(plan: &Plan) -> u64 {
    let each = |group: &Group| match group.protocol.polling() {
        Polling::Never | Polling::Handshake => 0,
        Polling::Only => 1,
        Polling::Upgrade => 2,
    };
    let groups = plan.groups().iter();
    groups
        .map(|group| u64::from(group.count) * each(group))
        .sum()
}

impl Needs {
    pub(super) fn new(
        plan: &Plan,
        embedded: Option<GatewayShape>,
        volume: Volume,
        machine: &Machine,
    ) -> Needs {
        let connections = plan.connections();
        let shards = plan.generator().shards;
        let connections_per_shard = connections.div_ceil(u64::from(shards.max(1)));
        let held_per_shard = vanished(plan, u64::from(shards.max(1)));
        let vanished = vanished(plan, 1);
        let beside = beside(plan);
        let beside_per_shard = beside.div_ceil(u64::from(shards.max(1)));
        let sources = plan.generator().sources.len() as u32;
        let secure = plan.target().endpoints.iter().any(|e| e.tls);
        // User and kernel memory of an idle connection. Measured: 0.45 KiB and 5.1 KiB, and 4.5 KiB for TLS.
        let per_connection = KIB + 6 * KIB + if secure { 6 * KIB } else { 0 };
        let pressed: u64 = plan.groups().iter().map(pressed).sum();
        let sockets = connections + vanished + beside;
        let gateway = embedded.map_or(0, |gateway| {
            let pressed: u64 = plan.groups().iter().map(pressed_there).sum();
            gateway.memory(sockets, secure) + pressed
        });
        let phases =
            plan.phases()
                .iter()
                .zip(&volume.phases)
                .enumerate()
                .map(|(i, (phase, sums))| {
                    let length = (phase.end - phase.start).as_secs_f64();
                    let opens = |g: &Group| {
                        // The end of a phase belongs to the next, but the run's first moment to the first.
                        let before = match i {
                            0 => 0,
                            _ => opened_by(
                                &g.opening,
                                phase.start - std::time::Duration::from_nanos(1),
                            ),
                        };
                        let end = if i + 1 == plan.phases().len() {
                            phase.end
                        } else {
                            phase.end - std::time::Duration::from_nanos(1)
                        };
                        opened_by(&g.opening, end) - before
                    };
                    let [publishes, requests, deliveries] = sums.map(|sum| sum / length);
                    let opens = plan.groups().iter().map(opens).sum();
                    PhaseNeeds {
                        name: phase.name.clone(),
                        length,
                        opens,
                        publishes,
                        requests,
                        deliveries,
                    }
                });
        let mut needs = Needs {
            connections,
            groups: plan
                .groups()
                .iter()
                .map(|g| (g.name.clone(), u64::from(g.count)))
                .collect(),
            phases: phases.collect(),
            publishes: volume.publishes,
            requests: volume.requests,
            deliveries: volume.deliveries,
            peak_sent: volume.peak_sent,
            peak: volume.peak,
            shards,
            connections_per_shard,
            descriptors_per_shard: connections_per_shard
                + beside_per_shard
                + held_per_shard
                + SPARE_DESCRIPTORS,
            sources,
            ports_per_source: per_endpoint(plan).div_ceil(u64::from(sources.max(1))),
            memory: u64::from(shards) * 12 * MIB + sockets * per_connection + pressed + gateway,
            cores: machine.cores.max(1),
            machine: *machine,
            shortages: Vec::new(),
        };
        needs.shortages = compare::shortages(&needs, plan, embedded);
        needs
    }
}

#[cfg(test)]
mod tests;
