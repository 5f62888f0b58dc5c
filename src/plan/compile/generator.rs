//! The generator's own settings, and how many shards and source addresses the plan gets.

use super::Problems;
use super::topics::Traffic;
use crate::plan::needs::{self, GatewayShape, Machine, Needs};
use crate::plan::types::{GeneratorPlan, Group, Lifetime, Part, Plan};
use crate::scenario::{Problem, Scenario};
use crate::transport::Pick;
use std::net::IpAddr;
use std::time::Duration;

/// More processes than this are a mistake.
const MOST_SHARDS: u32 = 1024;
/// Connections opened per second and core that are likely to be too many.
const USUAL_OPENS: f64 = 10_000.0;

/// Checks the settings; shards are 0 when the machine decides.
pub(super) fn compile(scenario: &Scenario, problems: &mut Problems) -> GeneratorPlan {
    let written = &scenario.generator;
    problems.zero(
        written.shards == Some(0),
        "generator.shards",
        "the number of shards",
    );
    if written.shards.is_some_and(|n| n > MOST_SHARDS) {
        problems.add(Problem::error(
            "generator.shards",
            format!("more than {MOST_SHARDS} shards are not run"),
        ));
    }
    let mut sources: Vec<IpAddr> = Vec::new();
    for (i, text) in written.sources.iter().enumerate() {
        let path = format!("generator.sources[{i}]");
        match text.parse() {
            Ok(source) if sources.contains(&source) => {
                problems.add(Problem::error(path, format!("`{text}` is there twice")));
            }
            Ok(source) => sources.push(source),
            Err(_) => problems.add(Problem::error(
                path,
                format!("`{text}` is not an IP address"),
            )),
        }
    }
    let max_lag = written.max_lag.map_or(Duration::from_millis(100), |d| d.0);
    problems.zero(max_lag.is_zero(), "generator.max_lag", "the largest lag");
    let max_cpu = written.max_cpu.map_or(0.95, |s| s.0);
    problems.zero(max_cpu <= 0.0, "generator.max_cpu", "the largest CPU share");
    let drain = written.drain.map_or(Duration::from_secs(5), |d| d.0);
    GeneratorPlan {
        shards: written.shards.unwrap_or(0),
        sources,
        max_lag,
        max_cpu,
        drain,
    }
}

/// Of a shared subscription each message goes to one member: only a shard that has them all can tell what is missing.
fn one_shard_if_shared(plan: &mut Plan, problems: &mut Problems) {
    let shares = |group: &Group| {
        let mut first = group
            .subscribe
            .iter()
            .filter_map(|topic| topic.parts.first());
        first.any(|part| matches!(part, Part::Text(text) if group.protocol.is_shared(text)))
    };
    if !plan.groups.iter().any(shares) {
        return;
    }
    match plan.generator.shards {
        0 => plan.generator.shards = 1,
        1 => {}
        _ => {
            let message = "a shared subscription (`$share/…`) is accounted for by one shard, which has all its members";
            problems
                .add(Problem::error("generator.shards", message).help("say 1, or leave it out"));
        }
    }
}

/// Gives the plan its shards and sources, and says what it needs.
pub(super) fn fit(
    plan: &mut Plan,
    scenario: &Scenario,
    machine: &Machine,
    traffic: &Traffic,
    problems: &mut Problems,
) -> Needs {
    let connections = plan.connections();
    one_shard_if_shared(plan, problems);
    plan.generator.shards = match plan.generator.shards {
        0 => needs::shards(connections, traffic.peak, machine),
        wanted if u64::from(wanted) > connections => {
            let message = format!(
                "{connections} connections cannot be shared by {wanted} shards; {connections} are run"
            );
            problems.add(Problem::warning("generator.shards", message));
            connections.max(1) as u32
        }
        wanted => wanted,
    };
    if plan.generator.sources.is_empty() {
        plan.generator.sources = needs::aliases(plan);
    }
    let needs = Needs::new(
        plan,
        scenario
            .target
            .embedded
            .as_ref()
            .map(|embedded| GatewayShape {
                nodes: super::target::nodes(embedded),
                one_port: embedded.one_port,
                failover: plan.target.pick == Pick::Failover,
            }),
        traffic.into(),
        machine,
    );
    if let Some(usual) = traffic.beyond(machine.cores) {
        let message = format!(
            "at its peak the run moves about {:.0} messages per second, on {} cores",
            traffic.peak, needs.cores
        );
        problems.add(
            Problem::warning("clients", message)
                .help(format!("beyond about {usual:.0} the generator is likely to be the limit, which makes a run invalid")),
        );
    }
    early(plan, problems);
    let usual = USUAL_OPENS * f64::from(machine.cores.max(1));
    for group in plan.groups() {
        let path = format!("clients.{}", group.name);
        if needs::steepest(group) > usual {
            let message = format!(
                "`{}` opens {:.0} connections per second",
                group.name,
                needs::steepest(group)
            );
            problems.add(
                Problem::warning(path, message)
                    .help(format!("beyond about {usual:.0} they will be late")),
            );
            continue;
        }
        let mean = match group.lifetime {
            Lifetime::Forever => continue,
            Lifetime::Fixed(time) => time,
            Lifetime::Uniform(low, high) => (low + high) / 2,
            Lifetime::Exponential(mean) => mean,
        };
        let replaced = f64::from(group.count) / mean.as_secs_f64();
        if replaced > usual {
            let message = format!("this replaces {replaced:.0} connections per second");
            let help = format!("beyond about {usual:.0} they will be late");
            problems.add(Problem::warning(format!("{path}.lifetime"), message).help(help));
        }
    }
    needs
}

/// Warns of what is due while a group is still opening: open-model schedules do not wait for connections.
fn early(plan: &Plan, problems: &mut Problems) {
    for group in plan.groups() {
        let open = group
            .opening
            .knots
            .last()
            .map_or(Duration::ZERO, |knot| knot.0);
        let publishes = group
            .publish
            .iter()
            .map(|p| ("publish", group.publish.len(), &p.profile));
        let requests = group
            .request
            .iter()
            .map(|r| ("request", group.request.len(), &r.profile));
        for (i, (key, of, profile)) in publishes.enumerate().chain(requests.enumerate()) {
            let Some(first) = profile.segments.first() else {
                continue;
            };
            // A second is what a group that opens at once may well take.
            let before = open.saturating_sub(first.start).as_secs_f64();
            if before > 1.0 {
                let item = if of == 1 {
                    String::new()
                } else {
                    format!("[{i}]")
                };
                problems.add(
                    Problem::warning(
                        format!("clients.{}.{key}{item}", group.name),
                        format!("this begins {before:.1} s before all of the group is to be open"),
                    )
                    .help("what is due at a connection that is not open is counted as dropped; see `in`"),
                );
            }
        }
    }
}

impl From<&Traffic> for needs::Volume {
    fn from(traffic: &Traffic) -> Self {
        let [publishes, requests, deliveries] = traffic.total();
        let phases = traffic.phases.clone();
        needs::Volume {
            publishes,
            requests,
            deliveries,
            phases,
            peak_sent: traffic.peak_sent,
            peak: traffic.peak,
        }
    }
}
