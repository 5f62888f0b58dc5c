//! A plan's needs against the machine's limits: what is short, and the command that lifts it.

use super::{
    ALL_PORTS, GatewayShape, Machine, Needs, PER_SOURCE, SPARE_DESCRIPTORS, beside, per_endpoint,
    vanished,
};
use crate::plan::types::Plan;
use std::collections::BTreeMap;
use std::time::Duration;

/// Processes and threads beside shards and nodes: the coordinator's own.
const SPARE_PROCESSES: u64 = 32;
/// A shard's loop, its two threads for the coordinator's pipes, and one that looks up a name.
const TASKS_PER_SHARD: u64 = 4;

/// Something the machine has too little of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// What.
    pub what: &'static str,
    /// How much there is.
    pub has: u64,
    /// How much it takes.
    pub needs: u64,
    /// The command, or what else helps.
    pub command: String,
    /// The run could not do what is planned; otherwise it would be slower or distorted.
    pub fatal: bool,
}

/// Everything there is too little of.
pub(super) fn shortages(
    needs: &Needs,
    plan: &Plan,
    embedded: Option<GatewayShape>,
) -> Vec<Shortage> {
    let machine = &needs.machine;
    let sockets = needs.connections + vanished(plan, 1) + beside(plan);
    let mut list = List {
        machine,
        found: Vec::new(),
    };
    descriptors(needs, sockets, embedded, &mut list);
    let gateway = embedded.map_or(0, |gateway| gateway.tasks(needs.cores));
    let tasks = u64::from(needs.shards) * TASKS_PER_SHARD + gateway + SPARE_PROCESSES;
    list.fatal(
        "processes and threads that may still be started",
        machine.processes,
        tasks,
        format!(
            "ulimit -u {tasks}   (or fewer `generator.shards`; the limit may be `TasksMax` of systemd or \
             `--pids-limit` of a container, too)"
        ),
    );
    ports(needs, plan, &mut list);
    let waiting = embedded.map_or(0, |gateway| gateway.share(at_once(plan)));
    let command = list.sysctl("net.core.somaxconn", waiting);
    list.distorting(
        "places to wait for being accepted",
        machine.somaxconn.into(),
        waiting,
        command,
    );
    // A connection to this machine is one to the firewall, though it has two ends.
    let command = list.sysctl("net.netfilter.nf_conntrack_max", sockets + sockets / 10);
    list.distorting(
        "connections the firewall keeps track of",
        machine.tracked,
        sockets,
        command,
    );
    list.fatal(
        "bytes of memory",
        machine.memory_available,
        needs.memory,
        "lower the counts, or use a machine with more memory".into(),
    );
    list.found
}

/// Of so many connections, those that a fault leaves open included.
fn descriptors(needs: &Needs, sockets: u64, embedded: Option<GatewayShape>, list: &mut List<'_>) {
    let machine = list.machine;
    let shard = needs.descriptors_per_shard;
    let command = list.ulimit(shard, "more `generator.shards`");
    list.fatal("descriptors per shard", machine.descriptors, shard, command);
    let node = embedded.map_or(0, |gateway| gateway.descriptors(sockets));
    let several = embedded.is_some_and(|gateway| gateway.nodes > 1);
    let enough = GatewayShape::enough(sockets, embedded, machine.descriptors);
    let what = if several {
        "descriptors per node of the embedded gateway"
    } else {
        "descriptors of the embedded gateway"
    };
    let command = list.ulimit(node, &format!("`target.embedded.nodes: {enough}`"));
    list.fatal(what, machine.descriptors, node, command);
    let nodes = embedded.map_or(0, |shape| u64::from(shape.nodes) * node);
    let all = u64::from(needs.shards) * SPARE_DESCRIPTORS + sockets + nodes;
    let command = list.sysctl("fs.file-max", all + all / 10);
    list.fatal(
        "descriptors of all processes",
        machine.file_max,
        all,
        command,
    );
    let command = list.sysctl("fs.epoll.max_user_watches", all + all / 10);
    list.fatal(
        "descriptors watched by epoll",
        machine.watches,
        all,
        command,
    );
}

fn ports(needs: &Needs, plan: &Plan, list: &mut List<'_>) {
    let (low, high) = list.machine.port_range;
    let range = match high {
        0 => 0,
        _ => u64::from(high.saturating_sub(low)) + 1,
    };
    let ports = needs.ports_per_source;
    let sources = per_endpoint(plan).div_ceil(PER_SOURCE);
    let more = format!(
        "give {sources} addresses as `generator.sources` (ip address add ADDRESS dev DEVICE)"
    );
    let command = if ports <= ALL_PORTS {
        list.sysctl("net.ipv4.ip_local_port_range", "\"1024 65535\"")
    } else {
        more.clone()
    };
    list.fatal(
        "local ports to one address of the target",
        range,
        ports,
        command,
    );
    if ports <= range {
        list.distorting(
            "source addresses for fast connecting",
            u64::from(needs.sources.max(1)),
            sources,
            more,
        );
    }
}

struct List<'a> {
    machine: &'a Machine,
    found: Vec<Shortage>,
}

impl List<'_> {
    /// Without it the run could not do what is planned.
    fn fatal(&mut self, what: &'static str, has: u64, needs: u64, command: String) {
        self.compare(what, has, needs, command, true);
    }

    /// Without it the run would be slower or distorted.
    fn distorting(&mut self, what: &'static str, has: u64, needs: u64, command: String) {
        self.compare(what, has, needs, command, false);
    }

    fn compare(&mut self, what: &'static str, has: u64, needs: u64, command: String, fatal: bool) {
        if has > 0 && needs > has {
            self.found.push(Shortage {
                what,
                has,
                needs,
                command,
                fatal,
            });
        }
    }

    /// The command for one of the kernel's limits.
    fn sysctl(&self, key: &str, value: impl std::fmt::Display) -> String {
        let sudo = if self.machine.root { "" } else { "sudo " };
        format!("{sudo}sysctl -w {key}={value}")
    }

    /// What helps when a process may have too few descriptors; the soft limit is raised already.
    fn ulimit(&self, needed: u64, or: &str) -> String {
        if self.machine.root {
            format!("ulimit -n {needed}   (or {or})")
        } else {
            let of = self.machine.descriptors;
            format!(
                "{or}, or have root lift your own hard limit of {of}: `* hard nofile {needed}` in \
                 /etc/security/limits.conf and a new login"
            )
        }
    }
}

/// Connections of the largest jump.
fn at_once(plan: &Plan) -> u64 {
    let mut jumps: BTreeMap<Duration, u64> = Default::default();
    for group in plan.groups() {
        let mut before: Option<(Duration, u32)> = None;
        for &(time, count) in &group.opening.knots {
            let from = match before {
                None => Some(0),
                Some((at, from)) => (at == time).then_some(from),
            };
            *jumps.entry(time).or_default() += from.map_or(0, |from| u64::from(count - from));
            before = Some((time, count));
        }
    }
    jumps.into_values().max().unwrap_or(0)
}
