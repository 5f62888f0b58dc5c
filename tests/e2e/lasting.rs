//! Faults that last: the same victims on any number of shards, and gone with whoever ordered them.

use crate::harness::{Lab, Summary, assert_gone, send};
use nix::sys::signal::Signal::{SIGINT, SIGKILL};
use serde_json::Value;
use squall::transport::handshake::accept_key;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The faults of the second phase.
fn faults(summary: &Summary) -> Vec<Value> {
    let faults = summary.at("/phases/1/faults").as_array();
    faults.expect("a list").clone()
}

/// Label, connections touched, and that it began and ended in its time.
fn touched(summary: &Summary) -> Vec<(String, u64)> {
    let told = |fault: &Value| {
        let time = |key: &str| fault[key].as_f64().unwrap_or_else(|| panic!("{fault}"));
        assert!(time("actual_start") >= time("start"), "{fault}");
        assert!(time("actual_end") >= time("end"), "{fault}");
        let label = fault["label"].as_str().expect("a text").to_owned();
        (label, fault["touched"].as_u64().expect("a count"))
    };
    faults(summary).iter().map(told).collect()
}

const SLOW: &str = "
name: slow
seed: 7
target: { embedded: { tls: true } }
clients:
  subs: { count: 31, subscribe: [t] }
  pubs: { count: 2, publish: { topic: t, rate: 200/s, size: 256B } }
phases:
  - { name: open, for: 1s }
  - name: slow
    for: 3s
    faults:
      - slow: { clients: subs, share: 40%, read: 2KiB/s, receive_buffer: 8KiB, after: 200ms, for: 1s, over: 500ms }
      - slow: { clients: subs, count: 5, read: none, after: 1500ms, for: 1s }
  - { name: calm, for: 1s }
gates:
  - lost == 0
  - failed == 0
  - closed_by_target == 0
generator: { max_lag: 50s, max_cpu: 100% }
";

/// Over TLS: what is not read stays below it, and every message arrives in the end.
#[test]
fn slow_consumers_are_as_many_as_planned_on_any_number_of_shards() {
    for shards in ["1", "3"] {
        let done = Lab::new(SLOW).run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        let told = touched(&summary);
        // Twelve are 40 % of 31, rounded.
        let expected = [
            ("40% of subs read 2KiB/s", 12),
            ("5 of subs read nothing", 5),
        ];
        assert_eq!(told, expected.map(|(label, n)| (label.to_owned(), n)));
        let effects = |fault: usize, key: &str| faults(&summary)[fault]["effects"][key].clone();
        assert_eq!(effects(0, "receive_buffer"), 16_384);
        assert_eq!(effects(1, "taken"), 0);
        // 200 messages a second of 256 B to five that did not read for one.
        assert!(
            effects(1, "unread").as_u64() > Some(5 * 256),
            "{:?}",
            faults(&summary)
        );
        // Less than it might: twelve times 2 KiB/s for at most as long as the fault was.
        let taken = effects(0, "taken").as_f64().expect("bytes");
        let fault = &faults(&summary)[0];
        let time = |key: &str| fault[key].as_f64().expect("seconds");
        let lasted = time("actual_end") - time("actual_start");
        assert!(taken > 0.0 && taken <= 12.0 * 2048.0 * lasted, "{fault}");
        assert_eq!(summary.count("received"), summary.count("expected"));
        assert!(
            done.stdout.contains("40% of subs read 2KiB/s: touched 12"),
            "{}",
            done.stdout
        );
    }
}

/// How groups that do not speak JSON over a WebSocket are told.
const OTHERS: [(&str, &str); 5] = [
    ("events", "transport: sse"),
    ("polls", "transport: long_poll"),
    ("stomp", "protocol: stomp"),
    ("mqtt", "protocol: mqtt"),
    ("io", "protocol: socket_io"),
];

