//! Names of the target's nodes, as it tells them: cleaned, of bounded length, and of bounded number.
//!
//! Where no node was told, or too many different ones were, that is a count of its own and never a guess.

use super::clean::{LONGEST, clean};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Different nodes that are told apart, in a shard and in a run.
pub(super) const NODES: usize = 1024;

/// Addresses, or nodes, of the target that are followed over time: a plot of more says nothing.
pub const PLACES_OVER_TIME: usize = 32;

/// How unevenly connections lie over places: most ÷ mean. `None`: there is one place, or none of them.
pub fn uneven(places: &[u64]) -> Option<f64> {
    let (sum, most) = (places.iter().sum::<u64>(), places.iter().max()?);
    (places.len() > 1 && sum > 0).then(|| *most as f64 * places.len() as f64 / sum as f64)
}

/// The node that served a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeName {
    /// As the target calls it.
    Named(String),
    /// The target did not say, or said what cannot be a name: nothing, or more than 200 characters.
    Untold,
    /// One beyond the 1,024 that are told apart.
    Beyond,
}

/// A shard's number for a node, for as long as the shard lives: two bytes that a connection can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Node(u16);

impl Node {
    /// Not told.
    pub const UNTOLD: Node = Node(0);
    const BEYOND: Node = Node(u16::MAX);

    /// Whether it is known which one it is: two that are not may be the same or not.
    pub fn is_known(self) -> bool {
        self != Node::UNTOLD && self != Node::BEYOND
    }
}

/// The names that a shard has heard.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    numbers: HashMap<String, u16>,
}

impl Names {
    /// The number of a node that calls itself so.
    pub(super) fn number(&mut self, told: &[u8]) -> Node {
        if told.len() > LONGEST {
            return Node::UNTOLD;
        }
        let name = clean(told);
        if name.is_empty() {
            return Node::UNTOLD;
        }
        if let Some(number) = self.numbers.get(&name) {
            return Node(*number);
        }
        if self.names.len() >= NODES {
            return Node::BEYOND;
        }
        self.names.push(name.clone());
        let number = self.names.len() as u16;
        self.numbers.insert(name, number);
        Node(number)
    }

    pub(super) fn name(&self, node: Node) -> NodeName {
        if node == Node::UNTOLD {
            return NodeName::Untold;
        }
        match self.names.get(usize::from(node.0) - 1) {
            Some(name) => NodeName::Named(name.clone()),
            None => NodeName::Beyond,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_once_and_cleaned() {
        let mut names = Names::default();
        let a = names.number(b"node-a");
        assert!(a.is_known());
        assert_eq!(a, names.number(b" node-a\r\n"));
        assert_eq!(names.name(a), NodeName::Named("node-a".into()));
        let red = names.number(b"\x1b[31mred\x07");
        assert_eq!(names.name(red), NodeName::Named("red".into()));
        assert_ne!(a, red);
        for none in [&b""[..], b" \x07", &[b'x'; LONGEST + 1]] {
            assert_eq!(names.number(none), Node::UNTOLD, "{none:?}");
        }
        assert_eq!(names.name(Node::UNTOLD), NodeName::Untold);
        assert!(!Node::UNTOLD.is_known());
    }

    #[test]
    fn more_names_than_there_is_room_for_are_one_and_nobody_knows_which() {
        let mut names = Names::default();
        for i in 0..NODES {
            assert!(names.number(format!("n{i}").as_bytes()).is_known());
        }
        let beyond = names.number(b"one more");
        assert!(!beyond.is_known());
        assert_eq!(beyond, names.number(b"another"));
        assert_eq!(names.name(beyond), NodeName::Beyond);
        assert!(names.number(b"n7").is_known());
    }
}
