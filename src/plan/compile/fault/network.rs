//! `network`: a part of a group's connections has a bad network.

use super::super::Problems;
use super::lasting::{Lasting, or_all};
use crate::plan::fault::{Effect, Network, PlannedFault};
use crate::plan::types::Phase;
use crate::scenario::model;
use crate::scenario::{Problem, Scenario};

/// Whose network, how bad, and when.
pub(super) fn compile(
    network: &model::Network,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let what = what(network, path, problems);
    let lasting = Lasting {
        name: "network",
        done: "behind it",
        clients: &network.clients,
        share: or_all(network.share, network.count),
        count: network.count,
        after: network.after,
        length: network.r#for,
        over: network.over,
    };
    let checked = lasting.check(path, scenario, phase, problems)?;
    let (label, what) = (label(&checked.who, network), what?);
    checked.planned(label, Effect::Network(what), path, phase, problems)
}

/// In words: `100% of phones behind 100ms ± 20ms, 64KiB/s, writes of 16B`.
fn label(who: &str, network: &model::Network) -> String {
    let latency = network.latency.map(|latency| match network.jitter {
        Some(jitter) => format!("{latency} ± {jitter}"),
        None => latency.to_string(),
    });
    let bandwidth = network.bandwidth.map(|rate| rate.to_string());
    let slice = network.slice.map(|slice| format!("writes of {slice}"));
    let parts = [latency, bandwidth, slice].into_iter().flatten();
    format!("{who} behind {}", parts.collect::<Vec<_>>().join(", "))
}

fn what(network: &model::Network, path: &str, problems: &mut Problems) -> Option<Network> {
    let latency = network.latency.unwrap_or_default();
    let jitter = network.jitter.unwrap_or_default();
    let before = problems.list.len();
    if jitter > latency {
        let message = format!("a jitter of ± {jitter} is more than the latency of {latency}");
        problems.add(
            Problem::error(format!("{path}.jitter"), message)
                .help("nothing arrives before it was sent: give a `latency` at least as long"),
        );
    }
    let none = network.bandwidth.is_some_and(|rate| rate.0 == 0);
    problems.zero(none, format!("{path}.bandwidth"), "a bandwidth");
    let none = network.slice.is_some_and(|slice| slice.0 == 0);
    problems.zero(none, format!("{path}.slice"), "a slice");
    if problems.list.len() > before {
        return None;
    }
    if latency.0.is_zero() && network.bandwidth.is_none() && network.slice.is_none() {
        problems.add(
            Problem::error(path, "nothing is bad about this network")
                .help("give `latency`, such as 100ms, `bandwidth`, such as 64KiB/s, or `slice`, such as 16B"),
        );
        return None;
    }
    Some(Network {
        latency: latency.0,
        jitter: jitter.0,
        bandwidth: network.bandwidth.map(|rate| rate.0),
        slice: network
            .slice
            .map(|slice| slice.0.min(u64::from(u32::MAX)) as u32),
    })
}