/// A second and more for each fault, as it takes a moment to show that nothing is lost by any.
#[test]
fn they_act_on_whatever_transport_and_protocol_a_group_has() {
    let groups = OTHERS.map(|(name, speaks)| {
        format!("  {name}: {{ count: 4, subscribe: [t], {speaks}, reconnect: {{ backoff: constant, base: 50ms }} }}\n")
    });
    let phase = |name: &str, fault: &str| {
        let each = OTHERS.map(|(group, _)| format!("{{ {} }}", fault.replace("GROUP", group)));
        format!(
            "  - {{ name: {name}, for: 2s, faults: [ {} ] }}\n",
            each.join(", ")
        )
    };
    let phases = [
        "  - { name: calm, for: 1s }\n".to_owned(),
        phase(
            "far",
            "network: { clients: GROUP, share: 100%, latency: 80ms, for: 2s }",
        ),
        phase(
            "silent",
            "partition: { clients: GROUP, count: 2, for: 800ms }",
        ),
        phase(
            "narrow",
            "slow: { clients: GROUP, count: 2, read: 4KiB/s, for: 800ms }",
        ),
        phase("gone", "drop: { clients: GROUP, count: 1, how: vanish }"),
    ];
    let scenario = format!(
        "name: everywhere\nseed: 3\ntarget: {{ embedded: {{}} }}\nclients:\n{}  pubs: {{ count: 1, publish: {{ topic: t, rate: 50/s, size: 1KiB }} }}\n\
         phases:\n{}gates: [lost == 0, failed == 0, duplicated == 0, reconnected == 5, reconnected == 5 in gone]\n\
         generator: {{ max_lag: 50s, max_cpu: 100% }}\n",
        groups.concat(),
        phases.concat()
    );
    let summary = Lab::new(&scenario).run(&[]).expect(0).summary();
    let far = summary.at("/timers_by_phase/far/latency/p50");
    assert!(far.as_f64() >= Some(80.0), "{far}");
    let held = summary.at("/timers_by_phase/silent/latency/max");
    assert!(held.as_f64() >= Some(300.0), "{held}");
    for (phase, each) in [(1, 4), (2, 2), (3, 2), (4, 1)] {
        let faults = summary.at(&format!("/phases/{phase}/faults")).clone();
        let faults = faults.as_array().expect("a list");
        assert_eq!(faults.len(), OTHERS.len());
        for fault in faults {
            assert_eq!(fault["touched"], each, "{fault}");
            // What a slow one leaves to be read, and a vanished one for ever.
            let unread = fault["effects"]["unread"].as_u64();
            assert_eq!(unread > Some(0), phase >= 3, "{fault}");
        }
    }
}

/// Serves the upgrade and sends a little; tells how long each connection lasted from its first byte on.
fn server() -> (String, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                serve(stream);
                let _ = tell.send(Instant::now());
            });
        }
    });
    (format!("ws://{address}/"), told)
}

fn serve(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        request.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let key = text
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap_or_default();
    let _ = write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n\x01\x02hi",
        accept_key(key)
    );
    // To the end, whether by FIN or by RST.
    while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
}

/// Nobody is left to say that the fault is over: it ends with its connections.
#[test]
fn a_fault_does_not_outlive_its_coordinator() {
    let (url, told) = server();
    let scenario = format!(
        "
name: orphans
target: {{ url: '{url}' }}
clients: {{ some: {{ count: 20, protocol: raw }} }}
phases:
  - {{ name: open, for: 500ms }}
  - {{ name: slow, for: 10m, faults: [ {{ slow: {{ clients: some, share: 100%, read: none }} }} ] }}
generator: {{ shards: 2 }}
"
    );
    let lab = Lab::new(&scenario);
    let mut run = lab.start(&[]);
    run.wait_for_phase("slow");
    let children = run.children();
    assert_eq!(children.len(), 2, "{children:?}");
    assert!(told.try_recv().is_err(), "all are open under the fault");
    let killed = Instant::now();
    send(run.pid(), SIGKILL);
    for _ in 0..20 {
        let ended = told.recv_timeout(Duration::from_secs(20)).expect("it ends");
        // A second is what it takes; a busy machine has more.
        assert!(
            ended - killed < Duration::from_secs(5),
            "{:?}",
            ended - killed
        );
    }
    assert_gone(&children);
}

const ROADS: &str = "
name: roads
seed: 7
target: { embedded: { tls: true, nodes: 2 } }
clients:
  subs: { count: 30, subscribe: [t] }
  pubs: { count: 2, publish: { topic: t, rate: 100/s, in: [bad, calm] } }
