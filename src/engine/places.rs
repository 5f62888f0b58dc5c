//! How many connections are open at each place of the target now: at each of its addresses, and at each node where
//! groups are told theirs. Two additions an opening and an end.

use super::shard::Shard;
use crate::metrics::{Node, NodeName, PLACES_OVER_TIME};
use std::collections::BTreeMap;

/// Open connections by place.
#[derive(Default)]
pub(super) struct Places {
    endpoints: Vec<u32>,
    /// Nodes that are known; one that lost its last connection stays, with none.
    nodes: BTreeMap<Node, u32>,
}

impl Places {
    /// One more, or one fewer, at an address and at a node, if that is known.
    fn change(&mut self, endpoint: u16, node: Option<Node>, change: impl Fn(&mut u32)) {
        let endpoint = usize::from(endpoint);
        if self.endpoints.len() <= endpoint {
            self.endpoints.resize(endpoint + 1, 0);
        }
        change(&mut self.endpoints[endpoint]);
        if let Some(node) = node.filter(|node| node.is_known()) {
            change(self.nodes.entry(node).or_default());
        }
    }
}

impl Shard {
    /// A connection is ready, and is counted where it is.
    pub(super) fn comes_to_place(&mut self, c: usize) {
        let (endpoint, node) = self.place_of_conn(c);
        self.places.change(endpoint, node, |open| *open += 1);
    }

    /// It is not any more.
    pub(super) fn leaves_place(&mut self, c: usize) {
        let (endpoint, node) = self.place_of_conn(c);
        self.places
            .change(endpoint, node, |open| *open = open.saturating_sub(1));
    }

    fn place_of_conn(&self, c: usize) -> (u16, Option<Node>) {
        let conn = &self.conns[c];
        let group = &self.groups[usize::from(conn.group)];
        (conn.endpoint, group.nodes.get(c - group.base).copied())
    }

    /// By address, if there are several; none where they are too many to be drawn.
    pub(super) fn open_by_endpoint(&self) -> Vec<u32> {
        match self.plan.target().endpoints.len() {
            2..=PLACES_OVER_TIME => self.places.endpoints.clone(),
            _ => Vec::new(),
        }
    }

    /// By node, likewise.
    pub(super) fn open_by_node(&self) -> Vec<(NodeName, u32)> {
        let nodes = &self.places.nodes;
        let few = (1..=PLACES_OVER_TIME).contains(&nodes.len());
        let told = nodes.iter().filter(|_| few);
        told.map(|(node, open)| (self.recorder.name(*node), *open))
            .collect()
    }
}
