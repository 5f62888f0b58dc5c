//! An embedded gateway of several nodes is one service: whatever node a client is at.

use crate::harness::{Lab, assert_gone, children, send, squall};
use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

const CLIENTS: u64 = 20;

/// Subscribers and publishers on every node, two topics.
fn scenario(embedded: &str, steady: &str) -> String {
    format!(
        "
name: nodes
target: {{ embedded: {embedded} }}
clients:
  publishers: {{ count: 5, vars: {{ feed: {{ cycle: [a, b] }} }}, publish: {{ topic: '{{feed}}', rate: 200/s, size: 64B, in: steady }} }}
  subscribers: {{ count: {CLIENTS}, subscribe: [a, b], reconnect: {{}} }}
phases:
  - {{ name: open, for: 1s }}
  - {{ name: steady, for: {steady} }}
gates: ['lost == 0', 'duplicated == 0', 'reordered == 0', 'service_gaps == 0', 'opened >= 25']
"
    )
}

fn delivers_exactly(embedded: &str) {
    let done = Lab::new(&scenario(embedded, "2s")).start(&[]).wait();
    let summary = done.expect(0).summary();
    let sent = summary.count("sent");
    assert!(sent > 300, "{sent}");
    let counts = ["expected", "received", "unique"].map(|count| summary.count(count));
    assert_eq!(counts, [sent * CLIENTS; 3]);
}

#[test]
fn three_nodes_deliver_exactly_what_one_would() {
    delivers_exactly("{ nodes: 3, queue: 100000 }");
}

#[test]
fn three_nodes_on_one_port_do_too() {
    delivers_exactly("{ nodes: 3, one_port: true, tls: true, queue: 100000 }");
}

#[test]
fn one_that_is_killed_is_named_and_leaves_the_others_serving() {
    let lab = Lab::new(&scenario("{ nodes: 3 }", "3s"));
    let mut run = lab.start(&[]);
    run.wait_for_phase("steady");
    let gateway = run.gateway();
    let mut nodes = children(gateway);
    nodes.sort_by_key(|node| node.pid);
    assert_eq!(nodes.len(), 3);
    send(nodes[1].pid, SIGKILL);
    let done = run.wait();
    let summary = done.expect(106).summary();
    let reasons = summary.reasons();
    assert!(
        reasons.contains("of the embedded gateway ended during the run (signal: 9 (SIGKILL))"),
        "{reasons}"
    );
    let supervisor = reasons.lines().any(|line| line.starts_with("the embedded"));
    assert!(!supervisor, "{reasons}");
    // Two of three clients never noticed.
    let received = summary.count("received");
    assert!(received > summary.count("sent") * CLIENTS / 3, "{received}");
    assert_gone(&nodes);
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// `squall gateway --nodes 2` to its end; a node is killed on the way if so wanted.
fn by_hand(kill: bool) -> (Option<i32>, String) {
    let mut child = squall()
        .args(["gateway", "--nodes", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway starts");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let addresses: Vec<String> = stdout
        .lines()
        .take(2)
        .map(|line| {
            let line = line.expect("a line");
            let address = line.strip_prefix("listening on ws://").expect("an address");
            address.to_owned()
        })
        .collect();
    for address in &addresses {
        assert!(get(address, "/healthz").ends_with("\r\n\r\nok\n"));
        assert!(get(address, "/stats").contains("\"accepted\":2"), "its own");
    }
    let pid = child.id().cast_signed();
    let nodes = children(pid);
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    if kill {
        send(nodes[0].pid, SIGKILL);
        stderr.read_line(&mut said).expect("told at once");
    }
    send(pid, SIGTERM);
    stderr.read_to_string(&mut said).expect("the rest");
    let status = child.wait().expect("ended");
    assert_gone(&nodes);
    (status.code(), said)
}

#[test]
fn nodes_by_hand_tell_their_sum() {
    let (code, said) = by_hand(false);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("squall: gateway: {\"accepted\":4,"), "{said}");
    assert!(said.contains("squall: bus: {\"published\":0,"), "{said}");
}

#[test]
fn a_node_that_is_killed_by_hand_is_told_of_and_in_the_exit_code() {
    let (code, said) = by_hand(true);
    assert_eq!(code, Some(106), "{said}");
    assert!(said.starts_with("squall: node "), "{said}");
    assert!(
        said.contains(" of the gateway ended: signal: 9 (SIGKILL)"),
        "{said}"
    );
}