phases:
  - { name: open, for: 1s }
  - name: bad
    for: 3s
    faults:
      - network: { clients: subs, share: 50%, latency: 150ms, jitter: 50ms, bandwidth: 256KiB/s, slice: 32B, over: 500ms }
      - network: { clients: pubs, latency: 50ms }
      - partition: { clients: subs, from: 1, after: 1s, for: 1s }
  - { name: calm, for: 1s }
gates:
  - lost == 0
  - missed == 0
  - duplicated == 0
  - reordered == 0
  - failed == 0
  - closed_by_target == 0
generator: { max_lag: 50s, max_cpu: 100% }
";

/// Over TLS, to two nodes: whoever is behind something gets everything all the same.
#[test]
fn bad_roads_lose_nothing_on_any_number_of_shards() {
    for shards in ["1", "3"] {
        let summary = Lab::new(ROADS)
            .run(&["--shards", shards])
            .expect(0)
            .summary();
        let expected = [
            (
                "50% of subs behind 150ms ± 50ms, 256KiB/s, writes of 32B",
                15,
            ),
            ("100% of pubs behind 50ms", 2),
            // Connections go to the two nodes in turn.
            ("100% of subs cut off from address 1", 15),
        ];
        let expected = expected.map(|(label, n)| (label.to_owned(), n));
        assert_eq!(touched(&summary), expected);
        assert_eq!(summary.count("received"), summary.count("expected"));
        assert!(
            summary.count("received") > 30 * 200,
            "{}",
            summary.count("received")
        );
        // All from the publishers' network on, but for what was under way when it was over.
        let latency = summary.at("/timers_by_phase/bad/latency");
        assert!(latency["p50"].as_f64() >= Some(50.0), "{latency}");
        // And half of them from their own on, for five of six parts of the time.
        assert!(latency["p90"].as_f64() >= Some(150.0), "{latency}");
    }
}

const HALVES: &str = "
name: halves
seed: 7
target: { embedded: { nodes: 2 } }
clients:
  subs: { count: 30, subscribe: [t], reconnect: { base: 100ms } }
  pubs: { count: 4, publish: { topic: t, rate: 100/s, in: [bad, calm] } }
phases:
  - { name: open, for: 1s }
  - name: bad
    for: 3s
    faults:
      - stall: { clients: pubs, count: 3, what: message, for: 2s, over: 1s }
      - stall: { clients: subs, share: 20%, what: handshake, rate: 20B/s, after: 1s }
  - { name: calm, for: 2s }
gates:
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - failed == 0
  - closed_by_target == 0
  - cut == 6
  - reconnected == 6
generator: { max_lag: 50s, max_cpu: 100% }
";

#[test]
fn stalls_lose_nothing_on_any_number_of_shards() {
    for shards in ["1", "3"] {
        let summary = Lab::new(HALVES)
            .run(&["--shards", shards])
            .expect(0)
            .summary();
        let expected = [
            ("3 of pubs stop in the middle of a message", 3),
            ("20% of subs open at 20B/s", 6),
        ];
        let expected = expected.map(|(label, n)| (label.to_owned(), n));
        assert_eq!(touched(&summary), expected);
        assert_eq!(summary.count("sent"), summary.count("offered"));
    }
}

const ALL: &str = "
name: all
seed: 11
target: { embedded: { tls: true, queue: 100000 } }
clients:
  both:
    count: 24
    subscribe: [t]
    publish: { topic: t, rate: 48/s, size: 300B, in: [bad, calm] }
    reconnect: { base: 100ms }
phases:
  - { name: open, for: 1s }
  - name: bad
    for: 4s
    faults:
      - slow: { clients: both, share: 50%, read: 8KiB/s, pong: 200ms, for: 3s }
      - stall: { clients: both, share: 50%, what: message, after: 500ms, for: 2s }
      - network: { clients: both, latency: 30ms, jitter: 30ms, slice: 64B, after: 250ms, for: 3s, over: 1s }
      - partition: { clients: both, share: 50%, after: 1s, for: 1s, over: 500ms }
  - { name: calm, for: 2s }
gates:
  - lost == 0
  - missed == 0
  - duplicated == 0
  - reordered == 0
  - dropped == 0
  - failed == 0
  - closed_by_target == 0
generator: { max_lag: 50s, max_cpu: 100% }
";

