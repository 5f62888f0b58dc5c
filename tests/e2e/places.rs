//! Where connections are served, and where they come back: failover over addresses, and nodes that must be kept.

use crate::harness::{Gateway, Lab, Summary};
use nix::sys::signal::Signal::SIGKILL;
use serde_json::Value;
use std::net::TcpListener;

/// Openings by place: name, over the whole run.
fn opened(summary: &Summary, pointer: &str) -> Vec<(String, u64)> {
    let places = summary.at(pointer).as_array().expect("a list");
    let place = |place: &Value| {
        let name = place["name"].as_str().expect("a name").to_owned();
        (name, place["opened"].as_u64().expect("a count"))
    };
    places.iter().map(place).collect()
}

#[test]
fn when_the_first_address_refuses_all_are_at_the_second() {
    // Bound and closed again: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let first = format!("ws://{}", nobody.expect("a port"));
    let second = Gateway::start();
    let scenario = format!(
        "
name: refused
target: {{ url: ['{first}', 'ws://{}'], pick: failover }}
clients:
  subs: {{ count: 50, subscribe: [t], reconnect: {{ backoff: constant, base: 20ms }} }}
phases: [ {{ name: only, for: 1s }} ]
gates: ['opened == 50', 'failed refused == 50']
",
        second.address
    );
    for shards in ["1", "2"] {
        let done = Lab::untimed(&scenario).run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        let expected = [(first.clone(), 0), (format!("ws://{}", second.address), 50)];
        assert_eq!(opened(&summary, "/endpoints"), expected);
        assert_eq!(summary.at("/endpoints/1/opened_by_phase/only"), 50);
        assert!(done.stdout.contains("2 addresses: "), "{}", done.stdout);
    }
}

#[test]
fn when_a_server_dies_its_clients_move_on() {
    let (first, second) = (Gateway::start(), Gateway::start());
    let scenario = format!(
        "
name: dies
target: {{ url: ['ws://{}', 'ws://{}'], pick: failover }}
clients:
  subs:
    count: 40
    subscribe: [t]
    reconnect: {{ backoff: equal_jitter, base: 40ms }}
phases: [ {{ name: before, for: 1s }}, {{ name: after, for: 3s }} ]
gates: ['reconnected == 40 in after', 'gave_up == 0']
",
        first.address, second.address
    );
    let run = Lab::untimed(&scenario).start(&[]);
    run.wait_for_phase("after");
    first.signal(SIGKILL);
    let done = run.wait();
    let summary = done.expect(0).summary();
    let expected = [first.address, second.address].map(|address| (format!("ws://{address}"), 40));
    assert_eq!(opened(&summary, "/endpoints"), expected);
    assert_eq!(summary.at("/endpoints/0/opened_by_phase/before"), 40);
    assert_eq!(summary.at("/endpoints/1/opened_by_phase/after"), 40);
}

/// Half of thirty subscribers are cut and come back, to a gateway of three nodes.
fn cut(target: &str) -> String {
    format!(
        "
name: sticky
target: {{ {target} }}
clients:
  subs:
    count: 30
    subscribe: [t]
    node: {{ header: X-Squall-Node, moves: forbidden }}
    reconnect: {{ base: 50ms }}
phases:
  - {{ name: before, for: 1s }}
  - {{ name: after, for: 2s, faults: [ {{ drop: {{ clients: subs, share: 50%, how: reset }} }} ] }}
gates: ['reconnected == 15', 'gave_up == 0']
"
    )
}

#[test]
fn who_comes_back_to_its_own_address_keeps_its_node() {
    let done = Lab::untimed(&cut("embedded: { nodes: 3 }")).run(&["--shards", "2"]);
    let summary = done.expect(0).summary();
    assert_eq!((summary.count("moved"), summary.count("stayed")), (0, 15));
    // The gate that nobody wrote.
    assert_eq!(summary.text("/gates/2/text"), "moved == 0 of subs");
    assert_eq!(summary.text("/gates/2/status"), "passed");
    let nodes = opened(&summary, "/nodes/told");
    let names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["0", "1", "2"]);
    assert_eq!(summary.at("/nodes/untold"), 0);
    for (node, (_, n)) in nodes.iter().enumerate() {
        // A node's address is its own, and at first each has a third.
        assert_eq!(opened(&summary, "/endpoints")[node].1, *n);
        let before = format!("/nodes/told/{node}/opened_by_phase/before");
        assert_eq!(summary.at(&before), 10);
    }
    let all: u64 = nodes.iter().map(|(_, n)| n).sum();
    assert_eq!(all, 45);
    assert!(done.stdout.contains("3 nodes: 0 "), "{}", done.stdout);
}

#[test]
fn who_moved_though_it_must_not_fails_the_run() {
    // All go on from the first node to the second.
    let done = Lab::untimed(&cut("embedded: { nodes: 3 }, pick: failover")).run(&[]);
    let summary = done.expect(99).summary();
    assert_eq!((summary.count("moved"), summary.count("stayed")), (15, 0));
    assert_eq!(summary.text("/gates/2/status"), "failed");
    let nodes = opened(&summary, "/nodes/told");
    assert_eq!(nodes, [("0".to_owned(), 30), ("1".to_owned(), 15)]);
    let told = "15 of 15 came back on another node";
    assert!(done.stdout.contains(told), "{}", done.stdout);
}

#[test]
fn a_target_that_tells_no_node_gives_no_evidence_that_nobody_moved() {
    let silent = cut("embedded: {}").replace("X-Squall-Node", "X-Other");
    let done = Lab::untimed(&silent).run(&[]);
    let summary = done.expect(107).summary();
    assert_eq!(summary.text("/gates/2/status"), "no_evidence");
    assert_eq!(summary.at("/nodes/untold"), 45);
    assert!(opened(&summary, "/nodes/told").is_empty());
    assert!(done.stdout.contains("node not told 45"), "{}", done.stdout);
}
