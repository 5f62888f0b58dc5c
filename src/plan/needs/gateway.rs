//! What the embedded gateway takes of the machine.

use super::{KIB, MIB, SPARE_DESCRIPTORS};

/// Memory of a node without connections: measured, 0.5 MiB and 4 MiB for one that is alone, with room for what is on its way.
const BASE: u64 = 4 * MIB;
/// User memory of a connection that waits, and the kernel's part of it. Measured: 1.2 KiB.
const PER_CONNECTION: u64 = 2 * KIB + 6 * KIB;
/// What TLS adds to it. Measured: 7.7 KiB.
const PER_SECURE: u64 = 10 * KIB;

/// How many processes serve, and how connections come to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct GatewayShape {
    pub nodes: u16,
    pub one_port: bool,
    /// All connections may be at one node, as they go on to the next together.
    pub failover: bool,
}

impl GatewayShape {
    /// Of so many connections, those of the node that has the most. Where the kernel spreads them, 5 % more
    /// than an even share are allowed for.
    pub(super) fn share(self, connections: u64) -> u64 {
        if self.failover && !self.one_port {
            return connections;
        }
        let even = connections.div_ceil(u64::from(self.nodes.max(1)));
        if self.one_port && self.nodes > 1 {
            (even + even.div_ceil(20)).min(connections)
        } else {
            even
        }
    }

    /// Descriptors of the node that needs the most.
    pub(super) fn descriptors(self, connections: u64) -> u64 {
        self.share(connections) + SPARE_DESCRIPTORS
    }

    /// Processes and threads: alone it has a thread a core and two beside; each of several nodes has two, and so has
    /// their supervisor.
    pub(super) fn tasks(self, cores: u32) -> u64 {
        match self.nodes {
            0 | 1 => u64::from(cores) + 2,
            several => 2 * u64::from(several) + 2,
        }
    }

    /// Bytes of all nodes, with the kernel's part.
    pub(super) fn memory(self, connections: u64, secure: bool) -> u64 {
        let each = PER_CONNECTION + if secure { PER_SECURE } else { 0 };
        u64::from(self.nodes) * BASE + connections * each
    }

    /// Nodes that would be enough with so many descriptors each.
    pub(super) fn enough(connections: u64, given: Option<GatewayShape>, descriptors: u64) -> u64 {
        let usable = descriptors.saturating_sub(SPARE_DESCRIPTORS).max(1);
        let one_port = given.is_some_and(|gateway| gateway.one_port);
        let nodes = connections.div_ceil(usable);
        if one_port {
            nodes + nodes.div_ceil(19)
        } else {
            nodes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_divide_descriptors() {
        let shape = |nodes, one_port| GatewayShape {
            nodes,
            one_port,
            failover: false,
        };
        assert_eq!(shape(1, false).descriptors(19_900), 20_100);
        assert_eq!(shape(1, true).descriptors(19_900), 20_100);
        assert_eq!(shape(56, false).descriptors(1_000_001), 17_858 + 200);
        assert_eq!(shape(56, true).descriptors(1_000_000), 17_858 + 893 + 200);
        assert_eq!(shape(4, true).share(1), 1);
        let failover = GatewayShape {
            failover: true,
            ..shape(4, false)
        };
        assert_eq!(failover.share(1_000), 1_000);
    }

    #[test]
    fn as_many_as_said_are_enough() {
        for connections in [19_801, 250_000, 1_000_000] {
            for one_port in [false, true] {
                let given = GatewayShape {
                    nodes: 2,
                    one_port,
                    failover: false,
                };
                let enough = GatewayShape::enough(connections, Some(given), 20_000);
                let nodes = u16::try_from(enough).unwrap();
                let shape = GatewayShape { nodes, ..given };
                assert!(shape.descriptors(connections) <= 20_000, "{shape:?}");
            }
        }
    }

    #[test]
    fn memory_is_by_node_and_by_connection() {
        let shape = GatewayShape {
            nodes: 3,
            one_port: false,
            failover: false,
        };
        assert_eq!(shape.memory(10, false), 3 * 4 * MIB + 80 * KIB);
        assert_eq!(shape.memory(10, true), 3 * 4 * MIB + 180 * KIB);
    }
}