/// Each by its own seeded choice, so that some connections have all four at once; and all of it below TLS.
#[test]
fn faults_of_all_kinds_act_together_and_nothing_is_lost() {
    let summary = Lab::new(ALL).run(&["--shards", "2"]).expect(0).summary();
    let told: Vec<u64> = touched(&summary).into_iter().map(|(_, n)| n).collect();
    assert_eq!(told, [12, 12, 24, 12]);
    // Everybody's messages to everybody.
    assert_eq!(summary.count("expected"), 24 * summary.count("sent"));
    assert_eq!(summary.count("received"), summary.count("expected"));
}

/// Everything held back is let go, and the goodbyes are in order.
#[test]
fn an_interrupt_ends_faults_that_last() {
    let scenario = "
name: cut-short
target: { embedded: {} }
clients:
  subs: { count: 20, subscribe: [t] }
  pubs: { count: 2, publish: { topic: t, rate: 100/s } }
phases:
  - { name: open, for: 1s }
  - name: bad
    for: 10m
    faults:
      - slow: { clients: subs, share: 50%, read: none }
      - network: { clients: subs, latency: 50ms }
      - partition: { clients: pubs, after: 500ms }
generator: { shards: 2 }
";
    let mut run = Lab::new(scenario).start(&[]);
    run.wait_for_phase("bad");
    // The progress of a later second: all have begun.
    run.wait_for("two more seconds", |line| {
        line.trim_start().starts_with("4s")
    });
    run.signal(SIGINT);
    let summary = run.wait().expect(105).summary();
    for fault in faults(&summary) {
        let time = |key: &str| fault[key].as_f64().unwrap_or_else(|| panic!("{fault}"));
        assert!(time("actual_end") < 60.0, "{fault}");
        assert!(time("actual_end") > time("actual_start"), "{fault}");
    }
    assert_eq!(summary.count("lost"), 0);
    for close in summary.at("/closes").as_array().expect("a list") {
        assert_eq!(close["code"], 1000, "{close}");
        assert_eq!(close["count"], 22, "{close}");
    }
}

/// Slow consumers of large messages, more than all buffers hold, from a gateway with this policy. The others' queues hold
/// most of a second: on a busy machine they are not to be taken for slow.
fn overflowing(when_full: &str) -> Summary {
    let scenario = format!(
        "
name: overflow
seed: 3
target: {{ embedded: {{ queue: 32, when_full: {when_full} }}, max_message: 2MiB }}
clients:
  subs: {{ count: 6, subscribe: [t] }}
  pubs: {{ count: 1, publish: {{ topic: t, rate: 40/s, size: 100KiB, in: [bad, calm] }} }}
phases:
  - {{ name: open, for: 1s }}
  - name: bad
    for: 3s
    faults: [ {{ slow: {{ clients: subs, count: 2, read: none, receive_buffer: 4KiB }} }} ]
  - {{ name: calm, for: 2s }}
gates: [ 'sent > 0' ]
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100% }}
"
    );
    Lab::new(&scenario).run(&[]).expect(0).summary()
}

/// What a target does about slow consumers can be read from what is counted of them, and of nobody else.
#[test]
fn a_target_that_drops_and_one_that_disconnects_are_told_apart() {
    let summary = overflowing("drop_newest");
    let effects = &faults(&summary)[0]["effects"];
    assert!(summary.count("lost") > 0, "{effects}");
    assert_eq!(effects["skipped"], summary.count("lost"));
    // The stream has it by its place: of slow consumers in some phase, and of nobody else.
    let parts = summary.at("/streams/worst/0/parts").as_array();
    let lost: u64 = (parts.expect("a list").iter())
        .filter(|part| part["fault"] == faults(&summary)[0]["label"] && part["group"] == "subs")
        .filter_map(|part| part["lost"].as_u64())
        .sum();
    assert_eq!(effects["skipped"], lost);
    assert_eq!(effects["ended"], Value::Array(Vec::new()));

    let summary = overflowing("disconnect");
    let effects = &faults(&summary)[0]["effects"];
    let ended = effects["ended"].as_array().expect("a list");
    let count: u64 = ended.iter().filter_map(|end| end["count"].as_u64()).sum();
    assert_eq!(count, 2, "{effects}");
    assert!(ended.iter().all(|end| end["code"] == 1013), "{effects}");
}
