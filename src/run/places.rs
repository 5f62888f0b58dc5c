//! Where at the target connections were served: its addresses, and its nodes as it tells them.

use crate::metrics::{NodeName, PLACES_OVER_TIME, Second, Totals};
use crate::plan::Plan;
use crate::report::{NodesReport, PlaceOverTime, PlaceReport};
use std::collections::{BTreeMap, BTreeSet};

/// Openings by address, of all there are.
pub(super) fn endpoints(plan: &Plan, totals: &Totals) -> Vec<PlaceReport> {
    let all = totals.endpoints(None, None);
    let phases = by_phase(plan, |phase| totals.endpoints(Some(phase), None));
    let endpoints = plan.target().endpoints.iter().enumerate();
    endpoints
        .map(|(index, endpoint)| {
            // There are no more than two bytes can tell.
            let key = index as u16;
            place(endpoint.to_string(), &key, all.get(&key).copied(), &phases)
        })
        .collect()
}

/// Openings by node, in groups that say how the target tells them.
pub(super) fn nodes(plan: &Plan, totals: &Totals) -> NodesReport {
    let phases = by_phase(plan, |phase| totals.nodes(Some(phase), None));
    let mut report = NodesReport::default();
    for (node, opened) in totals.nodes(None, None) {
        match &node {
            NodeName::Named(name) => {
                let told = place(name.clone(), &node, Some(opened), &phases);
                report.told.push(told);
            }
            NodeName::Untold => report.untold += opened,
            NodeName::Beyond => report.beyond += opened,
        }
    }
    report
}

/// Open connections by node, or where none is told by address, at the end of each second.
pub(super) fn over_time(plan: &Plan, totals: &Totals) -> Vec<PlaceOverTime> {
    let seconds = totals.timeline();
    // Shards that met fewer tell theirs, which would be a part of the connections.
    let named = totals.nodes(None, None).into_keys();
    let named = named.filter(|node| matches!(node, NodeName::Named(_)));
    if named.count() > PLACES_OVER_TIME {
        return Vec::new();
    }
    let nodes: BTreeSet<&String> = seconds
        .iter()
        .flat_map(|second| second.open_by_node.keys())
        .collect();
    let series = |name: String, open: &dyn Fn(&Second) -> Option<u64>| PlaceOverTime {
        name,
        open: seconds.iter().map(|s| open(s).unwrap_or(0)).collect(),
    };
    let places: Vec<PlaceOverTime> = match nodes.is_empty() {
        false => (nodes.into_iter())
            .map(|node| series(node.clone(), &|s| s.open_by_node.get(node).copied()))
            .collect(),
        true => (plan.target().endpoints.iter().enumerate())
            .map(|(at, endpoint)| {
                series(endpoint.to_string(), &|s| {
                    s.open_by_endpoint.get(at).copied()
                })
            })
            .collect(),
    };
    match places.len() {
        2..=PLACES_OVER_TIME => places,
        _ => Vec::new(),
    }
}

/// Openings of one phase after the other, with the phases' names.
type ByPhase<K> = Vec<(String, BTreeMap<K, u64>)>;

fn by_phase<K>(plan: &Plan, openings: impl Fn(usize) -> BTreeMap<K, u64>) -> ByPhase<K> {
    let phases = plan.phases().iter().enumerate();
    phases
        .map(|(index, phase)| (phase.name.clone(), openings(index)))
        .collect()
}

fn place<K: Ord>(name: String, key: &K, opened: Option<u64>, phases: &ByPhase<K>) -> PlaceReport {
    let opened_by_phase = phases
        .iter()
        .filter_map(|(phase, openings)| Some((phase.clone(), *openings.get(key)?)));
    PlaceReport {
        name,
        opened: opened.unwrap_or(0),
        opened_by_phase: opened_by_phase.collect(),
    }
}
